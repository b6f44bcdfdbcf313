//! Makes backups of the embedded database, as often as the settings say.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use anyhow::{Result, bail};
use db::{Db, Url, be_nice};
use domain::Time;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::runner::{Lease, Task};
use crate::config::Settings;
use crate::node::Node;
use crate::runtime::backups::{self, Store};

/// The longest time until a failed backup is tried again.
const RETRY: Duration = Duration::from_mins(10);
/// How nice the thread is: others who wait for a processor come first.
const NICE: i32 = 19;
/// How long the copying works before it pauses for as long as it took, so that others come first on
/// the disk as well.
const TURN: Duration = Duration::from_millis(2);
/// The most that it pauses at a time: a machine that slept must not make it wait.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct MakeBackups {
    node: Arc<Node>,
    /// When the newest was made, once that is known.
    newest: Option<Time>,
    next: Instant,
    /// Whether the newest that is there was looked for since the start.
    has_looked: bool,
}

/// What one run of the thread did.
enum Done {
    /// Looked at the newest that is there, if there is any.
    Looked(Option<Time>),
    Made {
        name: String,
        bytes: u64,
        removed: Vec<String>,
    },
}

impl MakeBackups {
    pub(super) fn new(node: Arc<Node>) -> Self {
        let every = node.settings.backup_every.map_or(0, |every| every.as_secs());
        node.metrics.backup_every.set(i64::try_from(every).unwrap_or(i64::MAX));
        Self { node, newest: None, next: Instant::now(), has_looked: false }
    }

    /// How long until the next one is due.
    fn due(&self, every: Duration) -> Duration {
        let now = self.node.clock.now();
        // A clock that was ahead must not keep others from being made.
        let newest = self.newest.filter(|newest| *newest <= now);
        let since = newest.map(|newest| Duration::from_micros((now.0 - newest.0).unsigned_abs()));
        since.map_or(Duration::ZERO, |since| every.saturating_sub(since))
    }

    fn succeeded(&mut self, at: Time) {
        self.newest = Some(at);
        self.node.metrics.backup_last.set(at.0 / Time::SECOND);
    }
}

impl Task for MakeBackups {
    const NAME: &'static str = "backups";
    const EVERY: Duration = Duration::from_mins(1);

    async fn woken(&mut self) {
        sleep_until(self.next).await;
    }

    async fn run(&mut self, _lease: &mut Lease) -> domain::Result<()> {
        let Some(every) = self.node.settings.backup_every else { return Ok(()) };
        if Instant::now() < self.next {
            return Ok(());
        }
        if self.has_looked {
            let due = self.due(every);
            if !due.is_zero() {
                self.next = Instant::now() + due;
                return Ok(());
            }
        }
        let (began, is_look) = (self.node.clock.now(), !self.has_looked);
        match on_thread(&self.node, began, is_look).await {
            Ok(Done::Looked(newest)) => {
                self.has_looked = true;
                self.next = Instant::now();
                if let Some(newest) = newest {
                    self.succeeded(newest);
                }
            }
            Ok(Done::Made { name, bytes, removed }) => {
                self.succeeded(began);
                self.node.metrics.backups.made.inc();
                let removed = (!removed.is_empty()).then(|| removed.join(", "));
                tracing::info!(name, bytes, removed, "made a backup");
                self.next = Instant::now() + self.due(every);
            }
            Err(_ended) if self.node.stopping.is_cancelled() => {}
            Err(error) => {
                self.node.metrics.backups.failed.inc();
                let again = every.min(RETRY);
                self.next = Instant::now() + again;
                let (error, seconds) = (format!("{error:#}"), again.as_secs());
                tracing::error!(
                    error,
                    seconds,
                    "a backup has failed; it is tried again after so many seconds"
                );
            }
        }
        Ok(())
    }
}

/// Does it on a thread of its own: it waits for the disk, and has a priority of its own.
async fn on_thread(node: &Arc<Node>, began: Time, is_look: bool) -> Result<Done> {
    let (tx, rx) = oneshot::channel();
    let (settings, stopping) = (node.settings.clone(), node.stopping.clone());
    let work = move || {
        be_nice(NICE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
            let done = runtime.block_on(async {
                tokio::select! {
                    done = work(&settings, began, is_look, &stopping) => done,
                    () = stopping.cancelled() => bail!("the server stops"),
                }
            });
            runtime.shutdown_background();
            done
        });
        // The server may have stopped.
        drop(tx.send(done));
    };
    std::thread::Builder::new().name("backup".to_owned()).spawn(work)?;
    rx.await?
}

async fn work(
    settings: &Settings,
    began: Time,
    is_look: bool,
    stopping: &CancellationToken,
) -> Result<Done> {
    let Some(place) = &settings.backup_dir else { bail!("backup_dir is not set") };
    let (store, url) = (Store::open(settings, place)?, settings.database()?);
    let Some(database) = url.path() else { bail!("the database is no file") };
    if let Err(error) = store.tidy(database).await {
        // That need not keep a backup from being made.
        let error = format!("{error:#}");
        tracing::warn!(error, "what killed backups have left could not be removed");
    }
    if is_look {
        let newest = store.list().await?.into_iter().map(|one| one.at);
        return Ok(Done::Looked(newest.filter(|at| *at <= began).max()));
    }
    let name = backups::name(began);
    let bytes = make(&store, &url, &name, stopping).await?;
    let removed = store.keep(usize::try_from(settings.backup_keep)?, began).await;
    let removed = removed.unwrap_or_else(|error| {
        // The new one is there, and the next run tries again.
        let error = format!("{error:#}");
        tracing::warn!(error, "backups that are too old could not be removed");
        Vec::new()
    });
    Ok(Done::Made { name, bytes, removed })
}

async fn make(store: &Store, url: &Url, name: &str, stopping: &CancellationToken) -> Result<u64> {
    let target = store.path(url.path().unwrap_or("".as_ref()), name);
    backups::confirm_room(url, &target)?;
    let (mut began, ended) = (Moment::now(), stopping.clone());
    let goes_on = move || {
        let took = began.elapsed();
        if took >= TURN {
            std::thread::sleep(took.min(PAUSE));
            began = Moment::now();
        }
        !ended.is_cancelled()
    };
    let copy = Db::snapshot_while(url, &target, goes_on.clone())?;
    store.save(name, copy, goes_on).await
}
