//! How much is stored for idempotency keys: of what must not happen twice, little, and so much.

use domain::idempotency::{self, Holder, KeyedRequest, MAX_RESPONSES};
use domain::{Time, UserId};
use serde_json::{Value, json};
use testing::{Client, Response};

use crate::harness::{PASSWORD, TestApp};

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Response {
    client.request("POST", path).header("idempotency-key", key).json(body).send().await
}

fn letter(to: i64) -> Value {
    json!({ "to": [to], "subject": "hello", "body": "a body" })
}

impl TestApp {
    /// Stores so many responses of some bytes for a user.
    async fn keep_many(&self, user: UserId, number: i64) {
        let cx = self.clock().cx();
        self.write(move |tx| {
            (0..number).try_for_each(|number| {
                let key = number.to_string();
                let request = KeyedRequest::new(Holder::User(user), "POST /other", &key, b"");
                idempotency::store(tx, &cx, &request, &[7; 16], b"1")
            })
        })
        .await;
    }

    /// For whom responses are counted, and how many.
    async fn counted(&self) -> Vec<(i64, i64)> {
        self.scan(|tx| {
            let sql = "SELECT owner_id, responses FROM stored_counts";
            tx.query(sql, &[], |row| Ok((row.int(0)?, row.int(1)?)))
        })
        .await
    }

    /// The lengths of all stored responses.
    async fn kept(&self) -> Vec<i64> {
        self.scan(|tx| {
            let sql = "SELECT length(response) FROM stored_responses ORDER BY 1";
            tx.query(sql, &[], |row| row.int(0))
        })
        .await
    }
}

#[tokio::test]
async fn who_has_as_many_as_can_be_gets_no_more_until_some_expire() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let to_bob = letter(bob.id.get());
    app.keep_many(ann.id, MAX_RESPONSES - 1).await;
    let last = post(&ann.client, "/v1/messages", "last", &to_bob).await;
    last.expect(201);
    for _ in 0..3 {
        let more = post(&ann.client, "/v1/messages", "more", &to_bob).await;
        more.problem(429, "too_many_keys");
        let wait = more.header("retry-after").and_then(|wait| wait.parse::<i64>().ok());
        assert!(wait.is_some_and(|wait| (86_000..=86_400).contains(&wait)), "{wait:?}");
    }
    let token = post(&ann.client, "/v1/tokens", "more", &json!({ "name": "a program" })).await;
    token.problem(429, "too_many_keys");
    assert_eq!(bob.inbox().await.len(), 1, "nothing was done");

    // What stores nothing is done, and so is what others do.
    let again = post(&ann.client, "/v1/messages", "last", &to_bob).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(201)["id"], last.expect(201)["id"]);
    let batch = json!({ "ids": [1], "set": { "starred": true } });
    post(&ann.client, "/v1/messages/batch", "more", &batch).await.expect(200);
    ann.request("POST", "/v1/messages").json(&to_bob).send().await.expect(201);
    post(&bob.client, "/v1/messages", "more", &letter(ann.id.get())).await.expect(201);
    let login = json!({ "username": "ann", "password": PASSWORD });
    post(&app.visitor().await, "/v1/sessions", "more", &login).await.expect(201);

    app.advance(Time::DAY + Time::SECOND);
    let cx = app.clock().cx();
    app.write(move |tx| idempotency::purge(tx, &cx, MAX_RESPONSES + 10)).await;
    ann.login().await;
    post(&ann.client, "/v1/messages", "more", &to_bob).await.expect(201);
}

#[tokio::test]
async fn who_is_not_signed_in_is_counted_by_their_name() {
    let app = TestApp::start().await;
    app.user("ann").await;
    let login = json!({ "username": "ann", "password": PASSWORD });
    post(&app.visitor().await, "/v1/sessions", "one", &login).await.expect(201);
    let [(ann, 1)] = app.counted().await[..] else { panic!("one is counted") };
    app.write(move |tx| {
        let full = "UPDATE stored_counts SET responses = 10000";
        Ok(tx.execute(full, &[]).map(drop)?)
    })
    .await;
    let refused = post(&app.visitor().await, "/v1/sessions", "two", &login).await;
    refused.problem(429, "too_many_keys");
    let other_spelling = json!({ "username": "ANN", "password": PASSWORD });
    let refused = post(&app.visitor().await, "/v1/sessions", "3", &other_spelling).await;
    refused.problem(429, "too_many_keys");
    let bob = json!({ "username": "bob", "password": PASSWORD, "email": "bob@example.org" });
    post(&app.visitor().await, "/v1/users", "one", &bob).await.expect(201);
    let numbers = app.counted().await;
    assert!(numbers.len() == 2 && numbers.contains(&(ann, 10_000)), "{numbers:?}");
    app.write(move |tx| {
        let right = "UPDATE stored_counts SET responses = 1";
        Ok(tx.execute(right, &[]).map(drop)?)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_stored_of_what_is_harmless_to_repeat() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hello", "a body").await;
    let server = app.server_key(&["users", "tokens", "unread"]).await;
    let by_filter = json!({ "filter": { "unread": true }, "up_to": id, "set": { "read": true } });
    for (path, body) in [
        (
            "/v1/messages/batch",
            json!({ "ids": (1..=1000).collect::<Vec<_>>(), "set": { "read": true } }),
        ),
        ("/v1/messages/batch", json!({ "ids": [id], "delete": true })),
        ("/v1/messages/batch", by_filter),
    ] {
        post(&bob.client, path, "a-key", &body).await.expect(200);
    }
    let users = json!({ "users": [{ "ref": "ext:1", "username": "carl" }] });
    for (path, body, status) in [
        ("/v1/server/users/batch", users, 200),
        ("/v1/server/users/bob/link", json!({ "external_id": "2" }), 200),
        ("/v1/server/users/bob/revoke", json!({}), 204),
        ("/v1/server/unread", json!({ "users": ["bob"] }), 200),
    ] {
        let request = server.request("POST", path).header("idempotency-key", "a-key");
        let answer = request.json(&body).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    assert_eq!(app.kept().await, [0; 0]);
}

#[tokio::test]
async fn what_is_stored_is_short_however_long_the_request_is() {
    let app = TestApp::with(&[("contacts_per_hour", "999"), ("contacts_per_day", "999")]).await;
    let ann = app.user("ann").await;
    let nobody: Vec<_> = (0..99).map(|number| (1_i64 << 53) - 1 - number).collect();
    let mut to = nobody;
    to.push(ann.id.get());
    let body = "\u{1}".repeat(65_536);
    let metadata = json!({ "note": "x".repeat(4_000) });
    let draft = json!({ "to": to, "subject": "s", "body": body, "metadata": metadata });
    let sent = post(&ann.client, "/v1/messages", "a-key", &draft).await.expect(201);
    assert_eq!(sent["refused"].as_array().map(Vec::len), Some(99));
    let unsend = format!("/v1/messages/{}/unsend", sent["id"]);
    post(&ann.client, &unsend, "a-key", &json!({})).await.expect(200);
    post(&ann.client, "/v1/tokens", "a-key", &json!({ "name": "n".repeat(60) })).await.expect(201);
    let kept = app.kept().await;
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|bytes| *bytes < 5_000), "{kept:?}");
}
