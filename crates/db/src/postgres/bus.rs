//! Carries notices between nodes with `LISTEN` and `NOTIFY`. Notices are hints: nodes also look
//! into the database every few seconds, so a lost notice costs time and nothing else.
//!
//! One connection sends what has gathered for 10 ms. Sent within the transactions of writes,
//! notices would make all commits of the cluster wait for each other, because their queue has one
//! lock.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Notification};

use super::{config::Config, shared::Shared};
use crate::{Error, Heard, Notice, Result, notice::Hub, threads};

/// How long notices gather before they are sent together.
const GATHER: Duration = Duration::from_millis(10);
/// How often to check that the server still accepts writes.
const CHECK: Duration = Duration::from_secs(5);
/// How long a statement of the bus may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest payload to extend; PostgreSQL allows 8,000 bytes.
const LONGEST: usize = 7_900;
/// Payloads that are sent at once, at most.
const PAYLOADS: usize = 8;
/// The payload that stands for too many notices.
const MANY: &str = "*";

pub(super) struct Bus {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Bus {
    /// Sends what is left, if that takes no longer than [`PAUSE`], and ends.
    pub(super) fn stop(self) {
        // If the thread has already ended, there is nothing to stop.
        let _ = self.stop.send(());
        threads::join([self.thread]);
    }
}

/// Starts the bus. For a command it only connects at the end, if there is something to send.
pub(super) fn start(
    shared: &Arc<Shared>,
    mut out: UnboundedReceiver<Notice>,
    server: bool,
) -> Result<Bus> {
    let (stop, stopped) = oneshot::channel();
    let shared = Arc::clone(shared);
    let runtime = threads::runtime()?;
    let thread = threads::spawn("db-bus", move || {
        runtime.block_on(async {
            tokio::select! {
                () = reconnect(&shared, &mut out, server) => {}
                _ = stopped => {}
            }
            let last = gathered(&mut out, None);
            if !last.is_empty() {
                // Nodes that miss it find out by themselves.
                drop(timeout(PAUSE, send_once(&shared.config, &last)).await);
            }
        });
    })?;
    Ok(Bus { stop, thread })
}

/// Serves one connection after the other, for ever.
async fn reconnect(shared: &Shared, out: &mut UnboundedReceiver<Notice>, server: bool) {
    let options = &shared.config.options;
    let possible = options.named_statements || options.notices.is_some();
    let mut logged = false;
    if !(server && possible) {
        // What a command has to send is sent at its end.
        std::future::pending::<()>().await;
    }
    loop {
        match serve(shared, out).await {
            Ok(()) => logged = false,
            Err(error) if !logged => {
                tracing::warn!(%error, "no notices from other nodes; polling every few seconds");
                logged = true;
            }
            Err(_) => {}
        }
        // Notices are dropped meanwhile.
        drop(timeout(PAUSE, async { while out.recv().await.is_some() {} }).await);
    }
}

/// Sends and receives on one connection until it ends.
async fn serve(shared: &Shared, out: &mut UnboundedReceiver<Notice>) -> Result<()> {
    let (client, mut incoming) = connect(&shared.config).await?;
    within(client.batch_execute("SET synchronous_commit = off; LISTEN postroom")).await?;
    let me = within(client.query_one("SELECT pg_backend_pid()", &[])).await?;
    let me: i32 = me.try_get(0).map_err(|error| Error::Engine(error.to_string()))?;
    // Earlier notices were not received.
    shared.hub.deliver(Heard::Missed);
    let mut ticks = interval(CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            notification = incoming.recv() => match notification {
                Some(notification) if notification.process_id() == me => {}
                Some(notification) => deliver(&shared.hub, notification.payload()),
                None => return Ok(()),
            },
            first = out.recv() => {
                sleep(GATHER).await;
                within(send(&client, &gathered(out, first))).await?;
            }
            _ = ticks.tick() => {
                let read_only = "SELECT current_setting('transaction_read_only') = 'on'";
                let row = within(client.query_one(read_only, &[])).await?;
                if row.try_get(0).unwrap_or(true) {
                    tracing::warn!("the server has become read-only; looking for another one");
                    shared.begin_generation();
                    return Ok(());
                }
            }
        }
    }
}

async fn connect(config: &Config) -> Result<(Client, UnboundedReceiver<Notification>)> {
    let (client, mut connection) = config.notices.connect(&config.notices.tls()?).await?;
    let (sender, incoming) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message
                && sender.send(notification).is_err()
            {
                return;
            }
        }
    });
    Ok((client, incoming))
}

async fn send_once(config: &Config, payloads: &[String]) -> Result<()> {
    let (client, _incoming) = connect(config).await?;
    within(send(&client, payloads)).await
}

/// A payload consists of digits, colons and commas, or is [`MANY`], so it needs no escaping.
async fn send(client: &Client, payloads: &[String]) -> Result<(), tokio_postgres::Error> {
    let mut statements = String::new();
    for payload in payloads {
        write!(statements, "SELECT pg_notify('postroom', '{payload}');")
            .expect("writing to a string succeeds");
    }
    client.batch_execute(&statements).await
}

async fn within<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| Error::Unavailable(error.to_string())),
        Err(_late) => Err(Error::Unavailable("the server does not answer in time".to_owned())),
    }
}

/// Takes what there is to send, without duplicates, as `topic:key,topic:key`.
fn gathered(out: &mut UnboundedReceiver<Notice>, first: Option<Notice>) -> Vec<String> {
    let mut notices: HashSet<Notice> = first.into_iter().collect();
    while let Ok(notice) = out.try_recv() {
        notices.insert(notice);
    }
    let mut payloads: Vec<String> = Vec::new();
    for Notice { topic, key } in notices {
        let count = payloads.len();
        match payloads.last_mut().filter(|payload| payload.len() < LONGEST) {
            Some(payload) => {
                write!(payload, ",{topic}:{key}").expect("writing to a string succeeds");
            }
            None if count == PAYLOADS => return vec![MANY.to_owned()],
            None => payloads.push(format!("{topic}:{key}")),
        }
    }
    payloads
}

/// Delivers what another node has sent. A node of another version may send something else.
fn deliver(hub: &Hub, payload: &str) {
    for pair in payload.split(',') {
        let notice = pair.split_once(':').and_then(|(topic, key)| {
            Some(Notice { topic: topic.parse().ok()?, key: key.parse().ok()? })
        });
        hub.deliver(notice.map_or(Heard::Missed, Heard::Notice));
    }
}
