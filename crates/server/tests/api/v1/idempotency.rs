//! A request that is sent again with its key does nothing again, and is answered as at first.

use std::collections::BTreeSet;

use domain::Time;
use serde_json::{Value, json};
use testing::{Client, Response};

use super::{newcomer, text};
use crate::harness::{PASSWORD, TestApp, WRONG};

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Response {
    client.request("POST", path).header("idempotency-key", key).json(body).send().await
}

fn replayed(answer: &Response) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn the_first_answer_is_given_again_for_a_day() {
    let app = TestApp::start().await;
    let client = app.client();
    let body = newcomer("ann");

    let first = post(&client, "/v1/users", "key-1", &body).await;
    first.expect(201);
    assert!(!replayed(&first));
    app.advance(Time::DAY - Time::MINUTE);
    for key in ["key-1", "\"key-1\""] {
        let again = post(&client, "/v1/users", key, &body).await;
        assert!(replayed(&again));
        assert_eq!(
            (again.expect(201), again.header("location")),
            (first.expect(201), first.header("location"))
        );
    }
    post(&client, "/v1/users", "key-2", &body).await.problem(409, "username_taken");
    app.advance(Time::MINUTE + Time::SECOND);
    post(&client, "/v1/users", "key-1", &body).await.problem(409, "username_taken");
}

#[tokio::test]
async fn a_key_belongs_to_one_body_one_route_and_one_caller() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let body = json!({ "name": "a program" });
    let key = "the-same-key";

    let first = post(&ann.client, "/v1/tokens", key, &body).await.expect(201);
    let other = post(&ann.client, "/v1/tokens", key, &json!({ "name": "another" })).await;
    other.problem(422, "idempotency_key_reused");
    let of_bob = post(&bob.client, "/v1/tokens", key, &body).await;
    assert!(!replayed(&of_bob) && of_bob.expect(201)["user_id"] == bob.id.get());
    let route = post(&ann.client, "/v1/users", key, &newcomer("carl")).await;
    assert!(!replayed(&route) && route.status == 201);
    let again = post(&ann.client, "/v1/tokens", key, &body).await;
    assert!(replayed(&again));
    assert_eq!(again.expect(201), first, "with its secret");
    assert_eq!(
        ann.call("GET", "/v1/tokens").await.expect(200)["data"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn what_was_refused_is_not_kept() {
    let app = TestApp::start().await;
    let client = app.client();
    let mut wrong = newcomer("ann");
    wrong["email"] = "nowhere".into();

    post(&client, "/v1/users", "key", &wrong).await.problem(422, "invalid");
    post(&client, "/v1/users", "key", &newcomer("ann")).await.expect(201);
    post(&client, "/v1/users", "other", &newcomer("ann")).await.problem(409, "username_taken");
    app.advance(Time::DAY);
    let login = json!({ "username": "ann", "password": WRONG });
    post(&client, "/v1/sessions", "key", &login).await.problem(401, "authentication_failed");
    let login = json!({ "username": "ann", "password": PASSWORD });
    post(&client, "/v1/sessions", "key", &login).await.expect(201);
}

#[tokio::test]
async fn a_key_has_1_to_255_visible_characters() {
    let app = TestApp::start().await;
    let client = app.client();
    let long = "k".repeat(256);
    for key in ["", "\"\"", "two words", &long] {
        let refused = post(&client, "/v1/users", key, &newcomer("ann")).await;
        let detail = text(&refused.problem(400, "bad_request")["detail"]);
        assert!(detail.starts_with("Idempotency-Key: "), "{detail}");
    }
    post(&client, "/v1/users", &long[1..], &newcomer("ann")).await.expect(201);
}

#[tokio::test]
async fn fifty_at_once_make_one_account() {
    let app = TestApp::start().await;
    let body = newcomer("ann");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, body) = (app.client(), body.clone());
        tasks.spawn(async move { post(&client, "/v1/users", "the-key", &body).await });
    }

    let mut ids = BTreeSet::new();
    let mut first = 0;
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.expect("it is answered");
        if answer.status == 409 {
            answer.problem(409, "request_in_progress");
            assert_eq!(answer.header("retry-after"), Some("1"));
        } else {
            ids.insert(answer.expect(201)["id"].as_i64());
            first += i32::from(!replayed(&answer));
        }
    }

    assert_eq!((ids.len(), first), (1, 1));
    let again = post(&app.client(), "/v1/users", "the-key", &body).await;
    assert!(replayed(&again) && ids.contains(&again.expect(201)["id"].as_i64()));
}

#[tokio::test]
async fn a_login_that_is_sent_again_gives_the_same_session() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let (client, other) = (app.client(), app.client());
    let body = json!({ "username": "ann", "password": PASSWORD });

    let first = post(&client, "/v1/sessions", "key", &body).await;
    let again = post(&other, "/v1/sessions", "key", &body).await;

    assert!(replayed(&again));
    assert_eq!(again.expect(201), first.expect(201));
    assert_eq!(
        (other.session(), other.cookie("csrftoken")),
        (client.session(), client.cookie("csrftoken"))
    );
    let sessions = other.request("GET", "/v1/sessions").send().await.expect(200);
    assert_eq!(sessions["data"].as_array().map(Vec::len), Some(1));
    let change = other.request("PATCH", "/v1/users/me").json(&json!({ "display_name": "A" }));
    change.send().await.expect(200);
}

#[tokio::test]
async fn a_login_is_not_answered_again_after_a_change_of_password() {
    let app = TestApp::start().await;
    let ann = app.account("ann").await;
    let (client, other) = (app.client(), app.client());
    let login = json!({ "username": "ann", "password": PASSWORD });
    let token = json!({ "name": "a", "username": "ann", "password": PASSWORD });
    post(&client, "/v1/sessions", "key", &login).await.expect(201);
    let first = post(&client, "/v1/tokens", "key", &token).await.expect(201);
    let by_session = post(&client, "/v1/tokens", "own", &json!({ "name": "b" })).await;
    by_session.expect(201);

    let change = json!({ "current_password": PASSWORD, "new_password": "three-wild-geese" });
    post(&client, "/v1/users/me/password", "key", &change).await.expect(204);
    assert!(replayed(&post(&client, "/v1/users/me/password", "key", &change).await));

    // The session that made the change goes on, and is not given to who knows the old password.
    client.request("GET", "/v1/users/me").send().await.expect(200);
    for (path, body) in [("/v1/sessions", &login), ("/v1/tokens", &token)] {
        let refused = post(&other, path, "key", body).await;
        refused.problem(401, "authentication_failed");
        assert!(refused.cookies().is_empty());
    }
    let later = post(&client, "/v1/tokens", "own", &json!({ "name": "b" })).await;
    assert!(!replayed(&later) && later.expect(201)["token"] != by_session.json()["token"]);

    app.write(move |tx| domain::users::end_credentials(tx, ann, None)).await;
    let mut token = token;
    token["password"] = "three-wild-geese".into();
    post(&other, "/v1/tokens", "key", &token).await.problem(422, "idempotency_key_reused");
    let second = post(&other, "/v1/tokens", "other", &token).await.expect(201);
    assert_ne!(second["token"], first["token"]);
}

#[tokio::test]
async fn what_has_ended_is_not_given_again() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let client = app.client();
    let login = json!({ "username": "ann", "password": PASSWORD });
    let first = post(&client, "/v1/sessions", "key", &login).await;
    let session = client.session();
    client.request("DELETE", "/v1/sessions/current").send().await.expect(204);
    let second = post(&client, "/v1/sessions", "key", &login).await;
    assert!(!replayed(&second) && second.expect(201) != first.expect(201));
    assert_ne!(client.session(), session);
    assert!(replayed(&post(&client, "/v1/sessions", "key", &login).await));

    let token = async || post(&ann.client, "/v1/tokens", "key", &json!({ "name": "a" })).await;
    let first = token().await.expect(201);
    ann.call("DELETE", &format!("/v1/tokens/{}", first["id"])).await.expect(204);
    let second = token().await;
    assert!(!replayed(&second) && second.expect(201)["token"] != first["token"]);
    assert_eq!(token().await.expect(201), second.expect(201));
}

#[tokio::test]
async fn a_login_that_is_repeated_lets_in_who_has_the_name_now() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let mut before = app.user("karl").await.id.get();
    let bodies = [
        ("/v1/sessions", "/user/id", json!({ "username": "karl", "password": PASSWORD })),
        (
            "/v1/tokens",
            "/user_id",
            json!({ "name": "a", "username": "karl", "password": PASSWORD }),
        ),
    ];
    for (path, id, login) in bodies {
        let first = post(&app.client(), path, "key", &login).await.expect(201);
        assert_eq!(first.pointer(id), Some(&json!(before)));
        let renamed = json!({ "username": format!("karl{before}") });
        let path_of = format!("/v1/server/users/{before}");
        server.request("PUT", &path_of).json(&renamed).send().await.ok();
        // With the same password.
        let after = app.user("karl").await.id.get();
        let again = post(&app.client(), path, "key", &login).await;
        assert!(!replayed(&again));
        assert_eq!(again.expect(201).pointer(id), Some(&json!(after)));
        before = after;
    }
}

#[tokio::test]
async fn an_erased_account_does_not_come_back_with_a_retry() {
    let app = TestApp::start().await;
    let client = app.client();
    let mut body = newcomer("ann");
    body["display_name"] = "Ann A.".into();
    let first = post(&client, "/v1/users", "key", &body).await;
    let login = json!({ "username": "ann", "password": PASSWORD });
    post(&client, "/v1/sessions", "key", &login).await.expect(201);
    let change = json!({ "display_name": "Another", "email": "another@example.org" });
    client.request("PATCH", "/v1/users/me").json(&change).send().await.ok();
    let again = post(&app.client(), "/v1/users", "key", &body).await;
    assert!(replayed(&again));
    assert_eq!(again.expect(201), first.expect(201), "no more than who repeats it has said");

    client.request("DELETE", "/v1/users/me").send().await.expect(204);

    let other = app.client();
    post(&other, "/v1/users", "key", &body).await.problem(409, "username_taken");
    post(&other, "/v1/sessions", "key", &login).await.problem(401, "authentication_failed");
    app.advance(180 * Time::DAY);
    let later = post(&other, "/v1/users", "key", &body).await;
    assert!(!replayed(&later) && later.expect(201)["id"] != first.expect(201)["id"]);
}

#[tokio::test]
async fn who_is_not_logged_in_has_keys_by_username() {
    let app = TestApp::start().await;
    let client = app.client();
    let token = |name: &str| json!({ "name": "a", "username": name, "password": PASSWORD });
    let login = |name: &str| json!({ "username": name, "password": PASSWORD });
    for name in ["ann", "bob"] {
        for (path, body) in [
            ("/v1/users", newcomer(name)),
            ("/v1/sessions", login(name)),
            ("/v1/tokens", token(name)),
        ] {
            let first = post(&client, path, "1", &body).await;
            assert!(!replayed(&first), "{path} of {name}");
            first.expect(201);
            let again = post(&client, path, "1", &body).await;
            assert!(replayed(&again));
            assert_eq!(again.expect(201), first.expect(201));
        }
    }
    // One name, however it is written.
    let reused = post(&client, "/v1/sessions", "1", &login("ANN")).await;
    reused.problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_key_is_no_way_to_guess_a_password() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.client();
    let body = |password: &str| json!({ "username": "ann", "password": password });
    post(&client, "/v1/sessions", "key", &body(PASSWORD)).await.expect(201);

    for _ in 0..10 {
        let answer = post(&client, "/v1/sessions", "key", &body(WRONG)).await;
        answer.problem(422, "idempotency_key_reused");
    }
    let answer = post(&client, "/v1/sessions", "key", &body(PASSWORD)).await;
    answer.problem(429, "rate_limited");
}

#[tokio::test]
async fn a_replay_is_no_failed_login() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.client();
    let body = json!({ "username": "ann", "password": PASSWORD });
    for _ in 0..30 {
        post(&client, "/v1/sessions", "key", &body).await.expect(201);
    }
}

#[tokio::test]
async fn the_database_holds_no_secret_of_a_kept_answer() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.client();
    let login = json!({ "username": "ann", "password": PASSWORD });
    let csrf = text(&post(&client, "/v1/sessions", "key", &login).await.expect(201)["csrf_token"]);
    let token = post(&client, "/v1/tokens", "key", &json!({ "name": "a" })).await.expect(201);
    let token = text(&token["token"]);
    let again = post(&client, "/v1/tokens", "key", &json!({ "name": "a" })).await.expect(201);
    assert_eq!(text(&again["token"]), token);

    let dump = app.dump().await.join("\n");

    assert!(dump.contains("response 0 "), "they are kept: {dump}");
    let session = client.session();
    for secret in [&session, &token] {
        let secret = secret.split_once('.').expect("it has two parts").1;
        for part in [secret.to_owned(), hex(secret)] {
            assert!(!dump.contains(&part), "{part}");
        }
    }
    for secret in [csrf.as_str(), PASSWORD] {
        assert!(!dump.contains(secret) && !dump.contains(&hex(secret)), "{secret}");
    }
}

/// A text as `quote` shows it in a blob.
fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"))
}
