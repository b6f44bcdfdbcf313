//! Fibers that each own a connection, the threads that run them, and the queue before them.

use std::any::TypeId;
use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use super::Shared;
use super::failure::Trouble;
use super::fiber::{self, Fiber, Waits};
use super::session::{BEGIN_READ, BEGIN_WRITE, Session};
use crate::job::Job;
use crate::{Error, Result, Tx};

/// Work that may wait; more is `Busy`.
const QUEUE: usize = 4096;
/// How often work is begun again where others were in its way, or a connection was lost.
const TRIES: u32 = 8;

/// What a piece of work wants of its transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A snapshot; the type of the closure tells whether it has ever needed more than a statement.
    Read(TypeId),
    Write,
}

struct Work {
    kind: Kind,
    job: Box<dyn Job>,
    deadline: Option<Instant>,
}

/// The way to a group of fibers.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    stop: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), more: Notify::new() }
    }

    pub(super) fn submit(
        &self,
        shared: &Shared,
        begun: Instant,
        kind: Kind,
        job: Box<dyn Job>,
    ) -> Result<()> {
        let deadline = shared.patience.map(|patience| begun + patience);
        let mut waiting = self.lock();
        if waiting.stop {
            return Err(Error::Closed);
        }
        if waiting.work.len() >= QUEUE {
            return Err(Error::Busy);
        }
        waiting.work.push_back(Work { kind, job, deadline });
        shared.queued.fetch_add(1, Relaxed);
        drop(waiting);
        // Who has just worked has the least to wait for.
        self.more.notify_last();
        Ok(())
    }

    /// Lets the fibers finish what is queued, and end.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.more.notify_waiters();
    }

    /// Wakes all fibers, so that none keeps a connection that is of no use.
    pub(super) fn rouse(&self) {
        self.more.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there to do at this moment.
    fn next_now(&self) -> Option<Work> {
        self.lock().work.pop_front()
    }

    /// Waits for something to do, or for the end, or until this fiber's connection is of no use
    /// any more.
    fn next(&self, fiber: &Fiber<'_>, stale: impl Fn() -> bool) -> Next {
        loop {
            // Before it is looked: what comes in between is not missed.
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            let mut waiting = self.lock();
            match waiting.work.pop_front() {
                Some(work) => return Next::Work(work),
                None if waiting.stop => return Next::Stop,
                None if stale() => return Next::Stale,
                None => drop(waiting),
            }
            fiber.wait(more);
        }
    }
}

enum Next {
    Work(Work),
    Stale,
    Stop,
}

/// Starts so many threads, with so many fibers in all.
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|cause| Error::File(format!("cannot start a runtime: {cause}")))?;
        let own = (fibers - number).div_ceil(threads);
        std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || {
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
            .map_err(|cause| Error::File(format!("cannot start a thread: {cause}")))
    };
    (0..threads).map(start).collect()
}

/// A fiber that works until the queue is stopped.
fn serve(shared: Arc<Shared>, queue: Arc<Queue>) -> impl Future<Output = ()> {
    fiber::run(move |fiber| {
        let mut owner = Owner { shared, fiber, own: None, several: HashSet::new() };
        // Only a defect of the engine gets here: closures that panic are caught. The fiber goes on
        // with another connection.
        while catch_unwind(AssertUnwindSafe(|| owner.serve(&queue))).is_err() {
            owner.own = None;
            tracing::error!("a database fiber has panicked");
        }
    })
}

/// Counts work that is done, however it ended.
struct Done<'a>(&'a Shared);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Relaxed);
    }
}

/// Counts a connection as long as it is open, however it ends.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// A connection, and the era to which it belongs.
struct Own<'f> {
    session: Box<Session<'f>>,
    era: u64,
    counted: Counted,
}

/// A fiber's own connection.
struct Owner<'f> {
    shared: Arc<Shared>,
    fiber: &'f Fiber<'f>,
    /// Made at the first use.
    own: Option<Own<'f>>,
    /// Reads that have asked for more than one statement.
    several: HashSet<TypeId>,
}

impl<'f> Owner<'f> {
    fn serve(&mut self, queue: &Queue) {
        loop {
            let mut next = queue.next_now();
            if next.is_none() {
                if let Some(own) = &mut self.own {
                    own.session.commit_now();
                }
                let (era, shared) = (self.own.as_ref().map(|own| own.era), &self.shared);
                next = match queue.next(self.fiber, || era.is_some_and(|era| era != shared.era())) {
                    Next::Work(work) => Some(work),
                    Next::Stale => {
                        self.own = None;
                        None
                    }
                    Next::Stop => {
                        self.own = None;
                        return;
                    }
                };
            }
            if let Some(work) = next {
                let shared = Arc::clone(&self.shared);
                let _done = Done(&shared);
                self.run(work);
            }
        }
    }

    /// Makes sure that there is a connection that can be used.
    fn connect(&mut self, deadline: Option<Instant>) -> Result<()> {
        let era = self.shared.era();
        self.own.take_if(|own| !own.session.is_alive() || own.era != era);
        if self.own.is_none() {
            let waits = Waits::Fiber(self.fiber);
            let session = Box::new(Session::connect(waits, &self.shared.config, deadline)?);
            self.own = Some(Own { session, era, counted: Counted::new(&self.shared) });
        }
        Ok(())
    }

    /// Begins a transaction and runs the closure in it; whether its effects are to be kept.
    fn begin(
        &mut self,
        first: Option<&'static str>,
        deadline: Option<Instant>,
        job: &mut dyn Job,
    ) -> Option<(bool, &mut Session<'f>)> {
        let Own { mut session, era, counted } = self.own.take()?;
        session.begin(first, deadline);
        let mut tx = Tx::postgres(session);
        let keep = job.run(&mut tx);
        let own = self.own.insert(Own { session: tx.into_session()?, era, counted });
        Some((keep, &mut own.session))
    }

    /// Runs work until it is answered.
    fn run(&mut self, work: Work) {
        let Work { kind, mut job, deadline } = work;
        let shared = Arc::clone(&self.shared);
        for tries in 1_u32.. {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let late = Error::Unavailable("the database does not answer in time".to_owned());
                return job.answer(&Err(late), &shared.hub);
            }
            let first = match kind {
                Kind::Write => Some(BEGIN_WRITE),
                // Where the session is not ours, nothing but the transaction keeps it from writing.
                Kind::Read(closure) => {
                    let alone =
                        shared.config.options.named_statements && !self.several.contains(&closure);
                    (!alone).then_some(BEGIN_READ)
                }
            };
            if let Err(error) = self.connect(deadline) {
                return job.answer(&Err(error), &shared.hub);
            }
            if matches!(kind, Kind::Write) && shared.waiting.load(Relaxed) >= shared.at_once {
                let waiting = Error::Unavailable("commits wait for a standby".to_owned());
                return job.answer(&Err(waiting), &shared.hub);
            }
            let Some((keep, session)) = self.begin(first, deadline, &mut *job) else {
                return job.answer(&Err(Error::Closed), &shared.hub);
            };
            if session.exceeded()
                && let Kind::Read(closure) = kind
            {
                self.several.insert(closure);
                continue;
            }
            let committed = match (kind, session.trouble(), session.has_begun()) {
                (_, Some(_), true) | (Kind::Write, None, true) if !keep => {
                    session.rollback();
                    Ok(())
                }
                (Kind::Read(_), None, true) => {
                    session.commit_later();
                    Ok(())
                }
                (Kind::Write, None, true) => session.commit(),
                _ => {
                    session.forget();
                    Ok(())
                }
            };
            let trouble = session.trouble();
            let lost = matches!(trouble, Some(Trouble::Lost | Trouble::AllLost));
            if trouble == Some(Trouble::AllLost) {
                shared.begin_new_era();
            }
            let again = lost || trouble == Some(Trouble::Again);
            // A commit that met the end of the connection may have happened.
            let unknown = committed.is_err() && lost;
            let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if again && !unknown && !late && tries < TRIES {
                shared.retries.fetch_add(1, Relaxed);
                continue;
            }
            if matches!(kind, Kind::Write) && keep && committed.is_ok() {
                shared.writes.fetch_add(1, Relaxed);
            }
            job.answer(&if unknown { Err(Error::Unknown) } else { committed }, &shared.hub);
            if late
                && lost
                && let Some(Own { session, .. }) = self.own.take()
            {
                if unknown {
                    wait_apart(&shared, *session);
                } else {
                    session.abandon();
                }
            }
            return;
        }
    }
}

/// Lets a commit that was not answered in time come to its end: whoever cancelled it would make it
/// seen where it may still be lost. There are so many of them at most as there are connections.
fn wait_apart(shared: &Arc<Shared>, session: Session<'_>) {
    shared.waiting.fetch_add(1, Relaxed);
    let shared = Arc::clone(shared);
    let finished = session.finish();
    spawn_local(async move {
        finished.await;
        shared.waiting.fetch_sub(1, Relaxed);
    });
}
