//! `If-Match` is obeyed or refused, and never overlooked.

use serde_json::{Value, json};

use crate::harness::TestApp;

#[tokio::test]
async fn a_message_that_has_changed_is_not_deleted() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "keep this").await;
    let path = format!("/v1/messages/{id}");
    let tag = async || bob.call("GET", &path).await.header("etag").unwrap().to_owned();
    let delete =
        async |tags: &str| bob.request("DELETE", &path).header("if-match", tags).send().await;
    let stale = tag().await;
    bob.mark(id, json!({ "starred": true })).await;
    let before = app.dump().await;

    delete(&stale).await.problem(412, "precondition_failed");
    delete("\"nonsense\"").await.problem(412, "precondition_failed");
    assert_eq!(app.dump().await, before);

    let fresh = tag().await;
    delete(&format!("{stale}, {fresh}")).await.expect(204);
    // What was to happen has happened.
    delete(&fresh).await.expect(204);
    delete("*").await.expect(204);
    bob.request("DELETE", "/v1/messages/4000000").header("if-match", "*").send().await.expect(404);
}

#[tokio::test]
async fn a_call_that_takes_no_condition_says_so_and_does_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "1").await;
    let document: Value =
        serde_json::from_str(include_str!("../../../../../docs/openapi.json")).unwrap();
    let shop = app.server_key(&["users", "tokens", "unread", "system"]).await;
    let before = app.dump().await;

    let (mut refused, mut obeyed) = (0, Vec::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        let of =
            |method: &str| operations.get(method).map(|operation| (method.to_owned(), operation));
        for (method, operation) in ["post", "put", "patch", "delete"].into_iter().filter_map(of) {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let mut headers = parameters.filter(|parameter| parameter["in"] == "header");
            let takes = headers.any(|parameter| parameter["name"] == "If-Match");
            let whole =
                path.replace("{id}", &id.to_string()).replace("{user}", "1").replace("{ref}", "1");
            let method = method.to_uppercase();
            if takes {
                obeyed.push(format!("{method} {path}"));
            }
            for header in ["if-match", "if-none-match"] {
                if takes && header == "if-match" {
                    continue;
                }
                let request = if path.starts_with("/v1/server/") {
                    shop.request(&method, &whole)
                } else {
                    bob.request(&method, &whole)
                };
                let problem =
                    request.header(header, "\"1\"").send().await.problem(400, "bad_request");
                let detail = problem["detail"].as_str().unwrap().to_lowercase();
                assert!(detail.starts_with(header), "{method} {path}: {detail}");
                refused += 1;
            }
        }
    }
    assert_eq!(
        obeyed,
        [
            "PATCH /v1/conversations/{id}",
            "DELETE /v1/conversations/{id}",
            "PATCH /v1/messages/{id}",
            "DELETE /v1/messages/{id}",
        ]
    );
    assert!(refused > 20, "{refused}");
    assert_eq!(app.dump().await, before);
    let batch = json!({ "ids": [id], "delete": true });
    let batch = bob.request("POST", "/v1/messages/batch").json(&batch).header("if-match", "\"1\"");
    batch.send().await.problem(400, "bad_request");
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_call_that_was_meant_to_be_another_users_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "keep this").await;
    let document: Value =
        serde_json::from_str(include_str!("../../../../../docs/openapi.json")).unwrap();
    let made = bob.post("/v1/tokens", &json!({ "name": "a program" })).await.json();
    let (token, shop) = (made["token"].as_str().unwrap(), app.server_key(&["act"]).await);
    let client = app.client();
    let before = app.dump().await;

    let mut refused = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let mut ways = operation["security"].as_array().into_iter().flatten();
            if !ways.any(|way| way["cookieAuth"].is_array()) {
                continue;
            }
            let path = path.replace("{id}", &id.to_string()).replace("{user}", "1");
            let mut request = bob.request(&method.to_uppercase(), &path);
            if path == "/v1/tokens" && method == "post" {
                // One with a name and a password in it would be a call without a caller.
                request = request.json(&json!({ "name": "another" }));
            }
            let request = request.header("postroom-if-user", ann.id.get().to_string());
            request.send().await.problem(412, "another_user");
            refused += 1;
        }
    }
    assert!(refused > 25, "{refused}");
    for path in ["/messages/messages_per_receiver", "/users/logout"] {
        let method = if path.ends_with("logout") { "POST" } else { "GET" };
        let request =
            bob.request(method, path).header("postroom-if-user", ann.id.get().to_string());
        request.send().await.error(412);
    }
    let path = format!("/v1/messages/{id}");
    let delete = async |user: &str| {
        let by_token = client.request("DELETE", &path).bearer(token);
        let by_key =
            client.request("DELETE", &path).bearer(&shop.key).header("postroom-user", "bob");
        let by_token = by_token.header("postroom-if-user", user).send().await;
        [by_token, by_key.header("postroom-if-user", user).send().await]
    };
    for answer in delete(&ann.id.get().to_string()).await {
        answer.problem(412, "another_user");
    }
    for wrong in ["bob", "", "1.0"] {
        for answer in delete(wrong).await {
            answer.problem(400, "bad_request");
        }
    }
    assert_eq!(app.dump().await, before);
    for answer in delete(&bob.id.get().to_string()).await {
        answer.expect(204);
    }
}
