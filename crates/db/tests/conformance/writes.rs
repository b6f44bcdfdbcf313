//! Writes: answered after their commit, all or nothing, in order, in bounded number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use db::{Db, Error, Result, Tx, params};

use crate::{Fresh, PATIENCE, SCHEMA, add, all, asked, count, hold, names, now, until};

/// Writes that may wait, as in `writer.rs`.
const QUEUE: usize = 4096;

/// Repeats `attempt` until all that it asked for while it held the writer was in one commit.
///
/// The writer gathers for a few milliseconds only, which a busy machine may cut short.
async fn until_shared(attempt: impl AsyncFn(&Fresh)) {
    for _ in 0..200 {
        let fresh = Fresh::new();
        attempt(&fresh).await;
        if fresh.db.stats().commits == 1 {
            return;
        }
    }
    panic!("writes that waited together were never in one commit");
}

#[tokio::test]
async fn a_write_is_there_for_others_the_moment_it_is_answered() {
    let fresh = Fresh::new();
    let other = rusqlite::Connection::open(fresh.url.path()).unwrap();
    let mut counted = other.prepare("SELECT count(*) FROM users").unwrap();
    for done in 1..=100 {
        fresh.db.write(add(format!("user {done}"))).await.unwrap();
        assert_eq!(counted.query_row([], |row| row.get::<_, i64>(0)), Ok(done));
        assert_eq!(fresh.db.read(count).await, Ok(done));
    }
    let beside = Db::open_beside(&fresh.url, SCHEMA).unwrap();
    assert_eq!(beside.read(count).await, Ok(100));
}

#[tokio::test]
async fn what_is_not_committed_is_seen_by_nobody() {
    let fresh = Fresh::new();
    let reader = fresh.db.clone();
    let seen = fresh.db.write(move |tx| {
        add("ann")(tx)?;
        Ok::<_, Error>((now(reader.read(count)), count(tx)?))
    });
    assert_eq!(seen.await, Ok((Ok(0), 1)), "others and the write itself saw");
}

#[tokio::test]
async fn a_write_that_fails_leaves_nothing_behind() {
    #[derive(Debug, PartialEq)]
    enum Refusal {
        NotThisOne,
        Db(Error),
    }
    impl From<Error> for Refusal {
        fn from(error: Error) -> Self {
            Refusal::Db(error)
        }
    }
    let fresh = Fresh::new();
    let own = fresh.db.write(|tx| {
        add("ann")(tx)?;
        add("ben")(tx)?;
        Err::<(), _>(Refusal::NotThisOne)
    });
    assert_eq!(own.await, Err(Refusal::NotThisOne));
    let engines = fresh.db.write(|tx| {
        add("ann")(tx)?;
        add("ann")(tx)?;
        Ok::<_, Refusal>(())
    });
    assert_eq!(engines.await, Err(Refusal::Db(Error::Unique("users_name_key".into()))));
    assert_eq!(fresh.db.read(count).await, Ok(0));
    assert_eq!(fresh.db.write(add("ann")).await, Ok(()));
    assert_eq!(names(fresh.url.path()), ["ann"]);
}

#[tokio::test]
async fn a_failed_write_costs_its_neighbours_in_the_commit_nothing() {
    until_shared(async |fresh| {
        let go = hold(&fresh.db);
        let first = asked(fresh.db.write(add("ann"))).await;
        let failed = asked(fresh.db.write(|tx| {
            add("ben")(tx)?;
            tx.execute("DELETE FROM users", &[])?;
            add("cid")(tx)?;
            Err::<(), _>(Error::NoRow)
        }));
        let failed = failed.await;
        let twice = asked(fresh.db.write(add("ann"))).await;
        let last = asked(fresh.db.write(add("dan"))).await;
        drop(go);
        assert_eq!(first.await, Ok(()));
        assert_eq!(failed.await, Err(Error::NoRow));
        assert_eq!(twice.await, Err(Error::Unique("users_name_key".into())));
        assert_eq!(last.await, Ok(()));
        assert_eq!(names(fresh.url.path()), ["ann", "dan"]);
    })
    .await;
}

#[tokio::test]
async fn a_panic_undoes_its_write_and_costs_its_neighbours_nothing() {
    until_shared(async |fresh| {
        let go = hold(&fresh.db);
        let first = asked(fresh.db.write(add("ann"))).await;
        let literal = asked(fresh.db.write(|tx| -> Result<()> {
            add("ben")(tx)?;
            panic!("out of sorts");
        }));
        let literal = literal.await;
        let formatted = asked(fresh.db.write(|tx| -> Result<()> {
            tx.execute("DELETE FROM users", &[])?;
            panic!("{} users", count(tx)?);
        }));
        let formatted = formatted.await;
        let in_a_row = asked(fresh.db.write(|tx| -> Result<Vec<()>> {
            tx.query("SELECT name FROM users", &[], |row| panic!("{}", row.text(0).unwrap()))
        }));
        let in_a_row = in_a_row.await;
        let last = asked(fresh.db.write(add("dan"))).await;
        drop(go);
        assert_eq!(first.await, Ok(()));
        assert_eq!(literal.await, Err(Error::Panicked("out of sorts".into())));
        assert_eq!(formatted.await, Err(Error::Panicked("0 users".into())));
        assert_eq!(in_a_row.await, Err(Error::Panicked("ann".into())));
        assert_eq!(last.await, Ok(()));
        assert_eq!(names(fresh.url.path()), ["ann", "dan"]);
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_change_of_a_failed_write_is_undone() {
    type Change = fn(&mut Tx<'_>) -> Result<()>;
    let changes: [Change; 7] = [
        |tx| tx.execute("INSERT INTO users (name) VALUES ('ben')", &[]).map(drop),
        |tx| tx.insert("INSERT INTO users (name) VALUES ('ben')", &[]).map(drop),
        |tx| tx.execute("REPLACE INTO users (id, name) VALUES (1, 'ben')", &[]).map(drop),
        |tx| tx.execute("UPDATE users SET name = name || '!'", &[]).map(drop),
        |tx| tx.execute("DELETE FROM users", &[]).map(drop),
        |tx| {
            let names = [params!["ben"], params!["ann"]];
            tx.batch("INSERT INTO users (name) VALUES (?1)", &names).map(drop)
        },
        // It fails in the middle of the statement, at the first row that it answers.
        |tx| tx.query("DELETE FROM users RETURNING id", &[], |row| row.text(0).map(drop)).map(drop),
    ];
    for change in changes {
        until_shared(async |fresh| {
            let go = hold(&fresh.db);
            let first = asked(fresh.db.write(add("ann"))).await;
            let failed = asked(fresh.db.write(move |tx| {
                change(tx)?;
                Err::<(), _>(Error::NoRow)
            }));
            let failed = failed.await;
            let panicked = asked(fresh.db.write(move |tx| -> Result<()> {
                change(tx).unwrap();
                panic!("on purpose");
            }));
            let panicked = panicked.await;
            let last = asked(fresh.db.write(add("dan"))).await;
            drop(go);
            assert_eq!(first.await, Ok(()));
            assert!(failed.await.is_err());
            assert!(matches!(panicked.await, Err(Error::Panicked(_))));
            assert_eq!(last.await, Ok(()));
            assert_eq!(names(fresh.url.path()), ["ann", "dan"]);
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_write_returns_is_that_of_the_run_that_was_committed() {
    until_shared(async |fresh| {
        let go = hold(&fresh.db);
        let mut waiting = Vec::new();
        for number in 0..10 {
            let write = move |tx: &mut Tx<'_>| {
                add(format!("user {number}"))(tx)?;
                // The odd ones fail, so that those before them may be run again.
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
async fn writes_happen_in_the_order_in_which_they_were_asked_for() {
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
async fn a_violated_constraint_is_named_by_table_and_columns() {
    let fresh = Fresh::new();
    let seat = |tx: &mut Tx<'_>| {
        tx.execute("INSERT INTO seats (hall, seat) VALUES (?1, ?2)", &params!["big", 7])
    };
    assert_eq!(fresh.db.write(seat).await, Ok(1));
    assert_eq!(fresh.db.write(seat).await, Err(Error::Unique("seats_hall_seat_key".into())));
    assert_eq!(fresh.db.write(add("ann")).await, Ok(()));
    assert_eq!(fresh.db.write(add("ann")).await, Err(Error::Unique("users_name_key".into())));
}

#[tokio::test]
async fn a_full_queue_is_busy_and_takes_writes_again_when_it_has_room() {
    let fresh = Fresh::new();
    let done = Arc::new(AtomicUsize::new(0));
    let go = hold(&fresh.db);
    for _ in 0..QUEUE {
        let done = Arc::clone(&done);
        let count = move |_tx: &mut Tx<'_>| {
            done.fetch_add(1, Relaxed);
            Ok(())
        };
        assert_eq!(fresh.db.write_later(count), Ok(()));
    }
    assert_eq!(fresh.db.write(add("too many")).await, Err(Error::Busy));
    assert_eq!(fresh.db.write_later(add("too many")), Err(Error::Busy));
    assert_eq!(fresh.db.stats().queued, QUEUE + 1, "the waiting and the running one");
    // Reads do not stand in that queue.
    assert_eq!(fresh.db.read(count).await, Ok(0));
    drop(go);
    until(|| fresh.db.stats().queued == 0);
    assert_eq!(fresh.db.write(add("ann")).await, Ok(()));
    assert_eq!(done.load(Relaxed), QUEUE);
    assert_eq!(names(fresh.url.path()), ["ann"]);
}

#[tokio::test]
async fn a_write_for_later_happens_before_those_asked_for_after_it() {
    let fresh = Fresh::new();
    fresh.db.write_later(add("ann")).unwrap();
    fresh.db.write(add("ben")).await.unwrap();
    assert_eq!(names(fresh.url.path()), ["ann", "ben"]);
}

#[tokio::test]
async fn a_write_happens_although_its_caller_has_gone() {
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    drop(asked(fresh.db.write(add("ann"))).await);
    drop(go);
    fresh.db.write(add("ben")).await.unwrap();
    assert_eq!(names(fresh.url.path()), ["ann", "ben"]);
}

#[tokio::test]
async fn closing_finishes_what_was_asked_for_and_leaves_it_in_the_one_file() {
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    let mut waiting = Vec::new();
    for number in 0..300 {
        waiting.push(asked(fresh.db.write(add(format!("user {number}")))).await);
    }
    let closing = std::thread::spawn({
        let db = fresh.db.clone();
        move || db.close()
    });
    drop(go);
    for write in waiting {
        assert_eq!(write.await, Ok(()));
    }
    closing.join().unwrap();
    let alone = fresh.beside("alone.db");
    std::fs::copy(fresh.url.path(), &alone).unwrap();
    assert_eq!(names(&alone).len(), 300);
}

#[tokio::test]
async fn a_closed_database_refuses_writes_and_lets_go_of_the_file() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    fresh.db.close();
    assert_eq!(fresh.db.write(add("ben")).await, Err(Error::Closed));
    assert_eq!(fresh.db.write_later(add("ben")), Err(Error::Closed));
    assert_eq!(fresh.db.scan(count).await, Err(Error::Closed));
    fresh.db.close();
    let again = Db::open(&fresh.url, SCHEMA).expect("nobody holds it any more");
    again.write(add("cid")).await.unwrap();
    assert_eq!(again.read(all).await, Ok(vec!["ann".into(), "cid".into()]));
}

#[tokio::test]
async fn the_figures_count_what_was_committed() {
    let fresh = Fresh::new();
    assert_eq!(fresh.db.stats(), db::Stats::default());
    for name in ["ann", "ben", "cid"] {
        fresh.db.write(add(name)).await.unwrap();
    }
    fresh.db.write(add("ann")).await.unwrap_err();
    fresh.db.write(|_tx| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
    let stats = fresh.db.stats();
    assert_eq!((stats.queued, stats.writes, stats.commits), (0, 3, 3));
    // The log is measured a moment later, when it is copied back.
    until(|| fresh.db.stats().log_pages > 0);
}

#[tokio::test]
async fn a_sound_storage_does_not_report_a_failure() {
    let fresh = Fresh::new();
    let failed = asked(fresh.db.failed()).await;
    fresh.db.write(add("ann")).await.unwrap();
    fresh.db.write(add("ann")).await.unwrap_err();
    fresh.db.write(|_tx| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
    fresh.db.read(|_tx| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
    drop(asked(failed).await);
}

#[tokio::test]
async fn a_writer_that_dies_is_a_failure_of_the_storage() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    // Its caller has gone, so that the answer is dropped by the writer.
    drop(asked(fresh.db.write(|_tx| Ok::<_, Error>(Bomb))).await);
    drop(go);
    let failed = tokio::time::timeout(PATIENCE, fresh.db.failed()).await;
    assert!(failed.expect("it is told").is_fatal());
    assert!(fresh.db.write(add("ann")).await.is_err());
}

#[tokio::test]
async fn a_transaction_counts_the_verbs_that_it_ran_and_no_others() {
    let fresh = Fresh::new();
    let counted = |tx: &mut Tx<'_>| {
        let mut counts = vec![tx.statements()];
        let insert = "INSERT INTO things (whole) VALUES (?1)";
        tx.insert(insert, &params![1])?;
        counts.push(tx.statements());
        tx.batch(insert, &[params![2], params![3]])?;
        counts.push(tx.statements());
        tx.execute("DELETE FROM things WHERE whole = ?1", &params![1])?;
        counts.push(tx.statements());
        tx.query("SELECT whole FROM things", &[], |row| row.int(0))?;
        tx.query_opt("SELECT whole FROM things", &[], |row| row.int(0))?;
        tx.query_one("SELECT count(*) FROM things", &[], |row| row.int(0))?;
        counts.push(tx.statements());
        tx.execute("INSERT INTO things (id) VALUES ('no number')", &[]).unwrap_err();
        counts.push(tx.statements());
        Ok::<_, Error>(counts)
    };
    // They may share a commit, and each begins at none.
    let (one, other) = tokio::join!(fresh.db.write(counted), fresh.db.write(counted));
    assert_eq!((one, other), (Ok(vec![0, 1, 2, 3, 6, 7]), Ok(vec![0, 1, 2, 3, 6, 7])));
}
