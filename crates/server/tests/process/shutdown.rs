//! Stopped while it works: what was begun is finished, what was not is not, and nothing hangs.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use testing::{Failure, TIMEOUT, User};

use crate::raw::{RawConnection, RequestText as _, request_text};
use crate::support::{Place, Server, until};
use crate::traffic::{Sender, account, people};

/// A stop that has nothing to wait for is over much sooner than the deadline of 10 seconds.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn a_stop_under_load_answers_whatever_was_begun() {
    let place = Place::new();
    let mut server = place.serve();
    let (mut senders, mut recipients) = people(&server, 16, 2);
    for signal in [Signal::TERM, Signal::INT] {
        for sender in &mut senders {
            sender.user.connect_to(server.address);
        }
        thread::scope(|scope| {
            // In here, so that a failure ends the senders too.
            let mut server = server;
            let (tx, rx) = channel();
            for sender in &mut senders {
                let tx = tx.clone();
                scope.spawn(move || sender.send_on(|| tx.send(()).unwrap_or_default()));
            }
            for _ in 0..300 {
                rx.recv_timeout(TIMEOUT).expect("messages are acknowledged");
            }
            server.signal(signal);
            let status = server.ends_within(Duration::from_secs(12));
            assert_eq!(status.code(), Some(0), "{}", server.log());
        });
        server = place.serve();
        for Sender { refused, lost, .. } in &senders {
            assert!(refused.is_empty(), "refused: {refused:?}");
            assert!(lost.iter().all(|(_, end)| *end != Failure::Truncated), "cut off: {lost:?}");
        }
        let account = account(server.address, &senders, &mut recipients, &BTreeSet::new());
        account.is_balanced();
        // What got no answer had not been read.
        assert_eq!(account.unanswered, []);
    }
    server.stop();
    place.is_whole();
}

/// A message that the server has begun to take: it has asked for the body.
fn begin(server: &Server, user: &User) -> (RawConnection, String) {
    let body = json!({ "receiver_id": user.id, "subject": "begun", "body": "before" }).to_string();
    let whole = user.request_text("POST", "/messages/write_message", &body);
    let head = whole.strip_suffix(&format!("\r\n{body}")).expect("it ends with its body");
    let mut connection = RawConnection::open(server.address);
    let asked = connection.exchange(format!("{head}Expect: 100-continue\r\n\r\n"));
    assert_eq!(asked.map(|answer| answer.status), Ok(100));
    (connection, body)
}

/// Whether the server has taken everything that was sent to it from this port.
fn has_read(server: &Server, port: u16) -> bool {
    let (local, remote) = (format!(":{:04X}", server.address.port()), format!(":{port:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux knows its connections");
    table.lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns[1].ends_with(&local)
            && columns[2].ends_with(&remote)
            && columns[4].ends_with(":00000000")
    })
}

#[test]
fn a_connection_that_ends_while_its_client_may_send_is_counted_and_ends_with_the_server() {
    let place = Place::new();
    let server = place.serve();
    let head = "POST /v1/messages HTTP/1.1\r\nHost: postroom\r\nContent-Length: 9\r\n";
    let begun = Instant::now();
    let mut connections: Vec<_> = (0..5)
        .map(|_| {
            let mut connection = RawConnection::open(server.address);
            let answer = connection.exchange(format!("{head}Expect: 100-continue\r\n\r\n"));
            assert_eq!(answer.expect("it is refused").header("connection"), Some("close"));
            connection
        })
        .collect();
    // They have read that it is the end, and have not closed it either.
    assert!(connections.iter_mut().all(RawConnection::is_closed));
    // One of them asks.
    assert_eq!(server.figure("postroom_connections", ""), 5 + 1);
    server.stop();
    // Each would be waited for as long.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_stop_waits_for_what_was_begun_and_takes_nothing_new() {
    let place = Place::new();
    let mut server = place.serve();
    let mut ann = server.user("ann");
    let (mut begun, body) = begin(&server, &ann);
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = RawConnection::open(server.address);
            connection.exchange(request_text("GET", "/healthz", &[], "")).expect("an answer");
            connection
        })
        .collect();
    let mut half = RawConnection::open(server.address);
    half.send("GET /readyz HTTP/1.1\r\n");
    until(TIMEOUT, "the head is read as far as it goes", || has_read(&server, half.port()));

    server.signal(Signal::TERM);
    for mut connection in idle {
        assert!(connection.is_closed(), "an idle connection stays open");
    }
    until(TIMEOUT, "nobody listens", || RawConnection::try_open(server.address).is_err());
    let answer = half.exchange("Host: postroom\r\n\r\n").unwrap();
    assert_eq!(answer.error(503), "the server is stopping");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(half.is_closed());

    assert!(server.runs());
    let answer = begun.exchange(body).unwrap();
    assert_eq!(answer.header("connection"), Some("close"));
    let id = answer.ok()["message_id"].clone();
    assert!(begun.is_closed());
    assert_eq!(server.ends_within(AT_ONCE).code(), Some(0), "{}", server.log());

    let server = place.serve();
    ann.connect_to(server.address);
    assert_eq!(ann.inbox(), [id.as_i64().unwrap()]);
}

#[test]
fn idle_connections_do_not_hold_up_the_stop() {
    let place = Place::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = place.serve();
        let mut idle: Vec<_> = (0..200).map(|_| RawConnection::open(server.address)).collect();
        // Half of them have had an answer, half of them have never asked.
        for connection in &mut idle[..100] {
            assert_eq!(
                connection.exchange(request_text("GET", "/healthz", &[], "")).unwrap().status,
                200
            );
        }
        server.signal(signal);
        assert_eq!(server.ends_within(AT_ONCE).code(), Some(0), "{}", server.log());
        assert!(idle.iter_mut().all(RawConnection::is_closed));
        assert!(server.log().contains("stopped"), "{}", server.log());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = Place::new();
    let mut server = place.serve();
    let mut ann = server.user("ann");
    let (mut begun, body) = begin(&server, &ann);
    server.signal(Signal::TERM);
    until(TIMEOUT, "it is stopping", || server.log().contains("stopping"));
    assert!(server.runs());
    let asked = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ends_within(AT_ONCE).code(), Some(1), "{}", server.log());
    assert!(asked.elapsed() < AT_ONCE);
    assert!(server.log().contains("requests in flight were dropped"), "{}", server.log());
    assert!(begun.exchange(body).is_err());

    let server = place.serve();
    ann.connect_to(server.address);
    assert!(ann.inbox().is_empty());
}

#[test]
fn a_request_that_does_not_end_is_dropped_at_the_deadline() {
    let place = Place::new().with("POSTROOM_SHUTDOWN_SECONDS", "1");
    let mut server = place.serve();
    let mut ann = server.user("ann");
    let (mut begun, _) = begin(&server, &ann);
    server.signal(Signal::INT);
    assert_eq!(server.ends_within(AT_ONCE).code(), Some(1), "{}", server.log());
    assert!(begun.is_closed());
    assert!(server.log().contains("requests in flight were dropped"), "{}", server.log());

    let server = place.serve();
    ann.connect_to(server.address);
    assert!(ann.inbox().is_empty());
}
