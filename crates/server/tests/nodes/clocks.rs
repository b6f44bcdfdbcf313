//! Nodes whose clocks are wrong: one is an hour ahead, one an hour behind.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testing::{Cluster, User};

use crate::letters::list;
use crate::nodes::{DATABASE, Nodes, cluster, place, poll, url};
use crate::support::{Place, Server};

const HOUR: i64 = 3600;
/// By how many seconds the clock of each node is wrong.
const WRONG: [i64; 3] = [0, HOUR, -HOUR];
/// What is behind a session when it ends: the days for which it may idle.
const IDLE: &str = "14 * 86400";

/// Builds what makes the clock of a process wrong.
fn build(place: &Place) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nodes/clock.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(place.path("clock.so")).arg(source);
    assert!(cc.status().expect("there is a C compiler, SQLite needs it too").success());
}

fn serve(place: &Place, wrong: i64) -> Server {
    build(place);
    let mut command = place.command(&[]);
    command.env("LD_PRELOAD", place.path("clock.so")).env("CLOCK_WRONG", wrong.to_string());
    place.serve_by(command)
}

fn nodes(cluster: &Cluster, more: impl Fn(Place) -> Place) -> Nodes {
    let places: Vec<_> = WRONG.iter().map(|_| more(place(&url(&[cluster.port()])))).collect();
    let servers = places.iter().zip(WRONG).map(|(place, wrong)| serve(place, wrong)).collect();
    let nodes = Nodes::of(places, servers);
    for node in [1, 2] {
        let told = "this machine's clock is wrong";
        poll("it is told that its clock is wrong", || nodes.log(node).contains(told));
    }
    nodes
}

/// Sets when the sessions of a user were seen last, in seconds before or after the moment at which
/// they end.
fn was_seen(cluster: &Cluster, user: &User, seconds: i64) {
    let set = format!(
        "UPDATE sessions SET last_seen_at =
             ((extract(epoch FROM clock_timestamp()) - {IDLE} + {seconds}) * 1000000)::bigint
         WHERE user_id = {}",
        user.id
    );
    cluster.sql(DATABASE, &set);
}

#[test]
fn the_clock_of_a_node_ends_no_session_too_early_and_none_too_late() {
    let Some(cluster) = cluster() else { return };
    let nodes = nodes(&cluster, |place| place);
    for made in 0..nodes.number() {
        for asked in 0..nodes.number() {
            let mut user = nodes.user(made, &format!("ann-{made}-{asked}"));
            was_seen(&cluster, &user, HOUR / 2);
            user.connect_to(nodes.address(asked));
            assert!(user.is_logged_in(), "made at {made}, it is not over at {asked}");
            let mut user = nodes.user(made, &format!("bob-{made}-{asked}"));
            was_seen(&cluster, &user, -HOUR / 2);
            if made != asked {
                user.connect_to(nodes.address(asked));
                assert!(!user.is_logged_in(), "made at {made}, it is over at {asked}");
            }
        }
    }
    nodes.are_well();
}

#[test]
fn messages_of_nodes_with_different_clocks_are_in_order_and_dated_alike() {
    let Some(cluster) = cluster() else { return };
    let nodes = nodes(&cluster, |place| place);
    let mut ann = nodes.user(0, "ann");
    let recipient = ann.id;
    let mut sent = Vec::new();
    for number in 0..9 {
        ann.connect_to(nodes.address(number % nodes.number()));
        let answer = ann.send_keyed(recipient, &format!("{number}")).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        sent.push(answer.json()["id"].as_i64().expect("an id"));
    }
    assert!(sent.is_sorted());
    for node in 0..nodes.number() {
        ann.connect_to(nodes.address(node));
        let found: Vec<_> = list(&mut ann, "inbox").into_iter().map(|(id, ..)| id).collect();
        assert_eq!(found, sent, "at node {node}");
    }
    let spread = "SELECT max(sent_at) - min(sent_at) < 600 * 1000000::bigint,
                         abs(max(sent_at) / 1000000 - extract(epoch FROM now())) < 600
                  FROM messages";
    assert_eq!(cluster.sql(DATABASE, spread), [["t", "t"]], "minutes, and not an hour");
    let page = ann.call("GET", "/v1/messages?since=2020-01-01T00:00:00Z", &Value::Null);
    let page = page.expect("an answer").ok();
    assert_eq!(page["data"].as_array().map(Vec::len), Some(sent.len()));
    nodes.are_well();
}

#[test]
fn a_limit_of_an_hour_is_not_over_where_the_clock_is_an_hour_ahead() {
    let Some(cluster) = cluster() else { return };
    let nodes = nodes(&cluster, |place| {
        place
            .with("POSTROOM_RATE_LIMITS", "on")
            .with("POSTROOM_SENDS_PER_HOUR", "3")
            .with("POSTROOM_YOUNG_ACCOUNT_DIVISOR", "1")
    });
    let mut ann = nodes.user(0, "ann");
    let recipient = ann.id;
    for number in 0..12 {
        ann.connect_to(nodes.address(number % nodes.number()));
        let answer = ann.send_keyed(recipient, &format!("{number}")).expect("an answer");
        let expected = if number < 3 { 201 } else { 429 };
        assert_eq!(answer.status, expected, "{number}: {}", answer.text());
    }
    nodes.are_well();
}
