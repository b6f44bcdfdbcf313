//! Notices: what a committed write tells listeners on every node.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::{Error, Owner, Paces, Result};

/// A write that tells of no more is free: a message to a few.
const FEW: usize = 10;
/// The pace of writes that tell many, each of whom others may be waiting for: 250 a second.
const TIME: Duration = Duration::from_millis(4);
/// What may be taken ahead: a thousand.
const AHEAD: Duration = Duration::from_secs(4);

/// Something that a write tells listeners after its commit, and never before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notice {
    /// The kind of change; the domain numbers its topics.
    pub topic: u8,
    /// The id of what has changed.
    pub key: i64,
}

/// What a listener receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A notice of this node or of another.
    Notice(Notice),
    /// Notices were lost; anything may have changed.
    Missed,
}

pub(crate) type Listener = Box<dyn Fn(Heard) + Send + Sync>;

/// Delivers notices to the listener of this node and forwards them to the other nodes.
#[derive(Default)]
pub(crate) struct Hub {
    /// Set once, by [`crate::Db::listen`]; until then notices are dropped.
    listener: OnceLock<Listener>,
    /// The queue of the bus. SQLite has no other nodes.
    remote: Option<mpsc::UnboundedSender<Notice>>,
    /// How much each owner has told; set where they keep a pace.
    paces: OnceLock<Paces<Owner>>,
}

impl Hub {
    pub(crate) fn new(remote: mpsc::UnboundedSender<Notice>) -> Self {
        Self { remote: Some(remote), ..Self::default() }
    }

    pub(crate) fn keep_pace(&self) {
        self.paces.get_or_init(Paces::default);
    }

    /// The server itself and programs keep no pace.
    fn paces_of(&self, owner: Owner) -> Option<&Paces<Owner>> {
        match owner {
            Owner::User(_) | Owner::Address(_) => self.paces.get(),
            Owner::Server | Owner::Program(_) => None,
        }
    }

    /// How long an owner is to be kept waiting.
    pub(crate) fn pause(&self, owner: Owner) -> Duration {
        let paces = self.paces_of(owner);
        paces.map_or(Duration::ZERO, |paces| paces.behind(&owner, AHEAD, Instant::now()))
    }

    /// Refuses an owner who has not waited.
    pub(crate) fn confirm_pace(&self, owner: Owner) -> Result<()> {
        if self.pause(owner) < Paces::<Owner>::LONGEST { Ok(()) } else { Err(Error::Busy) }
    }

    /// Announces what was committed on this node for an owner.
    pub(crate) fn publish(&self, owner: Owner, notices: &[Notice]) {
        if notices.len() > FEW
            && let Some(paces) = self.paces_of(owner)
        {
            let time = u32::try_from(notices.len()).map_or(Duration::MAX, |told| TIME * told);
            paces.take(owner, time, Instant::now());
        }
        for notice in notices {
            self.deliver(Heard::Notice(*notice));
            if let Some(remote) = &self.remote {
                // The channel is closed only when the engine is being closed.
                let _ = remote.send(*notice);
            }
        }
    }

    /// Passes something on to the listener of this node.
    pub(crate) fn deliver(&self, heard: Heard) {
        if let Some(listener) = self.listener.get() {
            listener(heard);
        }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        let first = self.listener.set(listener).is_ok();
        assert!(first, "a database has one listener");
    }
}
