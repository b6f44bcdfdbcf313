//! Sending: who gets a message, who does not and why, to whom an answer goes, and the limits.

use domain::messages::Marks;
use domain::quotas::SendLimits;
use domain::sending::RefusedRecipient::{FromParent, Named};
use domain::sending::{self, ClientId, Draft, MAX_RECIPIENTS, Metadata, Refusal};
use domain::text::{Email, Subject, Username};
use domain::users::{AcceptFrom, ProfileChange};
use domain::{Error, MessageId, Result, Time, UserId, UserRef, messages, users};

use crate::support::{LENGTHS, World, answer, draft, nobody, nothing, refusal, refused};

/// A draft to several.
fn to(recipients: impl IntoIterator<Item = UserRef>) -> Draft {
    Draft { to: recipients.into_iter().collect(), ..draft(nobody(), "a subject", "a body") }
}

fn name(folded: &str) -> UserRef {
    UserRef::Name(folded.to_owned())
}

impl World {
    pub(crate) fn accept(&self, owner: UserId, from: AcceptFrom) {
        let change = ProfileChange { accept_from: Some(from), ..ProfileChange::default() };
        self.write(move |tx, cx| users::update(tx, cx, owner, &change))
            .expect("the owner is enabled");
    }

    /// So many users at once.
    pub(crate) fn crowd(&self, size: usize) -> Vec<UserId> {
        let made = self.write(move |tx, cx| {
            let email = Email::parse("somebody@example.org")?;
            let user = |number: usize| {
                let name = Username::parse(&format!("user{number}"))?;
                users::create(tx, cx, &name, None, &email, "")
            };
            (0..size).map(user).collect::<Result<Vec<_>>>()
        });
        made.expect("the names are free")
    }

    fn to(&self, owner: UserId, id: MessageId) -> Vec<UserId> {
        self.peek(owner, id).expect("the mailbox holds it").envelope.to
    }
}

#[test]
fn what_a_send_shows_is_what_a_read_finds_in_two_statements() {
    let world = World::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.user(name));
    let asked = world.send(bob, ann, "a question");
    let id = UserRef::Id;
    let full = Draft {
        client_id: Some(ClientId::parse("outbox-1").unwrap()),
        metadata: Some(Metadata::parse("{\"order\": 7}".to_owned()).unwrap()),
        via: Some("shop".to_owned()),
        ..to([id(bob)])
    };
    let in_group = to([id(cid), id(ann), id(nobody()), id(bob)]);
    for draft in [full, to([id(ann)]), in_group, answer(asked, "an answer")] {
        world.wait(Time::SECOND);
        let (shown, read, statements) = world
            .write(move |tx, cx| {
                let sent = sending::send(tx, cx, ann, &draft, None)?;
                let before = tx.statements();
                let shown = sent.message(tx, &draft)?;
                let statements = tx.statements() - before;
                Ok((shown, messages::read_with_people(tx, ann, sent.id)?, statements))
            })
            .unwrap();
        assert_eq!((Some(shown), statements), (read, 2));
    }
}

#[test]
fn a_user_who_cannot_be_written_to_is_told_by_position_while_the_others_get_it() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    world.disable(cid);
    let recipients = [
        UserRef::Id(nobody()),
        UserRef::Id(dot),
        name("nobody"),
        UserRef::Id(cid),
        name("bob"),
        name("dot"),
    ];
    let sent = world.try_deliver(ann, to(recipients)).unwrap();
    let unknown = Refusal::Unknown;
    assert_eq!(
        sent.refused,
        [(Named(0), unknown), (Named(2), unknown), (Named(3), Refusal::Unavailable)]
    );
    assert_eq!(world.to(ann, sent.id), [dot, bob], "in the order of the draft, each once");
    assert_eq!((world.unread(dot), world.unread(bob)), (vec![sent.id], vec![sent.id]));
    assert_eq!((world.received(cid), world.received(ann)), (vec![], vec![]));
    assert_eq!(world.number("SELECT mailbox_count FROM messages"), 3);
}

#[test]
fn where_nobody_can_be_written_to_nothing_is_there_afterwards() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.accept(bob, AcceptFrom::Nobody);
    assert_eq!(refusal(world.try_deliver(ann, to([]))), Refusal::Unknown);
    let unknown = to([UserRef::Id(nobody()), name("nobody")]);
    assert_eq!(refusal(world.try_deliver(ann, unknown)), Refusal::Unknown);
    let some = to([UserRef::Id(nobody()), UserRef::Id(bob)]);
    assert_eq!(refusal(world.try_deliver(ann, some)), Refusal::Unavailable);
    for table in [
        "SELECT count(*) FROM messages",
        "SELECT count(*) FROM contacts",
        "SELECT CAST(sum(modseq) AS BIGINT) FROM mailboxes",
        "SELECT CAST(sum(unread) AS BIGINT) FROM mailboxes",
    ] {
        assert_eq!(world.number(table), 0, "{table}");
    }
}

#[test]
fn a_message_goes_to_a_hundred() {
    let world = World::new();
    let ann = world.user("ann");
    let others = world.crowd(MAX_RECIPIENTS);
    let id = world.send_to(ann, &others, "to all of you");
    assert_eq!(world.to(others[99], id), others);
    for other in &others {
        assert_eq!(world.unread(*other), [id]);
        assert_eq!(world.entry(*other, id).unwrap().peer, None, "there are several");
    }
    assert_eq!(world.number("SELECT mailbox_count FROM messages"), 101);
    // An answer to all goes to the sender and the other ninety-nine.
    let back = world.reply(others[0], id, "to all of you too");
    assert_eq!(world.to(ann, back).len(), 100);
    assert_eq!(world.problems(), []);
}

#[test]
fn somebody_who_is_named_twice_gets_one_and_the_sender_can_be_among_them() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let twice =
        to([UserRef::Id(bob), name("ann"), name("bob"), UserRef::Id(ann), UserRef::Id(bob)]);
    let sent = world.try_deliver(ann, twice).unwrap();
    assert_eq!((sent.refused, world.to(bob, sent.id)), (vec![], vec![bob, ann]));
    let own = world.entry(ann, sent.id).unwrap();
    assert!(own.received && own.sent && own.is_unread());
    assert_eq!(world.number("SELECT mailbox_count FROM messages"), 2);
}

#[test]
fn a_name_is_that_of_nobody_once_its_user_is_erased() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    world.write(move |tx, cx| users::erase(tx, cx, bob)).unwrap();
    let stub = format!("#{}", bob.get());
    let sent =
        world.try_deliver(ann, to([name("bob"), name(&stub), UserRef::Id(bob), UserRef::Id(cid)]));
    let unknown = Refusal::Unknown;
    assert_eq!(
        sent.unwrap().refused,
        [(Named(0), unknown), (Named(1), unknown), (Named(2), Refusal::Unavailable)]
    );
    let again = world.user("bob");
    let id = world.try_deliver(ann, to([name("bob")])).unwrap().id;
    assert_eq!((world.received(again), world.received(bob)), (vec![id], vec![]));
}

#[test]
fn an_answer_goes_on_with_the_conversation_the_people_and_the_subject() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    let first = world.send_to(ann, &[cid, bob], "hello");
    let back = world.reply(bob, first, "an answer");
    let envelope = world.peek(cid, back).unwrap().envelope;
    assert_eq!((envelope.from, envelope.to), (bob, vec![ann, cid]));
    assert_eq!(envelope.conversation, first.begins());
    assert_eq!((envelope.in_reply_to, envelope.subject.as_str()), (Some(first), "Re: a subject"));

    let again = world.reply(ann, back, "and back");
    let envelope = world.peek(ann, again).unwrap().envelope;
    assert_eq!(envelope.subject, "Re: a subject", "once is enough");
    assert_eq!((envelope.to, envelope.conversation), (vec![bob, cid], first.begins()));

    // To somebody new, under another subject.
    let subject = Subject::parse("another".to_owned(), LENGTHS).unwrap();
    let new =
        Draft { to: vec![UserRef::Id(dot)], subject: Some(subject), ..answer(again, "see this") };
    let new = world.try_send(cid, new).unwrap();
    let envelope = world.peek(dot, new).unwrap().envelope;
    assert_eq!((envelope.subject.as_str(), envelope.conversation), ("another", first.begins()));
    assert_eq!(world.received(bob), [first, again], "bob is left out");
    assert_eq!(world.problems(), []);
}

#[test]
fn a_user_who_does_not_get_an_answer_to_all_is_told_by_id() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    let first = world.send_to(ann, &[dot, cid, bob], "hello");
    world.disable(dot);
    world.block(bob, cid);
    let sent = world.try_deliver(cid, answer(first, "to all")).unwrap();
    let unavailable = Refusal::Unavailable;
    assert_eq!(sent.refused, [(FromParent(bob), unavailable), (FromParent(dot), unavailable)]);
    assert_eq!(world.to(ann, sent.id), [ann]);
    world.disable(ann);
    let answer = world.try_deliver(cid, answer(first, "to all"));
    assert_eq!(refusal(answer), Refusal::Unavailable);
}

#[test]
fn the_subject_of_an_answer_begins_with_re_once() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let cases =
        [("", "Re: "), ("Re: x", "Re: x"), ("rE:x", "rE:x"), ("Res", "Re: Res"), ("é", "Re: é")];
    for (subject, expected) in cases {
        let first = world.try_send(ann, draft(bob, subject, "")).unwrap();
        let back = world.reply(bob, first, "");
        assert_eq!(world.peek(ann, back).unwrap().envelope.subject, expected);
    }
}

#[test]
fn an_answer_to_oneself_goes_to_oneself() {
    let world = World::new();
    let ann = world.user("ann");
    let first = world.send(ann, ann, "buy milk");
    let back = world.reply(ann, first, "done");
    assert_eq!((world.to(ann, back), world.unread(ann)), (vec![ann], vec![first, back]));
}

#[test]
fn what_is_answered_is_in_the_senders_mailbox_in_the_trash_too() {
    let world = World::new();
    let (ann, bob, eve) = (world.user("ann"), world.user("bob"), world.user("eve"));
    let id = world.send(ann, bob, "hello");
    for missing in [id, nothing()] {
        let error = refused(world.try_send(eve, answer(missing, "")));
        let told = "in_reply_to: there is no such message in your mailbox";
        assert_eq!(error.to_string(), told, "a stranger learns nothing");
        assert!(matches!(error, Error::Invalid(_)));
    }
    world.mark(bob, id, Marks { trashed: Some(true), ..Marks::default() });
    world.reply(bob, id, "from the trash");
    world.write(move |tx, cx| messages::delete(tx, cx, bob, id)).unwrap();
    assert!(matches!(refused(world.try_send(bob, answer(id, ""))), Error::Invalid(_)));
    assert_eq!(world.problems(), []);
}

#[test]
fn what_the_app_keeps_with_a_message_comes_back() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let object = "{\"order\": [1, \"é\"]}".to_owned();
    let mut with = draft(bob, "", "");
    with.client_id = Some(ClientId::parse("my own").unwrap());
    with.metadata = Some(Metadata::parse(object.clone()).unwrap());
    let id = world.try_send(ann, with).unwrap();
    let envelope = world.peek(bob, id).unwrap().envelope;
    assert_eq!((envelope.client_id.as_deref(), envelope.metadata), (Some("my own"), Some(object)));

    for good in ["x".repeat(255), "é".repeat(255)] {
        ClientId::parse(&good).unwrap();
    }
    for bad in [String::new(), "x".repeat(256), "a\0b".to_owned()] {
        assert_eq!(ClientId::parse(&bad).unwrap_err().field, "client_id", "{bad:?}");
    }
    let padded = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    Metadata::parse(padded(Metadata::BYTES)).unwrap();
    for bad in [padded(Metadata::BYTES + 1), "{\"a\": \"\\u0000\"}".to_owned()] {
        assert_eq!(Metadata::parse(bad).unwrap_err().field, "metadata");
    }
}

#[test]
fn whom_one_has_written_to_is_noted_once_and_oneself_never() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    let first_at = world.now().0;
    world.send_to(ann, &[bob, ann], "hello");
    world.wait(Time::SECOND);
    let id = world.send_to(ann, &[bob, cid], "hello again");
    world.destroy(ann, id).unwrap();
    let contacts = world.rows("SELECT owner_id, peer_id, first_at FROM contacts", |row| {
        Ok((row.int(0)?, row.int(1)?, row.int(2)?))
    });
    let [ann, bob, cid] = [ann, bob, cid].map(UserId::get);
    assert_eq!(contacts, [(ann, bob, first_at), (ann, cid, first_at + Time::SECOND)]);
}

const LIMITS: SendLimits = SendLimits {
    sends_per_hour: 3,
    sends_per_day: 5,
    contacts_per_hour: 2,
    contacts_per_day: 100,
    lookups_per_hour: 4,
    young_for: 0,
    young_divisor: 1,
};

impl World {
    /// Sends within limits; what is left of each of them.
    fn send_limited(&self, from: UserId, draft: Draft) -> Result<Vec<(&'static str, i64)>> {
        let sent = self.write(move |tx, cx| sending::send(tx, cx, from, &draft, Some(&LIMITS)))?;
        Ok(sent.quotas.iter().map(|left| (left.name, left.remaining)).collect())
    }
}

#[track_caller]
fn exceeded<T>(result: Result<T>) -> &'static str {
    match refused(result) {
        Error::QuotaExceeded(over) => over.name,
        other => panic!("{other}"),
    }
}

#[test]
fn a_message_takes_one_of_the_limits_however_many_get_it_and_each_new_face_one() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    let both = || to([UserRef::Id(bob), UserRef::Id(cid)]);
    assert_eq!(
        world.send_limited(ann, both()),
        Ok(vec![("send-hour", 2), ("send-day", 4), ("contact-hour", 0), ("contact-day", 98)])
    );
    assert_eq!(world.send_limited(ann, both()), Ok(vec![("send-hour", 1), ("send-day", 3)]));
    assert_eq!(exceeded(world.send_limited(ann, draft(dot, "", ""))), "contact-hour");
    // Who has written to her is no new face, and neither is she herself.
    world.send(dot, ann, "hello");
    let known = to([UserRef::Id(dot), UserRef::Id(ann)]);
    assert_eq!(world.send_limited(ann, known), Ok(vec![("send-hour", 0), ("send-day", 2)]));
    assert_eq!(exceeded(world.send_limited(ann, both())), "send-hour");
    world.wait(Time::HOUR);
    assert_eq!(world.send_limited(ann, both()), Ok(vec![("send-hour", 2), ("send-day", 1)]));
}

#[test]
fn what_is_not_sent_takes_nothing() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    world.block(cid, ann);
    let used = "SELECT CAST(coalesce(sum(used), 0) AS BIGINT) FROM quotas";
    refused(world.send_limited(ann, to([UserRef::Id(cid), name("nobody")])));
    refused(world.send_limited(ann, Draft { in_reply_to: Some(nothing()), ..draft(bob, "", "") }));
    assert_eq!((world.number(used), world.number("SELECT count(*) FROM contacts")), (0, 0));

    // Three new faces are one too many: nobody gets it, and nobody is known by it.
    world.block(bob, cid);
    let three = to([UserRef::Id(bob), UserRef::Id(dot), UserRef::Id(world.user("eve"))]);
    assert_eq!(exceeded(world.send_limited(ann, three)), "contact-hour");
    assert_eq!((world.number(used), world.number("SELECT count(*) FROM contacts")), (0, 0));
    assert_eq!(world.number("SELECT CAST(sum(modseq + unread) AS BIGINT) FROM mailboxes"), 0);
    // Who does not get it is no new face, but looked up; though one too many, as a new one is.
    let left = world.send_limited(ann, to([UserRef::Id(cid), UserRef::Id(dot)])).unwrap();
    assert_eq!((left[2], left[4]), (("contact-hour", 1), ("lookup-hour", 3)));
    let unknown = ["n1", "n2", "n3", "n4"].map(name);
    let probe = to(unknown.into_iter().chain([UserRef::Id(dot)]));
    assert_eq!(exceeded(world.send_limited(ann, probe)), "contact-hour");
}
