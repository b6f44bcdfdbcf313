//! The command line, as an operator and a script use it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use testing::{Client, Engine, PASSWORD, TIMEOUT, User, get};

use crate::support::{Place, finish, until};

/// How long an operator's command may take to reach a server that runs.
const REACH: Duration = Duration::from_secs(5);

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let place = Place::bare();
    let help = place.run(&["--help"]).ok();
    let names = commands(&help);
    for name in [
        "serve",
        "migrate",
        "user",
        "token",
        "webhook",
        "backup",
        "restore",
        "restored",
        "key",
        "audit",
        "copy",
        "check",
        "config",
        "mail",
        "openapi",
        "completions",
        "man",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
    }
    let mut texts = vec![("postroom".to_owned(), help)];
    for name in names {
        let help = place.run(&[&name, "--help"]).ok();
        for part in commands(&help) {
            texts.push((format!("{name} {part}"), place.run(&[&name, &part, "--help"]).ok()));
        }
        texts.push((name, help));
    }
    for (name, help) in texts {
        assert!(help.contains("Example"), "{name}: {help}");
        let example = help.split_once("Example").unwrap().1;
        let call = if name == "postroom" { name.clone() } else { format!("postroom {name}") };
        assert!(example.contains(&call), "{name}: {example}");
    }
    assert_eq!(place.run(&["--version"]).ok(), "postroom 0.1.0\n");
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0, "to ask for help makes no files");
}

#[test]
fn wrong_usage_is_status_2_and_says_what_is_wrong() {
    let place = Place::new();
    for (arguments, named) in [
        (&["serv"][..], "serv"),
        (&["--lissten", "127.0.0.1:1"], "--lissten"),
        (&["serve", "now"], "now"),
        (&["backup"], "<FILE>"),
        (&["restore", "one", "two"], "two"),
        (&["user"], "add"),
        (&["user", "add", "ann"], "--email"),
        (&["user", "rename", "ann"], "rename"),
        (&["user", "passwd"], "<USER>"),
        (&["token", "add", "ann"], "--name"),
        (&["token", "add", "ann", "--name", "a", "--days", "0"], "--days"),
        (&["token", "revoke", "ann", "one"], "<ID>"),
        (&["check", "--set", "rate_limits"], "NAME=VALUE"),
    ] {
        let error = place.run(arguments).failed(2);
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
    assert!(!place.path("data").exists());
}

#[test]
fn an_account_is_made_listed_changed_disabled_and_enabled() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    let add = |password: &str, name: &str, email: &str| {
        place.run_with(&format!("{password}\n"), &["user", "add", name, "--email", email])
    };
    assert_eq!(add(PASSWORD, "Ann", "ann@example.org").ok(), "Ann is user 1\n");
    assert_eq!(add(PASSWORD, "björk", "b@example.org").ok(), "björk is user 2\n");
    for (password, name, email, problem) in [
        (PASSWORD, "ANN", "other@example.org", "username: it is taken"),
        (PASSWORD, "two words", "t@example.org", "username: it may hold letters, digits"),
        (PASSWORD, "carl", "nowhere", "email: it must look like name@example.org"),
        ("short", "carl", "c@example.org", "password: it must have 8 to 1024 bytes"),
        ("", "carl", "c@example.org", "password: it must have 8 to 1024 bytes"),
        ("password1", "carl", "c@example.org", "password: it is one of the most common passwords"),
        (
            "carl.the.great",
            "carl.the.great",
            "c@example.org",
            "password: it must not be the user's",
        ),
    ] {
        let error = add(password, name, email).failed(1);
        assert!(error.starts_with(&format!("error: {problem}")), "{error}");
    }
    let list = place.run(&["user", "list"]).ok();
    let rows: Vec<Vec<_>> = list.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 2, "{list}");
    assert_eq!((&rows[0][..3], rows[0][4]), (&["1", "Ann", "ann@example.org"][..], "active"));
    assert_eq!((&rows[1][..3], rows[1][4]), (&["2", "björk", "b@example.org"][..], "active"));
    assert!(rows[0][3].ends_with('Z') && rows[0][3].starts_with("20"), "{list}");

    let other = "another-plum-tree";
    let said = place.run_with(&format!("{other}\r\n"), &["user", "passwd", "ann"]).ok();
    assert_eq!(said, "Ann has another password, and no session any more\n");
    let error = place.run_with("12345678\n", &["user", "passwd", "ann"]).failed(1);
    assert!(error.contains("password: it is one of the most common"), "{error}");
    assert_eq!(place.run(&["user", "disable", "BJÖRK"]).ok(), "björk is disabled\n");
    let list = place.run(&["user", "list"]).ok();
    assert!(list.lines().nth(1).unwrap().ends_with("\tdisabled"), "{list}");
    for command in ["passwd", "disable", "enable"] {
        let error = place.run_with(PASSWORD, &["user", command, "nobody"]).failed(1);
        assert_eq!(error, "error: there is no user nobody\n");
    }

    let server = place.serve();
    let mut ann = User::visitor(server.address, "ann");
    assert_eq!(ann.try_login(PASSWORD).status, 401);
    ann.login(other);
    let mut carl = User::visitor(server.address, "björk");
    assert_eq!(carl.try_login(PASSWORD).status, 401);
    assert_eq!(ann.send(2, "", "").unwrap().status, 403);
    assert_eq!(place.run(&["user", "enable", "björk"]).ok(), "björk is enabled\n");
    carl.login(PASSWORD);
    assert_eq!(ann.send_message(2, "", ""), 1);
    assert_eq!(carl.inbox(), [1]);
    server.is_unharmed();
}

#[test]
fn a_running_server_follows_the_operator_within_5_seconds() {
    let place = Place::new();
    let server = place.serve();
    let [mut ann, mut bob, mut eve] = ["ann", "bob", "eve"].map(|name| server.user(name));
    let id = eve.send_message(ann.id, "before", "that");
    for user in [&mut ann, &mut bob, &mut eve] {
        assert!(user.is_logged_in());
    }
    place.run(&["user", "disable", "ann"]).ok();
    place.run_with("another-plum-tree\n", &["user", "passwd", "bob"]).ok();
    until(REACH, "their sessions have ended", || !ann.is_logged_in() && !bob.is_logged_in());
    assert!(eve.is_logged_in(), "and nobody else's");
    assert_eq!(eve.send(ann.id, "", "").unwrap().status, 403);
    assert_eq!(ann.try_login(PASSWORD).status, 401);
    assert_eq!(bob.try_login(PASSWORD).status, 401);
    bob.login("another-plum-tree");
    // What has ended does not come back.
    place.run(&["user", "enable", "ann"]).ok();
    assert!(!ann.is_logged_in());
    ann.login(PASSWORD);
    assert_eq!(ann.inbox(), [id]);
    server.is_unharmed();
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let place = Place::new();
    let server = place.serve();
    server.user("ann");
    let add = |arguments: &[&str]| {
        place.run(&[&["token", "add", "ANN", "--name", "a robot"], arguments].concat())
    };
    let token = add(&["--scopes", "messages:read,account", "--days", "2"]).ok();
    let token = token.strip_suffix('\n').unwrap();
    assert!(token.starts_with("prt_1.") && token.len() == 6 + 43, "{token}");
    add(&[]).ok();
    let error = add(&["--scopes", "everything"]).failed(1);
    assert!(error.starts_with("error: scopes: each must be messages:read"), "{error}");

    let client = Client::new(server.address);
    let status = || {
        let request = client.request("GET", "/messages/unread_per_receiver").bearer(token);
        request.wait().expect("an answer").status
    };
    assert_eq!(status(), 200);
    let rows = place.run(&["token", "list", "ann"]).ok();
    let rows: Vec<Vec<_>> = rows.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!((rows[0][2], rows[0][4]), ("messages:read,messages:write,account", "never"));
    assert_eq!((rows[1][1], rows[1][2]), ("a robot", "messages:read,account"));
    assert!(rows[1][4] > rows[1][3] && rows[1][4].ends_with('Z'), "{rows:?}");
    assert!(!format!("{rows:?}").contains(&token[6..]), "the list has no secrets");

    let revoked = place.run(&["token", "revoke", "ann", rows[1][0]]).ok();
    assert_eq!(revoked, format!("token {} is revoked\n", rows[1][0]));
    until(REACH, "it holds no more", || status() == 401);
    let error = place.run(&["token", "revoke", "ann", rows[1][0]]).failed(1);
    assert_eq!(error, format!("error: ann has no token {}\n", rows[1][0]));
    for arguments in [&["token", "list", "bob"][..], &["token", "add", "bob", "--name", "a"]] {
        assert_eq!(place.run(arguments).failed(1), "error: there is no user bob\n");
    }
    server.is_unharmed();
}

#[test]
fn an_account_is_erased_only_where_it_is_meant() {
    let place = Place::new();
    let server = place.serve();
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.user(name));
    let id = ann.send_message(bob.id, "a farewell", "");

    let error = place.run(&["user", "erase", "ann"]).failed(2);
    assert_eq!(error, "error: this erases ann for good; add --yes to do it\n");
    assert!(ann.is_logged_in());
    assert_eq!(place.run(&["user", "erase", "ann", "--yes"]).ok(), "ann is erased\n");

    until(REACH, "the session has ended", || !ann.is_logged_in());
    assert_eq!(bob.inbox(), [id]);
    for command in ["erase", "enable", "passwd"] {
        let error = place.run_with(PASSWORD, &["user", command, "ann", "--yes"][..]);
        assert!(error.status != 0, "{command}: {error:?}");
    }
    assert_eq!(place.run(&["user", "list"]).ok().lines().count(), 1);
    server.is_unharmed();
}

#[test]
fn no_password_of_an_address_is_repeated() {
    let place = Place::new();
    let secret = "postgres://u:SECRETPW@127.0.0.1:1/x";
    let with_name = format!("--set={secret}");
    let with_parameter = format!("{secret}?sslmode=require");
    let error = place.run(&["copy", &with_parameter]).failed(2);
    assert!(error.contains("--from <URL>") && !error.contains("SECRETPW"), "{error}");
    for arguments in [&["copy", secret][..], &[secret]] {
        let error = place.run(arguments).failed(2);
        assert!(error.contains("127.0.0.1:1") && !error.contains("SECRETPW"), "{error}");
    }
    for arguments in [&["check", "--set", secret][..], &["check", &with_name], &["--set=SECRETPW"]]
    {
        let error = place.run(arguments).failed(2);
        assert!(error.contains("NAME=VALUE") && !error.contains("SECRETPW"), "{error}");
    }
    let place = place.with("POSTROOM_JWT_KEYS", "https://u:SECRETPW@keys.example/set");
    let shown = place.run(&["config"]).ok();
    assert!(shown.contains("https://u:(hidden)@keys.example/set"), "{shown}");
}

#[test]
fn a_name_of_digits_is_nobodys_id() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    for name in ["ann", "1", "--yes"] {
        let add = ["user", "add", "--email", "a@example.org", "--", name];
        place.run_with(PASSWORD, &add[..]).ok();
    }
    // The log names ids.
    assert_eq!(place.run(&["user", "disable", "1"]).ok(), "ann is disabled\n");
    assert_eq!(place.run(&["user", "disable", "name:1"]).ok(), "1 is disabled\n");
    assert_eq!(place.run(&["user", "disable", "name:--yes"]).ok(), "--yes is disabled\n");
    assert_eq!(place.run(&["user", "enable", "ANN"]).ok(), "ann is enabled\n");
    let error = place.run(&["user", "erase", "4", "--yes"]).failed(1);
    assert_eq!(error, "error: there is no user 4\n");
    place.run(&["token", "list", "1"]).ok();
}

#[test]
fn the_openapi_document_is_printed_without_a_database() {
    let place = Place::bare();
    let printed = place.run(&["openapi"]).ok();
    assert_eq!(printed, include_str!("../../../../docs/openapi.json"));
    let older = place.run(&["openapi", "--version", "3.0"]).ok();
    assert!(older.contains("\"openapi\": \"3.0.3\""), "{older}");
    place.run(&["openapi", "--version", "2.0"]).failed(2);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0);
}

#[test]
fn a_migration_is_done_once_and_can_be_asked_for_again() {
    let place = Place::new();
    let first = place.run(&["migrate"]).ok();
    assert!(first.starts_with("The schema went from version 0 to "), "{first}");
    let again = place.run(&["migrate"]).ok();
    assert!(again.ends_with(": nothing to do.\n"), "{again}");
    let server = place.serve();
    let mut ann = server.user("ann");
    assert_eq!(place.run(&["migrate"]).ok(), again);
    assert_eq!(ann.send_message(ann.id, "still", "here"), 1);
    assert!(!place.files().iter().any(|name| name.contains("before")), "{:?}", place.files());
    server.is_unharmed();
}

#[test]
fn a_command_in_the_wrong_place_says_so_and_makes_nothing() {
    let place = Place::new();
    for arguments in [
        &["user", "list"][..],
        &["user", "add", "ann", "--email", "ann@example.org"],
        &["user", "passwd", "ann"],
        &["user", "disable", "ann"],
        &["user", "enable", "ann"],
        &["user", "erase", "ann", "--yes"],
        &["token", "add", "ann", "--name", "a"],
        &["token", "list", "ann"],
        &["token", "revoke", "ann", "1"],
        &["webhook", "add", "https://app.example.org/"],
        &["webhook", "list"],
        &["webhook", "secret", "1"],
        &["webhook", "log"],
        &["key", "accept"],
        &["key", "list"],
        &["key", "add", "shop", "--scopes", "users"],
        &["audit"],
        &["check"],
        &["restored"],
        // These two are about files only.
        &["backup", "today.db"],
        &["restore", "none.db"],
    ] {
        let error = place.run_with(PASSWORD, arguments).failed(1);
        let is_named = match (testing::engine(), arguments[0]) {
            (_, "restore") => error == "error: there is no file none.db\n",
            (Engine::Postgres, "backup") => error.contains("pg_dump"),
            (Engine::Postgres, _) => error.contains("there is no database at postgres://"),
            (Engine::Sqlite, _) => {
                let folder = fs::canonicalize(place.path("")).expect("it is there");
                let whole = folder.join("data/postroom.db").display().to_string();
                error.contains(&format!(
                    "there is no database at data/postroom.db, which is {whole}"
                ))
            }
        };
        assert!(is_named, "{arguments:?}: {error}");
        if !matches!(arguments[0], "restore" | "backup") {
            assert!(error.contains("--data-dir") && error.contains("postroom config"), "{error}");
        }
        assert!(!place.path("data").exists(), "{arguments:?}");
    }
    // Where there is one, it is found.
    place.run(&["migrate"]).ok();
    assert_eq!(place.run(&["user", "list"]).ok(), "");
}

#[test]
fn what_is_printed_at_the_start_is_json_where_the_log_is() {
    let place = Place::new().with("POSTROOM_LOG_FORMAT", "json");
    let server = place.serve();
    let address = server.address;
    let said = server.last_words();
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let greeting = lines.iter().find(|line| line["message"] == "listening").expect(&said);
    assert_eq!(greeting["address"], address.to_string());
    assert_eq!(greeting["docs"], format!("http://{address}/docs"));
    assert_eq!((&greeting["version"], &greeting["level"]), (&"0.1.0".into(), &"INFO".into()));
    assert!(greeting["warning"].is_null() && greeting["data"] == "data", "{greeting}");
}

#[test]
fn a_check_finds_what_is_damaged() {
    if testing::is_about_sqlite("it is the file that is damaged") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    for _ in 0..200 {
        ann.send_message(ann.id, "a message", &"text ".repeat(100));
    }
    // Beside a server that runs, too.
    place.is_whole();
    server.stop();
    place.is_whole();

    let good = fs::read(place.database()).unwrap();
    let pages = u64::try_from(good.len() / 4096).unwrap();
    for (what, at, bytes) in [
        ("the header", 0, &[0; 16][..]),
        ("a page", 4096 * (pages / 2), &[0xa5; 4096]),
        ("the last page", 4096 * (pages - 1), &[0xff; 100]),
    ] {
        let file = File::options().write(true).open(place.database()).unwrap();
        file.write_all_at(bytes, at).unwrap();
        let checked = place.run(&["check"]);
        assert_eq!(checked.status, 1, "{what}: {checked:?}");
        assert!(checked.err.contains(" problems in data/postroom.db"), "{what}: {checked:?}");
        assert!(!checked.out.is_empty() && !checked.out.contains("whole"), "{what}: {checked:?}");
        fs::write(place.database(), &good).unwrap();
    }
    place.is_whole();
}

#[test]
fn what_the_server_keeps_is_for_its_owner_only() {
    if testing::is_about_sqlite("it is about the file and its copies") {
        return;
    }
    let place = Place::new();
    // Whatever the umask of the shell that starts it.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 000; exec \"$0\"", env!("CARGO_BIN_EXE_postroom")]);
    command.env_clear().current_dir(place.path(""));
    command.env("POSTROOM_LISTEN", "127.0.0.1:0").env("POSTROOM_METRICS_LISTEN", "");
    command.env("POSTROOM_DATA_DIR", "data");
    let server = place.serve_by(command);
    let mut ann = server.user("ann");
    ann.send_message(ann.id, "a", "b");
    let backup = ["-c", "umask 000; exec \"$0\" backup data/copy.db"];
    let mut command = Command::new("/bin/sh");
    command.args(backup).arg(env!("CARGO_BIN_EXE_postroom")).env_clear();
    command.env("POSTROOM_DATA_DIR", "data").current_dir(place.path(""));
    finish(&mut command, "").ok();

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.path("data")), 0o700);
    let files = place.files();
    for name in ["postroom.db", "postroom.db-wal", "postroom.db-shm", "secret.key", "copy.db"] {
        assert!(files.iter().any(|file| file == name), "{name} is not in {files:?}");
    }
    for name in files {
        assert_eq!(mode(&place.path("data").join(&name)), 0o600, "{name}");
    }
    // A folder that is there is left as it is.
    server.stop();
    fs::set_permissions(place.path("data"), Permissions::from_mode(0o750)).unwrap();
    place.serve().stop();
    assert_eq!(mode(&place.path("data")), 0o750);
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let place = Place::new();
    for address in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "localhost:8000", ":8000"] {
        let error = place.run(&["--listen", address]).failed(2);
        let form = "error: command line: listen: it must be an IP address and a port, such as \
                    127.0.0.1:8000 or [::1]:8000\n";
        assert_eq!(error, form, "{address}");
    }
    let help = place.run(&["--help"]).ok();
    assert!(help.contains("--listen <IP:PORT>") && help.contains("0.0.0.0:8000"), "{help}");
    let error = place.run(&["--listen", "192.0.2.1:8000"]);
    assert!(error.failed(1).contains("cannot listen on 192.0.2.1:8000: "));
    let first = place.serve();
    let taken = first.address.to_string();
    let other = Place::new();
    let error = other.run(&["--listen", &taken]);
    let text = error.err.clone();
    assert!(text.contains(&format!("cannot listen on {taken}: Address already in use")), "{text}");
    assert_eq!(error.status, 1);
    let error = other.run(&["--set", &format!("metrics_listen={taken}")]).err;
    assert!(error.contains(&format!("cannot listen on {taken}")), "{error}");
    fs::write(other.path("short.key"), "short").expect("it can be written");
    let key = format!("secret_key_file={}", other.path("short.key").display());
    let error = other.run(&["--listen", "127.0.0.1:0", "--set", &key]).failed(2);
    assert!(error.contains("must have at least 32 characters"), "{error}");
    let both = ["--listen", "127.0.0.1:8999", "--set", "metrics_listen=127.0.0.1:8999"];
    assert!(other.run(&both).failed(2).contains("metrics_listen: it must be another address"));
    first.is_unharmed();
    // What failed to start has left nothing behind.
    assert!(!other.path("data").exists());
    other.serve().is_unharmed();
    other.is_whole();
}

#[test]
fn a_reader_that_has_gone_is_an_error_and_no_panic() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    for command in [&["config"][..], &["config", "--defaults"], &["openapi"], &["check"]] {
        let (reader, writer) = std::io::pipe().expect("the system has pipes");
        drop(reader);
        let run = place.command(command).stdout(writer).output().expect("it runs");
        let error = String::from_utf8_lossy(&run.stderr);
        assert_eq!(
            (run.status.code(), error.as_ref()),
            (Some(1), "error: Broken pipe (os error 32)\n")
        );
    }
}

#[test]
fn nobody_needs_to_read_what_it_prints() {
    let place = Place::new();
    // The disk with the log is full, or the reader of the log has gone.
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for gone in [false, true] {
        let mut command = place.command(&["--listen", "127.0.0.1:0"]);
        command.env("POSTROOM_LOG", "debug").env("POSTROOM_METRICS_LISTEN", "");
        command.stdout(full()).stderr(if gone { Stdio::piped() } else { full().into() });
        let mut child = Guard(command.spawn().unwrap());
        drop(child.0.stderr.take());
        let id = child.0.id();
        until(TIMEOUT, "it listens", || listening(id).is_some());
        let address = format!("127.0.0.1:{}", listening(id).unwrap()).parse().unwrap();
        let mut ann = User::visitor(address, &format!("ann-{gone}"));
        let account = serde_json::json!({
            "username": ann.name, "email": "ann@example.org", "password": PASSWORD,
        });
        ann.call("POST", "/users/register", &account).unwrap().ok();
        assert_eq!(ann.try_login("wrong").status, 401);
        ann.login(PASSWORD);
        ann.send_message(ann.id, "nobody", "reads the log");
        assert_eq!(get(address, "/readyz").status, 200);
        let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(id, Signal::TERM).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(0));
    }
    for (arguments, code) in [(&["restore", "none.db"][..], 1), (&["--set", "none=1"], 2)] {
        let status = place.command(arguments).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

/// A process that does not outlive its test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The port that a process listens on.
fn listening(process: u32) -> Option<u16> {
    let sockets = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let sockets: Vec<_> = sockets
        .filter_map(|file| Some(fs::read_link(file.ok()?.path()).ok()?.display().to_string()))
        .filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let ours = columns[3] == "0A" && sockets.iter().any(|socket| socket == columns[9]);
        let port = columns[1].split_once(':').filter(|_| ours)?.1;
        u16::from_str_radix(port, 16).ok()
    })
}
