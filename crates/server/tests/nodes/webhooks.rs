//! Webhooks of several nodes: one of them tells of what happens at any, and another after it.

use std::collections::BTreeMap;

use testing::{Reply, TestEndpoint};

use crate::nodes::{Nodes, cluster, place, poll, url};

/// How often each message was told of.
type Delivered = BTreeMap<i64, Vec<String>>;

/// Hears of each of these messages.
fn hears(endpoint: &TestEndpoint, messages: &[i64]) -> Delivered {
    let mut delivered = Delivered::new();
    while delivered.len() < messages.len() {
        let request = endpoint.next_request();
        let message = request.body()["data"]["message_id"].as_i64().expect("it names one");
        if messages.contains(&message) {
            delivered.entry(message).or_default().push(request.id().to_owned());
        }
    }
    delivered
}

#[test]
fn an_event_is_told_once_by_whichever_node_does_it_and_by_another_after_its_death() {
    let Some(cluster) = cluster() else { return };
    let places = (0..2).map(|_| place(&url(&[cluster.port()])));
    let places = places.map(|place| place.with("POSTROOM_WEBHOOK_ALLOW_HOSTS", "127.0.0.1"));
    let nodes = Nodes::in_places(places.collect());
    let endpoint = TestEndpoint::start();
    let add = ["webhook", "add", &endpoint.url(), "--events", "message.created"];
    nodes.places[0].run(&add).ok();
    let leads = "this node has the lease task=\"webhooks\"";
    let says = |node: usize| nodes.log(node).contains(leads);
    poll("one of them tells", || says(0) || says(1));
    let leader = usize::from(says(1));
    let other = 1 - leader;
    // Each node has to know by itself that somebody wants to be told.
    let (mut ann, mut bob) = (nodes.user(0, "ann"), nodes.user(1, "bob"));
    for sender in [&mut ann, &mut bob] {
        poll("its node knows", || {
            sender.send_message(sender.id, "to myself", "is it told?");
            !endpoint.requests().is_empty()
        });
    }

    let mut sent: Vec<i64> = Vec::new();
    for _ in 0..30 {
        sent.push(ann.send_message(bob.id, "a", "b"));
        sent.push(bob.send_message(ann.id, "a", "b"));
    }
    let delivered = hears(&endpoint, &sent);
    assert!(delivered.values().all(|ids| ids.len() == 1), "twice: {delivered:?}");
    let log = || nodes.places[other].run(&["webhook", "log", "--limit", "1000"]).ok();
    poll("it is written down", || log().lines().all(|line| line.contains("\tdelivered ")));
    assert_eq!(endpoint.requests().len(), 0);

    endpoint.always(Reply::Hangs);
    let mut sender = ann.twin(nodes.address(other));
    let sent: Vec<i64> = (0..30).map(|_| sender.send_message(bob.id, "a", "b")).collect();
    endpoint.next_request();
    nodes.kill(leader);
    endpoint.always(Reply::status(200));
    drop(endpoint.requests());
    let delivered = hears(&endpoint, &sent);
    assert!(delivered.values().all(|ids| ids.len() == 1), "twice: {delivered:?}");
    assert!(says(other));
    nodes.are_well();
}
