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

/// What a message from one to another gets through each way: new, a reply to them alone, a reply
/// to all, and the classic API.
async fn ways(from: &User, to: &User, answered: i64) -> [u16; 4] {
    let new = try_send(from, to).await;
    let alone = json!({ "in_reply_to": answered, "to": [to.id.get()], "body": "" });
    let alone = from.try_write(&alone).await;
    let all = from.try_write(&json!({ "in_reply_to": answered, "body": "" })).await;
    [new.status, alone.status, all.status, from.try_send(to, "", "").await.status]
}

#[tokio::test]
async fn a_mailbox_opens_by_what_its_owner_has_written_through_every_way() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    let eve = app.user("eve").await;
    // bob and ann wrote to each other, cat only to ann; dan got a message together with her.
    let to_bob = ann.write_to(&[&bob], "I wrote first").await;
    let of_cat = cat.write_to(&[&ann, &dan], "we share a conversation").await;
    let of_eve = eve.write_to(&[&dan], "not to ann").await;
    ann.destroy(of_cat).await;
    let (no, yes, sent) = (403, 201, 200);

    for (rule, arrived, expected) in [
        ("everyone", 12, [[yes, yes, yes, sent], [yes, yes, yes, sent], [yes, yes, yes, sent]]),
        ("known", 4, [[yes, yes, yes, sent], [no, no, yes, no], [no, no, yes, no]]),
        ("nobody", 2, [[no, yes, yes, no], [no, no, yes, no], [no, no, yes, no]]),
    ] {
        ann.set(json!({ "accept_from": rule })).await;
        let before = ann.list("folder=all").await.len();
        let got = [
            ways(&bob, &ann, to_bob).await,
            // A reply to all reaches the other one.
            ways(&cat, &ann, of_cat).await,
            ways(&dan, &ann, of_cat).await,
        ];
        assert_eq!(got, expected, "{rule}");
        assert_eq!(ann.list("folder=all").await.len() - before, arrived, "{rule}");
    }
    assert_eq!(ways(&eve, &ann, of_eve).await, [no, no, yes, no], "a stranger");
    try_send(&ann, &ann).await.expect(201);
}

#[tokio::test]
async fn a_blocked_sender_gets_in_by_no_second_account_that_they_add() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let id = ann.write_to(&[&bob], "from me").await;
    ann.set(json!({ "accept_from": "known" })).await;
    let both = json!({ "in_reply_to": id, "to": ["ann", "eve"], "body": "meet eve" });
    let both = bob.write(&both).await["id"].as_i64().expect("it is a number");
    ann.block(&bob).await;
    let count = ann.list("folder=all").await.len();

    let refused = json!([{ "to": ann.id.get(), "code": "recipient_unavailable" }]);
    for (from, answered) in [(&eve, both), (&bob, both)] {
        let [new, alone, all, classic] = ways(from, &ann, answered).await;
        assert_eq!([new, alone, all, classic], [403, 403, 201, 403], "{}", from.name);
        let reply = from.write(&json!({ "in_reply_to": answered, "body": "to all" })).await;
        assert_eq!(reply["refused"], refused);
    }
    assert_eq!(ann.list("folder=all").await.len(), count, "what was sent before stays");
}

#[tokio::test]
async fn who_blocks_somebody_cannot_write_to_them() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let id = bob.write_to(&[&ann, &cat], "before").await;
    let alone = bob.write_to(&[&ann], "to ann alone").await;
    ann.block(&bob).await;
    let before = app.dump().await;

    let answer = try_send(&ann, &bob).await;
    let problem = answer.problem(403, "blocked_by_you");
    assert_eq!(problem["detail"], "The caller blocks the recipient.");
    let told = "you block this user: unblock them to write to them";
    let error = json!({ "pointer": "#/to/0", "detail": told, "code": "blocked_by_you" });
    assert_eq!(problem["errors"], json!([error]));
    let reply = ann.try_write(&json!({ "in_reply_to": alone, "body": "" })).await;
    let error = json!({
        "pointer": "#/in_reply_to", "to": bob.id.get(), "detail": told, "code": "blocked_by_you",
    });
    assert_eq!(reply.problem(403, "blocked_by_you")["errors"], json!([error]));
    assert_eq!(ann.try_send(&bob, "", "").await.error(403), format!("receiver_id: {told}"));
    assert_eq!(app.dump().await, before);

    let refused = json!([{ "to": bob.id.get(), "code": "blocked_by_you" }]);
    let to_all = ann.write(&json!({ "in_reply_to": id, "body": "to all" })).await;
    assert_eq!((&to_all["refused"], &to_all["to"][0]["id"]), (&refused, &json!(cat.id.get())));
    let several = ann.write(&json!({ "to": [bob.id.get(), "cat"], "body": "" })).await;
    assert_eq!(several["refused"], refused);
    ann.call("DELETE", &format!("/v1/blocks/{}", bob.id.get())).await.expect(204);
    try_send(&ann, &bob).await.expect(201);
}

#[tokio::test]
async fn each_of_the_recipients_is_named_where_none_can_be_written_to() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    let id = dan.write_to(&[&ann, &bob, &cat], "to all").await;
    bob.set(json!({ "accept_from": "nobody" })).await;
    ann.block(&cat).await;
    dan.block(&ann).await;
    let error = |place: usize, code, detail| {
        let pointer = format!("#/to/{place}");
        json!({ "pointer": pointer, "detail": detail, "code": code })
    };
    let unknown = |place| error(place, "unknown_recipient", "there is no such user");
    let unavailable = "this user does not accept messages from you";
    let unavailable = |place| error(place, "recipient_unavailable", unavailable);
    let told = "you block this user: unblock them to write to them";
    let blocked = |place| error(place, "blocked_by_you", told);

    for (to, status, code, errors) in [
        (json!(["nobody", 4_000_000]), 422, "unknown_recipient", json!([unknown(0), unknown(1)])),
        (
            json!([4_000_000, "bob", "cat", "bob", "dan"]),
            403,
            "recipient_unavailable",
            json!([unknown(0), unavailable(1), blocked(2), unavailable(4)]),
        ),
        (json!(["cat", "nobody"]), 403, "blocked_by_you", json!([blocked(0), unknown(1)])),
    ] {
        let answer = ann.try_write(&json!({ "to": to, "body": "" })).await;
        assert_eq!(answer.problem(status, code)["errors"], errors, "{to}");
    }
    let answer = ann.try_write(&json!({ "in_reply_to": id, "body": "" })).await;
    let of_parent = |user: &User, code, detail| {
        let to = user.id.get();
        json!({ "pointer": "#/in_reply_to", "to": to, "detail": detail, "code": code })
    };
    let closed = ("recipient_unavailable", "this user does not accept messages from you");
    let errors = json!([
        of_parent(&bob, closed.0, closed.1),
        of_parent(&cat, "blocked_by_you", told),
        of_parent(&dan, closed.0, closed.1),
    ]);
    assert_eq!(answer.problem(403, "recipient_unavailable")["errors"], errors);
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
