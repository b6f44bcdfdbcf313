//! Clients that keep a copy of a mailbox by what they are told has changed.

use domain::changes::{self, ChangeKind};
use domain::{Error, UserId};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::compare::Changes;
use super::state::Seen;
use super::{History, Holds, Told};

/// What a client has, and the state of the mailbox that it was in then.
#[derive(Debug, Clone, Default)]
pub(super) struct Copy {
    state: i64,
    holds: Seen,
}

impl History {
    /// Each client asks now and then, for a page of some length, while the mailbox goes on.
    pub(super) fn pull_some(&mut self) -> Holds {
        for (at, owner) in self.users.clone().into_iter().enumerate() {
            if (self.steps + at).is_multiple_of(3) {
                self.pull(owner, 1 + self.steps % 5)?;
            }
        }
        Ok(())
    }

    /// A client that asks until there is no more has all that is there.
    pub(super) fn pull_all(&mut self) -> Holds {
        for owner in self.users.clone() {
            while self.pull(owner, 3)? {}
            let mailbox = &self.model.mailboxes[&owner];
            prop_assert!(mailbox.erased || mailbox.copy.holds == mailbox.sees(), "{owner:?}");
        }
        Ok(())
    }

    /// Asks for a page; whether there is more.
    fn pull(&mut self, owner: UserId, limit: usize) -> Told {
        let mailbox = self.model.of(owner);
        if mailbox.erased {
            return Ok(false);
        }
        let (state, sees) = (mailbox.copy.state, mailbox.sees());
        let found = self.world.read(move |tx, _cx| Ok(changes::since(tx, owner, state, limit)));
        let copy = &mut mailbox.copy;
        let found = match found {
            Ok(found) => found,
            Err(Error::ChangesForgotten) => {
                *copy = Copy { state: mailbox.modseq, holds: sees };
                return Ok(false);
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert!(found.changes.len() <= limit, "{} changes", found.changes.len());
        prop_assert!(!found.has_more() || found.until > state, "it goes on");
        let mut last = state;
        for change in &found.changes {
            prop_assert!(change.modseq > last && change.modseq <= found.until, "{change:?}");
            last = change.modseq;
            match (change.kind(), sees.get(&change.message)) {
                (ChangeKind::Destroyed, None) => {
                    copy.holds.remove(&change.message);
                }
                (ChangeKind::Created | ChangeKind::Updated, Some(now)) => {
                    let before = copy.holds.insert(change.message, *now);
                    let known = change.kind() == ChangeKind::Updated;
                    prop_assert_eq!(before.is_some(), known, "{:?}", change);
                }
                (kind, now) => return Err(TestCaseError::fail(format!("{kind:?} {now:?}"))),
            }
        }
        copy.state = found.until;
        Ok(found.has_more())
    }

    /// Holds what one answer says of all that happened since a number to what did happen.
    pub(super) fn compare_answer(&self, owner: UserId, since: i64, expected: &Changes) -> Holds {
        let found = self
            .world
            .read(move |tx, _cx| Ok(changes::since(tx, owner, since, 1000)))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut told = Changes::default();
        for change in &found.changes {
            let list = match change.kind() {
                ChangeKind::Created => &mut told.created,
                ChangeKind::Updated => &mut told.updated,
                ChangeKind::Destroyed => &mut told.destroyed,
            };
            prop_assert!(list.insert(change.message), "{change:?} is told twice");
        }
        prop_assert_eq!(&told, expected, "told to {:?} since {}", owner, since);
        prop_assert!(!found.has_more());
        Ok(())
    }
}
