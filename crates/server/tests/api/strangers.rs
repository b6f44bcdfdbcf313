//! Users see, count, change and learn of their own messages alone.

use serde_json::json;
use testing::Response;

use crate::harness::TestApp;
use crate::user::User;

/// A number that no message has had.
const NEVER: i64 = 4_000_000;

/// Every way to name a message.
const WAYS: [(&str, &str, bool); 4] = [
    ("GET", "/messages/read_message", true),
    ("GET", "/messages/read_message", false),
    ("DELETE", "/messages/delete_message", true),
    ("DELETE", "/messages/delete_message", false),
];

async fn request(user: &User, (method, path, in_query): (&str, &str, bool), id: i64) -> Response {
    if in_query {
        return user.request(method, &format!("{path}?message_id={id}")).send().await;
    }
    user.request(method, path).json(&json!({ "message_id": id.to_string() })).send().await
}

/// Holds that the message is, for that user, the same as one that never was.
async fn is_nothing_to(app: &TestApp, user: &User, id: i64) {
    let before = app.dump().await;
    for way in WAYS {
        let (there, never) = (request(user, way, id).await, request(user, way, NEVER).await);
        assert_eq!(there.comparable(), never.comparable(), "{way:?} tells {} of {id}", user.name);
        assert!([401, 404].contains(&there.status), "{there:?}");
    }
    assert_eq!(app.dump().await, before, "{} changed something", user.name);
}

#[tokio::test]
async fn a_message_is_nothing_to_who_neither_sent_nor_received_it() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let unread = ann.send(&bob, "between us", "a secret").await;
    let read = ann.send(&bob, "between us", "a secret").await;
    bob.read(read).await;
    let to_self = ann.send(&ann, "my own", "a secret").await;

    for id in [unread, read, to_self] {
        is_nothing_to(&app, &eve, id).await;
    }

    is_nothing_to(&app, &bob, to_self).await;
    assert!(eve.inbox().await.is_empty() && eve.unread().await.is_empty());
    assert_eq!(bob.unread().await, [unread]);
    assert_eq!(bob.inbox().await, [unread, read]);
}

#[tokio::test]
async fn what_was_deleted_is_nothing_to_anybody_who_deleted_it() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let deleted = ann.send(&bob, "one", "").await;
    let withdrawn = ann.send(&bob, "two", "").await;
    let withdrawn_read = ann.send(&bob, "three", "").await;
    let both = ann.send(&bob, "four", "").await;
    let own = bob.send(&bob, "five", "").await;
    bob.read(withdrawn_read).await;
    bob.delete(deleted).await;
    ann.delete(withdrawn).await;
    ann.delete(withdrawn_read).await;
    bob.delete(both).await;
    ann.delete(both).await;
    bob.delete(own).await;

    for id in [deleted, withdrawn, withdrawn_read, both, own] {
        is_nothing_to(&app, &bob, id).await;
        is_nothing_to(&app, &eve, id).await;
    }
    for id in [withdrawn, withdrawn_read, both, own] {
        is_nothing_to(&app, &ann, id).await;
    }

    assert!(bob.inbox().await.is_empty());
    assert_eq!(ann.read(deleted).await["subject"], "one");
}

#[tokio::test]
async fn who_is_not_logged_in_learns_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "between us", "a secret").await;
    bob.logout().await;
    let visitor = User::new(bob.id, "a visitor", app.visitor().await);
    let nobody = User::new(bob.id, "nobody", app.client());

    for user in [&bob, &visitor, &nobody] {
        is_nothing_to(&app, user, id).await;
    }
}

#[tokio::test]
async fn disabled_users_can_do_nothing_and_keep_what_they_have() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let received = ann.send(&bob, "to bob", "").await;
    let sent = bob.send(&ann, "to ann", "").await;
    app.disable(&bob).await;
    app.advance(5 * domain::Time::SECOND);

    is_nothing_to(&app, &bob, received).await;
    is_nothing_to(&app, &bob, sent).await;
    bob.try_inbox().await.error(401);
    bob.try_send(&ann, "hi", "").await.error(401);

    assert_eq!(ann.read(sent).await["subject"], "to ann", "what was sent stays");
    assert_eq!(ann.read(received).await["subject"], "to bob");
    let id = bob.id;
    let cx = app.clock().cx();
    app.write(move |tx| domain::users::enable(tx, &cx, id)).await;
    bob.login().await;
    assert_eq!(bob.inbox().await, [received]);
}

#[tokio::test]
async fn a_disabled_sender_is_stopped_at_once() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    // The session has just been found good, and is believed for a moment.
    bob.inbox().await;
    app.disable(&bob).await;

    bob.try_send(&ann, "one last word", "").await.error(401);

    assert!(ann.inbox().await.is_empty());
}

#[tokio::test]
async fn lists_hold_what_one_received_and_nothing_else() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let all = [&ann, &bob, &eve];
    let mut received = [vec![], vec![], vec![]];

    for _ in 0..3 {
        for from in all {
            for (to, list) in all.iter().zip(&mut received) {
                list.push(from.send(to, "round", "").await);
            }
        }
    }

    for (user, list) in all.iter().zip(&received) {
        assert_eq!(user.inbox().await, *list);
        assert_eq!(user.unread().await, *list);
    }
    for (index, user) in all.iter().enumerate() {
        for (other, list) in received.iter().enumerate() {
            for (number, id) in list.iter().enumerate() {
                // The sender of every third message is the user, and senders read their own.
                let own = other == index || number % 3 == index;
                assert_eq!(user.try_read(*id).await.status, if own { 200 } else { 404 });
            }
        }
        let left = user.unread().await;
        assert!(left.is_empty(), "{} read all of their own", user.name);
        if index == 0 {
            assert_eq!(bob.unread().await, received[1], "and nobody else's");
        }
    }
}

#[tokio::test]
async fn the_sender_cannot_tell_whether_a_message_was_read_or_deleted() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hi", "").await;
    let unread = ann.try_read(id).await.comparable();

    bob.read(id).await;
    assert_eq!(ann.try_read(id).await.comparable(), unread);
    bob.delete(id).await;
    assert_eq!(ann.try_read(id).await.comparable(), unread);
}

#[tokio::test]
async fn the_session_of_one_user_is_no_session_of_another() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.send(&bob, "to bob", "").await;
    let secret = ann.client.session();
    let (_, secret) = secret.split_once('.').expect("the id stands before the secret");
    let (token, id) = (ann.client.csrf_token().await, bob.id.get());

    for forged in [format!("{id}.{secret}"), format!("0{id}.{secret}"), format!("+{id}.{secret}")] {
        let cookies = format!("csrftoken={token}; sessionid={forged}");
        let request = ann.request("GET", "/messages/messages_per_receiver").cookies(&cookies);
        request.send().await.error(401);
    }
}
