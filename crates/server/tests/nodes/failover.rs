//! The primary is lost, and its standby takes its place.

use std::time::{Duration, Instant};

use testing::Cluster;

use crate::letters::Office;
use crate::nodes::{DATABASE, Nodes, cluster, poll, readiness, sessions, url};
use crate::support::until;

/// How long all nodes may take to write again after the promotion.
const BACK: Duration = Duration::from_secs(10);

/// How many sessions of nodes a server has.
fn nodes_on(server: &Cluster) -> usize {
    sessions(server, "application_name = 'postroom'")
}

/// Lets a server that was killed come back as what it is told by a file: read-only, and behind.
fn comes_back_as_a_standby(folder: &str, server: &Cluster) {
    std::fs::write(format!("{folder}/standby.signal"), "").expect("it can be written");
    server.start_again();
    assert_eq!(server.sql("postgres", "SHOW transaction_read_only"), [["on"]]);
}

#[test]
fn a_promoted_standby_has_all_that_was_acknowledged_and_every_node_goes_on_with_it() {
    let Some(primary) = cluster() else { return };
    // Before the standby is made, as an operator has it: the standby inherits the setting.
    primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (second)'");
    let standby = primary.standby("second");
    primary.make_synchronous(&["second"]);
    let folder = primary.sql("postgres", "SHOW data_directory")[0][0].clone();
    let nodes = Nodes::start(3, &url(&[primary.port(), standby.port()]));
    let mut probes: Vec<_> =
        (0..nodes.number()).map(|node| nodes.user(node, &format!("probe-{node}"))).collect();
    let mut office = Office::open(&nodes, 9, 3);

    office.works(|progress| {
        progress.more(200);
        primary.kill();
        standby.promote();
        let promoted = Instant::now();
        // It waits for a standby that it does not have, as the one before it did.
        until(BACK, "a commit waits", || sessions(&standby, "wait_event = 'SyncRep'") > 0);
        standby.make_synchronous(&[]);
        for (node, probe) in probes.iter_mut().enumerate() {
            until(BACK.saturating_sub(promoted.elapsed()), "a node writes again", || {
                let recipient = probe.id;
                let sent = probe.send_keyed(recipient, &format!("probe-{node}"));
                sent.expect("an answer").status == 201
            });
        }
        progress.more(200);

        // The server that is lost stands first in the address.
        comes_back_as_a_standby(&folder, &primary);
        progress.more(50);
        assert!(standby.terminate_backends(DATABASE) > 0);
        progress.more(100);
        poll("no node stays on a server that is read-only", || nodes_on(&primary) == 0);
        progress.more(50);
    });
    assert!(office.refusals() > 0, "nobody noticed that the primary was gone");
    let found = office.is_in_order();
    assert!(office.senders.iter().all(|sender| sender.moved == 0), "{found}");
    for node in 0..nodes.number() {
        assert_eq!(readiness(nodes.address(node)).status, 200);
    }
    office.has_all_connections(&standby);
    poll("no node is on a server that is read-only", || nodes_on(&primary) == 0);
    assert!(nodes_on(&standby) > 0);
    nodes.are_well();
}

#[test]
fn a_server_that_is_made_read_only_is_left_by_those_who_do_nothing_as_well() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(2, &url(&[cluster.port()]));
    let mut ann = nodes.user(0, "ann");
    let recipient = ann.id;
    assert!(nodes_on(&cluster) > 0);
    cluster.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    poll("nobody stays", || nodes_on(&cluster) == 0);
    for node in 0..nodes.number() {
        let answer = readiness(nodes.address(node));
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
    }
    let reset = "SET default_transaction_read_only = off;
                 ALTER SYSTEM RESET default_transaction_read_only";
    for statement in reset.split(';') {
        drop(cluster.sql("postgres", statement));
    }
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    for node in 0..nodes.number() {
        ann.connect_to(nodes.address(node));
        poll("it can be written to again", || {
            let sent = ann.send_keyed(recipient, &format!("again-{node}"));
            sent.expect("an answer").status == 201
        });
    }
    nodes.are_well();
}
