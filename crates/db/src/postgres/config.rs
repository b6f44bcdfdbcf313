//! The address of a server, and connecting to it.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure;
use super::tls::{self, Check};
use crate::{Error, Result};

/// How long to wait for one host, so that a request reaches the second one in time.
const CONNECT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unacknowledged before the connection is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// How a PostgreSQL server is used. SQLite ignores all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Connections for reads and writes. Up to as many again serve reads of one statement, two
    /// more serve scans, and one carries notices.
    pub connections: usize,
    /// How long a request may wait for the database in all before it fails with
    /// [`crate::Error::Unavailable`].
    pub patience: Duration,
    /// How long a statement may wait for a lock before it fails with [`crate::Error::Busy`].
    pub lock_timeout: Duration,
    /// Whether statements are prepared under a name. Turn this off behind a pooler that assigns a
    /// connection per transaction; settings of the session are then left alone, too.
    pub named_statements: bool,
    /// A direct address of the same database for notices, where a pooler does not support `LISTEN`.
    pub notices: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 16,
            patience: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            named_statements: true,
            notices: None,
        }
    }
}

/// A database, and how it is used.
#[derive(Clone)]
pub(crate) struct Config {
    pub(super) server: Address,
    pub(super) notices: Address,
    pub(crate) options: Options,
}

impl Config {
    pub(crate) fn parse(text: &str, options: Options) -> Result<Self> {
        let server = Address::parse(text)?;
        let notices = match &options.notices {
            Some(text) => Address::parse(text)?,
            None => server.clone(),
        };
        Ok(Self { server, notices, options })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.server.hosts.iter().map(name).collect();
        let database = self.server.hosts.first().and_then(|host| host.get_dbname());
        write!(f, "postgres://{}/{}", hosts.join(","), database.unwrap_or_default())
    }
}

/// The address of one database.
#[derive(Clone)]
pub(super) struct Address {
    /// In the order in which they are tried.
    hosts: Vec<tokio_postgres::Config>,
    check: Check,
}

pub(super) type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Address {
    fn parse(text: &str) -> Result<Self> {
        // A password may contain any character except @.
        let hosts = text.find('@').map_or(0, |at| at + 1);
        let question = text[hosts..].find('?').map(|at| text.split_at(hosts + at));
        let (address, parameters) = question.unwrap_or((text, "?"));
        let parameters = &parameters[1..];
        let (mut mode, mut roots, mut others) = (None, None, Vec::new());
        let mut names = HashSet::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
            let name = percent_decode_str(name).collect::<Vec<u8>>();
            if names.contains(&name) {
                return Err(Error::Url(match name.as_slice() {
                    b"sslmode" => "sslmode is there twice: leave the one that is meant",
                    b"sslrootcert" => "sslrootcert is there twice: leave the one that is meant",
                    _ => "a parameter after the ? is there twice: leave the one that is meant",
                }));
            }
            names.insert(name);
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(path(value)?),
                _ => others.push(parameter),
            }
        }
        let others = others.join("&");
        let mut hosts = Vec::new();
        for address in each_host(address)? {
            let host = format!("{address}?{others}").parse().map_err(|_repeats_it| {
                Error::Url(
                    "it must be postgres://user:password@host:port/database, with known parameters",
                )
            })?;
            hosts.push(host);
        }
        let mode =
            mode.unwrap_or(if hosts.iter().all(is_local) { "prefer" } else { "verify-full" });
        let (mode, check) = match (mode, roots) {
            ("disable", None) => (SslMode::Disable, Check::Nothing),
            ("prefer", None) => (SslMode::Prefer, Check::Nothing),
            ("require", None) => (SslMode::Require, Check::Nothing),
            // As in libpq, `require` verifies the authority if one is given.
            ("require" | "verify-ca", roots) => (SslMode::Require, Check::Authority(roots)),
            ("verify-full", roots) => (SslMode::Require, Check::Name(roots)),
            ("disable" | "prefer", Some(_)) => {
                return Err(Error::Url(
                    "sslrootcert needs an sslmode of require, verify-ca or verify-full",
                ));
            }
            _ => {
                return Err(Error::Url(
                    "sslmode must be disable, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        for host in &mut hosts {
            configure(host, mode)?;
        }
        Ok(Self { hosts, check })
    }

    pub(super) fn tls(&self) -> Result<MakeRustlsConnect> {
        tls::connector(&self.check)
    }

    /// Connects to the first host that accepts writes.
    ///
    /// Each host gets a limited time, because one may accept a connection and never answer.
    pub(super) async fn connect(
        &self,
        tls: &MakeRustlsConnect,
    ) -> Result<(Client, Connection<Socket, TlsStream>)> {
        let mut reasons = Vec::new();
        for host in &self.hosts {
            let longest = host.get_connect_timeout().copied().unwrap_or(CONNECT);
            let reason = match tokio::time::timeout(longest, host.connect(tls.clone())).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => failure::causes(&error),
                Err(_late) => "no answer in time".to_owned(),
            };
            reasons.push(match self.hosts.len() {
                1 => reason,
                _ => format!("{}: {reason}", name(host)),
            });
        }
        // All reasons, for the operator: a wrong password, a server that is down.
        Err(Error::Unavailable(reasons.join("; ")))
    }
}

/// The same address once for each of its hosts.
fn each_host(address: &str) -> Result<Vec<String>> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (user, rest) = rest.split_once('@').map_or(("", rest), |(user, rest)| (user, rest));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    if rest.contains('@') {
        // Otherwise the rest of the password would count as a host, whose name errors show.
        return Err(Error::Url("@ in a password must be written as %40"));
    }
    let at = if user.is_empty() { "" } else { "@" };
    let one = |host| format!("{scheme}://{user}{at}{host}/{database}");
    Ok(hosts.split(',').map(one).collect())
}

/// Sets what every connection needs.
fn configure(server: &mut tokio_postgres::Config, mode: SslMode) -> Result<()> {
    if server.get_hosts().is_empty() {
        return Err(Error::Url("the host is missing"));
    }
    if server.get_dbname().is_none_or(str::is_empty) {
        return Err(Error::Url("the name of the database is missing"));
    }
    server.ssl_mode(mode);
    // Neither a standby nor a demoted primary.
    server.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if server.get_application_name().is_none() {
        server.application_name("postroom");
    }
    server.tcp_user_timeout(UNACKNOWLEDGED);
    server.keepalives_idle(Duration::from_secs(5));
    server.keepalives_interval(Duration::from_secs(2));
    server.keepalives_retries(3);
    Ok(())
}

/// A host and its port, as shown to operators.
fn name(server: &tokio_postgres::Config) -> String {
    let port = server.get_ports().first().copied().unwrap_or(5432);
    let hosts = server.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => format!("{name}:{port}"),
        Host::Unix(path) => format!("{}:{port}", path.display()),
    });
    hosts.collect::<Vec<_>>().join(",")
}

/// Whether the host is this machine, so that nobody can eavesdrop.
fn is_local(server: &tokio_postgres::Config) -> bool {
    server.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

/// The percent-encoded path in a parameter.
fn path(value: &str) -> Result<PathBuf> {
    let is_escape = |rest: &str| {
        rest.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    match percent_decode_str(value).decode_utf8() {
        Ok(path) if !path.is_empty() && value.split('%').skip(1).all(is_escape) => {
            Ok(path.as_ref().into())
        }
        _ => Err(Error::Url("sslrootcert must be the path of a file, percent-encoded")),
    }
}
