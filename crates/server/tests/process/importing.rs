//! Moving in and out by JSON Lines.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::moving::{build, file_place};
use crate::support::Place;

const HEADER: &str = r#"{"postroom": 1, "source": "shop"}"#;

/// What a place holds, but for the first line.
#[track_caller]
fn export(place: &Place) -> BTreeSet<String> {
    let out = place.run(&["export"]).ok();
    let mut lines = out.lines();
    let first = lines.next().expect("there is a first line");
    let first: Value = serde_json::from_str(first).expect("it is JSON");
    assert_eq!(first["postroom"], 1, "{first}");
    lines.map(str::to_owned).collect()
}

#[track_caller]
fn check(place: &Place) {
    let said = place.run(&["check"]).ok();
    assert!(said.contains("whole and consistent"), "{said}");
}

/// Some people who write to each other.
pub(crate) fn shop(messages: usize) -> String {
    let mut file = format!("\u{feff}{HEADER}\r\n");
    let mut add = |line: Value| writeln!(file, "{line}\r").expect("text can be written");
    for user in 0..10 {
        let id = user.to_string();
        add(json!({ "user": { "external_id": id, "username": format!("Person{user}"),
            "created_at": "2020-02-02T02:02:02Z" } }));
    }
    for number in 0..messages {
        let (from, to) = (number % 10, (number * 7 + 1) % 10);
        let at =
            format!("2025-01-01T{:02}:{:02}:{:02}Z", number / 3600, number / 60 % 60, number % 60);
        let mut message = json!({
            "external_id": format!("m{number}"), "from": format!("ext:{from}"),
            "to": [format!("person{to}")], "subject": format!("{number}"), "body": "é\n",
            "sent_at": at,
        });
        if number % 3 == 1 {
            message["state"] = json!([{ "user": format!("ext:{to}"), "read_at": true }]);
        }
        if number % 5 == 4 {
            message["in_reply_to"] = format!("m{}", number - 4).into();
        }
        if number % 11 == 10 {
            message["to"] = json!(["ext:1", "ext:2", format!("ext:{from}")]);
            message["metadata"] = json!({ "b": 1, "a": [2] });
        }
        add(json!({ "message": message }));
    }
    add(json!({ "block": { "user": "person1", "blocked": "ext:2",
        "created_at": "2025-02-02T02:02:02Z" } }));
    add(json!({ "mute": { "user": "person1", "conversation": "m10" } }));
    file
}

fn write(place: &Place, name: &str, text: &str) {
    fs::write(place.path(name), text).expect("a file can be written");
}

/// The errors of an import, each as pointer and code.
#[track_caller]
fn errors(place: &Place, arguments: &[&str]) -> Vec<(i64, String, String)> {
    let ran = place.run(arguments);
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(ran.err.contains("nothing was written"), "{}", ran.err);
    let error = |line: &str| {
        let error: Value = serde_json::from_str(line).expect("it is JSON");
        assert!(error["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        let text = |name: &str| error[name].as_str().expect("it has it").to_owned();
        (error["line"].as_i64().expect("it has it"), text("pointer"), text("code"))
    };
    let mut errors: Vec<_> = ran.out.lines().map(error).collect();
    errors.sort();
    errors
}

#[test]
fn what_goes_out_comes_in_and_goes_out_the_same_between_databases_of_any_kind() {
    let from = Place::new();
    let server = from.serve();
    drop(build(&from, &server));
    // Beside the running server.
    let out = from.run(&["export"]).ok();
    server.stop();
    assert_eq!(out.lines().skip(1).map(str::to_owned).collect::<BTreeSet<_>>(), export(&from));
    for to in [Place::new(), file_place()] {
        write(&to, "all.jsonl", &out);
        to.run(&["import", "all.jsonl", "--dry-run"]).ok();
        to.run(&["import", "all.jsonl"]).ok();
        check(&to);
        let (expected, found) = (export(&from), export(&to));
        let differ: Vec<_> = expected.symmetric_difference(&found).collect();
        assert!(differ.is_empty(), "{differ:#?}");
        to.run(&["import", "all.jsonl"]).ok();
        assert_eq!(export(&to), expected, "a second time changes nothing");
        let server = to.serve();
        server.stop();
        check(&to);
    }
}

#[test]
fn a_file_of_another_program_comes_in_whole_and_its_users_sign_in() {
    let place = Place::new();
    let hash = "$2b$10$1asLCT/eryJ1SIOFD0INpunoULlNyVheUfhKBMuPC7868mj9wyvWi";
    let user = json!({ "user": { "username": "zoe", "password_hash": hash } });
    let said = place.run_with(&format!("{}{user}\n", shop(300)), &["import", "-"]).ok();
    assert!(said.contains("300 in the file, 300 new"), "{said}");
    check(&place);
    let lines = export(&place);
    assert_eq!(lines.iter().filter(|line| line.starts_with(r#"{"message""#)).count(), 300);
    let group = lines.iter().find(|line| line.contains(r#""external_id":"m10","#)).unwrap();
    assert!(group.contains(r#""metadata":{"a":[2],"b":1}"#), "{group}");
    let server = place.serve();
    let client = testing::Client::new(server.address);
    let body = json!({ "username": "zoe", "password": "pässword of ann", "name": "test" });
    let token = client.request("POST", "/v1/tokens").json(&body).wait().unwrap();
    assert_eq!(token.status, 201, "{}", token.text());
    let beside = place.run(&["import", "-"]).failed(1);
    assert!(beside.contains("for itself"), "{beside}");
    server.stop();
}

#[test]
fn all_errors_are_reported_at_once_and_nothing_is_written() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    let long = "x".repeat(70_000);
    let message = |id: &str, more: Value| {
        let mut message = json!({ "external_id": id, "from": "ann", "to": ["ben"],
            "sent_at": "2025-01-01T00:00:00Z" });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "message": message }).to_string()
    };
    let lines = [
        HEADER.to_owned(),
        r#"{"user": {"username": "ann"}}"#.to_owned(),
        r#"{"user": {"username": "ANN"}}"#.to_owned(),
        r#"{"user": {"username": "ann smith", "email": "no"}}"#.to_owned(),
        r#"{"user": {"username": "ben", "password_hash": "pbkdf2_md5$1$a$b", "colour": 1}}"#.into(),
        message("1", json!({ "to": ["cat", "ann"] })),
        message("1", json!({ "to": ["ann"], "body": long })),
        message("2", json!({ "to": ["ann"], "body": "a\0b", "sent_at": "yesterday" })),
        message("3", json!({ "to": ["ann"], "in_reply_to": "9" })),
        message("4", json!({ "to": ["ann"], "sent_at": "2025-01-04T00:00:01Z" })),
        message("5", json!({ "to": ["ann"], "in_reply_to": "4" })),
        message("6", json!({ "to": ["ann"], "in_reply_to": "7" })),
        message("7", json!({ "to": ["ann"], "in_reply_to": "6" })),
        message("6", json!({ "to": ["ann"] })),
        r#"{"mute": {"user": "ann", "conversation": "nothing"}}"#.to_owned(),
        r#"{"message": {"external_id": "8", "#.to_owned(),
    ];
    write(&place, "bad.jsonl", &lines.join("\n"));
    let expected = [
        (3, "/user/username", "duplicate"),
        (4, "/user/email", "invalid"),
        (4, "/user/username", "invalid"),
        (5, "/user/colour", "unknown_field"),
        (5, "/user/password_hash", "invalid"),
        (6, "/message/to/0", "unknown_user"),
        (7, "/message/body", "invalid"),
        (8, "/message/body", "invalid"),
        (8, "/message/sent_at", "invalid"),
        (9, "/message/in_reply_to", "unknown_message"),
        (11, "/message/sent_at", "before_parent"),
        (14, "/message/external_id", "duplicate"),
        (15, "/mute/conversation", "unknown_message"),
        (16, "", "not_json"),
    ];
    let expected =
        expected.map(|(line, pointer, code)| (line, pointer.to_owned(), code.to_owned()));
    for arguments in [&["import", "bad.jsonl"][..], &["import", "bad.jsonl", "--dry-run"]] {
        let mut found = errors(&place, arguments);
        let circle = found.extract_if(.., |(_, _, code)| code == "circle").count();
        assert!((1..=3).contains(&circle), "{circle}");
        assert_eq!(found, expected);
    }
    place.run(&["import", "bad.jsonl", "--errors", "errors.jsonl"]).failed(1);
    let told = fs::read_to_string(place.path("errors.jsonl")).unwrap();
    assert!(told.lines().count() > expected.len(), "{told}");
    assert!(!told.contains("pbkdf2_md5"), "a hash is secret");
    assert_eq!(export(&place), BTreeSet::new());
    write(
        &place,
        "circle.jsonl",
        &[&lines[0], &lines[1], &lines[11], &lines[12]].map(|l| &**l).join("\n"),
    );
    let circle = errors(&place, &["import", "circle.jsonl"]);
    assert!(circle.iter().all(|(_, _, code)| code == "circle") && !circle.is_empty());
    assert_eq!(errors(&place, &["import", "/dev/null"])[0].2, "no_header");
}

#[test]
fn what_is_asked_for_is_cut_made_updated_or_refused() {
    let place = Place::new();
    let body = "é".repeat(40_000);
    let message = json!({ "message": { "external_id": "1", "from": "ann", "to": ["ext:7"],
        "sent_at": "2025-01-01T00:00:00Z", "body": body } });
    write(&place, "a.jsonl", &format!("{HEADER}\n{message}\n"));
    assert_eq!(errors(&place, &["import", "a.jsonl"]).len(), 1, "the body alone can be told");
    place.run(&["import", "a.jsonl", "--long-bodies", "cut", "--missing-users", "stub"]).ok();
    check(&place);
    let all = export(&place);
    assert_eq!(all.len(), 4, "two users, a message and a contact: {all:#?}");
    assert!(all.iter().any(|line| line.len() > 65_000 && line.len() < 67_000));
    let user = |name: &str| {
        let user = json!({ "user": { "username": "ann", "display_name": name } });
        format!("{HEADER}\n{user}\n")
    };
    write(&place, "b.jsonl", &user("Ann"));
    place.run(&["import", "b.jsonl"]).ok();
    assert_eq!(export(&place), all, "who is here stays");
    assert_eq!(errors(&place, &["import", "b.jsonl", "--insert"])[0].2, "exists");
    place.run(&["import", "b.jsonl", "--upsert"]).ok();
    assert!(export(&place).iter().any(|line| line.contains(r#""display_name":"Ann""#)));
    let older = json!({ "message": { "external_id": "0", "from": "ann", "to": ["ext:7"],
        "sent_at": "2024-01-01T00:00:00Z" } });
    write(&place, "c.jsonl", &format!("{HEADER}\n{older}\n"));
    assert_eq!(errors(&place, &["import", "c.jsonl"])[0].2, "too_late");
    write(&place, "d.jsonl", &format!("{}\n{older}\n", HEADER.replace("shop", "other")));
    assert!(errors(&place, &["import", "d.jsonl"]).iter().any(|error| error.2 == "other_source"));
}

#[test]
fn a_later_file_of_the_same_source_goes_on_with_its_conversations() {
    let place = Place::new();
    let people = "{\"user\": {\"username\": \"ann\"}}\n{\"user\": {\"username\": \"ben\"}}";
    let line = |id: &str, more: &str| {
        format!(
            r#"{{"message": {{"external_id": "{id}", "from": "ann", "to": ["ben"], "subject": "s",
            "sent_at": "2025-01-0{id}T00:00:00Z"{more}}}}}"#
        )
        .replace('\n', " ")
    };
    write(&place, "a.jsonl", &format!("{HEADER}\n{people}\n{}", line("1", "")));
    write(&place, "b.jsonl", &format!("{HEADER}\n{}", line("2", r#", "in_reply_to": "1""#)));
    place.run(&["import", "a.jsonl"]).ok();
    place.run(&["import", "b.jsonl"]).ok();
    check(&place);
    assert!(export(&place).iter().any(|line| line.contains(r#""in_reply_to":"1""#)));
}

#[test]
fn an_import_that_is_killed_goes_on_when_it_is_run_again() {
    const KILLS: u32 = 20;
    let (mut place, whole) = (Place::new(), Place::new());
    let file = shop(2500);
    write(&whole, "shop.jsonl", &file);
    let begun = Instant::now();
    whole.run(&["import", "shop.jsonl"]).ok();
    let (mut length, expected) = (begun.elapsed(), export(&whole));
    let (mut killed, mut time) = (0, 0);
    while killed < KILLS {
        write(&place, "shop.jsonl", &file);
        let mut command = place.command(&["import", "shop.jsonl"]);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut import = command.spawn().expect("it starts");
        // Not to await anything: to fall into any part of it, and into what repeats it.
        thread::sleep(length * (time * 7 % KILLS) / KILLS);
        import.kill().expect("it can be killed");
        time += 1;
        if import.wait().expect("it ends").success() {
            // It was faster this time; then all of it is there.
            assert!(export(&place) == expected, "it is not what the file says");
            (place, length) = (Place::new(), length * 3 / 4);
        } else {
            killed += 1;
        }
    }
    place.run(&["import", "shop.jsonl"]).ok();
    check(&place);
    assert!(export(&place) == expected, "it holds the same as after one without a kill");
    let left = place.files().into_iter().filter(|name| name.contains("spool"));
    assert_eq!(left.count(), 0, "nothing else is left");
}

#[test]
fn replies_that_a_clock_dated_before_what_they_answer_come_after_it() {
    let place = Place::new();
    let line = |id: &str, day: u32, parent: &str| {
        let parent = Some(parent).filter(|parent| !parent.is_empty());
        json!({ "message": { "external_id": id, "from": "ann", "to": ["ann"],
            "sent_at": format!("2025-01-{day:02}T00:00:00Z"), "in_reply_to": parent } })
        .to_string()
    };
    let user = r#"{"user": {"username": "ann"}}"#.to_owned();
    let mut lines = vec![HEADER.to_owned(), user, line("a", 9, ""), line("b", 8, "")];
    write(&place, "begun.jsonl", &lines.join("\n"));
    place.run(&["import", "begun.jsonl"]).ok();
    lines.extend([line("c", 7, "a"), line("d", 7, "c")]);
    write(&place, "whole.jsonl", &lines.join("\n"));
    // As after an interruption between them.
    place.run(&["import", "whole.jsonl"]).ok();
    check(&place);
    let out = place.run(&["export"]).ok();
    let order = out.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).expect("it is JSON");
        line["message"]["external_id"].as_str().map(str::to_owned)
    });
    assert_eq!(order.collect::<Vec<_>>(), ["b", "a", "c", "d"]);
    let all = export(&place);
    let again = Place::new();
    write(&again, "all.jsonl", &out);
    again.run(&["import", "all.jsonl"]).ok();
    check(&again);
    assert_eq!(export(&again), all);
    lines.push(line("e", 5, "d"));
    write(&place, "far.jsonl", &lines.join("\n"));
    let error = (7, "/message/sent_at".to_owned(), "before_parent".to_owned());
    assert!(errors(&place, &["import", "far.jsonl"]).contains(&error), "all in all it is far");
}
