//! What nobody outside can bring about: a BEGIN that fails before its first statement.

use testing::{Database, sql};

use super::{BEGIN_WRITE, Session, Waits};
use crate::postgres::Config;
use crate::postgres::failure::Trouble;
use crate::{Error, Options};

const INSERT: &str = "INSERT INTO notes (id) VALUES (1)";

fn thread() -> Waits<'static> {
    Waits::thread().expect("there are runtimes")
}

#[test]
fn a_begin_that_fails_never_lets_its_first_statement_through() {
    if testing::shared().is_none() {
        return;
    }
    let database = Database::empty();
    let address = database.url();
    sql(&address, "CREATE TABLE notes (id BIGINT)");
    for named_statements in [true, false] {
        let options = Options { named_statements, ..Options::default() };
        let config = Config::parse(&address, options).expect("it is an address");
        let mut session = Session::connect(thread(), &config, None).expect("it answers");
        // Both before the statement is known to the server and after.
        for _ in 0..2 {
            session.begin(Some("BEGIN nonsense"), None);
            let failed = session.execute(INSERT, &[]);
            assert!(matches!(failed, Err(Error::Engine(_))), "{failed:?}");
            session.rollback();
            session.begin(Some("BEGIN nonsense"), None);
            let failed = session.batch(INSERT, &[[], []]);
            assert!(matches!(failed, Err(Error::Engine(_))), "{failed:?}");
            session.rollback();
        }
        assert!(sql(&address, "SELECT * FROM notes").is_empty(), "it was written");
        session.begin(Some(BEGIN_WRITE), None);
        assert_eq!(session.execute(INSERT, &[]), Ok(1));
        session.rollback();
    }
}

#[test]
fn what_cannot_be_prepared_does_not_break_the_connection_for_what_comes_next() {
    if testing::shared().is_none() {
        return;
    }
    let database = Database::empty();
    let config = Config::parse(&database.url(), Options::default()).expect("it is an address");
    let mut session = Session::connect(thread(), &config, None).expect("it answers");
    // A read of several statements stays open until the next work, which cannot be prepared.
    session.begin(Some(super::BEGIN_READ), None);
    session.query("SELECT 1", &[]).expect("it can be read");
    session.commit_later();
    session.begin(None, None);
    session.query("SELECT nonsense", &[]).expect_err("there is no such column");
    assert!(!session.has_begun());
    session.forget();
    session.begin(None, None);
    session.query("SELECT 2", &[]).expect("the connection is as good as before");
    session.forget();
    session.begin(Some(BEGIN_WRITE), None);
    session.query("SELECT 3", &[]).expect("the connection is as good as before");
    assert_eq!(session.commit(), Ok(()));
}

#[test]
fn an_end_of_a_read_that_failed_unseen_costs_the_connection_and_not_what_comes_next() {
    if testing::shared().is_none() {
        return;
    }
    let database = Database::empty();
    let config = Config::parse(&database.url(), Options::default()).expect("it is an address");
    for next in [None, Some(super::BEGIN_READ), Some(BEGIN_WRITE)] {
        let mut session = Session::connect(thread(), &config, None).expect("it answers");
        // As a COMMIT leaves it that somebody cancels.
        session.send("BEGIN; SELECT 1 / 0");
        session.begin(next, None);
        session.query("SELECT 1", &[]).expect_err("the transaction is broken");
        assert_eq!(session.trouble(), Some(Trouble::Lost), "{next:?}");
        assert!(!session.is_alive());
    }
}
