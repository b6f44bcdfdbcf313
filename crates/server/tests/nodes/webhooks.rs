//! Webhooks of several nodes: one of them tells of what happens at any, and another after it.

use std::collections::BTreeMap;

use crate::nodes::{Nodes, cluster, place, poll, url};
use crate::receiver::{Receiver, Reply};

/// How often each message was told of.
type Told = BTreeMap<i64, Vec<String>>;

/// Hears of each of these messages.
fn hears(receiver: &Receiver, messages: &[i64]) -> Told {
    let mut told = Told::new();
    while told.len() < messages.len() {
        let heard = receiver.hears();
        let message = heard.body()["data"]["message_id"].as_i64().expect("it names one");
        if messages.contains(&message) {
            told.entry(message).or_default().push(heard.id().to_owned());
        }
    }
    told
}

#[test]
fn an_event_is_told_once_by_whichever_node_does_it_and_by_another_after_its_death() {
    let Some(cluster) = cluster() else { return };
    let places = (0..2).map(|_| place(&url(&[cluster.port()])));
    let places = places.map(|place| place.with("POSTROOM_WEBHOOK_ALLOW_HOSTS", "127.0.0.1"));
    let nodes = Nodes::in_places(places.collect());
    let receiver = Receiver::start();
    let add = ["webhook", "add", &receiver.url(), "--events", "message.created"];
    nodes.places[0].run(&add).ok();
    let says = |node: usize| nodes.log(node).contains("this node tells the webhooks");
    poll("one of them tells", || says(0) || says(1));
    let leader = usize::from(says(1));
    let other = 1 - leader;
    // Each node has to know by itself that somebody wants to be told.
    let (mut ann, mut bob) = (nodes.user(0, "ann"), nodes.user(1, "bob"));
    for sender in [&mut ann, &mut bob] {
        poll("its node knows", || {
            sender.sends(sender.id, "to myself", "is it told?");
            !receiver.heard().is_empty()
        });
    }

    let mut sent: Vec<i64> = Vec::new();
    for _ in 0..30 {
        sent.push(ann.sends(bob.id, "a", "b"));
        sent.push(bob.sends(ann.id, "a", "b"));
    }
    let told = hears(&receiver, &sent);
    assert!(told.values().all(|ids| ids.len() == 1), "twice: {told:?}");
    let log = || nodes.places[other].run(&["webhook", "log", "--limit", "1000"]).ok();
    poll("it is written down", || log().lines().all(|line| line.contains("\tdelivered ")));
    assert_eq!(receiver.heard().len(), 0);

    receiver.always(Reply::Hangs);
    let mut sender = ann.twin(nodes.address(other));
    let sent: Vec<i64> = (0..30).map(|_| sender.sends(bob.id, "a", "b")).collect();
    receiver.hears();
    nodes.kill(leader);
    receiver.always(Reply::status(200));
    drop(receiver.heard());
    let told = hears(&receiver, &sent);
    assert!(told.values().all(|ids| ids.len() == 1), "twice: {told:?}");
    assert!(says(other));
    nodes.are_well();
}
