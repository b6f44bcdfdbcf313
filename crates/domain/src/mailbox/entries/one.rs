//! An entry, and what follows from its fields.

use crate::base::{ConversationId, MessageId, Time, UserId};
use crate::mailbox::place::{Folder, Place};

/// What a mailbox says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The message.
    pub message: MessageId,
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// The owner received it.
    pub received: bool,
    /// The owner sent it.
    pub sent: bool,
    /// The other side; `None` where the message has several recipients.
    pub peer: Option<UserId>,
    /// When the owner read what they received.
    pub read_at: Option<Time>,
    /// When they first read it, where they have marked it as unread since.
    pub first_read_at: Option<Time>,
    /// When it was starred.
    pub starred_at: Option<Time>,
    /// When it was archived.
    pub archived_at: Option<Time>,
    /// When it was moved to the trash.
    pub trashed_at: Option<Time>,
    /// The modseq at which it was created.
    pub created_modseq: i64,
    /// The modseq at which it last changed.
    pub changed_modseq: i64,
    /// Whether its conversation has a row of its own.
    pub(crate) has_conversation_row: bool,
}

impl Entry {
    /// The folder that it is in.
    pub fn folder(&self) -> Folder {
        if self.trashed_at.is_some() {
            Folder::Trash
        } else if self.archived_at.is_some() {
            Folder::Archive
        } else if self.received {
            Folder::Inbox
        } else {
            Folder::Sent
        }
    }

    /// Whether the owner received it and has not read it.
    pub fn is_unread(&self) -> bool {
        self.received && self.read_at.is_none()
    }

    /// Whether the owner has ever read it, though it may be marked as unread.
    pub fn was_read(&self) -> bool {
        self.read_at.or(self.first_read_at).is_some()
    }

    pub(super) fn place(&self) -> Place {
        Place::new(self.folder(), self.is_unread(), self.has_conversation_row)
    }

    /// What it adds to the unread count, which counts the inbox.
    pub(crate) fn unread_count(&self) -> i64 {
        i64::from(self.is_unread() && self.folder() == Folder::Inbox)
    }

    pub(super) fn is_outside_trash(&self) -> bool {
        self.folder() != Folder::Trash
    }

    pub(super) fn role(&self) -> i64 {
        i64::from(self.received) + 2 * i64::from(self.sent)
    }
}
