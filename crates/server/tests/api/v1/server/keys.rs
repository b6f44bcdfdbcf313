//! Server keys: who may call, and what the key says of itself.

use domain::{Time, server_keys};
use serde_json::{Value, json};

use crate::contract::document;
use crate::harness::TestApp;
use crate::v1::verbs::emptied;

const CONFIGURED: &str = "a-key-of-the-app-and-its-server-together";
const PATH: &str = "/v1/server/key";

#[tokio::test]
async fn a_key_says_what_it_is_until_it_expires_or_is_revoked() {
    let app = TestApp::start().await;
    let end = app.clock().now().plus(Time::HOUR);
    let server = app.server_key_until(&["users", "act"], Some(end)).await;
    let own = server.call("GET", PATH).await.ok();
    assert_eq!((&own["name"], &own["scopes"]), (&json!("shop"), &json!(["users", "act"])));
    assert_eq!(own["id"], server.id.get());
    assert!(own["expires_at"].is_string());
    app.advance(Time::HOUR);
    server.call("GET", PATH).await.problem(401, "unauthenticated");

    let other = app.server_key(&["admin"]).await;
    assert_eq!(other.call("GET", PATH).await.ok()["expires_at"], Value::Null);
    let (cx, id) = (app.clock().cx(), other.id);
    app.write(move |tx| server_keys::revoke(tx, &cx, id)).await;
    // At once on this node, and not only after the five seconds for which it is remembered.
    other.call("GET", PATH).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_key_of_the_configuration_may_do_everything_but_administer() {
    let app = TestApp::with(&[("server_key", CONFIGURED)]).await;
    let client = app.client();
    let own = client.request("GET", PATH).bearer(CONFIGURED).send().await.ok();
    let scopes = json!(["users", "tokens", "act", "unread", "system", "moderation", "export"]);
    let all = json!({
        "id": 0, "name": "configuration", "scopes": scopes, "expires_at": null
    });
    assert_eq!(own, all);
    let wrong = client.request("GET", PATH).bearer(&CONFIGURED[1..]).send().await;
    wrong.problem(401, "unauthenticated");
    let stored = app.stored_bytes();
    assert!(!stored.windows(CONFIGURED.len()).any(|bytes| bytes == CONFIGURED.as_bytes()));
}

#[tokio::test]
async fn the_last_use_is_recorded_to_the_minute() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let used = async || {
        app.settle().await;
        let last = "SELECT coalesce(last_used_at, 0) FROM server_keys";
        app.scan(move |tx| tx.query_one(last, &[], |row| row.int(0))).await
    };
    assert_eq!(used().await, 0);
    server.call("GET", PATH).await.ok();
    let first = used().await;
    assert!(first > 0);
    app.advance(Time::MINUTE - 6 * Time::SECOND);
    server.call("GET", PATH).await.ok();
    assert_eq!(used().await, first);
    app.advance(6 * Time::SECOND);
    server.call("GET", PATH).await.ok();
    assert!(used().await >= first + Time::MINUTE);
}

/// The operations of the document that are the app's own server's: the method, the path with
/// something in each place, and the scope.
fn operations() -> Vec<(String, String, Option<String>)> {
    let paths = document()["paths"].as_object().expect("it is an object").iter();
    let each = paths.flat_map(|(path, operations)| {
        operations.as_object().expect("it is an object").iter().filter_map(move |(method, said)| {
            let scopes = said["security"].pointer("/0/serverKey")?;
            let (mut filled, mut rest) = (String::new(), path.as_str());
            while let Some((before, after)) = rest.split_once('{') {
                filled.push_str(before);
                filled.push('1');
                rest = after.split_once('}').expect("it is closed").1;
            }
            let scope = scopes[0].as_str().map(str::to_owned);
            path.starts_with("/v1/server/").then(|| (method.to_uppercase(), filled + rest, scope))
        })
    });
    each.collect()
}

#[tokio::test]
async fn every_call_of_the_server_takes_a_key_with_its_scope_and_no_other_credential() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let named = ann.request("POST", "/v1/tokens").json(&json!({ "name": "of ann" })).send().await;
    let token = named.expect(201)["token"].as_str().expect("it is text").to_owned();
    let all = ["users", "tokens", "act", "unread", "system", "moderation", "export", "admin"];
    let revoked = app.server_key(&all).await;
    let (cx, id) = (app.clock().cx(), revoked.id);
    app.write(move |tx| server_keys::revoke(tx, &cx, id)).await;
    let whole = app.server_key(&all).await;
    let mut narrow = Vec::new();
    for one in all {
        let others: Vec<_> = all.into_iter().filter(|other| *other != one).collect();
        narrow.push(app.server_key(&others).await);
    }
    let operations = operations();
    assert!(!operations.is_empty());
    for (method, path, scope) in operations {
        // One of them erases a user.
        emptied(&app).await;
        app.settle().await;
        let before = app.dump().await;
        let client = app.client();
        client.request(&method, &path).send().await.problem(401, "unauthenticated");
        let by_token = client.request(&method, &path).bearer(&token).send().await;
        by_token.problem(401, "unauthenticated");
        ann.request(&method, &path).send().await.problem(401, "unauthenticated");
        revoked.call(&method, &path).await.problem(401, "unauthenticated");
        for origin in ["https://app.example.org", "null"] {
            let in_page = whole.request(&method, &path).header("origin", origin).send().await;
            in_page.problem(403, "server_key_in_browser");
        }
        if let Some(scope) = &scope {
            let narrow = &narrow[all.iter().position(|one| one == scope).expect("it is one")];
            let said = narrow.call(&method, &path).await.problem(403, "missing_scope");
            assert_eq!(said["detail"], format!("the server key needs the scope {scope}"));
        }
        assert_eq!(app.dump().await, before, "{method} {path} changed something");
        let alone = app.server_key(&[scope.as_deref().unwrap_or("act")]).await;
        let enough = alone.call(&method, &path).await;
        assert!(![401, 403].contains(&enough.status), "{method} {path}: {enough:?}");
    }
}

#[tokio::test]
async fn no_page_of_an_allowed_origin_may_call_the_server() {
    let app = TestApp::with(&[("cors_origins", "https://app.example.org")]).await;
    let client = app.client();
    let ask = |path: &'static str| {
        let request = client.request("OPTIONS", path).header("origin", "https://app.example.org");
        request.header("access-control-request-method", "GET").send()
    };
    assert_eq!(ask("/v1/messages").await.status, 204);
    let refused = ask(PATH).await;
    refused.problem(405, "method_not_allowed");
    assert_eq!(refused.header("access-control-allow-origin"), None);
}
