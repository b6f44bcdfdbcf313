//! Conversations.

use domain::sending::{self, Draft};
use domain::text::{Body, Lengths, Subject};
use domain::{ConversationId, MessageId};
use serde_json::{Value, json};
use testing::Response;

use super::verbs::{comparable, ids, person};
use crate::harness::TestApp;
use crate::user::{User, number};

/// A number that no conversation has.
const NEVER: i64 = 4_000_000;

async fn list(user: &User) -> Vec<i64> {
    ids(&user.call("GET", "/v1/conversations").await.ok()["data"])
}

async fn show(user: &User, id: i64) -> Value {
    user.call("GET", &format!("/v1/conversations/{id}")).await.ok()
}

async fn change(user: &User, id: i64, change: &Value) -> Response {
    user.request("PATCH", &format!("/v1/conversations/{id}")).json(change).send().await
}

async fn trash(user: &User, id: i64) -> Response {
    user.call("DELETE", &format!("/v1/conversations/{id}")).await
}

#[tokio::test]
async fn a_conversation_is_its_messages_as_one_thing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let draft = json!({ "to": ["bob"], "subject": "Plans", "body": "?" });
    let id = ann.write(&draft).await["id"].as_i64().expect("it is a number");
    let alone = show(&bob, id).await;
    let item = bob.page("").await["data"][0].take();
    let mut expected = json!({
        "id": id,
        "subject": "Plans",
        "participants": [person(&ann), person(&bob)],
        "participants_count": 2,
        "last_message": item,
        "unread": 1,
        "muted": false,
    });
    assert_eq!(alone, expected);

    let reply = json!({ "in_reply_to": id, "to": ["ann", "cat"], "body": "!" });
    bob.write(&reply).await;

    expected["participants"] = json!([person(&ann), person(&bob), person(&cat)]);
    expected["participants_count"] = json!(3);
    expected["last_message"] = bob.page("folder=sent").await["data"][0].take();
    assert_eq!(show(&bob, id).await, expected);
    let of_cat = show(&cat, id).await;
    assert_eq!(of_cat["subject"], "Re: Plans", "the first message was not for her");
    assert_eq!(of_cat["unread"], 1);
    for user in [&ann, &bob, &cat] {
        let listed = user.call("GET", "/v1/conversations").await.ok();
        let one = show(user, id).await;
        let state = user.call("GET", "/v1/unread").await.ok()["state"].take();
        let page = json!({ "data": [one], "next_cursor": null, "state": state });
        assert_eq!(listed, page, "{}", user.name);
    }
}

#[tokio::test]
async fn the_list_has_the_newest_first_and_comes_a_page_at_a_time() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut singles = app.send_many(&ann, &bob, 130).await;
    let revived = singles.remove(3);
    let newest = bob.reply(revived, "again").await;
    singles.reverse();
    let mut expected = vec![revived];
    expected.extend(&singles);

    for (query, length) in [("", 50), ("?limit=3", 3), ("?limit=1000", 100)] {
        let page = bob.call("GET", &format!("/v1/conversations{query}")).await.ok();
        assert_eq!(ids(&page["data"]), expected[..length], "{query}");
    }
    let mut all = Vec::new();
    let mut query = "limit=40".to_owned();
    loop {
        let page = bob.call("GET", &format!("/v1/conversations?{query}")).await.ok();
        all.extend(ids(&page["data"]));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=40&cursor={cursor}");
        ann.write_to(&[&bob], "what comes meanwhile is in no later page").await;
    }
    assert_eq!(all, expected);
    let page = bob.call("GET", &format!("/v1/conversations?limit=1&{query}")).await;
    assert_eq!(page.invalid(), ["limit repeated"]);
    let first = show(&bob, revived).await;
    assert_eq!(first["last_message"]["id"], newest);
}

#[tokio::test]
async fn a_muted_conversation_is_counted_all_the_same() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "one").await;

    let muted = change(&bob, id, &json!({ "muted": true })).await.ok();

    assert_eq!(muted["muted"], true);
    assert_eq!(muted, show(&bob, id).await);
    assert_eq!(muted["unread"], 1);
    assert_eq!(show(&ann, id).await["muted"], false, "it is the caller's own state");
    ann.reply(id, "two").await;
    assert_eq!(bob.counts().await, (2, 1));
    let again = change(&bob, id, &json!({ "muted": true })).await.ok();
    assert_eq!((&again["muted"], &again["unread"]), (&json!(true), &json!(2)));
    let spoken = change(&bob, id, &json!({ "muted": false, "read": true })).await.ok();
    assert_eq!((&spoken["muted"], &spoken["unread"]), (&json!(false), &json!(0)));
    assert_eq!(bob.counts().await, (0, 0));
    let nothing = change(&bob, id, &json!({})).await.ok();
    assert_eq!(nothing, spoken);
}

#[tokio::test]
async fn a_mute_outlasts_the_messages_whichever_way_they_go() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    for way in ["deleted", "batch", "withdrawn", "unsent", "trash"] {
        let first = ann.write_to(&[&bob, &cat], way).await;
        let aside = json!({ "in_reply_to": first, "to": ["ann"], "body": "aside" });
        let aside = cat.write(&aside).await["id"].clone();
        change(&bob, first, &json!({ "muted": true })).await.ok();
        let path = format!("/v1/conversations/{first}");
        match way {
            "deleted" => bob.destroy(first).await,
            "batch" => {
                let batch = json!({ "ids": [first], "delete": true });
                bob.post("/v1/messages/batch", &batch).await.ok();
            }
            "withdrawn" => ann.delete(first).await,
            "unsent" => drop(ann.unsend(first).await.ok()),
            _ => {
                bob.call("DELETE", &path).await.expect(204);
                assert_eq!(show(&bob, first).await["muted"], true);
                bob.destroy(first).await;
            }
        }
        bob.call("GET", &path).await.problem(404, "not_found");
        change(&bob, first, &json!({ "muted": false })).await.problem(404, "not_found");
        let listed = bob.call("GET", "/v1/conversations").await.ok();
        assert_eq!(listed["data"], json!([]), "{way}");

        let reply = json!({ "in_reply_to": aside, "to": ["bob"], "body": "and you?" });
        let reply = cat.write(&reply).await;

        let again = show(&bob, first).await;
        assert_eq!((&again["muted"], &again["unread"]), (&json!(true), &json!(1)), "{way}");
        assert_eq!(again["last_message"]["id"], reply["id"], "{way}");
        bob.destroy(number(&reply["id"])).await;
    }
}

#[tokio::test]
async fn all_of_it_is_marked_as_read_and_the_newest_received_as_unread() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let second = ann.reply(first, "two").await;
    let archived = ann.reply(first, "three").await;
    bob.mark(archived, json!({ "archived": true })).await;
    let own = bob.reply(second, "four").await;
    let other = ann.write_to(&[&bob], "another").await;

    let read = change(&bob, first, &json!({ "read": true })).await.ok();

    assert_eq!(read["unread"], 0);
    assert_eq!(bob.counts().await, (1, 1));
    assert_eq!(bob.list("unread=true&folder=all").await, [other], "the archived one as well");
    let state = bob.call("GET", "/v1/unread").await.ok();
    change(&bob, first, &json!({ "read": true })).await.ok();
    assert_eq!(bob.call("GET", "/v1/unread").await.ok(), state, "again, it changes nothing");
    bob.mark(archived, json!({ "archived": false })).await;
    for _ in 0..2 {
        let unread = change(&bob, first, &json!({ "read": false })).await.ok();
        assert_eq!((&unread["unread"], &unread["last_message"]["id"]), (&1.into(), &own.into()));
        assert_eq!(bob.list("unread=true&folder=all").await, [other, archived]);
    }
    let single = change(&bob, other, &json!({ "read": true })).await.ok();
    assert_eq!(single["unread"], 0);
    let single = change(&bob, other, &json!({ "read": false })).await.ok();
    assert_eq!(single["unread"], 1);
    let sender = change(&ann, other, &json!({ "read": false })).await.ok();
    assert_eq!(sender["unread"], 0, "what was only sent stays read");
    assert_eq!(ann.unread().await, [own]);
    for wrong in [json!({ "read": null }), json!({ "muted": 1 }), json!({ "subject": "x" })] {
        assert_eq!(change(&bob, first, &wrong).await.invalid().len(), 1, "{wrong}");
    }
}

#[tokio::test]
async fn a_long_conversation_is_marked_and_moved_whole() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let (cx, sender, recipient) = (app.clock().cx(), ann.id, bob.id);
    let conversation = MessageId::new(first).expect("it is an id");
    app.write(move |tx| {
        let lengths = Lengths { subject_chars: 9, body_bytes: 9 };
        let subject = Subject::parse("again".to_owned(), lengths)?;
        let body = Body::parse(String::new(), lengths)?;
        let mut draft = Draft::new(recipient, subject, body);
        draft.in_reply_to = Some(conversation);
        (0..450).try_for_each(|_| sending::send(tx, &cx, sender, &draft, None).map(drop))
    })
    .await;
    assert!(ConversationId::new(first).is_some());
    assert_eq!(bob.counts().await, (451, 1));

    assert_eq!(change(&bob, first, &json!({ "read": true })).await.ok()["unread"], 0);

    assert_eq!(bob.counts().await, (0, 0));
    trash(&bob, first).await.expect(204);
    assert_eq!(bob.list("folder=trash&limit=100").await.len(), 451);
    assert!(bob.list("folder=all").await.is_empty() && list(&bob).await.is_empty());
    assert_eq!(ann.list("folder=sent&limit=100").await.len(), 451);
}

#[tokio::test]
async fn the_callers_copies_go_to_the_trash_and_come_back_with_a_message() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let second = bob.reply(first, "two").await;
    let other = ann.write_to(&[&bob], "other").await;

    trash(&bob, first).await.expect(204);
    trash(&bob, other).await.expect(204);

    assert!(list(&bob).await.is_empty());
    assert_eq!(bob.list("folder=trash").await, [other, second, first]);
    assert_eq!(bob.counts().await, (0, 0));
    assert!(bob.inbox().await.is_empty() && bob.unread().await.is_empty());
    for id in [first, other] {
        let there = show(&bob, id).await;
        assert_eq!((&there["last_message"], &there["unread"]), (&Value::Null, &json!(0)));
        trash(&bob, id).await.expect(204);
    }
    assert_eq!(list(&ann).await, [other, first], "the caller's copies only");
    assert_eq!(show(&ann, first).await["last_message"]["id"], second);

    let third = ann.reply(second, "three").await;
    assert_eq!(list(&bob).await, [first]);
    assert_eq!(show(&bob, first).await["last_message"]["id"], third);
    bob.mark(other, json!({ "trashed": false })).await;
    assert_eq!(list(&bob).await, [first, other]);
    assert_eq!(bob.counts().await, (2, 2));
}

#[tokio::test]
async fn what_is_not_mine_is_no_conversation() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let single = ann.write_to(&[&bob], "one").await;
    let long = ann.write_to(&[&bob], "two").await;
    let reply = bob.reply(long, "three").await;
    let gone = ann.write_to(&[&bob], "four").await;
    bob.destroy(gone).await;
    let before = app.dump().await;

    for (user, id) in [(&eve, single), (&eve, long), (&bob, gone), (&bob, reply)] {
        for (method, body) in [
            ("GET", None),
            ("DELETE", None),
            ("PATCH", Some(json!({}))),
            ("PATCH", Some(json!({ "muted": true }))),
            ("PATCH", Some(json!({ "read": true }))),
            ("PATCH", Some(json!({ "read": false }))),
        ] {
            let request = async |id: i64| {
                let request = user.request(method, &format!("/v1/conversations/{id}"));
                match &body {
                    Some(body) => request.json(body).send().await,
                    None => request.send().await,
                }
            };
            let (there, never) = (request(id).await, request(NEVER).await);
            there.problem(404, "not_found");
            assert_eq!(comparable(&there), comparable(&never), "{method} {body:?} of {id}");
        }
    }
    assert_eq!(app.dump().await, before);
    assert!(list(&eve).await.is_empty());
}

#[tokio::test]
async fn a_conversation_goes_with_its_last_message() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "one").await;
    let second = ann.reply(first, "two").await;

    bob.destroy(first).await;
    let left = show(&bob, first).await;
    assert_eq!((&left["last_message"]["id"], &left["subject"]), (&second.into(), &"hi".into()));
    assert_eq!(left["unread"], 1);
    bob.destroy(second).await;

    assert_eq!(bob.counts().await, (0, 0));
    assert!(list(&bob).await.is_empty());
    trash(&bob, first).await.problem(404, "not_found");
    assert_eq!(show(&ann, first).await["last_message"]["id"], second);
}
