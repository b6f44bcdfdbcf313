//! Reconciles the open streams with the database: a notice that was lost delays a stream by a few
//! seconds only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use domain::browser_tokens::{self, Grant, Standing};
use domain::credential::{Credential, CredentialKind};
use domain::{Time, sessions, tokens, unread};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::runner::{Lease, Task};
use crate::node::Node;
use crate::realtime::streams::Subscription;
use crate::runtime::jwt::Pass;

/// The pause before a run for lost notices: where they are lost all the time, it must not run
/// all the time.
const PAUSE: Duration = Duration::from_millis(250);
/// Users in one query.
const CHUNK: usize = 250;

pub(super) struct ReconcileStreams {
    pub(super) node: Arc<Node>,
    /// When the last run ended.
    pub(super) ran: Instant,
}

impl Task for ReconcileStreams {
    const NAME: &'static str = "streams";
    /// So that nothing is later than 5 seconds, also on a busy machine.
    const EVERY: Duration = Duration::from_secs(3);

    async fn woken(&mut self) {
        self.node.streams.missed.notified().await;
        sleep_until(self.ran + PAUSE).await;
    }

    async fn run(&mut self, _lease: &mut Lease) -> domain::Result<()> {
        let mut all = self.node.streams.all();
        all.sort_by_key(|subscription| subscription.key.user);
        let (mut left, mut result) = (all.as_slice(), Ok(()));
        while !left.is_empty() && !self.node.stopping.is_cancelled() {
            let users = left.chunk_by(|one, next| one.key.user == next.key.user);
            let (chunk, others) = left.split_at(users.take(CHUNK).map(<[_]>::len).sum());
            result = reconcile(&self.node, chunk).await.and(result);
            left = others;
            // A file is read on this very thread, which has other work as well.
            yield_now().await;
        }
        self.ran = Instant::now();
        result
    }

    /// Wakes all streams, so that they tell their clients to reconnect.
    async fn stop(&mut self) {
        for subscription in self.node.streams.all() {
            subscription.wake.notify_one();
        }
    }
}

/// Wakes streams that are behind, ends those whose session or token has ended, and notes that the
/// others are in use.
async fn reconcile(node: &Node, subscriptions: &[Arc<Subscription>]) -> domain::Result<()> {
    let mut owners: Vec<_> = subscriptions.iter().map(|one| one.key.user.get()).collect();
    owners.dedup();
    let cx = node.clock.cx();
    let passes: Vec<Pass> = subscriptions.iter().filter_map(|one| one.pass).collect();
    let grants: Vec<Grant> = passes.iter().map(|pass| pass.grant).collect();
    // No scan: it would wait behind long searches.
    let read = node.db.read(move |tx| {
        let modseqs = unread::modseqs(tx, &owners)?;
        let sessions = sessions::valid_of(tx, &cx, &owners)?;
        let tokens = tokens::valid_of(tx, &cx, &owners)?;
        let standings = browser_tokens::standings(tx, &cx, &grants)?;
        Ok::<_, domain::Error>((modseqs, sessions, tokens, standings))
    });
    let (modseqs, sessions, tokens, standings) = read.await?;
    let modseqs: HashMap<_, _> = modseqs.into_iter().collect();
    let sessions = sessions.into_iter().map(|(key, seen)| (key, Some(seen)));
    let mut valid: HashMap<Credential, Option<Time>> = sessions.chain(tokens).collect();
    for (pass, standing) in passes.iter().zip(standings) {
        let is_current = pass.key.is_none_or(|key| node.jwts.is_current(&key));
        if standing == Standing::Valid && is_current {
            valid.insert(pass.grant.credential, None);
        }
    }
    // Sorted, because other nodes may lock the same rows now.
    let mut in_use = BTreeSet::new();
    for subscription in subscriptions {
        let key = subscription.key;
        let Some(used) = valid.get(&key) else {
            subscription.end();
            continue;
        };
        let (used, every) = match key.kind {
            CredentialKind::Session => (*used, sessions::SEEN_EVERY),
            CredentialKind::Token | CredentialKind::ServerKey => (*used, tokens::USED_EVERY),
            CredentialKind::Browser => {
                (Some(Time(subscription.recorded.load(SeqCst))), browser_tokens::USED_EVERY)
            }
        };
        if !used.is_some_and(|used| used.runs(every, cx.now)) {
            subscription.recorded.store(cx.now.0, SeqCst);
            in_use.insert(key);
        }
        if modseqs.get(&key.user).is_some_and(|now| *now > subscription.sent.load(SeqCst)) {
            subscription.wake.notify_one();
        }
    }
    if !in_use.is_empty() {
        let of = |kind| in_use.iter().copied().filter(|key| key.kind == kind).collect::<Vec<_>>();
        let sessions = of(CredentialKind::Session);
        let (tokens, browsers) = (of(CredentialKind::Token), of(CredentialKind::Browser));
        // Where the queue is full, the next run notes it.
        node.db.write_later(move |tx| {
            sessions::all_seen(tx, &cx, &sessions)?;
            tokens::all_used(tx, &cx, &tokens)?;
            browser_tokens::all_used(tx, &cx, &browsers)
        })?;
    }
    Ok(())
}
