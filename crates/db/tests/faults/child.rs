//! The process that the tests break: a database that is controlled by lines on its input.
//!
//! It is this test binary, started again with the folder of the database in a variable. Each line
//! is answered by one line: `ok`, `error …` or a result.

use std::fmt::Debug;
use std::fs;
use std::io::{Write as _, stdin, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::time::Duration;

use db::{Db, Error, Migration, Purpose, Result, Tx, Url, Value, params};
use tokio::time::timeout;

pub(crate) const FOLDER: &str = "POSTROOM_FAULTS_FOLDER";

pub(crate) const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "start",
    oldest: 1,
    sql: "CREATE TABLE rows (
              position INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL, filling BLOB
          ) STRICT;",
}];
const NEWER: &[Migration] = &[
    SCHEMA[0],
    Migration {
        version: 2,
        name: "more",
        oldest: 2,
        sql: "ALTER TABLE rows ADD COLUMN more INTEGER; CREATE TABLE others (id INTEGER) STRICT;",
    },
];
const DELETE: &str = "DELETE FROM rows WHERE number = ?1";
const INSERT: &str = "INSERT INTO rows (number, filling) VALUES (?1, ?2)";
/// Writes that a stream submits at once, so that they share commits.
pub(crate) const AT_ONCE: usize = 8;
/// More than SQLite keeps in memory for one transaction.
const TOO_BIG: usize = 20_000_000;

#[test]
#[ignore = "the other tests start it as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
fn serve() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // Ends the line that the test harness has begun.
    say(&"\nready");
    runtime.block_on(Child { folder: folder.into(), db: None }.serve());
}

struct Child {
    folder: PathBuf,
    db: Option<Db>,
}

fn say(line: &dyn std::fmt::Display) {
    // A test that has ended needs no answer; the input ends then, too.
    writeln!(stdout(), "{line}").unwrap_or_default();
}

fn answer<T>(result: &Result<T, impl Debug>) {
    match result {
        Ok(_) => say(&"ok"),
        Err(error) => say(&format!("error {error:?}")),
    }
}

pub(crate) fn url(folder: &Path) -> Url {
    at(&folder.join("post.db"))
}

pub(crate) fn at(path: &Path) -> Url {
    Url::parse(&format!("sqlite:{}", path.display()), Path::new("/")).expect("it is one")
}

/// A write of one row.
fn row(number: i64, filling: usize) -> impl FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static {
    move |tx| tx.execute(INSERT, &params![number, &*vec![7_u8; filling]]).map(drop)
}

impl Child {
    async fn serve(&mut self) {
        let mut line = String::new();
        while stdin().read_line(&mut line).expect("the input is text") > 0 {
            let mut words = line.split_whitespace();
            let verb = words.next().expect("a line has a verb");
            let words: Vec<_> = words.collect();
            let number = |at: usize| words[at].parse::<i64>().expect("it is a number");
            match verb {
                "migrate" => answer(&Db::migrate(&url(&self.folder), SCHEMA, 1)),
                "migrate-more" => answer(&Db::migrate(&url(&self.folder), NEWER, 2)),
                "open" | "open-more" => {
                    let schema = if verb == "open" { SCHEMA } else { NEWER };
                    let opened = Db::open(&url(&self.folder), schema);
                    answer(&opened.map(|db| self.db = Some(db)));
                }
                "write" => answer(&self.db().write(row(number(0), 10)).await),
                "forget" => {
                    let number = number(0);
                    let forget = move |tx: &mut Tx<'_>| tx.execute(DELETE, &params![number]);
                    answer(&self.db().write_for(Purpose::Free, forget).await);
                }
                "reserve" => {
                    answer(&self.db().keep_reserve(number(0).try_into().expect("it fits")));
                }
                "big" => {
                    let filling = number(1).try_into().expect("it fits");
                    answer(&self.db().write(row(number(0), filling)).await);
                }
                "stubborn" => answer(&self.db().write(stubborn(number(0))).await),
                "patient" => self.patient(number(0)).await,
                "deaf-write" => answer(&self.db().write(deaf).await),
                "deaf-read" => answer(&self.db().read(deaf).await),
                "batch" => self.batch(number(0), number(1)).await,
                "stream" => self.stream(number(0)).await,
                "rows" => match self.db().read(numbers).await {
                    Ok(numbers) => say(&numbers.join(" ")),
                    error => answer(&error),
                },
                "failed" => match timeout(Duration::from_mins(1), self.db().failed()).await {
                    Ok(error) => answer(&Err::<(), _>(error)),
                    Err(_late) => say(&"sound"),
                },
                "sound" => match timeout(Duration::ZERO, self.db().failed()).await {
                    Ok(error) => answer(&Err::<(), _>(error)),
                    Err(_pending) => say(&"ok"),
                },
                "backup" => answer(&Db::backup(&url(&self.folder), Path::new(words[0]))),
                "restore" => {
                    let (source, stamp) = (Path::new(words[0]), words[1]);
                    let prepare = |tx: &mut Tx<'_>, _: Option<&mut Tx<'_>>| row(9, 10)(tx);
                    let at = (1, stamp);
                    answer(&Db::restore(&url(&self.folder), source, SCHEMA, at, prepare));
                }
                "integrity" => match Db::integrity(&url(&self.folder)) {
                    Ok(problems) if problems.is_empty() => say(&"ok"),
                    other => say(&format!("error {other:?}")),
                },
                "ballast" => {
                    let ballast = vec![1; number(0).try_into().expect("it fits")];
                    answer(&fs::write(self.folder.join("ballast"), ballast));
                }
                "unballast" => answer(&fs::remove_file(self.folder.join("ballast"))),
                _ => panic!("what is {line}?"),
            }
            line.clear();
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it was opened")
    }

    /// Begins a write that ends only when the storage has failed.
    async fn patient(&self, number: i64) {
        let (go, wait) = channel::<()>();
        let mut row = row(number, 10);
        let write = move |tx: &mut Tx<'_>| {
            row(tx)?;
            wait.recv().unwrap_or_default();
            Ok::<_, Error>(())
        };
        let fail = async {
            self.db().failed().await;
            drop(go);
        };
        answer(&tokio::join!(self.db().write(write), fail).0);
    }

    /// Writes rows, in one commit if possible. Answers a line for each, and how many ran.
    async fn batch(&self, from: i64, to: i64) {
        let (go, wait) = channel::<()>();
        let (started, running) = channel();
        let hold = move |_tx: &mut Tx<'_>| {
            started.send(()).unwrap_or_default();
            wait.recv().unwrap_or_default();
            Ok(())
        };
        self.db().write_later(hold).expect("the queue has room");
        running.recv().expect("the writer runs it");
        let ran = Arc::new(AtomicUsize::new(0));
        let writes: Vec<_> = (from..=to)
            .map(|number| {
                let (db, ran, mut row) = (self.db().clone(), Arc::clone(&ran), row(number, 10));
                tokio::spawn(async move {
                    let run = move |tx: &mut Tx<'_>| {
                        ran.fetch_add(1, Relaxed);
                        row(tx)
                    };
                    db.write(run).await
                })
            })
            .collect();
        // All of them are submitted before the writer continues.
        tokio::task::yield_now().await;
        drop(go);
        for write in writes {
            answer(&write.await.expect("it does not panic"));
        }
        say(&ran.load(Relaxed));
    }

    /// Writes rows without end, and prints the number of each acknowledged one.
    async fn stream(&self, from: i64) {
        let mut first = from;
        loop {
            let write = |number| {
                tokio::spawn({
                    let db = self.db().clone();
                    async move { db.write(row(number, 10)).await }
                })
            };
            let writes: Vec<_> = (first..).take(AT_ONCE).map(|n| (n, write(n))).collect();
            for (number, write) in writes {
                assert_eq!(write.await.expect("it does not panic"), Ok(()));
                say(&number);
                first = number + 1;
            }
        }
    }
}

/// A write that ignores an error of the engine.
fn stubborn(number: i64) -> impl FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static {
    move |tx| {
        let failed = tx.execute(INSERT, &params![number, &*vec![7_u8; TOO_BIG]]);
        assert_eq!(failed, Err(Error::Full), "the test lets it fail");
        drop(tx.execute(INSERT, &[Value::Int(number), Value::Null]));
        Ok(())
    }
}

/// A closure that ignores whether its statement failed.
#[expect(clippy::unnecessary_wraps, reason = "that is what is asked of it")]
fn deaf(tx: &mut Tx<'_>) -> Result<()> {
    drop(numbers(tx));
    Ok(())
}

fn numbers(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    tx.query("SELECT number FROM rows ORDER BY position", &[], |row| Ok(row.int(0)?.to_string()))
}
