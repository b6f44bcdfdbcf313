//! Who may write to whom: each relation of two people, each rule of the recipient, each way into a
//! mailbox.

use std::fmt::Write as _;

use domain::messages::Marks;
use domain::sending::RefusedRecipient::{FromParent, Named};
use domain::sending::{Draft, Refusal};
use domain::users::AcceptFrom;
use domain::{Error, MessageId, SCHEMA, UserId, UserRef, messages};

use crate::support::{World, answer, draft, refusal, refused};

/// ann is written to, by bob most often; cid knows both, and eve is who bob brings in.
#[derive(Clone, Copy)]
struct People {
    ann: UserId,
    bob: UserId,
    cid: UserId,
    eve: UserId,
}

/// Who writes to ann, and the message that they answer where they answer one.
type Arrange = fn(&World, People) -> (UserId, MessageId);

/// What gets in: a `new` message, a `reply` to ann alone, a reply to `all`.
struct Row {
    relation: &'static str,
    everyone: &'static str,
    known: &'static str,
    nobody: &'static str,
    arrange: Arrange,
}

const ALL: &str = "new reply all";
const REPLIES: &str = "reply all";
const NONE: &str = "";

/// From one to some in answer to another message.
fn reply(world: &World, from: UserId, message: MessageId, to: &[UserId]) -> MessageId {
    let to = to.iter().map(|user| UserRef::Id(*user)).collect();
    world.try_send(from, Draft { to, ..answer(message, "") }).expect("it can be sent")
}

const TABLE: &[Row] = &[
    Row {
        relation: "a stranger",
        everyone: "new reply",
        known: NONE,
        nobody: NONE,
        arrange: |world, p| (p.bob, world.send(p.bob, p.cid, "")),
    },
    Row {
        relation: "ann wrote to bob once",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| (p.bob, world.send(p.ann, p.bob, "")),
    },
    Row {
        relation: "bob wrote to ann once",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| (p.bob, world.send(p.bob, p.ann, "")),
    },
    Row {
        relation: "bob wrote to ann, who deleted it",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.bob, p.ann, "");
            world.destroy(p.ann, id).expect("it is there");
            (p.bob, id)
        },
    },
    Row {
        relation: "ann answered bob",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let id = world.send(p.bob, p.ann, "");
            world.reply(p.ann, id, "");
            (p.bob, id)
        },
    },
    Row {
        relation: "a third person wrote to both",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| (p.bob, world.send_to(p.cid, &[p.ann, p.bob], "")),
    },
    Row {
        relation: "a third person wrote to both, and ann answered only that person",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send_to(p.cid, &[p.ann, p.bob], "");
            reply(world, p.ann, id, &[p.cid]);
            (p.bob, id)
        },
    },
    Row {
        relation: "the same, and ann wrote to bob elsewhere",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let id = world.send_to(p.cid, &[p.ann, p.bob], "");
            reply(world, p.ann, id, &[p.cid]);
            world.send(p.ann, p.bob, "");
            (p.bob, id)
        },
    },
    Row {
        relation: "the same, and ann has deleted both",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let id = world.send_to(p.cid, &[p.ann, p.bob], "");
            let back = reply(world, p.ann, id, &[p.cid]);
            let elsewhere = world.send(p.ann, p.bob, "");
            world.destroy(p.ann, back).expect("it is there");
            world.destroy(p.ann, elsewhere).expect("it is there");
            (p.bob, id)
        },
    },
    Row {
        relation: "ann wrote to bob, but not in the conversation that a third person began",
        everyone: ALL,
        known: ALL,
        nobody: NONE,
        arrange: |world, p| {
            world.send(p.ann, p.bob, "");
            (p.bob, world.send_to(p.cid, &[p.ann, p.bob], ""))
        },
    },
    Row {
        relation: "ann wrote to bob and deleted the own copy",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.destroy(p.ann, id).expect("it is there");
            (p.bob, id)
        },
    },
    Row {
        relation: "the same, and bob answers an answer of bob's",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.destroy(p.ann, id).expect("it is there");
            (p.bob, world.reply(p.bob, id, ""))
        },
    },
    Row {
        relation: "ann wrote to bob and unsent it",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.unsend(p.ann, id).expect("ann sent it");
            (p.bob, world.send_to(p.cid, &[p.ann, p.bob], ""))
        },
    },
    Row {
        relation: "ann wrote to bob and withdrew it by the classic API",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.delete(p.ann, id).expect("it is there");
            (p.bob, world.send_to(p.cid, &[p.ann, p.bob], ""))
        },
    },
    Row {
        relation: "the same after bob had read it and marked it as unread",
        everyone: ALL,
        known: ALL,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.open(p.bob, id);
            world.mark(p.bob, id, Marks { read: Some(false), ..Default::default() });
            world.delete(p.ann, id).expect("it is there");
            (p.bob, world.send_to(p.cid, &[p.ann, p.bob], ""))
        },
    },
    Row {
        relation: "ann unsent the second message, and the first one stays",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            let second = world.send(p.ann, p.bob, "");
            world.unsend(p.ann, second).expect("ann sent it");
            (p.bob, id)
        },
    },
    Row {
        relation: "ann unsent the first message, and the second one stays",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let first = world.send(p.ann, p.bob, "");
            let second = world.send_to(p.ann, &[p.cid, p.bob], "");
            world.unsend(p.ann, first).expect("ann sent it");
            (p.bob, second)
        },
    },
    Row {
        relation: "ann unsent both, the first one first",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let first = world.send(p.ann, p.bob, "");
            let second = world.send(p.ann, p.bob, "");
            world.unsend(p.ann, first).expect("ann sent it");
            world.unsend(p.ann, second).expect("ann sent it");
            (p.bob, world.send_to(p.cid, &[p.ann, p.bob], ""))
        },
    },
    Row {
        relation: "ann unsent the first and deleted the own copy of the second, which bob holds",
        everyone: ALL,
        known: ALL,
        nobody: REPLIES,
        arrange: |world, p| {
            let first = world.send(p.ann, p.bob, "");
            let second = world.send(p.ann, p.bob, "");
            world.destroy(p.ann, second).expect("it is there");
            world.unsend(p.ann, first).expect("ann sent it");
            (p.bob, second)
        },
    },
    Row {
        relation: "ann wrote to bob, and then blocked bob",
        everyone: NONE,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.block(p.ann, p.bob);
            (p.bob, id)
        },
    },
    Row {
        relation: "ann wrote to bob, who blocks ann",
        everyone: NONE,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.block(p.bob, p.ann);
            (p.bob, id)
        },
    },
    Row {
        relation: "who is blocked brings a second account into the conversation",
        everyone: "new reply",
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            world.block(p.ann, p.bob);
            (p.eve, reply(world, p.bob, id, &[p.eve]))
        },
    },
    Row {
        relation: "a second account was brought in before the block, in a message to ann too",
        everyone: ALL,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            let id = world.send(p.ann, p.bob, "");
            let to_both = reply(world, p.bob, id, &[p.ann, p.eve]);
            world.block(p.ann, p.bob);
            (p.eve, to_both)
        },
    },
    Row {
        relation: "the first account answers in what its second account began",
        everyone: NONE,
        known: NONE,
        nobody: NONE,
        arrange: |world, p| {
            world.block(p.ann, p.bob);
            (p.bob, world.send_to(p.eve, &[p.ann, p.bob], ""))
        },
    },
];

#[test]
fn a_mailbox_opens_by_what_its_owner_has_done_and_by_nothing_else() {
    let mut wrong = String::new();
    for row in TABLE {
        let world = World::new();
        let [ann, bob, cid, eve] = ["ann", "bob", "cid", "eve"].map(|name| world.user(name));
        let (from, answered) = (row.arrange)(&world, People { ann, bob, cid, eve });
        // The closed ones first, as what gets in must open nothing.
        let rules = [
            (AcceptFrom::Nobody, row.nobody),
            (AcceptFrom::Known, row.known),
            (AcceptFrom::Everyone, row.everyone),
        ];
        for (rule, expected) in rules {
            world.accept(ann, rule);
            let mut got_in = Vec::new();
            for way in ["new", "reply", "all"] {
                let before = world.received(ann).len();
                let draft = match way {
                    "new" => draft(ann, "", ""),
                    "reply" => Draft { to: vec![UserRef::Id(ann)], ..answer(answered, "") },
                    _ => answer(answered, ""),
                };
                let sent = world.try_deliver(from, draft);
                if world.received(ann).len() > before {
                    assert!(sent.is_ok_and(|sent| sent.refused.is_empty() || way == "all"));
                    got_in.push(way);
                }
            }
            let (relation, got_in) = (row.relation, got_in.join(" "));
            if got_in != expected {
                let _ = writeln!(wrong, "{relation}, {rule:?}: [{got_in}], not [{expected}]");
            }
        }
        assert_eq!(world.problems(), [], "{}", row.relation);
    }
    assert_eq!(wrong, "");
}

#[test]
fn those_who_are_closed_do_not_keep_a_reply_to_all_from_the_others() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    let id = world.send_to(cid, &[ann, bob, dot], "to all of you");
    world.accept(ann, AcceptFrom::Nobody);
    world.accept(dot, AcceptFrom::Known);
    let sent = world.try_deliver(bob, answer(id, "to all")).unwrap();
    let unavailable = Refusal::Unavailable;
    assert_eq!(sent.refused, [(FromParent(ann), unavailable), (FromParent(dot), unavailable)]);
    assert_eq!(world.peek(cid, sent.id).unwrap().envelope.to, [cid]);
    // A note to oneself arrives, and those whom ann answers may answer again.
    world.send(ann, ann, "a note");
    let back = world.reply(ann, id, "to all");
    world.reply(bob, back, "to all again");
    assert_eq!(world.problems(), []);
}

#[test]
fn who_wrote_in_a_conversation_before_its_row_said_so_is_known() {
    let world = World::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.user(name));
    let first = world.send_to(cid, &[ann, bob], "to both");
    world.reply(ann, first, "to all");
    world.accept(ann, AcceptFrom::Nobody);
    let answer = || world.try_deliver(bob, answer(first, "to all")).expect("cid gets it").refused;
    assert_eq!(answer(), [], "she takes part in it");
    world.sql("UPDATE conversations SET has_written = NULL");
    assert_eq!(answer(), [(FromParent(ann), Refusal::Unavailable)]);
    let mut steps = SCHEMA.iter().flat_map(|migration| migration.sql.split(';'));
    let step = steps.find(|step| step.contains("\nUPDATE conversations SET has_written"));
    world.sql(step.expect("a migration fills it"));
    assert_eq!(answer(), []);
}

#[test]
fn nobody_writes_to_whom_they_block() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    // Ids below and above that of the sender.
    world.block(bob, ann);
    world.block(bob, dot);
    world.block(dot, bob);
    let before = world.rows("SELECT modseq, unread FROM mailboxes ORDER BY owner_id", |row| {
        Ok((row.int(0)?, row.int(1)?))
    });
    assert_eq!(refusal(world.try_send(bob, draft(ann, "", ""))), Refusal::BlockedByYou);
    let whom: Vec<_> = [dot, ann].map(UserRef::Id).to_vec();
    let answer_of = world.try_deliver(bob, Draft { to: whom, ..draft(ann, "", "") });
    let mine = Refusal::BlockedByYou;
    assert_eq!(
        refused(answer_of),
        Error::ReachesNobody(vec![(Named(0), mine), (Named(1), mine)]),
        "the own block comes before that of the other"
    );
    // To others, and to bob as well.
    for more in [vec![cid], vec![cid, bob]] {
        let to_all: Vec<_> = [ann, dot].iter().chain(&more).map(|to| UserRef::Id(*to)).collect();
        let sent = world.try_deliver(bob, Draft { to: to_all, ..draft(ann, "", "") }).unwrap();
        assert_eq!(sent.refused, [(Named(0), mine), (Named(1), mine)]);
        assert_eq!(world.peek(cid, sent.id).unwrap().envelope.to, more);
        let after = world.rows("SELECT modseq, unread FROM mailboxes ORDER BY owner_id", |row| {
            Ok((row.int(0)?, row.int(1)?))
        });
        assert_eq!((after[0], after[3]), (before[0], before[3]), "nothing happened in theirs");
        assert_eq!(world.problems(), []);
    }
    assert_eq!(world.number("SELECT count(*) FROM contacts WHERE owner_id = 2"), 1);
    assert_eq!(world.problems(), []);

    // In a reply to all they are left out, and a reply to them alone is refused.
    let both = world.send_to(cid, &[ann, bob], "to both");
    let back = world.try_deliver(bob, answer(both, "")).unwrap();
    assert_eq!(back.refused, [(FromParent(ann), mine)]);
    world.block(bob, cid);
    let refusals = refused(world.try_deliver(bob, answer(both, "")));
    assert_eq!(
        refusals,
        Error::ReachesNobody(vec![(FromParent(ann), mine), (FromParent(cid), mine)])
    );
    world.unblock(bob, ann);
    world.send(bob, ann, "again");
}

#[test]
fn of_several_reasons_the_one_is_reported_that_says_the_least() {
    let of = |refused: &[Refusal]| {
        let refused: Vec<_> = refused.iter().map(|refusal| (Named(0), *refusal)).collect();
        Refusal::of_all(&refused)
    };
    let [unknown, unavailable, mine] =
        [Refusal::Unknown, Refusal::Unavailable, Refusal::BlockedByYou];
    assert_eq!(of(&[]), unknown);
    assert_eq!(of(&[unknown, unknown]), unknown);
    assert_eq!(of(&[unknown, mine]), mine);
    assert_eq!(of(&[mine, unavailable, unknown]), unavailable);
}

#[test]
fn erasure_of_one_side_closes_their_door_and_opens_none() {
    let world = World::new();
    let [ann, bob] = ["ann", "bob"].map(|name| world.user(name));
    let id = world.send(ann, bob, "hello");
    world.accept(ann, AcceptFrom::Known);
    world.write(move |tx, cx| domain::users::erase(tx, cx, bob)).unwrap();
    // Somebody who takes the name is somebody else.
    let again = world.user("bob");
    assert_eq!(refusal(world.try_send(again, draft(ann, "", ""))), Refusal::Unavailable);
    assert_eq!(refusal(world.try_send(ann, draft(bob, "", ""))), Refusal::Unavailable);
    assert_eq!(refusal(world.try_send(ann, answer(id, ""))), Refusal::Unavailable);
}

#[test]
fn a_later_letter_keeps_a_contact_wherever_it_was_put() {
    let archived = Marks { archived: Some(true), ..Marks::default() };
    let trashed = Marks { trashed: Some(true), ..Marks::default() };
    for (put_away, kept) in [
        (Some(archived), true),
        (Some(trashed), true),
        (None, true),  // deleted by the writer; the other still holds it
        (None, false), // deleted by both
    ] {
        let world = World::new();
        let [ann, bob] = ["ann", "bob"].map(|name| world.user(name));
        world.accept(ann, AcceptFrom::Known);
        let first = world.send(ann, bob, "never read");
        let later = world.send(ann, bob, "read");
        world.mark_read(bob, later);
        match put_away {
            Some(marks) => drop(world.mark(ann, later, marks)),
            None => world.write(move |tx, cx| messages::delete(tx, cx, ann, later)).unwrap(),
        }
        if !kept {
            world.write(move |tx, cx| messages::delete(tx, cx, bob, later)).unwrap();
        }
        world.write(move |tx, cx| messages::unsend(tx, cx, ann, first)).unwrap();
        let sent = world.try_send(bob, draft(ann, "", ""));
        assert_eq!(sent.is_ok(), kept, "{put_away:?} {sent:?}");
    }
}

#[test]
fn letters_that_nobody_saw_make_nobody_known_in_whatever_order_they_are_taken_back() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let world = World::new();
        let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.user(name));
        world.accept(ann, AcceptFrom::Known);
        let letters = [0, 1, 2].map(|_| world.send_to(ann, &[bob, cid], ""));
        world.mark_read(cid, letters[0]);
        for at in order {
            world.unsend(ann, letters[at]).expect("ann sent it");
        }
        let sent = world.try_send(bob, draft(ann, "", ""));
        assert_eq!(refusal(sent), Refusal::Unavailable, "{order:?}");
        world.send(cid, ann, "who has read one is known");
    }
}
