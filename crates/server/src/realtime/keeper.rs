//! The look at all open streams: what was lost on the way to them costs a few seconds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use db::Db;
use mail::key::{Key, Kind};
use mail::{Time, mailbox, sessions, tokens};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::streams::{Line, Streams};
use crate::runtime::clock::Clock;
use crate::runtime::signal::Flag;

/// How often it looks, so that nothing is later than 5 seconds, also on a busy machine.
const EVERY: Duration = Duration::from_secs(3);
/// How long it rests after a look that somebody asked for: where notices are lost all the time, it
/// must not look all the time.
const REST: Duration = Duration::from_millis(250);
/// Users that one statement asks about.
const CHUNK: usize = 250;

/// What looks at the streams of a node.
pub(crate) struct Keeper {
    pub(crate) streams: Arc<Streams>,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) stopping: Flag,
}

/// Looks until the server stops; then it wakes everybody, to say so.
pub(crate) async fn keep(keeper: Keeper) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !keeper.stopping.is_set() {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            () = keeper.streams.missed.notified() => true,
            () = keeper.stopping.wait() => break,
        };
        look(&keeper).await;
        if asked {
            tokio::select! {
                () = sleep(REST) => {}
                () = keeper.stopping.wait() => {}
            }
        }
    }
    for line in keeper.streams.all() {
        line.wake.notify_one();
    }
}

/// Wakes those who are behind, ends those whose session has ended, and notes that the others are in
/// use.
async fn look(keeper: &Keeper) {
    let mut lines = keeper.streams.all();
    lines.sort_by_key(|line| line.key.user);
    let mut rest = lines.as_slice();
    while !rest.is_empty() && !keeper.stopping.is_set() {
        let end = of_some_users(rest);
        let (chunk, others) = rest.split_at(end);
        // What cannot be asked now is asked the next time.
        if let Err(error) = look_at(keeper, chunk).await {
            tracing::debug!(%error, "the streams were not looked at");
        }
        rest = others;
        // A file is read on this very thread, which has other work as well.
        yield_now().await;
    }
}

/// How many streams belong to the first users.
fn of_some_users(lines: &[Arc<Line>]) -> usize {
    let users = lines.chunk_by(|one, next| one.key.user == next.key.user);
    users.take(CHUNK).map(<[_]>::len).sum()
}

async fn look_at(keeper: &Keeper, lines: &[Arc<Line>]) -> mail::Result<()> {
    let mut owners: Vec<_> = lines.iter().map(|line| line.key.user.get()).collect();
    owners.dedup();
    let cx = keeper.clock.cx();
    // No scan: behind long searches it would be late.
    let (counters, sessions, tokens) = keeper
        .db
        .read(move |tx| {
            let counters = mailbox::counters(tx, &owners)?;
            let sessions = sessions::holding(tx, &cx, &owners)?;
            Ok::<_, mail::Error>((counters, sessions, tokens::holding(tx, &cx, &owners)?))
        })
        .await?;
    let counters: HashMap<_, _> = counters.into_iter().collect();
    let sessions = sessions.into_iter().map(|(key, seen)| (key, Some(seen)));
    let holding: HashMap<Key, Option<Time>> = sessions.chain(tokens).collect();
    // Other nodes may note the same at this moment: all of them in one order.
    let mut in_use = BTreeSet::new();
    for line in lines {
        let Some(used) = holding.get(&line.key) else {
            line.end();
            continue;
        };
        let every = match line.key.kind {
            Kind::Session => sessions::SEEN_EVERY,
            Kind::Token => tokens::USED_EVERY,
        };
        if used.is_none_or(|used| used.plus(every) <= cx.now) {
            in_use.insert(line.key);
        }
        let counter = counters.get(&line.key.user);
        if counter.is_some_and(|counter| *counter > line.sent.load(SeqCst)) {
            line.wake.notify_one();
        }
    }
    if !in_use.is_empty() {
        let (sessions, tokens): (Vec<_>, Vec<_>) =
            in_use.into_iter().partition(|key| key.kind == Kind::Session);
        // Where the queue is full, the next look notes it.
        keeper.db.write_later(move |tx| {
            sessions::all_seen(tx, &cx, &sessions)?;
            tokens::all_used(tx, &cx, &tokens)
        })?;
    }
    Ok(())
}
