//! Holds everything that can be asked to the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use db::Tx;
use domain::conversations::{self, Conversation};
use domain::entries::Folder;
use domain::envelopes::BodyPart;
use domain::lists::{self, Filter, FolderFilter, Page};
use domain::messages::Message;
use domain::search::Query;
use domain::unread::{self, ClassicList};
use domain::{MessageId, UserId, UserRef};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::state::{Held, Model, Seen};
use super::steps::WORDS;
use super::{History, Holds, KEPT};

/// What changed in a mailbox, as JMAP tells it: each message is in one list at most.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Changes {
    pub created: BTreeSet<MessageId>,
    pub updated: BTreeSet<MessageId>,
    pub destroyed: BTreeSet<MessageId>,
}

impl Changes {
    /// By comparing what was seen then and now.
    fn between(then: &Seen, now: &Seen) -> Self {
        let changed = |id: &&MessageId| then.contains_key(id) && then.get(id) != now.get(id);
        Self {
            created: now.keys().filter(|id| !then.contains_key(id)).copied().collect(),
            updated: now.keys().filter(changed).copied().collect(),
            destroyed: then.keys().filter(|id| !now.contains_key(id)).copied().collect(),
        }
    }

    /// By the numbers that the rows of one owner carry.
    fn since(cursor: i64, entries: &[Numbered], tombstones: &[Numbered]) -> Self {
        let mut changes = Self::default();
        for entry in entries {
            if entry.created_modseq > cursor {
                changes.created.insert(entry.message);
            } else if entry.last_seq > cursor {
                changes.updated.insert(entry.message);
            }
        }
        let gone = tombstones.iter();
        let gone = gone.filter(|gone| gone.last_seq > cursor && gone.created_modseq <= cursor);
        changes.destroyed = gone.map(|gone| gone.message).collect();
        changes
    }
}

/// When a message came, and when it last changed or went.
struct Numbered {
    message: MessageId,
    created_modseq: i64,
    last_seq: i64,
}

type Rows = BTreeMap<i64, Vec<Numbered>>;

impl History {
    /// Holds the database to the model: what the step may have changed in full, and that it
    /// changed nothing else.
    pub(super) fn compare(&mut self) -> Holds {
        prop_assert_eq!(self.world.problems(), vec![]);
        self.compare_holders()?;
        self.compare_changes()?;
        let expected = Arc::new(Expected {
            model: std::mem::take(&mut self.model),
            users: self.users.clone(),
            steps: self.steps,
        });
        let compared = self.touched.iter().try_for_each(|owner| {
            let (owner, expected) = (*owner, Arc::clone(&expected));
            self.world.read(move |tx, _cx| Ok(expected.compare_mailbox(tx, owner)))
        });
        // An engine may still hold what has read there.
        self.model = Arc::unwrap_or_clone(expected).model;
        compared
    }

    /// Holds all mailboxes to the model, no matter which was touched last.
    pub(super) fn compare_all(&mut self) -> Holds {
        self.empty_erased();
        self.touched = self.users.iter().copied().collect();
        self.compare()?;
        for (owner, mailbox) in &self.model.mailboxes {
            let rows = "SELECT owner_id FROM tombstones UNION SELECT owner_id FROM contacts
                 UNION SELECT owner_id FROM blocks UNION SELECT owner_id FROM erasures";
            let kept = self.world.rows(rows, |row| row.int(0)).contains(&owner.get());
            prop_assert!(!(kept && mailbox.erased), "something is left of {owner:?}");
        }
        for owner in &self.users {
            for (id, sent) in &self.model.sent {
                let found = self.world.peek(*owner, *id);
                let held = self.model.held(*owner, *id);
                prop_assert_eq!(found.as_ref().map(|found| Held::of(&found.entry)), held.copied());
                if let Some(found) = found {
                    prop_assert_eq!(&found.envelope, sent);
                }
            }
        }
        Ok(())
    }

    /// Each text is there for as long as somebody holds it.
    fn compare_holders(&self) -> Holds {
        let stored = self.world.rows("SELECT id, mailbox_count FROM messages ORDER BY id", |row| {
            Ok((row.int(0)?, row.int(1)?))
        });
        let expected =
            self.model.sent.keys().map(|id| (id.get(), self.model.mailbox_count(*id).len()));
        let expected: Vec<_> = expected.filter(|(_, mailbox_count)| *mailbox_count > 0).collect();
        let stored: Vec<_> =
            stored.into_iter().map(|(id, n)| (id, usize::try_from(n).unwrap_or(0))).collect();
        prop_assert_eq!(stored, expected, "messages and their mailbox_count");
        Ok(())
    }

    /// From each state that a client ever saw it is told what became of it, for 30 days at least.
    fn compare_changes(&mut self) -> Holds {
        let entries = self.numbered(
            "SELECT owner_id, message_id, created_modseq, coalesce(changed_modseq, created_modseq)
             FROM entries ORDER BY owner_id, message_id",
        );
        let tombstones = self.numbered(
            "SELECT owner_id, message_id, created_modseq, modseq FROM tombstones
             ORDER BY owner_id, message_id",
        );
        let counters = self
            .world
            .rows("SELECT modseq, purged_modseq FROM mailboxes ORDER BY owner_id", |row| {
                Ok((row.int(0)?, row.int(1)?))
            });
        let now = self.world.now();
        prop_assert_eq!(counters.len(), self.users.len());
        for (owner, (modseq, forgotten)) in self.users.iter().zip(counters) {
            let touched = self.touched.contains(owner);
            let mailbox = self.model.of(*owner);
            prop_assert!(modseq >= mailbox.modseq, "{owner:?} went back to {modseq}");
            prop_assert!(touched || modseq == mailbox.modseq, "{owner:?} was not touched");
            mailbox.modseq = modseq;

            let sees = mailbox.sees();
            let nothing = Vec::new();
            let entries = entries.get(&owner.get()).unwrap_or(&nothing);
            let tombstones = tombstones.get(&owner.get()).unwrap_or(&nothing);
            let stored = entries.iter().map(|entry| entry.message).collect::<Vec<_>>();
            prop_assert_eq!(stored, sees.keys().copied().collect::<Vec<_>>(), "of {:?}", owner);
            if mailbox.erased {
                // There is nobody who could ask what changed.
                continue;
            }
            if let Some((_, before)) = mailbox.seen.get(&modseq) {
                prop_assert_eq!(before, &sees, "{:?} changed without a number", owner);
            }
            let chosen = self.steps * 7 % mailbox.seen.len().max(1);
            let mut asked = None;
            for (at, (cursor, (until, then))) in mailbox.seen.iter().enumerate() {
                if *cursor < forgotten {
                    prop_assert!(*until < now.plus(-KEPT), "{cursor} is forgotten too early");
                    continue;
                }
                let expected = Changes::between(then, &sees);
                let told = Changes::since(*cursor, entries, tombstones);
                prop_assert_eq!(&told, &expected, "changes of {:?} since {}", owner, cursor);
                if at == chosen {
                    asked = Some((*cursor, expected));
                }
            }
            mailbox.seen.insert(modseq, (now, sees));
            if let Some((cursor, expected)) = asked {
                self.compare_answer(*owner, cursor, &expected)?;
            }
        }
        Ok(())
    }

    fn numbered(&self, statement: &'static str) -> Rows {
        let rows = self.world.rows(statement, |row| {
            let message = MessageId::new(row.int(1)?).expect("a stored id is valid");
            let (created_modseq, last_seq) = (row.int(2)?, row.int(3)?);
            Ok((row.int(0)?, Numbered { message, created_modseq, last_seq }))
        });
        let mut all = Rows::new();
        for (owner, row) in rows {
            all.entry(owner).or_default().push(row);
        }
        all
    }
}

/// What the engine's threads need to know to compare a mailbox.
#[derive(Clone)]
struct Expected {
    model: Model,
    users: Vec<UserId>,
    steps: usize,
}

impl Expected {
    /// Every list and every count of one mailbox.
    fn compare_mailbox(&self, tx: &mut Tx<'_>, owner: UserId) -> Holds {
        let held = &self.model.mailboxes[&owner].held;
        let ids = |wanted: fn(&Held) -> bool| -> Vec<MessageId> {
            held.iter().filter(|(_, held)| wanted(held)).map(|(id, _)| *id).collect()
        };
        let listed = |held: &Held| held.received && held.folder() != Folder::Trash;
        let received = classic(tx, owner, ClassicList::Received)?;
        prop_assert_eq!(received, ids(listed), "received by {:?}", owner);
        let unread = classic(tx, owner, ClassicList::Unread)?;
        let unread_and_listed = |held: &Held| held.is_unread() && held.folder() != Folder::Trash;
        prop_assert_eq!(unread, ids(unread_and_listed), "unread by {:?}", owner);

        // Every few steps another length of a page.
        let limit = 1 + self.steps % 4;
        for filter in self.filters(owner) {
            let expected = held.keys().rev().filter(|id| fits(&self.model, owner, **id, &filter));
            let expected: Vec<_> = expected.copied().collect();
            let found = walk(tx, owner, &filter, limit)?;
            let found_ids: Vec<_> = found.iter().map(|message| message.entry.message).collect();
            prop_assert_eq!(found_ids, expected, "{:?} of {:?}", filter, owner);
            for message in found {
                let id = message.entry.message;
                prop_assert_eq!(Held::of(&message.entry), held[&id]);
                prop_assert_eq!(&message.envelope, &self.model.sent[&id]);
                prop_assert_eq!(message.entry.conversation, self.model.sent[&id].conversation);
            }
        }
        self.compare_conversations(tx, owner, limit)
    }

    /// What is asked of the lists: each folder in each state, and each condition in turn.
    fn filters(&self, owner: UserId) -> Vec<Filter> {
        let shelves = [
            FolderFilter::Inbox,
            FolderFilter::Sent,
            FolderFilter::Archive,
            FolderFilter::Trash,
            FolderFilter::All,
        ];
        let mut filters = Vec::new();
        for folder in shelves {
            for unread in [None, Some(true), Some(false)] {
                filters.push(Filter { folder, unread, ..Filter::default() });
            }
        }
        // The others take turns in how they are combined with a folder.
        let turn = |at: usize| shelves[(self.steps + at) % shelves.len()];
        for (at, starred) in [true, false].into_iter().enumerate() {
            filters.push(Filter { folder: turn(at), starred: Some(starred), ..Filter::default() });
        }
        for (at, with) in self.users.iter().enumerate() {
            filters.push(Filter {
                folder: turn(at),
                with: Some((*with).into()),
                ..Filter::default()
            });
        }
        let conversations = self.model.mailboxes[&owner].held.keys();
        let conversations = conversations.map(|id| self.model.sent[id].conversation);
        for (at, id) in conversations.collect::<BTreeSet<_>>().into_iter().enumerate() {
            filters.push(Filter { folder: turn(at), conversation: Some(id), ..Filter::default() });
        }
        let times: Vec<_> = self.model.sent.values().map(|sent| sent.sent_at).collect();
        let middle = times.get(times.len() / 2).copied();
        let starred = self.steps.is_multiple_of(2).then_some(true);
        filters.push(Filter { folder: turn(0), since: middle, ..Filter::default() });
        filters.push(Filter { folder: turn(1), until: middle, starred, ..Filter::default() });
        let words = Some(Query::parse(WORDS[self.steps % WORDS.len()]));
        filters.push(Filter { folder: turn(2), words, ..Filter::default() });
        filters
    }

    fn compare_conversations(&self, tx: &mut Tx<'_>, owner: UserId, limit: usize) -> Holds {
        let mailbox = &self.model.mailboxes[&owner];
        let mut by_conversation: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, held) in &mailbox.held {
            by_conversation.entry(self.model.sent[id].conversation).or_default().push((*id, held));
        }
        let mut expected = Vec::new();
        for (id, messages) in &by_conversation {
            let listed = messages.iter().filter(|(_, held)| held.folder() != Folder::Trash);
            let last = listed.map(|(id, _)| *id).max();
            let unread = messages.iter().filter(|(_, held)| held.counts()).count();
            let (item, _) = conversations::read(tx, owner, *id)
                .map_err(failed)?
                .ok_or_else(|| TestCaseError::fail(format!("{id:?} of {owner:?} is there")))?;
            prop_assert_eq!(item.id, *id);
            prop_assert_eq!(item.last.as_ref().map(|last| last.entry.message), last);
            prop_assert_eq!(usize::try_from(item.unread), Ok(unread), "{:?} of {:?}", id, owner);
            let first = &self.model.sent[&messages[0].0];
            let (subject, people, muted) = match mailbox.threads.get(id) {
                Some(thread) => {
                    let people = thread.participants.iter().copied().collect();
                    (&thread.subject, people, thread.muted)
                }
                None => (&first.subject, first.people(), false),
            };
            prop_assert_eq!(&item.subject, subject);
            prop_assert_eq!(&item.participants, &people, "{:?} of {:?}", id, owner);
            prop_assert_eq!(item.muted, muted);
            expected.extend(last.map(|last| (last, item)));
        }
        expected.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
        let expected: Vec<_> = expected.into_iter().map(|(_, item)| item).collect();
        let found = walk_conversations(tx, owner, limit)?;
        prop_assert_eq!(&found, &expected, "conversations of {:?}", owner);

        let counts = unread::counts(tx, owner).map_err(failed)?;
        let unread = found.iter().map(|item| item.unread);
        prop_assert_eq!(counts.messages, unread.clone().sum::<i64>());
        let some = unread.filter(|unread| *unread > 0).count();
        prop_assert_eq!(usize::try_from(counts.conversations), Ok(some));
        let inbox = mailbox.held.values().filter(|held| held.counts()).count();
        prop_assert_eq!(usize::try_from(counts.messages), Ok(inbox));
        prop_assert_eq!(counts.modseq, mailbox.modseq);
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(format!("what is only read does not fail: {error}"))
}

fn fits(model: &Model, owner: UserId, id: MessageId, filter: &Filter) -> bool {
    let (held, sent) = (&model.mailboxes[&owner].held[&id], &model.sent[&id]);
    let on_shelf = match filter.folder {
        FolderFilter::Inbox => held.folder() == Folder::Inbox,
        FolderFilter::Sent => held.sent && matches!(held.folder(), Folder::Inbox | Folder::Sent),
        FolderFilter::Archive => held.folder() == Folder::Archive,
        FolderFilter::Trash => held.folder() == Folder::Trash,
        FolderFilter::All => held.folder() != Folder::Trash,
    };
    let with = |with: UserId| {
        let people = sent.people();
        if with == owner { people == [owner] } else { people.contains(&with) }
    };
    let asked = WORDS.iter().find(|word| filter.words == Some(Query::parse(word)));
    on_shelf
        && filter.unread.is_none_or(|unread| unread == held.is_unread())
        && filter.starred.is_none_or(|starred| starred == held.marked.starred.is_some())
        && filter.with.as_ref().is_none_or(|of| matches!(of, UserRef::Id(id) if with(*id)))
        && filter.conversation.is_none_or(|conversation| conversation == sent.conversation)
        && filter.since.is_none_or(|since| sent.sent_at >= since)
        && filter.until.is_none_or(|until| sent.sent_at < until)
        && asked.is_none_or(|word| sent.body.split(' ').any(|other| other == *word))
}

/// All pages of a list. What a history holds is few enough that each page but the last is full.
fn walk(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<Message>, TestCaseError> {
    let mut all = Vec::new();
    let mut next = None;
    loop {
        let page =
            lists::page(tx, owner, filter, BodyPart::Snippet, (next, limit)).map_err(failed)?;
        let state = unread::counts(tx, owner).map_err(failed)?.modseq;
        prop_assert_eq!(page.modseq, next.is_none().then_some(state));
        let people = page.items.iter().flat_map(|message| message.envelope.people());
        next = check_page(&page, people, limit)?;
        all.extend(page.items);
        if next.is_none() {
            return Ok(all);
        }
    }
}

fn walk_conversations(
    tx: &mut Tx<'_>,
    owner: UserId,
    limit: usize,
) -> Result<Vec<Conversation>, TestCaseError> {
    let mut all = Vec::new();
    let mut next = None;
    loop {
        let page =
            conversations::list(tx, owner, BodyPart::Snippet, (next, limit)).map_err(failed)?;
        let people = page.items.iter().flat_map(|item| {
            let last = item.last.iter().flat_map(|last| last.envelope.people());
            item.participants.iter().copied().chain(last)
        });
        next = check_page(&page, people, limit)?;
        all.extend(page.items);
        if next.is_none() {
            return Ok(all);
        }
    }
}

/// A page is full where another one follows, and names everybody once.
fn check_page<T>(
    page: &Page<T>,
    people: impl Iterator<Item = UserId>,
    limit: usize,
) -> Result<Option<MessageId>, TestCaseError> {
    prop_assert!(page.items.len() <= limit);
    prop_assert!(page.next.is_none() || page.items.len() == limit);
    let named: Vec<_> = page.people.iter().map(|person| person.id).collect();
    let people: Vec<_> = people.collect::<BTreeSet<_>>().into_iter().collect();
    prop_assert_eq!(named, people);
    Ok(page.next)
}

/// A classic list, at once and in steps.
fn classic(
    tx: &mut Tx<'_>,
    owner: UserId,
    list: ClassicList,
) -> Result<Vec<MessageId>, TestCaseError> {
    let at_once = unread::ids(tx, owner, list, usize::MAX).map_err(failed)?;
    let (in_steps, next) = unread::next_ids(tx, owner, list, None).map_err(failed)?;
    prop_assert_eq!(at_once.as_ref(), Some(&in_steps));
    prop_assert_eq!(next, None);
    Ok(in_steps)
}
