//! What is wrong is told at once, with its place, in the shape of the API that was asked.

use serde_json::{Value, json};

use super::newcomer;
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn all_fields_that_are_wrong_are_told_at_once() {
    let app = TestApp::start().await;
    let body = json!({
        "username": "two words",
        "email": 7,
        "password": "short",
        "display_name": "",
        "colour": "red",
        "a/b~c": null,
    });

    let answer = app.browser().ask("POST", "/v1/users").json(&body).go().await;

    assert_eq!(
        answer.invalid(),
        [
            "#/username invalid",
            "#/email wrong_type",
            "#/password invalid",
            "#/display_name invalid",
            "#/a~1b~0c unknown_field",
            "#/colour unknown_field",
        ]
    );
    let problem = answer.json();
    assert_eq!(problem["type"], "/docs/errors#invalid");
    assert_eq!(problem["title"], "Invalid input");
    let detail = problem["errors"][2]["detail"].as_str().expect("it says what is wrong");
    assert_eq!(detail, "it must have 8 to 1024 bytes");
    assert!(!answer.body.windows(5).any(|text| text == b"short"), "it repeats no password");
}

#[tokio::test]
async fn what_is_missing_is_named_also_where_nothing_was_sent() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let missing = ["#/username missing", "#/email missing", "#/password missing"];

    let empty = browser.ask("POST", "/v1/users").json(&json!({})).go().await;
    assert_eq!(empty.invalid(), missing);
    let nothing = browser.ask("POST", "/v1/users").go().await;
    assert_eq!(nothing.invalid(), missing);
    let one = browser.ask("POST", "/v1/sessions").json(&json!({ "username": "a" })).go().await;
    assert_eq!(one.invalid(), ["#/password missing"]);
    assert_eq!(one.json()["detail"], "password: it is missing");
}

#[tokio::test]
async fn a_body_must_be_a_json_object_and_be_declared_as_json() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let post = async |kind: Option<&str>, body: &'static [u8]| {
        let ask = browser.ask("POST", "/v1/users").body(body);
        match kind {
            Some(kind) => ask.header("content-type", kind).go().await,
            None => ask.go().await,
        }
    };

    post(None, b"{}").await.problem(415, "unsupported_media_type");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"] {
        post(Some(kind), b"{}").await.problem(415, "unsupported_media_type");
    }
    for body in [&b"{"[..], b"{\"a\":}", b"{} {}", b"nothing", b"{\"a\": \"\xff\"}"] {
        post(Some("application/json"), body).await.problem(400, "malformed_json");
    }
    for body in [&b"[]"[..], b"null", b"\"text\"", b"7"] {
        let refused = post(Some("application/json; charset=utf-8"), body).await;
        assert_eq!(refused.invalid(), ["# wrong_type"]);
    }
    let merged = post(Some("application/merge-patch+json"), b"{}").await;
    assert_eq!(merged.invalid().len(), 3);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let app = TestApp::with(&[("body_max_bytes", "1000")]).await;
    let body = json!({ "username": "a".repeat(1_000_000) });

    let answer = app.browser().ask("POST", "/v1/sessions").json(&body).go().await;

    answer.problem(413, "body_too_large");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_below_v1_only() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    for path in ["/v1/nothing", "/v1/", "/v1/users/7/nothing", "/v1/users/"] {
        ann.call("GET", path).await.problem(404, "not_found");
    }
    let wrong = ann.call("PUT", "/v1/users/me").await;
    wrong.problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD,PATCH,DELETE"));
    let options = ann.call("OPTIONS", "/v1/users").await;
    options.problem(405, "method_not_allowed");
    ann.call("GET", "/v2/users").await.refused(404);
    assert_eq!(ann.call("HEAD", "/v1/users/me").await.status, 200);
}

#[tokio::test]
async fn what_is_no_id_is_not_found() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for id in ["0", "-1", "+1", "01", "1.0", "9007199254740992", "99999999999999999999", "you"] {
        ann.call("GET", &format!("/v1/users/{id}")).await.problem(404, "not_found");
    }
    ann.call("GET", &format!("/v1/users/{}", ann.id.get())).await.is(200);
}

#[tokio::test]
async fn parameters_are_known_are_there_once_and_are_told_all_at_once() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let asked = async |query: &str| ann.call("GET", &format!("/v1/blocks?{query}")).await;

    let answer = asked("limit=0&cursor=%21&colour=red").await;
    let wrong = ["limit invalid", "cursor invalid", "colour unknown_field"];
    assert_eq!(answer.invalid(), wrong);
    assert_eq!(asked("limit=1&limit=2").await.invalid(), ["limit repeated"]);
    for limit in ["-1", "1.5", "", "ten", "0"] {
        assert_eq!(asked(&format!("limit={limit}")).await.invalid(), ["limit invalid"]);
    }
    for limit in ["1", "100", "101", "99999999999999999999"] {
        asked(&format!("limit={limit}")).await.is(200);
    }
    ann.call("GET", "/v1/users").await.problem(422, "invalid");
}

#[tokio::test]
async fn a_failure_of_the_server_is_a_problem_that_says_when_to_come_back() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    ann.call("GET", "/v1/users/me").await.is(200);
    app.close_database(2);

    let change = json!({ "display_name": "Ann" });
    let answer = ann.ask("PATCH", "/v1/users/me").json(&change).go().await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
    let body = newcomer("bob");
    let answer = ann.ask("POST", "/v1/users").json(&body).go().await;
    assert_eq!(answer.problem(503, "unavailable")["retry_after"], 5);
}

#[tokio::test]
async fn one_account_has_one_shape_of_error_in_each_api() {
    let app = TestApp::start().await;
    let browser = app.visitor().await;
    browser.ask("POST", "/v1/users").json(&newcomer("ann")).go().await.is(201);

    let classic = browser.try_register("ANN", "ann@example.org", PASSWORD).await;
    assert_eq!(classic.refused(400), "username: it is taken");
    let taken = browser.ask("POST", "/v1/users").json(&newcomer("Ann")).go().await;
    let problem = taken.problem(409, "username_taken");
    assert_eq!(problem["errors"][0]["pointer"], Value::from("#/username"));
}
