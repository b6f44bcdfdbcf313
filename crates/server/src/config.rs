//! The configuration: layers over `config.default.toml`, which is its manual; and the types that
//! settings are read into.
//!
//! The lowest room: everything may use it, and it uses nothing of this crate.

pub(crate) mod allowed;
mod dotenv;
pub(crate) mod log;
mod mail;
pub(crate) mod origin;
mod read;
pub(crate) mod secret;
mod show;
pub(crate) mod smtp;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use toml::{Table, Value};
use tracing::level_filters::LevelFilter;

use allowed::Allowed;
use origin::Origin as Page;
use secret::Secret;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// Names of the Django app's `.env`, and what they are called here.
const SEED_NAMES: [(&str, &str); 2] =
    [("LOGGER_LEVEL", "log"), ("DJANGO_SECRET_KEY", "secret_key")];

/// A configuration that cannot be used, and where it stands.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct Error {
    origin: Origin,
    problem: String,
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `config.default.toml`.
    Default,
    /// A configuration file or `.env`.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

/// A switch that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Anybody.
    Open,
    /// Nobody; accounts are made on the command line.
    Closed,
}

/// How statements are sent to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statements {
    /// Prepared once for each connection.
    Named,
    /// Each by itself.
    Unnamed,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The settings, each as `config.default.toml` explains it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml is their manual")]
pub struct Settings {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub database_url: Secret,
    pub database_connections: usize,
    pub database_timeout_seconds: u64,
    pub database_lock_timeout_seconds: u64,
    pub database_statements: Statements,
    pub database_notices_url: Secret,
    pub secret_key: Secret,
    pub secret_key_file: PathBuf,
    pub log: String,
    pub log_format: LogFormat,
    pub public_url: String,
    pub rate_limits: Switch,
    pub registration: Registration,
    pub registrations_per_hour: u32,
    pub sends_per_hour: u32,
    pub sends_per_day: u32,
    pub contacts_per_hour: u32,
    pub contacts_per_day: u32,
    pub young_account_days: u32,
    pub young_account_divisor: u32,
    pub smtp_url: Secret,
    pub smtp_url_file: PathBuf,
    pub smtp_timeout_seconds: u64,
    pub mail_from: String,
    pub reminder_after_minutes: u32,
    pub templates_dir: PathBuf,
    #[serde(deserialize_with = "read::pages")]
    pub cors_origins: Vec<Page>,
    #[serde(deserialize_with = "read::networks")]
    pub trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "read::optional_address")]
    pub metrics_listen: Option<SocketAddr>,
    pub workers: usize,
    pub password_threads: usize,
    pub max_connections: usize,
    pub streams_per_user: usize,
    pub header_timeout_seconds: u64,
    pub body_timeout_seconds: u64,
    pub shutdown_seconds: u64,
    pub subject_max_chars: usize,
    pub body_max_bytes: usize,
    #[serde(deserialize_with = "read::hosts")]
    pub webhook_allow_hosts: Vec<Allowed>,
    pub webhook_timeout_seconds: u64,
    pub webhook_secret_overlap_hours: u32,
    pub webhook_log_days: u32,
}

/// The settings in force, and where each comes from.
#[derive(Clone)]
pub struct Config {
    /// The values.
    pub settings: Settings,
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

/// What the layers are read from, so that nothing but [`Sources::of_process`] looks around. It
/// holds secrets and cannot be shown.
#[derive(Clone, Default)]
pub struct Sources {
    /// A configuration file that must be there.
    pub file: Option<PathBuf>,
    /// The folder in which `postroom.toml` and `.env` are looked for.
    pub folder: PathBuf,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// `NAME=VALUE` of the command line.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The current directory and the environment of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the door of the configuration")]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        // A variable that is not UTF-8 cannot be one of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, folder: PathBuf::from("."), environment, flags }
    }
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// What cannot be read, an unknown name or an unusable value, with its place. Values of
    /// secrets are not repeated.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let table = DEFAULTS.parse::<Table>().expect("the defaults are valid TOML");
        let origins = table.keys().map(|name| (name.clone(), Origin::Default)).collect();
        let settings = table.clone().try_into().expect("the defaults are valid settings");
        let mut config = Self { settings, table, origins };

        let variables = |name: &str| sources.environment.iter().find(|(key, _)| key == name);
        let named = sources.file.clone();
        let named = named.or_else(|| variables("POSTROOM_CONFIG").map(|(_, path)| path.into()));
        let usual = sources.folder.join("postroom.toml");
        if let Some(path) = named.or_else(|| usual.is_file().then_some(usual)) {
            config.read_toml(&path)?;
        }
        let path = sources.folder.join(".env");
        if path.is_file() {
            let origin = Origin::File(path.clone());
            config.overlay_environment(&dotenv::read(&path)?, |_name| origin.clone())?;
        }
        config.overlay_environment(&sources.environment, |name| {
            Origin::Environment(name.to_owned())
        })?;
        for (name, text) in &sources.flags {
            config.set_text(name, text, &Origin::Flag)?;
        }
        config.settings.check(&config)?;
        Ok(config)
    }

    fn read_toml(&mut self, path: &Path) -> Result<(), Error> {
        let origin = Origin::File(path.to_path_buf());
        let text =
            std::fs::read_to_string(path).map_err(|cause| wrong(&origin, cause.to_string()))?;
        // The parser's own message would show the line, and the line may hold a secret.
        let table = text.parse::<Table>().map_err(|cause| wrong(&origin, cause.message()))?;
        for (name, value) in table {
            self.set(&name, value, &origin)?;
        }
        Ok(())
    }

    fn overlay_environment(
        &mut self,
        variables: &[(String, String)],
        origin: impl Fn(&str) -> Origin,
    ) -> Result<(), Error> {
        for (seed, name) in SEED_NAMES {
            if let Some((_, text)) = variables.iter().find(|(key, _)| key == seed) {
                let text = if name == "log" { dotenv::level(text) } else { text };
                self.set_text(name, text, &origin(seed))?;
            }
        }
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("POSTROOM_") else { continue };
            if name != "CONFIG" {
                self.set_text(&name.to_ascii_lowercase(), text, &origin(variable))?;
            }
        }
        Ok(())
    }

    /// Sets a value that is written as text, by the kind of the default.
    fn set_text(&mut self, name: &str, text: &str, origin: &Origin) -> Result<(), Error> {
        let value = match self.table.get(name) {
            Some(Value::Integer(_)) => {
                text.trim().parse().map(Value::Integer).map_err(|_invalid| {
                    wrong(origin, format!("{name}: it must be a whole number"))
                })?
            }
            Some(Value::Array(_)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => Value::String(text.to_owned()),
        };
        self.set(name, value, origin)
    }

    fn set(&mut self, name: &str, value: Value, origin: &Origin) -> Result<(), Error> {
        let Some(slot) = self.table.get_mut(name) else {
            return Err(wrong(origin, format!("{name}: there is no such setting")));
        };
        *slot = value;
        self.settings = self.table.clone().try_into().map_err(|cause: toml::de::Error| {
            // The message may quote the value, and the value may be a secret.
            let secret = show::is_secret(name);
            let problem = if secret { "it must be text" } else { cause.message() };
            wrong(origin, format!("{name}: {problem}"))
        })?;
        self.origins.insert(name.to_owned(), origin.clone());
        Ok(())
    }
}

impl Settings {
    fn check(&self, config: &Config) -> Result<(), Error> {
        let wrong = |name: &str, problem: &str| {
            let origin = config.origins.get(name).unwrap_or(&Origin::Default);
            Err(wrong(origin, format!("{name}: {problem}")))
        };
        let key = self.secret_key.expose();
        if !key.is_empty() && key.len() < 32 {
            return wrong("secret_key", "it must have at least 32 characters");
        }
        let public = &self.public_url;
        if !public.is_empty() && Page::parse(public).is_none() {
            return wrong("public_url", "it must look like https://mail.example.org");
        }
        // A lone word that is no level would be taken for a target, and nothing else be logged.
        let known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
        if !self.log.split(',').all(known) || log::filter(&self.log).is_err() {
            return wrong("log", "it must be error, warn, info, debug or trace");
        }
        for (name, value) in [
            ("max_connections", self.max_connections as u64),
            ("streams_per_user", self.streams_per_user as u64),
            ("database_connections", self.database_connections as u64),
            ("database_timeout_seconds", self.database_timeout_seconds),
            ("database_lock_timeout_seconds", self.database_lock_timeout_seconds),
            ("header_timeout_seconds", self.header_timeout_seconds),
            ("body_timeout_seconds", self.body_timeout_seconds),
            ("young_account_divisor", self.young_account_divisor.into()),
            ("webhook_timeout_seconds", self.webhook_timeout_seconds),
            ("webhook_log_days", self.webhook_log_days.into()),
            ("smtp_timeout_seconds", self.smtp_timeout_seconds),
        ] {
            if value == 0 {
                return wrong(name, "it must be at least 1");
            }
        }
        if let Err((name, problem)) = self.check_mail() {
            return wrong(name, &problem);
        }
        // SQLite holds texts of up to 10^9 bytes; a thousandth of that bounds the memory of one.
        if self.body_max_bytes > 1_000_000 || self.subject_max_chars > 10_000 {
            let name = if self.body_max_bytes > 1_000_000 {
                "body_max_bytes"
            } else {
                "subject_max_chars"
            };
            return wrong(name, "it is too large (1000000 bytes, 10000 characters)");
        }
        Ok(())
    }

    /// The database's address.
    ///
    /// # Errors
    /// Where it is none.
    pub fn database(&self) -> Result<db::Url, db::Error> {
        let text = match self.database_url.expose() {
            "" => "sqlite:postroom.db",
            url => url,
        };
        self.database_at(text)
    }

    /// Another database, used as this one is.
    ///
    /// # Errors
    /// Where the address is none.
    pub fn database_at(&self, text: &str) -> Result<db::Url, db::Error> {
        let notices = self.database_notices_url.expose();
        let options = db::Options {
            connections: self.database_connections,
            patience: Duration::from_secs(self.database_timeout_seconds),
            lock_timeout: Duration::from_secs(self.database_lock_timeout_seconds),
            named_statements: self.database_statements == Statements::Named,
            notices: (!notices.is_empty()).then(|| notices.to_owned()),
        };
        db::Url::with(text, &self.data_dir, options)
    }
}

fn wrong(origin: &Origin, problem: impl Into<String>) -> Error {
    Error { origin: origin.clone(), problem: problem.into() }
}
