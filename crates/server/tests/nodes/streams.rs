//! Streams of events over several nodes: what is done at one is told at all.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::{EventStream, Failure, Follower, Goal, Proxy, User};

use crate::letters::{Office, list};
use crate::nodes::{Nodes, cluster, place, url};
use crate::support::until;

const A: usize = 0;
const B: usize = 1;
/// The longest that something may be late, whatever was lost.
const LATE: Duration = Duration::from_secs(5);

/// An open stream, and the copy that is kept by it.
struct Stream {
    follower: Follower,
    events: EventStream,
}

impl Stream {
    /// Opens one at a node, and reads its first event.
    fn open(nodes: &Nodes, node: usize, user: &User) -> Self {
        let mut follower = Follower::of(user);
        follower.last = None;
        let events = follower.open(nodes.address(node)).expect("it is opened");
        let mut stream = Self { follower, events };
        until(LATE, "the first event comes", || stream.read().is_ok());
        stream
    }

    /// Reads the next event, if it comes soon.
    fn read(&mut self) -> Result<String, Failure> {
        self.follower.read(&mut self.events)
    }

    #[track_caller]
    fn has_event_of(&mut self, id: i64, time: Duration) {
        until(time, "there is an event of it", || {
            drop(self.read());
            self.follower.created.contains(&id)
        });
    }

    #[track_caller]
    fn ends(&mut self, time: Duration) {
        until(time, "it ends", || matches!(self.read(), Err(Failure::Closed | Failure::Truncated)));
    }
}

fn logout(user: &mut User, nodes: &Nodes, node: usize) {
    user.connect_to(nodes.address(node));
    user.call("POST", "/users/logout", &Value::Null).expect("an answer").ok();
}

#[test]
fn what_is_sent_at_one_node_is_told_at_another_at_once() {
    const MESSAGES: usize = 20;
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(2, &url(&[cluster.port()]));
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    let mut streams = [A, B].map(|node| Stream::open(&nodes, node, &bob));
    let begun = Instant::now();
    for number in 0..MESSAGES {
        let id = ann.send_message(bob.id, "hello", &format!("number {number}"));
        for stream in &mut streams {
            stream.has_event_of(id, LATE);
        }
    }
    // Were they found by looking every few seconds, it would take a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    logout(&mut bob, &nodes, A);
    for stream in &mut streams {
        stream.ends(LATE);
    }
    nodes.are_well();
}

#[test]
fn a_word_between_nodes_that_is_lost_costs_five_seconds_and_no_event() {
    let Some(cluster) = cluster() else { return };
    let proxy = Proxy::start(cluster.port());
    let notices = url(&[proxy.port()]);
    let place = || place(&url(&[cluster.port()])).with("POSTROOM_DATABASE_NOTICES_URL", &notices);
    let nodes = Nodes::in_places(vec![place(), place()]);
    let (mut ann, mut bob) = (nodes.user(A, "ann"), nodes.user(B, "bob"));
    let mut stream = Stream::open(&nodes, B, &bob);
    let first = ann.send_message(bob.id, "hello", "by the notices");
    stream.has_event_of(first, LATE);
    proxy.black_hole(true);
    for number in 0..3 {
        let id = ann.send_message(bob.id, "hello", &format!("number {number}"));
        stream.has_event_of(id, LATE);
    }
    logout(&mut bob, &nodes, A);
    stream.ends(LATE);
    proxy.black_hole(false);
    nodes.are_well();
}

#[test]
fn of_two_hundred_streams_none_misses_anything_while_nodes_are_killed() {
    const RECIPIENTS: usize = 20;
    const STREAMS: usize = 200;
    const KILLS: usize = 8;
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let mut office = Office::open(&nodes, 6, RECIPIENTS);
    let recipients = office.recipients.iter().cycle().take(STREAMS);
    let mut followers: Vec<_> = recipients.map(Follower::of).collect();
    let goal = Goal::new();
    thread::scope(|scope| {
        for (number, follower) in followers.iter_mut().enumerate() {
            let (goal, nodes) = (&goal, &nodes);
            let at = move |tries| nodes.try_address((number + tries) % nodes.number());
            scope.spawn(move || follower.follow(goal, at));
        }
        office.works(|progress| {
            for round in 0..KILLS {
                let node = round % nodes.number();
                progress.more(40);
                nodes.kill(node);
                progress.more(20);
                nodes.start_again(node);
            }
            progress.more(40);
        });
        let states = office.recipients.iter_mut().map(|recipient| {
            recipient.connect_to(nodes.address(A));
            (recipient.id, recipient.state())
        });
        goal.set(states.collect()).expect("it is set once");
    });
    office.is_in_order();
    let inboxes: BTreeMap<_, Vec<_>> = office
        .recipients
        .iter_mut()
        .map(|user| (user.id, list(user, "inbox").into_iter().map(|(id, ..)| id).collect()))
        .collect();
    let opened: usize = followers.iter().map(|follower| follower.opened).sum();
    for follower in &followers {
        // Nothing is missed, nothing is told twice, and the order is that of the mailbox.
        assert_eq!(follower.created, inboxes[&follower.user], "of {}", follower.user);
        assert_eq!((follower.resets, follower.repeated), (0, 0));
        assert_eq!(usize::try_from(follower.unread), Ok(follower.created.len()));
    }
    assert!(opened > STREAMS, "nobody had to come back");
    nodes.are_well();
}
