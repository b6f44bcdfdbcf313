//! Notices: what a committed write tells listeners on every node.

use std::sync::OnceLock;

use tokio::sync::mpsc;

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
}

impl Hub {
    pub(crate) fn new(remote: mpsc::UnboundedSender<Notice>) -> Self {
        Self { listener: OnceLock::new(), remote: Some(remote) }
    }

    /// Announces what was committed on this node.
    pub(crate) fn publish(&self, notices: &[Notice]) {
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
