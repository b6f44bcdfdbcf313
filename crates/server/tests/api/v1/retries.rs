//! Sends, batches and take-backs that are sent again with their key.

use std::collections::BTreeSet;

use domain::Time;
use serde_json::{Value, json};
use testing::{Client, Response};

use crate::harness::TestApp;
use crate::user::User;

async fn keyed(user: &User, path: &str, key: &str, body: &Value) -> Response {
    user.request("POST", path).header("idempotency-key", key).json(body).send().await
}

async fn send(user: &User, key: &str, body: &Value) -> Response {
    keyed(user, "/v1/messages", key, body).await
}

fn replayed(answer: &Response) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// Asserts that an answer is the first one, given again.
#[track_caller]
fn again(answer: &Response, first: &Response) {
    assert!(replayed(answer) && !replayed(first), "{answer:?}");
    assert_eq!((answer.status, &answer.body), (first.status, &first.body));
    for name in ["location", "etag", "content-type"] {
        assert_eq!(answer.header(name), first.header(name), "{name}");
    }
}

#[tokio::test]
async fn fifty_at_once_make_one_message() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = ann.token(None).await;
    let draft = json!({ "to": ["bob"], "body": "once" });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, token, draft): (Client, _, _) = (app.client(), token.clone(), draft.clone());
        tasks.spawn(async move {
            let request = client.request("POST", "/v1/messages").bearer(&token).json(&draft);
            request.header("idempotency-key", "the-key").send().await
        });
    }

    let (mut bodies, mut first) = (BTreeSet::new(), 0);
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.expect("it is answered");
        if answer.status == 409 {
            answer.problem(409, "request_in_progress");
            assert_eq!(answer.header("retry-after"), Some("1"));
        } else {
            bodies.insert(answer.expect(201).to_string());
            first += i32::from(!replayed(&answer));
        }
    }

    assert_eq!((bodies.len(), first), (1, 1));
    assert_eq!(bob.list("").await.len(), 1);
    let late = send(&ann, "the-key", &draft).await;
    assert!(replayed(&late) && bodies.contains(&late.expect(201).to_string()));
    assert_eq!(bob.list("").await.len(), 1);
}

#[tokio::test]
async fn a_message_is_sent_once_over_a_restart_and_for_a_day() {
    let mut app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let draft = json!({ "to": ["bob", "no such name"], "body": "once", "client_id": "c" });
    let first = send(&ann, "k", &draft).await;
    first.expect(201);

    app.restart();
    again(&send(&ann, "k", &draft).await, &first);
    app.advance(Time::DAY - Time::MINUTE);
    again(&send(&ann, "\"k\"", &draft).await, &first);
    let id = first.expect(201)["id"].as_i64().expect("it is a number");
    ann.destroy(id).await;
    let late = send(&ann, "k", &draft).await;
    assert!(replayed(&late));
    let refused = json!([{ "to": "no such name", "code": "unknown_recipient" }]);
    assert_eq!(late.expect(201), json!({ "id": id, "refused": refused }), "its id alone");
    assert_eq!((late.header("location"), late.header("etag")), (first.header("location"), None));
    assert_eq!(bob.list("").await.len(), 1);

    app.advance(Time::MINUTE + Time::SECOND);
    let second = send(&ann, "k", &draft).await;
    assert!(!replayed(&second));
    assert_ne!(second.expect(201)["id"], first.expect(201)["id"]);
    assert_eq!(bob.list("").await.len(), 2);
}

#[tokio::test]
async fn a_key_is_for_one_body_of_one_user_at_one_route() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let draft = json!({ "to": ["bob", "ann"], "body": "once" });
    let first = send(&ann, "k", &draft).await;
    let id = first.expect(201)["id"].as_i64().expect("it is a number");
    let before = app.dump().await;

    for other in [
        json!({ "to": ["bob", "ann"], "body": "twice" }),
        json!({ "to": ["ann", "bob"], "body": "once" }),
        json!({ "to": ["bob", "ann"], "body": "once", "subject": "" }),
        json!({ "to": ["nobody"], "body": "once" }),
    ] {
        send(&ann, "k", &other).await.problem(422, "idempotency_key_reused");
    }
    assert_eq!(app.dump().await, before);

    let of_bob = send(&bob, "k", &draft).await;
    assert!(!replayed(&of_bob) && of_bob.expect(201)["id"] != id);
    let unsend = keyed(&ann, &format!("/v1/messages/{id}/unsend"), "k", &json!({})).await;
    assert!(!replayed(&unsend) && unsend.ok()["withdrawn_from"] == json!([bob.id.get()]));
    again(&send(&ann, "k", &draft).await, &first);
}

#[tokio::test]
async fn the_same_values_in_another_spelling_are_the_same_request() {
    let app = TestApp::start().await;
    let (ann, _bob) = app.pair("ann", "bob").await;
    let send = async |body: &str| {
        let request = ann.request("POST", "/v1/messages").header("idempotency-key", "k");
        request.header("content-type", "application/json").body(body.to_owned()).send().await
    };
    let first = r#"{"to":["bob",1],"body":"\u00e4/","metadata":{"a":[1.50,{}],"b":100}}"#;
    let first = send(first).await;
    first.expect(201);
    let metadata = first.json()["metadata"].clone();
    for same in [
        r#"{"metadata":{"b":100,"a":[1.50,{}]},"body":"ä\/","to":["bob",1]}"#,
        "{ \"body\" : \"ä/\",\r\n\t\"to\": [ \"\\u0062ob\", 1 ],\n \
         \"metadata\": {\"a\": [15e-1, { }], \"b\": 1E2} }\n",
    ] {
        let same = send(same).await;
        assert!(replayed(&same), "{same:?}");
        assert_eq!(same.expect(201)["metadata"], metadata, "as it was sent first");
    }
    for other in [
        r#"{"to":[1,"bob"],"body":"ä/","metadata":{"a":[1.5,{}],"b":100}}"#,
        r#"{"to":["bob",1],"body":"ä/","metadata":{"a":[1.5,{}],"b":100.00000000000000001}}"#,
        r#"{"to":["bob",1],"body":"ä/","metadata":{"a":[{},1.5],"b":100}}"#,
        r#"{"to":["bob",1],"body":"ä/","metadata":{"a":[1.5,{}],"b":"100"}}"#,
        r#"{"to":["bob",1],"body":"ä/ ","metadata":{"a":[1.5,{}],"b":100}}"#,
        r#"{"to":["bob",1],"body":"ä/","metadata":{"a":[1.5,{}],"b":100},"subject":null}"#,
    ] {
        send(other).await.problem(422, "idempotency_key_reused");
    }
    let unsend = format!("/v1/messages/{}/unsend", first.json()["id"]);
    let nothing = ann.request("POST", &unsend).header("idempotency-key", "u").send().await;
    let empty = keyed(&ann, &unsend, "u", &json!({})).await;
    again(&empty, &nothing);
}

#[tokio::test]
async fn a_send_is_answered_again_with_the_message_as_it_is_now_and_nothing_kept_names_anybody() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    cat.block(&ann).await;
    let draft = json!({ "to": ["bob", "CAT", "no such name", dan.id.get()], "body": "a letter" });
    let first = send(&ann, "k", &draft).await;
    let id = first.expect(201)["id"].as_i64().expect("it is a number");
    let parent = bob.write(&json!({ "to": ["ann", "dan"], "body": "to answer" })).await;
    let answer = json!({ "in_reply_to": parent["id"], "body": "an answer" });
    bob.block(&ann).await;
    let replied = send(&ann, "reply", &answer).await;
    replied.expect(201);
    let from_parent = json!([{ "to": bob.id.get(), "code": "recipient_unavailable" }]);
    assert_eq!(replied.json()["refused"], from_parent);
    let kept = app.dump().await.into_iter().filter(|row| row.starts_with("response "));
    let kept = kept.collect::<Vec<_>>().join("\n").to_lowercase();
    for text in ["bob", "cat", "dan", "name", "letter", "answer"] {
        let hex = text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert!(!kept.contains(&hex), "{text} in {kept}");
    }

    bob.set(json!({ "display_name": "Bob Bear" })).await;
    dan.call("DELETE", "/v1/users/me").await.expect(204);
    ann.mark(id, json!({ "starred": true })).await;

    let now = ann.try_show(id).await;
    let late = send(&ann, "k", &draft).await;
    assert!(replayed(&late));
    assert_eq!(late.header("etag"), now.header("etag"));
    let mut shown = late.expect(201);
    let refused = shown["refused"].take();
    let mut now = now.ok();
    now["refused"] = Value::Null;
    assert_eq!((shown, &refused), (now, &first.json()["refused"]));
    assert_eq!(refused[0]["to"], "CAT");
    let names = ["bob", "deleted user"].map(|name| json!(name));
    let to = late.json()["to"].clone();
    assert_eq!([&to[0]["username"], &to[1]["username"]], [&names[0], &names[1]]);
    assert_eq!(to[0]["display_name"], "Bob Bear");
    assert_eq!(send(&ann, "reply", &answer).await.json()["refused"], from_parent);
}

#[tokio::test]
async fn what_was_refused_can_be_tried_again_with_its_key() {
    let app = TestApp::with(&[("young_account_days", "0"), ("sends_per_hour", "2")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let draft = json!({ "to": ["bob"], "body": "once" });
    let before = app.dump().await;
    send(&ann, "k", &json!({ "to": ["bob"] })).await.problem(422, "invalid");
    send(&ann, "k", &json!({ "in_reply_to": 7, "body": "" })).await.problem(422, "invalid");
    let unknown = json!({ "to": ["no such name"], "body": "once" });
    send(&ann, "k", &unknown).await.problem(422, "unknown_recipient");
    assert_eq!(app.dump().await, before);
    bob.block(&ann).await;
    send(&ann, "k", &draft).await.problem(403, "recipient_unavailable");
    bob.call("DELETE", &format!("/v1/blocks/{}", ann.id.get())).await.expect(204);

    let sent = send(&ann, "k", &draft).await;
    sent.expect(201);
    assert!(!replayed(&sent));

    send(&ann, "other", &draft).await.expect(201);
    send(&ann, "third", &draft).await.problem(429, "quota_exceeded");
    again(&send(&ann, "k", &draft).await, &sent);
    app.advance(Time::HOUR);
    assert!(!replayed(&send(&ann, "third", &draft).await));
    assert_eq!(bob.list("").await.len(), 3);
}

#[tokio::test]
async fn a_taking_back_is_done_once_and_a_batch_again() {
    let mut app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "1").await;
    let star = json!({ "filter": { "unread": true }, "up_to": id, "set": { "starred": true } });
    for _ in 0..2 {
        let batch = keyed(&bob, "/v1/messages/batch", "k", &star).await;
        assert!(!replayed(&batch) && batch.ok()["updated"] == json!([id]));
        bob.mark(id, json!({ "starred": false })).await;
    }
    let other = json!({ "ids": [id], "set": { "starred": false } });
    keyed(&bob, "/v1/messages/batch", "k", &other).await.ok();
    let path = format!("/v1/messages/{id}/unsend");

    let unsent = keyed(&ann, &path, "k", &json!({})).await;

    assert_eq!(unsent.ok()["withdrawn_from"], json!([bob.id.get()]));
    let later = ann.write_to(&[&bob], "2").await;
    app.restart();
    again(&keyed(&ann, &path, "k", &json!({})).await, &unsent);
    assert_eq!(bob.list("unread=true").await, [later]);
    keyed(&bob, &path, "k", &json!({})).await.problem(404, "not_found");
    assert_eq!(bob.list("").await, [later]);
}
