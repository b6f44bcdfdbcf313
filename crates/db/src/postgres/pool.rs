//! Threads that each own a connection, and the queue before them.

use std::any::TypeId;
use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Shared;
use super::failure::Trouble;
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

/// The way to a group of threads.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    stop: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), more: Condvar::new() }
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
        self.more.notify_one();
        Ok(())
    }

    /// Lets the threads finish what is queued, and end.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.more.notify_all();
    }

    /// Wakes all threads, so that none keeps a connection that is of no use.
    pub(super) fn rouse(&self) {
        self.more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there to do at this moment.
    fn next_now(&self) -> Option<Work> {
        self.lock().work.pop_front()
    }

    /// Waits for something to do, or for the end, or until this thread's connection is of no use
    /// any more.
    fn next(&self, stale: impl Fn() -> bool) -> Next {
        let mut waiting = self.lock();
        loop {
            match waiting.work.pop_front() {
                Some(work) => return Next::Work(work),
                None if waiting.stop => return Next::Stop,
                None if stale() => return Next::Stale,
                None => {
                    waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

enum Next {
    Work(Work),
    Stale,
    Stop,
}

pub(super) fn start(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    name: &str,
    threads: usize,
) -> Result<Vec<JoinHandle<()>>> {
    let start = |number| {
        let (shared, queue) = (Arc::clone(shared), Arc::clone(queue));
        std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || {
                let mut owner = Owner { shared, session: None, several: HashSet::new() };
                // Only a defect of the engine gets here: closures that panic are caught. The
                // thread goes on with another connection.
                while catch_unwind(AssertUnwindSafe(|| owner.serve(&queue))).is_err() {
                    owner.drop_session();
                    tracing::error!("a database thread has panicked");
                }
            })
            .map_err(|cause| Error::File(format!("cannot start a thread: {cause}")))
    };
    (0..threads).map(start).collect()
}

/// Counts work that is done, however it ended.
struct Done<'a>(&'a Shared);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Relaxed);
    }
}

/// A thread's own connection.
struct Owner {
    shared: Arc<Shared>,
    /// Made at the first use, with the era to which it belongs.
    session: Option<(Session, u64)>,
    /// Reads that have asked for more than one statement.
    several: HashSet<TypeId>,
}

impl Owner {
    fn serve(&mut self, queue: &Queue) {
        loop {
            let mut next = queue.next_now();
            if next.is_none() {
                if let Some((session, _)) = &mut self.session {
                    session.commit_now();
                }
                let (era, shared) = (self.session.as_ref().map(|(_, era)| *era), &self.shared);
                next = match queue.next(|| era.is_some_and(|era| era != shared.era())) {
                    Next::Work(work) => Some(work),
                    Next::Stale => {
                        self.drop_session();
                        None
                    }
                    Next::Stop => return self.drop_session(),
                };
            }
            if let Some(work) = next {
                let shared = Arc::clone(&self.shared);
                let _done = Done(&shared);
                self.run(work);
            }
        }
    }

    fn drop_session(&mut self) {
        if self.session.take().is_some() {
            self.shared.connections.fetch_sub(1, Relaxed);
        }
    }

    /// The connection, a new one where there is none that can be used.
    fn session(&mut self, deadline: Option<Instant>) -> Result<&mut Session> {
        let now = self.shared.era();
        if self.session.as_ref().is_some_and(|(session, era)| !session.is_alive() || *era != now) {
            self.drop_session();
        }
        if self.session.is_none() {
            let session = Session::connect(&self.shared.config, deadline)?;
            self.shared.connections.fetch_add(1, Relaxed);
            self.session = Some((session, now));
        }
        self.session.as_mut().map(|(session, _)| session).ok_or(Error::Closed)
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
            let session = match self.session(deadline) {
                Ok(session) => session,
                Err(error) => return job.answer(&Err(error), &shared.hub),
            };
            if matches!(kind, Kind::Write) && shared.waiting.load(Relaxed) >= shared.at_once {
                let waiting = Error::Unavailable("commits wait for a standby".to_owned());
                return job.answer(&Err(waiting), &shared.hub);
            }
            session.begin(first, deadline);
            let keep = job.run(&mut Tx::postgres(session));
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
                && let Some((session, _)) = self.session.take()
            {
                shared.connections.fetch_sub(1, Relaxed);
                if unknown {
                    wait_apart(&shared, session);
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
fn wait_apart(shared: &Arc<Shared>, session: Session) {
    shared.waiting.fetch_add(1, Relaxed);
    let waiting = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("db-commit".to_owned()).spawn(move || {
        session.finish();
        waiting.waiting.fetch_sub(1, Relaxed);
    });
    if thread.is_err() {
        shared.waiting.fetch_sub(1, Relaxed);
    }
}
