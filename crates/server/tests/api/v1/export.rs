//! What one person has, as a file: all of it, nothing of anybody else, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::Duration;

use domain::server_keys;
use serde_json::{Value, json};
use testing::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::verbs::emptied;
use crate::harness::TestApp;
use crate::user::{User, number};

const OWN: &str = "/v1/users/me/export";

/// The lines of an export of one kind.
fn lines(export: &Response, kind: &str) -> Vec<Value> {
    let all = export.text();
    let all = all.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.filter_map(|line| line.get(kind).cloned()).collect()
}

fn of(user: &User) -> String {
    format!("/v1/server/users/{}/export", user.id.get())
}

/// The bodies of the messages of an export, sorted.
fn bodies(export: &Response) -> Vec<String> {
    let bodies = lines(export, "message").into_iter();
    let mut bodies: Vec<_> = bodies.map(|line| super::text(&line["body"])).collect();
    bodies.sort();
    bodies
}

#[tokio::test]
async fn an_export_has_all_of_a_person_and_nothing_of_anybody_else() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let server = app.server_key(&["export", "users"]).await;
    let draft = json!({ "to": ["bob", "cat"], "subject": "s", "body": "to both",
        "client_id": "known to ann", "metadata": { "a": 1 } });
    let first = number(&ann.write(&draft).await["id"]);
    let path = format!("/v1/messages/{first}");
    let marked = json!({ "read": true, "starred": true, "archived": true });
    bob.request("PATCH", &path).json(&marked).send().await.ok();
    cat.request("PATCH", &path).json(&json!({ "trashed": true })).send().await.ok();
    // Ann is no part of this.
    let between = json!({ "in_reply_to": first, "to": ["cat"], "body": "of us two" });
    let between = number(&bob.write(&between).await["id"]);
    // And does not have what this answers.
    cat.write(&json!({ "in_reply_to": between, "to": ["ann"], "body": "of what?" })).await;
    ann.write_to(&[&ann], "to herself").await;
    let gone = ann.write_to(&[&bob], "deleted").await;
    ann.call("DELETE", &format!("/v1/messages/{gone}")).await.expect(204);
    ann.call("PUT", &format!("/v1/blocks/{}", cat.id.get())).await.expect(204);
    let path = format!("/v1/conversations/{first}");
    ann.request("PATCH", &path).json(&json!({ "muted": true })).send().await.ok();
    let name = json!({ "display_name": "Änn", "accept_from": "known" });
    ann.request("PATCH", "/v1/users/me").json(&name).send().await.ok();
    let token = ann.token(None).await;

    let export = ann.call("GET", OWN).await;
    assert_eq!(export.status, 200);
    let name = format!("attachment; filename=\"postroom-{}.jsonl\"", ann.id.get());
    assert_eq!(export.header("content-disposition"), Some(name.as_str()));
    assert_eq!(bodies(&export), ["of what?", "to both", "to herself"]);
    let users = lines(&export, "user");
    let user = |name: &str| users.iter().find(|user| user["username"] == name).expect("a line");
    let own = user("ann");
    assert_eq!((&own["display_name"], &own["accept_from"]), (&json!("Änn"), &json!("known")));
    assert_eq!(own["email"], "ann@example.org");
    assert_eq!(user("bob"), &json!({ "id": bob.id.get(), "username": "bob" }));
    assert_eq!(users.len(), 3);
    for message in lines(&export, "message") {
        let states = message["state"].as_array().into_iter().flatten();
        let of: BTreeSet<_> = states.map(|state| super::text(&state["user"])).collect();
        assert!(of.is_subset(&BTreeSet::from(["ann".to_owned()])), "marks of others: {message}");
    }
    let answer = lines(&export, "message").into_iter().find(|line| line["from"] == "cat").unwrap();
    assert_eq!(answer["in_reply_to"], Value::Null, "she does not have what it answers");
    assert_eq!(answer["conversation"], first.to_string());
    assert_eq!(lines(&export, "block")[0]["blocked"], "cat");
    assert_eq!(lines(&export, "mute")[0]["conversation"], first.to_string());
    let contacts = lines(&export, "contact").into_iter().map(|line| super::text(&line["peer"]));
    assert_eq!(
        contacts.collect::<BTreeSet<_>>(),
        BTreeSet::from(["bob", "cat"].map(str::to_owned))
    );
    assert_eq!(lines(&export, "session").len(), 1);
    assert_eq!(lines(&export, "token")[0]["name"], "a program");
    let secrets = [token.as_str(), "argon2", "password", "token_hash"];
    assert!(!secrets.iter().any(|secret| export.text().contains(secret)), "{}", export.text());

    // Others have the message without the sender's own name of it.
    let of_bob = bob.call("GET", OWN).await;
    assert_eq!(bodies(&of_bob), ["deleted", "of us two", "to both"]);
    assert!(!of_bob.text().contains("known to ann"));
    let received = lines(&of_bob, "message").into_iter().find(|line| line["from"] == "ann");
    let state = &received.expect("it is there")["state"][0];
    assert!(state["starred_at"].is_string() && state["archived_at"].is_string(), "{state}");

    // The app's own server gets the same.
    let by_key = server.call("GET", &of(&ann)).await;
    let same = |export: &Response| -> BTreeSet<String> {
        export.text().lines().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(same(&by_key), same(&export));
    let head = ann.call("HEAD", OWN).await;
    assert_eq!((head.status, head.header("content-disposition")), (200, Some(name.as_str())));
}

#[tokio::test]
async fn an_erased_correspondent_is_a_stub_and_an_erased_user_has_no_export() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let server = app.server_key(&["export"]).await;
    bob.write_to(&[&ann], "from bob").await;
    let erase = json!({ "password": crate::harness::PASSWORD });
    bob.request("DELETE", "/v1/users/me").json(&erase).send().await.expect(204);
    emptied(&app).await;

    let export = ann.call("GET", OWN).await;
    assert_eq!(lines(&export, "message")[0]["from"], bob.id.get());
    let stub = json!({ "id": bob.id.get(), "erased": true });
    assert!(lines(&export, "user").contains(&stub), "{}", export.text());
    server.call("GET", &of(&bob)).await.problem(410, "user_erased");
    server.call("GET", "/v1/server/users/nobody/export").await.problem(404, "not_found");
    server.call("GET", "/v1/server/users/ext:none/export").await.problem(404, "not_found");
    bob.call("GET", OWN).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn sessions_and_tokens_are_for_those_who_may_see_them_anyway() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let client = app.client();
    let reader = ann.token(Some(&["messages:read"])).await;
    let export = client.request("GET", OWN).bearer(&reader).send().await;
    assert_eq!((lines(&export, "session").len(), lines(&export, "token").len()), (0, 0));
    assert_eq!(lines(&export, "user").len(), 1);
    let whole = ann.token(Some(&["messages:read", "account"])).await;
    let export = client.request("GET", OWN).bearer(&whole).send().await;
    assert_eq!((lines(&export, "session").len(), lines(&export, "token").len()), (1, 2));
    let blind = ann.token(Some(&["messages:write", "account"])).await;
    let refused = client.request("GET", OWN).bearer(&blind).send().await;
    refused.problem(403, "insufficient_scope");
}

#[tokio::test]
async fn what_comes_meanwhile_is_left_out_and_nothing_is_missed_or_doubled() {
    const LETTERS: usize = 3000;
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let sent = app.send_many(&ann, &bob, LETTERS).await;
    let mut stream = begins(&app, OWN, &bob.token(None).await).await;
    let mut text = String::new();
    let mut buffer = vec![0; 4096];
    for number in 0.. {
        let read = stream.read(&mut buffer).await.expect("it goes on");
        if read == 0 {
            break;
        }
        text += std::str::from_utf8(&buffer[..read]).expect("all of it is ASCII");
        if number < 40 {
            ann.write_to(&[&bob], "too late").await;
            // What is read moves within the mailbox.
            let path = format!("/v1/messages/{}", sent[LETTERS - 1 - 70 * number]);
            let read = bob.request("PATCH", &path).json(&json!({ "read": true }));
            read.send().await.ok();
        }
    }
    assert!(text.ends_with("\r\n0\r\n\r\n"), "it is whole");
    assert!(!text.contains("too late"));
    let ids = text.split("\"external_id\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let mut ids: Vec<i64> = ids.map(|id| id.replace("\r\n", "").parse().expect("an id")).collect();
    ids.sort_unstable();
    assert_eq!(ids, sent);
    let again = bob.call("GET", OWN).await;
    assert_eq!(lines(&again, "message").len(), LETTERS + 40);
}

/// Asks for an export over a connection with little room, and reads its status.
async fn begins(app: &TestApp, path: &str, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.set_recv_buffer_size(4096).expect("it is a size");
    let mut stream = socket.connect(app.address().socket()).await.expect("the server listens");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n\r\n",
        app.address().host(),
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.expect("it is answered");
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

/// Somebody with more letters than a connection has room for.
async fn with_much(app: &TestApp) -> (User, User) {
    let (ann, bob) = app.pair("ann", "bob").await;
    for _ in 0..100 {
        ann.write(&json!({ "to": ["bob"], "body": "x".repeat(60_000) })).await;
    }
    (ann, bob)
}

#[tokio::test]
async fn a_slow_reader_holds_nothing_but_their_own_turn() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = with_much(&app).await;
    let token = bob.token(None).await;
    let slow = begins(&app, OWN, &token).await;
    // Everything else goes on, also what scans.
    assert_eq!(bob.list("q=yyy").await.len(), 0);
    assert_eq!(bob.list("folder=all").await.len(), 100);
    assert_eq!(lines(&ann.call("GET", OWN).await, "message").len(), 100);
    ann.write_to(&[&bob], "meanwhile").await;

    let second = bob.call("GET", OWN);
    tokio::pin!(second);
    let wait = tokio::time::timeout(Duration::from_millis(300), &mut second);
    assert!(wait.await.is_err(), "it waits for the first");
    drop(slow);
    let second = tokio::time::timeout(Duration::from_mins(1), second);
    let second = second.await.expect("the first one has gone");
    assert_eq!(lines(&second, "message").len(), 101);
}

#[tokio::test]
async fn pages_wait_for_the_scan_of_their_user() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    app.send_many(&ann, &bob, 3).await;
    let (go, wait) = channel::<()>();
    let hold = app.hold_scan_of(bob.id, wait);
    let asked = async {
        let export = bob.call("GET", OWN);
        tokio::pin!(export);
        for _ in 0..20 {
            assert_eq!(lines(&ann.call("GET", OWN).await, "message").len(), 3);
            let now = tokio::time::timeout(Duration::ZERO, &mut export);
            assert!(now.await.is_err(), "it did not wait");
        }
        drop(go);
        assert_eq!(lines(&export.await, "message").len(), 3);
    };
    tokio::join!(hold, asked);
}

#[tokio::test]
async fn an_export_ends_with_the_login_or_the_account_and_is_not_whole_then() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (_ann, bob) = with_much(&app).await;
    let server = app.server_key(&["export"]).await;
    let token = bob.token(None).await;
    let rest = async |mut stream: TcpStream| {
        let mut bytes = Vec::new();
        // It may be reset, which is as good as an end that is missing.
        let read = stream.read_to_end(&mut bytes);
        drop(tokio::time::timeout(Duration::from_mins(1), read).await.expect("it ends"));
        bytes.ends_with(b"\r\n0\r\n\r\n")
    };
    let export = begins(&app, OWN, &token).await;
    let tokens = bob.call("GET", "/v1/tokens").await.ok();
    let id = number(&tokens["data"][0]["id"]);
    bob.call("DELETE", &format!("/v1/tokens/{id}")).await.expect(204);
    assert!(!rest(export).await, "the token is revoked");

    let export = begins(&app, &of(&bob), &server.key).await;
    let (cx, id) = (app.clock().cx(), server.id);
    app.write(move |tx| server_keys::revoke(tx, &cx, id)).await;
    assert!(!rest(export).await, "the key is revoked");

    let server = app.server_key(&["export"]).await;
    let export = begins(&app, &of(&bob), &server.key).await;
    let erase = json!({ "password": crate::harness::PASSWORD });
    bob.request("DELETE", "/v1/users/me").json(&erase).send().await.expect(204);
    assert!(!rest(export).await, "the user is erased");
}

#[tokio::test]
async fn each_export_by_a_key_is_in_the_audit_log() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let server = app.server_key(&["export"]).await;
    server.call("GET", "/v1/server/users/ann/export").await;
    let user = ann.id;
    let audited = async || {
        app.settle().await;
        app.write(move |tx| domain::audit::list(tx, None, Some(user), 10)).await
    };
    // It is written within a second.
    while audited().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(audited().await[0].call, "GET /v1/server/users/{ref}/export");
}
