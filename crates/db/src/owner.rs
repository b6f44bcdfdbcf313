//! For whom work is done. All queues serve owners in turns, so that nobody waits behind all the
//! work of one other.

use std::net::IpAddr;

/// For whom work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The server itself: background work and commands. It takes turns, but has no limits.
    Server,
    /// A user, by their number.
    User(i64),
    /// A program that works for many users, by the number of its key.
    Program(i64),
    /// Somebody who has not proved who they are, by their address.
    Address(u64),
}

/// One owner may fill this part of a queue.
const SHARE: usize = 4;

impl Owner {
    /// How much of this owner may wait in a queue of that length.
    pub(crate) fn share(self, length: usize) -> usize {
        if self == Self::Server { length } else { length / SHARE }
    }
}

impl From<IpAddr> for Owner {
    /// Of IPv6 the network of 64 bits: that is what one client has.
    fn from(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        })
    }
}
