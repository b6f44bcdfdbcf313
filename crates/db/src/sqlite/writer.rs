//! Group commit: writes that were queued during a commit share the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::prepared::Prepared;
use super::reserve::free_bytes;
use super::{checkpoint, queue::Queue, shared::Shared};
use crate::answers::{self, Answer};
use crate::job::{self, Job};
use crate::{Error, Owner, Result, Tx, threads, tx::On};

/// Writes that may wait: at 20,000 writes a second, the last of them waits 0.2 s.
const QUEUE: usize = 4096;
/// Writes in one commit at most, and how long it may gather them. Both limit the wait of the first
/// one.
const BATCH: usize = 128;
/// A commit takes at most half of the writes that are there, so that the workers have something to
/// do meanwhile: with all of them, 32 connections sent 3 to 8 % less, and 256 sent 10 % less. Of so
/// few it takes all, as then the disk is what they wait for.
const FEW: usize = 8;
const HOLD: Duration = Duration::from_millis(5);
/// How long a commit may gather second turns of owners where others wait for it.
const SHARED_HOLD: Duration = Duration::from_millis(1);
/// How long a write waits on a full disk for those who read or copy the log, to have it restarted.
const FULL: Duration = Duration::from_secs(1);

pub(super) struct Writer(Arc<Queue>);

impl Writer {
    pub(super) fn submit(&self, shared: &Shared, owner: Owner, job: Box<dyn Job>) -> Result<()> {
        shared.queued.fetch_add(1, Relaxed);
        self.0.submit(owner, job).inspect_err(|_refused| {
            shared.queued.fetch_sub(1, Relaxed);
        })
    }

    /// Lets the writer finish what is queued, and end.
    pub(super) fn stop(&self) {
        self.0.stop();
    }
}

pub(super) fn start(
    shared: Arc<Shared>,
    mut connection: Connection,
    checkpoints: checkpoint::Wake,
) -> Result<(Writer, JoinHandle<()>)> {
    let of_log = Arc::clone(&shared);
    connection.wal_hook(Some(move |_log: &mut Wal, pages: i32| {
        of_log.log.committed(pages.into());
        Ok(())
    }))?;
    let queue = Arc::new(Queue::new(QUEUE));
    let jobs = Arc::clone(&queue);
    let thread = threads::spawn("db-writer", move || {
        let connection = Prepared::new(connection);
        if threads::catch(|| write(&shared, &connection, &jobs, &checkpoints)).is_err() {
            shared.fail(&Error::Failed("the writer has panicked".to_owned()));
        }
        jobs.abandon();
        if shared.failure().is_none() {
            checkpoint::finish(&connection);
        }
    })?;
    Ok((Writer(queue), thread))
}

fn write(shared: &Shared, connection: &Prepared, jobs: &Queue, checkpoints: &checkpoint::Wake) {
    let mut done = Vec::with_capacity(BATCH);
    let mut most = BATCH;
    while let Some((owner, first)) = jobs.next() {
        if !admit(shared, &mut done, first) {
            checkpoints.wake();
            continue;
        }
        let mut commit =
            shared.watch(run_batch(shared, connection, jobs, owner, (&mut done, most)));
        if commit == Err(Error::Full) && make_room(shared, connection, &mut done) {
            commit = shared.watch(run_batch(shared, connection, jobs, owner, (&mut done, most)));
        }
        if let Ok(kept @ 1..) = commit {
            shared.writes.fetch_add(kept, Relaxed);
            shared.commits.fetch_add(1, Relaxed);
        }
        let commit = commit.map(drop);
        let written = shared.queued.fetch_sub(done.len(), Relaxed);
        most = (written / 2).clamp(FEW, BATCH);
        for job in &mut done {
            job.settle(&commit, &shared.hub);
        }
        answers::answer_all(done.drain(..).map(|job| -> Box<dyn Answer> { job }));
        checkpoints.wake();
        if shared.reserve.is_short() {
            shared.reserve.count(free_bytes(connection));
        }
        if shared.log.is_long() {
            checkpoint::restart(shared, connection, checkpoint::READS);
        } else if shared.reserve.is_exceeded_by(shared.log.left_to_copy()) {
            checkpoint::restart(shared, connection, Duration::ZERO);
        }
    }
}

/// Adds a write to a batch, or refuses it because the disk is full.
fn admit(shared: &Shared, done: &mut Vec<Box<dyn Job>>, job: Box<dyn Job>) -> bool {
    if shared.reserve.refuses(job.purpose()) {
        refuse(shared, job);
        return false;
    }
    done.push(job);
    true
}

fn refuse(shared: &Shared, job: Box<dyn Job>) {
    shared.queued.fetch_sub(1, Relaxed);
    job::answer(job, &Err(Error::Full), &shared.hub);
}

/// Gives the reserve to a batch that the disk had no space for, and refuses those of its writes
/// that may not use it. Returns whether others are left to be run again.
fn make_room(shared: &Shared, connection: &Prepared, done: &mut Vec<Box<dyn Job>>) -> bool {
    shared.reserve.give();
    if !shared.reserve.is_used() {
        return false;
    }
    for job in done.extract_if(.., |job| shared.reserve.refuses(job.purpose())) {
        refuse(shared, job);
    }
    // What is in the log may need space in the file, and then the log has space again.
    checkpoint::restart(shared, connection, FULL);
    !done.is_empty()
}

/// Runs the jobs in `done` and the writes queued behind them in one transaction, commits it, and
/// returns how many of them it contains.
fn run_batch(
    shared: &Shared,
    connection: &Prepared,
    jobs: &Queue,
    first: Owner,
    (done, most): (&mut Vec<Box<dyn Job>>, usize),
) -> Result<u64> {
    if let Some(failure) = shared.failure() {
        return Err(failure);
    }
    let kept = gather(shared, connection, jobs, first, (done, most));
    let committed = kept.and_then(|kept| connection.run("COMMIT").map(|()| kept));
    // After a failed checkpoint, pages may be missing on the disk, as after a failed commit.
    let committed = match shared.failure() {
        Some(failure) => committed.and(Err(failure)),
        None => committed,
    };
    if committed.is_err() && !connection.is_autocommit() {
        connection.run("ROLLBACK")?;
    }
    committed
}

/// Runs the jobs in `done`, and those queued meanwhile until there are `most`, in a transaction
/// that it leaves open.
///
/// A savepoint around every write would take a fifth of the time of a send. So there are none at
/// first: if a write fails after it has changed something, all are undone and run again, each in a
/// savepoint of its own.
///
/// Owners have turns, so that what others write is in the same commit as the first writes of
/// somebody who writes much; further ones then do not hold it up.
fn gather(
    shared: &Shared,
    connection: &Prepared,
    jobs: &Queue,
    first: Owner,
    (done, most): (&mut Vec<Box<dyn Job>>, usize),
) -> Result<u64> {
    connection.run("BEGIN IMMEDIATE")?;
    let started = Instant::now();
    let (mut ran, mut kept, mut saving, mut others) = (0, 0, false, false);
    while ran < done.len() {
        match run_job(connection, &mut *done[ran], saving)? {
            Ran::Kept => kept += 1,
            Ran::Unchanged => {}
            Ran::MustUndo => {
                connection.run("ROLLBACK")?;
                connection.run("BEGIN IMMEDIATE")?;
                (ran, kept, saving) = (0, 0, true);
                continue;
            }
        }
        ran += 1;
        if ran == done.len() && ran < most {
            let elapsed = started.elapsed();
            let hold = |again| if again && others { SHARED_HOLD } else { HOLD };
            if let Some((owner, job)) = jobs.try_next(|again| elapsed < hold(again)) {
                others |= owner != first;
                admit(shared, done, job);
            }
        }
    }
    Ok(kept)
}

/// What a write did to its transaction.
enum Ran {
    /// It is part of the transaction.
    Kept,
    /// It failed and left no changes.
    Unchanged,
    /// It failed after it had changed something, so that the transaction must be undone.
    MustUndo,
}

/// Runs a job, in a savepoint if `saving`. An error is that of the transaction, not of the job.
fn run_job(connection: &Prepared, job: &mut dyn Job, saving: bool) -> Result<Ran> {
    let changes = connection.total_changes();
    if saving {
        connection.run("SAVEPOINT job")?;
    }
    let mut tx = Tx::on(On::Sqlite(connection));
    let keep = job.run(&mut tx);
    // A full disk or a failed device may have rolled back the whole transaction.
    match tx.failed() {
        Some(error) if error.is_fatal() => return Err(error.clone()),
        Some(error) if connection.is_autocommit() => return Err(error.clone()),
        _ if connection.is_autocommit() => return Err(Error::Full),
        _ => {}
    }
    if saving {
        if !keep {
            connection.run("ROLLBACK TO job")?;
        }
        connection.run("RELEASE job")?;
    } else if !keep && connection.total_changes() != changes {
        return Ok(Ran::MustUndo);
    }
    Ok(if keep { Ran::Kept } else { Ran::Unchanged })
}
