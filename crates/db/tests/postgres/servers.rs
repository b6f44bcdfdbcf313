//! Servers that stop, and others that replace them.

use std::fs;
use std::path::Path;
use std::time::Instant;

use db::{Db, Error, Options};
use testing::{Cluster, Proxy};

use crate::{
    BOUND, PATIENCE, assert_all_connections_work, cluster, migrate, note, notes, open, patient,
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

/// Writes until one succeeds, and returns its number.
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
async fn a_stopped_server_is_reported_at_once_and_used_again_later() {
    let Some(cluster) = cluster() else { return };
    migrate(&cluster.url("postgres"));
    let db = open(&cluster.url("postgres"), patient()).unwrap();
    assert_all_connections_work(&db).await;
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
        assert_all_connections_work(&db).await;
    }
    assert_eq!(words(&cluster), ["after the first", "after the second", "first", "second"]);
}

#[tokio::test]
async fn of_several_hosts_the_writable_one_is_used() {
    let Some(primary) = cluster() else { return };
    migrate(&primary.url("postgres"));
    let standby = primary.standby("second");
    primary.make_synchronous(&["second"]);
    let both = address(&[standby.port(), primary.port()]);
    let db = open(&both, patient()).unwrap();
    assert_all_connections_work(&db).await;
    db.write(note("before")).await.unwrap();
    assert_eq!(sessions(&standby), 0, "none stays on the one that is read-only");
    primary.kill();
    standby.promote();
    let after = written(&db, "after").await;
    assert_all_connections_work(&db).await;
    assert_eq!(words(&standby), [after, "before".to_owned()]);
}

#[tokio::test]
async fn a_host_that_accepts_connections_but_never_answers_is_skipped() {
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

/// Two independent servers with the same database, opened at the first.
fn two() -> Option<(Cluster, Cluster, Db)> {
    let (first, second) = (cluster()?, cluster()?);
    migrate(&first.url("postgres"));
    migrate(&second.url("postgres"));
    let options = Options { patience: PATIENCE, ..patient() };
    let db = open(&address(&[first.port(), second.port()]), options).expect("it can be opened");
    Some((first, second, db))
}

#[tokio::test]
async fn all_connections_leave_a_server_that_becomes_read_only() {
    let Some((first, second, db)) = two() else { return };
    assert_all_connections_work(&db).await;
    db.write(note("first")).await.unwrap();
    assert_eq!(words(&first), ["first"]);
    first.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    first.sql("postgres", "SELECT pg_reload_conf()");
    // Idle connections, too, which get no work meanwhile.
    until(|| sessions(&first) == 0);
    db.write(note("second")).await.unwrap();
    assert_eq!(words(&second), ["second"]);
    assert_all_connections_work(&db).await;
    assert_eq!(sessions(&first), 0);
}

#[tokio::test]
async fn all_connections_leave_a_server_that_becomes_a_standby() {
    let Some((first, second, db)) = two() else { return };
    assert_all_connections_work(&db).await;
    db.write(note("first")).await.unwrap();
    let folder = first.sql("postgres", "SHOW data_directory").concat().concat();
    first.stop();
    fs::write(Path::new(&folder).join("standby.signal"), "").unwrap();
    first.start_again();
    let there = written(&db, "second").await;
    assert_eq!(words(&second), [there]);
    assert_all_connections_work(&db).await;
    assert_eq!(sessions(&first), 0);
}
