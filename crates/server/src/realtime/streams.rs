//! The open streams of this node, to be woken when a mailbox changes.
//!
//! A stream does not poll. It is woken by the thread that commits, or by the notice of a commit on
//! another node. As either may be lost, a background task compares all open streams with the
//! database every few seconds.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::UserId;
use domain::credential::Credential;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::pacing::Pacing;
use crate::runtime::jwt::Pass;

/// Parts of the registry, each with its own lock, so that committing threads do not wait for each
/// other.
const SHARDS: usize = 64;
/// Streams that read at the same time: most database connections are for requests.
const READERS: usize = 8;
/// How often a credential can open a stream for long. A client comes back after two seconds at the
/// earliest, and an opening costs as much as dozens of other requests.
const OPENING: Duration = Duration::from_millis(100);
/// A user with many credentials can do it so many times as often.
const CREDENTIALS: u32 = 4;
/// How long an opening waits at most; beyond that it is refused.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Shard {
    /// Subscriptions by the user whose mailbox they follow, oldest first; no entry is empty.
    open: HashMap<i64, Vec<Arc<Subscription>>>,
    /// When the openings of each, which take a while each, would all be over.
    openings: HashMap<Opener, Instant>,
}

/// Who opens streams. A stolen credential keeps nobody waiting but itself, and a user who makes
/// many gets no further.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Opener {
    Credential(Credential),
    User(UserId),
}

pub(crate) struct Streams {
    /// The number of subscriptions, so that commits look no further where there are none.
    open: AtomicUsize,
    /// A user's subscriptions are in one shard; a lock is held for a look-up only.
    shards: [Mutex<Shard>; SHARDS],
    /// Notices were lost: any stream may be behind.
    pub(crate) missed: Notify,
    pacing: Pacing,
    /// Permits for streams that read.
    pub(crate) turns: Semaphore,
}

/// An open stream as the registry knows it. Any thread may set its fields; only its stream waits
/// for `wake`.
pub(crate) struct Subscription {
    /// The session or token that opened the stream.
    pub(crate) key: Credential,
    /// What the token says, if it is a browser token or a JWT.
    pub(crate) pass: Option<Pass>,
    /// When the use of such a token was last recorded, in microseconds since 1970.
    pub(crate) recorded: AtomicI64,
    pub(crate) wake: Notify,
    /// The modseq up to which everything was sent.
    pub(crate) sent: AtomicI64,
    /// The session or token may have ended: the stream must look it up before it sends more.
    must_check_login: AtomicBool,
    /// The session or token has ended, and with it the stream.
    ended: AtomicBool,
    /// A newer stream of the user has taken the place of this one.
    displaced: AtomicBool,
}

/// An open stream; dropping it takes it out of the registry.
pub(crate) struct Stream {
    streams: Arc<Streams>,
    subscription: Arc<Subscription>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
            missed: Notify::new(),
            pacing: Pacing::default(),
            turns: Semaphore::new(READERS),
        }
    }
}

impl Streams {
    /// Opens a stream. Every later commit in the mailbox wakes it. Of a user who has `most` on this
    /// node, it displaces the oldest one of the credential with the most: so a stolen one takes no
    /// more than its share.
    pub(crate) fn open(
        self: &Arc<Self>,
        key: Credential,
        pass: Option<Pass>,
        most: usize,
    ) -> Stream {
        let subscription = Arc::new(Subscription {
            key,
            pass,
            recorded: AtomicI64::new(0),
            wake: Notify::new(),
            sent: AtomicI64::new(0),
            // The session may have ended just before this stream was registered.
            must_check_login: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            displaced: AtomicBool::new(false),
        });
        let mut shard = self.shard(key.user.get());
        let subscriptions = shard.open.entry(key.user.get()).or_default();
        if subscriptions.len() >= most {
            let count = |of: &Credential| {
                subscriptions.iter().filter(|one| one.key == *of).count() + usize::from(*of == key)
            };
            let (at, _) = subscriptions
                .iter()
                .enumerate()
                .rev()
                .max_by_key(|(_, one)| count(&one.key))
                .expect("a user may have a stream");
            let oldest = subscriptions.remove(at);
            oldest.displaced.store(true, SeqCst);
            oldest.wake.notify_one();
        }
        subscriptions.push(Arc::clone(&subscription));
        self.open.fetch_add(1, SeqCst);
        Stream { streams: Arc::clone(self), subscription }
    }

    /// When somebody who asks now may open a stream: at once, until they have opened `most` of them
    /// faster than one in [`OPENING`], and then one after the other. `None` where too many wait.
    pub(crate) fn next_opening(&self, of: Opener, most: usize, now: Instant) -> Option<Instant> {
        let (user, each) = match of {
            Opener::Credential(key) => (key.user, OPENING),
            Opener::User(user) => (user, OPENING / CREDENTIALS),
        };
        let openings = &mut self.shard(user.get()).openings;
        if !openings.contains_key(&of) && openings.len() == openings.capacity() {
            openings.retain(|_, over| *over > now);
        }
        let over = openings.entry(of).or_insert(now);
        let at_once = OPENING * u32::try_from(most).unwrap_or(u32::MAX);
        let over_then = now.max(*over) + each;
        let turn = over_then.checked_sub(at_once).map_or(now, |then| now.max(then));
        (turn <= now + LONGEST_WAIT).then(|| {
            *over = over_then;
            turn
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Wakes a user's streams: their mailbox has changed.
    pub(crate) fn changed(&self, user: i64) {
        self.each_of(user, |subscription| subscription.wake.notify_one());
    }

    /// Makes a user's streams check whether their session or token has ended.
    pub(crate) fn check_logins(&self, user: i64) {
        self.each_of(user, |subscription| {
            subscription.must_check_login.store(true, SeqCst);
            subscription.wake.notify_one();
        });
    }

    fn each_of(&self, user: i64, act: impl Fn(&Subscription)) {
        if self.count() > 0 {
            self.shard(user).open.get(&user).into_iter().flatten().for_each(|one| act(one));
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Subscription>> {
        let mut all = Vec::with_capacity(self.count());
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.open.values().flatten().map(Arc::clone));
        }
        all
    }

    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "it is a hash")]
    fn shard(&self, user: i64) -> MutexGuard<'_, Shard> {
        self.shards[user as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    pub(crate) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.wake.notify_one();
    }
}

impl Stream {
    pub(crate) fn key(&self) -> Credential {
        self.subscription.key
    }

    /// What the token says, if it is a browser token or a JWT.
    pub(crate) fn pass(&self) -> Option<Pass> {
        self.subscription.pass
    }

    /// Waits until the stream is woken; returns at once where that happened since the last time.
    pub(crate) async fn woken(&self) {
        self.subscription.wake.notified().await;
    }

    /// Discards a wake-up: the caller is about to read all that is committed.
    pub(crate) fn forget_wakes(&self) {
        pin!(self.subscription.wake.notified()).enable();
    }

    /// Records that everything up to this modseq was sent; returns how long to pause now.
    pub(crate) fn has_sent(&self, modseq: i64) -> Duration {
        self.subscription.sent.store(modseq, SeqCst);
        self.streams.pacing.pause()
    }

    /// Whether the session or token must be looked up; asking this clears it.
    pub(crate) fn take_login_check(&self) -> bool {
        self.subscription.must_check_login.swap(false, SeqCst)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.subscription.ended.load(SeqCst)
    }

    /// Whether a newer stream has taken its place, so that it has to say so and end.
    pub(crate) fn is_displaced(&self) -> bool {
        self.subscription.displaced.load(SeqCst)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let user = self.subscription.key.user.get();
        let mut shard = self.streams.shard(user);
        if let Some(subscriptions) = shard.open.get_mut(&user) {
            subscriptions.retain(|one| !Arc::ptr_eq(one, &self.subscription));
            if subscriptions.is_empty() {
                shard.open.remove(&user);
            }
        }
        self.streams.open.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opens_streams_without_a_pause_waits_and_nobody_else() {
        let (streams, start) = (Streams::default(), Instant::now());
        let waits = |of, at, count| {
            let now = start + Duration::from_millis(at);
            let open = |_| streams.next_opening(of, 3, now).map(|turn| turn.duration_since(now));
            (0..count).map_while(open).map(|wait| wait.as_millis()).collect::<Vec<_>>()
        };
        let of = |hash| Opener::Credential(credential(hash));
        assert_eq!(waits(of(1), 0, 6), [0, 0, 0, 100, 200, 300]);
        assert_eq!(waits(of(2), 0, 1), [0]);
        assert_eq!(waits(of(1), 300, 1), [100]);
        assert_eq!(waits(of(1), 1300, 4), [0, 0, 0, 100]);
        assert_eq!(waits(of(3), 0, 100).len(), 53, "who would wait for longer is refused");
        let all = Opener::User(UserId::new(1).unwrap());
        assert_eq!(waits(all, 0, 14), [vec![0; 12], vec![25, 50]].concat());
    }

    #[test]
    fn a_stolen_credential_displaces_its_own_streams_once_it_has_most_of_them() {
        let streams = Arc::new(Streams::default());
        let own = [1, 2].map(|hash| streams.open(credential(hash), None, 4));
        let stolen: Vec<_> = (0..10).map(|_| streams.open(credential(3), None, 4)).collect();
        assert!(own.iter().all(|stream| !stream.is_displaced()));
        let open = stolen.iter().filter(|stream| !stream.is_displaced()).count();
        assert_eq!(open, 2);
        assert!(!stolen[9].is_displaced());
    }

    fn credential(hash: u8) -> Credential {
        Credential::of_browser(UserId::new(1).unwrap(), [hash; 32])
    }

    #[test]
    fn openings_that_are_over_are_forgotten() {
        let (streams, start) = (Streams::default(), Instant::now());
        for user in 1..=10_000_u32 {
            let now = start + user * OPENING / 16;
            let user = UserId::new(user.into()).unwrap();
            assert_eq!(streams.next_opening(Opener::User(user), 1, now), Some(now));
        }
        let known: usize =
            streams.shards.iter().map(|one| one.lock().unwrap().openings.len()).sum();
        assert!(known < 8 * SHARDS, "{known}");
    }
}
