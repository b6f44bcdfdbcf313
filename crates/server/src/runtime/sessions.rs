//! A cache of sessions and tokens, so that most requests need no query to identify their caller.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use db::{Db, Of, Owner, Tx};
use domain::browser_tokens::{self, Grant, Standing};
use domain::credential::{Credential, CredentialKind};
use domain::tokens::Scopes;
use domain::{Cx, Time, UserId, sessions, tokens};
use quick_cache::sync::Cache;

use super::USED_FOR;

/// Entries of the cache, of about 100 bytes each.
const CAPACITY: usize = 32_768;

#[derive(Clone, Copy)]
struct Entry {
    checked_at: Time,
    expires_at: Option<Time>,
    scopes: Scopes,
    /// When the use of a browser token was last recorded, which is stored nowhere else.
    recorded_at: Time,
}

impl Entry {
    fn is_valid(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|end| end > now)
            && (self.checked_at..self.checked_at.plus(USED_FOR)).contains(&now)
    }
}

pub(crate) struct Sessions {
    cache: Cache<Credential, Entry>,
    /// How often sessions or tokens have ended: an entry read before must not be kept after that.
    endings: AtomicU64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { cache: Cache::new(CAPACITY), endings: AtomicU64::new(0) }
    }
}

impl Sessions {
    /// Returns what a session or token allows, if it is valid; a session allows everything. Where
    /// it has to be looked up, `by` says for whom: who sends it may be somebody else.
    pub(crate) async fn scopes(
        &self,
        db: &Db,
        cx: &Cx,
        key: &Credential,
        by: impl FnOnce() -> Owner,
    ) -> domain::Result<Option<Scopes>> {
        if let Some(entry) = self.cache.get(key)
            && entry.is_valid(cx.now)
        {
            return Ok(Some(entry.scopes));
        }
        self.load(db, cx, key, by()).await
    }

    async fn load(
        &self,
        db: &Db,
        cx: &Cx,
        key: &Credential,
        by: Owner,
    ) -> domain::Result<Option<Scopes>> {
        let (cx, key) = (*cx, *key);
        let endings = self.endings.load(SeqCst);
        let found = db.of(by).read(move |tx| {
            Ok::<_, domain::Error>(match key.kind {
                CredentialKind::Session => sessions::find(tx, &cx, &key)?.map(|session| {
                    let recorded = session.last_seen_at.runs(sessions::SEEN_EVERY, cx.now);
                    (Scopes::all(), Some(session.expires_at), recorded)
                }),
                // Keys have a cache of their own.
                CredentialKind::Token => tokens::find(tx, &cx, &key)?.map(|token| {
                    let recorded = |used: Time| used.runs(tokens::USED_EVERY, cx.now);
                    (token.scopes, token.expires_at, token.last_used_at.is_some_and(recorded))
                }),
                // What a browser token allows is in it: `standing` says whether it still holds.
                CredentialKind::ServerKey | CredentialKind::Browser => None,
            })
        });
        let Some((scopes, expires_at, recorded)) = found.await? else {
            self.cache.remove(&key);
            return Ok(None);
        };
        let recorded_at = cx.now;
        self.cache.insert(key, Entry { checked_at: cx.now, expires_at, scopes, recorded_at });
        if self.endings.load(SeqCst) != endings {
            self.cache.remove(&key);
        }
        if !recorded {
            // If the queue is full, the next request records it.
            record(db.of(key.user), &cx, &key);
        }
        Ok(Some(scopes))
    }

    /// Returns whether a browser token or a JWT still holds.
    pub(crate) async fn standing(
        &self,
        db: Of<'_>,
        cx: &Cx,
        grant: &Grant,
    ) -> domain::Result<Standing> {
        let (cx, grant, key) = (*cx, *grant, grant.credential);
        let before = self.cache.get(&key);
        if before.is_some_and(|entry| entry.is_valid(cx.now)) {
            return Ok(Standing::Valid);
        }
        let endings = self.endings.load(SeqCst);
        let standing = db.read_one(move |tx| browser_tokens::standing(tx, &cx, &grant)).await?;
        if standing != Standing::Valid {
            self.cache.remove(&key);
            if standing == Standing::RevokedAhead {
                let user = key.user;
                let correct =
                    move |tx: &mut Tx<'_>| browser_tokens::correct_revocation(tx, &cx, user);
                if db.write(correct).await? {
                    let user = user.get();
                    tracing::warn!(user, "a clock was ahead when tokens were revoked: it is now");
                }
            }
            return Ok(standing);
        }
        let recorded = before.map(|entry| entry.recorded_at);
        let recorded = recorded.filter(|at| at.runs(browser_tokens::USED_EVERY, cx.now));
        let entry = Entry {
            checked_at: cx.now,
            expires_at: Some(grant.expires_at),
            scopes: grant.scopes,
            recorded_at: recorded.unwrap_or(cx.now),
        };
        self.cache.insert(key, entry);
        if self.endings.load(SeqCst) != endings {
            self.cache.remove(&key);
        }
        if recorded.is_none() {
            record(db, &cx, &key);
        }
        Ok(standing)
    }

    /// Removes a session or token that has just ended.
    pub(crate) fn forget(&self, key: &Credential) {
        self.endings.fetch_add(1, SeqCst);
        self.cache.remove(key);
    }

    /// Removes everything, if it is unknown what has ended.
    pub(crate) fn forget_everybody(&self) {
        self.endings.fetch_add(1, SeqCst);
        self.cache.clear();
    }

    /// Removes all sessions and tokens of a user; those that are still valid are loaded again.
    pub(crate) fn forget_all(&self, user: UserId) {
        self.endings.fetch_add(1, SeqCst);
        self.cache.retain(|key, _| key.user != user);
    }
}

/// Records that a session or token is in use. If the queue is full, the next request does it.
fn record(db: Of<'_>, cx: &Cx, key: &Credential) {
    let (cx, key) = (*cx, *key);
    let recorded = db.write_later(move |tx| match key.kind {
        CredentialKind::Session => sessions::seen(tx, &cx, &key),
        CredentialKind::Token => tokens::used(tx, &cx, &key),
        CredentialKind::Browser => browser_tokens::used(tx, &cx, &key),
        CredentialKind::ServerKey => Ok(()),
    });
    if let Err(error) = recorded {
        tracing::debug!(%error, "the use of a session was not recorded");
    }
}
