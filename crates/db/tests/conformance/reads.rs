//! Reads: one snapshot each, of all that was acknowledged, and no way to write.

use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use db::{Error, Result, Tx, params};

use crate::{Fresh, PATIENCE, add, all, asked, count, hold, now};

/// Threads for long reads and the reads that may wait for them, as in `readers.rs`.
const SCANNERS: usize = 2;
const QUEUE: usize = 256;

#[tokio::test]
async fn a_read_sees_one_snapshot_while_others_commit() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let db = &fresh.db;
    let within = |tx: &mut Tx<'_>| {
        let before = count(tx)?;
        now(db.write(add("ben")))?;
        Ok::<_, Error>((before, count(tx)?))
    };
    assert_eq!(db.read(within).await, Ok((1, 1)));
    assert_eq!(db.read(count).await, Ok(2));
}

#[tokio::test]
async fn a_scan_sees_one_snapshot_while_others_commit() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let (go, wait) = channel::<()>();
    let (started, running) = channel();
    let scan = asked(fresh.db.scan(move |tx| {
        let before = count(tx)?;
        started.send(()).expect("the test waits for it");
        wait.recv().unwrap_or_default();
        Ok::<_, Error>((before, count(tx)?))
    }));
    let scan = scan.await;
    running.recv().unwrap();
    fresh.db.write(add("ben")).await.unwrap();
    drop(go);
    assert_eq!(scan.await, Ok((1, 1)));
    assert_eq!(fresh.db.scan(count).await, Ok(2));
}

#[test]
fn readers_on_many_threads_never_see_half_a_write() {
    const MOVES: i64 = 200;
    let fresh = Fresh::new();
    let db = &fresh.db;
    let two = |tx: &mut Tx<'_>| {
        tx.batch(
            "INSERT INTO things (id, whole) VALUES (?1, ?2)",
            &[params![1, MOVES], params![2, 0]],
        )
    };
    now(db.write(two)).unwrap();
    let of = |tx: &mut Tx<'_>, id: i64| {
        tx.query_one("SELECT whole FROM things WHERE id = ?1", &params![id], |row| row.int(0))
    };
    let begun = Instant::now();
    let watch = || {
        loop {
            let (left, right) = now(db.read(|tx| Ok::<_, Error>((of(tx, 1)?, of(tx, 2)?))))?;
            // At the end, or when the moves have failed.
            if left + right != MOVES || left == 0 || begun.elapsed() > PATIENCE {
                return Ok::<_, Error>((left, right));
            }
        }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(watch)).collect();
        for _ in 0..MOVES {
            let moved = now(db.write(|tx| {
                tx.execute("UPDATE things SET whole = whole - 1 WHERE id = 1", &[])?;
                tx.execute("UPDATE things SET whole = whole + 1 WHERE id = 2", &[])
            }));
            assert_eq!(moved, Ok(1));
        }
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Ok((0, MOVES)));
        }
    });
}

#[tokio::test]
async fn a_read_cannot_write() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let rename = |tx: &mut Tx<'_>| tx.execute("UPDATE users SET name = 'ben'", &[]);
    assert!(matches!(fresh.db.read(rename).await, Err(Error::Engine(_))));
    assert!(matches!(fresh.db.scan(rename).await, Err(Error::Engine(_))));
    let returning =
        |tx: &mut Tx<'_>| tx.query_opt("DELETE FROM users RETURNING id", &[], |row| row.int(0));
    assert!(matches!(fresh.db.read(returning).await, Err(Error::Engine(_))));
    assert_eq!(fresh.db.read(all).await, Ok(vec!["ann".into()]));
}

#[tokio::test]
async fn a_read_within_a_read_has_a_snapshot_of_its_own() {
    let fresh = Fresh::new();
    let db = &fresh.db;
    let outer = |tx: &mut Tx<'_>| {
        let before = count(tx)?;
        now(db.write(add("ann")))?;
        let within = now(db.read(|tx| Ok::<_, Error>((count(tx)?, now(db.read(count))?))))?;
        Ok::<_, Error>((before, within, count(tx)?))
    };
    assert_eq!(db.read(outer).await, Ok((0, (1, 1), 0)));
    assert_eq!(db.read(count).await, Ok(1));
}

#[tokio::test]
async fn a_read_does_not_wait_for_the_writer() {
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    let cx = &mut Context::from_waker(Waker::noop());
    assert_eq!(pin!(fresh.db.read(count)).poll(cx), Poll::Ready(Ok(0)));
    assert_eq!(fresh.db.scan(count).await, Ok(0));
    drop(go);
}

#[tokio::test]
async fn a_read_that_fails_or_panics_does_not_harm_the_next() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    for _ in 0..3 {
        let failed = fresh.db.read(|tx| {
            count(tx)?;
            Err::<(), _>(Error::NoRow)
        });
        assert_eq!(failed.await, Err(Error::NoRow));
        let panicked = fresh.db.read(|tx| -> Result<()> { panic!("at {}", count(tx)?) });
        assert_eq!(panicked.await, Err(Error::Panicked("at 1".into())));
        let panicked = fresh.db.scan(|tx| -> Result<()> { panic!("at {}", count(tx)?) });
        assert_eq!(panicked.await, Err(Error::Panicked("at 1".into())));
        assert_eq!(fresh.db.read(count).await, Ok(1));
        assert_eq!(fresh.db.scan(count).await, Ok(1));
    }
    // None of them holds on to an old snapshot.
    fresh.db.write(add("ben")).await.unwrap();
    assert_eq!(fresh.db.read(count).await, Ok(2));
    assert_eq!(fresh.db.scan(count).await, Ok(2));
}

#[tokio::test]
async fn too_many_scans_are_busy_and_short_reads_go_on() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let (started, running) = channel();
    let mut holds = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..SCANNERS {
        let (go, wait) = channel::<()>();
        let started = started.clone();
        let long = move |tx: &mut Tx<'_>| {
            started.send(()).expect("the test waits for it");
            wait.recv().unwrap_or_default();
            count(tx)
        };
        holds.push(go);
        waiting.push(asked(fresh.db.scan::<_, Error, _>(long)).await);
    }
    for _ in 0..SCANNERS {
        running.recv().unwrap();
    }
    let mut queued = Vec::new();
    for _ in 0..QUEUE {
        queued.push(asked(fresh.db.scan(count)).await);
    }
    assert_eq!(fresh.db.scan(count).await, Err(Error::Busy));
    assert_eq!(fresh.db.read(count).await, Ok(1));
    drop(holds);
    for scan in waiting {
        assert_eq!(scan.await, Ok(1));
    }
    for scan in queued {
        assert_eq!(scan.await, Ok(1));
    }
    assert_eq!(fresh.db.scan(count).await, Ok(1));
}

#[tokio::test]
async fn two_databases_in_one_process_are_not_confused() {
    let (one, two) = (Fresh::new(), Fresh::new());
    one.db.write(add("ann")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(one.db.read(count).await, Ok(1));
        assert_eq!(two.db.read(count).await, Ok(0));
        assert_eq!(one.db.scan(count).await, Ok(1));
        assert_eq!(two.db.scan(count).await, Ok(0));
    }
}
