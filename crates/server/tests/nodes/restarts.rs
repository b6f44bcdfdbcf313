//! Nodes that are started, stopped and replaced.

use std::net::TcpStream;
use std::thread;

use testing::User;

use crate::letters::Office;
use crate::nodes::{
    CONNECTIONS, DATABASE, Nodes, cluster, poll, readiness, url, waiting, while_held,
};

#[test]
fn nodes_are_replaced_one_after_the_other_and_no_request_fails() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let mut office = Office::open(&nodes, 6, 3);
    office.may_refuse = false;
    office.works(|progress| {
        for node in [0, 1, 2, 0, 1, 2] {
            progress.more(30);
            let log = nodes.stop(node);
            assert!(!log.contains("dropped"), "{log}");
            progress.more(30);
            nodes.start_again(node);
            let address = nodes.address(node);
            poll("it is ready", || readiness(address).status == 200);
        }
        progress.more(60);
    });
    let found = office.is_in_order();
    assert_eq!(office.refusals(), 0, "{found}");
    nodes.are_well();
}

#[test]
fn nodes_that_start_at_once_over_an_empty_database_all_come_up() {
    let Some(cluster) = cluster() else { return };
    for round in 0..3 {
        let nodes = Nodes::start(4, &url(&[cluster.port()]));
        let mut ann = nodes.user(0, "ann");
        for node in 0..nodes.number() {
            ann.connect_to(nodes.address(node));
            assert!(ann.is_logged_in(), "at node {node}");
            let recipient = ann.id;
            let sent = ann.send_keyed(recipient, &format!("{round}-{node}"));
            assert_eq!(sent.expect("an answer").status, 201);
        }
        nodes.are_well();
        cluster.sql("postgres", &format!("DROP DATABASE {DATABASE}"));
        cluster.sql("postgres", &format!("CREATE DATABASE {DATABASE}"));
    }
}

#[test]
fn a_node_that_stops_finishes_what_it_was_asked() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(1, &url(&[cluster.port()]));
    let mut users: Vec<_> =
        (0..CONNECTIONS).map(|number| nodes.user(0, &format!("somebody-{number}"))).collect();
    let (recipient, address) = (users[0].id, nodes.address(0));
    while_held(&cluster, recipient, |give_free| {
        thread::scope(|scope| {
            let send = |user: &mut User| user.send_keyed(recipient, "last");
            let sends: Vec<_> =
                users.iter_mut().map(|user| scope.spawn(move || send(user))).collect();
            poll("they wait", || waiting(&cluster) == CONNECTIONS);
            let stops = scope.spawn(|| nodes.stop(0));
            poll("it lets nobody in any more", || TcpStream::connect(address).is_err());
            give_free();
            for send in sends {
                let answer = send.join().expect("it does not panic").expect("an answer");
                assert_eq!(answer.status, 201, "{}", answer.text());
            }
            drop(stops.join().expect("it stops in order"));
        });
    });
    nodes.places[0].is_whole();
}
