//! Logging in with a cookie, and looking after the logins that there are.

use domain::Time;
use domain::sessions::{ABSOLUTE, IDLE};
use serde_json::{Value, json};
use testing::{Client, Response};

use super::{rfc3339, text};
use crate::harness::{PASSWORD, TestApp, WRONG};

async fn log_in(client: &Client, name: &str, password: &str) -> Response {
    let body = json!({ "username": name, "password": password });
    client.request("POST", "/v1/sessions").json(&body).send().await
}

#[tokio::test]
async fn a_login_gives_both_cookies_and_says_who_it_is() {
    let app = TestApp::start().await;
    let id = app.account("ann").await;
    let client = app.client();
    let before = app.clock().now();

    let started = log_in(&client, "ANN", PASSWORD).await;

    let reported = started.expect(201);
    assert_eq!(
        reported["user"],
        json!({
            "id": id.get(), "username": "ann", "display_name": "ann", "external_id": null,
            "kind": "person",
        })
    );
    let ends = [before.plus(IDLE), app.clock().now().plus(IDLE)].map(rfc3339);
    let end = text(&reported["expires_at"]);
    assert!(ends[0] <= end && end <= ends[1], "{end} is not in {ends:?}");
    let cookies = started.cookies();
    assert_eq!(cookies.len(), 2);
    let session = cookies.iter().find(|cookie| cookie.name == "sessionid").expect("it is there");
    let age = format!("Max-Age={}", ABSOLUTE / Time::SECOND);
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", &age] {
        assert!(session.attributes.contains(attribute), "{session:?}");
    }
    let token = cookies.iter().find(|cookie| cookie.name == "csrftoken").expect("it is there");
    assert_eq!(token.value, reported["csrf_token"].as_str().unwrap_or_default());
    assert!(!token.attributes.contains("HttpOnly"));

    let change = client.request("PATCH", "/v1/users/me").json(&json!({ "display_name": "Ann" }));
    change.send().await.expect(200);
    client.request("GET", "/messages/unread_per_receiver").send().await.ok();
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_told_alike() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let reported = async |name: &str| {
        let answer = log_in(&app.client(), name, WRONG).await;
        let mut problem = answer.problem(401, "authentication_failed");
        problem["request_id"] = Value::Null;
        (problem, answer.header("www-authenticate").map(str::to_owned))
    };
    let known = reported("ann").await;
    assert_eq!(known, reported("nobody").await);
    assert_eq!(known.1.as_deref(), Some("Bearer"));
    assert_eq!(known.0["detail"], "authentication failed");
}

#[tokio::test]
async fn a_new_login_ends_the_one_that_the_client_had() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.client();
    log_in(&client, "ann", PASSWORD).await.expect(201);
    let first = format!("sessionid={}", client.session());
    log_in(&client, "ann", PASSWORD).await.expect(201);

    let old = app.client().request("GET", "/v1/users/me").cookies(&first).send().await;
    old.problem(401, "unauthenticated");
    client.request("GET", "/v1/users/me").send().await.expect(200);
}

#[tokio::test]
async fn the_list_shows_each_session_and_which_is_the_current_one() {
    let app = TestApp::with(&[("trusted_proxies", "127.0.0.0/8")]).await;
    app.account("ann").await;
    let (first, second) = (app.client().with_header("user-agent", "An old\tbrowser"), app.client());
    let second =
        second.with_header("x-forwarded-for", "203.0.113.5").with_header("user-agent", "curl/8");
    log_in(&first, "ann", PASSWORD).await.expect(201);
    app.advance(Time::SECOND);
    log_in(&second, "ann", PASSWORD).await.expect(201);

    let list = second.request("GET", "/v1/sessions").send().await.expect(200);

    let list = list["data"].as_array().expect("it is a list");
    assert_eq!(list.len(), 2);
    assert_eq!((&list[0]["current"], &list[1]["current"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&list[0]["address"], &list[0]["user_agent"]),
        (&json!("203.0.113.5"), &json!("curl/8"))
    );
    assert_eq!(list[1]["address"], "127.0.0.1");
    assert_eq!(list[1]["user_agent"], "An oldbrowser");
    assert!(text(&list[0]["created_at"]) > text(&list[1]["created_at"]), "the newest first");
    let shown = Value::from(list.clone()).to_string();
    for client in [&first, &second] {
        let secret = client.session();
        let secret = secret.split_once('.').expect("it has two parts").1.to_owned();
        assert!(!shown.contains(&secret), "no secret is shown");
    }
}

#[tokio::test]
async fn a_session_is_ended_from_another_one_and_by_nobody_else() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let elsewhere = app.client();
    log_in(&elsewhere, "ann", PASSWORD).await.expect(201);
    let list = elsewhere.request("GET", "/v1/sessions").send().await.expect(200);
    let mine = list["data"].as_array().expect("it is a list").iter();
    let mine = mine.filter(|session| session["current"] == json!(true)).collect::<Vec<_>>();
    let path = format!("/v1/sessions/{}", mine[0]["id"]);

    bob.call("DELETE", &path).await.problem(404, "not_found");
    elsewhere.request("GET", "/v1/users/me").send().await.expect(200);
    ann.call("DELETE", &path).await.expect(204);
    elsewhere.request("GET", "/v1/users/me").send().await.problem(401, "unauthenticated");
    ann.call("DELETE", &path).await.problem(404, "not_found");
    ann.call("GET", "/v1/users/me").await.expect(200);
}

#[tokio::test]
async fn logging_out_ends_the_current_session_and_a_token_has_none() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = ann.token(None).await;
    let session = format!("sessionid={}", ann.client.session());
    let by_token = ann.request("DELETE", "/v1/sessions/current").bearer(&token).send().await;
    by_token.problem(404, "not_found");

    let ended = ann.call("DELETE", "/v1/sessions/current").await;

    ended.expect(204);
    assert_eq!(ann.client.cookie("sessionid"), None);
    let again = ann.request("GET", "/v1/users/me").cookies(&session).send().await;
    again.problem(401, "unauthenticated");
    let by_token = app.client();
    by_token.request("GET", "/v1/users/me").bearer(&token).send().await.expect(200);
}
