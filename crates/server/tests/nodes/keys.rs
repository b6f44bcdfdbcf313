//! Server keys of several nodes: what ends one at a node ends it at all.

use std::time::Duration;

use testing::{Client, Response, User};

use crate::nodes::{Nodes, cluster, url};
use crate::support::until;

/// How long what has ended at one node may be believed at another.
const BELIEVED: Duration = Duration::from_secs(5);

/// A call for a user with a server key.
fn ask(nodes: &Nodes, node: usize, key: &str, user: &User) -> Response {
    let client = Client::new(nodes.address(node));
    let request = client.request("GET", "/v1/messages").bearer(key);
    let request = request.header("postroom-user", user.id.to_string());
    request.wait().expect("an answer")
}

#[test]
fn a_key_that_is_revoked_or_rotated_stops_at_every_node_within_five_seconds() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let ann = nodes.user(0, "ann");
    let run = |arguments: &[&str]| nodes.places[0].run(arguments).ok().trim_end().to_owned();
    let statuses = |key: &str| -> Vec<u16> {
        (0..nodes.number()).map(|node| ask(&nodes, node, key, &ann).status).collect()
    };
    let first = run(&["key", "add", "shop", "--scopes", "act"]);
    assert_eq!(statuses(&first), [200; 3]);
    let second = run(&["key", "rotate", "1", "--overlap", "1h"]);
    assert_eq!((statuses(&first), statuses(&second)), (vec![200; 3], vec![200; 3]));
    let third = run(&["key", "rotate", "1", "--overlap", "0s"]);
    until(BELIEVED, "only the newest holds", || {
        statuses(&first) == [401; 3] && statuses(&second) == [401; 3]
    });
    assert_eq!(statuses(&third), [200; 3]);
    run(&["key", "revoke", "1"]);
    until(BELIEVED, "it holds nowhere", || statuses(&third) == [401; 3]);

    // A user who is deactivated at one node is acted for at none.
    let key = run(&["key", "add", "shop", "--scopes", "act"]);
    assert_eq!(statuses(&key), [200; 3]);
    run(&["user", "disable", "ann"]);
    until(BELIEVED, "nobody acts for her", || statuses(&key) == [403; 3]);
    // What was read at any node is in the log: 3 + 6 + 3 + 3 calls at least.
    let log = || run(&["audit", "--user", &ann.id.to_string(), "--limit", "1000"]);
    until(BELIEVED, "it is in the audit log", || log().lines().count() >= 15);
    assert!(log().lines().all(|line| line.contains("\tshop\tGET /v1/messages\t")), "{}", log());
    nodes.are_well();
}
