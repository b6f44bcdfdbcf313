//! What was not seen: bounds and steps of what is done to a conversation, and what is told of it.

use domain::changes::{self, ChangeKind};
use domain::conversations::{self, ConversationAction};
use domain::lists::{Filter, FolderFilter};
use domain::messages::Marks;
use domain::{ConversationId, MessageId, UserId, unread};

use crate::support::World;

const NO_MARKS: Marks = Marks { read: None, starred: None, archived: None, trashed: None };
const TRASHED: Marks = Marks { trashed: Some(true), ..NO_MARKS };

/// A conversation that bob received from ann, of a first message and so many replies.
fn long_conversation(replies: usize) -> (World, UserId, UserId, Vec<MessageId>) {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "hello");
    let replies: Vec<_> = (0..replies).map(|_| world.reply(ann, first, "more")).collect();
    (world, ann, bob, [vec![first], replies].concat())
}

impl World {
    /// Applies an action up to a message that was seen.
    fn sweep_seen(
        &self,
        owner: UserId,
        id: ConversationId,
        up_to: MessageId,
        all: ConversationAction,
    ) {
        let step = (Some(up_to.next()), 1000);
        let swept =
            self.write(move |tx, cx| conversations::apply_to_all(tx, cx, owner, id, all, step));
        assert_eq!(swept, Ok(None));
    }

    fn mark_seen_unread(&self, owner: UserId, id: ConversationId, up_to: MessageId) {
        let before = Some(up_to.next());
        let marked =
            self.write(move |tx, cx| conversations::mark_unread(tx, cx, owner, id, before));
        assert_eq!(marked, Ok(()));
    }
}

#[test]
fn nothing_newer_than_what_was_seen_is_read_or_thrown_away() {
    let (world, ann, bob, all) = long_conversation(4);
    let id = all[0].begins();
    // A message of another conversation is a bound as well.
    let seen = world.send(ann, bob, "another");
    let late = world.reply(ann, all[0], "unseen");

    world.sweep_seen(bob, id, seen, ConversationAction::Read);
    assert_eq!(world.unread(bob), [seen, late]);
    world.mark_seen_unread(bob, id, seen);
    assert_eq!(world.unread(bob), [all[4], seen, late]);
    world.mark_seen_unread(bob, id, all[1]);
    assert_eq!(world.unread(bob), [all[1], all[4], seen, late]);
    world.sweep_seen(bob, id, seen, ConversationAction::Trash);
    let trash = Filter { folder: FolderFilter::Trash, ..Filter::default() };
    assert_eq!(world.list(bob, &trash), all.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(world.conversations(bob), [(id, 1), (seen.begins(), 1)]);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_message_that_is_a_conversation_alone_is_unseen_as_well() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let seen = world.send(ann, bob, "seen");
    let late = world.send(ann, bob, "unseen");
    for action in [ConversationAction::Read, ConversationAction::Trash] {
        world.sweep_seen(bob, late.begins(), seen, action);
    }
    assert_eq!(world.conversations(bob), [(late.begins(), 1), (seen.begins(), 1)]);
    world.mark_read(bob, late);
    world.mark_seen_unread(bob, late.begins(), seen);
    assert_eq!(world.unread(bob), [seen]);
    world.sweep_seen(bob, late.begins(), late, ConversationAction::Trash);
    assert_eq!(world.conversations(bob), [(seen.begins(), 1)]);
}

#[test]
fn what_comes_between_two_steps_is_left_alone() {
    for action in [ConversationAction::Read, ConversationAction::Trash] {
        let (world, ann, bob, all) = long_conversation(4);
        let id = all[0].begins();
        // The newest is in the trash: it is marked as read as well, as it was there at first.
        world.mark(bob, all[4], TRASHED);
        let (mut before, mut late) = (None, Vec::new());
        loop {
            let step = (before, 2);
            before = world
                .write(move |tx, cx| conversations::apply_to_all(tx, cx, bob, id, action, step))
                .unwrap();
            late.push(world.reply(ann, all[0], "meanwhile"));
            if before.is_none() {
                break;
            }
        }
        assert_eq!(late.len(), 3, "5 messages are three steps of two");
        for message in &late {
            let entry = world.entry(bob, *message).unwrap();
            assert!(entry.is_unread() && entry.trashed_at.is_none(), "{action:?} {message:?}");
        }
        for message in &all {
            let entry = world.entry(bob, *message).unwrap();
            let done =
                if action == ConversationAction::Read { entry.read_at } else { entry.trashed_at };
            assert!(done.is_some(), "{action:?} {message:?}");
        }
    }
}

#[test]
fn a_message_that_goes_has_its_conversation_told_by_the_one_that_is_the_newest_then() {
    let (world, ann, bob, all) = long_conversation(3);
    let state = || world.read(move |tx, _cx| Ok(unread::counts(tx, bob)?.modseq));
    let told = |since| {
        let found = world.read(move |tx, _cx| changes::since(tx, bob, since, 100));
        let told = found.changes.iter().map(|change| (change.message, change.kind()));
        told.collect::<Vec<_>>()
    };
    let before = state();
    let passing = world.reply(ann, all[0], "never mind");
    world.unsend(ann, passing).unwrap();
    assert_eq!(told(before), [(all[3], ChangeKind::Updated)], "it came and went since");
    let before = state();
    world.unsend(ann, all[1]).unwrap();
    let both = [(all[1], ChangeKind::Destroyed), (all[3], ChangeKind::Updated)];
    assert_eq!(told(before), both, "it was unread");
    for message in [all[2], all[3]] {
        world.open(bob, message).unwrap();
    }
    let before = state();
    world.destroy(bob, all[2]).unwrap();
    let both = [(all[2], ChangeKind::Destroyed), (all[3], ChangeKind::Updated)];
    assert_eq!(told(before), both, "when it was read is not told any more");
    let before = state();
    world.mark(bob, all[0], TRASHED);
    world.destroy(bob, all[0]).unwrap();
    let both = [(all[0], ChangeKind::Destroyed), (all[3], ChangeKind::Updated)];
    assert_eq!(told(before), both, "nor that it was in the trash");
    let before = state();
    let passing = world.reply(ann, all[1], "never mind");
    world.mark(bob, passing, TRASHED);
    world.unsend(ann, passing).unwrap();
    assert_eq!(told(before), [(all[3], ChangeKind::Updated)], "it came, was put away and went");
    let before = state();
    world.destroy(bob, all[3]).unwrap();
    assert_eq!(told(before), [(all[3], ChangeKind::Destroyed)], "there is no other");
    assert_eq!(world.problems(), []);
}
