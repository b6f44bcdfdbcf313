//! What is refused is left as it is, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use testing::PASSWORD;

use crate::support::{Place, Ran};

/// Everything in a folder and the folders in it, with its bytes.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be listed").path();
        let name = path.display().to_string();
        if path.is_dir() {
            all.extend(everything(&path));
            all.push((name, Vec::new()));
        } else {
            all.push((name, fs::read(&path).unwrap_or_default()));
        }
    }
    all.sort();
    all
}

/// Makes a file that says of itself that it never ends.
fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("it starts").success());
}

/// Every command that opens a database, and what it reads from standard input.
const COMMANDS: [&[&str]; 18] = [
    &["serve"],
    &["migrate"],
    &["user", "list"],
    &["user", "add", "ann", "--email", "ann@example.org"],
    &["user", "passwd", "ann"],
    &["user", "erase", "ann", "--yes"],
    &["token", "add", "ann", "--name", "a"],
    &["token", "list", "ann"],
    &["webhook", "add", "https://app.example.org/"],
    &["webhook", "list"],
    &["webhook", "secret", "1"],
    &["webhook", "log"],
    &["key", "accept"],
    &["check"],
    &["restored"],
    &["backup", "today.db"],
    &["copy", "--from", "config", "--to", "sqlite:copy.db"],
    &["copy", "--from", "sqlite:none.db", "--to", "config"],
];

#[test]
fn a_file_of_another_program_is_refused_by_every_command_and_not_changed() {
    if testing::is_about_sqlite("it is about files") {
        return;
    }
    let script = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                  c.execute('PRAGMA journal_mode = ' + sys.argv[2]); \
                  c.execute('CREATE TABLE notes (t)'); c.commit(); os._exit(0)";
    for kind in ["delete", "wal", "empty"] {
        let is_empty = kind == "empty";
        let place = Place::new();
        fs::create_dir(place.path("data")).unwrap();
        if is_empty {
            fs::write(place.database(), "").unwrap();
        } else {
            let mut python = Command::new("python3");
            let made = python.args(["-c", script]).arg(place.database()).arg(kind).status();
            assert!(made.expect("it starts").success());
        }
        if kind == "wal" {
            // As after the crash of a machine, or in a copy of a folder.
            fs::remove_file(place.path("data/postroom.db-shm")).expect("it was left");
        }
        let before = everything(&place.path(""));
        for command in COMMANDS {
            // Of an empty file a new database can be made.
            if is_empty && matches!(command[0], "serve" | "migrate") {
                continue;
            }
            let error = place.run_with(PASSWORD, command).failed(1);
            let why =
                ["is not a database of this program", "there is no database", "is there already"];
            assert!(why.iter().any(|why| error.contains(why)), "{command:?}: {error}");
            assert!(everything(&place.path("")) == before, "{command:?}");
        }
        if is_empty {
            place.run(&["migrate"]).ok();
            place.is_whole();
        }
    }
}

#[test]
fn no_command_makes_a_key_where_the_database_was_used_with_one() {
    if testing::is_about_sqlite("a server of PostgreSQL is given its key") {
        return;
    }
    let place = Place::new();
    let key = place.path("data/secret.key");
    place.run(&["migrate"]).ok();
    // The first command makes it.
    place.run_with(PASSWORD, &["user", "add", "ann", "--email", "ann@example.org"]).ok();
    place.run(&["webhook", "add", "https://app.example.org/"]).ok();
    let first = fs::read(&key).expect("it was made");
    fs::remove_file(&key).unwrap();
    for command in [
        &["user", "add", "bob", "--email", "bob@example.org"][..],
        &["user", "erase", "ann", "--yes"],
        &["webhook", "add", "https://app.example.org/"],
        &["webhook", "secret", "1"],
        &["webhook", "rotate", "1"],
        &["webhook", "test", "1"],
        &["serve"],
    ] {
        let error = place.run_with(PASSWORD, command).failed(1);
        assert!(error.contains("there is no secret key in data/secret.key"), "{command:?} {error}");
        assert!(error.contains("`postroom key accept`"), "{command:?} {error}");
        assert!(!key.exists(), "{command:?}");
    }
    // What needs no key goes on.
    assert_eq!(place.run(&["user", "list"]).ok().lines().count(), 1);
    place.run(&["token", "add", "ann", "--name", "a"]).ok();
    // The key is lost: another one is made where that is asked for.
    place.run(&["key", "accept"]).ok();
    assert_ne!(fs::read(&key).expect("it was made"), first);
    place.run_with(PASSWORD, &["user", "add", "bob", "--email", "bob@example.org"]).ok();
    assert!(!place.serve().last_words().contains("Warning"));
}

#[test]
fn what_does_not_start_leaves_no_folder() {
    let key = format!("secret_key={}", "k".repeat(32));
    let mail = ["--set", "mail_from=a@example.org", "--set", "public_url=https://example.org"];
    let run = |place: &Place, arguments: &[&str]| -> Ran {
        place.run(&[&["--data-dir", "new/data"][..], arguments].concat())
    };
    let file = "database_url=sqlite:no/such/folder/post.db";
    let none = "database_url=postgres://127.0.0.1:1/none";
    for arguments in [
        &["serve", "--set", file][..],
        &["migrate", "--set", file],
        &["serve", "--set", none, "--set", &key],
        &["migrate", "--set", none, "--set", &key],
        &["restored", "--set", none, "--set", &key],
        &["restore", "damaged.db", "--set", "database_url=sqlite:post.db"],
        &["restore", "damaged.db", "--set", file],
        &["copy", "--from", "sqlite:none.db", "--to", "sqlite:post.db"],
        &["copy", "--from", none.trim_start_matches("database_url="), "--to", "sqlite:post.db"],
        &[&["serve", "--set", "smtp_url_file=nowhere"][..], &mail].concat(),
        &[&["serve", "--set", "smtp_url=smtp://h?ca=none.pem"][..], &mail].concat(),
        &[
            &["serve", "--set", "smtp_url=smtp://localhost", "--set", "templates_dir=none"][..],
            &mail,
        ]
        .concat(),
    ] {
        let place = Place::new();
        fs::write(place.path("damaged.db"), "Dear diary").unwrap();
        let before = everything(&place.path(""));
        // What the settings of e-mail name is not there.
        let status = if arguments.contains(&mail[1]) { 2 } else { 1 };
        let error = run(&place, arguments).failed(status);
        assert!(everything(&place.path("")) == before, "{arguments:?}: {error}");
    }
}

#[test]
fn a_key_that_is_a_link_to_nothing_is_noticed_before_anything_is_made() {
    if testing::is_about_sqlite("a server of PostgreSQL is given its key") {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    symlink("/nowhere/secret.key", place.path("data/secret.key")).unwrap();
    let error = place.run(&["serve"]).failed(2);
    assert!(error.contains("cannot read the secret key in data/secret.key"), "{error}");
    assert_eq!(place.files(), ["secret.key"]);
}

#[test]
fn a_file_without_an_end_or_of_another_kind_is_refused() {
    let place = Place::new();
    fifo(&place.path("fifo"));
    fs::write(place.path("large"), vec![b'k'; 4_000_000]).unwrap();
    fs::write(place.path("lines"), format!("{0}\n{0}\n", "k".repeat(40))).unwrap();
    fs::write(place.path("nul"), "k\0".repeat(40)).unwrap();
    fs::write(place.path("latin"), [0xe4; 40]).unwrap();
    fs::create_dir(place.path("templates")).unwrap();
    fifo(&place.path("templates/reminder.txt"));

    let (regular, long) = ("it is not a regular file", "bytes");
    let no_text = ["it must be one line of text", "it is not text"];
    let secrets = [
        ("/dev/zero", regular),
        ("/dev/full", regular),
        ("fifo", regular),
        ("large", long),
        ("lines", no_text[0]),
        ("nul", no_text[0]),
        ("latin", no_text[1]),
    ];
    let mail = ["--set", "mail_from=a@example.org", "--set", "public_url=https://example.org"];
    for (file, why) in secrets {
        for setting in ["secret_key_file", "smtp_url_file"] {
            let set = format!("{setting}={file}");
            let error = place.run(&[&["serve", "--set", &set][..], &mail].concat()).failed(2);
            assert!(error.contains(why) && error.contains(file), "{set}: {error}");
        }
        let file = place.path(file).display().to_string();
        if why == no_text[0] {
            continue;
        }
        // As a configuration.
        let error = place.run(&["config", "--config", &file]).failed(2);
        assert!(error.contains(why) && error.contains(&file), "{error}");
    }
    for file in ["/dev/zero", "fifo", "large"] {
        let set = format!("smtp_url=smtps://example.org?ca={file}");
        let error = place.run(&[&["serve", "--set", &set][..], &mail].concat()).failed(2);
        let why = if file == "large" { long } else { regular };
        assert!(error.contains(why) && error.contains(file), "{error}");
        let url =
            format!("database_url=postgres://127.0.0.1:1/x?sslmode=verify-full&sslrootcert={file}");
        let key = format!("secret_key={}", "k".repeat(32));
        let error = place.run(&["serve", "--set", &url, "--set", &key]).failed(2);
        assert!(error.contains(why) && error.contains(file), "{error}");
    }
    let set = ["--set", "smtp_url=smtp://localhost", "--set", "templates_dir=templates"];
    let error = place.run(&[&["serve"][..], &set, &mail].concat()).failed(2);
    assert!(error.contains("reminder.txt") && error.contains(regular), "{error}");
    for key in [format!("{0}\n{0}", "k".repeat(40)), "k".repeat(5000)] {
        let error = place.run(&["config", "--set", &format!("secret_key={key}")]).failed(2);
        assert!(error.contains("secret_key: it must be one line"), "{error}");
    }
    assert!(!place.path("data").exists());
}

#[test]
fn a_password_without_an_end_is_refused() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    let add = ["user", "add", "ann", "--email", "ann@example.org"];
    let zero = || fs::File::open("/dev/zero").expect("it is there");
    let ran = place.command(&add).stdin(zero()).output().expect("it runs");
    let error = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{error}");
    assert!(error.contains("password: it must have 8 to 1024 bytes"), "{error}");
    let long = "k".repeat(100_000);
    let error = place.run_with(&long, &add).failed(1);
    assert!(error.contains("password: it must have 8 to 1024 bytes"), "{error}");
    assert_eq!(place.run(&["user", "list"]).ok(), "");
}

#[test]
fn no_copy_gets_a_name_or_comes_from_one_that_is_used_beside_a_database() {
    if testing::is_about_sqlite("it is about files") {
        return;
    }
    let place = Place::new();
    place.run(&["migrate"]).ok();
    place.run(&["backup", "today.db"]).ok();
    for end in [".lock", ".partial", "-wal", "-shm", "-journal"] {
        let source = format!("data/postroom.db{end}");
        fs::copy(place.path("today.db"), place.path(&source)).unwrap();
        drop(fs::remove_file(place.path("link.db")));
        symlink(&source, place.path("link.db")).unwrap();
        let before = everything(&place.path(""));
        for source in [&source, "link.db"] {
            let error = place.run(&["restore", source]).failed(1);
            assert!(error.contains("cannot be the name of a copy"), "{source}: {error}");
            assert!(everything(&place.path("")) == before, "{source}");
        }
        fs::remove_file(place.path(&source)).unwrap();
    }
    let before = everything(&place.path(""));
    for end in [".lock", ".partial", "-wal", "-shm", "-journal", ".before-15", ".before-restore-x"]
    {
        let (target, url) = (format!("data/new.db{end}"), format!("sqlite:new.db{end}"));
        for arguments in [&["backup", &target][..], &["copy", "--from", "config", "--to", &url]] {
            let error = place.run(arguments).failed(1);
            assert!(error.contains("cannot be the name of a copy"), "{arguments:?}: {error}");
            assert!(everything(&place.path("")) == before, "{arguments:?}");
        }
    }
    // What a migration or a restore has kept can be put back.
    fs::rename(place.path("today.db"), place.path("data/postroom.db.before-2")).unwrap();
    assert_eq!(place.run(&["restore", "data/postroom.db.before-2"]).status, 0);
    assert!(place.path("data/postroom.db.before-2").exists());
}

#[test]
fn a_link_to_a_database_is_no_way_around_its_lock() {
    if testing::is_about_sqlite("it is about files") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let _ann = server.user("ann");
    symlink("data/postroom.db", place.path("link.db")).unwrap();
    fs::create_dir(place.path("far")).unwrap();
    symlink("../link.db", place.path("far/link.db")).unwrap();
    for link in ["sqlite:../link.db", "sqlite:../far/link.db"] {
        let set = format!("database_url={link}");
        for arguments in [
            &["serve", "--set", &set][..],
            &["restored", "--set", &set],
            &["restore", "far/none.db", "--set", &set],
            &["copy", "--from", link, "--to", "sqlite:none.db"],
        ] {
            fs::write(place.path("far/none.db"), "Dear diary").unwrap();
            let error = place.run(arguments).failed(1);
            assert!(error.contains("another server is using"), "{arguments:?}: {error}");
        }
        // Beside the server its log is read as well.
        let listed = place.run(&["user", "list", "--set", &set]).ok();
        assert!(listed.contains("\tann\t"), "{listed}");
    }
    assert_eq!(fs::read_dir(place.path("far")).unwrap().count(), 2);
    server.is_unharmed();
}

#[test]
fn a_copy_leaves_its_source_as_it_is_after_a_crash() {
    if testing::is_about_sqlite("it is about files") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let _ann = server.user("ann");
    server.kill();
    let source = || {
        ["", "-wal"].map(|rest| fs::read(place.path(&format!("data/postroom.db{rest}"))).unwrap())
    };
    let before = source();
    assert!(!before[1].is_empty(), "its log is left");
    fs::write(place.path("data/there.db"), "Dear diary").unwrap();
    let copy = |to: &str| place.run(&["copy", "--from", "config", "--to", to]);
    copy("sqlite:there.db").failed(1);
    copy("sqlite:none/copy.db").failed(1);
    copy("postgres://127.0.0.1:1/none").failed(1);
    assert!(source() == before, "after it was refused");
    assert_eq!(copy("sqlite:copy.db").status, 0);
    place.run(&["backup", "today.db"]).ok();
    assert!(source() == before, "after it was done");
    let copied = place.run(&["user", "list", "--set", "database_url=sqlite:copy.db"]).ok();
    assert!(copied.contains("\tann\t"), "{copied}");
}

#[test]
fn a_missing_key_is_noticed_before_the_schema_is_changed() {
    if testing::is_about_sqlite("a server of PostgreSQL is given its key") {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    let (url, older) = (place.url(), &domain::SCHEMA[..domain::SCHEMA.len() - 1]);
    db::Db::migrate(&url, older, 1).expect("it is new");
    let known = db::Db::open(&url, older).expect("it is there");
    let record = known.write(|tx| domain::history::set_key_fingerprint(tx, &[1; 16]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(record).expect("it can be written");
    known.close();
    let before = everything(&place.path(""));
    let error = place.run(&["serve"]).failed(1);
    assert!(error.contains("there is no secret key in data/secret.key"), "{error}");
    assert!(everything(&place.path("")) == before);
    let key = place.path("short.key");
    fs::write(&key, "short").unwrap();
    let before = everything(&place.path(""));
    place.run(&["serve", "--set", "server_key_file=short.key"]).failed(2);
    assert!(everything(&place.path("")) == before);
}
