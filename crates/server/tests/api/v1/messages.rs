//! One message over /v1: reading, marking, deleting, taking back.

use domain::{Time, known_time, purge};
use serde_json::{Value, json};
use testing::Response;

use super::verbs::comparable;
use crate::harness::TestApp;
use crate::user::User;

/// A number that no message has had.
const NEVER: i64 = 4_000_000;

fn tag(answer: &Response) -> String {
    answer.header("etag").expect("there is a tag").to_owned()
}

/// Asks for a message where it is another one than those with these tags.
async fn show_unless(user: &User, id: i64, tags: &str) -> Response {
    let request = user.request("GET", &format!("/v1/messages/{id}"));
    request.header("if-none-match", tags).send().await
}

/// Marks a message where it is still one of those with these tags.
async fn mark_if(user: &User, id: i64, tags: &str, marks: Value) -> Response {
    let request = user.request("PATCH", &format!("/v1/messages/{id}")).json(&marks);
    request.header("if-match", tags).send().await
}

#[tokio::test]
async fn reading_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hi").await;
    let before = app.dump().await;

    for user in [&ann, &bob] {
        user.show(id).await;
        user.page("folder=all").await;
        user.page("q=hi").await;
        user.counts().await;
        user.call("GET", "/v1/conversations").await.ok();
        user.call("GET", &format!("/v1/conversations/{id}")).await.ok();
        user.call("HEAD", &format!("/v1/messages/{id}")).await.expect(200);
    }

    assert_eq!(app.dump().await, before);
    assert_eq!(bob.show(id).await["read_at"], Value::Null);
}

#[tokio::test]
async fn a_tag_holds_until_the_message_its_marks_or_the_names_in_it_change() {
    let mut app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hi").await;
    let other = ann.write_to(&[&bob], "other").await;
    let first = tag(&bob.try_show(id).await);

    app.restart();
    ann.write_to(&[&bob], "another message is none of its matter").await;
    bob.mark(other, json!({ "read": true })).await;
    bob.mark(id, json!({ "read": false })).await;
    for tags in [first.as_str(), "*", &format!("\"x\", W/{first}"), &format!("W/{first}")] {
        let unchanged = show_unless(&bob, id, tags).await;
        unchanged.expect(304);
        assert_eq!(tag(&unchanged), first);
    }
    for tags in ["\"x\"", "", first.trim_matches('"')] {
        show_unless(&bob, id, tags).await.ok();
    }

    bob.mark(id, json!({ "starred": true })).await;
    let second = tag(&show_unless(&bob, id, &first).await);
    ann.set(json!({ "display_name": "Ann Ax" })).await;
    let renamed = show_unless(&bob, id, &second).await;
    assert_eq!(renamed.ok()["from"]["display_name"], "Ann Ax");
    assert_eq!([&first, &second].iter().filter(|old| ***old == tag(&renamed)).count(), 0);
    assert_ne!(first, second);
}

#[tokio::test]
async fn marks_are_set_and_taken_off_and_what_is_not_named_stays() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hi").await;
    let mut expected = bob.show(id).await;
    for mark in ["read", "starred", "archived", "trashed"] {
        app.advance(Time::SECOND);
        let before = app.clock().now();
        let shown = bob.mark(id, json!({ mark: true })).await;
        let field = format!("{mark}_at");
        let at = shown[&field].as_str().expect("it is marked").parse::<jiff::Timestamp>();
        let at = at.expect("it is a moment").as_microsecond();
        assert!((before.0..=app.clock().now().0).contains(&at), "{mark}: {shown}");
        expected[&field] = shown[&field].clone();
        assert_eq!(shown, expected, "{mark}");
        assert_eq!(bob.show(id).await, expected, "{mark}");
    }
    let all = json!({ "read": false, "starred": false, "archived": false, "trashed": false });
    let none = bob.mark(id, all).await;
    for field in ["read_at", "starred_at", "archived_at", "trashed_at"] {
        assert_eq!(none[field], Value::Null);
        assert_eq!(ann.show(id).await[field].is_null(), field != "read_at", "the sender's own");
    }
}

#[tokio::test]
async fn marking_again_is_success_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hi").await;
    let marks = json!({ "read": true, "starred": true, "archived": false, "trashed": true });
    let first = bob.try_mark(id, &marks).await;
    app.advance(Time::SECOND);
    let before = app.dump().await;

    let again = bob.try_mark(id, &marks).await;
    let nothing = bob.try_mark(id, &json!({})).await;

    for answer in [&again, &nothing] {
        assert_eq!(answer.ok(), first.ok());
        assert_eq!(tag(answer), tag(&first));
    }
    let own = ann.try_mark(id, &json!({ "read": false })).await;
    assert_eq!(own.ok()["read_at"], own.ok()["sent_at"], "what was only sent stays read");
    assert_eq!(app.dump().await, before);
    let wrong = json!({ "read": null, "starred": "yes", "archived": 1, "body": "x" });
    let wrong = bob.try_mark(id, &wrong).await.invalid();
    let expected = [
        "#/read wrong_type",
        "#/starred wrong_type",
        "#/archived wrong_type",
        "#/body unknown_field",
    ];
    assert_eq!(wrong, expected);
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_mark_is_refused_where_the_message_has_changed() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hi").await;
    let first = tag(&bob.try_show(id).await);
    let second = tag(&mark_if(&bob, id, &first, json!({ "read": true })).await);
    let before = app.dump().await;

    for tags in [first.as_str(), "\"x\"", "", &format!("W/{first}"), second.trim_matches('"')] {
        let stale = mark_if(&bob, id, tags, json!({ "read": false })).await;
        stale.problem(412, "precondition_failed");
    }

    assert_eq!(app.dump().await, before);
    mark_if(&bob, id, &format!("{first}, {second}"), json!({ "starred": true })).await.ok();
    mark_if(&bob, id, "*", json!({ "starred": false })).await.ok();
    // As proxies hand it on that compress the response.
    let mut known = tag(&bob.try_show(id).await);
    for (before, after) in [("W/\"", "\""), ("\"", "-gzip\""), ("\"", "-br\""), ("\"", "-zstd\"")] {
        let handed_on = format!("{before}{}{after}", known.trim_matches('"'));
        show_unless(&bob, id, &handed_on).await.expect(304);
        let starred = json!({ "starred": before.starts_with('W') || after == "-br\"" });
        known = tag(&mark_if(&bob, id, &handed_on, starred).await);
        mark_if(&bob, id, &handed_on, json!({})).await.problem(412, "precondition_failed");
    }
    let unknown = mark_if(&bob, NEVER, "*", json!({ "read": true })).await;
    unknown.problem(404, "not_found");
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_the_own_mailbox_alone() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let id = ann.write_to(&[&bob, &cat], "hi").await;

    ann.destroy(id).await;
    bob.destroy(id).await;

    for user in [&ann, &bob] {
        let (there, never) = (user.try_show(id).await, user.try_show(NEVER).await);
        there.problem(404, "not_found");
        assert_eq!(comparable(&there), comparable(&never));
        user.destroy(id).await;
        assert!(user.list("folder=all").await.is_empty());
        assert!(user.list("folder=trash").await.is_empty());
    }
    assert_eq!(cat.show(id).await["from"]["username"], "ann");
    assert_eq!(cat.list("").await, [id]);
}

#[tokio::test]
async fn a_deletion_is_repeated_for_as_long_as_the_tombstone_is_kept() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let [id, withdrawn] = [ann.write_to(&[&bob], "1").await, ann.write_to(&[&bob], "2").await];
    let delete = async |user: &User, id| user.call("DELETE", &format!("/v1/messages/{id}")).await;
    bob.destroy(id).await;
    ann.unsend(withdrawn).await.ok();

    let before = (bob.call("GET", "/v1/unread").await.ok(), app.dump().await);
    for _ in 0..2 {
        delete(&bob, id).await.expect(204);
        delete(&bob, withdrawn).await.expect(204);
        let batch = json!({ "ids": [NEVER, withdrawn, id], "delete": true });
        let batch = bob.post("/v1/messages/batch", &batch).await.ok();
        let gone = (&batch["destroyed"], &batch["not_found"]);
        assert_eq!(gone, (&json!([id, withdrawn]), &json!([NEVER])));
    }
    assert_eq!((bob.call("GET", "/v1/unread").await.ok(), app.dump().await), before);
    for (user, never) in [(&bob, NEVER), (&eve, id), (&eve, withdrawn)] {
        delete(user, never).await.problem(404, "not_found");
    }
    bob.try_mark(id, &json!({ "read": true })).await.problem(404, "not_found");
    bob.try_delete(id).await.error(404);

    app.advance(30 * Time::DAY + Time::SECOND);
    bob.login().await;
    let cx = app.clock().cx();
    app.write(move |tx| purge::tombstones(tx, &cx, 100)).await;
    delete(&bob, id).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_trash_empties_itself_after_30_days() {
    let mut app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let old = ann.write_to(&[&bob], "old").await;
    let new = ann.write_to(&[&bob], "new").await;
    bob.mark(old, json!({ "trashed": true })).await;
    app.advance(Time::DAY);
    bob.mark(new, json!({ "trashed": true })).await;
    app.advance(29 * Time::DAY + Time::SECOND);
    let cx = app.clock().cx();
    app.write(move |tx| known_time::believe(tx, &cx)).await;

    // It is looked for at the start, and every minute.
    app.restart();
    ann.login().await;
    bob.login().await;
    for _ in 0..10_000 {
        if bob.try_show(old).await.status == 404 {
            break;
        }
    }

    assert_eq!(bob.list("folder=trash").await, [new]);
    bob.try_show(old).await.problem(404, "not_found");
    assert_eq!(ann.list("folder=sent").await, [new, old], "others keep theirs");
}

#[tokio::test]
async fn a_message_is_taken_back_from_everybody_who_has_not_read_it() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    let eve = app.user("eve").await;
    let id = ann.write_to(&[&dan, &cat, &bob, &eve, &ann], "oh").await;
    cat.mark(id, json!({ "read": true })).await;
    dan.mark(id, json!({ "archived": true })).await;
    eve.destroy(id).await;

    let unsent = ann.unsend(id).await.ok();

    let [bob_id, cat_id, dan_id] = [&bob, &cat, &dan].map(|user| user.id.get());
    let expected = json!({ "withdrawn_from": [bob_id, dan_id], "read_by": [cat_id] });
    assert_eq!(unsent, expected, "who deleted it is in neither list");
    for user in [&bob, &dan, &eve] {
        user.try_show(id).await.problem(404, "not_found");
        assert!(user.list("folder=all").await.is_empty());
        assert_eq!(user.counts().await, (0, 0));
    }
    assert_eq!(cat.list("").await, [id]);
    assert_eq!(ann.list("folder=sent").await, [id], "the sender keeps a copy");
    let again = ann.unsend(id).await.ok();
    assert_eq!(again, json!({ "withdrawn_from": [], "read_by": [cat_id] }));
}

#[tokio::test]
async fn what_was_read_stays_though_it_is_marked_as_unread() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let unread = json!({ "read": false });
    for way in ["message", "conversation", "batch of ids", "batch of a filter", "twice"] {
        let id = ann.write_to(&[&bob], way).await;
        bob.read(id).await;
        match way {
            "conversation" => {
                let path = format!("/v1/conversations/{id}");
                bob.request("PATCH", &path).json(&unread).send().await.ok();
            }
            "batch of ids" => {
                let batch = json!({ "ids": [id], "set": unread });
                bob.post("/v1/messages/batch", &batch).await.ok();
            }
            "batch of a filter" => {
                let batch = json!({ "filter": { "conversation": id }, "set": unread });
                bob.post("/v1/messages/batch", &batch).await.ok();
            }
            "twice" => {
                for read in [false, true, false] {
                    bob.mark(id, json!({ "read": read })).await;
                }
            }
            _ => drop(bob.mark(id, unread.clone()).await),
        }
        assert_eq!(bob.show(id).await["read_at"], Value::Null, "{way}");

        let unsent = ann.unsend(id).await.ok();

        let expected = json!({ "withdrawn_from": [], "read_by": [bob.id.get()] });
        assert_eq!(unsent, expected, "{way}");
        assert_eq!(bob.list("unread=true").await, [id], "{way}");
        // The classic API withdraws it from both mailboxes, read or not.
        ann.delete(id).await;
        bob.try_show(id).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn only_the_sender_takes_a_message_back() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let id = ann.write_to(&[&bob], "oh").await;
    let deleted = ann.write_to(&[&bob], "oh").await;
    ann.destroy(deleted).await;
    let before = app.dump().await;

    bob.unsend(id).await.problem(403, "not_the_sender");
    for (user, id) in [(&eve, id), (&ann, deleted), (&eve, NEVER)] {
        let refused = user.unsend(id).await;
        refused.problem(404, "not_found");
        assert_eq!(comparable(&refused), comparable(&user.unsend(NEVER).await));
    }
    let body = json!({ "from": [bob.id.get()] });
    let path = format!("/v1/messages/{id}/unsend");
    assert_eq!(ann.post(&path, &body).await.invalid(), ["#/from unknown_field"]);

    assert_eq!(app.dump().await, before);
    assert_eq!(ann.post(&path, &json!({})).await.ok()["withdrawn_from"], json!([bob.id.get()]));
}
