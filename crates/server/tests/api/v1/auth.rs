//! Who is let in by a cookie, who by a token, and for what.

use domain::Time;
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

    ann.request("GET", "/v1/users/me").without_csrf().send().await.expect(200);
    let forged = ann.request("PATCH", "/v1/users/me").without_csrf().json(&change).send().await;
    forged.problem(403, "csrf");
    let foreign = ann.request("PATCH", "/v1/users/me").header("origin", "https://evil.example");
    foreign.json(&change).send().await.problem(403, "forbidden_origin");
    let cross = ann.request("PATCH", "/v1/users/me").header("sec-fetch-site", "cross-site");
    cross.json(&change).send().await.problem(403, "forbidden_origin");
    ann.request("PATCH", "/v1/users/me").json(&change).send().await.expect(200);
}

#[tokio::test]
async fn a_token_needs_no_csrf_token_and_comes_before_a_cookie() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = ann.token(None).await;
    let change = json!({ "display_name": "Ann" });

    let changed = bob.request("PATCH", "/v1/users/me").bearer(&token).json(&change).send().await;
    assert_eq!(changed.expect(200)["username"], "ann");
    let header = format!("bEARER {token}");
    let both = bob.request("GET", "/v1/users/me").header("authorization", &header).send().await;
    assert_eq!(both.expect(200)["username"], "ann");
    let wrong = bob.request("GET", "/v1/users/me").header("authorization", "Bearer prt_1.x");
    wrong.send().await.problem(401, "unauthenticated");
    let basic =
        bob.request("GET", "/v1/users/me").header("authorization", "Basic YTpi").send().await;
    assert_eq!(basic.expect(200)["username"], "bob", "other schemes are of a proxy");
}

#[tokio::test]
async fn a_session_is_no_token_and_a_token_no_session() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = ann.token(None).await;

    let session = ann.client.session();
    for wrong in [session.clone(), format!("prt_{session}"), token[4..].to_owned()] {
        let answer = app.client().request("GET", "/v1/users/me").bearer(&wrong).send().await;
        answer.problem(401, "unauthenticated");
    }
    for wrong in [token.clone(), token[4..].to_owned()] {
        let cookie = format!("sessionid={wrong}");
        let answer = app.client().request("GET", "/v1/users/me").cookies(&cookie).send().await;
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
    let nobody = app.client();
    let list = "/messages/unread_per_receiver";

    let draft = json!({ "receiver_id": bob.id.get(), "subject": "a", "body": "b" });
    let send = |token: &str| {
        nobody.request("POST", "/messages/write_message").bearer(token).json(&draft).send()
    };
    let id = send(&write).await.ok()["message_id"].as_i64().expect("it is an id");
    assert_eq!(send(&read).await.error(403), "the token needs the scope messages:write");
    nobody.request("GET", list).bearer(&write).send().await.error(403);

    let path = format!("/messages/read_message?message_id={id}");
    nobody.request("GET", &path).bearer(&read).send().await.ok();
    assert_eq!(bob.unread().await, [id], "who may only read marks nothing");
    nobody.request("GET", &path).bearer(&both).send().await.ok();
    assert!(bob.unread().await.is_empty());

    let wrong = nobody.request("GET", list).bearer("prt_1.wrong").send().await;
    assert_eq!(wrong.error(401), "the token is wrong, revoked or expired");
    let logout = nobody.request("POST", "/users/logout").bearer(&both).send().await;
    assert_eq!(logout.error(401), "log in first");
}

#[tokio::test]
async fn a_token_ends_when_it_expires_is_revoked_or_its_user_is_disabled() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let holds = async |token: &str| {
        app.client().request("GET", "/v1/users/me").bearer(token).send().await.status == 200
    };
    let end = rfc3339(app.clock().now().plus(Time::MINUTE));
    let body = json!({ "name": "short", "expires_at": end });
    let short = ann.request("POST", "/v1/tokens").json(&body).send().await.expect(201);
    let short = short["token"].as_str().expect("it is text").to_owned();
    let (long, of_bob) = (ann.token(None).await, bob.token(None).await);

    assert!(holds(&short).await && holds(&long).await && holds(&of_bob).await);
    app.advance(Time::MINUTE);
    assert!(!holds(&short).await && holds(&long).await);
    let listed = ann.call("GET", "/v1/tokens").await.expect(200);
    for token in listed["data"].as_array().expect("it is a list") {
        ann.call("DELETE", &format!("/v1/tokens/{}", token["id"])).await.expect(204);
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
    let client = app.visitor().await;
    let body = json!({ "username": "ann", "password": WRONG });
    let named = json!({ "username": "Ann", "password": WRONG, "name": "a program" });
    for _ in 0..3 {
        let answer = client.request("POST", "/v1/sessions").json(&body).send().await;
        answer.problem(401, "authentication_failed");
        let answer = client.request("POST", "/v1/tokens").json(&named).send().await;
        answer.problem(401, "authentication_failed");
        client.try_login("ann", WRONG).await.error(401);
    }
    client.try_login("ANN", WRONG).await.error(401);

    let answer = client.request("POST", "/v1/sessions").json(&body).send().await;
    // Half a minute, less the time that has passed since.
    let wait = answer.problem(429, "rate_limited")["retry_after"].as_i64();
    assert!(wait.is_some_and(|wait| (1..=30).contains(&wait)), "{wait:?}");
    let answer = client.request("POST", "/v1/tokens").json(&named).send().await;
    answer.problem(429, "rate_limited");
}
