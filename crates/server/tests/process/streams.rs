//! Clients that keep a copy of a mailbox by its events, while the server is killed again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use testing::{Failure, Follower, Goal, TIMEOUT, User};

use crate::support::{Place, until};

const KILLS: usize = 5;
const FOLLOWERS: usize = 4;

/// Sends to bob, and as bob marks and deletes what came, until there is no answer.
fn work(ann: &mut User, bob: &mut User, done: &AtomicUsize) -> Result<(), Failure> {
    loop {
        let number = done.fetch_add(1, SeqCst);
        ann.send(bob.id, "hello", &format!("number {number}"))?.ok();
        let inbox = bob.list("/messages/messages_per_receiver")?;
        let Some(id) = inbox.get(number % inbox.len().max(1)) else { continue };
        let path = format!("/v1/messages/{id}");
        let mut mark =
            |marks: Value| bob.call("PATCH", &path, &marks).map(|answer| drop(answer.ok()));
        match number % 7 {
            0 | 1 => mark(json!({ "read": true }))?,
            2 => mark(json!({ "starred": true, "read": false }))?,
            3 => mark(json!({ "archived": true }))?,
            4 => mark(json!({ "trashed": true }))?,
            5 => {
                let gone = bob.call("DELETE", &path, &Value::Null)?;
                assert_eq!(gone.status, 204, "{}", gone.text());
            }
            _ => {}
        }
    }
}

/// All that a mailbox holds, as its lists show it.
fn everything(user: &mut User) -> BTreeMap<i64, Value> {
    let mut all = BTreeMap::new();
    for name in ["all", "trash"] {
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/messages?folder={name}&limit=100{cursor}");
            let page = user.call("GET", &path, &Value::Null).expect("an answer");
            let page = page.json();
            for item in page["data"].as_array().expect("a list") {
                all.insert(item["id"].as_i64().expect("an id"), item.clone());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    all
}

#[test]
fn a_stream_outlives_the_time_that_a_request_has_and_says_that_it_lives() {
    let place = Place::new()
        .with("POSTROOM_HEADER_TIMEOUT_SECONDS", "1")
        .with("POSTROOM_BODY_TIMEOUT_SECONDS", "1");
    let server = place.serve();
    let ann = server.user("ann");
    let mut follower = Follower::of(&ann);
    let mut stream = follower.open(server.address).expect("it is opened");
    let mut pings = 0;
    while pings < 2 {
        match follower.read(&mut stream) {
            Ok(name) => pings += usize::from(name == "ping"),
            Err(failure) => assert_eq!(failure, Failure::TimedOut),
        }
    }
    // To stop, it waits for no stream.
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < TIMEOUT / 2, "{:?}", begun.elapsed());
}

#[test]
fn a_copy_that_is_kept_by_events_is_the_mailbox_whatever_is_killed() {
    let place = Place::new();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let mut followers: Vec<_> = (0..FOLLOWERS).map(|_| Follower::of(&bob)).collect();
    let (goal, done) = (Goal::new(), AtomicUsize::new(0));
    let address: Mutex<Option<SocketAddr>> = Mutex::new(Some(server.address));
    let at = |address: &Mutex<Option<SocketAddr>>| *address.lock().expect("nobody panicked");
    let mut server = Some(server);
    thread::scope(|scope| {
        for follower in &mut followers {
            scope.spawn(|| follower.follow(&goal, |_tries| at(&address)));
        }
        for _ in 0..KILLS {
            let enough = done.load(SeqCst) + 60;
            thread::scope(|round| {
                let (ann, bob, done) = (&mut ann, &mut bob, &done);
                round.spawn(move || work(ann, bob, done).expect_err("the server is killed"));
                until(TIMEOUT, "there is progress", || done.load(SeqCst) >= enough);
                *address.lock().expect("nobody panicked") = None;
                server.take().expect("it runs").kill();
            });
            let again = place.serve();
            ann.connect_to(again.address);
            bob.connect_to(again.address);
            *address.lock().expect("nobody panicked") = Some(again.address);
            server = Some(again);
        }
        goal.set([(bob.id, bob.state())].into()).expect("it is set once");
    });
    let there = everything(&mut bob);
    for follower in &followers {
        assert!(follower.copy == there, "{} and {}", follower.copy.len(), there.len());
        assert_eq!((follower.resets, follower.repeated), (0, 0));
        assert!(follower.created.is_sorted_by(|one, next| one < next), "twice, or out of order");
        assert!(follower.opened > KILLS, "it came back each time");
    }
    server.take().expect("it runs").stop();
    place.is_whole();
}
