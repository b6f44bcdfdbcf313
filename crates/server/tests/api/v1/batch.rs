//! Many messages at once.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testing::Response;

use crate::harness::TestApp;
use crate::user::User;

async fn batch(user: &User, body: &Value) -> Response {
    user.post("/v1/messages/batch", body).await
}

#[tokio::test]
async fn messages_are_marked_by_their_ids_each_once() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let [one, two] = [ann.write_to(&[&bob], "1").await, ann.write_to(&[&bob], "2").await];
    let foreign = ann.write_to(&[&eve], "3").await;
    bob.mark(one, json!({ "read": true })).await;
    let ids = [two, foreign, one, two, 4_000_000];

    let set = json!({ "ids": ids, "set": { "read": true, "starred": true } });
    let done = batch(&bob, &set).await.ok();

    let expected = json!({
        "updated": [one, two],
        "destroyed": [],
        "not_found": [foreign, 4_000_000],
        "next_cursor": null,
    });
    assert_eq!(done, expected, "what is marked already is a success too");
    assert_eq!(bob.counts().await, (0, 0));
    assert_eq!(bob.list("starred=true").await, [two, one]);
    assert_eq!(eve.show(foreign).await["starred_at"], Value::Null);
    let before = app.dump().await;
    assert_eq!(batch(&bob, &set).await.ok(), expected, "again");
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn messages_are_deleted_by_their_ids_from_the_own_mailbox() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut ids = Vec::new();
    for body in ["1", "2", "3"] {
        ids.push(ann.write_to(&[&bob], body).await);
    }

    let done = batch(&bob, &json!({ "ids": ids[..2], "delete": true })).await.ok();

    assert_eq!(done["destroyed"], json!(ids[..2]));
    assert_eq!((&done["updated"], &done["not_found"]), (&json!([]), &json!([])));
    assert_eq!(bob.list("folder=all").await, [ids[2]]);
    assert_eq!(ann.list("folder=sent").await, [ids[2], ids[1], ids[0]]);
    let again = batch(&bob, &json!({ "ids": ids[..2], "delete": true })).await.ok();
    assert_eq!(again, done, "they are gone now");
}

#[tokio::test]
async fn a_filter_takes_more_than_a_thousand_in_steps() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let kept = ann.write_to(&[&bob], "archived").await;
    bob.mark(kept, json!({ "archived": true })).await;
    let ids = app.send_many(&ann, &bob, 1203).await;
    let with = json!({ "unread": true, "with": ann.id.get() });

    let mut body = json!({ "filter": with, "set": { "read": true } });
    let first = batch(&bob, &body).await.ok();
    let late = ann.write_to(&[&bob], "came after the first step").await;
    body["cursor"] = first["next_cursor"].clone();
    let second = batch(&bob, &body).await.ok();

    let numbers = |list: &Value| serde_json::from_value::<Vec<i64>>(list.clone()).unwrap();
    assert_eq!(numbers(&first["updated"]), ids[203..], "the newest first, ascending");
    assert_eq!(numbers(&second["updated"]), ids[..203]);
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(bob.list("unread=true").await, [late]);
    assert_eq!(bob.counts().await, (1, 1));

    let mut body = json!({ "filter": {}, "delete": true });
    let mut destroyed = 0;
    loop {
        let done = batch(&bob, &body).await.ok();
        destroyed += numbers(&done["destroyed"]).len();
        body["cursor"] = done["next_cursor"].clone();
        if body["cursor"].is_null() {
            break;
        }
    }
    assert_eq!(destroyed, 1204);
    assert_eq!(bob.list("folder=all").await, [kept], "the inbox is what a filter means first");
}

#[tokio::test]
async fn a_batch_says_what_and_with_which_messages() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hi").await;
    let before = app.dump().await;
    let set = json!({ "read": true });
    let many: Vec<_> = (1..=1001).collect();
    let wrong = [
        (json!({}), vec!["#/ids missing", "#/set missing"]),
        (json!({ "set": set }), vec!["#/ids missing"]),
        (json!({ "ids": [id] }), vec!["#/set missing"]),
        (json!({ "ids": [id], "filter": {}, "set": set }), vec!["#/filter invalid"]),
        (json!({ "ids": [id], "set": set, "delete": true }), vec!["#/delete invalid"]),
        (json!({ "ids": [], "set": set }), vec!["#/ids invalid"]),
        (json!({ "ids": many, "set": set }), vec!["#/ids invalid"]),
        (json!({ "ids": [id, "7", 0], "set": set }), vec!["#/ids/1 wrong_type", "#/ids/2 invalid"]),
        (json!({ "ids": [id], "delete": false }), vec!["#/delete invalid"]),
        (json!({ "ids": [id], "set": { "read": 1 } }), vec!["#/set/read wrong_type"]),
        (json!({ "ids": [id], "set": { "body": 1 } }), vec!["#/set/body unknown_field"]),
        (json!({ "ids": [id], "set": true }), vec!["#/set wrong_type"]),
        (json!({ "ids": [id], "set": set, "cursor": "AAAA" }), vec!["#/cursor unknown_field"]),
        (json!({ "filter": { "folder": "x" }, "set": set }), vec!["#/filter/folder invalid"]),
        (json!({ "filter": { "limit": 1 }, "set": set }), vec!["#/filter/limit unknown_field"]),
        (json!({ "filter": { "with": true }, "set": set }), vec!["#/filter/with wrong_type"]),
        (json!({ "filter": { "with": "ext:" }, "set": set }), vec!["#/filter/with invalid"]),
        (json!({ "filter": { "since": "x" }, "set": set }), vec!["#/filter/since invalid"]),
        (json!({ "filter": {}, "set": set, "cursor": "AAAA" }), vec!["#/cursor invalid"]),
    ];
    for (body, reported) in wrong {
        let mut answer = batch(&bob, &body).await.invalid();
        answer.sort_unstable();
        assert_eq!(answer, reported, "{body}");
    }
    assert_eq!(app.dump().await, before);
    let most: Vec<_> = (1..=1000).map(|number| 1_000_000 + number).collect();
    let done = batch(&bob, &json!({ "ids": most, "set": {} })).await.ok();
    assert_eq!(done["not_found"], json!(most));
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_filter_means_what_it_means_in_a_list() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let first = ann.write_to(&[&bob], "brown fox").await;
    let second = cat.write_to(&[&bob], "brown bear").await;
    let third = ann.write_to(&[&bob], "fox").await;
    bob.mark(third, json!({ "archived": true })).await;
    let filters = [
        (json!({ "with": cat.id.get() }), json!([second])),
        (json!({ "q": "brown" }), json!([first, second])),
        (json!({ "q": "brown", "with": ann.id.get() }), json!([first])),
        (json!({ "folder": "archive" }), json!([third])),
        (json!({ "conversation": first, "folder": "all" }), json!([first])),
        (json!({ "q": "" }), json!([])),
        (json!({}), json!([first, second])),
    ];
    for (filter, expected) in filters {
        let done = batch(&bob, &json!({ "filter": filter, "set": { "starred": true } })).await;
        assert_eq!(done.ok()["updated"], expected, "{filter}");
    }
}

#[tokio::test]
async fn a_limit_that_is_null_is_refused_and_not_lifted() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.write_to(&[&bob], "1").await;
    let before = app.dump().await;

    for name in ["folder", "unread", "starred", "with", "conversation", "since", "until", "q"] {
        for action in [json!({ "delete": true }), json!({ "set": { "read": true } })] {
            let mut body = json!({ "filter": { "folder": "inbox" } });
            body["filter"][name] = Value::Null;
            body.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
            let refused = batch(&bob, &body).await.invalid();
            assert_eq!(refused, [format!("#/filter/{name} wrong_type")]);
        }
    }
    for name in ["cursor", "up_to"] {
        let body = json!({ "filter": {}, name: null, "delete": true });
        assert_eq!(batch(&bob, &body).await.invalid(), [format!("#/{name} wrong_type")]);
    }
    let token = json!({ "name": "a", "scopes": null });
    let refused = bob.request("POST", "/v1/tokens").json(&token).send().await;
    assert_eq!(refused.invalid(), ["#/scopes wrong_type"]);
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_batch_is_done_in_steps_that_leave_turns_to_others() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut ids = app.send_many(&ann, &bob, 250).await;
    let (_, before) = app.work();

    let done = batch(&bob, &json!({ "ids": ids, "set": { "read": true } })).await.ok();

    assert_eq!(done["updated"], json!(ids), "one answer, ascending");
    let (_, after) = app.work();
    assert!(after - before >= 3, "writes: {before}, {after}");
    assert_eq!(bob.counts().await, (0, 0));
    ids.extend([4_000_000, 4_000_001]);
    let gone = batch(&bob, &json!({ "ids": ids, "delete": true })).await.ok();
    assert_eq!((&gone["destroyed"], &gone["not_found"]), (&json!(ids[..250]), &json!(ids[250..])));
}

#[tokio::test]
async fn a_send_does_not_wait_for_forty_batches_of_somebody_else() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mallory = app.user("mallory").await;
    // Looked for one after the other, and not found.
    let ids: Vec<_> = (4_000_000..4_000_300).collect();
    let body = json!({ "ids": ids, "set": { "read": true } });
    let done = AtomicUsize::new(0);
    let token = mallory.token(None).await;
    let clients: Vec<_> = (0..40).map(|_| app.client()).collect();
    let batches = join_all(clients.iter().map(async |client| {
        let batch = client.request("POST", "/v1/messages/batch").bearer(&token).json(&body);
        batch.send().await.ok();
        done.fetch_add(1, SeqCst);
    }));
    let sends = async {
        while app.work().0 < 20 && done.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for number in 0..3 {
            ann.write_to(&[&bob], "hello").await;
            let done = done.load(SeqCst);
            assert!(done < 20, "send {number} waited for {done} batches");
        }
    };
    tokio::join!(batches, sends);
    assert_eq!(done.load(SeqCst), 40);
}
