//! A database of the version before conversations is brought up to date with what it holds.

use db::{Db, Url, params};
use domain::SCHEMA;
use domain::entries::Folder;
use domain::envelopes::BodyPart;
use domain::lists::{Filter, FolderFilter};
use domain::messages::Marks;
use domain::sending::Refusal;
use domain::unread::UnreadCounts;
use domain::users::{AcceptFrom, ProfileChange};
use domain::{MessageId, Time, UserId, conversations, unread, users};

use testing::{Database, Engine, engine};

use crate::support::{World, draft, refusal, wait_for};

const ANN: i64 = 1;
const BOB: i64 = 2;
const CID: i64 = 3;
const DOT: i64 = 4;

/// cid is disabled, and dot has neither written nor received anything.
///
/// 1 (ann to bob) is read, 2 (bob to ann) unread, 3 (ann to ann) unread, 4 (bob to bob) read, 5
/// (ann to bob) was deleted by bob, 6 (ann to bob) was withdrawn, 7 (cid to ann) is read, 8 (ann to
/// cid) unread, 9 (bob to ann) was deleted by ann.
const OLD: &[&str] = &[
    "INSERT INTO users (id, name, name_folded, email, password_hash, created_at, disabled_at)
     VALUES (1, 'Ann', 'ann', 'ann@example.org', 'hash of ann', 10, NULL),
            (2, 'bob', 'bob', 'bob@example.org', 'hash of bob', 11, NULL),
            (3, 'cid', 'cid', 'cid@example.org', 'hash of cid', 12, 99),
            (4, 'dot', 'dot', 'dot@example.org', 'hash of dot', 13, NULL)",
    "INSERT INTO mailboxes (owner_id, counter, closed_at)
     VALUES (1, 11, NULL), (2, 10, NULL), (3, 2, 99), (4, 0, NULL)",
    "INSERT INTO messages (id, sender_id, receiver_id, subject, body, sent_at, holders)
     VALUES (1, 1, 2, 'one', 'the first', 101, 2), (2, 2, 1, 'two', 'the second', 102, 2),
            (3, 1, 1, '', 'to myself', 103, 1), (4, 2, 2, '', 'to bob', 104, 1),
            (5, 1, 2, 'five', '', 105, 1), (7, 3, 1, 'seven', '', 107, 2),
            (8, 1, 3, 'eight', '', 108, 2), (9, 2, 1, 'nine', '', 109, 1)",
    "INSERT INTO entries
     (owner_id, message_id, received, unread, sent, read_at, created_seq, changed_seq)
     VALUES (1, 1, 0, 0, 1, NULL, 1, 1), (2, 1, 1, 0, 0, 201, 1, 7),
            (2, 2, 0, 0, 1, NULL, 2, 2), (1, 2, 1, 1, 0, NULL, 2, 2),
            (1, 3, 1, 1, 1, NULL, 3, 3), (2, 4, 1, 0, 1, 204, 3, 8),
            (1, 5, 0, 0, 1, NULL, 4, 4),
            (3, 7, 0, 0, 1, NULL, 1, 1), (1, 7, 1, 0, 0, 207, 7, 11),
            (1, 8, 0, 0, 1, NULL, 8, 8), (3, 8, 1, 1, 0, NULL, 2, 2),
            (2, 9, 0, 0, 1, NULL, 10, 10)",
    "INSERT INTO tombstones (owner_id, seq, message_id, created_seq, destroyed_at)
     VALUES (1, 6, 6, 5, 106), (2, 6, 6, 5, 106), (2, 9, 5, 4, 205), (1, 10, 9, 9, 209)",
];

/// The old database as it is now, where it is a file: there was no other one then.
fn migrated() -> Option<World> {
    let left_out = testing::is_about_sqlite("the version before had no other engine");
    (!left_out).then(|| World::migrated(OLD))
}

fn user(id: i64) -> UserId {
    UserId::new(id).expect("it is a possible id")
}

fn id(id: i64) -> MessageId {
    MessageId::new(id).expect("it is a possible id")
}

fn ids<const N: usize>(ids: [i64; N]) -> Vec<MessageId> {
    ids.map(id).to_vec()
}

#[test]
fn what_was_good_is_good() {
    let Some(world) = migrated() else { return };
    assert_eq!(world.problems(), []);
}

#[test]
fn the_lists_of_the_classic_api_stay_as_they_were() {
    let Some(world) = migrated() else { return };
    assert_eq!(world.received(user(ANN)), ids([2, 3, 7]));
    assert_eq!(world.unread(user(ANN)), ids([2, 3]));
    assert_eq!(world.received(user(BOB)), ids([1, 4]));
    assert_eq!(world.unread(user(BOB)), []);
    assert_eq!(world.received(user(CID)), ids([8]));
    assert_eq!(world.unread(user(CID)), ids([8]));
    assert_eq!((world.received(user(DOT)), world.unread(user(DOT))), (vec![], vec![]));
}

#[test]
fn the_lists_of_the_shelves_hold_the_same() {
    let Some(world) = migrated() else { return };
    let listed = |owner: i64, folder: FolderFilter| -> Vec<i64> {
        let filter = Filter { folder, ..Filter::default() };
        let page = world.page(user(owner), &filter, None, 100);
        page.items.iter().map(|message| message.entry.message.get()).collect()
    };
    assert_eq!(listed(ANN, FolderFilter::Inbox), [7, 3, 2]);
    assert_eq!(listed(ANN, FolderFilter::Sent), [8, 5, 3, 1]);
    assert_eq!(listed(ANN, FolderFilter::All), [8, 7, 5, 3, 2, 1]);
    assert_eq!(listed(BOB, FolderFilter::Inbox), [4, 1]);
    assert_eq!(listed(BOB, FolderFilter::Sent), [9, 4, 2]);
    for owner in [ANN, BOB, CID, DOT] {
        assert_eq!(
            (listed(owner, FolderFilter::Archive), listed(owner, FolderFilter::Trash)),
            (vec![], vec![])
        );
    }
}

#[test]
fn a_message_reads_as_before_for_those_who_hold_it() {
    let Some(world) = migrated() else { return };
    let message = world.peek(user(BOB), id(1)).unwrap();
    let (entry, envelope) = (message.entry, message.envelope);
    assert_eq!((envelope.subject.as_str(), envelope.body.as_str()), ("one", "the first"));
    assert_eq!((envelope.from, envelope.to), (user(ANN), vec![user(BOB)]));
    assert_eq!((envelope.sent_at, envelope.in_reply_to), (Time(101), None));
    assert_eq!((envelope.client_id, envelope.metadata), (None, None));
    assert_eq!((envelope.conversation, entry.conversation), (id(1).begins(), id(1).begins()));
    assert_eq!((entry.received, entry.sent, entry.read_at), (true, false, Some(Time(201))));
    assert_eq!((entry.folder(), entry.peer), (Folder::Inbox, Some(user(ANN))));
    assert_eq!((entry.created_modseq, entry.changed_modseq), (1, 7));

    let own = world.entry(user(ANN), id(3)).unwrap();
    assert!(own.received && own.sent && own.is_unread());
    assert_eq!(world.entry(user(ANN), id(1)).unwrap().folder(), Folder::Sent);
    for (owner, gone) in [(BOB, 5), (ANN, 6), (BOB, 6), (ANN, 9), (DOT, 1)] {
        assert_eq!(world.peek(user(owner), id(gone)), None, "{gone} of {owner}");
    }
    assert_eq!(world.number("SELECT count(*) FROM tombstones"), 4);
}

#[test]
fn the_counts_are_those_of_the_lists_and_the_counters_go_on() {
    let Some(world) = migrated() else { return };
    let counts = |owner| world.read(move |tx, _cx| unread::counts(tx, user(owner)));
    assert_eq!(counts(ANN), UnreadCounts { messages: 2, conversations: 2, modseq: 11 });
    assert_eq!(counts(BOB), UnreadCounts { messages: 0, conversations: 0, modseq: 10 });
    assert_eq!(counts(CID), UnreadCounts { messages: 1, conversations: 1, modseq: 2 });
    world.mark_read(user(ANN), id(2));
    world.delete(user(ANN), id(3)).unwrap();
    assert_eq!(counts(ANN), UnreadCounts { messages: 0, conversations: 0, modseq: 13 });
    assert_eq!(world.problems(), []);
}

#[test]
fn each_message_is_a_conversation_that_goes_on() {
    let Some(world) = migrated() else { return };
    let list = || {
        let page = world.read(move |tx, _cx| {
            conversations::list(tx, user(ANN), BodyPart::Snippet, (None, 100))
        });
        page.items.iter().map(|item| (item.id.get(), item.unread)).collect::<Vec<_>>()
    };
    assert_eq!(list(), [(8, 0), (7, 0), (5, 0), (3, 1), (2, 1), (1, 0)]);
    world.reply(user(BOB), id(1), "an answer");
    assert_eq!(list(), [(1, 1), (8, 0), (7, 0), (5, 0), (3, 1), (2, 1)]);
    world.mark(user(ANN), id(1), Marks { trashed: Some(true), ..Marks::default() });
    assert_eq!(list().len(), 6);
    assert_eq!(world.problems(), []);
}

#[test]
fn who_has_written_to_whom_is_known() {
    let Some(world) = migrated() else { return };
    assert_eq!(
        world.rows("SELECT owner_id, peer_id, first_at FROM contacts ORDER BY 1, 2", |row| {
            Ok((row.int(0)?, row.int(1)?, row.int(2)?))
        }),
        [(ANN, BOB, 101), (ANN, CID, 108), (BOB, ANN, 102), (CID, ANN, 107)]
    );
    let known = ProfileChange { accept_from: Some(AcceptFrom::Known), ..ProfileChange::default() };
    world.write(move |tx, cx| users::update(tx, cx, user(BOB), &known)).unwrap();
    world.send(user(ANN), user(BOB), "from somebody who is known");
    let answer = world.try_send(user(DOT), draft(user(BOB), "", ""));
    assert_eq!(refusal(answer), Refusal::Unavailable);
    world.delete(user(BOB), id(2)).unwrap();
    world.send(user(ANN), user(BOB), "by which message is not known any more");
}

#[test]
fn accounts_stay_as_they_were() {
    let Some(world) = migrated() else { return };
    assert!(world.credentials("ann").is_some());
    assert!(world.credentials("cid").is_none());
    let answer = world.try_send(user(ANN), draft(user(CID), "", ""));
    assert_eq!(refusal(answer), Refusal::Unavailable);
    world.enable(user(CID));
    world.send(user(ANN), user(CID), "welcome back");
    let profile = world.read(move |tx, _cx| users::profile(tx, user(ANN))).unwrap();
    assert_eq!(
        (profile.person.username, profile.person.display_name),
        ("Ann".into(), "Ann".into())
    );
    assert_eq!((profile.accept_from, profile.created_at), (AcceptFrom::Everyone, Time(10)));
}

#[test]
fn what_was_stored_for_retries_names_nobody_any_more_and_refuses_the_retry() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let database = (engine() == Engine::Postgres).then(Database::empty);
    let place = database.as_ref().map_or("sqlite:postroom.db".to_owned(), Database::url);
    let url = Url::parse(&place, folder.path()).expect("the URL is valid");
    let step = SCHEMA.iter().position(|step| step.name == "erasure").expect("there is one");
    Db::migrate(&url, &SCHEMA[..step], 0).expect("the schema can be made");
    let db = Db::open(&url, &SCHEMA[..step]).expect("the database can be opened");
    let stored = db.write(|tx| {
        for owner in [0, 7] {
            tx.execute(
                "INSERT INTO stored_responses
                 (owner_id, key_hash, request_hash, nonce, response, expires_at)
                 VALUES (?1, ?2, ?2, ?3, ?4, 5)",
                &params![owner, &[1; 32], &[2; 16], b"to ann@example.org: a letter"],
            )?;
        }
        Ok::<_, db::Error>(())
    });
    wait_for(stored).expect("it can be stored");
    drop(db);

    Db::migrate(&url, SCHEMA, 0).expect("the schema can be brought up to date");

    let db = Db::open(&url, SCHEMA).expect("the database can be opened");
    let left = db.read(|tx| {
        let sql = "SELECT owner_id, key_hash, request_hash, response FROM stored_responses";
        tx.query(sql, &[], |row| {
            let [key, request, response] = [row.blob(1)?, row.blob(2)?, row.blob(3)?];
            Ok((row.int(0)?, key.to_vec(), request.to_vec(), response.to_vec()))
        })
    });
    let left: Vec<_> = wait_for(left).expect("it can be read");
    assert_eq!(left, [(7, vec![1; 32], vec![1; 32], vec![2; 16])]);
}
