//! System messages: each recipient has one of their own, and nothing keeps it from them.

use std::num::NonZeroI64;

use domain::digests::NextDigest;
use domain::entries::Folder;
use domain::messages::Marks;
use domain::sending::{Metadata, Refusal};
use domain::system_messages::{self, SystemDraft, SystemSent};
use domain::text::{Body, Subject};
use domain::users::{self, AcceptFrom, ProfileChange};
use domain::webhooks::{EventKind, EventKinds};
use domain::{Error, Invalid, MessageId, Result, Time, UserId, UserRef, Wanted, digests, unread};

use crate::support::{LENGTHS, World, nobody, refused};

/// A draft of what is within all bounds.
fn news() -> SystemDraft {
    SystemDraft {
        subject: Subject::parse("news".to_owned(), LENGTHS).expect("it is a subject"),
        body: Body::parse("all about it".to_owned(), LENGTHS).expect("it is a body"),
        metadata: None,
        silent: false,
        expires_at: None,
        reminder: true,
    }
}

fn ids(users: &[UserId]) -> Vec<UserRef> {
    users.iter().map(|user| UserRef::Id(*user)).collect()
}

impl World {
    fn try_tell(&self, from: UserId, to: &[UserId], draft: SystemDraft) -> Result<SystemSent> {
        let to = ids(to);
        self.write(move |tx, cx| system_messages::send(tx, cx, from, &to, &draft, &[]))
    }

    fn tell(&self, from: UserId, to: &[UserId], draft: SystemDraft) -> Vec<MessageId> {
        let sent = self.try_tell(from, to, draft).expect("it can be sent");
        assert_eq!(sent.refused, []);
        sent.messages.into_iter().map(|(_, id)| id).collect()
    }

    /// Sends the news to people who have to get them.
    pub(crate) fn tells(&self, from: UserId, to: &[UserId]) -> Vec<MessageId> {
        self.tell(from, to, news())
    }

    fn unread_count(&self, user: UserId) -> (i64, i64) {
        let counts = self.read(move |tx, _cx| unread::counts(tx, user));
        (counts.messages, counts.conversations)
    }

    fn expire(&self, limit: i64) -> u64 {
        let is_due = self.read(system_messages::has_expired);
        let due = self.write(move |tx, cx| system_messages::expire(tx, cx, limit));
        let due = due.expect("it can be withdrawn");
        assert_eq!(is_due, due > 0);
        due
    }
}

fn trio(world: &World) -> [UserId; 3] {
    ["ann", "bob", "cid"].map(|name| world.user(name))
}

#[test]
fn everybody_gets_a_message_of_their_own_and_sees_nobody_else() {
    let world = World::new();
    let [ann, bob, cid] = trio(&world);
    let shop = world.system("shop", "Our Shop", false);
    world.send(bob, ann, "before");
    let metadata = Metadata::parse("{\"order\":7}".to_owned()).ok();
    let sent = world.try_tell(shop, &[cid, ann, bob], SystemDraft { metadata, ..news() }).unwrap();
    assert_eq!(sent.messages.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [cid, ann, bob]);

    for (to, id) in &sent.messages {
        let message = world.peek(*to, *id).expect("it is there");
        assert_eq!((message.envelope.from, &message.envelope.to), (shop, &vec![*to]));
        assert_eq!(message.envelope.conversation, id.begins());
        assert_eq!(message.envelope.metadata.as_deref(), Some("{\"order\":7}"));
        assert_eq!(message.entry.folder(), Folder::Inbox);
        assert!(message.entry.is_unread());
        assert_eq!(world.entry(shop, *id).expect("the sender has a copy").folder(), Folder::Sent);
        for other in [ann, bob, cid].iter().filter(|other| *other != to) {
            assert_eq!(world.peek(*other, *id), None);
        }
    }
    assert_eq!([ann, bob, cid].map(|user| world.unread_count(user)), [(2, 2), (1, 1), (1, 1)]);
    assert_eq!(world.number("SELECT count(*) FROM contacts"), 4, "bob wrote to ann");
    assert_eq!(world.number("SELECT count(*) FROM quotas"), 0);
    world.tells(shop, &[ann]);
    assert_eq!(world.unread_count(ann), (3, 3));
    assert_eq!(world.problems(), []);
}

#[test]
fn what_an_owner_accepts_does_not_matter() {
    let world = World::new();
    let [ann, bob, _] = trio(&world);
    let shop = world.system("shop", "Our Shop", false);
    for accept_from in [AcceptFrom::Known, AcceptFrom::Nobody] {
        let change = ProfileChange { accept_from: Some(accept_from), ..ProfileChange::default() };
        world.write(move |tx, cx| users::update(tx, cx, ann, &change)).unwrap();
        world.tells(shop, &[ann]);
    }
    world.write(move |tx, cx| domain::blocks::put(tx, cx, ann, bob)).unwrap();
    world.tells(shop, &[ann]);
    assert_eq!(world.unread_count(ann), (3, 3));
}

#[test]
fn who_cannot_get_it_is_named_and_nobody_gets_it_twice() {
    let world = World::new();
    let [ann, bob, cid] = trio(&world);
    let shop = world.system("shop", "Our Shop", true);
    let silent = world.system("post", "Post", false);
    world.disable(cid);
    let gone = world.user("gone");
    world.write(move |tx, cx| users::erase(tx, cx, gone)).unwrap();
    let to = [nobody(), ann, cid, gone, shop, ann, silent, bob];
    let sent = world.try_tell(shop, &to, news()).unwrap();
    let named: Vec<_> = sent.messages.iter().map(|(to, _)| *to).collect();
    assert_eq!(named, [ann, bob]);
    let refusals = [
        (0, Refusal::Unknown),
        (2, Refusal::Unavailable),
        (3, Refusal::Unknown),
        (4, Refusal::Unavailable),
        (6, Refusal::NoReplies),
    ];
    assert_eq!(sent.refused, refusals);

    let to = ids(&[ann, bob]);
    let draft = news();
    let further =
        world.write(move |tx, cx| system_messages::send(tx, cx, shop, &to, &draft, &[ann]));
    let named: Vec<_> = further.unwrap().messages.iter().map(|(to, _)| *to).collect();
    assert_eq!(named, [bob], "ann had it in a step before");
    let nobody_gets = world.try_tell(shop, &[cid, nobody()], news()).unwrap();
    assert_eq!(nobody_gets.messages, []);
    assert_eq!(world.problems(), []);
}

#[test]
fn only_an_active_system_user_sends_them() {
    let world = World::new();
    let [ann, bob, _] = trio(&world);
    let shop = world.system("shop", "Our Shop", false);
    let wrong = |from, draft, field| {
        let error = refused(world.try_tell(from, &[bob], draft));
        assert!(
            matches!(&error, Error::Invalid(Invalid { field: of, .. }) if *of == field),
            "{error}"
        );
    };
    wrong(ann, news(), "from");
    wrong(nobody(), news(), "from");
    wrong(shop, SystemDraft { expires_at: Some(world.now()), ..news() }, "expires_at");
    world.disable(shop);
    wrong(shop, news(), "from");
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    world.enable(shop);
    world.tells(shop, &[bob]);
}

#[test]
fn a_silent_one_is_born_read() {
    let world = World::new();
    world.want(Wanted { reminders: true, webhooks: EventKinds::all() });
    let [ann, ..] = trio(&world);
    let shop = world.system("shop", "Our Shop", false);
    let expires_at = Some(world.now().plus(Time::HOUR));
    let id = world.tell(shop, &[ann], SystemDraft { silent: true, expires_at, ..news() })[0];
    let entry = world.entry(ann, id).expect("it is there");
    assert_eq!(entry.read_at, Some(world.now()));
    assert_eq!(world.unread_count(ann), (0, 0));
    assert_eq!(world.number("SELECT count(*) FROM reminders"), 0);
    assert_eq!(world.number("SELECT count(*) FROM unread_changes"), 0);
    world.wait(2 * Time::HOUR);
    assert_eq!(world.expire(10), 0);
    assert!(world.entry(ann, id).is_some(), "it was never unread");
    world.mark(ann, id, Marks { read: Some(false), ..Marks::default() });
    assert_eq!(world.unread_count(ann), (1, 1));
    assert_eq!(world.problems(), []);
}

#[test]
fn at_its_time_it_is_withdrawn_from_who_never_read_it() {
    let world = World::new();
    let [ann, bob, cid] = trio(&world);
    let [dot, eve] = ["dot", "eve"].map(|name| world.user(name));
    let shop = world.system("shop", "Our Shop", false);
    let expires_at = Some(world.now().plus(Time::HOUR));
    let to = [ann, bob, cid, dot, eve];
    let ids = world.tell(shop, &to, SystemDraft { expires_at, ..news() });
    let stays = world.tells(shop, &[ann])[0];
    world.mark_read(bob, ids[1]);
    world.mark_read(cid, ids[2]);
    world.mark(cid, ids[2], Marks { read: Some(false), ..Marks::default() });
    world.delete(dot, ids[3]).unwrap();
    world.mark(eve, ids[4], Marks { archived: Some(true), ..Marks::default() });

    world.wait(Time::HOUR - 1);
    assert_eq!(world.expire(10), 0);
    world.wait(1);
    world.want(Wanted {
        webhooks: [EventKind::MessageDestroyed].into_iter().collect(),
        ..Wanted::default()
    });
    assert_eq!([world.expire(3), world.expire(3), world.expire(3)], [3, 2, 0]);

    let there = [(ann, 0), (bob, 1), (cid, 2), (dot, 3), (eve, 4)];
    let there = there.map(|(owner, at)| world.entry(owner, ids[at]).is_some());
    assert_eq!(there, [false, true, true, false, false]);
    assert!(world.entry(ann, stays).is_some());
    assert_eq!(world.unread_count(ann), (1, 1));
    assert!(ids.iter().all(|id| world.entry(shop, *id).is_some()), "the sender keeps theirs");
    assert_eq!(world.number("SELECT count(*) FROM tombstones"), 3);
    assert_eq!(world.number("SELECT count(*) FROM webhook_events"), 2);
    assert_eq!(world.number("SELECT count(*) FROM expirations"), 0);
    assert_eq!(world.problems(), []);
}

#[test]
fn it_may_expire_after_its_people_were_erased() {
    let world = World::new();
    let [ann, bob, _] = trio(&world);
    let shop = world.system("shop", "Our Shop", false);
    let expires_at = Some(world.now().plus(Time::HOUR));
    world.tell(shop, &[ann, bob], SystemDraft { expires_at, ..news() });
    for user in [ann, shop] {
        world.write(move |tx, cx| users::erase(tx, cx, user)).unwrap();
    }
    while world.write(|tx, cx| domain::purge::erased_mailboxes(tx, cx, 100)).unwrap() > 0 {}
    world.wait(Time::HOUR);
    assert_eq!(world.expire(10), 2);
    assert_eq!(world.received(bob), []);
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    assert_eq!(world.problems(), []);
}

#[test]
fn nobody_is_reminded_of_one_without_a_reminder() {
    const AFTER: NonZeroI64 = NonZeroI64::new(Time::HOUR).unwrap();
    let world = World::new();
    world.want(Wanted { reminders: true, ..Wanted::default() });
    let [ann, bob, cid] = trio(&world);
    let shop = world.system("shop", "Our Shop", false);
    let quiet = || SystemDraft { reminder: false, ..news() };
    world.tell(shop, &[bob, ann], quiet());
    assert_eq!(world.number("SELECT count(*) FROM reminders"), 0);
    world.tells(shop, &[cid]);
    world.send(cid, ann, "a letter");
    world.tell(shop, &[ann], quiet());
    world.wait(Time::HOUR);
    let mut named = Vec::new();
    loop {
        match world.write(|tx, cx| digests::next(tx, cx, AFTER)).expect("it can be asked") {
            NextDigest::NoneDue => break,
            NextDigest::Skipped => {}
            NextDigest::Send(digest) => {
                named.extend(
                    digest.messages.iter().map(|of| (digest.claim.owner, of.subject.clone())),
                );
            }
        }
    }
    named.sort();
    assert_eq!(named, [(ann, "a subject".to_owned()), (cid, "news".to_owned())]);
}

#[test]
fn an_event_tells_of_each_of_them() {
    let world = World::new();
    world.want(Wanted { webhooks: EventKinds::usual(), ..Wanted::default() });
    let [ann, bob, _] = trio(&world);
    let shop = world.system("shop", "Our Shop", false);
    world.sql("DELETE FROM webhook_events");
    let undone = world.write(move |tx, cx| {
        system_messages::send(tx, cx, shop, &ids(&[ann, bob]), &news(), &[])?;
        Err::<(), _>(Error::UnknownUser)
    });
    assert_eq!(refused(undone), Error::UnknownUser);
    assert_eq!(world.number("SELECT count(*) FROM webhook_events"), 0);
    let sent = world.tells(shop, &[bob, ann]);
    let events = world.rows(
        "SELECT kind, message_id, sender_id, recipients FROM webhook_events ORDER BY message_id",
        |row| Ok((row.int(0)?, row.int(1)?, row.int(2)?, row.text(3)?.to_owned())),
    );
    let mut expected: Vec<_> = [bob, ann]
        .iter()
        .zip(&sent)
        .map(|(to, id)| {
            let kind = EventKind::MessageCreated as i64;
            (kind, id.get(), shop.get(), to.get().to_string())
        })
        .collect();
    expected.sort_by_key(|(_, id, ..)| *id);
    assert_eq!(events, expected);
}

#[test]
fn two_hundred_need_as_many_statements_as_two() {
    let world = World::new();
    world.want(Wanted {
        reminders: true,
        webhooks: [EventKind::UnreadChanged].into_iter().collect(),
    });
    let shop = world.system("shop", "Our Shop", false);
    let people: Vec<_> = (0..200).map(|number| world.user(&format!("user{number}"))).collect();
    let expires_at = Some(world.now().plus(Time::HOUR));
    let count = |to: &[UserId]| {
        let (to, draft) = (ids(to), SystemDraft { expires_at, ..news() });
        let counted = world.write(move |tx, cx| {
            let sent = system_messages::send(tx, cx, shop, &to, &draft, &[])?;
            Ok((sent.messages.len(), tx.statements()))
        });
        counted.expect("it can be sent")
    };
    // Who they are, the lock, the mailboxes, the kind of the sender, the messages, the mailboxes of
    // the recipients and of the sender, the entries, the contacts, the changes, the reminders, the
    // time.
    assert_eq!(count(&people[..2]), (2, 12));
    assert_eq!(count(&people), (200, 12));
    assert_eq!(world.problems(), []);
}
