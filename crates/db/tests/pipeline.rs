//! Short reads over pipelined connections to PostgreSQL, and those that need a fiber instead.

use std::io::{Write as _, stderr};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use db::{Db, Error, Migration, Options, Result, Tx, Url, params};
use testing::{Cluster, Database, Proxy};

const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "start",
    oldest: 1,
    sql: "CREATE TABLE things (id INTEGER NOT NULL PRIMARY KEY, whole INTEGER NOT NULL) STRICT;",
}];

/// Longer than anything here takes; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_mins(1);

struct Fresh {
    db: Db,
    database: Database,
}

fn at(url: &str, connections: usize) -> Url {
    let options = Options { connections, ..Options::default() };
    Url::with(url, Path::new(""), options).expect("an address of the server")
}

fn prepare(url: &str) {
    Db::migrate(&at(url, 1), SCHEMA, 1).expect("a new database can be made");
}

impl Fresh {
    /// An engine with one fiber and a database with thing 1; `None` without a server.
    async fn open() -> Option<Self> {
        if testing::shared().is_none() {
            drop(writeln!(stderr(), "PostgreSQL skipped: there is no server"));
            return None;
        }
        let database = Database::fresh(prepare);
        let db = Db::open(&at(&database.url(), 1), SCHEMA).expect("it can be opened");
        let one = |tx: &mut Tx<'_>| {
            tx.execute("INSERT INTO things (id, whole) VALUES (?1, ?2)", &params![1, 10])
        };
        db.write(one).await.expect("there is nothing in the way");
        Some(Self { db, database })
    }

    /// Reads until this runtime has a pipelined connection.
    async fn line(&self) {
        let begun = Instant::now();
        while self.db.stats().connections < 2 {
            assert!(begun.elapsed() < PATIENCE, "no connection for short reads");
            self.db.read_one(thing).await.expect("it is there");
        }
    }

    /// Occupies the only fiber until the returned sender is dropped.
    async fn occupy(&self) -> Sender<()> {
        let (go, wait) = channel::<()>();
        let (started, running) = tokio::sync::oneshot::channel();
        let mut started = Some(started);
        let hold = move |_: &mut Tx<'_>| {
            started.take().map(|started| started.send(()));
            wait.recv().unwrap_or_default();
            Ok(())
        };
        self.db.write_later(hold).expect("there is nothing in the way");
        running.await.expect("it runs");
        go
    }
}

fn thing(tx: &mut Tx<'_>) -> Result<i64> {
    tx.query_one("SELECT whole FROM things WHERE id = ?1", &params![1], |row| row.int(0))
}

#[tokio::test]
async fn a_read_of_one_statement_needs_no_fiber() {
    let Some(fresh) = Fresh::open().await else { return };
    fresh.line().await;
    let busy = fresh.occupy().await;
    assert_eq!(fresh.db.read_one(thing).await, Ok(10));
    assert_eq!(fresh.db.read_one(|_| Ok::<_, Error>(3)).await, Ok(3));
    drop(busy);
}

#[tokio::test]
async fn a_read_of_several_statements_has_one_snapshot() {
    let Some(fresh) = Fresh::open().await else { return };
    fresh.line().await;
    for _ in 0..3 {
        let both = |tx: &mut Tx<'_>| Ok::<_, Error>((thing(tx)?, thing(tx)?));
        assert_eq!(fresh.db.read(both).await, Ok((10, 10)));
    }
}

#[tokio::test]
async fn a_read_that_would_write_is_refused() {
    let Some(fresh) = Fresh::open().await else { return };
    fresh.line().await;
    for _ in 0..2 {
        let write = |tx: &mut Tx<'_>| tx.execute("UPDATE things SET whole = 1", &[]);
        assert!(fresh.db.read_one(write).await.is_err());
        assert_eq!(fresh.db.read_one(thing).await, Ok(10));
    }
}

#[tokio::test]
async fn the_result_of_the_closure_is_the_answer() {
    let Some(fresh) = Fresh::open().await else { return };
    fresh.line().await;
    let none = |tx: &mut Tx<'_>| {
        tx.query_one("SELECT whole FROM things WHERE id = 2", &[], |row| row.int(0))
    };
    assert_eq!(fresh.db.read_one(none).await, Err(Error::NoRow));
    let own = |tx: &mut Tx<'_>| thing(tx).and(Err::<(), _>(Error::Full));
    assert_eq!(fresh.db.read_one(own).await, Err(Error::Full));
    let panics = |tx: &mut Tx<'_>| -> Result<()> { panic!("with {}", thing(tx)?) };
    assert_eq!(fresh.db.read_one(panics).await, Err(Error::Panicked("with 10".to_owned())));
    let wrong = |tx: &mut Tx<'_>| tx.query("SELECT nothing FROM things", &[], |row| row.int(0));
    assert!(matches!(fresh.db.read_one(wrong).await, Err(Error::Engine(_))));
    assert_eq!(fresh.db.read_one(thing).await, Ok(10));
}

#[tokio::test]
async fn no_read_fails_because_a_connection_is_cut() {
    let Some(fresh) = Fresh::open().await else { return };
    fresh.line().await;
    let url = fresh.database.url();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    testing::sql(&url, cut);
    assert_eq!(fresh.db.read_one(thing).await, Ok(10));
    fresh.line().await;
    let busy = fresh.occupy().await;
    assert_eq!(fresh.db.read_one(thing).await, Ok(10));
    drop(busy);
}

#[tokio::test]
async fn closing_ends_all_connections() {
    let Some(fresh) = Fresh::open().await else { return };
    fresh.line().await;
    fresh.db.close();
    assert_eq!(fresh.db.read_one(thing).await, Err(Error::Closed));
    assert_eq!(fresh.db.stats().connections, 0);
}

#[tokio::test]
async fn no_read_waits_long_for_a_connection_that_never_answers() {
    if testing::shared().is_none() {
        return;
    }
    let cluster = Cluster::start(&[]);
    let proxy = Proxy::start(cluster.port());
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
    Db::migrate(&at(&address, 1), SCHEMA, 1).unwrap();
    let db = Db::open(&at(&address, 1), SCHEMA).unwrap();
    let none = |tx: &mut Tx<'_>| tx.query("SELECT whole FROM things", &[], |row| row.int(0));
    let begun = Instant::now();
    while db.stats().connections < 2 {
        assert!(begun.elapsed() < PATIENCE, "no connection for short reads");
        db.read_one(none).await.unwrap();
    }
    proxy.black_hole(true);
    let begun = Instant::now();
    let answer = db.read_one(none).await;
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    // The time of a request, and as much again for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    proxy.black_hole(false);
    let begun = Instant::now();
    while db.read_one(none).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "nothing is read any more");
    }
}
