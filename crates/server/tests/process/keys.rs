//! Server keys from the command line, and how they stay secret.

use std::time::Duration;

use serde_json::json;
use testing::{Client, Response};

use crate::support::{Place, Server, until};

/// How long an operator's command may take to reach a server that runs.
const REACH: Duration = Duration::from_secs(5);
/// A key of the configuration.
const CONFIGURED: &str = "canary-of-the-app-and-its-server-together";

fn ask(server: &Server, key: &str, method: &str, path: &str) -> Response {
    let request = Client::new(server.address);
    let request = request.request(method, path).bearer(key);
    request.wait().expect("an answer")
}

fn rows(printed: &str) -> Vec<Vec<String>> {
    printed.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// A key that a command printed.
fn added(place: &Place, arguments: &[&str]) -> String {
    let printed = place.run(&[&["key", "add"], arguments].concat()).ok();
    let key = printed.strip_suffix('\n').expect("it is a line").to_owned();
    assert!(key.starts_with("prk_") && key.len() == 4 + 43, "{key}");
    key
}

#[test]
fn a_key_is_added_listed_rotated_and_revoked() {
    let place = Place::new();
    let server = place.serve();
    let first = added(&place, &["shop", "--scopes", "users,act", "--days", "2"]);
    let other = added(&place, &["digest", "--scopes", "unread"]);
    let error = place.run(&["key", "add", "a", "--scopes", "everything"]).failed(1);
    assert!(error.starts_with("error: scopes: each must be one of users, tokens"), "{error}");
    place.run(&["key", "add", "shop"]).failed(2);

    let status = |key: &str| ask(&server, key, "GET", "/v1/server/key").status;
    let said = ask(&server, &first, "GET", "/v1/server/key").ok();
    assert_eq!((&said["name"], &said["scopes"]), (&json!("shop"), &json!(["users", "act"])));
    assert_eq!(status(&other), 200);
    let listed = rows(&place.run(&["key", "list"]).ok());
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!((&*listed[0][1], &*listed[0][2]), ("shop", "users,act"));
    assert!(listed[0][4] > listed[0][3] && listed[0][4].ends_with('Z'), "{listed:?}");
    assert_eq!((&*listed[1][4], &*listed[1][6]), ("never", "valid"));
    assert!(!format!("{listed:?}").contains("prk_"), "the list has no secrets");

    let rotate = |overlap| place.run(&["key", "rotate", "1", "--overlap", overlap]);
    let second = rotate("24h").ok().trim_end().to_owned();
    assert_eq!((status(&first), status(&second)), (200, 200));
    let state = rows(&place.run(&["key", "list"]).ok()).remove(0).remove(6);
    assert!(state.starts_with("the key from before works until "), "{state}");
    let third = rotate("0s").ok().trim_end().to_owned();
    until(REACH, "only the newest holds", || (status(&first), status(&second)) == (401, 401));
    assert_eq!(status(&third), 200);
    for wrong in ["24", "1w", "-1h", "h", ""] {
        assert!(rotate(wrong).failed(2).contains("--overlap"), "{wrong}");
    }

    assert_eq!(place.run(&["key", "revoke", "1"]).ok(), "server key 1 is revoked\n");
    until(REACH, "it holds no more", || status(&third) == 401);
    assert!(rows(&place.run(&["key", "list"]).ok())[0][6].starts_with("revoked "));
    assert_eq!(rotate("1h").failed(1), "error: there is no server key 1 that is valid\n");
    let error = place.run(&["key", "revoke", "9"]).failed(1);
    assert_eq!(error, "error: there is no server key 9\n");
    assert_eq!(status(&other), 200, "another key holds");
    server.is_unharmed();
}

#[test]
fn the_key_of_a_file_holds_and_is_in_no_place_but_that() {
    let place = Place::new().with("POSTROOM_SERVER_KEY_FILE", "server.key");
    std::fs::write(place.path("server.key"), format!("{CONFIGURED}\n")).expect("it can be written");
    let server = place.serve();
    assert_eq!(ask(&server, CONFIGURED, "GET", "/v1/server/key").ok()["id"], 0);
    assert_eq!(ask(&server, "canary", "GET", "/v1/server/key").status, 401);
    assert_eq!(place.run(&["key", "list"]).ok(), "");
    server.is_unharmed();
}

/// Calls that go well and calls that go wrong, with a key where it belongs and where it does not.
fn story(server: &Server, key: &str) -> Vec<Response> {
    let client = Client::new(server.address);
    let mut said = Vec::new();
    let cut = key[..key.len() - 1].to_owned();
    for sent in [key, &cut, &format!("{key}x"), &key.to_uppercase()] {
        for (method, path) in [
            ("GET", "/v1/server/key"),
            ("GET", "/v1/messages"),
            ("POST", "/v1/messages"),
            ("GET", "/v1/tokens"),
            ("POST", "/v1/sessions"),
            ("GET", "/messages/messages_per_receiver"),
        ] {
            for user in ["ann", "nobody", sent] {
                let request = || client.request(method, path).header("postroom-user", user);
                said.push(request().bearer(sent).wait().expect("an answer"));
                let in_page = request().bearer(sent).header("origin", "https://a.example");
                said.push(in_page.wait().expect("an answer"));
                let basic = request().header("authorization", format!("Basic {sent}"));
                said.push(basic.wait().expect("an answer"));
            }
        }
        for path in [format!("/v1/users/ext:{sent}"), format!("/v1/messages?q={sent}&with={sent}")]
        {
            let request = client.request("GET", &path).bearer(sent);
            said.push(request.header("postroom-user", "ann").wait().expect("an answer"));
        }
    }
    let body = json!({ "to": ["ann"], "body": "by the shop" });
    let sent = client.request("POST", "/v1/messages").bearer(key).header("postroom-user", "ann");
    let sent = sent.header("idempotency-key", "1").json(&body).wait().expect("an answer");
    sent.expect(201);
    said.push(sent);
    said
}

#[test]
fn no_key_is_ever_said_or_stored() {
    let place = Place::new()
        .with("POSTROOM_LOG", "trace,hyper=trace,tokio=trace")
        .with("POSTROOM_SERVER_KEY", CONFIGURED);
    let server = place.serve();
    server.user("ann");
    let first = added(&place, &["shop", "--scopes", "act,users"]);
    let second = place.run(&["key", "rotate", "1", "--overlap", "1h"]).ok().trim_end().to_owned();
    let keys = [CONFIGURED, &first, &second];
    // The end of a key is long enough to be found, and short enough for a part of one.
    let secrets = keys.map(|key| key[key.len() - 24..].to_owned());
    let holds = |text: &str| secrets.iter().find(|secret| text.contains(*secret)).cloned();
    for key in keys {
        for answer in story(&server, key) {
            let headers = format!("{:?}", answer.headers);
            // What a client wrote into a path or a body is repeated to it where it is unknown.
            assert_eq!(holds(&answer.text()), None, "status {}", answer.status);
            assert_eq!(holds(&headers), None, "status {}", answer.status);
            assert!(answer.status < 500, "{}", answer.text());
        }
    }
    let metrics = server.metrics();
    assert_eq!(holds(&metrics), None);
    for command in [&["key", "list"][..], &["audit", "--limit", "1000"], &["config"], &["check"]] {
        let ran = place.run(command);
        assert_eq!(holds(&(ran.out + &ran.err)), None, "{command:?}");
    }
    let stored = place.stored_bytes();
    for secret in &secrets {
        let is_stored = stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!is_stored, "{secret} is stored");
    }
    assert!(place.run(&["audit"]).ok().contains("\tconfiguration\tPOST /v1/messages\t"));
    let words = server.last_words();
    assert!(words.matches("answered").count() > 60, "it said too little: {words}");
    assert_eq!(holds(&words), None);
}
