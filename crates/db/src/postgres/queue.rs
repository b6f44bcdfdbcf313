//! The queue of work before a group of fibers.
//!
//! Writes of one owner wait for the same mailbox, so few of them may wait for it on a connection.
//! Where a lock is held for long, work gives its connection back, and waits with all such work for
//! another try: a line of its own, which never has more than a part of the connections.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;

use super::fiber::Fiber;
use crate::of::Length;
use crate::turns::Turns;
use crate::{Error, Owner, Result, job::Job, threads::lock};

/// Work that may wait.
const QUEUE: usize = 4096;
/// Writes of a user at a time: one that holds the lock of the mailbox, and the next one.
const WRITES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// One snapshot.
    Read,
    /// One statement, which needs no transaction.
    ReadOne,
    Write,
}

/// What waits in one line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Line {
    Reads(Owner),
    Writes(Owner),
    Long(Owner),
    Wide(Owner),
    /// Work of all owners that met a lock which is held for long.
    Locked,
}

pub(super) struct Work {
    pub(super) access: Access,
    pub(super) job: Box<dyn Job>,
    /// When the caller is answered at the latest.
    pub(super) deadline: Option<Instant>,
    /// When it began to run for the first time, where it waits for a lock.
    pub(super) locked_since: Option<Instant>,
    pub(super) counted: Counted,
}

/// Adds one to a figure until it is dropped, however that happens.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(figure: &Arc<AtomicUsize>) -> Self {
        figure.fetch_add(1, Relaxed);
        Self(Arc::clone(figure))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

pub(super) struct Queue {
    /// How much runs at a time.
    fibers: usize,
    /// How much of one owner.
    most: usize,
    state: Mutex<State>,
    /// Wakes one fiber per piece of work, and all of them when they must look at their connections
    /// or end.
    more: Notify,
    pending: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    work: Turns<Line, Work>,
    /// Whether the fibers end once there is no more work.
    stopped: bool,
}

/// Why a fiber goes on.
pub(super) enum Wakeup<'q> {
    Work(Taken<'q>, Work),
    /// Its connection belongs to an earlier generation.
    Stale,
    Stop,
}

/// Work that was taken; it counts as running until this is dropped.
pub(super) struct Taken<'q> {
    line: Line,
    queue: &'q Queue,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(&self.queue.state).work.done(self.line);
    }
}

impl Queue {
    /// A queue before so many fibers, of which one owner may use so many.
    pub(super) fn new(fibers: usize, most: usize) -> Self {
        let (state, more, pending) = (Mutex::default(), Notify::new(), Arc::default());
        Self { fibers, most, state, more, pending }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    pub(super) fn submit(
        &self,
        (owner, length): (Owner, Length),
        access: Access,
        job: Box<dyn Job>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let line = match (length, access) {
            (Length::Long, _) => Line::Long(owner),
            (Length::Wide, _) => Line::Wide(owner),
            (Length::Short, Access::Read | Access::ReadOne) => Line::Reads(owner),
            (Length::Short, Access::Write) => Line::Writes(owner),
        };
        let most = self.most_of(line);
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(Error::Closed);
        }
        if state.work.len() >= QUEUE {
            return Err(Error::Busy);
        }
        let share = owner.share(QUEUE);
        let counted = Counted::new(&self.pending);
        let work = Work { access, job, deadline, locked_since: None, counted };
        let may_run = state.work.push(line, share, most, work).map_err(|_refused| Error::Busy)?;
        drop(state);
        if may_run {
            // The fiber that worked last is the one most likely to be awake.
            self.more.notify_last();
        }
        Ok(())
    }

    /// How much of an owner may run at a time.
    fn most_of(&self, line: Line) -> Option<usize> {
        match line {
            Line::Reads(Owner::Server) | Line::Writes(Owner::Server) => None,
            Line::Writes(Owner::User(_)) => Some(WRITES.min(self.fibers.div_ceil(2))),
            // Its work is that of many users.
            Line::Reads(Owner::Program(_)) | Line::Writes(Owner::Program(_)) => {
                Some(self.fibers.div_ceil(2))
            }
            Line::Wide(_) | Line::Long(Owner::User(_) | Owner::Address(_)) => Some(1),
            Line::Reads(_) | Line::Writes(_) | Line::Long(_) | Line::Locked => Some(self.most),
        }
    }

    /// Queues work again that met a lock.
    pub(super) fn put_back(&self, work: Work) {
        let pushed =
            lock(&self.state).work.push(Line::Locked, usize::MAX, self.most_of(Line::Locked), work);
        if pushed.is_ok_and(|may_run| may_run) {
            self.more.notify_last();
        }
    }

    /// Lets the fibers finish what is queued, and end.
    pub(super) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.rouse();
    }

    pub(super) fn rouse(&self) {
        self.more.notify_waiters();
    }

    pub(super) fn try_next(&self) -> Option<(Taken<'_>, Work)> {
        let (line, work) = lock(&self.state).work.pop()?;
        Some((Taken { line, queue: self }, work))
    }

    /// Waits for work, for the end, or until the fiber's connection is stale.
    pub(super) fn next(&self, fiber: &Fiber<'_>, is_stale: impl Fn() -> bool) -> Wakeup<'_> {
        loop {
            // Enabled before the state is read, so that no wakeup in between is missed.
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            let mut state = lock(&self.state);
            match state.work.pop() {
                Some((line, work)) => return Wakeup::Work(Taken { line, queue: self }, work),
                None if state.stopped => return Wakeup::Stop,
                None if is_stale() => return Wakeup::Stale,
                None => drop(state),
            }
            fiber.wait(more);
        }
    }
}
