//! PostgreSQL is restarted, its sessions are ended, its statements are cancelled, while everybody
//! works: what could not be done is refused, and nothing is left of it afterwards.

use std::thread;

use testing::{Cluster, User};

use crate::letters::{Office, is_a_refusal, list};
use crate::nodes::{DATABASE, Nodes, cluster, poll, url};

/// What an operator does to all sessions of the nodes.
fn to_all(what: &str) -> String {
    format!(
        "SELECT {what}(pid) FROM pg_stat_activity
         WHERE datname = '{DATABASE}' AND pid <> pg_backend_pid()"
    )
}

/// Does something to a server so many times under load, each time after some progress.
fn disturb(cluster: &Cluster, times: usize, mut what: impl FnMut()) {
    let nodes = Nodes::start(2, &url(&[cluster.port()]));
    let mut office = Office::open(&nodes, 6, 2);
    office.works(|progress| {
        for _ in 0..times {
            progress.more(10);
            what();
        }
        progress.more(50);
    });
    assert!(office.refusals() > 0, "nobody was disturbed");
    let found = office.is_in_order();
    assert!(office.senders.iter().all(|sender| sender.moved == 0), "{found}");
    office.has_all_connections(cluster);
    nodes.are_well();
}

#[test]
fn a_restart_of_the_database_is_503_until_it_is_there_again() {
    let Some(cluster) = cluster() else { return };
    disturb(&cluster, 3, || cluster.restart());
}

#[test]
fn sessions_that_are_ended_cost_nothing_but_a_try() {
    let Some(cluster) = cluster() else { return };
    let end = to_all("pg_terminate_backend");
    disturb(&cluster, 40, || drop(cluster.sql("postgres", &end)));
}

#[test]
fn statements_that_are_cancelled_are_refused_and_leave_nothing() {
    let Some(cluster) = cluster() else { return };
    let cancel = to_all("pg_cancel_backend");
    disturb(&cluster, 100, || drop(cluster.sql("postgres", &cancel)));
}

#[test]
fn a_commit_that_no_standby_has_confirmed_is_not_acknowledged_when_its_wait_is_cancelled() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(1, &url(&[cluster.port()]));
    let mut ann = nodes.user(0, "ann");
    let recipient = ann.id;
    // There is none of this name: every commit waits for it.
    cluster.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    let waiting = format!(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
         WHERE datname = '{DATABASE}' AND wait_event = 'SyncRep'"
    );
    let ask = |user: &mut User| user.send_keyed(recipient, "unconfirmed").expect("an answer");
    // The first time it is done; the second time it is found.
    for _ in 0..2 {
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&mut ann));
            // Others wait as well, so it goes on until this one has its answer.
            poll("it is answered", || {
                drop(cluster.sql("postgres", &waiting));
                asked.is_finished()
            });
            let answer = asked.join().expect("it does not panic");
            is_a_refusal(&answer);
            assert!(answer.text().contains("not known"), "{}", answer.text());
        });
    }
    cluster.make_synchronous(&[]);
    let again = ask(&mut ann);
    assert_eq!(again.status, 201, "{}", again.text());
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "it had been written");
    assert_eq!(list(&mut ann, "inbox").len(), 1);
    nodes.are_well();
}
