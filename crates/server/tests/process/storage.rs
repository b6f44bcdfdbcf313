//! A device that fails, a disk that is full, and others who use the same folder.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;
use testing::{PASSWORD, TIMEOUT, User, get};

use crate::faults::Faulty;
use crate::support::{Place, until};
use crate::traffic::{Sender, account, people};

/// Each sender sends so many messages, all of them at the same time.
fn send(senders: &mut [Sender], each: usize) {
    thread::scope(|scope| {
        for sender in senders {
            scope.spawn(move || {
                for _ in 0..each {
                    // What became of it the sender notes.
                    drop(sender.send());
                }
            });
        }
    });
}

fn kept(senders: &[Sender]) -> usize {
    senders.iter().map(|sender| sender.kept.len()).sum()
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_the_server_ends() {
    if testing::is_about_sqlite("it is the file that fails") {
        return;
    }
    let faulty = Faulty::new();
    let mut server = faulty.serve();
    let (mut senders, mut recipients) = people(&server, 8, 2);
    send(&mut senders, 20);
    assert_eq!(kept(&senders), 8 * 20);

    faulty.fail("sync -wal");
    send(&mut senders, 20);
    assert_eq!(kept(&senders), 8 * 20, "acknowledged, and not on the disk");
    let answers: BTreeSet<_> = senders
        .iter()
        .flat_map(|sender| sender.refused.iter().map(|(_, status)| *status))
        .collect();
    assert!(answers.is_subset(&BTreeSet::from([503])), "{answers:?}");
    assert_eq!(server.ends_within(Duration::from_secs(5)).code(), Some(1));
    let log = server.log();
    assert_eq!(log.matches("disk I/O error").count(), 1, "{log}");
    assert!(!log.contains("panicked"), "{log}");

    faulty.heal();
    let server = faulty.serve();
    let account = account(server.address, &senders, &mut recipients, &BTreeSet::new());
    assert_eq!(account.lost.len() + account.twice.len() + account.disordered.len(), 0);
    assert_eq!(account.acknowledged, 8 * 20);
    server.stop();
    faulty.place.is_whole();
}

#[test]
fn a_failed_sync_of_the_database_itself_ends_the_server_too() {
    if testing::is_about_sqlite("it is the file that fails") {
        return;
    }
    let faulty = Faulty::new();
    let mut server = faulty.serve();
    let (mut senders, mut recipients) = people(&server, 2, 1);
    // What is written back later was acknowledged long ago: it must be in the log still.
    faulty.fail("sync postroom.db");
    send(&mut senders, 5);
    assert_eq!(server.ends_within(TIMEOUT).code(), Some(1));
    let log = server.log();
    assert_eq!(log.matches("disk I/O error").count(), 1, "{log}");

    faulty.heal();
    let server = faulty.serve();
    let account = account(server.address, &senders, &mut recipients, &BTreeSet::new());
    assert_eq!(account.lost.len() + account.twice.len() + account.disordered.len(), 0);
    server.stop();
    faulty.place.is_whole();
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else_and_passes_by_itself() {
    if testing::is_about_sqlite("it is the file that cannot grow") {
        return;
    }
    let faulty = Faulty::new();
    let mut server = faulty.serve();
    let (mut senders, mut recipients) = people(&server, 4, 2);
    send(&mut senders, 10);
    let old = recipients[0].inbox();
    recipients[0].read(old[0]).unwrap().ok();

    faulty.fail("write -wal write postroom.db");
    send(&mut senders, 5);
    assert_eq!(kept(&senders), 4 * 10);
    let answer = senders[0].send().unwrap();
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
    assert_eq!(answer.error(507), "the server has no space left");
    assert!(answer.json()["request_id"].is_string());
    for sender in &senders {
        assert!(sender.refused.iter().all(|(_, status)| *status == 507), "{:?}", sender.refused);
        assert!(sender.lost.is_empty(), "{:?}", sender.lost);
    }
    // It cannot be marked as read, but it can be read.
    assert_eq!(recipients[0].read(old[1]).unwrap().ok()["message_id"], old[1]);
    assert_eq!(recipients[0].delete(old[1]).unwrap().status, 507);
    assert_eq!(recipients[0].try_login(PASSWORD).status, 507);
    assert_eq!(recipients[0].read(old[0]).unwrap().ok()["message_id"], old[0]);
    assert_eq!(recipients[0].inbox(), old);
    assert_eq!(recipients[0].unread(), old[1..]);
    for path in ["/healthz", "/readyz", "/users/token"] {
        assert_eq!(get(server.address, path).status, 200, "{path}");
    }
    assert!(server.runs());

    faulty.heal();
    until(Duration::from_secs(5), "messages are taken again", || {
        senders[0].send().is_ok_and(|answer| answer.status == 200)
    });
    send(&mut senders, 5);
    assert_eq!(kept(&senders), 4 * 10 + 1 + 4 * 5);
    assert_eq!(recipients[0].read(old[1]).unwrap().ok()["message_id"], old[1]);
    let account = account(server.address, &senders, &mut recipients, &BTreeSet::new());
    account.is_balanced();
    assert_eq!(account.found, account.acknowledged);
    let log = server.stop();
    assert!(!log.contains("ERROR"), "{log}");
    faulty.place.is_whole();
}

#[test]
fn a_second_server_in_the_same_folder_is_refused_and_the_first_goes_on() {
    if testing::is_about_sqlite("a server is shared by several nodes") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let error = place.run(&[]).failed(1);
    assert!(error.contains("another server is using data/postroom.db"), "{error}");
    assert_eq!(ann.send_message(ann.id, "still", "here"), 1);
    let log = server.stop();
    assert!(!log.contains("ERROR"), "{log}");
    // Its lock went with it.
    let server = place.serve();
    ann.connect_to(server.address);
    assert_eq!(ann.inbox(), [1]);
}

#[test]
fn an_account_made_beside_a_running_server_can_log_in_there() {
    let place = Place::new();
    let server = place.serve();
    let (mut senders, _) = people(&server, 2, 1);
    thread::scope(|scope| {
        // The other process has to take its turn among those who write.
        let writing = scope.spawn(|| {
            for sender in &mut senders {
                for _ in 0..100 {
                    assert_eq!(sender.send().map(|answer| answer.status), Ok(200));
                }
            }
        });
        let made = place.run_with(
            &format!("{PASSWORD}\n"),
            &["user", "add", "Robot", "--email", "robot@example.org"],
        );
        assert_eq!(made.ok(), "Robot is user 4\n");
        writing.join().unwrap();
    });
    let mut robot = User::visitor(server.address, "robot");
    robot.login(PASSWORD);
    assert_eq!(robot.id, 4);
    let twice = json!({ "username": "ROBOT", "email": "r@example.org", "password": PASSWORD });
    let answer = robot.call("POST", "/users/register", &twice);
    assert_eq!(answer.expect("an answer").error(400), taken());
    server.is_unharmed();
}

fn taken() -> String {
    "username: it is taken".to_owned()
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let place = Place::new();
    fs::write(place.path("data"), "a file").unwrap();
    let error = place.run(&[]).failed(1);
    assert!(error.contains("cannot make the folder data"), "{error}");
}
