//! A database of another program is refused, and not changed.

use std::path::Path;

use db::{Db, Error, Url};
use testing::{Database, shared, sql};

use crate::{SCHEMA, left_out};

#[test]
fn the_database_of_another_program() {
    if shared().is_none() {
        return left_out();
    }
    for (make, has_steps) in [
        ("CREATE TABLE letters (id int)", false),
        ("CREATE TABLE schema_migrations (version text PRIMARY KEY)", true),
    ] {
        let database = Database::empty();
        let url = Url::parse(&database.url(), Path::new("/")).expect("it is an address");
        sql(&database.url(), make);
        let tables = || {
            let tables = "SELECT relname::text FROM pg_class
                          WHERE relnamespace = 'public'::regnamespace ORDER BY 1";
            sql(&database.url(), tables)
        };
        let before = tables();
        let migrated = Db::migrate(&url, SCHEMA, 1).err();
        assert!(matches!(migrated, Some(Error::NotOurs { .. })), "{make}: {migrated:?}");
        let opened = Db::open(&url, SCHEMA).err();
        let expected = match opened {
            Some(Error::NotOurs { .. }) => has_steps,
            Some(Error::SchemaOlder { found: 0, .. }) => !has_steps,
            _ => false,
        };
        assert!(expected, "{make}: {opened:?}");
        assert_eq!(tables(), before, "{make}");
    }
    // Several that begin at once are not others to each other.
    let database = Database::empty();
    let url = Url::parse(&database.url(), Path::new("/")).expect("it is an address");
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| Db::migrate(&url, SCHEMA, 1))).collect();
        for one in all {
            assert_eq!(one.join().expect("it ends").map(|migrated| migrated.to), Ok(1));
        }
    });
}
