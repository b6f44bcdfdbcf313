//! What happens in a mailbox, as it happens.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testing::EventStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::text;
use crate::harness::TestApp;
use crate::user::{User, number};

impl User {
    /// Listens from now on; the first event has been heard.
    async fn events(&self) -> EventStream {
        let mut stream = self.request("GET", "/v1/events").events().await;
        assert_eq!(stream.next().await.name, "unread");
        stream
    }

    /// Listens from a state on, as a page says it.
    async fn events_since(&self, state: &str) -> EventStream {
        self.request("GET", &format!("/v1/events?since={state}")).events().await
    }

    /// Comes back with the id of the last event.
    async fn events_after(&self, last: &str) -> EventStream {
        self.request("GET", "/v1/events").header("last-event-id", last).events().await
    }
}

/// What is said of messages until the counts come, as `name id`.
async fn until_counts(stream: &mut EventStream) -> (Vec<String>, Value) {
    let mut heard = vec![];
    loop {
        let event = stream.next().await;
        if event.name == "unread" {
            return (heard, event.json());
        }
        let (name, id) = event.about();
        heard.push(format!("{name} {id}"));
    }
}

#[tokio::test]
async fn a_message_is_heard_of_as_it_comes_changes_and_goes() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut stream = bob.request("GET", "/v1/events").events().await;
    let first = stream.next().await;
    assert_eq!((first.name.as_str(), first.id.as_deref()), ("unread", Some("0")));
    assert_eq!(first.json(), json!({ "messages": 0, "conversations": 0, "state": "0" }));

    let id = ann.write_to(&[&bob], "how are you?").await;
    let came = stream.next().await;
    assert_eq!((came.about(), came.id.as_deref()), (("message.created", id), Some("1")));
    let list = bob.page("").await;
    assert_eq!(came.json()["message"], list["data"][0], "as lists show it");
    let counts = stream.next().await;
    let same = Some("1");
    assert_eq!((counts.name.as_str(), counts.id.as_deref()), ("unread", same), "of its cause");
    assert_eq!(counts.json(), json!({ "messages": 1, "conversations": 1, "state": "1" }));

    let read = bob.mark(id, json!({ "read": true })).await;
    let changed = stream.next().await;
    assert_eq!((changed.about(), changed.id.as_deref()), (("message.updated", id), Some("2")));
    assert_eq!(changed.json()["message"]["read_at"], read["read_at"]);
    assert_eq!(stream.next().await.json()["messages"], 0);
    bob.mark(id, json!({ "starred": true })).await;
    assert_eq!(
        stream.next().await.about(),
        ("message.updated", id),
        "and no counts: they are equal"
    );
    bob.destroy(id).await;
    let gone = stream.next().await;
    assert_eq!((gone.about(), gone.json()), (("message.destroyed", id), json!({ "id": id })));
    assert_eq!(gone.id, Some(bob.state().await));
}

#[tokio::test]
async fn users_get_the_events_of_their_own_mailbox_only_and_on_all_of_their_streams() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let eve = app.user("eve").await;
    let (mut anns, mut eves) = (ann.events().await, eve.events().await);
    let mut bobs = [bob.events().await, bob.events().await];
    let id = ann.write_to(&[&bob], "between us").await;
    let own = eve.write_to(&[&eve], "to myself").await;
    assert_eq!(eves.next().await.about(), ("message.created", own));
    for stream in bobs.iter_mut().chain([&mut anns]) {
        assert_eq!(stream.next().await.about(), ("message.created", id));
    }
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_in_its_order_and_then_what_comes() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let old = ann.write_to(&[&bob], "old").await;
    let going = ann.write_to(&[&bob], "going").await;
    let stream = bob.events().await;
    let known = stream.last_id.clone().expect("the first event has one");
    drop(stream);
    let new = ann.write_to(&[&bob], "new").await;
    bob.mark(old, json!({ "starred": true })).await;
    bob.destroy(going).await;
    let brief = ann.write_to(&[&bob], "came and went").await;
    ann.unsend(brief).await.ok();
    let missed = [
        format!("message.created {new}"),
        format!("message.updated {old}"),
        format!("message.destroyed {going}"),
    ];
    // A browser comes back to the address of its page, whose state is older than what it heard.
    let path = "/v1/events?since=0";
    let both = bob.request("GET", path).header("last-event-id", &known).events().await;
    for mut stream in [bob.events_since(&known).await, bob.events_after(&known).await, both] {
        let (heard, counts) = until_counts(&mut stream).await;
        assert_eq!(heard, missed);
        assert_eq!((&counts["messages"], &counts["state"]), (&2.into(), &bob.state().await.into()));
        assert_eq!(stream.last_id, Some(bob.state().await), "it has all of it");
        stream = bob.events_after(&stream.last_id.expect("it has one")).await;
        let (heard, _counts) = until_counts(&mut stream).await;
        assert!(heard.is_empty(), "nothing is told twice: {heard:?}");
    }
    let mut stream = bob.events_since(&known).await;
    until_counts(&mut stream).await;
    let live = ann.write_to(&[&bob], "live").await;
    assert_eq!(stream.next().await.about(), ("message.created", live));
}

#[tokio::test]
async fn each_id_is_one_to_go_on_from() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let ids = app.send_many(&ann, &bob, 120).await;
    let mut stream = bob.events_since("0").await;
    for (at, id) in ids.iter().enumerate() {
        let event = stream.next_message().await;
        assert_eq!(event.about(), ("message.created", *id));
        assert_eq!(event.id, Some((at + 1).to_string()));
    }
    for at in [1, 49, 50, 51, 119] {
        let mut stream = bob.events_after(&at.to_string()).await;
        assert_eq!(stream.next().await.about(), ("message.created", ids[at]));
    }
}

#[tokio::test]
async fn where_nothing_can_be_replayed_it_says_so_and_goes_on_from_now() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.write_to(&[&bob], "hi").await;
    for last in ["17", "something else", "-1", "1.5"] {
        let mut stream = bob.events_after(last).await;
        let reset = stream.next().await;
        assert_eq!((reset.name.as_str(), reset.id.as_deref()), ("reset", Some("1")), "{last}");
        assert_eq!(reset.json(), json!({ "state": "1" }));
        assert_eq!(stream.next().await.json()["messages"], 1);
    }
    let mut stream = bob.events_since("17").await;
    assert_eq!(stream.next().await.name, "reset");
    let live = ann.write_to(&[&bob], "live").await;
    assert_eq!(stream.next_message().await.about(), ("message.created", live));
    let refused = bob.call("GET", "/v1/events?since=x&limit=1").await;
    assert_eq!(refused.invalid(), ["since invalid", "limit unknown_field"]);
}

#[tokio::test]
async fn data_is_one_line_whatever_the_app_keeps_with_a_message() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut stream = bob.request("GET", "/v1/events?fields=metadata").events().await;
    assert_eq!(stream.next().await.name, "unread");
    let body = format!(
        "{{\"to\": [{}], \"subject\": \"a\\nb\", \"body\": \"\\r\\n\\r\\ndata: x\",
          \"metadata\": {{\r\n\"a\":\r1,\n\n\"event: x\": \"\\n\\n\"}}}}",
        bob.id.get()
    );
    let sent = ann.request("POST", "/v1/messages").header("content-type", "application/json");
    let id = number(&sent.body(body).send().await.expect(201)["id"]);
    let came = stream.next().await;
    assert_eq!(came.about(), ("message.created", id));
    let message = &came.json()["message"];
    assert_eq!(
        (&message["subject"], &message["snippet"]),
        (&"a\nb".into(), &"\r\n\r\ndata: x".into())
    );
    assert_eq!(message["metadata"], json!({ "a": 1, "event: x": "\n\n" }));

    // Several clients split lines as Python's `splitlines` does.
    let breaks = "a\u{85}b\u{2028}c\u{2029}d\u{b}e\u{c}f\u{1c}g\u{1d}h\u{1e}i";
    let draft =
        json!({ "to": ["bob"], "subject": breaks, "body": breaks, "metadata": { breaks: breaks } });
    let raw = draft.to_string();
    assert!(raw.contains('\u{2028}'), "it is sent as it is");
    let sent = ann.request("POST", "/v1/messages").header("content-type", "application/json");
    sent.body(raw).send().await.expect(201);
    let came = stream.next_message().await;
    let is_break = |c: char| c.is_control() || ['\u{85}', '\u{2028}', '\u{2029}'].contains(&c);
    assert!(!came.data.contains(is_break), "{}", came.data);
    let message = &came.json()["message"];
    for (name, value) in [("subject", json!(breaks)), ("metadata", json!({ breaks: breaks }))] {
        assert_eq!(message[name], value);
    }
    let kind = stream.response.header("content-type");
    assert_eq!(kind, Some("text/event-stream; charset=utf-8"), "or it is read as Latin-1");
}

#[tokio::test]
async fn a_token_may_listen_if_it_may_read() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = bob.token(Some(&["messages:read"])).await;
    let client = app.client();
    let mut stream = client.request("GET", "/v1/events").bearer(&token).events().await;
    // It begins with its first read: what is sent before that is no event.
    assert_eq!(stream.next().await.name, "unread");
    let id = ann.write_to(&[&bob], "hi").await;
    assert_eq!(stream.next_message().await.about(), ("message.created", id));
    let other = bob.token(Some(&["messages:write", "account"])).await;
    client
        .request("GET", "/v1/events")
        .bearer(&other)
        .send()
        .await
        .problem(403, "insufficient_scope");
    client.request("GET", "/v1/events").send().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_stream_ends_with_what_it_was_opened_with_and_no_other_does() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let token = bob.token(None).await;
    let id = number(&bob.call("GET", "/v1/tokens").await.ok()["data"][0]["id"]);
    let client = app.client();
    let mut program = client.request("GET", "/v1/events").bearer(&token).events().await;
    let mut stream = bob.events().await;
    bob.call("DELETE", &format!("/v1/tokens/{id}")).await.expect(204);
    program.read_to_end().await;
    let sent = ann.write_to(&[&bob], "still there").await;
    assert_eq!(stream.next().await.about(), ("message.created", sent));
    bob.logout().await;
    stream.read_to_end().await;

    bob.login().await;
    let mut stream = bob.events().await;
    app.disable(&bob).await;
    stream.read_to_end().await;
    let mut anns = ann.events().await;
    ann.call("DELETE", "/v1/users/me").await.expect(204);
    anns.read_to_end().await;
}

#[tokio::test]
async fn a_session_that_ends_by_itself_ends_its_streams_and_one_that_is_listened_with_stays() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let mut stream = bob.events().await;
    // It would be idle for too long, were it not listened with: the node notes it, as a look at
    // every session that is in use does.
    app.advance(10 * domain::Time::DAY);
    let seen = async || {
        let sessions = bob.call("GET", "/v1/sessions").await.ok();
        text(&sessions["data"][0]["last_seen_at"])
    };
    let before = seen().await;
    app.advance(domain::Time::HOUR);
    let mut tries = 0;
    while seen().await == before {
        tries += 1;
        assert!(tries < 100_000);
    }
    app.advance(31 * domain::Time::DAY);
    stream.read_to_end().await;
}

#[tokio::test]
async fn one_stream_too_many_displaces_the_oldest_which_is_told_so() {
    let app = TestApp::with(&[("streams_per_user", "2")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let anns = ann.events().await;
    let mut streams = std::collections::VecDeque::from([bob.events().await, bob.events().await]);
    for _ in 0..3 {
        streams.push_back(bob.events().await);
        let last = streams.pop_front().expect("it is the oldest").read_to_end().await;
        let last = last.expect("it is told");
        assert_eq!((last.name.as_str(), last.id.as_deref()), ("displaced", None));
        assert_eq!(last.json(), json!({}));
    }
    // Who asks for the headers alone opens none.
    let head = bob.call("HEAD", "/v1/events").await;
    assert_eq!(head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    // The others hear everything, as do other users.
    let id = bob.write_to(&[&ann, &bob], "hello").await;
    streams.push_back(anns);
    for stream in &mut streams {
        assert_eq!(stream.next_message().await.about(), ("message.created", id));
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_client_says_that_it_is_done() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {}\r\nCookie: sessionid={}\r\n\r\n",
        app.address().host(),
        bob.client.session(),
    );
    // At once, or when it has listened for a while.
    for listens in [false, true] {
        let socket = tokio::net::TcpStream::connect(app.address().socket()).await;
        let mut socket = socket.expect("the server listens");
        socket.write_all(request.as_bytes()).await.expect("it is sent");
        let mut heard = vec![];
        while listens && !heard.ends_with(b"\n\n\r\n") {
            assert_ne!(socket.read_buf(&mut heard).await.expect("it is answered"), 0);
        }
        socket.shutdown().await.expect("it is open");
        // The server may close it before it has read everything.
        while socket.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
            let heard = String::from_utf8_lossy(&heard);
            assert!(!heard.contains("event: ping"), "it goes on: {heard}");
        }
    }
    // One that is closed altogether is not counted either.
    drop(bob.events().await);
    let count = async || app.scraper().request("GET", "/metrics").send().await.text();
    while !count().await.contains("\npostroom_streams 0\n") {}
}

#[tokio::test]
async fn a_closed_stream_is_gone_at_once_whatever_was_sent_on_it() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let next = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", app.address().host());
    let token = bob.token(None).await;
    let open = async || {
        let mut stream =
            tokio::net::TcpStream::connect(app.address().socket()).await.expect("it is");
        let request =
            next.replace("/healthz", "/v1/events").replace("\r\n\r\n", "\r\nAuthorization: ");
        let request = format!("{request}Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut heard = vec![];
        while !String::from_utf8_lossy(&heard).contains("event: unread") {
            assert_ne!(stream.read_buf(&mut heard).await.expect("it answers"), 0);
        }
        stream
    };
    let count = async || app.scraper().request("GET", "/metrics").send().await.text();
    for more in ["", "\n", &next, &next.repeat(200), &next.repeat(8_000)] {
        let mut stream = open().await;
        // It may be cut off before it has sent so much.
        let _cut = stream.write_all(more.as_bytes()).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(stream);
        let gone = async { while !count().await.contains("\npostroom_streams 0\n") {} };
        // A ping, which would find out as well, comes after half of fifteen seconds.
        let gone = tokio::time::timeout(std::time::Duration::from_secs(6), gone).await;
        assert!(gone.is_ok(), "{} bytes", more.len());
    }
    // A next request waits until the stream has ended.
    let mut stream = open().await;
    stream.write_all(next.repeat(3).as_bytes()).await.expect("it is taken");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let mine = bob.call("GET", "/v1/tokens").await.ok()["data"][0]["id"].clone();
    bob.call("DELETE", &format!("/v1/tokens/{mine}")).await.expect(204);
    let mut heard = String::new();
    while heard.matches("HTTP/1.1 200 OK").count() < 3 {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.expect("it answers");
        assert_ne!(length, 0, "{heard}");
        heard += std::str::from_utf8(&piece[..length]).expect("it is text");
    }
}

#[tokio::test]
async fn what_was_missed_comes_in_pieces_of_a_bounded_length() {
    let settings = [("subject_max_chars", "10000"), ("rate_limits", "off")];
    let app = TestApp::with(&settings).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut sent = vec![];
    for _ in 0..60 {
        let draft = json!({ "to": ["bob"], "subject": "s".repeat(10_000), "body": "x" });
        sent.push(number(&ann.write(&draft).await["id"]));
    }
    let request = format!(
        "GET /v1/events?since=0 HTTP/1.1\r\nHost: {}\r\nCookie: sessionid={}\r\n\r\n",
        app.address().host(),
        bob.client.session(),
    );
    let answer = app.raw_until(request.as_bytes(), "event: unread").await;
    // A piece is a chunk: its length in a line of its own, then its text.
    let (_head, mut rest) = answer.split_once("\r\n\r\n").expect("there is a head");
    let (mut pieces, mut heard) = (0, String::new());
    while let Some((length, text)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("it is the length of a chunk");
        // 64 KiB, and what is left of the event that goes beyond.
        assert!(length < (64 << 10) + 12_000, "a piece has {length} bytes");
        pieces += 1;
        heard.push_str(text.get(..length).unwrap_or(text));
        rest = text.get(length + 2..).unwrap_or_default();
    }
    assert!(pieces > 9, "{pieces} pieces");
    let data = heard.lines().filter_map(|line| line.strip_prefix("data: {\"id\":"));
    let ids: Vec<i64> =
        data.map(|id| id.split(',').next().expect("a part").parse().expect("an id")).collect();
    assert_eq!(ids, sent, "each comes once, in order");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_can_resume_where_it_was() {
    let settings = [("body_timeout_seconds", "1"), ("subject_max_chars", "10000")];
    let app = TestApp::with(&[settings.as_slice(), &[("rate_limits", "off")]].concat()).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut stream = bob.events().await;
    let known = stream.last_id.take().expect("the first event has one");
    let socket = tokio::net::TcpSocket::new_v4().expect("there are sockets");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let mut socket = socket.connect(app.address().socket()).await.expect("the server listens");
    let request = format!(
        "GET /v1/events?since={known} HTTP/1.1\r\nHost: {}\r\nCookie: sessionid={}\r\n\r\n",
        app.address().host(),
        bob.client.session(),
    );
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.expect("it is sent");
    let mut head = [0; 15];
    socket.read_exact(&mut head).await.expect("it is answered");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let subject = "s".repeat(10_000);
    let mut sent = vec![];
    let metrics = async || {
        let metrics = app.scraper().request("GET", "/metrics").send().await;
        let text = String::from_utf8(metrics.body.to_vec()).expect("it is text");
        let line = text.lines().find(|line| line.starts_with("postroom_streams "));
        line.expect("it is counted").rsplit_once(' ').expect("it has a value").1.to_owned()
    };
    // This client takes nothing, so the buffers between fill up, and no more.
    while metrics().await == "2" {
        let draft = json!({ "to": ["bob"], "subject": subject, "body": "x" });
        sent.push(number(&ann.write(&draft).await["id"]));
        assert_eq!(stream.next_message().await.about().1, sent[sent.len() - 1], "others go on");
        assert!(sent.len() < 5_000, "the server does not keep so much for it");
    }
    let mut taken = vec![];
    let _cut_off = socket.read_to_end(&mut taken).await;
    let taken = String::from_utf8_lossy(&taken);
    let last = taken.rsplit_once("\n\n").map_or("", |(whole, _rest)| whole);
    let last = last.lines().rev().find_map(|line| line.strip_prefix("id: "));
    let last = last.map_or(known, str::to_owned);
    let begun: usize = last.parse().expect("it is a number");
    let mut again = bob.events_after(&last).await;
    for id in &sent[begun..] {
        assert_eq!(again.next_message().await.about(), ("message.created", *id));
    }
}

#[tokio::test]
async fn a_stream_begins_by_saying_when_to_come_back_and_a_server_that_stops_just_ends_it() {
    let mut app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut waits = BTreeSet::new();
    for _ in 0..10 {
        let stream = bob.events().await;
        let wait = stream.retry.expect("it was said first");
        assert!((2_000..5_000).contains(&wait), "{wait}");
        waits.insert(wait);
    }
    assert!(waits.len() > 3, "they come back at different times: {waits:?}");
    let mut stream = bob.events().await;
    // Another `retry` would be refused by this reader, and kept by clients for good.
    let heard = tokio::spawn(async move { stream.read_to_end().await });
    app.restart();
    assert_eq!(heard.await.expect("it ends"), None);
    let id = ann.write_to(&[&bob], "hello again").await;
    let mut stream = bob.events_since("0").await;
    assert_eq!(stream.next().await.about(), ("message.created", id));
}

#[tokio::test]
async fn a_stream_says_that_it_is_alive_every_fifteen_seconds() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let mut stream = bob.events().await;
    let begun = std::time::Instant::now();
    let ping = stream.try_next().await.expect("it comes").expect("it goes on");
    assert_eq!((ping.name.as_str(), ping.id, ping.data.as_str()), ("ping", None, "{}"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(40));
}
