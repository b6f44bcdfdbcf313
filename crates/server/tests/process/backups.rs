//! Backups that the server makes by itself, in a folder; those in a bucket are in `.ci/s3`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use testing::{Engine, PASSWORD, TIMEOUT, engine};

use crate::support::{Place, Server, until};

const SQLITE_ONLY: &str = "PostgreSQL has tools of its own to save and restore";

/// A place whose server makes backups into the folder `backups`.
fn place(every: &str, keep: &str) -> Place {
    let place = Place::new()
        .with("POSTROOM_BACKUP_DIR", "backups")
        .with("POSTROOM_BACKUP_EVERY", every)
        .with("POSTROOM_BACKUP_KEEP", keep);
    fs::create_dir(place.path("backups")).expect("a folder can be made");
    place
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it can be listed");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("it can be listed").file_name().into_string().expect("it is a name")
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

fn made(server: &Server) -> u64 {
    server.figure("postroom_backups_total", "made")
}

fn failed(server: &Server) -> u64 {
    server.figure("postroom_backups_total", "failed")
}

#[test]
fn a_server_makes_backups_and_removes_only_its_own_old_ones() {
    if testing::is_about_sqlite(SQLITE_ONLY) {
        return;
    }
    let place = place("1s", "2");
    let old = ["postroom-20200101T000000Z.db", "postroom-20200101T000000Z.db.sha256"];
    let alone = "postroom-20190101T000000Z.db.sha256";
    let partial = "postroom-20200202T000000Z.db.postroom.partial";
    let of_others = [
        "copy-of-postroom-20200101T000000Z.db",
        "notes.txt",
        "postroom-20200101.db",
        "postroom-20200101T000000Z.db.gz",
        "today.db",
        "today.db.sha256",
    ];
    for name in old.iter().chain(&[alone, partial]).chain(&of_others) {
        fs::write(place.path("backups").join(name), "not a database").expect("it can be written");
    }
    let server = place.serve();
    let mut ann = server.user("ann");
    let id = ann.send_message(ann.id, "to be saved", "");
    let before = made(&server);
    until(TIMEOUT, "three more backups are made", || made(&server) >= before + 3);
    assert_eq!(failed(&server), 0, "{}", server.log());
    assert_eq!(server.figure("postroom_backup_every_seconds", ""), 1);
    assert!(server.figure("postroom_backup_last_seconds", "") > 1_700_000_000);
    ann.send_message(ann.id, "and it", "goes on");
    server.is_unharmed();
    let log = server.stop();
    assert!(log.contains("made a backup"), "{log}");

    let mut there = names(&place.path("backups"));
    there.retain(|name| !of_others.contains(&&**name));
    assert_eq!(there.len(), 4, "two, and their checksums: {there:?}");
    for name in old.iter().chain(&[alone, partial]) {
        assert!(!there.iter().any(|one| one == name), "{name} is still there");
    }
    for name in &there {
        let about = fs::metadata(place.path("backups").join(name)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let [first, of_first, second, of_second] = &there[..] else { unreachable!() };
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", of_first, of_second]).current_dir(place.path("backups"));
    let checked = check.output().expect("it is there");
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(said, format!("{first}: OK\n{second}: OK\n"));
    let listed = place.run(&["backup", "--list"]).ok();
    let listed: Vec<_> = listed.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(listed, [format!("backups/{first}"), format!("backups/{second}")]);

    let other = Place::new();
    fs::create_dir(other.path("data")).unwrap();
    fs::copy(place.path("data/secret.key"), other.path("data/secret.key")).unwrap();
    let newest = place.path("backups").join(second);
    other.run(&["restore", newest.to_str().unwrap()]).ok();
    other.is_whole();
    let server = other.serve();
    ann.connect_to(server.address);
    ann.login(PASSWORD);
    assert!(ann.inbox().contains(&id));
}

#[test]
fn a_start_makes_no_backup_where_a_young_one_is_there() {
    if testing::is_about_sqlite(SQLITE_ONLY) {
        return;
    }
    let place = place("1d", "7");
    let server = place.serve();
    until(TIMEOUT, "the first is made", || made(&server) == 1);
    let first = server.figure("postroom_backup_last_seconds", "");
    server.kill();
    let there = names(&place.path("backups"));
    assert_eq!(there.len(), 2, "{there:?}");

    let server = place.serve();
    // The first run looks, the second decides.
    let runs = || server.metrics().contains("task=\"backups\",result=\"ok\"} 2\n");
    until(TIMEOUT, "it has looked at the newest", runs);
    assert_eq!((made(&server), failed(&server)), (0, 0));
    assert_eq!(server.figure("postroom_backup_last_seconds", ""), first);
    server.stop();
    assert_eq!(names(&place.path("backups")), there);

    // One from the future, of a clock that was ahead, is no reason to make none.
    for (from, to) in there.iter().zip(["postroom-20990101T000000Z.db", "x.sha256"]) {
        fs::rename(place.path("backups").join(from), place.path("backups").join(to)).unwrap();
    }
    let server = place.serve();
    until(TIMEOUT, "another is made", || made(&server) == 1);
    server.stop();
}

#[test]
fn a_backup_that_fails_is_said_and_made_later() {
    if testing::is_about_sqlite(SQLITE_ONLY) {
        return;
    }
    let place = place("1s", "2");
    let server = place.serve();
    until(TIMEOUT, "the first is made", || made(&server) > 0);
    let (here, away) = (place.path("backups"), place.path("away"));
    fs::rename(&here, &away).unwrap();
    until(TIMEOUT, "one fails", || failed(&server) > 0);
    let log = server.log();
    let says = |line: &str| line.contains("a backup has failed") && line.contains("backups");
    assert!(log.lines().any(says), "{log}");
    // It serves meanwhile.
    server.user("ann");
    fs::rename(&away, &here).unwrap();
    let before = made(&server);
    until(TIMEOUT, "another is made", || made(&server) > before);
}

#[test]
fn a_backup_that_is_not_what_was_saved_is_refused() {
    if testing::is_about_sqlite(SQLITE_ONLY) {
        return;
    }
    let place = Place::new();
    place.serve().stop();
    place.run(&["backup", "today.db"]).ok();
    let sums = fs::read_to_string(place.path("today.db.sha256")).unwrap();
    assert!(sums.ends_with("  today.db\n"), "{sums}");
    // Another database, which is whole.
    let server = place.serve();
    server.user("ann");
    server.stop();
    place.run(&["backup", "other.db"]).ok();
    fs::copy(place.path("other.db"), place.path("today.db")).unwrap();
    let stored = place.stored_bytes();
    let error = place.run(&["restore", "today.db"]).failed(1);
    assert!(error.contains("today.db is not what was saved: its SHA-256 is "), "{error}");
    assert!(error.contains("today.db.sha256 says "), "{error}");
    assert_eq!(place.stored_bytes(), stored);
    fs::write(place.path("today.db.sha256"), "something else").unwrap();
    let error = place.run(&["restore", "today.db"]).failed(1);
    assert!(error.contains("today.db.sha256 is no checksum of today.db"), "{error}");
    // Without one there is nothing to compare, and the checksum of a copy goes with it.
    fs::remove_file(place.path("today.db.sha256")).unwrap();
    place.run(&["restore", "today.db"]).ok();
    place.run(&["restore", "other.db"]).ok();
    // In a folder it is named by the time.
    fs::create_dir(place.path("saved")).unwrap();
    let said = place.run(&["backup", "saved"]).ok();
    assert!(said.starts_with("saved/postroom-2"), "{said}");
    assert_eq!(names(&place.path("saved")).len(), 2);
}

#[test]
fn settings_by_which_no_backup_could_be_made_stop_the_start() {
    let refused = |name: &str, value: &str, told: &str| {
        let place = Place::new().with("POSTROOM_BACKUP_EVERY", "1d").with(name, value);
        let error = place.run(&[]).failed(2);
        assert!(error.contains(told), "{name}={value}: {error}");
        assert!(place.files().is_empty());
    };
    if engine() == Engine::Postgres {
        refused("POSTROOM_BACKUP_DIR", "backups", "For PostgreSQL use pg_dump");
        return;
    }
    refused("POSTROOM_BACKUP_DIR", "backups", "there is no folder backups. Make it");
    refused("POSTROOM_BACKUP_DIR", "", "backup_every needs a place");
    refused("POSTROOM_BACKUP_DIR", "s3://", "it must look like s3://BUCKET/PREFIX");
    refused("POSTROOM_BACKUP_DIR", "s3://a", "backups in S3 need credentials");
    refused("POSTROOM_BACKUP_KEEP", "0", "backup_keep: it must be at least 1");
    refused("POSTROOM_BACKUP_EVERY", "0s", "backup_every: it must be longer");
    refused("POSTROOM_BACKUP_EVERY", "daily", "backup_every: it must look like 24h");
    let place = Place::new()
        .with("POSTROOM_BACKUP_DIR", "s3://a/b")
        .with("POSTROOM_BACKUP_S3_ENDPOINT", "http://s3.example.org");
    let error = place.run(&[]).failed(2);
    assert!(error.contains("without TLS everybody on the way can read the messages"), "{error}");
}
