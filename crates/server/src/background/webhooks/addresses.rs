//! Which addresses are anybody's: what is not public is refused, in whatever form it comes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IANA's registry of special addresses, as far as they are not to be reached from everywhere.
const SPECIAL_4: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // behind a carrier's NAT
    ([127, 0, 0, 0], 8),     // this machine
    ([169, 254, 0, 0], 16),  // this link, and the clouds' metadata
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocols of the IETF
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 52, 193, 0], 24), // AMT
    ([192, 88, 99, 0], 24),  // relays of 6to4
    ([192, 168, 0, 0], 16),  // private
    ([192, 175, 48, 0], 24), // AS112
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
];

/// The same within `2000::/3`, which is all that is given to anybody. What carries an address of
/// version 4 (mapped, NAT64, 6to4, Teredo) lies outside of it or is named here.
const SPECIAL_6: [([u16; 3], u8); 6] = [
    ([0x2001, 0, 0], 23),         // protocols of the IETF, Teredo among them
    ([0x2001, 0xdb8, 0], 32),     // documentation
    ([0x2002, 0, 0], 16),         // 6to4
    ([0x2620, 0x4f, 0x8000], 48), // AS112
    ([0x3fff, 0, 0], 20),         // documentation
    ([0x3ffe, 0, 0], 16),         // 6bone
];

/// Whether everybody can reach this address, and it is one and the same to everybody.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let special = SPECIAL_4.iter().any(|(network, length)| {
        Ipv4Net::new_assert(Ipv4Addr::from(*network), *length).contains(&address)
    });
    // From 224.0.0.0 on: multicast, what is reserved, and broadcast.
    !special && address.octets()[0] < 224
}

fn is_public_6(address: Ipv6Addr) -> bool {
    let special = SPECIAL_6.iter().any(|([a, b, c], length)| {
        let network = Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0);
        Ipv6Net::new_assert(network, *length).contains(&address)
    });
    !special && address.segments()[0] >> 13 == 1
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const REFUSED: &str = "\
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
    pub(in super::super) const TAKEN: &str = "\
        1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
        128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.1 \
        192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2001:200::1 \
        2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001::1 2003::1 3fff:1000::1";

    #[test]
    fn what_is_not_public_is_told_from_what_is() {
        assert!(REFUSED.split_whitespace().count() >= 60);
        for (addresses, public) in [(REFUSED, false), (TAKEN, true)] {
            for address in addresses.split_whitespace() {
                assert_eq!(is_public(address.parse().expect(address)), public, "{address}");
            }
        }
    }
}
