//! The names of unique constraints: the engines name primary keys otherwise, and a renamed table
//! keeps the names of its youth.

use std::collections::HashMap;

use tokio_postgres::error::DbError;

use crate::error::unique_name;

/// Table and columns of each unique constraint, by its name.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    names: HashMap<String, String>,
}

/// Name, table and columns of each, in their order.
pub(super) const CONSTRAINTS: &str = "
    SELECT constraints.conname::text, tables.relname::text, columns.attname::text
    FROM pg_constraint AS constraints
    JOIN pg_class AS tables ON tables.oid = constraints.conrelid
    CROSS JOIN LATERAL unnest(constraints.conkey) WITH ORDINALITY AS keys (number, place)
    JOIN pg_attribute AS columns
        ON columns.attrelid = tables.oid AND columns.attnum = keys.number
    WHERE constraints.contype IN ('p', 'u')
        AND tables.relnamespace = current_schema()::regnamespace
    ORDER BY constraints.conname, keys.place";

impl Catalog {
    /// From the rows of [`CONSTRAINTS`].
    pub(super) fn new(rows: &[(String, String, String)]) -> Self {
        let names = rows.chunk_by(|one, next| one.0 == next.0).map(|rows| {
            let columns = rows.iter().map(|(_, _, column)| column.as_str());
            (rows[0].0.clone(), unique_name(&rows[0].1, columns))
        });
        Self { names: names.collect() }
    }

    /// The name by which both engines call a constraint that was violated.
    pub(super) fn name(&self, said: &DbError) -> String {
        let name = said.constraint().unwrap_or_default();
        self.names.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }
}
