//! Group commit: whatever queued up during the last commit shares the next one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Statement};
use tokio::sync::oneshot;

use super::{Shared, checkpoint, connection};
use crate::job::{Job, job};
use crate::{Error, Result, Tx};

/// Writes that may wait. At 20,000 writes a second the last of them waits 0.2 s; more is `Busy`.
const QUEUE: usize = 4096;
/// Writes in one commit, and how long one may gather them: both bound the wait of the first. With
/// 128 of 256 connections in a commit the others are answered meanwhile; with all of them in it,
/// writer and workers take turns, which measured 10 % slower.
const BATCH: usize = 128;
const HOLD: Duration = Duration::from_millis(5);
/// Length of the log at which the writer starts it anew: 64 MiB in pages of 4 KiB.
const LOG_PAGES: i64 = 16_384;

enum Message {
    Write(Box<dyn Job>),
    Stop,
}

/// The way in.
pub(super) struct Queue {
    sender: SyncSender<Message>,
}

impl Queue {
    pub(super) fn submit<R, E, F>(
        &self,
        shared: &Shared,
        f: F,
    ) -> Result<oneshot::Receiver<Result<R, E>>>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (job, answer) = job(f);
        shared.queued.fetch_add(1, Relaxed);
        match self.sender.try_send(Message::Write(job)) {
            Ok(()) => Ok(answer),
            Err(refused) => {
                shared.queued.fetch_sub(1, Relaxed);
                Err(match refused {
                    TrySendError::Full(_) => Error::Busy,
                    TrySendError::Disconnected(_) => Error::Closed,
                })
            }
        }
    }

    /// Lets the writer finish what is queued, and end.
    pub(super) fn stop(&self) {
        // The writer may have ended already.
        drop(self.sender.send(Message::Stop));
    }
}

pub(super) fn start(
    shared: Arc<Shared>,
    connection: Connection,
    checkpoints: checkpoint::Wake,
) -> Result<(Queue, JoinHandle<()>)> {
    let (sender, jobs) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new()
        .name("db-writer".into())
        .spawn(move || {
            let work = || write(&shared, &connection, &jobs, &checkpoints);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                shared.fail(&Error::Failed("the writer has panicked".to_owned()));
            }
            if shared.failure().is_none() {
                checkpoint::finish(&connection);
            }
        })
        .map_err(|cause| Error::File(format!("cannot start a thread: {cause}")))?;
    Ok((Queue { sender }, thread))
}

fn write(
    shared: &Shared,
    connection: &Connection,
    jobs: &Receiver<Message>,
    checkpoints: &checkpoint::Wake,
) {
    let mut statements = match Statements::prepare(connection) {
        Ok(statements) => statements,
        Err(error) => return shared.fail(&error),
    };
    let mut done = Vec::with_capacity(BATCH);
    let mut stop = false;
    while !stop {
        let Ok(Message::Write(first)) = jobs.recv() else { return };
        let commit =
            shared.watch(run_batch(shared, &mut statements, first, jobs, &mut done, &mut stop));
        if let Ok(kept @ 1..) = commit {
            shared.writes.fetch_add(kept, Relaxed);
            shared.commits.fetch_add(1, Relaxed);
        }
        let commit = commit.map(drop);
        shared.queued.fetch_sub(done.len(), Relaxed);
        for job in done.drain(..) {
            job.answer(&commit, &shared.hub);
        }
        checkpoints.wake();
        if shared.log_pages.load(Relaxed) > LOG_PAGES {
            restart_log(shared, connection);
        }
    }
}

/// Runs `first` and what has queued up behind it in one transaction; after its commit it answers
/// how many of them it kept.
///
/// A savepoint around each write would cost a fifth of a send, so they are made when one is needed:
/// where a write fails after it has changed something, all are undone and run again, each in a
/// savepoint of its own.
fn run_batch(
    shared: &Shared,
    statements: &mut Statements<'_>,
    first: Box<dyn Job>,
    jobs: &Receiver<Message>,
    done: &mut Vec<Box<dyn Job>>,
    stop: &mut bool,
) -> Result<u64> {
    done.push(first);
    if let Some(failure) = shared.failure() {
        return Err(failure);
    }
    let kept = gather(statements, jobs, done, stop);
    let committed = kept.and_then(|kept| Ok(statements.commit.raw_execute().map(|_| kept)?));
    // A failed checkpoint means the same as a failed commit: pages may be missing on the disk.
    let committed = match shared.failure() {
        Some(failure) => committed.and(Err(failure)),
        None => committed,
    };
    if committed.is_err() && !statements.connection.is_autocommit() {
        statements.rollback.raw_execute()?;
    }
    committed
}

/// Runs what is in `done`, and what queues up meanwhile, in a transaction that it leaves open.
fn gather(
    statements: &mut Statements<'_>,
    jobs: &Receiver<Message>,
    done: &mut Vec<Box<dyn Job>>,
    stop: &mut bool,
) -> Result<u64> {
    statements.begin()?;
    let started = Instant::now();
    let (mut ran, mut kept) = (0, 0);
    while ran < done.len() {
        match statements.run(&mut *done[ran])? {
            Ran::Kept => kept += 1,
            Ran::Unchanged => {}
            Ran::MustUndo => {
                statements.begin_again()?;
                (ran, kept) = (0, 0);
                continue;
            }
        }
        ran += 1;
        if ran == done.len() && ran < BATCH && started.elapsed() < HOLD {
            match jobs.try_recv() {
                Ok(Message::Write(job)) => done.push(job),
                Ok(Message::Stop) => *stop = true,
                Err(_none) => {}
            }
        }
    }
    Ok(kept)
}

/// What became of a write in its transaction.
enum Ran {
    /// It is part of it.
    Kept,
    /// It was refused and left nothing behind.
    Unchanged,
    /// It was refused after it had changed something, which only undoing all of them takes back.
    MustUndo,
}

struct Statements<'c> {
    connection: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    save: Statement<'c>,
    release: Statement<'c>,
    undo: Statement<'c>,
    /// Whether each job runs in a savepoint.
    saving: bool,
}

impl<'c> Statements<'c> {
    fn prepare(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            connection,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            rollback: connection.prepare("ROLLBACK")?,
            save: connection.prepare("SAVEPOINT job")?,
            release: connection.prepare("RELEASE job")?,
            undo: connection.prepare("ROLLBACK TO job")?,
            saving: false,
        })
    }

    fn begin(&mut self) -> Result<()> {
        self.saving = false;
        self.begin.raw_execute()?;
        Ok(())
    }

    /// Undoes the transaction, and begins another one with savepoints.
    fn begin_again(&mut self) -> Result<()> {
        self.rollback.raw_execute()?;
        self.begin.raw_execute()?;
        self.saving = true;
        Ok(())
    }

    /// Runs a job. An error is one of the transaction, not of the job.
    fn run(&mut self, job: &mut dyn Job) -> Result<Ran> {
        let changes = self.connection.total_changes();
        if self.saving {
            self.save.raw_execute()?;
        }
        let mut tx = Tx::sqlite(self.connection);
        let keep = job.run(&mut tx);
        // A full disk or a failed device may have rolled back the whole transaction.
        match tx.failed() {
            Some(error) if error.is_fatal() => return Err(error.clone()),
            Some(error) if self.connection.is_autocommit() => return Err(error.clone()),
            _ if self.connection.is_autocommit() => return Err(Error::Full),
            _ => {}
        }
        if self.saving {
            if !keep {
                self.undo.raw_execute()?;
            }
            self.release.raw_execute()?;
        } else if !keep && self.connection.total_changes() != changes {
            return Ok(Ran::MustUndo);
        }
        Ok(if keep { Ran::Kept } else { Ran::Unchanged })
    }
}

/// Starts the log anew where no reader stands in the way; else it is tried after the next commit
/// that finds it long.
fn restart_log(shared: &Shared, connection: &Connection) {
    let restarted = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0))
        })
        .map_err(Error::from);
    // Busy or not, the checkpointer measures the log again before the next try.
    shared.log_pages.store(0, Relaxed);
    let restored = connection.busy_timeout(connection::BUSY).map_err(Error::from);
    match shared.watch(restarted.and(restored)) {
        Ok(()) | Err(Error::Busy | Error::Failed(_)) => {}
        Err(error) => tracing::warn!(%error, "the log could not be started anew"),
    }
}
