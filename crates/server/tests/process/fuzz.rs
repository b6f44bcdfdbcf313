//! Requests that are nearly right: thousands of them, the same for the same seed.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::json;
use testing::{Failure, PASSWORD, User, get};

use crate::raw::{RawConnection, RequestText as _, request_text};
use crate::support::{Place, Random};

const THREADS: u64 = 4;
const GROUPS: usize = 10;
const GROUP: usize = 500;
/// No request takes longer, whatever it is.
const HANG: Duration = Duration::from_secs(10);

/// What is put into requests: what parsers, numbers and texts trip over.
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "=",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "%00",
    "%",
    "%ff",
    "../",
    "//",
    "?",
    "&",
    "#",
    "*",
    "\u{feff}",
    "\u{202e}",
    "é",
    "\u{1f4ee}",
    "-1",
    "0",
    "1",
    "2",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e999",
    "0x10",
    "NaN",
    "null",
    "true",
    "[[[[[[[[",
    "{\"a\":",
    "\\u0000",
    "\\ud800",
    "\\",
    "' OR 1=1 --",
    "\"; DROP TABLE users; --",
    "<script>",
    "${jndi:}",
    "%s%n",
    "message_id",
    "receiver_id",
    "username",
    "sessionid=",
    "csrftoken=",
    "Cookie: ",
    "Content-Length: 5\r\n",
    "Content-Length: 99999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Upgrade: h2c\r\n",
    "Origin: null\r\n",
    "Host: \r\n",
    "Sec-Fetch-Site: cross-site\r\n",
    "X-Forwarded-For: 1.2.3.4\r\n",
    "Range: bytes=0-\r\n",
    "GET ",
    "POST ",
    "DELETE ",
    "HEAD ",
    "OPTIONS ",
    "HTTP/1.0",
    "HTTP/1.1",
    "HTTP/2.0",
];

/// Changes some bytes.
fn mutate(request: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = request.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        // The body is where meaning is; a change of the head mostly makes it no request at all.
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
        let from = if head < bytes.len() && random.below(2) == 0 { head } else { 0 };
        let at = from + random.below(bytes.len() - from);
        let end = (at + 1 + random.below(12)).min(bytes.len());
        let word = random.pick(WORDS).bytes();
        match random.below(10) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next().to_le_bytes()[5],
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece.repeat(1 + random.below(40)));
            }
            5 => {
                let piece: Vec<_> = bytes.drain(at..end).collect();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            6 | 7 => drop(bytes.splice(at..at, word)),
            8 => drop(bytes.splice(at..end, word)),
            // Numbers name other things.
            _ => {
                let digits: Vec<_> =
                    (0..bytes.len()).filter(|index| bytes[*index].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[*random.pick(&digits)] = *random.pick(b"0123456789");
                }
            }
        }
    }
    bytes
}

/// The right requests of every route; what costs a password hash is rare.
fn right(address: SocketAddr, user: &mut User, spare: &mut User, number: usize) -> Vec<String> {
    // The connections of the group before may be closed by now.
    user.connect_to(address);
    spare.connect_to(address);
    if !spare.is_logged_in() {
        spare.login(PASSWORD);
    }
    let draft = |to: i64, body: &str| {
        json!({ "receiver_id": to, "subject": "a subject", "body": body }).to_string()
    };
    let long = "a long text ".repeat(50);
    let write = "/messages/write_message";
    let mut all = vec![
        user.request_text("GET", "/users/token", ""),
        user.request_text("GET", "/messages/messages_per_receiver", ""),
        user.request_text("GET", "/messages/unread_per_receiver", ""),
        user.request_text("POST", write, &draft(user.id, "to myself")),
        user.request_text("POST", write, &draft(spare.id, "a body, \"quoted\" \u{1f4ee}")),
        user.request_text("POST", write, &draft(user.id, &long)),
        request_text("GET", "/healthz", &[], ""),
        request_text("GET", "/readyz", &[], ""),
        request_text("GET", "/users/token", &[], ""),
        request_text("GET", "/v1/csrf", &[], ""),
        request_text("GET", "/docs", &[], ""),
        request_text("GET", "/none?a=b", &[], ""),
    ];
    for _ in 0..2 {
        let id = user.send_message(user.id, "to be read", "and deleted");
        let body = json!({ "message_id": id }).to_string();
        all.push(user.request_text("GET", "/messages/read_message", &body));
        all.push(user.request_text("GET", &format!("/messages/read_message?message_id={id}"), ""));
        all.push(user.request_text("DELETE", "/messages/delete_message", &body));
    }
    let chunks = "7\r\n{\"recei\r\n1\r\nv\r\n0\r\n\r\n";
    let chunked = user
        .request_text("POST", write, "")
        .replace("Content-Length: 0", "Transfer-Encoding: chunked");
    all.push(chunked + chunks);
    all.extend(all.clone());
    let name = format!("{}-{number}", user.name);
    let account = json!({ "username": name, "email": "a@example.org", "password": PASSWORD });
    let login = json!({ "username": user.name, "password": PASSWORD });
    // Not with the session: it would be replaced by a new one.
    let visitor =
        [("Cookie", format!("csrftoken={}", user.token)), ("X-CSRFToken", user.token.clone())];
    let visitor = visitor.each_ref().map(|(name, value)| (*name, value.as_str()));
    all.push(request_text("POST", "/users/register", &visitor, &account.to_string()));
    all.push(request_text("POST", "/users/login", &visitor, &login.to_string()));
    all.push(spare.request_text("POST", "/users/logout", ""));
    all
}

/// How many were answered in which way.
#[derive(Debug, Default)]
struct Tally {
    /// A success.
    done: usize,
    /// A refusal by what stands behind the parser.
    refused: usize,
    /// Not understood as a request.
    garbled: usize,
}

/// Sends changed requests, and after each of them a right one on the same connection.
fn attack(address: SocketAddr, seed: u64, user: &mut User, spare: &mut User) -> Tally {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let after = request_text("GET", "/healthz", &[("Connection", "close")], "");
    for group in 0..GROUPS {
        let all = right(address, user, spare, group);
        for number in 0..GROUP {
            let model: &String = random.pick(&all);
            let mutant = mutate(model, &mut random);
            let mut connection = RawConnection::open(address);
            connection.set_timeout(HANG);
            connection.send(&mutant);
            connection.send(&after);
            connection.shut_down_write();
            let named = || format!("{seed}/{group}/{number}: {}", mutant.escape_ascii());
            let reply = match connection.read_to_end() {
                Ok(reply) => String::from_utf8_lossy(&reply).into_owned(),
                Err(Failure::TimedOut) => panic!("it hangs after {}", named()),
                Err(end) => panic!("{end:?} after {}", named()),
            };
            assert!(
                !reply.contains("HTTP/1.1 5") && !reply.contains("HTTP/1.0 5"),
                "{reply} after {}",
                named()
            );
            match (reply.get(9..12), reply.contains("x-request-id")) {
                (Some("200"), _) => tally.done += 1,
                (_, true) => tally.refused += 1,
                _ => tally.garbled += 1,
            }
        }
        assert_eq!(get(address, "/healthz").status, 200, "after group {group} of seed {seed}");
        user.connect_to(address);
        assert!(user.is_logged_in(), "after group {group} of seed {seed}");
    }
    tally
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures say what the test is worth")]
fn thousands_of_requests_that_are_nearly_right_do_no_harm() {
    let place = Place::new()
        .with("POSTROOM_HEADER_TIMEOUT_SECONDS", "1")
        .with("POSTROOM_BODY_TIMEOUT_SECONDS", "1");
    let server = place.serve();
    let mut bystander = server.user("bystander");
    let letters: Vec<_> = (0..3)
        .map(|number| bystander.send_message(bystander.id, "mine", &number.to_string()))
        .collect();
    let address = server.address;
    let total = thread::scope(|scope| {
        #[expect(clippy::needless_collect, reason = "all begin before one is waited for")]
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                scope.spawn(move || {
                    let mut user = User::register(address, &format!("mutant-{seed}"));
                    let mut spare = User::register(address, &format!("spare-{seed}"));
                    attack(address, seed, &mut user, &mut spare)
                })
            })
            .collect();
        threads.into_iter().fold(Tally::default(), |sum, thread| {
            let tally = thread.join().expect("no request does harm");
            Tally {
                done: sum.done + tally.done,
                refused: sum.refused + tally.refused,
                garbled: sum.garbled + tally.garbled,
            }
        })
    });
    println!("{total:?}");
    let all = total.done + total.refused + total.garbled;
    assert_eq!(all, usize::try_from(THREADS).unwrap() * GROUPS * GROUP);
    // Too many of one kind would mean that the others were hardly tried.
    assert!([total.done, total.refused, total.garbled].iter().all(|part| part * 15 > all));
    bystander.connect_to(address);
    // They may have written to others, and that is all.
    assert_eq!(bystander.unread()[..3], letters);
    for (number, id) in letters.into_iter().enumerate() {
        assert_eq!(bystander.read(id).unwrap().ok()["body"], number.to_string());
    }
    server.is_unharmed();
    server.stop();
    place.is_whole();
}
