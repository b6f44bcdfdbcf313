//! Moving in from the database of a Django app. Databases that its packages themselves have made
//! are in `.ci/moving`.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testing::{Client, Database};

use crate::support::Place;

/// Of Django 5.2.
const HASH: &str =
    "pbkdf2_sha256$1000000$1655xW1bNrtasks88Wu9yY$BrvWOpj+9L+ZM07A/LFcIqr2wbvPxpcoLParzwcwZOA=";

/// The users and the messages of the app with the classic API, as Django writes them into SQLite.
const APP: &str = r#"
    CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128) NOT NULL,
        last_login datetime NULL, is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE,
        last_name varchar(150) NOT NULL, email varchar(254) NOT NULL, is_staff bool NOT NULL,
        is_active bool NOT NULL, date_joined datetime NOT NULL, first_name varchar(150) NOT NULL);
    CREATE TABLE messages_message (id integer PRIMARY KEY, subject varchar(200) NOT NULL,
        body text NOT NULL, creation_date datetime NOT NULL, is_read bool NOT NULL,
        receiver_id integer NOT NULL, sender_id integer NOT NULL);
    INSERT INTO auth_user VALUES
        (2, '{HASH}', NULL, '1', 'ann', 'Lee', 'ann@example.org', '1', '1',
            '2020-02-02 02:02:02.5{Z}', 'Ann'),
        (3, '!none', NULL, '0', 'ben', '', '', '0', '0', '2020-02-03 02:02:02{Z}', ''),
        (5, 'md5$salt$hash', NULL, '0', 'ANN', '', 'no address', '0', '1',
            '2020-02-04 02:02:02{Z}', ''),
        (8, '', NULL, '0', 'gus o''neil', '', 'gus@example.org', '0', '1',
            '2020-02-05 02:02:02{Z}', '');
    INSERT INTO messages_message VALUES
        (10, 'Hi', 'one', '2021-01-01 10:00:00.123456{Z}', '1', 2, 3),
        (11, '', 'two', '2021-01-02 10:00:00{Z}', '0', 2, 8),
        (15, 'Löng', 'three', '2021-01-03 10:00:00{Z}', '0', 5, 2),
        (16, 'gone', 'four', '2021-01-03 10:00:00{Z}', '0', 77, 2);
    CREATE TABLE "odd ""name" (id integer PRIMARY KEY, "wri ter" integer, reader integer,
        words text, at datetime, "seen?" bool, old bool);
    INSERT INTO "odd ""name" VALUES
        (4, 2, 3, 'a', '2022-01-01 10:00:00{Z}', '1', '0'),
        (6, 3, 2, 'b', '2022-01-02 10:00:00{Z}', '0', '1'),
        (9, 3, 2, 'c', '2021-01-02 10:00:00{Z}', '0', '0');
"#;

/// Makes the database of an app as a file with that journal, and returns its path.
fn file(place: &Place, name: &str, journal: &str) -> String {
    let script = "import sqlite3, sys, os; c = sqlite3.connect(sys.argv[1]); \
                  c.execute('PRAGMA journal_mode = ' + sys.argv[2]); \
                  c.executescript(sys.stdin.read()); c.commit(); os._exit(0)";
    let mut python = Command::new("python3");
    let python = python.args(["-c", script]).arg(place.path(name)).arg(journal);
    let mut child = python.stdin(Stdio::piped()).spawn().expect("it starts");
    let app = APP.replace("{HASH}", HASH).replace("{Z}", "");
    child.stdin.take().expect("it has it").write_all(app.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
    place.path(name).display().to_string()
}

/// The same on a PostgreSQL server, in the types that Django has there.
fn database() -> Database {
    let database = Database::empty();
    let app = APP.replace("{HASH}", HASH).replace("{Z}", "+00").replace(" bool", " boolean");
    let app = app.replace("datetime", "timestamptz").replace("id integer PRI", "id bigint PRI");
    for statement in app.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        testing::sql(&database.url(), statement);
    }
    database
}

/// What a place holds, without contacts.
#[track_caller]
fn export(place: &Place) -> Vec<Value> {
    let out = place.run(&["export"]).ok();
    let lines = out.lines().skip(1).map(|line| serde_json::from_str(line).expect("it is JSON"));
    lines.filter(|line: &Value| line.get("contact").is_none()).collect()
}

/// The rows that an import has told of, with their codes.
fn told(out: &str) -> Vec<(String, String, String)> {
    let lines = out.lines().filter(|line| line.starts_with('{'));
    let told = lines.map(|line| {
        let line: Value = serde_json::from_str(line).expect("it is JSON");
        assert!(line["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{line}");
        let text = |name: &str| line[name].as_str().expect("it has it").to_owned();
        (text("table"), text("row"), text("code"))
    });
    told.collect()
}

#[track_caller]
fn is_whole(place: &Place) {
    let said = place.run(&["check"]).ok();
    assert!(said.contains("whole and consistent"), "{said}");
}

/// The app is here, with its ids.
#[track_caller]
fn is_here(place: &Place) {
    let all = export(place);
    let user = |id: i64| {
        let found = all.iter().find(|line| line["user"]["id"] == id);
        found.unwrap_or_else(|| panic!("there is no user {id}: {all:#?}"))["user"].clone()
    };
    let ann = user(2);
    assert_eq!((&ann["username"], &ann["display_name"]), (&json!("ann"), &json!("Ann Lee")));
    assert_eq!((&ann["external_id"], &ann["password_hash"]), (&json!("2"), &json!(HASH)));
    assert_eq!(ann["email"], "ann@example.org");
    assert_eq!(ann["created_at"], "2020-02-02T02:02:02.5Z");
    let ben = user(3);
    assert_eq!((&ben["active"], &ben["password_hash"]), (&json!(false), &Value::Null));
    let other = user(5);
    assert_eq!((&other["username"], &other["display_name"]), (&json!("ANN-5"), &json!("ANN")));
    assert_eq!((&other["email"], &other["password_hash"]), (&Value::Null, &Value::Null));
    let gus = user(8);
    let names = (&gus["username"], &gus["display_name"]);
    assert_eq!(names, (&json!("gus_o_neil-8"), &json!("gus o'neil")));
    let messages: Vec<_> = all.iter().filter_map(|line| line.get("message")).collect();
    assert_eq!(messages.len(), 3, "{messages:#?}");
    let first = messages.iter().find(|message| message["external_id"] == "10").expect("it came");
    assert_eq!((&first["subject"], &first["body"]), (&json!("Hi"), &json!("one")));
    assert_eq!(first["sent_at"], "2021-01-01T10:00:00.123456Z");
    assert_eq!(first["state"][0]["read_at"], first["sent_at"], "only that it was read is known");
    for unread in ["11", "15"] {
        let message =
            messages.iter().find(|message| message["external_id"] == unread).expect("it came");
        assert_eq!(message.get("state"), None, "{message}");
    }
}

/// Moves an app in, and looks whether people notice.
#[track_caller]
fn moves(place: &Place, from: &str) {
    let dry = place.run(&["import", "django", from, "--dry-run"]).ok();
    let expected = [
        ("auth_user", "5", "email_left_out"),
        ("auth_user", "5", "password_left_out"),
        ("auth_user", "5", "renamed"),
        ("auth_user", "8", "renamed"),
        ("messages_message", "16", "message_left_out"),
    ];
    let expected = expected.map(|(table, row, code)| (table.into(), row.into(), code.into()));
    let mut said = told(&dry);
    said.sort();
    assert_eq!(said, expected, "{dry}");
    assert!(dry.contains("users: 4 in auth_user, 4 come, 4 new; 1 not active, 3 without"), "{dry}");
    assert!(dry.contains("messages: 4 in messages_message, 3 come, 3 new"), "{dry}");
    assert!(dry.contains("marks: 1 read"), "{dry}");
    assert!(dry.contains("auth_user.is_staff"), "{dry}");
    assert!(!dry.contains("messages_message.body"), "{dry}");
    assert!(!dry.contains("get another id"), "{dry}");
    assert!(export(place).is_empty());
    let asked = place.run(&["import", "django", from]);
    assert_eq!((asked.status, asked.out.contains("marks: 1 read")), (1, true), "{}", asked.err);
    assert!(asked.err.contains("nothing was written") && asked.err.contains("--yes"));
    assert!(export(place).is_empty());
    for _ in 0..2 {
        place.run(&["import", "django", from, "--yes"]).ok();
        is_here(place);
        is_whole(place);
    }
    let server = place.serve();
    let client = Client::new(server.address);
    client.request("GET", "/users/token").wait().expect("an answer");
    let body = json!({ "username": "ann", "password": "pässword of ann" });
    let login = client.request("POST", "/users/login").json(&body).wait().expect("an answer");
    assert_eq!((login.status, &login.json()["user_id"]), (200, &json!(2)), "{}", login.text());
    let lists = client.request("GET", "/messages/unread_per_receiver").wait().expect("an answer");
    assert_eq!(lists.json(), json!({ "messages_id": [11] }));
    let read = client.request("GET", "/messages/read_message").json(&json!({ "message_id": 10 }));
    let read = read.wait().expect("an answer").json();
    assert_eq!((&read["sender_id"], &read["body"]), (&json!(3), &json!("one")));
    let sent = json!({ "receiver_id": 8, "subject": "s", "body": "b" });
    let sent =
        client.request("POST", "/messages/write_message").json(&sent).wait().expect("an answer");
    assert!(sent.json()["message_id"].as_i64() > Some(15), "{}", sent.text());
    server.stop();
    is_whole(place);
}

#[test]
fn a_file_of_an_app_moves_in_with_ids_passwords_and_marks() {
    let place = Place::new();
    let from = file(&place, "app.sqlite3", "delete");
    let before = fs::read(&from).unwrap();
    moves(&place, &from);
    assert_eq!(fs::read(&from).unwrap(), before, "it is only read");
    assert!(!place.files().iter().any(|name| name.starts_with("app.sqlite3-")));
}

#[test]
fn a_database_of_an_app_on_a_server_moves_in_the_same() {
    if testing::shared().is_none() {
        return testing::skip("PostgreSQL");
    }
    moves(&Place::new(), &database().url());
}

#[test]
fn an_app_that_is_writing_moves_in_as_it_is_at_one_moment() {
    let place = Place::new();
    for journal in ["delete", "wal"] {
        let from = file(&place, journal, journal);
        let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                      c.execute('UPDATE messages_message SET body = \"new\" WHERE id = 10'); \
                      c.commit(); c.execute('BEGIN IMMEDIATE'); \
                      c.execute('UPDATE messages_message SET body = \"never\"'); \
                      print('begun', flush=True); sys.stdin.read()";
        let mut python = Command::new("python3");
        let python = python.args(["-c", script, &from]).stdin(Stdio::piped());
        let mut writer = python.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut begun = [0; 5];
        std::io::Read::read_exact(writer.stdout.as_mut().unwrap(), &mut begun).expect("it has");
        let here = Place::new();
        here.run(&["import", "django", &from, "--yes"]).ok();
        drop(writer.stdin.take());
        assert!(writer.wait().expect("it ends").success());
        let all = export(&here);
        let bodies = all.iter().filter_map(|line| line["message"]["body"].as_str());
        let mut bodies: Vec<_> = bodies.collect();
        bodies.sort_unstable();
        assert_eq!(bodies, ["new", "three", "two"], "{journal}");
    }
}

#[test]
fn a_table_that_is_not_known_moves_in_by_a_map_of_its_columns() {
    let place = Place::new();
    let from = file(&place, "app.sqlite3", "wal");
    let run = |more: &[&str]| {
        place.run(&[&["import", "django", &from, "--messages", "odd \"name"], more].concat())
    };
    let without = run(&["--yes"]);
    assert_eq!(without.status, 2);
    assert!(without.err.contains("`from`") && without.err.contains("wri ter"), "{}", without.err);
    let wrong = run(&["--map", "from=wri ter,to=reader,body=words,sent_at=at\" FROM x --"]);
    assert!(wrong.err.contains("has no column at\" FROM x --"), "{}", wrong.err);
    assert!(run(&["--map", "sender=x"]).err.contains("like from=sender_id"));
    let map = "from=wri ter,to=reader,body=words,sent_at=at,read=seen?,to_archived=old";
    let plan = run(&["--map", map, "--yes"]).ok();
    assert!(plan.contains("1 messages get another id"), "an older one has the highest: {plan}");
    let all = export(&place);
    let messages: Vec<_> = all.iter().filter_map(|line| line.get("message")).collect();
    assert_eq!(messages.len(), 3);
    let of = |id: &str| messages.iter().find(|message| message["external_id"] == id).unwrap();
    assert_eq!(of("4")["state"][0]["read_at"], "2022-01-01T10:00:00Z");
    assert_eq!(of("6")["state"][0]["archived_at"], "2022-01-02T10:00:00Z");
    is_whole(&place);
}

#[test]
fn users_whose_name_cannot_be_one_stay_behind_or_get_their_address() {
    let (skip, email) = (Place::new(), Place::new());
    let from = file(&skip, "app.sqlite3", "delete");
    let said = skip.run(&["import", "django", &from, "--yes", "--names", "skip"]).ok();
    assert_eq!(told(&said).iter().filter(|(_, _, code)| code == "user_left_out").count(), 2);
    let names = |place: &Place| {
        let all = export(place);
        let names = all.iter().filter_map(|line| line["user"]["username"].as_str());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        (names, all.iter().filter(|line| line.get("message").is_some()).count())
    };
    assert_eq!(names(&skip), (vec!["ann".to_owned(), "ben".to_owned()], 1));
    email.run(&["import", "django", &from, "--yes", "--names", "email"]).ok();
    let all = ["ANN-5", "ann", "ben", "gus@example.org"].map(str::to_owned);
    assert_eq!(names(&email), (all.to_vec(), 3));
}

#[test]
fn what_is_no_database_of_an_app_is_refused() {
    let place = Place::new();
    fs::write(place.path("text"), "x".repeat(5000)).unwrap();
    let refused = |from: &str, more: &[&str], expected: &str| {
        let ran = place.run(&[&["import", "django", from, "--yes"], more].concat());
        assert!(ran.status > 0 && ran.err.contains(expected), "{from}: {}", ran.err);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    };
    refused("none.sqlite3", &[], "there is no file");
    refused("text", &[], "cannot read the database of the app");
    refused("postgres://app:secret@127.0.0.1:1/app", &[], "cannot read the database of the app");
    let from = file(&place, "app.sqlite3", "delete");
    refused(&from, &["--users", "people"], "there is no table people; there are auth_user,");
    refused(&from, &["--map", "from=x"], "needs --messages");
    assert!(!place.path("data").exists(), "nothing was made");
}
