//! Acting for a user: same answers as theirs, no presence, and a trace of it.

use serde_json::{Value, json};
use testing::{Request, Response};

use super::AppServer;
use crate::email::EmailApp;
use crate::harness::TestApp;
use crate::user::{User, number};

impl AppServer {
    /// Begins a request for a user.
    pub(in crate::v1) fn acting(&self, user: &str, method: &str, path: &str) -> Request<'_> {
        self.request(method, path).header("postroom-user", user)
    }

    async fn send(&self, user: &str, key: &str, body: &Value) -> Response {
        let request = self.acting(user, "POST", "/v1/messages").header("idempotency-key", key);
        request.json(body).send().await
    }
}

impl TestApp {
    /// Gives a user an id of the app's.
    pub(in crate::v1) async fn set_external_id(&self, user: &User, external: &str) {
        let (id, external) = (user.id, external.to_owned());
        self.write(move |tx| {
            let sql = "UPDATE users SET external_id = ?2 WHERE id = ?1";
            Ok(tx.execute(sql, &db::params![id, external.as_str()])?)
        })
        .await;
    }
}

#[tokio::test]
async fn the_sender_alone_sees_via_which_key_a_message_was_sent() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let server = app.server_key(&["act"]).await;
    let draft = json!({ "to": ["bob"], "subject": "hi", "body": "by the shop" });
    let sent = server.send("ann", "1", &draft).await.expect(201);
    assert_eq!(sent["via"], "shop");
    let id = number(&sent["id"]);
    assert_eq!(ann.show(id).await["via"], "shop");
    assert_eq!(ann.page("folder=sent").await["data"][0]["via"], "shop");
    for shown in [bob.show(id).await, bob.page("folder=inbox").await["data"][0].clone()] {
        assert!(shown.get("via").is_none(), "{shown}");
    }
    let own = ann.write(&draft).await;
    assert!(own.get("via").is_none(), "{own}");
    assert_eq!(ann.read(id).await["body"], "by the shop", "the classic API has no such field");
}

#[tokio::test]
async fn answers_and_tags_are_those_of_the_user() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hello").await;
    bob.reply(id, "well").await;
    let server = app.server_key(&["act"]).await;
    for path in [
        "/v1/messages?folder=all".to_owned(),
        format!("/v1/messages/{id}"),
        "/v1/conversations".to_owned(),
        format!("/v1/conversations/{id}"),
        "/v1/unread".to_owned(),
        "/v1/changes?since=0".to_owned(),
        "/v1/users/me".to_owned(),
        "/v1/users?prefix=a".to_owned(),
        "/v1/messages/4000000".to_owned(),
    ] {
        let own = bob.call("GET", &path).await;
        let by_key = server.acting("bob", "GET", &path).send().await;
        let tag = own.header("etag");
        assert_eq!((by_key.status, by_key.header("etag")), (own.status, tag), "{path}");
        if own.status == 200 {
            assert_eq!(by_key.json(), own.json(), "{path}");
        }
        if let Some(tag) = tag {
            let known = server.acting("bob", "GET", &path).header("if-none-match", tag);
            assert_eq!(known.send().await.status, 304, "{path}");
        }
    }
}

#[tokio::test]
async fn a_key_of_a_retry_is_that_of_the_user_and_the_server_key() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (one, other) = (app.server_key(&["act"]).await, app.server_key(&["act"]).await);
    let draft = json!({ "to": [bob.id.get()], "body": "once" });
    let first = one.send("ann", "k", &draft).await;
    let id = first.expect(201)["id"].clone();
    for named in ["ann", "name:ANN", &ann.id.get().to_string()] {
        let again = one.send(named, "k", &draft).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{named}");
        assert_eq!(again.expect(201)["id"], id, "{named}");
    }
    let to_ann = json!({ "to": [ann.id.get()], "body": "once" });
    one.send("ann", "k", &to_ann).await.problem(422, "idempotency_key_reused");
    // Another key, the user themselves, and another user each have their own.
    let own = ann.request("POST", "/v1/messages").header("idempotency-key", "k").json(&draft);
    let answers = [
        other.send("ann", "k", &draft).await,
        own.send().await,
        one.send("bob", "k", &draft).await,
    ];
    for answer in answers {
        assert_eq!(answer.header("idempotency-replayed"), None);
        assert_ne!(answer.expect(201)["id"], id);
    }
}

#[tokio::test]
async fn a_ref_names_the_user_wherever_one_is_named() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let seven = app.user("77").await;
    app.set_external_id(&ann, "order/42 ü").await;
    app.set_external_id(&bob, "77").await;
    let server = app.server_key(&["act"]).await;
    // Headers and paths are percent-encoded, bodies are not.
    let (of_ann, of_bob) = ("ext:order%2F42%20%C3%BC", "ext:77");
    let me = async |named: &str| {
        server.acting(named, "GET", "/v1/users/me").send().await.ok()["username"].clone()
    };
    assert_eq!(me(of_ann).await, "ann");
    assert_eq!((me(of_bob).await, me("name:77").await), (json!("bob"), json!("77")));
    let id = bob.id.get();
    assert_eq!(me(&id.to_string()).await, "bob");
    let to = json!(["ext:order/42 ü", "ext:77", "77", "name:Ann", id]);
    let sent = server.send(of_bob, "1", &json!({ "to": to, "body": "to many" })).await.expect(201);
    let names: Vec<_> =
        sent["to"].as_array().expect("it is a list").iter().map(|to| &to["username"]).collect();
    assert_eq!(names, ["ann", "bob", "77"]);
    assert_eq!(sent["refused"], json!([]));
    let unknown = json!({ "to": ["ext:77", "ext:nobody", "78"], "body": "to some" });
    let refused = ann.write(&unknown).await["refused"].clone();
    assert_eq!((&refused[0]["to"], &refused[1]["to"]), (&json!("ext:nobody"), &json!("78")));
    assert_eq!(refused[1]["code"], "unknown_recipient");

    let with = async |query: &str| {
        ann.page(&format!("folder=all&with={query}")).await["data"].as_array().map(Vec::len)
    };
    for (query, found) in [
        ("ext:77", 2),
        (&id.to_string(), 2),
        ("bob", 2),
        ("name:77", 1),
        ("ext:nobody", 0),
        ("nobody", 0),
    ] {
        assert_eq!(with(query).await, Some(found), "{query}");
    }
    let batch = async |with: Value| {
        let filter = json!({ "with": with, "folder": "all" });
        let body = json!({ "filter": filter, "set": { "starred": true } });
        ann.post("/v1/messages/batch", &body).await.ok()["updated"].as_array().map(Vec::len)
    };
    // In JSON, digits are a name.
    assert_eq!(batch(json!("77")).await, Some(1));
    assert_eq!((batch(json!(id)).await, batch(json!("ext:77")).await), (Some(2), Some(2)));

    for path in ["/v1/users/ext:77", "/v1/users/ext%3A77", "/v1/users/name:BOB", "/v1/users/bob"] {
        assert_eq!(ann.call("GET", path).await.ok()["username"], "bob", "{path}");
    }
    let path = format!("/v1/users/{of_ann}");
    assert_eq!(bob.call("GET", &path).await.ok()["username"], "ann");
    for path in ["/v1/users/ext:nobody", "/v1/users/ext:", "/v1/users/78", "/v1/users/name:"] {
        ann.call("GET", path).await.problem(404, "not_found");
    }
    ann.call("PUT", "/v1/blocks/ext:77").await.expect(204);
    bob.try_write(&json!({ "to": ["ann"], "body": "" }))
        .await
        .problem(403, "recipient_unavailable");
    ann.call("DELETE", "/v1/blocks/name:bob").await.expect(204);
    bob.try_write(&json!({ "to": ["ann"], "body": "" })).await.expect(201);
    for path in ["/v1/blocks/ext:nobody", "/v1/blocks/nobody"] {
        ann.call("PUT", path).await.problem(404, "not_found");
        ann.call("DELETE", path).await.problem(404, "not_found");
    }
    drop(seven);
}

#[tokio::test]
async fn a_user_who_is_deactivated_or_erased_is_acted_for_no_more() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    app.set_external_id(&ann, "1").await;
    app.set_external_id(&bob, "2").await;
    let server = app.server_key(&["act"]).await;
    let ask = async |named: &str| server.acting(named, "GET", "/v1/unread").send().await;
    for named in ["ext:1", "ext:2"] {
        ask(named).await.ok();
    }
    app.disable(&ann).await;
    ask("ext:1").await.problem(403, "user_deactivated");
    let (cx, id) = (app.clock().cx(), bob.id);
    app.write(move |tx| domain::users::erase(tx, &cx, id)).await;
    ask("ext:2").await.problem(404, "user_unknown");
    ask(&bob.id.get().to_string()).await.problem(404, "user_unknown");
}

#[tokio::test]
async fn the_profile_may_be_changed_by_key_but_not_the_email_address() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let server = app.server_key(&["act"]).await;
    let change =
        async |body: Value| server.acting("ann", "PATCH", "/v1/users/me").json(&body).send().await;
    let changed = change(json!({ "display_name": "Ann of the shop" })).await.ok();
    assert_eq!(changed["display_name"], "Ann of the shop");
    let both = json!({ "display_name": "Other", "email": "other@example.org" });
    change(both).await.problem(403, "not_by_key");
    let own = ann.call("GET", "/v1/users/me").await.ok();
    assert_eq!(own["display_name"], "Ann of the shop");
    assert_eq!(own["email"], "ann@example.org");
}

#[tokio::test]
async fn what_a_key_does_ends_no_reminder_unless_the_user_is_present() {
    for (present, reminded) in [(None, true), (Some("false"), true), (Some("true"), false)] {
        let email_app = EmailApp::start().await;
        let app = &email_app.app;
        let (ann, bob) = app.pair("ann", "bob").await;
        let server = app.server_key(&["act"]).await;
        email_app.wait(5);
        ann.send(&bob, "hello", "").await;
        for path in ["/v1/messages", "/v1/unread"] {
            let mut request = server.acting("bob", "GET", path);
            if let Some(present) = present {
                request = request.header("postroom-present", present);
            }
            request.send().await.ok();
        }
        app.settle().await;
        let waiting = "SELECT count(*) FROM reminders";
        let waiting = app.scan(move |tx| tx.query_one(waiting, &[], |row| row.int(0))).await;
        assert_eq!(waiting == 1, reminded, "{present:?}");
        let seen = "SELECT max(last_seen_at) FROM sessions WHERE user_id = ?1";
        let id = bob.id;
        let seen = app.scan(move |tx| tx.query_one(seen, &db::params![id], |row| row.int(0)));
        assert!(seen.await < app.clock().now().0 - 4 * domain::Time::MINUTE);
    }
}
