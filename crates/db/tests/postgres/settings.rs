//! Settings of the server, and what does not depend on them.

use std::path::Path;

use db::{Db, Error, Options, Result, Tx, Url};
use testing::{shared, sql};

use crate::{Opened, left_out, migrate, note, notes, open, patient};

/// The value of a setting.
fn setting(name: &'static str) -> impl FnMut(&mut Tx<'_>) -> Result<String> + Send + 'static {
    move |tx| {
        let setting = "SELECT current_setting(?1)";
        tx.query_one(setting, &db::params![name], |row| Ok(row.text(0)?.to_owned()))
    }
}

#[tokio::test]
async fn commits_are_synchronous_whatever_the_default_of_the_role() {
    for named_statements in [true, false] {
        for (theirs, ours) in [
            ("off", "on"),
            ("local", "on"),
            ("on", "on"),
            ("remote_write", "remote_write"),
            ("remote_apply", "remote_apply"),
        ] {
            let options = Options { named_statements, ..patient() };
            let set = |address: &str| {
                let name = sql(address, "SELECT current_database()").concat().concat();
                sql(address, &format!("ALTER DATABASE {name} SET synchronous_commit = {theirs}"));
            };
            let Some(opened) = Opened::with(options, set) else { return };
            let found = opened.db.write(setting("synchronous_commit")).await;
            assert_eq!(found.as_deref(), Ok(ours), "where it was {theirs}");
        }
    }
}

#[tokio::test]
async fn texts_are_in_byte_order_in_a_database_of_another_locale() {
    let Some(server) = shared() else { return left_out() };
    let name = format!("postroom_test_in_english_{}", std::process::id());
    server.sql(&format!("DROP DATABASE IF EXISTS {name}"));
    let english =
        format!("CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'");
    if let Err(why) = server.try_sql(&english) {
        // Without ICU the server has no other order than ours.
        assert!(why.contains("ICU"), "{why}");
        return left_out();
    }
    let address = server.url(&name);
    assert_eq!(sql(&address, "SELECT 'a' < 'B'"), [["t"]], "their order is another one");
    migrate(&address);
    let db = open(&address, patient()).unwrap();
    for words in ["ä", "a", "B", "b", "A", "Z"] {
        db.write(note(words)).await.unwrap();
    }
    let found = db.read(notes).await.unwrap();
    assert_eq!(found, ["A", "B", "Z", "a", "b", "ä"]);
    db.close();
    server.sql(&format!("DROP DATABASE {name} WITH (FORCE)"));
}

#[tokio::test]
async fn the_promises_hold_without_named_statements() {
    let options = Options { named_statements: false, ..patient() };
    let Some(opened) = Opened::with(options, |_address| {}) else { return };
    crate::poolers::assert_the_main_paths_work(&opened.db).await;
}

#[tokio::test]
async fn a_prepared_statement_still_works_when_a_table_gets_a_column() {
    let Some(opened) = Opened::new() else { return };
    for round in 0..3 {
        assert_eq!(opened.db.write(note(format!("note {round}"))).await, Ok(()));
        assert_eq!(opened.db.read(notes).await.map(|notes| notes.len()), Ok(round + 1));
        sql(&opened.address, &format!("ALTER TABLE notes ADD COLUMN more_{round} BIGINT"));
    }
}

#[tokio::test]
async fn a_command_has_no_time_limit() {
    let options = Options { patience: std::time::Duration::from_millis(500), ..patient() };
    let Some(opened) = Opened::with(patient(), |_address| {}) else { return };
    let url = crate::url(&opened.address, options);
    let slow = |tx: &mut Tx<'_>| tx.query("SELECT pg_sleep(2)", &[], |_row| Ok(()));
    let command = Db::open_beside(&url, crate::SCHEMA).unwrap();
    assert_eq!(command.read(slow).await, Ok(vec![()]));
    assert_eq!(command.write(slow).await, Ok(vec![()]));
    let server = Db::open(&url, crate::SCHEMA).unwrap();
    for late in [server.read(slow).await, server.write(slow).await] {
        assert!(matches!(late, Err(Error::Busy | Error::Unavailable(_))), "{late:?}");
    }
}

#[test]
fn a_database_without_utf8_is_refused() {
    let Some(server) = shared() else { return left_out() };
    let name = format!("postroom_test_in_latin_{}", std::process::id());
    server.sql(&format!("DROP DATABASE IF EXISTS {name}"));
    server.sql(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"));
    let url = Url::parse(&server.url(&name), Path::new("")).expect("it is an address");
    let refused = Db::migrate(&url, &[], 0);
    server.sql(&format!("DROP DATABASE {name} WITH (FORCE)"));
    assert!(matches!(refused, Err(Error::Unsupported(why)) if why.contains("UTF8")));
}
