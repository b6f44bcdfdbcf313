//! Refused and failed copies, which change neither the source nor the target.

use std::os::unix::fs::FileExt as _;

use super::*;

fn some(tx: &mut Tx<'_>) -> Result<()> {
    (1..100).try_for_each(|whole| {
        tx.execute("INSERT INTO things (whole, words) VALUES (?1, 'x')", &params![whole]).map(drop)
    })
}

/// A copy that must fail and leave nothing.
#[track_caller]
fn refused(from: &TestDatabase, to: &TestDatabase) -> Error {
    let before = (from.traces(), to.traces());
    let error = copy(from, to).expect_err("it must be refused");
    assert_eq!((from.traces(), to.traces()), before, "{error}");
    error
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_not_changed() {
    for (from, to) in pairs() {
        let source = TestDatabase::filled(from, some);
        let add = |tx: &mut Tx<'_>| tx.execute("INSERT INTO things (whole) VALUES (7)", &[]);
        let target = TestDatabase::migrated(to, SCHEMA);
        target.write(move |tx| add(tx).map(drop));
        let file = (to == Engine::File).then(|| std::fs::read(target.path()).unwrap());
        let error = refused(&source, &target);
        match file {
            Some(file) => {
                assert_eq!(error, Error::Exists(target.path()));
                assert!(std::fs::read(target.path()).unwrap() == file);
            }
            None => assert!(error.to_string().contains("is not empty"), "{error}"),
        }
        let read = |tx: &mut Tx<'_>| tx.query("SELECT whole FROM things", &[], |row| row.int(0));
        assert_eq!(target.read(read), [7]);
    }
}

#[test]
fn a_target_with_a_log_but_no_file_is_refused() {
    let (source, target) =
        (TestDatabase::filled(Engine::File, some), TestDatabase::new(Engine::File));
    let log = target.path().with_extension("db-wal");
    std::fs::write(&log, "of another").unwrap();
    assert_eq!(refused(&source, &target), Error::Exists(log));
}

#[test]
fn a_database_that_a_server_uses_is_refused_on_either_side() {
    for (from, to) in pairs() {
        let source = TestDatabase::filled(from, some);
        let server = source.open();
        let target = TestDatabase::new(to);
        // It may connect a moment later.
        now(server.write(some)).unwrap();
        let error = refused(&source, &target);
        let in_use = "a server is using";
        assert!(error.to_string().replace("another", "a").contains(in_use), "{error}");
        now(server.write(some)).expect("the server goes on");
        server.close();
        assert!(copy(&source, &target).is_ok());
    }
    for from in engines().iter().filter(|_| engines().contains(&Engine::Server)) {
        let (source, target) =
            (TestDatabase::filled(*from, some), TestDatabase::migrated(Engine::Server, SCHEMA));
        target.sql("DELETE FROM seeds");
        let server = target.open();
        now(server.write(|tx| tx.execute("DELETE FROM things", &[]))).unwrap();
        let error = refused(&source, &target);
        assert!(error.to_string().contains("a server is using"), "{error}");
        server.close();
        assert!(copy(&source, &target).is_ok());
    }
}

#[test]
fn the_source_can_be_read_but_not_written_to_meanwhile() {
    for (from, to) in pairs() {
        let (source, target) = (TestDatabase::filled(from, some), TestDatabase::new(to));
        let mut tried = 0;
        let copied = copy_with(&source, &target, |progress| {
            if progress.table != "things" || progress.rows < progress.of {
                return;
            }
            tried += 1;
            let count = "SELECT count(*) FROM things";
            match from {
                Engine::File => {
                    let other = rusqlite::Connection::open(source.path()).unwrap();
                    other.busy_timeout(std::time::Duration::ZERO).unwrap();
                    assert!(other.execute("DELETE FROM things", []).is_err());
                    let count = other.query_row(count, [], |row| row.get(0));
                    assert_eq!(count, Ok(99));
                }
                Engine::Server => {
                    let Guard::Database(database) = &source.guard else { unreachable!() };
                    let delete = "SET lock_timeout = 1; DELETE FROM things";
                    let refused = testing::try_sql(&database.url(), delete).unwrap_err();
                    assert!(refused.starts_with("55P03"), "{refused}");
                    assert_eq!(source.sql(count), [["99"]]);
                }
            }
        });
        assert!(copied.is_ok(), "{copied:?}");
        assert_eq!(tried, 3, "once in each step");
    }
}

#[test]
fn a_schema_that_is_not_the_newest_must_be_migrated_first() {
    for (from, to) in pairs() {
        let source = TestDatabase::migrated(from, &SCHEMA[..1]);
        let error = refused(&source, &TestDatabase::new(to));
        assert_eq!(error, Error::SchemaOlder { found: 1, known: 2 });
        let error = refused(&TestDatabase::new(to), &TestDatabase::new(from));
        match to {
            Engine::File => assert!(error.to_string().contains("there is no database"), "{error}"),
            Engine::Server => assert_eq!(error, Error::SchemaOlder { found: 0, known: 2 }),
        }
        if to == Engine::Server {
            let target = TestDatabase::migrated(to, &SCHEMA[..1]);
            let error = refused(&TestDatabase::filled(from, some), &target);
            assert_eq!(error, Error::SchemaOlder { found: 1, known: 2 });
        }
        // An older program could use this database, but would not copy what it does not know.
        let mut newer = SCHEMA.to_vec();
        let sql = "CREATE TABLE later (id INTEGER PRIMARY KEY) STRICT";
        newer.push(Migration { version: 3, name: "later", sql, oldest: 2 });
        let error = refused(&TestDatabase::migrated(from, &newer), &TestDatabase::new(to));
        assert_eq!(error, Error::SchemaNewer { found: 3, known: 2 });
    }
}

#[test]
fn a_table_that_only_one_side_has_is_an_error() {
    if !engines().contains(&Engine::Server) {
        return;
    }
    let source = TestDatabase::filled(Engine::Server, some);
    source.sql("CREATE TABLE notes (id bigint PRIMARY KEY)");
    let error = refused(&source, &TestDatabase::new(Engine::File));
    assert!(error.to_string().contains("notes"), "{error}");
    let target = TestDatabase::new(Engine::Server);
    target.sql("CREATE TABLE others (id bigint PRIMARY KEY)");
    let error = refused(&TestDatabase::filled(Engine::File, some), &target);
    assert!(error.to_string().contains("others"), "{error}");
}

#[test]
fn a_change_on_the_way_is_found_and_undone() {
    if !engines().contains(&Engine::Server) {
        return;
    }
    for (what, spoilt) in [
        ("a value", "NEW.whole = NEW.whole + 1; RETURN NEW;"),
        ("a text", "NEW.words = upper(NEW.words); RETURN NEW;"),
        ("nothing becomes empty", "NEW.bytes = ''; RETURN NEW;"),
        ("a row is missing", "RETURN NULL;"),
    ] {
        for from in engines() {
            let (source, target) =
                (TestDatabase::filled(*from, some), TestDatabase::migrated(Engine::Server, SCHEMA));
            target.sql("DELETE FROM seeds");
            target.sql(&format!(
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF NEW.whole = 50 THEN {spoilt} END IF; RETURN NEW; END $$;
                 CREATE TRIGGER spoil BEFORE INSERT ON things
                 FOR EACH ROW EXECUTE FUNCTION spoil()"
            ));
            let error = refused(&source, &target);
            assert!(matches!(&error, Error::Differs(text) if text.contains("things")), "{what}");
            assert_eq!(target.sql("SELECT count(*) FROM things"), [["0"]], "{what}");
            target.sql("DROP TRIGGER spoil ON things");
            assert!(copy(&source, &target).is_ok(), "it can be tried again");
            let next = "INSERT INTO things (whole) VALUES (1) RETURNING id";
            assert_eq!(target.sql(next), [["100"]]);
        }
    }
}

#[test]
fn a_value_that_only_one_engine_accepts_is_refused_with_its_table() {
    if !engines().contains(&Engine::Server) {
        return;
    }
    let source = TestDatabase::filled(Engine::File, |tx| {
        some(tx)?;
        tx.execute("INSERT INTO things (words) VALUES (?1)", &params!["a\0b"]).map(drop)
    });
    let error = refused(&source, &TestDatabase::new(Engine::Server));
    assert!(error.to_string().contains("table things"), "{error}");
    assert!(copy(&source, &TestDatabase::new(Engine::File)).is_ok());
}

#[test]
fn a_damaged_source_is_refused() {
    let source = TestDatabase::filled(Engine::File, |tx| (0..20).try_for_each(|_| some(tx)));
    let file = std::fs::File::options().write(true).open(source.path()).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    file.write_all_at(&[0xa5; 4096], (pages - 2) * 4096).unwrap();
    for to in engines() {
        let error = refused(&source, &TestDatabase::new(*to));
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

#[test]
fn the_rest_of_a_killed_copy_is_replaced() {
    let (source, target) =
        (TestDatabase::filled(Engine::File, some), TestDatabase::new(Engine::File));
    for name in ["postroom.db.postroom.partial", "postroom.db.postroom.partial-journal"] {
        std::fs::write(target.path().with_file_name(name), "half of it").unwrap();
    }
    copy(&source, &target).unwrap();
    assert_eq!(target.traces(), ["postroom.db"]);
}

#[test]
fn a_copy_that_cannot_be_written_leaves_nothing() {
    for from in engines() {
        let source = TestDatabase::filled(*from, some);
        let folder = tempfile::tempdir().unwrap();
        let nowhere = url(&format!("sqlite:{}/no/such/folder.db", folder.path().display()));
        let error = Db::copy(&source.url, &nowhere, SCHEMA, 2, |_| {}).unwrap_err();
        assert!(matches!(error, Error::File(_)), "{error}");
        let server = url("postgres://nobody@127.0.0.1:1/nothing");
        let error = Db::copy(&source.url, &server, SCHEMA, 2, |_| {}).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(copy(&source, &TestDatabase::new(*from)).is_ok());
    }
}

#[test]
fn a_source_with_an_open_write_is_refused() {
    if !engines().contains(&Engine::Server) {
        return;
    }
    let (source, target) =
        (TestDatabase::filled(Engine::Server, some), TestDatabase::new(Engine::File));
    let Guard::Database(database) = &source.guard else { unreachable!() };
    let address = database.url();
    std::thread::scope(|scope| {
        let hold = "BEGIN; DELETE FROM things WHERE id = 1; SELECT pg_sleep(60)";
        let holder = scope.spawn(|| testing::try_sql(&address, hold));
        let holds = "SELECT pid FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event = 'PgSleep'";
        while source.sql(holds).is_empty() {}
        let error = refused(&source, &target);
        assert!(error.to_string().contains("somebody is writing to postgres://"), "{error}");
        source.sql(&holds.replace("pid", "pg_terminate_backend(pid)"));
        assert!(holder.join().unwrap().is_err());
    });
    let copied = copy(&source, &target).unwrap();
    assert_eq!(copied.last().unwrap().rows, 99, "what was not committed is not gone");
}
