//! Conversations: messages that answer each other, as one mailbox sees them.
//!
//! A conversation that is one message to one recipient (a *single*) needs no row. The first reply,
//! several recipients or being muted give it one in the table `conversations`.

use db::{Tx, params};

use crate::accounts::modseq;
use crate::accounts::users::{self, Person};
use crate::base::{ConversationId, Cx, Error, MessageId, Missing, Result, UserId};
use crate::mailbox::conversation_rows::{self, ConversationRow, has_row, select_conversations};
use crate::mailbox::entries::{self, Entry, select_entries};
use crate::mailbox::envelopes::{self, BodyPart, Envelope, NAMED};
use crate::mailbox::lists::{self, Page};
use crate::mailbox::messages::{self, Marks, Message};
use crate::mailbox::place::places;

/// A conversation as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The id.
    pub id: ConversationId,
    /// The subject of its first message, as far as the owner has it.
    pub subject: String,
    /// The people whom its messages name, ascending by id; at most 200, in lists the first five.
    pub participants: Vec<UserId>,
    /// How many they are.
    pub participants_count: usize,
    /// The newest message that is not in the trash, if there is one, with a snippet.
    pub last: Option<Message>,
    /// Unread messages in the inbox.
    pub unread: i64,
    /// Whether its owner wants no notifications of it.
    pub muted: bool,
}

impl Conversation {
    /// What it shows besides names: it changes whenever the newest message or its marks, the unread
    /// count or the muting change.
    pub fn state(&self) -> String {
        let last = self.last.as_ref().map(|last| &last.entry);
        let (id, modseq) = last.map_or((0, 0), |last| (last.message.get(), last.changed_modseq));
        format!("{id}.{modseq}.{}.{}", self.unread, u8::from(self.muted))
    }

    /// A tag that changes whenever something that it shows changes: the state, `-`, the names.
    pub fn tag(&self, people: &[Person]) -> String {
        users::names_tag(self.state(), people)
    }
}

/// Conversations that have a message outside the trash, by their newest message, newest first: up
/// to `limit` of those whose newest message is below `before`. Of these messages, `part` is no more
/// than a snippet and metadata.
pub fn list(
    tx: &mut Tx<'_>,
    owner: UserId,
    part: BodyPart,
    (before, limit): (Option<MessageId>, usize),
) -> Result<Page<Conversation>> {
    let modseq = lists::state(tx, owner, before)?;
    let below = before.unwrap_or(MessageId::ABOVE_ALL);
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let singles = lists::singles(tx, owner, below, limit + 1)?;
    let rows = tx.query(
        select_conversations!(
            "WHERE owner_id = ?1 AND last_message_id IS NOT NULL AND last_message_id < ?2
             ORDER BY last_message_id DESC LIMIT ?3"
        ),
        &params![owner, below, most],
        conversation_rows::row,
    )?;
    let mut heads: Vec<(MessageId, Option<ConversationRow>)> =
        singles.iter().map(|entry| (entry.message, None)).collect();
    heads.extend(rows.into_iter().filter_map(|row| Some((row.last?, Some(row)))));
    heads.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    let more = heads.len() > limit;
    heads.truncate(limit);
    let next = heads.last().filter(|_| more).map(|(last, _)| *last);

    let wanted = |entry: &&Entry| heads.iter().any(|(last, _)| *last == entry.message);
    let mut lasts: Vec<Entry> = singles.iter().filter(wanted).copied().collect();
    lasts.extend(last_entries(tx, owner, heads.iter().filter(|(_, row)| row.is_some()))?);
    let mut lasts = messages::views(tx, &lasts, part)?;
    let items = heads.into_iter().filter_map(|(id, row)| {
        let at = lasts.iter().position(|last| last.entry.message == id)?;
        let mut item = conversation(owner, row, lasts.swap_remove(at));
        item.participants.truncate(NAMED);
        Some(item)
    });
    let items: Vec<_> = items.collect();
    let people = people_of(tx, &items)?;
    Ok(Page { items, next, people, modseq })
}

/// The last entries of conversations that have a row, in one statement.
fn last_entries<'a>(
    tx: &mut Tx<'_>,
    owner: UserId,
    heads: impl Iterator<Item = &'a (MessageId, Option<ConversationRow>)>,
) -> Result<Vec<Entry>> {
    let ids: Vec<i64> = heads.map(|(last, _)| last.get()).collect();
    Ok(tx.query(
        select_entries!(
            "WHERE owner_id = ?1 AND place IN (",
            places!(inbox_read_row inbox_unread_row archive_read_row archive_unread_row sent_row),
            ") AND message_id IN rarray(?2)"
        ),
        &params![owner, &*ids],
        entries::entry,
    )?)
}

fn conversation(owner: UserId, row: Option<ConversationRow>, mut last: Message) -> Conversation {
    let mut item = match row {
        Some(row) => row.into(),
        None => Conversation {
            id: last.entry.conversation,
            subject: last.envelope.subject.clone(),
            participants_count: last.envelope.people().len(),
            participants: last.envelope.people(),
            unread: last.entry.unread_count(),
            muted: false,
            last: None,
        },
    };
    last.envelope.shorten(owner);
    item.last = Some(last);
    item
}

impl From<ConversationRow> for Conversation {
    fn from(row: ConversationRow) -> Self {
        Self {
            id: row.conversation,
            subject: row.subject,
            participants_count: row.participants.len(),
            participants: row.participants,
            last: None,
            unread: row.unread,
            muted: row.muted,
        }
    }
}

fn people_of(tx: &mut Tx<'_>, items: &[Conversation]) -> Result<Vec<Person>> {
    let named = items.iter().flat_map(|item| {
        let last = item.last.iter().flat_map(|last| last.envelope.people());
        item.participants.iter().copied().chain(last)
    });
    messages::people(tx, named)
}

/// A conversation of which the mailbox holds a message, even in the trash, with the people that it
/// names.
pub fn read(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: ConversationId,
) -> Result<Option<(Conversation, Vec<Person>)>> {
    let row = conversation_rows::find(tx, owner, id)?.filter(|row| !row.is_emptied());
    let entry = match &row {
        None => entries::single(tx, owner, id)?,
        Some(ConversationRow { last: Some(last), .. }) => entries::find(tx, owner, *last)?,
        Some(_) => None,
    };
    let entries: Vec<_> = entry.into_iter().collect();
    let last = messages::views(tx, &entries, BodyPart::Snippet)?.pop();
    let item = match (row, last) {
        (None, None) => return Ok(None),
        (row, Some(last)) => {
            let listed = last.entry.trashed_at.is_none();
            let mut item = conversation(owner, row, last);
            item.last = item.last.filter(|_| listed);
            item
        }
        (Some(row), None) => row.into(),
    };
    let people = people_of(tx, std::slice::from_ref(&item))?;
    Ok(Some((item, people)))
}

/// Mutes or unmutes a conversation. Repeating it is success, and changes nothing. A mute lasts as
/// long as the mailbox, also while it holds nothing of the conversation.
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
    modseq::lock(tx, owner)?;
    let row = conversation_rows::find(tx, owner, id)?.filter(|row| !row.is_emptied());
    let single = if row.is_none() { entries::single(tx, owner, id)? } else { None };
    if row.is_none() && single.is_none() {
        return Err(Error::NotFound(Missing::Conversation));
    }
    if row.is_some_and(|row| row.muted) == muted {
        return Ok(());
    }
    modseq::advance(tx, owner)?;
    if let Some(single) = single {
        create_row(tx, owner, &single, &[])?;
    }
    tx.execute(
        "UPDATE conversations SET muted_at = ?3 WHERE owner_id = ?1 AND conversation_id = ?2",
        &params![owner, id, muted.then_some(cx.now)],
    )?;
    Ok(())
}

/// Locks the mailbox, and confirms that `allowed` accepts the state of a conversation.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox holds nothing of it; [`Error::StaleTag`].
pub fn confirm_state(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: ConversationId,
    allowed: &dyn Fn(&str) -> bool,
) -> Result<()> {
    modseq::lock(tx, owner)?;
    let (item, _) = read(tx, owner, id)?.ok_or(Error::NotFound(Missing::Conversation))?;
    if allowed(&item.state()) { Ok(()) } else { Err(Error::StaleTag) }
}

/// What to do with all messages of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationAction {
    /// Mark them as read.
    Read,
    /// Move them to the trash.
    Trash,
}

/// Applies an action to up to `limit` messages of a conversation that are below `before`. Returns
/// below which message to continue where there may be more; what comes meanwhile is not below it.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox holds nothing of it.
pub fn apply_to_all(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    id: ConversationId,
    action: ConversationAction,
    (before, limit): (Option<MessageId>, usize),
) -> Result<Option<MessageId>> {
    modseq::lock(tx, owner)?;
    let below = before.unwrap_or(MessageId::ABOVE_ALL);
    let (todo, next) = if conversation_rows::exists(tx, owner, id)? {
        some_of(tx, owner, id, action, (below, limit))?
    } else {
        let single = entries::single(tx, owner, id)?;
        let single = single.ok_or(Error::NotFound(Missing::Conversation))?;
        (Some(single).filter(|single| single.message < below).into_iter().collect(), None)
    };
    let marks = match action {
        ConversationAction::Read => Marks { read: Some(true), ..Marks::default() },
        ConversationAction::Trash => Marks { trashed: Some(true), ..Marks::default() },
    };
    for entry in &todo {
        messages::apply(tx, cx, owner, entry, marks)?;
    }
    Ok(next)
}

/// Whether a mailbox holds a message of the conversation.
fn holds_conversation(tx: &mut Tx<'_>, owner: UserId, id: ConversationId) -> Result<bool> {
    Ok(conversation_rows::exists(tx, owner, id)? || entries::single(tx, owner, id)?.is_some())
}

/// Entries of a conversation with a row that an action applies to, and where to continue.
fn some_of(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: ConversationId,
    action: ConversationAction,
    (below, limit): (MessageId, usize),
) -> Result<(Vec<Entry>, Option<MessageId>)> {
    let todo = match action {
        // What is marked leaves these places, so the next step finds what follows.
        ConversationAction::Read => tx.query(
            select_entries!(
                "WHERE owner_id = ?1 AND place IN (",
                places!(inbox_unread_row archive_unread_row trash_unread_row),
                ") AND conversation_id = ?2 AND message_id < ?3 LIMIT ?4"
            ),
            &params![owner, id, below, i64::try_from(limit).unwrap_or(i64::MAX)],
            entries::entry,
        )?,
        ConversationAction::Trash => newest_of(tx, owner, id, below, limit)?,
    };
    let next = match action {
        _ if todo.len() < limit => None,
        ConversationAction::Read if below < MessageId::ABOVE_ALL => Some(below),
        ConversationAction::Read => {
            let newest = newest_of(tx, owner, id, below, 1)?;
            newest.first().map(|newest| newest.message.next())
        }
        ConversationAction::Trash => todo.last().map(|last| last.message),
    };
    Ok((todo, next))
}

/// The newest entries below a message of a conversation that has a row, newest first.
fn newest_of(
    tx: &mut Tx<'_>,
    owner: UserId,
    id: ConversationId,
    below: MessageId,
    most: usize,
) -> Result<Vec<Entry>> {
    Ok(tx.query(
        select_entries!(
            "WHERE owner_id = ?1 AND conversation_id = ?2 AND ",
            has_row!(),
            " AND message_id < ?3 ORDER BY message_id DESC LIMIT ?4"
        ),
        &params![owner, id, below, i64::try_from(most).unwrap_or(i64::MAX)],
        entries::entry,
    )?)
}

/// Marks the newest received message below `before` and outside the trash as unread.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox holds nothing of it.
pub fn mark_unread(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    id: ConversationId,
    before: Option<MessageId>,
) -> Result<()> {
    modseq::lock(tx, owner)?;
    let below = before.unwrap_or(MessageId::ABOVE_ALL);
    let newest = match entries::single(tx, owner, id)? {
        Some(single) => {
            Some(single).filter(|single| single.trashed_at.is_none() && single.message < below)
        }
        None => tx.query_opt(
            select_entries!(
                "WHERE owner_id = ?1 AND conversation_id = ?2 AND ",
                has_row!(),
                " AND message_id < ?3 AND role <> 2 AND trashed_at IS NULL
                 ORDER BY message_id DESC LIMIT 1"
            ),
            &params![owner, id, below],
            entries::entry,
        )?,
    };
    let marks = Marks { read: Some(false), ..Marks::default() };
    match newest {
        Some(entry) => messages::apply(tx, cx, owner, &entry, marks).map(drop),
        None if holds_conversation(tx, owner, id)? => Ok(()),
        None => Err(Error::NotFound(Missing::Conversation)),
    }
}

/// Gives the conversation of a reply a row in each of some mailboxes, or adds the people of the
/// reply to it.
pub(crate) fn add_reply(tx: &mut Tx<'_>, owners: &[UserId], reply: &Envelope) -> Result<()> {
    let (conversation, people) = (reply.conversation, reply.people());
    let rows = conversation_rows::find_in(tx, owners, conversation)?;
    conversation_rows::add_participants(tx, &rows, (conversation, &reply.subject), &people)?;
    let is_new = |owner: &UserId| rows.iter().all(|(of, _)| of != owner);
    let new: Vec<_> = owners.iter().copied().filter(is_new).collect();
    if new.is_empty() {
        return Ok(());
    }
    let mut singles = entries::find_in(tx, &new, conversation.first())?;
    singles.retain(|(_, entry)| !entry.has_conversation_row);
    for (owner, single) in &singles {
        create_row(tx, *owner, single, &people)?;
    }
    let holds_none = |owner: &UserId| singles.iter().all(|(of, _)| of != owner);
    let others: Vec<_> = new.into_iter().filter(holds_none).map(|owner| (owner, 0)).collect();
    conversation_rows::insert(tx, &others, (conversation, None), (&reply.subject, &people))
}

/// Creates the row of a conversation of which a mailbox holds the first message alone.
fn create_row(tx: &mut Tx<'_>, owner: UserId, single: &Entry, others: &[UserId]) -> Result<()> {
    let first = envelopes::load_one(tx, single.message)?;
    let mut people = [&first.people(), others].concat();
    people.sort();
    people.dedup();
    entries::move_to_row(tx, owner, single)?;
    let last = single.trashed_at.is_none().then_some(single.message);
    let (rows, what) = ([(owner, single.unread_count())], (single.conversation, last));
    conversation_rows::insert(tx, &rows, what, (&first.subject, &people))
}
