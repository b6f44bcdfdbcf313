//! What `webhook_allow_hosts` contains.

use std::net::IpAddr;

use ipnet::IpNet;

/// A host that may have a private address and be called without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// By name, whatever its addresses.
    Name(String),
    /// By address.
    Network(IpNet),
}

impl Allowed {
    /// Parses a name, an address or a network.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_name = !name.is_empty() && name.chars().all(letters);
        parse_network(text).map(Self::Network).or_else(|| is_name.then_some(Self::Name(name)))
    }
}

/// Parses a network, or an address as the network of that one address.
pub(super) fn parse_network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_network| text.parse::<IpNet>()).ok()
}
