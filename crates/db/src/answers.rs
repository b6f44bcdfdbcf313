//! Results on their way back to the threads that wait for them.
//!
//! To wake a runtime of another thread is a system call. A commit has the results of many requests,
//! so all that belong to one runtime go there together, and wake their tasks from there.

use std::cell::RefCell;

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::sync::mpsc;

use crate::threads::catch;

/// Something that has its result.
pub(crate) trait Answer: Send {
    /// Sends it to who waits for it.
    fn answer(self: Box<Self>);
    /// Where they wait, if it is a runtime of one thread.
    fn inbox(&self) -> Option<&Inbox>;
}

/// Where the results of one runtime go. It ends with the runtime.
pub(crate) type Inbox = mpsc::UnboundedSender<Vec<Box<dyn Answer>>>;

thread_local! {
    static OWN: RefCell<Option<(Id, Inbox)>> = const { RefCell::new(None) };
}

/// The inbox of the runtime that this thread runs; `None` where there is none, or other threads run
/// it as well.
pub(crate) fn inbox() -> Option<Inbox> {
    let runtime = Handle::try_current().ok()?;
    OWN.with_borrow_mut(|own| {
        if let Some((_, inbox)) = own.as_ref().filter(|(of, _)| *of == runtime.id()) {
            return Some(inbox.clone());
        }
        if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return None;
        }
        let (inbox, mut results) = mpsc::unbounded_channel::<Vec<Box<dyn Answer>>>();
        runtime.spawn(async move {
            while let Some(jobs) = results.recv().await {
                jobs.into_iter().for_each(answer);
            }
        });
        *own = Some((runtime.id(), inbox.clone()));
        Some(inbox)
    })
}

/// Sends a result. One that nobody waits for any more is dropped here, and may panic: that must not
/// end the thread.
pub(crate) fn answer(job: Box<dyn Answer>) {
    drop(catch(|| job.answer()));
}

/// Sends results, those of a runtime in their order.
pub(crate) fn answer_all(jobs: impl Iterator<Item = Box<dyn Answer>>) {
    let mut together: Vec<(Inbox, Vec<Box<dyn Answer>>)> = Vec::new();
    for job in jobs {
        match job.inbox() {
            None => answer(job),
            Some(inbox) => match together.iter_mut().find(|(one, _)| one.same_channel(inbox)) {
                Some((_, jobs)) => jobs.push(job),
                None => together.push((inbox.clone(), vec![job])),
            },
        }
    }
    for (inbox, jobs) in together {
        let left = if jobs.len() > 1 {
            // The runtime may have ended.
            inbox.send(jobs).map_or_else(|unsent| unsent.0, |()| Vec::new())
        } else {
            // One alone would be woken twice.
            jobs
        };
        left.into_iter().for_each(answer);
    }
}
