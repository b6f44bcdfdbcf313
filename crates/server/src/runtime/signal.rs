//! The end of the process: asked for softly, then hard.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A flag that many wait for, and that is set once.
#[derive(Clone)]
pub(crate) struct Flag {
    sender: watch::Sender<bool>,
}

impl Default for Flag {
    fn default() -> Self {
        Self { sender: watch::Sender::new(false) }
    }
}

impl Flag {
    /// Sets it.
    pub(crate) fn set(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits until it is set.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender cannot be gone: it is ours.
        let _set = receiver.wait_for(|set| *set).await.is_ok();
    }
}

/// SIGTERM and SIGINT.
pub(crate) struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    /// Catches both from now on.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn catch() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
