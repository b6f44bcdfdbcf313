//! One piece of work on its way through an engine: a closure, what it said, and the way back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::notice::{Hub, Notice};
use crate::{Error, Result, Tx};

/// Work that a thread of an engine does in a transaction.
pub(crate) trait Job: Send {
    /// Runs the closure; whether its effects are to be kept.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Answers with what the closure returned, or with the failure of the commit.
    fn answer(self: Box<Self>, commit: &Result<()>, hub: &Hub);
}

pub(crate) struct Work<F, R, E> {
    f: F,
    outcome: Option<Result<R, E>>,
    notices: Vec<Notice>,
    reply: oneshot::Sender<Result<R, E>>,
}

/// A job of a closure, and where its answer comes.
pub(crate) fn job<F, R, E>(f: F) -> (Box<dyn Job>, oneshot::Receiver<Result<R, E>>)
where
    F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    R: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Work { f, outcome: None, notices: Vec::new(), reply }), answer)
}

impl<F, R, E> Job for Work<F, R, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send,
    R: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let outcome = run(tx, &mut self.f);
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        self.notices = tx.notices();
        keep
    }

    fn answer(self: Box<Self>, commit: &Result<()>, hub: &Hub) {
        let outcome = match (self.outcome, commit) {
            // What the closure refused stays refused, whatever became of the others.
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => {
                hub.tell(&self.notices);
                Ok(value)
            }
            (_, Err(error)) => Err(E::from(error.clone())),
            (None, Ok(())) => Err(E::from(Error::Closed)),
        };
        // The caller may have gone away; the work is done all the same.
        drop(self.reply.send(outcome));
    }
}

/// Runs a closure; a panic is an error, and so is a statement that failed, whatever the closure
/// made of it.
pub(crate) fn run<R, E: From<Error>>(
    tx: &mut Tx<'_>,
    f: impl FnOnce(&mut Tx<'_>) -> Result<R, E>,
) -> Result<R, E> {
    let ran = catch_unwind(AssertUnwindSafe(|| f(&mut *tx)));
    let outcome = ran.unwrap_or_else(|panic| Err(E::from(Error::Panicked(panic_text(&*panic)))));
    match tx.failed() {
        Some(error) if outcome.is_ok() => Err(E::from(error.clone())),
        _ => outcome,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
