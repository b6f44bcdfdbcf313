//! Who is let in by a cookie, who by a token, and for what.

use mail::Time;
use serde_json::json;

use super::rfc3339;
use crate::harness::{TestApp, WRONG};

/// How long an end that another process made may go unnoticed.
const SOON: i64 = 5 * Time::SECOND;

#[tokio::test]
async fn a_cookie_needs_the_csrf_token_only_where_something_changes() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let change = json!({ "display_name": "Ann" });

    ann.ask("GET", "/v1/users/me").no_token().go().await.is(200);
    let forged = ann.ask("PATCH", "/v1/users/me").no_token().json(&change).go().await;
    forged.problem(403, "csrf");
    let foreign = ann.ask("PATCH", "/v1/users/me").header("origin", "https://evil.example");
    foreign.json(&change).go().await.problem(403, "forbidden_origin");
    let cross = ann.ask("PATCH", "/v1/users/me").header("sec-fetch-site", "cross-site");
    cross.json(&change).go().await.problem(403, "forbidden_origin");
    ann.ask("PATCH", "/v1/users/me").json(&change).go().await.is(200);
}

#[tokio::test]
async fn a_token_needs_no_csrf_token_and_comes_before_a_cookie() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = ann.token(None).await;
    let change = json!({ "display_name": "Ann" });

    let changed = bob.ask("PATCH", "/v1/users/me").bearer(&token).json(&change).go().await;
    assert_eq!(changed.is(200)["username"], "ann");
    let header = format!("bEARER {token}");
    let both = bob.ask("GET", "/v1/users/me").header("authorization", &header).go().await;
    assert_eq!(both.is(200)["username"], "ann");
    let wrong = bob.ask("GET", "/v1/users/me").header("authorization", "Bearer prt_1.x");
    wrong.go().await.problem(401, "unauthenticated");
    let basic = bob.ask("GET", "/v1/users/me").header("authorization", "Basic YTpi").go().await;
    assert_eq!(basic.is(200)["username"], "bob", "other schemes are of a proxy");
}

#[tokio::test]
async fn a_session_is_no_token_and_a_token_no_session() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = ann.token(None).await;

    let session = ann.browser.session();
    for wrong in [session.clone(), format!("prt_{session}"), token[4..].to_owned()] {
        let answer = app.browser().ask("GET", "/v1/users/me").bearer(&wrong).go().await;
        answer.problem(401, "unauthenticated");
    }
    for wrong in [token.clone(), token[4..].to_owned()] {
        let cookie = format!("sessionid={wrong}");
        let answer = app.browser().ask("GET", "/v1/users/me").cookies(&cookie).go().await;
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn the_classic_api_takes_tokens_for_what_they_allow() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let read = bob.token(Some(&["messages:read"])).await;
    let write = ann.token(Some(&["messages:write"])).await;
    let both = bob.token(Some(&["messages:read", "messages:write"])).await;
    let nobody = app.browser();
    let list = "/messages/unread_per_receiver";

    let draft = json!({ "receiver_id": bob.id.get(), "subject": "a", "body": "b" });
    let send =
        |token: &str| nobody.ask("POST", "/messages/write_message").bearer(token).json(&draft).go();
    let id = send(&write).await.ok()["message_id"].as_i64().expect("it is an id");
    assert_eq!(send(&read).await.refused(403), "the token needs the scope messages:write");
    nobody.ask("GET", list).bearer(&write).go().await.refused(403);

    let path = format!("/messages/read_message?message_id={id}");
    nobody.ask("GET", &path).bearer(&read).go().await.ok();
    assert_eq!(bob.unread().await, [id], "who may only read marks nothing");
    nobody.ask("GET", &path).bearer(&both).go().await.ok();
    assert!(bob.unread().await.is_empty());

    let wrong = nobody.ask("GET", list).bearer("prt_1.wrong").go().await;
    assert_eq!(wrong.refused(401), "the token is wrong, revoked or expired");
    let logout = nobody.ask("POST", "/users/logout").bearer(&both).go().await;
    assert_eq!(logout.refused(401), "login first");
}

#[tokio::test]
async fn a_token_ends_when_it_expires_is_revoked_or_its_user_is_disabled() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let holds = async |token: &str| {
        app.browser().ask("GET", "/v1/users/me").bearer(token).go().await.status == 200
    };
    let end = rfc3339(app.clock().now().plus(Time::MINUTE));
    let body = json!({ "name": "short", "expires_at": end });
    let short = ann.ask("POST", "/v1/tokens").json(&body).go().await.is(201);
    let short = short["token"].as_str().expect("it is text").to_owned();
    let (long, of_bob) = (ann.token(None).await, bob.token(None).await);

    assert!(holds(&short).await && holds(&long).await && holds(&of_bob).await);
    app.advance(Time::MINUTE);
    assert!(!holds(&short).await && holds(&long).await);
    let listed = ann.call("GET", "/v1/tokens").await.is(200);
    for token in listed["data"].as_array().expect("it is a list") {
        ann.call("DELETE", &format!("/v1/tokens/{}", token["id"])).await.is(204);
    }
    assert!(!holds(&long).await, "at once in the process that revoked it");

    app.disable(&bob).await;
    app.advance(SOON);
    assert!(!holds(&of_bob).await);
}

#[tokio::test]
async fn a_wrong_login_is_counted_however_it_is_tried() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let browser = app.visitor().await;
    let body = json!({ "username": "ann", "password": WRONG });
    let named = json!({ "username": "Ann", "password": WRONG, "name": "a program" });
    for _ in 0..3 {
        let answer = browser.ask("POST", "/v1/sessions").json(&body).go().await;
        answer.problem(401, "authentication_failed");
        let answer = browser.ask("POST", "/v1/tokens").json(&named).go().await;
        answer.problem(401, "authentication_failed");
        browser.try_login("ann", WRONG).await.refused(401);
    }
    browser.try_login("ANN", WRONG).await.refused(401);

    let answer = browser.ask("POST", "/v1/sessions").json(&body).go().await;
    // Half a minute, less the time that has passed since.
    let wait = answer.problem(429, "rate_limited")["retry_after"].as_i64();
    assert!(wait.is_some_and(|wait| (1..=30).contains(&wait)), "{wait:?}");
    let answer = browser.ask("POST", "/v1/tokens").json(&named).go().await;
    answer.problem(429, "rate_limited");
}
