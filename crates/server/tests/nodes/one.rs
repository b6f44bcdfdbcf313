//! Several nodes are one server: what is done at one of them is done at all.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{PASSWORD, Response, User};

use crate::letters::list;
use crate::nodes::{DATABASE, Nodes, cluster, place, url};
use crate::support::until;

/// How long what has ended at one node may be believed at another.
const BELIEVED: Duration = Duration::from_secs(5);
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

#[track_caller]
fn is_refused_everywhere(nodes: &Nodes, users: &mut [User]) {
    until(BELIEVED, "it is refused everywhere", || {
        (0..nodes.number()).all(|node| {
            users.iter_mut().all(|user| {
                user.connect_to(nodes.address(node));
                !user.is_logged_in()
            })
        })
    });
}

/// Asserts that the sessions hold everywhere, and has every node remember them.
#[track_caller]
fn holds_everywhere(nodes: &Nodes, users: &mut [User]) {
    for node in 0..nodes.number() {
        for user in &mut *users {
            user.connect_to(nodes.address(node));
            assert!(user.is_logged_in(), "{} at node {node}", user.name);
        }
    }
}

#[test]
fn what_is_sent_at_one_node_is_read_at_another_and_deleted_at_a_third() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    let id = ann.send_message(bob.id, "hello", "from the first");
    bob.connect_to(nodes.address(B));
    assert_eq!(bob.unread(), [id]);
    let read = bob.read(id).expect("an answer").ok();
    assert_eq!((&read["subject"], &read["body"]), (&json!("hello"), &json!("from the first")));
    for node in [C, A, B] {
        bob.connect_to(nodes.address(node));
        assert_eq!((bob.unread(), bob.inbox()), (vec![], vec![id]), "at node {node}");
    }
    bob.connect_to(nodes.address(C));
    bob.delete(id).expect("an answer").ok();
    for node in [A, B, C] {
        bob.connect_to(nodes.address(node));
        assert_eq!(bob.inbox(), [0; 0], "at node {node}");
        assert_eq!(bob.read(id).expect("an answer").status, 404);
    }
    nodes.are_well();
}

#[test]
fn a_session_holds_at_every_node_and_ends_at_every_node() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    // The CSRF token is of one node, the account of another, the session of a third.
    let mut ann = User::visitor(nodes.address(A), "ann");
    ann.connect_to(nodes.address(B));
    let account = json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD });
    ann.call("POST", "/users/register", &account).expect("an answer").ok();
    ann.connect_to(nodes.address(C));
    ann.login(PASSWORD);
    let mut sessions = [ann];
    holds_everywhere(&nodes, &mut sessions);
    let [ann] = &mut sessions;
    ann.connect_to(nodes.address(B));
    ann.call("POST", "/users/logout", &Value::Null).expect("an answer").ok();
    is_refused_everywhere(&nodes, &mut sessions);
    nodes.are_well();
}

#[test]
fn another_password_ends_the_other_sessions_at_every_node() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let mut ann = nodes.user(A, "ann");
    let mut others = [B, C].map(|node| {
        let mut other = User::visitor(nodes.address(node), "ann");
        other.login(PASSWORD);
        other
    });
    holds_everywhere(&nodes, &mut others);
    ann.connect_to(nodes.address(A));
    let change = json!({ "current_password": PASSWORD, "new_password": "another-7-ladder" });
    let changed = ann.call("POST", "/v1/users/me/password", &change).expect("an answer");
    changed.expect(204);
    is_refused_everywhere(&nodes, &mut others);
    holds_everywhere(&nodes, &mut [ann]);
    let [mut other, _] = others;
    assert_eq!(other.try_login(PASSWORD).status, 401);
    other.login("another-7-ladder");
    nodes.are_well();
}

#[test]
fn who_is_erased_at_one_node_is_gone_at_all() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    ann.send_message(bob.id, "hello", "before");
    let recipient = ann.id;
    let mut sessions = [ann];
    holds_everywhere(&nodes, &mut sessions);
    let [ann] = &mut sessions;
    ann.connect_to(nodes.address(A));
    let erased = ann.call("DELETE", "/v1/users/me", &Value::Null).expect("an answer");
    assert_eq!(erased.status, 204, "{}", erased.text());
    for node in [B, C, A] {
        bob.connect_to(nodes.address(node));
        let refused = bob.send_keyed(recipient, "after").expect("an answer");
        assert!((400..500).contains(&refused.status), "{}", refused.text());
        assert_eq!(bob.inbox().len(), 1, "what others have stays");
    }
    is_refused_everywhere(&nodes, &mut sessions);
    nodes.are_well();
}

#[test]
fn a_key_that_was_used_at_one_node_gives_the_same_answer_at_another() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    let first = ann.send_keyed(bob.id, "once").expect("an answer");
    assert_eq!(first.status, 201, "{}", first.text());
    for node in [B, C, A] {
        ann.connect_to(nodes.address(node));
        let again = ann.send_keyed(bob.id, "once").expect("an answer");
        assert_eq!((again.status, &again.body), (201, &first.body), "{}", again.text());
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let recipient = ann.id;
        let other = ann.send_keyed(recipient, "once").expect("an answer");
        assert_eq!(other.json()["code"], "idempotency_key_reused", "{}", other.text());
    }
    assert_eq!(list(&mut bob, "inbox").len(), 1);
    nodes.are_well();
}

#[test]
fn of_two_nodes_that_are_asked_at_once_under_one_key_one_does_it() {
    const ROUNDS: usize = 40;
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(2, &url(&[cluster.port()]));
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    let (mut twin, recipient) = (ann.twin(nodes.address(B)), bob.id);
    let barrier = Barrier::new(2);
    let ask = |user: &mut User| -> Vec<Response> {
        let asked = (0..ROUNDS).map(|round| {
            barrier.wait();
            user.send_keyed(recipient, &format!("round-{round}")).expect("an answer")
        });
        asked.collect()
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(|| ask(&mut twin));
        (ask(&mut ann), other.join().expect("it does not panic"))
    });
    for both in one.iter().zip(&other) {
        let both = [both.0, both.1];
        let created: Vec<_> = both.iter().filter(|answer| answer.status == 201).collect();
        let bodies: BTreeSet<_> = created.iter().map(|answer| &answer.body).collect();
        assert_eq!(bodies.len(), 1, "one answer: {both:?}");
        let replayed = |answer: &&&&Response| answer.header("idempotency-replayed").is_some();
        assert_eq!(created.len() - created.iter().filter(replayed).count(), 1, "{both:?}");
        for answer in both.iter().filter(|answer| answer.status != 201) {
            assert_eq!(answer.status, 409, "{}", answer.text());
        }
    }
    assert_eq!(list(&mut bob, "inbox").len(), ROUNDS);
    nodes.are_well();
}

#[test]
fn limits_are_counted_over_all_nodes() {
    const LIMIT: usize = 6;
    let Some(cluster) = cluster() else { return };
    let place = || {
        place(&url(&[cluster.port()]))
            .with("POSTROOM_RATE_LIMITS", "on")
            .with("POSTROOM_SENDS_PER_HOUR", &LIMIT.to_string())
            .with("POSTROOM_YOUNG_ACCOUNT_DIVISOR", "1")
    };
    let nodes = Nodes::in_places((0..3).map(|_| place()).collect());
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    for number in 0..=LIMIT {
        ann.connect_to(nodes.address(number % nodes.number()));
        let answer = ann.send(bob.id, "hello", "again").expect("an answer");
        assert_eq!(answer.status, if number < LIMIT { 200 } else { 429 }, "{}", answer.text());
    }
    // All at once, everywhere.
    let recipient = ann.id;
    let mut twins: Vec<_> =
        (0..4 * LIMIT).map(|number| bob.twin(nodes.address(number % nodes.number()))).collect();
    let statuses: Vec<_> = thread::scope(|scope| {
        let send = |twin: &mut User| twin.send(recipient, "hello", "at once").expect("an answer");
        let sends: Vec<_> =
            twins.iter_mut().map(|twin| scope.spawn(move || send(twin).status)).collect();
        sends.into_iter().map(|send| send.join().expect("it does not panic")).collect()
    });
    let sent = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(sent, LIMIT, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    bob.connect_to(nodes.address(C));
    assert_eq!(bob.inbox().len(), LIMIT);
    // The door as well: wrong passwords count wherever they are tried.
    let mut thief = User::visitor(nodes.address(A), "ann");
    let tries = (0..100).position(|number| {
        thief.connect_to(nodes.address(number % nodes.number()));
        thief.try_login("wrong").status == 429
    });
    assert_eq!(tries, Some(10), "as many as at one node");
    nodes.are_well();
}

#[test]
fn ten_thousand_responses_are_stored_for_a_user_whichever_nodes_are_asked() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    let first = ann.send_keyed(bob.id, "first").expect("an answer");
    assert_eq!(first.status, 201, "{}", first.text());
    let (free, of_ann) = (5, ann.id);
    let more = 10_000 - 1 - free;
    let fill = format!(
        "INSERT INTO stored_responses
         SELECT {of_ann}, sha256(number::text::bytea), '', '', 'x', 1::bigint << 62, {of_ann}
         FROM generate_series(1, {more}) AS number;
         UPDATE stored_counts SET responses = responses + {more}, bytes = bytes + {more}
         WHERE owner_id = {of_ann}"
    );
    cluster.sql(DATABASE, &fill);
    let recipient = bob.id;
    let mut twins: Vec<_> =
        (0..4 * free).map(|number| ann.twin(nodes.address(number % nodes.number()))).collect();
    let statuses: Vec<_> = thread::scope(|scope| {
        let send = |(number, twin): (usize, &mut User)| {
            twin.send_keyed(recipient, &format!("key-{number}")).expect("an answer").status
        };
        let sends: Vec<_> = twins
            .iter_mut()
            .enumerate()
            .map(|numbered| scope.spawn(move || send(numbered)))
            .collect();
        sends.into_iter().map(|send| send.join().expect("it does not panic")).collect()
    });
    let sent = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(sent, free, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 429].contains(status)), "{statuses:?}");
    for node in [A, B, C] {
        ann.connect_to(nodes.address(node));
        let refused = ann.send_keyed(recipient, "one-more").expect("an answer");
        assert_eq!(refused.json()["code"], "too_many_keys", "{}", refused.text());
        let again = ann.send_keyed(recipient, "first").expect("an answer");
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{}", again.text());
    }
    assert_eq!(list(&mut bob, "inbox").len(), 1 + free);
    nodes.are_well();
}

#[test]
fn strangers_keep_nobody_out_at_any_node_nor_after_a_restart() {
    let Some(cluster) = cluster() else { return };
    let place = || {
        place(&url(&[cluster.port()]))
            .with("POSTROOM_RATE_LIMITS", "on")
            .with("POSTROOM_TRUSTED_PROXIES", "127.0.0.1")
    };
    let nodes = Nodes::in_places((0..3).map(|_| place()).collect());
    let from = |user: User, address: &str| {
        let client = user.client.with_header("x-forwarded-for", address);
        User { client, ..user }
    };
    let mut ann = from(nodes.user(A, "ann"), "192.0.2.7");
    ann.login(PASSWORD);
    for number in 0..10 {
        let guess = User::visitor(nodes.address(number % nodes.number()), "ann");
        let mut guess = from(guess, &format!("198.51.100.{number}"));
        assert_eq!(guess.try_login("wrong").status, 401);
    }
    nodes.stop(B);
    nodes.start_again(B);
    let mut stranger = from(User::visitor(nodes.address(B), "ann"), "198.51.100.77");
    assert_eq!(stranger.try_login(PASSWORD).status, 429);
    for node in [A, B, C] {
        ann.connect_to(nodes.address(node));
        ann.login(PASSWORD);
    }
    nodes.are_well();
}
