//! The client: its address, as far as it can be trusted, and its program.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use axum::http::request::Parts;
use domain::sessions;
use ipnet::IpNet;

use super::request_ids::RequestId;
use crate::config::origin::Origin;
use crate::http::App;

/// The remote address of the connection; it may be a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is known of a request when it arrives, among its extensions.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) peer: Peer,
    pub(super) id: RequestId,
    /// Its path, with parameters as `{name}`.
    pub(super) route: &'static str,
}

impl Arrival {
    pub(super) fn of(parts: &Parts) -> Self {
        *parts.extensions.get().expect("every request has one")
    }
}

impl Peer {
    fn is_proxy(self, proxies: &[IpNet]) -> bool {
        let address = self.0.to_canonical();
        proxies.iter().any(|network| network.contains(&address))
    }

    /// The client's address: behind trusted proxies the last one in `X-Forwarded-For` that is not
    /// a proxy itself. Clients can write whatever they like to the left of it.
    pub(super) fn client(self, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
        let mut client = self;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.rsplit(','));
        for hop in hops {
            if !client.is_proxy(proxies) {
                break;
            }
            let Ok(address) = hop.trim().parse() else { break };
            client = Peer(address);
        }
        client.0.to_canonical()
    }

    /// Whether a trusted proxy says that the client uses https.
    fn says_https(self, headers: &HeaderMap, proxies: &[IpNet]) -> bool {
        self.is_proxy(proxies)
            && headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes() == b"https")
    }
}

/// Logs the first request that a trusted proxy forwards: from the addresses the operator sees
/// whether the proxy adds its client to `X-Forwarded-For`, or passes on what the client wrote.
pub(super) fn log_first_forwarded(app: &App, peer: Peer, headers: &HeaderMap) {
    let proxies = &app.settings.trusted_proxies;
    if app.first_forwarded.is_completed()
        || !peer.is_proxy(proxies)
        || !headers.contains_key(FORWARDED_FOR)
    {
        return;
    }
    app.first_forwarded.call_once(|| {
        let client = peer.client(headers, proxies);
        tracing::info!(
            %client,
            proxy = %peer.0,
            "the first forwarded request: see in docs/operations.md whether `client` is who sent it"
        );
    });
}

pub(super) struct Device {
    pub(super) address: IpAddr,
    /// Whether it uses https, so that cookies can be limited to that.
    pub(super) secure: bool,
    user_agent: String,
}

impl FromRequestParts<App> for Device {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(parts, app))
    }
}

impl Device {
    pub(super) fn of(parts: &Parts, app: &App) -> Self {
        let headers = &parts.headers;
        let Arrival { peer, .. } = Arrival::of(parts);
        let user_agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        Self {
            address: peer.client(headers, &app.settings.trusted_proxies),
            secure: app.public.as_ref().is_some_and(Origin::is_https)
                || peer.says_https(headers, &app.settings.trusted_proxies),
            user_agent: String::from_utf8_lossy(user_agent).into_owned(),
        }
    }

    /// As the list of sessions shows it.
    pub(super) fn client(&self) -> sessions::Client {
        sessions::Client::new(Some(self.address), &self.user_agent)
    }

    /// The address, unless it is this machine's, which many clients may share.
    pub(super) fn public_address(&self) -> Option<IpAddr> {
        Some(self.address).filter(|address| !address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        Peer(peer.parse().unwrap()).client(&headers, &proxies).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_can_forward_an_address() {
        assert_eq!(client("203.0.113.5", &["198.51.100.1"]), "203.0.113.5");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn addresses_written_by_the_client_do_not_count() {
        assert_eq!(client("10.0.0.1", &["127.0.0.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["127.0.0.1", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["127.0.0.1, unknown"]), "10.0.0.1");
    }
}
