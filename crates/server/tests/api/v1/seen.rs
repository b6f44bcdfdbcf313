//! What a user has not seen is neither read nor thrown away: `up_to` and `If-Match`.

use domain::sending::{self, Draft};
use domain::text::{Body, Lengths, Subject};
use domain::{MessageId, UserId};
use serde_json::{Value, json};
use testing::Response;

use super::verbs::ids;
use crate::harness::TestApp;
use crate::user::User;

async fn show(user: &User, id: i64) -> Response {
    user.call("GET", &format!("/v1/conversations/{id}")).await
}

async fn change(user: &User, id: i64, change: Value) -> Value {
    user.request("PATCH", &format!("/v1/conversations/{id}")).json(&change).send().await.ok()
}

async fn if_match(user: &User, method: &str, id: i64, tag: &str, body: Option<Value>) -> Response {
    let request = user.request(method, &format!("/v1/conversations/{id}")).header("if-match", tag);
    match body {
        Some(body) => request.json(&body).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn a_conversation_is_read_and_thrown_away_as_far_as_it_was_seen() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let seen = ann.reply(first, "two").await;
    let late = ann.reply(first, "three").await;

    let read = change(&bob, first, json!({ "read": true, "up_to": seen })).await;
    assert_eq!((&read["unread"], &read["last_message"]["id"]), (&1.into(), &late.into()));
    assert_eq!(bob.unread().await, [late]);
    let unread = change(&bob, first, json!({ "read": false, "up_to": seen })).await;
    assert_eq!(unread["unread"], 2);
    assert_eq!(bob.unread().await, [seen, late]);
    let muted = change(&bob, first, json!({ "muted": true, "up_to": first })).await;
    assert_eq!((&muted["muted"], &muted["unread"]), (&true.into(), &2.into()));

    let path = format!("/v1/conversations/{first}?up_to={seen}");
    bob.call("DELETE", &path).await.expect(204);
    assert_eq!(bob.list("folder=trash").await, [seen, first]);
    assert_eq!(bob.list("").await, [late]);
    assert_eq!(show(&bob, first).await.ok()["last_message"]["id"], late);
    bob.call("DELETE", &path).await.expect(204);
    assert_eq!(bob.list("").await, [late], "again, it changes nothing");

    let wrong = [json!(null), json!(0), json!("7"), json!(1.5)];
    for up_to in wrong {
        let body = json!({ "read": true, "up_to": up_to });
        let path = format!("/v1/conversations/{first}");
        let answer = bob.request("PATCH", &path).json(&body).send().await.invalid();
        assert!(answer[0].starts_with("#/up_to "), "{body} {answer:?}");
    }
    for query in ["up_to=", "up_to=0", "up_to=x", "up_to=1&up_to=2"] {
        let answer = bob.call("DELETE", &format!("/v1/conversations/{first}?{query}")).await;
        assert!(answer.invalid()[0].starts_with("up_to "), "{query}");
    }
    // A bound in the wrong place is not overlooked.
    let path = format!("/v1/conversations/{first}");
    let bound = json!({ "up_to": seen });
    let misplaced = bob.request("DELETE", &path).json(&bound).send().await;
    assert_eq!(misplaced.invalid(), ["#/up_to unknown_field"]);
    let message = bob.request("DELETE", &format!("/v1/messages/{late}"));
    let misplaced = message.json(&bound).send().await;
    assert_eq!(misplaced.invalid(), ["#/up_to unknown_field"]);
    for (method, path, body) in [
        ("PATCH", path.as_str(), json!({ "read": true })),
        ("POST", "/v1/messages/batch", json!({ "filter": {}, "delete": true })),
        ("DELETE", &format!("/v1/messages/{late}"), json!({})),
    ] {
        let path = format!("{path}?up_to={seen}");
        let misplaced = bob.request(method, &path).json(&body).send().await;
        assert_eq!(misplaced.invalid(), ["up_to unknown_field"], "{path}");
    }
    assert_eq!(bob.unread().await, [late]);
}

#[tokio::test]
async fn a_batch_by_filter_takes_nothing_newer() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let all = app.send_many(&ann, &bob, 1102).await;
    let (seen, late) = (all[1100], all[1101]);
    let batch = async |body: &Value| bob.post("/v1/messages/batch", body).await;

    let mut body = json!({ "filter": { "unread": true }, "up_to": seen, "set": { "read": true } });
    let first = batch(&body).await.ok();
    assert_eq!(first["updated"].as_array().map(Vec::len), Some(1000));
    body["cursor"] = first["next_cursor"].clone();
    let second = batch(&body).await.ok();
    assert_eq!(second["updated"], json!(all[..101]));
    assert_eq!(bob.list("unread=true").await, [late]);
    let some = json!({ "filter": { "q": "many" }, "up_to": all[1], "delete": true });
    assert_eq!(batch(&some).await.ok()["destroyed"], json!(all[..2]));

    let by_ids = json!({ "ids": [seen], "up_to": seen, "delete": true });
    assert_eq!(batch(&by_ids).await.invalid(), ["#/up_to unknown_field"]);
    let bound = json!({ "filter": {}, "up_to": null, "delete": true });
    assert_eq!(batch(&bound).await.invalid(), ["#/up_to wrong_type"]);
    assert_eq!(bob.list("unread=true").await, [late]);
}

#[tokio::test]
async fn a_batch_by_filter_with_a_key_says_how_far() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let seen = ann.write_to(&[&bob], "one").await;
    let keyed = async |body: &Value| {
        let request = bob.request("POST", "/v1/messages/batch").header("idempotency-key", "k");
        request.json(body).send().await
    };
    let mut body = json!({ "filter": { "unread": true }, "delete": true });
    assert_eq!(keyed(&body).await.invalid(), ["#/up_to missing"]);
    assert_eq!(bob.list("").await, [seen]);
    body["up_to"] = json!(seen);
    keyed(&body).await.ok();
    let late = ann.write_to(&[&bob], "two").await;
    keyed(&body).await.ok();
    assert_eq!(bob.list("").await, [late], "a retry takes no more than the first request");
    let by_ids = json!({ "ids": [late], "set": { "read": true } });
    let request = bob.request("POST", "/v1/messages/batch").header("idempotency-key", "ids");
    request.json(&by_ids).send().await.ok();
}

#[tokio::test]
async fn the_tag_of_a_conversation_changes_with_what_it_shows() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let mut tags = vec![tag(&show(&bob, first).await)];
    let events = [
        "read",
        "starred",
        "answered",
        "an older one is unread",
        "muted",
        "renamed",
        "the newest one is gone",
        "in the trash",
    ];
    for event in events {
        let last = tags.last().expect("there is one").clone();
        let ask = async || {
            let request = bob.request("GET", &format!("/v1/conversations/{first}"));
            request.header("if-none-match", &last).send().await
        };
        let unchanged = ask().await;
        assert_eq!((unchanged.status, tag(&unchanged)), (304, last.clone()), "before {event}");
        match event {
            "read" => drop(bob.mark(first, read(true)).await),
            "starred" => drop(bob.mark(first, json!({ "starred": true })).await),
            "answered" => drop(ann.reply(first, "two").await),
            "an older one is unread" => drop(bob.mark(first, read(false)).await),
            "muted" => drop(change(&bob, first, json!({ "muted": true })).await),
            "renamed" => ann.set(json!({ "display_name": "Ann Other" })).await,
            "the newest one is gone" => drop(ann.unsend(first + 1).await.ok()),
            _ => drop(bob.mark(first, json!({ "trashed": true })).await),
        }
        let changed = ask().await;
        assert_eq!(changed.status, 200, "{event}");
        assert!(!tags.contains(&tag(&changed)), "{event}");
        tags.push(tag(&changed));
    }
    let elsewhere = ann.write_to(&[&bob], "another conversation").await;
    bob.mark(elsewhere, read(true)).await;
    assert_eq!(tag(&show(&bob, first).await), *tags.last().expect("there is one"));
}

fn read(read: bool) -> Value {
    json!({ "read": read })
}

fn tag(answer: &Response) -> String {
    answer.header("etag").expect("it has a tag").to_owned()
}

#[tokio::test]
async fn a_conversation_that_has_changed_since_is_left_alone() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let second = ann.reply(first, "two").await;
    let seen = tag(&show(&bob, first).await);
    let late = ann.reply(first, "three").await;
    let before = app.dump().await;

    let both = json!({ "muted": true, "read": true });
    for known in [
        seen.clone(),
        format!("W/{seen}"),
        seen.replacen('"', "\"0", 1),
        "\"\"".into(),
        "\"x\", \"y\"".into(),
    ] {
        for body in [json!({}), read(true), read(false), json!({ "muted": true }), both.clone()] {
            let answer = if_match(&bob, "PATCH", first, &known, Some(body)).await;
            answer.problem(412, "precondition_failed");
        }
        let answer = if_match(&bob, "DELETE", first, &known, None).await;
        answer.problem(412, "precondition_failed");
    }
    assert_eq!(app.dump().await, before);
    if_match(&bob, "DELETE", 4_000_000, &seen, None).await.problem(404, "not_found");

    // A name is nothing that the user has to have seen.
    let current = tag(&show(&bob, first).await);
    ann.set(json!({ "display_name": "Ann Other" })).await;
    assert_ne!(tag(&show(&bob, first).await), current);
    let changed = if_match(&bob, "PATCH", first, &current, Some(both)).await;
    let shown = changed.ok();
    assert_eq!((&shown["muted"], &shown["unread"]), (&true.into(), &0.into()));
    assert_eq!(tag(&changed), tag(&show(&bob, first).await));
    let several = format!("\"old\", {}", tag(&changed));
    if_match(&bob, "DELETE", first, &several, None).await.expect(204);
    assert_eq!(bob.list("folder=trash").await, [late, second, first]);
    if_match(&bob, "PATCH", first, "*", Some(json!({ "muted": false }))).await.ok();
}

#[tokio::test]
async fn what_comes_while_a_long_conversation_is_changed_is_left_alone() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let send = |number: usize| {
        let (cx, from, to) = (app.clock().cx(), ann.id, bob.id);
        app.write(move |tx| {
            let draft = reply_to(first, to);
            (0..number).try_for_each(|_| sending::send(tx, &cx, from, &draft, None).map(drop))
        })
    };
    for (method, body) in [("PATCH", Some(read(true))), ("DELETE", None)] {
        // Several steps, and messages that come between them.
        send(900).await;
        let newest = bob.page("limit=1").await["data"][0]["id"].as_i64().expect("it is an id");
        let request = bob.request(method, &format!("/v1/conversations/{first}"));
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let arriving = async {
            for _ in 0..20 {
                send(1).await;
            }
        };
        let (answer, ()) = tokio::join!(request.send(), arriving);
        assert!([200, 204].contains(&answer.status), "{answer:?}");
        let left = bob.list("unread=true&limit=100").await;
        let late = ann.page("folder=sent&limit=20").await;
        // What came before the first step is changed, what came after it is not.
        assert_eq!(left, ids(&late["data"])[..left.len()], "{method}");
        assert!(left.len() <= 20 && left.iter().all(|id| *id > newest), "{method} {left:?}");
    }
}

fn reply_to(message: i64, to: UserId) -> Draft {
    let lengths = Lengths { subject_chars: 9, body_bytes: 9 };
    let subject = Subject::parse("again".to_owned(), lengths).expect("it is short");
    let body = Body::parse(String::new(), lengths).expect("it is short");
    let mut draft = Draft::new(to, subject, body);
    draft.in_reply_to = MessageId::new(message);
    draft
}

#[tokio::test]
async fn the_classic_calls_are_about_one_message_each() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let late = ann.reply(first, "two").await;
    bob.read(first).await;
    assert_eq!(bob.unread().await, [late]);
    bob.delete(first).await;
    assert_eq!((bob.inbox().await, bob.unread().await), (vec![late], vec![late]));
}
