//! The schema: which databases a program may open, and how they are migrated.

use std::sync::Barrier;
use std::thread;

use db::{Db, Error, Migrated, Migration, Tx, Url, params};
use testing::{Engine, engine};

use crate::{Fresh, Place, SCHEMA, add, count, now};

pub(crate) const SECOND: Migration = Migration {
    version: 2,
    name: "more",
    oldest: 2,
    sql: "ALTER TABLE users ADD COLUMN age INTEGER;
          CREATE TABLE rooms (id INTEGER PRIMARY KEY) STRICT;",
};
pub(crate) const NEWER: &[Migration] = &[SCHEMA[0], SECOND];

type Step = (i64, String, i64);

/// The applied steps of a database with their times, read by a program of that schema.
fn steps(url: &Url, schema: &[Migration]) -> Vec<Step> {
    let steps = |tx: &mut Tx<'_>| {
        let steps = "SELECT version, name, applied_at FROM schema_migrations ORDER BY version";
        tx.query(steps, &[], |row| Ok((row.int(0)?, row.text(1)?.to_owned(), row.int(2)?)))
    };
    let db = Db::open_beside(url, schema).expect("it has this schema");
    now(db.read::<_, Error, _>(steps)).expect("steps can be read")
}

#[tokio::test]
async fn a_new_database_is_migrated_to_the_newest_schema_at_once() {
    let (_place, url) = Place::new();
    let migrated = Db::migrate(&url, NEWER, 77).unwrap();
    assert_eq!(migrated, Migrated { from: 0, to: 2, copy: None });
    let expected = vec![(1, "start".to_owned(), 77), (2, "more".to_owned(), 77)];
    assert_eq!(steps(&url, NEWER), expected);
    let db = Db::open(&url, NEWER).unwrap();
    db.write(|tx| tx.execute("INSERT INTO users (name, age) VALUES ('ann', 7)", &[]))
        .await
        .unwrap();
    assert_eq!(db.read(count).await, Ok(1));
    drop(db);
    assert_eq!(Db::migrate(&url, NEWER, 78), Ok(Migrated { from: 2, to: 2, copy: None }));
    assert_eq!(steps(&url, NEWER), expected, "nothing is done again");
}

#[test]
fn a_newer_schema_is_refused() {
    let (_place, url) = Place::new();
    Db::migrate(&url, NEWER, 1).unwrap();
    let before = steps(&url, NEWER);
    let refused = Some(Error::SchemaNewer { found: 2, known: 1 });
    assert_eq!(Db::migrate(&url, SCHEMA, 2).err(), refused);
    assert_eq!(Db::open(&url, SCHEMA).err(), refused);
    assert_eq!(Db::open_beside(&url, SCHEMA).err(), refused);
    assert_eq!(steps(&url, NEWER), before);
}

#[test]
fn a_newer_schema_that_supports_older_programs_is_accepted_on_postgresql() {
    let step = |version, oldest| Migration { version, oldest, ..SECOND };
    let third = Migration { sql: "CREATE TABLE thirds (id INTEGER) STRICT;", ..step(3, 1) };
    let fourth = Migration { sql: "CREATE TABLE fourths (id INTEGER) STRICT;", ..step(4, 2) };
    let (_place, url) = Place::new();
    let one_for_all = [SCHEMA[0], step(2, 1), third];
    Db::migrate(&url, &one_for_all, 1).unwrap();
    if engine() == Engine::Sqlite {
        // Only one program uses a file at a time, so an older one never runs beside a newer one.
        let refused = Some(Error::SchemaNewer { found: 2, known: 1 });
        assert_eq!(Db::open(&url, SCHEMA).err(), refused);
        return;
    }
    let older = Db::open(&url, SCHEMA).expect("every newer step lets it go on");
    let newer = Db::open(&url, &one_for_all).unwrap();
    now(older.write(add("ann"))).unwrap();
    assert_eq!(now(newer.read(count)), Ok(1));
    assert_eq!(Db::migrate(&url, SCHEMA, 2), Ok(Migrated { from: 3, to: 3, copy: None }));
    // One incompatible step is enough: version 2 is the oldest that may stay.
    let all = [SCHEMA[0], step(2, 1), third, fourth];
    Db::migrate(&url, &all, 3).unwrap();
    let refused = Some(Error::SchemaNewer { found: 4, known: 1 });
    assert_eq!(Db::open(&url, SCHEMA).err(), refused);
    assert_eq!(Db::migrate(&url, SCHEMA, 4).err(), refused);
    assert!(Db::open(&url, &all[..2]).is_ok());
    now(older.write(add("ben"))).expect("who runs already goes on");
}

#[test]
fn a_step_that_was_changed_after_it_shipped_is_refused() {
    let (_place, url) = Place::new();
    Db::migrate(&url, SCHEMA, 1).unwrap();
    let before = steps(&url, SCHEMA);
    let changed = Migration { sql: "CREATE TABLE others (id INTEGER) STRICT;", ..SCHEMA[0] };
    for schema in [&[changed][..], &[changed, SECOND]] {
        assert_eq!(Db::migrate(&url, schema, 2).err(), Some(Error::SchemaChanged(1)));
        assert_eq!(Db::open(&url, schema).err(), Some(Error::SchemaChanged(1)));
        assert_eq!(Db::open_beside(&url, schema).err(), Some(Error::SchemaChanged(1)));
    }
    assert_eq!(steps(&url, SCHEMA), before);
}

#[test]
fn a_step_that_fails_undoes_the_whole_migration() {
    let fresh = Fresh::new();
    now(fresh.db.write(add("ann"))).unwrap();
    fresh.db.close();
    let before = steps(&fresh.url, SCHEMA);
    let third = |sql| Migration { version: 3, name: "third", oldest: 3, sql };
    let failing = "CREATE TABLE half (id INTEGER) STRICT; DELETE FROM users;
                   INSERT INTO nowhere VALUES (1);";
    let failed = Db::migrate(&fresh.url, &[SCHEMA[0], SECOND, third(failing)], 2);
    assert!(matches!(failed, Err(Error::Engine(_))), "{failed:?}");
    assert_eq!(steps(&fresh.url, SCHEMA), before);
    let db = Db::open(&fresh.url, SCHEMA).expect("the old program can go on");
    assert_eq!(now(db.read(count)), Ok(1));
    drop(db);
    // The tables of the failed steps do not exist.
    let mended = third("CREATE TABLE half (id INTEGER) STRICT;");
    let migrated = Db::migrate(&fresh.url, &[SCHEMA[0], SECOND, mended], 3);
    assert_eq!(migrated.map(|migrated| (migrated.from, migrated.to)), Ok((1, 3)));
}

#[test]
fn a_new_database_whose_first_step_failed_can_be_migrated_later() {
    let (_place, url) = Place::new();
    let failing = Migration { sql: "CREATE TABLE half (id INTEGER) STRICT; nonsense", ..SCHEMA[0] };
    assert!(matches!(Db::migrate(&url, &[failing], 1), Err(Error::Engine(_))));
    assert_eq!(Db::open(&url, SCHEMA).err(), Some(Error::SchemaOlder { found: 0, known: 1 }));
    let whole = Migration { sql: "CREATE TABLE half (id INTEGER) STRICT;", ..SCHEMA[0] };
    assert_eq!(Db::migrate(&url, &[whole], 2), Ok(Migrated { from: 0, to: 1, copy: None }));
}

#[test]
fn an_older_schema_must_be_migrated_before_it_is_opened() {
    let (_place, url) = Place::new();
    let missing = Some(Error::SchemaOlder { found: 0, known: 2 });
    assert_eq!(Db::open(&url, NEWER).err(), missing);
    assert_eq!(Db::open_beside(&url, NEWER).err(), missing);
    assert!(url.path().is_none_or(|path| !path.exists()), "opening made a file");
    Db::migrate(&url, SCHEMA, 1).unwrap();
    let older = Some(Error::SchemaOlder { found: 1, known: 2 });
    assert_eq!(Db::open(&url, NEWER).err(), older);
    assert_eq!(Db::open_beside(&url, NEWER).err(), older);
}

#[test]
fn nodes_that_migrate_at_the_same_time_migrate_once() {
    for _ in 0..5 {
        let (_place, url) = Place::new();
        let start = Barrier::new(3);
        let migrate = || {
            start.wait();
            Db::migrate(&url, NEWER, 77)
        };
        let done = thread::scope(|scope| {
            let nodes = [(), (), ()].map(|()| scope.spawn(migrate));
            nodes.map(|node| node.join().expect("it does not panic"))
        });
        assert_eq!(steps(&url, NEWER).len(), 2);
        let at_work = done.iter().flatten().filter(|migrated| migrated.from == 0).count();
        assert_eq!(at_work, 1, "{done:?}");
        for node in done {
            match node {
                Ok(Migrated { to, .. }) => assert_eq!(to, 2),
                // SQLite refuses the others, because only one program may use a file.
                Err(Error::InUse(_) | Error::Busy) if engine() == Engine::Sqlite => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_command_beside_the_server_reads_and_writes() {
    let fresh = Fresh::new();
    let beside = fresh.beside();
    for round in 1..=20 {
        fresh.db.write(add(format!("server {round}"))).await.unwrap();
        assert_eq!(beside.read(count).await, Ok(2 * round - 1));
        beside.write(add(format!("command {round}"))).await.unwrap();
        assert_eq!(fresh.db.read(count).await, Ok(2 * round));
    }
    let twice = beside.write(add("server 1")).await;
    assert_eq!(twice, Err(Error::Unique("users_name_key".into())));
    beside.close();
    fresh.db.write(add("after")).await.unwrap();
    assert_eq!(fresh.names().len(), 41);
}

#[tokio::test]
async fn a_server_and_a_command_wait_for_each_others_commits() {
    let fresh = Fresh::new();
    let writes = |db: Db, who: &'static str| {
        thread::spawn(move || {
            for round in 0..50 {
                let add = move |tx: &mut Tx<'_>| {
                    let name = format!("{who} {round}");
                    tx.execute("INSERT INTO users (name) VALUES (?1)", &params![&*name])
                };
                assert_eq!(now(db.write(add)), Ok(1));
            }
        })
    };
    let both = [writes(fresh.db.clone(), "server"), writes(fresh.beside(), "command")];
    for one in both {
        one.join().unwrap();
    }
    assert_eq!(fresh.db.read(count).await, Ok(100));
}
