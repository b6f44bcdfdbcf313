//! Notices: what others may want to know of a write once it is committed, on every node.

use tokio::sync::{broadcast, mpsc};

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

/// Notices that a slow listener may have waiting before it misses some.
const WAITING: usize = 4096;

/// Passes notices on to the listeners of this node, and to the way to the other nodes.
pub(crate) struct Hub {
    here: broadcast::Sender<Heard>,
    others: Option<mpsc::UnboundedSender<Notice>>,
}

impl Hub {
    pub(crate) fn new(others: Option<mpsc::UnboundedSender<Notice>>) -> Self {
        Self { here: broadcast::Sender::new(WAITING), others }
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
        // Nobody may be listening.
        drop(self.here.send(heard));
    }

    pub(crate) fn listen(&self) -> Listener {
        Listener { heard: self.here.subscribe() }
    }
}

/// Hears what is committed from now on, here or on another node.
pub struct Listener {
    heard: broadcast::Receiver<Heard>,
}

impl Listener {
    /// The next notice; [`None`] when the database is closed.
    ///
    /// Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.heard.recv().await {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Heard::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
