//! Ordinary users: they send, list and sign in at a modest rate that does not depend on how fast
//! they are answered, each from an address of their own. A latency begins when its request was due,
//! so that one answer that takes long also counts for those that had to wait behind it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bench::{BODY, SUBJECT};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::load::sent_id;
use crate::numbers::percentile;
use crate::requests::{PASSWORD, Request, User, bearer, forwarded, request};
use crate::wire::Connection;

/// How many of them there are.
pub(crate) const PEOPLE: usize = 100;
/// What they ask, and how often in a second all together.
const KINDS: [(Kind, u32); 3] = [(Kind::Send, 40), (Kind::List, 80), (Kind::SignIn, 10)];
/// What a new account may send in an hour.
const SENDS_AN_HOUR: f64 = 200.0;
/// Connections on which they ask once before.
const AT_ONCE: usize = 4;
/// The first requests are due after this.
const LEAD: Duration = Duration::from_millis(100);
/// A request that takes longer was not answered.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Send,
    List,
    /// Over a connection of its own, as nobody has one before they sign in.
    SignIn,
}

/// Their requests, in the order of [`KINDS`] and of the users.
pub(crate) struct Ordinary {
    requests: [Vec<Request>; KINDS.len()],
}

/// How the requests of one kind went.
#[derive(Serialize)]
pub(crate) struct Seen {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) asked: usize,
    /// How many got no 2xx, by status; 0 stands for no answer.
    pub(crate) refused: BTreeMap<u16, usize>,
}

/// What one user did of one kind.
struct Lap {
    kind: usize,
    user: usize,
    micros: Vec<u32>,
    refused: Vec<u16>,
    acked: Vec<u64>,
}

/// # Errors
/// Where all sides of a run together would need more than a user may send in an hour.
pub(crate) fn check_quota(length: Duration) -> Result<()> {
    let (_, rate) = KINDS[0];
    let each = length.as_secs_f64() * f64::from(rate) / f64::from(u32::try_from(PEOPLE)?);
    ensure!(
        each < SENDS_AN_HOUR,
        "so many attacks of that length are too long: the ordinary users may not send so much"
    );
    Ok(())
}

impl Ordinary {
    /// With a token for each; everybody writes to the next one.
    pub(crate) async fn of(port: u16, people: &[User]) -> Result<Self> {
        let mut requests = [const { Vec::new() }; KINDS.len()];
        for (number, user) in people.iter().enumerate() {
            let token = user.make_token(port).await;
            let from = forwarded(Ipv4Addr::new(203, 0, 113, u8::try_from(number + 1)?));
            let headers = format!("{}{from}", bearer(&token));
            let to = people[(number + 1) % people.len()].id;
            let letter = json!({"to": [to], "subject": SUBJECT, "body": BODY}).to_string();
            let login = json!({"username": user.name, "password": PASSWORD}).to_string();
            let [sends, lists, logins] = &mut requests;
            sends.push(request("POST", "/v1/messages", &headers, &letter));
            lists.push(request("GET", "/v1/messages?limit=50", &headers, ""));
            logins.push(request("POST", "/v1/sessions", &from, &login));
        }
        Ok(Self { requests })
    }

    /// Each signs in once, so that their addresses are familiar.
    pub(crate) async fn sign_in(&self, port: u16) -> Result<()> {
        let [_, _, logins] = &self.requests;
        once(port, logins).await
    }

    /// Each lists once, so that the server has done what it does at the first request of somebody.
    pub(crate) async fn warm_up(&self, port: u16) -> Result<()> {
        let [_, lists, _] = &self.requests;
        once(port, lists).await
    }

    /// How each kind went, and the acknowledged sends by user.
    pub(crate) async fn run(
        &self,
        port: u16,
        length: Duration,
    ) -> Result<([Seen; KINDS.len()], Vec<Vec<u64>>)> {
        let (mut asking, mut schedule) = (JoinSet::new(), Vec::new());
        for (kind, requests) in self.requests.iter().enumerate() {
            let mut users = Vec::new();
            for (user, request) in requests.iter().enumerate() {
                let (sender, due) = mpsc::unbounded_channel();
                let lap = Lap { kind, user, micros: vec![], refused: vec![], acked: vec![] };
                asking.spawn(ask(port, request.clone(), due, lap));
                users.push(sender);
            }
            schedule.extend(times(KINDS[kind].1, kind, length, &users));
        }
        schedule.sort_by_key(|(at, _)| *at);
        let pacing = thread::spawn(move || pace(schedule));
        let mut laps = Vec::new();
        while let Some(lap) = asking.join_next().await {
            laps.push(lap?);
        }
        pacing.join().expect("the pace is kept without a panic");
        let mut acked = vec![Vec::new(); PEOPLE];
        for lap in &mut laps {
            acked[lap.user].append(&mut lap.acked);
        }
        let seen = std::array::from_fn(|kind| Seen::of(laps.iter().filter(|lap| lap.kind == kind)));
        Ok((seen, acked))
    }
}

async fn once(port: u16, requests: &[Request]) -> Result<()> {
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let requests: Vec<_> = requests.iter().skip(worker).step_by(AT_ONCE).cloned().collect();
        workers.spawn(async move {
            let mut connection = Connection::open(port).await?;
            for request in requests {
                connection.exchange(&request).await?.success().context("an ordinary user")?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}

/// When each is due, round and round through the users.
fn times(
    rate: u32,
    kind: usize,
    length: Duration,
    users: &[UnboundedSender<Instant>],
) -> Vec<(Duration, UnboundedSender<Instant>)> {
    let interval = Duration::from_secs(1) / rate;
    // The kinds do not all begin at the same time.
    let first = interval * u32::try_from(kind).unwrap_or(0) / 3;
    let ats = (0..).map(|number| first + interval * number).take_while(|at| *at < length);
    ats.zip(users.iter().cycle()).map(|(at, user)| (at, user.clone())).collect()
}

/// Tells everybody when they are due. It has a thread of its own, because the timers of the runtime
/// are as coarse as what is measured.
fn pace(schedule: Vec<(Duration, UnboundedSender<Instant>)>) {
    let begun = Instant::now() + LEAD;
    for (at, user) in schedule {
        let due = begun + at;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        user.send(due).expect("nobody stops before all is due");
    }
}

/// Asks whenever it is due, and as soon as possible where it is late.
async fn ask(
    port: u16,
    request: Request,
    mut due: UnboundedReceiver<Instant>,
    mut lap: Lap,
) -> Lap {
    let (kind, _) = KINDS[lap.kind];
    let mut kept = None;
    while let Some(due) = due.recv().await {
        let exchange = exchange(port, kind, &request, &mut kept);
        let answer = timeout_at((due + PATIENCE).into(), exchange).await;
        let taken = due.elapsed().as_micros();
        lap.micros.push(u32::try_from(taken).unwrap_or(u32::MAX));
        match answer {
            Ok(Ok((200..300, id))) => lap.acked.extend(id),
            Ok(Ok((status, _))) => lap.refused.push(status),
            Ok(Err(_)) | Err(_) => lap.refused.push(0),
        }
    }
    lap
}

/// Over the connection that was kept, if there is one. It is kept again if all went well.
async fn exchange(
    port: u16,
    kind: Kind,
    request: &Request,
    kept: &mut Option<Connection>,
) -> Result<(u16, Option<u64>)> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(port).await?,
    };
    let answer = connection.exchange(request).await?;
    let status = answer.status;
    let sent = (kind == Kind::Send && answer.is_success()).then(|| sent_id(answer.body));
    let id = sent.transpose()?;
    if kind != Kind::SignIn {
        *kept = Some(connection);
    }
    Ok((status, id))
}

impl Seen {
    fn of<'a>(laps: impl Iterator<Item = &'a Lap>) -> Self {
        let (mut micros, mut refused) = (Vec::new(), BTreeMap::new());
        for lap in laps {
            micros.extend(&lap.micros);
            for status in &lap.refused {
                *refused.entry(*status).or_default() += 1;
            }
        }
        micros.sort_unstable();
        let ms = |share| f64::from(percentile(&micros, share)) / 1e3;
        Self { p50_ms: ms(50), p99_ms: ms(99), asked: micros.len(), refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_due_in_turn_and_at_the_rate() {
        let (sender, mut due) = mpsc::unbounded_channel();
        let (other, _unused) = mpsc::unbounded_channel();
        let schedule = times(10, 0, Duration::from_secs(1), &[sender, other]);
        assert_eq!(schedule.len(), 10);
        assert_eq!(schedule[9].0, Duration::from_millis(900));
        let begun = Instant::now();
        pace(schedule.into_iter().take(3).collect());
        assert!(begun.elapsed() >= LEAD + Duration::from_millis(200));
        let (first, third) = (due.try_recv().unwrap(), due.try_recv().unwrap());
        assert_eq!(third - first, Duration::from_millis(200));
        assert!(due.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_late_answer_counts_from_when_it_was_due() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, due) = mpsc::unbounded_channel();
        let lap = Lap { kind: 1, user: 0, micros: vec![], refused: vec![], acked: vec![] };
        // Nobody accepts, and then the listener is gone: no answer ever comes.
        sender.send(Instant::now().checked_sub(PATIENCE).unwrap()).unwrap();
        drop(sender);
        let lap = ask(port, request("GET", "/", "", ""), due, lap).await;
        assert_eq!(lap.refused, [0]);
        assert!(lap.micros[0] >= 10_000_000);
        drop(listener);
    }

    #[test]
    fn a_run_that_is_over_the_quota_of_its_users_is_refused() {
        assert!(check_quota(Duration::from_secs(400)).is_ok());
        assert!(check_quota(Duration::from_secs(500)).is_err());
    }
}
