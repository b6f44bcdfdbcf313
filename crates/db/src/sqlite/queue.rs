//! The queue before the thread that writes.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::threads::lock;
use crate::turns::Turns;
use crate::{Error, Owner, Result, job::Job};

pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
    /// Work that may wait.
    length: usize,
}

#[derive(Default)]
struct State {
    turns: Turns<Owner, Box<dyn Job>>,
    stopped: bool,
    /// Threads that have to be woken for new work.
    asleep: usize,
}

impl Queue {
    pub(super) fn new(length: usize) -> Self {
        Self { state: Mutex::default(), more: Condvar::new(), length }
    }

    pub(super) fn submit(&self, owner: Owner, job: Box<dyn Job>) -> Result<()> {
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(Error::Closed);
        }
        if state.turns.len() >= self.length {
            return Err(Error::Busy);
        }
        let pushed = state.turns.push(owner, owner.share(self.length), None, job);
        pushed.map_err(|_refused| Error::Busy)?;
        let wake = state.asleep > 0;
        drop(state);
        if wake {
            self.more.notify_one();
        }
        Ok(())
    }

    /// Lets the threads finish what waits, and end.
    pub(super) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.more.notify_all();
    }

    /// Drops what waits, because nobody is left to do it.
    pub(super) fn abandon(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        let waiting = std::mem::take(&mut state.turns);
        drop(state);
        drop(waiting);
    }

    /// Begins a round and waits for its first work; `None` at the end.
    pub(super) fn next(&self) -> Option<(Owner, Box<dyn Job>)> {
        let mut state = lock(&self.state);
        state.turns.begin_round();
        loop {
            if let Some(next) = state.turns.pop() {
                return Some(next);
            }
            if state.stopped {
                return None;
            }
            state.asleep += 1;
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
    }

    /// Work that waits, if `may` takes it. It is told whether the owner had a turn in this round.
    pub(super) fn try_next(&self, may: impl Fn(bool) -> bool) -> Option<(Owner, Box<dyn Job>)> {
        let mut state = lock(&self.state);
        let again = state.turns.comes_again()?;
        may(again).then(|| state.turns.pop()).flatten()
    }
}
