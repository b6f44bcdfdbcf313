//! Conversations: messages that answer each other, as one mailbox sees them.
//!
//! A conversation that is its first message alone needs no row of its own; with the first reply,
//! or with a state of its own, it gets one in `threads`.

use db::{Tx, params};

use crate::entries::{self, Entry, select_entries};
use crate::envelopes::Text;
use crate::messages::{Marks, Message};
use crate::pages::{self, Page};
use crate::threads::{self, Thread, select_threads, thread};
use crate::users::Person;
use crate::{ConversationId, Cx, Error, MessageId, Result, UserId, mailbox, messages};

/// A conversation as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Which one.
    pub id: ConversationId,
    /// What its first message is about, as far as the owner has it.
    pub subject: String,
    /// Everybody whom its messages name, ascending by id.
    pub participants: Vec<UserId>,
    /// The newest message that is not in the trash, if there is one, with a snippet.
    pub last: Option<Message>,
    /// Messages that are unread in the inbox.
    pub unread: i64,
    /// Whether its owner wants to hear nothing of it.
    pub muted: bool,
}

/// The conversations that have a message outside of the trash, the one with the newest message
/// first, and those below `before`.
pub fn list(
    tx: &mut Tx<'_>,
    owner: UserId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Page<Conversation>> {
    let state = pages::state(tx, owner, before)?;
    let below = before.unwrap_or(MessageId::ABOVE_ALL);
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let singles = pages::singles(tx, owner, below, limit + 1)?;
    let threads = tx.query(
        select_threads!(
            "WHERE owner_id = ?1 AND last_message_id IS NOT NULL AND last_message_id < ?2
             ORDER BY last_message_id DESC LIMIT ?3"
        ),
        &params![owner, below, most],
        thread,
    )?;
    let mut heads: Vec<(MessageId, Option<Thread>)> =
        singles.iter().map(|entry| (entry.message, None)).collect();
    heads.extend(threads.into_iter().filter_map(|thread| Some((thread.last?, Some(thread)))));
    heads.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    let more = heads.len() > limit;
    heads.truncate(limit);
    let next = heads.last().filter(|_| more).map(|(last, _)| *last);

    let wanted = |entry: &&Entry| heads.iter().any(|(last, _)| *last == entry.message);
    let mut lasts: Vec<Entry> = singles.iter().filter(wanted).copied().collect();
    lasts.extend(threaded(tx, owner, heads.iter().filter(|(_, thread)| thread.is_some()))?);
    let mut lasts = messages::views(tx, &lasts, Text::Snippet)?;
    let items = heads.into_iter().filter_map(|(id, thread)| {
        let at = lasts.iter().position(|last| last.entry.message == id)?;
        Some(conversation(thread, lasts.swap_remove(at)))
    });
    let items: Vec<_> = items.collect();
    let people = people_of(tx, &items)?;
    Ok(Page { items, next, people, state })
}

/// The last entries of conversations that have a row. One statement.
fn threaded<'a>(
    tx: &mut Tx<'_>,
    owner: UserId,
    heads: impl Iterator<Item = &'a (MessageId, Option<Thread>)>,
) -> Result<Vec<Entry>> {
    let ids: Vec<i64> = heads.map(|(last, _)| last.get()).collect();
    Ok(tx.query(
        select_entries!(
            "WHERE owner_id = ?1 AND place IN (1, 3, 5, 7, 9)
             AND message_id IN (SELECT value FROM json_each(?2))"
        ),
        &params![owner, &*ids],
        entries::entry,
    )?)
}

fn conversation(thread: Option<Thread>, last: Message) -> Conversation {
    match thread {
        Some(thread) => Conversation {
            id: thread.conversation,
            subject: thread.subject,
            participants: thread.participants,
            unread: thread.unread,
            muted: thread.muted,
            last: Some(last),
        },
        None => Conversation {
            id: last.entry.conversation,
            subject: last.envelope.subject.clone(),
            participants: last.envelope.people(),
            unread: last.entry.counts(),
            muted: false,
            last: Some(last),
        },
    }
}

fn people_of(tx: &mut Tx<'_>, items: &[Conversation]) -> Result<Vec<Person>> {
    let named = items.iter().flat_map(|item| {
        let last = item.last.iter().flat_map(|last| last.envelope.people());
        item.participants.iter().copied().chain(last)
    });
    messages::people(tx, named)
}

/// A conversation of which the mailbox holds a message, in the trash too; and who is named in it.
pub fn read(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: ConversationId,
) -> Result<Option<(Conversation, Vec<Person>)>> {
    let thread = threads::find(tx, owner, id)?;
    let entry = match &thread {
        None => entries::single(tx, owner, id)?,
        Some(Thread { last: Some(last), .. }) => entries::find(tx, owner, *last)?,
        Some(_) => None,
    };
    let entries: Vec<_> = entry.into_iter().collect();
    let last = messages::views(tx, &entries, Text::Snippet)?.pop();
    let item = match (thread, last) {
        (None, None) => return Ok(None),
        (thread, Some(last)) => {
            let listed = last.entry.trashed_at.is_none();
            let mut item = conversation(thread, last);
            item.last = item.last.filter(|_| listed);
            item
        }
        (Some(thread), None) => Conversation {
            id,
            subject: thread.subject,
            participants: thread.participants,
            last: None,
            unread: thread.unread,
            muted: thread.muted,
        },
    };
    let people = people_of(tx, std::slice::from_ref(&item))?;
    Ok(Some((item, people)))
}

/// Mutes a conversation or ends that. Repeating it is success.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox holds nothing of it.
pub fn mute(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    id: ConversationId,
    muted: bool,
) -> Result<()> {
    mailbox::advance(tx, owner)?;
    let thread = threads::find(tx, owner, id)?;
    if thread.is_none() {
        if entries::single(tx, owner, id)?.is_none() {
            return Err(Error::NotFound);
        }
        threads::begin(tx, owner, id, None)?;
    }
    if thread.is_none_or(|thread| thread.muted != muted) {
        tx.execute(
            "UPDATE threads SET muted_at = ?3 WHERE owner_id = ?1 AND conversation_id = ?2",
            &params![owner, id, muted.then_some(cx.now)],
        )?;
    }
    Ok(())
}

/// Something that is done to all messages of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Marks all as read.
    Read,
    /// Moves all to the trash.
    Trash,
}

/// Does it to up to `limit` messages of a conversation, the newest first and those below `before`.
/// Returns from where to go on, where there may be more.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox holds nothing of it.
pub fn sweep(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    id: ConversationId,
    sweep: Sweep,
    (before, limit): (Option<MessageId>, usize),
) -> Result<Option<MessageId>> {
    mailbox::lock(tx, owner)?;
    if !mailbox::holds_conversation(tx, owner, id)? {
        return Err(Error::NotFound);
    }
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut todo = match sweep {
        // What is marked leaves these places, so that the next step finds what follows.
        Sweep::Read => tx.query(
            select_entries!(
                "WHERE owner_id = ?1 AND place IN (3, 7, 15) AND conversation_id = ?2 LIMIT ?3"
            ),
            &params![owner, id, most],
            entries::entry,
        )?,
        Sweep::Trash => tx.query(
            select_entries!(
                "WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1
                 AND message_id < ?3 ORDER BY message_id DESC LIMIT ?4"
            ),
            &params![owner, id, before.unwrap_or(MessageId::ABOVE_ALL), most],
            entries::entry,
        )?,
    };
    let next = todo.last().filter(|_| todo.len() == limit).map(|last| last.message);
    if before.is_none() {
        todo.extend(entries::single(tx, owner, id)?);
    }
    let marks = match sweep {
        Sweep::Read => Marks { read: Some(true), ..Marks::default() },
        Sweep::Trash => Marks { trashed: Some(true), ..Marks::default() },
    };
    for entry in &todo {
        messages::apply(tx, cx, owner, entry, marks)?;
    }
    Ok(next)
}

/// Marks the newest message that was received, and is not in the trash, as unread.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox holds nothing of it.
pub fn mark_unread(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, id: ConversationId) -> Result<()> {
    mailbox::lock(tx, owner)?;
    let newest = match entries::single(tx, owner, id)? {
        Some(single) => Some(single).filter(|single| single.trashed_at.is_none()),
        None => tx.query_opt(
            select_entries!(
                "WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1 AND role <> 2
                 AND trashed_at IS NULL ORDER BY message_id DESC LIMIT 1"
            ),
            &params![owner, id],
            entries::entry,
        )?,
    };
    let marks = Marks { read: Some(false), ..Marks::default() };
    match newest {
        Some(entry) => messages::apply(tx, cx, owner, &entry, marks).map(drop),
        None if mailbox::holds_conversation(tx, owner, id)? => Ok(()),
        None => Err(Error::NotFound),
    }
}
