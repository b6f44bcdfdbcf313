//! A server that removes old messages, and is killed in the middle of it.

use std::time::Duration;

use crate::support::{Place, until};

/// Within this, all of it is done.
const REACH: Duration = Duration::from_mins(2);
const OLD: usize = 600;

/// What makes the messages ten days old.
const TEN_DAYS_AGO: [&str; 2] = [
    "UPDATE messages SET sent_at = sent_at - 10 * 86400000000",
    "UPDATE mailboxes SET oldest_unread_at = NULL",
];

#[test]
fn what_a_killed_server_has_not_removed_the_next_one_does() {
    let place = Place::new();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    for number in 0..OLD {
        let (from, to) = if number % 3 == 0 { (&mut bob, ann.id) } else { (&mut ann, bob.id) };
        from.send_message(to, "old", "a body");
    }
    server.stop();
    place.change(&TEN_DAYS_AGO);

    let server = place.serve();
    ann.connect_to(server.address);
    bob.connect_to(server.address);
    let new = ann.send_message(bob.id, "new", "a body");
    assert_eq!(bob.inbox().len() + ann.inbox().len(), OLD + 1, "without the setting they stay");
    server.stop();

    let place = place.with("POSTROOM_RETENTION_DAYS", "9");
    let server = place.serve();
    let removed = "postroom_messages_purged_total";
    until(REACH, "it has begun", || server.figure(removed, "") > 0);
    server.kill();
    place.is_whole();

    let server = place.serve();
    ann.connect_to(server.address);
    bob.connect_to(server.address);
    let left = bob.inbox().len() + ann.inbox().len();
    assert!(left > 1, "it was killed too late");
    // It goes on at once in a file. On PostgreSQL the lease has to end, which takes minutes.
    server.stop();
    place.change(&["DELETE FROM leases WHERE name = 'retention'"]);
    let server = place.serve();
    ann.connect_to(server.address);
    bob.connect_to(server.address);
    until(REACH, "all is done", || bob.inbox() == [new] && ann.inbox() == [0; 0]);
    let told = "removed messages that are older than retention_days";
    until(REACH, "it says so", || server.log().contains(told));
    assert_eq!(bob.unread(), [new]);
    server.is_unharmed();
    server.stop();
    place.is_whole();
}
