//! Which scan runs next, on a thread of its own.
//!
//! The threads that scan have the lowest priority. While one of them held a lock, those that serve
//! connections would wait for it, until it has a processor again. So neither waits for the other:
//! both send messages, and one thread, of the usual priority, decides.

use std::sync::mpsc::{self, Receiver, Sender};

use super::shared::Shared;
use crate::job::{Job, answer};
use crate::turns::Turns;
use crate::{Error, Owner, Result};

/// Scans that may wait.
const QUEUE: usize = 256;
/// Scans of one owner at a time. The next one waits behind everybody else's.
const MOST: usize = 1;

/// What the deciding thread is told.
pub(super) enum Event {
    Wanted(Owner, Box<dyn Job>),
    /// The thread of that number has nothing to do.
    Done(usize),
    Stop,
}

/// Takes scans.
pub(super) struct Scanners(Sender<Event>);

/// Tells that a thread has done its scan.
pub(super) struct Done {
    events: Sender<Event>,
    number: usize,
}

/// Tells it when this is dropped, also where the scan panicked.
pub(super) struct Taken<'d>(&'d Done);

impl Done {
    pub(super) fn when_dropped(&self) -> Taken<'_> {
        Taken(self)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // The deciding thread has ended where there is nothing more to do.
        drop(self.0.events.send(Event::Done(self.0.number)));
    }
}

pub(super) fn channel() -> (Scanners, Receiver<Event>) {
    let (events, decided) = mpsc::channel();
    (Scanners(events), decided)
}

impl Scanners {
    /// Asks for a scan. That too many wait is the job's answer.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(super) fn submit(&self, owner: Owner, job: Box<dyn Job>) -> Result<()> {
        self.0.send(Event::Wanted(owner, job)).map_err(|_ended| Error::Closed)
    }

    /// Lets the threads finish what waits, and end.
    pub(super) fn stop(&self) {
        // It may have ended already.
        drop(self.0.send(Event::Stop));
    }

    pub(super) fn done(&self, number: usize) -> Done {
        Done { events: self.0.clone(), number }
    }
}

/// Gives each scan, in turns of the owners, to a thread that is idle, until all are done after a
/// stop.
pub(super) fn dispatch(shared: &Shared, events: &Receiver<Event>, to: &[Sender<Box<dyn Job>>]) {
    let mut turns = Turns::<Owner, Box<dyn Job>>::default();
    let mut running: Vec<Option<Owner>> = to.iter().map(|_| None).collect();
    let mut is_stopped = false;
    while let Ok(event) = events.recv() {
        match event {
            Event::Wanted(owner, job) => {
                let most = (owner != Owner::Server).then_some(MOST);
                let refused = if is_stopped {
                    Err((job, Error::Closed))
                } else if turns.len() >= QUEUE {
                    Err((job, Error::Busy))
                } else {
                    let pushed = turns.push(owner, owner.share(QUEUE), most, job);
                    pushed.map_err(|job| (job, Error::Busy))
                };
                if let Err((job, error)) = refused {
                    answer(job, &Err(error), &shared.hub);
                }
            }
            Event::Done(number) => {
                if let Some(owner) = running[number].take() {
                    turns.done(owner);
                }
            }
            Event::Stop => is_stopped = true,
        }
        while let Some(idle) = running.iter().position(Option::is_none)
            && let Some((owner, job)) = turns.pop()
        {
            if job.is_awaited() && to[idle].send(job).is_ok() {
                running[idle] = Some(owner);
            } else {
                // Its client is gone.
                turns.done(owner);
            }
        }
        if is_stopped && turns.len() == 0 && running.iter().all(Option::is_none) {
            return;
        }
    }
}
