//! Moving house: what a server had in one database it has in another, and nothing is in the other
//! until all of it is.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{Client, Database, PASSWORD, Response, User, shared};

use crate::support::{Place, Ran, Server, finish};

/// A place whose database is a file, whatever the others are tested with.
pub(crate) fn file_place() -> Place {
    Place::new().with("POSTROOM_DATABASE_URL", "sqlite:postroom.db")
}

/// Whether all of this is done already: each test is about both engines.
fn is_done() -> bool {
    testing::is_about_sqlite("a copy goes from either engine to the other")
}

/// Whether there is a server to move to; says where there is not.
fn is_installed() -> bool {
    if is_done() {
        return false;
    }
    let installed = shared().is_some();
    if !installed {
        drop(writeln!(std::io::stderr(), "PostgreSQL: skipped (binary process, moving)"));
    }
    installed
}

fn serve_at(place: &Place, url: &str) -> Server {
    let mut command = place.command(&[]);
    // Nodes want to be told their key: it is the one of the old house.
    command.env("POSTROOM_DATABASE_URL", url).env("POSTROOM_SECRET_KEY_FILE", "data/secret.key");
    place.serve_by(command)
}

/// Copies, and returns the lines about the tables.
#[track_caller]
fn copied(ran: &Ran) -> Vec<String> {
    assert_eq!(ran.status, 0, "{}", ran.err);
    let mut lines: Vec<_> = ran.out.lines().map(str::to_owned).collect();
    let last = lines.pop().expect("it says what it did");
    assert!(last.contains("now holds what"), "{last}");
    for (line, told) in lines.iter().zip(ran.err.lines()) {
        let [table, rows, sum] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        assert_eq!(told, format!("{table}: {rows} rows"));
        assert_eq!(sum.len(), 64);
    }
    assert_eq!(lines.len(), ran.err.lines().count());
    lines
}

fn tables(database: &Database) -> usize {
    let count = "SELECT relname FROM pg_class
                 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    testing::sql(&database.url(), count).len()
}

#[track_caller]
fn id(answer: &Response) -> i64 {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_i64().expect("it has an id")
}

#[track_caller]
fn done(answer: &Response) {
    assert!(answer.status < 300, "{}", answer.text());
}

/// Some people, and something of everything that the product keeps.
pub(crate) struct Town {
    people: Vec<User>,
    /// The highest id that a message ever had.
    last: i64,
    /// A program's token of the first of them, and the request that made it.
    token: String,
}

/// The request for a token that is made under a key.
fn token_request() -> Value {
    json!({ "name": "robot" })
}

pub(crate) fn build(place: &Place, server: &Server) -> Town {
    let mut people: Vec<_> =
        ["ann", "bob", "cat", "dan", "eve"].map(|name| server.user(name)).into();
    let to: Vec<_> = people.iter().map(|user| user.id).collect();
    let [ann, bob, cat, dan, eve] = &mut people[..] else { unreachable!() };
    let made = ann.v1("POST", "/tokens", "a-token", &token_request());
    let token =
        made.json()["token"].as_str().unwrap_or_else(|| panic!("{}", made.text())).to_owned();

    let all = json!({ "to": to, "subject": "To \u{1f4ee} all", "body": "a\nb\t\\N \"é\"",
        "metadata": { "colour": "blau", "exact": 12_345_678_901_234_i64 }, "client_id": "1" });
    let first = id(&ann.v1("POST", "/messages", "to-all", &all));
    let reply = json!({ "in_reply_to": first, "body": "And to you." });
    let second = id(&bob.v1("POST", "/messages", "a-reply", &reply));
    ann.send_message(bob.id, "", "");
    let trashed = ann.send_message(cat.id, "to the trash", "soon");
    cat.read(trashed).expect("an answer").ok();
    let mark = |user: &mut User, id: i64, what: Value| {
        done(&user.v1("PATCH", &format!("/messages/{id}"), "", &what));
    };
    mark(cat, trashed, json!({ "trashed": true }));
    mark(bob, first, json!({ "starred": true, "archived": true, "read": true }));
    mark(dan, second, json!({ "read": true }));
    done(&dan.v1("PATCH", &format!("/conversations/{first}"), "", &json!({ "muted": true })));
    done(&dan.v1("PUT", &format!("/blocks/{}", cat.id), "", &Value::Null));
    done(&dan.v1(
        "PATCH",
        "/users/me",
        "",
        &json!({ "display_name": "Dän", "accept_from": "known" }),
    ));
    done(&eve.v1("DELETE", "/users/me", "", &Value::Null));
    for number in 0..40 {
        ann.send_message(bob.id, &format!("{number}"), &"text ".repeat(number));
    }
    // The newest are gone, and their ids with them.
    let last = bob.send_message(ann.id, "gone", "at once");
    bob.delete(last).expect("an answer").ok();
    place.run_with("another-long-password", &["user", "add", "fay", "--email", "f@e.org"]).ok();
    place.run(&["user", "disable", "fay"]).ok();
    people.truncate(4);
    Town { people, last, token }
}

impl Town {
    /// All that everybody sees.
    fn views(&mut self, server: &Server) -> Vec<(String, String)> {
        let boxes = ["inbox", "archive", "sent", "trash", "all"];
        let boxes = boxes.map(|name| format!("/messages?folder={name}&limit=100"));
        let others =
            ["/messages?starred=true", "/conversations", "/blocks", "/unread", "/users/me"];
        let paths: Vec<_> = boxes.into_iter().chain(others.map(str::to_owned)).collect();
        let mut views = Vec::new();
        for user in &mut self.people {
            user.connect_to(server.address);
            assert!(user.is_logged_in(), "the session of {} holds", user.name);
            for path in &paths {
                let seen = user.v1("GET", path, "", &Value::Null);
                assert_eq!(seen.status, 200, "{path}: {}", seen.text());
                views.push((format!("{} {path}", user.name), seen.text()));
            }
            for id in user.inbox() {
                let seen = user.v1("GET", &format!("/messages/{id}"), "", &Value::Null);
                views.push((format!("{} {id}", user.name), seen.text()));
            }
        }
        views
    }

    /// Every user of the old store goes on in the new one.
    fn goes_on(&mut self, server: &Server) {
        let client = Client::new(server.address);
        client.request("GET", "/v1/unread").bearer(&self.token).wait().expect("an answer").ok();
        let [ann, bob, cat, dan] = &mut self.people[..] else { unreachable!() };
        let again = ann.v1("POST", "/tokens", "a-token", &token_request());
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json()["token"], self.token);
        let before = ann.inbox();
        let reply = json!({ "in_reply_to": before[0], "body": "And to you." });
        let again = bob.v1("POST", "/messages", "a-reply", &reply);
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{}", again.text());
        assert_eq!(ann.inbox(), before, "it was not sent twice");

        let mut again = User::visitor(server.address, "cat");
        again.login(PASSWORD);
        assert_eq!(again.id, cat.id);
        assert_eq!(again.try_login("not the password").status, 401);
        assert_eq!(cat.send(dan.id, "are you", "there?").expect("an answer").status, 403);
        let next = ann.send_message(bob.id, "the next", "id");
        assert_eq!(next, self.last + 1, "no id is given twice, also where the newest are gone");
        self.last = next;
        let fifth = User::register(server.address, "gil");
        assert_eq!(fifth.id, 7, "nor one of an account");
    }
}

#[test]
fn a_town_moves_to_postgresql_and_back_and_everybody_goes_on() {
    if !is_installed() {
        return;
    }
    let place = file_place();
    let server = place.serve();
    let mut town = build(&place, &server);
    let views = town.views(&server);
    // Much of it is in the log only.
    server.kill();

    let database = Database::empty();
    let there = copied(&place.run(&["copy", "--from", "config", "--to", &database.url()]));
    // With the address in the environment, where no list of processes shows it.
    let mut back = place.command(&["copy", "--from", "config", "--to", "sqlite:back.db"]);
    let back = copied(&finish(back.env("POSTROOM_DATABASE_URL", database.url()), ""));
    assert_eq!(there, back, "the same rows have the same sums in both engines");
    assert!(there.len() > 10, "{there:?}");
    assert!(there.iter().all(|line| !line.starts_with("schema_migrations")));

    let last = town.last;
    for url in [database.url(), "sqlite:back.db".to_owned()] {
        let mut check = place.command(&["check"]);
        finish(check.env("POSTROOM_DATABASE_URL", &url), "").ok();
        let server = serve_at(&place, &url);
        let moved = town.views(&server);
        for (before, after) in views.iter().zip(&moved) {
            assert_eq!(before, after, "{url}");
        }
        assert_eq!(views.len(), moved.len());
        town.goes_on(&server);
        server.is_unharmed();
        server.stop();
        let mut check = place.command(&["check"]);
        finish(check.env("POSTROOM_DATABASE_URL", &url), "").ok();
        // The other house knows nothing of it.
        town.last = last;
    }
    // Nor does the old one.
    let server = place.serve();
    assert_eq!(town.views(&server), views);
}

#[test]
fn a_copy_wants_both_servers_stopped_and_an_empty_place() {
    if !is_installed() {
        return;
    }
    let (place, database) = (file_place(), Database::empty());
    let server = place.serve();
    let mut ann = server.user("ann");
    let there = ["copy", "--from", "sqlite:postroom.db", "--to", &database.url()];
    let error = place.run(&there).failed(1);
    assert!(error.contains("another server is using data/postroom.db"), "{error}");
    assert_eq!(tables(&database), 0);
    ann.send_message(ann.id, "it", "goes on");
    server.stop();
    copied(&place.run(&there));

    let error = place.run(&there).failed(1);
    assert!(error.contains("is not empty"), "{error}");
    let back = ["copy", "--from", &database.url(), "--to", "sqlite:back.db"];
    let server = serve_at(&place, &database.url());
    let error = place.run(&back).failed(1);
    assert!(error.contains("a server is using postgres://"), "{error}");
    assert!(!place.path("data/back.db").exists());
    server.stop();
    copied(&place.run(&back));
    let error = place.run(&back).failed(1);
    assert!(error.contains("data/back.db is there already"), "{error}");
    let error = place.run(&["copy", "--from", "config", "--to", "config"]).failed(1);
    assert!(error.contains("data/postroom.db is there already"), "{error}");
}

#[test]
fn a_wrong_address_is_refused_and_its_password_is_not_repeated() {
    if is_done() {
        return;
    }
    let place = file_place();
    place.run(&["migrate"]).ok();
    for (to, status) in [
        ("mysql://ann:hunter2@127.0.0.1/x", 2),
        ("postgres://ann:hunter2@127.0.0.1:1", 2),
        ("postgres://ann:hunter2@127.0.0.1:1/x?password=hunter2&nonsense=1", 2),
        ("postgres://ann:hunter2@127.0.0.1:1/x", 1),
    ] {
        let error = place.run(&["copy", "--from", "config", "--to", to]).failed(status);
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains(if status == 2 { "--to" } else { "127.0.0.1:1/x" }), "{error}");
    }
    let error = place.run(&["copy", "--from", "config"]).failed(2);
    assert!(error.contains("--to"), "{error}");
    let error = place.run(&["copy", "--from", "sqlite:no.db", "--to", "sqlite:b.db"]).failed(1);
    assert!(error.contains("there is no database at data/no.db"), "{error}");
}

/// Kills a copy at moments that lie all over it; `is_there` says whether there is anything.
fn killed_all_over(place: &Place, url: &str, is_there: impl Fn() -> bool, clear: impl Fn()) {
    const MOMENTS: u32 = 12;
    let arguments = ["copy", "--from", "sqlite:postroom.db", "--to", url];
    let begun = Instant::now();
    let lines = copied(&place.run(&arguments));
    let whole = begun.elapsed();
    clear();
    let mut nothing = 0;
    for moment in 0..MOMENTS {
        let mut command = place.command(&arguments);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // Not to await anything: to fall into any part of it.
        thread::sleep(whole * moment / (MOMENTS - 2));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        if is_there() {
            // It was faster this time; then all of it is there.
            let mut check = place.command(&["check"]);
            finish(check.env("POSTROOM_DATABASE_URL", url), "").ok();
            clear();
        } else {
            nothing += 1;
        }
    }
    assert!(nothing > 2, "it was killed too late {MOMENTS} times");
    // What is left of those is not in the way.
    assert_eq!(copied(&place.run(&arguments)), lines);
    let server = serve_at(place, url);
    server.is_unharmed();
}

/// A database that takes a moment to copy.
fn large_place() -> Place {
    let place = file_place();
    let server = place.serve();
    let mut users = server.users((0..8).map(|number| format!("somebody-{number}")));
    thread::scope(|scope| {
        for user in &mut users {
            let body = "a long text ".repeat(2000);
            scope.spawn(move || (0..60).map(|_| user.send_message(user.id, "to me", &body)).last());
        }
    });
    server.stop();
    place
}

#[test]
fn a_copy_that_is_killed_leaves_nothing_and_can_be_repeated() {
    if is_done() {
        return;
    }
    let place = large_place();
    let file = place.path("data/moved.db");
    let clear = || {
        std::fs::remove_file(&file).expect("it is there");
        // A copy that was killed while it looked at the result leaves these as well.
        for beside in ["-wal", "-shm"] {
            drop(std::fs::remove_file(file.with_extension(format!("db{beside}"))));
        }
    };
    killed_all_over(&place, "sqlite:moved.db", || Path::exists(&file), clear);
    if !is_installed() {
        return;
    }
    let database = Database::empty();
    let clear = || {
        let all = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
        drop(testing::sql(&database.url(), all));
    };
    killed_all_over(&place, &database.url(), || tables(&database) > 0, clear);
}

#[test]
fn a_copy_whose_server_is_killed_leaves_nothing() {
    if !is_installed() {
        return;
    }
    let (place, database) = (large_place(), Database::empty());
    let arguments = ["copy", "--from", "sqlite:postroom.db", "--to", &database.url()];
    let mut command = place.command(&arguments);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let name = format!("datname = '{}'", database.name());
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE {name} AND application_name = 'postroom' AND query LIKE 'COPY %'"
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    let server = shared().expect("it is installed");
    while server.sql(&end).is_empty() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it never writes");
    }
    let ran = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if ran.status.success() {
        return; // It was faster.
    }
    assert_eq!((ran.status.code(), &*out), (Some(1), ""), "{err}");
    assert!(err.contains("cannot copy data/postroom.db to postgres://"), "{err}");
    assert_eq!(tables(&database), 0);
    copied(&place.run(&arguments));
}
