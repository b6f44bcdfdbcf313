//! What lists say of messages and conversations: a few of the people, metadata and whole messages
//! only for those who ask, and no more of them than fit into a page.

use std::collections::BTreeSet;

use db::Tx;
use domain::envelopes::{BodyPart, NAMED};
use domain::lists::{self, Filter, FolderFilter, Page};
use domain::messages::{Message, PAGE_BYTES};
use domain::sending::Metadata;
use domain::{MessageId, Result, UserId, UserRef, changes, conversations};

use crate::support::{World, answer, draft, ids};

const PARTS: [BodyPart; 3] = [BodyPart::Snippet, BodyPart::SnippetAndMetadata, BodyPart::Whole];

/// A page of everything.
fn page(
    tx: &mut Tx<'_>,
    owner: UserId,
    part: BodyPart,
    before: Option<MessageId>,
) -> Result<Page<Message>> {
    let all = Filter { folder: FolderFilter::All, ..Filter::default() };
    lists::page(tx, owner, &all, part, (before, 100))
}

impl World {
    fn page_of(&self, owner: UserId, part: BodyPart) -> Page<Message> {
        self.read(move |tx, _cx| page(tx, owner, part, None))
    }
}

#[test]
fn a_list_names_five_of_the_recipients_and_the_owner_among_them() {
    let world = World::new();
    let ann = world.user("ann");
    let crowd = world.crowd(100);
    let id = world.send_to(ann, &crowd, "to many");
    world.send_to(ann, &crowd[..NAMED], "to a few");

    let [.., fifth, _, _] = crowd[..7] else { unreachable!("there are seven") };
    let last = crowd[99];
    let first_four = &crowd[..NAMED - 1];
    for (owner, and) in [(ann, fifth), (crowd[0], fifth), (fifth, fifth), (last, last)] {
        let expected = [first_four, &[and]].concat();
        let listed = world.page_of(owner, BodyPart::Snippet);
        let many = &listed.items.last().expect("it is there").envelope;
        assert_eq!((&many.to, many.to_count), (&expected, 100), "{owner:?}");
        let people: BTreeSet<_> = listed.people.iter().map(|person| person.id).collect();
        let named = listed.items.iter().flat_map(|item| item.envelope.people()).collect();
        assert_eq!(people, named, "nobody is loaded who is not shown");
        let found =
            world.read(move |tx, _cx| changes::with_messages(tx, owner, 0, 100, BodyPart::Snippet));
        assert!(found.messages.iter().any(|one| one.envelope == *many), "and so do events");

        let whole = world.page_of(owner, BodyPart::Whole);
        assert_eq!(whole.items.last().map(|item| &item.envelope.to), Some(&crowd));
        let one = world.peek(owner, id).expect("it is there").envelope;
        assert_eq!((one.to, one.to_count), (crowd.clone(), 100), "and so does the message");
    }
    let few = &world.page_of(ann, BodyPart::Snippet).items[0].envelope;
    assert_eq!((&*few.to, few.to_count), (&crowd[..NAMED], NAMED));
}

#[test]
fn a_list_names_five_of_the_participants() {
    let world = World::new();
    let ann = world.user("ann");
    let crowd = world.crowd(150);
    let first = world.send_to(ann, &crowd[..100], "to many");
    let mut more = answer(first, "to more");
    more.to = crowd[50..].iter().map(|user| UserRef::Id(*user)).collect();
    world.try_send(ann, more).expect("it can be sent");

    let page =
        world.read(move |tx, _cx| conversations::list(tx, ann, BodyPart::Snippet, (None, 100)));
    let [item] = &*page.items else { panic!("there is one") };
    let named = [&[ann], &crowd[..NAMED - 1]].concat();
    assert_eq!((&item.participants, item.participants_count), (&named, 151));
    let last = &item.last.as_ref().expect("it is there").envelope;
    assert_eq!((&*last.to, last.to_count), (&crowd[50..50 + NAMED], 100));
    assert_eq!(page.people.len(), 2 * NAMED, "ann and those");

    let one = world.conversation(ann, first.begins()).expect("it is there");
    assert_eq!((one.participants.len(), one.participants_count), (151, 151));
    assert_eq!(one.last, item.last, "its newest message is as in the list");
}

#[test]
fn metadata_and_whole_texts_are_for_those_who_ask() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let text = "words ".repeat(100);
    let metadata = "{\"order\":7}";
    let mut with = draft(bob, "a subject", &text);
    with.metadata = Metadata::parse(metadata.to_owned()).ok();
    let id = world.try_send(ann, with).expect("it can be sent");

    for part in PARTS {
        let whole = part == BodyPart::Whole;
        let expected = (part != BodyPart::Snippet).then_some(metadata);
        let listed = world.page_of(bob, part).items.remove(0).envelope;
        assert_eq!(listed.metadata.as_deref(), expected, "{part:?}");
        assert_eq!(listed.body, text[..if whole { text.len() } else { 140 }], "{part:?}");
        assert_eq!(listed.snippet(), &text[..140]);
        if whole {
            continue;
        }
        let found = world.read(move |tx, _cx| {
            let changes = changes::with_messages(tx, bob, 0, 100, part)?;
            Ok((changes.messages, conversations::list(tx, bob, part, (None, 100))?.items))
        });
        assert_eq!(found.0[0].envelope, listed, "{part:?}");
        assert_eq!(found.1[0].last.as_ref().map(|last| &last.envelope), Some(&listed));
    }
    let one = world.peek(bob, id).expect("it is there").envelope;
    assert_eq!((one.metadata.as_deref(), one.body), (Some(metadata), text));
}

#[test]
fn a_page_of_whole_messages_ends_where_it_is_full_and_the_next_one_goes_on() {
    let world = World::new();
    let ann = world.user("ann");
    let crowd = world.crowd(100);
    let long = "ä".repeat(30_000);
    let mut sent: Vec<_> = (0..40).map(|_| world.send(ann, crowd[0], &long)).collect();
    sent.extend((0..40).map(|_| world.send_to(ann, &crowd, "short")));
    sent.push(world.send(ann, crowd[0], &long));
    sent.reverse();

    let (mut found, mut next, mut lengths) = (vec![], None, vec![]);
    loop {
        let page = world.read(move |tx, _cx| page(tx, ann, BodyPart::Whole, next));
        let texts: usize = page.items.iter().map(|item| item.envelope.body.len()).sum();
        assert!(texts <= PAGE_BYTES, "{texts}");
        lengths.push(page.items.len());
        found.extend(ids(&page.items));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found, sent, "each of them once");
    // Sixteen texts of 60,000 bytes are a page; recipients count as well.
    assert_eq!(lengths, [37, 18, 16, 10]);
    assert_eq!(world.page_of(ann, BodyPart::SnippetAndMetadata).items.len(), sent.len());
}

#[test]
fn who_asks_for_more_needs_one_or_two_statements_more() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let none = PARTS.map(|part| {
        world.read(move |tx, _cx| page(tx, bob, part, None).map(|_page| tx.statements()))
    });
    assert_eq!(none, [11; 3], "where there is nothing");
    for size in [1, 10] {
        for _ in 0..size {
            world.send(ann, bob, "hello");
        }
        let needed = PARTS.map(|part| {
            world.read(move |tx, _cx| page(tx, bob, part, None).map(|_page| tx.statements()))
        });
        assert_eq!(needed, [13, 14, 15], "with {size} more");
    }
}
