//! The address of a server, and how a connection to it is made.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure;
use super::tls::{self, Check};
use crate::url::Options;
use crate::{Error, Result};

/// How long one host may take to let us in: with two of them the second is reached within the time
/// of a request.
const CONNECT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unacknowledged before the connection is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// A server, or several of which one can be written to.
#[derive(Clone)]
pub(crate) struct Config {
    pub(super) server: Address,
    /// Where the notices go.
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
        self.server.fmt(f)
    }
}

/// The way to one database: its hosts in the order in which they are tried.
#[derive(Clone)]
pub(super) struct Address {
    hosts: Vec<tokio_postgres::Config>,
    check: Check,
}

/// A connection, and what sends and receives for it.
pub(super) type Connected = (Client, Connection<Socket, Stream>);
pub(super) type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Address {
    fn parse(text: &str) -> Result<Self> {
        // A password may have any other character than an @.
        let hosts = text.find('@').map_or(0, |at| at + 1);
        let question = text[hosts..].find('?').map(|at| text.split_at(hosts + at));
        let (place, parameters) = question.unwrap_or((text, "?"));
        let parameters = &parameters[1..];
        let (mut mode, mut roots) = (None, None);
        let mut rest = String::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(path(value)?),
                _ => {
                    rest.push(if rest.is_empty() { '?' } else { '&' });
                    rest.push_str(parameter);
                }
            }
        }
        let mut hosts = Vec::new();
        for place in each_host(place)? {
            let host = format!("{place}{rest}").parse().map_err(|_repeats_it| {
                Error::Url(
                    "it must be postgres://user:password@host:port/database, with known parameters",
                )
            })?;
            hosts.push(host);
        }
        let mode = mode.unwrap_or(if hosts.iter().all(nearby) { "prefer" } else { "verify-full" });
        let (mode, check) = match (mode, roots) {
            ("disable", None) => (SslMode::Disable, Check::Nothing),
            ("prefer", None) => (SslMode::Prefer, Check::Nothing),
            ("require", None) => (SslMode::Require, Check::Nothing),
            // As libpq does where there is somebody to trust.
            ("require" | "verify-ca", roots) => (SslMode::Require, Check::Authority(roots)),
            ("verify-full", roots) => (SslMode::Require, Check::Name(roots)),
            ("disable" | "prefer", Some(_)) => {
                return Err(Error::Url("sslrootcert is of no use with this sslmode"));
            }
            _ => {
                return Err(Error::Url(
                    "sslmode must be disable, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        for host in &mut hosts {
            settle(host, mode)?;
        }
        Ok(Self { hosts, check })
    }

    pub(super) fn tls(&self) -> Result<MakeRustlsConnect> {
        tls::connector(&self.check)
    }

    /// Connects to the first host that can be written to.
    ///
    /// One that takes the connection and says nothing must not stand before the others for ever.
    pub(super) async fn connect(&self, tls: &MakeRustlsConnect) -> Result<Connected> {
        let mut why = String::new();
        for host in &self.hosts {
            let longest = host.get_connect_timeout().copied().unwrap_or(CONNECT);
            let reason = match tokio::time::timeout(longest, host.connect(tls.clone())).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => failure::causes(&error),
                Err(_late) => "it does not answer in time".to_owned(),
            };
            if !why.is_empty() {
                why.push_str("; ");
            }
            if self.hosts.len() > 1 {
                why.push_str(&name(host));
                why.push_str(": ");
            }
            why.push_str(&reason);
        }
        // Whatever it is, it is for the operator: a wrong password, a server that is away.
        Err(Error::Unavailable(why))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts.iter().map(name).collect();
        let database = self.hosts.first().and_then(|host| host.get_dbname());
        write!(f, "postgres://{}/{}", hosts.join(","), database.unwrap_or_default())
    }
}

/// The same address once for each of its hosts.
fn each_host(place: &str) -> Result<Vec<String>> {
    let (scheme, rest) = place.split_once("://").unwrap_or(("", place));
    let (user, rest) = rest.split_once('@').map_or(("", rest), |(user, rest)| (user, rest));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    if rest.contains('@') {
        // Else the rest of the password would be the name of a host, which everybody may see.
        return Err(Error::Url("@ in a password is written %40"));
    }
    let at = if user.is_empty() { "" } else { "@" };
    let one = |host| format!("{scheme}://{user}{at}{host}/{database}");
    Ok(hosts.split(',').map(one).collect())
}

/// What we want of every connection.
fn settle(server: &mut tokio_postgres::Config, mode: SslMode) -> Result<()> {
    if server.get_hosts().is_empty() {
        return Err(Error::Url("the host is missing"));
    }
    if server.get_dbname().is_none_or(str::is_empty) {
        return Err(Error::Url("the name of the database is missing"));
    }
    server.ssl_mode(mode);
    // Never one that cannot be written to, be it a standby or a primary that was put down.
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

/// A host and its port, for a person.
fn name(server: &tokio_postgres::Config) -> String {
    let port = server.get_ports().first().copied().unwrap_or(5432);
    let hosts = server.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => format!("{name}:{port}"),
        Host::Unix(path) => format!("{}:{port}", path.display()),
    });
    hosts.collect::<Vec<_>>().join(",")
}

/// Whether all hosts are this machine, where nobody can listen in between.
fn nearby(server: &tokio_postgres::Config) -> bool {
    server.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

/// The path in a parameter: `%2F` is as good as `/`.
fn path(value: &str) -> Result<PathBuf> {
    let wrong = Error::Url("sslrootcert must be the path of a file, percent-encoded");
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| {
            digit
                .and_then(|digit| char::from(digit).to_digit(16))
                .and_then(|d| u8::try_from(d).ok())
        });
        let [Some(high), Some(low)] = digits else { return Err(wrong) };
        bytes.push(16 * high + low);
    }
    let text = String::from_utf8(bytes).map_err(|_invalid| wrong.clone())?;
    if text.is_empty() { Err(wrong) } else { Ok(text.into()) }
}
