//! A disk that is really full: what frees space is written, and then there is space again.

#![expect(clippy::print_stderr, reason = "a test that is left out says so")]
#![expect(clippy::disallowed_methods, reason = "the tests have no configuration")]

use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::place::Server;

/// The process with its folder on a disk of this size, which ends with it.
pub(crate) fn on_a_small_disk(size: &str) -> Option<(Server, TempDir)> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    // In a mount namespace of its own.
    let started = ["-m", "-rm"].into_iter().find_map(|own| {
        let mount = r#"mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@""#;
        let mut command = Command::new("unshare");
        command.args([own, "sh", "-c", mount]).arg(folder.path()).arg(size);
        command.arg(std::env::current_exe().expect("it runs"));
        Server::start(command, folder.path())
    });
    let Some(server) = started else {
        let required = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!required, "no small disk could be mounted; run the tests as root");
        eprintln!("LEFT OUT: a really full disk: no small disk could be mounted (not root?)");
        return None;
    };
    Some((server, folder))
}

/// Writes until the disk is full, and stays so. The number of the first row that was refused.
fn fill(server: &mut Server, from: i32) -> i32 {
    let refused = |number: &i32| {
        let mut big = || match &*server.ask(&format!("big {number} 65536")) {
            "ok" => false,
            "error Full" => true,
            other => panic!("{other}"),
        };
        // What was in the log may have found its place meanwhile.
        big() && {
            thread::sleep(Duration::from_millis(300));
            big()
        }
    };
    (from..from + 10_000).find(refused).expect("a disk ends")
}

/// Deletes the rows one by one; each of them has to go.
fn empty(server: &mut Server, numbers: std::ops::Range<i32>) {
    for number in numbers.clone() {
        assert_eq!(server.ask(&format!("forget {number}")), "ok", "{number} of {numbers:?}");
    }
}

/// Waits until writes are taken again, without a restart.
fn recovers(server: &mut Server, number: i32) {
    for _ in 0..600 {
        match &*server.ask(&format!("write {number}")) {
            "ok" => return,
            "error Full" => thread::sleep(Duration::from_millis(50)),
            other => panic!("{other}"),
        }
    }
    panic!("it is never free again");
}

#[test]
fn who_filled_a_disk_can_empty_it_and_fill_it_again() {
    for (size, reserve) in [("12m", 2_000_000), ("24m", 4_000_000), ("12m", 64_000_000)] {
        let Some((mut server, _folder)) = on_a_small_disk(size) else { return };
        for command in ["migrate", "open", &format!("reserve {reserve}"), "write 0"] {
            assert_eq!(server.ask(command), "ok", "to {command}");
        }
        let mut first = 1;
        for round in 0..3 {
            let refused = fill(&mut server, first);
            assert!(refused - first > 10, "{size}, round {round}: {first} to {refused}");
            // What stores something has no share in the reserve, however often it tries.
            for _ in 0..50 {
                assert_eq!(server.ask("write 999999"), "error Full");
            }
            assert_eq!(server.ask("sound"), "ok");
            empty(&mut server, first..refused);
            recovers(&mut server, refused);
            first = refused + 1;
        }
        assert_eq!(server.ask("integrity"), "ok");
        server.leave();
    }
}

#[test]
fn a_disk_that_others_filled_can_be_written_to_for_deletions_and_recovers_with_them() {
    let Some((mut server, _folder)) = on_a_small_disk("16m") else { return };
    for command in ["migrate", "open", "reserve 4000000"] {
        assert_eq!(server.ask(command), "ok", "to {command}");
    }
    for number in 1..20 {
        assert_eq!(server.ask(&format!("big {number} 65536")), "ok");
    }
    assert!(server.ask("ballast 30000000").starts_with("error"), "it fills the disk");
    let refused = fill(&mut server, 20);
    empty(&mut server, 1..10);
    assert_eq!(server.ask(&format!("big {refused} 65536")), "error Full");
    assert_eq!(server.ask("unballast"), "ok");
    recovers(&mut server, refused);
    assert_eq!(server.ask("integrity"), "ok");
    server.leave();
}
