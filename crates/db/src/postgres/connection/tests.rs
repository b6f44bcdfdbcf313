//! Failures that no caller can cause, such as a BEGIN that fails before its first statement.

use testing::{Database, sql};

use super::{BEGIN_READ, BEGIN_WRITE, Connection, Waiter};
use crate::{Error, Options, postgres::config::Config, postgres::failure::Recovery};

const INSERT: &str = "INSERT INTO notes (id) VALUES (1)";

fn open(config: &Config) -> Connection<'static> {
    let thread = Waiter::thread().expect("a runtime can be started");
    Connection::open(thread, config, None).expect("the server answers")
}

fn config(address: &str, options: Options) -> Config {
    Config::parse(address, options).expect("the address is valid")
}

#[test]
fn after_a_failed_begin_its_first_statement_changes_nothing() {
    if testing::shared().is_none() {
        return;
    }
    let database = Database::empty();
    let address = database.url();
    sql(&address, "CREATE TABLE notes (id BIGINT)");
    for named_statements in [true, false] {
        let options = Options { named_statements, ..Options::default() };
        let mut connection = open(&config(&address, options));
        // The first round prepares the statement, the second finds it prepared.
        for _ in 0..2 {
            connection.begin(Some("BEGIN nonsense"), None);
            let failed = connection.execute(INSERT, &[]);
            assert!(matches!(failed, Err(Error::Engine(_))), "{failed:?}");
            connection.driver.rollback();
            connection.begin(Some("BEGIN nonsense"), None);
            let failed = connection.batch(INSERT, &[[], []]);
            assert!(matches!(failed, Err(Error::Engine(_))), "{failed:?}");
            connection.driver.rollback();
        }
        assert!(sql(&address, "SELECT * FROM notes").is_empty(), "it was written");
        connection.begin(Some(BEGIN_WRITE), None);
        assert_eq!(connection.execute(INSERT, &[]), Ok(1));
        connection.driver.rollback();
    }
}

#[test]
fn a_statement_that_cannot_be_prepared_does_not_break_the_connection() {
    if testing::shared().is_none() {
        return;
    }
    let database = Database::empty();
    let mut connection = open(&config(&database.url(), Options::default()));
    // A read of several statements stays open until the next one, which cannot be prepared.
    connection.begin(Some(BEGIN_READ), None);
    connection.query("SELECT 1", &[]).expect("a connection can be read from");
    connection.commit_later();
    connection.begin(None, None);
    connection.query("SELECT nonsense", &[]).expect_err("there is no such column");
    assert!(!connection.has_begun());
    connection.forget();
    connection.begin(None, None);
    connection.query("SELECT 2", &[]).expect("the connection still works");
    connection.forget();
    connection.begin(Some(BEGIN_WRITE), None);
    connection.query("SELECT 3", &[]).expect("the connection still works");
    assert_eq!(connection.driver.commit(), Ok(()));
}

#[test]
fn a_failed_commit_of_an_earlier_read_only_costs_the_connection() {
    if testing::shared().is_none() {
        return;
    }
    let database = Database::empty();
    let config = config(&database.url(), Options::default());
    for next in [None, Some(BEGIN_READ), Some(BEGIN_WRITE)] {
        let mut connection = open(&config);
        // The state after a COMMIT that somebody cancelled.
        connection.driver.send("BEGIN; SELECT 1 / 0");
        connection.begin(next, None);
        connection.query("SELECT 1", &[]).expect_err("the transaction is broken");
        assert_eq!(connection.driver.recovery, Some(Recovery::Reconnect), "{next:?}");
        assert!(!connection.driver.is_alive());
    }
}
