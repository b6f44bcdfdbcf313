//! A database of one test, its clock and its chance, and verbs for what most tests begin with.

use std::cell::Cell;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use db::{Db, Options, Row, Tx, Url};
use domain::entries::{self, Entry};
use domain::envelopes::BodyPart;
use domain::lists::{self, Filter, Page};
use domain::messages::{self, Marks, Message};
use domain::sending::{self, Draft, Refusal, Sent};
use domain::text::{Body, Email, Lengths, Subject, Username};
use domain::unread::{self, ClassicList};
use domain::users::{self, StoredPassword};
use domain::{
    Cx, Error, MessageId, Missing, NameReservation, Result, SCHEMA, Time, UserId, UserRef, Wanted,
};
use tempfile::TempDir;
use testing::{Database, Engine, engine};

/// What the server allows by default is of no interest here.
pub(crate) const LENGTHS: Lengths = Lengths { subject_chars: 255, body_bytes: 65_536 };

/// The file in a folder of its own.
const FILE: &str = "sqlite:postroom.db";

/// When every test begins.
const START: Time = Time(1_750_000_000_000_000);

/// A database with a clock beside it.
pub(crate) struct World {
    db: Db,
    clock: Cell<Time>,
    wanted: Cell<Wanted>,
    names: Cell<NameReservation>,
    place: Place,
}

/// Where the database is; it goes after the handle to it.
enum Place {
    Folder(TempDir),
    Server(Database),
}

/// Brings the schema of a new database up to date.
fn prepare(url: &str) {
    Db::migrate(&parse(url, Path::new("")), SCHEMA, START.0).expect("the schema can be made");
}

/// An address. A test does one thing after the other, with the chance of one thread.
fn parse(url: &str, folder: &Path) -> Url {
    let patience = Duration::from_mins(1);
    let options =
        Options { connections: 1, patience, lock_timeout: patience, ..Options::default() };
    Url::with(url, folder, options).expect("the URL is valid")
}

impl World {
    /// An empty database.
    pub(crate) fn new() -> Self {
        crate::plans::watch();
        let (url, place) = match engine() {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder for the database can be made");
                let url = parse(FILE, folder.path());
                Db::migrate(&url, SCHEMA, START.0).expect("the schema can be made");
                (url, Place::Folder(folder))
            }
            Engine::Postgres => {
                let database = Database::fresh(prepare);
                (parse(&database.url(), Path::new("")), Place::Server(database))
            }
        };
        let db = Db::open(&url, SCHEMA).expect("the database can be opened");
        CHANCE.set(0);
        Self { db, clock: Cell::new(START), wanted: Cell::default(), names: Cell::default(), place }
    }

    /// A file of the first step of the schema, filled as the version of then did it, and
    /// brought up to date.
    pub(crate) fn migrated(old: &'static [&'static str]) -> Self {
        crate::plans::watch();
        let folder = tempfile::tempdir().expect("a folder for the database can be made");
        let url = parse(FILE, folder.path());
        let first = &SCHEMA[..1];
        Db::migrate(&url, first, START.0).expect("the schema can be made");
        let db = Db::open(&url, first).expect("the database can be opened");
        let fill = db.write(move |tx| {
            old.iter().try_for_each(|statement| tx.execute(statement, &[]).map(drop))
        });
        wait_for(fill).expect("the statements are valid");
        drop(db);
        Db::migrate(&url, SCHEMA, START.0).expect("the schema can be brought up to date");
        let db = Db::open(&url, SCHEMA).expect("the database can be opened");
        let place = Place::Folder(folder);
        Self { db, clock: Cell::new(START), wanted: Cell::default(), names: Cell::default(), place }
    }

    /// The present.
    pub(crate) fn now(&self) -> Time {
        self.clock.get()
    }

    /// What operations know of the world.
    pub(crate) fn cx(&self) -> Cx {
        let (wanted, names) = (self.wanted.get(), self.names.get());
        Cx { now: self.now(), random: count_up, wanted, names }
    }

    /// Sets how names of erased accounts are reserved; at first not at all.
    pub(crate) fn reserve_names(&self, names: NameReservation) {
        self.names.set(names);
    }

    /// Sets what is to follow from what is done; at first nothing.
    pub(crate) fn want(&self, wanted: Wanted) {
        self.wanted.set(wanted);
    }

    /// Moves the clock.
    pub(crate) fn wait(&self, microseconds: i64) {
        self.set_clock(self.now().plus(microseconds));
    }

    /// Sets the clock, back too.
    pub(crate) fn set_clock(&self, now: Time) {
        self.clock.set(now);
    }

    /// Runs an operation in a transaction of its own, as the server does.
    pub(crate) fn write<R: Send + 'static>(
        &self,
        mut operation: impl FnMut(&mut Tx<'_>, &Cx) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let cx = self.cx();
        wait_for(self.db.write(move |tx| operation(tx, &cx)))
    }

    /// Runs an operation that takes a moment to commit, and meanwhile `other`.
    pub(crate) fn meanwhile<R>(
        &self,
        mut operation: impl FnMut(&mut Tx<'_>, &Cx) -> Result<()> + Send + 'static,
        other: impl FnOnce() -> R,
    ) -> R {
        let (cx, db) = (self.cx(), self.second());
        let (done, is_done) = mpsc::channel();
        thread::scope(|scope| {
            let slow = scope.spawn(move || {
                wait_for(db.write(move |tx| {
                    operation(tx, &cx)?;
                    done.send(()).expect("somebody waits for it");
                    thread::sleep(Duration::from_millis(300));
                    Ok::<_, Error>(())
                }))
            });
            is_done.recv().expect("the operation runs");
            let result = other();
            slow.join().expect("it does not panic").expect("it is committed");
            result
        })
    }

    /// Another handle to the database, with connections of its own.
    fn second(&self) -> Db {
        match &self.place {
            Place::Folder(_) => self.db.clone(),
            Place::Server(database) => Db::open(&parse(&database.url(), Path::new("")), SCHEMA)
                .expect("the database can be opened"),
        }
    }

    /// Runs reads in one snapshot; it is the test's error where they fail.
    pub(crate) fn read<R: Send + 'static>(
        &self,
        mut reads: impl FnMut(&mut Tx<'_>, &Cx) -> Result<R> + Send + 'static,
    ) -> R {
        let cx = self.cx();
        wait_for(self.db.read(move |tx| reads(tx, &cx))).expect("what is only read does not fail")
    }

    /// The same as a scan that has had its time already.
    pub(crate) fn read_late<R: Send + 'static>(
        &self,
        mut reads: impl FnMut(&mut Tx<'_>) -> Result<R> + Send + 'static,
    ) -> R {
        let scan = self.db.scan(move |tx| {
            while !tx.is_late() {
                thread::sleep(Duration::from_millis(10));
            }
            reads(tx)
        });
        wait_for(scan).expect("what is only read does not fail")
    }

    /// Changes the database behind the domain's back.
    pub(crate) fn sql(&self, statement: &'static str) {
        self.write(move |tx, _cx| Ok(tx.execute(statement, &[])?)).expect("the statement is valid");
    }

    /// All rows of a statement.
    pub(crate) fn rows<T: Send + 'static>(
        &self,
        statement: &'static str,
        mut map: impl FnMut(&Row<'_>) -> db::Result<T> + Send + 'static,
    ) -> Vec<T> {
        self.read(move |tx, _cx| Ok(tx.query(statement, &[], &mut map)?))
    }

    /// The one number that a statement answers.
    pub(crate) fn number(&self, statement: &'static str) -> i64 {
        self.rows(statement, |row| row.int(0))[0]
    }

    /// Everything that its files hold, or the tables of its server.
    pub(crate) fn stored_bytes(&self) -> Vec<u8> {
        let folder = match &self.place {
            Place::Folder(folder) => folder.path(),
            Place::Server(database) => return database.stored_bytes(),
        };
        let mut stored = Vec::new();
        for file in folder.read_dir().expect("the folder is there") {
            let path = file.expect("the folder can be listed").path();
            stored.extend(std::fs::read(path).expect("the file can be read"));
        }
        stored
    }

    /// Makes a user whose password hash is `hash of <name>`.
    pub(crate) fn user(&self, name: &str) -> UserId {
        self.try_user(name).expect("the name is free")
    }

    /// The same where the name may be taken.
    pub(crate) fn try_user(&self, name: &str) -> Result<UserId> {
        let email = Email::parse("somebody@example.org")?;
        let hash = format!("hash of {name}");
        let name = Username::parse(name)?;
        self.write(move |tx, cx| users::create(tx, cx, &name, None, &email, &hash))
    }

    /// What a user logs in with.
    pub(crate) fn credentials(&self, name: &str) -> Option<StoredPassword> {
        let name = domain::text::fold(name);
        self.read(move |tx, _cx| users::password(tx, &name))
    }

    /// Disables an account.
    pub(crate) fn disable(&self, user: UserId) {
        self.write(move |tx, cx| users::disable(tx, cx, user)).expect("the user is there");
    }

    /// Enables an account.
    pub(crate) fn enable(&self, user: UserId) {
        self.write(move |tx, cx| users::enable(tx, cx, user)).expect("the user is there");
    }

    /// Sends a message that has to arrive.
    pub(crate) fn send(&self, from: UserId, to: UserId, body: &str) -> MessageId {
        self.try_send(from, draft(to, "a subject", body)).expect("it can be sent")
    }

    /// Sends a message to several, all of whom have to get it.
    pub(crate) fn send_to(&self, from: UserId, to: &[UserId], body: &str) -> MessageId {
        let mut draft = draft(to[0], "a subject", body);
        draft.to = to.iter().map(|user| UserRef::Id(*user)).collect();
        let sent = self.try_deliver(from, draft).expect("it can be sent");
        assert_eq!(sent.refused, []);
        sent.id
    }

    /// Answers a message to everybody whom it names.
    pub(crate) fn reply(&self, from: UserId, message: MessageId, body: &str) -> MessageId {
        self.try_send(from, answer(message, body)).expect("it can be sent")
    }

    /// Sends what may be refused.
    pub(crate) fn try_send(&self, from: UserId, draft: Draft) -> Result<MessageId> {
        self.try_deliver(from, draft).map(|sent| sent.id)
    }

    /// The same with all that is told of it.
    pub(crate) fn try_deliver(&self, from: UserId, draft: Draft) -> Result<Sent> {
        self.write(move |tx, cx| sending::send(tx, cx, from, &draft, None))
    }

    /// Opens a message as the classic API does: what was unread is read afterwards.
    pub(crate) fn open(&self, caller: UserId, id: MessageId) -> Option<Message> {
        let message = self.peek(caller, id)?;
        if message.entry.is_unread() {
            self.mark_read(caller, id);
        }
        Some(message)
    }

    /// What reading answers.
    pub(crate) fn peek(&self, caller: UserId, id: MessageId) -> Option<Message> {
        self.read(move |tx, _cx| messages::read(tx, caller, id))
    }

    /// What the mailbox of a user says of a message.
    pub(crate) fn entry(&self, owner: UserId, id: MessageId) -> Option<Entry> {
        self.read(move |tx, _cx| entries::find(tx, owner, id))
    }

    /// Marks as read.
    pub(crate) fn mark_read(&self, caller: UserId, id: MessageId) {
        let marked = self.write(move |tx, cx| unread::mark_read(tx, cx, caller, id));
        assert!(matches!(marked, Ok(()) | Err(Error::NotFound(Missing::Message))), "{marked:?}");
    }

    /// Marks a message that is there.
    pub(crate) fn mark(&self, owner: UserId, id: MessageId, marks: Marks) -> Message {
        let marked = self.write(move |tx, cx| messages::mark(tx, cx, owner, id, marks, &|_| true));
        marked.expect("the mailbox holds it").0
    }

    /// Deletes, or withdraws where the caller sent it.
    pub(crate) fn delete(&self, caller: UserId, id: MessageId) -> Result<()> {
        self.write(move |tx, cx| messages::delete_or_withdraw(tx, cx, caller, id))
    }

    fn classic(&self, user: UserId, list: ClassicList) -> Vec<MessageId> {
        let ids = self.read(move |tx, _cx| unread::ids(tx, user, list, usize::MAX));
        ids.expect("no list is as long as that")
    }

    /// The ids of what a user received.
    pub(crate) fn received(&self, user: UserId) -> Vec<MessageId> {
        self.classic(user, ClassicList::Received)
    }

    /// The ids of what a user received and has not read.
    pub(crate) fn unread(&self, user: UserId) -> Vec<MessageId> {
        self.classic(user, ClassicList::Unread)
    }

    /// A page of a list.
    pub(crate) fn page(
        &self,
        owner: UserId,
        filter: &Filter,
        before: Option<MessageId>,
        limit: usize,
    ) -> Page<Message> {
        let filter = filter.clone();
        self.read(move |tx, _cx| {
            lists::page(tx, owner, &filter, BodyPart::Snippet, (before, limit))
        })
    }

    /// All pages of a list.
    pub(crate) fn pages(&self, owner: UserId, filter: &Filter, limit: usize) -> Vec<Page<Message>> {
        let mut pages = vec![self.page(owner, filter, None, limit)];
        while let Some(next) = pages.last().and_then(|page| page.next) {
            pages.push(self.page(owner, filter, Some(next), limit));
        }
        pages
    }

    /// The ids on all pages of a list.
    pub(crate) fn list(&self, owner: UserId, filter: &Filter) -> Vec<MessageId> {
        let pages = self.pages(owner, filter, 100);
        pages.iter().flat_map(|page| ids(&page.items)).collect()
    }

    /// Every rule that the data breaks.
    pub(crate) fn problems(&self) -> Vec<(&'static str, i64)> {
        let found = self.read(move |tx, _cx| domain::check::run(tx));
        found.into_iter().map(|problem| (problem.what, problem.rows)).collect()
    }
}

/// The statements that make the only message, which is unread, as many as it says: so many more,
/// so many in all.
macro_rules! copies {
    ($more:literal, $all:literal) => {
        [
            concat!(
                "INSERT INTO messages (sender_id, recipient_id, subject, body, sent_at,
                     mailbox_count)
                 WITH RECURSIVE numbers (n) AS
                     (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ",
                $more,
                ")
                 SELECT sender_id, recipient_id, subject, body, sent_at, mailbox_count
                 FROM messages, numbers"
            ),
            "INSERT INTO entries (owner_id, place, message_id, role, peer_id, created_modseq)
             SELECT owner_id, place, id, role, peer_id, created_modseq + id - message_id
             FROM entries JOIN messages ON id > message_id",
            concat!(
                "UPDATE mailboxes SET modseq = ",
                $all,
                ", unread = ",
                $all,
                ", unread_conversations = ",
                $all
            ),
        ]
    };
}
pub(crate) use copies;

/// Which messages they are.
pub(crate) fn ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|message| message.entry.message).collect()
}

/// A limit that no test reaches.
pub(crate) const EVERYTHING: i64 = 1_000_000;

/// A draft of what is within all bounds.
pub(crate) fn draft(to: UserId, subject: &str, body: &str) -> Draft {
    Draft::new(
        to,
        Subject::parse(subject.to_owned(), LENGTHS).expect("the subject is valid"),
        Body::parse(body.to_owned(), LENGTHS).expect("the body is valid"),
    )
}

/// An answer to everybody whom a message names.
pub(crate) fn answer(message: MessageId, body: &str) -> Draft {
    let mut draft = draft(nobody(), "", body);
    (draft.to, draft.subject, draft.in_reply_to) = (Vec::new(), None, Some(message));
    draft
}

/// The id of a user that nobody has.
pub(crate) fn nobody() -> UserId {
    UserId::new(999_999).expect("it is a possible id")
}

/// The id of a message that was never sent.
pub(crate) fn nothing() -> MessageId {
    MessageId::new(999_999).expect("it is a possible id")
}

/// Asserts that an operation was refused, and returns why.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

/// Asserts that a message reaches nobody, and returns the reason that is reported.
#[track_caller]
pub(crate) fn refusal<T>(result: Result<T>) -> Refusal {
    match refused(result) {
        Error::ReachesNobody(refused) => Refusal::of_all(&refused),
        other => panic!("{other}"),
    }
}

thread_local! {
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}

/// Chance that is the same in every run: each use is filled with the next number.
fn count_up(bytes: &mut [u8]) {
    CHANCE.set(CHANCE.get() + 1);
    let number = CHANCE.get().to_be_bytes();
    for (byte, digit) in bytes.iter_mut().rev().zip(number.into_iter().rev().cycle()) {
        *byte = digit;
    }
}

/// Waits on this thread. The domain needs no runtime, and so its tests need none.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
