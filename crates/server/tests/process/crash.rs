//! Killed in the middle of it, again and again: what was acknowledged is there, and only once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use testing::{Failure, TIMEOUT, User};

use crate::faults::Faulty;
use crate::support::{Place, Random, Server};
use crate::traffic::{account, check, people};

/// How often the server is killed, unless `POSTROOM_TEST_KILLS` says otherwise.
const KILLS: usize = 10;
const SENDERS: usize = 16;
const RECIPIENTS: usize = 4;

/// A recipient who reads what comes and deletes some of it, and what was acknowledged of that.
struct Reader {
    user: User,
    read: BTreeSet<i64>,
    deleted: BTreeSet<i64>,
    /// Whether this was deleted nobody was told.
    unsure: Option<i64>,
}

impl Reader {
    fn new(user: User) -> Self {
        Self { user, read: BTreeSet::new(), deleted: BTreeSet::new(), unsure: None }
    }

    /// Reads the oldest unread message, and deletes every third, until there is no answer.
    fn read_on(&mut self) -> Result<(), Failure> {
        loop {
            let Some(id) = self.user.list("/messages/unread_per_receiver")?.first().copied() else {
                continue;
            };
            check(&mut self.user, id)?;
            self.read.insert(id);
            if id % 3 == 0 {
                self.unsure = Some(id);
                self.user.delete(id)?.ok();
                self.deleted.extend(self.unsure.take());
            }
        }
    }

    /// Asserts that what was acknowledged before the restart holds.
    fn finds_it_as_it_was(&mut self, address: SocketAddr) {
        self.user.connect_to(address);
        assert!(self.user.is_logged_in(), "the session of {} is gone", self.user.name);
        let there: BTreeSet<_> = self.user.inbox().into_iter().collect();
        // Either way is good, but it stays as it was found.
        self.deleted.extend(self.unsure.take().filter(|id| !there.contains(id)));
        let back: Vec<_> = there.intersection(&self.deleted).collect();
        assert!(back.is_empty(), "deleted, and there again: {back:?}");
        let unread: BTreeSet<_> = self.user.unread().into_iter().collect();
        let unread: Vec<_> = unread.intersection(&self.read).collect();
        assert!(unread.is_empty(), "read, and unread again: {unread:?}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what the test is run for")]
fn a_kill_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let faulty = Faulty::new();
    let place = &faulty.place;
    let server = place.serve();
    let (mut senders, recipients) = people(&server, SENDERS, RECIPIENTS);
    let mut readers: Vec<_> = recipients.into_iter().map(Reader::new).collect();
    server.stop();

    let kills = kills();
    let mut random = Random::new(u64::from(std::process::id()));
    for number in 0..kills {
        let server = faulty.serve();
        for sender in &mut senders {
            sender.user.connect_to(server.address);
            assert!(sender.user.is_logged_in(), "the session of {} is gone", sender.user.name);
        }
        for reader in &mut readers {
            reader.finds_it_as_it_was(server.address);
        }
        // Every other time the writing takes most of the time, so that it is what is cut off.
        if number % 2 == 0 {
            faulty.fail("slow -wal");
        } else {
            faulty.heal();
        }
        let progress = 50 + random.below(400);
        let moment = Duration::from_micros(random.next() % 8000);
        thread::scope(|scope| {
            let (tx, rx) = channel();
            for sender in &mut senders {
                let tx = tx.clone();
                // When the server is dead nobody listens any more.
                scope.spawn(move || sender.send_on(|| tx.send(()).unwrap_or_default()));
            }
            for reader in &mut readers {
                scope.spawn(|| reader.read_on().expect_err("the server is killed"));
            }
            for _ in 0..progress {
                rx.recv_timeout(TIMEOUT).expect("messages are acknowledged");
            }
            // Not to await anything: to fall into any part of a commit.
            thread::sleep(moment);
            server.kill();
        });
        for sender in &senders {
            assert!(sender.refused.is_empty(), "refused: {:?}", sender.refused);
        }
        place.is_whole();
    }

    let server = place.serve();
    for reader in &mut readers {
        reader.finds_it_as_it_was(server.address);
    }
    let deleted: BTreeSet<_> = readers.iter().flat_map(|reader| reader.deleted.clone()).collect();
    let read: usize = readers.iter().map(|reader| reader.read.len()).sum();
    let mut recipients: Vec<_> = readers.into_iter().map(|reader| reader.user).collect();
    let account = account(server.address, &senders, &mut recipients, &deleted);
    println!(
        "acknowledged {}, lost {}, twice {}, out of order {}, restarts {kills}; read {read}, \
         deleted {}, there without an answer {}",
        account.acknowledged,
        account.lost.len(),
        account.twice.len(),
        account.disordered.len(),
        deleted.len(),
        account.unanswered.len(),
    );
    account.is_balanced();
    assert!(account.acknowledged >= kills * 50, "too few to mean anything");
    server.stop();
    place.is_whole();
}

#[expect(clippy::disallowed_methods, reason = "it is asked for by hand, for a longer run")]
fn kills() -> usize {
    let kills = std::env::var("POSTROOM_TEST_KILLS").ok();
    kills.map_or(KILLS, |kills| kills.parse().expect("POSTROOM_TEST_KILLS is a number"))
}

#[test]
fn a_kill_while_it_starts_leaves_a_folder_in_which_it_starts() {
    let place = Place::new();
    // The first start makes the folder, the key, the database and the schema.
    for moment in [1, 3, 6, 10, 15, 25, 40, 80] {
        let mut child =
            place.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let server = place.serve();
    let mut ann = server.user("ann");
    server.kill();
    let server = place.serve();
    ann.connect_to(server.address);
    assert!(ann.is_logged_in());
    assert_eq!(ann.send_message(ann.id, "to myself", "it works"), 1);
    server.stop();
    place.is_whole();
}

#[test]
fn of_several_servers_that_start_at_once_one_serves() {
    if testing::is_about_sqlite("a server is shared by several nodes") {
        return;
    }
    let place = Place::new();
    let starts = ["one", "two", "three", "four"]
        .map(|log| (place.command(&[]), place.path(log)))
        .map(|(command, log)| thread::spawn(move || Server::start(command, &log)));
    let (up, down): (Vec<_>, Vec<_>) =
        starts.into_iter().map(|start| start.join().unwrap()).partition(Result::is_ok);
    assert_eq!((up.len(), down.len()), (1, 3));
    for complaint in down.into_iter().filter_map(Result::err) {
        assert!(complaint.contains("another server is using"), "{complaint}");
    }
    let server = up.into_iter().find_map(Result::ok).unwrap();
    server.user("ann");
    server.stop();
    place.is_whole();
}
