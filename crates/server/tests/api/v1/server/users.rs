//! The users of the app: created, changed, read, listed, erased and linked by its own server.

use domain::{Time, UserId};
use serde_json::{Value, json};
use testing::Response;

use super::AppServer;
use crate::harness::{PASSWORD, TestApp};
use crate::user::{User, number};
use crate::v1::text;

impl AppServer {
    /// Says something of a user.
    pub(super) async fn put(&self, user: &str, said: &Value) -> Response {
        let path = format!("/v1/server/users/{user}");
        self.request("PUT", &path).json(said).send().await
    }

    /// Reads a user.
    pub(super) async fn get(&self, user: &str) -> Response {
        self.call("GET", &format!("/v1/server/users/{user}")).await
    }
}

/// The users of the audit log, by call, in order.
pub(super) async fn audited(app: &TestApp) -> Vec<(String, i64)> {
    let log = "SELECT call, user_id FROM audit ORDER BY id";
    app.scan(move |tx| tx.query(log, &[], |row| Ok((row.text(0)?.to_owned(), row.int(1)?)))).await
}

#[tokio::test]
async fn a_put_creates_a_user_and_then_merges() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let made = server.put("ext:42", &json!({})).await;
    let user = made.expect(201);
    let id = number(&user["id"]);
    assert_eq!(made.header("location"), Some(&*format!("/v1/server/users/{id}")));
    let name = format!("user-{id}");
    let created_at = &user["created_at"];
    let expected = json!({
        "id": id, "username": name, "display_name": name, "external_id": "42", "kind": "person",
        "email": null, "active": true, "deactivated_at": null, "has_password": false,
        "accept_from": "everyone", "reminders": true, "findable": true, "version": null,
        "created_at": created_at, "updated_at": created_at,
        "unread": { "messages": 0, "conversations": 0 }, "changed": [], "stale": false,
    });
    assert_eq!(user, expected);
    assert_eq!(server.put("ext:42", &json!({})).await.expect(200), expected);

    app.advance(Time::SECOND);
    let said = json!({
        "username": "Dana", "display_name": "Dana Deer", "email": "dana@example.org",
        "accept_from": "known", "reminders": false, "findable": false, "version": 3,
    });
    let full = server.put("ext:42", &said).await.expect(200);
    for (field, value) in said.as_object().expect("it is an object") {
        assert_eq!(&full[field], value, "{field}");
    }
    assert_ne!(full["updated_at"], full["created_at"]);
    let merged = server.put(&id.to_string(), &json!({ "display_name": "D" })).await.expect(200);
    assert_eq!((&merged["username"], &merged["version"]), (&json!("Dana"), &json!(3)));
    let by_name = server.put("name:DANA", &json!({ "email": null })).await.expect(200);
    assert_eq!((&by_name["email"], &by_name["display_name"]), (&Value::Null, &json!("D")));
    let cleared = json!({
        "username": null, "display_name": null, "email": null, "accept_from": null,
        "reminders": null, "findable": null, "version": null,
    });
    let cleared = server.put("ext:42", &cleared).await.expect(200);
    let mut plain = expected;
    plain["updated_at"] = cleared["updated_at"].clone();
    assert_eq!(cleared, plain);
    let put = "PUT /v1/server/users/{ref}".to_owned();
    assert_eq!(audited(&app).await, vec![(put, id); 5], "only what changed something");
}

#[tokio::test]
async fn a_display_name_is_cut_rather_than_refused() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let long = "ü".repeat(150);
    server.put("ext:1", &json!({})).await.expect(201);
    for (sent, kept, cut) in [
        ("Dana", "Dana", false),
        ("  Dana\t", "Dana", true),
        ("Da\u{202e}na\n", "Dana", true),
        (&*long, &long[..200], true),
        (" \u{7} ", "user-1", true),
        ("", "user-1", false),
    ] {
        let user = server.put("ext:1", &json!({ "display_name": sent })).await.ok();
        assert_eq!(user["display_name"], kept, "{sent:?}");
        let changed = if cut { json!(["display_name"]) } else { json!([]) };
        assert_eq!(user["changed"], changed, "{sent:?}");
    }
}

#[tokio::test]
async fn an_older_version_changes_nothing_and_says_so() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let say = async |version: i64, name: &str| {
        let said = json!({ "version": version, "display_name": name, "active": false });
        server.put("ext:1", &said).await.ok()
    };
    server.put("ext:1", &json!({})).await.expect(201);
    say(7, "seven").await;
    let stale = say(6, "six").await;
    assert_eq!((&stale["stale"], &stale["display_name"]), (&json!(true), &json!("seven")));
    let newer = say(8, "eight").await;
    assert_eq!((&newer["stale"], &newer["display_name"]), (&json!(false), &json!("eight")));
    assert_eq!(audited(&app).await.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    app.account("bob").await;
    server.put("ext:1", &json!({ "username": "ann" })).await.expect(201);
    let before = app.dump().await;
    for user in ["ext:1", "ext:2"] {
        server.put(user, &json!({ "username": "BOB" })).await.problem(409, "username_taken");
        for (said, wrong) in [
            (json!({ "username": "a b" }), "#/username invalid"),
            (json!({ "username": "me" }), "#/username invalid"),
            (json!({ "username": "user-77" }), "#/username invalid"),
            (json!({ "email": "nowhere" }), "#/email invalid"),
            (json!({ "email": "" }), "#/email invalid"),
            (json!({ "active": null }), "#/active wrong_type"),
            (json!({ "active": 1 }), "#/active wrong_type"),
            (json!({ "accept_from": "friends" }), "#/accept_from invalid"),
            (json!({ "version": -1 }), "#/version invalid"),
            (json!({ "version": 1.5 }), "#/version invalid"),
            (json!({ "version": "1" }), "#/version wrong_type"),
            (json!({ "display_name": 7 }), "#/display_name wrong_type"),
            (json!({ "held": true }), "#/held unknown_field"),
            (json!({ "password": "x" }), "#/password unknown_field"),
            (json!({ "external_id": "3" }), "#/external_id unknown_field"),
        ] {
            assert_eq!(server.put(user, &said).await.invalid(), [wrong], "{said}");
        }
    }
    for nobody in ["4000000", "nobody", "name:nobody"] {
        server.put(nobody, &json!({})).await.problem(404, "not_found");
        server.get(nobody).await.problem(404, "not_found");
    }
    server.get("ext:2").await.problem(404, "not_found");
    let long = format!("ext:{}", "x".repeat(256));
    for impossible in ["ext:", "0", "a%00", &long] {
        server.put(impossible, &json!({})).await.problem(404, "not_found");
    }
    let narrow = app.server_key(&["tokens", "act", "unread", "system", "export"]).await;
    narrow.put("ext:1", &json!({ "active": false })).await.problem(403, "missing_scope");
    narrow.get("ext:1").await.problem(403, "missing_scope");
    let keys = |row: &String| !row.starts_with("server key ");
    let [before, after] =
        [before, app.dump().await].map(|rows| rows.into_iter().filter(keys).collect::<Vec<_>>());
    assert_eq!(after, before);
}

#[tokio::test]
async fn external_ids_are_compared_byte_for_byte_and_percent_encoded() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let mut made = Vec::new();
    for id in ["a", "A", "%C3%A4", "a%CC%88", "a%20b%2F%3F", "1", "01", "ext:1", "%F0%9F%A6%8C"] {
        let user = server.put(&format!("ext:{id}"), &json!({})).await.expect(201);
        made.push(number(&user["id"]));
        assert_eq!(server.get(&format!("ext:{id}")).await.ok()["id"], user["id"]);
    }
    assert_eq!(made.len(), 9);
    assert_eq!(server.get("ext:a%20b%2F%3F").await.ok()["external_id"], "a b/?");
}

#[tokio::test]
async fn of_many_puts_of_a_new_id_at_once_one_creates() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    for round in 0..5 {
        let (user, said) = (format!("ext:{round}"), json!({ "display_name": "Dana" }));
        let puts = (0..8).map(|_| server.put(&user, &said));
        let answers = futures_util::future::join_all(puts).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [[200; 7].as_slice(), &[201]].concat());
        let ids = answers.iter().map(|answer| number(&answer.expect(answer.status)["id"]));
        assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 1);
    }
}

#[tokio::test]
async fn deactivating_ends_sessions_tokens_and_streams_and_keeps_the_texts() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = ann.token(None).await;
    let message = bob.send(&ann, "kept", "kept").await;
    let mut stream = ann.request("GET", "/v1/events").events().await;
    let off = server.put("ann", &json!({ "active": false })).await.ok();
    assert_eq!((&off["active"], off["deactivated_at"].is_string()), (&json!(false), true));
    while stream.try_next().await.expect("it ends").is_some() {}
    let me = "/v1/users/me";
    app.client().request("GET", me).bearer(&token).send().await.problem(401, "unauthenticated");
    ann.call("GET", me).await.problem(401, "unauthenticated");
    ann.client.try_login("ann", PASSWORD).await.error(401);
    bob.try_send(&ann, "", "").await.error(403);

    let still = server.put("ann", &json!({ "display_name": "Ann" })).await.ok();
    assert_eq!(still["active"], false, "only `active` reactivates");
    server.put("ann", &json!({ "active": true })).await.ok();
    ann.login().await;
    assert_eq!(ann.inbox().await, [message]);
    ann.call("GET", me).await.ok();
}

#[tokio::test]
async fn who_has_no_password_is_a_full_user_and_cannot_log_in() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let id = number(&server.put("ext:1", &json!({})).await.expect(201)["id"]);
    let name = format!("user-{id}");
    let visitor = app.visitor().await;
    for password in ["", PASSWORD] {
        visitor.try_login(&name, password).await.error(401);
        let login = json!({ "username": name, "password": password });
        let refused = visitor.request("POST", "/v1/sessions").json(&login).send().await;
        refused.problem(401, "authentication_failed");
    }
    let bob = app.user("bob").await;
    let sent = bob.write(&json!({ "to": ["ext:1"], "body": "hello" })).await;
    assert_eq!(sent["to"][0]["username"], name.as_str());
    let user = server.get("ext:1").await.ok();
    assert_eq!(user["unread"], json!({ "messages": 1, "conversations": 1 }));
    assert_eq!((&user["sessions"], &user["tokens"]), (&json!(0), &json!(0)));
    assert_eq!(user["last_seen_at"], Value::Null);
    let all = app.command(&["user", "list"]).expect("it lists them");
    assert!(all.contains(&format!("{id}\t{name}\t-\t")), "{all}");
    let changed = app.command_with("a-password-for-them", &["user", "passwd", &name]);
    assert!(changed.is_ok(), "{changed:?}");
    let own = User::new(UserId::new(id).expect("it is an id"), &name, app.client());
    own.client.csrf_token().await;
    own.client.try_login(&name, "a-password-for-them").await.ok();
    assert_eq!(own.call("GET", "/v1/users/me").await.ok()["email"], Value::Null);
    assert_eq!(server.get("ext:1").await.ok()["sessions"], 1);
}

#[tokio::test]
async fn the_list_pages_by_change_and_shows_what_a_comparison_needs() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    for number in 0..7 {
        server.put(&format!("ext:{number}"), &json!({ "version": number })).await.expect(201);
    }
    app.advance(Time::SECOND);
    server.put("ext:2", &json!({ "active": false })).await.ok();
    server.put("ext:5", &json!({ "version": 50 })).await.ok();
    let all = async |query: &str| {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/server/users?{query}{cursor}");
            let page = server.call("GET", &path).await.ok();
            let users = page["data"].as_array().expect("it is a list").clone();
            all.extend(users.iter().map(|user| text(&user["external_id"])));
            let Some(next) = page["next_cursor"].as_str() else { return all.join("") };
            cursor = format!("&cursor={next}");
        }
    };
    for limit in [1, 2, 3, 1000, 5000] {
        assert_eq!(all(&format!("limit={limit}")).await, "0134625", "{limit}");
        assert_eq!(all(&format!("active=true&limit={limit}")).await, "013465", "{limit}");
    }
    assert_eq!(all("active=false").await, "2");
    let since = text(&server.get("ext:2").await.ok()["updated_at"]);
    assert_eq!(all(&format!("updated_since={since}")).await, "25");
    let page = server.call("GET", "/v1/server/users?updated_since=2100-01-01T00:00:00Z").await;
    assert_eq!(page.ok(), json!({ "data": [], "next_cursor": null }));
    let mut one = server.get("ext:0").await.ok();
    for count in ["sessions", "tokens", "last_seen_at"] {
        one.as_object_mut().expect("it is an object").remove(count);
    }
    let first = server.call("GET", "/v1/server/users?limit=1").await.ok();
    assert_eq!(first["data"][0], one);
    for (query, wrong) in [
        ("limit=0", "limit invalid"),
        ("cursor=AAAA", "cursor invalid"),
        ("active=yes", "active invalid"),
        ("updated_since=now", "updated_since invalid"),
        ("q=x", "q unknown_field"),
    ] {
        let refused = server.call("GET", &format!("/v1/server/users?{query}")).await;
        assert_eq!(refused.invalid(), [wrong]);
    }
}

#[tokio::test]
async fn who_is_erased_stays_away_until_the_app_says_otherwise() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let bob = app.user("bob").await;
    let id = number(&server.put("ext:1", &json!({ "username": "ann" })).await.expect(201)["id"]);
    let erase = async |user: &str| server.call("DELETE", &format!("/v1/server/users/{user}")).await;
    assert!(erase("ext:1").await.expect(202).is_null());
    for user in ["ext:1", &id.to_string()] {
        server.put(user, &json!({ "display_name": "back" })).await.problem(410, "user_erased");
        server.get(user).await.problem(410, "user_erased");
        erase(user).await.expect(202);
    }
    erase("ann").await.problem(404, "not_found");
    erase("ext:2").await.problem(404, "not_found");
    let stub = bob.call("GET", &format!("/v1/users/{id}")).await.ok();
    let expected = json!({
        "id": id, "username": "deleted user", "display_name": "deleted user",
        "external_id": null, "kind": "person",
    });
    assert_eq!(stub, expected);
    let recreated = json!({ "recreate": true, "username": "ann" });
    server.put("ext:1", &recreated).await.problem(409, "username_taken");
    server.put("ext:1", &json!({})).await.problem(410, "user_erased");
    let new = server.put("ext:1", &json!({ "recreate": true })).await.expect(201);
    assert_ne!(new["id"], id);
    server.put("ext:1", &json!({ "recreate": true })).await.expect(200);
    let calls: Vec<_> = audited(&app).await.into_iter().map(|(call, user)| (user, call)).collect();
    let deleted = "DELETE /v1/server/users/{ref}".to_owned();
    assert_eq!(calls.iter().filter(|call| **call == (id, deleted.clone())).count(), 1);
    let query = server.call("DELETE", "/v1/server/users/ext:1?messages=all").await;
    assert_eq!(query.invalid(), ["messages invalid"]);
}

#[tokio::test]
async fn messages_of_an_erased_user_are_kept_or_withdrawn() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cid = app.user("cid").await;
    let kept = ann.send(&bob, "stays", "stays").await;
    let (read, unread) = (cid.send(&bob, "read", "").await, cid.send(&bob, "unread", "").await);
    bob.read(read).await;
    let state = text(&bob.call("GET", "/v1/unread").await.ok()["state"]);
    server.call("DELETE", "/v1/server/users/ann").await.expect(202);
    server.call("DELETE", "/v1/server/users/cid?messages=withdraw").await.expect(202);
    crate::v1::verbs::emptied(&app).await;
    assert_eq!(bob.inbox().await, [kept]);
    let counts = bob.call("GET", "/v1/unread").await.ok();
    assert_eq!((&counts["messages"], &counts["conversations"]), (&json!(1), &json!(1)));
    let changes = bob.call("GET", &format!("/v1/changes?since={state}")).await.ok();
    assert_eq!(changes["destroyed"], json!([read, unread]));
}

#[tokio::test]
async fn an_account_is_linked_once_and_its_logins_end() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = ann.token(None).await;
    server.put("ext:taken", &json!({})).await.expect(201);
    server.put("ext:gone", &json!({})).await.expect(201);
    server.call("DELETE", "/v1/server/users/ext:gone").await.expect(202);
    let link = async |user: &str, body: Value| {
        let path = format!("/v1/server/users/{user}/link");
        server.request("POST", &path).json(&body).send().await
    };
    link("ann", json!({ "external_id": "taken" })).await.problem(409, "external_id_taken");
    link("ann", json!({ "external_id": "gone" })).await.problem(410, "user_erased");
    link("nobody", json!({ "external_id": "1" })).await.problem(404, "not_found");
    assert_eq!(link("ann", json!({})).await.invalid(), ["#/external_id missing"]);
    let control = json!({ "external_id": "a\nb" });
    assert_eq!(link("ann", control).await.invalid(), ["#/external_id invalid"]);
    ann.call("GET", "/v1/users/me").await.ok();

    let linked = link("ann", json!({ "external_id": "1" })).await.ok();
    assert_eq!((&linked["external_id"], &linked["has_password"]), (&json!("1"), &json!(false)));
    ann.call("GET", "/v1/users/me").await.problem(401, "unauthenticated");
    let by_token = app.client();
    by_token
        .request("GET", "/v1/users/me")
        .bearer(&token)
        .send()
        .await
        .problem(401, "unauthenticated");
    ann.client.try_login("ann", PASSWORD).await.error(401);
    link("ext:1", json!({ "external_id": "1" })).await.ok();
    link("ann", json!({ "external_id": "2" })).await.problem(409, "already_linked");

    link("bob", json!({ "external_id": "2", "end_logins": false })).await.ok();
    bob.call("GET", "/v1/users/me").await.ok();
    assert_eq!(server.put("ext:2", &json!({})).await.expect(200)["username"], "bob");
    let link = "POST /v1/server/users/{ref}/link";
    let links = audited(&app).await.into_iter().filter(|(call, _)| call == link).count();
    assert_eq!(links, 2);
}
