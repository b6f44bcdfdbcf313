//! The rows of mailboxes that messages are added to.

use std::collections::BTreeMap;

use db::{Tx, params};

use crate::base::{Result, Time, UserId};
use crate::mailbox::entries::Entry;

/// What is added to a mailbox.
#[derive(Clone, Copy, Default)]
pub(super) struct Mailbox {
    pub(super) modseq: i64,
    unread: i64,
    pub(super) unread_conversations: i64,
    oldest_unread_at: Option<Time>,
    had_unread: bool,
}

impl Mailbox {
    pub(super) fn count(&mut self, sent_at: Time, entry: &Entry) {
        self.modseq += 1;
        if entry.unread_count() == 1 && !self.had_unread && self.unread == 0 {
            self.oldest_unread_at = Some(sent_at);
        }
        self.unread += entry.unread_count();
    }
}

pub(super) struct Mailboxes(BTreeMap<UserId, Mailbox>);

impl Mailboxes {
    pub(super) fn load(tx: &mut Tx<'_>, owners: &[UserId]) -> Result<Self> {
        let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
        let found = tx.query(
            "SELECT owner_id, modseq, unread FROM mailboxes WHERE owner_id IN rarray(?1)",
            &params![&*ids],
            |row| {
                let (modseq, had_unread) = (row.int(1)?, row.int(2)? > 0);
                let mailbox = Mailbox { modseq, had_unread, ..Mailbox::default() };
                Ok((UserId::stored(row.int(0)?), mailbox))
            },
        )?;
        Ok(Self(found.into_iter().collect()))
    }

    pub(super) fn of(&mut self, owner: UserId) -> &mut Mailbox {
        self.0.entry(owner).or_default()
    }

    pub(super) fn write(&self, tx: &mut Tx<'_>) -> Result<()> {
        let rows: Vec<_> = self
            .0
            .iter()
            .map(|(owner, mailbox)| {
                params![
                    *owner,
                    mailbox.modseq,
                    mailbox.unread,
                    mailbox.unread_conversations,
                    mailbox.oldest_unread_at
                ]
            })
            .collect();
        tx.batch(
            "UPDATE mailboxes SET modseq = ?2, unread = unread + ?3,
                 unread_conversations = unread_conversations + ?4,
                 oldest_unread_at = coalesce(?5, oldest_unread_at) WHERE owner_id = ?1",
            &rows,
        )?;
        Ok(())
    }
}
