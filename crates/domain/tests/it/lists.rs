//! Lists page by page: complete, without repeats, and bounded in what a page looks at.

use db::Tx;
use domain::envelopes::BodyPart;
use domain::lists::{Filter, FolderFilter, Page};
use domain::messages::{Marks, Message};
use domain::search::Query;
use domain::{MessageId, Result, Time, UserId, conversations, lists, sending};

use crate::support::{World, draft, ids};

const TRASHED: Marks = Marks { trashed: Some(true), ..NO_MARKS };
const NO_MARKS: Marks = Marks { read: None, starred: None, archived: None, trashed: None };

/// A filter that asks for words.
fn search(words: &str) -> Filter {
    Filter { words: Some(Query::parse(words)), ..Filter::default() }
}

fn first_page(tx: &mut Tx<'_>, owner: UserId, filter: &Filter) -> Result<Page<Message>> {
    lists::page(tx, owner, filter, BodyPart::Snippet, (None, 50))
}

#[test]
fn pages_together_are_the_list_whatever_their_length() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let sent: Vec<_> = (0..12).map(|_| world.send(bob, ann, "hello")).collect();
    for id in sent.iter().step_by(3) {
        world.open(ann, *id).unwrap();
    }
    world.reply(ann, sent[5], "an answer");
    let newest_first: Vec<_> = sent.iter().rev().copied().collect();
    for limit in 1..14 {
        let pages = world.pages(ann, &Filter::default(), limit);
        assert_eq!(pages.len(), 12_usize.div_ceil(limit), "limit {limit}");
        assert_eq!(
            pages.iter().flat_map(|page| ids(&page.items)).collect::<Vec<_>>(),
            newest_first
        );
    }
}

#[test]
fn only_the_first_page_tells_the_state() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    for _ in 0..3 {
        world.send(bob, ann, "hello");
    }
    let states = world.pages(ann, &Filter::default(), 1).into_iter().map(|page| page.modseq);
    assert_eq!(states.collect::<Vec<_>>(), [Some(3), None, None]);
    assert_eq!(
        world.page(bob, &Filter::default(), None, 9).modseq,
        Some(3),
        "of an empty list too"
    );
}

/// Between any two lists a message comes, one that was shown goes, one that was not goes, and
/// others move to where they are listed just the same.
#[test]
fn pages_stay_complete_and_without_repeats_while_messages_come_and_go() {
    for folder in [FolderFilter::Inbox, FolderFilter::All] {
        let world = World::new();
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let mut left: Vec<_> = (0..40).map(|_| world.send(bob, ann, "hello")).collect();
        let filter = Filter { folder, ..Filter::default() };
        let mut shown: Vec<MessageId> = Vec::new();
        let mut gone = Vec::new();
        let mut next = None;
        loop {
            let page = world.page(ann, &filter, next, 4);
            shown.extend(ids(&page.items));
            left.retain(|id| !shown.contains(id));
            next = page.next;
            if next.is_none() {
                break;
            }
            world.send(bob, ann, "a new one");
            world.delete(ann, shown[shown.len() - 1]).unwrap();
            if left.len() > 6 {
                gone.push(left.remove(left.len() - 2));
                world.mark(ann, gone[gone.len() - 1], TRASHED);
                world.open(ann, left[left.len() - 1]).unwrap();
                world.reply(ann, left[left.len() - 3], "makes a conversation");
                let starred = Marks { starred: Some(true), ..NO_MARKS };
                world.mark(ann, left[left.len() - 2], starred);
            }
        }
        assert!(shown.is_sorted_by(|one, next| one > next), "{shown:?}");
        assert_eq!(left, [], "what stayed was shown");
        assert_eq!(shown.len() + gone.len(), 40, "and nothing else was");
    }
}

#[test]
fn a_conversation_that_goes_on_while_pages_are_turned_is_shown_once_at_most() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let firsts: Vec<_> = (0..20).map(|_| world.send(bob, ann, "hello")).collect();
    let (mut shown, mut moved, mut next) = (Vec::new(), Vec::new(), None);
    loop {
        let page =
            world.read(move |tx, _cx| conversations::list(tx, ann, BodyPart::Snippet, (next, 3)));
        shown.extend(page.items.iter().map(|item| item.id.first()));
        next = page.next;
        if next.is_none() {
            break;
        }
        // One that was shown goes to the top, and so does one that was not.
        world.reply(bob, shown[shown.len() - 1], "more");
        if let Some(not_yet) = firsts.iter().find(|id| !shown.contains(id) && !moved.contains(*id))
        {
            world.reply(bob, *not_yet, "more");
            moved.push(*not_yet);
        }
    }
    let expected: Vec<_> = firsts.iter().rev().filter(|id| !moved.contains(id)).copied().collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_snippet_is_a_hundred_and_forty_characters_however_it_was_found() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let body = format!("{} needle", "é".repeat(200));
    world.send(bob, ann, &body);
    world.send(bob, ann, "short needle");
    for filter in
        [Filter::default(), search("needle"), Filter { with: Some(bob.into()), ..search("*") }]
    {
        let found = world.page(ann, &filter, None, 9);
        let snippets = found.items.iter().map(|message| message.envelope.body.clone());
        let snippets: Vec<_> = snippets.collect();
        if filter == search("needle") || filter == Filter::default() {
            assert_eq!(snippets, ["short needle".to_owned(), "é".repeat(140)]);
        } else {
            assert_eq!(snippets, Vec::<String>::new(), "no word is asked for");
        }
    }
    let with = Filter { with: Some(bob.into()), ..Filter::default() };
    assert_eq!(world.page(ann, &with, None, 9).items[1].envelope.body, "é".repeat(140));
}

#[test]
fn a_search_is_in_subjects_and_bodies_and_nowhere_else() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    let in_subject = world.try_send(bob, draft(ann, "The Needle", "hay")).unwrap();
    let in_body = world.try_send(cid, draft(ann, "hay", "a needle, and more")).unwrap();
    let sent = world.try_send(ann, draft(bob, "needle", "")).unwrap();
    let trashed = world.try_send(bob, draft(ann, "", "needle")).unwrap();
    world.mark(ann, trashed, TRASHED);
    let mut hidden = draft(ann, "hay", "hay");
    let metadata = "{\"needle\":\"needle\"}".to_owned();
    hidden.metadata = Some(sending::Metadata::parse(metadata).unwrap());
    hidden.client_id = Some(sending::ClientId::parse("needle").unwrap());
    world.try_send(bob, hidden).unwrap();

    let found = |filter: Filter| world.list(ann, &filter);
    assert_eq!(found(search("needle")), [in_body, in_subject]);
    assert_eq!(found(search("NEEDLE hay")), [in_body, in_subject], "both words, anywhere");
    assert_eq!(found(search("\"a needle\"")), [in_body]);
    assert_eq!(found(search("need*")), [in_body, in_subject]);
    assert_eq!(found(search("need")), []);
    assert_eq!(found(Filter { folder: FolderFilter::Sent, ..search("needle") }), [sent]);
    assert_eq!(found(Filter { folder: FolderFilter::Trash, ..search("needle") }), [trashed]);
    assert_eq!(
        found(Filter { folder: FolderFilter::All, ..search("needle") }),
        [sent, in_body, in_subject]
    );
    assert_eq!(found(Filter { with: Some(cid.into()), ..search("needle") }), [in_body]);
    world.open(ann, in_body).unwrap();
    assert_eq!(found(Filter { unread: Some(true), ..search("needle") }), [in_subject]);
    assert_eq!(world.list(cid, &search("needle")), [], "it is nobody else's");
    for odd in ["", " ", "\"", "*", "' OR 1=1 --", "\u{301}", "((("] {
        assert_eq!(found(search(odd)), [], "{odd}");
    }
}

#[test]
fn a_filter_names_the_other_side_also_of_several() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    let to_herself = world.send(ann, ann, "to myself");
    let from_bob = world.send(bob, ann, "to ann");
    let to_both = world.send_to(cid, &[ann, bob], "to both");
    let to_bob = world.send(ann, bob, "to bob");
    let with = |with: UserId| Filter {
        with: Some(with.into()),
        folder: FolderFilter::All,
        ..Filter::default()
    };
    assert_eq!(world.list(ann, &with(bob)), [to_bob, to_both, from_bob]);
    assert_eq!(world.list(ann, &with(cid)), [to_both]);
    assert_eq!(world.list(ann, &with(ann)), [to_herself], "with herself: nobody else");
    assert_eq!(world.list(cid, &with(bob)), [to_both]);
    let answer = world.reply(bob, to_both, "to all");
    let conversation = Filter { conversation: Some(to_both.begins()), ..Filter::default() };
    assert_eq!(world.list(ann, &conversation), [answer, to_both]);
    assert_eq!(world.list(cid, &conversation), [answer]);
    let both = Filter { folder: FolderFilter::All, ..conversation };
    assert_eq!(world.list(cid, &both), [answer, to_both]);
}

/// The server's clock goes back now and then, and less than a day.
#[test]
fn what_was_sent_in_a_span_of_time_is_found_although_clocks_disagree() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let start = world.now();
    let mut sent: Vec<(MessageId, Time)> = Vec::new();
    for number in 0_i64..60 {
        // Half an hour later each, and up to 23 hours wrong.
        let wrong = (number * 7919 % 24) * Time::HOUR;
        world.set_clock(start.plus(number * Time::HOUR / 2 - wrong));
        sent.push((world.send(bob, ann, "hello"), world.now()));
        if number % 5 == 0 {
            // The ids have gaps.
            world.delete(bob, sent.pop().unwrap().0).unwrap();
        }
    }
    assert!(!sent.is_sorted_by_key(|(_, at)| *at));
    let moments: Vec<_> =
        (-26..56).step_by(6).map(|hours| start.plus(hours * Time::HOUR)).collect();
    for limit in [3, 100] {
        for since in moments.iter().copied().map(Some).chain([None]) {
            for until in moments.iter().step_by(2).copied().map(Some).chain([None]) {
                let filter = Filter { since, until, ..Filter::default() };
                let pages = world.pages(ann, &filter, limit);
                let found: Vec<_> = pages.iter().flat_map(|page| ids(&page.items)).collect();
                let fits = |at: Time| {
                    since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
                };
                let expected = sent.iter().rev().filter(|(_, at)| fits(*at)).map(|(id, _)| *id);
                assert_eq!(found, expected.collect::<Vec<_>>(), "{since:?} until {until:?}");
            }
        }
    }
}

/// ann's mailbox: three messages of bob, far more than a page looks at of cid two days later, and
/// again three of bob two days after those.
struct Haystack {
    world: World,
    ann: UserId,
    bob: UserId,
    old: Vec<MessageId>,
    new: Vec<MessageId>,
    /// An hour after the old ones, and an hour before the new ones.
    edges: [Time; 2],
}

/// Makes one message of cid to ann 11,200: to send them all takes a minute across a network.
const COPY_HAY: [&str; 4] = [
    "INSERT INTO messages (sender_id, recipient_id, subject, body, sent_at, mailbox_count)
     WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 11199)
     SELECT sender_id, recipient_id, subject, body, sent_at, mailbox_count FROM messages, numbers
     WHERE subject = 'hay'",
    "INSERT INTO entries (owner_id, place, message_id, role, peer_id, created_modseq)
     SELECT owner_id, place, id, role, peer_id, created_modseq + id - message_id
     FROM entries JOIN messages ON id > message_id
     WHERE message_id = (SELECT min(id) FROM messages WHERE subject = 'hay')",
    "UPDATE mailboxes SET modseq = modseq + 11199 WHERE owner_id IN (1, 3)",
    "UPDATE mailboxes SET unread = unread + 11199,
     unread_conversations = unread_conversations + 11199 WHERE owner_id = 1",
];

fn haystack() -> Haystack {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    let three = || (0..3).map(|_| world.send(bob, ann, "a needle")).collect();
    let old: Vec<_> = three();
    let first = world.now().plus(Time::HOUR);
    world.wait(2 * Time::DAY);
    world.try_send(cid, draft(ann, "hay", "more hay")).expect("it can be sent");
    for statement in COPY_HAY {
        world.sql(statement);
    }
    world.wait(2 * Time::DAY);
    let edges = [first, world.now().plus(-Time::HOUR)];
    let new = three();
    assert_eq!(world.problems(), []);
    Haystack { world, ann, bob, old, new, edges }
}

fn reversed(ids: &[MessageId]) -> Vec<MessageId> {
    ids.iter().rev().copied().collect()
}

#[test]
fn a_page_looks_at_ten_thousand_entries_and_the_next_one_goes_on() {
    let stack = haystack();
    let (world, ann) = (&stack.world, stack.ann);
    let all = [reversed(&stack.new), reversed(&stack.old)].concat();

    let of_bob = Filter { with: Some(stack.bob.into()), ..Filter::default() };
    let pages = world.pages(ann, &of_bob, 50);
    let found: Vec<_> = pages.iter().map(|page| ids(&page.items)).collect();
    assert_eq!(found, [reversed(&stack.new), reversed(&stack.old)], "the first one is short");
    for limit in [1, 2, 4] {
        let pages = world.pages(ann, &of_bob, limit);
        assert_eq!(pages.iter().flat_map(|page| ids(&page.items)).collect::<Vec<_>>(), all);
    }

    // Texts cost more, so fewer are looked at.
    let pages = world.pages(ann, &search("needle"), 50);
    let found: Vec<_> = pages.iter().map(|page| page.items.len()).collect();
    assert_eq!(found, [3, 0, 3]);
    assert_eq!(pages.iter().flat_map(|page| ids(&page.items)).collect::<Vec<_>>(), all);

    assert!(of_bob.is_selective() && search("needle").is_selective());
    assert!(!Filter::default().is_selective(), "what looks only at what it shows");

    let (_, statements) =
        world.read(move |tx, _cx| Ok((first_page(tx, ann, &of_bob)?, tx.statements())));
    assert!(statements <= 120, "a page that looks as far as it may needs {statements}");
}

#[test]
fn a_page_reads_so_much_text_and_no_more() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let needle = world.send(bob, ann, "a needle");
    let long = "hay ".repeat(16_000);
    for _ in 0..300 {
        world.send(bob, ann, &long);
    }
    let pages = world.pages(ann, &search("needle"), 10);
    let found: Vec<_> = pages.iter().map(|page| ids(&page.items)).collect();
    let expected = [vec![], vec![], vec![needle]];
    assert_eq!(found, expected, "19 MB are more than two pages read");
}

#[test]
fn a_span_of_time_far_back_is_found_without_looking_at_what_came_later() {
    let stack = haystack();
    let [first, second] = stack.edges;
    let until = Filter { until: Some(first), ..Filter::default() };
    let since = Filter { since: Some(second), ..Filter::default() };
    let between = Some(second.plus(-22 * Time::HOUR));
    let nothing = Filter { since: between, until: Some(second), ..Filter::default() };
    for (filter, expected) in [(until, &stack.old), (since, &stack.new), (nothing, &vec![])] {
        let (ann, what) = (stack.ann, format!("{filter:?}"));
        let (page, statements) =
            stack.world.read(move |tx, _cx| Ok((first_page(tx, ann, &filter)?, tx.statements())));
        assert_eq!((ids(&page.items), page.next), (reversed(expected), None), "{what}");
        assert!(statements <= 100, "{statements} for {what}");
    }
}
