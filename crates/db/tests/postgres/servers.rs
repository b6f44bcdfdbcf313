//! Servers that stop, and others that are to be used instead.

use std::fs;
use std::path::Path;
use std::time::Instant;

use db::{Db, Error, Options};
use testing::{Cluster, Proxy};

use crate::{
    BOUND, PATIENCE, assert_all_slots_are_there, cluster, migrate, note, notes, open, patient,
    until, usual,
};

/// The address of the same database on several servers.
fn address(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/postgres", hosts.join(","))
}

fn words(cluster: &Cluster) -> Vec<String> {
    cluster.sql("postgres", "SELECT words FROM notes ORDER BY words").concat()
}

fn sessions(cluster: &Cluster) -> usize {
    let ours = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'postroom'";
    cluster.sql("postgres", ours).len()
}

/// Writes until it is possible, and says at which number it was.
async fn written(db: &Db, name: &str) -> String {
    let begun = Instant::now();
    for number in 0.. {
        let words = format!("{name} {number}");
        match db.write(note(&*words)).await {
            Ok(()) => return words,
            Err(Error::Unavailable(_)) => assert!(begun.elapsed() < PATIENCE, "it never was"),
            Err(error) => panic!("{error:?}"),
        }
    }
    unreachable!("it ends with one of them")
}

#[tokio::test]
async fn a_server_that_is_stopped_is_said_at_once_and_used_again_when_it_is_back() {
    let Some(cluster) = cluster() else { return };
    migrate(&cluster.url("postgres"));
    let db = open(&cluster.url("postgres"), patient()).unwrap();
    assert_all_slots_are_there(&db).await;
    for round in ["first", "second"] {
        db.write(note(round)).await.unwrap();
        cluster.stop();
        let begun = Instant::now();
        let write = db.write(note("nowhere")).await;
        assert!(matches!(write, Err(Error::Unavailable(_))), "{write:?}");
        let read = db.read(notes).await;
        assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
        assert!(matches!(db.scan(notes).await, Err(Error::Unavailable(_))));
        assert!(begun.elapsed() < patient().patience, "it was waited for");
        let again = open(&cluster.url("postgres"), patient()).err();
        assert!(matches!(again, Some(Error::Unavailable(_))), "{again:?}");
        cluster.start_again();
        assert_eq!(db.write(note(format!("after the {round}"))).await, Ok(()), "at once");
        assert_all_slots_are_there(&db).await;
    }
    assert_eq!(words(&cluster), ["after the first", "after the second", "first", "second"]);
}

#[tokio::test]
async fn of_several_hosts_the_one_that_can_be_written_to_is_used() {
    let Some(primary) = cluster() else { return };
    migrate(&primary.url("postgres"));
    let standby = primary.standby("second");
    primary.make_synchronous(&["second"]);
    let both = address(&[standby.port(), primary.port()]);
    let db = open(&both, patient()).unwrap();
    assert_all_slots_are_there(&db).await;
    db.write(note("before")).await.unwrap();
    assert_eq!(sessions(&standby), 0, "none stays on the one that is read-only");
    primary.kill();
    standby.promote();
    let after = written(&db, "after").await;
    assert_all_slots_are_there(&db).await;
    assert_eq!(words(&standby), [after, "before".to_owned()]);
}

#[tokio::test]
async fn a_host_that_takes_connections_and_says_nothing_is_passed_over() {
    let Some(cluster) = cluster() else { return };
    migrate(&cluster.url("postgres"));
    let silent = Proxy::start(cluster.port());
    silent.black_hole(true);
    let begun = Instant::now();
    let both = address(&[silent.port(), cluster.port()]);
    let db = open(&both, usual()).expect("the second answers");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(db.write(note("ann")).await, Ok(()));
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

/// Two servers that know nothing of each other, the same database on both, open at the first.
fn two() -> Option<(Cluster, Cluster, Db)> {
    let (first, second) = (cluster()?, cluster()?);
    migrate(&first.url("postgres"));
    migrate(&second.url("postgres"));
    let options = Options { patience: PATIENCE, ..patient() };
    let db = open(&address(&[first.port(), second.port()]), options).expect("it can be opened");
    Some((first, second, db))
}

#[tokio::test]
async fn a_server_that_is_turned_read_only_is_left_by_all_connections() {
    let Some((first, second, db)) = two() else { return };
    assert_all_slots_are_there(&db).await;
    db.write(note("first")).await.unwrap();
    assert_eq!(words(&first), ["first"]);
    first.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    first.sql("postgres", "SELECT pg_reload_conf()");
    // Idle ones too: nothing is asked of them meanwhile.
    until(|| sessions(&first) == 0);
    db.write(note("second")).await.unwrap();
    assert_eq!(words(&second), ["second"]);
    assert_all_slots_are_there(&db).await;
    assert_eq!(sessions(&first), 0);
}

#[tokio::test]
async fn a_server_that_comes_back_as_a_standby_is_left_by_all_connections() {
    let Some((first, second, db)) = two() else { return };
    assert_all_slots_are_there(&db).await;
    db.write(note("first")).await.unwrap();
    let folder = first.sql("postgres", "SHOW data_directory").concat().concat();
    first.stop();
    fs::write(Path::new(&folder).join("standby.signal"), "").unwrap();
    first.start_again();
    let there = written(&db, "second").await;
    assert_eq!(words(&second), [there]);
    assert_all_slots_are_there(&db).await;
    assert_eq!(sessions(&first), 0);
}
