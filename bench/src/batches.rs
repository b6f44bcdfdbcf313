//! What the app's own server asks about many users at once, beside as many calls about one user
//! each, one after the other on one connection.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::acked::Acked;
use crate::load::sent_id;
use crate::numbers::median;
use crate::process::{Process, SERVER_KEY};
use crate::requests::{Request, User, client, server, v1};
use crate::settings::Workload;
use crate::wire::Connection;

/// The most users of a call.
const MOST: usize = 1000;

/// The rounds of one kind of call.
#[derive(Serialize)]
pub(crate) struct Batch {
    pub(crate) name: &'static str,
    pub(crate) users: usize,
    /// In milliseconds: so many single calls, and the one call.
    pub(crate) rounds: Vec<(f64, f64)>,
}

impl Batch {
    /// How many times as long the single calls take, in the middle round.
    pub(crate) fn times(&self) -> f64 {
        median(self.rounds.iter().map(|(singles, batch)| singles / batch))
    }

    /// The middle times of the single calls and of the one call.
    pub(crate) fn medians(&self) -> (f64, f64) {
        let singles = median(self.rounds.iter().map(|(singles, _)| *singles));
        (singles, median(self.rounds.iter().map(|(_, batch)| *batch)))
    }
}

/// New users, others in every round.
pub(crate) async fn puts(process: &Process, rounds: usize) -> Result<Batch> {
    let ids = |kind: &'static str, round| (0..MOST).map(move |at| format!("{kind}.{round}.{at}"));
    let mut measured = Batch { name: Workload::Puts.name(), users: MOST, rounds: vec![] };
    for round in 0..rounds {
        let singles: Vec<_> = ids("one", round).map(|id| server::put(SERVER_KEY, &id)).collect();
        let batch = server::put_all(SERVER_KEY, &ids("all", round).collect::<Vec<_>>());
        let (one, _) = measure(process, Workload::Puts, &singles, &batch, 1).await?;
        measured.rounds.extend(one.rounds);
    }
    Ok(measured)
}

/// The unread counts of all users.
pub(crate) async fn unread(process: &Process, users: &[User], rounds: usize) -> Result<Batch> {
    let users = &users[..users.len().min(MOST)];
    let singles: Vec<_> = users.iter().map(v1::unread_by_session).collect();
    let ids: Vec<_> = users.iter().map(|user| user.id).collect();
    let batch = server::unread(SERVER_KEY, &ids);
    let (batch, _) = measure(process, Workload::Unreads, &singles, &batch, rounds).await?;
    Ok(batch)
}

/// A message of its own to each of the recipients, from a user and from a system user. What the
/// user sent is acknowledged.
pub(crate) async fn system(
    process: &Process,
    sender: &User,
    recipients: &[User],
    (rounds, acked): (usize, &mut Acked),
) -> Result<Batch> {
    let client = client(process.port);
    let request = client.request("PUT", "/v1/server/users/ext:bench").bearer(SERVER_KEY);
    let body = serde_json::json!({ "kind": "system", "display_name": "The benchmark" });
    let made = request.json(&body).send().await;
    ensure!(made.status < 300, "the system user was not made: {}", made.text());
    let recipients = &recipients[..recipients.len().min(MOST)];
    let singles: Vec<_> = recipients.iter().map(|to| v1::send(sender, to.id)).collect();
    let ids: Vec<_> = recipients.iter().map(|user| user.id).collect();
    let batch = server::send("ext:bench", SERVER_KEY, &ids);
    let (batch, ids) = measure(process, Workload::System, &singles, &batch, rounds).await?;
    acked.add(vec![ids]);
    Ok(batch)
}

/// Asks in turns; returns what was acknowledged of sends as well.
async fn measure(
    process: &Process,
    workload: Workload,
    singles: &[Request],
    batch: &Request,
    rounds: usize,
) -> Result<(Batch, Vec<u64>)> {
    let mut connection = Connection::open(process.port).await?;
    let mut acked = Vec::new();
    let mut measured = Batch { name: workload.name(), users: singles.len(), rounds: vec![] };
    for _ in 0..rounds {
        let begun = Instant::now();
        for single in singles {
            let body = connection.exchange(single).await?;
            let body = body.success().context("a single call")?;
            if workload == Workload::System {
                acked.push(sent_id(body)?);
            }
        }
        let singles = begun.elapsed();
        let begun = Instant::now();
        connection.exchange(batch).await?.success().context("the call about all of them")?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        measured.rounds.push((ms(singles), ms(begun.elapsed())));
    }
    Ok((measured, acked))
}
