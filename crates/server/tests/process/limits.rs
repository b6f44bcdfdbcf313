//! Clients that take their time, send too much or come in crowds: each gets so much and no more.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use testing::{Failure, TIMEOUT, User, get};

use crate::raw::{RawConnection, RequestText as _, request_text};
use crate::support::{Place, Random, until};

/// What a client that dawdles is given here,
const LIMIT: Duration = Duration::from_secs(1);
/// and when it must be over at the latest: the machine may be busy.
const LATEST: Duration = Duration::from_secs(4);
/// More than any request may have, by far.
const TOO_LONG: usize = 10_000_000;

/// A place whose server is as impatient as can be.
fn short_timeouts() -> Place {
    Place::new()
        .with("POSTROOM_HEADER_TIMEOUT_SECONDS", "1")
        .with("POSTROOM_BODY_TIMEOUT_SECONDS", "1")
}

/// Sends the beginning, then a byte now and then until the server closes the connection. What it
/// answered, and after what time it closed.
fn dawdle(address: SocketAddr, begin: &str) -> (String, Duration) {
    let started = Instant::now();
    let mut connection = RawConnection::open(address);
    connection.send(begin);
    connection.set_timeout(Duration::from_millis(50));
    loop {
        match connection.read_to_end() {
            Ok(answer) => {
                let answer = String::from_utf8(answer).expect("the server speaks UTF-8");
                return (answer, started.elapsed());
            }
            Err(_nothing) => assert!(started.elapsed() < LATEST, "waited too long: {begin:?}"),
        }
        connection.send("a");
    }
}

#[test]
fn a_client_that_dawdles_is_cut_off() {
    let place = short_timeouts();
    let server = place.serve();
    let ann = server.user("ann");
    let begun = |method: &str, path: &str, framing: &str| {
        let whole = ann.request_text(method, path, "{}");
        whole.replace("Content-Length: 2\r\n\r\n{}", &format!("{framing}\r\n\r\n{{"))
    };
    let long = |method: &str, path: &str| begun(method, path, "Content-Length: 1000");
    let mut clients = vec![
        // The head, or what there is of it; nothing needs to be said to one who says nothing.
        (String::new(), ""),
        ("G".to_owned(), ""),
        ("GET /healthz HTTP/1.1\r\nHost: postroom\r\nX-Slow: ".to_owned(), ""),
        // The head of the next request.
        (request_text("GET", "/healthz", &[], ""), "HTTP/1.1 200 "),
        // The body.
        (long("POST", "/users/register"), "HTTP/1.1 408 "),
        (long("POST", "/users/login"), "HTTP/1.1 408 "),
        (long("POST", "/messages/write_message"), "HTTP/1.1 408 "),
        (long("GET", "/messages/read_message"), "HTTP/1.1 408 "),
        (long("DELETE", "/messages/delete_message"), "HTTP/1.1 408 "),
    ];
    let chunked = begun("POST", "/users/login", "Transfer-Encoding: chunked");
    clients.push((format!("{}ffff\r\n", chunked.trim_end_matches('{')), "HTTP/1.1 408 "));
    thread::scope(|scope| {
        for (begin, answer) in &clients {
            let address = server.address;
            scope.spawn(move || {
                let (said, time) = dawdle(address, begin);
                assert!(said.starts_with(answer), "{begin:?}: {said:?}");
                assert!(said.is_empty() == answer.is_empty(), "{begin:?}: {said:?}");
                assert!(time > LIMIT / 2, "{begin:?} was given {time:?} only");
            });
        }
    });
    // Where the body is of no interest, the answer comes at once, and the rest of the body has no
    // more time than any other.
    for (method, path) in [("POST", "/users/logout"), ("GET", "/users/token"), ("GET", "/none")] {
        let (said, time) = dawdle(server.address, &long(method, path));
        assert!(said.starts_with("HTTP/1.1 "), "{method} {path}: {said}");
        assert!(time < 2 * LIMIT, "{method} {path}: {time:?}");
    }
    until(TIMEOUT, "the connections are gone", || server.figure("postroom_connections", "") == 1);
    server.is_unharmed();
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let place = short_timeouts();
    let server = place.serve();
    let mut ann = server.user("ann");
    let id = ann.send_message(ann.id, "long", &"x".repeat(65_000));
    // 32 MB of answers: more than the kernel takes off the server's hands.
    let path = format!("/messages/read_message?message_id={id}");
    let many = ann.request_text("GET", &path, "").repeat(500);
    let mut deaf: Vec<_> = (0..8).map(|_| RawConnection::open(server.address)).collect();
    for connection in &mut deaf {
        assert!(connection.send(&many));
    }
    // The others are served meanwhile.
    assert_eq!(ann.inbox(), [id]);
    drop(ann);
    // Across a network it takes its time until they have so many answers that nothing goes on.
    until(3 * TIMEOUT, "those who do not read are gone", || {
        server.figure("postroom_connections", "") == 1
    });
    for mut connection in deaf {
        assert!(connection.read_to_end().unwrap().len() < 500 * 65_000);
    }
    server.is_unharmed();
}

#[test]
fn a_slow_reader_gets_its_whole_answer() {
    let place = Place::new().with("POSTROOM_BODY_TIMEOUT_SECONDS", "2");
    let server = place.serve();
    let mut ann = server.user("ann");
    let id = ann.send_message(ann.id, "long", &"x".repeat(65_000));
    let path = format!("/messages/read_message?message_id={id}");
    let mut connection = RawConnection::open(server.address);
    connection.send(ann.request_text("GET", &path, "").repeat(400));
    // In all it takes longer than the server waits for one that reads nothing.
    let started = Instant::now();
    for number in 0..400 {
        let answer = connection.response().unwrap_or_else(|end| panic!("answer {number}: {end:?}"));
        assert_eq!(answer.ok()["message_id"], id);
        if started.elapsed() < 3 * LIMIT {
            thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(started.elapsed() > 2 * LIMIT);
    server.is_unharmed();
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_not_read() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let whole = ann.request_text("POST", "/messages/write_message", "{}");
    let head = whole.strip_suffix("Content-Length: 2\r\n\r\n{}").unwrap();

    // It says so itself: there is an answer before a byte of it has come.
    let mut connection = RawConnection::open(server.address);
    let answer = connection.exchange(format!("{head}Content-Length: {TOO_LONG}\r\n\r\n")).unwrap();
    assert_eq!(answer.status, 413);
    assert!(answer.error(413).starts_with("body: the request must have at most "));
    assert!(connection.is_closed());

    // It asks first.
    let mut connection = RawConnection::open(server.address);
    let asking = format!("{head}Expect: 100-continue\r\nContent-Length: {TOO_LONG}\r\n\r\n");
    assert_eq!(connection.exchange(asking).unwrap().status, 413);
    assert!(connection.is_closed());

    // It does not say so: it is cut off when it is too much.
    let mut connection = RawConnection::open(server.address);
    connection.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, " ".repeat(65_536));
    let sent = (0..1000).take_while(|_| connection.send(&chunk)).count();
    assert!(sent < 500, "it took {sent} chunks of 64 KiB");
    assert!(connection.response().map_or(true, |answer| answer.status == 413));

    // What is just within the limit is taken; the rest is about the text itself.
    let body = format!(
        "{{\"receiver_id\":{},\"subject\":\"\",\"body\":\"{}\"}}",
        ann.id,
        "\\u0041".repeat(65_536)
    );
    let whole = ann.request_text("POST", "/messages/write_message", &body);
    let answer = RawConnection::open(server.address).exchange(whole).unwrap().ok();
    let id = answer["message_id"].as_i64().unwrap();
    assert_eq!(ann.read(id).unwrap().ok()["body"], "A".repeat(65_536));
    let answer = ann.send(ann.id, "", &"A".repeat(65_537)).unwrap();
    assert_eq!(answer.error(400), "body: it must have at most 65536 bytes");
    assert_eq!(ann.inbox(), [id]);
    server.is_unharmed();
}

/// Sends in pieces, so that no buffer takes all of it at once; whether all was taken.
fn send_slowly(connection: &mut RawConnection, text: &str) -> bool {
    text.as_bytes().chunks(50_000).all(|piece| {
        thread::sleep(Duration::from_millis(5));
        connection.send(piece)
    })
}

#[test]
fn who_is_answered_early_can_finish_sending_and_sees_the_answer() {
    let place = Place::new();
    let server = place.serve();
    let ann = server.user("ann");
    let bearer = [("Authorization", "Bearer prt_of-some-time-ago")];
    let v1 = |length: usize| request_text("POST", "/v1/messages", &bearer, &"x".repeat(length));
    let classic = |path: &str, length: usize| ann.request_text("POST", path, &"x".repeat(length));
    let path = "/messages/write_message";
    let chunks = format!("{:x}\r\n{}\r\n", 50_000, "x".repeat(50_000)).repeat(20);
    let chunked = v1(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let early = [
        (v1(60_000), 401),
        (v1(300_000), 401),
        (v1(1_000_000), 401),
        (format!("{chunked}{chunks}0\r\n\r\n"), 401),
        (classic(path, 1_000_000).replace("X-CSRFToken: ", "X-CSRFToken: no"), 403),
        (classic("/none", 1_000_000), 404),
        (classic(path, 1_000_000).replacen("POST", "PUT", 1), 405),
        (classic(path, 1_500_000), 413),
    ];
    for (request, status) in early {
        // It sends everything before it reads, and goes on with the same connection.
        let mut connection = RawConnection::open(server.address);
        for _ in 0..2 {
            assert!(connection.send(&request), "{status}: it was cut off");
            assert_eq!(connection.response().map(|answer| answer.status), Ok(status));
        }
        assert_eq!(
            connection.exchange(request_text("GET", "/healthz", &[], "")).unwrap().status,
            200
        );
    }
    // Who waits to be asked may send all the same, as some proxies do. The connection ends then,
    // and nothing of what came is taken for a request.
    let asking = |text: String| text.replacen("\r\n", "\r\nExpect: 100-continue\r\n", 1);
    let hidden = request_text("GET", "/healthz", &[], "").repeat(10_000);
    let inside = request_text("POST", "/v1/messages", &bearer, &hidden);
    let read_only = inside.replacen("POST /v1/messages", "GET /healthz", 1);
    for (request, status) in [
        (v1(60_000), 401),
        (v1(1_000_000), 401),
        (format!("{chunked}{chunks}0\r\n\r\n"), 401),
        (classic("/none", 1_000_000), 404),
        (classic(path, 1_500_000), 413),
        (inside, 401),
        (read_only, 200),
    ] {
        let request = asking(request);
        let (head, _body) = request.split_once("\r\n\r\n").unwrap();
        for at_once in [head.len() + 4, 20_000] {
            let mut connection = RawConnection::open(server.address);
            let answer = connection.exchange(&request[..at_once]);
            let answer = answer.unwrap_or_else(|end| panic!("{status}: {end:?}"));
            assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
            let rest = &request[at_once..];
            assert!(send_slowly(&mut connection, rest), "{status}: it was cut off");
            assert!(connection.is_closed(), "{status}");
        }
    }
    // Who was asked goes on.
    let mut connection = RawConnection::open(server.address);
    let head = asking(classic(path, 10)).trim_end_matches('x').to_owned();
    assert_eq!(connection.exchange(head).map(|answer| answer.status), Ok(100));
    assert_eq!(connection.exchange("x".repeat(10)).map(|answer| answer.status), Ok(400));
    assert_eq!(connection.exchange(request_text("GET", "/healthz", &[], "")).unwrap().status, 200);
    // It is not waited for who promises a body and sends nothing.
    let mut connection = RawConnection::open(server.address);
    let promise = v1(60_000);
    let head = promise.trim_end_matches('x');
    assert_eq!(connection.exchange(head).unwrap().status, 401);
    assert!(connection.is_closed());
    server.is_unharmed();
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let place = Place::new();
    let server = place.serve();
    let ann = server.user("ann");
    let body = format!("{{\"receiver_id\":{},\"subject\":\"a\",\"body\":\"b\"}}", ann.id);
    let whole = ann.request_text("POST", "/messages/write_message", &body);
    let head = whole.strip_suffix(&format!("\r\n{body}")).unwrap();
    let mut connection = RawConnection::open(server.address);
    assert_eq!(
        connection.exchange(format!("{head}Expect: 100-continue\r\n\r\n")).unwrap().status,
        100
    );
    assert_eq!(connection.exchange(&body).unwrap().ok()["message_id"], 1);
    // Without a login there is nothing to go on with.
    let head = head.replace("sessionid=", "nosession=");
    let answer = connection.exchange(format!("{head}Expect: 100-continue\r\n\r\n")).unwrap();
    assert_eq!(answer.status, 401);
    // A proxy makes an error of its own of a connection that closes without a word.
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn a_head_beyond_the_limits_is_refused() {
    let place = Place::new();
    let server = place.serve();
    let refused = |what: &str, text: String, status: u16| {
        let answer = RawConnection::open(server.address).exchange(text);
        assert_eq!(answer.map(|answer| answer.status), Ok(status), "{what}");
    };
    let line = "x".repeat(1000);
    for (count, status) in [(20, 200), (40, 431), (1000, 431)] {
        let headers: Vec<_> = (0..count).map(|_| ("X-Long", line.as_str())).collect();
        refused("many long headers", request_text("GET", "/healthz", &headers, ""), status);
    }
    for (count, status) in [(60, 200), (100, 431), (2000, 431)] {
        let headers: Vec<_> = (0..count).map(|_| ("X", "y")).collect();
        refused("many headers", request_text("GET", "/healthz", &headers, ""), status);
    }
    let long = "x".repeat(40_000);
    refused("one long header", request_text("GET", "/healthz", &[("X", &long)], ""), 431);
    refused("one long name", request_text("GET", "/healthz", &[(&long, "x")], ""), 431);
    refused("a long path", request_text("GET", &format!("/{}", "x".repeat(20_000)), &[], ""), 404);
    let query = format!("/healthz?{}", "x".repeat(20_000));
    refused("a long query", request_text("GET", &query, &[], ""), 200);
    refused("a longer path", request_text("GET", &format!("/{long}"), &[], ""), 431);
    // It sends all of it before it reads.
    let mut connection = RawConnection::open(server.address);
    let longest = "x".repeat(1_000_000);
    let text = request_text("GET", "/healthz", &[("X", &longest)], "");
    assert!(send_slowly(&mut connection, &text), "it was cut off");
    assert_eq!(connection.response().map(|answer| answer.status), Ok(431));
    refused("a long method", request_text(&"G".repeat(20_000), "/healthz", &[], ""), 405);
    server.is_unharmed();
}

#[test]
fn one_connection_too_many_waits_until_another_ends() {
    let place = Place::new().with("POSTROOM_MAX_CONNECTIONS", "8");
    let server = place.serve();
    let ask = request_text("GET", "/healthz", &[], "");
    let mut open: Vec<_> = (0..8).map(|_| RawConnection::open(server.address)).collect();
    for connection in &mut open {
        assert_eq!(connection.exchange(&ask).unwrap().status, 200);
    }
    let mut ninth = RawConnection::open(server.address);
    ninth.set_timeout(Duration::from_millis(300));
    assert_eq!(ninth.exchange(&ask).err(), Some(Failure::TimedOut));
    // Those that are in go on.
    assert_eq!(open[7].exchange(&ask).unwrap().status, 200);
    drop(open.remove(3));
    ninth.set_timeout(TIMEOUT);
    assert_eq!(ninth.response().unwrap().status, 200);
    drop((open, ninth));

    // A crowd is served, each in its turn.
    let mut random = Random::new(9);
    thread::scope(|scope| {
        for _ in 0..60 {
            let pause = Duration::from_millis(random.next() % 30);
            scope.spawn(move || {
                thread::sleep(pause);
                assert_eq!(get(server.address, "/healthz").status, 200);
            });
        }
    });
    server.is_unharmed();
}

#[test]
fn many_connections_at_once_cost_little_and_are_all_served() {
    let place = Place::new();
    let server = place.serve();
    let mut open: Vec<_> = (0..800).map(|_| RawConnection::open(server.address)).collect();
    let ask = request_text("GET", "/users/token", &[], "");
    for connection in &mut open {
        assert!(connection.send(&ask));
    }
    for connection in &mut open {
        assert_eq!(connection.response().unwrap().status, 200);
    }
    assert!(server.figure("postroom_connections", "") >= 800);
    drop(open);
    until(TIMEOUT, "the connections are gone", || server.figure("postroom_connections", "") == 1);
    server.is_unharmed();
}

#[test]
fn the_memory_of_hashed_passwords_goes_back_to_the_system() {
    let place = Place::new();
    let server = place.serve();
    let before = server.own_memory();
    for name in ["ann", "bob", "cid"] {
        drop(server.user(name));
    }
    let hash = 19 << 20;
    assert!(server.peak_memory() > before + hash, "a hash needs as much");
    until(Duration::from_mins(1), "the memory is given back", || {
        server.own_memory() < before + hash / 2
    });
}

/// Of `pässword of ann`, made by Django 5.2.19 with its defaults: it takes 100 MiB.
const COSTLY: &str = "argon2$argon2id$v=19$m=102400,t=2,p=8$VnpVT0pHWHZOM3VaOXMyZDJMV2ZlMg\
                      $c/FyT41rAivV12HGbMV5i1fxpK3hJ0jTQm13wIQsrcU";

#[test]
fn many_who_moved_with_costly_passwords_sign_in_at_once_and_take_the_memory_of_one() {
    const MOVED: usize = 9;
    let place = Place::new().with("POSTROOM_PASSWORD_THREADS", "4");
    let mut lines = serde_json::json!({ "postroom": 1, "source": "shop" }).to_string();
    for number in 0..MOVED {
        let user = serde_json::json!({ "username": format!("moved{number}"),
            "password_hash": COSTLY });
        lines = format!("{lines}\n{}", serde_json::json!({ "user": user }));
    }
    std::fs::write(place.path("shop.jsonl"), lines).expect("it can be written");
    place.run(&["import", "shop.jsonl"]).ok();
    let server = place.serve();
    server.user("ann");
    let address = server.address;
    thread::scope(|scope| {
        for number in 0..MOVED {
            scope.spawn(move || {
                let mut moved = User::visitor(address, &format!("moved{number}"));
                let signed_in = moved.try_login("pässword of ann");
                assert_eq!(signed_in.status, 200, "{}", signed_in.text());
            });
        }
    });
    let peak = server.peak_memory() >> 20;
    assert!(peak > 100, "they were verified: {peak} MiB");
    server.is_unharmed();
}

#[test]
fn a_body_in_many_tiny_pieces_is_refused_and_one_in_some_is_taken() {
    let place = Place::new();
    let server = place.serve();
    let body =
        serde_json::json!({ "username": "nobody", "password": "x".repeat(1200) }).to_string();
    let head = request_text("POST", "/v1/sessions", &[], "").replace(
        "Content-Length: 0",
        "Content-Type: application/json\r\nTransfer-Encoding: chunked",
    );
    let in_pieces = |length: usize| {
        let piece = |bytes: &[u8]| {
            format!("{:x}\r\n{}\r\n", bytes.len(), str::from_utf8(bytes).expect("it is ASCII"))
        };
        let pieces: String = body.as_bytes().chunks(length).map(piece).collect();
        let request = format!("{head}{pieces}0\r\n\r\n");
        RawConnection::open(server.address).exchange(request).expect("it is answered").status
    };
    assert_eq!([1, 2, 16].map(in_pieces), [413, 401, 401]);
    server.is_unharmed();
}
