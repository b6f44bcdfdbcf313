//! The way of notices to other nodes and from them. They are hints: whoever needs certainty asks
//! the database by himself every few seconds, so what is lost here costs time and nothing else.
//!
//! One connection, and what 10 ms have gathered goes at once: inside the transactions of senders
//! it would make all commits of the cluster wait for each other, as its queue has one lock. What
//! another bus would have to do is here: [`Bus::stop`], publish what comes out of a channel, and
//! call `hub.heard`.

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

use super::{Config, Shared};
use crate::notice::{Heard, Hub, Notice};
use crate::{Error, Result};

/// How long notices are gathered into one.
const GATHER: Duration = Duration::from_millis(10);
/// How often it is asked whether the server still is the one to write to.
const EVERY: Duration = Duration::from_secs(5);
/// How long the server may take for one of these statements.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits before it connects again.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest list in a notice; PostgreSQL allows 8,000 bytes.
const LONGEST: usize = 7_900;
/// Lists that are sent at once, at most.
const LISTS: usize = 8;
/// Says that there were too many to name.
const MANY: &str = "*";

/// A running bus.
pub(super) struct Bus {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Bus {
    /// Sends what is left, for a moment at most, and ends.
    pub(super) fn stop(self) {
        // It may have ended already.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the thread of the notices had panicked");
        }
    }
}

/// Starts it: for a server at once, for a command when it has something to say.
pub(super) fn start(
    shared: &Arc<Shared>,
    mut out: UnboundedReceiver<Notice>,
    server: bool,
) -> Result<Bus> {
    let (stop, stopped) = oneshot::channel();
    let shared = Arc::clone(shared);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| Error::File(format!("cannot start a runtime: {cause}")))?;
    let thread = std::thread::Builder::new()
        .name("db-bus".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = keep(&shared, &mut out, server) => {}
                    _ = stopped => {}
                }
                let last = gathered(&mut out, None);
                if !last.is_empty() {
                    // Those who do not hear it find out by themselves.
                    drop(timeout(PAUSE, say_once(&shared.config, &last)).await);
                }
            });
        })
        .map_err(|cause| Error::File(format!("cannot start a thread: {cause}")))?;
    Ok(Bus { stop, thread })
}

/// Connects, and connects again, for ever.
async fn keep(shared: &Shared, out: &mut UnboundedReceiver<Notice>, server: bool) {
    let options = &shared.config.options;
    let possible = options.named_statements || options.notices.is_some();
    let mut told = false;
    if !(server && possible) {
        // A command says what it has to say at its end.
        std::future::pending::<()>().await;
    }
    loop {
        match attend(shared, out).await {
            Ok(()) => {
                // The connection ended; all that was heard until then was passed on.
                told = false;
            }
            Err(error) if !told => {
                tracing::warn!(%error, "no notices from other nodes; asking every few seconds");
                told = true;
            }
            Err(_) => {}
        }
        // What cannot be sent meanwhile is not kept.
        drop(timeout(PAUSE, async { while out.recv().await.is_some() {} }).await);
    }
}

/// One connection, from its first word to its end.
async fn attend(shared: &Shared, out: &mut UnboundedReceiver<Notice>) -> Result<()> {
    let (client, mut heard) = connect(&shared.config).await?;
    ask(client.batch_execute("SET synchronous_commit = off; LISTEN postroom")).await?;
    let me = ask(client.query_one("SELECT pg_backend_pid()", &[])).await?;
    let me: i32 = me.try_get(0).map_err(|error| Error::Engine(error.to_string()))?;
    // Nobody listened until now.
    shared.hub.heard(Heard::Missed);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            notification = heard.recv() => match notification {
                Some(said) if said.process_id() == me => {}
                Some(said) => pass_on(&shared.hub, said.payload()),
                None => return Ok(()),
            },
            first = out.recv() => {
                sleep(GATHER).await;
                ask(say(&client, &gathered(out, first))).await?;
            }
            _ = ticks.tick() => {
                let on = "SELECT current_setting('transaction_read_only') = 'on'";
                let row = ask(client.query_one(on, &[])).await?;
                if row.try_get(0).unwrap_or(true) {
                    tracing::warn!("the server takes no writes any more; looking for another");
                    shared.begin_new_era();
                    return Ok(());
                }
            }
        }
    }
}

async fn connect(config: &Config) -> Result<(Client, UnboundedReceiver<Notification>)> {
    let (client, mut connection) = config.notices.connect(&config.notices.tls()?).await?;
    let (pass, heard) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message
                && pass.send(notification).is_err()
            {
                return;
            }
        }
    });
    Ok((client, heard))
}

async fn say_once(config: &Config, payloads: &[String]) -> Result<()> {
    let (client, _heard) = connect(config).await?;
    ask(say(&client, payloads)).await
}

/// A payload is made of digits, colons and commas.
async fn say(client: &Client, payloads: &[String]) -> Result<(), tokio_postgres::Error> {
    let mut statements = String::new();
    for payload in payloads {
        write!(statements, "SELECT pg_notify('postroom', '{payload}');")
            .expect("writing to a string succeeds");
    }
    client.batch_execute(&statements).await
}

async fn ask<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| Error::Unavailable(error.to_string())),
        Err(_late) => Err(Error::Unavailable("the server does not answer in time".to_owned())),
    }
}

/// What is there to send, each thing once: `topic:key,topic:key`.
fn gathered(out: &mut UnboundedReceiver<Notice>, first: Option<Notice>) -> Vec<String> {
    let mut notices: HashSet<Notice> = first.into_iter().collect();
    while let Ok(notice) = out.try_recv() {
        notices.insert(notice);
    }
    let mut payloads: Vec<String> = Vec::new();
    for Notice { topic, key } in notices {
        let lists = payloads.len();
        match payloads.last_mut().filter(|payload| payload.len() < LONGEST) {
            Some(payload) => {
                write!(payload, ",{topic}:{key}").expect("writing to a string succeeds");
            }
            None if lists == LISTS => return vec![MANY.to_owned()],
            None => payloads.push(format!("{topic}:{key}")),
        }
    }
    payloads
}

/// What another node, perhaps of another version, has said.
fn pass_on(hub: &Hub, payload: &str) {
    for word in payload.split(',') {
        let notice = word.split_once(':').and_then(|(topic, key)| {
            Some(Notice { topic: topic.parse().ok()?, key: key.parse().ok()? })
        });
        hub.heard(notice.map_or(Heard::Missed, Heard::Notice));
    }
}
