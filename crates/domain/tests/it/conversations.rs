//! Conversations: what they show, muting, marking and sweeping; taking back; many at once.

use domain::conversations::{self, Conversation, ConversationAction};
use domain::entries::Folder;
use domain::envelopes::BodyPart;
use domain::lists::{Filter, FolderFilter};
use domain::messages::{self, Action, Batch, Marks, Unsent};
use domain::sending::Draft;
use domain::{
    ConversationId, Error, MessageId, Missing, Result, Time, UserId, UserRef, purge, unread, users,
};

use crate::support::{World, answer, nobody, nothing, refused};

const NO_MARKS: Marks = Marks { read: None, starred: None, archived: None, trashed: None };
const READ: Marks = Marks { read: Some(true), ..NO_MARKS };
const ARCHIVED: Marks = Marks { archived: Some(true), ..NO_MARKS };
const TRASHED: Marks = Marks { trashed: Some(true), ..NO_MARKS };

impl World {
    pub(super) fn conversation(&self, owner: UserId, id: ConversationId) -> Option<Conversation> {
        self.read(move |tx, _cx| conversations::read(tx, owner, id)).map(|(item, _people)| item)
    }

    /// The conversations of a mailbox and how much of each is unread.
    pub(super) fn conversations(&self, owner: UserId) -> Vec<(ConversationId, i64)> {
        let page = self
            .read(move |tx, _cx| conversations::list(tx, owner, BodyPart::Snippet, (None, 100)));
        page.items.into_iter().map(|item| (item.id, item.unread)).collect()
    }

    pub(crate) fn mute(&self, owner: UserId, id: ConversationId, muted: bool) -> Result<()> {
        self.write(move |tx, cx| conversations::mute(tx, cx, owner, id, muted))
    }

    fn sweep_all(
        &self,
        owner: UserId,
        id: ConversationId,
        sweep: ConversationAction,
    ) -> Result<()> {
        let swept = self.write(move |tx, cx| {
            conversations::apply_to_all(tx, cx, owner, id, sweep, (None, 1000))
        })?;
        assert_eq!(swept, None, "all at once");
        Ok(())
    }

    fn mark_unread(&self, owner: UserId, id: ConversationId) -> Result<()> {
        self.write(move |tx, cx| conversations::mark_unread(tx, cx, owner, id, None))
    }

    pub(crate) fn destroy(&self, owner: UserId, id: MessageId) -> Result<()> {
        self.write(move |tx, cx| messages::delete(tx, cx, owner, id))
    }

    pub(crate) fn unsend(&self, caller: UserId, id: MessageId) -> Result<Unsent> {
        self.write(move |tx, cx| messages::unsend(tx, cx, caller, id))
    }

    fn batch(&self, owner: UserId, ids: &[MessageId], action: Action) -> Batch {
        let ids = ids.to_vec();
        let done = self.write(move |tx, cx| messages::batch(tx, cx, owner, &ids, action));
        done.expect("a batch never fails")
    }

    /// Messages and conversations with something unread.
    fn unread_counts(&self, owner: UserId) -> (i64, i64) {
        let counts = self.read(move |tx, _cx| unread::counts(tx, owner));
        (counts.messages, counts.conversations)
    }
}

fn nowhere() -> ConversationId {
    nothing().begins()
}

#[test]
fn a_message_is_a_conversation_and_goes_on_with_its_answers() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "hello");
    let id = first.begins();
    let single = world.conversation(bob, id).unwrap();
    assert_eq!((single.subject.as_str(), single.participants), ("a subject", vec![ann, bob]));
    assert_eq!((single.unread, single.muted), (1, false));
    assert_eq!(single.last.unwrap().entry.message, first);

    let back = world.reply(bob, first, "an answer");
    let again = world.reply(ann, back, "another");
    let both = world.conversation(bob, id).unwrap();
    assert_eq!((both.subject.as_str(), both.participants), ("a subject", vec![ann, bob]));
    assert_eq!((both.unread, both.last.unwrap().envelope.body.as_str()), (2, "another"));
    for (owner, unread) in [(ann, 1), (bob, 2)] {
        assert_eq!(world.conversations(owner), [(id, unread)]);
        assert_eq!(world.unread_counts(owner), (unread, 1));
    }
    world.open(bob, again).unwrap();
    assert_eq!((world.conversations(bob), world.unread_counts(bob)), (vec![(id, 1)], (1, 1)));
}

#[test]
fn a_user_who_joins_later_sees_the_conversation_from_there_on() {
    let world = World::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.user(name));
    let first = world.send(ann, bob, "hello");
    let mut draft = answer(first, "see this");
    draft.to = [ann, cid].map(UserRef::Id).to_vec();
    let second = world.try_send(bob, draft).unwrap();
    let seen = world.conversation(cid, first.begins()).unwrap();
    assert_eq!((seen.subject.as_str(), seen.participants), ("Re: a subject", vec![ann, bob, cid]));
    assert_eq!((seen.unread, seen.last.unwrap().entry.message), (1, second));
    let all = world.conversation(ann, first.begins()).unwrap();
    assert_eq!((all.subject.as_str(), all.participants), ("a subject", vec![ann, bob, cid]));
    let in_it = Filter { conversation: Some(first.begins()), ..Filter::default() };
    assert_eq!(world.list(cid, &in_it), [second]);
    assert_eq!(world.list(ann, &Filter { folder: FolderFilter::All, ..in_it }), [second, first]);
}

#[test]
fn a_conversation_names_two_hundred_and_goes_on_with_more() {
    let world = World::new();
    let ann = world.user("ann");
    let others = world.crowd(300);
    let first = world.send_to(ann, &others[..100], "hello");
    for part in [&others[100..200], &others[200..]] {
        let mut draft = answer(first, "to you too");
        draft.to = part.iter().map(|user| UserRef::Id(*user)).collect();
        world.try_send(ann, draft).unwrap();
    }
    let seen = world.conversation(ann, first.begins()).unwrap();
    let named: Vec<_> = [ann].iter().chain(&others).take(200).copied().collect();
    assert_eq!(seen.participants, named);
    assert_eq!(world.received(others[299]).len(), 1);
    assert_eq!(world.problems(), []);
}

#[test]
fn the_newest_message_outside_of_the_trash_decides_where_a_conversation_stands() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (first, other) = (world.send(ann, bob, "one"), world.send(ann, bob, "other"));
    let (id, other) = (first.begins(), other.begins());
    assert_eq!(world.conversations(bob), [(other, 1), (id, 1)]);
    let back = world.reply(ann, first, "more of the one");
    assert_eq!(world.conversations(bob), [(id, 2), (other, 1)]);
    world.mark(bob, back, TRASHED);
    assert_eq!(world.conversations(bob), [(other, 1), (id, 1)]);
    world.mark(bob, first, TRASHED);
    assert_eq!(world.conversations(bob), [(other, 1)], "what is all in the trash is not listed");
    let trashed = world.conversation(bob, id).unwrap();
    assert_eq!((trashed.last, trashed.unread), (None, 0), "and can be read");
    world.mark(bob, back, Marks { trashed: Some(false), ..NO_MARKS });
    assert_eq!(world.conversations(bob), [(id, 1), (other, 1)]);
    world.mark(bob, back, ARCHIVED);
    assert_eq!(world.conversations(bob), [(id, 0), (other, 1)], "only the inbox is counted");
    assert_eq!(world.unread_counts(bob), (1, 1));
    world.destroy(bob, back).unwrap();
    assert_eq!(world.conversations(bob), [(other, 1)]);
    world.destroy(bob, first).unwrap();
    assert_eq!(world.conversation(bob, id), None);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_stranger_finds_no_conversation_and_can_do_nothing_to_it() {
    let world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.user(name));
    let first = world.send(ann, bob, "secret");
    world.reply(bob, first, "secret too");
    for id in [first.begins(), nowhere()] {
        assert_eq!(world.conversation(eve, id), None);
        assert_eq!(refused(world.mute(eve, id, true)), Error::NotFound(Missing::Conversation));
        assert_eq!(refused(world.mark_unread(eve, id)), Error::NotFound(Missing::Conversation));
        for sweep in [ConversationAction::Read, ConversationAction::Trash] {
            assert_eq!(
                refused(world.sweep_all(eve, id, sweep)),
                Error::NotFound(Missing::Conversation)
            );
        }
        let in_it = Filter { conversation: Some(id), ..Filter::default() };
        assert_eq!(world.list(eve, &in_it), []);
    }
    assert_eq!(world.conversations(eve), []);
    assert_eq!(world.number("SELECT count(*) FROM conversations"), 2);
}

#[test]
fn a_muted_conversation_is_counted() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "hello");
    let id = first.begins();
    for _ in 0..2 {
        world.mute(bob, id, true).unwrap();
    }
    world.reply(ann, first, "still there?");
    let muted = world.conversation(bob, id).unwrap();
    assert_eq!((muted.muted, muted.unread, muted.subject.as_str()), (true, 2, "a subject"));
    assert!(!world.conversation(ann, id).unwrap().muted, "muting is per user");
    assert_eq!(world.unread_counts(bob), (2, 1));
    world.mute(bob, id, false).unwrap();
    assert!(!world.conversation(bob, id).unwrap().muted);

    world.mute(bob, id, true).unwrap();
    for message in world.received(bob) {
        world.destroy(bob, message).unwrap();
    }
    assert_eq!(refused(world.mute(bob, id, true)), Error::NotFound(Missing::Conversation));
    assert_eq!(world.problems(), []);
}

#[test]
fn a_mute_that_changes_nothing_is_no_change_of_the_mailbox() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello").begins();
    let modseq = || world.number("SELECT modseq FROM mailboxes WHERE owner_id = 2");
    let before = modseq();
    for (muted, changes) in [(false, 0), (true, 1), (true, 1), (false, 2), (false, 2)] {
        world.mute(bob, id, muted).unwrap();
        assert_eq!(modseq() - before, changes);
    }
    assert_eq!(world.conversation(bob, id).unwrap().unread, 1);
    assert_eq!(world.problems(), []);
}

/// Makes bob's mailbox hold nothing of a conversation.
type Empty = fn(&World, [UserId; 2], &[MessageId]);

#[test]
fn a_mute_lasts_as_long_as_the_mailbox_however_the_last_message_goes() {
    let ways: [(&str, Empty); 6] = [
        ("deleted", |world, [_ann, bob], all| {
            for id in all {
                world.destroy(bob, *id).unwrap();
            }
        }),
        ("deleted at once", |world, [_ann, bob], all| {
            world.batch(bob, all, Action::Delete);
        }),
        ("the trash was emptied", |world, [_ann, bob], all| {
            world.sweep_all(bob, all[0].begins(), ConversationAction::Trash).unwrap();
            world.wait(31 * Time::DAY);
            world.write(|tx, cx| purge::trash(tx, cx, 100)).unwrap();
        }),
        ("withdrawn as the classic API does", |world, [ann, _bob], all| {
            for id in all {
                world.delete(ann, *id).unwrap();
            }
        }),
        ("unsent", |world, [ann, _bob], all| {
            for id in all {
                world.unsend(ann, *id).unwrap();
            }
        }),
        ("the other side was erased", |world, [ann, bob], all| {
            world.write(move |tx, cx| users::erase(tx, cx, ann)).unwrap();
            world.write(|tx, cx| purge::erased_mailboxes(tx, cx, 100)).unwrap();
            assert!(world.conversation(bob, all[0].begins()).unwrap().muted);
            for id in all {
                world.destroy(bob, *id).unwrap();
            }
        }),
    ];
    for (way, empty) in ways {
        let world = World::new();
        let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| world.user(name));
        let first = world.send_to(ann, &[bob, cid], "a secret");
        let all = [first, world.reply(ann, first, "more")];
        // Not to bob, so that there is something to go on with.
        let aside = Draft { to: vec![UserRef::Id(ann)], ..answer(first, "aside") };
        let aside = world.try_send(cid, aside).unwrap();
        let id = first.begins();
        world.mute(bob, id, true).unwrap();
        empty(&world, [ann, bob], &all);

        assert_eq!(world.conversation(bob, id), None, "{way}");
        assert_eq!((world.conversations(bob), world.unread_counts(bob)), (vec![], (0, 0)), "{way}");
        let missing = Error::NotFound(Missing::Conversation);
        assert_eq!(refused(world.mute(bob, id, false)), missing, "{way}");
        assert_eq!(refused(world.mark_unread(bob, id)), missing, "{way}");
        for action in [ConversationAction::Read, ConversationAction::Trash] {
            assert_eq!(refused(world.sweep_all(bob, id, action)), missing, "{way}");
        }
        let kept = "SELECT subject, participants FROM conversations WHERE owner_id = 2";
        let kept = world.rows(kept, |row| Ok([row.text(0)?.to_owned(), row.text(1)?.to_owned()]));
        assert_eq!(kept, [["", ""]], "{way}: only the mute is kept");
        assert_eq!(world.problems(), [], "{way}");

        let draft = Draft { to: vec![UserRef::Id(bob)], ..answer(aside, "and you?") };
        let new = world.try_send(cid, draft).unwrap();
        let again = world.conversation(bob, id).unwrap();
        assert!(again.muted, "{way}");
        assert_eq!((again.unread, again.last.unwrap().entry.message), (1, new), "{way}");
        assert_eq!((again.subject.as_str(), again.participants), ("Re: a subject", vec![bob, cid]));
        assert_eq!((world.conversations(bob), world.unread_counts(bob)), (vec![(id, 1)], (1, 1)));
        world.mute(bob, id, false).unwrap();
        world.destroy(bob, new).unwrap();
        let rows = "SELECT count(*) FROM conversations WHERE owner_id = 2";
        assert_eq!(world.number(rows), 0, "{way}: nothing is kept of what is not muted");
        assert_eq!(world.problems(), [], "{way}");
    }
}

#[test]
fn a_mute_goes_with_the_mailbox() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    world.mute(bob, id.begins(), true).unwrap();
    world.destroy(bob, id).unwrap();
    world.write(move |tx, cx| users::erase(tx, cx, bob)).unwrap();
    while let Ok(1..) = world.write(|tx, cx| purge::erased_mailboxes(tx, cx, 100)) {}
    assert_eq!(world.number("SELECT count(*) FROM conversations"), 0);
}

#[test]
fn muting_changes_no_message_but_the_state() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "hello");
    let before = world.entry(bob, first).unwrap();
    world.mute(bob, first.begins(), true).unwrap();
    let after = world.entry(bob, first).unwrap();
    assert_eq!(
        (after.created_modseq, after.changed_modseq),
        (before.created_modseq, before.changed_modseq)
    );
    assert_eq!(world.list(bob, &Filter::default()), [first]);
}

#[test]
fn a_conversation_is_marked_as_read_wherever_its_messages_are() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let single = world.send(ann, bob, "alone");
    let first = world.send(ann, bob, "hello");
    let more: Vec<_> = (0..4).map(|_| world.reply(ann, first, "more")).collect();
    world.mark(bob, more[0], ARCHIVED);
    world.mark(bob, more[1], TRASHED);
    for id in [first.begins(), single.begins()] {
        for _ in 0..2 {
            world.sweep_all(bob, id, ConversationAction::Read).unwrap();
        }
    }
    for message in [single, first].iter().chain(&more) {
        assert!(!world.entry(bob, *message).unwrap().is_unread(), "{message:?}");
    }
    assert_eq!(world.unread_counts(bob), (0, 0));
    assert_eq!(world.entry(ann, first).unwrap().read_at, None, "what was sent is nothing to read");
    assert_eq!(world.problems(), []);
}

#[test]
fn a_conversation_goes_into_the_trash_a_few_messages_at_a_time() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "hello");
    for _ in 0..6 {
        world.reply(bob, first, "more");
    }
    let id = first.begins();
    let (mut next, mut rounds) = (None, 0);
    loop {
        next = world
            .write(move |tx, cx| {
                conversations::apply_to_all(tx, cx, bob, id, ConversationAction::Trash, (next, 3))
            })
            .unwrap();
        rounds += 1;
        let trashed = world.list(bob, &Filter { folder: FolderFilter::Trash, ..Filter::default() });
        assert_eq!(trashed.len(), (3 * rounds).min(7));
        if next.is_none() {
            break;
        }
    }
    assert_eq!((rounds, world.conversations(bob)), (3, vec![]));
    assert_eq!(world.conversations(ann).len(), 1, "the other user keeps the conversation");
    // What comes later brings it back.
    let back = world.reply(ann, first, "still there?");
    assert_eq!(world.conversations(bob), [(id, 1)]);
    assert_eq!(world.list(bob, &Filter::default()), [back]);
    assert_eq!(world.problems(), []);
}

#[test]
fn the_newest_message_that_was_received_becomes_unread_again() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "hello");
    let id = first.begins();
    let single = world.send(ann, bob, "alone");
    for message in [first, single] {
        world.open(bob, message).unwrap();
    }
    world.mark_unread(bob, single.begins()).unwrap();
    assert_eq!(world.unread(bob), [single]);

    let received = world.reply(ann, first, "more");
    let trashed = world.reply(ann, first, "more");
    world.reply(bob, first, "sent");
    world.mark(bob, trashed, Marks { read: Some(true), ..TRASHED });
    world.sweep_all(bob, id, ConversationAction::Read).unwrap();
    world.mark_unread(bob, id).unwrap();
    assert_eq!(world.unread(bob), [single, received]);
    assert_eq!(world.unread_counts(bob), (2, 2));

    // Where there is none, nothing happens: in the trash, or only sent.
    world.mark(bob, single, Marks { read: Some(true), ..TRASHED });
    world.mark_unread(bob, single.begins()).unwrap();
    assert!(!world.entry(bob, single).unwrap().is_unread());
    world.mark_unread(ann, single.begins()).unwrap();
    assert_eq!(world.entry(ann, single).unwrap().read_at, None);
}

#[test]
fn a_message_is_taken_back_from_those_who_have_not_read_it() {
    let world = World::new();
    let [ann, bob, cid, dot] = ["ann", "bob", "cid", "dot"].map(|name| world.user(name));
    let eve = world.user("eve");
    let id = world.send_to(ann, &[dot, cid, bob, ann, eve], "oops");
    world.open(cid, id).unwrap();
    // Marking it as unread does not undo that it was read, whichever way that is done.
    world.batch(cid, &[id], Action::Mark(Marks { read: Some(false), ..NO_MARKS }));
    assert_eq!(world.unread(cid), [id]);
    world.mark(dot, id, ARCHIVED);
    world.destroy(eve, id).unwrap();
    world.disable(bob);
    let unsent = Unsent { withdrawn_from: vec![bob, dot], read_by: vec![cid] };
    assert_eq!(world.unsend(ann, id), Ok(unsent));
    for gone in [bob, dot, eve] {
        assert_eq!(world.peek(gone, id), None);
    }
    assert!(world.entry(ann, id).unwrap().is_unread(), "the sender's copy stays as it was");
    assert_eq!(world.number("SELECT mailbox_count FROM messages"), 2);
    let again = Unsent { withdrawn_from: vec![], read_by: vec![cid] };
    let states = || {
        let sql = "SELECT owner_id, modseq FROM mailboxes ORDER BY owner_id";
        world.write(move |tx, _| Ok(tx.query(sql, &[], |row| Ok((row.int(0)?, row.int(1)?)))?))
    };
    let before = states();
    assert_eq!(world.unsend(ann, id), Ok(again), "there is nothing more to take");
    assert_eq!(states(), before, "no client has anything to fetch");
    assert_eq!(world.problems(), []);
}

#[test]
fn only_the_sender_withdraws_and_only_what_is_in_the_mailbox() {
    let world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.user(name));
    let id = world.send(ann, bob, "hello");
    assert_eq!(refused(world.unsend(bob, id)), Error::NotTheSender);
    for missing in [id, nothing()] {
        assert_eq!(refused(world.unsend(eve, missing)), Error::NotFound(Missing::Message));
    }
    world.destroy(ann, id).unwrap();
    assert_eq!(refused(world.unsend(ann, id)), Error::NotFound(Missing::Message));
    assert_eq!(world.unread(bob), [id]);
    let own = world.send(ann, ann, "to myself");
    assert_eq!(world.unsend(ann, own), Ok(Unsent::default()));
    assert_eq!(world.unread(ann), [own]);
}

#[test]
fn many_are_marked_at_once_and_those_that_are_not_there_are_told() {
    let world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.user(name));
    let sent: Vec<_> = (0..4).map(|_| world.send(ann, bob, "hello")).collect();
    let others = world.send(ann, eve, "not bob's");
    world.open(bob, sent[1]).unwrap();
    let read_at = world.entry(bob, sent[1]).unwrap().read_at;
    world.wait(Time::SECOND);
    let ids = [sent[2], nothing(), sent[1], others, sent[0]];
    let done = world.batch(bob, &ids, Action::Mark(READ));
    assert_eq!(done.updated, [sent[2], sent[1], sent[0]], "whether they were before or not");
    assert_eq!((done.destroyed, done.not_found), (vec![], vec![nothing(), others]));
    assert_eq!(world.unread(bob), [sent[3]]);
    assert_eq!(world.entry(bob, sent[1]).unwrap().read_at, read_at, "the first time stays");
    assert_eq!(world.unread(eve), [others]);

    let done = world.batch(bob, &ids, Action::Delete);
    assert_eq!(done.destroyed, [sent[2], sent[1], sent[0]]);
    assert_eq!(done.updated, []);
    assert_eq!(done.not_found, [nothing(), others]);
    assert_eq!(world.batch(bob, &ids, Action::Delete), done, "and again");
    assert_eq!((world.received(bob), world.received(eve)), (vec![sent[3]], vec![others]));
    assert_eq!(world.batch(bob, &[], Action::Delete), Batch::default());
    assert_eq!(world.problems(), []);
}

#[test]
fn marks_keep_their_times_and_what_was_sent_is_never_unread() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    let first = world.now();
    let all = Marks { read: Some(true), starred: Some(true), archived: Some(true), ..TRASHED };
    world.mark(bob, id, all);
    let marked = world.entry(bob, id).unwrap();
    world.wait(Time::SECOND);
    assert_eq!(world.mark(bob, id, all).entry, marked, "repeating it changes nothing");
    let times = [marked.read_at, marked.starred_at, marked.archived_at, marked.trashed_at];
    assert_eq!(times, [Some(first); 4]);
    let out = Marks { trashed: Some(false), ..NO_MARKS };
    assert_eq!(world.mark(bob, id, out).entry.folder(), Folder::Archive);
    for read in [true, false] {
        let sent = world.mark(ann, id, Marks { read: Some(read), ..NO_MARKS });
        assert_eq!((sent.entry.read_at, sent.entry.is_unread()), (None, false));
    }
}

#[test]
fn a_stale_tag_marks_nothing() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    let tag = move |world: &World| {
        let found = world.read(move |tx, _cx| messages::read_with_people(tx, bob, id));
        found.map(|(message, people)| message.tag(&people)).expect("it is there")
    };
    let known = tag(&world);
    // Nodes of two builds must agree on it.
    assert_eq!(known, "1-0bc16597");
    let mark = |known: String| {
        world.write(move |tx, cx| {
            messages::mark(tx, cx, bob, id, READ, &|tag| tag == known).map(drop)
        })
    };
    assert_eq!(mark("another".to_owned()), Err(Error::StaleTag));
    assert_eq!((world.unread(bob), tag(&world)), (vec![id], known.clone()));
    assert_eq!(mark(known.clone()), Ok(()));
    assert_ne!(tag(&world), known);
    assert_eq!(mark(known), Err(Error::StaleTag));
}

#[test]
fn the_trash_empties_itself_after_thirty_days() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let empty = |most: i64| world.write(move |tx, cx| purge::trash(tx, cx, most)).unwrap();
    let sent: Vec<_> = (0..4).map(|_| world.send(ann, bob, "hello")).collect();
    for id in &sent[..3] {
        world.mark(bob, *id, TRASHED);
        world.wait(Time::SECOND);
    }
    world.wait(30 * Time::DAY - 3 * Time::SECOND);
    assert_eq!(empty(100), 0, "thirty days are not over");
    world.wait(2 * Time::SECOND);
    assert_eq!((empty(1), world.peek(bob, sent[0])), (1, None), "the oldest first");
    assert_eq!((empty(100), empty(100)), (1, 0));
    let left = world.list(bob, &Filter { folder: FolderFilter::Trash, ..Filter::default() });
    assert_eq!((left, world.received(bob)), (vec![sent[2]], vec![sent[3]]));
    assert!(world.peek(ann, sent[0]).is_some(), "the sender keeps a copy");
    assert_eq!(world.problems(), []);
}

#[test]
fn nobody_has_no_conversations() {
    let world = World::new();
    assert_eq!(world.conversations(nobody()), []);
}
