//! The unread counts of many users.

use domain::{Time, users};
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::user::User;
use crate::v1::server::AppServer;

const PATH: &str = "/v1/server/unread";

async fn of(server: &AppServer, users: Value) -> Value {
    server.post(PATH, &json!({ "users": users })).await.ok()
}

/// The usernames on a page, and where the next one begins.
async fn page(server: &AppServer, query: &str) -> (Vec<String>, Option<String>) {
    let page = server.call("GET", &format!("{PATH}?{query}")).await.ok();
    let data = page["data"].as_array().expect("it is a list").iter();
    let name = |one: &Value| one["user"]["username"].as_str().expect("a name").to_owned();
    (data.map(name).collect(), page["next_cursor"].as_str().map(str::to_owned))
}

async fn trio(app: &TestApp) -> (User, User, User) {
    let (ann, bob) = app.pair("ann", "bob").await;
    (ann, bob, app.user("cid").await)
}

#[tokio::test]
async fn the_counts_are_those_that_each_user_sees() {
    let app = TestApp::start().await;
    let server = app.server_key(&["unread"]).await;
    let (ann, bob, cid) = trio(&app).await;
    app.known_as(bob.id, "Order 7/ü").await;
    let (cx, gone) = (app.clock().cx(), app.account("gone").await);
    app.write(move |tx| users::erase(tx, &cx, gone)).await;
    let first = ann.write(&json!({ "to": ["bob"], "body": "one" })).await;
    app.advance(Time::HOUR);
    ann.write(&json!({ "to": ["bob"], "body": "two" })).await;
    ann.write(&json!({ "to": ["bob", "cid"], "body": "three" })).await;

    let asked = json!([
        "ext:Order 7/ü",
        "nobody",
        cid.id.get(),
        "name:ANN",
        4_000_000,
        "bob",
        "ext:nobody",
        gone.get()
    ]);
    let answer = of(&server, asked).await;
    assert_eq!(answer["not_found"], json!(["nobody", 4_000_000, "ext:nobody", gone.get()]));
    let data = answer["data"].as_array().expect("it is a list");
    let ids: Vec<_> = data.iter().map(|one| one["user"]["id"].clone()).collect();
    assert_eq!(ids, [json!(bob.id.get()), json!(cid.id.get()), json!(ann.id.get())]);
    assert_eq!(data[0]["oldest_at"], first["sent_at"]);
    assert_eq!(data[2]["oldest_at"], Value::Null);
    assert_eq!(data[1]["user"]["display_name"], "cid");
    for (user, said) in [(&bob, &data[0]), (&cid, &data[1]), (&ann, &data[2])] {
        let own = user.call("GET", "/v1/unread").await.ok();
        assert_eq!(said["messages"], own["messages"]);
        assert_eq!(said["conversations"], own["conversations"]);
    }
    assert_eq!(data[0]["messages"], 3);
}

#[tokio::test]
async fn asking_changes_nothing_and_is_no_activity_of_the_user() {
    let app = TestApp::start().await;
    let server = app.server_key(&["unread"]).await;
    let (ann, ..) = trio(&app).await;
    ann.write(&json!({ "to": ["bob"], "body": "one" })).await;
    app.advance(Time::DAY);
    app.settle().await;
    let before = app.dump().await;
    let body = json!({ "users": ["bob", "cid"] });
    for _ in 0..2 {
        let asked = server.request("POST", PATH).header("idempotency-key", "1").json(&body);
        asked.send().await.ok();
    }
    assert_eq!(page(&server, "").await.0, ["bob"]);
    app.settle().await;
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    let app = TestApp::start().await;
    let server = app.server_key(&["unread"]).await;
    app.account("ann").await;
    let wrong = async |body: Value| server.post(PATH, &body).await.invalid();
    assert_eq!(wrong(json!({})).await, ["#/users missing"]);
    assert_eq!(wrong(json!({ "users": [] })).await, ["#/users invalid"]);
    assert_eq!(wrong(json!({ "users": "ann" })).await, ["#/users wrong_type"]);
    assert_eq!(wrong(json!({ "users": [1, null] })).await, ["#/users/1 wrong_type"]);
    assert_eq!(
        wrong(json!({ "users": ["ext:"], "all": 1 })).await,
        ["#/users/0 invalid", "#/all unknown_field"]
    );
    assert_eq!(wrong(json!({ "users": vec![1; 1001] })).await, ["#/users invalid"]);
    let most = of(&server, json!(vec![1; 1000])).await;
    assert_eq!(most["data"].as_array().map(Vec::len), Some(1));

    let wrong = async |query: &str| server.call("GET", &format!("{PATH}?{query}")).await.invalid();
    for query in ["min=0", "min=-1", "min=x", "min=", "min=1.5"] {
        assert_eq!(wrong(query).await, ["min invalid"], "{query}");
    }
    assert_eq!(wrong("oldest_before=yesterday").await, ["oldest_before invalid"]);
    assert_eq!(wrong("cursor=x").await, ["cursor invalid"]);
    assert_eq!(wrong("limit=0").await, ["limit invalid"]);
    assert_eq!(wrong("least=1").await, ["least unknown_field"]);
}

#[tokio::test]
async fn everybody_with_something_unread_is_listed_page_by_page() {
    let app = TestApp::start().await;
    let server = app.server_key(&["unread"]).await;
    let (ann, bob, cid) = trio(&app).await;
    let dot = app.user("dot").await;
    assert_eq!(page(&server, "").await, (vec![], None));
    let first = ann.write(&json!({ "to": ["bob", "cid"], "body": "one" })).await;
    app.advance(Time::HOUR);
    let second = ann.write(&json!({ "to": ["cid", "dot"], "body": "two" })).await;
    ann.write(&json!({ "to": ["dot"], "body": "three" })).await;

    let all = ["bob", "cid", "dot"];
    assert_eq!(page(&server, "").await, (all.map(String::from).to_vec(), None));
    let (mut names, mut cursor) = (vec![], String::new());
    for _ in 0..3 {
        let (name, next) = page(&server, &format!("limit=1{cursor}")).await;
        names.extend(name);
        cursor = format!("&cursor={}", next.expect("there may be more"));
    }
    assert_eq!(names, all);
    assert_eq!(page(&server, &format!("limit=1{cursor}")).await, (vec![], None));

    assert_eq!(page(&server, "min=2").await.0, ["cid", "dot"]);
    assert_eq!(page(&server, "min=9007199254740991").await.0, [""; 0]);
    let before = |message: &Value| {
        format!("oldest_before={}", message["sent_at"].as_str().expect("it is a time"))
    };
    assert_eq!(page(&server, &before(&first)).await.0, [""; 0]);
    assert_eq!(page(&server, &before(&second)).await.0, ["bob", "cid"]);
    assert_eq!(page(&server, &(before(&second) + "&min=2")).await.0, ["cid"]);

    app.disable(&dot).await;
    bob.mark(first["id"].as_i64().expect("an id"), json!({ "read": true })).await;
    assert_eq!(page(&server, "").await.0, ["cid"]);
    let listed = server.call("GET", PATH).await.ok();
    let counted = of(&server, json!([cid.id.get()])).await;
    assert_eq!(listed["data"], counted["data"], "both say the same of a user");
}
