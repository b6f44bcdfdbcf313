//! Messages to those who follow their mailbox, and how long each takes from the sender's socket to
//! the recipient's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::database::Server;
use crate::followers::Follower;
use crate::load::sent_id;
use crate::numbers::{percentile, real};
use crate::process::Process;
use crate::requests::{User, v1};
use crate::streams::{Event, Streams};
use crate::wire::Connection;

/// What opening the streams left to do, as noting the use of tokens, is done after this.
const SETTLED: Duration = Duration::from_secs(3);
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(20);

/// So many streams, and so many messages a second to random ones of them.
pub(crate) struct Delivery<'a> {
    pub(crate) process: &'a Process,
    pub(crate) database: Option<&'a Server>,
    pub(crate) senders: &'a [User],
    pub(crate) followers: &'a Arc<[Follower]>,
    pub(crate) rate: u32,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// All that was measured of streams.
#[derive(Serialize)]
pub(crate) struct Measured {
    pub(crate) streams: usize,
    pub(crate) rate: u32,
    /// Memory of a stream on which nothing happens, and what each has cost after the rounds.
    pub(crate) idle_kib: f64,
    pub(crate) loaded_kib: f64,
    /// The server's CPU time in milliseconds per second while nothing happens.
    pub(crate) idle_cpu_ms: f64,
    pub(crate) rounds: Vec<Round>,
}

#[derive(Serialize)]
pub(crate) struct Round {
    pub(crate) messages: usize,
    pub(crate) not_2xx: u64,
    /// Messages whose event their recipient never got.
    pub(crate) lost: usize,
    /// Events that came again, or to somebody else.
    pub(crate) twice: usize,
    pub(crate) astray: usize,
    /// From the first byte of the send to the end of the event.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// The server's CPU time in microseconds per message, sent and delivered.
    pub(crate) cpu_us: f64,
    pub(crate) database_cpu_us: Option<f64>,
}

/// An acknowledged message to the owner of a stream.
#[derive(Clone, Copy)]
struct Sent {
    id: u64,
    stream: usize,
    at: Instant,
}

/// What one sender did.
#[derive(Default)]
struct Lap {
    sent: Vec<Sent>,
    not_2xx: u64,
}

impl Delivery<'_> {
    /// The figures, and the acknowledged ids by sender.
    pub(crate) async fn run(&self) -> Result<(Measured, Vec<Vec<u64>>)> {
        let without = self.process.pss_mib()?;
        let requests: Vec<_> = self.followers.iter().map(|it| v1::events(&it.token)).collect();
        let each = |mib: f64| (mib - without) * 1024.0 / real(requests.len() as u64);
        let streams = Streams::open(self.process.port, &requests).await?;
        sleep(SETTLED).await;
        let idle_kib = each(self.process.pss_mib()?);
        let (cpu, since) = (self.process.cpu()?, Instant::now());
        // A stream says every 15 seconds that it lives, and those belong to what it costs.
        sleep(IDLE.min(4 * self.length)).await;
        let spent = self.process.cpu()?.saturating_sub(cpu);
        let idle_cpu_ms = spent.as_secs_f64() * 1e3 / since.elapsed().as_secs_f64();

        let mut rounds = Vec::new();
        let mut acked = vec![Vec::new(); self.senders.len()];
        for _ in 0..self.rounds {
            rounds.push(self.round(&streams, &mut acked).await?);
        }
        let loaded_kib = each(self.process.pss_mib()?);
        streams.check()?;
        let (streams, rate) = (requests.len(), self.rate);
        Ok((Measured { streams, rate, idle_kib, loaded_kib, idle_cpu_ms, rounds }, acked))
    }

    async fn round(&self, streams: &Streams, acked: &mut [Vec<u64>]) -> Result<Round> {
        let mut connections = Vec::new();
        for _ in self.senders {
            connections.push(Connection::open(self.process.port).await?);
        }
        let (cpu, database) = (self.process.cpu()?, self.database.and_then(Server::cpu));
        let begun = Instant::now();
        let interval = Duration::from_secs(1) / self.rate;
        let mut sending = JoinSet::new();
        for (lane, connection) in connections.into_iter().enumerate() {
            let pace = Pace {
                first: begun + interval * u32::try_from(lane)?,
                interval: interval * u32::try_from(self.senders.len())?,
                until: begun + self.length,
            };
            let chance = Chance(acked[lane].len() as u64 + lane as u64 + 1);
            let (sender, followers) = (self.senders[lane].clone(), Arc::clone(self.followers));
            sending.spawn(async move {
                (lane, send(connection, &sender, &followers, pace, chance).await)
            });
        }
        let mut all = Lap::default();
        while let Some(lap) = sending.join_next().await {
            let (lane, lap) = lap?;
            let lap = lap?;
            acked[lane].extend(lap.sent.iter().map(|sent| sent.id));
            all.sent.extend(lap.sent);
            all.not_2xx += lap.not_2xx;
        }
        ensure!(!all.sent.is_empty(), "no message was sent");
        let events = streams.take(all.sent.len()).await;
        let cpu = self.process.cpu()?.saturating_sub(cpu);
        let database = self.database.and_then(Server::cpu).zip(database);
        let database = database.map(|(after, before)| after.saturating_sub(before));
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / real(all.sent.len() as u64);
        Ok(Round {
            not_2xx: all.not_2xx,
            cpu_us: each(cpu),
            database_cpu_us: database.map(each),
            ..Round::of(&all.sent, &events)
        })
    }
}

impl Round {
    fn of(sent: &[Sent], events: &[Event]) -> Self {
        let expected: HashMap<_, _> = sent.iter().map(|sent| (sent.id, sent)).collect();
        let mut seen = HashSet::new();
        let (mut micros, mut twice, mut astray) = (Vec::new(), 0, 0);
        for event in events {
            match expected.get(&event.message) {
                Some(sent) if sent.stream == event.stream => {
                    if !seen.insert(event.message) {
                        twice += 1;
                        continue;
                    }
                    let taken = event.at.duration_since(sent.at).as_micros();
                    micros.push(u32::try_from(taken).unwrap_or(u32::MAX));
                }
                _ => astray += 1,
            }
        }
        micros.sort_unstable();
        let lost = sent.len() - seen.len();
        let ms = |share| {
            if micros.is_empty() { f64::NAN } else { f64::from(percentile(&micros, share)) / 1e3 }
        };
        let (p50_ms, p99_ms, max_ms) = (ms(50), ms(99), ms(100));
        let (not_2xx, cpu_us, database_cpu_us) = (0, 0.0, None);
        let messages = sent.len();
        Self {
            messages,
            not_2xx,
            lost,
            twice,
            astray,
            p50_ms,
            p99_ms,
            max_ms,
            cpu_us,
            database_cpu_us,
        }
    }
}

impl Measured {
    /// An error unless the event of every message came once, and to its recipient alone.
    pub(crate) fn check(&self) -> Result<()> {
        for Round { messages, lost, twice, astray, .. } in &self.rounds {
            ensure!(
                lost + twice + astray == 0,
                "of {messages} events {lost} never came, {twice} came twice, {astray} went astray"
            );
        }
        Ok(())
    }
}

/// When one of several senders sends.
struct Pace {
    first: Instant,
    interval: Duration,
    until: Instant,
}

/// Sends at its times, and as soon as it can where it is late.
async fn send(
    mut connection: Connection,
    sender: &User,
    followers: &[Follower],
    pace: Pace,
    mut chance: Chance,
) -> Result<Lap> {
    let mut lap = Lap::default();
    let mut due = pace.first;
    while due < pace.until {
        let stream = chance.below(followers.len());
        let request = v1::send(sender, followers[stream].id);
        tokio::time::sleep_until(due.into()).await;
        let at = Instant::now();
        let answer = connection.exchange(&request).await?;
        if answer.is_success() {
            lap.sent.push(Sent { id: sent_id(answer.body)?, stream, at });
        } else {
            lap.not_2xx += 1;
        }
        due += pace.interval;
    }
    Ok(lap)
}

/// A chance that is the same in every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) >> 33).unwrap_or(0) % most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_or_came_again_is_counted() {
        let at = Instant::now();
        let sent = [(1, 0), (2, 0), (3, 1)].map(|(id, stream)| Sent { id, stream, at });
        let later = |ms| at + Duration::from_millis(ms);
        let event = |(message, stream, ms)| Event { stream, message, at: later(ms) };
        let events = [(1, 0, 5), (1, 0, 9), (3, 0, 7), (9, 1, 1)].map(event);
        let round = Round::of(&sent, &events);
        assert_eq!((round.messages, round.lost, round.twice, round.astray), (3, 2, 1, 2));
        assert!((round.max_ms - 5.0).abs() < 1e-9);
        assert!(Round::of(&sent, &[]).p99_ms.is_nan());
    }

    #[test]
    fn everybody_is_written_to() {
        let mut chance = Chance(7);
        let mut written = [0; 50];
        for _ in 0..5000 {
            written[chance.below(50)] += 1;
        }
        assert!(written.iter().all(|&times| times > 50), "{written:?}");
    }
}
