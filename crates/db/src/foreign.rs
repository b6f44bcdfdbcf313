//! The database of another program, which is only read.

use std::collections::BTreeMap;

use crate::postgres::copy::Transaction;
use crate::tables::{Rows, quote};
use crate::{Error, Result, Url, Value, sqlite, url::Location};

/// The columns of a file, with their places in the primary key. Virtual tables may need what this
/// program lacks.
const OF_FILE: &str = "
    SELECT tables.name, columns.name, columns.pk
    FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite!_%' ESCAPE '!'
        AND tables.sql NOT LIKE 'CREATE VIRTUAL %'
    ORDER BY tables.name, columns.cid";

/// The same of the current schema of a PostgreSQL database.
const OF_SERVER: &str = "
    SELECT tables.relname::text, columns.attname::text,
        coalesce(array_position(keys.conkey, columns.attnum), 0)::bigint
    FROM pg_class AS tables
    JOIN pg_attribute AS columns
        ON columns.attrelid = tables.oid AND columns.attnum > 0 AND NOT columns.attisdropped
    LEFT JOIN pg_constraint AS keys ON keys.conrelid = tables.oid AND keys.contype = 'p'
    WHERE tables.relnamespace = current_schema()::regnamespace AND tables.relkind IN ('r', 'p')
    ORDER BY tables.relname, columns.attnum";

/// The database of another program, as it is at one moment. It is not changed, and its program may
/// be using it.
pub struct Foreign {
    inner: Inner,
    tables: BTreeMap<String, ForeignTable>,
}

enum Inner {
    File(sqlite::Theirs),
    Server(Box<Transaction>),
}

/// A table of another program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignTable {
    /// Its columns, in their order.
    pub columns: Vec<String>,
    /// The column of the primary key; none where it has more of them, or none.
    pub key: Option<String>,
}

impl Foreign {
    /// Opens a database.
    ///
    /// # Errors
    /// [`Error::File`] if there is no file; [`Error::Unavailable`] if no PostgreSQL server answers;
    /// or that it cannot be read.
    pub fn open(url: &Url) -> Result<Self> {
        let mut inner = match &url.location {
            Location::File(path) => Inner::File(sqlite::Theirs::open(path)?),
            Location::Server(config) => Inner::Server(Box::new(Transaction::theirs(config)?)),
        };
        let (catalog, mut listed) =
            (if matches!(inner, Inner::File(_)) { OF_FILE } else { OF_SERVER }, Vec::new());
        inner.rows(catalog, 3, &mut |rows| {
            for row in rows {
                let [Value::Text(table), Value::Text(column), Value::Int(place)] = row[..] else {
                    return Err(Error::NoRow);
                };
                listed.push((table.to_owned(), column.to_owned(), place));
            }
            Ok(())
        })?;
        let mut tables = BTreeMap::<_, ForeignTable>::new();
        for (table, column, place) in listed {
            let table = tables.entry(table).or_default();
            match place {
                0 => {}
                1 => table.key = Some(column.clone()),
                _ => table.key = None,
            }
            table.columns.push(column);
        }
        Ok(Self { inner, tables })
    }

    /// All tables by name.
    pub fn tables(&self) -> &BTreeMap<String, ForeignTable> {
        &self.tables
    }

    /// Gives `take` all rows of a table, in the order of the first of the named columns: of each
    /// these columns as text, `None` for NULL. Times are in UTC where the database knows a zone.
    ///
    /// # Errors
    /// [`Error::NoRow`] where there is no such table or column; [`Error::Column`] where a text is
    /// not UTF-8; what `take` returns.
    pub fn read<E: From<Error>>(
        &mut self,
        table: &str,
        columns: &[&str],
        mut take: impl FnMut(&[Option<&str>]) -> Result<(), E>,
    ) -> Result<(), E> {
        // What is written into the statement are names that the catalog has.
        let known = self.tables.get(table).ok_or(Error::NoRow)?;
        let is_known = |column| known.columns.iter().any(|known| known == column);
        if columns.is_empty() || !columns.iter().all(is_known) {
            return Err(Error::NoRow.into());
        }
        let list = columns.iter().map(|column| format!("CAST({} AS TEXT)", quote(column)));
        let list = list.collect::<Vec<_>>().join(", ");
        // Named with its table, as PostgreSQL calls the text of a column by the same name.
        let (from, by) = (quote(table), quote(columns[0]));
        let sql = format!("SELECT {list} FROM {from} AS theirs ORDER BY theirs.{by}");
        let mut failed = None;
        let read = self.inner.rows(&sql, columns.len(), &mut |rows| {
            for row in rows {
                let texts = row.iter().map(|value| match value {
                    Value::Text(text) => Some(*text),
                    _ => None,
                });
                if let Err(error) = take(&texts.collect::<Vec<_>>()) {
                    failed = Some(error);
                    return Err(Error::Closed);
                }
            }
            Ok(())
        });
        failed.map_or(read.map_err(E::from), Err)
    }
}

impl Inner {
    fn rows(
        &mut self,
        sql: &str,
        columns: usize,
        take: &mut dyn FnMut(&Rows<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::File(file) => file.pages(sql, columns, take),
            Self::Server(server) => server.pages(sql, columns, take),
        }
    }
}
