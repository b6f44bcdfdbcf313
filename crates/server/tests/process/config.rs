//! The configuration, from every place that it can come from.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;
use testing::get;

use crate::raw::{RawConnection, request_text};
use crate::support::{Place, finish};

/// The line of `postroom config` for a setting: its value, and where it comes from.
fn setting(shown: &str, name: &str) -> (String, String) {
    let line = shown.lines().find(|line| line.starts_with(&format!("{name} = ")));
    let line = line.unwrap_or_else(|| panic!("{name} is not in {shown}"));
    let (value, origin) = line.split_once(" # ").expect("there is an origin");
    let value = value.split_once(" = ").expect("there is a value").1;
    (value.trim().to_owned(), origin.to_owned())
}

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_without_its_secrets() {
    let place = Place::bare()
        .with("POSTROOM_WORKERS", "3")
        .with("POSTROOM_TRUSTED_PROXIES", "10.0.0.1, 10.1.0.0/16")
        .with("POSTROOM_DATABASE_URL", "postgres://ann:canary-one@db/mail")
        .with("POSTROOM_BODY_MAX_BYTES", "5000");
    let file =
        "log = \"warn\"\nmax_connections = 7\nbody_max_bytes = 4000\nlisten = \"127.0.0.1:1\"";
    fs::write(place.path("postroom.toml"), file).unwrap();
    let dotenv = "DJANGO_SECRET_KEY='canary-two-canary-two-canary-two-'\nLOGGER_LEVEL=DEBUG\n\
                  DEBUG=True\nPOSTROOM_WORKERS=2\nPOSTROOM_MAX_CONNECTIONS=8\n";
    fs::write(place.path(".env"), dotenv).unwrap();
    let shown = place.run(&["config", "--listen", "127.0.0.1:2", "--set", "log_format=json"]).ok();
    for (name, value, origin) in [
        ("listen", "\"127.0.0.1:2\"", "command line"),
        ("log_format", "\"json\"", "command line"),
        ("workers", "3", "POSTROOM_WORKERS"),
        ("trusted_proxies", "[\"10.0.0.1\", \"10.1.0.0/16\"]", "POSTROOM_TRUSTED_PROXIES"),
        ("body_max_bytes", "5000", "POSTROOM_BODY_MAX_BYTES"),
        ("database_url", "\"postgres://ann:(hidden)@db/mail\"", "POSTROOM_DATABASE_URL"),
        ("log", "\"debug\"", "./.env"),
        ("max_connections", "8", "./.env"),
        ("secret_key", "\"(hidden)\"", "./.env"),
        ("registration", "\"open\"", "default"),
        ("data_dir", "\"./postroom-data\"", "default"),
    ] {
        assert_eq!(setting(&shown, name), (value.to_owned(), origin.to_owned()), "{name}");
    }
    assert!(!shown.contains("canary"), "{shown}");
    // A file that is named is taken instead of the usual one.
    fs::write(place.path("other.toml"), "subject_max_chars = 9").unwrap();
    let shown = place.run(&["config", "--config", "other.toml"]).ok();
    assert_eq!(setting(&shown, "subject_max_chars"), ("9".to_owned(), "other.toml".to_owned()));
    assert_eq!(setting(&shown, "listen").1, "default");
    let place = place.with("POSTROOM_CONFIG", "postroom.toml");
    let shown = place.run(&["config"]).ok();
    assert_eq!(
        setting(&shown, "listen"),
        ("\"127.0.0.1:1\"".to_owned(), "postroom.toml".to_owned())
    );
    assert!(!place.path("postroom-data").exists());
}

#[test]
fn the_printed_defaults_are_a_file_that_works() {
    let place = Place::bare();
    let defaults = place.run(&["config", "--defaults"]).ok();
    let bare = place.run(&["config"]).ok();
    fs::write(place.path("postroom.toml"), &defaults).unwrap();
    let shown = place.run(&["config"]).ok();
    assert_eq!(shown.lines().count(), bare.lines().count());
    for (line, bare) in shown.lines().zip(bare.lines()) {
        assert!(line.ends_with("# ./postroom.toml"), "{line}");
        assert_eq!(line.split(" # ").next(), bare.split(" # ").next());
        let name = line.split(" = ").next().unwrap();
        let manual = defaults.lines().position(|text| text.starts_with(&format!("{name} = ")));
        assert!(manual.is_some(), "{name} is not explained");
    }
}

#[test]
fn a_setting_that_there_is_not_is_named_with_its_place() {
    let place = Place::new().with("POSTROOM_LISTN", "127.0.0.1:1");
    for command in [&[][..], &["config"], &["check"], &["user", "list"], &["backup", "x.db"]] {
        let error = place.run(command).failed(2);
        assert_eq!(error, "error: POSTROOM_LISTN: listn: there is no such setting\n");
    }
    for (file, text, origin) in [
        ("postroom.toml", "listn = \"127.0.0.1:1\"", "./postroom.toml"),
        (".env", "POSTROOM_LISTN=127.0.0.1:1", "./.env"),
        ("postroom.toml", "[server]\nlisten = \"127.0.0.1:1\"", "./postroom.toml"),
    ] {
        let place = Place::new();
        fs::write(place.path(file), text).unwrap();
        let name = if text.starts_with('[') { "server" } else { "listn" };
        let error = place.run(&["config"]).failed(2);
        assert_eq!(error, format!("error: {origin}: {name}: there is no such setting\n"));
    }
    let error = Place::new().run(&["--set", "listn=1"]).failed(2);
    assert_eq!(error, "error: command line: listn: there is no such setting\n");
    assert!(!place.path("data").exists());
}

#[test]
fn a_value_that_cannot_be_used_is_refused_and_never_repeated_where_it_is_secret() {
    for (name, value, problem) in [
        ("POSTROOM_WORKERS", "many", "workers: it must be a whole number"),
        ("POSTROOM_WORKERS", "-1", "workers: "),
        ("POSTROOM_RATE_LIMITS", "maybe", "rate_limits: "),
        ("POSTROOM_LOG", "loud and clear", "log: it must be error, warn, info, debug or trace"),
        ("POSTROOM_LOG_FORMAT", "xml", "log_format: "),
        ("POSTROOM_MAX_CONNECTIONS", "0", "max_connections: it must be at least 1"),
        ("POSTROOM_PUBLIC_URL", "mail.example.org", "public_url: it must look like https://"),
        ("POSTROOM_TRUSTED_PROXIES", "proxy", "trusted_proxies: each must be an address"),
        ("POSTROOM_METRICS_LISTEN", "9090", "metrics_listen: it must look like"),
        ("POSTROOM_BODY_MAX_BYTES", "99999999", "body_max_bytes: it is too large"),
        ("POSTROOM_SECRET_KEY", "canary", "secret_key: it must have at least 32 characters"),
        ("DJANGO_SECRET_KEY", "canary", "secret_key: it must have at least 32 characters"),
    ] {
        let error = Place::new().with(name, value).run(&["config"]).failed(2);
        assert!(error.starts_with(&format!("error: {name}: {problem}")), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
    for (file, text) in [
        ("postroom.toml", "secret_key = \"canary\" \"canary\""),
        ("postroom.toml", "secret_key = 1234567890\n"),
        ("postroom.toml", "database_url = [\"canary\"]"),
        (".env", "DJANGO_SECRET_KEY='canary\n"),
        (".env", "canary canary"),
    ] {
        let place = Place::new();
        fs::write(place.path(file), text).unwrap();
        let error = place.run(&["config"]).failed(2);
        assert!(error.starts_with(&format!("error: ./{file}: ")), "{error}");
        assert!(!error.contains("canary") && !error.contains("12345"), "{error}");
    }
    for (url, problem, status) in [
        ("mysql://ann:canary@db/mail", "it must begin with sqlite: or postgres://", 2),
        ("postgres://ann:canary@db:port/mail", "it must be postgres://user:password@host:port/", 2),
        ("postgres://ann:canary@127.0.0.1:1/mail", "the database is not available", 1),
    ] {
        let key = "a key that is long enough for the server";
        let place =
            Place::new().with("POSTROOM_DATABASE_URL", url).with("POSTROOM_SECRET_KEY", key);
        for command in [&[][..], &["check"], &["user", "list"]] {
            let error = place.run(command).failed(status);
            assert!(error.contains(problem) && !error.contains("canary"), "{error}");
        }
    }
    let error = Place::new().run(&["--config", "none.toml"]).failed(2);
    assert!(error.starts_with("error: none.toml: "), "{error}");
    for (file, text) in [("key", "too short"), ("no-such-key", "")] {
        let place = Place::new().with("POSTROOM_SECRET_KEY_FILE", file);
        fs::write(place.path("key"), text).unwrap();
        let error = place.run(&[]).failed(2);
        assert!(error.contains(&format!("the secret key in {file}")), "{error}");
        assert!(!error.contains("too short"), "{error}");
        let place = Place::new().with("POSTROOM_SERVER_KEY_FILE", file);
        fs::write(place.path("key"), text).unwrap();
        let error = place.run(&[]).failed(2);
        assert!(error.contains(file) && !error.contains("too short"), "{error}");
    }
}

#[test]
fn a_start_that_fails_says_so_in_the_format_of_the_log() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let json = || Place::new().with("POSTROOM_LOG_FORMAT", "json");
    let in_file = Place::new();
    let file = "listn = 1\nlog_format = \"json\"\nworkers = \"many\"";
    fs::write(in_file.path("postroom.toml"), file).unwrap();
    let no_key = "there is no setting with a line\nbreak";
    for (place, arguments, status, problem) in [
        (json().with("POSTROOM_WORKERS", "many"), &[][..], 2, "workers: it must be a whole"),
        (json().with("POSTROOM_LISTEN", &taken), &["serve"], 1, "cannot listen on"),
        (json().with("POSTROOM_TEMPLATES_DIR", no_key), &[], 2, no_key),
        (json(), &["--config", "none.toml"], 2, "none.toml: "),
        (in_file, &[], 2, "./postroom.toml: listn: there is no such setting"),
        (Place::new(), &["--set", "listn=1", "--set", "log_format=json"], 2, "listn: "),
    ] {
        let said = place.run(arguments).failed(status);
        assert_eq!(said.lines().count(), 1, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        let message = said["message"].as_str().unwrap();
        assert!(message.contains(problem) && said["level"] == "ERROR", "{said}");
        assert!(said["timestamp"].as_str().unwrap().ends_with('Z'), "{said}");
    }
    // Other commands have no log, and a format that there is not is none.
    let said = json().run(&["mail", "test", "ann@example.org"]).failed(2);
    assert_eq!(said, "error: smtp_url is not set\n");
    let said = Place::new().with("POSTROOM_LOG_FORMAT", "xml").run(&[]).failed(2);
    assert!(said.starts_with("error: POSTROOM_LOG_FORMAT: log_format: "), "{said}");
}

#[test]
fn what_a_setting_names_has_to_be_there_whatever_else_is_set() {
    let mail =
        [("POSTROOM_MAIL_FROM", "ann@example.org"), ("POSTROOM_REMINDER_AFTER_MINUTES", "0")];
    for (name, value) in [
        ("POSTROOM_TEMPLATES_DIR", "no-such-thing"),
        ("POSTROOM_SMTP_URL_FILE", "no-such-thing"),
        ("POSTROOM_SMTP_URL", "smtp://127.0.0.1:1?tls=required&ca=no-such-thing"),
        ("POSTROOM_JWT_SECRET_FILE", "no-such-thing"),
        ("POSTROOM_JWT_KEYS", "file:no-such-thing"),
    ] {
        let mut place = Place::new().with(name, value);
        if name.contains("SMTP") {
            place = mail.iter().fold(place, |place, (name, value)| place.with(name, value));
        }
        let said = place.run(&[]).failed(2);
        assert!(said.contains("no-such-thing"), "{name}: {said}");
        assert!(!place.path("data").exists(), "{name}");
    }
}

/// The log of a server that was asked something and stopped.
fn log(place: &Place) -> String {
    let server = place.serve();
    assert_eq!(get(server.address, "/users/token").status, 200);
    let mut ann = server.user("ann");
    ann.send_message(ann.id, "a", "b");
    server.stop()
}

#[test]
fn the_log_says_as_much_as_is_asked_for() {
    let info = log(&Place::new());
    assert!(info.contains(" INFO started "), "{info}");
    assert!(info.contains(" INFO logged in client=127.0.0.1 user=1"), "{info}");
    assert!(!info.contains("DEBUG"), "{info}");
    let debug = log(&Place::new().with("POSTROOM_LOG", "debug"));
    assert!(debug.contains("DEBUG answered request="), "{debug}");
    assert!(debug.contains("route=\"/messages/write_message\" status=200"), "{debug}");
    assert_eq!(log(&Place::new().with("POSTROOM_LOG", "error")), "");
    assert_eq!(log(&Place::new().with("POSTROOM_LOG", "warn")), "");

    // The Django app's names, in its own file.
    for (level, said) in [("DEBUG", true), ("INFO", false), ("WARNING", false)] {
        let place = Place::new();
        fs::write(place.path(".env"), format!("LOGGER_LEVEL={level}\n")).unwrap();
        let log = log(&place);
        assert_eq!(log.contains("answered"), said, "{level}: {log}");
        assert_eq!(log.is_empty(), level == "WARNING", "{level}: {log}");
    }
    let json = log(&Place::new().with("POSTROOM_LOG_FORMAT", "json"));
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let started = lines.iter().find(|line| line["message"] == "started").expect("it says so");
    assert_eq!(started["level"], "INFO");
    assert!(started["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn the_first_forwarded_request_says_whom_it_came_from() {
    let place = Place::new().with("POSTROOM_TRUSTED_PROXIES", "127.0.0.1");
    let server = place.serve();
    // A proxy that looks whether the server is well forwards nothing.
    assert_eq!(get(server.address, "/readyz").status, 200);
    let mut connection = RawConnection::open(server.address);
    for forwarded in ["198.51.100.9, 203.0.113.7", "203.0.113.8"] {
        let headers = [("X-Forwarded-For", forwarded)];
        connection.exchange(request_text("GET", "/healthz", &headers, "")).unwrap().ok();
    }
    let log = server.stop();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("first forwarded")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains(" INFO "), "{log}");
    assert!(lines[0].contains("client=203.0.113.7 proxy=127.0.0.1"), "{log}");
    // Of others nothing is believed, and it is said once that there may be a proxy.
    let place = Place::new();
    let server = place.serve();
    let headers = [("X-Forwarded-For", "203.0.113.7")];
    let request = request_text("GET", "/healthz", &headers, "");
    for _ in 0..3 {
        RawConnection::open(server.address).exchange(&request).unwrap().ok();
    }
    let log = server.stop();
    assert!(!log.contains("first forwarded"), "{log}");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let said = "with X-Forwarded-For from a machine that is not in trusted_proxies";
    assert!(matches!(warnings[..], [one] if one.contains(said)), "{log}");
    assert!(warnings[0].contains("peer=127.0.0.1"), "{log}");
}

#[test]
fn https_without_a_trusted_proxy_is_warned_of_at_the_start() {
    let warns = |proxies: &str| {
        let place = Place::new().with("POSTROOM_PUBLIC_URL", "https://mail.example.org");
        let place = place.with("POSTROOM_TRUSTED_PROXIES", proxies);
        place.serve().stop().contains("trusted_proxies is empty")
    };
    assert!(warns("") && !warns("127.0.0.1"));
}

#[test]
fn a_hop_that_a_proxy_cannot_name_is_warned_of_once() {
    let place = Place::new().with("POSTROOM_TRUSTED_PROXIES", "127.0.0.1");
    let server = place.serve();
    let headers = [("X-Forwarded-For", "203.0.113.7, unknown"), ("Sec-Fetch-Site", "none")];
    for _ in 0..3 {
        let request = request_text("POST", "/v1/sessions", &headers, "");
        RawConnection::open(server.address).exchange(request).unwrap();
    }
    let log = server.stop();
    assert_eq!(log.matches("names no address").count(), 1, "{log}");
}

#[test]
fn servers_of_one_machine_need_no_other_setting_for_their_metrics() {
    let place =
        || Place::bare().with("POSTROOM_LISTEN", "127.0.0.1:0").with("POSTROOM_DATA_DIR", "data");
    let (first, second) = (place(), place());
    let first = first.serve();
    let second = second.serve();
    let log = second.stop();
    assert!(log.contains("there are no metrics: cannot listen on 127.0.0.1:9464"), "{log}");
    first.stop();
    // Somebody who has chosen an address wants it.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new().with("POSTROOM_METRICS_LISTEN", &address);
    let error = place.run(&[]).failed(1);
    assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
    drop(taken);
}

#[test]
fn a_configuration_that_is_there_and_cannot_be_read_is_an_error() {
    for name in ["postroom.toml", ".env"] {
        let place = Place::bare();
        fs::create_dir(place.path(name)).unwrap();
        let error = place.run(&["config"]).failed(2);
        assert!(error.contains(&format!("{name}: it is not a regular file")), "{error}");
        fs::remove_dir(place.path(name)).unwrap();
        symlink("nowhere", place.path(name)).unwrap();
        let error = place.run(&["config"]).failed(2);
        assert!(error.contains(&format!("{name}: No such file")), "{error}");
    }
    let place = Place::bare();
    fs::write(place.path(".env"), "POSTROOM_CONFIG=other.toml").unwrap();
    let error = place.run(&["config"]).failed(2);
    assert!(error.contains(".env: POSTROOM_CONFIG: this has no effect here"), "{error}");
    fs::write(place.path(".env"), "POSTROOM_CONFIG=").unwrap();
    place.run(&["config"]).ok();
}

#[test]
fn a_file_that_somebody_else_could_have_written_is_refused() {
    const PUBLIC: &str = "public_url=https://example.org";
    let text = "k".repeat(40);
    let place = Place::bare().with("POSTROOM_DATA_DIR", "data");
    let jwt = ["jwt_issuer=https://example.org", "jwt_audience=a", "jwt_secret_file=jwt"];
    for (name, content, settings) in [
        ("postroom.toml", "workers = 1", &[][..]),
        (".env", "POSTROOM_WORKERS=1", &[]),
        ("secret.key", &text, &["secret_key_file=secret.key"]),
        ("server.key", &text, &["server_key_file=server.key"]),
        ("smtp", &text, &["smtp_url_file=smtp", "mail_from=a@example.org", PUBLIC]),
        ("jwt", &text, &jwt),
    ] {
        let path = place.path(name);
        fs::write(&path, content).unwrap();
        let flags = settings.iter().flat_map(|setting| ["--set", *setting]);
        let arguments: Vec<_> = ["serve"].into_iter().chain(flags).collect();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let error = place.run(&arguments).failed(2);
        let what = "every user may write to it: take that away (chmod o-w)";
        assert!(error.contains(name) && error.contains(what), "{name}: {error}");
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        if is_root() {
            chown(&path, Some(4321), None).unwrap();
            let error = place.run(&arguments).failed(2);
            let what = "it belongs to another user, number 4321, and this is number 0: run as";
            assert!(error.contains(name) && error.contains(what), "{name}: {error}");
        }
        fs::remove_file(path).unwrap();
    }
    assert!(!place.path("data").exists(), "and nothing was made");
}

/// As Kubernetes mounts them: links to files of root, which the group of the process may read.
#[test]
fn files_of_root_that_the_group_may_read_are_used() {
    // Nobody else can make such files.
    if !is_root() {
        return;
    }
    let place = Place::bare();
    fs::set_permissions(place.path("."), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(place.path("..data")).unwrap();
    let file = place.path("..data/postroom.toml");
    fs::write(&file, "workers = 3").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
    chown(&file, None, Some(4322)).unwrap();
    symlink("..data/postroom.toml", place.path("postroom.toml")).unwrap();
    // Where programs are built, others may not enter.
    let program = place.path("postroom");
    fs::copy(env!("CARGO_BIN_EXE_postroom"), &program).unwrap();
    let mut command = Command::new(program);
    command.arg("config").env_clear().current_dir(place.path(".")).uid(4321).gid(4322);
    let shown = finish(&mut command, "").ok();
    assert_eq!(setting(&shown, "workers"), ("3".to_owned(), "./postroom.toml".to_owned()));
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_wrong_configuration_gives_the_status_of_one_by_every_command() {
    let place = Place::bare().with("POSTROOM_LISTEN", "127.0.0.1:0");
    let key = format!("secret_key={}", "k".repeat(32));
    let none = "database_url=postgres://127.0.0.1:1/none";
    for (setting, why) in [
        ("database_url=mysql://x", "it must begin with sqlite: or postgres://"),
        (&format!("{none}?sslmode=foo"), "sslmode"),
        (&format!("{none}?sslmode=require&sslrootcert=/nope"), "sslrootcert: /nope"),
    ] {
        for command in [
            &["serve"][..],
            &["migrate"],
            &["user", "list"],
            &["check"],
            &["restored"],
            &["copy", "--from", "config", "--to", "sqlite:copy.db"],
        ] {
            let error = place.run(&[command, &["--set", setting, "--set", &key]].concat());
            let error = error.failed(2);
            assert!(error.contains(why), "{setting} {command:?}: {error}");
        }
    }
    let error = place.run(&["serve", "--set", none]).failed(2);
    assert!(error.contains("nodes that share a database need the same key"), "{error}");
    for setting in
        ["secret_key_file=nope", "server_key_file=nope", "jwt_issuer=https://example.org"]
    {
        let extra = ["--set", "jwt_audience=a", "--set", "jwt_secret_file=nope"];
        let extra = if setting.starts_with("jwt") { &extra[..] } else { &[] };
        let error = place.run(&[&["serve", "--set", setting][..], extra].concat()).failed(2);
        assert!(error.contains("nope"), "{setting}: {error}");
    }
    // What is right and does not work is a failure.
    place.run(&["migrate", "--set", none, "--set", &key]).failed(1);
}
