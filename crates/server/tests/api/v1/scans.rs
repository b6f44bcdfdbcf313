//! What one user asks for at length waits behind their own scans, and behind nobody else's.

use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::verbs::ids;
use crate::harness::TestApp;

/// Asked meanwhile, so often that what needs no scan would long be there.
const MEANWHILE: usize = 50;

#[tokio::test]
async fn whole_letters_and_what_was_long_missed_wait_for_the_scan_of_their_user() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let sent = app.send_many(&ann, &bob, 30).await;
    let path = "/v1/messages?limit=100&fields=full";
    let of_ann = ann.call("GET", path).await.ok();
    let (client, token) = (app.client(), bob.token(None).await);
    let (go, wait) = channel::<()>();
    let hold = app.hold_scan_of(bob.id, wait);

    let asked = async {
        let mut missed = bob.request("GET", "/v1/events?since=0").events().await;
        // The first piece is read like everybody's.
        for id in &sent[..10] {
            assert_eq!(missed.next().await.about(), ("message.created", *id));
        }
        let page = std::pin::pin!(client.request("GET", path).bearer(&token).send());
        let rest = std::pin::pin!(missed.next());
        let others = std::pin::pin!(async {
            for _ in 0..MEANWHILE {
                assert_eq!(ids(&bob.call("GET", "/v1/messages").await.ok()["data"]).len(), 30);
                assert_eq!(ann.call("GET", path).await.ok(), of_ann);
            }
        });
        let first = select(page, rest);
        let Either::Right(((), first)) = select(first, others).await else {
            panic!("it did not wait");
        };
        drop(go);
        match first.await {
            Either::Left((page, rest)) => (page, rest.await),
            Either::Right((event, page)) => (page.await, event),
        }
    };
    let ((), (page, event)) = tokio::join!(hold, asked);

    assert_eq!(ids(&page.ok()["data"]).len(), 30);
    assert_eq!(event.about(), ("message.created", sent[10]));
}

/// Asks for something, and reads only that it comes.
async fn reads_slowly(app: &TestApp, path: &str, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.set_recv_buffer_size(4096).expect("it is a size");
    let mut stream = socket.connect(app.address().socket()).await.expect("the server listens");
    let address = app.address();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        address.host(),
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.expect("it is answered");
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn pages_that_one_user_does_not_read_are_bounded() {
    // A user has a quarter, which is eight pages.
    let most = (32 << 20).to_string();
    let settings = [("rate_limits", "off"), ("unfinished_bodies_max_bytes", &most)];
    let app = TestApp::with(&settings).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    for _ in 0..40 {
        ann.write(&json!({ "to": ["bob"], "body": "x".repeat(30_000) })).await;
    }
    let (path, token) = ("/v1/messages?limit=100&fields=full", bob.token(None).await);
    let page = bob.call("GET", path).await;
    assert!((950_000..=1_000_000).contains(&page.body.len()), "{}", page.body.len());
    let mut unread = vec![];
    for _ in 0..8 {
        unread.push(reads_slowly(&app, path, &token).await);
    }

    let refused = bob.call("GET", path).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.problem(503, "unavailable");
    bob.call("GET", "/v1/messages").await.ok();
    ann.call("GET", "/v1/messages?folder=sent&limit=100&fields=full").await.ok();

    drop(unread);
    let whole = async {
        let mut refused = 1;
        while bob.call("GET", path).await.status == 503 {
            refused += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        refused
    };
    let refused = tokio::time::timeout(Duration::from_mins(1), whole).await;
    app.expect_failures(refused.expect("what was given up is counted no more"));
}
