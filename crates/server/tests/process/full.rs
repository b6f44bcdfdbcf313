//! A disk that is full because users filled it: they can make room.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testing::User;

use crate::support::{Place, Server, until};

/// A server with its data folder on a disk of this size, which ends with it.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
#[expect(clippy::disallowed_methods, reason = "it is about the machine, not about settings")]
fn on_a_small_disk(place: &Place, size: &str) -> Option<Server> {
    std::fs::create_dir(place.path("data")).expect("it can be made");
    let started = ["-m", "-rm"].into_iter().find_map(|own| {
        let plain = place.command(&[]);
        let mut command = Command::new("unshare");
        // The server removes a folder that it made and left empty, so nothing of it stays.
        let mount = r#"mount -t tmpfs -o "size=$1" tmpfs data && shift && cd . && exec "$@""#;
        command.args([own, "sh", "-c", mount, "sh", size]).arg(plain.get_program());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(place.path(""));
        Server::start(command, &place.path("log")).ok()
    });
    if started.is_none() {
        let required = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!required, "no small disk could be mounted; run the tests as root");
        eprintln!("LEFT OUT: a really full disk: no small disk could be mounted (not root?)");
    }
    started
}

/// Writes long messages to oneself until they are refused and stay so, and returns their ids.
fn fill(user: &mut User) -> Vec<i64> {
    let body = "x".repeat(65_536);
    let letter = json!({ "to": [user.id], "body": body, "subject": "long" });
    let (mut ids, mut refused) = (Vec::new(), 0);
    while refused < 2 {
        let answer = user.v1("POST", "/messages", "", &letter);
        match answer.status {
            201 => {
                ids.push(answer.json()["id"].as_i64().expect("an id"));
                refused = 0;
            }
            507 => {
                refused += 1;
                // What was in the log may find its place meanwhile.
                std::thread::sleep(Duration::from_millis(300));
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    ids
}

#[test]
fn users_empty_a_disk_that_they_filled() {
    if testing::is_about_sqlite("the disk of a server is its own") {
        return;
    }
    for size in ["12m", "40m"] {
        let place = Place::new().with("POSTROOM_DISK_RESERVE_MIB", "4");
        let Some(server) = on_a_small_disk(&place, size) else { return };
        let [mut ann, mut bob, mut cid] = ["ann", "bob", "cid"].map(|name| server.user(name));
        let mut eve = server.user("eve");
        let unread = eve.send_message(cid.id, "to take back", "a text");
        let token = bob.v1("POST", "/tokens", "", &json!({ "name": "a program" })).json();
        let letters = fill(&mut ann);
        assert!(letters.len() > 30, "{} on {size}", letters.len());
        let short = json!({ "to": [ann.id], "subject": "short", "body": "short" });
        for _ in 0..100 {
            assert_eq!(bob.v1("POST", "/messages", "", &short).status, 507);
        }
        // Nothing else that stores is done.
        let star = format!("/messages/{}", letters[0]);
        assert_eq!(ann.v1("PATCH", &star, "", &json!({ "starred": true })).status, 507);
        assert_eq!(bob.try_login(testing::PASSWORD).status, 507);

        let none = Value::Null;
        let of_bob = format!("/tokens/{}", token["id"]);
        assert_eq!(bob.v1("DELETE", &of_bob, "", &none).status, 204, "a token is revoked");
        assert_eq!(bob.v1("DELETE", "/sessions/current", "", &none).status, 204, "who signs out");
        assert_eq!(
            cid.v1("DELETE", "/users/me", "", &none).status,
            204,
            "who erases their account"
        );
        let unsend = format!("/messages/{unread}/unsend");
        assert_eq!(eve.v1("POST", &unsend, "a-key", &json!({})).status, 200, "who takes it back");
        assert_eq!(eve.call("POST", "/users/logout", &none).unwrap().status, 200);
        let (one, rest) = letters.split_first().expect("there are some");
        let (two, rest) = rest.split_first().expect("there are more");
        assert_eq!(ann.delete(*one).unwrap().status, 200, "by the classic API");
        let trash = format!("/conversations/{two}");
        assert_eq!(ann.v1("DELETE", &trash, "", &none).status, 204, "to the trash");
        for ids in rest.chunks(7) {
            let batch = json!({ "ids": ids, "delete": true });
            assert_eq!(ann.v1("POST", "/messages/batch", "", &batch).status, 200, "a batch");
        }
        until(Duration::from_secs(30), "messages are taken again", || {
            ann.v1("POST", "/messages", "", &short).status == 201
        });
        bob.login(testing::PASSWORD);
        assert!(fill(&mut bob).len() > 20, "there is as much room as before");
        assert_eq!(bob.v1("DELETE", "/users/me", "", &none).status, 204);
        let log = server.stop();
        assert!(log.contains("the disk is full") && !log.contains("panicked"), "{log}");
    }
}
