//! What was done is said, also where standard output cannot be written; a new secret that nobody
//! has seen is taken back.

use std::fs::File;
use std::process::{Command, Stdio};

use testing::PASSWORD;

use crate::support::{Place, Ran, finish};

/// The ways in which nobody reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Nobody {
    Full,
    Gone,
}

/// Runs a command whose standard output cannot be written.
fn run(place: &Place, nobody: Nobody, arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    match nobody {
        Nobody::Full => {
            command.stdout(File::options().write(true).open("/dev/full").expect("it is there"))
        }
        Nobody::Gone => {
            let (reader, writer) = std::io::pipe().expect("the system has pipes");
            drop(reader);
            command.stdout(writer)
        }
    };
    let (reader, mut writer) = std::io::pipe().expect("the system has pipes");
    std::io::Write::write_all(&mut writer, PASSWORD.as_bytes()).expect("it is short");
    drop(writer);
    let ran = command.stdin(reader).stderr(Stdio::piped()).output().expect("it runs");
    let err = String::from_utf8(ran.stderr).expect("it is text");
    Ran { status: ran.status.code().expect("it has ended"), out: String::new(), err }
}

#[test]
fn what_was_done_is_said_on_standard_error_then() {
    for nobody in [Nobody::Full, Nobody::Gone] {
        let place = Place::new();
        let done = |arguments: &[&str], said: &str| {
            let ran = run(&place, nobody, arguments);
            assert_eq!(ran.status, 0, "{arguments:?}: {ran:?}");
            assert!(ran.err.contains("standard output cannot be written: "), "{ran:?}");
            assert!(ran.err.contains(said), "{arguments:?}: {ran:?}");
        };
        done(&["migrate"], "The schema went from version 0 to ");
        done(&["user", "add", "ann", "--email", "ann@example.org"], "ann is user 1\n");
        done(&["user", "passwd", "ann"], "ann has another password");
        done(&["user", "disable", "ann"], "ann is disabled\n");
        done(&["user", "enable", "ann"], "ann is enabled\n");
        let token = place.run(&["token", "add", "ann", "--name", "a"]).ok();
        assert!(token.starts_with("prt_"));
        let id = place.run(&["token", "list", "ann"]).ok();
        let id = id.split('\t').next().expect("it has an id");
        done(&["token", "revoke", "ann", id], &format!("token {id} is revoked\n"));
        assert_eq!(place.run(&["token", "list", "ann"]).ok(), "");
        place.run(&["webhook", "add", "https://app.example.org/"]).ok();
        done(&["webhook", "disable", "1"], "webhook 1 is disabled\n");
        done(&["webhook", "enable", "1"], "webhook 1 is enabled\n");
        done(&["webhook", "replay", "1", "--failed"], "webhook 1 is told of 0 events once more\n");
        done(&["webhook", "remove", "1"], "webhook 1 is removed\n");
        done(&["key", "accept"], "The database is used with this secret key");
        done(&["user", "erase", "ann", "--yes"], "ann is erased\n");
        done(&["restored"], "has begun a new history.\nAll sessions and tokens have ended");
        done(&["copy", "--from", "config", "--to", "sqlite:copy.db"], " rows, compared.\n");
        if testing::engine() == testing::Engine::Sqlite {
            done(&["backup", "today.db"], " bytes, checked\nThe secret key is not in it. Save ");
            done(&["restore", "today.db"], "The database that was there is kept in ");
        }
        assert_eq!(place.run(&["user", "list"]).ok(), "");
    }
}

#[test]
fn a_secret_that_nobody_has_seen_is_taken_back() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    place.run_with(PASSWORD, &["user", "add", "ann", "--email", "ann@example.org"]).ok();
    let kept = place.run(&["webhook", "add", "https://app.example.org/one"]).ok();
    let state = |place: &Place| {
        [&["webhook", "list"][..], &["webhook", "secret", "1"], &["token", "list", "ann"]]
            .map(|arguments| place.run(arguments).ok())
    };
    let before = state(&place);
    assert!(kept.ends_with(&before[1]), "{kept}");
    for nobody in [Nobody::Full, Nobody::Gone] {
        for (arguments, taken_back) in [
            (
                &["token", "add", "ann", "--name", "a"][..],
                "the token that nobody has seen is revoked",
            ),
            (&["webhook", "add", "https://app.example.org/"], "has seen, is removed"),
            (&["webhook", "rotate", "1"], "is taken back"),
        ] {
            let ran = run(&place, nobody, arguments);
            assert_eq!(ran.status, 1, "{arguments:?}: {ran:?}");
            assert!(ran.err.starts_with("error: ") && ran.err.contains(taken_back), "{ran:?}");
            assert!(!ran.err.contains("prt_") && !ran.err.contains("whsec_"), "{ran:?}");
            assert_eq!(state(&place), before, "{arguments:?}");
        }
    }
    // What is closed is /dev/null to a program.
    for arguments in [
        &["token", "add", "ann", "--name", "a"][..],
        &["webhook", "add", "https://app.example.org/"],
        &["webhook", "rotate", "1"],
        &["key", "add", "shop", "--scopes", "users"],
    ] {
        assert!(closed(&place, arguments).failed(1).contains("it is shown only once"));
        let null = place.command(arguments).stdout(Stdio::null()).output();
        assert_eq!(null.expect("it runs").status.code(), Some(1), "{arguments:?}");
        assert_eq!(state(&place), before, "{arguments:?}");
    }
}

/// Runs a command whose standard output is closed.
fn closed(place: &Place, arguments: &[&str]) -> Ran {
    let command = place.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(command.get_program()).args(arguments);
    shell.current_dir(command.get_current_dir().expect("it has one"));
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(&mut shell, "")
}

#[test]
fn what_a_command_only_prints_fails_where_it_cannot_be_written() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    place.run_with(PASSWORD, &["user", "add", "ann", "--email", "ann@example.org"]).ok();
    place.run(&["token", "add", "ann", "--name", "a"]).ok();
    place.run(&["webhook", "add", "https://app.example.org/"]).ok();
    place.run(&["key", "add", "shop", "--scopes", "users"]).ok();
    for arguments in [
        &["user", "list"][..],
        &["token", "list", "ann"],
        &["webhook", "list"],
        &["webhook", "secret", "1"],
        &["key", "list"],
        &["check"],
        &["config"],
        &["config", "--defaults"],
        &["openapi"],
        &["openapi", "--version", "3.0"],
        &["completions", "bash"],
        &["help"],
        &["help", "user"],
        &["user", "--help"],
        &["--version"],
    ] {
        for nobody in [Nobody::Full, Nobody::Gone] {
            let ran = run(&place, nobody, arguments);
            assert_eq!(ran.status, 1, "{arguments:?}: {ran:?}");
            assert!(ran.err.starts_with("error: "), "{arguments:?}: {ran:?}");
        }
        // The status of a check tells as well.
        if arguments == ["check"] {
            assert_eq!(closed(&place, arguments).status, 0);
            continue;
        }
        let error = closed(&place, arguments).failed(1);
        assert!(error.contains("standard output is closed"), "{arguments:?}: {error}");
        // Who says so does not want to read it.
        let null = File::options().write(true).open("/dev/null").expect("it is there");
        let null = place.command(arguments).stdout(null).output().expect("it runs");
        assert_eq!(null.status.code(), Some(0), "{arguments:?}");
    }
    // What is done is done.
    assert_eq!(closed(&place, &["user", "disable", "ann"]).status, 0);
}
