//! `/messages`: writing, listing, reading, deleting.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;

use super::{DELETE, READ};
use crate::harness::TestApp;
use crate::user::{User, number as number_of};

#[tokio::test]
async fn a_message_arrives_and_is_unread_until_it_is_read() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;

    let answer = ann.try_send(&bob, "hi", "How are you?").await;

    let id = number_of(&answer.ok()["message_id"]);
    assert_eq!(answer.ok(), json!({ "message_id": id }));
    assert_eq!((bob.inbox().await, bob.unread().await), (vec![id], vec![id]));
    assert_eq!(bob.read(id).await["body"], "How are you?");
    assert_eq!((bob.inbox().await, bob.unread().await), (vec![id], vec![]));
    assert_eq!(bob.read(id).await["body"], "How are you?", "it can be read again");
    assert!(ann.inbox().await.is_empty(), "what was sent was not received");
}

#[tokio::test]
async fn reading_shows_the_message_with_its_date() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let before = app.clock().now().0;
    let id = ann.send(&bob, "hi", "How are you?").await;
    let after = app.clock().now().0;

    let mut message = bob.read(id).await;

    let date = message["creation_date"].take();
    let date = date.as_str().expect("the date is text");
    let sent_at = date.parse::<Timestamp>().expect("it is an RFC 3339 date");
    assert!(date.ends_with('Z') && date.as_bytes()[10] == b'T', "{date}");
    assert!((before..=after).contains(&sent_at.as_microsecond()), "{date}");
    let all = json!({
        "message_id": id,
        "sender_id": ann.id.get(),
        "receiver_id": bob.id.get(),
        "subject": "hi",
        "body": "How are you?",
        "creation_date": null,
    });
    assert_eq!(message, all);
}

#[tokio::test]
async fn senders_read_what_they_sent_and_that_marks_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hi", "How are you?").await;
    let before = app.dump().await;

    assert_eq!(ann.read(id).await["body"], "How are you?");

    assert_eq!(app.dump().await, before);
    assert_eq!(bob.unread().await, [id]);
    let (sent, received) = (ann.read(id).await, bob.read(id).await);
    assert_eq!(sent, received);
}

#[tokio::test]
async fn the_lists_are_empty_at_first_and_ascending_ever_after() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let empty = ann.try_inbox().await;
    assert_eq!(empty.ok(), json!({ "messages_id": [] }));

    let mut to_bob = Vec::new();
    for turn in 0..6 {
        bob.send(&ann, "the other way", "").await;
        to_bob.push(ann.send(&bob, "number", &turn.to_string()).await);
    }

    assert_eq!(bob.inbox().await, to_bob);
    bob.read(to_bob[4]).await;
    bob.read(to_bob[1]).await;
    bob.delete(to_bob[2]).await;
    assert_eq!(bob.inbox().await, [to_bob[0], to_bob[1], to_bob[3], to_bob[4], to_bob[5]]);
    assert_eq!(bob.unread().await, [to_bob[0], to_bob[3], to_bob[5]]);
    assert!(to_bob.is_sorted());
}

#[tokio::test]
async fn a_mailbox_of_more_than_a_thousand_messages_lists_whole() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut sent = Vec::new();

    for number in [999, 1, 1, 600] {
        sent.extend(app.send_many(&ann, &bob, number).await);
        assert_eq!(bob.inbox().await, sent);
        assert_eq!(bob.unread().await, sent);
    }

    bob.read(sent[0]).await;
    assert_eq!(bob.unread().await, sent[1..]);
    bob.delete(sent[1600]).await;
    assert_eq!(bob.inbox().await, sent[..1600]);
}

#[tokio::test]
async fn what_is_sent_at_once_arrives_once_each() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut clients = JoinSet::new();

    for number in 0..8 {
        let client = app.client();
        for cookie in ["csrftoken", "sessionid"] {
            client.set_cookie(cookie, &ann.client.cookie(cookie).expect("ann has it"));
        }
        let (client, to) = (User::new(ann.id, "ann", client), bob.id);
        clients.spawn(async move {
            let mut sent = Vec::new();
            for turn in 0..10 {
                let subject = format!("{number} {turn}");
                let draft = json!({ "receiver_id": to.get(), "subject": subject, "body": "" });
                let request = client.request("POST", "/messages/write_message").json(&draft);
                sent.push((number_of(&request.send().await.ok()["message_id"]), subject));
            }
            sent
        });
    }
    let mut sent = clients.join_all().await.concat();

    sent.sort();
    let ids: Vec<_> = sent.iter().map(|(id, _)| *id).collect();
    assert_eq!(bob.inbox().await, ids);
    for (id, subject) in sent {
        assert_eq!(bob.read(id).await["subject"], subject);
    }
}

#[tokio::test]
async fn what_the_recipient_deletes_the_sender_keeps() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hi", "How are you?").await;

    let answer = bob.try_delete(id).await;

    assert_eq!(answer.ok(), json!({ "status": "success" }));
    assert!(bob.inbox().await.is_empty() && bob.unread().await.is_empty());
    bob.try_read(id).await.error(404);
    bob.try_delete(id).await.error(404);
    assert_eq!(ann.read(id).await["body"], "How are you?");
    ann.delete(id).await;
    ann.try_read(id).await.error(404);
}

#[tokio::test]
async fn what_the_sender_deletes_is_gone_for_both() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let unread = ann.send(&bob, "one", "").await;
    let read = ann.send(&bob, "two", "").await;
    let kept = ann.send(&bob, "three", "").await;
    bob.read(read).await;

    assert_eq!(ann.try_delete(unread).await.ok(), json!({ "status": "success" }));
    ann.delete(read).await;

    assert_eq!((bob.inbox().await, bob.unread().await), (vec![kept], vec![kept]));
    for id in [unread, read] {
        for user in [&ann, &bob] {
            user.try_read(id).await.error(404);
            user.try_delete(id).await.error(404);
        }
    }
    let left = app.dump().await;
    assert_eq!(left.iter().filter(|row| row.starts_with("message ")).count(), 1, "{left:?}");
}

#[tokio::test]
async fn a_number_is_never_used_again() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.send(&bob, "one", "").await;
    ann.delete(first).await;

    assert!(ann.send(&bob, "two", "").await > first);
}

#[tokio::test]
async fn a_message_to_oneself_is_one_message_born_unread() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    let id = ann.send(&ann, "milk", "and bread").await;

    assert_eq!((ann.inbox().await, ann.unread().await), (vec![id], vec![id]));
    let message = ann.read(id).await;
    assert_eq!(message["sender_id"], message["receiver_id"]);
    assert_eq!((ann.inbox().await, ann.unread().await), (vec![id], vec![]));
    ann.delete(id).await;
    assert!(ann.inbox().await.is_empty());
    ann.try_read(id).await.error(404);
}

#[tokio::test]
async fn who_is_not_there_cannot_be_written_to_and_who_is_disabled_takes_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    app.disable(&bob).await;
    let before = app.dump().await;

    let disabled = ann.try_send(&bob, "hi", "").await;
    let body = json!({ "receiver_id": 77, "subject": "hi", "body": "" });
    let unknown = ann.request("POST", "/messages/write_message").json(&body).send().await;

    assert!(disabled.error(403).starts_with("receiver_id: "), "{disabled:?}");
    assert!(unknown.error(404).starts_with("receiver_id: "), "{unknown:?}");
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn the_message_may_be_named_in_the_query_string() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (one, two) = (ann.send(&bob, "one", "").await, ann.send(&bob, "two", "").await);
    let read = |query: String| bob.request("GET", &format!("{}?{query}", READ.path));

    assert_eq!(read(format!("message_id={one}")).send().await.ok()["subject"], "one");
    assert_eq!(bob.unread().await, [two]);
    assert_eq!(read(format!("a=b&message_id={two}&c")).send().await.ok()["subject"], "two");
    for odd in ["", "message_id", "message_id=", "message_id=x", "message_id=1&message_id=2"] {
        let answer = read(odd.to_owned()).send().await;
        assert!(answer.error(400).contains("message_id"), "{odd}: {answer:?}");
    }
    read("message_id=%ff".to_owned()).send().await.error(400);
    read("message_id=0".to_owned()).send().await.error(404);

    let path = format!("{}?message_id={one}", DELETE.path);
    assert_eq!(bob.request("DELETE", &path).send().await.ok(), json!({ "status": "success" }));
    assert_eq!(bob.inbox().await, [two]);
}

#[tokio::test]
async fn every_call_under_messages_needs_a_login() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hi", "").await;
    let before = app.dump().await;
    let mut answers = BTreeSet::new();

    for (method, path) in [
        ("POST", "/messages/write_message"),
        ("GET", "/messages/messages_per_receiver"),
        ("GET", "/messages/unread_per_receiver"),
        ("GET", "/messages/read_message"),
        ("DELETE", "/messages/delete_message"),
    ] {
        // With a token, with nothing at all, with sessions that are none.
        let body = json!({ "message_id": id, "receiver_id": 1, "subject": "", "body": "" });
        let visitor = app.visitor().await;
        let token = visitor.csrf_token().await;
        let mut asks =
            vec![visitor.request(method, path), visitor.request(method, path).without_cookies()];
        let stranger = format!("{}.{}", bob.id.get(), "A".repeat(43));
        for session in ["", "x", ".", "1.", "0.x", "1.AAAA", &stranger, "9999999999999999999.A"] {
            let cookies = format!("csrftoken={token}; sessionid={session}");
            asks.push(visitor.request(method, path).cookies(&cookies));
        }
        for request in asks {
            let answer = request.json(&body).send().await;
            answer.error(401);
            assert!(answer.cookies().is_empty(), "{answer:?}");
            answers.insert(answer.comparable());
        }
    }

    assert_eq!(answers.len(), 1, "they are all the same: {answers:?}");
    assert_eq!(app.dump().await, before);
}
