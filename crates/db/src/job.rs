//! A closure on its way through an engine, and the channel for its result.

use tokio::sync::oneshot;

use crate::answers::{self, Answer, Inbox};
use crate::{Error, Notice, Owner, Result, Tx, notice::Hub, panic_text, threads::catch};

/// What a write is for. Only one that frees space may use the reserve, see
/// [`crate::Db::keep_reserve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It stores something.
    Store,
    /// It removes more than it stores.
    Free,
}

/// A closure that an engine runs in a transaction, perhaps more than once.
pub(crate) trait Job: Answer {
    /// Runs the closure and returns whether to keep its effects.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Makes the closure's result, or the failure of the commit, what the caller gets. Publishes
    /// what the closure wanted to.
    fn settle(&mut self, commit: &Result<()>, hub: &Hub);
    /// Whether the caller still waits for the result.
    fn is_awaited(&self) -> bool;
    fn purpose(&self) -> Purpose;
}

struct Work<F, R, E> {
    f: F,
    owner: Owner,
    purpose: Purpose,
    /// The result of the last run, and of its commit once it is settled.
    outcome: Option<Result<R, E>>,
    /// What the last run wants to publish after its commit.
    notices: Vec<Notice>,
    reply: oneshot::Sender<Result<R, E>>,
    inbox: Option<Inbox>,
}

/// Answers a job at once.
pub(crate) fn answer(mut job: Box<dyn Job>, commit: &Result<()>, hub: &Hub) {
    job.settle(commit, hub);
    answers::answer(job);
}

/// Makes a job of a closure, and the receiver of its result.
pub(crate) fn job<F, R, E>(
    owner: Owner,
    purpose: Purpose,
    f: F,
) -> (Box<dyn Job>, oneshot::Receiver<Result<R, E>>)
where
    F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    R: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let (outcome, notices, inbox) = (None, Vec::new(), answers::inbox());
    (Box::new(Work { f, owner, purpose, outcome, notices, reply, inbox }), answer)
}

impl<F, R, E> Answer for Work<F, R, E>
where
    F: Send,
    R: Send,
    E: From<Error> + Send,
{
    fn answer(self: Box<Self>) {
        let outcome = self.outcome.unwrap_or_else(|| Err(E::from(Error::Closed)));
        // The caller may no longer wait; the work is done all the same.
        drop(self.reply.send(outcome));
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inbox.as_ref()
    }
}

impl<F, R, E> Job for Work<F, R, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
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

    fn settle(&mut self, commit: &Result<()>, hub: &Hub) {
        match (&self.outcome, commit) {
            // The closure's own error is returned, whatever happened to the commit.
            (Some(Err(_)), _) | (None, Ok(())) => {}
            (Some(Ok(_)), Ok(())) => hub.publish(self.owner, &self.notices),
            (_, Err(error)) => self.outcome = Some(Err(E::from(error.clone()))),
        }
    }

    fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }

    fn purpose(&self) -> Purpose {
        self.purpose
    }
}

/// Runs a closure. A panic becomes an error, and a failed statement fails the closure even if the
/// closure ignores it.
pub(crate) fn run<R, E: From<Error>>(
    tx: &mut Tx<'_>,
    f: impl FnOnce(&mut Tx<'_>) -> Result<R, E>,
) -> Result<R, E> {
    let ran = catch(|| f(&mut *tx));
    let outcome = ran.unwrap_or_else(|panic| Err(E::from(Error::Panicked(panic_text(&*panic)))));
    match tx.failed() {
        Some(error) if outcome.is_ok() => Err(E::from(error.clone())),
        _ => outcome,
    }
}
