//! How many connections each address has open, so that one does not have them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Settings;
use crate::http::Peer;

/// The part of one address is the whole divided by this: 512 of 16,384 connections, where each may
/// have some 64 KiB of a head, or of a response that its client does not read.
const SHARE: usize = 32;

pub(super) struct Addresses {
    most: usize,
    /// By network; no entry is 0.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted; dropping it makes room for another of its address.
pub(super) struct Counted {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Addresses {
    pub(super) fn new(settings: &Settings) -> Self {
        let most = match settings.connections_per_address {
            0 => (settings.max_connections / SHARE).max(1),
            most => most,
        };
        Self { most, open: Mutex::default() }
    }

    /// Counts a connection; `None` if its address has as many as it may.
    pub(super) fn count(self: &Arc<Self>, peer: Peer) -> Option<Counted> {
        let network = peer.network();
        let mut open = self.open();
        let own = open.entry(network).or_default();
        // An entry of 0 is new, and there is room for one.
        (*own < self.most).then(|| {
            *own += 1;
            Counted { addresses: Arc::clone(self), network }
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.addresses.open();
        if let Some(own) = open.get_mut(&self.network) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.network);
            }
        }
    }
}
