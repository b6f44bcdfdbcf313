//! How far an import or export is, as who waits for it sees it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::importing::shop;
use crate::support::{Place, finish};

/// How slowly the other side of a pipe is: a log has a line only of what takes long.
const SLOWLY: Duration = Duration::from_millis(50);

/// The lines of a stream, as they come.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        // The test may have ended.
        lines.for_each(|line| drop(tx.send(line)));
    });
    rx
}

#[test]
fn an_import_that_takes_long_says_in_a_log_how_far_it_is() {
    let place = Place::new();
    let mut command = place.command(&["import", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut import = command.spawn().expect("it starts");
    let mut to = import.stdin.take().expect("it is a pipe");
    let said = lines(import.stderr.take().expect("it is a pipe"));
    writeln!(to, "{{\"postroom\": 1, \"source\": \"slow\"}}").expect("it reads");
    let (mut users, mut first) = (0, None);
    while first.is_none() {
        users += 1;
        writeln!(to, "{{\"user\": {{\"username\": \"user{users}\"}}}}").expect("it reads");
        first = said.recv_timeout(SLOWLY).ok();
    }
    let first = first.expect("it has said something");
    assert_eq!(first, format!("lines read: {users}"), "what it has read by then");
    writeln!(to, "{{\"user\": {{\"username\": \"last\"}}}}").expect("it reads");
    drop(to);
    let rest: Vec<_> = said.iter().collect();
    assert_eq!(rest, [format!("lines read: {}", users + 1)], "and at the end of it all of them");
    assert!(import.wait().expect("it ends").success());
}

#[test]
fn an_export_that_takes_long_says_in_a_log_how_far_it_is() {
    let place = Place::new();
    fs::write(place.path("shop.jsonl"), shop(4000)).expect("it can be written");
    place.run(&["import", "shop.jsonl"]).ok();
    let mut command = place.command(&["export"]);
    let mut export =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut from = export.stdout.take().expect("it is a pipe");
    let said = lines(export.stderr.take().expect("it is a pipe"));
    let (mut out, mut some, mut first) = (vec![], [0; 2048], None);
    while first.is_none() {
        let read = from.read(&mut some).expect("it can be read");
        assert_ne!(read, 0, "it ended and has said nothing");
        out.extend_from_slice(&some[..read]);
        first = said.recv_timeout(SLOWLY).ok();
    }
    from.read_to_end(&mut out).expect("it can be read");
    assert!(export.wait().expect("it ends").success());
    let number = |line: &str| line.strip_prefix("lines written: ").map(str::parse::<usize>);
    let first = number(&first.expect("it has said something")).expect("it says that");
    let lines = String::from_utf8(out).expect("it is text").lines().count() - 1;
    assert!((1..=lines).contains(&first.expect("it is a number")), "not the first line");
    let last = said.iter().last().expect("it says how many they were");
    assert_eq!(number(&last), Some(Ok(lines)));
}

/// What a terminal shows while a program runs.
#[track_caller]
fn on_terminal(place: &Place, program: &[&OsStr]) -> String {
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let of = place.command(&[]);
    let mut python = Command::new("python3");
    python.args(["-c", script]).args(program).current_dir(place.path(""));
    python.envs(of.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = finish(&mut python, "");
    assert_eq!((ran.status, &*ran.err), (0, ""), "{}", ran.out);
    ran.out
}

#[test]
fn a_terminal_shows_a_bar_as_long_as_it_lasts() {
    const CLEARED: &str = "\r\u{1b}[2K";
    let place = Place::new();
    fs::write(place.path("shop.jsonl"), shop(300)).expect("it can be written");
    let program = place.command(&[]);
    let program = program.get_program();
    let import = ["import", "shop.jsonl"].map(OsStr::new);
    let shown = on_terminal(&place, &[program, import[0], import[1]]);
    for bar in ["lines read: ", "messages checked [", "messages written ["] {
        assert!(shown.contains(bar), "{shown:?}");
    }
    let (_, left) = shown.rsplit_once(CLEARED).expect("the bar is cleared");
    assert!(left.starts_with("users: 10 in the file, 10 new\r\n"), "{left:?}");
    let export = ["sh", "-c", "\"$0\" export > all.jsonl"].map(OsStr::new);
    let shown = on_terminal(&place, &[export[0], export[1], export[2], program]);
    assert!(shown.contains("lines written: "), "{shown:?}");
    assert!(shown.ends_with(CLEARED), "{shown:?}");
    let lines = on_terminal(&place, &[program, OsStr::new("export")]);
    assert!(!lines.contains(CLEARED), "the lines themselves show it");
    let all = fs::read_to_string(place.path("all.jsonl")).expect("it is there");
    assert_eq!(lines.lines().skip(1).collect::<Vec<_>>(), all.lines().skip(1).collect::<Vec<_>>());
}
