//! The load: connections that each ask, wait for the answer and ask again, all on one thread.
//!
//! It shares the cores with what it measures, so it does as little as it can: requests are bytes
//! made beforehand, answers are framed and not read, a latency is one number pushed to a list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::database::Server;
use crate::numbers::{percentile, real};
use crate::process::Process;
use crate::requests::Request;
use crate::wire::Connection;

/// How much longer than its length a run may take before the server counts as stuck.
const PATIENCE: Duration = Duration::from_mins(1);
/// A send that takes longer has failed somebody (`--soak` counts these).
const SLOW: u32 = 100_000;

/// What is asked: connection `c` walks round and round through lane `c % lanes`.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) lanes: Vec<Arc<[Request]>>,
}

/// Whether the ids of acknowledged sends are collected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    Kept,
    Ignored,
}

pub(crate) struct Load<'a> {
    pub(crate) process: &'a Process,
    pub(crate) database: Option<&'a Server>,
    pub(crate) plan: &'a Plan,
    pub(crate) conns: usize,
    pub(crate) length: Duration,
    pub(crate) ids: Ids,
}

pub(crate) struct Run {
    pub(crate) figures: Figures,
    /// The acknowledged ids by lane, where they are kept.
    pub(crate) acked: Vec<Vec<u64>>,
}

/// What one run came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) answers: u64,
    pub(crate) not_2xx: u64,
    pub(crate) seconds: f64,
    /// Answers with a 2xx status per second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Answers that took over 100 ms.
    pub(crate) slow: u64,
    /// The server's CPU time in microseconds per answer.
    pub(crate) cpu_us: f64,
    /// That of PostgreSQL, where it can be seen.
    pub(crate) database_cpu_us: Option<f64>,
    /// The server's memory at the end, with all connections open.
    pub(crate) pss_mib: f64,
}

/// What one connection did.
struct Lap {
    /// Kept open until the server's memory is read.
    _connection: Connection,
    lane: usize,
    micros: Vec<u32>,
    not_2xx: u64,
    acked: Vec<u64>,
}

impl Load<'_> {
    pub(crate) async fn run(&self) -> Result<Run> {
        let mut connections = Vec::with_capacity(self.conns);
        for _ in 0..self.conns {
            connections.push(Connection::open(self.process.port).await?);
        }
        let cpu = self.process.cpu()?;
        let database = self.database.and_then(Server::cpu);
        let begun = Instant::now();
        let mut driving = JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            let lane = number % self.plan.lanes.len();
            let requests = Arc::clone(&self.plan.lanes[lane]);
            // Those who share a lane start at different places in it.
            let first = number / self.plan.lanes.len() * 7 % requests.len();
            let until = begun + self.length;
            driving.spawn(drive(connection, lane, requests, first, until, self.ids));
        }
        let mut laps = Vec::with_capacity(self.conns);
        timeout(self.length + PATIENCE, async {
            while let Some(lap) = driving.join_next().await {
                laps.push(lap??);
            }
            anyhow::Ok(())
        })
        .await
        .context("a request was never answered")??;
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = self.process.cpu()?.saturating_sub(cpu);
        let database = self.database.and_then(Server::cpu).zip(database);
        let database = database.map(|(after, before)| after.saturating_sub(before));
        let pss_mib = self.process.pss_mib()?;

        let mut acked = vec![Vec::new(); self.plan.lanes.len()];
        for lap in &mut laps {
            acked[lap.lane].append(&mut lap.acked);
        }
        Ok(Run { figures: Figures::of(&laps, seconds, (cpu, database), pss_mib), acked })
    }
}

async fn drive(
    mut connection: Connection,
    lane: usize,
    requests: Arc<[Request]>,
    first: usize,
    until: Instant,
    ids: Ids,
) -> Result<Lap> {
    let (mut micros, mut not_2xx, mut acked) = (Vec::with_capacity(1 << 12), 0, Vec::new());
    let mut next = first;
    let mut since = Instant::now();
    loop {
        let answer = connection.exchange(&requests[next]).await?;
        if !answer.is_success() {
            not_2xx += 1;
        } else if ids == Ids::Kept {
            acked.push(sent_id(answer.body)?);
        }
        let now = Instant::now();
        let taken = now.duration_since(since).as_micros();
        micros.push(u32::try_from(taken).unwrap_or(u32::MAX));
        if now >= until {
            return Ok(Lap { _connection: connection, lane, micros, not_2xx, acked });
        }
        since = now;
        next = if next + 1 == requests.len() { 0 } else { next + 1 };
    }
}

impl Figures {
    fn of(
        laps: &[Lap],
        seconds: f64,
        (cpu, database): (Duration, Option<Duration>),
        pss_mib: f64,
    ) -> Self {
        let mut micros = laps.iter().flat_map(|lap| &lap.micros).copied().collect::<Vec<_>>();
        micros.sort_unstable();
        let not_2xx = laps.iter().map(|lap| lap.not_2xx).sum();
        let answers = micros.len() as u64;
        let slow = micros.len() - micros.partition_point(|&taken| taken <= SLOW);
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / real(answers);
        let ms = |share| f64::from(percentile(&micros, share)) / 1e3;
        Self {
            answers,
            not_2xx,
            seconds,
            rate: real(answers - not_2xx) / seconds,
            p50_ms: ms(50),
            p99_ms: ms(99),
            max_ms: ms(100),
            slow: slow as u64,
            cpu_us: each(cpu),
            database_cpu_us: database.map(each),
            pss_mib,
        }
    }
}

/// The id in the answer to a send, of either API.
pub(crate) fn sent_id(body: &[u8]) -> Result<u64> {
    #[derive(Deserialize)]
    struct Sent {
        #[serde(alias = "message_id")]
        id: u64,
    }
    let sent: Sent = serde_json::from_slice(body).context("a send answered without an id")?;
    Ok(sent.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_the_message_in_either_api() {
        assert_eq!(sent_id(b"{\"message_id\":907}").unwrap(), 907);
        let message = br#"{"from": {"id": 3}, "to": [{"id": 4}], "id": 12, "subject": "5"}"#;
        assert_eq!(sent_id(message).unwrap(), 12);
        assert!(sent_id(b"{}").is_err());
    }
}
