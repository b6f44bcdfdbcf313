//! Connects to the endpoints of webhooks and to issuers of JWTs, and to nothing that their
//! addresses may not reach.
//!
//! A name is resolved here, and the connection goes to the address that was checked, so a name
//! server cannot answer one with another. The check sees what the system's resolver makes of an
//! address, however that is written.

mod addresses;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::config::allowed::Allowed;
use addresses::is_public;

/// A parsed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    is_https: bool,
    /// In lower case, without the brackets of an address and the dot at the end of a name.
    host: String,
    port: u16,
    /// The header `Host`.
    pub(crate) authority: String,
    pub(crate) path: PathAndQuery,
}

impl Target {
    /// Parses an address.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "it must look like https://app.example.org/webhooks";
        if text.contains('#') {
            return Err("it must not have a part after #");
        }
        let uri = text.parse::<Uri>().map_err(|_invalid| SHAPE)?;
        let authority = uri.authority().ok_or(SHAPE)?;
        if authority.as_str().contains('@') {
            return Err("it must not contain a user name or a password");
        }
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it must begin with https://"),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(known) {
            return Err(SHAPE);
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") if is_https => 443,
            Some("") => 80,
            rest => {
                let port = rest.and_then(|rest| rest.strip_prefix(':')?.parse().ok());
                port.filter(|port| *port != 0).ok_or(SHAPE)?
            }
        };
        let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Self { is_https, host, port, authority: authority.as_str().to_owned(), path })
    }
}

type Connection = Either<TcpStream, TlsStream<TcpStream>>;

/// Decides which targets may be connected to.
#[derive(Clone)]
pub(crate) struct Guard {
    allowed: Vec<Allowed>,
    /// The setting that `allowed` comes from.
    setting: &'static str,
    /// Made when it is first needed: the system's certificates take a megabyte.
    tls: Arc<OnceLock<TlsConnector>>,
}

impl Guard {
    pub(crate) fn new(allowed: Vec<Allowed>, setting: &'static str) -> Self {
        Self { allowed, setting, tls: Arc::default() }
    }

    fn allows_name(&self, host: &str) -> bool {
        self.allowed.iter().any(|allowed| matches!(allowed, Allowed::Name(name) if name == host))
    }

    fn allows_address(&self, ip: IpAddr) -> bool {
        self.allowed.iter().any(|allowed| matches!(allowed, Allowed::Network(n) if n.contains(&ip)))
    }

    /// Checks a target as far as possible without a name server.
    ///
    /// # Errors
    /// Why the target is refused.
    pub(crate) fn allows(&self, target: &Target) -> Result<(), String> {
        let literal = target.host.parse::<IpAddr>().ok();
        let allowed =
            self.allows_name(&target.host) || literal.is_some_and(|ip| self.allows_address(ip));
        if !allowed && !target.is_https {
            let (host, setting) = (&target.host, self.setting);
            return Err(format!("it must be https, or {setting} must name {host}"));
        }
        match literal {
            Some(address) if !allowed => self.check(address),
            _ => Ok(()),
        }
    }

    fn check(&self, address: IpAddr) -> Result<(), String> {
        if is_public(address) || self.allows_address(address) {
            return Ok(());
        }
        Err(format!("{address} is not a public address"))
    }

    /// Resolves a target; all of its addresses may be connected to.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, String> {
        self.allows(target)?;
        let found = lookup_host((target.host.as_str(), target.port)).await;
        let found = found.map_err(|_cause| format!("there is no host {}", target.host))?;
        let found: Vec<_> = found.collect();
        if !self.allows_name(&target.host) {
            found.iter().try_for_each(|address| self.check(address.ip()))?;
        }
        Ok(found)
    }

    /// Connects to the first address of a target that accepts.
    pub(crate) async fn connect(&self, target: &Target) -> Result<Connection, String> {
        let mut failed = format!("there is no host {}", target.host);
        for address in self.addresses(target).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A request is one write, which must not wait for more.
                    drop(stream.set_nodelay(true));
                    return self.secured(target, stream).await;
                }
                Err(cause) => failed = format!("cannot connect: {}", cause.kind()),
            }
        }
        Err(failed)
    }

    async fn secured(&self, target: &Target, stream: TcpStream) -> Result<Connection, String> {
        if !target.is_https {
            return Ok(Either::Left(stream));
        }
        let name = ServerName::try_from(target.host.clone());
        let name = name.map_err(|_invalid| format!("{} has no certificates", target.host))?;
        let connected = self.tls()?.connect(name, stream).await;
        connected.map(Either::Right).map_err(|cause| format!("TLS: {cause}"))
    }

    fn tls(&self) -> Result<&TlsConnector, String> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| format!("TLS cannot be set up: {cause}"))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(self.tls.get_or_init(|| TlsConnector::from(Arc::new(config))))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const REFUSED: &str = "\
        0.0.0.0 0.255.255.255 10.0.0.1 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 \
        127.255.255.254 169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 \
        192.0.0.170 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 \
        192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 \
        224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::2 ::127.0.0.1 \
        ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 \
        64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::7f00:1 100::1 2001::1 2001:0:7f00:1::1 \
        2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2001:db8:ffff::1 2002:7f00:1::1 \
        2002:808:808::1 2620:4f:8000::1 3ffe::1 3fff::1 3fff:fff::1 5f00::1 fc00::1 \
        fd00:ec2::254 fdff::1 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1 4000::1 1::1";
    const TAKEN: &str = "\
        1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
        128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.1 \
        192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2001:200::1 \
        2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001::1 2003::1 3fff:1000::1";

    fn guard(allowed: &[&str]) -> Guard {
        let parse = |text: &&str| Allowed::parse(text).expect("it is a host");
        Guard::new(allowed.iter().map(parse).collect(), "webhook_allow_hosts")
    }

    async fn addresses(guard: &Guard, url: &str) -> Result<Vec<SocketAddr>, String> {
        let target = Target::parse(url).map_err(str::to_owned)?;
        guard.addresses(&target).await
    }

    /// An address in the forms that a resolver, a browser or a careless check reads.
    fn forms(address: &str) -> Vec<String> {
        let Ok(ip) = address.parse::<Ipv4Addr>() else { return vec![format!("[{address}]")] };
        let (number, [a, b, c, d]) = (u32::from(ip), ip.octets());
        vec![
            address.to_owned(),
            format!("{address}."),
            number.to_string(),
            format!("{number:#x}"),
            format!("{number:#o}").replacen("0o", "0", 1),
            format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("{a}.{b}.{}", number & 0xffff),
            format!("{a}.{}", number & 0xff_ffff),
            format!("[::ffff:{address}]"),
            format!("[::{address}]"),
            format!("[64:ff9b::{address}]"),
            format!("[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]"),
        ]
    }

    #[tokio::test]
    async fn an_address_that_is_not_public_is_refused_in_every_form() {
        let guard = guard(&["app.internal"]);
        let mut refused = 0;
        for host in REFUSED.split_whitespace().flat_map(forms) {
            for url in [format!("https://{host}/"), format!("https://{host}:8443/?a=b")] {
                let found = addresses(&guard, &url).await;
                assert!(found.is_err(), "{url}: {found:?}");
                refused += 1;
            }
        }
        assert!(refused > 500, "{refused}");
        let plain = TAKEN.split_whitespace().map(|address| match address.parse() {
            Ok(IpAddr::V6(_)) => format!("https://[{address}]/"),
            _ => format!("https://{address}/"),
        });
        for url in plain {
            assert!(addresses(&guard, &url).await.is_ok_and(|found| found.len() == 1), "{url}");
        }
    }

    #[tokio::test]
    async fn what_the_operator_allows_may_be_private_and_nothing_else() {
        let guard = guard(&["LocalHost.", "10.1.0.0/16", "192.168.0.7", "fd00::/8"]);
        for url in [
            "http://localhost:8000/",
            "https://LOCALHOST./",
            "http://10.1.255.255/",
            "https://192.168.0.7/",
            "http://[fd00::1]:80/",
        ] {
            assert!(addresses(&guard, url).await.is_ok(), "{url}");
        }
        for url in [
            // Allowed by name only.
            "https://127.0.0.1/",
            "http://1.1.1.1/",
            "https://10.2.0.1/",
            "https://192.168.0.8/",
            "https://[::ffff:10.1.0.1]/",
            "https://[fe80::1]/",
        ] {
            assert!(addresses(&guard, url).await.is_err(), "{url}");
        }
    }

    #[test]
    fn an_address_is_parsed_as_a_client_does() {
        let target = |is_https, host: &str, port, authority: &str, path: &'static str| Target {
            is_https,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: PathAndQuery::from_static(path),
        };
        for (url, expected) in [
            ("https://a.example", target(true, "a.example", 443, "a.example", "/")),
            ("http://A.example./b?c=d", target(false, "a.example", 80, "A.example.", "/b?c=d")),
            ("https://[::1]:8443/x", target(true, "::1", 8443, "[::1]:8443", "/x")),
        ] {
            assert_eq!(Target::parse(url), Ok(expected), "{url}");
        }
        let invalid = "\
            a.example //a.example/ /path mailto:ann@a.example file:///etc/passwd https:// \
            https://:443/ https://./ https://ann@a.example/ https://ann:pw@a.example/ \
            https://a.example@127.0.0.1/ https://a.example/#b https://a.example:0/ \
            https://a.example:-1/ https://a.example:65536/ https://a.example:/ \
            https://a.example\\@127.0.0.1/ https://[::1/ https://[fe80::1%25lo]/ \
            https://a%2eexample/ https://127。0。0。1/ https://bücher.example/";
        let with_spaces = ["", "https://a example/", "https://a.example\r\nHost: b.example/"];
        assert_eq!(invalid.split_whitespace().count(), 22);
        for url in invalid.split_whitespace().chain(with_spaces) {
            assert!(Target::parse(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_an_address_or_a_network() {
        for text in ["a.internal", "10.0.0.7", "10.0.0.0/8", "::1", "fd00::/8", "a_b-c"] {
            assert!(Allowed::parse(text).is_some(), "{text}");
        }
        for text in ["", ".", "a b", "http://a", "a:80", "10.0.0.0/40", "*.example", "[::1]"] {
            assert!(Allowed::parse(text).is_none(), "{text}");
        }
    }
}
