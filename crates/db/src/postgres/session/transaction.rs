//! Where a transaction begins and ends on a connection.

use std::time::Instant;

use super::{Alone, CANCEL, Session};
use crate::postgres::failure::Trouble;
use crate::{Error, Result};

pub(in crate::postgres) const COMMIT: &str = "COMMIT";
/// One snapshot for all statements of a read.
pub(in crate::postgres) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
/// What is read is what is committed: the counters of mailboxes are the locks.
pub(in crate::postgres) const BEGIN_WRITE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";
const COMMIT_BEGIN_READ: &str = "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
const COMMIT_BEGIN_WRITE: &str = "COMMIT; BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";

impl Session<'_> {
    /// Begins something new, which is over at `deadline`.
    pub(in crate::postgres) fn begin(
        &mut self,
        first: Option<&'static str>,
        deadline: Option<Instant>,
    ) {
        self.first = match (self.first.take(), first) {
            (Some(COMMIT), Some(BEGIN_READ)) => Some(COMMIT_BEGIN_READ),
            (Some(COMMIT), Some(BEGIN_WRITE)) => Some(COMMIT_BEGIN_WRITE),
            (Some(COMMIT), None) => Some(COMMIT),
            (_, first) => first,
        };
        self.alone = if first.is_none() { Alone::Yes } else { Alone::No };
        self.reading = first != Some(BEGIN_WRITE);
        self.trouble = None;
        self.deadline = deadline;
    }

    /// Whether a read asked for more than the one statement that it was allowed.
    pub(in crate::postgres) fn exceeded(&self) -> bool {
        self.alone == Alone::Exceeded
    }

    /// Whether the transaction was really begun: nothing was asked else.
    pub(in crate::postgres) fn has_begun(&self) -> bool {
        self.alone == Alone::No && self.first.is_none()
    }

    /// Leaves a read open until the next work comes, which commits it on its way.
    pub(in crate::postgres) fn commit_later(&mut self) {
        self.first = Some(COMMIT);
    }

    /// Commits what was left open, before the fiber waits for more.
    pub(in crate::postgres) fn commit_now(&mut self) {
        if self.first.take() == Some(COMMIT) && !self.dead {
            self.send(COMMIT);
        }
    }

    /// Forgets a transaction that was not begun.
    pub(in crate::postgres) fn forget(&mut self) {
        let before = self.first.take();
        if matches!(before, Some(COMMIT | COMMIT_BEGIN_READ | COMMIT_BEGIN_WRITE)) {
            // The one before it is still open. What could not be prepared has broken it.
            match self.trouble {
                None => self.first = Some(COMMIT),
                Some(_) => self.rollback(),
            }
        }
    }

    /// Commits.
    ///
    /// The server warns where a commit is not what was asked for: somebody cancelled the wait for a
    /// standby, which may not have it then. That is no more than a commit without an answer.
    pub(in crate::postgres) fn commit(&mut self) -> Result<()> {
        self.warning = None;
        self.simple(COMMIT)?;
        let Some(warning) = self.warning.take() else { return Ok(()) };
        tracing::warn!(warning, "a commit is not acknowledged");
        self.dead = true;
        self.trouble = Some(Trouble::Lost);
        Err(Error::Unknown)
    }

    /// Undoes the transaction; a connection that cannot is dead.
    pub(in crate::postgres) fn rollback(&mut self) {
        if !self.dead {
            self.deadline = Some(Instant::now() + CANCEL);
            let trouble = self.trouble;
            self.dead = self.simple("ROLLBACK").is_err();
            self.trouble = trouble;
        }
    }

    /// Refuses the second statement of what was to be only one.
    pub(super) fn allowed(&mut self) -> Result<()> {
        match self.alone {
            Alone::No => Ok(()),
            Alone::Yes => {
                self.alone = Alone::Used;
                Ok(())
            }
            Alone::Used | Alone::Exceeded => {
                self.alone = Alone::Exceeded;
                Err(Error::Busy)
            }
        }
    }
}
