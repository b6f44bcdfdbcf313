//! The single writer: writes run in the order of their calls, and share commits.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use db::{Error, Notice, Owner, Result, Tx};
use tokio::time::timeout;

use super::names;
use crate::writes::until_shared;
use crate::{Fresh, PATIENCE, add, all, asked, close_while_300_wait, count, hold};

#[tokio::test]
async fn a_write_returns_the_result_of_the_run_that_was_committed() {
    until_shared(async |fresh| {
        let go = hold(&fresh.db);
        let mut waiting = Vec::new();
        for number in 0..10 {
            let write = move |tx: &mut Tx<'_>| {
                add(format!("user {number}"))(tx)?;
                // The odd ones fail, so that earlier ones may run again.
                if number % 2 == 1 { Err(Error::NoRow) } else { count(tx) }
            };
            waiting.push(asked(fresh.db.write(write)).await);
        }
        drop(go);
        for (number, write) in (0..).zip(waiting) {
            let expected = if number % 2 == 1 { Err(Error::NoRow) } else { Ok(number / 2 + 1) };
            assert_eq!(write.await, expected);
        }
        assert_eq!(fresh.db.read(count).await, Ok(5));
        assert_eq!(fresh.db.stats().writes, 6, "with the one that held the writer");
    })
    .await;
}

#[tokio::test]
async fn writes_that_wait_together_share_a_commit() {
    until_shared(async |fresh| {
        let go = hold(&fresh.db);
        let mut waiting = Vec::new();
        for number in 0..10 {
            waiting.push(asked(fresh.db.write(add(format!("user {number}")))).await);
        }
        drop(go);
        for write in waiting {
            assert_eq!(write.await, Ok(()));
        }
        assert_eq!(fresh.db.stats().writes, 11);
    })
    .await;
}

#[tokio::test]
async fn writes_run_in_the_order_of_their_calls() {
    let fresh = Fresh::new();
    let expected: Vec<_> = (0..1000).map(|number| format!("user {number}")).collect();
    let go = hold(&fresh.db);
    let mut waiting = Vec::new();
    for name in &expected {
        waiting.push(asked(fresh.db.write(add(name))).await);
    }
    drop(go);
    for write in waiting {
        assert_eq!(write.await, Ok(()));
    }
    assert_eq!(fresh.db.read(all).await, Ok(expected));
}

#[tokio::test]
async fn a_write_for_later_runs_before_later_writes() {
    let fresh = Fresh::new();
    fresh.db.write_later(add("ann")).unwrap();
    fresh.db.write(add("ben")).await.unwrap();
    assert_eq!(names(fresh.path()), ["ann", "ben"]);
}

#[tokio::test]
async fn closing_finishes_queued_writes_and_leaves_all_data_in_one_file() {
    let fresh = Fresh::new();
    close_while_300_wait(&fresh).await;
    let alone = fresh.in_folder("alone.db");
    std::fs::copy(fresh.path(), &alone).unwrap();
    assert_eq!(names(&alone).len(), 300);
}

#[tokio::test]
async fn a_writer_that_dies_is_a_failure_of_the_storage() {
    let fresh = Fresh::new();
    // The writer itself tells the listener.
    fresh.db.listen(|_heard| panic!("on purpose"));
    let notice = Notice { topic: 1, key: 1 };
    let write = fresh.db.write(move |tx| {
        tx.notify(notice);
        Ok::<_, Error>(())
    });
    assert!(write.await.is_err());
    let failed = timeout(PATIENCE, fresh.db.failed()).await;
    assert!(failed.expect("it is told").is_fatal());
    assert!(fresh.db.write(add("ann")).await.is_err());
}

#[tokio::test]
async fn a_result_that_cannot_be_dropped_keeps_none_from_others() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    // Its caller is gone, so it is dropped where the result is sent.
    drop(asked(fresh.db.write(|_tx| Ok::<_, Error>(Bomb))).await);
    let others = [asked(fresh.db.write(add("ann"))).await, asked(fresh.db.write(add("bob"))).await];
    drop(go);
    for other in others {
        assert!(other.await.is_ok());
    }
    assert!(fresh.db.write(add("cat")).await.is_ok());
    // Nor does that of a scan end its thread, of which there are two.
    for number in 0..3 {
        let (began, begins) = channel();
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let scan = asked(fresh.db.scan(move |_tx| {
            began.send(()).unwrap_or_default();
            wait.lock().unwrap().recv().unwrap_or_default();
            Ok::<_, Error>(Bomb)
        }));
        let scan = scan.await;
        begins.recv().unwrap();
        drop((scan, go));
        assert_eq!(fresh.db.scan(count).await, Ok(3), "{number}");
    }
}

/// Whether a write of one owner is committed while the second write of another one still runs,
/// which is queued before it.
async fn is_committed_before_a_second_turn() -> bool {
    let fresh = Fresh::new();
    let held = hold(&fresh.db);
    let slow = |_tx: &mut Tx<'_>| {
        // Longer than a commit gathers second turns, shorter than it gathers first ones.
        std::thread::sleep(Duration::from_millis(2));
        Ok::<_, Error>(())
    };
    let first = asked(fresh.db.of(Owner::User(1)).write(slow)).await;
    let (go, wait) = channel::<()>();
    let blocked = move |_tx: &mut Tx<'_>| -> Result<()> {
        wait.recv().unwrap_or_default();
        Ok(())
    };
    let second = asked(fresh.db.of(Owner::User(1)).write(blocked)).await;
    let mut other = asked(fresh.db.of(Owner::User(2)).write(count)).await;
    drop(held);
    let before = timeout(Duration::from_millis(500), &mut other).await;
    drop(go);
    assert_eq!((first.await, second.await), (Ok(()), Ok(())));
    let is_before = before.is_ok();
    assert_eq!(if let Ok(counted) = before { counted } else { other.await }, Ok(0));
    is_before
}

#[tokio::test]
async fn a_commit_does_not_wait_for_the_second_turn_of_another_owner() {
    // On a busy machine the first turn may take so long that its commit has nothing else.
    for _ in 0..20 {
        if is_committed_before_a_second_turn().await {
            return;
        }
    }
    panic!("a commit always waited");
}
