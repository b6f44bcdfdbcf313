//! Messages in a mailbox: reading, marking, deleting, withdrawing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use db::Tx;

use crate::entries::{self, Entry, Glance};
use crate::envelopes::{self, Envelope, Text};
use crate::users::{self, Person};
use crate::{Cx, Error, MessageId, Result, UserId, mailbox};

/// A message as the owner of a mailbox sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What the mailbox says of it.
    pub entry: Entry,
    /// What was sent.
    pub envelope: Envelope,
}

impl Message {
    /// A value that is another one as soon as the message, its marks or the names in it are.
    pub fn tag(&self, people: &[Person]) -> String {
        let mut names = DefaultHasher::new();
        for person in people {
            (person.id, &person.username, &person.display_name).hash(&mut names);
        }
        format!("{}-{:08x}", self.entry.changed_seq, names.finish() >> 32)
    }
}

/// The messages of these entries in their order. One statement.
pub(crate) fn views(tx: &mut Tx<'_>, entries: &[Entry], text: Text) -> Result<Vec<Message>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let found = envelopes::load(tx, entries.iter().map(|entry| entry.message), text)?;
    let view = |entry: &Entry| {
        let at = found.binary_search_by_key(&entry.message, |envelope| envelope.id);
        Some(Message { entry: *entry, envelope: found[at.ok()?].clone() })
    };
    Ok(entries.iter().filter_map(view).collect())
}

/// Everybody among these once, ascending. One statement.
pub(crate) fn people(tx: &mut Tx<'_>, named: impl Iterator<Item = UserId>) -> Result<Vec<Person>> {
    let mut ids: Vec<_> = named.collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() { Ok(Vec::new()) } else { users::people(tx, &ids) }
}

/// A message in the mailbox of the owner. Reading changes nothing; see [`mailbox::mark_read`].
pub fn read(tx: &mut Tx<'_>, owner: UserId, id: MessageId) -> Result<Option<Message>> {
    let Some(entry) = entries::find(tx, owner, id)? else { return Ok(None) };
    Ok(Some(Message { entry, envelope: envelopes::load_one(tx, id)? }))
}

/// A message as the classic API shows it, which asks for less.
pub fn glance(tx: &mut Tx<'_>, owner: UserId, id: MessageId) -> Result<Option<(Glance, Envelope)>> {
    let Some(glance) = entries::glance(tx, owner, id)? else { return Ok(None) };
    Ok(Some((glance, envelopes::load_one(tx, id)?)))
}

/// The same as [`read`] with everybody whom the message names.
pub fn read_named(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: MessageId,
) -> Result<Option<(Message, Vec<Person>)>> {
    let Some(message) = read(tx, owner, id)? else { return Ok(None) };
    let people = people(tx, message.envelope.people().into_iter())?;
    Ok(Some((message, people)))
}

/// What is to be marked, and how; nothing is left as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// As read, or as unread. What was only sent is born read and stays so.
    pub read: Option<bool>,
    /// With a star.
    pub starred: Option<bool>,
    /// As archived.
    pub archived: Option<bool>,
    /// As something for the trash.
    pub trashed: Option<bool>,
}

impl Marks {
    fn on(self, entry: &Entry, cx: &Cx) -> Entry {
        let mark = |marked, since: Option<_>| match marked {
            None => since,
            Some(true) => since.or(Some(cx.now)),
            Some(false) => None,
        };
        Entry {
            read_at: mark(self.read.filter(|_| entry.received), entry.read_at),
            starred_at: mark(self.starred, entry.starred_at),
            archived_at: mark(self.archived, entry.archived_at),
            trashed_at: mark(self.trashed, entry.trashed_at),
            ..*entry
        }
    }
}

/// Marks an entry; whether that changed it.
pub(crate) fn apply(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    old: &Entry,
    marks: Marks,
) -> Result<bool> {
    let new = marks.on(old, cx);
    if new == *old {
        return Ok(false);
    }
    mailbox::advance(tx, owner)?;
    entries::change(tx, cx, owner, old, &new)?;
    Ok(true)
}

/// Marks a message, if its tag is one that the caller allows. Repeating it is success.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox does not hold it; [`Error::StaleTag`].
pub fn mark(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    id: MessageId,
    marks: Marks,
    allowed: &dyn Fn(&str) -> bool,
) -> Result<(Message, Vec<Person>)> {
    mailbox::lock(tx, owner)?;
    let (message, people) = read_named(tx, owner, id)?.ok_or(Error::NotFound)?;
    if !allowed(&message.tag(&people)) {
        return Err(Error::StaleTag);
    }
    if !apply(tx, cx, owner, &message.entry, marks)? {
        return Ok((message, people));
    }
    let entry = entries::find(tx, owner, id)?.ok_or(Error::NotFound)?;
    Ok((Message { entry, ..message }, people))
}

/// Deletes a message from the mailbox of the owner, and from no other.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox does not hold it.
pub fn destroy(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, id: MessageId) -> Result<()> {
    mailbox::advance(tx, owner)?;
    let entry = entries::find(tx, owner, id)?.ok_or(Error::NotFound)?;
    entries::remove(tx, cx, owner, &entry)?;
    envelopes::let_go(tx, id, 1)
}

/// Deletes a message as the classic API does: from the mailbox of the caller; where the caller
/// sent it, it is withdrawn, gone for everybody.
///
/// # Errors
/// [`Error::NotFound`] where the caller's mailbox does not hold it.
pub fn delete(tx: &mut Tx<'_>, cx: &Cx, caller: UserId, id: MessageId) -> Result<()> {
    let entry = entries::find(tx, caller, id)?.ok_or(Error::NotFound)?;
    if !entry.sent {
        return destroy(tx, cx, caller, id);
    }
    // The envelope never changes, so it may be read before the mailboxes are locked.
    let holders = envelopes::load_one(tx, id)?.people();
    let mut gone = 0;
    for holder in holders {
        gone += i64::from(take_out(tx, cx, holder, id, |_| true)?.is_some_and(|taken| taken));
    }
    envelopes::let_go(tx, id, gone)
}

/// Takes a message out of a mailbox where its entry allows it; whether it did, or `None` where
/// the mailbox does not hold it.
fn take_out(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    id: MessageId,
    allowed: fn(&Entry) -> bool,
) -> Result<Option<bool>> {
    mailbox::advance(tx, owner)?;
    let Some(entry) = entries::find(tx, owner, id)? else { return Ok(None) };
    if !allowed(&entry) {
        return Ok(Some(false));
    }
    entries::remove(tx, cx, owner, &entry)?;
    Ok(Some(true))
}

/// What became of a message that its sender took back. Who has deleted it already is in neither
/// list, and neither is the sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsent {
    /// From whose mailboxes it is gone.
    pub withdrawn_from: Vec<UserId>,
    /// Who had read it and keeps it.
    pub read_by: Vec<UserId>,
}

/// Takes a message back from everybody who has not read it. The sender keeps his copy.
///
/// # Errors
/// [`Error::NotFound`] where the caller's mailbox does not hold it; [`Error::NotTheSender`].
pub fn unsend(tx: &mut Tx<'_>, cx: &Cx, caller: UserId, id: MessageId) -> Result<Unsent> {
    let entry = entries::find(tx, caller, id)?.ok_or(Error::NotFound)?;
    if !entry.sent {
        return Err(Error::NotTheSender);
    }
    let mut receivers = envelopes::load_one(tx, id)?.to;
    receivers.retain(|receiver| *receiver != caller);
    receivers.sort();
    let mut unsent = Unsent::default();
    for receiver in receivers {
        match take_out(tx, cx, receiver, id, Entry::is_unread)? {
            Some(true) => unsent.withdrawn_from.push(receiver),
            Some(false) => unsent.read_by.push(receiver),
            None => {}
        }
    }
    let withdrawn = i64::try_from(unsent.withdrawn_from.len()).unwrap_or(i64::MAX);
    if withdrawn > 0 {
        envelopes::let_go(tx, id, withdrawn)?;
    }
    Ok(unsent)
}

/// What is done to many messages at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// They are marked.
    Mark(Marks),
    /// They are deleted from the mailbox of the owner.
    Destroy,
}

/// What became of many messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Those that are marked now, whether they were before or not.
    pub updated: Vec<MessageId>,
    /// Those that are gone.
    pub destroyed: Vec<MessageId>,
    /// Those that the mailbox does not hold.
    pub not_found: Vec<MessageId>,
}

/// Does it to each of the messages, all in one transaction.
pub fn batch(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    ids: &[MessageId],
    action: Action,
) -> Result<Batch> {
    mailbox::lock(tx, owner)?;
    let mut batch = Batch::default();
    for id in ids {
        match (entries::find(tx, owner, *id)?, action) {
            (None, _) => batch.not_found.push(*id),
            (Some(entry), Action::Mark(marks)) => {
                apply(tx, cx, owner, &entry, marks)?;
                batch.updated.push(*id);
            }
            (Some(_), Action::Destroy) => {
                destroy(tx, cx, owner, *id)?;
                batch.destroyed.push(*id);
            }
        }
    }
    Ok(batch)
}
