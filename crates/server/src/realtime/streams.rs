//! The open streams of this node: who is woken when a mailbox moves.
//!
//! A stream never asks by itself whether something is new. The thread that committed wakes it, or
//! the bus that brings what another node did; and since either may be lost, a keeper looks at the
//! counters of all open streams every few seconds, and whether their sessions still hold.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mail::key::Key;
use tokio::sync::{Notify, Semaphore};

use super::pace::Pace;

/// Parts of the list, each with a lock of its own: those who commit must not wait for each other.
const SHARDS: usize = 64;
/// Streams that read at the same time: of the database's connections most are for requests.
const READERS: usize = 8;

type Shard = HashMap<i64, Vec<Arc<Line>>>;

/// All open streams, by the user whose mailbox they follow.
pub(crate) struct Streams {
    open: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
    pub(super) missed: Notify,
    pace: Pace,
    /// Turns for those who read.
    pub(crate) turns: Semaphore,
}

/// What others know of an open stream.
pub(crate) struct Line {
    /// The session or the token that it was opened with.
    pub(super) key: Key,
    pub(super) wake: Notify,
    /// The number up to which all was sent.
    pub(super) sent: AtomicI64,
    doubted: AtomicBool,
    ended: AtomicBool,
}

/// An open stream; it is one until it is dropped.
pub(crate) struct Stream {
    streams: Arc<Streams>,
    line: Arc<Line>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
            missed: Notify::new(),
            pace: Pace::default(),
            turns: Semaphore::new(READERS),
        }
    }
}

impl Streams {
    /// Opens one more stream, if the user has fewer than `most` on this node. Whatever is
    /// committed after this wakes it.
    pub(crate) fn open(self: &Arc<Self>, key: Key, most: usize) -> Option<Stream> {
        let line = Arc::new(Line {
            key,
            wake: Notify::new(),
            sent: AtomicI64::new(0),
            // It may have ended just before others could tell this stream.
            doubted: AtomicBool::new(true),
            ended: AtomicBool::new(false),
        });
        let mut shard = self.shard(key.user.get());
        let lines = shard.entry(key.user.get()).or_default();
        if lines.len() >= most {
            return None;
        }
        lines.push(Arc::clone(&line));
        self.open.fetch_add(1, SeqCst);
        Some(Stream { streams: Arc::clone(self), line })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Something happened in the mailbox of this user.
    pub(crate) fn moved(&self, user: i64) {
        self.tell(user, |line| line.wake.notify_one());
    }

    /// Sessions or tokens of this user have ended.
    pub(crate) fn doubted(&self, user: i64) {
        self.tell(user, Line::doubt);
    }

    fn tell(&self, user: i64, tell: impl Fn(&Line)) {
        if self.count() == 0 {
            return;
        }
        if let Some(lines) = self.shard(user).get(&user) {
            for line in lines {
                tell(line);
            }
        }
    }

    /// Notices were lost.
    pub(crate) fn missed(&self) {
        self.missed.notify_one();
    }

    /// Every stream there is.
    pub(super) fn all(&self) -> Vec<Arc<Line>> {
        let mut all = Vec::with_capacity(self.count());
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.values().flatten().map(Arc::clone));
        }
        all
    }

    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "it is a hash")]
    fn shard(&self, user: i64) -> MutexGuard<'_, Shard> {
        self.shards[user as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn doubt(&self) {
        self.doubted.store(true, SeqCst);
        self.wake.notify_one();
    }

    pub(super) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.wake.notify_one();
    }
}

impl Stream {
    /// The session or the token that it was opened with.
    pub(crate) fn key(&self) -> Key {
        self.line.key
    }

    /// Waits until it is woken; at once where it was since the last time.
    pub(crate) async fn woken(&self) {
        self.line.wake.notified().await;
    }

    /// Forgets that it was woken: what was committed until now is about to be read.
    pub(crate) fn forget_wakes(&self) {
        pin!(self.line.wake.notified()).enable();
    }

    /// All up to this number was sent; how long it rests now.
    pub(crate) fn has_sent(&self, number: i64) -> Duration {
        self.line.sent.store(number, SeqCst);
        self.streams.pace.rest()
    }

    /// Whether its session may have ended since the last time that this was asked.
    pub(crate) fn is_doubted(&self) -> bool {
        self.line.doubted.swap(false, SeqCst)
    }

    /// Whether its session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.line.ended.load(SeqCst)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let user = self.line.key.user.get();
        let mut shard = self.streams.shard(user);
        if let Some(lines) = shard.get_mut(&user) {
            lines.retain(|line| !Arc::ptr_eq(line, &self.line));
            if lines.is_empty() {
                shard.remove(&user);
            }
        }
        self.streams.open.fetch_sub(1, SeqCst);
    }
}
