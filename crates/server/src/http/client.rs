//! Who is at the other end: the address, as far as it can be believed.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use ipnet::IpNet;

/// The address of the connection. It may be that of a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Peer {
    fn is_proxy(self, proxies: &[IpNet]) -> bool {
        let address = self.0.to_canonical();
        proxies.iter().any(|network| network.contains(&address))
    }

    /// The client's address: behind trusted proxies the last one in `X-Forwarded-For` that is
    /// not itself a proxy. What stands left of it anybody may have written.
    pub fn client(self, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
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

    /// Whether a trusted proxy says that the client speaks https.
    pub fn says_https(self, headers: &HeaderMap, proxies: &[IpNet]) -> bool {
        self.is_proxy(proxies)
            && headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes() == b"https")
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
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client("203.0.113.5", &["198.51.100.1"]), "203.0.113.5");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn what_the_client_wrote_itself_does_not_count() {
        assert_eq!(client("10.0.0.1", &["127.0.0.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["127.0.0.1", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["127.0.0.1, unknown"]), "10.0.0.1");
    }
}
