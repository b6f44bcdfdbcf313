//! System messages: to each recipient one of their own, and each once.

use db::params;
use domain::text::{Email, Username};
use domain::{Time, UserId, users};
use serde_json::{Value, json};
use testing::Response;

use crate::harness::TestApp;
use crate::user::number;
use crate::v1::rfc3339;
use crate::v1::server::AppServer;

const PATH: &str = "/v1/server/messages";

fn news(from: UserId, to: impl Into<Value>) -> Value {
    json!({ "from": from.get(), "to": to.into(), "subject": "news", "body": "all about it" })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

async fn keyed(server: &AppServer, key: &str, body: &Value) -> Response {
    server.request("POST", PATH).header("idempotency-key", key).json(body).send().await
}

impl TestApp {
    /// Makes many accounts.
    async fn crowd(&self, number: usize) -> Vec<i64> {
        let cx = self.clock().cx();
        self.write(move |tx| {
            let email = Email::parse("somebody@example.org")?;
            let make = |number| {
                let name = Username::parse(&format!("user{number}"))?;
                Ok(users::create(tx, &cx, &name, None, &email, "")?.get())
            };
            (0..number).map(make).collect()
        })
        .await
    }

    async fn count(&self, sql: &'static str) -> i64 {
        self.scan(move |tx| tx.query_one(sql, &params![], |row| row.int(0))).await
    }
}

#[tokio::test]
async fn each_recipient_gets_a_message_alone_in_both_apis() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.system("shop", "Our Shop", false).await;
    app.known_as(bob.id, "42").await;
    app.known_as(shop, "shop").await;
    let mut stream = ann.request("GET", "/v1/events").events().await;
    assert_eq!(stream.next().await.name, "unread");

    let body = json!({ "from": "ext:shop", "to": ["ext:42", ann.id.get()], "subject": "Your order",
                       "body": "was sent", "metadata": { "order": 7 } });
    let sent = server.post(PATH, &body).await.expect(201);
    assert_eq!(sent["refused"], json!([]));
    let messages = sent["messages"].as_array().expect("it is a list");
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["user"]["username"], "bob");
    for (user, message) in [(&bob, &messages[0]), (&ann, &messages[1])] {
        let id = number(&message["id"]);
        let shown = user.show(id).await;
        assert_eq!(shown["from"]["display_name"], "Our Shop");
        assert_eq!(shown["to"], json!([message["user"]]), "nobody sees another");
        assert_eq!((&shown["conversation_id"], &shown["in_reply_to"]), (&json!(id), &Value::Null));
        assert_eq!(shown["metadata"], json!({ "order": 7 }));
        assert_eq!(shown["read_at"], Value::Null);
        assert_eq!(user.unread().await, [id]);
        assert_eq!(user.read(id).await["sender_id"], shop.get());
        assert_eq!(user.counts().await, (0, 0), "read by the classic API");
    }
    let came = stream.next().await;
    assert_eq!(came.about(), ("message.created", number(&messages[1]["id"])));
    let audit = app.scan(|tx| {
        tx.query("SELECT key_name, call, user_id FROM audit", &params![], |row| {
            Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned(), row.int(2)?))
        })
    });
    let call = ("shop".to_owned(), format!("POST {PATH}"), shop.get());
    assert_eq!(audit.await, [call], "one call, by whom, as whom");
}

#[tokio::test]
async fn rules_and_limits_of_people_do_not_hold() {
    let app = TestApp::with(&[("sends_per_hour", "1"), ("contacts_per_hour", "1")]).await;
    let server = app.server_key(&["system"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.system("shop", "Our Shop", false).await;
    let closed = json!({ "accept_from": "nobody" });
    ann.request("PATCH", "/v1/users/me").json(&closed).send().await.ok();
    for _ in 0..3 {
        app.tell(&server, shop, &[&ann, &bob]).await;
    }
    assert_eq!(ann.counts().await, (3, 3));
}

#[tokio::test]
async fn whom_it_does_not_reach_is_named() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.system("shop", "Our Shop", false).await;
    app.system("post", "Post", false).await;
    app.disable(&bob).await;
    let to = json!(["nobody", "ann", bob.id.get(), "ext:1", ann.id.get(), "post"]);
    let sent = server.post(PATH, &news(shop, to)).await.expect(201);
    assert_eq!(sent["messages"].as_array().map(Vec::len), Some(1));
    let refused = [
        json!({ "to": "nobody", "code": "unknown_recipient" }),
        json!({ "to": bob.id.get(), "code": "recipient_unavailable" }),
        json!({ "to": "ext:1", "code": "unknown_recipient" }),
        json!({ "to": "post", "code": "no_replies" }),
    ];
    assert_eq!(sent["refused"], json!(refused));
    let nobody = server.post(PATH, &news(shop, json!(["nobody"]))).await.expect(201);
    assert_eq!(nobody["messages"], json!([]));
    assert_eq!(ann.counts().await, (1, 1));
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_and_changes_nothing() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let ann = app.user("ann").await;
    let shop = app.system("shop", "Our Shop", false).await;
    let good = news(shop, json!(["ann"]));
    app.settle().await;
    let before = app.dump().await;
    let now = rfc3339(app.clock().now());
    for (body, errors) in [
        (json!({}), &["#/from missing", "#/to missing", "#/subject missing", "#/body missing"][..]),
        (with(good.clone(), "from", json!("ann")), &["#/from invalid"]),
        (with(good.clone(), "from", json!("nobody")), &["#/from invalid"]),
        (with(good.clone(), "from", Value::Null), &["#/from wrong_type"]),
        (with(good.clone(), "to", json!([])), &["#/to invalid"]),
        (with(good.clone(), "to", json!(vec![1; 1001])), &["#/to invalid"]),
        (with(good.clone(), "to", json!(["ann", {}])), &["#/to/1 wrong_type"]),
        (with(good.clone(), "subject", json!("x".repeat(256))), &["#/subject invalid"]),
        (with(good.clone(), "metadata", json!([])), &["#/metadata wrong_type"]),
        (with(good.clone(), "expires_at", json!(now)), &["#/expires_at invalid"]),
        (with(good.clone(), "expires_at", json!("soon")), &["#/expires_at invalid"]),
        (with(good.clone(), "silent", json!("yes")), &["#/silent wrong_type"]),
        (with(good.clone(), "reminder", json!(1)), &["#/reminder wrong_type"]),
        (with(good.clone(), "in_reply_to", json!(1)), &["#/in_reply_to unknown_field"]),
    ] {
        assert_eq!(server.post(PATH, &body).await.invalid(), errors, "{body}");
        assert_eq!(keyed(&server, "1", &body).await.invalid(), errors, "{body}");
    }
    app.settle().await;
    assert_eq!(app.dump().await, before);
    // A failed validation is not kept.
    keyed(&server, "1", &good).await.expect(201);
    assert_eq!(ann.counts().await, (1, 1));
}

#[tokio::test]
async fn silent_ones_are_read_and_others_expire_unread() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.system("shop", "Our Shop", false).await;
    let silent = with(news(shop, json!(["ann"])), "silent", json!(true));
    let silent = server.post(PATH, &silent).await.expect(201);
    let shown = ann.show(number(&silent["messages"][0]["id"])).await;
    assert_eq!(shown["read_at"], shown["sent_at"]);
    assert_eq!(ann.counts().await, (0, 0));

    let end = rfc3339(app.clock().now().plus(Time::HOUR));
    let body = with(news(shop, json!(["ann", "bob"])), "expires_at", json!(end));
    let body = with(body, "reminder", json!(false));
    let sent = server.post(PATH, &body).await.expect(201);
    let ids = [0, 1].map(|at| number(&sent["messages"][at]["id"]));
    bob.mark(ids[1], json!({ "read": true })).await;
    assert_eq!(ann.counts().await, (1, 1));
    let state = ann.state().await;
    app.advance(Time::HOUR + 5 * Time::DAY);
    let runs = async || {
        let metrics = app.scraper().request("GET", "/metrics").send().await;
        let metrics = String::from_utf8(metrics.body.to_vec()).expect("it is text");
        let line = "postroom_task_runs_total{task=\"expirations\",result=\"ok\"} ";
        let runs = metrics.lines().find_map(|found| found.strip_prefix(line)?.parse::<u64>().ok());
        runs.unwrap_or_default()
    };
    let before = runs().await;
    while runs().await < before + 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(ann.counts().await, (1, 1), "such a jump of the clock is not believed");
    app.advance(-5 * Time::DAY);
    let gone = async {
        while ann.counts().await != (0, 0) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    // Not a measure of time: it goes, or it never does.
    tokio::time::timeout(std::time::Duration::from_mins(1), gone).await.expect("it is withdrawn");
    ann.try_show(ids[0]).await.problem(404, "not_found");
    let changes = ann.call("GET", &format!("/v1/changes?since={state}")).await.ok();
    assert_eq!(changes["destroyed"], json!([ids[0]]));
    assert_eq!(bob.show(ids[1]).await["id"], ids[1], "who read it keeps it");
}

#[tokio::test]
async fn a_retry_gets_the_same_messages_again() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let other = app.server_key(&["system"]).await;
    let shop = app.system("shop", "Our Shop", false).await;
    let mut crowd = app.crowd(450).await;
    crowd.push(crowd[3]);
    let mut to: Vec<Value> = crowd.iter().map(|id| json!(id)).collect();
    to.push("nobody".into());
    let body = news(shop, json!(to));
    let first = keyed(&server, "a-key", &body).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    let sent = first.expect(201);
    let named = sent["messages"].as_array().expect("it is a list").iter();
    let named: Vec<_> = named.map(|message| number(&message["user"]["id"])).collect();
    assert_eq!(named, crowd[..450], "in the order in which they were named, and each once");
    assert_eq!(sent["refused"], json!([{ "to": "nobody", "code": "unknown_recipient" }]));

    // Also later.
    app.advance(Time::HOUR);
    let again = keyed(&server, "a-key", &body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(201), sent);
    let changed = with(body.clone(), "subject", json!("other news"));
    keyed(&server, "a-key", &changed).await.problem(422, "idempotency_key_reused");
    assert_eq!(app.count("SELECT count(*) FROM messages").await, 450);
    assert_eq!(app.count("SELECT count(*) FROM audit").await, 1);
    keyed(&other, "a-key", &body).await.expect(201);
    assert_eq!(app.count("SELECT count(*) FROM messages").await, 900, "keys have their own");
}

#[tokio::test]
async fn what_is_cut_off_in_the_middle_goes_on_where_it_was() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let shop = app.system("shop", "Our Shop", false).await;
    let crowd = app.crowd(500).await;
    let end = rfc3339(app.clock().now().plus(Time::HOUR));
    let body = with(news(shop, json!(crowd)), "expires_at", json!(end));
    // The second step cannot note when its messages expire.
    let block = "INSERT INTO expirations (message_id, expires_at) VALUES (250, 9000000000000000)";
    app.write(move |tx| Ok(tx.execute(block, &params![])?)).await;
    app.expect_failures(1);
    keyed(&server, "a-key", &body).await.problem(500, "internal");
    assert_eq!(app.count("SELECT count(*) FROM messages").await, 200, "whole steps");
    let unblock = "DELETE FROM expirations WHERE message_id = 250";
    app.write(move |tx| Ok(tx.execute(unblock, &params![])?)).await;

    let retried = keyed(&server, "a-key", &body).await;
    assert_eq!(retried.header("idempotency-replayed"), None, "not all of it was done before");
    let sent = retried.expect(201);
    assert_eq!(sent["messages"].as_array().map(Vec::len), Some(500));
    let each = "SELECT count(*) FROM (SELECT recipient_id FROM messages GROUP BY recipient_id
                HAVING count(*) = 1) AS one";
    assert_eq!(app.count(each).await, 500, "and nobody has it twice");
    assert_eq!(keyed(&server, "a-key", &body).await.expect(201), sent);
}
