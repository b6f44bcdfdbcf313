//! Random histories of a few mailboxes, held to a model in memory after every step.

mod compare;
mod copies;
mod news;
mod state;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use domain::conversations::{self, ConversationAction};
use domain::envelopes::Envelope;
use domain::messages::{self, Action, Batch, Marks, Unsent};
use domain::sending::Draft;
use domain::text::Subject;
use domain::users::{self, ProfileChange};
use domain::webhooks::EventKinds;
use domain::{
    ConversationId, Error, MessageId, Missing, Result, Time, UserId, UserRef, Wanted, blocks, purge,
};
use proptest::prelude::{ProptestConfig, proptest};
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};
use testing::{Engine, engine};

use self::state::{Mailbox, Model, Named};
use self::steps::{Dest, NAMES, Step, Who, step};
use crate::moving;
use crate::support::{LENGTHS, World, draft, nobody, nothing};

type Holds = Result<(), TestCaseError>;
type Told = Result<bool, TestCaseError>;

/// Steps of a history at most.
const STEPS: usize = 120;

/// How long what is in the trash and what is gone have to stay.
const KEPT: i64 = 30 * Time::DAY;

/// 64 histories on SQLite and 4 across a network, where each statement takes many times as long, or
/// as many as the environment asks for; a failing one is printed, not kept.
#[expect(clippy::disallowed_methods, reason = "proptest's own variable, which its API hides")]
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(if engine() == Engine::Sqlite { 64 } else { 4 }),
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

/// The database, and what has to be in it.
struct History {
    world: World,
    users: Vec<UserId>,
    model: Model,
    /// Whose mailboxes the step may have advanced.
    touched: BTreeSet<UserId>,
    steps: usize,
    /// The model before the step, and how many events were told of until then.
    before: Model,
    told: usize,
}

impl History {
    fn begin() -> Self {
        let world = World::new();
        world.want(Wanted { webhooks: EventKinds::all(), reminders: false });
        let users = NAMES.map(|name| world.user(name)).to_vec();
        let mailboxes = users.iter().map(|user| (*user, Mailbox::new())).collect();
        let unsent = BTreeSet::new();
        let model = Model { sent: BTreeMap::new(), mailboxes, unsent };
        let (before, told) = (model.clone(), users.len());
        Self { world, users, model, touched: BTreeSet::new(), steps: 0, before, told }
    }

    fn run(mut self, steps: &[Step]) -> Holds {
        for step in steps {
            self.world.wait(Time::SECOND);
            self.touched.clear();
            self.before = self.model.clone();
            self.take(step)?;
            self.steps += 1;
            self.compare_news(matches!(step, Step::EmptyErased))?;
            self.compare()?;
            self.pull_some()?;
        }
        self.compare_all()?;
        self.pull_all()?;
        self.empty_erased();
        // Two databases more take as long as the rest.
        if steps.len().is_multiple_of(4) {
            prop_assert_eq!(moving::differs(&self.world, &self.users, steps.len() / 4), None);
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Holds {
        match step {
            Step::Send { from, to, subject, body } => {
                self.send(self.users[*from], to, None, subject.as_deref(), body)
            }
            Step::Reply { by, message, to, subject, body } => {
                let (by, id) = self.choose(by, *message);
                self.send(by, to, Some(id), subject.as_deref(), body)
            }
            Step::Open { by, message } => {
                let (by, id) = self.choose(by, *message);
                self.touched.insert(by);
                self.world.mark_read(by, id);
                let read = Marks { read: Some(true), ..Marks::default() };
                self.model.mark(by, id, read, self.world.now());
                Ok(())
            }
            Step::Mark { by, message, marks } => self.mark(by, *message, *marks),
            Step::Destroy { by, message } => {
                let (by, id) = self.choose(by, *message);
                let gone = self.has_tombstone(by, id);
                let answer = self.world.write(move |tx, cx| messages::delete(tx, cx, by, id));
                if gone {
                    prop_assert_eq!(answer, Ok(()));
                    return Ok(());
                }
                self.removed(by, id, answer, &[by])
            }
            Step::Delete { by, message } => {
                let (by, id) = self.choose(by, *message);
                let sent = self.model.held(by, id).is_some_and(|held| held.sent);
                let mailbox_count = if sent { self.model.sent[&id].people() } else { vec![by] };
                let answer = self.world.delete(by, id);
                let unseen = if sent { self.model.unseen(by, id) } else { Vec::new() };
                self.removed(by, id, answer, &mailbox_count)?;
                self.model.forget_contacts(by, id, &unseen);
                Ok(())
            }
            Step::Unsend { by, message } => self.unsend(by, *message),
            Step::Batch { by, messages, marks } => self.batch(*by, messages, *marks),
            Step::Mute { by, message, muted } => {
                let muted = *muted;
                let (by, id) = self.choose_conversation(by, *message);
                let mute =
                    self.world.write(move |tx, cx| conversations::mute(tx, cx, by, id, muted));
                if self.told_apart(by, id, mute)? {
                    self.model.thread(by, id, None);
                    let thread = self.model.of(by).threads.get_mut(&id);
                    thread.expect("it was just made").muted = muted;
                }
                Ok(())
            }
            Step::ConversationAction { by, message, sweep, up_to, limit } => {
                let before = self.choose_bound(*up_to);
                let (by, id) = self.choose_conversation(by, *message);
                self.sweep((by, id), *sweep, before, *limit)
            }
            Step::MarkUnread { by, message, up_to } => {
                let before = self.choose_bound(*up_to);
                self.mark_unread(by, *message, before)
            }
            Step::EmptyTrash => self.empty_trash(),
            Step::Forget => {
                while let Ok(1..) = self.world.write(|tx, cx| purge::tombstones(tx, cx, 3)) {}
                Ok(())
            }
            Step::EmptyErased => {
                self.empty_erased();
                Ok(())
            }
            Step::Block { .. }
            | Step::Unblock { .. }
            | Step::Accept { .. }
            | Step::Disable(_)
            | Step::Enable(_)
            | Step::Erase(_)
            | Step::Wait { .. } => self.arrange(step),
        }
    }

    fn send(
        &mut self,
        from: UserId,
        to: &[Dest],
        in_reply_to: Option<MessageId>,
        subject: Option<&str>,
        body: &str,
    ) -> Holds {
        let to = to.iter().map(|dest| self.named(*dest));
        let (to, named): (Vec<_>, Vec<_>) = to.unzip();
        let parse = |text: &str| Subject::parse(text.to_owned(), LENGTHS);
        let draft = Draft {
            to,
            subject: subject.map(|text| parse(text).expect("the subject is valid")),
            in_reply_to,
            ..draft(from, "", body)
        };
        let answer = self.world.try_deliver(from, draft);
        if let Some(parent) = in_reply_to.filter(|id| self.model.held(from, *id).is_none()) {
            let invalid = matches!(answer, Err(Error::Invalid(_)));
            prop_assert!(invalid, "{answer:?} to an answer to {parent:?}");
            return Ok(());
        }
        let (to, refused) = match self.model.outcome(from, &named, in_reply_to) {
            Ok(outcome) => outcome,
            Err(error) => {
                prop_assert_eq!(answer, Err(error));
                return Ok(());
            }
        };
        let sent = answer.map_err(|error| TestCaseError::fail(format!("not sent: {error}")))?;
        prop_assert_eq!(sent.refused, refused);
        let newest = self.model.sent.last_key_value().map(|(id, _)| *id);
        prop_assert!(newest < Some(sent.id), "{:?} came after {newest:?}", sent.id);
        let parent = in_reply_to.map(|id| &self.model.sent[&id]);
        let envelope = Envelope {
            id: sent.id,
            from,
            to_count: to.len(),
            to,
            conversation: parent.map_or(sent.id.begins(), |parent| parent.conversation),
            in_reply_to,
            subject: match (subject, parent) {
                (Some(subject), _) => subject.to_owned(),
                (None, Some(parent)) if is_answer(&parent.subject) => parent.subject.clone(),
                (None, Some(parent)) => format!("Re: {}", parent.subject),
                (None, None) => String::new(),
            },
            body: body.to_owned(),
            sent_at: self.world.now(),
            client_id: None,
            metadata: None,
            via: None,
        };
        self.touched.extend(envelope.people());
        self.model.deliver(envelope);
        Ok(())
    }

    fn named(&self, dest: Dest) -> (UserRef, Named) {
        match dest {
            Dest::User(at) => (UserRef::Id(self.users[at]), Named::Id(self.users[at])),
            Dest::Named(at) => {
                let user = self.users[at];
                let there = !self.model.mailboxes[&user].erased;
                (UserRef::Name(NAMES[at].to_owned()), Named::Name(there.then_some(user)))
            }
            Dest::Nobody => (UserRef::Id(nobody()), Named::Id(nobody())),
            Dest::NobodyNamed => (UserRef::Name("nobody".to_owned()), Named::Name(None)),
        }
    }

    fn mark(&mut self, by: &Who, message: Index, marks: Marks) -> Holds {
        let (by, id) = self.choose(by, message);
        self.touched.insert(by);
        let answer =
            self.world.write(move |tx, cx| messages::mark(tx, cx, by, id, marks, &|_| true));
        self.model.mark(by, id, marks, self.world.now());
        match (answer, self.model.held(by, id)) {
            (Ok((message, _)), Some(held)) => {
                prop_assert_eq!(state::Held::of(&message.entry), *held);
                prop_assert_eq!(&message.envelope, &self.model.sent[&id]);
            }
            (answer, None) => prop_assert_eq!(answer, Err(Error::NotFound(Missing::Message))),
            (answer, _) => prop_assert!(answer.is_ok(), "{answer:?}"),
        }
        Ok(())
    }

    /// A message went from all of these mailboxes that hold it, if the caller's does.
    fn removed(
        &mut self,
        by: UserId,
        id: MessageId,
        answer: Result<()>,
        mailbox_count: &[UserId],
    ) -> Holds {
        if self.model.held(by, id).is_none() {
            prop_assert_eq!(answer, Err(Error::NotFound(Missing::Message)));
            return Ok(());
        }
        prop_assert_eq!(answer, Ok(()));
        for holder in mailbox_count {
            self.touched.insert(*holder);
            self.model.remove(*holder, id);
        }
        Ok(())
    }

    /// Whether it is known of a message that a mailbox held it.
    fn has_tombstone(&self, owner: UserId, id: MessageId) -> bool {
        let gone = "SELECT owner_id, message_id FROM tombstones";
        let gone = self.world.rows(gone, |row| Ok((row.int(0)?, row.int(1)?)));
        gone.contains(&(owner.get(), id.get()))
    }

    fn unsend(&mut self, by: &Who, message: Index) -> Holds {
        let (by, id) = self.choose(by, message);
        let answer = self.world.write(move |tx, cx| messages::unsend(tx, cx, by, id));
        let expected = match self.model.held(by, id) {
            None => Err(Error::NotFound(Missing::Message)),
            Some(held) if !held.sent => Err(Error::NotTheSender),
            Some(_) => {
                let withdrawn_from = self.model.unseen(by, id);
                let mut read_by = self.model.mailbox_count(id);
                read_by.retain(|holder| *holder != by && !withdrawn_from.contains(holder));
                Ok(Unsent { withdrawn_from, read_by })
            }
        };
        prop_assert_eq!(&answer, &expected);
        if let Ok(unsent) = expected {
            self.touched.extend(self.model.sent[&id].people());
            for recipient in &unsent.withdrawn_from {
                self.model.remove(*recipient, id);
                self.model.unsent.insert((id, *recipient));
            }
            self.model.forget_contacts(by, id, &unsent.withdrawn_from);
        }
        Ok(())
    }

    fn batch(&mut self, by: usize, messages: &[Index], marks: Option<Marks>) -> Holds {
        let by = self.users[by];
        let chosen = messages.iter().map(|message| self.choose(&Who::Sender, *message).1);
        let ids: Vec<_> = chosen.collect::<BTreeSet<_>>().into_iter().collect();
        let action = marks.map_or(Action::Delete, Action::Mark);
        let asked = ids.clone();
        let again = ids.iter().filter(|id| marks.is_none() && self.has_tombstone(by, **id));
        let again: BTreeSet<_> = again.copied().collect();
        let answer = self.world.write(move |tx, cx| messages::batch(tx, cx, by, &asked, action));
        let (held, not_found): (Vec<_>, _) =
            ids.into_iter().partition(|id| self.model.held(by, *id).is_some());
        self.touched.insert(by);
        for id in &held {
            match marks {
                Some(marks) => self.model.mark(by, *id, marks, self.world.now()),
                None => self.model.remove(by, *id),
            }
        }
        let (updated, destroyed) =
            if marks.is_some() { (held, Vec::new()) } else { (Vec::new(), held) };
        let (gone, not_found): (Vec<_>, _) =
            not_found.into_iter().partition(|id: &MessageId| again.contains(id));
        let destroyed = destroyed.into_iter().chain(gone).collect::<BTreeSet<_>>();
        let destroyed = destroyed.into_iter().collect();
        prop_assert_eq!(answer, Ok(Batch { updated, destroyed, not_found }));
        Ok(())
    }

    fn sweep(
        &mut self,
        (by, id): (UserId, ConversationId),
        sweep: ConversationAction,
        before: Option<MessageId>,
        limit: usize,
    ) -> Holds {
        let mut answer = self.world.write(move |tx, cx| {
            conversations::apply_to_all(tx, cx, by, id, sweep, (before, limit))
        });
        let mut rounds = 0;
        while let Ok(Some(next)) = answer {
            answer = self.world.write(move |tx, cx| {
                conversations::apply_to_all(tx, cx, by, id, sweep, (Some(next), limit))
            });
            rounds += 1;
            prop_assert!(rounds <= STEPS, "it ends");
        }
        if self.told_apart(by, id, answer.map(drop))? {
            let marks = match sweep {
                ConversationAction::Read => Marks { read: Some(true), ..Marks::default() },
                ConversationAction::Trash => Marks { trashed: Some(true), ..Marks::default() },
            };
            for message in self.model.conversation(by, id) {
                if before.is_none_or(|before| message < before) {
                    self.model.mark(by, message, marks, self.world.now());
                }
            }
        }
        Ok(())
    }

    fn mark_unread(&mut self, by: &Who, message: Index, before: Option<MessageId>) -> Holds {
        let (by, id) = self.choose_conversation(by, message);
        let answer =
            self.world.write(move |tx, cx| conversations::mark_unread(tx, cx, by, id, before));
        if self.told_apart(by, id, answer)? {
            let messages = self.model.conversation(by, id).into_iter();
            let newest = messages.rev().find(|message| {
                let held = self.model.mailboxes[&by].held[message];
                held.received
                    && held.marked.trashed.is_none()
                    && before.is_none_or(|before| *message < before)
            });
            let marks = Marks { read: Some(false), ..Marks::default() };
            if let Some(newest) = newest {
                self.model.mark(by, newest, marks, self.world.now());
            }
        }
        Ok(())
    }

    /// Whether the mailbox holds something of the conversation, as the answer has to say.
    fn told_apart(&mut self, by: UserId, id: ConversationId, answer: Result<()>) -> Told {
        self.touched.insert(by);
        let holds = self.model.holds_conversation(by, id);
        prop_assert_eq!(
            answer,
            if holds { Ok(()) } else { Err(Error::NotFound(Missing::Conversation)) }
        );
        Ok(holds)
    }

    fn empty_trash(&mut self) -> Holds {
        let (mut emptied, mut old) = (0, 0);
        while let Ok(some @ 1..) = self.world.write(|tx, cx| purge::trash(tx, cx, 3)) {
            emptied += some;
        }
        let ripe = self.world.now().plus(-KEPT);
        for owner in &self.users {
            for (id, held) in self.model.mailboxes[owner].held.clone() {
                if held.marked.trashed.is_some_and(|since| since < ripe) {
                    self.touched.insert(*owner);
                    self.model.remove(*owner, id);
                    old += 1;
                }
            }
        }
        prop_assert_eq!(emptied, old);
        Ok(())
    }

    /// What changes no message.
    fn arrange(&mut self, step: &Step) -> Holds {
        match *step {
            Step::Block { by, whom } => {
                let (by, whom) = (self.users[by], self.users[whom]);
                let answer = self.world.write(move |tx, cx| blocks::put(tx, cx, by, whom));
                let good = by != whom
                    && !self.model.mailboxes[&by].closed
                    && !self.model.mailboxes[&whom].erased;
                prop_assert_eq!(answer.is_ok(), good, "{:?}", answer);
                if good {
                    self.model.of(by).blocks.insert(whom);
                }
            }
            Step::Unblock { by, whom } => {
                let (by, whom) = (self.users[by], self.users[whom]);
                let answer = self.world.write(move |tx, _cx| blocks::remove(tx, by, whom));
                let removed = self.model.of(by).blocks.remove(&whom);
                let good = removed || !self.model.mailboxes[&whom].erased;
                prop_assert_eq!(answer, if good { Ok(()) } else { Err(Error::UnknownUser) });
            }
            Step::Accept { by, from } => {
                let by = self.users[by];
                let change = ProfileChange { accept_from: Some(from), ..ProfileChange::default() };
                let answer = self.world.write(move |tx, cx| users::update(tx, cx, by, &change));
                let closed = self.model.mailboxes[&by].closed;
                prop_assert_eq!(answer, if closed { Err(Error::NotLoggedIn) } else { Ok(()) });
                if !closed {
                    self.model.of(by).accept_from = from;
                }
            }
            Step::Disable(at) => {
                let user = self.users[at];
                let answer = self.world.write(move |tx, cx| users::disable(tx, cx, user));
                self.of_a_user(user, answer, |mailbox| mailbox.closed = true)?;
            }
            Step::Enable(at) => {
                let user = self.users[at];
                let answer = self.world.write(move |tx, cx| users::enable(tx, cx, user));
                self.of_a_user(user, answer, |mailbox| mailbox.closed = false)?;
            }
            Step::Erase(at) => self.erase(self.users[at])?,
            Step::Wait { hours } => self.world.wait(hours * Time::HOUR),
            _ => {}
        }
        Ok(())
    }

    /// Who was erased is no user any more.
    fn of_a_user(&mut self, user: UserId, answer: Result<()>, change: fn(&mut Mailbox)) -> Holds {
        let erased = self.model.mailboxes[&user].erased;
        prop_assert_eq!(answer, if erased { Err(Error::UnknownUser) } else { Ok(()) });
        if !erased {
            change(self.model.of(user));
        }
        Ok(())
    }

    fn erase(&mut self, user: UserId) -> Holds {
        let answer = self.world.write(move |tx, cx| users::erase(tx, cx, user));
        self.of_a_user(user, answer, |mailbox| {
            (mailbox.closed, mailbox.erased) = (true, true);
            mailbox.blocks.clear();
            mailbox.contacts.clear();
        })
    }

    /// Until then what an erased user held is there, for others to take back.
    fn empty_erased(&mut self) {
        while let Ok(1..) = self.world.write(|tx, cx| purge::erased_mailboxes(tx, cx, 2)) {}
        for (user, mailbox) in &mut self.model.mailboxes {
            if mailbox.erased {
                self.touched.insert(*user);
                mailbox.held.clear();
                mailbox.threads.clear();
            }
        }
    }

    /// Picks one of all messages that were ever sent; before the first, one that never was.
    fn choose(&self, by: &Who, message: Index) -> (UserId, MessageId) {
        let all: Vec<_> = self.model.sent.values().collect();
        if all.is_empty() {
            return (self.users[0], nothing());
        }
        let sent = message.get(&all);
        let by = match by {
            Who::Sender => sent.from,
            Who::Recipients(at) => *at.get(&sent.to),
            Who::User(at) => self.users[*at],
        };
        (by, sent.id)
    }

    /// Above a message, or nowhere.
    fn choose_bound(&self, up_to: Option<Index>) -> Option<MessageId> {
        up_to.map(|message| self.choose(&Who::Sender, message).1.next())
    }

    /// The same with the conversation that the message belongs to.
    fn choose_conversation(&self, by: &Who, message: Index) -> (UserId, ConversationId) {
        let (by, id) = self.choose(by, message);
        let sent = self.model.sent.get(&id);
        (by, sent.map_or(id.begins(), |sent| sent.conversation))
    }
}

fn is_answer(subject: &str) -> bool {
    subject.to_lowercase().starts_with("re:")
}
