//! Conflicts and lost sessions, which callers notice only if retrying is impossible.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use db::{Error, Options, Result, Tx};
use testing::sql;

use crate::{
    CONNECTIONS, Opened, assert_all_connections_work, counters, increment, lock_first_counter,
    meet, note, notes, patient, until,
};

#[tokio::test]
async fn of_two_writes_in_a_deadlock_both_succeed() {
    let Some(opened) = Opened::new() else { return };
    let both = Arc::new(AtomicUsize::new(0));
    let runs = Arc::new(AtomicUsize::new(0));
    let write = |first, second| {
        let (both, runs, mut waited) = (Arc::clone(&both), Arc::clone(&runs), false);
        opened.db.write::<_, Error, _>(move |tx| {
            runs.fetch_add(1, SeqCst);
            increment(tx, first)?;
            if !waited {
                waited = true;
                meet(tx, &both, 2)?;
            }
            increment(tx, second)
        })
    };
    let both = tokio::join!(write(1, 2), write(2, 1));
    assert_eq!(both, (Ok(1), Ok(1)));
    assert_eq!(opened.db.read(counters).await, Ok(vec![2, 2]), "each of them once");
    assert!(runs.load(SeqCst) >= 3, "one of them had to begin again");
}

/// Makes a function that fails with a serialization failure the given number of times.
fn stumble(address: &str, times: u32) {
    sql(
        address,
        &format!(
            "CREATE SEQUENCE stumbles;
             CREATE FUNCTION stumble() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('stumbles') <= {times} THEN
                     RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
                 END IF;
                 RETURN 1;
             END $$;
             CREATE FUNCTION stumble_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM stumble();
                 RETURN NULL;
             END $$;"
        ),
    );
}

#[tokio::test]
async fn a_write_with_a_serialization_failure_runs_again() {
    let Some(opened) = Opened::with(patient(), |address| stumble(address, 3)) else { return };
    let write = |tx: &mut Tx<'_>| {
        note("ann")(tx)?;
        tx.query_one("SELECT stumble()", &[], |row| row.int(0))
    };
    assert_eq!(opened.db.write(write).await, Ok(1));
    assert_eq!(opened.db.read(notes).await, Ok(vec!["ann".into()]));
    assert_eq!(opened.db.stats().writes, 1);
}

#[tokio::test]
async fn a_write_whose_commit_conflicts_runs_again() {
    let at_commit = |address: &str| {
        stumble(address, 3);
        let trigger = "CREATE CONSTRAINT TRIGGER later AFTER INSERT ON notes
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stumble_later()";
        sql(address, trigger);
    };
    let Some(opened) = Opened::with(patient(), at_commit) else { return };
    assert_eq!(opened.db.write(note("ann")).await, Ok(()));
    assert_eq!(opened.db.read(notes).await, Ok(vec!["ann".into()]));
}

#[tokio::test]
async fn a_write_that_always_conflicts_is_busy_in_the_end() {
    let Some(opened) = Opened::with(patient(), |address| stumble(address, 1_000)) else { return };
    let write = |tx: &mut Tx<'_>| {
        note("ann")(tx)?;
        tx.query_one("SELECT stumble()", &[], |row| row.int(0))
    };
    assert_eq!(opened.db.write(write).await, Err(Error::Busy));
    assert_eq!(opened.db.read(notes).await, Ok(vec![]));
    assert_all_connections_work(&opened.db).await;
}

#[tokio::test]
async fn a_lock_that_is_not_released_is_busy() {
    let short = Options { lock_timeout: Duration::from_millis(200), ..patient() };
    let Some(opened) = Opened::with(short, |_address| {}) else { return };
    let (go, holder) = lock_first_counter(&opened.db).await;
    assert_eq!(opened.db.write(|tx| increment(tx, 1)).await, Err(Error::Busy));
    assert_eq!(opened.db.write(|tx| increment(tx, 2)).await, Ok(1), "others need not wait");
    drop(go);
    assert_eq!(holder.await.unwrap(), Ok(()));
    assert_eq!(opened.db.read(counters).await, Ok(vec![1, 1]));
}

fn session(tx: &mut Tx<'_>) -> Result<i64> {
    tx.query_one("SELECT pg_backend_pid()", &[], |row| row.int(0))
}

#[tokio::test]
async fn a_cancelled_statement_is_busy_and_its_connection_stays() {
    let one = Options { connections: 1, ..patient() };
    let Some(opened) = Opened::with(one, |_address| {}) else { return };
    let before = opened.db.write(session).await.unwrap();
    let db = opened.db.clone();
    let slow = tokio::spawn(async move {
        let slow = |tx: &mut Tx<'_>| {
            note("ann")(tx)?;
            tx.query("SELECT pg_sleep(120)", &[], |_row| Ok(()))
        };
        db.write(slow).await
    });
    tokio::task::yield_now().await;
    until(|| opened.to_sessions("pg_cancel_backend", "query LIKE '%pg_sleep(120)%'") > 0);
    assert_eq!(slow.await.unwrap(), Err(Error::Busy));
    assert_eq!(opened.db.read(notes).await, Ok(vec![]));
    assert_eq!(opened.db.write(session).await, Ok(before), "it has not connected again");
}

#[tokio::test]
async fn idle_sessions_that_end_cause_no_errors() {
    let Some(opened) = Opened::new() else { return };
    for round in 0..3 {
        // The first call may still meet an ended session, and then gives up all connections.
        assert_all_connections_work(&opened.db).await;
        assert_all_connections_work(&opened.db).await;
        let ended = opened.to_sessions("pg_terminate_backend", "true");
        assert!(ended >= CONNECTIONS, "{ended} in round {round}");
        assert_eq!(opened.db.write(note(format!("write {round}"))).await, Ok(()));
        assert!(opened.to_sessions("pg_terminate_backend", "true") >= 1);
        assert_eq!(opened.db.read(notes).await.map(|notes| notes.len()), Ok(round + 1));
        assert!(opened.db.scan(notes).await.is_ok());
    }
    assert_all_connections_work(&opened.db).await;
}

#[tokio::test]
async fn a_write_whose_session_ends_runs_again_but_never_twice() {
    let Some(opened) = Opened::new() else { return };
    let (address, name) = (opened.address.clone(), opened.database.name().to_owned());
    let runs = Arc::new(AtomicUsize::new(0));
    let write = {
        let runs = Arc::clone(&runs);
        move |tx: &mut Tx<'_>| {
            increment(tx, 1)?;
            if runs.fetch_add(1, SeqCst) < 2 {
                let end = format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = '{name}' AND state = 'idle in transaction'"
                );
                assert_eq!(sql(&address, &end).len(), 1);
            }
            increment(tx, 2)?;
            note("ann")(tx)
        }
    };
    assert_eq!(opened.db.write::<_, Error, _>(write).await, Ok(()));
    assert_eq!(runs.load(SeqCst), 3);
    assert_eq!(opened.db.read(counters).await, Ok(vec![1, 1]));
    assert_all_connections_work(&opened.db).await;
}

#[tokio::test]
async fn a_read_whose_session_ends_runs_again() {
    let Some(opened) = Opened::new() else { return };
    let (address, name) = (opened.address.clone(), opened.database.name().to_owned());
    let ended = AtomicBool::new(false);
    let read = move |tx: &mut Tx<'_>| {
        let before = counters(tx)?;
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '{name}' AND state = 'idle in transaction'"
        );
        if !ended.load(SeqCst) {
            ended.store(!sql(&address, &end).is_empty(), SeqCst);
        }
        Ok::<_, Error>((before, counters(tx)?))
    };
    assert_eq!(opened.db.read(read).await, Ok((vec![0, 0], vec![0, 0])));
    assert_all_connections_work(&opened.db).await;
}

#[tokio::test]
async fn a_session_that_ends_while_it_commits_leaves_the_outcome_unknown() {
    let slowly = |address: &str| {
        sql(
            address,
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_sleep(120);
                 RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER later AFTER INSERT ON notes
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()",
        );
    };
    let Some(opened) = Opened::with(patient(), slowly) else { return };
    let (db, runs) = (opened.db.clone(), Arc::new(AtomicUsize::new(0)));
    let (mut write, ran) = (note("ann"), Arc::clone(&runs));
    let write = tokio::spawn(async move {
        let counted = move |tx: &mut Tx<'_>| {
            ran.fetch_add(1, SeqCst);
            write(tx)
        };
        db.write(counted).await
    });
    tokio::task::yield_now().await;
    until(|| opened.to_sessions("pg_terminate_backend", "wait_event = 'PgSleep'") > 0);
    assert_eq!(write.await.unwrap(), Err(Error::Unknown));
    assert_eq!(runs.load(SeqCst), 1, "it must not be tried again");
    assert_eq!(opened.db.read(notes).await, Ok(vec![]));
    assert_all_connections_work(&opened.db).await;
}

#[tokio::test]
async fn a_result_that_panics_when_dropped_costs_no_connection() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let Some(opened) = Opened::new() else { return };
    for _ in 0..CONNECTIONS {
        let bomb = |_tx: &mut Tx<'_>| Ok::<_, Error>(Bomb);
        let mut write = Box::pin(opened.db.write(bomb));
        // Its caller goes away as soon as the write is queued.
        std::future::poll_fn(|cx| {
            assert!(write.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(write);
    }
    assert_all_connections_work(&opened.db).await;
    assert_eq!(opened.db.write(note("ann")).await, Ok(()));
}
