//! The configuration: its layers, what they refuse, and what they never tell.

use std::path::{Path, PathBuf};

use server::config::{Config, DEFAULTS, LogFormat, Registration, Settings, Sources, Switch};
use tempfile::TempDir;

/// Long enough for a key, and found wherever it is told.
const KEY: &str = "TELLTALE-TELLTALE-TELLTALE-TELLTALE";

/// A folder with what is in it, and the rest of what a configuration is read from.
struct Place {
    folder: TempDir,
    sources: Sources,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let sources = Sources { folder: folder.path().to_path_buf(), ..Sources::default() };
        Self { folder, sources }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path(name), text).expect("a file can be written");
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        self.sources.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same under `--config`.
    fn named(mut self, name: &str) -> Self {
        self.sources.file = Some(self.path(name));
        self
    }

    #[track_caller]
    fn loads(&self) -> Config {
        Config::load(&self.sources).expect("it is right")
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        self.loads().settings
    }

    /// The error, which must name all of these.
    #[track_caller]
    fn refused(&self, named: &[&str]) -> String {
        let error = Config::load(&self.sources).expect_err("it is wrong");
        let text = error.to_string();
        for name in named {
            assert!(text.contains(name), "{name} is not in: {text}");
        }
        for reported in [&text, &format!("{error:?}")] {
            assert!(!reported.contains("TELLTALE"), "{reported}");
        }
        text
    }
}

/// The line that `postroom config` shows for a setting, and where it says that it comes from.
fn line(config: &Config, name: &str) -> (String, String) {
    let mut lines = config.lines().filter(|(line, _)| line.starts_with(&format!("{name} = ")));
    let (line, origin) = lines.next().expect("each setting has a line");
    assert!(lines.next().is_none(), "{name} has two lines");
    (line, origin.to_string())
}

#[test]
fn a_layer_above_wins_over_the_one_below() {
    let place = Place::new();
    assert_eq!(place.settings().workers, 0);
    assert_eq!(line(&place.loads(), "workers"), ("workers = 0".to_owned(), "default".to_owned()));

    let place = place.file("postroom.toml", "workers = 1\npassword_threads = 1");
    assert_eq!(place.settings().workers, 1);
    let place = place.file(".env", "POSTROOM_WORKERS=2");
    assert_eq!(place.settings().workers, 2);
    let place = place.variable("POSTROOM_WORKERS", "3");
    assert_eq!(place.settings().workers, 3);
    assert_eq!(line(&place.loads(), "workers").1, "POSTROOM_WORKERS");
    let place = place.flag("workers", "4");
    assert_eq!(place.settings().workers, 4);

    let config = place.loads();
    assert_eq!(line(&config, "workers"), ("workers = 4".to_owned(), "command line".to_owned()));
    assert_eq!(config.settings.password_threads, 1, "what the others do not name stays");
    let file = place.path("postroom.toml").display().to_string();
    assert_eq!(line(&config, "password_threads").1, file);
}

#[test]
fn a_file_that_is_named_takes_the_place_of_the_usual_one() {
    let place = Place::new()
        .file("postroom.toml", "workers = 1")
        .file("other.toml", "workers = 2")
        .file("third.toml", "workers = 3");
    let path = place.path("third.toml").display().to_string();

    let place = place.variable("POSTROOM_CONFIG", &path);
    assert_eq!(place.settings().workers, 3);
    let place = place.named("other.toml");
    assert_eq!(place.settings().workers, 2);

    place.named("missing.toml").refused(&["missing.toml"]);
    let missing = Place::new().variable("POSTROOM_CONFIG", "/nowhere/at/all.toml");
    missing.refused(&["/nowhere/at/all.toml"]);
}

#[test]
fn an_unknown_name_is_refused_with_its_place_in_each_layer() {
    let place = || Place::new();

    place().file("postroom.toml", "wrokers = 1").refused(&["wrokers", "postroom.toml"]);
    place().file("postroom.toml", "[server]\nlisten = 'a'").refused(&["server", "postroom.toml"]);
    place().file(".env", "POSTROOM_WROKERS=1").refused(&["wrokers", ".env"]);
    place().variable("POSTROOM_WROKERS", "1").refused(&["POSTROOM_WROKERS"]);
    place().variable("POSTROOM_", "1").refused(&["POSTROOM_"]);
    place().flag("wrokers", "1").refused(&["wrokers", "command line"]);
    // Names of others are none of our business.
    let others = place().file(".env", "DATABASE_URL=x\nSOMETHING=y").variable("WORKERS", "no");
    others.loads();
}

#[test]
fn a_value_that_cannot_be_used_is_refused_with_its_name_and_place() {
    for (name, value) in [
        ("listen", "8000"),
        ("listen", "localhost:http"),
        ("listen", ""),
        ("log", "loud, please"),
        ("log_format", "xml"),
        ("public_url", "mail.example.org"),
        ("public_url", "https://mail.example.org/"),
        ("public_url", "ftp://mail.example.org"),
        ("rate_limits", "true"),
        ("rate_limits", "ON"),
        ("registration", "maybe"),
        ("trusted_proxies", "10.0.0.0/8,somewhere"),
        ("trusted_proxies", "10.0.0.0/33"),
        ("metrics_listen", "9090"),
        ("allowed_hosts", "mail.example.org:8000"),
        ("allowed_hosts", "https://mail.example.org"),
        ("unfinished_bodies_max_bytes", "1000"),
        ("workers", "many"),
        ("workers", "-1"),
        ("workers", "1.5"),
        ("workers", ""),
        ("max_connections", "0"),
        ("header_timeout_seconds", "0"),
        ("body_timeout_seconds", "0"),
        ("subject_max_chars", "10001"),
        ("body_max_bytes", "1000001"),
        ("body_max_bytes", "99999999999999999999"),
    ] {
        let variable = format!("POSTROOM_{}", name.to_ascii_uppercase());
        let start = format!("{name}: ");
        Place::new().variable(&variable, value).refused(&[&variable, &start]);
        Place::new().flag(name, value).refused(&["command line", &start]);
        let dotenv = format!("{variable}=\"{value}\"");
        Place::new().file(".env", dotenv).refused(&[".env", &start]);
    }
}

#[test]
fn a_value_of_the_wrong_type_in_a_file_is_refused_with_its_name() {
    for (name, value) in [
        ("workers", "'2'"),
        ("workers", "true"),
        ("workers", "1.0"),
        ("listen", "8000"),
        ("log", "1"),
        ("trusted_proxies", "'10.0.0.1'"),
        ("trusted_proxies", "[1]"),
        ("rate_limits", "false"),
        ("data_dir", "[]"),
        ("secret_key", "5"),
        ("database_url", "{ a = 1 }"),
        ("log.level", "'info'"),
    ] {
        let place = Place::new().file("postroom.toml", format!("{name} = {value}"));
        let name = name.split('.').next().expect("it has a start");
        place.refused(&["postroom.toml", &format!("{name}: ")]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for text in ["workers = ", "workers", "workers = 1\nworkers = 2", "= 1", "\u{0}"] {
        Place::new().file("postroom.toml", text).refused(&["postroom.toml"]);
    }
    Place::new().file("postroom.toml", b"log = '\xff'").refused(&["postroom.toml"]);
    for text in ["what is this", "POSTROOM_LOG='info", "POSTROOM LOG=info"] {
        Place::new().file(".env", text).refused(&[".env"]);
    }
}

#[test]
fn a_secret_is_in_no_error() {
    for text in [
        format!("secret_key = {KEY}"),
        format!("secret_key = \"{KEY}"),
        format!("secret_key = ['{KEY}']"),
        format!("secret_key = {{ key = '{KEY}' }}"),
        format!("secret_key = '{KEY}'\nsecret_key = '{KEY}'"),
        format!("secret_key '{KEY}'"),
        format!("database_url = postgres://u:{KEY}@h/d"),
        "secret_key = 'TELLTALE, too short'".to_owned(),
    ] {
        Place::new().file("postroom.toml", text).refused(&["postroom.toml"]);
    }
    for text in [
        format!("POSTROOM_SECRET_KEY=\"{KEY}"),
        format!("POSTROOM_SECRET_KEY={KEY} {KEY}"),
        format!("POSTROOM SECRET KEY={KEY}"),
        "POSTROOM_SECRET_KEY=TELLTALE".to_owned(),
        "DJANGO_SECRET_KEY=TELLTALE".to_owned(),
    ] {
        Place::new().file(".env", text).refused(&[".env"]);
    }
    for name in ["POSTROOM_SECRET_KEY", "DJANGO_SECRET_KEY"] {
        let error = Place::new().variable(name, "TELLTALE").refused(&["secret_key", name]);
        assert!(error.contains("32"), "{error}");
    }
    Place::new().flag("secret_key", "TELLTALE").refused(&["secret_key", "command line"]);
}

#[test]
fn an_invalid_address_of_the_mail_server_is_refused_and_not_repeated() {
    for text in [
        "mail.example.org",
        "http://mail.example.org",
        "smtp://",
        "smtp:mail.example.org",
        "smtp://mail.example.org/a/path",
        "smtp://mail.example.org#here",
        "smtp://mail.example.org?tls=maybe",
        "smtps://mail.example.org?tls=none",
        "smtp://mail.example.org?secret=TELLTALE",
        "smtp://TELLTALE@mail.example.org",
        "smtp://:TELLTALE@mail.example.org",
        "smtp://TELLTALE:%ff@mail.example.org",
        "smtp://ann:TELLTALE@mail.example.org:port",
    ] {
        Place::new().flag("smtp_url", text).refused(&["command line", "smtp_url: "]);
    }
}

#[test]
fn a_secret_is_neither_shown_nor_debugged() {
    let url = format!("postgres://ann:{KEY}@db.example/mail");
    for place in [
        Place::new().variable("POSTROOM_SECRET_KEY", KEY).variable("POSTROOM_DATABASE_URL", &url),
        Place::new().variable("DJANGO_SECRET_KEY", KEY),
        Place::new().flag("secret_key", KEY).flag("database_url", &url),
        Place::new().flag("database_url", &format!("postgres://db.example/mail?password={KEY}")),
        Place::new().flag("database_url", &format!("postgres://ann:a@{KEY}@db.example/mail")),
        Place::new().flag("database_url", &format!("postgres:password={KEY}")),
        Place::new()
            .file("postroom.toml", format!("secret_key = '{KEY}'\ndatabase_url = '{url}'"))
            .file(".env", format!("POSTROOM_SECRET_KEY={KEY}")),
    ] {
        let config = place.loads();
        let lines: Vec<_> =
            config.lines().map(|(line, origin)| format!("{line} {origin}")).collect();
        for reported in [lines.join("\n"), format!("{config:?}"), format!("{:#?}", config.settings)]
        {
            assert!(!reported.contains("TELLTALE"), "{reported}");
        }
    }
    let config = Place::new().flag("secret_key", KEY).flag("database_url", &url).loads();
    assert_eq!(line(&config, "secret_key").0, "secret_key = \"(hidden)\"");
    assert!(line(&config, "database_url").0.contains("db.example/mail"));
    assert_eq!(config.settings.secret_key.expose(), KEY);
    assert_eq!(config.settings.database_url.expose(), url);
}

#[test]
fn the_app_and_its_server_can_share_an_environment() {
    for place in [
        Place::new()
            .variable("POSTROOM_URL", "http://postroom:8000")
            .variable("POSTROOM_WEBHOOK_SECRET", "whsec_TELLTALE")
            .variable("POSTROOM_SERVER_KEY", KEY),
        Place::new().file(
            ".env",
            format!(
                "POSTROOM_URL=http://postroom:8000\nPOSTROOM_WEBHOOK_SECRET=whsec_TELLTALE\n\
                 POSTROOM_SERVER_KEY={KEY}"
            ),
        ),
    ] {
        let config = place.loads();
        assert_eq!(config.settings.server_key.expose(), KEY);
        assert_eq!(line(&config, "server_key").0, "server_key = \"(hidden)\"");
        assert!(!format!("{config:?}").contains("TELLTALE"));
    }
    // Only as variables: they are no settings.
    Place::new().flag("url", "http://postroom:8000").refused(&["url"]);
    Place::new().variable("POSTROOM_URLS", "x").refused(&["POSTROOM_URLS"]);
}

#[test]
fn a_server_key_is_long_and_could_not_be_a_token_of_a_user() {
    for (key, problem) in [
        ("TELLTALE", "32"),
        (&format!("prt_{KEY}")[..], "prt_"),
        (&format!("pru_{KEY}"), "pru_"),
        (&format!("{KEY} {KEY}"), "visible"),
        (&format!("{KEY}ü"), "visible"),
    ] {
        let error = Place::new().variable("POSTROOM_SERVER_KEY", key).refused(&["server_key"]);
        assert!(error.contains(problem), "{error}");
    }
    Place::new().flag("audit_days", "0").refused(&["audit_days"]);
}

#[test]
fn the_storage_of_backups_is_named_as_programs_that_use_it_name_it() {
    let place = Place::new()
        .variable("AWS_ACCESS_KEY_ID", "TELLTALE-id")
        .variable("AWS_SECRET_ACCESS_KEY", "TELLTALE-secret")
        .variable("AWS_SESSION_TOKEN", "TELLTALE-token")
        .variable("AWS_REGION", "eu-central-1");
    let config = place.loads();
    for name in ["access_key", "secret_key", "session_token"] {
        let hidden = format!("backup_s3_{name} = \"(hidden)\"");
        assert_eq!(line(&config, &format!("backup_s3_{name}")).0, hidden);
    }
    assert_eq!(config.settings.backup_s3_secret_key.expose(), "TELLTALE-secret");
    assert_eq!(line(&config, "backup_s3_region").1, "AWS_REGION");
    assert!(!format!("{config:?}{:?}", config.settings).contains("TELLTALE"));
    // Ours wins; and what is meant for other programs stops nothing.
    let place = place.variable("POSTROOM_BACKUP_S3_REGION", "us-west-2");
    assert_eq!(place.settings().backup_s3_region, "us-west-2");
    Place::new().variable("AWS_REGION", "somewhere else").loads();

    let endpoint = |url: &str| Place::new().flag("backup_s3_endpoint", url);
    for url in ["https://s3.example.org", "http://127.0.0.1:9000", "http://[::1]:9000/s3"] {
        endpoint(url).loads();
    }
    endpoint("http://s3.internal").flag("backup_s3_plain_http", "true").loads();
    for url in [
        "s3.example.org",
        "ftp://s3.example.org",
        "http://s3.internal",
        "http://127.0.0.1.example.org",
        "https://TELLTALE:TELLTALE@s3.example.org",
        "https://s3.example.org?a=TELLTALE",
    ] {
        endpoint(url).refused(&["backup_s3_endpoint: "]);
    }
}

#[test]
fn the_env_file_of_the_django_app_is_understood() {
    let key = "django-insecure-x@y(z)#d&e!f*g^h%i-k_l=m+n0123456789";
    let text = format!("LOGGER_LEVEL=WARNING\nDJANGO_SECRET_KEY={key}\n");
    let config = Place::new().file(".env", text).loads();
    assert_eq!(config.settings.log, "warn");
    assert_eq!(config.settings.secret_key.expose(), key);
    assert!(line(&config, "log").1.contains("/.env"));

    for (level, log) in [
        ("DEBUG", "debug"),
        ("INFO", "info"),
        ("info", "info"),
        ("ERROR", "error"),
        ("CRITICAL", "error"),
        ("NOTSET", "trace"),
    ] {
        assert_eq!(Place::new().variable("LOGGER_LEVEL", level).settings().log, log);
    }
    Place::new().file(".env", "LOGGER_LEVEL=LOUD AND CLEAR").refused(&[".env"]);
    Place::new().variable("LOGGER_LEVEL", "LOUD").refused(&["LOGGER_LEVEL", "log"]);
    // Our own name is the more precise one.
    let both = Place::new().file(".env", "POSTROOM_LOG=error\nLOGGER_LEVEL=DEBUG");
    assert_eq!(both.settings().log, "error");
    // In a file of ours they are names like any other that is unknown.
    Place::new().file("postroom.toml", "LOGGER_LEVEL = 'INFO'").refused(&["LOGGER_LEVEL"]);
}

#[test]
fn a_key_of_the_django_app_is_taken_to_the_letter() {
    // All characters that Django makes keys of; `$` means nothing in it.
    let key = "django-insecure-$abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)";

    for quote in ["", "'", "\""] {
        let text =
            format!("# it's ours\nDJANGO_SECRET_KEY={quote}{key}{quote} # \"\nLOGGER_LEVEL=INFO");
        assert_eq!(Place::new().file(".env", text).settings().secret_key.expose(), key, "{quote}");
    }
}

#[test]
fn every_fixed_name_of_the_environment_works() {
    let place = Place::new().file("key", KEY);
    let key_file = place.path("key").display().to_string();
    let place = place
        .variable("POSTROOM_LISTEN", "[::1]:9000")
        .variable("POSTROOM_DATA_DIR", "/var/lib/postroom")
        .variable("POSTROOM_DATABASE_URL", "sqlite:other.db")
        .variable("POSTROOM_SECRET_KEY", KEY)
        .variable("POSTROOM_SECRET_KEY_FILE", &key_file)
        .variable("POSTROOM_LOG", "debug")
        .variable("POSTROOM_PUBLIC_URL", "https://mail.example.org")
        .variable("POSTROOM_RATE_LIMITS", "off")
        .variable("POSTROOM_REGISTRATION", "closed");

    let settings = place.settings();

    assert_eq!(settings.listen.to_string(), "[::1]:9000");
    assert_eq!(settings.data_dir, Path::new("/var/lib/postroom"));
    let database = settings.database().expect("it is a file");
    assert_eq!(database.path(), Some(Path::new("/var/lib/postroom/other.db")));
    assert_eq!(settings.secret_key.expose(), KEY);
    assert_eq!(settings.secret_key_file, Path::new(&key_file));
    assert_eq!(settings.log, "debug");
    assert_eq!(settings.public_url, "https://mail.example.org");
    assert_eq!((settings.rate_limits, settings.registration), (Switch::Off, Registration::Closed));
}

#[test]
fn the_fixed_defaults_are_the_defaults() {
    let settings = Place::new().settings();

    assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.data_dir, Path::new("./postroom-data"));
    let database = settings.database().expect("it is a file");
    assert_eq!(database.path(), Some(Path::new("./postroom-data/postroom.db")));
    assert_eq!((settings.rate_limits, settings.registration), (Switch::On, Registration::Open));
    assert_eq!((settings.log.as_str(), settings.log_format), ("info", LogFormat::Text));
    assert!(settings.public_url.is_empty() && settings.trusted_proxies.is_empty());
    assert!(settings.secret_key.expose().is_empty() && settings.allowed_hosts.is_empty());
    let metrics = settings.metrics_listen.expect("it has an address");
    assert_eq!(metrics.to_string(), "127.0.0.1:9464");
    assert_eq!((settings.subject_max_chars, settings.body_max_bytes), (255, 65_536));
}

#[test]
fn every_setting_can_be_set_in_every_layer() {
    for (name, value) in DEFAULTS.parse::<toml::Table>().expect("it is TOML") {
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(_) if name == "cors_origins" => {
                "https://a.example, http://b.example:8080".to_owned()
            }
            toml::Value::Array(_) if name == "allowed_hosts" => {
                "mail.internal, 10.0.0.7".to_owned()
            }
            toml::Value::Array(_) if name == "jwt_algorithms" => "RS256, ES256".to_owned(),
            toml::Value::Array(_) if name == "jwt" => "[]".to_owned(),
            toml::Value::Array(_) => "10.0.0.7, 192.168.0.0/16".to_owned(),
            other => other.to_string(),
        };
        let variable = format!("POSTROOM_{}", name.to_ascii_uppercase());
        let dotenv = format!("{variable}='{text}'\n");
        for place in [
            Place::new().file("postroom.toml", format!("{name} = {value}")),
            Place::new().file(".env", dotenv),
            Place::new().variable(&variable, &text),
            Place::new().flag(&name, &text),
        ] {
            assert_ne!(line(&place.loads(), &name).1, "default");
        }
    }
}

#[test]
fn a_list_is_given_by_commas_as_an_array_or_an_item_at_a_time() {
    let defaults: toml::Table = DEFAULTS.parse().expect("they are TOML");
    // The issuers of JWTs are tables.
    let lists = defaults.iter().filter(|(name, value)| value.is_array() && *name != "jwt");
    let names: Vec<_> = lists.map(|(name, _)| name.as_str()).collect();
    let items = |name: &str| match name {
        "cors_origins" => ["https://app.example.org", "http://localhost:5173"],
        "trusted_proxies" => ["10.0.0.7", "::1"],
        "allowed_hosts" => ["postroom", "mail.internal"],
        "jwt_algorithms" => ["RS256", "ES256"],
        "webhook_allow_hosts" | "jwt_allow_hosts" => ["app.internal", "10.1.0.0/16"],
        other => panic!("give an example for {other}"),
    };
    assert_eq!(names.len(), 6, "{names:?}");
    for name in names {
        let [one, other] = items(name);
        let expected = format!("{name} = [\"{one}\", \"{other}\"]");
        let written = [
            format!("{one},{other}"),
            format!(" {one} , {other},"),
            format!("['{one}', \"{other}\"]"),
        ];
        for text in &written {
            let variable = format!("POSTROOM_{}", name.to_ascii_uppercase());
            for place in [Place::new().flag(name, text), Place::new().variable(&variable, text)] {
                assert_eq!(line(&place.loads(), name).0, expected, "{text}");
            }
        }
        // Repeated on the command line, over what other places say.
        let place = Place::new().variable(&format!("POSTROOM_{}", name.to_ascii_uppercase()), one);
        let place = place.flag(name, one).flag("workers", "2").flag(name, other);
        assert_eq!(line(&place.loads(), name).0, expected);
        assert_eq!(line(&Place::new().flag(name, "").loads(), name).0, format!("{name} = []"));
        assert_eq!(line(&Place::new().flag(name, "[]").loads(), name).0, format!("{name} = []"));
        Place::new().flag(name, &format!("[\"{one}\"")).refused(&[name, "command line"]);
        Place::new().flag(name, &format!("{one},not one of these!")).refused(&[name]);
    }
}

#[test]
fn the_lines_of_a_configuration_are_one() {
    let place = Place::new()
        .flag("trusted_proxies", "10.0.0.7,192.168.0.0/16")
        .flag("log", "info,server=debug")
        .flag("data_dir", "/a folder/with \"quotes\"");
    let config = place.loads();

    let lines: Vec<_> = config.lines().map(|(line, _)| line).collect();

    let again = Place::new().file("postroom.toml", lines.join("\n")).settings();
    assert_eq!(again.data_dir, Path::new("/a folder/with \"quotes\""));
    assert_eq!(again.trusted_proxies, config.settings.trusted_proxies);
    assert_eq!(again.trusted_proxies.len(), 2);
    assert_eq!(again.log, "info,server=debug");
}

#[test]
fn the_defaults_are_a_manual_in_which_each_setting_is_explained() {
    for paragraph in DEFAULTS.split("\n\n") {
        let mut settings = 0;
        let mut explained = false;
        for line in paragraph.lines() {
            if line.starts_with("# ") {
                assert_eq!(settings, 0, "the explanation stands before the setting: {line}");
                explained = true;
            } else if line != "#" {
                assert!(explained && line.contains(" = "), "nothing explains: {line}");
                settings += 1;
            }
        }
        assert!(settings <= 2, "too much is explained at once: {paragraph}");
    }
    let settings = Place::new().file("postroom.toml", DEFAULTS).settings();
    assert_eq!(format!("{settings:?}"), format!("{:?}", Place::new().settings()));
}

#[test]
fn issuers_of_jwts_are_whole_and_each_has_its_own_users() {
    let issuer = "jwt_issuer = 'https://a.example'\n";
    let flat = format!("{issuer}jwt_audience = 'postroom'\n");
    let table = "[[jwt]]\nissuer = 'https://b.example'\naudience = 'b'\n";
    let place = |text: &str| Place::new().file("postroom.toml", text);
    for text in [
        flat.clone(),
        format!("{flat}jwt_keys = 'file:/etc/keys.json'\njwt_algorithms = ['ES256']"),
        format!("{flat}{table}external_id_prefix = 'b:'"),
        format!("{table}secret_file = '/run/secrets/jwt'\nleeway_seconds = 5"),
    ] {
        place(&text).loads();
    }
    for (text, problem) in [
        (issuer.to_owned(), "jwt_audience"),
        ("jwt_audience = 'postroom'".to_owned(), "jwt_issuer"),
        (format!("{flat}jwt_subject = ''"), "jwt_subject"),
        (format!("{flat}jwt_keys = 'somewhere'"), "file:PATH"),
        (format!("{flat}jwt_algorithms = ['none']"), "RS256"),
        (format!("{flat}jwt_algorithms = ['HS256']"), "jwt_secret_file"),
        (format!("{flat}jwt_provision = 'perhaps'"), "jwt_provision"),
        (format!("{flat}jwt_longest_seconds = 86401"), "86400"),
        (format!("{flat}jwt_leeway_seconds = 601"), "600"),
        (format!("{flat}{table}"), "external_id_prefix"),
        (format!("{table}external_id_prefix = 'b:'\n{table}"), "named once"),
        (format!("{table}colour = 'red'"), "colour"),
        ("[[jwt]]\nissuer = 'https://b.example'\n".to_owned(), "audience"),
    ] {
        place(&text).refused(&[problem]);
    }
    Place::new().flag("jwt_update_profile", "perhaps").refused(&["true or false"]);
    assert!(Place::new().flag("jwt_update_profile", "true").settings().jwt_update_profile);
}
