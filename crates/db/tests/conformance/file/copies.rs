//! Backup and restore: complete copies under load, and no loss.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use db::{Db, Error, Migration, Result, Tx};

use super::{Closed, file, files, mode, names};
use crate::{Fresh, SCHEMA, add, all, count, now, until, url};

/// A database with the users `from..to`, closed.
fn filled(from: usize, to: usize) -> Closed {
    let fresh = Fresh::new();
    let fill = move |tx: &mut Tx<'_>| (from..to).try_for_each(|n| add(format!("user {n}"))(tx));
    now(fresh.db.write::<_, Error, _>(fill)).expect("it can be filled");
    fresh.closed()
}

/// Overwrites the page in the middle of a file.
fn spoil(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("the file is there");
    let pages = file.metadata().expect("it has a length").len() / 4096;
    assert!(pages > 8, "the file must have a middle");
    file.write_all_at(&[0xa5; 4096], pages / 2 * 4096).expect("it can be written");
}

fn second() -> Migration {
    Migration { version: 2, name: "more", sql: "CREATE TABLE rooms (id INTEGER)", oldest: 2 }
}

/// The time of every restore.
const NOW: (i64, &str) = (1, "now");

/// A preparation that changes nothing.
fn unprepared(tx: &mut Tx<'_>, _replaced: Option<&mut Tx<'_>>) -> Result<()> {
    count(tx).map(drop)
}

#[test]
fn a_backup_under_load_contains_all_earlier_acknowledged_writes() {
    let fresh = Fresh::new();
    let acknowledged = AtomicUsize::new(0);
    let backup = |round: usize| {
        until(|| acknowledged.load(SeqCst) >= 20 * round);
        let before = acknowledged.load(SeqCst);
        let target = fresh.in_folder(&format!("backup-{round}"));
        assert_eq!(Db::backup(&fresh.url, &target), Ok(()));
        assert_eq!(Db::integrity(&url(&target)), Ok(vec![]));
        let copied = names(&target);
        assert!(copied.len() >= before, "{} of {before} are in it", copied.len());
        let expected: Vec<_> = (0..copied.len()).map(|n| format!("user {n}")).collect();
        assert_eq!(copied, expected, "it is a moment of the history");
        assert_eq!(mode(&target), 0o600);
    };
    thread::scope(|scope| {
        let backups = scope.spawn(|| (1..=5).for_each(backup));
        for number in 0.. {
            if backups.is_finished() {
                break;
            }
            now(fresh.db.write(add(format!("user {number}")))).unwrap();
            acknowledged.store(number + 1, SeqCst);
        }
    });
    assert_eq!(Db::integrity(&fresh.url), Ok(vec![]));
}

#[test]
fn a_backup_is_one_file_that_opens_as_a_database() {
    let closed = filled(0, 10);
    let target = closed.in_folder("backup");
    Db::backup(&closed.url, &target).unwrap();
    assert_eq!(files(closed.folder.path()), ["backup", "postroom.db"]);
    let copy = Db::open(&url(&target), SCHEMA).unwrap();
    assert_eq!(now(copy.read(count)), Ok(10));
}

#[test]
fn a_backup_never_overwrites_a_file() {
    let closed = filled(0, 1);
    let target = closed.in_folder("backup");
    fs::write(&target, "precious").unwrap();
    assert_eq!(Db::backup(&closed.url, &target), Err(Error::Exists(target.clone())));
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(Db::backup(&closed.url, closed.path()).err(), {
        Some(Error::Exists(closed.path().to_path_buf()))
    });
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let closed = filled(0, 2000);
    let before = files(closed.folder.path());
    for folder in ["missing", "postroom.db"] {
        let target = closed.in_folder(folder).join("backup");
        assert!(matches!(Db::backup(&closed.url, &target), Err(Error::File(_))), "in {folder}");
    }
    spoil(closed.path());
    assert!(Db::backup(&closed.url, &closed.in_folder("backup")).is_err());
    assert!(
        Db::backup(&url(&closed.in_folder("missing.db")), &closed.in_folder("backup")).is_err()
    );
    assert_eq!(files(closed.folder.path()), before);
}

#[test]
fn a_copy_that_is_ended_or_not_kept_leaves_nothing() {
    let fresh = Fresh::new();
    let fill = move |tx: &mut Tx<'_>| (0..2000).try_for_each(|n| add(format!("user {n}"))(tx));
    now(fresh.db.write::<_, Error, _>(fill)).expect("it can be filled");
    let before = files(fresh.folder().path());
    let target = fresh.in_folder("backup");
    let asked = Arc::new(AtomicUsize::new(0));
    for end in [1, 2, 3] {
        let asked = Arc::clone(&asked);
        asked.store(0, SeqCst);
        let goes_on = move || asked.fetch_add(1, SeqCst) + 1 < end;
        let ended = Db::snapshot_while(&fresh.url, &target, goes_on).err();
        assert!(matches!(ended, Some(Error::Engine(_))), "{ended:?}");
        assert_eq!(files(fresh.folder().path()), before, "ended at look {end}");
    }
    let copy = Db::snapshot_while(&fresh.url, &target, || true).unwrap();
    assert_eq!(names(copy.path()).len(), 2000);
    assert!(!target.exists());
    drop(copy);
    assert_eq!(files(fresh.folder().path()), before);
    Db::snapshot_while(&fresh.url, &target, || true).unwrap().keep().unwrap();
    assert_eq!(names(&target).len(), 2000);
    now(fresh.db.write(add("it goes on"))).unwrap();
}

#[test]
fn a_restore_of_what_cannot_be_fetched_changes_nothing() {
    let (closed, source) = (filled(0, 10), filled(20, 25));
    let before = fs::read(closed.path()).unwrap();
    let restore = |fill: &dyn Fn(fs::File) -> Result<()>| {
        let name = Path::new("elsewhere");
        Db::restore_from(&closed.url, name, fill, SCHEMA, NOW, unprepared)
    };
    let bytes = fs::read(source.path()).unwrap();
    let away = Error::File("it is away".to_owned());
    let half = |mut file: fs::File| {
        file.write_all(&bytes[..bytes.len() / 2]).unwrap();
        Err(away.clone())
    };
    assert_eq!(restore(&half).err(), Some(away.clone()));
    let short = |mut file: fs::File| {
        file.write_all(&bytes[..8192]).unwrap();
        Ok(())
    };
    let error = restore(&short).expect_err("it is damaged").to_string();
    assert!(error.starts_with("elsewhere is damaged"), "{error}");
    assert_eq!(files(closed.folder.path()), ["postroom.db"]);
    assert!(fs::read(closed.path()).unwrap() == before);
    let whole = |mut file: fs::File| {
        file.write_all(&bytes).unwrap();
        Ok(())
    };
    restore(&whole).unwrap();
    assert_eq!(names(closed.path()).len(), 5);
}

#[test]
fn a_backup_replaces_the_rest_of_a_killed_one() {
    let closed = filled(0, 10);
    let target = closed.in_folder("backup");
    fs::write(closed.in_folder("backup.postroom.partial"), "half of it").unwrap();
    Db::backup(&closed.url, &target).unwrap();
    assert_eq!(names(&target).len(), 10);
    assert_eq!(files(closed.folder.path()), ["backup", "postroom.db"]);
    assert_eq!(Db::kept(&closed.url), [""; 0].map(Path::new));
}

#[test]
fn what_killed_processes_have_left_is_removed_by_the_next_backup_and_at_the_start() {
    let abandoned = ["old.postroom.partial", "old.postroom.partial-journal"];
    let others = ["film.partial", "running.postroom.partial"];
    let closed = filled(0, 10);
    let leave = || {
        for name in abandoned.iter().chain(&others) {
            fs::write(closed.in_folder(name), "half of it").unwrap();
        }
    };
    leave();
    let running = fs::File::open(closed.in_folder(others[1])).unwrap();
    running.lock().unwrap();
    Db::backup(&closed.url, &closed.in_folder("backup")).unwrap();
    let left = ["backup", others[0], "postroom.db", others[1]];
    assert_eq!(files(closed.folder.path()), left, "one is being made, one is not ours");
    leave();
    drop(Db::open(&closed.url, SCHEMA).unwrap());
    assert_eq!(files(closed.folder.path()), left);
    drop(running);
    drop(Db::open(&closed.url, SCHEMA).unwrap());
    assert_eq!(files(closed.folder.path()), ["backup", others[0], "postroom.db"]);
}

#[test]
fn a_restore_replaces_the_database_and_keeps_the_previous_one() {
    let (old, new) = (filled(0, 3), filled(10, 15));
    let source = old.in_folder("backup");
    Db::backup(&new.url, &source).unwrap();
    let prepare = |tx: &mut Tx<'_>, replaced: Option<&mut Tx<'_>>| {
        assert_eq!(count(tx), Ok(5), "it runs on the copy");
        assert_eq!(replaced.map(count), Some(Ok(3)), "it can look at the other");
        add("prepared")(tx)
    };
    let restored = Db::restore(&old.url, &source, SCHEMA, NOW, prepare).unwrap();
    let kept = old.in_folder("postroom.db.before-restore-now");
    assert_eq!(Db::kept(&old.url), std::slice::from_ref(&kept), "all that are there");
    assert_eq!(restored.kept.as_deref(), Some(&*kept));
    assert_eq!(
        files(old.folder.path()),
        ["backup", "postroom.db", "postroom.db.before-restore-now"]
    );
    assert_eq!(names(&kept), ["user 0", "user 1", "user 2"]);
    assert_eq!(now(Db::open(&url(&kept), SCHEMA).unwrap().read(count)), Ok(3));
    assert_eq!(names(&source).len(), 5, "the backup itself is not touched");
    let db = Db::open(&old.url, SCHEMA).unwrap();
    assert_eq!(now(db.read(count)), Ok(6));
    assert_eq!(now(db.write(add("after"))), Ok(()));
    assert_eq!(now(db.read(all)).unwrap()[5..], ["prepared", "after"]);
}

#[test]
fn a_restore_without_a_previous_database_keeps_nothing() {
    let (folder, new) = (tempfile::tempdir().unwrap(), filled(0, 5));
    let place = url(&folder.path().join("postroom.db"));
    let restored = Db::restore(&place, new.path(), SCHEMA, NOW, unprepared).unwrap();
    assert_eq!(restored.kept, None);
    assert_eq!(names(file(&place)).len(), 5);
    assert_eq!(files(folder.path()), ["postroom.db"]);
}

#[test]
fn a_restored_database_is_private_even_if_the_backup_was_not() {
    for backups in [0o644, 0o400] {
        let (old, new) = (filled(0, 1), filled(0, 5));
        fs::set_permissions(new.path(), fs::Permissions::from_mode(backups)).unwrap();
        Db::restore(&old.url, new.path(), SCHEMA, NOW, unprepared).unwrap();
        assert_eq!(mode(old.path()), 0o600, "after one of {backups:o}");
        assert_eq!(mode(&old.in_folder("postroom.db.before-restore-now")), 0o600);
    }
}

#[test]
fn an_older_backup_is_migrated_before_it_is_prepared() {
    let second = second();
    let newer = [SCHEMA[0], second];
    let (old, new) = (filled(0, 1), filled(0, 5));
    let prepare = |tx: &mut Tx<'_>, _replaced: Option<&mut Tx<'_>>| {
        tx.execute("INSERT INTO rooms (id) VALUES (1)", &[]).map(drop)
    };
    Db::restore(&old.url, new.path(), &newer, NOW, prepare).unwrap();
    assert_eq!(now(Db::open(&old.url, &newer).unwrap().read(count)), Ok(5));
}

/// Asserts that a restore from `source` is refused and changes nothing. Returns the reason.
fn refused(old: &Closed, source: &Path) -> Error {
    let (before, bytes) = (files(old.folder.path()), fs::read(old.path()).expect("it is there"));
    let prepare = |_tx: &mut Tx<'_>, _replaced: Option<&mut Tx<'_>>| panic!("it was prepared");
    let error = Db::restore(&old.url, source, SCHEMA, NOW, prepare).expect_err("it was taken");
    assert_eq!(files(old.folder.path()), before);
    assert!(fs::read(old.path()).expect("it is there") == bytes, "the database changed");
    error
}

#[test]
fn an_incomplete_backup_is_refused_and_changes_nothing() {
    let (old, new) = (filled(0, 3), filled(0, 2000));
    let spoilt = old.in_folder("spoilt");
    fs::copy(new.path(), &spoilt).unwrap();
    spoil(&spoilt);
    let (half, short) = (old.in_folder("half"), old.in_folder("short"));
    let length = fs::metadata(new.path()).unwrap().len();
    for (cut, length) in [(&half, length / 2), (&short, length - 1)] {
        fs::copy(new.path(), cut).unwrap();
        fs::File::options().write(true).open(cut).unwrap().set_len(length).unwrap();
    }
    let text = old.in_folder("text");
    fs::write(&text, "Dear diary, ".repeat(1000)).unwrap();
    let empty = old.in_folder("empty");
    fs::write(&empty, "").unwrap();
    let foreign = old.in_folder("foreign");
    let other = rusqlite::Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE notes (text)").unwrap();
    drop(other);
    for source in [spoilt, half, short, text, empty, foreign] {
        let error = refused(&old, &source);
        assert!(matches!(&error, Error::Damaged { path, .. } if *path == source), "{error:?}");
    }
    for source in [old.in_folder("missing"), old.folder.path().to_path_buf()] {
        let error = refused(&old, &source);
        assert!(matches!(error, Error::File(_)), "{error:?}");
    }
}

#[test]
fn a_backup_of_a_newer_or_another_schema_is_refused() {
    let (old, new) = (filled(0, 3), tempfile::tempdir().unwrap());
    let second = second();
    let newer = new.path().join("newer.db");
    Db::migrate(&url(&newer), &[SCHEMA[0], second], 1).unwrap();
    assert_eq!(refused(&old, &newer), Error::SchemaNewer { found: 2, known: 1 });
    let changed = new.path().join("changed.db");
    Db::migrate(&url(&changed), &[Migration { version: 1, ..second }], 1).unwrap();
    assert_eq!(refused(&old, &changed), Error::SchemaChanged(1));
}

#[test]
fn a_restore_is_refused_while_a_server_runs() {
    let (fresh, new) = (Fresh::new(), filled(0, 5));
    now(fresh.db.write(add("ann"))).unwrap();
    let error = Db::restore(&fresh.url, new.path(), SCHEMA, NOW, unprepared);
    assert_eq!(error, Err(Error::InUse(fresh.path().to_path_buf())));
    assert_eq!(now(fresh.db.write(add("ben"))), Ok(()));
    assert_eq!(names(fresh.path()), ["ann", "ben"]);
}

#[test]
fn a_restore_whose_preparation_fails_changes_nothing() {
    let (old, new) = (filled(0, 3), filled(0, 5));
    let before = files(old.folder.path());
    let prepare = |tx: &mut Tx<'_>, _replaced: Option<&mut Tx<'_>>| {
        tx.execute("DELETE FROM users", &[])?;
        Err(Error::NoRow)
    };
    let error = Db::restore(&old.url, new.path(), SCHEMA, NOW, prepare);
    assert_eq!(error, Err(Error::NoRow));
    assert_eq!(files(old.folder.path()), before);
    assert_eq!(names(old.path()).len(), 3);
}

#[test]
fn a_restore_never_overwrites_what_an_earlier_one_kept() {
    let (old, new) = (filled(0, 3), filled(0, 5));
    Db::restore(&old.url, new.path(), SCHEMA, NOW, unprepared).unwrap();
    let kept = old.in_folder("postroom.db.before-restore-now");
    for number in 2..4 {
        let again = Db::restore(&old.url, new.path(), SCHEMA, NOW, unprepared).unwrap();
        let other = old.in_folder(&format!("postroom.db.before-restore-now-{number}"));
        assert_eq!(again.kept, Some(other));
    }
    assert_eq!(names(&kept).len(), 3);
    assert_eq!(names(old.path()).len(), 5);
}

#[test]
fn a_restore_is_refused_while_a_command_needs_the_log() {
    let fresh = Fresh::new();
    let new = filled(10, 15);
    now(fresh.db.write(add("ann"))).unwrap();
    // A command reads an old snapshot, so that later commits cannot be copied back.
    let command = Db::open_beside(&fresh.url, SCHEMA).unwrap();
    let (db, url, source) = (fresh.db.clone(), fresh.url.clone(), new.path().to_path_buf());
    let error = now(command.read(move |tx| {
        count(tx)?;
        now(db.write(add("ben")))?;
        db.close();
        Ok::<_, Error>(Db::restore(&url, &source, SCHEMA, NOW, unprepared))
    }));
    assert_eq!(error, Ok(Err(Error::Busy)));
    drop(command);
    assert_eq!(names(fresh.path()), ["ann", "ben"], "nothing has changed");
}

#[test]
fn a_restore_keeps_the_log_of_a_killed_server() {
    let (fresh, new) = (Fresh::new(), filled(10, 15));
    now(fresh.db.write(add("ann"))).unwrap();
    // A killed server would leave what is there now: the file, and a log with all data.
    let folder = tempfile::tempdir().unwrap();
    let place = url(&folder.path().join("postroom.db"));
    for name in ["postroom.db", "postroom.db-wal"] {
        fs::copy(fresh.in_folder(name), folder.path().join(name)).unwrap();
    }
    let restored = Db::restore(&place, new.path(), SCHEMA, NOW, unprepared).unwrap();
    let kept = restored.kept.unwrap();
    assert_eq!(files(folder.path()), ["postroom.db", "postroom.db.before-restore-now"]);
    assert_eq!(names(&kept), ["ann"]);
    assert_eq!(names(file(&place)).len(), 5);
}

#[test]
fn a_damaged_database_is_replaced_and_kept_unchanged() {
    let (folder, new) = (tempfile::tempdir().unwrap(), filled(0, 5));
    let place = url(&folder.path().join("postroom.db"));
    fs::write(file(&place), "Dear diary, ".repeat(1000)).unwrap();
    let kept = Db::restore(&place, new.path(), SCHEMA, NOW, unprepared).unwrap().kept;
    assert_eq!(names(file(&place)).len(), 5);
    assert_eq!(fs::read_to_string(kept.unwrap()).unwrap(), "Dear diary, ".repeat(1000));
}

#[test]
fn the_log_of_a_killed_restore_does_not_affect_the_next_one() {
    let (old, new) = (filled(0, 3), filled(10, 15));
    // A killed restore leaves an unfinished copy with a log, here that of another database.
    let killed = Fresh::new();
    for number in 0..20 {
        now(killed.db.write(add(format!("killed {number}")))).unwrap();
    }
    let log = killed.in_folder("postroom.db-wal");
    fs::copy(log, old.in_folder("postroom.db.postroom.partial-wal")).unwrap();
    Db::restore(&old.url, new.path(), SCHEMA, NOW, unprepared).unwrap();
    let expected: Vec<_> = (10..15).map(|n| format!("user {n}")).collect();
    assert_eq!(names(old.path()), expected);
}

#[test]
fn the_integrity_check_finds_problems_only_in_a_damaged_file() {
    let closed = filled(0, 2000);
    assert_eq!(Db::integrity(&closed.url), Ok(vec![]));
    spoil(closed.path());
    assert!(!Db::integrity(&closed.url).unwrap().is_empty());
    let text = closed.in_folder("text");
    fs::write(&text, "Dear diary, ".repeat(1000)).unwrap();
    assert!(!Db::integrity(&url(&text)).unwrap().is_empty());
    assert!(Db::integrity(&url(&closed.in_folder("missing"))).is_err());
}

#[tokio::test]
async fn what_is_only_in_the_log_beside_a_copied_file_is_restored_too() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    // As a copy of the folder of a server that was killed: the log holds all of it.
    let copied = tempfile::tempdir().unwrap();
    for name in ["postroom.db", "postroom.db-wal"] {
        fs::copy(fresh.in_folder(name), copied.path().join(name)).unwrap();
    }
    let before = fs::read(copied.path().join("postroom.db")).unwrap();
    assert!(!before.windows(3).any(|bytes| bytes == b"ann"), "it is in the log only");

    let target = filled(0, 3);
    let source = copied.path().join("postroom.db");
    Db::restore(&target.url, &source, SCHEMA, NOW, unprepared).unwrap();
    assert_eq!(names(target.path()), ["ann"]);
    assert_eq!(files(copied.path()), ["postroom.db", "postroom.db-wal"]);
    assert!(fs::read(source).unwrap() == before);
}
