//! The fibers that each own a connection, and the threads that run them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::{LocalSet, spawn_local};

use super::connection::{BEGIN_READ, BEGIN_WRITE, Connection};
use super::fiber::{self, Fiber, Waiter};
use super::queue::{Access, Counted, Queue, Taken, Wakeup, Work};
use super::{failure::Recovery, shared::Shared};
use crate::job::{Job, answer};
use crate::{Error, Result, Tx, threads, tx::On};

/// How often a closure runs at most: it runs again after a conflict with another transaction, or
/// after its connection was lost before the commit.
const MAX_RUNS: u32 = 8;

/// Starts threads that run `fibers` fibers in all.
pub(super) fn start(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    name: &str,
    threads: usize,
    fibers: usize,
) -> Result<Vec<JoinHandle<()>>> {
    let threads = threads.min(fibers);
    let start = |number: usize| {
        let (shared, queue) = (Arc::clone(shared), Arc::clone(queue));
        let runtime = threads::runtime()?;
        let own = (fibers - number).div_ceil(threads);
        threads::spawn(&format!("{name}-{number}"), move || {
            let local = LocalSet::new();
            let serving: Vec<_> = (0..own)
                .map(|_| local.spawn_local(serve(Arc::clone(&shared), Arc::clone(&queue))))
                .collect();
            local.block_on(&runtime, async {
                for served in serving {
                    if served.await.is_err() {
                        tracing::error!("a database fiber has panicked");
                    }
                }
            });
        })
    };
    (0..threads).map(start).collect()
}

/// A fiber that works until the queue is stopped.
fn serve(shared: Arc<Shared>, queue: Arc<Queue>) -> impl Future<Output = ()> {
    fiber::run(move |fiber| {
        let mut worker = Worker { shared, fiber, owned: None };
        // Only a defect of the engine panics here: `job::run` catches the panics of closures. The
        // fiber continues with a new connection.
        while threads::catch(|| worker.serve(&queue)).is_err() {
            worker.owned = None;
            tracing::error!("a database fiber has panicked");
        }
    })
}

struct Owned<'f> {
    connection: Box<Connection<'f>>,
    generation: u64,
    counted: Counted,
}

struct Worker<'f> {
    shared: Arc<Shared>,
    fiber: &'f Fiber<'f>,
    /// Made at the first use.
    owned: Option<Owned<'f>>,
}

impl<'f> Worker<'f> {
    fn serve(&mut self, queue: &Queue) {
        loop {
            let Some((taken, work)) = queue.try_next() else {
                if let Some(owned) = &mut self.owned {
                    owned.connection.commit_now();
                }
                let (owned, shared) = (&self.owned, &self.shared);
                let is_stale =
                    || owned.as_ref().is_some_and(|owned| owned.generation != shared.generation());
                match queue.next(self.fiber, is_stale) {
                    Wakeup::Work(taken, work) => self.serve_one(queue, taken, work),
                    Wakeup::Stale => self.owned = None,
                    Wakeup::Stop => {
                        self.owned = None;
                        return;
                    }
                }
                continue;
            };
            self.serve_one(queue, taken, work);
        }
    }

    fn serve_one(&mut self, queue: &Queue, taken: Taken<'_>, work: Work) {
        if let Some(locked) = self.run(work) {
            queue.put_back(locked);
        }
        drop(taken);
    }

    /// Makes sure that there is a usable connection.
    fn connect(&mut self, deadline: Option<Instant>) -> Result<()> {
        let generation = self.shared.generation();
        self.owned
            .take_if(|owned| !owned.connection.driver.is_alive() || owned.generation != generation);
        if self.owned.is_none() {
            let waiter = Waiter::Fiber(self.fiber);
            let connection = Connection::open(waiter, &self.shared.config, deadline)?;
            let counted = Counted::new(&self.shared.connections);
            self.owned = Some(Owned { connection: Box::new(connection), generation, counted });
        }
        Ok(())
    }

    /// Runs a job in a transaction that begins with its first statement, or one statement without
    /// a transaction if `begin` is `None`. Returns whether to keep its effects.
    fn begin(
        &mut self,
        begin: Option<&'static str>,
        lock_wait: Option<Duration>,
        deadline: Option<Instant>,
        job: &mut dyn Job,
    ) -> Option<(bool, &mut Connection<'f>)> {
        let Owned { mut connection, generation, counted } = self.owned.take()?;
        match lock_wait {
            None => connection.begin(begin, deadline),
            Some(wait) => connection.begin_waiting(wait, deadline),
        }
        let on = On::Postgres(connection);
        let mut tx = if begin.is_some() { Tx::on(on) } else { Tx::of_one_statement(on) };
        let keep = job.run(&mut tx);
        let connection = tx.into_postgres()?;
        let owned = self.owned.insert(Owned { connection, generation, counted });
        Some((keep, &mut owned.connection))
    }

    /// Runs work, again if necessary, until it is answered. Returns it where it has to wait for a
    /// lock that is held for long, so that others can use the connection meanwhile.
    fn run(&mut self, work: Work) -> Option<Work> {
        let Work { access, mut job, deadline, locked_since, counted } = work;
        let shared = Arc::clone(&self.shared);
        let since = locked_since.unwrap_or_else(Instant::now);
        let patience = shared.config.options.lock_timeout;
        let lock_wait = locked_since.map(|since| patience.saturating_sub(since.elapsed()));
        let is_late = || deadline.is_some_and(|deadline| deadline <= Instant::now());
        for runs in 1_u32.. {
            let refused = if is_late() {
                Err(Error::Unavailable("the database does not answer in time".to_owned()))
            } else if let Err(error) = self.connect(deadline) {
                Err(error)
            } else if access == Access::Write && shared.waiting.load(Relaxed) >= shared.most_waiting
            {
                Err(Error::Unavailable("commits wait for a standby".to_owned()))
            } else {
                Ok(())
            };
            if refused.is_err() {
                answer(job, &refused, &shared.hub);
                return None;
            }
            let begin = match access {
                Access::Write => Some(BEGIN_WRITE),
                // Behind a pooler, only the transaction prevents writes.
                Access::ReadOne if shared.config.options.named_statements => None,
                Access::Read | Access::ReadOne => Some(BEGIN_READ),
            };
            let Some((keep, connection)) = self.begin(begin, lock_wait, deadline, &mut *job) else {
                answer(job, &Err(Error::Closed), &shared.hub);
                return None;
            };
            let mut committed = Ok(());
            if !connection.has_begun() {
                connection.forget();
            } else if connection.driver.recovery.is_some() || access == Access::Write && !keep {
                connection.driver.rollback();
            } else if access != Access::Write {
                connection.commit_later();
            } else {
                committed = connection.driver.commit();
            }
            let recovery = connection.driver.recovery;
            let lost = matches!(recovery, Some(Recovery::Reconnect | Recovery::ReconnectAll));
            if recovery == Some(Recovery::ReconnectAll) {
                shared.begin_generation();
            }
            // A commit that was under way when the connection was lost may have happened.
            let unknown = committed.is_err() && lost;
            let late = is_late();
            let again = (lost || recovery == Some(Recovery::Retry)) && !unknown && !late;
            if again && runs < MAX_RUNS {
                shared.retries.fetch_add(1, Relaxed);
                continue;
            }
            if recovery == Some(Recovery::Wait) && !late && since.elapsed() < patience {
                shared.retries.fetch_add(1, Relaxed);
                return Some(Work { access, job, deadline, locked_since: Some(since), counted });
            }
            if access == Access::Write && keep && committed.is_ok() {
                shared.writes.fetch_add(1, Relaxed);
            }
            answer(job, &if unknown { Err(Error::Unknown) } else { committed }, &shared.hub);
            if late
                && lost
                && let Some(Owned { connection, .. }) = self.owned.take()
            {
                if unknown {
                    wait_for_commit(&shared, *connection);
                } else {
                    connection.driver.cancel();
                }
            }
            return None;
        }
        None
    }
}

/// Lets a commit that was not answered in time finish. Cancelling it would make it visible to
/// others while it may still be lost. At most as many of them are begun as there are connections.
fn wait_for_commit(shared: &Arc<Shared>, connection: Connection<'_>) {
    let counted = Counted::new(&shared.waiting);
    let finished = connection.driver.finish();
    spawn_local(async move {
        finished.await;
        drop(counted);
    });
}
