//! How many bytes of bodies are in memory, in all and for each holder: while the rest of them
//! arrives, and of long ones until the client has taken the response.
//!
//! A short body that comes in one piece, as most do, is none of these, and neither is a short
//! response.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::UserId;
use prometheus_client::metrics::counter::Counter;

use super::Error;
use super::code::Code;

/// Whom the bytes of a body count for, as far as the request has proven it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A request whose credential was not accepted, or not looked at yet: they count for the
    /// network of its client.
    Stranger(IpAddr),
    User(UserId),
    /// A user for whom a server key acts: what the app does there takes nothing from them.
    ActedFor(UserId),
    /// A server key, which has no share: it is the operator's own.
    Key,
}

/// The part of one holder is the whole divided by this.
const SHARE: usize = 4;

pub(crate) struct UnfinishedBodies {
    most: usize,
    refused: Counter,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    /// No entry is 0.
    of: HashMap<Holder, usize>,
}

impl UnfinishedBodies {
    /// With so many bytes at most. What is refused is counted.
    pub(crate) fn new(most: usize, refused: Counter) -> Arc<Self> {
        Arc::new(Self { most, refused, held: Mutex::default() })
    }

    /// Begins to count a body.
    pub(super) fn begin(self: &Arc<Self>, holder: Holder) -> Unfinished {
        Unfinished { of: Arc::clone(self), holder, bytes: 0 }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One body; dropping it gives back what it holds.
pub(super) struct Unfinished {
    of: Arc<UnfinishedBodies>,
    holder: Holder,
    bytes: usize,
}

impl Unfinished {
    /// Counts bytes before they are kept.
    ///
    /// # Errors
    /// Where they are too many, for the holder or in all.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        let mut held = self.of.held();
        let own = held.of.get(&self.holder).copied().unwrap_or_default() + bytes;
        let share = if self.holder == Holder::Key { self.of.most } else { self.of.most / SHARE };
        if held.all + bytes > self.of.most || own > share {
            self.of.refused.inc();
            let detail = "too many long bodies are on their way at the same time, try again";
            return Err(Error::new(Code::Unavailable, detail).retry_after(1));
        }
        held.all += bytes;
        held.of.insert(self.holder, own);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.of.held();
        held.all -= self.bytes;
        if let Some(own) = held.of.get_mut(&self.holder) {
            *own -= self.bytes;
            if *own == 0 {
                held.of.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_and_all_have_a_bound() {
        let bodies = UnfinishedBodies::new(100, Counter::default());
        let of = |number| bodies.begin(Holder::Stranger(IpAddr::from([192, 0, 2, number])));
        let (mut one, mut same) = (of(1), of(1));
        assert!(one.hold(20).is_ok());
        assert!(same.hold(6).is_err());
        assert_eq!(bodies.refused.get(), 1);
        assert!(same.hold(5).is_ok());
        let others: Vec<_> = (2..5)
            .map(|number| {
                let mut other = of(number);
                assert!(other.hold(25).is_ok());
                other
            })
            .collect();
        let mut key = bodies.begin(Holder::Key);
        assert!(key.hold(1).is_err());
        drop(others);
        assert!(key.hold(75).is_ok());
        assert!(key.hold(1).is_err());
        drop((one, same, key));
        let held = bodies.held();
        assert!(held.all == 0 && held.of.is_empty());
    }
}
