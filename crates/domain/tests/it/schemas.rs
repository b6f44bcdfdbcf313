//! The two live schemas are one: what the textual rules of the engines make of the steps.

use std::collections::BTreeSet;
use std::path::Path;

use db::{Db, Url};
use domain::{SCHEMA, Time};
use testing::{Database, Engine, engine};

use crate::support::wait_for;

/// Table, column, type, whether it must be there, the place in the key, the default.
const COLUMNS_OF_A_FILE: &str = "
    SELECT tables.name || '.' || columns.name,
           CASE columns.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea'
                ELSE lower(columns.type) END,
           columns.\"notnull\" OR columns.pk > 0, columns.pk, coalesce(columns.dflt_value, '')
    FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%'";

const COLUMNS_OF_A_SERVER: &str = "
    SELECT table_name || '.' || column_name, data_type::text, is_nullable = 'NO',
           coalesce((SELECT keys.ordinal_position FROM information_schema.key_column_usage AS keys
                     JOIN information_schema.table_constraints AS constraints
                         USING (constraint_schema, constraint_name)
                     WHERE constraint_type = 'PRIMARY KEY' AND keys.table_name = columns.table_name
                         AND keys.column_name = columns.column_name), 0)::bigint,
           coalesce(replace(split_part(column_default, '::', 1), '\"', ''), '')::text
    FROM information_schema.columns AS columns WHERE table_schema = 'public'";

/// Name, column, place, whether it holds only some rows, whether each value is there once.
const INDEXES_OF_A_FILE: &str = "
    SELECT indexes.name || '.' || columns.name, columns.seqno + 1, indexes.partial,
           indexes.\"unique\"
    FROM sqlite_schema AS tables, pragma_index_list(tables.name) AS indexes,
         pragma_index_info(indexes.name) AS columns
    WHERE tables.type = 'table' AND indexes.origin = 'c'";

const INDEXES_OF_A_SERVER: &str = "
    SELECT classes.relname || '.' || columns.attname, keys.place::bigint,
           indexes.indpred IS NOT NULL, indexes.indisunique
    FROM pg_index AS indexes
    JOIN pg_class AS classes ON classes.oid = indexes.indexrelid
    CROSS JOIN LATERAL unnest(indexes.indkey) WITH ORDINALITY AS keys (number, place)
    JOIN pg_attribute AS columns
        ON columns.attrelid = indexes.indrelid AND columns.attnum = keys.number
    WHERE classes.relnamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexes.indexrelid)";

/// Text that is not compared byte by byte would be found and ordered otherwise.
const OTHERWISE_COLLATED: &str = "
    SELECT table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND data_type = 'text' AND table_name <> 'schema_migrations'
        AND collation_name IS DISTINCT FROM 'C'";

fn open(url: &Url) -> Db {
    Db::migrate(url, SCHEMA, Time(1).0).expect("the schema can be made");
    Db::open(url, SCHEMA).expect("the database can be opened")
}

fn columns(db: &Db, sql: &'static str) -> BTreeSet<String> {
    let read = db.read(move |tx| {
        tx.query(sql, &[], |row| {
            let (name, kind, default) = (row.text(0)?, row.text(1)?, row.text(4)?);
            let (must, key) = (row.int(2)?, row.int(3)?);
            Ok(format!("{name} {kind} required: {must} key: {key} default: {default}"))
        })
    });
    let found: Result<BTreeSet<_>, db::Error> =
        wait_for(read).map(|rows| rows.into_iter().collect());
    let mut found = found.expect("the catalog can be read");
    // The engines keep their own account of the steps.
    found.retain(|column| !column.starts_with("schema_migrations."));
    found
}

fn indexes(db: &Db, sql: &'static str) -> BTreeSet<String> {
    let read = db.read(move |tx| {
        tx.query(sql, &[], |row| {
            let (name, place) = (row.text(0)?, row.int(1)?);
            let (partial, unique) = (row.flag(2)?, row.flag(3)?);
            Ok(format!("{name} place: {place} partial: {partial} unique: {unique}"))
        })
    });
    let found: Result<BTreeSet<_>, db::Error> =
        wait_for(read).map(|rows| rows.into_iter().collect());
    found.expect("the catalog can be read")
}

#[test]
fn a_server_has_the_tables_columns_and_indexes_of_a_file() {
    // Both are needed at once, so it is done where there is a server.
    if engine() == Engine::Sqlite {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = Url::parse("sqlite:postroom.db", folder.path()).expect("the URL is valid");
    let database = Database::empty();
    let server = Url::parse(&database.url(), Path::new("")).expect("the URL is valid");
    let (file, server) = (open(&file), open(&server));

    let columns_there = columns(&file, COLUMNS_OF_A_FILE);
    assert!(columns_there.len() > 80, "{columns_there:#?}");
    assert_eq!(columns_there, columns(&server, COLUMNS_OF_A_SERVER));
    let indexes_there = indexes(&file, INDEXES_OF_A_FILE);
    assert!(indexes_there.len() > 12, "{indexes_there:#?}");
    assert_eq!(indexes_there, indexes(&server, INDEXES_OF_A_SERVER));
    let read =
        server.read(|tx| tx.query(OTHERWISE_COLLATED, &[], |row| Ok(row.text(0)?.to_owned())));
    assert_eq!(wait_for(read), Ok::<_, db::Error>(Vec::<String>::new()));
}
