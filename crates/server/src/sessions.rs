//! Sessions in memory: most requests ask the database nothing about who is calling.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use db::Db;
use mail::sessions::{self, Key};
use mail::{Cx, Time, UserId};
use quick_cache::sync::Cache;

/// Sessions that are remembered; about 100 bytes each.
const CAPACITY: usize = 32_768;
/// How long one is believed without asking again: an operator's command, or another node, may
/// have ended it.
const BELIEVED: i64 = 5 * Time::SECOND;

#[derive(Clone, Copy)]
struct Known {
    checked_at: Time,
    expires_at: Time,
}

/// What is known of sessions in this process.
pub(crate) struct Sessions {
    cache: Cache<Key, Known>,
    // Counts the endings: what was read before one must not be remembered after it.
    endings: AtomicU64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { cache: Cache::new(CAPACITY), endings: AtomicU64::new(0) }
    }
}

impl Sessions {
    /// Whose session it is, if it holds.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub(crate) async fn user(&self, db: &Db, cx: &Cx, key: &Key) -> mail::Result<Option<UserId>> {
        if let Some(known) = self.cache.get(key)
            && known.expires_at > cx.now
            && (known.checked_at..known.checked_at.plus(BELIEVED)).contains(&cx.now)
        {
            return Ok(Some(key.user));
        }
        self.ask(db, cx, key).await
    }

    async fn ask(&self, db: &Db, cx: &Cx, key: &Key) -> mail::Result<Option<UserId>> {
        let (cx, key) = (*cx, *key);
        let endings = self.endings.load(SeqCst);
        let Some(session) = db.read(|tx| sessions::find(tx, &cx, &key)).await? else {
            self.cache.remove(&key);
            return Ok(None);
        };
        self.cache.insert(key, Known { checked_at: cx.now, expires_at: session.expires_at });
        if self.endings.load(SeqCst) != endings {
            self.cache.remove(&key);
        }
        if session.last_seen_at.plus(sessions::SEEN_EVERY) <= cx.now {
            // Lost when the queue is full: the next request notes it.
            let noted = db.write_later(move |tx| sessions::seen(tx, &cx, &key));
            if let Err(error) = noted {
                tracing::debug!(%error, "the use of a session was not noted");
            }
        }
        Ok(Some(key.user))
    }

    /// Forgets a session that has just ended.
    pub(crate) fn forget(&self, key: &Key) {
        self.endings.fetch_add(1, SeqCst);
        self.cache.remove(key);
    }
}
