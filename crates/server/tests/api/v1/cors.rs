//! Pages of other origins: those that the operator names may use /v1, and nothing else.

use serde_json::json;

use super::newcomer;
use crate::client::{Answer, Browser};
use crate::harness::TestApp;

const PAGE: &str = "https://app.example";

async fn app() -> TestApp {
    TestApp::with(&[("cors_origins", "https://app.example, http://localhost:5173")]).await
}

async fn preflight(browser: &Browser, path: &str, origin: &str) -> Answer {
    let ask = browser.ask("OPTIONS", path).header("origin", origin).no_cookies().no_token();
    ask.header("access-control-request-method", "PATCH").go().await
}

fn opened(answer: &Answer) -> Option<&str> {
    let credentials = answer.header("access-control-allow-credentials");
    assert_eq!(credentials.is_some(), answer.headers.contains_key("access-control-allow-origin"));
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn a_page_that_is_let_in_may_ask_and_read() {
    let app = app().await;
    let ann = app.user("ann").await;

    let allowed = preflight(&ann.browser, "/v1/users/me", PAGE).await;
    assert_eq!((allowed.status, opened(&allowed)), (204, Some(PAGE)));
    let methods = allowed.header("access-control-allow-methods").expect("they are named");
    assert!(methods.split(", ").any(|method| method == "PATCH"), "{methods}");
    let headers = allowed.header("access-control-allow-headers").expect("they are named");
    for name in ["authorization", "content-type", "x-csrftoken", "idempotency-key", "if-match"] {
        assert!(headers.split(", ").any(|header| header == name), "{headers}");
    }
    assert_eq!(allowed.header("access-control-max-age"), Some("600"));
    assert_eq!(allowed.header("vary"), Some("Origin"));

    let ask = ann.ask("PATCH", "/v1/users/me").header("origin", PAGE);
    let ask = ask.header("sec-fetch-site", "cross-site").json(&json!({ "display_name": "Ann" }));
    let changed = ask.go().await;
    changed.is(200);
    assert_eq!(opened(&changed), Some(PAGE));
    let exposed = changed.header("access-control-expose-headers").expect("they are named");
    assert!(exposed.contains("idempotency-replayed") && exposed.contains("etag"), "{exposed}");
    let forged = ann.ask("PATCH", "/v1/users/me").header("origin", PAGE).no_token();
    let forged = forged.json(&json!({})).go().await;
    forged.problem(403, "csrf");
    assert_eq!(opened(&forged), Some(PAGE), "the page may read why");
}

#[tokio::test]
async fn everybody_else_gets_nothing() {
    let app = app().await;
    let ann = app.user("ann").await;
    for origin in ["https://evil.example", "http://app.example", "https://app.example:444", "null"]
    {
        let refused = preflight(&ann.browser, "/v1/users/me", origin).await;
        assert_eq!((refused.status, opened(&refused)), (405, None), "{origin}");
        let read = ann.ask("GET", "/v1/users/me").header("origin", origin).go().await;
        assert_eq!((read.status, opened(&read)), (200, None), "{origin}");
        assert_eq!(read.header("vary"), Some("Origin"));
        let ask = app.browser();
        let ask = ask.ask("POST", "/v1/users").header("origin", origin).json(&newcomer("eve"));
        ask.go().await.problem(403, "forbidden_origin");
    }
    let plain = ann.call("GET", "/v1/users/me").await;
    assert_eq!((opened(&plain), plain.header("vary")), (None, Some("Origin")));
}

#[tokio::test]
async fn the_classic_api_is_open_to_nobody_else() {
    let app = app().await;
    let ann = app.user("ann").await;

    let refused = preflight(&ann.browser, "/users/login", PAGE).await;
    refused.refused(405);
    let send = ann.ask("POST", "/messages/write_message").header("origin", PAGE);
    let draft = json!({ "receiver_id": ann.id.get(), "subject": "", "body": "" });
    send.json(&draft).go().await.refused(403);
}

#[tokio::test]
async fn without_the_setting_there_is_no_trace_of_it() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    preflight(&ann.browser, "/v1/users/me", PAGE).await.problem(405, "method_not_allowed");
    let read = ann.ask("GET", "/v1/users/me").header("origin", PAGE).go().await;
    assert_eq!((opened(&read), read.header("vary")), (None, None));
    let posted = app.browser();
    let posted = posted.ask("POST", "/v1/sessions").header("origin", PAGE).json(&json!({}));
    posted.go().await.problem(403, "forbidden_origin");
}
