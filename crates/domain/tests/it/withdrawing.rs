//! Erasing a user with everything that they sent: it leaves every mailbox, read or not, and states
//! and counts are right.

use domain::messages::Marks;
use domain::users;
use domain::webhooks::EventKind;
use domain::{UserId, Wanted, changes, purge, unread};

use crate::support::World;

impl World {
    fn erase_and_withdraw(&self, user: UserId, limit: i64) {
        self.write(move |tx, cx| users::erase_and_withdraw(tx, cx, user)).expect("they exist");
        while self
            .write(move |tx, cx| purge::erased_mailboxes(tx, cx, limit))
            .expect("it can be done")
            > 0
        {}
        assert_eq!(self.number("SELECT count(*) FROM erasures"), 0);
    }

    /// The unread counts, in messages and in conversations.
    pub(crate) fn counts_of(&self, user: UserId) -> (i64, i64) {
        let counts = self.read(move |tx, _cx| unread::counts(tx, user));
        (counts.messages, counts.conversations)
    }
}

#[test]
fn what_an_erased_user_sent_leaves_every_mailbox() {
    for limit in [1, 2, 100] {
        let world = World::new();
        let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
        let to_bob = world.send(ann, bob, "to bob, who reads it");
        world.mark_read(bob, to_bob);
        let to_both = world.send_to(ann, &[bob, cid], "to both");
        let kept = world.reply(bob, to_both, "an answer of bob's");
        let again = world.reply(ann, kept, "an answer of ann's");
        let deleted = world.send(ann, cid, "ann has deleted her copy");
        let delete = move |tx: &mut db::Tx<'_>, cx: &domain::Cx| {
            domain::messages::delete(tx, cx, ann, deleted)
        };
        world.write(delete).unwrap();
        let trashed = world.send(ann, cid, "cid has thrown it away");
        world.mark(cid, trashed, Marks { trashed: Some(true), ..Marks::default() });
        let own = world.send(ann, ann, "to herself");
        let other = world.send(cid, bob, "of somebody else");
        let received = world.send(bob, ann, "for ann");
        let since = world.read(move |tx, _cx| Ok(unread::counts(tx, cid)?.modseq));

        world.erase_and_withdraw(ann, limit);

        for user in [bob, cid] {
            for message in [to_bob, to_both, again, deleted, trashed, own] {
                assert!(world.peek(user, message).is_none(), "{message:?} of {user:?}");
            }
            assert!(world.peek(user, kept).is_some());
        }
        assert!(world.peek(bob, other).is_some() && world.peek(bob, received).is_some());
        // Bob's answer, and what cid wrote to bob.
        assert_eq!(world.counts_of(cid), (1, 1));
        assert_eq!(world.counts_of(bob), (1, 1));
        assert_eq!(world.number("SELECT count(*) FROM contacts WHERE owner_id = 1"), 0);
        assert_eq!(world.number("SELECT count(*) FROM messages WHERE sender_id = 1"), 0);
        let page = world.read(move |tx, _cx| changes::since(tx, cid, since, 100));
        let gone = page.changes.iter().filter(|change| change.entry.is_none());
        let gone: Vec<_> = gone.map(|change| change.message).collect();
        assert!([to_both, again, deleted, trashed].iter().all(|id| gone.contains(id)), "{gone:?}");
        assert_eq!(world.problems(), []);
    }
}

#[test]
fn without_that_the_messages_stay() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let message = world.send(ann, bob, "stays");
    world.write(move |tx, cx| users::erase(tx, cx, ann)).unwrap();
    while world.write(|tx, cx| purge::erased_mailboxes(tx, cx, 10)).unwrap() > 0 {}
    assert!(world.peek(bob, message).is_some());
    assert_eq!(world.counts_of(bob), (1, 1));
}

#[test]
fn webhooks_are_told_of_each_mailbox_that_a_message_has_left() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    world.send_to(ann, &[bob, cid], "to both");
    world.want(Wanted { webhooks: EventKind::ALL.into_iter().collect(), reminders: false });
    world.erase_and_withdraw(ann, 10);
    let events = world.rows("SELECT kind, user_id FROM webhook_events ORDER BY id", |row| {
        Ok((row.int(0)?, UserId::new(row.int(1)?).expect("it is an id")))
    });
    let (erased, gone) = (EventKind::UserErased as i64, EventKind::MessageDestroyed as i64);
    assert_eq!(events, [(erased, ann), (gone, bob), (gone, cid)]);
}
