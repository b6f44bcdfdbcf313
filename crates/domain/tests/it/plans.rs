//! How the engines run the statements of the product: each one that a test executes is explained,
//! and the test fails where it reads or sorts more than it needs to.

mod judge;

use db::params;

pub(crate) use judge::watch;

use crate::support::{World, refused};

/// Asserts that a statement is refused on each engine for this reason, and again when it is run
/// again.
#[track_caller]
fn refuses(sql: &'static str, on_sqlite: Option<&str>, on_postgres: Option<&str>) {
    let world = World::new();
    let expected = match testing::engine() {
        testing::Engine::Sqlite => on_sqlite,
        testing::Engine::Postgres => on_postgres,
    };
    for _ in 0..2 {
        let run = world.write(move |tx, _cx| {
            // As many values as it has parameters.
            let values = params![1, 2];
            Ok(tx.query(sql, &values[..sql.matches('?').count()], |row| row.int(0))?)
        });
        match expected {
            None => assert_eq!(run.expect("there is an index for it"), Vec::<i64>::new(), "{sql}"),
            Some(why) => {
                let error = refused(run).to_string();
                assert!(error.contains(why), "{sql}\n{error}");
            }
        }
    }
}

#[test]
fn a_statement_that_reads_or_sorts_too_much_fails_where_a_test_runs_it() {
    let both = |sql, on_sqlite, on_postgres| refuses(sql, Some(on_sqlite), Some(on_postgres));
    both("SELECT id FROM messages WHERE sender_id = ?1", "SCAN messages", "Seq Scan on messages");
    both("SELECT id FROM users ORDER BY id", "SCAN users", "a whole index");
    both(
        "SELECT message_id FROM entries WHERE owner_id = ?1 ORDER BY peer_id",
        "USE TEMP B-TREE FOR ORDER BY",
        "a step Sort",
    );
    both("UPDATE users SET email = ''", "SCAN users", "Seq Scan on users");
    let page = "SELECT message_id FROM entries
                WHERE owner_id = ?1 AND place = 0 AND (message_id < ?2 OR role = 2)
                ORDER BY message_id DESC";
    both(page, "does not begin at message_id", "does not begin at message_id");
    refuses(
        "SELECT message_id FROM entries WHERE owner_id = ?1 AND (place = ?2 OR role = 2)",
        Some("more places than it names"),
        None,
    );
    refuses("SELECT message_id FROM entries WHERE owner_id = ?1 AND place = ?2", None, None);
}
