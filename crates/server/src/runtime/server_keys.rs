//! A cache of server keys, so that most calls need no query to identify theirs.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use db::{Db, Owner};
use domain::server_keys::{self, KeyHash, KeyScopes, ServerKey};
use domain::{Cx, ServerKeyId, Time};
use quick_cache::sync::Cache;
use subtle::ConstantTimeEq as _;

use super::USED_FOR;
use crate::config::secret::Secret;

/// Entries of the cache; an app needs a few keys.
const CAPACITY: usize = 1024;

#[derive(Clone)]
struct Entry {
    checked_at: Time,
    until: Option<Time>,
    key: Arc<ServerKey>,
}

pub(crate) struct ServerKeys {
    /// The key of the configuration.
    configured: Option<(Secret, Arc<ServerKey>)>,
    cache: Cache<KeyHash, Entry>,
    /// How often keys have changed: an entry read before must not be kept after that.
    changes: AtomicU64,
}

/// The key of a worker's calls that was found last. An app has few keys, which all workers would
/// contend for in the cache.
#[derive(Default)]
pub(crate) struct LastKey(Mutex<Option<(KeyHash, u64, Entry)>>);

impl Entry {
    fn is_valid(&self, cx: &Cx) -> bool {
        self.until.is_none_or(|until| until > cx.now)
            && (self.checked_at..self.checked_at.plus(USED_FOR)).contains(&cx.now)
    }
}

impl ServerKeys {
    pub(crate) fn new(configured: Option<&Secret>) -> Self {
        let configured = configured.map(|secret| {
            let key = ServerKey {
                id: ServerKeyId::CONFIGURED,
                name: server_keys::CONFIGURED_NAME.to_owned(),
                scopes: KeyScopes::of_an_app(),
                expires_at: None,
            };
            (secret.clone(), Arc::new(key))
        });
        Self { configured, cache: Cache::new(CAPACITY), changes: AtomicU64::new(0) }
    }

    /// Whether a text may be a server key, by its form.
    pub(crate) fn may_be_one(&self, sent: &[u8]) -> bool {
        sent.starts_with(server_keys::PREFIX.as_bytes()) || self.configured(sent).is_some()
    }

    /// The time that it takes tells nothing but the length.
    fn configured(&self, sent: &[u8]) -> Option<&Arc<ServerKey>> {
        let (secret, key) = self.configured.as_ref()?;
        bool::from(secret.expose().as_bytes().ct_eq(sent)).then_some(key)
    }

    /// The key, if it is valid.
    pub(crate) async fn find(
        &self,
        LastKey(last): &LastKey,
        db: &Db,
        cx: &Cx,
        sent: &[u8],
        by: impl FnOnce() -> Owner,
    ) -> domain::Result<Option<Arc<ServerKey>>> {
        if let Some(key) = self.configured(sent) {
            return Ok(Some(Arc::clone(key)));
        }
        if !sent.starts_with(server_keys::PREFIX.as_bytes()) {
            return Ok(None);
        }
        let (hash, changes) = (KeyHash::of(sent), self.changes.load(SeqCst));
        let last = || last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, then, entry)) = &*last()
            && (*of, *then) == (hash, changes)
            && entry.is_valid(cx)
        {
            return Ok(Some(Arc::clone(&entry.key)));
        }
        let Some(entry) = self.cache.get(&hash).filter(|entry| entry.is_valid(cx)) else {
            return self.load(db, cx, hash, by()).await;
        };
        // A copy, with a count of references of its own.
        let key = Arc::new(ServerKey::clone(&entry.key));
        *last() = Some((hash, changes, Entry { key: Arc::clone(&key), ..entry }));
        Ok(Some(key))
    }

    async fn load(
        &self,
        db: &Db,
        cx: &Cx,
        hash: KeyHash,
        by: Owner,
    ) -> domain::Result<Option<Arc<ServerKey>>> {
        let (cx, changes) = (*cx, self.changes.load(SeqCst));
        let Some(valid) = db.of(by).read_one(move |tx| server_keys::find(tx, &cx, &hash)).await?
        else {
            self.cache.remove(&hash);
            return Ok(None);
        };
        let (id, key) = (valid.key.id, Arc::new(valid.key));
        let entry = Entry { checked_at: cx.now, until: valid.until, key: Arc::clone(&key) };
        self.cache.insert(hash, entry);
        if self.changes.load(SeqCst) != changes {
            self.cache.remove(&hash);
        }
        let recorded = |used: Time| used.runs(server_keys::USED_EVERY, cx.now);
        if !valid.last_used_at.is_some_and(recorded)
            // If the queue is full, the next request records it.
            && let Err(error) = db.of(id).write_later(move |tx| server_keys::used(tx, &cx, id))
        {
            tracing::debug!(%error, "the use of a server key was not recorded");
        }
        Ok(Some(key))
    }

    /// Removes all keys, because one was rotated or revoked; the others are loaded again.
    pub(crate) fn forget_all(&self) {
        self.changes.fetch_add(1, SeqCst);
        self.cache.clear();
        // Of what a worker has found in between.
        self.changes.fetch_add(1, SeqCst);
    }
}
