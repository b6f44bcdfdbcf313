//! Pages of other origins: those that the operator names may use /v1, and nothing else.

use std::collections::BTreeSet;

use serde_json::json;
use testing::{Client, Response};

use super::newcomer;
use crate::contract::{document, resolve};
use crate::harness::{PASSWORD, TestApp};

const PAGE: &str = "https://app.example";

async fn app() -> TestApp {
    TestApp::with(&[("cors_origins", "https://app.example, http://localhost:5173")]).await
}

async fn preflight(client: &Client, path: &str, origin: &str) -> Response {
    let request =
        client.request("OPTIONS", path).header("origin", origin).without_cookies().without_csrf();
    request.header("access-control-request-method", "PATCH").send().await
}

fn opened(answer: &Response) -> Option<&str> {
    let credentials = answer.header("access-control-allow-credentials");
    assert_eq!(credentials.is_some(), answer.headers.contains_key("access-control-allow-origin"));
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn a_page_that_is_let_in_may_ask_and_read() {
    let app = app().await;
    let ann = app.user("ann").await;

    let allowed = preflight(&ann.client, "/v1/users/me", PAGE).await;
    assert_eq!((allowed.status, opened(&allowed)), (204, Some(PAGE)));
    let methods = allowed.header("access-control-allow-methods").expect("they are named");
    assert!(methods.split(", ").any(|method| method == "PATCH"), "{methods}");
    let headers = allowed.header("access-control-allow-headers").expect("they are named");
    for name in ["authorization", "x-csrftoken", "idempotency-key", "if-match", "postroom-if-user"]
    {
        assert!(headers.split(", ").any(|header| header == name), "{headers}");
    }
    assert_eq!(allowed.header("access-control-max-age"), Some("600"));
    assert_eq!(allowed.header("vary"), Some("Origin"));

    let request = ann.request("PATCH", "/v1/users/me").header("origin", PAGE);
    let request =
        request.header("sec-fetch-site", "cross-site").json(&json!({ "display_name": "Ann" }));
    let changed = request.send().await;
    changed.expect(200);
    assert_eq!(opened(&changed), Some(PAGE));
    let exposed = changed.header("access-control-expose-headers").expect("they are named");
    // Whatever the document names but the cookie, which no script may see, and what is for
    // proxies; and the time of the server.
    let mut named = BTreeSet::from(["date".to_owned()]);
    let operations = document()["paths"].as_object().expect("it is an object").values();
    for operation in operations.flat_map(|path| path.as_object().expect("it is one").values()) {
        for response in operation["responses"].as_object().expect("it is one").values() {
            let headers = resolve(response)["headers"].as_object();
            named.extend(headers.into_iter().flatten().map(|(name, _)| name.to_ascii_lowercase()));
        }
    }
    assert!(named.remove("set-cookie") && named.remove("x-accel-buffering"));
    assert_eq!(exposed.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), named);
    let forged = ann.request("PATCH", "/v1/users/me").header("origin", PAGE).without_csrf();
    let forged = forged.json(&json!({})).send().await;
    forged.problem(403, "csrf");
    assert_eq!(opened(&forged), Some(PAGE), "the page may read why");
}

#[tokio::test]
async fn everybody_else_gets_nothing() {
    let app = app().await;
    let ann = app.user("ann").await;
    for origin in ["https://evil.example", "http://app.example", "https://app.example:444", "null"]
    {
        let refused = preflight(&ann.client, "/v1/users/me", origin).await;
        assert_eq!((refused.status, opened(&refused)), (405, None), "{origin}");
        let read = ann.request("GET", "/v1/users/me").header("origin", origin).send().await;
        read.problem(403, "forbidden_origin");
        assert_eq!(opened(&read), None, "{origin}");
        assert_eq!(read.header("vary"), Some("Origin"));
        let request = app.client();
        let request =
            request.request("POST", "/v1/users").header("origin", origin).json(&newcomer("eve"));
        request.send().await.problem(403, "forbidden_origin");
    }
    let plain = ann.call("GET", "/v1/users/me").await;
    assert_eq!((opened(&plain), plain.header("vary")), (None, Some("Origin")));
}

#[tokio::test]
async fn a_page_that_is_let_in_gets_the_token_that_a_session_needs() {
    let app = app().await;
    let ann = app.user("ann").await;
    let page = app.client();
    let ask = async || page.request("GET", "/v1/csrf").header("origin", PAGE).send().await;

    let given = ask().await;
    assert_eq!(opened(&given), Some(PAGE));
    let token = given.ok()["csrf_token"].as_str().expect("it is text").to_owned();
    assert_eq!(page.cookie("csrftoken"), Some(token.clone()));
    let cookie = given.cookie();
    assert!(cookie.attributes.contains("SameSite=Lax"), "{cookie:?}");
    assert!(!cookie.attributes.contains("HttpOnly"), "scripts of the server's own pages read it");
    assert_eq!(ask().await.ok()["csrf_token"], token, "it is kept");
    assert_eq!(page.csrf_token().await, token, "both calls give the same");

    let login = json!({ "username": ann.name, "password": PASSWORD });
    let login = page.request("POST", "/v1/sessions").header("origin", PAGE).json(&login);
    login.send().await.expect(201);
    // One from before the login stays good after it.
    page.set_cookie("csrftoken", &token);
    let change = json!({ "display_name": "Ann" });
    let change = page.request("PATCH", "/v1/users/me").header("origin", PAGE).json(&change);
    change.csrf(&token).send().await.ok();

    let foreign = app.client();
    let request = foreign.request("GET", "/v1/csrf").header("origin", "https://evil.example");
    assert_eq!(opened(&request.send().await), None);
}

#[tokio::test]
async fn the_classic_api_is_open_to_nobody_else() {
    let app = app().await;
    let ann = app.user("ann").await;

    let refused = preflight(&ann.client, "/users/login", PAGE).await;
    refused.error(405);
    let send = ann.request("POST", "/messages/write_message").header("origin", PAGE);
    let draft = json!({ "receiver_id": ann.id.get(), "subject": "", "body": "" });
    send.json(&draft).send().await.error(403);
}

#[tokio::test]
async fn without_the_setting_there_is_no_trace_of_it() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    preflight(&ann.client, "/v1/users/me", PAGE).await.problem(405, "method_not_allowed");
    let read = ann.request("GET", "/v1/users/me").header("origin", PAGE).send().await;
    assert_eq!((opened(&read), read.header("vary")), (None, None));
    let posted = app.client();
    let posted = posted.request("POST", "/v1/sessions").header("origin", PAGE).json(&json!({}));
    posted.send().await.problem(403, "forbidden_origin");
}
