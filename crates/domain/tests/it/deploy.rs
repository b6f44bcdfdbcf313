//! What operators are given agrees with the schema.

use std::collections::BTreeMap;

use db::{Db, Url};
use domain::SCHEMA;

use crate::support::wait_for;

const CITUS: &str = include_str!("../../../../deploy/citus.sql");

/// The first column of the key of each table, as the embedded engine has them.
fn keys() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder for the database can be made");
    let url = Url::parse("sqlite:postroom.db", folder.path()).expect("the URL is valid");
    Db::migrate(&url, SCHEMA, 0).expect("the schema can be made");
    let db = Db::open(&url, SCHEMA).expect("the database can be opened");
    let read = db.read(|tx| {
        tx.query(
            "SELECT tables.name, columns.name
             FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table' AND columns.pk = 1
             AND tables.name NOT LIKE 'sqlite%' AND tables.name <> 'schema_migrations'",
            &[],
            |row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())),
        )
    });
    wait_for(read).expect("the schema can be read").into_iter().collect()
}

/// The texts in single quotes behind each of these calls.
fn calls<'t>(text: &'t str, function: &str) -> Vec<Vec<&'t str>> {
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    let arguments = lines.filter_map(|line| line.split_once(function));
    arguments.map(|(_, rest)| rest.split('\'').skip(1).step_by(2).collect()).collect()
}

#[test]
fn every_table_is_spread_once_and_by_the_first_column_of_its_key() {
    let mut keys = keys();
    assert!(keys.len() > 10, "{keys:?}");
    for table in calls(CITUS, "create_reference_table(") {
        assert!(keys.remove(table[0]).is_some(), "{table:?} is no table, or named twice");
    }
    for table in calls(CITUS, "create_distributed_table(") {
        let key = keys.remove(table[0]);
        assert_eq!(key.as_deref(), Some(table[1]), "{table:?}");
    }
    assert!(keys.is_empty(), "not named in deploy/citus.sql: {keys:?}");
}
