//! An issuer of JWTs: what is expected of it, and the keys that it signs with now.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, HeaderMap};
use domain::Time;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::key_set::KeySet;
use crate::config::jwt::{JwtIssuer, KeySource};
use crate::runtime::connect::Guard;
use crate::runtime::fetch;

/// Between two fetches, whatever tokens name.
const PAUSE: i64 = 30 * Time::SECOND;
/// How long keys are used that are not fetched again, if the issuer says nothing of it.
const USUAL: i64 = 10 * Time::MINUTE;
const SHORTEST: i64 = Time::MINUTE;
const LONGEST: i64 = 24 * Time::HOUR;
/// How long the last keys are used while no fetch succeeds.
const STALE: i64 = 24 * Time::HOUR;
/// Bytes of a key set, and the time for each request.
const MOST_BYTES: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);
/// A fetch of two requests has ended after this, in whatever way.
const FETCH: i64 = 12 * Time::SECOND;

pub(crate) struct Issuer {
    pub(crate) settings: JwtIssuer,
    /// The prefixes of other issuers that begin with the prefix of this one.
    pub(super) others: Vec<String>,
    keys: RwLock<Arc<KeySet>>,
    /// Rises when the keys change.
    generation: AtomicU64,
    fetching: Mutex<Fetching>,
    /// The number of fetches that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Fetching {
    /// When the last fetch began, and whether it has ended.
    begun: Option<Time>,
    is_running: bool,
    succeeded: Option<Time>,
    /// When the keys are fetched again; `None` before the first time.
    due: Option<Time>,
    /// A token names a key that is not known.
    wanted: bool,
    /// What went wrong with the last fetch.
    problem: Option<String>,
}

impl Fetching {
    fn runs(&self, now: Time) -> bool {
        self.is_running && self.begun.is_some_and(|begun| now < begun.plus(FETCH))
    }

    /// Whether the pause after the last fetch is over; a clock that was set back does not count.
    fn may_begin(&self, now: Time) -> bool {
        self.begun.is_none_or(|begun| !(begun..begun.plus(PAUSE)).contains(&now))
    }
}

impl Issuer {
    pub(super) fn new(settings: JwtIssuer, others: Vec<String>, secret: Option<&str>) -> Self {
        let keys = secret.map(|secret| KeySet::secret(secret.as_bytes())).unwrap_or_default();
        Self {
            settings,
            others,
            keys: RwLock::new(Arc::new(keys)),
            generation: AtomicU64::new(0),
            fetching: Mutex::default(),
            ended: watch::Sender::new(0),
        }
    }

    /// Whether its keys are a secret of the settings, which is never fetched.
    fn is_fixed(&self) -> bool {
        !self.settings.secret_file.as_os_str().is_empty()
    }

    pub(crate) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    fn replace_keys(&self, keys: KeySet) {
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if !current.is_same(&keys) {
            *current = Arc::new(keys);
            self.generation.fetch_add(1, SeqCst);
        }
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the keys fetched because a token names one that is not among those of a generation, and
    /// waits for that. Returns whether there may be others now, which is not so where the last
    /// fetch was a short while ago.
    pub(super) async fn fetched_again(&self, seen: u64, wake: &Notify, now: Time) -> bool {
        if self.is_fixed() {
            return false;
        }
        let mut ended = self.ended.subscribe();
        {
            let mut fetching = self.fetching();
            if !fetching.runs(now) {
                if !fetching.may_begin(now) {
                    // A fetch may just have ended.
                    return self.generation() != seen;
                }
                fetching.wanted = true;
            }
        }
        wake.notify_one();
        timeout(2 * PATIENCE, ended.changed()).await.is_ok_and(|ended| ended.is_ok())
    }

    /// Whether the keys have to be fetched now, by the caller and nobody else until it calls
    /// [`fetch`](Self::fetch).
    pub(crate) fn begins_fetch(&self, now: Time) -> bool {
        let mut fetching = self.fetching();
        // A clock that was set back does not put it off.
        let waits = fetching.due.is_some_and(|due| due.plus(-LONGEST).runs(LONGEST, now));
        let due = fetching.wanted || !waits;
        if self.is_fixed() || fetching.runs(now) || !due || !fetching.may_begin(now) {
            return false;
        }
        fetching.wanted = false;
        fetching.is_running = true;
        fetching.begun = Some(now);
        true
    }

    /// Fetches the keys; returns whether that succeeded. Without it the last ones are used for a
    /// day.
    pub(crate) async fn fetch(&self, guard: &Guard, now: Time) -> bool {
        let fetched = self.get(guard).await;
        let issuer = self.settings.issuer.as_str();
        let mut fetching = self.fetching();
        fetching.is_running = false;
        let succeeded = fetched.is_ok();
        match fetched {
            Ok((keys, kept)) => {
                self.replace_keys(keys);
                fetching.succeeded = Some(now);
                fetching.due = Some(now.plus(kept));
                if fetching.problem.take().is_some() {
                    tracing::info!(issuer, "the keys of an issuer of JWTs can be fetched again");
                }
            }
            Err(problem) => {
                fetching.due = Some(now.plus(PAUSE));
                if fetching.succeeded.is_none_or(|last| last.plus(STALE) <= now) {
                    self.replace_keys(KeySet::default());
                }
                if fetching.problem.as_ref() != Some(&problem) {
                    tracing::warn!(
                        issuer,
                        problem,
                        "the keys of an issuer of JWTs cannot be fetched: the last ones are used \
                         for 24 hours"
                    );
                }
                fetching.problem = Some(problem);
            }
        }
        drop(fetching);
        self.ended.send_modify(|ended| *ended += 1);
        succeeded
    }

    /// The keys, and for how long they may be used, in microseconds.
    async fn get(&self, guard: &Guard) -> Result<(KeySet, i64), String> {
        let address = match &self.settings.keys {
            KeySource::File(path) => {
                return Ok((KeySet::parse(&read(path)?, &self.settings.algorithms)?, SHORTEST));
            }
            KeySource::Address(address) => address.clone(),
            KeySource::Discovery => self.discover(guard).await?,
        };
        let (headers, body) = fetch::get(guard, &address, MOST_BYTES, PATIENCE).await?;
        let keys = KeySet::parse(&body, &self.settings.algorithms)?;
        Ok((keys, kept_for(&headers)))
    }

    /// The address of the keys, from the issuer's own document.
    async fn discover(&self, guard: &Guard) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let issuer = &self.settings.issuer;
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let (_headers, body) = fetch::get(guard, &address, MOST_BYTES, PATIENCE).await?;
        let metadata: Metadata = serde_json::from_slice(&body)
            .map_err(|_cause| "its document of discovery cannot be read".to_owned())?;
        if metadata.issuer != *issuer {
            return Err("its document of discovery names another issuer".to_owned());
        }
        Ok(metadata.jwks_uri)
    }
}

/// Reads a file with keys.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = db::read_bounded(path, MOST_BYTES as u64);
    read.map_err(|cause| format!("cannot read {}: {cause}", path.display()))
}

/// How long a response may be used, in microseconds.
fn kept_for(headers: &HeaderMap) -> i64 {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let mut kept = USUAL;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return SHORTEST,
            "max-age" => {
                let seconds = value
                    .trim_matches('"')
                    .parse::<u32>()
                    .map_or(USUAL, |seconds| i64::from(seconds) * Time::SECOND);
                kept = seconds.clamp(SHORTEST, LONGEST);
            }
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_as_long_as_the_issuer_says_between_a_minute_and_a_day() {
        let kept = |lines: &[&str]| {
            let line = |line: &&str| (CACHE_CONTROL, line.parse().expect("a header"));
            kept_for(&lines.iter().map(line).collect())
        };
        assert_eq!(kept(&[]), USUAL);
        assert_eq!(kept(&["public, max-age=3600, must-revalidate"]), Time::HOUR);
        assert_eq!(kept(&["max-age=5"]), Time::MINUTE);
        assert_eq!(kept(&["Max-Age=\"4294967295\""]), 24 * Time::HOUR);
        assert_eq!(kept(&["max-age=soon"]), USUAL);
        assert_eq!(kept(&["max-age=3600", "no-cache"]), Time::MINUTE);
    }
}
