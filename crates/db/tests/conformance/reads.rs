//! Reads: one snapshot each, with everything acknowledged before, and no writes.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use db::{Error, Result, Tx, params};
use testing::{Engine, engine, is_about_sqlite};

use crate::{Fresh, PATIENCE, add, all, asked, count, now};

/// Concurrent scans, in each engine.
const SCANNERS: usize = 2;

/// Scans that may wait.
fn queue() -> usize {
    match engine() {
        Engine::Sqlite => 256,
        Engine::Postgres => 4096,
    }
}

/// A write that adds a user with a new name, because a read that calls it may run again.
fn add_another() -> impl FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static {
    |tx| {
        let another = "INSERT INTO users (name) SELECT 'user ' || count(*) FROM users";
        tx.execute(another, &[]).map(drop)
    }
}

#[tokio::test]
async fn a_read_sees_one_snapshot_while_others_commit() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    for round in 0..3 {
        let others = fresh.others();
        let within = move |tx: &mut Tx<'_>| {
            let before = count(tx)?;
            now(others.write(add_another()))?;
            let between = count(tx)?;
            now(others.write(add_another()))?;
            Ok::<_, Error>((before, between, count(tx)?, all(tx)?.len()))
        };
        let (before, between, after, names) = fresh.db.read(within).await.unwrap();
        assert_eq!((between, after), (before, before), "in round {round}");
        assert_eq!(i64::try_from(names), Ok(before));
        assert!(fresh.db.read(count).await.unwrap() >= before + 2);
    }
}

#[tokio::test]
async fn a_read_may_run_one_or_two_statements_on_one_snapshot() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let ask = |twice: bool| {
        let (db, others) = (fresh.db.clone(), fresh.others());
        async move {
            let read = move |tx: &mut Tx<'_>| {
                let before = count(tx)?;
                if !twice {
                    return Ok((before, before));
                }
                now(others.write(add_another()))?;
                Ok::<_, Error>((before, count(tx)?))
            };
            db.read(read).await
        }
    };
    for twice in [false, false, true, false, true, true, false] {
        let (before, after) = ask(twice).await.unwrap();
        assert_eq!(before, after);
    }
    // Nor does an unfinished query keep an old snapshot.
    fresh.db.write(add_another()).await.unwrap();
    let (before, _) = ask(false).await.unwrap();
    assert_eq!(fresh.db.read(count).await, Ok(before));
}

#[tokio::test]
async fn a_read_of_one_statement_has_no_second_one_and_changes_nothing() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    for names in 1..4 {
        assert_eq!(fresh.db.read_one(count).await, Ok(names));
        // That the closure ignores the failure makes no difference.
        let twice = |tx: &mut Tx<'_>| {
            let first = count(tx)?;
            Ok::<_, Error>((first, count(tx).ok()))
        };
        let second = Error::Engine("a read of one statement has a second one".to_owned());
        assert_eq!(fresh.db.read_one(twice).await, Err(second));
        let delete = |tx: &mut Tx<'_>| tx.execute("DELETE FROM users", &[]);
        assert!(fresh.db.read_one(delete).await.is_err());
        // It keeps no old snapshot.
        fresh.db.write(add_another()).await.unwrap();
    }
}

#[tokio::test]
async fn a_scan_sees_one_snapshot_while_others_commit() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let others = fresh.others();
    let scan = move |tx: &mut Tx<'_>| {
        let before = count(tx)?;
        now(others.write(add_another()))?;
        Ok::<_, Error>((before, count(tx)?))
    };
    let (before, after) = fresh.db.scan(scan).await.unwrap();
    assert_eq!(before, after);
    assert!(fresh.db.scan(count).await.unwrap() > before);
}

/// The values of the first two things.
fn both(tx: &mut Tx<'_>) -> Result<(i64, i64)> {
    let mut one = |id: i64| {
        tx.query_one("SELECT whole FROM things WHERE id = ?1", &params![id], |row| row.int(0))
    };
    Ok((one(1)?, one(2)?))
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
    let begun = Instant::now();
    let watch = || {
        loop {
            let (left, right) = now(db.read(both))?;
            // At the end, or after the moves have failed.
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
    let second = |tx: &mut Tx<'_>| {
        count(tx)?;
        tx.execute("UPDATE users SET name = 'ben'", &[])
    };
    assert!(matches!(fresh.db.read(second).await, Err(Error::Engine(_))));
    let batch = |tx: &mut Tx<'_>| {
        tx.batch("INSERT INTO users (name) VALUES (?1)", &[params!["ben"], params!["cid"]])
    };
    assert!(matches!(fresh.db.read(batch).await, Err(Error::Engine(_))));
    let returning =
        |tx: &mut Tx<'_>| tx.query_opt("DELETE FROM users RETURNING id", &[], |row| row.int(0));
    assert!(matches!(fresh.db.read(returning).await, Err(Error::Engine(_))));
    assert_eq!(fresh.db.read(all).await, Ok(vec!["ann".into()]));
}

#[tokio::test]
async fn a_read_within_a_read_has_a_snapshot_of_its_own() {
    if is_about_sqlite("each thread reads with a connection of its own") {
        return;
    }
    let fresh = Fresh::new();
    let others = fresh.db.clone();
    let outer = move |tx: &mut Tx<'_>| {
        let before = count(tx)?;
        now(others.write(add_another()))?;
        let third = others.clone();
        let inner = move |tx: &mut Tx<'_>| Ok((count(tx)?, now(third.read(count))?));
        let within = now(others.read::<_, Error, _>(inner))?;
        Ok::<_, Error>((before, within, count(tx)?))
    };
    let (before, within, after) = fresh.db.read(outer).await.unwrap();
    assert_eq!((within, after), ((before + 1, before + 1), before));
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
    // None of them keeps an old snapshot.
    fresh.db.write(add("ben")).await.unwrap();
    assert_eq!(fresh.db.read(count).await, Ok(2));
    assert_eq!(fresh.db.scan(count).await, Ok(2));
}

#[tokio::test]
async fn too_many_scans_are_busy_and_short_reads_still_work() {
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
    for _ in 0..queue() {
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

#[tokio::test]
async fn only_a_scan_becomes_late() {
    let fresh = Fresh::new();
    let late = |tx: &mut Tx<'_>| {
        let before = tx.is_late();
        thread::sleep(Duration::from_millis(200));
        Ok::<_, Error>((before, tx.is_late()))
    };
    assert_eq!(fresh.db.scan(late).await, Ok((false, true)));
    assert_eq!(fresh.db.scan(late).await, Ok((false, true)), "each has its own time");
    assert_eq!(fresh.db.read(late).await, Ok((false, false)));
}
