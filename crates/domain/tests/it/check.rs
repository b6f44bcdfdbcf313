//! The check of the whole database: silent on good data, and each rule finds what breaks it.

use std::collections::BTreeSet;

use domain::messages::Marks;
use domain::{Time, blocks, idempotency, sessions};

use crate::support::World;

/// A database that holds one of everything, and nothing that is wrong.
///
/// ann is 1, bob is 2, cid is 3 and disabled, dot is 4; ann blocks cid. Message 1 (ann to bob) was
/// deleted by bob, 2 (ann to bob) was read, 3 is ann's to herself and read, 4 (bob to ann) was
/// withdrawn, 5 (bob to ann) is unread. 6 (ann to bob and dot) begins a conversation that goes on
/// with 7 (dot to ann and bob), which bob has read and put into the trash.
fn good() -> World {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    let dot = world.user("dot");
    let deleted = world.send(ann, bob, "deleted");
    let read = world.send(ann, bob, "read");
    let to_herself = world.send(ann, ann, "to myself");
    let withdrawn = world.send(bob, ann, "withdrawn");
    world.send(bob, ann, "unread");
    let first = world.send_to(ann, &[bob, dot], "to both");
    let answer = world.reply(dot, first, "to all");
    world.wait(Time::SECOND);
    world.delete(bob, deleted).expect("it is there");
    world.open(bob, read).expect("it is there");
    world.open(ann, to_herself).expect("it is there");
    world.delete(bob, withdrawn).expect("it is there");
    world.open(bob, answer).expect("it is there");
    world.mark(bob, answer, Marks { trashed: Some(true), ..Marks::default() });
    let credentials = world.credentials("ann").expect("ann is enabled");
    world
        .write(move |tx, cx| {
            sessions::start(tx, cx, &credentials, &cx.random(), &sessions::Client::default(), None)
        })
        .expect("the credentials hold");
    world.write(move |tx, cx| blocks::put(tx, cx, ann, cid)).expect("cid is there");
    world.disable(cid);
    let holder = idempotency::Holder::User(ann);
    let request = idempotency::KeyedRequest::new(holder, "POST /", "key", b"");
    world
        .write(move |tx, cx| idempotency::store(tx, cx, &request, &[0; 16], b"1"))
        .expect("it is new");
    world
}

/// What breaks the data, and what is to be found then.
struct Damage {
    rule: &'static str,
    rows: i64,
    sql: &'static [&'static str],
}

const WRONG_COUNT: &str = "callers whose number of stored responses, or of their bytes, is wrong";

const DAMAGES: &[Damage] = &[
    Damage {
        rule: WRONG_COUNT,
        sql: &["UPDATE stored_counts SET responses = responses + 1"],
        rows: 1,
    },
    Damage { rule: WRONG_COUNT, sql: &["UPDATE stored_counts SET bytes = bytes - 1"], rows: 1 },
    Damage { rule: WRONG_COUNT, sql: &["DELETE FROM stored_counts"], rows: 1 },
    Damage { rule: WRONG_COUNT, sql: &["DELETE FROM stored_responses"], rows: 1 },
    Damage {
        rule: "webhook deliveries without an event",
        sql: &["INSERT INTO webhook_deliveries (event_id, webhook_id, attempts) VALUES (9, 1, 0)"],
        rows: 1,
    },
    Damage {
        rule: "entries whose time in the trash is not the one in the table trash",
        sql: &["UPDATE trash SET trashed_at = trashed_at + 1 WHERE message_id = 7"],
        rows: 1,
    },
    Damage {
        rule: "rows of the table trash without an entry in the trash",
        sql: &["INSERT INTO trash (owner_id, message_id, trashed_at) VALUES (1, 999, 1)"],
        rows: 1,
    },
    // As one that was written into the tables.
    Damage {
        rule: LONG_BEFORE,
        rows: 1,
        sql: &["UPDATE messages SET sent_at = sent_at - 900 * 86400000000 WHERE id = 2"],
    },
    Damage {
        rule: LONG_BEFORE,
        rows: 1,
        sql: &["UPDATE messages SET sent_at = sent_at - 259200000001 WHERE id = 3"],
    },
    Damage {
        rule: "words of the names of erased users",
        rows: 1,
        sql: &["UPDATE users SET erased_at = 1 WHERE id = 3"],
    },
    Damage {
        rule: "users without a mailbox",
        rows: 1,
        sql: &["DELETE FROM mailboxes WHERE owner_id = 3"],
    },
    Damage { rule: "mailboxes without a user", rows: 1, sql: &["DELETE FROM users WHERE id = 3"] },
    Damage {
        rule: "mailboxes that are open while their user is disabled, or the reverse",
        rows: 1,
        sql: &["UPDATE mailboxes SET closed_at = NULL WHERE owner_id = 3"],
    },
    Damage {
        rule: "mailboxes that are open while their user is disabled, or the reverse",
        rows: 3,
        sql: &["UPDATE mailboxes SET closed_at = 1"],
    },
    Damage { rule: "sessions without a user", rows: 1, sql: &["UPDATE sessions SET user_id = 9"] },
    // Those of a disabled user are over.
    Damage { rule: "sessions without a user", rows: 1, sql: &["UPDATE sessions SET user_id = 3"] },
    Damage {
        rule: "reminders without a mailbox",
        rows: 1,
        sql: &["INSERT INTO reminders (owner_id, message_id, waiting_since) VALUES (9, 1, 1)"],
    },
    Damage {
        rule: "entries without a mailbox",
        rows: 1,
        sql: &[
            "UPDATE messages SET sender_id = 9, recipient_id = 9 WHERE id = 3",
            "UPDATE entries SET owner_id = 9, peer_id = 9 WHERE message_id = 3",
        ],
    },
    Damage {
        rule: "entries without a message",
        rows: 2,
        sql: &["DELETE FROM messages WHERE id = 5"],
    },
    Damage {
        rule: WRONG_ROLE,
        rows: 1,
        sql: &["UPDATE entries SET role = 1 WHERE owner_id = 1 AND message_id = 3"],
    },
    Damage {
        rule: WRONG_ROLE,
        rows: 1,
        sql: &["UPDATE entries SET role = 2, place = 8, read_at = NULL WHERE owner_id = 1 AND
             message_id = 3"],
    },
    Damage {
        rule: WRONG_ROLE,
        rows: 1,
        sql: &["UPDATE entries SET role = 3 WHERE owner_id = 1 AND message_id = 5"],
    },
    Damage {
        rule: WRONG_ROLE,
        rows: 1,
        sql: &["UPDATE entries SET role = 3, place = 0, read_at = 1 WHERE owner_id = 2 AND
             message_id = 5"],
    },
    // In a third mailbox, as if it had been sent to nobody there.
    Damage {
        rule: WRONG_ROLE,
        rows: 1,
        sql: &[
            "INSERT INTO entries
             (owner_id, place, message_id, role, peer_id, read_at, created_modseq)
             VALUES (3, 0, 5, 0, 2, 1, 1)",
            "UPDATE mailboxes SET modseq = 1 WHERE owner_id = 3",
            "UPDATE messages SET mailbox_count = 3 WHERE id = 5",
        ],
    },
    // One of several recipients is another one.
    Damage {
        rule: WRONG_ROLE,
        rows: 1,
        sql: &["UPDATE messages SET other_recipients = '3' WHERE id = 6"],
    },
    Damage {
        rule: WRONG_PLACE,
        rows: 1,
        sql: &["UPDATE entries SET place = 4 WHERE owner_id = 1 AND message_id = 2"],
    },
    Damage {
        rule: WRONG_PLACE,
        rows: 1,
        sql: &["UPDATE entries SET archived_at = 1 WHERE owner_id = 1 AND message_id = 2"],
    },
    Damage {
        rule: WRONG_PLACE,
        rows: 1,
        sql: &[
            "UPDATE entries SET trashed_at = NULL WHERE owner_id = 2 AND message_id = 7",
            "DELETE FROM trash WHERE owner_id = 2 AND message_id = 7",
        ],
    },
    Damage {
        rule: WRONG_PLACE,
        rows: 1,
        sql: &["UPDATE entries SET read_at = 1 WHERE owner_id = 1 AND message_id = 5"],
    },
    Damage {
        rule: WRONG_PLACE,
        rows: 1,
        sql: &["UPDATE entries SET read_at = NULL WHERE owner_id = 2 AND message_id = 2"],
    },
    Damage {
        rule: WRONG_PLACE,
        rows: 1,
        sql: &["UPDATE entries SET read_at = 1 WHERE owner_id = 2 AND message_id = 5"],
    },
    Damage {
        rule: WRONG_PEER,
        rows: 1,
        sql: &["UPDATE entries SET peer_id = 3 WHERE owner_id = 2 AND message_id = 2"],
    },
    Damage {
        rule: WRONG_PEER,
        rows: 1,
        sql: &["UPDATE entries SET peer_id = NULL WHERE owner_id = 1 AND message_id = 3"],
    },
    Damage {
        rule: WRONG_PEER,
        rows: 1,
        sql: &["UPDATE entries SET peer_id = 1 WHERE owner_id = 2 AND message_id = 6"],
    },
    Damage {
        rule: WRONG_PEER,
        rows: 2,
        sql: &["UPDATE messages SET conversation_id = 5 WHERE id = 2"],
    },
    Damage {
        rule: WRONG_THREAD,
        rows: 1,
        sql: &["UPDATE entries SET place = 8, conversation_id = NULL
             WHERE owner_id = 1 AND message_id = 6"],
    },
    Damage { rule: WRONG_THREAD, rows: 2, sql: &["DELETE FROM conversations WHERE owner_id = 2"] },
    Damage {
        rule: WRONG_THREAD,
        rows: 2,
        sql: &[
            // It is the right one, but nothing says that there is a row.
            "UPDATE entries SET conversation_id = 2 WHERE message_id = 2",
        ],
    },
    Damage {
        rule: WRONG_THREAD,
        rows: 1,
        sql: &["UPDATE entries SET conversation_id = NULL WHERE owner_id = 1 AND message_id = 6"],
    },
    Damage {
        rule: "conversations without a message that are not muted and emptied, or the reverse",
        rows: 1,
        sql: &[
            "INSERT INTO conversations (owner_id, conversation_id, unread, subject, participants)
             VALUES (3, 6, 0, '', '')",
        ],
    },
    Damage {
        rule: "conversations without a message that are not muted and emptied, or the reverse",
        rows: 1,
        sql: &["INSERT INTO conversations
             (owner_id, conversation_id, unread, subject, participants, muted_at)
             VALUES (3, 6, 0, 'a subject', '', 1)"],
    },
    Damage {
        rule: "conversations without a message that are not muted and emptied, or the reverse",
        rows: 1,
        sql: &["UPDATE conversations SET participants = '', subject = '', muted_at = 1
             WHERE owner_id = 1"],
    },
    Damage {
        rule: WRONG_LAST,
        rows: 1,
        sql: &["UPDATE conversations SET last_message_id = 6 WHERE owner_id = 1"],
    },
    Damage {
        rule: WRONG_LAST,
        rows: 1,
        sql: &["UPDATE conversations SET last_message_id = NULL WHERE owner_id = 4"],
    },
    // It is in the trash.
    Damage {
        rule: WRONG_LAST,
        rows: 1,
        sql: &["UPDATE conversations SET last_message_id = 7 WHERE owner_id = 2"],
    },
    Damage {
        rule: WRONG_LAST,
        rows: 1,
        sql: &["UPDATE conversations SET unread = 0 WHERE owner_id = 1"],
    },
    Damage {
        rule: "mailboxes whose unread counts are wrong",
        rows: 1,
        sql: &["UPDATE mailboxes SET unread = unread + 1 WHERE owner_id = 1"],
    },
    Damage {
        rule: "mailboxes whose unread counts are wrong",
        rows: 1,
        sql: &["UPDATE mailboxes SET unread_conversations = 0 WHERE owner_id = 1"],
    },
    Damage {
        rule: "mailboxes whose oldest unread message was sent at another time",
        rows: 1,
        sql: &["UPDATE mailboxes SET oldest_unread_at = 1 WHERE owner_id = 1"],
    },
    Damage {
        rule: "mailboxes whose number of blocks is wrong",
        rows: 1,
        sql: &["UPDATE mailboxes SET blocks = 0 WHERE owner_id = 1"],
    },
    Damage {
        rule: "messages whose mailbox count is wrong",
        rows: 1,
        sql: &["UPDATE messages SET mailbox_count = 1 WHERE id = 2"],
    },
    Damage {
        rule: "messages whose mailbox count is wrong",
        rows: 1,
        sql: &["DELETE FROM entries WHERE owner_id = 2 AND message_id = 5"],
    },
    Damage {
        rule: "messages that no mailbox holds",
        rows: 1,
        sql: &[
            "DELETE FROM entries WHERE message_id = 2",
            "UPDATE messages SET mailbox_count = 0 WHERE id = 2",
        ],
    },
    Damage {
        rule: "entries that are ahead of their mailbox's modseq",
        rows: 1,
        sql: &["UPDATE entries SET changed_modseq = 99 WHERE owner_id = 1 AND message_id = 5"],
    },
    Damage {
        rule: "entries that are ahead of their mailbox's modseq",
        rows: 1,
        sql: &["UPDATE entries SET changed_modseq = 0 WHERE owner_id = 1 AND message_id = 5"],
    },
    Damage {
        rule: "entries that are ahead of their mailbox's modseq",
        rows: 1,
        sql: &["UPDATE entries SET created_modseq = 0 WHERE owner_id = 1 AND message_id = 1"],
    },
    Damage {
        rule: "tombstones that are ahead of their mailbox's modseq",
        rows: 1,
        sql: &["UPDATE tombstones SET modseq = 99 WHERE owner_id = 1"],
    },
    Damage {
        rule: "tombstones that are ahead of their mailbox's modseq",
        rows: 1,
        sql: &["UPDATE tombstones SET created_modseq = modseq WHERE owner_id = 1"],
    },
    Damage {
        rule: "tombstones of messages that the mailbox holds",
        rows: 1,
        sql: &["UPDATE tombstones SET message_id = 5 WHERE owner_id = 1"],
    },
    Damage {
        rule: "entries whose modseqs do not ascend with their ids",
        rows: 1,
        sql: &["UPDATE entries SET created_modseq = 3 - created_modseq
             WHERE owner_id = 1 AND message_id IN (1, 2)"],
    },
    Damage {
        rule: "modseqs of a mailbox at which more than one thing happened",
        rows: 1,
        sql: &["UPDATE entries SET changed_modseq =
             (SELECT modseq FROM tombstones WHERE tombstones.owner_id = 1)
             WHERE owner_id = 1 AND message_id = 1"],
    },
];

const LONG_BEFORE: &str = "messages dated long before one with a lower id";
const WRONG_ROLE: &str =
    "entries in the mailbox of neither the sender nor a recipient, or in the wrong role";
const WRONG_PLACE: &str = "entries in another place than their marks say";
const WRONG_PEER: &str = "entries whose conversation or peer is not the one of their message";
const WRONG_THREAD: &str =
    "entries whose place disagrees about whether their conversation has a row";
const WRONG_LAST: &str = "conversations whose last message or unread count is wrong";

#[test]
fn good_data_is_good() {
    assert_eq!(World::new().problems(), []);
    assert_eq!(good().problems(), []);
}

#[test]
fn each_rule_finds_what_breaks_it_and_nothing_else_does() {
    for damage in DAMAGES {
        let world = good();
        for statement in damage.sql {
            world.sql(statement);
        }
        assert_eq!(world.problems(), [(damage.rule, damage.rows)], "after {:?}", damage.sql);
    }
}

#[test]
fn dates_of_clocks_that_differ_or_were_ahead_break_no_rule() {
    let world = good();
    world.sql("UPDATE messages SET sent_at = sent_at - 3 * 86400000000 WHERE id = 3");
    assert_eq!(world.problems(), []);
    world.sql("UPDATE messages SET sent_at = sent_at + 900 * 86400000000 WHERE id = 2");
    assert_eq!(world.problems(), []);
}

#[test]
fn there_is_a_damage_for_each_rule() {
    let broken: BTreeSet<_> = DAMAGES.iter().map(|damage| damage.rule).collect();
    assert_eq!(broken, domain::check::rules().collect());
}

#[test]
fn several_problems_are_all_told() {
    let world = good();
    world.sql("DELETE FROM mailboxes WHERE owner_id = 3");
    world.sql("DELETE FROM messages WHERE id = 2");
    assert_eq!(
        world.problems(),
        [("users without a mailbox", 1), ("entries without a message", 2)]
    );
}

#[test]
fn a_message_that_is_in_a_mailbox_twice_is_found() {
    let world = good();
    world.sql(
        "INSERT INTO entries
         (owner_id, place, message_id, role, peer_id, created_modseq)
         VALUES (1, 8, 3, 2, 1, 3)",
    );
    let found: Vec<_> = world.problems().into_iter().map(|(rule, _)| rule).collect();
    assert!(found.contains(&WRONG_ROLE), "{found:?}");
    assert!(found.contains(&"messages whose mailbox count is wrong"), "{found:?}");
}
