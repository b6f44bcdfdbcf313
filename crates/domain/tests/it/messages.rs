//! Sending, reading, deleting, withdrawing, and the two lists.

use domain::messages::Marks;
use domain::sending::Refusal;
use domain::text::{Body, Lengths, Subject};
use domain::unread::{self, ClassicList};
use domain::{Error, MessageId, Missing, Result, Time, UserId, modseq};

use crate::support::{LENGTHS, World, copies, draft, nobody, nothing, refusal, refused};

/// Short enough to stand on the edge of.
const SHORT: Lengths = Lengths { subject_chars: 5, body_bytes: 8 };

fn subject(text: &str) -> Result<Subject, domain::Invalid> {
    Subject::parse(text.to_owned(), SHORT)
}

fn body(text: &str) -> Result<Body, domain::Invalid> {
    Body::parse(text.to_owned(), SHORT)
}

#[test]
fn an_id_is_a_number_that_every_json_reader_keeps() {
    const LAST: i64 = 9_007_199_254_740_991;
    for bad in [i64::MIN, -1, 0, LAST + 1, i64::MAX] {
        assert_eq!((UserId::new(bad), MessageId::new(bad)), (None, None), "{bad}");
    }
    for good in [1, LAST] {
        assert_eq!(UserId::new(good).map(UserId::get), Some(good));
        assert_eq!(MessageId::new(good).map(MessageId::get), Some(good));
    }
}

#[test]
fn a_subject_is_measured_in_characters() {
    for good in ["", "12345", "ééééé", "😀😀😀😀😀", " \t\r\n "] {
        assert_eq!(subject(good).unwrap().as_str(), good);
    }
    for long in ["123456", "éééééé", "😀😀😀😀😀😀", "a\u{301}a\u{301}a\u{301}"] {
        let invalid = subject(long).unwrap_err();
        assert_eq!(invalid.to_string(), "subject: it must have at most 5 characters");
    }
}

#[test]
fn a_body_is_measured_in_bytes() {
    for good in ["", "12345678", "éééé", "😀😀", "        "] {
        assert_eq!(body(good).unwrap().as_str(), good);
    }
    for long in ["123456789", "éééé!", "😀😀!", "         "] {
        assert_eq!(body(long).unwrap_err().to_string(), "body: it must have at most 8 bytes");
    }
}

#[test]
fn the_character_zero_is_refused_wherever_it_stands() {
    for text in ["\0", "\0a", "a\0b", "a\0"] {
        assert_eq!(
            subject(text).unwrap_err().to_string(),
            "subject: it must not hold the character U+0000"
        );
        assert_eq!(
            body(text).unwrap_err().to_string(),
            "body: it must not hold the character U+0000"
        );
    }
}

#[test]
fn a_text_arrives_to_the_letter() {
    let texts = [
        "",
        " ",
        "  leading and trailing  ",
        "one\r\ntwo\nthree\rfour\ttab",
        "a\u{301} is not \u{e1}, and \u{212b} is not \u{e5}",
        "\u{202e}drawkcab\u{202c} \u{2066}שלום\u{2069}",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u{301}\u{327}\u{20dd}",
        "\u{feff}mark\u{200b}\u{ad}\u{1}\u{7f}\u{85}",
        "\u{fffd}\u{ffff}\u{10ffff}",
        "'; DROP TABLE messages; --\\ \" ?1 $1 %s {}",
        "\u{1f}\\u0000 \\0",
    ];
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    for text in texts {
        let sent_at = world.now();
        let id = world.try_send(ann, draft(bob, text, text)).unwrap();
        world.wait(Time::SECOND);
        for holder in [ann, bob] {
            let message = world.open(holder, id).unwrap().envelope;
            assert_eq!((message.subject.as_str(), message.body.as_str()), (text, text));
            assert_eq!((message.id, message.from, message.to), (id, ann, vec![bob]));
            assert_eq!(message.sent_at, sent_at);
        }
    }
}

#[test]
fn the_longest_text_arrives_whole() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (subject, body) = ("é".repeat(LENGTHS.subject_chars), "x".repeat(LENGTHS.body_bytes));
    let id = world.try_send(ann, draft(bob, &subject, &body)).unwrap();
    let message = world.open(bob, id).unwrap().envelope;
    assert!(message.subject == subject && message.body == body);
}

#[test]
fn a_message_is_in_the_recipients_lists_and_readable_by_both() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    assert_eq!((world.received(bob), world.unread(bob)), (vec![id], vec![id]));
    assert_eq!((world.received(ann), world.unread(ann)), (vec![], vec![]));
    assert!(world.peek(ann, id).is_some() && world.peek(bob, id).is_some());
}

#[test]
fn what_was_sent_is_read_when_its_recipient_opens_it_and_not_before() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    let unread = |user| world.peek(user, id).map(|message| message.entry.is_unread());

    world.open(ann, id).unwrap();
    world.mark_read(ann, id);
    assert_eq!(world.unread(bob), [id], "its sender may look at it");
    assert_eq!((unread(ann), unread(bob)), (Some(false), Some(true)));

    world.open(bob, id).unwrap();
    assert_eq!((world.received(bob), world.unread(bob)), (vec![id], vec![]));
    assert_eq!((unread(ann), unread(bob)), (Some(false), Some(false)));
}

#[test]
fn the_time_of_the_first_reading_stays() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    let read_at = || world.entry(bob, id).unwrap().read_at;
    assert_eq!(read_at(), None);

    world.wait(Time::SECOND);
    let first = world.now();
    world.mark_read(bob, id);
    world.wait(Time::DAY);
    world.mark_read(bob, id);
    assert_eq!(read_at(), Some(first));
}

#[test]
fn a_message_to_oneself_is_one_entry_received_and_sent_and_unread() {
    let world = World::new();
    let ann = world.user("ann");
    let id = world.send(ann, ann, "buy milk");
    let entry = world.entry(ann, id).unwrap();
    assert!(entry.received && entry.sent && entry.read_at.is_none());
    assert_eq!((world.received(ann), world.unread(ann)), (vec![id], vec![id]));

    world.open(ann, id).unwrap();
    assert_eq!((world.received(ann), world.unread(ann)), (vec![id], vec![]));

    world.delete(ann, id).unwrap();
    assert_eq!(world.peek(ann, id), None);
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    assert_eq!(refused(world.delete(ann, id)), Error::NotFound(Missing::Message));
}

#[test]
fn what_its_recipient_deletes_stays_with_its_sender() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    world.delete(bob, id).unwrap();
    assert_eq!((world.received(bob), world.unread(bob)), (vec![], vec![]));
    assert_eq!(world.peek(bob, id), None);
    assert_eq!(world.open(ann, id).unwrap().envelope.body, "hello");
}

#[test]
fn what_its_sender_deletes_is_gone_for_both_even_if_it_was_read() {
    for was_read in [false, true] {
        let world = World::new();
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let (id, other) = (world.send(ann, bob, "oops"), world.send(ann, bob, "fine"));
        if was_read {
            world.open(bob, id).unwrap();
        }
        world.delete(ann, id).unwrap();
        assert_eq!((world.peek(ann, id), world.peek(bob, id)), (None, None));
        assert_eq!((world.received(bob), world.unread(bob)), (vec![other], vec![other]));
        assert_eq!(world.number("SELECT count(*) FROM messages"), 1);
    }
}

#[test]
fn a_user_who_has_deleted_a_message_cannot_delete_it_again() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));

    let id = world.send(ann, bob, "deleted by both, its recipient first");
    world.delete(bob, id).unwrap();
    assert_eq!(refused(world.delete(bob, id)), Error::NotFound(Missing::Message));
    world.delete(ann, id).unwrap();
    assert_eq!(refused(world.delete(ann, id)), Error::NotFound(Missing::Message));

    let id = world.send(ann, bob, "withdrawn before its recipient deletes it");
    world.delete(ann, id).unwrap();
    assert_eq!(refused(world.delete(bob, id)), Error::NotFound(Missing::Message));
    assert_eq!(refused(world.delete(ann, id)), Error::NotFound(Missing::Message));

    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    assert_eq!(world.number("SELECT count(*) FROM tombstones"), 4);
}

#[test]
fn a_text_is_kept_until_the_last_holder_lets_it_go() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    let mailbox_count = "SELECT CAST(coalesce(sum(mailbox_count), 0) AS BIGINT) FROM messages";
    assert_eq!(world.number(mailbox_count), 2);
    world.delete(bob, id).unwrap();
    assert_eq!(world.number(mailbox_count), 1);
    world.delete(ann, id).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
}

#[test]
fn a_stranger_finds_no_more_than_where_there_is_nothing() {
    let world = World::new();
    let (ann, bob, eve) = (world.user("ann"), world.user("bob"), world.user("eve"));
    let id = world.send(ann, bob, "secret");
    for missing in [id, nothing()] {
        assert_eq!(world.open(eve, missing), None);
        assert_eq!(refused(world.delete(eve, missing)), Error::NotFound(Missing::Message));
        world.mark_read(eve, missing);
    }
    assert_eq!((world.received(eve), world.unread(eve)), (vec![], vec![]));
    assert_eq!(world.unread(bob), [id], "nothing has happened to it");
    assert_eq!(world.number("SELECT count(*) FROM tombstones"), 0);
}

#[test]
fn the_lists_are_in_the_order_of_coming_and_end_at_the_limit() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let mut sent = Vec::new();
    for number in 0..7 {
        let from = if number % 2 == 0 { ann } else { bob };
        sent.push(world.send(from, bob, "hello"));
        world.send(bob, ann, "not for the list");
    }
    world.delete(bob, sent.remove(3)).unwrap();
    let newest_first = [sent[4], sent[1]];
    for id in newest_first {
        world.open(bob, id).unwrap();
    }
    let unread = [sent[0], sent[2], sent[3], sent[5]];
    assert!(sent.is_sorted());
    let lists: [(ClassicList, &[MessageId]); 2] =
        [(ClassicList::Received, &sent), (ClassicList::Unread, &unread)];
    for limit in 0..8 {
        for (list, all) in lists {
            let found = world.read(move |tx, _cx| unread::ids(tx, bob, list, limit));
            let expected = (limit >= all.len()).then(|| all.to_vec());
            assert_eq!(found, expected, "limit {limit}");
        }
    }
}

/// Between the parts of a list, messages come, go, and move from one range of the key to another.
#[test]
fn a_long_list_in_parts_is_whole_and_has_nothing_twice() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "hello");
    for statement in COPY_FIRST {
        world.sql(statement);
    }
    let all = world.received(bob);
    assert_eq!(all.len(), 12_000);
    // Half of it is read, some is archived, and so is all that ann has sent.
    for statement in SPREAD {
        world.sql(statement);
    }
    let step = |list, after| world.read(move |tx, _cx| unread::next_ids(tx, bob, list, after));
    for (list, held) in [(ClassicList::Unread, 6_000), (ClassicList::Received, 12_000)] {
        let (mut found, mut next) = step(list, None);
        let mut steps = 1;
        while next.is_some() {
            if list == ClassicList::Received {
                // What the part before has shown, and what is shown last.
                for id in [found[found.len() - 1], all[all.len() - steps]] {
                    let marks = Marks { read: Some(steps % 2 == 0), ..Marks::default() };
                    world.mark(bob, id, marks);
                }
            }
            let (part, end) = step(list, next);
            found.extend(part);
            (next, steps) = (end, steps + 1);
        }
        assert!((2..6).contains(&steps), "{steps} parts");
        assert!(found.is_sorted_by(|one, next| one < next), "each once, ascending");
        assert_eq!(found.len(), held, "{list:?} from {first:?}");
    }
    let short = world.read(move |tx, _cx| unread::ids(tx, ann, ClassicList::Received, 1000));
    assert_eq!(short, None, "it would have to look at more");
    let part = world.read(move |tx, _cx| unread::next_ids(tx, ann, ClassicList::Received, None));
    assert_eq!((part.0, part.1.is_some()), (vec![], true));
}

/// Makes one message 12,000.
const COPY_FIRST: [&str; 3] = copies!("11999", "12000");
/// Of bob's: those with odd ids are read, and every seventh is archived.
const SPREAD: [&str; 3] = [
    "UPDATE entries SET place = 0, read_at = 7 WHERE place = 2 AND message_id % 2 = 1",
    "UPDATE entries SET place = place + 4, archived_at = 7 WHERE place < 4 AND message_id % 7 = 0",
    "UPDATE entries SET place = 4, archived_at = 7 WHERE place = 8",
];

#[test]
fn a_message_to_nobody_is_refused_and_leaves_nothing() {
    let world = World::new();
    let ann = world.user("ann");
    assert_eq!(refusal(world.try_send(ann, draft(nobody(), "", ""))), Refusal::Unknown);
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    assert_eq!(world.number("SELECT modseq FROM mailboxes"), 0);
}

#[test]
fn a_disabled_user_gets_no_messages_until_enabled() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let before = world.send(ann, bob, "before");
    world.disable(bob);
    let answer = world.try_send(ann, draft(bob, "", "during"));
    assert_eq!(refusal(answer), Refusal::Unavailable);
    assert_eq!(world.received(bob), [before], "what was there stays");
    world.enable(bob);
    let after = world.send(ann, bob, "after");
    assert_eq!(world.received(bob), [before, after]);
}

#[test]
fn a_disabled_user_sends_nothing_to_anybody() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.disable(ann);
    for to in [ann, bob, nobody()] {
        assert_eq!(refused(world.try_send(ann, draft(to, "", ""))), Error::NotLoggedIn);
    }
    assert_eq!(refused(world.try_send(nobody(), draft(bob, "", ""))), Error::NotLoggedIn);
    assert_eq!(world.number("SELECT CAST(sum(modseq) AS BIGINT) FROM mailboxes"), 0);
}

#[test]
fn a_message_is_withdrawn_from_a_disabled_recipient_too() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "oops");
    world.disable(bob);
    world.delete(ann, id).unwrap();
    world.enable(bob);
    assert_eq!((world.received(bob), world.peek(bob, id)), (vec![], None));
}

#[test]
fn an_id_is_never_used_again_even_that_of_the_newest_message() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "withdrawn");
    world.delete(ann, first).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    let second = world.send(ann, bob, "sent");
    assert!(second > first);
    assert_eq!(world.peek(bob, first), None);
}

#[test]
fn a_mailbox_that_is_not_there_is_not_advanced() {
    let world = World::new();
    let ann = world.user("ann");
    world.send(ann, ann, "what is sent to oneself advances the mailbox once");
    let advance = |owner| world.write(move |tx, _cx| modseq::advance(tx, owner)).unwrap();
    let counters = || world.rows("SELECT modseq FROM mailboxes", |row| row.int(0));
    assert_eq!((advance(ann), counters()), (true, vec![2]));
    assert_eq!((advance(nobody()), counters()), (false, vec![2]));
}
