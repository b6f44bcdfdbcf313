//! Web origins, as in `public_url` and `cors_origins`.

use std::net::Ipv6Addr;

/// The scheme, host and port of a page's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Parses `https://host` or `http://host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host, port })
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether this is https, and the other the same host without.
    pub(crate) fn is_secure_form_of(&self, other: &Self) -> bool {
        self.https && !other.https && self.host == other.host
    }

    /// Whether a request with this `Host` header goes to this origin. The scheme that the client
    /// used is unknown, so a host without a port matches the default port of either.
    pub(crate) fn is_host(&self, host: &str) -> bool {
        split_port(host).is_some_and(|(host, port)| {
            let usual = if self.https { 443 } else { 80 };
            host == self.host && port.unwrap_or(usual) == self.port
        })
    }
}

/// The name or address in a `Host` header, without its port and a dot at its end; `None` if the
/// header is not what RFC 9112, section 3.2, allows. An address of IPv6 is in its brackets.
pub(crate) fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.find(']') {
        Some(end) if host.starts_with('[') => host.split_at(end + 1),
        Some(_) => return None,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()));
    let address = name.strip_prefix('[').map(|name| name.trim_end_matches(']'));
    let is_name = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&c)),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (is_port && is_name && !name.is_empty()).then_some(name)
}

/// Splits `host:port`, with the host in lower case.
fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
        _ => (authority, None),
    };
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#' | ',');
    (!host.is_empty() && !host.contains(odd)).then(|| (host.to_ascii_lowercase(), port))
}
