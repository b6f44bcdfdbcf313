//! The lists of messages.

use domain::Time;
use serde_json::{Value, json};

use super::rfc3339;
use super::verbs::{ids, person};
use crate::harness::TestApp;
use crate::user::{User, number};

#[tokio::test]
async fn an_item_is_the_message_with_a_snippet_in_place_of_the_text() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let text = format!("{}\u{1f4ee}\u{301} and the rest", "ä".repeat(139));
    let id = ann.write_to(&[&bob], &text).await;

    let page = bob.page("").await;

    let mut expected = bob.show(id).await;
    expected
        .as_object_mut()
        .expect("it is an object")
        .retain(|name, _| name != "body" && name != "metadata");
    expected["snippet"] = json!(format!("{}\u{1f4ee}", "ä".repeat(139)));
    expected["to_count"] = json!(1);
    assert_eq!(page["data"], json!([expected]));
    assert_eq!(bob.page("q=rest").await["data"], json!([expected]), "found beyond the snippet");
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(page["state"], bob.call("GET", "/v1/unread").await.ok()["state"]);
    let short = ann.write_to(&[&bob], "short").await;
    assert_eq!(bob.page("").await["data"][0]["snippet"], "short");
    assert_eq!(bob.list("").await, [short, id], "the newest first");
}

#[tokio::test]
async fn each_box_holds_what_belongs_to_it() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let inbox = ann.write_to(&[&bob], "in").await;
    let archived = ann.write_to(&[&bob], "kept").await;
    let trashed = ann.write_to(&[&bob], "out").await;
    let both = ann.write_to(&[&bob], "kept and out").await;
    let sent = bob.write_to(&[&ann], "sent").await;
    let sent_kept = bob.write_to(&[&ann], "sent and kept").await;
    let sent_out = bob.write_to(&[&ann], "sent and out").await;
    let own = bob.write_to(&[&bob], "to myself").await;
    for id in [archived, both, sent_kept] {
        bob.mark(id, json!({ "archived": true })).await;
    }
    for id in [trashed, both, sent_out] {
        bob.mark(id, json!({ "trashed": true })).await;
    }

    let boxes = [
        ("", vec![own, inbox]),
        ("folder=inbox", vec![own, inbox]),
        ("folder=sent", vec![own, sent]),
        ("folder=archive", vec![sent_kept, archived]),
        ("folder=trash", vec![sent_out, both, trashed]),
        ("folder=all", vec![own, sent_kept, sent, archived, inbox]),
    ];
    for (query, expected) in boxes {
        assert_eq!(bob.list(query).await, expected, "{query}");
        // A filter that leaves all of them takes another way to the same.
        let wide = format!("{query}&until=2999-01-01T00:00:00Z");
        assert_eq!(bob.list(&wide).await, expected, "{wide}");
    }
    bob.mark(both, json!({ "trashed": false })).await;
    assert_eq!(bob.list("folder=archive").await, [sent_kept, both, archived], "where it was");
}

#[tokio::test]
async fn every_filter_has_to_hold() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let moment = |app: &TestApp| rfc3339(app.clock().now());
    let one = ann.write_to(&[&bob], "the quick brown fox").await;
    app.advance(Time::HOUR);
    let after_one = moment(&app);
    let two = cat.write_to(&[&bob, &ann], "jumps over the lazy dog").await;
    let three = ann.reply(one, "Brown foxes").await;
    app.advance(Time::HOUR);
    let after_three = moment(&app);
    let four = bob.write_to(&[&cat, &ann], "the end").await;
    bob.mark(two, json!({ "read": true, "starred": true })).await;
    bob.mark(four, json!({ "starred": true })).await;
    let (ann_id, cat_id, bob_id) = (ann.id.get(), cat.id.get(), bob.id.get());

    let filters = [
        ("unread=true".to_owned(), vec![three, one]),
        ("unread=false".to_owned(), vec![two]),
        ("folder=all&unread=false".to_owned(), vec![four, two]),
        ("folder=sent&unread=true".to_owned(), vec![]),
        ("starred=true".to_owned(), vec![two]),
        ("starred=true&folder=all".to_owned(), vec![four, two]),
        ("starred=false&folder=all".to_owned(), vec![three, one]),
        (format!("with={cat_id}"), vec![two]),
        (format!("with={cat_id}&folder=all"), vec![four, two]),
        (format!("with={ann_id}"), vec![three, two, one]),
        (format!("with={bob_id}&folder=all"), vec![]),
        ("with=4000000&folder=all".to_owned(), vec![]),
        (format!("conversation={one}"), vec![three, one]),
        (format!("conversation={two}"), vec![two]),
        (format!("conversation={two}&unread=true"), vec![]),
        (format!("conversation={three}"), vec![]),
        (format!("since={after_one}"), vec![three, two]),
        (format!("until={after_one}"), vec![one]),
        (format!("since={after_one}&until={after_three}&folder=all"), vec![three, two]),
        (format!("since={after_three}"), vec![]),
        (
            "since=2026-01-01T00:00:00%2B01:00&until=2999-01-01T00:00:00Z&folder=sent".into(),
            vec![four],
        ),
        ("q=brown".to_owned(), vec![three, one]),
        ("q=brown+fox".to_owned(), vec![one]),
        ("q=fox*&unread=true".to_owned(), vec![three, one]),
        ("q=%22quick+brown%22".to_owned(), vec![one]),
        ("q=%22brown+quick%22".to_owned(), vec![]),
        ("q=HI".to_owned(), vec![three, two, one]),
        (format!("q=the&with={cat_id}&starred=true&folder=all"), vec![four, two]),
    ];
    for (query, expected) in filters {
        assert_eq!(bob.list(&query).await, expected, "{query}");
        for limit in [1, 2] {
            let pages = format!("{query}&limit={limit}");
            assert_eq!(bob.list(&pages).await, expected, "{pages}");
        }
    }
    let to_self = bob.write_to(&[&bob], "note").await;
    assert_eq!(bob.list(&format!("with={bob_id}")).await, [to_self], "what one wrote to oneself");
}

#[tokio::test]
async fn no_search_is_an_error() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "AND OR NOT near(a b) 100% \"'x'\" \\ ü").await;
    let long = "x".repeat(5000);
    for odd in
        ["", "%22", "*", "%22%22*", "-", "%27", "%00", "%5C", "%F0%9F%93%AE", "%CC%81", &long]
    {
        assert!(bob.list(&format!("q={odd}")).await.is_empty(), "{odd}");
    }
    for found in ["AND", "or+not", "near(a", "100%25", "x", "U", "%22near+a+b%22", "near(a+b)*"] {
        assert_eq!(bob.list(&format!("q={found}")).await, [id], "{found}");
    }
}

#[tokio::test]
async fn a_page_has_50_items_or_as_many_as_are_asked_for_up_to_100() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut all = app.send_many(&ann, &bob, 201).await;
    all.reverse();

    for (query, length) in [("", 50), ("limit=1", 1), ("limit=100", 100), ("limit=101", 100)] {
        let page = bob.page(query).await;
        assert_eq!(ids(&page["data"]), all[..length], "{query}");
        let next = bob.page(&format!("cursor={}", page["next_cursor"].as_str().unwrap())).await;
        assert_eq!(number(&next["data"][0]["id"]), all[length], "{query}");
        assert!(page["state"].is_string(), "{query}");
        assert!(next.get("state").is_none(), "only the first page has it: {query}");
    }
    assert_eq!(bob.list("limit=67").await, all, "201 are 3 pages of 67, the last one full");
    assert_eq!(bob.list("limit=99999999999999999999&unread=true").await, all);
    let last = bob.page("limit=100&folder=sent").await;
    assert_eq!(last, json!({ "data": [], "next_cursor": null, "state": last["state"] }));
}

#[tokio::test]
async fn pages_stay_stable_while_messages_come_and_go() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    for query in ["", "folder=all", "until=2999-01-01T00:00:00Z", "q=many", "starred=false"] {
        let mut old = app.send_many(&ann, &bob, 30).await;
        old.reverse();
        let query = format!("{query}&limit=10");
        let first = bob.page(&query).await;
        assert_eq!(ids(&first["data"]), old[..10]);
        let cursor = first["next_cursor"].as_str().expect("there is more").to_owned();

        app.send_many(&ann, &bob, 5).await;
        bob.destroy(old[9]).await;
        bob.destroy(old[10]).await;
        bob.mark(old[12], json!({ "trashed": true })).await;
        bob.mark(old[2], json!({ "read": true })).await;
        bob.mark(old[13], json!({ "read": true })).await;

        let second = bob.page(&format!("{query}&cursor={cursor}")).await;
        let mut expected = old[10..].to_vec();
        expected.retain(|id| ![old[10], old[12]].contains(id));
        assert_eq!(ids(&second["data"]), expected[..10], "{query}");
        let again = bob.page(&format!("{query}&cursor={cursor}")).await;
        assert_eq!(again, second, "{query}");
    }
}

#[tokio::test]
async fn a_cursor_opens_no_other_mailbox_and_must_be_one() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    for body in ["1", "2", "3"] {
        ann.write_to(&[&bob], body).await;
    }
    let to_eve = ann.write_to(&[&eve], "4").await;
    eve.block(&ann).await;
    eve.block(&bob).await;
    let text = |page: &Value| page["next_cursor"].as_str().expect("there is more").to_owned();
    let foreign = text(&bob.page("limit=1").await);
    let conversations = text(&bob.call("GET", "/v1/conversations?limit=1").await.ok());
    let blocks = text(&eve.call("GET", "/v1/blocks?limit=1").await.ok());

    for cursor in [&foreign, &conversations, &blocks] {
        let page = eve.page(&format!("cursor={cursor}")).await;
        assert!(ids(&page["data"]).iter().all(|id| *id == to_eve), "{page}");
    }

    // Eight bytes are a number: too large, negative, and nothing.
    let odd = ["", "AAAA", "%3F", "AAAAAAAAAAA%3D", "f_________8", "__________8", "AAAAAAAAAAA"];
    for cursor in odd {
        for list in ["messages", "conversations", "blocks"] {
            let answer = bob.call("GET", &format!("/v1/{list}?cursor={cursor}")).await;
            assert_eq!(answer.invalid(), ["cursor invalid"], "{list} {cursor}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_question_is_told_all_at_once() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let query = "folder=x&unread=1&starred=&with=0&conversation=0&since=yesterday&until=\
                 2026-13-01T00:00:00Z&limit=0&cursor=x&order=asc&q=a&q=b";

    let mut reported = bob.call("GET", &format!("/v1/messages?{query}")).await.invalid();

    reported.sort_unstable();
    let expected = [
        "conversation invalid",
        "cursor invalid",
        "folder invalid",
        "limit invalid",
        "order unknown_field",
        "q repeated",
        "since invalid",
        "starred invalid",
        "unread invalid",
        "until invalid",
        "with invalid",
    ];
    assert_eq!(reported, expected);
}

#[tokio::test]
async fn users_who_are_erased_or_renamed_are_shown_as_they_are_now() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let id = ann.write_to(&[&bob, &cat], "hi").await;
    let reply = cat.reply(id, "hello").await;
    cat.set(json!({ "display_name": "Cat Cx" })).await;
    let names = |user: &User| {
        let mut person = person(user);
        if user.name == "cat" {
            person["display_name"] = json!("Cat Cx");
        }
        person
    };
    assert_eq!(bob.page("").await["data"][1]["to"], json!([names(&bob), names(&cat)]));
    ann.call("DELETE", "/v1/users/me").await.expect(204);

    let stub = json!({
        "id": ann.id.get(), "username": "deleted user", "display_name": "deleted user",
        "external_id": null, "kind": "person",
    });
    let [new, old] = [reply, id].map(|id| bob.show(id));
    let (new, old) = (new.await, old.await);
    assert_eq!((&old["from"], &new["to"][0]), (&stub, &stub));
    assert_eq!(old["body"], "hi", "the message stays");
    let items = bob.page("").await["data"].take();
    assert_eq!((&items[0]["to"], &items[1]["from"]), (&json!([stub, names(&bob)]), &stub));
    let conversation = bob.call("GET", &format!("/v1/conversations/{id}")).await.ok();
    assert_eq!(conversation["participants"][0], stub);
    assert_eq!(bob.list(&format!("with={}", ann.id.get())).await, [reply, id]);
    let answer = bob.try_write(&json!({ "to": [ann.id.get()], "body": "" })).await;
    answer.problem(403, "recipient_unavailable");
    let answer = bob.try_write(&json!({ "to": ["ann"], "body": "" })).await;
    answer.problem(422, "unknown_recipient");
    let rest = bob.write(&json!({ "in_reply_to": id, "body": "" })).await;
    assert_eq!(rest["to"], json!([names(&cat)]), "the others can be answered still");
    let gone = json!([{ "to": ann.id.get(), "code": "recipient_unavailable" }]);
    assert_eq!(rest["refused"], gone);
    let classic = bob.read(id).await;
    assert_eq!(classic["sender_id"], ann.id.get());
    assert_eq!(cat.reply(id, "works from here as well").await, number(&rest["id"]) + 1);
}
