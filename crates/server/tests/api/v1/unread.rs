//! The counts of what is unread.

use serde_json::json;

use super::verbs::ids;
use crate::harness::TestApp;
use crate::user::User;

/// Asserts that the counts are those of the lists, and that the classic API says the same.
async fn agree(user: &User) -> (i64, i64) {
    let (messages, conversations) = user.counts().await;
    let list = user.page("unread=true&limit=100").await;
    let length = |list: &[i64]| i64::try_from(list.len()).expect("it is small");
    assert_eq!(messages, length(&ids(&list["data"])));
    let all = user.call("GET", "/v1/conversations?limit=100").await.ok();
    let all = all["data"].as_array().expect("it is a list");
    let unread: Vec<_> = all.iter().filter_map(|one| one["unread"].as_i64()).collect();
    assert_eq!(conversations, length(&unread) - length_of_zeros(&unread));
    assert_eq!(messages, unread.iter().sum::<i64>());
    (messages, conversations)
}

fn length_of_zeros(numbers: &[i64]) -> i64 {
    i64::try_from(numbers.iter().filter(|number| **number == 0).count()).expect("it is small")
}

#[tokio::test]
async fn the_counts_are_those_of_the_lists_whatever_happens() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    assert_eq!(agree(&bob).await, (0, 0));
    let first = ann.write_to(&[&bob], "one").await;
    let second = ann.reply(first, "two").await;
    let other = ann.write_to(&[&bob, &ann], "three").await;
    assert_eq!(agree(&bob).await, (3, 2));
    assert_eq!(agree(&ann).await, (1, 1), "the copy to oneself");

    let steps = [
        (first, json!({ "read": true }), (2, 2)),
        (second, json!({ "archived": true }), (1, 1)),
        (other, json!({ "trashed": true }), (0, 0)),
        (other, json!({ "trashed": false, "starred": true }), (1, 1)),
        (first, json!({ "read": false }), (2, 2)),
        (second, json!({ "archived": false }), (3, 2)),
    ];
    for (id, marks, counts) in steps {
        bob.mark(id, marks.clone()).await;
        assert_eq!(agree(&bob).await, counts, "after {marks} of {id}");
    }
    bob.destroy(first).await;
    assert_eq!(agree(&bob).await, (2, 2));
    ann.unsend(second).await.ok();
    assert_eq!(agree(&bob).await, (1, 1));
    ann.delete(other).await;
    assert_eq!(agree(&bob).await, (0, 0), "withdrawn by the classic API");
    assert_eq!(agree(&ann).await, (0, 0));
}

#[tokio::test]
async fn the_tag_of_the_counts_is_the_state_of_the_mailbox() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "one").await;
    let unread = bob.call("GET", "/v1/unread").await;
    let state = unread.ok()["state"].as_str().expect("it is text").to_owned();
    let tag = format!("\"{state}\"");
    assert_eq!(unread.header("etag"), Some(tag.as_str()));
    assert_eq!(bob.page("").await["state"], state, "the list begins at the same state");
    let request = || bob.request("GET", "/v1/unread").header("if-none-match", &tag).send();

    bob.show(id).await;
    ann.show(id).await;
    let unchanged = request().await;
    unchanged.expect(304);
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));

    bob.mark(id, json!({ "read": true })).await;
    let changed = request().await;
    assert_eq!(changed.ok()["messages"], 0);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
}
