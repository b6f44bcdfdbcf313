//! Retention: what is old leaves every mailbox, and states and counts are right.

use domain::messages::{self, Marks};
use domain::retention::{self, Step};
use domain::system_messages::{self, SystemDraft};
use domain::webhooks::EventKind;
use domain::{
    Cx, MessageId, Result, Time, UserId, UserRef, Wanted, changes, known_time, sending, unread,
    users,
};

use crate::support::{World, answer, draft};

const KEPT: i64 = 90 * Time::DAY;
const TRASHED: Marks = Marks { trashed: Some(true), read: None, starred: None, archived: None };

impl World {
    fn is_due(&self) -> bool {
        self.read(|tx, cx| retention::is_due(tx, cx, KEPT))
    }

    /// One step after another until nothing is due. Returns how many messages went.
    fn retain(&self, copies: usize) -> u64 {
        let (mut all, mut after) = (0, None);
        let mut step = || {
            let from: Option<MessageId> = after;
            let step: Result<Option<Step>> =
                self.write(move |tx, cx| retention::remove(tx, cx, KEPT, from, copies));
            let step = step.expect("it can be removed")?;
            after = Some(step.last);
            Some(step.messages)
        };
        while let Some(messages) = step() {
            all += messages;
        }
        assert!(!self.is_due());
        all
    }

    fn modseq(&self, user: UserId) -> i64 {
        self.read(move |tx, _cx| Ok(unread::counts(tx, user)?.modseq))
    }

    /// What a client learns that was there before: what has gone, and what has changed.
    fn learns(&self, user: UserId, since: i64) -> (Vec<MessageId>, Vec<MessageId>) {
        let page = self.read(move |tx, _cx| changes::since(tx, user, since, 100));
        let (gone, changed): (Vec<_>, Vec<_>) =
            page.changes.into_iter().partition(|change| change.entry.is_none());
        let ids = |changes: Vec<changes::Change>| changes.iter().map(|of| of.message).collect();
        (ids(gone), ids(changed))
    }
}

#[test]
fn what_is_old_leaves_every_mailbox_and_the_rest_stays() {
    for copies in [1, 3, 1000] {
        let world = World::new();
        let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.user(name));
        let read = world.send(ann, bob, "read");
        world.mark_read(bob, read);
        let unread = world.send(ann, bob, "unread");
        let own = world.send(ann, ann, "to herself");
        let trashed = world.send(bob, ann, "thrown away");
        world.mark(ann, trashed, TRASHED);
        let archived = world.send(cid, bob, "archived");
        world.mark(bob, archived, Marks { archived: Some(true), ..Marks::default() });
        let first = world.send_to(ann, &[bob, cid], "a conversation begins");
        let answer = world.reply(bob, first, "an old answer");
        let left = world.send(ann, cid, "that one has deleted");
        world.delete(cid, left).expect("they may");
        let old = [read, unread, own, trashed, archived, first, answer, left];
        world.wait(Time::DAY);
        let goes_on = world.reply(cid, first, "a newer answer");
        let newer = world.send(ann, bob, "newer");
        let states = [ann, bob, cid].map(|user| world.modseq(user));
        assert!(!world.is_due());
        assert_eq!(world.retain(copies), 0);

        world.wait(KEPT - Time::DAY + 1);
        assert!(world.is_due());
        assert_eq!(world.retain(copies), 8);

        for user in [ann, bob, cid] {
            for message in old {
                assert!(world.entry(user, message).is_none(), "{message:?} of {user:?}");
            }
            assert!(world.entry(user, goes_on).is_some());
        }
        assert!(world.entry(bob, newer).is_some());
        assert_eq!(world.number("SELECT count(*) FROM messages"), 2);
        assert_eq!(world.counts_of(ann), (1, 1));
        assert_eq!(world.counts_of(bob), (2, 2));
        assert_eq!(world.counts_of(cid), (0, 0));
        let gone = [
            vec![read, unread, own, trashed, first, answer, left],
            vec![read, unread, trashed, archived, first, answer],
            vec![archived, first, answer],
        ];
        for ((user, since), mut expected) in [ann, bob, cid].into_iter().zip(states).zip(gone) {
            let (mut found, changed) = world.learns(user, since);
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{user:?}");
            assert_eq!(changed, [goes_on], "the conversation is to be loaded again");
        }
        assert_eq!(world.problems(), []);
        assert_eq!(world.number("SELECT count(*) FROM trash"), 0);
        assert!(world.number("SELECT count(*) FROM contacts") > 0, "who knows whom stays");
        world.reply(bob, goes_on, "it goes on");
        assert_eq!(world.problems(), []);
    }
}

#[test]
fn what_its_owner_deletes_or_answers_meanwhile_is_counted_once() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let deleted = world.send(ann, bob, "bob deletes it");
    let answered = world.send(ann, bob, "bob answers it");
    world.wait(KEPT + 1);
    let delete = move |tx: &mut db::Tx<'_>, cx: &Cx| messages::delete(tx, cx, bob, deleted);
    assert_eq!(world.meanwhile(delete, || world.retain(1)), 2);
    assert!(world.entry(ann, deleted).is_none() && world.entry(bob, deleted).is_none());
    assert_eq!(world.problems(), []);

    let begins = world.send(ann, bob, "begins");
    world.wait(KEPT + 1);
    let reply = move |tx: &mut db::Tx<'_>, cx: &Cx| {
        sending::send(tx, cx, bob, &answer(begins, "in the last moment"), None).map(drop)
    };
    assert_eq!(world.meanwhile(reply, || world.retain(10)), 1);
    assert!(world.entry(bob, begins).is_none() && world.entry(bob, answered).is_none());
    assert_eq!(world.received(ann).len(), 1, "the answer is new");
    assert_eq!(world.problems(), []);
}

#[test]
fn a_step_removes_as_many_as_it_may_and_one_at_least() {
    let world = World::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.user(name));
    let ids: Vec<_> = (0..3).map(|_| world.send_to(ann, &[bob, cid], "to both")).collect();
    world.wait(KEPT + 1);
    let step = |after: Option<MessageId>, copies| {
        world.write(move |tx, cx| retention::remove(tx, cx, KEPT, after, copies)).unwrap()
    };
    assert_eq!(step(None, 1), Some(Step { messages: 1, last: ids[0] }));
    assert_eq!(world.problems(), [], "it may stop here");
    assert_eq!(step(Some(ids[0]), 6), Some(Step { messages: 2, last: ids[2] }));
    assert_eq!(step(Some(ids[2]), 6), None);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_long_time_is_longer_than_any_date() {
    let world = World::new();
    let ann = world.user("ann");
    world.send(ann, ann, "stays");
    world.wait(400 * Time::DAY);
    for kept in [401 * Time::DAY, i64::MAX] {
        assert!(!world.read(move |tx, cx| retention::is_due(tx, cx, kept)), "{kept}");
    }
    assert!(world.read(|tx, cx| retention::is_due(tx, cx, 399 * Time::DAY)));
}

#[test]
fn a_date_in_the_future_is_judged_by_what_came_after_it() {
    for many in [1, 5] {
        let world = World::new();
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let right = world.now();
        world.set_clock(right.plus(4_000 * Time::DAY));
        let ahead: Vec<_> = (0..many).map(|_| world.send(ann, bob, "by a clock ahead")).collect();
        world.set_clock(right);
        world.wait(KEPT + Time::DAY);
        assert_eq!(world.retain(2), 0, "nothing says how old they are");
        let after = world.send(ann, bob, "after them");
        world.wait(KEPT);
        assert_eq!(world.retain(2), 0);
        world.wait(1);
        assert_eq!(world.retain(2), many + 1);
        for id in ahead.into_iter().chain([after]) {
            assert!(world.entry(bob, id).is_none());
        }
        assert_eq!(world.problems(), []);
    }
}

#[test]
fn a_date_that_is_too_early_goes_with_what_was_sent_before() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let before = world.send(ann, bob, "before");
    let right = world.now();
    world.set_clock(Time(Time::DAY));
    let behind = world.send(ann, bob, "by a clock that begins in 1970");
    world.set_clock(right);
    assert_eq!(world.retain(10), 0);
    world.wait(KEPT + 1);
    assert_eq!(world.retain(10), 2);
    assert!(world.entry(bob, before).is_none() && world.entry(bob, behind).is_none());
}

#[test]
fn what_is_unsent_expires_or_belongs_to_an_erased_user_goes_as_well() {
    let world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.user(name));
    let shop = world.system("shop", "Our Shop", false);
    let letter = SystemDraft {
        subject: draft(ann, "a subject", "").subject.expect("it has one"),
        body: draft(ann, "", "a body").body,
        metadata: None,
        silent: false,
        expires_at: Some(world.now().plus(400 * Time::DAY)),
        reminder: true,
    };
    let sent = world.write(move |tx, cx| {
        system_messages::send(tx, cx, shop, &[UserRef::Id(ann), UserRef::Id(bob)], &letter, &[])
    });
    assert_eq!(sent.expect("it can be sent").messages.len(), 2);
    let unsent = world.send(ann, bob, "unsent");
    world.write(move |tx, cx| messages::unsend(tx, cx, ann, unsent)).unwrap();
    world.send(eve, bob, "of one who is erased");
    world.write(move |tx, cx| users::erase(tx, cx, eve)).unwrap();
    world.wait(KEPT + 1);
    assert_eq!(world.retain(3), 4);
    assert_eq!(world.problems(), []);
    world.wait(400 * Time::DAY);
    let expire = |tx: &mut db::Tx<'_>, cx: &Cx| system_messages::expire(tx, cx, 10);
    assert_eq!(world.write(expire), Ok(2), "nothing is left of them to withdraw");
    let purge = |tx: &mut db::Tx<'_>, cx: &Cx| domain::purge::erased_mailboxes(tx, cx, 10);
    while world.write(purge).expect("it can be purged") > 0 {}
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    assert_eq!(world.problems(), []);
}

#[test]
fn webhooks_are_told_of_each_mailbox_that_a_message_has_left() {
    let world = World::new();
    let [ann, bob] = ["ann", "bob"].map(|name| world.user(name));
    world.send(ann, bob, "a");
    let begins = world.send(bob, ann, "b");
    world.reply(ann, begins, "c");
    world.wait(KEPT + 1);
    world.want(Wanted { webhooks: EventKind::ALL.into_iter().collect(), reminders: false });
    assert_eq!(world.retain(100), 3);
    let events = world.rows("SELECT kind, user_id FROM webhook_events", |row| {
        Ok((row.int(0)?, UserId::new(row.int(1)?).expect("it is an id")))
    });
    let gone = EventKind::MessageDestroyed as i64;
    for user in [ann, bob] {
        assert_eq!(events.iter().filter(|event| **event == (gone, user)).count(), 3);
    }
    assert_eq!(events.len(), 6);
}

#[test]
fn a_clock_that_is_far_ahead_is_told_apart() {
    let world = World::new();
    let ann = world.user("ann");
    world.send(ann, ann, "stays");
    world.wait(KEPT + Time::DAY);
    assert!(world.is_due());
    assert!(!world.read(known_time::is_near), "so the job does nothing");
}
