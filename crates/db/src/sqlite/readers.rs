//! Reads: short ones on a connection of the calling thread, scans on threads of their own.

use std::cell::RefCell;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use super::connection::{self, Role};
use super::prepared::Prepared;
use super::scanners::{self, Done, Scanners};
use super::shared::Shared;
use crate::job::{Job, answer};
use crate::{Error, Result, Tx, threads, tx::On};

/// The lowest priority.
const NICE: i32 = 19;
/// Threads for scans. Two, so that one long scan does not block all others.
const THREADS: usize = 2;

thread_local! {
    /// The connections of this thread, by engine: a server has one engine, a test binary many.
    static CONNECTIONS: RefCell<Vec<(u64, Prepared)>> = const { RefCell::new(Vec::new()) };
}

/// Lends this thread's connection to a read, which says whether its transaction ended well, and
/// what it found if it began.
pub(super) fn read<R, E>(
    shared: &Shared,
    engine: u64,
    read: impl FnOnce(&Prepared) -> (Result<()>, Option<Result<R, E>>),
) -> Result<R, E>
where
    E: From<Error>,
{
    // Taken out while in use, so that a read within a read gets a connection of its own.
    let cached = CONNECTIONS.with_borrow_mut(|all| {
        let index = all.iter().position(|(number, _)| *number == engine)?;
        Some(all.swap_remove(index).1)
    });
    let connection = match cached {
        Some(connection) => connection,
        None => open(shared, Role::Reader).map_err(E::from)?,
    };
    let (ended, answer) = read(&connection);
    // A connection that could not end its transaction is dropped, which ends it.
    if connection.is_autocommit() {
        CONNECTIONS.with_borrow_mut(|all| all.push((engine, connection)));
    }
    ended.map_err(E::from)?;
    answer.unwrap_or_else(|| Err(E::from(Error::Closed)))
}

fn open(shared: &Shared, role: Role) -> Result<Prepared> {
    shared.watch(connection::open(&shared.path, role)).map(Prepared::new)
}

/// Drops this thread's connection; those of other threads end with their threads.
pub(super) fn forget(engine: u64) {
    // If the thread is ending, its connections are gone already.
    let _ = CONNECTIONS.try_with(|all| all.borrow_mut().retain(|(number, _)| *number != engine));
}

/// Runs `f` in one snapshot of the database. Returns whether the transaction began and ended well,
/// and what `f` returned if it began.
pub(super) fn snapshot<T>(
    shared: &Shared,
    connection: &Prepared,
    f: impl FnOnce(&mut Tx<'_>) -> T,
) -> (Result<()>, Option<T>) {
    let run = |sql| shared.watch(connection.run(sql));
    if let Err(error) = run("BEGIN DEFERRED") {
        return (Err(error), None);
    }
    let answer = run_on(shared, Tx::on(On::Sqlite(connection)), f);
    // An I/O error may have ended the transaction; the answer is that error then.
    let ended = if connection.is_autocommit() { Ok(()) } else { run("COMMIT") };
    (ended, Some(answer))
}

/// Runs `f`, which has one statement, without a transaction: to begin and end one takes as long as
/// to read a row.
pub(super) fn statement<T>(
    shared: &Shared,
    connection: &Prepared,
    f: impl FnOnce(&mut Tx<'_>) -> T,
) -> T {
    run_on(shared, Tx::of_one_statement(On::Sqlite(connection)), f)
}

fn run_on<T>(shared: &Shared, mut tx: Tx<'_>, f: impl FnOnce(&mut Tx<'_>) -> T) -> T {
    let answer = f(&mut tx);
    // Only recorded here; the caller gets it in the answer.
    drop(shared.watch(tx.failed().cloned().map_or(Ok(()), Err)));
    answer
}

/// Gives scans to the threads that run them.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(Scanners, Vec<JoinHandle<()>>)> {
    let (scanners, events) = scanners::channel();
    let mut threads = Vec::with_capacity(THREADS + 1);
    let mut idle = Vec::with_capacity(THREADS);
    for number in 0..THREADS {
        let (jobs, taken) = mpsc::channel();
        let (shared, done) = (Arc::clone(shared), scanners.done(number));
        let scan = move || scan(&shared, &taken, &done);
        threads.push(threads::spawn(&format!("db-scan-{number}"), scan)?);
        idle.push(jobs);
    }
    let shared = Arc::clone(shared);
    let dispatch = move || scanners::dispatch(&shared, &events, &idle);
    threads.push(threads::spawn("db-scans", dispatch)?);
    Ok((scanners, threads))
}

fn scan(shared: &Shared, jobs: &mpsc::Receiver<Box<dyn Job>>, done: &Done) {
    // Nobody may wait longer for a short request, or for a password to be hashed, for a scan.
    threads::be_nice(NICE);
    // Opened at the first use: most deployments hardly ever scan.
    let mut opened = None;
    while let Ok(job) = jobs.recv() {
        let _taken = done.when_dropped();
        // A defect of the engine must not leave scans to a thread that has ended.
        if threads::catch(|| run(shared, &mut opened, job)).is_err() {
            tracing::error!("a scan panicked");
            opened = None;
        }
    }
}

fn run(shared: &Shared, opened: &mut Option<Prepared>, mut job: Box<dyn Job>) {
    shared.log.wait();
    if !job.is_awaited() {
        return;
    }
    if opened.is_none() {
        match open(shared, Role::Scanner) {
            Ok(connection) => *opened = Some(connection),
            Err(error) => {
                tracing::error!(%error, "a scan could not open the database");
                return answer(job, &Err(error), &shared.hub);
            }
        }
    }
    if let Some(connection) = opened {
        let (ended, _keep) = snapshot(shared, connection, |tx| job.run(tx));
        answer(job, &ended, &shared.hub);
    }
    opened.take_if(|connection| !connection.is_autocommit());
}
