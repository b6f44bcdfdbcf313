//! The settings as types, and the checks that they can be used together.

#![expect(missing_docs, reason = "config.default.toml is the manual of the settings")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use lettre::message::Mailbox;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use url::Url;

use super::allowed::{Allowed, parse_network};
use super::backups::{self, Place, every, place};
use super::jwt::{self, JwtIssuer, KeySource, Provision, algorithms, key_source};
use super::origin::{Origin, host_name};
use super::secret::Secret;
use super::smtp::Target;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    Open,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lookup {
    Everybody,
    Contacts,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statements {
    Named,
    Unnamed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub database_url: Secret,
    pub disk_reserve_mib: u32,
    pub database_connections: usize,
    pub database_timeout_seconds: u64,
    pub database_lock_timeout_seconds: u64,
    pub database_statements: Statements,
    pub database_notices_url: Secret,
    pub secret_key: Secret,
    pub secret_key_file: PathBuf,
    pub server_key: Secret,
    pub server_key_file: PathBuf,
    pub audit_days: u32,
    #[serde(deserialize_with = "every")]
    pub backup_every: Option<Duration>,
    pub backup_keep: u32,
    #[serde(deserialize_with = "place")]
    pub backup_dir: Option<Place>,
    pub backup_s3_endpoint: String,
    pub backup_s3_region: String,
    pub backup_s3_access_key: Secret,
    pub backup_s3_secret_key: Secret,
    pub backup_s3_secret_key_file: PathBuf,
    pub backup_s3_session_token: Secret,
    pub backup_s3_plain_http: bool,
    pub retention_days: u32,
    pub log: String,
    pub log_format: LogFormat,
    pub public_url: String,
    #[serde(deserialize_with = "names")]
    pub allowed_hosts: Vec<String>,
    pub rate_limits: Switch,
    pub registration: Registration,
    pub registrations_per_hour: u32,
    pub lookup: Lookup,
    pub name_reserved_days: u32,
    pub sends_per_hour: u32,
    pub sends_per_day: u32,
    pub contacts_per_hour: u32,
    pub contacts_per_day: u32,
    pub lookups_per_hour: u32,
    pub young_account_days: u32,
    pub young_account_divisor: u32,
    pub smtp_url: Secret,
    pub smtp_url_file: PathBuf,
    pub smtp_timeout_seconds: u64,
    pub mail_from: String,
    pub reminder_after_minutes: u32,
    pub templates_dir: PathBuf,
    #[serde(deserialize_with = "origins")]
    pub cors_origins: Vec<Origin>,
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "optional_address")]
    pub metrics_listen: Option<SocketAddr>,
    pub workers: usize,
    pub password_threads: usize,
    pub max_connections: usize,
    pub connections_per_address: usize,
    pub streams_per_user: usize,
    pub header_timeout_seconds: u64,
    pub body_timeout_seconds: u64,
    pub unfinished_bodies_max_bytes: usize,
    pub shutdown_seconds: u64,
    pub subject_max_chars: usize,
    pub body_max_bytes: usize,
    #[serde(deserialize_with = "hosts")]
    pub webhook_allow_hosts: Vec<Allowed>,
    pub webhook_timeout_seconds: u64,
    pub webhook_secret_overlap_hours: u32,
    pub webhook_log_days: u32,
    pub jwt_issuer: String,
    pub jwt_audience: String,
    #[serde(deserialize_with = "key_source")]
    pub jwt_keys: KeySource,
    pub jwt_secret_file: PathBuf,
    #[serde(deserialize_with = "algorithms")]
    pub jwt_algorithms: Vec<Algorithm>,
    pub jwt_subject: String,
    pub jwt_name: String,
    pub jwt_email: String,
    pub jwt_leeway_seconds: u32,
    pub jwt_longest_seconds: u32,
    pub jwt_provision: Provision,
    pub jwt_update_profile: bool,
    #[serde(deserialize_with = "hosts")]
    pub jwt_allow_hosts: Vec<Allowed>,
    /// The issuers that tables of the configuration file describe.
    pub jwt: Vec<JwtIssuer>,
}

/// Why a text cannot be the server key; none where it can.
pub(crate) fn server_key_problem(key: &Secret) -> Option<&'static str> {
    let text = key.expose();
    if text.len() < 32 {
        return Some("it must have at least 32 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("it must hold visible characters of ASCII only, as it is sent in a header");
    }
    let of_others = text.starts_with("prt_") || text.starts_with("pru_");
    of_others.then_some("it must not begin with prt_ or pru_, as tokens of users do")
}

/// A list of texts that `parse` understands.
fn list<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl Fn(&str) -> Option<T>,
    problem: &str,
) -> Result<Vec<T>, D::Error> {
    let items = Vec::<String>::deserialize(from)?;
    let parsed = items.iter().map(|item| parse(item)).collect::<Option<_>>();
    parsed.ok_or_else(|| D::Error::custom(problem))
}

fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Origin>, D::Error> {
    list(from, Origin::parse, "each must look like https://app.example.org")
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    list(from, parse_network, "each must be an address or a network")
}

fn hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Allowed>, D::Error> {
    list(from, Allowed::parse, "each must be the name of a host, an address or a network")
}

fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let name = |text: &str| host_name(text).filter(|name| *name == text).map(str::to_owned);
    list(from, name, "each must be the name of a host, without a port")
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let problem = "it must be an IP address and a port, such as 127.0.0.1:8000 or [::1]:8000";
    String::deserialize(from)?.parse().map_err(|_invalid| D::Error::custom(problem))
}

fn optional_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    let address = (!text.is_empty()).then(|| text.parse()).transpose();
    address.map_err(|_invalid| D::Error::custom("it must look like 127.0.0.1:9464"))
}

impl Settings {
    /// Finds a setting that is wrong: its name, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let (key, smtp, emails) = (&self.secret_key, &self.smtp_url, self.sends_mail());
        let has_key = key.expose().is_empty() || key.expose().len() >= 32;
        let is_line = key.expose().len() <= 4096 && !key.expose().contains(char::is_control);
        let server = Some(&self.server_key).filter(|key| !key.expose().is_empty());
        let server = server.and_then(server_key_problem);
        let smtp = (!smtp.expose().is_empty()).then(|| Target::parse(smtp.expose()));
        let smtp = smtp.and_then(Result::err);
        let sender = !emails || self.mail_sender().is_some();
        let public = Origin::parse(&self.public_url);
        let is_url = self.public_url.is_empty() || public.is_some();
        let is_https = self.public_url.is_ascii() && public.is_some_and(|url| url.is_https());
        let links = !emails || self.reminder_after_minutes == 0 || is_https;
        // A single word that is not a level would pass as a target, and nothing else be logged.
        let known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
        let log = self.log.split(',').all(known) && self.log_filter().is_ok();
        let not_0 = "it must be at least 1";
        // SQLite holds texts of up to 10^9 bytes; a thousandth of that bounds the memory for one.
        let too_large = "it is too large (1000000 bytes, 10000 characters)";
        let bodies = self.unfinished_bodies_max_bytes >= 32 << 20;
        let too_few = "it must be at least 33554432, so that a quarter holds the longest body";
        let no_links = "reminders need one that begins with https://, for their unsubscribe links; \
                        to send no reminders, set reminder_after_minutes to 0";
        let apart = self.listen.port() == 0 || self.metrics_listen != Some(self.listen);
        let issuers = jwt::problem(&self.jwt_issuers());
        let rules = [
            ("metrics_listen", apart, "it must be another address than that of listen"),
            ("secret_key", has_key, "it must have at least 32 characters"),
            ("secret_key", is_line, "it must be one line of at most 4096 bytes"),
            ("server_key", server.is_none(), server.unwrap_or_default()),
            ("audit_days", self.audit_days > 0, not_0),
            ("public_url", is_url, "it must look like https://mail.example.org"),
            ("log", log, "it must be error, warn, info, debug or trace"),
            ("max_connections", self.max_connections > 0, not_0),
            ("streams_per_user", self.streams_per_user > 0, not_0),
            ("database_connections", self.database_connections > 0, not_0),
            ("database_timeout_seconds", self.database_timeout_seconds > 0, not_0),
            ("database_lock_timeout_seconds", self.database_lock_timeout_seconds > 0, not_0),
            ("header_timeout_seconds", self.header_timeout_seconds > 0, not_0),
            ("body_timeout_seconds", self.body_timeout_seconds > 0, not_0),
            ("young_account_divisor", self.young_account_divisor > 0, not_0),
            ("webhook_timeout_seconds", self.webhook_timeout_seconds > 0, not_0),
            ("webhook_log_days", self.webhook_log_days > 0, not_0),
            ("smtp_timeout_seconds", self.smtp_timeout_seconds > 0, not_0),
            ("unfinished_bodies_max_bytes", bodies, too_few),
            ("body_max_bytes", self.body_max_bytes <= 1_000_000, too_large),
            ("subject_max_chars", self.subject_max_chars <= 10_000, too_large),
            ("smtp_url", smtp.is_none(), smtp.unwrap_or_default()),
            ("mail_from", sender, "it must look like \"Example Mail <noreply@example.org>\""),
            ("public_url", links, no_links),
            ("jwt_issuer", issuers.is_none(), issuers.unwrap_or_default()),
        ];
        let broken = rules.into_iter().find(|(_, holds, _)| !holds);
        broken.map(|(name, _, problem)| (name, problem)).or_else(|| self.backup_problem())
    }

    fn backup_problem(&self) -> Option<(&'static str, &'static str)> {
        if self.backup_keep == 0 {
            return Some(("backup_keep", "it must be at least 1"));
        }
        if self.backup_every.is_some() && self.backup_dir.is_none() {
            let none =
                "backup_every needs a place for the backups: a folder, or s3://BUCKET/PREFIX";
            return Some(("backup_dir", none));
        }
        // The region may be meant for other programs.
        let is_used = matches!(self.backup_dir, Some(Place::Bucket { .. }))
            || !self.backup_s3_endpoint.is_empty();
        let wrong = is_used.then(|| self.backup_endpoint().err()).flatten();
        wrong.map(|problem| ("backup_s3_endpoint", problem))
    }

    /// The address of the storage for backups.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn backup_endpoint(&self) -> Result<Url, &'static str> {
        let by_http = self.backup_s3_plain_http;
        backups::endpoint(&self.backup_s3_endpoint, &self.backup_s3_region, by_http)
    }

    /// Other libraries log only warnings and errors, unless `log` names them.
    pub(crate) fn log_filter(&self) -> Result<EnvFilter, ParseError> {
        let verbose = matches!(self.log.as_str(), "debug" | "trace");
        let quiet = if verbose { ",hyper=warn,mio=warn" } else { "" };
        EnvFilter::builder().with_regex(false).parse(format!("{}{quiet}", self.log))
    }

    /// The issuers whose JWTs are accepted: that of the settings, and those of tables.
    pub(crate) fn jwt_issuers(&self) -> Vec<JwtIssuer> {
        let is_set = !self.jwt_issuer.is_empty() || !self.jwt_audience.is_empty();
        let first = is_set.then(|| JwtIssuer {
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            keys: self.jwt_keys.clone(),
            secret_file: self.jwt_secret_file.clone(),
            algorithms: self.jwt_algorithms.clone(),
            subject: self.jwt_subject.clone(),
            name: self.jwt_name.clone(),
            email: self.jwt_email.clone(),
            leeway_seconds: self.jwt_leeway_seconds,
            longest_seconds: self.jwt_longest_seconds,
            provision: self.jwt_provision,
            update_profile: self.jwt_update_profile,
            external_id_prefix: String::new(),
        });
        first.into_iter().chain(self.jwt.iter().cloned()).collect()
    }

    /// The sender of e-mail.
    pub(crate) fn mail_sender(&self) -> Option<Mailbox> {
        self.mail_from.parse().ok()
    }

    /// Whether a mail server is configured.
    pub(crate) fn sends_mail(&self) -> bool {
        !self.smtp_url.expose().is_empty() || !self.smtp_url_file.as_os_str().is_empty()
    }

    /// The address of the database.
    ///
    /// # Errors
    /// If `database_url` is not a valid address.
    pub fn database(&self) -> Result<db::Url, db::Error> {
        let text = self.database_url.expose();
        self.database_at(if text.is_empty() { "sqlite:postroom.db" } else { text })
    }

    /// The address of another database, with the same options.
    ///
    /// # Errors
    /// If the text is not a valid address.
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
