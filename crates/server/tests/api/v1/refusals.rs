//! Whom a user takes messages from, as those who write to them see it.

use serde_json::json;
use testing::Response;

use super::verbs::{comparable, emptied};
use crate::harness::TestApp;
use crate::user::User;

async fn try_send(from: &User, to: &User) -> Response {
    from.try_write(&json!({ "to": [to.id.get()], "body": "" })).await
}

#[tokio::test]
async fn users_do_not_learn_why_they_cannot_write_to_somebody() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let [blocks, closed] = [app.user("blocks").await, app.user("closed").await];
    let [disabled, erased] = [app.user("disabled").await, app.user("erased").await];
    let knows = app.user("knows").await;
    blocks.block(&ann).await;
    closed.set(json!({ "accept_from": "nobody" })).await;
    knows.set(json!({ "accept_from": "known" })).await;
    app.disable(&disabled).await;
    erased.call("DELETE", "/v1/users/me").await.expect(204);
    emptied(&app).await;
    let before = app.dump().await;

    let model = try_send(&ann, &closed).await;
    model.problem(403, "recipient_unavailable");
    let classic = ann.try_send(&closed, "hi", "").await;
    assert!(classic.error(403).starts_with("receiver_id: "));
    for other in [&blocks, &disabled, &erased, &knows] {
        let answer = try_send(&ann, other).await;
        assert_eq!(comparable(&answer), comparable(&model), "{}", other.name);
        let answer = ann.try_send(other, "hi", "").await;
        assert_eq!(answer.comparable(), classic.comparable(), "{}", other.name);
    }

    assert_eq!(app.dump().await, before);
    let to: Vec<_> =
        [&blocks, &closed, &disabled, &erased, &knows, &ann].map(|to| to.id.get()).into();
    let sent = ann.write(&json!({ "to": to, "body": "" })).await;
    let code = "recipient_unavailable";
    let refused: Vec<_> = to[..5].iter().map(|to| json!({ "to": to, "code": code })).collect();
    assert_eq!(sent["refused"], json!(refused));
}

#[tokio::test]
async fn who_is_known_may_write() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    let eve = app.user("eve").await;
    let before = cat.write_to(&[&ann], "sent before").await;
    ann.set(json!({ "accept_from": "known" })).await;

    for stranger in [&bob, &dan, &eve] {
        try_send(stranger, &ann).await.problem(403, "recipient_unavailable");
    }
    ann.write_to(&[&bob], "I wrote first").await;
    dan.set(json!({ "accept_from": "everyone" })).await;
    cat.write_to(&[&ann, &dan], "we share a conversation").await;

    for known in [&bob, &dan, &cat] {
        try_send(known, &ann).await.expect(201);
    }
    try_send(&eve, &ann).await.problem(403, "recipient_unavailable");
    assert_eq!(ann.show(before).await["from"]["username"], "cat", "what was there stays");
    try_send(&ann, &ann).await.expect(201);
}

#[tokio::test]
async fn a_reply_in_a_conversation_passes_unless_its_author_is_blocked() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = bob.write_to(&[&ann], "before").await;
    let single = ann.write_to(&[&bob], "from me").await;
    ann.set(json!({ "accept_from": "nobody" })).await;

    try_send(&bob, &ann).await.problem(403, "recipient_unavailable");
    for answered in [id, single] {
        bob.reply(answered, "a reply").await;
    }
    let other = bob.write_to(&[&bob], "my own").await;
    let answer = bob.try_write(&json!({ "in_reply_to": other, "to": ["ann"], "body": "" })).await;
    answer.problem(403, "recipient_unavailable");

    ann.block(&bob).await;
    let count = ann.list("folder=all").await.len();
    let refused = bob.try_write(&json!({ "in_reply_to": id, "body": "" })).await;
    assert_eq!(comparable(&refused), comparable(&try_send(&bob, &ann).await));
    refused.problem(403, "recipient_unavailable");
    assert_eq!(ann.list("folder=all").await.len(), count, "what was sent before stays");
    assert_eq!(ann.show(id).await["body"], "before");
    try_send(&ann, &bob).await.expect(201);
    ann.call("DELETE", &format!("/v1/blocks/{}", bob.id.get())).await.expect(204);
    bob.reply(id, "again").await;
}

#[tokio::test]
async fn in_a_conversation_of_several_the_rest_get_the_reply() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let id = ann.write_to(&[&bob, &cat], "to both").await;
    cat.block(&bob).await;

    let reply = bob.write(&json!({ "in_reply_to": id, "body": "to all" })).await;

    let refused = json!([{ "to": cat.id.get(), "code": "recipient_unavailable" }]);
    assert_eq!(reply["refused"], refused);
    assert_eq!(reply["to"][0]["id"], ann.id.get());
    assert_eq!(cat.list("").await, [id]);
}
