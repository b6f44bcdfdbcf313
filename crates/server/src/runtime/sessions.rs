//! Sessions and tokens in memory: most requests ask the database nothing about who is calling.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use db::Db;
use mail::key::{Key, Kind};
use mail::tokens::Scopes;
use mail::{Cx, Time, UserId, sessions, tokens};
use quick_cache::sync::Cache;

/// Sessions and tokens that are remembered; about 100 bytes each.
const CAPACITY: usize = 32_768;
/// How long one is believed without asking again: an operator's command, or another node, may
/// have ended it.
const BELIEVED: i64 = 5 * Time::SECOND;

#[derive(Clone, Copy)]
struct Known {
    checked_at: Time,
    expires_at: Option<Time>,
    scopes: Scopes,
}

impl Known {
    fn holds(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| end > now)
            && (self.checked_at..self.checked_at.plus(BELIEVED)).contains(&now)
    }
}

/// What is known of sessions and tokens in this process.
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
    /// What a session or a token allows, if it holds; a session allows everything.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub(crate) async fn scopes(&self, db: &Db, cx: &Cx, key: &Key) -> mail::Result<Option<Scopes>> {
        if let Some(known) = self.cache.get(key)
            && known.holds(cx.now)
        {
            return Ok(Some(known.scopes));
        }
        self.ask(db, cx, key).await
    }

    async fn ask(&self, db: &Db, cx: &Cx, key: &Key) -> mail::Result<Option<Scopes>> {
        let (cx, key) = (*cx, *key);
        let endings = self.endings.load(SeqCst);
        let found = db.read(move |tx| {
            Ok::<_, mail::Error>(match key.kind {
                Kind::Session => sessions::find(tx, &cx, &key)?.map(|session| {
                    let noted = session.last_seen_at.plus(sessions::SEEN_EVERY) > cx.now;
                    (Scopes::all(), Some(session.expires_at), noted)
                }),
                Kind::Token => tokens::find(tx, &cx, &key)?.map(|token| {
                    let noted = |used: Time| used.plus(tokens::USED_EVERY) > cx.now;
                    (token.scopes, token.expires_at, token.last_used_at.is_some_and(noted))
                }),
            })
        });
        let Some((scopes, expires_at, noted)) = found.await? else {
            self.cache.remove(&key);
            return Ok(None);
        };
        self.cache.insert(key, Known { checked_at: cx.now, expires_at, scopes });
        if self.endings.load(SeqCst) != endings {
            self.cache.remove(&key);
        }
        if !noted {
            // Lost when the queue is full: the next request notes it.
            let noted = db.write_later(move |tx| match key.kind {
                Kind::Session => sessions::seen(tx, &cx, &key),
                Kind::Token => tokens::used(tx, &cx, &key),
            });
            if let Err(error) = noted {
                tracing::debug!(%error, "the use of a session was not noted");
            }
        }
        Ok(Some(scopes))
    }

    /// Forgets a session or a token that has just ended.
    pub(crate) fn forget(&self, key: &Key) {
        self.endings.fetch_add(1, SeqCst);
        self.cache.remove(key);
    }

    /// Forgets everything: nobody knows what has ended.
    pub(crate) fn forget_everybody(&self) {
        self.endings.fetch_add(1, SeqCst);
        self.cache.clear();
    }

    /// Forgets all sessions and tokens of a user; those that hold are asked for again.
    pub(crate) fn forget_all(&self, user: UserId) {
        self.endings.fetch_add(1, SeqCst);
        self.cache.retain(|key, _| key.user != user);
    }
}
