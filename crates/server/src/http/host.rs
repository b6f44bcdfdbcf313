//! Which host a request is for: the header that HTTP/1.1 requires, and the names that are ours.
//!
//! The owner of any domain can let it name this machine's address. To a browser their page is then
//! of the same origin as our answers; only the name in `Host` tells that it is not ours.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HOST;
use axum::http::{HeaderValue, Request, Version};
use url::Url;

use super::code::Code;
use super::{Error, paths};
use crate::config::Settings;
use crate::config::origin::host_name;

pub(crate) struct Hosts {
    /// The names under which requests are answered; any where there is none.
    names: Vec<String>,
    /// Whether the metrics are for programs of this machine alone.
    has_local_metrics: bool,
}

impl Hosts {
    pub(crate) fn new(settings: &Settings) -> Self {
        // A browser sends an international name in its form of ASCII, as this parser has it.
        let public = Url::parse(&settings.public_url).ok();
        let public = public.and_then(|url| host_name(url.host_str()?).map(str::to_owned));
        let names = public.into_iter().chain(settings.allowed_hosts.iter().cloned()).collect();
        let local = |metrics: SocketAddr| metrics.ip().to_canonical().is_loopback();
        Self { names, has_local_metrics: settings.metrics_listen.is_some_and(local) }
    }

    /// Refuses a request without a host, with two, and for a host that is not this one.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Error> {
        let refused = |detail| Err(Error::new(Code::BadRequest, detail));
        let mut sent = request.headers().get_all(HOST).iter();
        let name = match (sent.next().map(HeaderValue::to_str), sent.next()) {
            (Some(Ok(host)), None) => host_name(host),
            (Some(_), _) => None,
            (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
            (None, _) => return refused("Host: the header is missing"),
        };
        let Some(name) = name else {
            return refused("Host: it must be sent once, and be a name or an address");
        };
        // The target counts where it is a whole URL (RFC 9112, section 3.2.2).
        let name = request.uri().host().unwrap_or(name);
        let path = request.uri().path();
        let is_answered = if path == paths::METRICS && self.has_local_metrics {
            self.is_known(name)
        } else {
            self.names.is_empty() || self.is_known(name) || paths::is_operators(path)
        };
        if is_answered {
            return Ok(());
        }
        let detail = "Host: the server has another name; its operator can add this one to \
                      allowed_hosts";
        Err(Error::new(Code::WrongHost, detail))
    }

    /// Whether a name is one of these, or none that anybody could have registered.
    fn is_known(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
            || name.eq_ignore_ascii_case("localhost")
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use proptest::prelude::*;

    use super::*;

    fn hosts() -> Hosts {
        let names = vec!["mail.example.org".to_owned(), "postroom".to_owned()];
        Hosts { names, has_local_metrics: false }
    }

    /// The status for a request with these `Host` headers; 200 where it would be answered.
    fn status(version: Version, target: &str, sent: &[&[u8]]) -> StatusCode {
        let mut request = Request::builder().version(version).uri(target).body(()).unwrap();
        for host in sent {
            let host = HeaderValue::from_bytes(host).unwrap();
            request.headers_mut().append(HOST, host);
        }
        let refused = hosts().check(&request).err();
        refused.map_or(StatusCode::OK, |error| error.into_response().status())
    }

    fn of(host: &str) -> StatusCode {
        status(Version::HTTP_11, "/v1/messages", &[host.as_bytes()])
    }

    #[test]
    fn own_names_and_addresses_are_answered() {
        for host in [
            "mail.example.org",
            "Mail.Example.ORG.",
            "mail.example.org:8443",
            "mail.example.org:",
            "postroom:8000",
            "localhost:8000",
            "127.0.0.1",
            "192.0.2.7:8000",
            "[::1]:8000",
            "[2001:db8::7]",
        ] {
            assert_eq!(of(host), StatusCode::OK, "{host}");
        }
    }

    #[test]
    fn metrics_of_this_machine_alone_are_not_for_pages_of_other_names() {
        let hosts = Hosts { names: vec![], has_local_metrics: true };
        let is_answered = |host: &str, path: &str| {
            let request = Request::builder().uri(path).header(HOST, host).body(()).unwrap();
            hosts.check(&request).is_ok()
        };
        assert!(is_answered("evil.example:9464", "/v1/messages"));
        assert!(!is_answered("evil.example:9464", "/metrics"));
        assert!(is_answered("localhost:9464", "/metrics"));
        assert!(is_answered("127.0.0.1:9464", "/metrics"));
    }

    #[test]
    fn other_names_are_misdirected() {
        for host in ["evil.example", "mail.example.org.evil.example", "xmail.example.org", "127.1"]
        {
            assert_eq!(of(host), StatusCode::MISDIRECTED_REQUEST, "{host}");
            for path in ["/healthz", "/readyz", "/metrics"] {
                let answer = status(Version::HTTP_11, path, &[host.as_bytes()]);
                assert_eq!(answer, StatusCode::OK, "{host} {path}");
            }
        }
        let own = [&b"mail.example.org"[..]];
        let target = status(Version::HTTP_11, "http://evil.example/v1/messages", &own);
        assert_eq!(target, StatusCode::MISDIRECTED_REQUEST);
        let target =
            status(Version::HTTP_11, "http://postroom:8000/v1/messages", &[b"evil.example"]);
        assert_eq!(target, StatusCode::OK);
    }

    #[test]
    fn what_is_no_host_is_a_bad_request() {
        for host in [
            "",
            ":8000",
            ".",
            "a b",
            "a, b",
            "mail.example.org:80a",
            "mail.example.org:80:80",
            "user@mail.example.org",
            "http://mail.example.org",
            "mail.example.org/",
            "[::1",
            "::1",
            "[::1]x",
            "[mail.example.org]",
            "x[::1]",
        ] {
            assert_eq!(of(host), StatusCode::BAD_REQUEST, "{host}");
        }
        let bad = StatusCode::BAD_REQUEST;
        assert_eq!(status(Version::HTTP_11, "/healthz", &[]), bad);
        assert_eq!(status(Version::HTTP_11, "/healthz", &[b"postroom", b"postroom"]), bad);
        assert_eq!(status(Version::HTTP_10, "/", &[b"postroom", b"postroom"]), bad);
        assert_eq!(status(Version::HTTP_11, "/", &[b"\xff"]), bad);
        assert_eq!(status(Version::HTTP_10, "/v1/messages", &[]), StatusCode::OK);
    }

    proptest! {
        #[test]
        fn nothing_passes_for_our_name_that_is_not_it(
            host in prop_oneof![
                "[ -~]{0,40}",
                "[mailexampleorgMAIL.:@\\[\\]0-9]{0,30}",
                "(mail\\.example\\.org|postroom|\\[::1\\]).{0,8}",
            ],
        ) {
            prop_assume!(HeaderValue::from_str(&host).is_ok());
            let name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name);
            let is_own = ["mail.example.org", "postroom", "localhost"].contains(&name);
            let is_address = host.starts_with('[') || name.parse::<IpAddr>().is_ok();
            prop_assert!(of(&host) != StatusCode::OK || is_own || is_address, "{host}");
        }
    }
}
