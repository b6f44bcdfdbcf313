//! Notices: what others may want to know of a write once it is committed, on every node.

use std::sync::OnceLock;

use tokio::sync::mpsc;

/// What a write says to whoever listens, after its commit and never before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notice {
    /// What it is about; the domain numbers its topics.
    pub topic: u8,
    /// Whom it is about.
    pub key: i64,
}

/// What a listener hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A notice of this node or of another.
    Notice(Notice),
    /// Some were lost: whatever it is about may have changed.
    Missed,
}

/// Who hears them.
pub(crate) type Listener = Box<dyn Fn(Heard) + Send + Sync>;

/// Passes notices on to the listener of this node, and to the way to the other nodes.
pub(crate) struct Hub {
    here: OnceLock<Listener>,
    others: Option<mpsc::UnboundedSender<Notice>>,
}

impl Hub {
    pub(crate) fn new(others: Option<mpsc::UnboundedSender<Notice>>) -> Self {
        Self { here: OnceLock::new(), others }
    }

    /// Tells everybody what was committed on this node.
    pub(crate) fn tell(&self, notices: &[Notice]) {
        for notice in notices {
            self.heard(Heard::Notice(*notice));
            if let Some(others) = &self.others {
                // Gone with the engine.
                let _ = others.send(*notice);
            }
        }
    }

    /// Passes on what came from elsewhere.
    pub(crate) fn heard(&self, heard: Heard) {
        if let Some(listener) = self.here.get() {
            listener(heard);
        }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        let first = self.here.set(listener).is_ok();
        assert!(first, "a database has one listener");
    }
}
