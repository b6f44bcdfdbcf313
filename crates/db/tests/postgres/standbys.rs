//! A commit that waits for a standby is not acknowledged before the standby has it.

use std::time::{Duration, Instant};

use db::{Error, Options};
use testing::Cluster;

use crate::{
    BOUND, assert_all_connections_work, cluster, migrate, note, notes, open, patient, until, usual,
};

/// A primary that waits for a missing standby.
fn waiting() -> Option<Cluster> {
    let cluster = cluster()?;
    migrate(&cluster.url("postgres"));
    cluster.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    cluster.restart();
    Some(cluster)
}

#[tokio::test]
async fn without_its_standby_a_commit_is_unknown_in_time() {
    let Some(cluster) = waiting() else { return };
    let db = open(&cluster.url("postgres"), usual()).unwrap();
    let begun = Instant::now();
    let write = db.write(note("ann")).await;
    assert_eq!(write, Err(Error::Unknown));
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert!(db.read(notes).await.is_ok(), "reads go on");
    assert_all_connections_work(&db).await;
}

#[tokio::test]
async fn abandoned_commits_stay_invisible_until_the_standby_has_them() {
    let Some(cluster) = waiting() else { return };
    let patience = Duration::from_secs(1);
    let options = Options { connections: 2, patience, ..Options::default() };
    let db = open(&cluster.url("postgres"), options).unwrap();
    for words in ["ann", "bob"] {
        assert_eq!(db.write(note(words)).await, Err(Error::Unknown));
    }
    until(|| db.stats().waiting == 2);
    // As many commits wait as there are connections: no more are begun, and reads still work.
    let refused = db.write(note("cid")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert_eq!(db.read(notes).await, Ok(vec![]), "they could still be lost");

    cluster.make_synchronous(&[]);
    until(|| db.stats().waiting == 0);
    assert_eq!(db.read(notes).await, Ok(vec!["ann".to_owned(), "bob".to_owned()]));
    assert_eq!(db.write(note("cid")).await, Ok(()));
}

#[tokio::test]
async fn a_commit_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged() {
    let Some(cluster) = waiting() else { return };
    let db = open(&cluster.url("postgres"), patient()).unwrap();
    for how in ["pg_cancel_backend", "pg_terminate_backend"] {
        let writer = db.clone();
        let write = tokio::spawn(async move { writer.write(note(how)).await });
        tokio::task::yield_now().await;
        let end = format!("SELECT {how}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        until(|| !cluster.sql("postgres", &end).is_empty());
        assert_eq!(write.await.unwrap(), Err(Error::Unknown), "after {how}");
    }
    assert_all_connections_work(&db).await;
}
