//! What has to be in the database: the product once more, as plainly as it can be said.

use std::collections::{BTreeMap, BTreeSet};

use domain::entries::{Entry, Folder};
use domain::envelopes::Envelope;
use domain::messages::Marks;
use domain::sending::{Refusal, RefusedRecipient};
use domain::users::AcceptFrom;
use domain::{ConversationId, Error, MessageId, Time, UserId};

use super::copies::Copy;

/// When a message was marked, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marked {
    pub read: Option<Time>,
    pub starred: Option<Time>,
    pub archived: Option<Time>,
    pub trashed: Option<Time>,
}

/// A message in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub received: bool,
    pub sent: bool,
    pub marked: Marked,
    /// Ever, though it may be unread again.
    pub was_read: bool,
}

impl Held {
    pub(super) fn of(entry: &Entry) -> Self {
        let marked = Marked {
            read: entry.read_at,
            starred: entry.starred_at,
            archived: entry.archived_at,
            trashed: entry.trashed_at,
        };
        let was_read = entry.was_read();
        Self { received: entry.received, sent: entry.sent, marked, was_read }
    }

    pub(super) fn folder(&self) -> Folder {
        match self.marked {
            Marked { trashed: Some(_), .. } => Folder::Trash,
            Marked { archived: Some(_), .. } => Folder::Archive,
            _ if self.received => Folder::Inbox,
            _ => Folder::Sent,
        }
    }

    pub(super) fn is_unread(&self) -> bool {
        self.received && self.marked.read.is_none()
    }

    pub(super) fn counts(&self) -> bool {
        self.is_unread() && self.folder() == Folder::Inbox
    }

    fn mark(&mut self, marks: Marks, now: Time) {
        let received = self.received;
        let Marked { read, starred, archived, trashed } = &mut self.marked;
        for (mark, since) in [
            (marks.read.filter(|_| received), read),
            (marks.starred, starred),
            (marks.archived, archived),
            (marks.trashed, trashed),
        ] {
            match mark {
                Some(true) if since.is_none() => *since = Some(now),
                Some(false) => *since = None,
                _ => {}
            }
        }
        self.was_read |= self.marked.read.is_some();
    }
}

/// What a mailbox knows of a conversation that is more than its first message alone. Without
/// participants, only that it is muted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thread {
    pub subject: String,
    pub participants: BTreeSet<UserId>,
    pub muted: bool,
    /// The owner has deleted something that they wrote in it.
    pub wrote: bool,
}

/// Each message that a client sees, and how often it has changed by then.
pub(super) type Seen = BTreeMap<MessageId, usize>;

#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    pub modseq: i64,
    pub closed: bool,
    pub erased: bool,
    pub accept_from: AcceptFrom,
    pub blocks: BTreeSet<UserId>,
    /// Whom the owner has written to, and by which message.
    pub contacts: BTreeMap<UserId, MessageId>,
    pub held: BTreeMap<MessageId, Held>,
    pub changes: Vec<MessageId>,
    pub threads: BTreeMap<ConversationId, Thread>,
    /// What a client saw at each value of the modseq, and until when.
    pub seen: BTreeMap<i64, (Time, Seen)>,
    /// What a client has that asks what has changed.
    pub copy: Copy,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self {
            modseq: 0,
            closed: false,
            erased: false,
            accept_from: AcceptFrom::Everyone,
            blocks: BTreeSet::new(),
            contacts: BTreeMap::new(),
            held: BTreeMap::new(),
            changes: Vec::new(),
            threads: BTreeMap::new(),
            seen: BTreeMap::new(),
            copy: Copy::default(),
        }
    }

    pub(super) fn sees(&self) -> Seen {
        let changes = |id| self.changes.iter().filter(|changed| **changed == id).count();
        self.held.keys().map(|id| (*id, changes(*id))).collect()
    }
}

/// Whom a draft names: a user, or nobody.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named {
    Id(UserId),
    Name(Option<UserId>),
}

/// Who gets a message, and who does not.
type Outcome = (Vec<UserId>, Vec<(RefusedRecipient, Refusal)>);

/// All that was ever sent, and all mailboxes.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub sent: BTreeMap<MessageId, Envelope>,
    pub mailboxes: BTreeMap<UserId, Mailbox>,
    /// What was withdrawn from whom before they ever read it.
    pub unsent: BTreeSet<(MessageId, UserId)>,
}

impl Model {
    pub(super) fn held(&self, owner: UserId, id: MessageId) -> Option<&Held> {
        self.mailboxes[&owner].held.get(&id)
    }

    pub(super) fn of(&mut self, owner: UserId) -> &mut Mailbox {
        self.mailboxes.get_mut(&owner).expect("it is one of the users")
    }

    pub(super) fn holds_conversation(&self, owner: UserId, id: ConversationId) -> bool {
        self.mailboxes[&owner].held.keys().any(|held| self.sent[held].conversation == id)
    }

    /// The messages of a conversation in a mailbox, ascending.
    pub(super) fn conversation(&self, owner: UserId, id: ConversationId) -> Vec<MessageId> {
        let held = self.mailboxes[&owner].held.keys();
        held.filter(|held| self.sent[held].conversation == id).copied().collect()
    }

    /// What becomes of a draft, or why nobody gets it.
    pub(super) fn outcome(
        &self,
        sender: UserId,
        to: &[Named],
        parent: Option<MessageId>,
    ) -> Result<Outcome, Error> {
        if self.mailboxes[&sender].closed {
            return Err(Error::NotLoggedIn);
        }
        let parent = parent.map(|id| &self.sent[&id]);
        let (mut accepted, mut refused, mut named) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut everybody = to.to_vec();
        if let (true, Some(parent)) = (to.is_empty(), parent) {
            everybody = parent.people().into_iter().map(Named::Id).collect();
            everybody.retain(|other| !matches!(other, Named::Id(id) if *id == sender));
            if everybody.is_empty() {
                everybody.push(Named::Id(sender));
            }
        }
        for (at, name) in everybody.iter().enumerate() {
            let whom = match *name {
                Named::Id(user) if to.is_empty() => RefusedRecipient::FromParent(user),
                _ => RefusedRecipient::Named(at),
            };
            let (Named::Id(user) | Named::Name(Some(user))) = *name else {
                refused.push((whom, Refusal::Unknown));
                continue;
            };
            if !named.insert(user) {
                continue;
            }
            match self.mailboxes.get(&user) {
                None => refused.push((whom, Refusal::Unknown)),
                Some(_) if self.mailboxes[&sender].blocks.contains(&user) => {
                    refused.push((whom, Refusal::BlockedByYou));
                }
                Some(_) if self.admits(user, sender, parent) => accepted.push(user),
                Some(_) => refused.push((whom, Refusal::Unavailable)),
            }
        }
        if accepted.is_empty() {
            return Err(Error::ReachesNobody(refused));
        }
        Ok((accepted, refused))
    }

    fn admits(&self, owner: UserId, sender: UserId, parent: Option<&Envelope>) -> bool {
        let mailbox = &self.mailboxes[&owner];
        if owner == sender {
            return true;
        }
        if mailbox.closed || mailbox.blocks.contains(&sender) {
            return false;
        }
        let known = mailbox.contacts.contains_key(&sender)
            || parent.is_some_and(|parent| parent.from == owner && parent.to.contains(&sender));
        match mailbox.accept_from {
            AcceptFrom::Everyone => true,
            AcceptFrom::Known => known,
            AcceptFrom::Nobody => {
                known && parent.is_some_and(|parent| self.has_written_in(owner, parent))
            }
        }
    }

    /// As far as it is still to be seen: by the message that is answered, by the first one where
    /// anybody has it, or by one that the mailbox holds, or held while it held others.
    fn has_written_in(&self, owner: UserId, parent: &Envelope) -> bool {
        let first = parent.conversation.first();
        let thread = self.mailboxes[&owner].threads.get(&parent.conversation);
        parent.from == owner
            || thread.is_some_and(|thread| thread.wrote)
            || (self.sent[&first].from == owner && !self.mailbox_count(first).is_empty())
            || self
                .conversation(owner, parent.conversation)
                .iter()
                .any(|id| self.sent[id].from == owner)
    }

    /// The recipients who hold a message and have never read it.
    pub(super) fn unseen(&self, sender: UserId, id: MessageId) -> Vec<UserId> {
        let mut unseen = self.mailbox_count(id);
        unseen.retain(|holder| *holder != sender && !self.mailboxes[holder].held[&id].was_read);
        unseen
    }

    /// A message that was withdrawn before somebody read it was not written to them.
    pub(super) fn forget_contacts(&mut self, owner: UserId, withdrawn: MessageId, to: &[UserId]) {
        for other in to {
            if self.mailboxes[&owner].contacts.get(other) != Some(&withdrawn) {
                continue;
            }
            // It does not count as written, unless one of them still holds a later one.
            let held = [&owner, other].map(|user| self.mailboxes[user].held.keys());
            let later = held.into_iter().flatten().filter(|id| {
                let sent = &self.sent[id];
                **id > withdrawn
                    && (sent.from == owner && sent.to.contains(other))
                    && !self.unsent.contains(&(**id, *other))
            });
            let later = later.min().copied();
            let contacts = &mut self.of(owner).contacts;
            contacts.remove(other);
            contacts.extend(later.map(|later| (*other, later)));
        }
    }

    /// Puts what was sent into everybody's mailbox.
    pub(super) fn deliver(&mut self, sent: Envelope) {
        for owner in sent.people() {
            if sent.in_reply_to.is_some() {
                self.thread(owner, sent.conversation, Some(&sent));
            }
            let held = Held {
                received: sent.to.contains(&owner),
                sent: sent.from == owner,
                marked: Marked::default(),
                was_read: false,
            };
            self.of(owner).held.insert(sent.id, held);
        }
        for other in sent.to.iter().filter(|to| **to != sent.from) {
            self.of(sent.from).contacts.entry(*other).or_insert(sent.id);
        }
        self.sent.insert(sent.id, sent);
    }

    /// A conversation is more than its first message from now on.
    pub(super) fn thread(&mut self, owner: UserId, id: ConversationId, reply: Option<&Envelope>) {
        let people = reply.map(Envelope::people).unwrap_or_default();
        if let Some(thread) = self.of(owner).threads.get_mut(&id) {
            if let (true, Some(reply)) = (thread.participants.is_empty(), reply) {
                thread.subject.clone_from(&reply.subject);
            }
            thread.participants.extend(people);
            return;
        }
        let first = self.held(owner, id.first()).map(|_| &self.sent[&id.first()]);
        let begins = first.or(reply).expect("the mailbox holds something of it");
        let participants = begins.people().into_iter().chain(people).collect();
        let thread =
            Thread { subject: begins.subject.clone(), participants, muted: false, wrote: false };
        self.of(owner).threads.insert(id, thread);
    }

    pub(super) fn mark(&mut self, owner: UserId, id: MessageId, marks: Marks, now: Time) {
        let mailbox = self.of(owner);
        let Some(held) = mailbox.held.get_mut(&id) else { return };
        let before = *held;
        held.mark(marks, now);
        if *held != before {
            mailbox.changes.push(id);
        }
    }

    /// Takes a message out of a mailbox; a conversation goes with its last one, but for its mute.
    /// The one that is the newest then counts as changed.
    pub(super) fn remove(&mut self, owner: UserId, id: MessageId) {
        let Some(removed) = self.of(owner).held.remove(&id) else { return };
        let conversation = self.sent[&id].conversation;
        let threads = &mut self.of(owner).threads;
        threads.entry(conversation).and_modify(|thread| thread.wrote |= removed.sent);
        if !self.holds_conversation(owner, conversation) {
            let threads = &mut self.of(owner).threads;
            threads.retain(|id, thread| *id != conversation || thread.muted);
            threads.entry(conversation).and_modify(|thread| thread.participants.clear());
        }
        let others = self.conversation(owner, conversation);
        let mailbox = &self.mailboxes[&owner];
        let is_listed = |id: &MessageId| mailbox.held[id].marked.trashed.is_none();
        let newest = others.into_iter().rev().find(is_listed);
        self.of(owner).changes.extend(newest);
    }

    /// Who holds a message, ascending.
    pub(super) fn mailbox_count(&self, id: MessageId) -> Vec<UserId> {
        let holds = |user: &&UserId| self.held(**user, id).is_some();
        self.mailboxes.keys().filter(holds).copied().collect()
    }
}
