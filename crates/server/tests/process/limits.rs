//! Clients that take their time, send too much or come in crowds: each gets so much and no more.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{End, PATIENCE, Wire, get, request};
use crate::support::{Place, Random, until};

/// What a client that dawdles is given here,
const TIMEOUT: Duration = Duration::from_secs(1);
/// and when it must be over at the latest: the machine may be busy.
const LATEST: Duration = Duration::from_secs(4);
/// More than any request may have, by far.
const TOO_LONG: usize = 10_000_000;

/// A place whose server is as impatient as can be.
fn impatient() -> Place {
    Place::new()
        .with("POSTROOM_HEADER_TIMEOUT_SECONDS", "1")
        .with("POSTROOM_BODY_TIMEOUT_SECONDS", "1")
}

/// Sends the beginning, then a byte now and then until the server closes the connection. What it
/// answered, and after what time it closed.
fn dawdle(address: SocketAddr, begin: &str) -> (String, Duration) {
    let started = Instant::now();
    let mut wire = Wire::open(address);
    wire.send(begin);
    wire.wait_up_to(Duration::from_millis(50));
    loop {
        match wire.rest() {
            Ok(answer) => {
                let answer = String::from_utf8(answer).expect("the server speaks UTF-8");
                return (answer, started.elapsed());
            }
            Err(_nothing) => assert!(started.elapsed() < LATEST, "waited too long: {begin:?}"),
        }
        wire.send("a");
    }
}

#[test]
fn a_client_that_dawdles_is_cut_off() {
    let place = impatient();
    let server = place.serve();
    let ann = server.user("ann");
    let begun = |method: &str, path: &str, framing: &str| {
        let whole = ann.request(method, path, "{}");
        whole.replace("Content-Length: 2\r\n\r\n{}", &format!("{framing}\r\n\r\n{{"))
    };
    let long = |method: &str, path: &str| begun(method, path, "Content-Length: 1000");
    let mut clients = vec![
        // The head, or what there is of it; nothing needs to be said to one who says nothing.
        (String::new(), ""),
        ("G".to_owned(), ""),
        ("GET /healthz HTTP/1.1\r\nHost: postroom\r\nX-Slow: ".to_owned(), ""),
        // The head of the next request.
        (request("GET", "/healthz", &[], ""), "HTTP/1.1 200 "),
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
                assert!(time > TIMEOUT / 2, "{begin:?} was given {time:?} only");
            });
        }
    });
    // Where the body is of no interest, nobody waits for it.
    for (method, path) in [("POST", "/users/logout"), ("GET", "/users/token"), ("GET", "/none")] {
        let (said, time) = dawdle(server.address, &long(method, path));
        assert!(said.starts_with("HTTP/1.1 "), "{method} {path}: {said}");
        assert!(time < TIMEOUT, "{method} {path}: {time:?}");
    }
    until(PATIENCE, "the connections are gone", || server.figure("postroom_connections", "") == 1);
    server.is_unharmed();
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let place = impatient();
    let server = place.serve();
    let mut ann = server.user("ann");
    let id = ann.sends(ann.id, "long", &"x".repeat(65_000));
    // 32 MB of answers: more than the kernel takes off the server's hands.
    let path = format!("/messages/read_message?message_id={id}");
    let many = ann.request("GET", &path, "").repeat(500);
    let mut deaf: Vec<_> = (0..8).map(|_| Wire::open(server.address)).collect();
    for wire in &mut deaf {
        assert!(wire.send(&many));
    }
    // The others are served meanwhile.
    assert_eq!(ann.inbox(), [id]);
    drop(ann);
    // Across a network it takes its time until they have so many answers that nothing goes on.
    until(3 * PATIENCE, "those who do not read are gone", || {
        server.figure("postroom_connections", "") == 1
    });
    for mut wire in deaf {
        assert!(wire.rest().unwrap().len() < 500 * 65_000);
    }
    server.is_unharmed();
}

#[test]
fn a_slow_reader_gets_its_whole_answer() {
    let place = Place::new().with("POSTROOM_BODY_TIMEOUT_SECONDS", "2");
    let server = place.serve();
    let mut ann = server.user("ann");
    let id = ann.sends(ann.id, "long", &"x".repeat(65_000));
    let path = format!("/messages/read_message?message_id={id}");
    let mut wire = Wire::open(server.address);
    wire.send(ann.request("GET", &path, "").repeat(400));
    // In all it takes longer than the server waits for one that reads nothing.
    let started = Instant::now();
    for number in 0..400 {
        let answer = wire.answer().unwrap_or_else(|end| panic!("answer {number}: {end:?}"));
        assert_eq!(answer.ok()["message_id"], id);
        if started.elapsed() < 3 * TIMEOUT {
            thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(started.elapsed() > 2 * TIMEOUT);
    server.is_unharmed();
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_not_read() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let whole = ann.request("POST", "/messages/write_message", "{}");
    let head = whole.strip_suffix("Content-Length: 2\r\n\r\n{}").unwrap();

    // It says so itself: there is an answer before a byte of it has come.
    let mut wire = Wire::open(server.address);
    let answer = wire.ask(format!("{head}Content-Length: {TOO_LONG}\r\n\r\n")).unwrap();
    assert_eq!(answer.status, 413);
    assert!(answer.error().starts_with("body: the request must have at most "));
    assert!(wire.is_closed());

    // It asks first.
    let mut wire = Wire::open(server.address);
    let asking = format!("{head}Expect: 100-continue\r\nContent-Length: {TOO_LONG}\r\n\r\n");
    assert_eq!(wire.ask(asking).unwrap().status, 413);
    assert!(wire.is_closed());

    // It does not say so: it is cut off when it is too much.
    let mut wire = Wire::open(server.address);
    wire.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, " ".repeat(65_536));
    let sent = (0..1000).take_while(|_| wire.send(&chunk)).count();
    assert!(sent < 500, "it took {sent} chunks of 64 KiB");
    assert!(wire.answer().map_or(true, |answer| answer.status == 413));

    // What is just within the limit is taken; the rest is about the text itself.
    let body = format!(
        "{{\"receiver_id\":{},\"subject\":\"\",\"body\":\"{}\"}}",
        ann.id,
        "\\u0041".repeat(65_536)
    );
    let whole = ann.request("POST", "/messages/write_message", &body);
    let answer = Wire::open(server.address).ask(whole).unwrap().ok();
    let id = answer["message_id"].as_i64().unwrap();
    assert_eq!(ann.read(id).unwrap().ok()["body"], "A".repeat(65_536));
    let answer = ann.send(ann.id, "", &"A".repeat(65_537)).unwrap();
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "body: it must have at most 65536 bytes")
    );
    assert_eq!(ann.inbox(), [id]);
    server.is_unharmed();
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let place = Place::new();
    let server = place.serve();
    let ann = server.user("ann");
    let body = format!("{{\"receiver_id\":{},\"subject\":\"a\",\"body\":\"b\"}}", ann.id);
    let whole = ann.request("POST", "/messages/write_message", &body);
    let head = whole.strip_suffix(&format!("\r\n{body}")).unwrap();
    let mut wire = Wire::open(server.address);
    assert_eq!(wire.ask(format!("{head}Expect: 100-continue\r\n\r\n")).unwrap().status, 100);
    assert_eq!(wire.ask(&body).unwrap().ok()["message_id"], 1);
    // Without a login there is nothing to go on with.
    let head = head.replace("sessionid=", "nosession=");
    let answer = wire.ask(format!("{head}Expect: 100-continue\r\n\r\n")).unwrap();
    assert_eq!(answer.status, 401);
}

#[test]
fn a_head_beyond_the_limits_is_refused() {
    let place = Place::new();
    let server = place.serve();
    let refused = |what: &str, text: String, status: u16| {
        let answer = Wire::open(server.address).ask(text);
        assert_eq!(answer.map(|answer| answer.status), Ok(status), "{what}");
    };
    let line = "x".repeat(1000);
    for (count, status) in [(20, 200), (40, 431), (1000, 431)] {
        let headers: Vec<_> = (0..count).map(|_| ("X-Long", line.as_str())).collect();
        refused("many long headers", request("GET", "/healthz", &headers, ""), status);
    }
    for (count, status) in [(60, 200), (100, 431), (2000, 431)] {
        let headers: Vec<_> = (0..count).map(|_| ("X", "y")).collect();
        refused("many headers", request("GET", "/healthz", &headers, ""), status);
    }
    let long = "x".repeat(40_000);
    refused("one long header", request("GET", "/healthz", &[("X", &long)], ""), 431);
    refused("one long name", request("GET", "/healthz", &[(&long, "x")], ""), 431);
    refused("a long path", request("GET", &format!("/{}", "x".repeat(20_000)), &[], ""), 404);
    let query = format!("/healthz?{}", "x".repeat(20_000));
    refused("a long query", request("GET", &query, &[], ""), 200);
    refused("a longer path", request("GET", &format!("/{long}"), &[], ""), 431);
    refused("a long method", request(&"G".repeat(20_000), "/healthz", &[], ""), 405);
    server.is_unharmed();
}

#[test]
fn one_connection_too_many_waits_until_another_ends() {
    let place = Place::new().with("POSTROOM_MAX_CONNECTIONS", "8");
    let server = place.serve();
    let ask = request("GET", "/healthz", &[], "");
    let mut open: Vec<_> = (0..8).map(|_| Wire::open(server.address)).collect();
    for wire in &mut open {
        assert_eq!(wire.ask(&ask).unwrap().status, 200);
    }
    let mut ninth = Wire::open(server.address);
    ninth.wait_up_to(Duration::from_millis(300));
    assert_eq!(ninth.ask(&ask).err(), Some(End::Silent));
    // Those that are in go on.
    assert_eq!(open[7].ask(&ask).unwrap().status, 200);
    drop(open.remove(3));
    ninth.wait_up_to(PATIENCE);
    assert_eq!(ninth.answer().unwrap().status, 200);
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
    let mut open: Vec<_> = (0..800).map(|_| Wire::open(server.address)).collect();
    let ask = request("GET", "/users/token", &[], "");
    for wire in &mut open {
        assert!(wire.send(&ask));
    }
    for wire in &mut open {
        assert_eq!(wire.answer().unwrap().status, 200);
    }
    assert!(server.figure("postroom_connections", "") >= 800);
    drop(open);
    until(PATIENCE, "the connections are gone", || server.figure("postroom_connections", "") == 1);
    server.is_unharmed();
}
