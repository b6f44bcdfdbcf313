//! What one user asks for at length waits behind their own scans, and behind nobody else's.

use std::sync::mpsc::channel;

use futures_util::future::{Either, select};

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
