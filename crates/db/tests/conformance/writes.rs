//! Writes: acknowledged after their commit, all or nothing, limited in number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use db::{Db, Error, Result, Tx, params};
use testing::{Engine, engine};

use crate::{
    CONNECTIONS, Fresh, SCHEMA, add, all, asked, at_once, close_while_300_wait, count, hold, now,
    until,
};

/// Writes that may wait, in each engine.
const QUEUE: usize = 4096;

/// Repeats `attempt` until all writes that it submitted while it held the writer share a commit.
///
/// The writer gathers for a few milliseconds only, which may be too short on a busy machine.
pub(crate) async fn until_shared(attempt: impl AsyncFn(&Fresh)) {
    for _ in 0..200 {
        let fresh = Fresh::new();
        attempt(&fresh).await;
        if fresh.db.stats().commits == 1 {
            return;
        }
    }
    panic!("writes that waited together were never in one commit");
}

/// Runs `attempt`, whose writes wait until they can run together: in one commit, or concurrently
/// on PostgreSQL.
async fn together(attempt: impl AsyncFn(&Fresh)) {
    match engine() {
        Engine::Sqlite => until_shared(attempt).await,
        Engine::Postgres => attempt(&Fresh::new()).await,
    }
}

#[tokio::test]
async fn a_write_is_visible_to_others_once_it_is_acknowledged() {
    let fresh = Fresh::new();
    let beside = fresh.beside();
    for done in 1..=100 {
        fresh.db.write(add(format!("user {done}"))).await.unwrap();
        assert_eq!(beside.read(count).await, Ok(done));
        assert_eq!(fresh.db.read(count).await, Ok(done));
    }
}

#[tokio::test]
async fn uncommitted_changes_are_invisible_to_others() {
    let fresh = Fresh::new();
    let reader = fresh.others();
    let seen = fresh.db.write(move |tx| {
        add("ann")(tx)?;
        Ok::<_, Error>((now(reader.read(count)), count(tx)?))
    });
    assert_eq!(seen.await, Ok((Ok(0), 1)), "others and the write itself saw");
}

#[tokio::test]
async fn a_write_that_fails_leaves_no_changes() {
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
    assert_eq!(fresh.names(), ["ann"]);
}

#[tokio::test]
async fn a_failed_write_does_not_affect_others() {
    together(async |fresh| {
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
        let mut both = [first.await, twice.await];
        if engine() == Engine::Postgres {
            // Either of them may have run first.
            both.sort_by_key(Result::is_err);
        }
        assert_eq!(both, [Ok(()), Err(Error::Unique("users_name_key".into()))]);
        assert_eq!(failed.await, Err(Error::NoRow));
        assert_eq!(last.await, Ok(()));
        assert_eq!(fresh.names(), ["ann", "dan"]);
    })
    .await;
}

#[tokio::test]
async fn a_panic_undoes_its_write_and_does_not_affect_others() {
    together(async |fresh| {
        let go = hold(&fresh.db);
        let first = asked(fresh.db.write(add("ann"))).await;
        let literal = asked(fresh.db.write(|tx| -> Result<()> {
            add("ben")(tx)?;
            panic!("out of sorts");
        }));
        let literal = literal.await;
        let formatted = asked(fresh.db.write(|tx| -> Result<()> {
            let gone = tx.execute("DELETE FROM users", &[])?;
            panic!("out of {gone} users");
        }));
        let formatted = formatted.await;
        let in_a_row = asked(fresh.db.write(|tx| -> Result<Vec<()>> {
            tx.query("SELECT 'ann' AS name", &[], |row| panic!("{}", row.text(0).unwrap()))
        }));
        let in_a_row = in_a_row.await;
        let last = asked(fresh.db.write(add("dan"))).await;
        drop(go);
        assert_eq!(first.await, Ok(()));
        assert_eq!(literal.await, Err(Error::Panicked("out of sorts".into())));
        let Err(Error::Panicked(formatted)) = formatted.await else { panic!("it went on") };
        assert!(formatted.starts_with("out of "), "{formatted}");
        assert_eq!(in_a_row.await, Err(Error::Panicked("ann".into())));
        assert_eq!(last.await, Ok(()));
        assert_eq!(fresh.names(), ["ann", "dan"]);
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_change_of_a_failed_write_is_undone() {
    type Change = fn(&mut Tx<'_>) -> Result<()>;
    const REPLACE: &str = "INSERT INTO users (id, name) VALUES (1, 'ben')
        ON CONFLICT (id) DO UPDATE SET name = excluded.name";
    let changes: [Change; 7] = [
        |tx| tx.execute("INSERT INTO users (name) VALUES ('ben')", &[]).map(drop),
        |tx| tx.insert("INSERT INTO users (name) VALUES ('ben')", &[]).map(drop),
        |tx| tx.execute(REPLACE, &[]).map(drop),
        |tx| tx.execute("UPDATE users SET name = name || '!'", &[]).map(drop),
        |tx| tx.execute("DELETE FROM users", &[]).map(drop),
        |tx| {
            let names = [params!["ben"], params!["ann"]];
            tx.batch("INSERT INTO users (name) VALUES (?1)", &names).map(drop)
        },
        // It fails in the middle of the statement, at the first returned row.
        |tx| tx.query("DELETE FROM users RETURNING id", &[], |row| row.text(0).map(drop)).map(drop),
    ];
    for change in changes {
        together(async |fresh| {
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
            assert_eq!(fresh.names(), ["ann", "dan"]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_violated_constraint_is_named_after_table_and_columns() {
    let fresh = Fresh::new();
    let statements = [
        ("INSERT INTO users (name) VALUES ('ann')", "users_name_key"),
        ("INSERT INTO users (id, name) VALUES (7, 'id ' || (SELECT count(*) FROM users))", {
            "users_id_key"
        }),
        ("INSERT INTO seats (hall, seat) VALUES ('big', 7)", "seats_hall_seat_key"),
        ("INSERT INTO marks (owner, place) VALUES (1, 2)", "marks_owner_place_key"),
        // The constraints of a renamed table are named after its old name.
        ("INSERT INTO renamed (id) VALUES (1)", "renamed_id_key"),
        ("INSERT INTO renamed (id, word) SELECT 2 + count(*), 'a' FROM renamed", {
            "renamed_word_key"
        }),
        ("UPDATE seats SET seat = 7", "seats_hall_seat_key"),
    ];
    fresh.db.write(|tx| tx.execute("INSERT INTO seats VALUES ('big', 8)", &[])).await.unwrap();
    for (statement, name) in statements {
        let write = move |tx: &mut Tx<'_>| tx.execute(statement, &[]);
        if !statement.starts_with("UPDATE") {
            assert_eq!(fresh.db.write(write).await, Ok(1), "{statement}");
        }
        let named = Err(Error::Unique(name.to_owned()));
        assert_eq!(fresh.db.write(write).await, named, "{statement}");
    }
}

#[tokio::test]
async fn a_failed_statement_ends_its_transaction_even_if_the_closure_ignores_it() {
    let fresh = Fresh::new();
    let unique = || Error::Unique("users_name_key".into());
    fresh.db.write(add("ann")).await.unwrap();
    let stubborn = fresh.db.write(move |tx| {
        add("ben")(tx)?;
        assert_eq!(add("ann")(tx), Err(unique()));
        // Every later statement fails in the same way, without being run.
        assert_eq!(add("cid")(tx), Err(unique()));
        assert_eq!(count(tx), Err(unique()));
        let batch = tx.batch("DELETE FROM users WHERE name = ?1", &[params!["ann"]]);
        assert_eq!(batch, Err(unique()));
        Ok::<_, Error>("all is well")
    });
    assert_eq!(stubborn.await, Err(unique()));
    assert_eq!(fresh.names(), ["ann"]);
    let own = fresh.db.write(move |tx| {
        add("ann")(tx).unwrap_err();
        Err::<(), _>(Error::NoRow)
    });
    assert_eq!(own.await, Err(Error::NoRow), "what it says itself is kept");
    // A closure that cannot use a row does not make the statement fail.
    let surprised = fresh.db.write(|tx| {
        add("ben")(tx)?;
        tx.query_one("SELECT id FROM users", &[], |row| row.text(0).map(drop)).unwrap_err();
        tx.query_one("SELECT id FROM users WHERE id < 0", &[], |row| row.int(0)).unwrap_err();
        count(tx)
    });
    assert_eq!(surprised.await, Ok(2));
    let reading = fresh.db.read(|tx| {
        tx.query("SELECT nonsense", &[], |row| row.int(0)).unwrap_err();
        assert!(count(tx).is_err());
        Ok::<_, Error>("all is well")
    });
    assert!(matches!(reading.await, Err(Error::Engine(_))));
    assert_eq!(fresh.db.read(count).await, Ok(2));
}

#[tokio::test]
async fn a_full_queue_is_busy_until_it_has_room_again() {
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
    let running = at_once();
    assert_eq!(fresh.db.stats().queued, QUEUE + running, "the waiting and the running");
    // Reads do not go through that queue on SQLite.
    let read = if engine() == Engine::Sqlite { Ok(0) } else { Err(Error::Busy) };
    assert_eq!(fresh.db.read(count).await, read);
    drop(go);
    until(|| fresh.db.stats().queued == 0);
    assert_eq!(fresh.db.write(add("ann")).await, Ok(()));
    assert_eq!(done.load(Relaxed), QUEUE);
    assert_eq!(fresh.names(), ["ann"]);
}

#[tokio::test]
async fn a_write_for_later_runs() {
    let fresh = Fresh::new();
    fresh.db.write_later(add("ann")).unwrap();
    until(|| fresh.db.stats().writes == 1);
    assert_eq!(fresh.names(), ["ann"]);
}

#[tokio::test]
async fn a_write_runs_even_if_its_caller_has_gone() {
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    drop(asked(fresh.db.write(add("ann"))).await);
    drop(go);
    until(|| fresh.db.stats().queued == 0);
    fresh.db.write(add("ben")).await.unwrap();
    assert_eq!(fresh.names(), ["ann", "ben"]);
}

#[tokio::test]
async fn closing_finishes_queued_writes() {
    let fresh = Fresh::new();
    close_while_300_wait(&fresh).await;
    assert_eq!(fresh.names().len(), 300);
}

#[tokio::test]
async fn a_closed_database_refuses_writes_and_can_be_opened_again() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    fresh.db.close();
    assert_eq!(fresh.db.write(add("ben")).await, Err(Error::Closed));
    assert_eq!(fresh.db.write_later(add("ben")), Err(Error::Closed));
    assert_eq!(fresh.db.scan(count).await, Err(Error::Closed));
    if engine() == Engine::Postgres {
        assert_eq!(fresh.db.read(count).await, Err(Error::Closed));
    }
    fresh.db.close();
    let again = Db::open(&fresh.url, SCHEMA).expect("nobody holds it any more");
    again.write(add("cid")).await.unwrap();
    assert_eq!(again.read(all).await, Ok(vec!["ann".into(), "cid".into()]));
}

#[tokio::test]
async fn the_figures_count_commits() {
    let fresh = Fresh::new();
    assert_eq!(fresh.db.stats(), db::Stats::default());
    for name in ["ann", "ben", "cid"] {
        fresh.db.write(add(name)).await.unwrap();
    }
    fresh.db.write(add("ann")).await.unwrap_err();
    fresh.db.write(|_tx| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
    // The count drops a moment after the answer.
    until(|| fresh.db.stats().queued == 0);
    let stats = fresh.db.stats();
    assert_eq!((stats.writes, stats.commits), (3, 3));
    match engine() {
        Engine::Sqlite => assert!(stats.log_bytes > 0),
        Engine::Postgres => assert!((1..=CONNECTIONS).contains(&stats.connections)),
    }
}

#[tokio::test]
async fn working_storage_reports_no_failure() {
    let fresh = Fresh::new();
    let failed = asked(fresh.db.failed()).await;
    fresh.db.write(add("ann")).await.unwrap();
    fresh.db.write(add("ann")).await.unwrap_err();
    fresh.db.write(|_tx| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
    fresh.db.read(|_tx| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
    drop(asked(failed).await);
}
