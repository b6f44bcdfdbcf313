//! What others see of the app's users: external ids and kinds in every person, and look-ups.

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::user::number;
use crate::v1::text;

#[tokio::test]
async fn every_person_has_an_external_id_and_a_kind() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    server.put("ext:1", &json!({ "username": "dana" })).await.expect(201);
    let person = |user: &Value| (user["external_id"].clone(), user["kind"].clone());
    let (app_user, own) = ((json!("1"), json!("person")), (Value::Null, json!("person")));
    let sent = ann.write(&json!({ "to": ["ext:1", "bob"], "body": "hi" })).await;
    assert_eq!((person(&sent["from"]), person(&sent["to"][0])), (own.clone(), app_user.clone()));
    let path = format!("/v1/messages/{}", sent["id"]);
    let read = bob.call("GET", &path).await;
    let tag = read.header("etag").expect("it has one").to_owned();
    assert_eq!(person(&read.ok()["to"][0]), app_user);
    let list = bob.call("GET", "/v1/messages").await;
    let list_tag = list.header("etag").expect("it has one").to_owned();
    assert_eq!(person(&list.ok()["data"][0]["to"][0]), app_user);
    let path_of_it = format!("/v1/conversations/{}", sent["conversation_id"]);
    let conversation = bob.call("GET", &path_of_it).await.ok();
    let people = conversation["participants"].as_array().expect("it is a list");
    assert!(people.iter().any(|user| person(user) == app_user), "{people:?}");
    let found = bob.call("GET", "/v1/users?prefix=dana").await.ok();
    assert_eq!(person(&found["data"][0]), app_user);
    let dana = found["data"][0]["id"].clone();
    bob.call("PUT", &format!("/v1/blocks/{dana}")).await.expect(204);
    assert_eq!(person(&bob.call("GET", "/v1/blocks").await.ok()["data"][0]["user"]), app_user);
    assert_eq!(person(&bob.call("GET", "/v1/users/me").await.ok()), own);
    let mut stream = bob.request("GET", "/v1/events?since=0").events().await;
    let event = stream.next_message().await.json();
    assert_eq!(person(&event["message"]["to"][0]), app_user);

    // A client that has the tags of before learns of a link.
    let body = json!({ "external_id": "2", "end_logins": false });
    let link = server.request("POST", "/v1/server/users/ann/link").json(&body).send().await;
    link.ok();
    for (path, tag) in [(&*path, tag), ("/v1/messages", list_tag)] {
        let again = bob.request("GET", path).header("if-none-match", &tag).send().await;
        assert_eq!(again.status, 200, "{path}");
    }
    assert_eq!(person(&bob.call("GET", &path).await.ok()["from"]), (json!("2"), json!("person")));
}

#[tokio::test]
async fn the_setting_lookup_says_who_is_found() {
    for (setting, found) in [
        ("everybody", json!(["bea", "bob", "bud"])),
        ("contacts", json!(["bea", "bob"])),
        ("off", json!([])),
    ] {
        let app = TestApp::with(&[("lookup", setting)]).await;
        let server = app.server_key(&["users"]).await;
        let (ann, bob) = app.pair("ann", "bob").await;
        let (bea, bud) = app.pair("bea", "bud").await;
        ann.send(&bob, "", "").await;
        bea.send(&ann, "", "").await;
        let look = async || {
            let page = ann.call("GET", "/v1/users?prefix=b").await.ok();
            let names = page["data"].as_array().expect("it is a list");
            names.iter().map(|user| user["username"].clone()).collect::<Value>()
        };
        assert_eq!(look().await, found, "{setting}");
        server.put("bea", &json!({ "findable": false })).await.ok();
        let left: Vec<_> = found.as_array().expect("it is a list").iter().skip(1).collect();
        assert_eq!(look().await, json!(left), "{setting}");
        let path = format!("/v1/users/{}", bud.id.get());
        assert_eq!(text(&ann.call("GET", &path).await.ok()["username"]), "bud");
    }
}

#[tokio::test]
async fn generated_names_and_me_cannot_be_registered() {
    let app = TestApp::start().await;
    let visitor = app.visitor().await;
    for name in ["me", "Me", "user-7", "USER-12"] {
        let body = json!({
            "username": name, "email": "a@example.org", "password": crate::harness::PASSWORD,
        });
        let refused = visitor.request("POST", "/v1/users").json(&body).send().await;
        assert_eq!(refused.invalid(), ["#/username invalid"]);
        let refused = visitor.try_register(name, "a@example.org", crate::harness::PASSWORD).await;
        refused.error(400);
        let add = ["user", "add", name, "--email", "a@example.org"];
        let refused = app.command_with("a-password-for-them", &add);
        assert!(refused.expect_err("it is reserved").contains("reserved"), "{name}");
    }
    assert_eq!(number(&json!(app.dump().await.len())), 0);
}
