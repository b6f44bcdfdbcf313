//! Sending over /v1.

use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testing::is_about_sqlite;

use super::verbs::{ids, person};
use crate::harness::TestApp;
use crate::user::{User, number};

/// A number that no user has.
const NOBODY: i64 = 4_000_000;

#[tokio::test]
async fn a_message_comes_back_as_it_was_sent_and_says_where_it_is() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let draft = json!({
        "to": [bob.id.get()],
        "subject": "Grüße \u{1f4ee}",
        "body": " zwei\nZeilen\t\u{7f} ",
        "client_id": "outbox-17",
        "metadata": { "order": 7 },
    });

    let answer = ann.try_write(&draft).await;

    let mut sent = answer.expect(201);
    let id = number(&sent["id"]);
    assert_eq!(answer.header("location"), Some(format!("/v1/messages/{id}").as_str()));
    let all = json!({
        "id": id,
        "conversation_id": id,
        "in_reply_to": null,
        "from": person(&ann),
        "to": [person(&bob)],
        "subject": "Grüße \u{1f4ee}",
        "body": " zwei\nZeilen\t\u{7f} ",
        "sent_at": sent["sent_at"],
        "read_at": sent["sent_at"],
        "starred_at": null,
        "archived_at": null,
        "trashed_at": null,
        "client_id": "outbox-17",
        "metadata": { "order": 7 },
        "refused": [],
    });
    assert_eq!(sent, all, "a sender's own copy is born read");
    sent.as_object_mut().expect("it is an object").remove("refused");
    let shown = ann.try_show(id).await;
    assert_eq!(shown.ok(), sent);
    assert_eq!(shown.header("etag"), answer.header("etag"), "it is the tag of the message");

    sent["read_at"] = Value::Null;
    sent["client_id"] = Value::Null;
    assert_eq!(bob.show(id).await, sent, "the client_id is the sender's own");
    let item = ann.page("folder=sent").await["data"][0].take();
    assert_eq!(item["client_id"], "outbox-17");
    assert_eq!(bob.page("").await["data"][0]["client_id"], Value::Null);
}

#[tokio::test]
async fn recipients_are_named_by_id_or_name_in_whatever_case_and_count_once() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("Cat").await;
    let to = json!(["CAT", bob.id.get(), "bob", cat.id.get(), "cat"]);

    let sent = ann.write(&json!({ "to": to, "body": "" })).await;

    assert_eq!(sent["to"], json!([person(&cat), person(&bob)]), "in the order of the sender");
    assert_eq!(sent["refused"], json!([]));
    assert_eq!(sent["subject"], "");
    for user in [&bob, &cat] {
        assert_eq!(user.list("").await, [number(&sent["id"])]);
    }
}

#[tokio::test]
async fn a_message_has_up_to_100_recipients() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let ann = app.user("ann").await;
    let mut to = Vec::new();
    for index in 0..101 {
        to.push(app.account(&format!("recipient{index}")).await.get());
    }
    let last = User::new(domain::UserId::new(to[99]).unwrap(), "recipient99", app.visitor().await);
    last.login().await;
    let before = app.dump().await;

    let too_many = ann.try_write(&json!({ "to": to, "body": "" })).await;

    assert_eq!(too_many.invalid(), ["#/to invalid"]);
    assert_eq!(app.dump().await, before);
    to.truncate(100);
    let sent = ann.write(&json!({ "to": to, "body": "" })).await;
    assert_eq!(ids(&sent["to"]), to);
    assert_eq!(last.show(number(&sent["id"])).await["to"], sent["to"]);
}

#[tokio::test]
async fn a_message_to_oneself_is_one_entry_in_inbox_and_sent_born_unread() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;

    let sent = ann.write(&json!({ "to": ["ann", "ann"], "body": "", "client_id": "c" })).await;

    let id = number(&sent["id"]);
    assert_eq!((&sent["read_at"], &sent["client_id"]), (&Value::Null, &json!("c")));
    assert_eq!(sent["to"], json!([person(&ann)]));
    for shelf in ["inbox", "sent", "all"] {
        assert_eq!(ann.list(&format!("folder={shelf}")).await, [id], "{shelf}");
    }
    assert_eq!(ann.counts().await, (1, 1));
    assert_eq!(ann.inbox().await, [id]);
    let both = ann.write_to(&[&bob, &ann], "").await;
    assert_eq!(ann.list("folder=sent").await, [both, id]);
    assert_eq!(ann.list("unread=true").await, [both, id]);
    ann.mark(id, json!({ "archived": true })).await;
    assert_eq!(ann.list("folder=sent").await, [both]);
    assert_eq!(ann.list("folder=archive").await, [id]);
}

#[tokio::test]
async fn who_cannot_be_written_to_is_named_while_the_rest_get_it() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    cat.set(json!({ "accept_from": "nobody" })).await;
    dan.block(&ann).await;
    let to = json!(["no such name", "cat", NOBODY, bob.id.get(), dan.id.get(), NOBODY, ""]);

    let sent = ann.write(&json!({ "to": to, "body": "hi" })).await;

    assert_eq!(sent["to"], json!([person(&bob)]), "nobody learns whom it did not reach");
    let refused = json!([
        { "to": "no such name", "code": "unknown_recipient" },
        { "to": "cat", "code": "recipient_unavailable" },
        { "to": NOBODY, "code": "unknown_recipient" },
        { "to": dan.id.get(), "code": "recipient_unavailable" },
        { "to": "", "code": "unknown_recipient" },
    ]);
    assert_eq!(sent["refused"], refused);
    assert_eq!(bob.list("").await, [number(&sent["id"])]);
    assert!(cat.list("folder=all").await.is_empty() && dan.list("folder=all").await.is_empty());
    assert_eq!(bob.show(number(&sent["id"])).await["to"], json!([person(&bob)]));
}

#[tokio::test]
async fn a_message_that_reaches_nobody_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    bob.set(json!({ "accept_from": "nobody" })).await;
    app.disable(&cat).await;
    let before = app.dump().await;
    let (bob, cat) = (bob.id.get(), cat.id.get());

    for to in [json!([NOBODY]), json!(["no such name", NOBODY])] {
        let answer = ann.try_write(&json!({ "to": to, "body": "" })).await;
        answer.problem(422, "unknown_recipient");
    }
    for to in [json!([bob]), json!(["cat"]), json!([bob, cat]), json!([NOBODY, bob])] {
        let answer = ann.try_write(&json!({ "to": to, "body": "" })).await;
        answer.problem(403, "recipient_unavailable");
    }
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_reply_goes_to_everybody_in_the_same_conversation() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    let first = json!({ "to": ["bob", "cat"], "subject": "Plans", "body": "?" });
    let first = number(&ann.write(&first).await["id"]);

    let reply = bob.write(&json!({ "in_reply_to": first, "body": "yes" })).await;

    assert_eq!(reply["conversation_id"], first);
    assert_eq!(reply["in_reply_to"], first);
    assert_eq!(reply["subject"], "Re: Plans");
    let everybody_else = json!([person(&ann), person(&cat)]);
    assert_eq!(reply["to"], everybody_else);
    let second = number(&reply["id"]);
    assert_eq!(cat.show(second).await["conversation_id"], first);

    let again = json!({ "in_reply_to": second, "to": ["bob"], "body": "", "client_id": "x" });
    let again = cat.write(&again).await;
    assert_eq!(again["to"], json!([person(&bob)]), "who is named gets it, and nobody else");
    assert_eq!(again["subject"], "Re: Plans", "there is one Re:");
    assert_eq!((&again["conversation_id"], &again["in_reply_to"]), (&first.into(), &second.into()));
    let other = json!({ "in_reply_to": second, "subject": "Other plans", "body": "" });
    assert_eq!(cat.write(&other).await["subject"], "Other plans");
    let own = json!({ "in_reply_to": first, "body": "and?" });
    let own = ann.write(&own).await;
    assert_eq!(own["to"], json!([person(&bob), person(&cat)]), "not back to the sender");
    let mail = ann.write(&json!({ "to": ["ann"], "body": "note" })).await;
    let own = ann.write(&json!({ "in_reply_to": mail["id"], "body": "more" })).await;
    assert_eq!(own["to"], json!([person(&ann)]), "a note to oneself is answered by oneself");
}

#[tokio::test]
async fn only_what_is_in_the_own_mailbox_can_be_answered() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let id = ann.write_to(&[&bob], "a secret").await;
    let deleted = ann.write_to(&[&bob], "a secret").await;
    bob.destroy(deleted).await;
    let before = app.dump().await;
    let answer = |user, id: i64| {
        let (user, draft): (&User, _) = (user, json!({ "in_reply_to": id, "body": "" }));
        async move { user.try_write(&draft).await }
    };

    for (user, id) in [(&eve, id), (&bob, deleted)] {
        let refused = answer(user, id).await;
        assert_eq!(refused.invalid(), ["#/in_reply_to invalid"]);
        let never = answer(user, NOBODY).await;
        assert_eq!(super::verbs::comparable(&refused), super::verbs::comparable(&never));
    }

    assert_eq!(app.dump().await, before);
    bob.mark(id, json!({ "trashed": true })).await;
    bob.reply(id, "what is in the trash can be answered").await;
    let nothing = bob.try_write(&json!({ "in_reply_to": null, "body": "" })).await;
    assert_eq!(nothing.invalid(), ["#/to missing"], "null is no message to answer");
}

#[tokio::test]
async fn metadata_comes_back_to_the_letter() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let odd = r#"{"z":1,"a":{"big":123456789012345678901234567890,"pi":3.14159265358979323846,
        "e":1.0E+2,"":[null,true,"ä\u00e4\\u0000\ud83d\udcee"," x "]},"list":[]}"#;
    let body = format!(r#"{{"to":["bob"],"body":"","metadata":{odd}}}"#);
    let request = ann.request("POST", "/v1/messages").body(body);

    let sent = request.header("content-type", "application/json").send().await;

    let id = number(&sent.expect(201)["id"]);
    let path = format!("/v1/messages/{id}");
    let list = "/v1/messages?fields=metadata";
    let (shown, listed) = (bob.call("GET", &path).await, bob.call("GET", list).await);
    for answer in [sent, shown, listed] {
        let text = String::from_utf8(answer.body.to_vec()).expect("it is text");
        assert!(text.contains(&format!(r#""metadata":{odd}"#)), "{text}");
    }
    let nothing = ann.write(&json!({ "to": ["bob"], "body": "", "metadata": null })).await;
    assert_eq!(nothing["metadata"], Value::Null);
    let empty = ann.write(&json!({ "to": ["bob"], "body": "", "metadata": {} })).await;
    assert_eq!(empty["metadata"], json!({}));
}

#[tokio::test]
async fn every_field_is_taken_up_to_its_limit_and_not_beyond() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let with = |field: &str, value: Value| {
        let mut draft = json!({ "to": ["bob"], "body": "" });
        draft[field] = value;
        draft
    };
    // `{"a":"…"}` is 8 bytes beside the text.
    let metadata = |length: usize| json!({ "a": "x".repeat(length - 8) });
    let longest = [
        ("subject", json!("ä".repeat(255))),
        ("body", json!("ä".repeat(32_768))),
        ("client_id", json!("ä".repeat(255))),
        ("metadata", metadata(5120)),
    ];
    for (field, value) in longest {
        let id = number(&ann.write(&with(field, value.clone())).await["id"]);
        assert_eq!(ann.show(id).await[field], value);
        if field == "subject" {
            bob.reply(id, "").await;
        }
    }
    let before = app.dump().await;
    let wrong = [
        ("subject", json!("ä".repeat(256)), "#/subject invalid"),
        ("subject", json!("a\0b"), "#/subject invalid"),
        ("subject", json!(7), "#/subject wrong_type"),
        ("body", json!(format!("{}a", "ä".repeat(32_768))), "#/body invalid"),
        ("body", json!("\0"), "#/body invalid"),
        ("body", json!(null), "#/body wrong_type"),
        ("client_id", json!("ä".repeat(256)), "#/client_id invalid"),
        ("client_id", json!(""), "#/client_id invalid"),
        ("client_id", json!("\0"), "#/client_id invalid"),
        ("metadata", metadata(5121), "#/metadata invalid"),
        ("metadata", json!([]), "#/metadata wrong_type"),
        ("metadata", json!({ "a": ["\0"] }), "#/metadata invalid"),
        ("in_reply_to", json!("7"), "#/in_reply_to wrong_type"),
        ("in_reply_to", json!(0), "#/in_reply_to invalid"),
        ("in_reply_to", json!(1_i64 << 53), "#/in_reply_to invalid"),
        ("to", json!([]), "#/to invalid"),
        ("to", json!("bob"), "#/to wrong_type"),
        ("to", json!(null), "#/to wrong_type"),
        ("to", json!(["bob", true]), "#/to/1 wrong_type"),
        ("to", json!(["bob", 0]), "#/to/1 invalid"),
        ("to", json!(["bob", 1.5]), "#/to/1 invalid"),
        ("to", json!(["b".repeat(151)]), "#/to/0 invalid"),
        ("to", json!(["b\0b"]), "#/to/0 invalid"),
        ("from", json!("ann"), "#/from unknown_field"),
    ];
    for (field, value, reported) in wrong {
        let answer = ann.try_write(&with(field, value)).await;
        assert_eq!(answer.invalid(), [reported], "{answer:?}");
    }
    let all = json!({ "to": [true], "subject": 1, "client_id": "", "metadata": 1, "x": 1 });
    let all = ann.try_write(&all).await.invalid();
    let expected = [
        "#/to/0 wrong_type",
        "#/subject wrong_type",
        "#/body missing",
        "#/client_id invalid",
        "#/metadata wrong_type",
        "#/x unknown_field",
    ];
    assert_eq!(all, expected, "everything that is wrong is told at once");
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_send_comes_before_most_of_forty_sends_of_somebody_else_that_wait() {
    if is_about_sqlite("the order of commits shows in the ids") {
        return;
    }
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mallory = app.user("mallory").await;
    let (to, draft) = ([&bob], json!({ "to": [bob.id.get()], "body": "one of many" }));
    let token = mallory.token(None).await;
    // The first use of a token or a session writes down that it is used, which would count below.
    app.client().request("GET", "/v1/users/me").bearer(&token).send().await.ok();
    ann.write_to(&to, "the first").await;
    let clients: Vec<_> = (0..40).map(|_| app.client()).collect();
    app.settle().await;
    let (go, wait) = channel::<()>();
    let hold = app.write(move |_tx| {
        wait.recv().unwrap_or_default();
        Ok(())
    });
    let queued = async |work: usize| {
        let queued = async {
            while app.work().0 < work {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), queued).await.expect("it is queued");
        assert_eq!(app.work().0, work, "nothing else waits");
    };
    let many = join_all(clients.iter().map(async |client| {
        let sent = client.request("POST", "/v1/messages").bearer(&token).json(&draft).send();
        number(&sent.await.expect(201)["id"])
    }));
    let one = async {
        // Beside the work that holds the writer.
        queued(1 + 40).await;
        let release = async {
            queued(1 + 40 + 1).await;
            drop(go);
        };
        tokio::join!(ann.write_to(&to, "one"), release).0
    };
    let ((), many, one) = tokio::join!(hold, many, one);
    let before = many.iter().filter(|id| **id < one).count();
    assert!(before <= 2, "{before} of 40 came before");
}
