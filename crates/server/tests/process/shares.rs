//! What one address or one user can have of the server: a share of its connections and of its
//! memory, and the others have the rest.

use std::thread;
use std::time::Duration;

use serde_json::json;
use testing::{Failure, TIMEOUT};
use tokio::net::TcpSocket;

use crate::raw::{RawConnection, RequestText as _, request_text};
use crate::support::{Place, Server, until};

/// Another address of this machine than the one that everything else here comes from.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];
/// By so much any attack from one account or address may let the memory grow.
const GROWTH: u64 = 64 << 20;

/// A place whose server takes the clients of this machine for clients, as another machine is the
/// proxy.
fn place() -> Place {
    Place::new().with("POSTROOM_TRUSTED_PROXIES", "192.0.2.1")
}

/// By how many bytes the memory of a server grows at most while this is done.
fn growth(server: &Server, act: impl FnOnce()) -> u64 {
    let before = server.memory();
    act();
    server.peak_memory().max(server.memory()).saturating_sub(before)
}

#[test]
fn one_address_has_its_share_of_the_connections_and_others_have_the_rest() {
    let place = place()
        .with("POSTROOM_MAX_CONNECTIONS", "128")
        .with("POSTROOM_HEADER_TIMEOUT_SECONDS", "2");
    let server = place.serve();
    // Four of 128. They never send the end of their heads.
    let half = "GET /healthz HTTP/1.1\r\nHost: postroom\r\n";
    let mut held: Vec<_> = (0..4).map(|_| RawConnection::open(server.address)).collect();
    for connection in &mut held {
        assert!(connection.send(half));
    }
    for _ in 0..20 {
        let mut more = RawConnection::open(server.address);
        let answer = more.response().expect("it is told why");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        assert!(answer.error(503).contains("too many connections"));
        assert!(more.is_closed());
    }
    let ask = request_text("GET", "/healthz", &[], "");
    let elsewhere = |socket: &TcpSocket| socket.bind((ELSEWHERE, 0).into());
    let mut others: Vec<_> =
        (0..4).map(|_| RawConnection::open_by(server.address, elsewhere)).collect();
    for other in &mut others {
        assert_eq!(other.exchange(&ask).unwrap().status, 200);
    }
    assert!(server.figure("postroom_connections_refused_total", "") >= 20);
    // The half heads time out, which makes room again.
    until(TIMEOUT, "there is room", || {
        let mut again = RawConnection::open(server.address);
        again.exchange(&ask).is_ok_and(|answer| answer.status == 200)
    });
    server.is_unharmed();
}

#[test]
fn a_machine_that_may_be_a_proxy_is_not_held_to_the_share_of_one_address() {
    let single = Place::new().with("POSTROOM_CONNECTIONS_PER_ADDRESS", "2");
    let proxied = Place::new()
        .with("POSTROOM_CONNECTIONS_PER_ADDRESS", "2")
        .with("POSTROOM_TRUSTED_PROXIES", "127.0.0.0/8");
    let ask = request_text("GET", "/healthz", &[], "");
    for place in [single, proxied] {
        let server = place.serve();
        let mut open: Vec<_> = (0..20).map(|_| RawConnection::open(server.address)).collect();
        for connection in &mut open {
            assert_eq!(connection.exchange(&ask).unwrap().status, 200);
        }
        assert_eq!(server.figure("postroom_connections_refused_total", ""), 0);
    }
}

/// A body that is nearly as long as one may be; all of it is sent but its end.
fn unfinished(head: &str, length: usize) -> Vec<u8> {
    let head = head.replace("Content-Length: 0", &format!("Content-Length: {length}"));
    [head.as_bytes(), &vec![b' '; length - 2_000]].concat()
}

#[test]
fn strangers_cannot_fill_the_memory_with_bodies() {
    let place = place();
    let server = place.serve();
    let json = [("Content-Type", "application/json")];
    let request = unfinished(&request_text("POST", "/v1/users", &json, ""), 615_000);
    let chunked = request_text("POST", "/v1/users", &json, "")
        .replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let chunked = format!("{chunked}{:x}\r\n{}", 600_000, " ".repeat(590_000));
    let mut open = Vec::new();
    let grown = growth(&server, || {
        for number in 0..400 {
            let mut connection = RawConnection::open(server.address);
            // It may be cut off before all is sent.
            if number % 2 == 0 {
                connection.send(&request)
            } else {
                connection.send(&chunked)
            };
            open.push(connection);
        }
    });
    let refused = open.iter_mut().filter_map(|connection| connection.response().ok());
    let refused = refused.filter(|answer| answer.status == 413).count();
    assert_eq!(refused, open.len());
    assert!(grown < GROWTH, "{} MiB", grown >> 20);

    // What a registration may need passes.
    let account = json!({
        "username": "ann", "email": "ann@example.org", "password": "\u{1}".repeat(1_000),
    });
    let whole = request_text("POST", "/v1/users", &json, &account.to_string());
    assert!(whole.len() > 6_000);
    assert_eq!(RawConnection::open(server.address).exchange(whole).unwrap().status, 201);
    server.is_unharmed();
}

#[test]
fn one_user_has_a_share_of_the_memory_for_bodies_and_others_have_the_rest() {
    // Until all were looked at, what is unfinished stays so.
    let place = place().with("POSTROOM_BODY_TIMEOUT_SECONDS", "120");
    let server = place.serve();
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let write = "/messages/write_message";
    let request = unfinished(&ann.request_text("POST", write, ""), 600_000);
    let mut open = Vec::new();
    let grown = growth(&server, || {
        for _ in 0..150 {
            let mut connection = RawConnection::open(server.address);
            connection.send(&request);
            open.push(connection);
        }
    });
    assert!(grown < GROWTH, "{} MiB", grown >> 20);
    let refused = || server.figure("postroom_bodies_refused_total", "");
    until(TIMEOUT, "the others are refused", || refused() >= 150 - 28);
    let mut held = 0;
    for connection in &mut open {
        connection.set_timeout(Duration::from_secs(1));
        match connection.response() {
            Ok(answer) => {
                assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
                assert!(answer.error(503).contains("too many long bodies"));
            }
            Err(failure) => {
                assert_eq!(failure, Failure::TimedOut);
                held += 1;
            }
        }
        // A quarter of 64 MiB.
        assert!(held <= 28, "so many are kept");
    }
    assert!(held >= 20, "only {held} are kept");
    assert_eq!(refused(), 150 - held);
    // Others send what takes several pieces, and she sends what comes in one.
    let text = "\u{1}".repeat(60_000);
    bob.send(bob.id, "long", &text).unwrap().ok();
    let draft = json!({ "receiver_id": ann.id, "subject": "short", "body": "a" }).to_string();
    let short = ann.request_text("POST", write, &draft);
    RawConnection::open(server.address).exchange(&short).unwrap().ok();
    drop(open);
    let draft = json!({ "receiver_id": ann.id, "subject": "long", "body": text }).to_string();
    let whole = ann.request_text("POST", write, &draft);
    until(TIMEOUT, "hers are forgotten", || {
        RawConnection::open(server.address).exchange(&whole).unwrap().status == 200
    });
    let log = server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn streams_that_nobody_reads_hold_little_memory() {
    let place = place().with("POSTROOM_SUBJECT_MAX_CHARS", "10000");
    let server = place.serve();
    let mut ann = server.user("ann");
    let subject = "\u{1f4ee}".repeat(10_000);
    for _ in 0..40 {
        ann.send(ann.id, &subject, "x").unwrap().ok();
    }
    let request = ann.request_text("GET", "/v1/events?since=0", "");
    let mut open = Vec::new();
    let grown = growth(&server, || {
        for _ in 0..30 {
            let mut connection =
                RawConnection::open_by(server.address, |socket| socket.set_recv_buffer_size(4096));
            assert!(connection.send(&request));
            open.push(connection);
        }
        // Each has filled what lies between, and nothing goes on.
        let sent = || server.figure("postroom_stream_events_total", "");
        let mut before = sent();
        until(TIMEOUT, "they stand still", || {
            thread::sleep(Duration::from_millis(500));
            let now = sent();
            std::mem::replace(&mut before, now) == now && now > 0
        });
    });
    // A MiB for each, of the 1.6 MiB that it has missed.
    assert!(grown < 30 << 20, "{} MiB", grown >> 20);
    server.is_unharmed();
}
