//! Browser tokens: made by the app's own server, used by pages, and ended.

use domain::{Time, users};
use serde_json::{Value, json};
use testing::Response;

use super::AppServer;
use crate::contract::document;
use crate::harness::{PASSWORD, TestApp};
use crate::user::User;
use crate::v1::text;

impl AppServer {
    async fn token(&self, body: Value) -> Response {
        self.request("POST", "/v1/server/tokens").json(&body).send().await
    }

    /// A token of that user.
    async fn mint(&self, user: &User, session: Option<&str>) -> String {
        let mut body = json!({ "user": user.id.get() });
        if let Some(session) = session {
            body["session"] = session.into();
        }
        text(&self.token(body).await.expect(201)["token"])
    }

    async fn revoke(&self, user: &User, body: Value) {
        let path = format!("/v1/server/users/{}/revoke", user.id.get());
        self.request("POST", &path).json(&body).send().await.expect(204);
    }
}

async fn call(app: &TestApp, token: &str) -> Response {
    app.client().request("GET", "/v1/unread").bearer(token).send().await
}

#[tokio::test]
async fn a_page_reads_and_writes_with_a_token_that_its_own_server_asked_for() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.server_key(&["tokens"]).await;
    let stored = async || {
        let rows = app.dump().await.into_iter();
        // But that the key was used, and for whom.
        let of_the_key = |row: &String| row.starts_with("server key") || row.starts_with("audit");
        rows.filter(|row| !of_the_key(row)).collect::<Vec<_>>()
    };
    let before = stored().await;

    let made = shop.token(json!({ "user": "ann" })).await.expect(201);

    assert_eq!(stored().await, before, "nothing is stored of a token");
    assert_eq!(made["user"]["id"], ann.id.get());
    let token = text(&made["token"]);
    assert!(token.starts_with(&format!("pru_{}.", ann.id.get())), "{token}");
    let client = app.client();
    let body = json!({ "to": ["bob"], "subject": "a", "body": "b" });
    let sent = client.request("POST", "/v1/messages").bearer(&token).json(&body).send().await;
    assert_eq!(sent.expect(201)["from"]["id"], ann.id.get());
    assert_eq!(bob.unread().await.len(), 1);
    let classic = client.request("GET", "/messages/messages_per_receiver").bearer(&token);
    classic.send().await.ok();
    for (method, path) in
        [("DELETE", "/v1/users/me"), ("GET", "/v1/tokens"), ("POST", "/v1/tokens")]
    {
        let body = json!({ "name": "a" });
        let request = client.request(method, path).bearer(&token).json(&body);
        request.send().await.problem(403, "insufficient_scope");
    }
    let path = format!("/v1/unread?access_token={token}");
    client.request("GET", &path).send().await.problem(401, "unauthenticated");
    // For as many as it wants: none takes the place of another.
    for _many in 0..150 {
        shop.mint(&ann, None).await;
    }
    call(&app, &token).await.expect(200);
}

#[tokio::test]
async fn a_token_lives_as_long_as_was_asked_for() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let shop = app.server_key(&["tokens"]).await;
    let id = ann.id.get();
    for (asked, seconds) in [(None, 900), (Some(60), 60), (Some(86_400), 86_400)] {
        let mut body = json!({ "user": id });
        if let Some(asked) = asked {
            body["expires_in"] = json!(asked);
        }
        let made = shop.token(body).await.expect(201);
        let token = text(&made["token"]);
        app.advance((seconds - 1) * Time::SECOND);
        call(&app, &token).await.expect(200);
        app.advance(Time::SECOND);
        let refused = call(&app, &token).await;
        refused.problem(401, "token_expired");
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        assert_eq!(challenge, "Bearer error=\"invalid_token\"");
    }
    for wrong in [json!(59), json!(86_401), json!(0), json!(-900), json!(900.5)] {
        let refused = shop.token(json!({ "user": id, "expires_in": wrong })).await;
        assert_eq!(refused.invalid(), ["#/expires_in invalid"]);
    }
    let refused = shop.token(json!({ "user": id, "expires_in": "900" })).await;
    assert_eq!(refused.invalid(), ["#/expires_in wrong_type"]);
}

#[tokio::test]
async fn a_token_allows_what_was_asked_for_and_never_the_account() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let shop = app.server_key(&["tokens"]).await;
    let id = ann.id.get();
    let reader = shop.token(json!({ "user": id, "scopes": ["messages:read"] })).await.expect(201);
    let reader = text(&reader["token"]);
    call(&app, &reader).await.expect(200);
    let body = json!({ "to": [id], "body": "b" });
    let client = app.client();
    let refused = client.request("POST", "/v1/messages").bearer(&reader).json(&body).send().await;
    refused.problem(403, "insufficient_scope");
    for wrong in [json!(["account"]), json!(["messages:read", "account"]), json!([])] {
        let refused = shop.token(json!({ "user": id, "scopes": wrong })).await;
        assert_eq!(refused.invalid(), ["#/scopes invalid"]);
    }
    for session in ["", &"x".repeat(256)] {
        let refused = shop.token(json!({ "user": id, "session": session })).await;
        assert_eq!(refused.invalid(), ["#/session invalid"]);
    }
    assert_eq!(shop.token(json!({})).await.invalid(), ["#/user missing"]);
    shop.token(json!({ "user": "nobody" })).await.problem(404, "user_unknown");
    let other = app.server_key(&["users", "act"]).await;
    other.token(json!({ "user": id })).await.problem(403, "missing_scope");
    let path = format!("/v1/server/users/{id}/revoke");
    other.call("POST", &path).await.problem(403, "missing_scope");
    shop.call("POST", "/v1/server/users/nobody/revoke").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_revocation_ends_what_was_issued_and_nothing_that_follows() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.server_key(&["tokens"]).await;
    let (one, two) = (shop.mint(&ann, None).await, shop.mint(&ann, Some("web")).await);
    let other = shop.mint(&bob, Some("web")).await;
    let mut stream = app.client().request("GET", "/v1/events").bearer(&one).events().await;
    stream.next().await;

    shop.revoke(&ann, json!({})).await;

    stream.read_to_end().await;
    for token in [&one, &two] {
        call(&app, token).await.problem(401, "token_revoked");
    }
    call(&app, &other).await.expect(200);
    call(&app, &shop.mint(&ann, Some("web")).await).await.expect(200);
    assert!(ann.inbox().await.is_empty(), "the user's own login is not the app's to end");
}

#[tokio::test]
async fn what_limits_a_token_or_a_revocation_cannot_be_null() {
    let app = TestApp::start().await;
    let (ann, _bob) = app.pair("ann", "bob").await;
    let shop = app.server_key(&["tokens"]).await;
    let token = shop.mint(&ann, Some("web")).await;
    let all = shop.token(json!({ "user": "ann", "scopes": null })).await;
    all.problem(422, "invalid");
    let path = format!("/v1/server/users/{}/revoke", ann.id.get());
    let body = json!({ "session": null });
    shop.request("POST", &path).json(&body).send().await.problem(422, "invalid");
    call(&app, &token).await.ok();
}

#[tokio::test]
async fn a_session_of_the_app_that_was_ended_stays_ended_for_a_day() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let shop = app.server_key(&["tokens"]).await;
    let (web, phone) = (shop.mint(&ann, Some("web")).await, shop.mint(&ann, Some("phone")).await);
    let mut stream = app.client().request("GET", "/v1/events").bearer(&web).events().await;
    stream.next().await;
    call(&app, &web).await.expect(200);

    shop.revoke(&ann, json!({ "session": "web" })).await;
    shop.revoke(&ann, json!({ "session": "web" })).await;

    stream.read_to_end().await;
    call(&app, &web).await.problem(401, "token_revoked");
    call(&app, &phone).await.expect(200);
    call(&app, &shop.mint(&ann, Some("web")).await).await.problem(401, "token_revoked");
    call(&app, &shop.mint(&ann, None).await).await.expect(200);
    app.advance(Time::DAY + Time::MINUTE);
    let cx = app.clock().cx();
    let purged = app.write(move |tx| domain::browser_tokens::purge(tx, &cx, 10)).await;
    let kept = app.write(move |tx| domain::browser_tokens::purge(tx, &cx, 10)).await;
    assert!(purged <= 1 && kept == 0, "{purged}, {kept}");
    call(&app, &shop.mint(&ann, Some("web")).await).await.expect(200);
}

#[tokio::test]
async fn tokens_end_with_what_they_rest_on() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.server_key(&["tokens"]).await;

    let token = shop.mint(&ann, None).await;
    call(&app, &token).await.expect(200);
    let mut stream = app.client().request("GET", "/v1/events").bearer(&token).events().await;
    stream.next().await;
    app.disable(&ann).await;
    stream.read_to_end().await;
    call(&app, &token).await.problem(401, "user_deactivated");
    shop.token(json!({ "user": ann.id.get() })).await.problem(403, "user_deactivated");
    let id = ann.id;
    let cx = app.clock().cx();
    app.write(move |tx| users::enable(tx, &cx, id)).await;
    call(&app, &token).await.problem(401, "token_revoked");

    let token = shop.mint(&ann, None).await;
    let password = json!({ "password": PASSWORD });
    app.set_password(&ann, "another fine one 8").await;
    call(&app, &token).await.problem(401, "token_revoked");

    let token = shop.mint(&bob, None).await;
    call(&app, &token).await.expect(200);
    bob.request("DELETE", "/v1/users/me").json(&password).send().await.expect(204);
    call(&app, &token).await.problem(401, "user_erased");
    shop.token(json!({ "user": bob.id.get() })).await.problem(404, "user_unknown");
}

#[tokio::test]
async fn a_token_of_another_history_or_key_is_refused() {
    let (app, other) = (TestApp::start().await, TestApp::start().await);
    let ann = app.user("ann").await;
    other.user("ann").await;
    let shop = app.server_key(&["tokens"]).await;
    let token = shop.mint(&ann, None).await;
    call(&other, &token).await.problem(401, "token_invalid");
    for wrong in ["pru_", "pru_7", "pru_7.", &token[..token.len() - 1], &format!("{token}A")] {
        call(&app, wrong).await.problem(401, "token_invalid");
    }
    call(&app, &token).await.expect(200);
    let cx = app.clock().cx();
    app.write(move |tx| Ok(domain::history::begin(tx, &cx, 0)?)).await;
    // As every node learns of it at the latest.
    app.advance(6 * Time::SECOND);
    call(&app, &token).await.problem(401, "token_revoked");
}

#[tokio::test]
async fn a_page_with_a_token_is_its_user_being_there() {
    let app = TestApp::with(&[
        ("smtp_url", "smtp://127.0.0.1:9"),
        ("mail_from", "a@example.org"),
        ("public_url", "https://mail.example.org"),
    ])
    .await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.server_key(&["tokens"]).await;
    let waiting = async || {
        app.settle().await;
        app.scan(|tx| tx.query_one("SELECT count(*) FROM reminders", &[], |row| row.int(0))).await
    };
    let token = shop.mint(&bob, None).await;
    ann.send(&bob, "a", "b").await;
    assert_eq!(waiting().await, 1);
    call(&app, &token).await.expect(200);
    assert_eq!(waiting().await, 0);
    ann.send(&bob, "a", "b").await;
    call(&app, &token).await.expect(200);
    assert_eq!(waiting().await, 1, "it is recorded once a minute");
    app.advance(61 * Time::SECOND);
    call(&app, &token).await.expect(200);
    assert_eq!(waiting().await, 0);
}

#[tokio::test]
async fn the_first_token_makes_its_user_in_the_same_transaction() {
    let app = TestApp::start().await;
    let shop = app.server_key(&["tokens", "users"]).await;
    let named = |name: &str| json!({ "user": "ext:42", "create": { "display_name": name } });

    let made = shop.token(named("Ann Lee")).await.expect(201);

    assert_eq!(made["user"]["external_id"], "42");
    assert_eq!(made["user"]["display_name"], "Ann Lee");
    call(&app, &text(&made["token"])).await.expect(200);
    let again = shop.token(named("Somebody")).await.expect(201);
    assert_eq!(again["user"], made["user"], "who is there is left alone");
    let calls = app.scan(|tx| {
        tx.query("SELECT call FROM audit ORDER BY id", &[], |row| Ok(row.text(0)?.to_owned()))
    });
    assert_eq!(calls.await.first().map(String::as_str), Some("POST /v1/server/tokens"));

    let users = async || {
        app.scan(|tx| tx.query_one("SELECT count(*) FROM users", &[], |row| row.int(0))).await
    };
    let wrong = json!({ "user": "ext:43", "create": { "username": "", "colour": "red" } });
    let reported = ["#/create/username invalid", "#/create/colour unknown_field"];
    assert_eq!(shop.token(wrong).await.invalid(), reported);
    let wrong = json!({ "user": "ext:43", "create": {}, "expires_in": 1 });
    assert_eq!(shop.token(wrong).await.invalid(), ["#/expires_in invalid"]);
    let nobody = json!({ "user": "nobody", "create": {} });
    shop.token(nobody).await.problem(404, "not_found");
    // Nobody comes back, is closed or is no person by a token.
    for (field, value) in [
        ("kind", json!("system")),
        ("kind", json!("person")),
        ("replies", json!(true)),
        ("recreate", json!(true)),
        ("active", json!(false)),
    ] {
        let wrong = json!({ "user": "ext:43", "create": { field: value } });
        let reported = [format!("#/create/{field} unknown_field")];
        assert_eq!(shop.token(wrong).await.invalid(), reported);
    }
    let minter = app.server_key(&["tokens"]).await;
    minter.token(named("Ann")).await.problem(403, "missing_scope");
    assert_eq!(users().await, 1, "a token that is refused makes nobody");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_token_until_that_ends() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let shop = app.server_key(&["tokens"]).await;
    let body = json!({ "user": ann.id.get(), "session": "web" });
    let keyed = async |key: &str| {
        let request = shop.request("POST", "/v1/server/tokens").header("idempotency-key", key);
        request.json(&body).send().await
    };
    let first = keyed("a").await.expect(201);
    let again = keyed("a").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(201), first);
    let stored = app.stored_bytes();
    let secret = text(&first["token"]);
    let secret = secret.rsplit('.').next().expect("it has one").as_bytes();
    assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret));
    shop.revoke(&ann, json!({})).await;
    let fresh = keyed("a").await.expect(201);
    assert_ne!(fresh["token"], first["token"]);
    call(&app, &text(&fresh["token"])).await.expect(200);
}

#[tokio::test]
async fn every_call_of_a_user_takes_browser_tokens_that_hold_and_no_others() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.server_key(&["tokens"]).await;
    let revoked = shop.mint(&bob, None).await;
    shop.revoke(&bob, json!({})).await;
    let short = shop.token(json!({ "user": ann.id.get(), "expires_in": 60 })).await.expect(201);
    app.advance(61 * Time::SECOND);
    let good = shop.mint(&ann, None).await;
    let bad = [
        (text(&short["token"]), "token_expired"),
        (revoked, "token_revoked"),
        (format!("{good}A"), "token_invalid"),
        ("eyJhbGciOiJub25lIn0.e30.".to_owned(), "token_invalid"),
    ];
    let mut called = 0;
    for (path, operations) in document()["paths"].as_object().expect("they are named") {
        let path = path.split('/').map(|part| if part.starts_with('{') { "777" } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        for (method, said) in operations.as_object().expect("they are named") {
            let Some(scope) = said["security"].pointer("/0/bearerAuth/0") else { continue };
            let client = app.client();
            let call = async |token: &str| {
                let request = client.request(&method.to_ascii_uppercase(), &path).bearer(token);
                match said.get("requestBody") {
                    Some(_) => request.json(&json!({ "name": "a" })).send().await,
                    None => request.send().await,
                }
            };
            for (token, code) in &bad {
                call(token).await.problem(401, code);
            }
            let answer = call(&good).await;
            assert_ne!(answer.status, 401, "{method} {path}");
            if scope == "account" {
                answer.problem(403, "insufficient_scope");
            }
            called += 1;
        }
    }
    assert!(called > 25, "{called}");
}

#[tokio::test]
async fn a_token_that_is_made_while_others_are_revoked_is_one_or_the_other() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let shop = app.server_key(&["tokens"]).await;
    let mint = async || {
        for _many in 0..200 {
            shop.mint(&ann, None).await;
        }
    };
    let revoke = async || {
        for _many in 0..200 {
            shop.revoke(&ann, json!({})).await;
        }
    };
    tokio::join!(mint(), mint(), revoke());
    // What the token says stays so until the commit.
    let id = ann.id;
    let making = app.write(move |tx| {
        let made = domain::browser_tokens::locked_generation(tx, id)?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok((made, domain::browser_tokens::generation(tx, id)?))
    });
    let revoking = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        shop.revoke(&ann, json!({})).await;
    };
    let ((made, shown), ()) = tokio::join!(making, revoking);
    assert_eq!(made, shown);
    call(&app, &shop.mint(&ann, None).await).await.expect(200);
}
