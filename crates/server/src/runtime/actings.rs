//! The users for whom the app's own server acts: a cache, so that most calls need no query to find
//! theirs, and what was read for them, until it is in the audit log.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use db::{Db, Of};
use domain::audit::{self, Call, Gathered};
use domain::users::{self, Standing};
use domain::{Cx, Time, UserId, UserRef, reminders};
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use super::USED_FOR;

/// Entries of each cache, of a few hundred bytes at most.
const CAPACITY: usize = 32_768;
/// How precisely the presence of a user is recorded, as each record is a write.
const SEEN_EVERY: i64 = Time::MINUTE;
/// Records that are written in one transaction: a few milliseconds of the writer's time.
const STEP: usize = 2048;
/// Records of a worker that wait before they are written early, and at most, some 8 MB.
const WAITING: usize = 10_000;
const MOST: usize = 200_000;

pub(crate) struct Actings {
    /// The active users by what names them for good: never by a username, which may change.
    users: Cache<UserRef, (Time, UserId)>,
    /// How often users have changed: an entry read before must not be kept after that.
    changes: AtomicU64,
    /// When the presence of a user was last recorded.
    seen: Cache<UserId, Time>,
    workers: Mutex<Vec<Arc<Reads>>>,
    /// There is much to write.
    pub(crate) many: Notify,
}

/// What the calls of a worker have read. Each has its own, so that the processors do not contend
/// for one.
#[derive(Default)]
pub(crate) struct Reads(Mutex<Gathered>);

impl Default for Actings {
    fn default() -> Self {
        Self {
            users: Cache::new(CAPACITY),
            changes: AtomicU64::new(0),
            seen: Cache::new(CAPACITY),
            workers: Mutex::default(),
            many: Notify::new(),
        }
    }
}

impl Actings {
    /// The user, and whether anybody may act for them; `None` where there is no such user.
    pub(crate) async fn find(
        &self,
        db: Of<'_>,
        cx: &Cx,
        named: UserRef,
    ) -> domain::Result<Option<(UserId, Standing)>> {
        if let Some((checked_at, user)) = self.users.get(&named)
            && (checked_at..checked_at.plus(USED_FOR)).contains(&cx.now)
        {
            return Ok(Some((user, Standing::Active)));
        }
        let (of, changes) = (named.clone(), self.changes.load(SeqCst));
        let found = db.read_one(move |tx| users::standing(tx, &of)).await?;
        match (found, &named) {
            (Some((user, Standing::Active)), UserRef::Id(_) | UserRef::External(_)) => {
                self.users.insert(named.clone(), (cx.now, user));
                if self.changes.load(SeqCst) != changes {
                    self.users.remove(&named);
                }
            }
            _ => drop(self.users.remove(&named)),
        }
        Ok(found)
    }

    /// Records that the user is there, which ends the wait for a reminder.
    pub(crate) fn seen(&self, db: Of<'_>, cx: &Cx, user: UserId) {
        let cx = *cx;
        let recorded = |at: Time| (at..at.plus(SEEN_EVERY)).contains(&cx.now);
        if !cx.wanted.reminders || self.seen.get(&user).is_some_and(recorded) {
            return;
        }
        // If the queue is full, the next call records it.
        match db.write_later(move |tx| reminders::seen(tx, &cx, user)) {
            Ok(()) => self.seen.insert(user, cx.now),
            Err(error) => tracing::debug!(%error, "the presence of a user was not recorded"),
        }
    }

    /// Removes a user, whose access has changed.
    pub(crate) fn forget(&self, user: UserId) {
        self.changes.fetch_add(1, SeqCst);
        self.users.retain(|_, (_, known)| *known != user);
    }

    /// Removes everything, if it is unknown what has changed.
    pub(crate) fn forget_everybody(&self) {
        self.changes.fetch_add(1, SeqCst);
        self.users.clear();
    }

    /// What one more worker reads.
    pub(crate) fn worker(&self) -> Arc<Reads> {
        let reads = Arc::<Reads>::default();
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(Arc::clone(&reads));
        reads
    }

    /// Notes that a call, which a worker serves, asks for messages of a user.
    ///
    /// # Errors
    /// [`db::Error::Busy`] where so much waits that the database does not seem to take anything.
    pub(crate) fn has_read(
        &self,
        reads: &Reads,
        call: &Call,
        user: UserId,
        at: Time,
    ) -> db::Result<()> {
        let mut read = reads.gathered();
        if read.len() >= MOST {
            return Err(db::Error::Busy);
        }
        read.add(call, user, at);
        if read.len() == WAITING {
            self.many.notify_one();
        }
        Ok(())
    }

    /// Writes what was noted to the audit log. What cannot be written waits for the next time.
    pub(crate) async fn write(&self, db: &Db) -> domain::Result<()> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for reads in workers {
            loop {
                let step = reads.gathered().take(STEP);
                if step.is_empty() {
                    break;
                }
                let step = Arc::new(step);
                let of_step = Arc::clone(&step);
                let written = db.write(move |tx| audit::record_gathered(tx, &of_step)).await;
                if let Err(error) = written {
                    reads.gathered().put_back(&step);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Reads {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
