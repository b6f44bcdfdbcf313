//! Answers that are kept: whose they are, for how long, and what becomes of them.

use domain::idempotency::{self, KEPT, KeyedRequest, StoredResponse};
use domain::{Error, Result, Time};
use sha2::{Digest as _, Sha256};

use crate::support::{World, refused};

const ROUTE: &str = "POST /v1/messages";

impl World {
    fn kept(&self, request: KeyedRequest) -> Result<Option<StoredResponse>> {
        self.write(move |tx, cx| idempotency::find(tx, cx, &request))
    }

    fn keep(&self, request: KeyedRequest, answer: &'static [u8]) -> Result<()> {
        self.write(move |tx, cx| idempotency::store(tx, cx, &request, &[7; 16], answer))
    }

    fn sweep(&self, limit: i64) -> u64 {
        self.write(move |tx, cx| idempotency::purge(tx, cx, limit)).expect("it never fails")
    }

    fn kept_rows(&self) -> i64 {
        self.number("SELECT count(*) FROM stored_responses")
    }
}

/// What is there of an answer that [`World::keep`] kept.
fn kept(answer: &[u8]) -> StoredResponse {
    StoredResponse { response: answer.to_owned(), nonce: [7; 16] }
}

#[test]
fn the_same_request_gets_the_same_answer_and_nonce() {
    let world = World::new();
    let ann = world.user("ann");
    let request = KeyedRequest::new(Some(ann), ROUTE, "key", b"body");
    assert_eq!(world.kept(request), Ok(None));
    let all: &[u8] = &[0, 255, b'"', b'\n', 0];
    let nonce = std::array::from_fn(|index| u8::try_from(index).expect("it is below 16"));
    world.write(move |tx, cx| idempotency::store(tx, cx, &request, &nonce, all)).unwrap();
    for _ in 0..2 {
        assert_eq!(
            world.kept(request),
            Ok(Some(StoredResponse { response: all.to_owned(), nonce }))
        );
    }
}

#[test]
fn a_key_with_another_body_is_refused() {
    let world = World::new();
    let ann = world.user("ann");
    world.keep(KeyedRequest::new(Some(ann), ROUTE, "key", b"body"), b"one").unwrap();
    for body in [b"bodY".as_slice(), b"", b"body "] {
        let other = KeyedRequest::new(Some(ann), ROUTE, "key", body);
        assert_eq!(refused(world.kept(other)), Error::KeyReused);
    }
}

#[test]
fn the_same_key_is_another_one_elsewhere() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let requests = [
        KeyedRequest::new(Some(ann), ROUTE, "key", b"1"),
        KeyedRequest::new(Some(bob), ROUTE, "key", b"2"),
        KeyedRequest::new(None, ROUTE, "key", b"3"),
        KeyedRequest::new(Some(ann), "POST /v1/tokens", "key", b"4"),
        KeyedRequest::new(Some(ann), ROUTE, "KEY", b"5"),
        // The same letters, divided in another way.
        KeyedRequest::new(Some(ann), "POST /v1/message", "skey", b"6"),
    ];
    let texts: [&'static [u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
    for (request, text) in requests.into_iter().zip(texts) {
        assert_eq!(world.kept(request), Ok(None));
        world.keep(request, text).unwrap();
    }
    for (request, text) in requests.into_iter().zip(texts) {
        assert_eq!(world.kept(request), Ok(Some(kept(text))));
    }
}

#[test]
fn an_answer_is_kept_for_a_day_to_the_microsecond() {
    let world = World::new();
    let ann = world.user("ann");
    let request = KeyedRequest::new(Some(ann), ROUTE, "key", b"body");
    let other = KeyedRequest::new(Some(ann), ROUTE, "key", b"another body");
    assert_eq!(KEPT, 24 * Time::HOUR);
    world.keep(request, b"one").unwrap();
    world.wait(KEPT - 1);
    assert_eq!(world.kept(request), Ok(Some(kept(b"one"))));
    assert_eq!(refused(world.kept(other)), Error::KeyReused);
    world.wait(1);
    assert_eq!(world.kept(request), Ok(None));
    assert_eq!(world.kept(other), Ok(None), "the key is free again");
}

#[test]
fn what_has_expired_is_replaced_and_what_has_not_never_is() {
    let world = World::new();
    let ann = world.user("ann");
    let request = KeyedRequest::new(Some(ann), ROUTE, "key", b"body");
    let other = KeyedRequest::new(Some(ann), ROUTE, "key", b"another body");
    world.keep(request, b"one").unwrap();
    world.wait(KEPT - 1);
    for late in [request, other] {
        assert_eq!(refused(world.keep(late, b"two")), Error::Db(db::Error::Busy));
    }
    assert_eq!(world.kept(request), Ok(Some(kept(b"one"))));
    world.wait(1);
    world.keep(other, b"two").unwrap();
    assert_eq!(world.kept(other), Ok(Some(kept(b"two"))));
    assert_eq!(refused(world.kept(request)), Error::KeyReused);
    assert_eq!(world.kept_rows(), 1);
    world.wait(KEPT - 1);
    assert_eq!(world.kept(other), Ok(Some(kept(b"two"))), "its day began again");
}

#[test]
fn what_has_expired_is_swept_in_steps_the_oldest_first() {
    let world = World::new();
    let ann = world.user("ann");
    let requests = ["1", "2", "3", "4"].map(|key| KeyedRequest::new(Some(ann), ROUTE, key, b""));
    for request in [requests[3], requests[1], requests[0], requests[2]] {
        world.keep(request, b"an answer").unwrap();
        world.wait(1);
    }
    world.keep(KeyedRequest::new(None, ROUTE, "1", b""), b"nobody's").unwrap();
    world.wait(KEPT - 5);
    assert_eq!(world.sweep(10), 0);
    world.wait(1);
    assert_eq!(world.sweep(10), 1);
    world.wait(2);
    assert_eq!((world.sweep(1), world.kept_rows()), (1, 3));
    world.wait(-2);
    let there = requests.map(|request| world.kept(request).unwrap().is_some());
    assert_eq!(there, [true, false, true, false]);
    world.wait(3);
    assert_eq!((world.sweep(2), world.kept_rows()), (2, 1));
    world.wait(1);
    assert_eq!((world.sweep(2), world.kept_rows()), (1, 0));
    assert_eq!(world.sweep(2), 0);
}

#[test]
fn neither_the_key_nor_the_request_is_stored() {
    let world = World::new();
    let ann = world.user("ann");
    let (key, body) = ("the-key-of-ann", b"a password in a body");
    world.keep(KeyedRequest::new(Some(ann), ROUTE, key, body), b"the answer itself").unwrap();
    let stored = world.stored_bytes();
    let holds = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(holds(b"the answer itself"), "what is looked for would be found");
    assert!(!holds(key.as_bytes()) && !holds(body) && !holds(ROUTE.as_bytes()));
    assert!(!holds(&Sha256::digest(body)), "guesses at the password could be tried");
}
