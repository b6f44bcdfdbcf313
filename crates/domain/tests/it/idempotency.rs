//! Answers that are kept: whose they are, for how long, and what becomes of them.

use domain::idempotency::{
    self, Holder, KEPT, KeyedRequest, MAX_BYTES, MAX_RESPONSES, StoredResponse,
};
use domain::{Error, Exceeded, Result, Time, UserId, users};
use sha2::{Digest as _, Sha256};

use crate::support::{World, refused};

const ROUTE: &str = "POST /v1/messages";
/// Somebody who is not signed in.
const NOBODY: Holder = Holder::Name([9; 32]);

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

    /// How many responses of how many bytes are counted, for each holder.
    fn counts(&self) -> Vec<(i64, i64, i64)> {
        self.rows("SELECT owner_id, responses, bytes FROM stored_counts ORDER BY owner_id", |row| {
            Ok((row.int(0)?, row.int(1)?, row.int(2)?))
        })
    }

    /// Keeps answers of so many bytes to requests with the keys of these numbers.
    fn keep_many(&self, holder: Holder, keys: std::ops::Range<i64>, bytes: usize) -> Result<()> {
        self.write(move |tx, cx| {
            let answer = vec![7; bytes];
            keys.clone().try_for_each(|key| {
                idempotency::store(tx, cx, &numbered(holder, key), &[7; 16], &answer)
            })
        })
    }
}

fn numbered(holder: Holder, key: i64) -> KeyedRequest {
    KeyedRequest::new(holder, ROUTE, &key.to_string(), b"")
}

fn too_many(retry_after: i64) -> Error {
    let (limit, window_seconds) = (MAX_RESPONSES, KEPT / Time::SECOND);
    Error::TooManyKeys(Exceeded { name: "idempotency-keys", limit, window_seconds, retry_after })
}

/// What is there of an answer that [`World::keep`] kept.
fn kept(answer: &[u8]) -> StoredResponse {
    StoredResponse { response: answer.to_owned(), nonce: [7; 16] }
}

#[test]
fn the_same_request_gets_the_same_answer_and_nonce() {
    let world = World::new();
    let ann = world.user("ann");
    let request = KeyedRequest::new(Holder::User(ann), ROUTE, "key", b"body");
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
    world.keep(KeyedRequest::new(Holder::User(ann), ROUTE, "key", b"body"), b"one").unwrap();
    for body in [b"bodY".as_slice(), b"", b"body "] {
        let other = KeyedRequest::new(Holder::User(ann), ROUTE, "key", body);
        assert_eq!(refused(world.kept(other)), Error::KeyReused);
    }
}

#[test]
fn the_same_key_is_another_one_elsewhere() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let requests = [
        KeyedRequest::new(Holder::User(ann), ROUTE, "key", b"1"),
        KeyedRequest::new(Holder::User(bob), ROUTE, "key", b"2"),
        KeyedRequest::new(NOBODY, ROUTE, "key", b"3"),
        KeyedRequest::new(Holder::User(ann), "POST /v1/tokens", "key", b"4"),
        KeyedRequest::new(Holder::User(ann), ROUTE, "KEY", b"5"),
        // The same letters, divided in another way.
        KeyedRequest::new(Holder::User(ann), "POST /v1/message", "skey", b"6"),
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
    let request = KeyedRequest::new(Holder::User(ann), ROUTE, "key", b"body");
    let other = KeyedRequest::new(Holder::User(ann), ROUTE, "key", b"another body");
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
    let request = KeyedRequest::new(Holder::User(ann), ROUTE, "key", b"body");
    let other = KeyedRequest::new(Holder::User(ann), ROUTE, "key", b"another body");
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
    let requests =
        ["1", "2", "3", "4"].map(|key| KeyedRequest::new(Holder::User(ann), ROUTE, key, b""));
    for request in [requests[3], requests[1], requests[0], requests[2]] {
        world.keep(request, b"an answer").unwrap();
        world.wait(1);
    }
    world.keep(KeyedRequest::new(NOBODY, ROUTE, "1", b""), b"nobody's").unwrap();
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
    world
        .keep(KeyedRequest::new(Holder::User(ann), ROUTE, key, body), b"the answer itself")
        .unwrap();
    let stored = world.stored_bytes();
    let holds = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(holds(b"the answer itself"), "what is looked for would be found");
    assert!(!holds(key.as_bytes()) && !holds(body) && !holds(ROUTE.as_bytes()));
    assert!(!holds(&Sha256::digest(body)), "guesses at the password could be tried");
}

#[test]
fn ten_thousand_answers_are_kept_for_a_user_and_no_more() {
    let world = World::new();
    let (ann, bob) = (Holder::User(world.user("ann")), Holder::User(world.user("bob")));
    world.keep_many(ann, 0..1, 2).unwrap();
    world.wait(Time::HOUR);
    assert_eq!(MAX_RESPONSES, 10_000);
    world.keep_many(ann, 1..MAX_RESPONSES, 2).unwrap();
    let (one, more) = (numbered(ann, 0), numbered(ann, MAX_RESPONSES));
    let wait = 23 * Time::HOUR / Time::SECOND;
    assert_eq!(refused(world.kept(more)), too_many(wait));
    assert_eq!(refused(world.keep(more, b"an answer")), too_many(wait));
    assert_eq!(world.kept_rows(), MAX_RESPONSES, "nothing was changed");
    assert_eq!(world.kept(one), Ok(Some(kept(&[7, 7]))), "a retry gets its answer");
    world.keep(numbered(bob, 0), b"others keep theirs").unwrap();

    // The first one has expired, but is counted until it is purged.
    world.wait(23 * Time::HOUR);
    assert_eq!(refused(world.kept(more)), too_many(60));
    assert_eq!(world.sweep(10), 1);
    assert_eq!(world.kept(more), Ok(None));
    world.keep(more, b"an answer").unwrap();
    assert_eq!(refused(world.kept(one)), too_many(60));
}

#[test]
fn sixteen_mebibytes_of_answers_are_kept_for_a_user_and_no_more() {
    let world = World::new();
    let ann = Holder::User(world.user("ann"));
    assert_eq!(MAX_BYTES, 16 * 1024 * 1024);
    world.keep_many(ann, 0..15, 1024 * 1024).unwrap();
    world.keep_many(ann, 15..16, 1024 * 1024 - 1).unwrap();
    world.keep_many(ann, 16..17, 1).unwrap();
    let day = KEPT / Time::SECOND;
    assert_eq!(refused(world.kept(numbered(ann, 17))), too_many(day));
    assert_eq!(refused(world.keep(numbered(ann, 17), b"1")), too_many(day));
    assert_eq!(world.counts(), [(1, 17, MAX_BYTES)]);
}

#[test]
fn what_is_purged_or_forgotten_or_replaced_is_counted_no_more() {
    let world = World::new();
    let ann = Holder::User(world.user("ann"));
    world.keep_many(ann, 0..3, 10).unwrap();
    world.keep_many(NOBODY, 0..2, 100).unwrap();
    let name = world.counts()[0].0;
    assert_eq!(world.counts(), [(name, 2, 200), (1, 3, 30)]);
    assert!(name < i64::MIN / 2, "{name} is no user and no key");

    world.write(move |tx, _cx| idempotency::forget(tx, &numbered(ann, 1))).unwrap();
    assert_eq!(world.counts()[1], (1, 2, 20));
    world.keep(numbered(ann, 1), b"again").unwrap();
    assert_eq!(world.counts()[1], (1, 3, 25));

    world.wait(KEPT);
    world.keep(numbered(ann, 2), b"a new day").unwrap();
    assert_eq!(world.counts()[1], (1, 3, 24));
    assert_eq!(world.sweep(10), 4);
    assert_eq!(world.counts(), [(1, 1, 9)]);
    world.wait(KEPT);
    assert_eq!((world.sweep(10), world.counts()), (1, vec![]));
}

#[test]
fn a_claim_that_stores_nothing_is_not_counted() {
    let world = World::new();
    let ann = Holder::User(world.user("ann"));
    world.write(move |tx, _cx| idempotency::claim(tx, &numbered(ann, 0))).unwrap();
    assert_eq!(world.counts(), []);
    world.sweep(10);
    assert_eq!((world.kept_rows(), world.counts()), (0, vec![]));
}

#[test]
fn a_server_key_is_counted_in_parts_and_each_one_by_itself() {
    let world = World::new();
    world.keep_many(Holder::ServerKey(3), 0..2000, 1).unwrap();
    world.keep_many(Holder::ServerKey(4), 2000..4000, 1).unwrap();
    let counts = world.counts();
    assert!((300..=512).contains(&counts.len()), "{} parts", counts.len());
    let of_3 = counts.iter().filter(|(holder, ..)| (-1023..=-768).contains(holder));
    assert_eq!(of_3.map(|(_, responses, _)| responses).sum::<i64>(), 2000);
}

#[test]
fn who_is_erased_keeps_no_count_either() {
    let world = World::new();
    let (ann, bob): (UserId, UserId) = (world.user("ann"), world.user("bob"));
    for user in [ann, bob] {
        world.keep_many(Holder::User(user), 0..3, 10).unwrap();
    }
    world.write(move |tx, cx| users::erase(tx, cx, ann)).unwrap();
    assert_eq!((world.kept_rows(), world.counts()), (3, vec![(bob.get(), 3, 30)]));
}

#[test]
fn keeping_an_answer_costs_one_statement_more_than_storing_it() {
    let world = World::new();
    let ann = Holder::User(world.user("ann"));
    for key in 0..2 {
        let (found, stored) = world
            .write(move |tx, cx| {
                let request = numbered(ann, key);
                let before = tx.statements();
                idempotency::find(tx, cx, &request)?;
                let found = tx.statements();
                idempotency::store(tx, cx, &request, &[7; 16], b"an answer")?;
                Ok((found - before, tx.statements() - found))
            })
            .unwrap();
        assert_eq!((found, stored), (1, 2));
    }
}
