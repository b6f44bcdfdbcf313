//! Both APIs show the same mailbox.

use serde_json::{Value, json};

use crate::harness::TestApp;

#[tokio::test]
async fn what_is_sent_by_one_is_read_by_the_other() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;

    let classic = ann.send(&bob, "hi", "by the classic API").await;
    let new = ann.write_to(&[&cat, &bob], "by the new one").await;

    let shown = bob.show(classic).await;
    assert_eq!((&shown["subject"], &shown["body"]), (&"hi".into(), &"by the classic API".into()));
    assert_eq!((&shown["conversation_id"], &shown["metadata"]), (&classic.into(), &Value::Null));
    assert_eq!(bob.inbox().await, [classic, new]);
    assert_eq!(bob.list("unread=true").await, [new, classic]);
    for (user, recipient) in [(&bob, &bob), (&cat, &cat), (&ann, &cat)] {
        let read = user.read(new).await;
        assert_eq!(read["sender_id"], ann.id.get());
        assert_eq!(read["receiver_id"], recipient.id.get(), "recipients see themselves");
        assert_eq!(read["body"], "by the new one");
        assert_eq!(read["creation_date"], user.show(new).await["sent_at"]);
    }
    let by_token = app.client();
    let token = bob.token(Some(&["messages:read"])).await;
    let read = json!({ "message_id": classic });
    let read =
        by_token.request("GET", "/messages/read_message").bearer(&token).json(&read).send().await;
    assert_eq!(read.ok()["body"], "by the classic API");
    assert_eq!(bob.show(classic).await["read_at"], Value::Null, "that token marks nothing");
}

#[tokio::test]
async fn what_is_marked_by_one_is_marked_in_the_other() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let one = ann.send(&bob, "1", "").await;
    let two = ann.send(&bob, "2", "").await;

    bob.read(one).await;
    assert!(bob.show(one).await["read_at"].is_string());
    assert_eq!(bob.counts().await, (1, 1));
    bob.mark(two, json!({ "read": true })).await;
    assert!(bob.unread().await.is_empty());
    bob.mark(one, json!({ "read": false })).await;
    assert_eq!(bob.unread().await, [one]);

    bob.mark(one, json!({ "archived": true })).await;
    assert_eq!((bob.inbox().await, bob.unread().await), (vec![one, two], vec![one]));
    bob.mark(one, json!({ "trashed": true })).await;
    assert_eq!((bob.inbox().await, bob.unread().await), (vec![two], vec![]));
    assert_eq!(bob.read(one).await["subject"], "1", "it can be read until it is gone");
    assert!(bob.show(one).await["read_at"].is_string());
    bob.mark(one, json!({ "trashed": false })).await;
    assert_eq!(bob.inbox().await, [one, two]);
}

#[tokio::test]
async fn what_the_classic_api_deletes_is_gone_in_both() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    let received = ann.write_to(&[&bob, &cat], "the recipient deletes it").await;
    let withdrawn = ann.write_to(&[&bob, &cat, &dan, &ann], "the sender deletes it").await;
    bob.mark(withdrawn, json!({ "archived": true })).await;
    cat.read(withdrawn).await;
    dan.mark(withdrawn, json!({ "trashed": true })).await;

    bob.delete(received).await;
    ann.delete(withdrawn).await;

    bob.try_show(received).await.problem(404, "not_found");
    assert_eq!(cat.list("").await, [received], "others keep theirs");
    assert_eq!(ann.list("folder=sent").await, [received]);
    for user in [&ann, &bob, &cat, &dan] {
        user.try_show(withdrawn).await.problem(404, "not_found");
        user.try_read(withdrawn).await.error(404);
        assert!(user.list("folder=trash").await.is_empty());
        assert!(!user.list("folder=all").await.contains(&withdrawn));
    }
    bob.try_read(received).await.error(404);
    cat.destroy(received).await;
    cat.try_read(received).await.error(404);
    cat.try_delete(received).await.error(404);
    assert_eq!(ann.read(received).await["receiver_id"], bob.id.get());
}

#[tokio::test]
async fn what_is_taken_back_is_gone_in_both() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let unread = ann.send(&bob, "1", "").await;
    let read = ann.send(&bob, "2", "").await;
    bob.read(read).await;

    assert_eq!(ann.unsend(unread).await.ok()["withdrawn_from"], json!([bob.id.get()]));
    assert_eq!(ann.unsend(read).await.ok()["read_by"], json!([bob.id.get()]));

    assert_eq!(bob.inbox().await, [read]);
    bob.try_read(unread).await.error(404);
    assert_eq!(ann.read(unread).await["subject"], "1", "the sender keeps a copy");
}

#[tokio::test]
async fn what_was_shown_is_not_taken_back_however_close_the_two_are() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    for id in app.send_many(&ann, &bob, 40).await {
        let (unsent, read) = tokio::join!(ann.unsend(id), bob.try_read(id));
        let unsent = unsent.ok();
        let (status, list) = match read.status {
            200 => (200, &unsent["read_by"]),
            _ => (404, &unsent["withdrawn_from"]),
        };
        assert_eq!((read.status, list), (status, &json!([bob.id.get()])), "{unsent}");
    }
}
