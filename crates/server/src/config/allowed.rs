//! What `webhook_allow_hosts` names.

use std::net::IpAddr;

use ipnet::IpNet;

/// A host that may be private, and be spoken to without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// By name: whatever address it has.
    Name(String),
    /// Addresses.
    Network(IpNet),
}

impl Allowed {
    /// A name, an address or a network.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_name = !name.is_empty() && name.chars().all(letters);
        network.map(Self::Network).or_else(|| is_name.then_some(Self::Name(name)))
    }
}
