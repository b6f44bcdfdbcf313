//! What one search may cost: it is counted, whatever somebody writes or asks for.

use db::Tx;
use domain::envelopes::BodyPart;
use domain::lists::{self, Filter};
use domain::search::Query;
use domain::text::{Body, Lengths};
use domain::{Budget, MessageId, Time, users};

use crate::support::{World, copies, draft, ids};

/// The character that Unicode makes the longest: 18 characters of Arabic.
const LONGEST: &str = "\u{fdfa}";
/// As many of it as fit into a body of 64 KiB.
const FULL: usize = 21_845;

fn search(words: &str) -> Filter {
    Filter { words: Some(Query::parse(words)), ..Filter::default() }
}

/// The units of looking for something in a text where it is not.
fn units(query: &str, text: &str) -> u64 {
    let mut budget = Budget::unlimited();
    assert_eq!(Query::parse(query).matches(&["", text], &mut budget), Some(false));
    budget.spent()
}

#[test]
fn a_text_counts_as_long_as_unicode_makes_it() {
    let bytes = FULL as u64 * 3;
    let plain = units("zzz", &"word ".repeat(FULL * 3 / 5));
    assert!((bytes..bytes * 2).contains(&plain), "{plain} for {bytes} bytes");
    let longest = units("zzz", &LONGEST.repeat(FULL));
    assert!((18 * plain..30 * plain).contains(&longest), "{longest} instead of {plain}");
}

#[test]
fn a_phrase_that_almost_matches_everywhere_costs_no_more_than_the_words_of_both() {
    let text = "a ".repeat(32_768);
    let one = units("b", &text);
    let phrase = units(&format!("\"{}b\"", "a ".repeat(31)), &text);
    assert!(phrase < 4 * one, "{phrase} for 32 words, {one} for one");
    let prefixes = units(&"aaaaaaa* ".repeat(32), &text);
    assert!(prefixes < 4 * one, "{prefixes} for 32 prefixes, {one} for one");
}

#[test]
fn a_query_is_parsed_as_far_as_it_makes_sense() {
    let begun = Query::parse(&format!("{} needle", "\u{3316}".repeat(200_000)));
    let found = begun.matches(&["hay"], &mut Budget::unlimited());
    assert_eq!(found, Some(false));
    let endless = "\u{fdf9}".repeat(200_000);
    assert_eq!(Query::parse(&endless), Query::parse(""), "a word without an end is none");
}

#[test]
fn work_that_is_used_up_leaves_a_text_undecided() {
    let needle = Query::parse("needle");
    let text = format!("{} needle", "hay ".repeat(10_000));
    assert_eq!(needle.matches(&[&text], &mut Budget::unlimited()), Some(true));
    let mut budget = Budget::new(10_000);
    assert_eq!(needle.matches(&[&text], &mut budget), None);
    assert!(budget.is_used_up());
    let first = needle.matches(&["a needle", &text], &mut Budget::new(10_000));
    assert_eq!(first, Some(true), "what was found before is found");
}

#[test]
fn a_page_ends_after_so_much_folding_and_the_next_one_goes_on() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let needle = world.send(bob, ann, "a needle");
    for _ in 0..11 {
        world.send(bob, ann, &LONGEST.repeat(FULL));
    }
    let pages = world.pages(ann, &search("needle"), 100);
    let found: Vec<_> = pages.iter().map(|page| ids(&page.items)).collect();
    assert_eq!(found, [vec![], vec![], vec![needle]], "five of them are a page's work");
    let nexts: Vec<_> = pages.iter().filter_map(|page| page.next).collect();
    assert!(nexts.is_sorted_by(|one, next| one > next), "{nexts:?}");
}

#[test]
fn a_page_whose_time_is_over_ends_with_what_it_has_looked_at() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let needle = world.send(bob, ann, "a needle");
    let long: Vec<_> = (0..3).map(|_| world.send(bob, ann, &LONGEST.repeat(FULL))).collect();
    let (mut next, mut nexts) = (None, vec![]);
    loop {
        let before = next;
        let late = move |tx: &mut Tx<'_>| {
            lists::page(tx, ann, &search("needle"), BodyPart::Snippet, (before, 9))
        };
        let page = world.read_late(late);
        next = page.next;
        nexts.extend(next);
        if next.is_none() {
            assert_eq!(ids(&page.items), [needle]);
            break;
        }
        assert_eq!(page.items, []);
    }
    assert_eq!(nexts, [long[2], long[1], long[0]], "one message for each page");
}

#[test]
fn a_message_that_is_more_than_the_work_of_a_page_stops_nobody() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let large = Lengths { subject_chars: 255, body_bytes: 1_000_000 };
    let old = world.send(bob, ann, "a needle");
    let mut huge = draft(ann, "a subject", "");
    huge.body = Body::parse(LONGEST.repeat(150_000), large).unwrap();
    world.try_send(bob, huge).unwrap();
    let new = world.send(bob, ann, "a needle");
    let pages = world.pages(ann, &search("needle"), 100);
    let found: Vec<_> = pages.iter().map(|page| ids(&page.items)).collect();
    assert_eq!(found, [vec![new], vec![], vec![old]]);
}

/// Makes one message of bob to ann 900.
const COPY: [&str; 3] = copies!("899", "900");

/// SQLite reads a whole body to show its beginning.
#[test]
fn a_page_counts_the_bytes_of_texts_that_it_does_not_search() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.send(bob, ann, &"hay ".repeat(16_000));
    for statement in COPY {
        world.sql(statement);
    }
    let until = Filter { until: Some(world.now().plus(-Time::HOUR)), ..Filter::default() };
    let pages = world.pages(ann, &until, 100);
    assert_eq!(pages.len(), 2, "58 MB are more than one page reads");
    assert!(pages.iter().all(|page| page.items.is_empty()));
}

#[test]
fn the_ids_of_a_page_are_those_of_its_messages() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    for number in 0..7 {
        let body = ["a needle", "hay"][number % 2];
        world.send(bob, ann, body);
    }
    for filter in [Filter::default(), search("needle")] {
        for before in [None, MessageId::new(6)] {
            let page = world.page(ann, &filter, before, 2);
            let (asked, expected) = (filter.clone(), (ids(&page.items), page.next));
            let found = world.read(move |tx, _cx| lists::ids(tx, ann, &asked, before, 2));
            assert_eq!(found, expected);
        }
    }
    let (_, statements) = world.read(move |tx, _cx| {
        Ok((lists::ids(tx, ann, &Filter::default(), None, 9)?, tx.statements()))
    });
    assert_eq!(statements, 4, "no message is read for it");
}

#[test]
fn a_look_up_goes_on_behind_those_who_cannot_be_found() {
    let world = World::new();
    for number in 0..70 {
        world.user(&format!("anna{number:02}"));
    }
    world.sql("UPDATE users SET findable = 0");
    world.user("annz");
    assert_eq!(world.look_up("ann", 9), ["annz"]);
}

/// Makes 6,000 contacts of ann, newer than bob.
const CROWD: &str = "INSERT INTO contacts (owner_id, peer_id, first_at)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 6000)
    SELECT 1, 1000 + n, 7 FROM numbers";

#[test]
fn a_look_up_among_contacts_reads_five_thousand_of_them() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.send(ann, bob, "hello");
    let found = || world.read(move |tx, _cx| users::lookup(tx, "bob", 20, Some(ann))).len();
    assert_eq!(found(), 1);
    world.sql(CROWD);
    assert_eq!(found(), 0, "it is behind the others");
    world.sql("DELETE FROM contacts WHERE peer_id > 5900");
    assert_eq!(found(), 1);
}
