//! Random histories of a few mailboxes, held to a model in memory after every step.

use std::collections::BTreeMap;

use mail::{Error, MessageId, Time, UserId};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use crate::support::{World, draft, nobody, nothing};

type Holds = Result<(), TestCaseError>;

/// Users of a history, and how many steps it has at most.
const USERS: usize = 4;
const STEPS: usize = 60;

/// How long tombstones have to stay.
const KEPT: i64 = 30 * Time::DAY;

#[derive(Debug, Clone)]
enum Step {
    Send { from: usize, to: usize, subject: String, body: String },
    SendToNobody { from: usize },
    Open { by: Who, message: Index },
    MarkRead { by: Who, message: Index },
    Delete { by: Who, message: Index },
    Disable(usize),
    Enable(usize),
    Wait { hours: i64 },
}

/// Who does something to a message. Strangers would be too frequent if it were any user.
#[derive(Debug, Clone)]
enum Who {
    Sender,
    Receiver,
    User(usize),
}

fn user() -> impl Strategy<Value = usize> {
    0..USERS
}

fn text() -> impl Strategy<Value = String> {
    let character = any::<char>().prop_filter("U+0000 is refused", |c| *c != '\0');
    proptest::collection::vec(character, 0..12).prop_map(String::from_iter)
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        2 => Just(Who::Sender),
        3 => Just(Who::Receiver),
        1 => user().prop_map(Who::User),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let message = || (who(), any::<Index>());
    prop_oneof![
        9 => (user(), user(), text(), text())
            .prop_map(|(from, to, subject, body)| Step::Send { from, to, subject, body }),
        1 => user().prop_map(|from| Step::SendToNobody { from }),
        5 => message().prop_map(|(by, message)| Step::Open { by, message }),
        2 => message().prop_map(|(by, message)| Step::MarkRead { by, message }),
        8 => message().prop_map(|(by, message)| Step::Delete { by, message }),
        1 => user().prop_map(Step::Disable),
        2 => user().prop_map(Step::Enable),
        2 => (0_i64..500).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// 64 histories, or as many as the environment asks for; a failing one is printed, not kept.
#[expect(clippy::disallowed_methods, reason = "proptest's own variable, which its API hides")]
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(64),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn mailboxes_do_what_the_model_does(steps in proptest::collection::vec(step(), 1..=STEPS)) {
        History::begin().run(&steps)?;
    }
}

/// What was sent, whoever holds it by now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    id: MessageId,
    sender: usize,
    receiver: usize,
    subject: String,
    body: String,
    time: Time,
}

/// A row of `entries` less its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    received: bool,
    sent: bool,
    read_at: Option<Time>,
    created_seq: i64,
    changed_seq: i64,
}

/// A row of `tombstones` less its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tombstone {
    seq: i64,
    message: MessageId,
    created_seq: i64,
    destroyed_at: Time,
}

type Entries = BTreeMap<MessageId, Entry>;

#[derive(Debug, Clone, Default)]
struct Mailbox {
    counter: i64,
    disabled: bool,
    entries: Entries,
    tombstones: Vec<Tombstone>,
    /// What a client saw at each value of the counter: the messages, and when they were read.
    seen: BTreeMap<i64, BTreeMap<MessageId, Option<Time>>>,
    /// Changes since a value below this one cannot be told any more.
    floor: i64,
}

impl Mailbox {
    fn mark_read(&mut self, message: MessageId, now: Time) {
        let counter = self.counter;
        let Some(entry) = self.entries.get_mut(&message) else { return };
        if entry.received && entry.read_at.is_none() {
            (entry.read_at, entry.changed_seq) = (Some(now), counter);
        }
    }

    fn remove(&mut self, message: MessageId, now: Time) {
        let Some(entry) = self.entries.remove(&message) else { return };
        self.tombstones.push(Tombstone {
            seq: self.counter,
            message,
            created_seq: entry.created_seq,
            destroyed_at: now,
        });
        let old = self.tombstones.iter().take(2);
        let over = old.filter(|gone| gone.destroyed_at.plus(KEPT) < now).count();
        for gone in self.tombstones.drain(..over) {
            self.floor = gone.seq;
        }
    }

    fn list(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<MessageId> {
        self.entries.iter().filter(|(_, entry)| wanted(entry)).map(|(id, _)| *id).collect()
    }
}

/// What changed in a mailbox, as JMAP tells it: each message is in one list at most.
#[derive(Debug, PartialEq, Eq, Default)]
struct Changes {
    created: Vec<MessageId>,
    updated: Vec<MessageId>,
    destroyed: Vec<MessageId>,
}

impl Changes {
    /// By comparing what was seen then and now.
    fn between(
        then: &BTreeMap<MessageId, Option<Time>>,
        now: &BTreeMap<MessageId, Option<Time>>,
    ) -> Self {
        let changed = |id: &&MessageId| then.contains_key(id) && then.get(id) != now.get(id);
        Self {
            created: now.keys().filter(|id| !then.contains_key(id)).copied().collect(),
            updated: now.keys().filter(changed).copied().collect(),
            destroyed: then.keys().filter(|id| !now.contains_key(id)).copied().collect(),
        }
    }

    /// By the numbers that the rows carry.
    fn since(cursor: i64, entries: &Entries, tombstones: &[Tombstone]) -> Self {
        let mut changes = Self::default();
        for (id, entry) in entries {
            if entry.created_seq > cursor {
                changes.created.push(*id);
            } else if entry.changed_seq > cursor {
                changes.updated.push(*id);
            }
        }
        let gone = tombstones.iter().filter(|gone| gone.seq > cursor && gone.created_seq <= cursor);
        changes.destroyed = gone.map(|gone| gone.message).collect();
        changes.destroyed.sort();
        changes
    }
}

/// The database, and what has to be in it.
struct History {
    world: World,
    users: Vec<UserId>,
    sent: Vec<Sent>,
    mailboxes: Vec<Mailbox>,
}

impl History {
    fn begin() -> Self {
        let world = World::new();
        let users = ["ann", "bob", "cid", "dot"].map(|name| world.user(name)).to_vec();
        Self { world, users, sent: Vec::new(), mailboxes: vec![Mailbox::default(); USERS] }
    }

    fn run(mut self, steps: &[Step]) -> Holds {
        self.compare()?;
        for step in steps {
            self.world.wait(Time::SECOND);
            self.take(step)?;
            self.compare()?;
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Holds {
        match step {
            Step::Send { from, to, subject, body } => self.send(*from, *to, subject, body),
            Step::SendToNobody { from } => {
                let expected = if self.mailboxes[*from].disabled {
                    Error::NotLoggedIn
                } else {
                    Error::UnknownReceiver
                };
                let refused = self.world.try_send(self.users[*from], draft(nobody(), "", ""));
                prop_assert_eq!(refused, Err(expected));
                self.counters(&[], &[])
            }
            Step::Open { by, message } => self.open(by, *message),
            Step::MarkRead { by, message } => {
                let (by, id, _) = self.choose(by, *message);
                self.world.mark_read(self.users[by], id);
                let marks = self.is_unread(by, id);
                // Whether the number moves where nothing changes is of no interest to anybody.
                if marks {
                    self.counters(&[by], &[])?;
                } else {
                    self.counters(&[], &[by])?;
                }
                self.mailboxes[by].mark_read(id, self.world.now());
                Ok(())
            }
            Step::Delete { by, message } => self.delete(by, *message),
            Step::Disable(user) => {
                self.world.disable(self.users[*user]);
                self.mailboxes[*user].disabled = true;
                self.counters(&[], &[*user])
            }
            Step::Enable(user) => {
                self.world.enable(self.users[*user]);
                self.mailboxes[*user].disabled = false;
                self.counters(&[], &[*user])
            }
            Step::Wait { hours } => {
                self.world.wait(hours * 60 * Time::MINUTE);
                Ok(())
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, subject: &str, body: &str) -> Holds {
        let answer = self.world.try_send(self.users[from], draft(self.users[to], subject, body));
        let refusal = match (self.mailboxes[from].disabled, self.mailboxes[to].disabled) {
            (true, _) => Some(Error::NotLoggedIn),
            (false, true) => Some(Error::ReceiverUnavailable),
            (false, false) => None,
        };
        if let Some(refusal) = refusal {
            prop_assert_eq!(answer, Err(refusal));
            return self.counters(&[], &[]);
        }
        let id = answer.map_err(|error| TestCaseError::fail(format!("not sent: {error}")))?;
        let newest = self.sent.iter().map(|sent| sent.id).max();
        prop_assert!(newest < Some(id), "{id:?} came after {newest:?}");
        self.sent.push(Sent {
            id,
            sender: from,
            receiver: to,
            subject: subject.to_owned(),
            body: body.to_owned(),
            time: self.world.now(),
        });
        self.counters(&[from, to], &[])?;
        for user in [from, to] {
            let seq = self.mailboxes[user].counter;
            let entry = Entry {
                received: user == to,
                sent: user == from,
                read_at: None,
                created_seq: seq,
                changed_seq: seq,
            };
            self.mailboxes[user].entries.insert(id, entry);
        }
        Ok(())
    }

    fn open(&mut self, by: &Who, message: Index) -> Holds {
        let (by, id, sent) = self.choose(by, message);
        let marks = self.is_unread(by, id);
        let held = self.mailboxes[by].entries.contains_key(&id);
        let found = self.world.open(self.users[by], id);
        prop_assert_eq!(
            found.as_ref().map(|found| (&found.subject, &found.body)),
            sent.as_ref().filter(|_| held).map(|sent| (&sent.subject, &sent.body))
        );
        if marks {
            self.counters(&[by], &[])?;
        } else {
            self.counters(&[], &[])?;
        }
        self.mailboxes[by].mark_read(id, self.world.now());
        Ok(())
    }

    fn delete(&mut self, by: &Who, message: Index) -> Holds {
        let (by, id, sent) = self.choose(by, message);
        let answer = self.world.delete(self.users[by], id);
        let held = self.mailboxes[by].entries.get(&id).copied();
        let (Some(entry), Some(sent)) = (held, sent) else {
            prop_assert_eq!(answer, Err(Error::NotFound));
            return self.counters(&[], &[]);
        };
        prop_assert_eq!(answer, Ok(()));
        // Its sender takes it from the receiver too, who may not have it any more.
        let other = if entry.sent { sent.receiver } else { by };
        let also = other != by && self.mailboxes[other].entries.contains_key(&id);
        if also {
            self.counters(&[by, other], &[])?;
        } else {
            self.counters(&[by], &[other])?;
        }
        let now = self.world.now();
        for user in [by, other] {
            self.mailboxes[user].remove(id, now);
        }
        Ok(())
    }

    /// Picks one of all messages that were ever sent; before the first, one that never was.
    fn choose(&self, by: &Who, message: Index) -> (usize, MessageId, Option<Sent>) {
        let sent = (!self.sent.is_empty()).then(|| message.get(&self.sent).clone());
        let by = match (by, &sent) {
            (Who::Sender, Some(sent)) => sent.sender,
            (Who::Receiver, Some(sent)) => sent.receiver,
            (Who::User(user), _) => *user,
            (Who::Sender | Who::Receiver, None) => 0,
        };
        (by, sent.as_ref().map_or_else(nothing, |sent| sent.id), sent)
    }

    fn is_unread(&self, user: usize, id: MessageId) -> bool {
        let entry = self.mailboxes[user].entries.get(&id);
        entry.is_some_and(|entry| entry.received && entry.read_at.is_none())
    }

    /// Takes over the counters: those of `touched` increased, those of `maybe` did not decrease,
    /// and all others are where they were.
    fn counters(&mut self, touched: &[usize], maybe: &[usize]) -> Holds {
        let counters =
            self.world.rows("SELECT counter FROM mailboxes ORDER BY owner_id", |row| row.int(0));
        prop_assert_eq!(counters.len(), USERS);
        for (user, counter) in counters.into_iter().enumerate() {
            let before = self.mailboxes[user].counter;
            if touched.contains(&user) {
                prop_assert!(counter > before, "{user}: {before} did not increase");
            } else if maybe.contains(&user) {
                prop_assert!(counter >= before, "{user}: {before} became {counter}");
            } else {
                prop_assert_eq!(counter, before, "{} was not touched", user);
            }
            self.mailboxes[user].counter = counter;
        }
        Ok(())
    }

    /// Holds everything that is in the database to the model.
    fn compare(&mut self) -> Holds {
        prop_assert_eq!(self.world.problems(), vec![]);
        self.compare_messages()?;
        let (entries, tombstones) = (self.stored_entries(), self.stored_tombstones());
        for (user, mailbox) in self.mailboxes.iter_mut().enumerate() {
            let owner = self.users[user];
            let entries = &entries[&owner.get()];
            let tombstones = &tombstones[&owner.get()];
            prop_assert_eq!(entries, &mailbox.entries, "entries of {}", user);
            prop_assert_eq!(tombstones, &mailbox.tombstones, "tombstones of {}", user);

            let received = mailbox.list(|entry| entry.received);
            let unread = mailbox.list(|entry| entry.received && entry.read_at.is_none());
            prop_assert_eq!(self.world.received(owner), received, "received by {}", user);
            prop_assert_eq!(self.world.unread(owner), unread, "unread by {}", user);

            let now: BTreeMap<_, _> =
                mailbox.entries.iter().map(|(id, entry)| (*id, entry.read_at)).collect();
            for (cursor, then) in mailbox.seen.range(mailbox.floor..) {
                let expected = Changes::between(then, &now);
                let told = Changes::since(*cursor, entries, tombstones);
                prop_assert_eq!(told, expected, "changes of {} since {}", user, cursor);
            }
            mailbox.seen.insert(mailbox.counter, now);
        }
        Ok(())
    }

    /// Each text is there, to the letter, for those who hold it, and for as long as somebody does.
    fn compare_messages(&self) -> Holds {
        let stored = self.world.rows("SELECT id, holders FROM messages ORDER BY id", |row| {
            Ok((row.int(0)?, row.int(1)?))
        });
        let mut expected = Vec::new();
        for sent in &self.sent {
            let mut holders = 0;
            for (user, mailbox) in self.mailboxes.iter().enumerate() {
                let found = self.world.peek(self.users[user], sent.id);
                let holds = mailbox.entries.contains_key(&sent.id);
                holders += i64::from(holds);
                prop_assert_eq!(found.is_some(), holds, "{:?} of {}", sent.id, user);
                let Some((message, unread)) = found else { continue };
                let index = |id: UserId| self.users.iter().position(|user| *user == id);
                prop_assert_eq!(message.id, sent.id);
                prop_assert_eq!(index(message.sender), Some(sent.sender));
                prop_assert_eq!(index(message.receiver), Some(sent.receiver));
                prop_assert_eq!(&message.subject, &sent.subject);
                prop_assert_eq!(&message.body, &sent.body);
                prop_assert_eq!(message.sent_at, sent.time);
                prop_assert_eq!(unread, self.is_unread(user, sent.id));
            }
            if holders > 0 {
                expected.push((sent.id.get(), holders));
            }
        }
        prop_assert_eq!(stored, expected, "messages and their holders");
        Ok(())
    }

    fn stored_entries(&self) -> BTreeMap<i64, Entries> {
        let rows = self.world.rows(
            "SELECT owner_id, message_id, received, sent, read_at, created_seq, changed_seq
             FROM entries",
            |row| {
                let entry = Entry {
                    received: row.flag(2)?,
                    sent: row.flag(3)?,
                    read_at: row.opt_int(4)?.map(Time),
                    created_seq: row.int(5)?,
                    changed_seq: row.int(6)?,
                };
                Ok((row.int(0)?, row.int(1)?, entry))
            },
        );
        let mut all: BTreeMap<_, _> =
            self.users.iter().map(|user| (user.get(), Entries::new())).collect();
        for (owner, id, entry) in rows {
            let id = MessageId::new(id).expect("a stored id is valid");
            all.entry(owner).or_default().insert(id, entry);
        }
        all
    }

    fn stored_tombstones(&self) -> BTreeMap<i64, Vec<Tombstone>> {
        let rows = self.world.rows(
            "SELECT owner_id, seq, message_id, created_seq, destroyed_at
             FROM tombstones ORDER BY owner_id, seq, message_id",
            |row| {
                let message = MessageId::new(row.int(2)?).expect("a stored id is valid");
                let gone = Tombstone {
                    seq: row.int(1)?,
                    message,
                    created_seq: row.int(3)?,
                    destroyed_at: Time(row.int(4)?),
                };
                Ok((row.int(0)?, gone))
            },
        );
        let mut all: BTreeMap<_, _> =
            self.users.iter().map(|user| (user.get(), Vec::new())).collect();
        for (owner, gone) in rows {
            all.entry(owner).or_default().push(gone);
        }
        all
    }
}
