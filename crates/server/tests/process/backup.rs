//! Saved while it is in use, and put back: nothing that was acknowledged before is missing, and
//! nothing is put in the place of a database that is better.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;

use testing::{PASSWORD, TIMEOUT, User};

use crate::faults::build_shim;
use crate::support::{Place, finish};
use crate::traffic::{account, people};

/// The bits of a file's mode that say who may do what.
fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_backup_under_load_holds_everything_that_was_acknowledged_before_it() {
    if testing::is_about_sqlite("PostgreSQL has tools of its own to save and restore") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let (mut senders, mut recipients) = people(&server, 8, 2);
    let before = thread::scope(|scope| {
        // In here, so that a failure ends the senders too.
        let server = server;
        let (tx, rx) = channel();
        for (index, sender) in senders.iter_mut().enumerate() {
            let tx = tx.clone();
            scope.spawn(move || {
                while sender.send().is_ok_and(|answer| answer.status == 200) {
                    let id = sender.kept.last().map(|kept| kept.id);
                    tx.send((index, id)).unwrap_or_default();
                }
            });
        }
        let wait = || rx.recv_timeout(TIMEOUT).expect("messages are acknowledged");
        let before: Vec<_> = (0..400).map(|_| wait()).collect();
        let saved = place.run(&["backup", "today.db"]).ok();
        let (file, key) = saved.split_once('\n').expect("two lines");
        assert!(file.starts_with("today.db: ") && file.ends_with(" bytes, checked"), "{saved}");
        assert_eq!(key, "The secret key is not in it. Save data/secret.key as well.\n");
        // It went on meanwhile, and goes on.
        let meanwhile = rx.try_iter().count();
        assert!(meanwhile > 0, "nobody could write during the backup");
        for _ in 0..50 {
            wait();
        }
        server.stop();
        before
    });
    assert_eq!(mode(place.path("today.db")), 0o600);

    let other = Place::new();
    let today = place.path("today.db");
    let restored = finish(other.command(&["--data-dir", "data", "restore"]).arg(&today), "");
    assert_eq!(restored.status, 0, "{}", restored.err);
    assert!(restored.out.contains("All sessions and tokens have ended"), "{}", restored.out);
    assert!(restored.out.contains("All server keys are revoked"), "{}", restored.out);
    assert!(!restored.out.contains("is kept"), "{}", restored.out);
    assert!(restored.err.starts_with("warning: there is no secret key in data/secret.key. Put "));
    other.is_whole();
    // The key is not in the backup, and neither are the tokens that it signed.
    other.run(&["key", "accept"]).ok();
    let server = other.serve();
    for user in senders.iter_mut().map(|sender| &mut sender.user).chain(&mut recipients) {
        user.connect_to(server.address);
        assert!(!user.is_logged_in(), "the session of {} has come back", user.name);
    }
    for recipient in &mut recipients {
        assert_eq!(recipient.try_login(PASSWORD).status, 403);
        *recipient = User::visitor(server.address, &recipient.name);
        recipient.login(PASSWORD);
    }
    // What came after the backup is not in it; all the rest must be, in its order.
    let there: BTreeSet<_> = recipients.iter_mut().flat_map(User::inbox).collect();
    for (index, id) in &before {
        assert!(there.contains(&id.unwrap()), "{id:?} of {index} is not in the backup");
    }
    assert!(there.len() < senders.iter().map(|sender| sender.kept.len()).sum());
    for sender in &mut senders {
        sender.kept.retain(|kept| there.contains(&kept.id));
    }
    account(server.address, &senders, &mut recipients, &BTreeSet::new()).is_balanced();
    // It works as any other: the next id is above all that were.
    let (ann, last) = (&mut recipients[0], *there.last().unwrap());
    assert!(ann.send_message(ann.id, "first", "here") > last);
    server.is_unharmed();
}

#[test]
fn a_restore_keeps_the_database_that_was_there_and_says_where() {
    if testing::is_about_sqlite("PostgreSQL has tools of its own to save and restore") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let first = ann.send_message(ann.id, "before", "the backup");
    // Under load or not, with a server or without.
    place.run(&["backup", "with.db"]).ok();
    let second = ann.send_message(ann.id, "after", "the backup");
    server.stop();
    place.run(&["backup", "without.db"]).ok();
    // Copying a backup does not always keep its mode.
    fs::set_permissions(place.path("with.db"), fs::Permissions::from_mode(0o644)).unwrap();

    let said = place.run(&["restore", "with.db"]).ok();
    let kept = said.lines().find_map(|line| {
        line.strip_prefix("The database that was there is kept in ")?.strip_suffix('.')
    });
    let kept = kept.unwrap_or_else(|| panic!("{said}")).to_owned();
    assert!(kept.starts_with("data/postroom.db.before-restore-"), "{kept}");
    assert_eq!(mode(place.database()), 0o600);
    assert_eq!(mode(place.path(&kept)), 0o600);

    let server = place.serve();
    ann.connect_to(server.address);
    assert!(!ann.is_logged_in());
    ann.login(PASSWORD);
    assert_eq!(ann.inbox(), [first]);
    let log = server.stop();
    let says = |line: &str| line.contains("have kept these databases") && line.contains(&kept);
    assert!(log.lines().any(says), "{log}");

    let name = kept.strip_prefix("data/").unwrap();
    let url = format!("database_url=sqlite:{name}");
    place.run(&["check", "--set", &url]).ok();
    let mut command = place.command(&["--set", &url]);
    command.env("POSTROOM_LOG", "warn");
    let server = place.serve_by(command);
    ann.connect_to(server.address);
    ann.login(PASSWORD);
    assert_eq!(ann.inbox(), [first, second]);
}

#[test]
fn a_restore_while_the_server_runs_is_refused() {
    if testing::is_about_sqlite("PostgreSQL has tools of its own to save and restore") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    place.run(&["backup", "today.db"]).ok();
    let id = ann.send_message(ann.id, "after", "the backup");
    let files = place.files();
    let error = place.run(&["restore", "today.db"]).failed(1);
    assert!(error.contains("another server is using data/postroom.db"), "{error}");
    assert_eq!(place.files(), files);
    assert_eq!(ann.inbox(), [id]);
    ann.send_message(ann.id, "and it", "goes on");
    server.is_unharmed();
    server.stop();
    let server = place.serve();
    ann.connect_to(server.address);
    assert_eq!(ann.inbox().len(), 2);
}

#[test]
fn what_is_no_whole_backup_is_refused_and_nothing_changes() {
    if testing::is_about_sqlite("PostgreSQL has tools of its own to save and restore") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    for number in 0..50 {
        ann.send_message(ann.id, "a message", &format!("{number} {}", "text ".repeat(200)));
    }
    server.stop();
    place.run(&["backup", "good.db"]).ok();
    let good = fs::read(place.path("good.db")).unwrap();
    let pages = good.len() / 4096;
    assert!(pages > 20);

    let mut overwritten = good.clone();
    overwritten[4096 * 5..4096 * 6].fill(0xa5);
    let mut headless = good.clone();
    headless[..100].fill(0);
    let damaged: [(&str, &[u8]); 6] = [
        ("half of it", &good[..good.len() / 2 / 4096 * 4096]),
        ("not a whole page", &good[..good.len() - 100]),
        ("a page overwritten", &overwritten),
        ("no header", &headless),
        ("something else", b"Dear Sir or Madam, this is a letter and no database at all."),
        ("nothing", b""),
    ];
    let before = fs::read(place.database()).unwrap();
    let files = place.files();
    for (what, bytes) in damaged {
        fs::write(place.path("bad.db"), bytes).unwrap();
        let refused = place.run(&["restore", "bad.db"]);
        assert_eq!(refused.status, 1, "{what}: {}", refused.out);
        let error = refused.failed(1);
        assert!(error.contains("bad.db is damaged"), "{what}: {error}");
        assert_eq!(place.files(), files, "{what}");
        assert!(fs::read(place.database()).unwrap() == before, "{what}");
    }
    let error = place.run(&["restore", "no.db"]).failed(1);
    assert!(error.contains("there is no file no.db"), "{error}");
    assert_eq!(place.files(), files);

    let server = place.serve();
    ann.connect_to(server.address);
    assert_eq!(ann.inbox().len(), 50);
}

#[test]
fn a_backup_does_not_overwrite_a_file_nor_invent_a_database() {
    if testing::is_about_sqlite("PostgreSQL has tools of its own to save and restore") {
        return;
    }
    let place = Place::new();
    let error = place.run(&["backup", "today.db"]).failed(1);
    assert!(error.contains("there is no database at data/postroom.db"), "{error}");
    place.run(&["migrate"]).ok();
    fs::write(place.path("today.db"), "precious").unwrap();
    let error = place.run(&["backup", "today.db"]).failed(1);
    assert!(error.contains("today.db is there already"), "{error}");
    assert_eq!(fs::read_to_string(place.path("today.db")).unwrap(), "precious");
    let error = place.run(&["backup", "no/such/folder/today.db"]).failed(1);
    assert!(error.contains("cannot create no/such/folder/today.db"), "{error}");
}

#[test]
fn a_restore_that_is_killed_leaves_one_of_the_two_databases() {
    if testing::is_about_sqlite("PostgreSQL has tools of its own to save and restore") {
        return;
    }
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let id = ann.send_message(ann.id, "before", "the backup");
    place.run(&["backup", "today.db"]).ok();
    server.stop();
    let shim = place.path("shim.so");
    build_shim(&shim);
    // Before each step in turn that gives or takes a file its name, until there is none left.
    let mut steps = 0;
    loop {
        let mut command = place.command(&["restore", "today.db"]);
        command.env("LD_PRELOAD", &shim).env("FAULT_KILL_AT_STEP", (steps + 1).to_string());
        let status = command.stdout(Stdio::null()).status().unwrap();
        let server = place.serve();
        ann.connect_to(server.address);
        ann.login(PASSWORD);
        assert_eq!(ann.inbox(), [id], "killed at step {steps}");
        server.stop();
        place.is_whole();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(9));
        steps += 1;
    }
    assert!(steps >= 2, "it was killed at {steps} steps");
}
