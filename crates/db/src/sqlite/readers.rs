//! Reads: short ones on the asking thread's own connection, long ones on threads of their own.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::Shared;
use super::connection::{self, Kind};
use crate::{Error, Result, Tx, job};

/// Threads for long reads. Two, so that one long scan does not hold all others.
const THREADS: usize = 2;
/// Long reads that may wait.
const QUEUE: usize = 256;

thread_local! {
    /// The connections of this thread, by engine: a server has one, a test binary many.
    static CONNECTIONS: RefCell<Vec<(u64, Connection)>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn read<R, E, F>(shared: &Shared, engine: u64, f: F) -> Result<R, E>
where
    F: FnOnce(&mut Tx<'_>) -> Result<R, E>,
    E: From<Error>,
{
    // Taken out while in use, so that a read within a read gets a connection of its own.
    let mine = CONNECTIONS.with_borrow_mut(|all| {
        let index = all.iter().position(|(number, _)| *number == engine)?;
        Some(all.swap_remove(index).1)
    });
    let connection = match mine {
        Some(connection) => connection,
        None => shared.watch(connection::open(&shared.path, Kind::Reader)).map_err(E::from)?,
    };
    let answer = snapshot(shared, &connection, f);
    // A connection that could not end its transaction is dropped, which ends it.
    if connection.is_autocommit() {
        CONNECTIONS.with_borrow_mut(|all| all.push((engine, connection)));
    }
    answer
}

/// Drops this thread's connection; those of other threads go with their threads.
pub(super) fn forget(engine: u64) {
    // The thread may be ending, and with it its connections.
    let _ = CONNECTIONS.try_with(|all| all.borrow_mut().retain(|(number, _)| *number != engine));
}

/// Runs `f` in one snapshot of the database.
fn snapshot<R, E, F>(shared: &Shared, connection: &Connection, f: F) -> Result<R, E>
where
    F: FnOnce(&mut Tx<'_>) -> Result<R, E>,
    E: From<Error>,
{
    let run = |sql: &'static str| -> Result<()> {
        shared.watch(
            connection.prepare_cached(sql).and_then(|mut s| s.raw_execute()).map_err(Error::from),
        )?;
        Ok(())
    };
    run("BEGIN DEFERRED").map_err(E::from)?;
    let mut tx = Tx::sqlite(connection);
    let answer = job::run(&mut tx, f);
    // Its caller has the failure already.
    drop(shared.watch(tx.failed().cloned().map_or(Ok(()), Err)));
    // An I/O error may have ended the transaction; the answer is that error then.
    if !connection.is_autocommit() {
        run("COMMIT").map_err(E::from)?;
    }
    answer
}

type Job = Box<dyn FnOnce(&Shared, &Connection) + Send>;

/// The way in for long reads; `None` asks a thread to end.
pub(super) struct Queue {
    sender: SyncSender<Option<Job>>,
}

impl Queue {
    pub(super) fn submit<R, E, F>(&self, f: F) -> Result<oneshot::Receiver<Result<R, E>>>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |shared, connection| {
            // A caller who has gone away needs no answer.
            if !reply.is_closed() {
                drop(reply.send(snapshot(shared, connection, f)));
            }
        });
        self.sender.try_send(Some(job)).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::Closed,
        })?;
        Ok(answer)
    }

    pub(super) fn stop(&self) {
        for _ in 0..THREADS {
            // The threads may have ended already.
            drop(self.sender.send(None));
        }
    }
}

pub(super) fn start(shared: &Arc<Shared>) -> Result<(Queue, Vec<JoinHandle<()>>)> {
    let (sender, jobs) = sync_channel(QUEUE);
    let jobs = Arc::new(Mutex::new(jobs));
    let mut threads = Vec::with_capacity(THREADS);
    for number in 0..THREADS {
        let (shared, jobs) = (Arc::clone(shared), Arc::clone(&jobs));
        let thread = std::thread::Builder::new()
            .name(format!("db-scan-{number}"))
            .spawn(move || scan(&shared, &jobs))
            .map_err(|cause| Error::File(format!("cannot start a thread: {cause}")))?;
        threads.push(thread);
    }
    Ok((Queue { sender }, threads))
}

fn scan(shared: &Shared, jobs: &Mutex<Receiver<Option<Job>>>) {
    // Opened at the first use: most deployments hardly ever scan.
    let mut opened = None;
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Some(job)) = job else { return };
        if opened.is_none() {
            match shared.watch(connection::open(&shared.path, Kind::Scanner)) {
                Ok(connection) => opened = Some(connection),
                Err(error) => tracing::error!(%error, "a long read found no database"),
            }
        }
        if let Some(connection) = &opened {
            job(shared, connection);
        }
        if opened.as_ref().is_some_and(|connection| !connection.is_autocommit()) {
            opened = None;
        }
    }
}
