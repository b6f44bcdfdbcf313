//! Whom a user takes no messages from.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp};
use crate::user::User;

async fn blocked(user: &User, query: &str) -> (Vec<String>, Value) {
    let page = user.call("GET", &format!("/v1/blocks{query}")).await.expect(200);
    let names = page["data"].as_array().expect("it is a list").iter();
    let names = names.map(|block| super::text(&block["user"]["username"]));
    (names.collect(), page["next_cursor"].clone())
}

#[tokio::test]
async fn blocked_users_cannot_write_until_they_are_unblocked() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let before = bob.send(&ann, "before", "").await;
    let path = format!("/v1/blocks/{}", bob.id.get());

    for _ in 0..2 {
        ann.call("PUT", &path).await.expect(204);
    }
    bob.try_send(&ann, "", "").await.error(403);
    assert_eq!(ann.inbox().await, [before], "what was sent before stays");
    assert_eq!(blocked(&ann, "").await, (vec!["bob".to_owned()], Value::Null));
    assert_eq!(blocked(&bob, "").await.0, [""; 0], "users do not learn that they are blocked");

    for _ in 0..2 {
        ann.call("DELETE", &path).await.expect(204);
    }
    bob.send(&ann, "after", "").await;
    assert!(blocked(&ann, "").await.0.is_empty());
}

#[tokio::test]
async fn users_cannot_block_themselves_or_who_is_not_there() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    let own = ann.call("PUT", &format!("/v1/blocks/{}", ann.id.get())).await;
    assert_eq!(own.invalid(), ["user invalid"]);
    assert_eq!(own.json()["detail"], "user: you cannot block yourself");
    ann.call("PUT", "/v1/blocks/4000000").await.problem(404, "not_found");
    ann.call("DELETE", "/v1/blocks/4000000").await.problem(404, "not_found");
    // Who was there when they were blocked is unblocked, though they are erased since.
    let (bob, cat) = app.pair("bob", "cat").await;
    let path = |user: &User| format!("/v1/blocks/{}", user.id.get());
    ann.call("PUT", &path(&bob)).await.expect(204);
    for user in [&bob, &cat] {
        let body = json!({ "password": PASSWORD });
        user.request("DELETE", "/v1/users/me").json(&body).send().await.expect(204);
    }
    ann.call("DELETE", &path(&bob)).await.expect(204);
    ann.call("DELETE", &path(&bob)).await.problem(404, "not_found");
    ann.call("DELETE", &path(&cat)).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_list_comes_a_page_at_a_time() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for name in ["a", "b", "c", "d", "e"] {
        let id = app.account(name).await;
        ann.call("PUT", &format!("/v1/blocks/{}", id.get())).await.expect(204);
    }

    let (mut all, mut cursor) = blocked(&ann, "?limit=2").await;
    assert_eq!(all, ["e", "d"]);
    while let Some(next) = cursor.as_str() {
        let (names, next) = blocked(&ann, &format!("?limit=2&cursor={next}")).await;
        all.extend(names);
        cursor = next;
    }
    assert_eq!(all, ["e", "d", "c", "b", "a"]);
    assert_eq!(blocked(&ann, "?limit=5").await.1, Value::Null);
    let first = ann.call("GET", "/v1/blocks").await.expect(200)["data"][0].clone();
    assert_eq!(first["user"]["display_name"], json!("e"));
}
