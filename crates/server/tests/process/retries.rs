//! Killed in the middle of it, and asked again: a send with a key is done once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use testing::{Response, TIMEOUT, User};

use crate::support::{Place, Random};

const KILLS: usize = 5;
const SENDERS: usize = 4;

/// Somebody who sends a message under each key until it is acknowledged.
struct Stubborn {
    user: User,
    recipient: i64,
    /// What was acknowledged under each key.
    kept: BTreeMap<String, Value>,
    next: usize,
    retried: usize,
}

impl Stubborn {
    fn new(user: User, recipient: i64) -> Self {
        Self { user, recipient, kept: BTreeMap::new(), next: 0, retried: 0 }
    }

    fn key(&self, number: usize) -> String {
        format!("{}-{number}", self.user.name)
    }

    /// Sends one message after the other until there is no answer.
    fn send_on(&mut self, mut kept: impl FnMut()) {
        loop {
            let key = self.key(self.next);
            let Ok(answer) = self.user.send_keyed(self.recipient, &key) else { return };
            assert_eq!(answer.status, 201, "{}", answer.text());
            self.kept.insert(key, answer.json());
            self.next += 1;
            kept();
        }
    }

    /// Asks for everything again: what was acknowledged, and what was not answered.
    fn retries_all(&mut self, address: SocketAddr) {
        self.user.connect_to(address);
        for number in 0..=self.next {
            let key = self.key(number);
            let answer = self.user.send_keyed(self.recipient, &key).expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.text());
            if let Some(first) = self.kept.get(&key) {
                assert!(is_replayed(&answer), "{key} was sent twice");
                assert_eq!(&answer.json(), first, "{key}");
            } else {
                // It may have been sent or not; from now on it has been.
                self.retried += 1;
                self.kept.insert(key, answer.json());
            }
        }
        self.next += 1;
    }
}

fn is_replayed(answer: &Response) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[test]
fn a_send_that_is_asked_for_again_after_a_kill_is_the_same_message() {
    let place = Place::new();
    let server = place.serve();
    let mut recipient = server.user("recipient");
    let senders = server.users((0..SENDERS).map(|number| format!("sender-{number}")));
    let mut senders: Vec<_> =
        senders.into_iter().map(|user| Stubborn::new(user, recipient.id)).collect();
    server.stop();

    let mut random = Random::new(u64::from(std::process::id()));
    for _ in 0..KILLS {
        let server = place.serve();
        let progress = 20 + random.below(60);
        let moment = Duration::from_micros(random.next() % 4000);
        thread::scope(|scope| {
            let (tx, rx) = channel();
            for sender in &mut senders {
                let tx = tx.clone();
                sender.user.connect_to(server.address);
                // When the server is dead nobody listens any more.
                scope.spawn(move || sender.send_on(|| tx.send(()).unwrap_or_default()));
            }
            for _ in 0..progress {
                rx.recv_timeout(TIMEOUT).expect("messages are acknowledged");
            }
            // Not to await anything: to fall into any part of a commit.
            thread::sleep(moment);
            server.kill();
        });
        let server = place.serve();
        for sender in &mut senders {
            sender.retries_all(server.address);
        }
        server.kill();
    }

    let server = place.serve();
    recipient.connect_to(server.address);
    let mut there = BTreeMap::new();
    for id in recipient.inbox() {
        let body = recipient.read(id).expect("an answer").ok()["body"].clone();
        let again = there.insert(body.as_str().expect("it is text").to_owned(), id);
        assert_eq!(again, None, "{body} is there twice");
    }
    let kept = senders.iter().flat_map(|sender| &sender.kept);
    let kept: BTreeMap<_, _> =
        kept.map(|(key, sent)| (key.clone(), sent["id"].as_i64().expect("an id"))).collect();
    assert_eq!(there, kept, "each is there once, under the id that was told");
    let retried: usize = senders.iter().map(|sender| sender.retried).sum();
    assert_eq!(retried, SENDERS * KILLS, "one of each sender was cut off by each kill");
    server.stop();
    place.is_whole();
}
