//! The queue of work before a group of fibers.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;

use super::fiber::Fiber;
use crate::{Error, Result, job::Job, threads::lock};

/// Work that may wait.
const QUEUE: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// One snapshot.
    Read,
    Write,
}

pub(super) struct Work {
    pub(super) access: Access,
    pub(super) job: Box<dyn Job>,
    /// When the caller is answered at the latest.
    pub(super) deadline: Option<Instant>,
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

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes one fiber per piece of work, and all of them when they must look at their connections
    /// or end.
    more: Notify,
    pending: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    /// Whether the fibers end once there is no more work.
    stopped: bool,
}

/// Why a fiber goes on.
pub(super) enum Wakeup {
    Work(Work),
    /// Its connection belongs to an earlier generation.
    Stale,
    Stop,
}

impl Queue {
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    pub(super) fn submit(
        &self,
        access: Access,
        job: Box<dyn Job>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(Error::Closed);
        }
        if state.work.len() >= QUEUE {
            return Err(Error::Busy);
        }
        let counted = Counted::new(&self.pending);
        state.work.push_back(Work { access, job, deadline, counted });
        drop(state);
        // The fiber that worked last is the one most likely to be awake.
        self.more.notify_last();
        Ok(())
    }

    /// Lets the fibers finish what is queued, and end.
    pub(super) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.rouse();
    }

    pub(super) fn rouse(&self) {
        self.more.notify_waiters();
    }

    pub(super) fn try_next(&self) -> Option<Work> {
        lock(&self.state).work.pop_front()
    }

    /// Waits for work, for the end, or until the fiber's connection is stale.
    pub(super) fn next(&self, fiber: &Fiber<'_>, is_stale: impl Fn() -> bool) -> Wakeup {
        loop {
            // Enabled before the state is read, so that no wakeup in between is missed.
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            let mut state = lock(&self.state);
            match state.work.pop_front() {
                Some(work) => return Wakeup::Work(work),
                None if state.stopped => return Wakeup::Stop,
                None if is_stale() => return Wakeup::Stale,
                None => drop(state),
            }
            fiber.wait(more);
        }
    }
}
