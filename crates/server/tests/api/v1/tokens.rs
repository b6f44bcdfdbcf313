//! Tokens of programs: made, listed, revoked.

use db::params;
use domain::Time;
use serde_json::{Value, json};
use testing::Response;

use super::{rfc3339, text};
use crate::harness::{PASSWORD, TestApp};

async fn with_password(app: &TestApp, body: &Value) -> Response {
    app.client().request("POST", "/v1/tokens").json(body).send().await
}

#[tokio::test]
async fn a_program_makes_itself_a_token_with_the_password() {
    let app = TestApp::start().await;
    let id = app.account("ann").await;
    let body = json!({ "name": "a robot", "username": "ANN", "password": PASSWORD });

    let made = with_password(&app, &body).await;

    let token = made.expect(201);
    assert_eq!((&token["user_id"], &token["name"]), (&json!(id.get()), &json!("a robot")));
    assert_eq!(token["scopes"], json!(["messages:read", "messages:write", "account"]));
    assert_eq!((&token["expires_at"], &token["last_used_at"]), (&Value::Null, &Value::Null));
    assert!(text(&token["token"]).starts_with(&format!("prt_{}.", id.get())));
    assert!(made.cookies().is_empty());
    let own = app.client();
    let own = own.request("GET", "/v1/users/me").bearer(&text(&token["token"])).send().await;
    assert_eq!(own.expect(200)["username"], "ann");

    let half = json!({ "name": "a robot", "username": "ann" });
    assert_eq!(with_password(&app, &half).await.invalid(), ["#/password missing"]);
    let half = json!({ "name": "a robot", "password": PASSWORD });
    assert_eq!(with_password(&app, &half).await.invalid(), ["#/username missing"]);
    with_password(&app, &json!({ "name": "a robot" })).await.problem(401, "unauthenticated");
    let foreign = app.client();
    let foreign = foreign.request("POST", "/v1/tokens").header("origin", "https://evil.example");
    foreign.json(&body).send().await.problem(403, "forbidden_origin");
}

#[tokio::test]
async fn a_token_that_has_ended_makes_no_other_while_it_is_still_remembered() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let made = ann.post("/v1/tokens", &json!({ "name": "stolen" })).await.expect(201);
    let stolen = app.client();
    let call = |method: &str, path: &str| {
        stolen.request(method, path).bearer(&text(&made["token"])).json(&json!({ "name": "more" }))
    };
    call("POST", "/v1/tokens").send().await.expect(201);
    // As a command does, which tells the server nothing.
    let end = "DELETE FROM tokens WHERE user_id = ?1";
    let id = ann.id.get();
    app.write(move |tx| Ok(tx.execute(end, &params![id])?)).await;

    call("GET", "/v1/unread").send().await.expect(200);
    call("POST", "/v1/tokens").send().await.problem(401, "unauthenticated");
    let listed = ann.request("GET", "/v1/tokens").send().await.expect(200);
    assert_eq!(listed["data"], json!([]));
}

#[tokio::test]
async fn a_caller_who_is_logged_in_makes_tokens_for_what_is_asked_for() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let end = rfc3339(app.clock().now().plus(Time::DAY));
    let body = json!({ "name": "reader", "scopes": ["messages:read"], "expires_at": end });

    let made = ann.request("POST", "/v1/tokens").json(&body).send().await.expect(201);

    assert_eq!((&made["scopes"], &made["expires_at"]), (&json!(["messages:read"]), &json!(end)));
    let wrong = json!({
        "name": "",
        "scopes": ["messages:read", "everything", 7],
        "expires_at": "tomorrow",
        "user": 1,
    });
    let reported = [
        "#/name invalid",
        "#/expires_at invalid",
        "#/scopes/1 invalid",
        "#/scopes/2 wrong_type",
        "#/user unknown_field",
    ];
    assert_eq!(ann.request("POST", "/v1/tokens").json(&wrong).send().await.invalid(), reported);
    for scopes in [json!([]), json!("account"), json!(["account", "a", "b", "c"])] {
        let body = json!({ "name": "a", "scopes": scopes });
        assert_eq!(ann.request("POST", "/v1/tokens").json(&body).send().await.invalid().len(), 1);
    }
    for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999+14:00"] {
        let body = json!({ "name": "a", "expires_at": never });
        let made = ann.request("POST", "/v1/tokens").json(&body).send().await.expect(201);
        assert!(text(&made["expires_at"]).starts_with("9999-12-30T22:00:00"), "{made}");
    }
    let wrong = json!({ "name": "a", "expires_at": "9999-12-31T24:59:59Z" });
    let wrong = ann.request("POST", "/v1/tokens").json(&wrong).send().await;
    assert_eq!(wrong.invalid(), ["#/expires_at invalid"]);
    let past = json!({ "name": "a", "expires_at": "2020-01-01T00:00:00Z" });
    let past = ann.request("POST", "/v1/tokens").json(&past).send().await;
    assert_eq!(past.invalid(), ["#/expires_at invalid"]);
}

#[tokio::test]
async fn a_token_makes_none_that_allows_more() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = ann.token(Some(&["account", "messages:read"])).await;
    let make = async |body: &Value| {
        app.client().request("POST", "/v1/tokens").bearer(&token).json(body).send().await
    };

    let same = make(&json!({ "name": "the same" })).await.expect(201);
    assert_eq!(same["scopes"], json!(["messages:read", "account"]));
    make(&json!({ "name": "less", "scopes": ["messages:read"] })).await.expect(201);
    let more = make(&json!({ "name": "more", "scopes": ["messages:write"] })).await;
    more.problem(403, "insufficient_scope");
}

#[tokio::test]
async fn a_token_that_expires_makes_none_that_is_valid_for_longer() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let make = async |token: &str, body: &Value| {
        app.client().request("POST", "/v1/tokens").bearer(token).json(body).send().await
    };
    let first = json!({ "name": "first", "expires_at": "2999-01-01T00:00:00Z" });
    let first = make(&ann.token(None).await, &first).await.expect(201);
    let (first, end) = (text(&first["token"]), first["expires_at"].clone());

    let same = make(&first, &json!({ "name": "the same" })).await.expect(201);
    assert_eq!(same["expires_at"], end);
    let sooner = json!({ "name": "sooner", "expires_at": "2998-01-01T00:00:00Z" });
    let sooner = make(&first, &sooner).await.expect(201);
    assert!(text(&sooner["expires_at"]).starts_with("2998-01-01"));
    let later = json!({ "name": "later", "expires_at": "2999-01-01T00:00:01Z" });
    assert_eq!(make(&first, &later).await.invalid(), ["#/expires_at invalid"]);
}

#[tokio::test]
async fn the_list_has_no_secrets_and_says_when_each_was_used() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let first = ann.token(None).await;
    app.advance(Time::SECOND);
    let second = ann.token(Some(&["account"])).await;
    let list = async || {
        let listed = ann.call("GET", "/v1/tokens").await;
        let listed = listed.expect(200);
        assert_eq!(listed["next_cursor"], Value::Null);
        listed["data"].as_array().expect("it is a list").clone()
    };

    let listed = list().await;
    assert_eq!((&listed[0]["scopes"], listed.len()), (&json!(["account"]), 2));
    let shown = Value::from(listed.clone()).to_string();
    for token in [&first, &second] {
        let secret = token.split_once('.').expect("it has two parts").1;
        assert!(!shown.contains(secret));
    }
    assert_eq!(listed[1]["last_used_at"], Value::Null);
    app.client().request("GET", "/v1/users/me").bearer(&first).send().await.expect(200);
    app.settle().await;
    let used = text(&list().await[1]["last_used_at"]);
    app.advance(Time::MINUTE - Time::SECOND);
    app.client().request("GET", "/v1/users/me").bearer(&first).send().await.expect(200);
    app.settle().await;
    assert_eq!(text(&list().await[1]["last_used_at"]), used, "to the minute");
    app.advance(Time::MINUTE);
    app.client().request("GET", "/v1/users/me").bearer(&first).send().await.expect(200);
    app.settle().await;
    assert!(text(&list().await[1]["last_used_at"]) > used);
}

#[tokio::test]
async fn a_token_is_revoked_by_its_owner_and_by_nobody_else() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = ann.token(None).await;
    let id = ann.call("GET", "/v1/tokens").await.expect(200)["data"][0]["id"].clone();
    let path = format!("/v1/tokens/{id}");
    let own =
        async || app.client().request("GET", "/v1/users/me").bearer(&token).send().await.status;

    bob.call("DELETE", &path).await.problem(404, "not_found");
    assert_eq!(own().await, 200);
    ann.call("DELETE", &path).await.expect(204);
    assert_eq!(own().await, 401);
    ann.call("DELETE", &path).await.problem(404, "not_found");
}

#[tokio::test]
async fn there_are_a_hundred_tokens_at_most() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for _ in 0..100 {
        ann.token(None).await;
    }
    let more = ann.request("POST", "/v1/tokens").json(&json!({ "name": "more" })).send().await;
    more.problem(422, "too_many_tokens");
}
