//! What no well-made client sends: each is refused or answered, and nobody else notices.

use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use serde_json::json;
use testing::{Failure, TIMEOUT, User};

use crate::raw::{RawConnection, RequestText as _, request_text};
use crate::support::{Place, Random, Server, until};

/// A request that must never be answered where it is hidden in the body of another.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: postroom\r\n\r\n";

/// Sends bytes and no more, and returns everything that comes back until the connection ends.
#[track_caller]
fn reply(server: &Server, bytes: impl AsRef<[u8]>) -> String {
    let mut connection = RawConnection::open(server.address);
    connection.send(bytes);
    connection.shut_down_write();
    let reply = connection.read_to_end().expect("the server closes the connection");
    String::from_utf8(reply).expect("the server speaks UTF-8")
}

/// The statuses in a reply.
fn statuses(reply: &str) -> Vec<u16> {
    let lines = reply.match_indices("HTTP/1.").map(|(start, _)| &reply[start + 9..start + 12]);
    lines.map(|status| status.parse().expect("a status is a number")).collect()
}

#[test]
fn a_request_cannot_be_smuggled_in_the_body_of_another() {
    let place = Place::new();
    let server = place.serve();
    let ann = server.user("ann");
    let begin = ann.request_text("POST", "/messages/write_message", "");
    let begin = begin.strip_suffix("Content-Length: 0\r\n\r\n").unwrap();
    let length = HIDDEN.len();
    // How the body is framed, and what of it is there before the hidden request.
    let framings = [
        // Both, in either order; the one that a proxy before us may believe and we do not.
        ("Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4".to_owned(), "0\r\n\r\n"),
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked", length + 5), "0\r\n\r\n"),
        // Two lengths, or one that is none.
        (format!("Content-Length: 0\r\nContent-Length: {length}"), ""),
        (format!("Content-Length: {length}\r\nContent-Length: 0"), ""),
        (format!("Content-Length: 0, {length}"), ""),
        ("Content-Length: +0".to_owned(), ""),
        ("Content-Length: -1".to_owned(), ""),
        ("Content-Length: 0x0".to_owned(), ""),
        ("Content-Length: 0_0".to_owned(), ""),
        ("Content-Length: 0 0".to_owned(), ""),
        ("Content-Length: ".to_owned(), ""),
        ("Content-Length: 99999999999999999999999".to_owned(), ""),
        ("Content-Length : 0".to_owned(), ""),
        ("Content-Length:\u{b}0".to_owned(), ""),
        ("Content-Length: 0\rX: y".to_owned(), ""),
        (" Content-Length: 0".to_owned(), ""),
        ("X: y\r\n Content-Length: 0".to_owned(), ""),
        // Encodings that are not what they seem.
        ("Transfer-Encoding: xchunked".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding: identity".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding: \u{b}chunked".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding : chunked".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(), "0\r\n\r\n"),
        // Chunks of a size that is none.
        ("Transfer-Encoding: chunked".to_owned(), "z\r\n"),
        ("Transfer-Encoding: chunked".to_owned(), "-1\r\n"),
        ("Transfer-Encoding: chunked".to_owned(), "0x5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked".to_owned(), "fffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked".to_owned(), "5\r\nhell\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked".to_owned(), "5\r\nhello0\r\n\r\n"),
        ("Transfer-Encoding: chunked".to_owned(), "\r\n\r\n0\r\n\r\n"),
    ];
    for (framing, before) in &framings {
        let reply = reply(&server, format!("{begin}{framing}\r\n\r\n{before}{HIDDEN}"));
        assert!(!reply.contains("/hidden"), "{framing:?} {before:?}: {reply}");
        let statuses = statuses(&reply);
        assert!(statuses.len() <= 1, "{framing:?} {before:?}: {reply}");
        assert!(statuses.iter().all(|status| *status == 400), "{framing:?} {before:?}: {reply}");
    }
    // What reads no body must not take it for the next request.
    for (method, path) in [("GET", "/healthz"), ("POST", "/users/logout"), ("GET", "/none")] {
        let reply = reply(&server, request_text(method, path, &[], HIDDEN));
        assert_eq!(statuses(&reply).len(), 1, "{method} {path}: {reply}");
        assert!(!reply.contains("/hidden"), "{method} {path}: {reply}");
    }
    // The same framed well is two requests.
    let body = format!("2\r\n{{}}\r\n0\r\n\r\n{HIDDEN}");
    let whole = reply(&server, format!("{begin}Transfer-Encoding: chunked\r\n\r\n{body}"));
    assert_eq!(statuses(&whole), [400, 404], "{whole}");
    server.is_unharmed();
}

#[test]
fn what_is_no_request_is_refused() {
    let place = Place::new();
    let server = place.serve();
    let mut random = Random::new(17);
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut things: Vec<Vec<u8>> = [
        "GET /healthz\r\n\r\n",
        "GET /healthz\r\n",
        "\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1 \r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n: no name\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nX: \0\r\n\r\n",
        "GET /\0healthz HTTP/1.1\r\nHost: postroom\r\n\r\n",
        "GET /'\"<script> HTTP/1.1\r\nHost: postroom\r\n\r\n",
        "GET healthz HTTP/1.1\r\nHost: postroom\r\n\r\n",
        "GET \\healthz HTTP/1.1\r\nHost: postroom\r\n\r\n",
        "G\u{c9}T /healthz HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "EHLO mail.example.org\r\nMAIL FROM:<ann@example.org>\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /healthz HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    things.push([tls.as_slice(), &[7; 500]].concat());
    things.push(vec![b'A'; 200_000]);
    things.push(vec![0; 200_000]);
    things.push(vec![b'\n'; 1000]);
    for _ in 0..200 {
        let length = 1 + random.below(600);
        things.push((0..length).map(|_| random.next().to_le_bytes()[3]).collect());
    }
    for thing in &things {
        let start = String::from_utf8_lossy(&thing[..thing.len().min(60)]).into_owned();
        let reply = reply(&server, thing);
        assert!(
            statuses(&reply).iter().all(|status| (400..500).contains(status)),
            "{start:?}: {reply}"
        );
    }
    server.is_unharmed();
}

#[test]
fn an_old_client_is_answered_in_its_own_way() {
    let place = Place::new();
    let server = place.serve();
    let once = "GET /healthz HTTP/1.0\r\n\r\n";
    let answer = reply(&server, format!("{once}{once}"));
    assert_eq!(statuses(&answer), [200], "{answer}");
    let kept = "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let mut connection = RawConnection::open(server.address);
    assert_eq!(connection.exchange(kept).unwrap().header("connection"), Some("keep-alive"));
    assert_eq!(connection.exchange(kept).unwrap().ok()["status"], "alive");
    let chunked = "POST /users/login HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(statuses(&reply(&server, chunked)), [400]);
    server.is_unharmed();
}

#[test]
fn an_odd_path_is_no_other_path() {
    let place = Place::new();
    let server = place.serve();
    let ann = server.user("ann");
    let none = [
        "/",
        "//",
        "/users",
        "/users/",
        "/users/token/",
        "//users/token",
        "/users//token",
        "/./users/token",
        "/x/../users/token",
        "/users/token%00",
        "/users/token%20",
        "/users/%74oken",
        "/users%2ftoken",
        "/USERS/TOKEN",
        "/users/token;x=y",
        "/%",
        "/%zz",
        "/%ff%fe",
        "/%c0%ae%c0%ae/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/{id}",
        "/:id",
        "/*",
        "/healthz/",
        "/messages/read_message/1",
    ];
    for path in none {
        let answer =
            RawConnection::open(server.address).exchange(ann.request_text("GET", path, ""));
        let answer = answer.unwrap_or_else(|end| panic!("{path}: {end:?}"));
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.error(404).starts_with("there is nothing at /"), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    for query in [
        "message_id=%00",
        "message_id=%ff",
        "message_id=%",
        "message_id=%zz",
        "message_id=",
        "message_id=1&message_id=1",
        "message_id=1.0",
        "message_id=0x1",
        "message_id=%EF%BC%91",
        "message_id[]=1",
        "message_id",
        "=1",
        "&&&",
        "%6dessage_id=x",
        "message_id=1+1",
    ] {
        let path = format!("/messages/read_message?{query}");
        let answer = RawConnection::open(server.address)
            .exchange(ann.request_text("GET", &path, ""))
            .unwrap();
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.error(400).starts_with("message_id: "), "{query}: {}", answer.text());
    }
    // Targets that are no path.
    for (target, status) in [
        ("OPTIONS *", 404),
        ("CONNECT postroom:443", 404),
        ("GET http://evil.example/none", 404),
        ("GET http://evil.example/healthz", 200),
        ("TRACE /users/token", 405),
        ("FOO /healthz", 405),
    ] {
        let reply = reply(&server, format!("{target} HTTP/1.1\r\nHost: postroom\r\n\r\n"));
        assert_eq!(statuses(&reply), [status], "{target}: {reply}");
    }
    server.is_unharmed();
}

#[test]
fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let place = Place::new();
    let server = place.serve();
    let ann = server.user("ann");
    let mut ahead = String::new();
    for number in 0..50 {
        // Slow ones, waiting ones and quick ones; the order is theirs all the same.
        ahead += &match number % 5 {
            0 => {
                let login = json!({ "username": "ann", "password": format!("wrong {number}") });
                ann.request_text("POST", "/users/login", &login.to_string())
            }
            1 | 2 => {
                let draft = json!({ "receiver_id": ann.id, "subject": "", "body": "" });
                ann.request_text("POST", "/messages/write_message", &draft.to_string())
            }
            _ => ann.request_text("GET", &format!("/none/{number}"), ""),
        };
    }
    let mut connection = RawConnection::open(server.address);
    connection.send(&ahead);
    let mut ids = Vec::new();
    for number in 0..50 {
        let answer = connection.response().unwrap_or_else(|end| panic!("answer {number}: {end:?}"));
        match number % 5 {
            0 => assert_eq!(answer.status, 401, "{number}"),
            1 | 2 => ids.push(answer.ok()["message_id"].as_i64().unwrap()),
            _ => assert_eq!(answer.error(404), format!("there is nothing at /none/{number}")),
        }
    }
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    assert_eq!(ids.len(), 20);
    server.is_unharmed();
}

#[test]
fn a_client_that_says_it_is_done_gets_its_answers() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let draft = json!({ "receiver_id": ann.id, "subject": "half", "body": "closed" });
    let send = ann.request_text("POST", "/messages/write_message", &draft.to_string());
    for number in 0..20 {
        let reply = reply(&server, format!("{send}{send}"));
        assert_eq!(statuses(&reply), [200, 200], "{number}: {reply}");
    }
    assert_eq!(ann.inbox().len(), 40);
    // Half a request is none.
    let reply = reply(&server, &send[..send.len() - 5]);
    assert!(matches!(statuses(&reply)[..], [] | [400]), "{reply}");
    assert_eq!(ann.inbox().len(), 40);
    drop(ann);
    until(TIMEOUT, "they are gone", || server.figure("postroom_connections", "") == 1);
    server.is_unharmed();
}

#[test]
fn who_is_gone_does_not_wait_for_refusals() {
    let place = Place::new()
        .with("POSTROOM_RATE_LIMITS", "on")
        .with("POSTROOM_TRUSTED_PROXIES", "127.0.0.1");
    let server = place.serve();
    let from = [("X-Forwarded-For", "203.0.113.7")];
    let ask = request_text("GET", "/v1/messages", &from, "");
    let open = |_| {
        let mut connection = RawConnection::open(server.address);
        assert!(connection.send(&ask));
        connection
    };
    let gone: Vec<_> = (0..600).map(open).collect();
    let refused = || server.figure("postroom_http_requests_total", "status=\"4xx\"");
    until(TIMEOUT, "all are refused", || refused() >= 600);
    let mut last = open(0);
    until(TIMEOUT, "the last one is", || refused() >= 601);
    drop(gone);
    // The last one and the one that asks for the figures.
    until(TIMEOUT, "they are gone", || server.figure("postroom_connections", "") <= 2);
    last.set_timeout(Duration::from_millis(1));
    assert!(matches!(last.response(), Err(Failure::TimedOut)), "its turn has not come");
    last.set_timeout(TIMEOUT);
    assert_eq!(last.response().expect("it is told").status, 401);
    server.is_unharmed();
}

#[test]
fn clients_that_vanish_leave_nothing_behind_but_whole_messages() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let mut random = Random::new(5);
    let body = "a message that is long enough to be cut anywhere ".repeat(20);
    let draft = json!({ "receiver_id": ann.id, "subject": "vanished", "body": body });
    let send = ann.request_text("POST", "/messages/write_message", &draft.to_string());
    let login = json!({ "username": "ann", "password": "wrong and slow" }).to_string();
    let login = ann.request_text("POST", "/users/login", &login);
    let mut whole = 0;
    for number in 0..400 {
        let mut connection = RawConnection::open(server.address);
        // All of it and gone before the answer, or some of it.
        let length = if number % 2 == 0 { send.len() } else { random.below(send.len()) };
        connection.send(&send.as_bytes()[..length]);
        whole += usize::from(length == send.len());
        if number % 20 == 0 {
            RawConnection::open(server.address).send(&login);
        }
    }
    until(TIMEOUT, "they are gone", || server.figure("postroom_connections", "") <= 2);
    // What she had may have been idle for too long.
    ann.connect_to(server.address);
    let there = ann.inbox();
    assert!(there.len() <= whole, "{} of {whole}", there.len());
    for id in there {
        assert_eq!(ann.read(id).unwrap().ok()["body"], body);
    }
    server.is_unharmed();
    server.stop();
    place.is_whole();
}

#[test]
fn odd_bodies_are_refused_with_a_reason() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let deep = format!("{{\"subject\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let wide = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(20_000));
    let long = format!("{{\"receiver_id\":1{}}}", "0".repeat(100_000));
    let odd = [
        "{",
        "}",
        "[]",
        "null",
        "\"text\"",
        "1",
        "{\"a\"}",
        "{'a':1}",
        "{\"a\":NaN}",
        "\u{feff}{}",
        "{\"subject\":\"\\ud800\"}",
        "{\"subject\":\"\\u00\"}",
        "{} {}",
        "{}}",
        &deep,
        &wide,
        &long,
        "{\"subject\":\"\u{1}\"}",
        "{\"receiver_id\":1e999}",
        "{\"receiver_id\":-0}",
        "{\"receiver_id\":1,\"receiver_id\":2}",
        "{\"receiver_id\":18446744073709551616}",
    ];
    for body in odd {
        for (method, path) in [
            ("POST", "/messages/write_message"),
            ("DELETE", "/messages/delete_message"),
            ("POST", "/users/login"),
        ] {
            let start = &body[..body.len().min(40)];
            let answer = RawConnection::open(server.address)
                .exchange(ann.request_text(method, path, body))
                .unwrap();
            // Nobody knows who wants to log in.
            let is_long = path == "/users/login" && body.len() > 16_384;
            let status = if is_long { 413 } else { 400 };
            assert_eq!(answer.status, status, "{method} {path} {start:?}: {}", answer.text());
            assert!(!answer.error(status).is_empty());
            assert!(answer.body.len() < 500, "{start:?}: {}", answer.text());
        }
    }
    let raw = [b"{\"subject\":\"\xff\xfe\"}".as_slice(), b"\xff\xfe{\0}\0", b"\x1f\x8b\x08\0\0"];
    for body in raw {
        let head = ann.request_text("POST", "/messages/write_message", "");
        let head = head.replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
        let answer =
            RawConnection::open(server.address).exchange([head.as_bytes(), body].concat()).unwrap();
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert!(ann.inbox().is_empty());
    server.is_unharmed();
}

#[test]
fn a_login_storm_does_not_hold_up_letters() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let address = server.address;
    thread::scope(|scope| {
        let storm: Vec<_> = (0..100)
            .map(|number| {
                scope.spawn(move || {
                    let mut eve = User::visitor(address, &format!("nobody-{number}"));
                    eve.try_login("a guess").status
                })
            })
            .collect();
        let mut sent = 0;
        while !storm.iter().all(ScopedJoinHandle::is_finished) {
            ann.send_message(ann.id, "in", "the storm");
            sent += 1;
            thread::sleep(Duration::from_millis(1));
        }
        assert!(sent > 10, "only {sent} letters got through");
        let statuses: Vec<_> = storm.into_iter().map(|login| login.join().unwrap()).collect();
        // Too many at once are asked to come back.
        assert!(statuses.iter().all(|status| matches!(status, 401 | 503)), "{statuses:?}");
        assert!(statuses.contains(&401));
    });
}
