//! A database that was put back begins a history that nobody shares: no id is given twice, and what
//! clients learned of another history is refused. With it belongs a secret key.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use db::{Db, Tx};
use domain::SCHEMA;
use serde_json::{Value, json};
use testing::{Engine, Follower, PASSWORD, User, engine};

use crate::support::{Place, Ran, Server};

/// A program of PostgreSQL, which must succeed.
fn postgres(name: &str, arguments: &[&str]) {
    let program = testing::binaries().expect("it is installed").join(name);
    let ran = Command::new(program).args(arguments).output().expect("it starts");
    assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// The address of the database, as other programs take it.
fn address(place: &Place) -> String {
    place.setting("POSTROOM_DATABASE_URL").expect("it is on a server").to_owned()
}

fn back_up(place: &Place, name: &str) {
    match engine() {
        Engine::Sqlite => drop(place.run(&["backup", name]).ok()),
        Engine::Postgres => {
            let file = place.path(name).display().to_string();
            postgres("pg_dump", &["--format=custom", "--no-owner", "-f", &file, &address(place)]);
        }
    }
}

/// Restores a backup as docs/operations.md says; what the command of Postroom said.
fn restore(place: &Place, name: &str) -> Ran {
    if engine() == Engine::Sqlite {
        return place.run(&["restore", name]);
    }
    let file = place.path(name).display().to_string();
    testing::sql(&address(place), "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let schema = "--schema=public";
    postgres("pg_restore", &["--no-owner", schema, "--dbname", &address(place), &file]);
    place.run(&["restored"])
}

/// What one history gave out.
#[derive(Default)]
struct GivenOut {
    /// Of messages, users and webhooks.
    ids: BTreeSet<(&'static str, i64)>,
    states: BTreeSet<i64>,
    tags: BTreeSet<String>,
    session: String,
}

/// The first message, which is in the backup.
struct People {
    ann: User,
    bob: User,
    old: i64,
}

impl People {
    /// They go on, and so do the ids of everything.
    fn go_on(&mut self, place: &Place, server: &Server, round: usize) -> GivenOut {
        let mut given = GivenOut::default();
        for user in [&mut self.ann, &mut self.bob] {
            user.connect_to(server.address);
            user.login(PASSWORD);
        }
        let (ann, bob) = (&mut self.ann, &mut self.bob);
        for number in 0..3 {
            let id = bob.send_message(ann.id, "after the backup", "");
            given.ids.insert(("message", id));
            let marks = json!({ "starred": number % 2 == 0 });
            let marked = ann.v1("PATCH", &format!("/messages/{}", self.old), "", &marks);
            marked.ok();
            given.tags.insert(marked.header("etag").expect("it has a tag").to_owned());
            given.states.insert(ann.state());
        }
        given.ids.insert(("user", server.user(&format!("carl-{round}")).id));
        let added =
            place.run(&["webhook", "add", "https://app.example.org/", "--events", "user.erased"]);
        let words = added.ok();
        let id = words.split(' ').nth(1).and_then(|id| id.parse().ok());
        given.ids.insert(("webhook", id.expect("it has an id")));
        given.session.clone_from(&ann.session);
        given
    }

    /// Nothing that another history gave out passes in this one.
    fn refuse(&mut self, server: &Server, other: &GivenOut) {
        let mut before = self.ann.twin(server.address);
        before.session.clone_from(&other.session);
        assert!(!before.is_logged_in(), "a session has come back");
        let ann = &mut self.ann;
        for state in other.states.iter().copied().chain([0, 1]) {
            let path = format!("/v1/changes?since={state}");
            let answer = ann.call("GET", &path, &Value::Null).expect("an answer");
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (410, &"cannot_calculate_changes".into())
            );
            for path in ["/v1/messages", "/v1/unread"] {
                let request = ann.request("GET", path);
                let answer = request.header("if-none-match", format!("W/\"{state}\""));
                assert_eq!(answer.wait().expect("an answer").status, 200, "{path} {state}");
            }
        }
        let mut follower = Follower::of(ann);
        follower.last = other.states.last().copied();
        let mut stream = follower.open(server.address).expect("it is opened");
        assert_eq!(follower.read(&mut stream).expect("an event"), "reset");
        for tag in &other.tags {
            let request = ann.request("PATCH", &format!("/v1/messages/{}", self.old));
            let request = request.header("if-match", tag.clone()).json(&json!({ "read": true }));
            assert_eq!(request.wait().expect("an answer").status, 412, "{tag}");
        }
        for (_, id) in other.ids.iter().filter(|(kind, _)| *kind == "message") {
            let path = format!("/v1/messages/{id}");
            assert_eq!(ann.call("GET", &path, &Value::Null).expect("an answer").status, 404);
            let reply = ann.v1("POST", "/messages", "", &json!({ "in_reply_to": id, "body": "" }));
            assert!(reply.status >= 400, "{}", reply.text());
        }
    }
}

#[test]
fn no_two_restores_of_a_backup_share_a_history() {
    if engine() == Engine::Postgres && testing::binaries().is_none() {
        return testing::skip("pg_dump");
    }
    let place = Place::new();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let old = bob.send_message(ann.id, "before the backup", "");
    ann.connect_to(server.address);
    bob.connect_to(server.address);
    back_up(&place, "today");
    let mut people = People { ann, bob, old };
    let mut histories = vec![people.go_on(&place, &server, 0)];
    server.stop();
    for round in 1..4 {
        // More than one within a second, the last of them without what the one before has left.
        for _ in 0..2 {
            let said = restore(&place, "today").ok();
            assert!(said.contains("All sessions and tokens have ended"), "{said}");
            assert!(said.contains("none is given again"), "{said}");
        }
        let server = place.serve();
        let given = people.go_on(&place, &server, round);
        for other in &histories {
            assert!(given.ids.is_disjoint(&other.ids), "{:?} {:?}", given.ids, other.ids);
            assert!(given.states.is_disjoint(&other.states), "{:?}", given.states);
            assert!(given.tags.is_disjoint(&other.tags), "{:?}", given.tags);
            people.refuse(&server, other);
        }
        let state = *given.states.last().expect("there is one");
        let answer = people.ann.v1("GET", &format!("/changes?since={state}"), "", &Value::Null);
        assert_eq!(answer.status, 200, "what this history gave out is valid");
        histories.push(given);
        server.is_unharmed();
        server.stop();
        place.is_whole();
    }
}

#[test]
fn a_database_put_back_by_other_means_is_told_so_and_twice_does_no_harm() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let first = ann.send_message(ann.id, "to myself", "");
    let error = place.run(&["restored"]).failed(1);
    assert!(error.contains("server is using"), "{error}");
    assert!(ann.is_logged_in());
    server.stop();
    let mut last = first;
    for _ in 0..2 {
        for _ in 0..2 {
            let said = place.run(&["restored"]).ok();
            assert!(said.contains(" has begun a new history.\n"), "{said}");
        }
        let server = place.serve();
        ann.connect_to(server.address);
        assert!(!ann.is_logged_in());
        ann.login(PASSWORD);
        let next = ann.send_message(ann.id, "again", "");
        assert!(next > last + 1000 && next < 1 << 52, "{next}");
        assert!(ann.inbox().starts_with(&[first]));
        last = next;
        server.stop();
        place.is_whole();
    }
}

/// A database with one user, of an older version of the program.
fn old_database(url: &db::Url, version: usize) {
    let schema = &SCHEMA[..version];
    Db::migrate(url, schema, 1).expect("the old schema can be made");
    let db = Db::open(url, schema).expect("it can be opened");
    let fill = db.write(move |tx: &mut Tx<'_>| {
        tx.execute(
            "INSERT INTO users (name, name_folded, email, password_hash, created_at)
             VALUES ('Old', 'old', 'old@example.org', '', 1)",
            &[],
        )?;
        let mailbox = match version {
            ..7 => "INSERT INTO mailboxes (owner_id, counter) VALUES (1, 5)",
            _ => "INSERT INTO mailboxes (owner_id, modseq) VALUES (1, 5)",
        };
        tx.execute(mailbox, &[])
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    assert_eq!(runtime.block_on(fill), Ok::<_, db::Error>(1));
    db.close();
}

#[test]
fn a_backup_of_an_older_version_is_restored_and_brought_up_to_date() {
    for version in [1, 6, 7] {
        let place = Place::new();
        let server = place.serve();
        server.user("ann");
        server.stop();
        if engine() == Engine::Sqlite {
            let file = format!("sqlite:{}", place.path("old.db").display());
            old_database(&db::Url::parse(&file, &place.path("")).expect("a path"), version);
            place.run(&["restore", "old.db"]).ok();
            // Over a database that is older itself, too.
            fs::remove_file(place.database()).expect("it is there");
            fs::copy(place.path("old.db"), place.database()).expect("it can be copied");
            place.run(&["restore", "old.db"]).ok();
        } else {
            testing::sql(&address(&place), "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
            old_database(&place.url(), version);
            let said = place.run(&["restored"]).ok();
            assert!(said.contains(&format!("from version {version} to ")), "{said}");
        }
        let users = place.run(&["user", "list"]).ok();
        assert!(users.starts_with("1\tOld\t") && users.lines().count() == 1, "{users}");
        place.is_whole();
        let server = place.serve();
        let mut ann = server.user("ann");
        assert!(ann.id > 1_000_000 && ann.state() < ann.id);
        server.is_unharmed();
    }
}

/// Where the key of a place is, and a key that is none of it.
fn key_file(place: &Place) -> std::path::PathBuf {
    place.path(if engine() == Engine::Sqlite { "data/secret.key" } else { "nodes.key" })
}

const OTHER_KEY: &str = "another key of the same length, or longer";

#[test]
fn another_secret_key_is_noticed_until_it_is_accepted() {
    let place = Place::new();
    let server = place.serve();
    server.stop();
    place.run(&["webhook", "add", "https://app.example.org/", "--events", "user.erased"]).ok();
    let secret = place.run(&["webhook", "secret", "1"]).ok();
    let file = key_file(&place);
    let key = fs::read(&file).expect("there is a key");

    let warning = "this is not the secret key that the database was used with";
    let warned = |place: &Place| {
        let said = place.serve().last_words();
        let (printed, logged) = (format!("Warning: {warning}"), format!("WARN {warning}"));
        assert_eq!(said.contains(&printed), said.contains(&logged), "{said}");
        assert_eq!(said.contains(&printed), said.contains("postroom key accept"), "{said}");
        said.contains(&printed)
    };
    assert!(!warned(&place));
    fs::write(&file, OTHER_KEY).expect("it can be written");
    // Again and again: one start may be overlooked.
    assert!(warned(&place) && warned(&place));
    let other = place.run(&["webhook", "secret", "1"]);
    assert_ne!(other.out, secret);
    assert!(other.err.starts_with(&format!("warning: {warning}")), "{}", other.err);
    let said = place.run(&["restored"]);
    assert!(said.status == 0 && said.err.starts_with(&format!("warning: {warning}")), "{said:?}");

    // A name that is reserved under the key would be given away.
    for command in [
        &["user", "add", "bob", "--email", "bob@example.org"][..],
        &["user", "erase", "bob", "--yes"],
    ] {
        let error = place.run_with(PASSWORD, command).failed(1);
        assert!(error.contains(warning) && error.contains("name_reserved_days=0"), "{error}");
    }
    let free =
        ["--set", "name_reserved_days=0", "user", "add", "eve", "--email", "eve@example.org"];
    place.run_with(PASSWORD, &free).ok();

    // The right one is put back.
    fs::write(&file, &key).expect("it can be written");
    assert!(!warned(&place));
    assert_eq!(place.run(&["webhook", "secret", "1"]).ok(), secret);
    // Or it is lost.
    fs::write(&file, OTHER_KEY).expect("it can be written");
    assert!(warned(&place));
    place.run(&["key", "accept"]).ok();
    assert!(!warned(&place));
    assert_eq!(place.run(&["webhook", "secret", "1"]).ok(), other.out);
}

#[test]
fn a_restore_on_a_new_machine_asks_for_the_key() {
    if testing::is_about_sqlite("a server of PostgreSQL is given its key") {
        return;
    }
    let place = Place::new();
    place.serve().stop();
    let said = place.run(&["backup", "today.db"]).ok();
    assert!(said.contains("Save data/secret.key as well.\n"), "{said}");
    let said =
        place.command(&["backup", "other.db"]).env("POSTROOM_SECRET_KEY", OTHER_KEY).output();
    let said = String::from_utf8(said.expect("it runs").stdout).expect("it is text");
    assert!(said.contains("Save the setting secret_key as well.\n"), "{said}");

    let other = Place::new();
    fs::copy(place.path("today.db"), other.path("today.db")).expect("it can be copied");
    let restored = other.run(&["restore", "today.db"]);
    assert_eq!(restored.status, 0, "{restored:?}");
    assert!(restored.err.contains("there is no secret key in data/secret.key"), "{restored:?}");
    assert!(!other.path("data/secret.key").exists(), "none is made");
    // Nor does a server make one.
    let error = other.run(&["serve"]).failed(1);
    assert!(error.contains("there is no secret key in data/secret.key"), "{error}");
    assert!(!other.path("data/secret.key").exists(), "none is made");
    // That is asked for by a command.
    other.run(&["key", "accept"]).ok();
    assert!(!other.serve().last_words().contains("Warning"));
    // Another key is said before anything is done.
    let stored = other.stored_bytes();
    let error = other.run(&["restore", "today.db"]).failed(1);
    assert!(error.contains("this is not the secret key"), "{error}");
    assert!(error.contains("add --yes to restore the backup all the same"), "{error}");
    assert_eq!(other.stored_bytes(), stored);
    let restored = other.run(&["restore", "today.db", "--yes"]);
    assert_eq!(restored.status, 0, "{restored:?}");
    assert!(restored.err.contains("this is not the secret key"), "{restored:?}");
    // With the key beside it there is nothing to say.
    fs::copy(place.path("data/secret.key"), other.path("data/secret.key")).expect("both are there");
    other.run(&["restore", "today.db"]).ok();
    assert!(!other.serve().last_words().contains("Warning"));
}
