//! Webhooks as the app's own server meets them: over real connections, through days of failure.

use std::time::Duration;

use domain::Time;
use domain::webhooks::{self, Delivery, DeliveryStatus, Endpoint, EventKind, EventKinds, RETRIES};
use serde_json::{Value, json};
use testing::{Reply, TestEndpoint, WebhookRequest};

use crate::harness::{PASSWORD, TestApp};

/// A server that may send webhooks to this machine.
async fn start() -> TestApp {
    TestApp::with(&[("webhook_allow_hosts", "127.0.0.1")]).await
}

impl TestApp {
    /// Adds a webhook, and waits until the server knows.
    async fn hook(&self, url: &str, kinds: &[EventKind]) -> Endpoint {
        let (cx, url) = (self.clock().cx(), url.to_owned());
        let kinds: EventKinds = kinds.iter().copied().collect();
        let added = self.write(move |tx| webhooks::add(tx, &cx, &url, kinds)).await;
        let known = |app: &Self| app.clock().cx().wanted.webhooks;
        until("the server knows", async || kinds.iter().all(|kind| known(self).has(kind))).await;
        added
    }

    /// What was told, the newest first.
    async fn deliveries(&self) -> Vec<Delivery> {
        self.write(|tx| webhooks::log(tx, None, false, 1000)).await
    }

    /// Waits until all that was to be told was tried, and answers how it stands.
    async fn tried(&self, deliveries: usize, attempts: i64) -> Vec<Delivery> {
        let all = async |app: &Self| {
            let delivered = app.deliveries().await;
            let tried = delivered.iter().all(|delivered| {
                delivered.attempts >= attempts
                    || matches!(delivered.status, DeliveryStatus::Delivered(_))
            });
            tried && delivered.len() == deliveries
        };
        until("all of it was tried", async || all(self).await).await;
        self.deliveries().await
    }
}

/// Waits until something holds that tells nobody when it does.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Not a measure of time: it comes, or it never does.
    let came = tokio::time::timeout(Duration::from_mins(1), poll).await;
    came.unwrap_or_else(|_never| panic!("not in a minute: {what}"));
}

fn words(delivery: &Delivery) -> &str {
    delivery.outcome.as_deref().expect("it was tried")
}

#[tokio::test]
async fn the_app_is_told_who_wrote_to_whom_and_nothing_of_what() {
    let app = start().await;
    let endpoint = TestEndpoint::start();
    let usual: Vec<_> = EventKinds::usual().iter().collect();
    app.hook(&endpoint.url(), &usual).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let users = [endpoint.next_request(), endpoint.next_request()].map(|request| request.body());
    let mut users = users.map(|user| (user["type"].clone(), user["data"].clone()));
    users.sort_by_key(|(_, data)| data["user_id"].as_i64());
    let (ann_id, bob_id) = (ann.id.get(), bob.id.get());
    let of_user = |user: i64| json!({ "user_id": user, "external_id": null });
    assert_eq!(users[0], (json!("user.created"), of_user(ann_id)));
    assert_eq!(users[1], (json!("user.created"), of_user(bob_id)));

    let body = json!({ "to": [bob_id], "subject": "canary", "body": "canary", "client_id": "\"7\"",
                       "metadata": { "a": "canary" } });
    let sent = ann.request("POST", "/v1/messages").json(&body).send().await.expect(201);
    let request = endpoint.next_request();
    assert_eq!(request.line, "POST /hook?from=postroom HTTP/1.1");
    assert_eq!(request.headers["host"], endpoint.address.to_string());
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(request.headers["user-agent"].starts_with("Postroom/"), "{:?}", request.headers);
    assert!(!request.text.contains("canary"), "{}", request.text);
    let expected = json!({
        "type": "message.created",
        "timestamp": sent["sent_at"],
        "data": { "message_id": sent["id"], "conversation_id": sent["conversation_id"],
                  "from": ann_id, "from_external_id": null, "to": [bob_id],
                  "to_external_ids": [null], "client_id": "\"7\"" },
    });
    assert_eq!(request.body(), expected);

    let id = sent["id"].as_i64().expect("it has one");
    bob.read(id).await;
    let data = json!({ "message_id": id, "conversation_id": id, "from": ann_id,
                       "from_external_id": null, "user_id": bob_id, "external_id": null });
    let what =
        |request: &WebhookRequest| (request.body()["type"].clone(), request.body()["data"].clone());
    assert_eq!(what(&endpoint.next_request()), (json!("message.read"), data.clone()));
    bob.delete(id).await;
    assert_eq!(what(&endpoint.next_request()), (json!("message.destroyed"), data));
    let erased = bob.request("DELETE", "/v1/users/me").json(&json!({ "password": PASSWORD }));
    assert_eq!(erased.send().await.status, 204);
    assert_eq!(what(&endpoint.next_request()), (json!("user.erased"), of_user(bob_id)));
}

#[tokio::test]
async fn the_apps_own_ids_are_told_also_of_a_user_who_was_erased_since() {
    let app = start().await;
    let endpoint = TestEndpoint::start();
    app.hook(&endpoint.url(), &EventKinds::usual().iter().collect::<Vec<_>>()).await;
    let server = app.server_key(&["users"]).await;
    let made = async |user: &str| {
        let path = format!("/v1/server/users/{user}");
        server.request("PUT", &path).json(&json!({})).send().await.expect(201)["id"].clone()
    };
    let what = || {
        let body = endpoint.next_request().body();
        (body["type"].clone(), body["data"].clone())
    };
    let ann = made("ext:1").await;
    let of_ann = json!({ "user_id": ann, "external_id": "1" });
    assert_eq!(what(), (json!("user.created"), of_ann.clone()));
    let bob = app.user("bob").await;
    assert_eq!(what().1["external_id"], Value::Null);
    endpoint.always(Reply::status(503));
    let sent = json!({ "to": ["ext:1", "bob"], "body": "" });
    bob.request("POST", "/v1/messages").json(&sent).send().await.expect(201);
    endpoint.next_request();
    server.call("DELETE", "/v1/server/users/ext:1").await.expect(202);
    endpoint.next_request();
    endpoint.always(Reply::status(204));
    app.advance(Time::MINUTE);
    let mut told = [what(), what()];
    told.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(told[0].1["to"], json!([ann, bob.id.get()]));
    assert_eq!(told[0].1["to_external_ids"], json!(["1", null]));
    assert_eq!(told[0].1["from_external_id"], Value::Null);
    assert_eq!(told[1], (json!("user.erased"), of_ann));
}

#[tokio::test]
async fn the_app_is_told_of_unread_counts_at_once_and_every_five_seconds_at_most() {
    let app = start().await;
    let endpoint = TestEndpoint::start();
    app.hook(&endpoint.url(), &[EventKind::UnreadChanged]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let told = || {
        let body = endpoint.next_request().body();
        assert_eq!(body["type"], "unread.changed");
        body["data"].clone()
    };
    let first = ann.send(&bob, "one", "").await;
    let counts = json!({ "user": bob.id.get(), "external_id": null, "messages": 1,
                         "conversations": 1, "state": "1" });
    assert_eq!(told(), counts);
    for subject in ["two", "three"] {
        ann.send(&bob, subject, "").await;
    }
    bob.read(first).await;
    ann.send(&ann, "to herself", "").await;
    // The other one is told of at once, although bob was a moment ago.
    assert_eq!(told()["user"], ann.id.get());
    app.advance(5 * Time::SECOND);
    let counts = json!({ "user": bob.id.get(), "external_id": null, "messages": 2,
                         "conversations": 2, "state": "4" });
    assert_eq!(told(), counts, "the last state");
    app.advance(5 * Time::SECOND);
    app.settle().await;
    assert_eq!(endpoint.requests().len(), 0, "nothing else has changed");
    assert_eq!(app.deliveries().await.len(), 3);
}

#[tokio::test]
async fn an_event_that_fails_comes_back_under_its_id_for_days_and_then_no_more() {
    let app = start().await;
    let endpoint = TestEndpoint::start();
    endpoint.always(Reply::status(500));
    app.hook(&endpoint.url(), &[EventKind::UserCreated]).await;
    app.account("ann").await;
    let first = endpoint.next_request();
    let mut last = first.clone();
    for (attempts, wait) in (1..).zip(RETRIES) {
        let tried = app.tried(1, attempts).await;
        let DeliveryStatus::Due(next) = tried[0].status else {
            panic!("it is tried again: {tried:?}")
        };
        let now = app.clock().now();
        assert!(next.0 - now.0 <= wait + wait / 10, "{next:?} at {now:?}");
        app.advance(next.0 - now.0);
        let again = endpoint.next_request();
        assert_eq!((again.id(), &again.text), (first.id(), &first.text));
        let moment = |request: &WebhookRequest| request.headers["webhook-timestamp"].parse::<i64>();
        let (then, now) = (moment(&last).expect("a number"), moment(&again).expect("a number"));
        assert!(now - then >= wait / Time::SECOND, "{then} {now}");
        assert_ne!(again.headers["webhook-signature"], last.headers["webhook-signature"]);
        last = again;
    }
    let tried = app.tried(1, 10).await;
    assert_eq!((tried[0].status, words(&tried[0])), (DeliveryStatus::GivenUp, "500"));
    assert_eq!(endpoint.requests().len(), 0);
}

#[tokio::test]
async fn only_an_answer_of_2xx_is_one() {
    let app =
        TestApp::with(&[("webhook_allow_hosts", "127.0.0.0/8"), ("webhook_timeout_seconds", "1")])
            .await;
    let (endpoint, elsewhere) = (TestEndpoint::start(), TestEndpoint::start());
    let redirect = |status| {
        let status = format!("{status} Elsewhere\r\nLocation: {}\r\n", elsewhere.url());
        (Reply::Says(status), "a redirect is not followed")
    };
    let failures = [
        redirect(301),
        redirect(302),
        redirect(307),
        redirect(308),
        (Reply::status(304), "304"),
        (Reply::status(400), "400"),
        (Reply::status(404), "404"),
        (Reply::status(500), "500"),
        (Reply::status(503), "503"),
        (Reply::Says("no HTTP\r\n".to_owned()), "no answer"),
        (Reply::Closes, "no answer"),
        (Reply::HalfCloses, "no answer"),
        (Reply::Hangs, "no answer in 1 s"),
    ];
    app.hook(&endpoint.url(), &[EventKind::UserCreated]).await;
    for (number, (reply, expected)) in failures.into_iter().enumerate() {
        endpoint.next([reply.clone()]);
        app.account(&format!("user{number}")).await;
        endpoint.next_request();
        let tried = app.tried(number + 1, 1).await;
        assert!(words(&tried[0]).contains(expected), "{reply:?}: {tried:?}");
        assert!(matches!(tried[0].status, DeliveryStatus::Due(_)), "{tried:?}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn whatever_else_an_answer_of_2xx_is_it_is_one() {
    let app =
        TestApp::with(&[("webhook_allow_hosts", "127.0.0.1"), ("webhook_timeout_seconds", "1")])
            .await;
    let endpoint = TestEndpoint::start();
    app.hook(&endpoint.url(), &[EventKind::UserCreated]).await;
    let replies = [Reply::status(200), Reply::status(204), Reply::SaysMuch(1 << 20), Reply::Drips];
    for (number, reply) in replies.into_iter().enumerate() {
        endpoint.next([reply.clone()]);
        app.account(&format!("user{number}")).await;
        endpoint.next_request();
        let tried = app.tried(number + 1, 1).await;
        assert!(matches!(tried[0].status, DeliveryStatus::Delivered(_)), "{reply:?}: {tried:?}");
    }
}

#[tokio::test]
async fn one_that_hangs_delays_no_other() {
    let app = start().await;
    let (slow, quick) = (TestEndpoint::start(), TestEndpoint::start());
    slow.always(Reply::Hangs);
    app.hook(&slow.url(), &[EventKind::MessageCreated]).await;
    app.hook(&quick.url(), &[EventKind::MessageCreated]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    // Far more than it is told at once.
    let ids = app.send_many(&ann, &bob, 60).await;
    let mut delivered: Vec<_> =
        ids.iter().map(|_| quick.next_request().body()["data"]["message_id"].as_i64()).collect();
    delivered.sort();
    assert_eq!(delivered, ids.into_iter().map(Some).collect::<Vec<_>>());
    // They hang for ten seconds, and it took nobody so long.
    assert!(slow.requests().len() <= 32);
    assert!(
        app.deliveries()
            .await
            .iter()
            .all(|delivered| delivered.webhook.get() != 1 || delivered.attempts == 0)
    );
}

#[tokio::test]
async fn one_that_is_gone_is_told_nothing_more() {
    let app = start().await;
    let endpoint = TestEndpoint::start();
    endpoint.always(Reply::status(410));
    let webhook = app.hook(&endpoint.url(), &[EventKind::UserCreated]).await;
    app.account("ann").await;
    endpoint.next_request();
    let tried = app.tried(1, 1).await;
    assert_eq!((tried[0].status, words(&tried[0])), (DeliveryStatus::GivenUp, "410"));
    until("the server knows", async || app.clock().cx().wanted == domain::Wanted::default()).await;
    app.account("bob").await;
    let listed = app.write(webhooks::list).await;
    let (_, why) = listed[0].disabled.clone().expect("it is disabled");
    assert_eq!(why, "it answered 410 Gone");

    endpoint.always(Reply::status(200));
    let id = webhook.id;
    assert!(app.write(move |tx| webhooks::enable(tx, id)).await);
    until("the server knows", async || app.clock().cx().wanted != domain::Wanted::default()).await;
    app.account("cid").await;
    assert_eq!(endpoint.next_request().body()["data"]["user_id"], 3);
    assert_eq!(endpoint.requests().len(), 0);
}

#[tokio::test]
async fn one_that_asks_for_patience_is_left_alone() {
    let app = start().await;
    let endpoint = TestEndpoint::start();
    app.hook(&endpoint.url(), &[EventKind::UserCreated]).await;
    for (number, (status, asked, least)) in [
        (429, "3600", Time::HOUR),
        (503, "7200", 2 * Time::HOUR),
        (429, "99999999", Time::DAY),
        (429, "1", RETRIES[0]),
        (500, "3600", RETRIES[0]),
    ]
    .into_iter()
    .enumerate()
    {
        endpoint.next([Reply::Says(format!("{status} Later\r\nRetry-After: {asked}\r\n"))]);
        app.account(&format!("user{number}")).await;
        let before = app.clock().now();
        endpoint.next_request();
        let tried = app.tried(number + 1, 1).await;
        let DeliveryStatus::Due(next) = tried[0].status else { panic!("it is tried again") };
        let waits = next.0 - before.0;
        let most = least + least / 10 + Time::MINUTE;
        assert!((least..most).contains(&waits), "{status} {asked}: {waits}");
    }
}

#[tokio::test]
async fn nothing_that_is_not_public_is_connected_to() {
    let app = TestApp::with(&[("webhook_timeout_seconds", "5")]).await;
    let trap = TestEndpoint::start();
    let port = trap.address.port();
    // However it is written, and however it got into the database.
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST.",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "10.0.0.1",
    ];
    let mut number = 0;
    for scheme in ["http", "https"] {
        for host in hosts {
            app.hook(&format!("{scheme}://{host}:{port}/"), &[EventKind::UserCreated]).await;
            number += 1;
        }
    }
    app.account("ann").await;
    for delivery in app.tried(number, 1).await {
        let refused = ["it must be https", "is not a public address", "there is no host"];
        let words = words(&delivery);
        assert!(refused.iter().any(|refused| words.contains(refused)), "{words}");
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn a_server_that_stops_lets_what_it_tells_end_or_tells_it_again() {
    let mut app = start().await;
    let endpoint = TestEndpoint::start();
    endpoint.always(Reply::Hangs);
    app.hook(&endpoint.url(), &[EventKind::UserCreated]).await;
    app.account("ann").await;
    let first = endpoint.next_request();
    app.restart();
    endpoint.always(Reply::status(200));
    let again = endpoint.next_request();
    assert_eq!(first.id(), again.id());
    let tried = app.tried(1, 1).await;
    assert_eq!((tried[0].attempts, words(&tried[0])), (1, "200"));
}

#[tokio::test]
async fn attempts_are_counted() {
    let app = start().await;
    let endpoint = TestEndpoint::start();
    app.hook(&endpoint.url(), &[EventKind::UserCreated]).await;
    endpoint.next([Reply::status(500), Reply::status(200)]);
    for (number, name) in ["ann", "bob"].into_iter().enumerate() {
        app.account(name).await;
        app.tried(number + 1, 1).await;
    }
    let metrics = app.scraper().request("GET", "/metrics").send().await;
    let text = String::from_utf8_lossy(&metrics.body);
    for result in ["delivered", "failed"] {
        let line = format!("postroom_webhook_attempts_total{{result=\"{result}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}
