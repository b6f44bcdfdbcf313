//! Messages in a mailbox: reading, marking, deleting, withdrawing.

use db::{Tx, params};

use crate::accounts::modseq;
use crate::accounts::users::{self, Person};
use crate::base::id::join_ids;
use crate::base::{Cx, Error, MessageId, Missing, Result, UserId};
use crate::mailbox::contacts;
use crate::mailbox::entries::{self, Entry, Flags};
use crate::mailbox::envelopes::{self, BodyPart, Envelope};

/// A message as the owner of a mailbox sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The mailbox's entry for it.
    pub entry: Entry,
    /// The message as it was sent.
    pub envelope: Envelope,
}

impl Message {
    /// A tag that changes whenever the message, its marks or the names in it change.
    pub fn tag(&self, people: &[Person]) -> String {
        users::names_tag(self.entry.changed_modseq, people)
    }
}

/// The messages of these entries, in their order, in one statement.
pub(crate) fn views(tx: &mut Tx<'_>, entries: &[Entry], part: BodyPart) -> Result<Vec<Message>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let found = envelopes::load(tx, entries.iter().map(|entry| entry.message), part)?;
    let mut found: Vec<_> =
        found.into_iter().map(|envelope| (envelope.id, Some(envelope))).collect();
    // A mailbox has one entry for a message.
    let view = |entry: &Entry| {
        let at = found.binary_search_by_key(&entry.message, |(id, _)| *id).ok()?;
        Some(Message { entry: *entry, envelope: found[at].1.take()? })
    };
    Ok(entries.iter().filter_map(view).collect())
}

/// The same for a scan, without metadata, and with the bytes of the whole body beside each, as the
/// database reads them.
pub(crate) fn sized_views(
    tx: &mut Tx<'_>,
    entries: &[Entry],
    part: BodyPart,
) -> Result<Vec<(Message, u64)>> {
    let ids = entries.iter().map(|entry| entry.message);
    let mut found = envelopes::load_sized(tx, ids, part)?;
    let view = |entry: &Entry| {
        let (envelope, bytes) = found.remove(&entry.message)?;
        Some((Message { entry: *entry, envelope }, bytes))
    };
    Ok(entries.iter().filter_map(view).collect())
}

/// Bytes of a page, unless its only item has more.
pub const PAGE_BYTES: usize = 1_000_000;
/// Bytes that a recipient takes in a page: more than most do, and less than a few.
const RECIPIENT_BYTES: usize = 256;

/// Messages that were found with their snippets as a list shows them, and the people whom it names.
/// Of whole messages it has no more than about fit into [`PAGE_BYTES`], and at least one.
pub(crate) fn listed(
    tx: &mut Tx<'_>,
    owner: UserId,
    mut messages: Vec<Message>,
    part: BodyPart,
) -> Result<(Vec<Message>, Vec<Person>)> {
    if part == BodyPart::Whole {
        let kept = fitting(tx, &messages)?;
        messages.truncate(kept);
    }
    if part != BodyPart::Snippet {
        let entries: Vec<_> = messages.iter().map(|message| message.entry).collect();
        messages = views(tx, &entries, part)?;
    }
    if part != BodyPart::Whole {
        for message in &mut messages {
            message.envelope.shorten(owner);
        }
    }
    let people = people_of(tx, &messages)?;
    Ok((messages, people))
}

/// How many of the messages about fit into a page as a whole.
fn fitting(tx: &mut Tx<'_>, messages: &[Message]) -> Result<usize> {
    let sizes = envelopes::sizes(tx, messages.iter().map(|message| message.envelope.id))?;
    let mut bytes = 0;
    let fits = messages.iter().take_while(|Message { envelope, .. }| {
        bytes += sizes.get(&envelope.id).unwrap_or(&0) + RECIPIENT_BYTES * envelope.to_count;
        bytes <= PAGE_BYTES
    });
    Ok(fits.count().max(1))
}

/// The people whom these messages name, each once, ascending, in one statement.
pub(crate) fn people_of(tx: &mut Tx<'_>, messages: &[Message]) -> Result<Vec<Person>> {
    people(tx, messages.iter().flat_map(|message| message.envelope.people()))
}

/// The users with these ids, each once, ascending, in one statement.
pub(crate) fn people(tx: &mut Tx<'_>, named: impl Iterator<Item = UserId>) -> Result<Vec<Person>> {
    let ids: Vec<_> = named.collect();
    if ids.is_empty() { Ok(Vec::new()) } else { users::people(tx, &ids) }
}

/// A message in the mailbox of the owner. Reading it changes nothing.
pub fn read(tx: &mut Tx<'_>, owner: UserId, id: MessageId) -> Result<Option<Message>> {
    let Some(entry) = entries::find(tx, owner, id)? else { return Ok(None) };
    Ok(Some(Message { entry, envelope: envelopes::load_one(tx, id)? }))
}

/// A message as the classic API shows it, with less of the entry.
pub fn read_with_flags(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: MessageId,
) -> Result<Option<(Flags, Envelope)>> {
    let Some(flags) = entries::flags(tx, owner, id)? else { return Ok(None) };
    Ok(Some((flags, envelopes::load_one(tx, id)?)))
}

/// The same as [`read`], with the people that the message names.
pub fn read_with_people(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: MessageId,
) -> Result<Option<(Message, Vec<Person>)>> {
    let Some(message) = read(tx, owner, id)? else { return Ok(None) };
    let people = people(tx, message.envelope.people().into_iter())?;
    Ok(Some((message, people)))
}

/// The marks to set or clear; `None` leaves a mark as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Read or unread. What was only sent is always read.
    pub read: Option<bool>,
    /// Starred.
    pub starred: Option<bool>,
    /// Archived.
    pub archived: Option<bool>,
    /// In the trash.
    pub trashed: Option<bool>,
}

impl Marks {
    fn applied_to(self, entry: &Entry, cx: &Cx) -> Entry {
        let mark = |marked, since: Option<_>| match marked {
            None => since,
            Some(true) => since.or(Some(cx.now)),
            Some(false) => None,
        };
        let read_at = mark(self.read.filter(|_| entry.received), entry.read_at);
        Entry {
            read_at,
            first_read_at: entry.first_read_at.or(entry.read_at.filter(|_| read_at.is_none())),
            starred_at: mark(self.starred, entry.starred_at),
            archived_at: mark(self.archived, entry.archived_at),
            trashed_at: mark(self.trashed, entry.trashed_at),
            ..*entry
        }
    }
}

/// Marks an entry. Returns whether that changed it.
pub(crate) fn apply(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    old: &Entry,
    marks: Marks,
) -> Result<bool> {
    let new = marks.applied_to(old, cx);
    if new == *old {
        return Ok(false);
    }
    modseq::advance(tx, owner)?;
    entries::change(tx, cx, owner, old, &new)?;
    Ok(true)
}

/// Marks a message where `allowed` accepts its tag. Repeating it is success.
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
    modseq::lock(tx, owner)?;
    let (message, people) =
        read_with_people(tx, owner, id)?.ok_or(Error::NotFound(Missing::Message))?;
    if !allowed(&message.tag(&people)) {
        return Err(Error::StaleTag);
    }
    if !apply(tx, cx, owner, &message.entry, marks)? {
        return Ok((message, people));
    }
    let entry = entries::find(tx, owner, id)?.ok_or(Error::NotFound(Missing::Message))?;
    Ok((Message { entry, ..message }, people))
}

/// Locks the mailbox, and confirms that `allowed` accepts the tag of a message, if it is there.
///
/// # Errors
/// [`Error::StaleTag`].
pub fn confirm_tag(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: MessageId,
    allowed: &dyn Fn(&str) -> bool,
) -> Result<()> {
    modseq::lock(tx, owner)?;
    match read_with_people(tx, owner, id)? {
        Some((message, people)) if !allowed(&message.tag(&people)) => Err(Error::StaleTag),
        _ => Ok(()),
    }
}

/// Deletes a message from the mailbox of the owner and from no other. Repeating it is success for
/// as long as the tombstone is kept.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox never held it.
pub fn delete(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, id: MessageId) -> Result<()> {
    modseq::lock(tx, owner)?;
    if destroy(tx, cx, owner, id)? { Ok(()) } else { Err(Error::NotFound(Missing::Message)) }
}

/// Deletes a message from a mailbox that is locked. Returns whether it is gone now, rather than
/// never there.
fn destroy(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, id: MessageId) -> Result<bool> {
    let Some(entry) = entries::find(tx, owner, id)? else {
        return entries::has_tombstone(tx, owner, id);
    };
    entries::remove(tx, cx, &[(owner, entry)])?;
    envelopes::release(tx, id, 1)?;
    Ok(true)
}

/// Deletes a message as the classic API does: a recipient deletes their own entry; the sender
/// withdraws it from all mailboxes.
///
/// # Errors
/// [`Error::NotFound`] where the caller's mailbox does not hold it.
pub fn delete_or_withdraw(tx: &mut Tx<'_>, cx: &Cx, caller: UserId, id: MessageId) -> Result<()> {
    let entry = entries::find(tx, caller, id)?.ok_or(Error::NotFound(Missing::Message))?;
    if !entry.sent {
        return delete(tx, cx, caller, id);
    }
    // The envelope never changes, so it may be read before the mailboxes are locked.
    let people = envelopes::load_one(tx, id)?.people();
    let holders = lock_holders(tx, caller, &people, id, |_| true)?;
    entries::remove(tx, cx, &holders)?;
    let unseen = holders.iter().filter(|(holder, entry)| *holder != caller && !entry.was_read());
    let unseen: Vec<_> = unseen.map(|(holder, _)| *holder).collect();
    contacts::forget(tx, caller, id, &unseen)?;
    envelopes::release(tx, id, holders.len().try_into().unwrap_or(i64::MAX))
}

/// The entries of a message in those of these mailboxes that hold it, ascending by owner, with the
/// caller's mailbox locked, and those locked whose entry `concerns` the transaction.
///
/// Nobody else waits for it: to delete a message is for good.
fn lock_holders(
    tx: &mut Tx<'_>,
    caller: UserId,
    owners: &[UserId],
    id: MessageId,
    concerns: fn(&Entry) -> bool,
) -> Result<Vec<(UserId, Entry)>> {
    let holders = entries::find_in(tx, owners, id)?.into_iter();
    let concerned = holders.filter(|(_, entry)| concerns(entry)).map(|(owner, _)| owner);
    let mut locked: Vec<_> = concerned.chain([caller]).collect();
    locked.sort();
    locked.dedup();
    modseq::lock_all(tx, &locked)?;
    // As it is now that nothing changes any more.
    entries::find_in(tx, owners, id)
}

/// The result of [`unsend`]. Recipients who had deleted the message are in neither list, nor is the
/// sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsent {
    /// From whose mailboxes it was withdrawn.
    pub withdrawn_from: Vec<UserId>,
    /// Who has read it and keeps it.
    pub read_by: Vec<UserId>,
}

/// Withdraws a message from all recipients who have never read it: one who has read it keeps it,
/// though they may have marked it as unread. The sender keeps their copy.
///
/// # Errors
/// [`Error::NotFound`] where the caller's mailbox does not hold it; [`Error::NotTheSender`].
pub fn unsend(tx: &mut Tx<'_>, cx: &Cx, caller: UserId, id: MessageId) -> Result<Unsent> {
    let entry = entries::find(tx, caller, id)?.ok_or(Error::NotFound(Missing::Message))?;
    if !entry.sent {
        return Err(Error::NotTheSender);
    }
    let withdrawn = contacts::unsent(tx, &[id])?;
    let mut others = envelopes::load_one(tx, id)?.people();
    others.retain(|other| *other != caller && !withdrawn.contains(&(id, *other)));
    // Who has read it has done so for good. So to ask again delays nobody.
    let holders = lock_holders(tx, caller, &others, id, |entry| !entry.was_read())?;
    let (read, unread): (Vec<_>, Vec<_>) =
        holders.into_iter().partition(|(_, entry)| entry.was_read());
    entries::remove(tx, cx, &unread)?;
    let ids = |held: Vec<(UserId, Entry)>| held.into_iter().map(|(owner, _)| owner).collect();
    let unsent = Unsent { withdrawn_from: ids(unread), read_by: ids(read) };
    let withdrawn = i64::try_from(unsent.withdrawn_from.len()).unwrap_or(i64::MAX);
    if withdrawn > 0 {
        // Nobody can be added later: who reads it keeps it.
        tx.execute(
            "UPDATE messages SET unsent_from = ?2 WHERE id = ?1",
            &params![id, join_ids(&unsent.withdrawn_from).as_str()],
        )?;
        contacts::forget(tx, caller, id, &unsent.withdrawn_from)?;
        envelopes::release(tx, id, withdrawn)?;
    }
    Ok(unsent)
}

/// Messages that one transaction marks or deletes at most. Others have their turns between two:
/// this takes a few milliseconds of SQLite's writer, or of a mailbox's lock on PostgreSQL.
pub const STEP: usize = 100;

/// What to do with many messages at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Mark them.
    Mark(Marks),
    /// Delete them from the mailbox of the owner.
    Delete,
}

/// The result of [`batch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Those that have the marks now, whether or not they had them before.
    pub updated: Vec<MessageId>,
    /// Those that are gone now, whether or not they were before.
    pub destroyed: Vec<MessageId>,
    /// Those that the mailbox does not hold, or never held where they are to be deleted.
    pub not_found: Vec<MessageId>,
}

impl Batch {
    /// Adds the result of the next step.
    pub fn add(&mut self, step: Self) {
        self.updated.extend(step.updated);
        self.destroyed.extend(step.destroyed);
        self.not_found.extend(step.not_found);
    }
}

/// Applies an action to each of the messages, of which there are at most [`STEP`].
pub fn batch(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    ids: &[MessageId],
    action: Action,
) -> Result<Batch> {
    modseq::lock(tx, owner)?;
    let mut batch = Batch::default();
    for id in ids {
        let done = match action {
            Action::Delete if destroy(tx, cx, owner, *id)? => &mut batch.destroyed,
            Action::Delete => &mut batch.not_found,
            Action::Mark(marks) => match entries::find(tx, owner, *id)? {
                None => &mut batch.not_found,
                Some(entry) => {
                    apply(tx, cx, owner, &entry, marks)?;
                    &mut batch.updated
                }
            },
        };
        done.push(*id);
    }
    Ok(batch)
}
