//! Which addresses are public; we connect to no others unless the operator allows it.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

/// What IANA's registries of special addresses do not call globally reachable. An address that
/// carries one of version 4 (mapped, NAT64, 6to4, Teredo) is here or outside of `2000::/3`.
const SPECIAL: [&str; 23] = [
    "0.0.0.0/8",         // this network
    "10.0.0.0/8",        // private
    "100.64.0.0/10",     // behind a carrier's NAT
    "127.0.0.0/8",       // this machine
    "169.254.0.0/16",    // link-local, and the metadata services of clouds
    "172.16.0.0/12",     // private
    "192.0.0.0/24",      // IETF protocols
    "192.0.2.0/24",      // documentation
    "192.31.196.0/24",   // AS112
    "192.52.193.0/24",   // AMT
    "192.88.99.0/24",    // 6to4 relays
    "192.168.0.0/16",    // private
    "192.175.48.0/24",   // AS112
    "198.18.0.0/15",     // benchmarks
    "198.51.100.0/24",   // documentation
    "203.0.113.0/24",    // documentation
    "224.0.0.0/3",       // multicast, reserved, broadcast
    "2001::/23",         // IETF protocols, Teredo among them
    "2001:db8::/32",     // documentation
    "2002::/16",         // 6to4
    "2620:4f:8000::/48", // AS112
    "3ffe::/16",         // 6bone
    "3fff::/20",         // documentation
];

/// Whether everybody can reach this address, and means the same host by it.
pub(super) fn is_public(address: IpAddr) -> bool {
    static NETWORKS: LazyLock<[IpNet; SPECIAL.len()]> =
        LazyLock::new(|| SPECIAL.map(|network| network.parse().expect("it is a network")));
    let is_assigned = match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.segments()[0] >> 13 == 1,
    };
    is_assigned && !NETWORKS.iter().any(|network| network.contains(&address))
}
