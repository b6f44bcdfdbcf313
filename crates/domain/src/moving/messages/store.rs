//! Messages as they are stored, many in a few statements.

mod mailboxes;

use std::collections::hash_map::Entry as Found;
use std::collections::{BTreeSet, HashMap};

use db::{Tx, params};

use self::mailboxes::Mailboxes;
use super::super::line::{MessageLine, State};
use super::super::people::People;
use super::super::spool::Turn;
use crate::base::id::join_ids;
use crate::base::{ConversationId, MessageId, Result, Time, UserId};
use crate::mailbox::conversation_rows::{self, ConversationRow, PARTICIPANTS};
use crate::mailbox::conversations;
use crate::mailbox::entries::{self, Entry};
use crate::mailbox::envelopes::Envelope;
use crate::mailbox::sending::{ClientId, Metadata};

/// How many rows of conversations are kept at a time.
const KEPT: usize = 50_000;

/// A message with its ids.
struct New<'m> {
    id: MessageId,
    line: &'m MessageLine,
    from: UserId,
    to: Vec<UserId>,
    conversation: ConversationId,
    in_reply_to: Option<MessageId>,
    /// Its conversation has a row in each mailbox that holds it.
    has_row: bool,
    /// What it answers, or goes on with, was stored before.
    follows: bool,
    /// Its sender has been erased, and their contacts with them.
    is_of_erased: bool,
    /// The mailboxes that hold it, with what they say of it.
    held: Vec<(UserId, Option<&'m State>)>,
}

/// Messages that are written in one transaction.
pub(super) struct Batch<'m> {
    source: &'m str,
    last: i64,
    ids: HashMap<String, MessageId>,
    conversations: HashMap<MessageId, ConversationId>,
    /// Names of conversations whose first message never came.
    reserved: Vec<(String, MessageId)>,
    new: Vec<New<'m>>,
}

impl<'m> Batch<'m> {
    pub(super) fn new(source: &'m str, last: i64, ids: HashMap<String, MessageId>) -> Self {
        let (conversations, reserved, new) = (HashMap::new(), vec![], vec![]);
        Self { source, last, ids, conversations, reserved, new }
    }

    /// The next id: the number that is asked for, if that is free.
    fn next(&mut self, number: Option<i64>) -> MessageId {
        self.last = number.filter(|number| *number > self.last).unwrap_or(self.last + 1);
        MessageId::stored(self.last)
    }

    pub(super) fn add(
        &mut self,
        tx: &mut Tx<'_>,
        people: &People,
        turn: &Turn,
        line: &'m MessageLine,
    ) -> Result<()> {
        let from = people.id(&line.from)?;
        let mut to: Vec<UserId> = Vec::with_capacity(line.to.len());
        for of in &line.to {
            let user = people.id(of)?;
            if !to.contains(&user) {
                to.push(user);
            }
        }
        let parent = line.in_reply_to.as_ref().and_then(|name| self.ids.get(name).copied());
        let first = line.conversation.as_ref().and_then(|name| self.ids.get(name).copied());
        let follows = parent.or(first).is_some_and(|of| !self.conversations.contains_key(&of));
        let begun = match (parent, &line.conversation) {
            (Some(parent), _) => Some(self.conversation(tx, parent)?),
            (None, Some(name)) => Some(self.named(tx, name)?),
            (None, None) => None,
        };
        let id = self.next(turn.number);
        let conversation = begun.unwrap_or(id.begins());
        self.ids.insert(line.external_id.clone(), id);
        self.conversations.insert(id, conversation);
        let mut states = HashMap::new();
        for state in &line.state {
            states.insert(people.id(&state.user)?, state);
        }
        let owners = std::iter::once(from).chain(to.iter().copied().filter(|to| *to != from));
        let held = owners
            .map(|owner| (owner, states.get(&owner).copied()))
            .filter(|(owner, state)| {
                !people.is_erased(*owner) && !state.is_some_and(|state| state.is_deleted)
            })
            .collect();
        let has_row = begun.is_some() || to.len() > 1 || turn.has_replies;
        let in_reply_to = parent;
        self.new.push(New {
            id,
            line,
            from,
            to,
            conversation,
            in_reply_to,
            has_row,
            follows,
            is_of_erased: people.is_erased(from),
            held,
        });
        Ok(())
    }

    /// The conversation of a message that is stored, or that never came: then it is its own.
    fn conversation(&mut self, tx: &mut Tx<'_>, message: MessageId) -> Result<ConversationId> {
        if let Some(known) = self.conversations.get(&message) {
            return Ok(*known);
        }
        let stored = tx.query_opt(
            "SELECT conversation_id FROM messages WHERE id = ?1",
            &params![message],
            |row| Ok(row.opt_int(0)?.map(ConversationId::stored)),
        )?;
        Ok(stored.flatten().unwrap_or(message.begins()))
    }

    /// The conversation of that name, which is the external id of its first message.
    fn named(&mut self, tx: &mut Tx<'_>, name: &str) -> Result<ConversationId> {
        if let Some(first) = self.ids.get(name).copied() {
            return self.conversation(tx, first);
        }
        let first = self.next(None);
        self.ids.insert(name.to_owned(), first);
        self.conversations.insert(first, first.begins());
        self.reserved.push((name.to_owned(), first));
        Ok(first.begins())
    }

    /// The mailboxes that are written, ascending.
    pub(super) fn owners(&self) -> Vec<UserId> {
        let all = self.new.iter().flat_map(|new| new.held.iter().map(|(owner, _)| *owner));
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Writes everything. The mailboxes are locked.
    pub(super) fn write(self, tx: &mut Tx<'_>, rows: &mut Rows) -> Result<()> {
        let mut mailboxes = Mailboxes::load(tx, &self.owners())?;
        self.store(tx)?;
        let mut entries = Vec::new();
        for new in &self.new {
            for (owner, state) in &new.held {
                let mut entry = new.entry(*owner, *state);
                if new.has_row {
                    let row = rows.of(tx, *owner, new)?;
                    let began = row.add(new, &entry);
                    mailboxes.of(*owner).unread_conversations += began;
                } else {
                    mailboxes.of(*owner).unread_conversations += entry.unread_count();
                }
                let mailbox = mailboxes.of(*owner);
                mailbox.count(new.line.sent_at, &entry);
                entry.created_modseq = mailbox.modseq;
                entry.changed_modseq = mailbox.modseq;
                entries.push((*owner, entry));
            }
        }
        entries::insert_moved(tx, &entries)?;
        self.record_contacts(tx)?;
        rows.write(tx)?;
        mailboxes.write(tx)
    }

    fn store(&self, tx: &mut Tx<'_>) -> Result<()> {
        let kept = self.new.iter().filter(|new| !new.held.is_empty());
        let others: Vec<Option<String>> =
            kept.clone().map(|new| (new.to.len() > 1).then(|| join_ids(&new.to[1..]))).collect();
        let messages = kept.zip(&others).map(|(new, others)| {
            let line = new.line;
            params![
                new.id,
                new.from,
                new.to[0],
                others.as_deref(),
                (new.conversation != new.id.begins()).then_some(new.conversation),
                new.in_reply_to,
                line.subject.as_str(),
                line.body.as_str(),
                line.sent_at,
                i64::try_from(new.held.len()).unwrap_or(i64::MAX),
                line.client_id.as_ref().filter(|_| new.held[0].0 == new.from).map(ClientId::as_str),
                line.metadata.as_ref().map(Metadata::as_str)
            ]
        });
        tx.batch(
            "INSERT INTO messages (id, sender_id, recipient_id, other_recipients, conversation_id,
                 in_reply_to, subject, body, sent_at, mailbox_count, client_id, metadata)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            &messages.collect::<Vec<_>>(),
        )?;
        let own = self.new.iter().map(|new| (new.line.external_id.as_str(), new.id));
        let reserved = self.reserved.iter().map(|(name, id)| (name.as_str(), *id));
        let names: Vec<_> =
            own.chain(reserved).map(|(name, id)| params![self.source, name, id]).collect();
        tx.batch(
            "INSERT INTO imported_messages (source, external_id, message_id) VALUES (?1, ?2, ?3)",
            &names,
        )?;
        // SQLite knows by itself which ids were given.
        tx.lock(
            "SELECT setval(pg_get_serial_sequence('messages', 'id'), greatest(?1, coalesce(
                 pg_sequence_last_value(pg_get_serial_sequence('messages', 'id')::regclass), 0)))",
            &params![self.last],
        )?;
        Ok(())
    }

    /// Records whom senders have written to, but for those from whom a message was withdrawn.
    fn record_contacts(&self, tx: &mut Tx<'_>) -> Result<()> {
        let mut contacts = Vec::new();
        let kept = self.new.iter().filter(|new| !new.held.is_empty() && !new.is_of_erased);
        for new in kept {
            let holds = |user: UserId| new.held.iter().any(|(owner, _)| *owner == user);
            for to in new.to.iter().filter(|to| **to != new.from && holds(**to)) {
                contacts.push(params![new.from, *to, new.line.sent_at, new.id]);
            }
        }
        tx.batch(
            "INSERT INTO contacts (owner_id, peer_id, first_at, message_id)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT (owner_id, peer_id) DO NOTHING",
            &contacts,
        )?;
        Ok(())
    }
}

impl New<'_> {
    fn entry(&self, owner: UserId, state: Option<&State>) -> Entry {
        let sent = owner == self.from;
        let received = self.to.contains(&owner);
        let other = if sent { self.to[0] } else { self.from };
        let of_received = |time: Option<Time>| time.filter(|_| received);
        Entry {
            message: self.id,
            conversation: self.conversation,
            received,
            sent,
            peer: (self.to.len() == 1).then_some(other),
            read_at: of_received(state.and_then(|state| state.read_at)),
            first_read_at: of_received(state.and_then(|state| state.first_read_at)),
            starred_at: state.and_then(|state| state.starred_at),
            archived_at: state.and_then(|state| state.archived_at),
            trashed_at: state.and_then(|state| state.trashed_at),
            created_modseq: 0,
            changed_modseq: 0,
            has_conversation_row: self.has_row,
        }
    }

    fn people(&self) -> BTreeSet<UserId> {
        self.to.iter().copied().chain([self.from]).collect()
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            id: self.id,
            from: self.from,
            to: self.to.clone(),
            to_count: self.to.len(),
            conversation: self.conversation,
            in_reply_to: self.in_reply_to,
            subject: self.line.subject.as_str().to_owned(),
            body: String::new(),
            sent_at: self.line.sent_at,
            client_id: None,
            metadata: None,
            via: None,
        }
    }
}

/// Rows of conversations as they are, and as they will be.
#[derive(Default)]
pub struct Rows(HashMap<(UserId, ConversationId), Kept>);

#[derive(Default)]
struct Kept {
    last: Option<MessageId>,
    unread: i64,
    subject: String,
    people: BTreeSet<UserId>,
    has_written: bool,
    is_changed: bool,
}

impl Rows {
    fn of(&mut self, tx: &mut Tx<'_>, owner: UserId, new: &New<'_>) -> Result<&mut Kept> {
        let key = (owner, new.conversation);
        match self.0.entry(key) {
            Found::Occupied(known) => Ok(known.into_mut()),
            Found::Vacant(place) => Ok(place.insert(Kept::of(load(tx, owner, new)?))),
        }
    }

    fn write(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let changed = self.0.iter_mut().filter(|(_, row)| row.is_changed);
        let mut people = Vec::new();
        let mut rows: Vec<_> = Vec::new();
        for (key, row) in changed {
            row.is_changed = false;
            let all: Vec<_> = row.people.iter().copied().take(PARTICIPANTS).collect();
            people.push((*key, join_ids(&all), &*row));
        }
        people.sort_by_key(|(key, ..)| *key);
        for ((owner, conversation), people, row) in &people {
            rows.push(params![
                *owner,
                *conversation,
                row.last,
                row.unread,
                row.subject.as_str(),
                people.as_str(),
                row.has_written.then_some(1_i64)
            ]);
        }
        tx.batch(
            "INSERT INTO conversations (owner_id, conversation_id, last_message_id, unread, subject,
                 participants, has_written) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (owner_id, conversation_id) DO UPDATE SET last_message_id = ?3,
                 unread = ?4, subject = ?5, participants = ?6,
                 has_written = coalesce(?7, conversations.has_written)",
            &rows,
        )?;
        if self.0.len() > KEPT {
            self.0.clear();
        }
        Ok(())
    }

    /// Forgets everything, as after a transaction that failed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The row that a conversation has before a message is added to it.
fn load(tx: &mut Tx<'_>, owner: UserId, new: &New<'_>) -> Result<Option<ConversationRow>> {
    if new.conversation == new.id.begins() {
        return Ok(None);
    }
    let row = conversation_rows::find(tx, owner, new.conversation)?;
    // What it answers may stand alone until now.
    if row.is_none() && new.follows && entries::single(tx, owner, new.conversation)?.is_some() {
        conversations::add_reply(tx, &[owner], &new.envelope())?;
        return conversation_rows::find(tx, owner, new.conversation);
    }
    Ok(row)
}

impl Kept {
    fn of(row: Option<ConversationRow>) -> Self {
        row.filter(|row| !row.is_emptied()).map_or_else(Self::default, |row| Self {
            last: row.last,
            unread: row.unread,
            subject: row.subject,
            people: row.participants.into_iter().collect(),
            has_written: false,
            is_changed: false,
        })
    }

    /// Adds a message. Returns the change in the number of conversations with something unread.
    fn add(&mut self, new: &New<'_>, entry: &Entry) -> i64 {
        if self.people.is_empty() {
            new.line.subject.as_str().clone_into(&mut self.subject);
        }
        self.people.extend(new.people());
        if entry.trashed_at.is_none() {
            self.last = Some(new.id);
        }
        self.has_written |= entry.sent;
        let before = self.unread > 0;
        self.unread += entry.unread_count();
        self.is_changed = true;
        i64::from(self.unread > 0) - i64::from(before)
    }
}
