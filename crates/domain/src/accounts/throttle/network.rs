//! The networks that an address is counted by.

use std::net::IpAddr;

/// An address of IPv4, or a network of IPv6 that one customer may have alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    bytes: [u8; 8],
    length: u8,
}

impl Network {
    /// The networks of an address, the smallest first: of IPv4 the address alone; of IPv6 the /64,
    /// and the /56 and /48, because providers give such networks to one customer.
    pub fn all_of(address: IpAddr) -> impl Iterator<Item = Self> {
        let mut bytes = [0; 8];
        let lengths: &[u8] = match address.to_canonical() {
            IpAddr::V4(v4) => {
                bytes[..4].copy_from_slice(&v4.octets());
                &[4]
            }
            IpAddr::V6(v6) => {
                bytes.copy_from_slice(&v6.octets()[..8]);
                &[8, 7, 6]
            }
        };
        lengths.iter().map(move |length| {
            let mut network = Self { bytes, length: *length };
            network.bytes[usize::from(*length)..].fill(0);
            network
        })
    }

    /// How many times as much as one address such a network may do: there may be several customers
    /// in it.
    pub fn share(self) -> i64 {
        match self.length {
            6 => 8,
            7 => 2,
            _ => 1,
        }
    }

    /// Its bytes; as many for each kind of network as for no other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Whether it is an address of IPv4.
    pub(super) fn is_v4(self) -> bool {
        self.length == 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(address: &str) -> Vec<(Vec<u8>, i64)> {
        let address = address.parse().expect("it is an address");
        let network = |network: Network| (network.bytes().to_vec(), network.share());
        Network::all_of(address).map(network).collect()
    }

    #[test]
    fn an_address_of_ipv6_is_in_three_networks_and_one_of_ipv4_in_one() {
        let expected = [vec![192, 0, 2, 7]].map(|bytes| (bytes, 1));
        assert_eq!(networks("192.0.2.7"), expected);
        assert_eq!(networks("::ffff:192.0.2.7"), expected);
        assert_eq!(
            networks("2001:db8:1:203:4::5"),
            [
                (vec![0x20, 1, 0xd, 0xb8, 0, 1, 2, 3], 1),
                (vec![0x20, 1, 0xd, 0xb8, 0, 1, 2], 2),
                (vec![0x20, 1, 0xd, 0xb8, 0, 1], 8),
            ]
        );
    }

    #[test]
    fn what_is_outside_of_a_network_does_not_tell_it_from_itself() {
        let widest = |address: &str| Network::all_of(address.parse().expect("it is one")).last();
        assert_eq!(widest("2001:db8:1:203::1"), widest("2001:db8:1:ffff::2"));
        assert_ne!(widest("2001:db8:1:203::1"), widest("2001:db8:2:203::1"));
    }
}
