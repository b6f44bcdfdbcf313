//! The address of a client behind proxies, as far as it can be trusted.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Once;

use axum::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::Settings;

/// The remote address of the connection; it may be a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client as the proxies between tell of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forwarded {
    pub(super) client: IpAddr,
    /// Whether a trusted proxy named something that is no address, so that this is the proxy's.
    pub(super) is_unreadable: bool,
    /// Whether it is an address of this machine that many clients may share.
    pub(super) is_shared: bool,
}

impl Forwarded {
    /// The client's address, unless many clients may share it.
    pub(super) fn public_address(self) -> Option<IpAddr> {
        (!self.is_shared).then_some(self.client)
    }
}

impl Peer {
    fn is_proxy(self, proxies: &[IpNet]) -> bool {
        let address = self.0.to_canonical();
        proxies.iter().any(|network| network.contains(&address))
    }

    /// Whether its connections may be those of many: a proxy's, or those of a machine on which
    /// nothing says whether there is a proxy.
    pub(crate) fn stands_for_many(self, settings: &Settings) -> bool {
        let proxies = &settings.trusted_proxies;
        self.is_proxy(proxies) || proxies.is_empty() && self.0.to_canonical().is_loopback()
    }

    /// The address, or of IPv6 the /64, which one customer has alone.
    pub(crate) fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        }
    }

    /// The client's address: behind trusted proxies the last one in `X-Forwarded-For` that is not
    /// a proxy itself. Clients can write whatever they like to the left of it.
    pub(super) fn client(self, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
        self.forwarded(headers, proxies).client
    }

    pub(super) fn forwarded(self, headers: &HeaderMap, proxies: &[IpNet]) -> Forwarded {
        let mut client = self;
        // As bytes: what the client wrote may not be text, and must not hide what follows it.
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut is_unreadable = false;
        for hop in hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
            if !client.is_proxy(proxies) {
                break;
            }
            let Some(address) = hop_address(hop) else {
                is_unreadable = true;
                break;
            };
            client = Self(address);
        }
        let address = client.0.to_canonical();
        // A proxy on this machine may name no clients, and without proxies nothing says whether
        // there is one.
        let may_be_proxy = proxies.is_empty() || client.is_proxy(proxies);
        let is_shared = address.is_loopback() && may_be_proxy && !is_unreadable;
        Forwarded { client: address, is_unreadable, is_shared }
    }

    /// Whether a trusted proxy says that the client uses https.
    pub(super) fn says_https(self, headers: &HeaderMap, proxies: &[IpNet]) -> bool {
        self.is_proxy(proxies)
            && headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes() == b"https")
    }
}

/// The address in one item of `X-Forwarded-For`: as it is, with a port, in quotes, and of IPv6 in
/// brackets or with a zone. `unknown` and other names are none.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let address = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, "")) => address,
        Some((address, port)) if port.strip_prefix(':').is_some_and(is_port) => address,
        Some(_) => return None,
        // One colon separates a port; more are those of IPv6.
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) && address.contains('.') => address,
            _ => text,
        },
    };
    let without_zone = address.split_once('%').filter(|(address, _)| address.contains(':'));
    without_zone.map_or(address, |(address, _)| address).parse().ok()
}

/// What the log says once of forwarded requests.
pub(crate) struct ForwardingNotes {
    first: Once,
    untrusted: Once,
    unreadable: Once,
}

impl Default for ForwardingNotes {
    fn default() -> Self {
        Self { first: Once::new(), untrusted: Once::new(), unreadable: Once::new() }
    }
}

impl ForwardingNotes {
    /// Logs the first request that a trusted proxy forwards: from the addresses the operator sees
    /// whether the proxy adds its client to `X-Forwarded-For`, or passes on what the client wrote.
    /// Likewise the first one that seems to come from a proxy which is not trusted.
    pub(super) fn note(&self, peer: Peer, headers: &HeaderMap, proxies: &[IpNet]) {
        if !headers.contains_key(FORWARDED_FOR) {
            return;
        }
        if peer.is_proxy(proxies) {
            self.first.call_once(|| {
                let client = peer.client(headers, proxies);
                tracing::info!(
                    %client,
                    proxy = %peer.0,
                    "the first forwarded request: see in docs/operations.md whether `client` is \
                     who sent it"
                );
            });
        } else if is_nearby(peer.0.to_canonical()) {
            self.untrusted.call_once(|| {
                tracing::warn!(
                    peer = %peer.0,
                    "requests come with X-Forwarded-For from a machine that is not in \
                     trusted_proxies: if it is a proxy, all its clients count as one, or as nobody"
                );
            });
        }
    }

    /// Logs the first request of which a trusted proxy named no address.
    pub(super) fn note_unreadable(&self, proxy: IpAddr) {
        self.unreadable.call_once(|| {
            tracing::warn!(
                %proxy,
                "X-Forwarded-For of a trusted proxy names no address: such clients count as one, \
                 under the address of the proxy"
            );
        });
    }
}

/// Whether an address is of this machine or of a private network, as those of proxies are.
fn is_nearby(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn forwarded(peer: &str, lines: &[&[u8]]) -> Forwarded {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()];
        Peer(peer.parse().unwrap()).forwarded(&headers, &proxies)
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        forwarded(peer, &lines).client.to_string()
    }

    #[test]
    fn only_a_trusted_proxy_can_forward_an_address() {
        assert_eq!(client("203.0.113.5", &["198.51.100.1"]), "203.0.113.5");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn an_address_of_this_machine_is_shared_unless_it_is_known_not_to_be_a_proxy() {
        assert!(forwarded("127.0.0.1", &[]).is_shared);
        assert!(!forwarded("127.0.0.2", &[]).is_shared);
        assert!(!forwarded("127.0.0.1", &[b"127.0.0.2"]).is_shared);
        assert!(!forwarded("127.0.0.1", &[b"198.51.100.1"]).is_shared);
        let alone = |peer: [u8; 4]| Peer(peer.into()).forwarded(&HeaderMap::new(), &[]).is_shared;
        assert_eq!([alone([127, 0, 0, 2]), alone([10, 0, 0, 1])], [true, false]);
    }

    #[test]
    fn addresses_written_by_the_client_do_not_count() {
        assert_eq!(client("10.0.0.1", &["127.0.0.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["127.0.0.1", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, unknown"]), "10.0.0.1");
        let hidden = forwarded("10.0.0.1", &[b"\xff\xfe, 198.51.100.1"]);
        assert_eq!(hidden.client.to_string(), "198.51.100.1");
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for form in ["198.51.100.7", "198.51.100.7:5555", "\"198.51.100.7\"", "\"198.51.100.7:1\""]
        {
            assert_eq!(client("127.0.0.1", &[form]), "198.51.100.7", "{form}");
        }
        for form in [
            "2001:db8::7",
            "[2001:db8::7]",
            "[2001:db8::7]:5555",
            "\"[2001:db8::7]:5555\"",
            "\"[2001:db8::7]\"",
            "2001:db8::7%eth0",
            "[2001:db8::7%25eth0]:80",
        ] {
            assert_eq!(client("127.0.0.1", &[form]), "2001:db8::7", "{form}");
            assert_eq!(client("127.0.0.1", &["x", form, " , "]), "2001:db8::7", "{form}");
        }
    }

    #[test]
    fn where_a_proxy_names_no_address_its_own_counts() {
        for form in [
            "unknown",
            "_hidden",
            "198.51.100.7:port",
            "198.51.100.7:99999",
            "[198.51.100.7",
            "[2001:db8::7]80",
            "\"198.51.100.7",
            "198.51.100",
            "198.51.100.7 x",
            "\u{e9}",
        ] {
            let found = forwarded("127.0.0.1", &[b"203.0.113.9", form.as_bytes()]);
            assert_eq!(found.client.to_string(), "127.0.0.1", "{form}");
            assert!(found.is_unreadable, "{form}");
        }
        assert!(!forwarded("127.0.0.1", &[]).is_unreadable);
        assert!(!forwarded("127.0.0.1", &[b"198.51.100.7"]).is_unreadable);
        assert!(!forwarded("203.0.113.5", &[b"unknown"]).is_unreadable);
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let network = |text: &str| Peer(text.parse().unwrap()).network().to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("203.0.113.5"), "203.0.113.5");
        assert_eq!(network("::ffff:203.0.113.5"), "203.0.113.5");
    }

    /// What a client can write into a header, from bytes that lists and addresses are made of.
    fn written() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::collection::vec(
                (0x20u8..=0xff).prop_map(|b| if b == 0x7f { b',' } else { b }),
                0..12
            ),
            "[0-9a-f.:,%\"\\[\\] ]{0,24}".prop_map(String::into_bytes),
            Just(b"10.0.0.9, ".to_vec()),
            Just(b"127.0.0.1,".to_vec()),
        ];
        proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_writes_comes_before_what_the_proxy_adds(
            written in written(), own_line in any::<bool>(), port in any::<Option<u16>>(),
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let added = format!("198.51.100.7{port}").into_bytes();
            let together = [&written[..], b", ", &added].concat();
            let lines: &[&[u8]] = if own_line { &[&written, &added] } else { &[&together] };
            let found = forwarded("127.0.0.1", lines);
            prop_assert_eq!(found.client.to_string(), "198.51.100.7");
            prop_assert!(!found.is_unreadable);
            // Without a proxy between, nothing of it counts.
            let found = forwarded("203.0.113.5", &[&written]);
            prop_assert_eq!(found.client.to_string(), "203.0.113.5");
        }
    }
}
