//! How large a page and a piece of a stream can be, and what is in them only for those who ask.

use std::collections::BTreeSet;

use db::{Tx, params};
use domain::UserRef;
use domain::sending::{self, Draft, Metadata};
use domain::text::{Body, Lengths, Subject};
use serde_json::{Value, json};
use testing::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::verbs::{ids, person};
use crate::harness::TestApp;
use crate::user::{User, number};

/// Bytes of a page at most, as `docs/api.md` says it.
const PAGE: usize = 1_000_000;
/// Bytes of a piece of a stream at most.
const PIECE: usize = 320_000;
const LENGTHS: Lengths = Lengths { subject_chars: 255, body_bytes: 65_536 };

impl TestApp {
    /// People with the longest names.
    async fn longest_names(&self, size: usize) -> Vec<UserRef> {
        let server = self.server_key(&["users"]).await;
        let user = |number: usize| {
            json!({
                "ref": format!("ext:{}{number:03}", "\u{1f41f}".repeat(252)),
                "username": format!("{}{number:03}", "\u{20000}".repeat(147)),
                "display_name": "\u{1f41f}".repeat(100),
            })
        };
        let users: Vec<_> = (0..size).map(user).collect();
        let made = server.post("/v1/server/users/batch", &json!({ "users": users })).await.ok();
        let results = made["results"].as_array().expect("it is a list").iter();
        let id = |result: &Value| domain::UserId::new(number(&result["user"]["id"]));
        results.map(|result| UserRef::Id(id(result).expect("it is an id"))).collect()
    }

    /// Sends a message with the longest names and subject to a hundred, and answers it to another
    /// hundred; a hundred times, of which 99 are copies in the mailbox of the sender.
    async fn send_longest(&self, from: &User) {
        let crowd = self.longest_names(200).await;
        // Each character takes six bytes in JSON.
        let body = Body::parse("\u{1}".repeat(8_000), LENGTHS).expect("it is a body");
        let subject = Subject::parse("\u{1f41f}".repeat(255), LENGTHS).expect("it is a subject");
        let metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(5_112));
        let mut draft = Draft::new(from.id, subject, body);
        draft.metadata = Some(Metadata::parse(metadata).expect("it is metadata"));
        let (cx, from) = (self.clock().cx(), from.id);
        self.write(move |tx: &mut Tx<'_>| {
            draft.in_reply_to = None;
            for recipients in crowd.chunks(100) {
                draft.to = recipients.to_vec();
                draft.in_reply_to = Some(sending::send(tx, &cx, from, &draft, None)?.id);
            }
            tx.execute(MESSAGES, &[])?;
            for copies in [ENTRIES, CONVERSATIONS, MODSEQ] {
                tx.execute(copies, &params![from])?;
            }
            Ok(())
        })
        .await;
    }
}

macro_rules! copies {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < 99)
             INSERT INTO ",
            $rest
        )
    };
}

const MESSAGES: &str = copies!(
    "messages (id, sender_id, recipient_id, other_recipients, conversation_id, in_reply_to,
     subject, body, sent_at, mailbox_count, metadata)
     SELECT id + 2 * n, sender_id, recipient_id, other_recipients, conversation_id + 2 * n,
     in_reply_to + 2 * n, subject, body, sent_at, 1, metadata FROM messages, copies"
);
const ENTRIES: &str = copies!(
    "entries (owner_id, place, message_id, conversation_id, role, created_modseq)
     SELECT owner_id, place, message_id + 2 * n, conversation_id + 2 * n, role,
     created_modseq + 2 * n FROM entries, copies WHERE owner_id = ?1"
);
const CONVERSATIONS: &str = copies!(
    "conversations (owner_id, conversation_id, last_message_id, unread, subject, participants)
     SELECT owner_id, conversation_id + 2 * n, last_message_id + 2 * n, unread, subject,
     participants FROM conversations, copies WHERE owner_id = ?1"
);
const MODSEQ: &str = "UPDATE mailboxes SET modseq = modseq + 198 WHERE owner_id = ?1";

/// All pages of a list.
async fn pages(user: &User, path: &str) -> Vec<Response> {
    let mut pages = vec![user.call("GET", path).await];
    loop {
        let page = pages.last().expect("there is one").json();
        let Some(cursor) = page["next_cursor"].as_str() else { return pages };
        pages.push(user.call("GET", &format!("{path}&cursor={cursor}")).await);
    }
}

/// The ids of all items, after a look at the size of each page.
fn checked(pages: &[Response]) -> Vec<i64> {
    let sizes: Vec<_> = pages.iter().map(|page| page.body.len()).collect();
    assert!(sizes.iter().all(|size| *size <= PAGE), "{sizes:?}");
    pages.iter().flat_map(|page| ids(&page.json()["data"])).collect()
}

fn len(list: &Value) -> usize {
    list.as_array().expect("it is a list").len()
}

#[tokio::test]
async fn a_page_is_bounded_whomever_its_messages_name_and_the_next_one_goes_on() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.send_longest(&ann).await;
    let sent: Vec<_> = (1..=200).rev().collect();

    for (fields, at_least) in [("", 50), ("&fields=metadata", 40), ("&fields=full", 3)] {
        let all = pages(&ann, &format!("/v1/messages?folder=sent&limit=100{fields}")).await;
        assert_eq!(checked(&all), sent, "{fields}");
        let page = all[0].json();
        let items = page["data"].as_array().expect("it is a list");
        assert!(items.len() >= at_least, "{} {fields}", items.len());
        for item in items {
            assert_eq!(item["to_count"], 100);
            assert_eq!(len(&item["to"]), if fields == "&fields=full" { 100 } else { 5 });
        }
        assert!(page["state"].is_string(), "{fields}");
    }

    let all = pages(&ann, "/v1/conversations?limit=100").await;
    let found: BTreeSet<_> = checked(&all).into_iter().collect();
    assert_eq!(found, (1..=200).step_by(2).collect());
    for item in all[0].json()["data"].as_array().expect("it is a list") {
        assert_eq!((len(&item["participants"]), &item["participants_count"]), (5, &json!(200)));
        assert_eq!(len(&item["last_message"]["to"]), 5);
    }
    let one = ann.call("GET", "/v1/conversations/1").await.ok();
    assert_eq!((len(&one["participants"]), &one["participants_count"]), (200, &json!(200)));

    let sizes = pieces(&app, &ann, "since=0&fields=metadata").await;
    assert!(sizes.iter().all(|size| *size <= PIECE), "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() > 3_000_000, "{sizes:?}");
}

/// The sizes of the pieces in which a stream comes, up to the unread counts at its end.
async fn pieces(app: &TestApp, user: &User, query: &str) -> Vec<usize> {
    let stream = TcpStream::connect(app.address().socket()).await;
    let mut stream = stream.expect("the server listens");
    let session = user.client.session();
    let request = format!(
        "GET /v1/events?{query} HTTP/1.1\r\nhost: {}\r\ncookie: sessionid={session}\r\n\r\n",
        app.address().host()
    );
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = Vec::new();
    let is_last = |answer: &[u8]| {
        let end = &answer[answer.len().saturating_sub(200)..];
        String::from_utf8_lossy(end).contains("event: unread")
    };
    while !is_last(&answer) {
        assert_ne!(stream.read_buf(&mut answer).await.expect("it goes on"), 0, "it has ended");
    }
    let line = |from: usize| {
        let end = answer[from..].windows(2).position(|pair| pair == b"\r\n");
        from + end.expect("the line has an end")
    };
    let mut at = 0;
    while line(at) != at {
        at = line(at) + 2;
    }
    at += 2;
    let mut sizes = Vec::new();
    while at < answer.len() {
        let size = std::str::from_utf8(&answer[at..line(at)]).expect("it is text");
        let size = usize::from_str_radix(size, 16).expect("it is the size of a piece");
        sizes.push(size);
        at = line(at) + 2 + size + 2;
    }
    sizes
}

#[tokio::test]
async fn a_stream_that_comes_in_pieces_misses_nothing_and_says_nothing_twice() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.send_longest(&ann).await;
    let mut stream = ann.request("GET", "/v1/events?since=0").events().await;
    for id in 1..=200 {
        let event = stream.next().await;
        assert_eq!(event.about(), ("message.created", id));
        assert_eq!(event.id, Some(id.to_string()), "each has an id");
        let message = &event.json()["message"];
        assert_eq!((len(&message["to"]), &message["to_count"]), (5, &json!(100)));
        assert_eq!(message.get("metadata"), None);
    }
    assert_eq!(stream.next().await.name, "unread");
}

#[tokio::test]
async fn an_ordinary_page_with_many_recipients_is_small() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut to = vec![bob.id.get()];
    for number in 0..99 {
        to.push(app.account(&format!("user{number}")).await.get());
    }
    let metadata = json!({ "a": "x".repeat(5_000) });
    let draft = json!({ "to": to, "subject": "hi", "body": "how are you?", "metadata": metadata });
    for _ in 0..20 {
        ann.write(&draft).await;
    }
    let page = bob.call("GET", "/v1/messages").await;
    assert_eq!(len(&page.json()["data"]), 20);
    assert!(page.body.len() < 24_000, "{}", page.body.len());
    let page = bob.call("GET", "/v1/conversations").await;
    assert_eq!(len(&page.json()["data"]), 20);
    assert!(page.body.len() < 40_000, "{}", page.body.len());
}

#[tokio::test]
async fn fields_says_what_a_list_has_besides() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let text = "words ".repeat(100);
    let to: Vec<_> = ["bob", "cat", "dot", "eve", "fay", "ann"].to_vec();
    for name in &to[1..5] {
        app.account(name).await;
    }
    let draft = json!({ "to": to, "subject": "hi", "body": text, "metadata": { "order": 7 } });
    let id = number(&ann.write(&draft).await["id"]);
    let bare = number(&ann.write(&json!({ "to": ["bob"], "body": "" })).await["id"]);

    for (user, query) in
        [(&bob, ""), (&ann, "folder=sent&"), (&bob, "q=words&since=2020-01-01T00:00:00Z&")]
    {
        let message = user.show(id).await;
        let mut item = message.clone();
        let fields = item.as_object_mut().expect("it is an object");
        fields.retain(|name, _| name != "body" && name != "metadata");
        item["snippet"] = json!(text[..140]);
        item["to_count"] = json!(6);
        let everybody = message["to"].as_array().expect("it is a list");
        let last = if user.id == ann.id { person(&ann) } else { everybody[4].clone() };
        item["to"] = json!([&everybody[..4], &[last]].concat());
        let last = async |fields: &str| {
            let page = user.page(&format!("{query}{fields}")).await;
            page["data"].as_array().and_then(|items| items.last().cloned()).expect("it is there")
        };
        assert_eq!(last("").await, item, "{query}");
        item["metadata"] = json!({ "order": 7 });
        assert_eq!(last("fields=metadata").await, item, "{query}");
        item["to"] = message["to"].clone();
        item["body"] = json!(text);
        assert_eq!(last("fields=full").await, item, "{query}");
    }

    let with = bob.page("fields=metadata").await["data"][0].take();
    assert_eq!((&with["id"], with.get("metadata")), (&json!(bare), Some(&Value::Null)));
    let list = bob.call("GET", "/v1/conversations?fields=metadata").await.ok();
    assert_eq!(list["data"][1]["last_message"]["metadata"], json!({ "order": 7 }));
    let list = bob.call("GET", "/v1/conversations").await.ok();
    assert_eq!(list["data"][1]["last_message"].get("metadata"), None);
}

#[tokio::test]
async fn fields_that_there_are_not_are_refused() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for (path, wrong) in [
        ("/v1/messages", ["", "x", "Metadata", "metadata,full", "body"].as_slice()),
        ("/v1/conversations", &["", "full"]),
        ("/v1/events", &["", "full"]),
    ] {
        for fields in wrong {
            let refused = ann.call("GET", &format!("{path}?fields={fields}")).await;
            assert_eq!(refused.invalid(), ["fields invalid"], "{path} {fields}");
        }
        let twice = ann.call("GET", &format!("{path}?fields=metadata&fields=metadata")).await;
        assert_eq!(twice.invalid(), ["fields repeated"], "{path}");
    }
}

#[tokio::test]
async fn the_tag_of_a_list_is_of_those_whom_it_names() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut others = vec![];
    for name in ["cat", "dot", "eve", "fay", "gus"] {
        others.push(app.user(name).await);
    }
    let to: Vec<_> = others.iter().chain([&bob]).collect();
    let id = ann.write_to(&to, "hi").await;
    let tag = async |path: &str| {
        let page = bob.call("GET", path).await;
        page.header("etag").expect("there is one").to_owned()
    };
    let paths = ["/v1/messages", "/v1/messages?fields=full"];
    let before = [tag(paths[0]).await, tag(paths[1]).await];
    // The list shows bob in place of the fifth.
    others[4].set(json!({ "display_name": "G" })).await;
    assert_eq!(tag(paths[0]).await, before[0], "nothing that it shows has changed");
    assert_ne!(tag(paths[1]).await, before[1]);
    others[3].set(json!({ "display_name": "F" })).await;
    assert_ne!(tag(paths[0]).await, before[0]);
    assert_eq!(bob.show(id).await["to"][4]["display_name"], "G");
}
