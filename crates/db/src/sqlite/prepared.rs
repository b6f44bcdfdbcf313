//! A connection and the statements that were prepared on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;

use rusqlite::{Connection, PrepFlags, Statement};
use self_cell::self_cell;

use crate::Result;

/// A connection keeps at most this many statements; one that is full begins again. A server that
/// uses everything has fewer in use at a time.
const MOST: usize = 256;

/// By address and length: a `'static` text is at its address for as long as the program runs. This
/// is cheaper than to hash and compare the text, or to copy it, at each use.
type Statements<'a> = RefCell<BTreeMap<*const str, Statement<'a>>>;

self_cell!(
    struct Both {
        owner: Connection,
        #[not_covariant]
        dependent: Statements,
    }
);

/// A connection that prepares a statement once. It stays on its thread.
pub(crate) struct Prepared(Both);

impl Prepared {
    pub(crate) fn new(connection: Connection) -> Self {
        Self(Both::new(connection, |_| RefCell::default()))
    }

    /// Lends the prepared statement to `f`, which must bind all of its parameters: those of the use
    /// before are still bound.
    pub(super) fn lend<T>(
        &self,
        sql: &'static str,
        f: impl FnOnce(&mut Statement<'_>) -> Result<T>,
    ) -> Result<T> {
        self.0.with_dependent(|connection, statements| {
            // `f` gets no transaction, so it cannot ask for another statement meanwhile.
            let statements = &mut *statements.borrow_mut();
            let place = std::ptr::from_ref(sql);
            if let Some(statement) = statements.get_mut(&place) {
                return f(statement);
            }
            if statements.len() == MOST {
                statements.clear();
            }
            let persistent = PrepFlags::SQLITE_PREPARE_PERSISTENT;
            let statement = connection.prepare_with_flags(sql, persistent)?;
            f(statements.entry(place).or_insert(statement))
        })
    }

    /// Runs a statement that has no parameters and returns nothing.
    pub(super) fn run(&self, sql: &'static str) -> Result<()> {
        self.lend(sql, |statement| Ok(statement.raw_execute().map(drop)?))
    }
}

impl Deref for Prepared {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0.borrow_owner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, sqlite::verbs};

    fn connection() -> Prepared {
        Prepared::new(Connection::open_in_memory().expect("SQLite works"))
    }

    /// How many statements are kept.
    fn kept(connection: &Prepared) -> usize {
        connection.0.with_dependent(|_, statements| statements.borrow().len())
    }

    #[test]
    fn a_statement_is_prepared_once_and_the_number_of_them_is_bounded() {
        let connection = connection();
        for _twice in 0..2 {
            connection.run("PRAGMA user_version = 7").unwrap();
        }
        assert_eq!(kept(&connection), 1);
        for number in 1..MOST + 10 {
            let sql = format!("PRAGMA user_version = {number}");
            connection.run(Box::leak(sql.into_boxed_str())).unwrap();
            assert!(kept(&connection) <= MOST);
        }
        assert_eq!(kept(&connection), 10);
    }

    #[test]
    fn a_statement_whose_rows_are_not_read_to_the_end_is_ready_for_its_next_use() {
        let connection = connection();
        let sql = "SELECT ?1 UNION ALL SELECT 2";
        for value in [7, 8] {
            let mut found = Vec::new();
            let read = verbs::each(&connection, sql, &[value.into()], |row| {
                found.push(row.int(0)?);
                Err(Error::NoRow)
            });
            assert_eq!((read, found), (Err(Error::NoRow), vec![value]));
            assert!(!connection.is_busy());
        }
    }
}
