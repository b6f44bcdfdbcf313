//! Webhooks as the app's own server meets them: over real connections, through days of failure.

use std::time::Duration;

use mail::Time;
use mail::webhooks::{self, Delivery, Endpoint, Kind, Kinds, RETRIES, Standing};
use serde_json::json;

use crate::harness::{PASSWORD, TestApp};
use crate::receiver::{Heard, Receiver, Reply};

/// A server that may tell whoever listens on this machine.
async fn start() -> TestApp {
    TestApp::with(&[("webhook_allow_hosts", "127.0.0.1")]).await
}

impl TestApp {
    /// Adds a webhook, and waits until the server knows.
    async fn hook(&self, url: &str, kinds: &[Kind]) -> Endpoint {
        let (cx, url) = (self.clock().cx(), url.to_owned());
        let kinds: Kinds = kinds.iter().copied().collect();
        let added = self.write(move |tx| webhooks::add(tx, &cx, &url, kinds)).await;
        let known = |app: &Self| app.clock().cx().wanted.webhooks;
        until("the server knows", async || kinds.iter().all(|kind| known(self).has(kind))).await;
        added
    }

    /// What was told, the newest first.
    async fn told(&self) -> Vec<Delivery> {
        self.write(|tx| webhooks::log(tx, None, false, 1000)).await
    }

    /// Waits until all that was to be told was tried, and answers how it stands.
    async fn tried(&self, deliveries: usize, attempts: i64) -> Vec<Delivery> {
        let all = async |app: &Self| {
            let told = app.told().await;
            let tried = told.iter().all(|told| {
                told.attempts >= attempts || matches!(told.standing, Standing::Delivered(_))
            });
            tried && told.len() == deliveries
        };
        until("all of it was tried", async || all(self).await).await;
        self.told().await
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
    let receiver = Receiver::start();
    app.hook(&receiver.url(), &Kind::ALL).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let users = [receiver.hears(), receiver.hears()].map(|heard| heard.body());
    let mut users = users.map(|user| (user["type"].clone(), user["data"].clone()));
    users.sort_by_key(|(_, data)| data["user_id"].as_i64());
    let (ann_id, bob_id) = (ann.id.get(), bob.id.get());
    assert_eq!(users[0], (json!("user.created"), json!({ "user_id": ann_id })));
    assert_eq!(users[1], (json!("user.created"), json!({ "user_id": bob_id })));

    let body = json!({ "to": [bob_id], "subject": "canary", "body": "canary", "client_id": "\"7\"",
                       "metadata": { "a": "canary" } });
    let sent = ann.ask("POST", "/v1/messages").json(&body).go().await.is(201);
    let heard = receiver.hears();
    assert_eq!(heard.line, "POST /hook?from=postroom HTTP/1.1");
    assert_eq!(heard.headers["host"], receiver.address.to_string());
    assert_eq!(heard.headers["content-type"], "application/json");
    assert!(heard.headers["user-agent"].starts_with("Postroom/"), "{:?}", heard.headers);
    assert!(!heard.text.contains("canary"), "{}", heard.text);
    let expected = json!({
        "type": "message.created",
        "timestamp": sent["sent_at"],
        "data": { "message_id": sent["id"], "conversation_id": sent["conversation_id"],
                  "from": ann_id, "to": [bob_id], "client_id": "\"7\"" },
    });
    assert_eq!(heard.body(), expected);

    let id = sent["id"].as_i64().expect("it has one");
    bob.read(id).await;
    let data = json!({ "message_id": id, "conversation_id": id, "from": ann_id,
                       "user_id": bob_id });
    let what = |heard: &Heard| (heard.body()["type"].clone(), heard.body()["data"].clone());
    assert_eq!(what(&receiver.hears()), (json!("message.read"), data.clone()));
    bob.delete(id).await;
    assert_eq!(what(&receiver.hears()), (json!("message.destroyed"), data));
    let erased = bob.ask("DELETE", "/v1/users/me").json(&json!({ "password": PASSWORD }));
    assert_eq!(erased.go().await.status, 204);
    let data = json!({ "user_id": bob_id });
    assert_eq!(what(&receiver.hears()), (json!("user.erased"), data));
}

#[tokio::test]
async fn an_event_that_fails_comes_back_under_its_id_for_days_and_then_no_more() {
    let app = start().await;
    let receiver = Receiver::start();
    receiver.always(Reply::status(500));
    app.hook(&receiver.url(), &[Kind::UserCreated]).await;
    app.account("ann").await;
    let first = receiver.hears();
    let mut last = first.clone();
    for (attempts, wait) in (1..).zip(RETRIES) {
        let tried = app.tried(1, attempts).await;
        let Standing::Due(next) = tried[0].standing else { panic!("it is tried again: {tried:?}") };
        let now = app.clock().now();
        assert!(next.0 - now.0 <= wait + wait / 10, "{next:?} at {now:?}");
        app.advance(next.0 - now.0);
        let again = receiver.hears();
        assert_eq!((again.id(), &again.text), (first.id(), &first.text));
        let moment = |heard: &Heard| heard.headers["webhook-timestamp"].parse::<i64>();
        let (then, now) = (moment(&last).expect("a number"), moment(&again).expect("a number"));
        assert!(now - then >= wait / Time::SECOND, "{then} {now}");
        assert_ne!(again.headers["webhook-signature"], last.headers["webhook-signature"]);
        last = again;
    }
    let tried = app.tried(1, 10).await;
    assert_eq!((tried[0].standing, words(&tried[0])), (Standing::GivenUp, "500"));
    assert_eq!(receiver.heard().len(), 0);
}

#[tokio::test]
async fn only_an_answer_of_2xx_is_one() {
    let app =
        TestApp::with(&[("webhook_allow_hosts", "127.0.0.0/8"), ("webhook_timeout_seconds", "1")])
            .await;
    let (receiver, elsewhere) = (Receiver::start(), Receiver::start());
    let redirect = |status| {
        let status = format!("{status} Elsewhere\r\nLocation: {}\r\n", elsewhere.url());
        (Reply::Says(status), "a redirect is not followed")
    };
    let failures = [
        redirect(301),
        redirect(302),
        redirect(307),
        redirect(308),
        (Reply::status(400), "400"),
        (Reply::status(404), "404"),
        (Reply::status(500), "500"),
        (Reply::status(503), "503"),
        (Reply::Says("no HTTP\r\n".to_owned()), "no answer"),
        (Reply::Closes, "no answer"),
        (Reply::HalfCloses, "no answer"),
        (Reply::Hangs, "no answer in 1 s"),
    ];
    app.hook(&receiver.url(), &[Kind::UserCreated]).await;
    for (number, (reply, expected)) in failures.into_iter().enumerate() {
        receiver.next([reply.clone()]);
        app.account(&format!("user{number}")).await;
        receiver.hears();
        let tried = app.tried(number + 1, 1).await;
        assert!(words(&tried[0]).contains(expected), "{reply:?}: {tried:?}");
        assert!(matches!(tried[0].standing, Standing::Due(_)), "{tried:?}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn whatever_else_an_answer_of_2xx_is_it_is_one() {
    let app =
        TestApp::with(&[("webhook_allow_hosts", "127.0.0.1"), ("webhook_timeout_seconds", "1")])
            .await;
    let receiver = Receiver::start();
    app.hook(&receiver.url(), &[Kind::UserCreated]).await;
    let replies = [Reply::status(200), Reply::status(204), Reply::SaysMuch(1 << 20), Reply::Drips];
    for (number, reply) in replies.into_iter().enumerate() {
        receiver.next([reply.clone()]);
        app.account(&format!("user{number}")).await;
        receiver.hears();
        let tried = app.tried(number + 1, 1).await;
        assert!(matches!(tried[0].standing, Standing::Delivered(_)), "{reply:?}: {tried:?}");
    }
}

#[tokio::test]
async fn one_that_hangs_delays_no_other() {
    let app = start().await;
    let (slow, quick) = (Receiver::start(), Receiver::start());
    slow.always(Reply::Hangs);
    app.hook(&slow.url(), &[Kind::MessageCreated]).await;
    app.hook(&quick.url(), &[Kind::MessageCreated]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    // Far more than it is told at once.
    let ids = app.send_many(&ann, &bob, 60).await;
    let mut told: Vec<_> =
        ids.iter().map(|_| quick.hears().body()["data"]["message_id"].as_i64()).collect();
    told.sort();
    assert_eq!(told, ids.into_iter().map(Some).collect::<Vec<_>>());
    // They hang for ten seconds, and it took nobody so long.
    assert!(slow.heard().len() <= 32);
    assert!(app.told().await.iter().all(|told| told.webhook.get() != 1 || told.attempts == 0));
}

#[tokio::test]
async fn one_that_is_gone_is_told_nothing_more() {
    let app = start().await;
    let receiver = Receiver::start();
    receiver.always(Reply::status(410));
    let endpoint = app.hook(&receiver.url(), &[Kind::UserCreated]).await;
    app.account("ann").await;
    receiver.hears();
    let tried = app.tried(1, 1).await;
    assert_eq!((tried[0].standing, words(&tried[0])), (Standing::GivenUp, "410"));
    until("the server knows", async || app.clock().cx().wanted == mail::Wanted::default()).await;
    app.account("bob").await;
    let listed = app.write(webhooks::list).await;
    let (_, why) = listed[0].disabled.clone().expect("it is disabled");
    assert_eq!(why, "it answered 410 Gone");

    receiver.always(Reply::status(200));
    let id = endpoint.id;
    assert!(app.write(move |tx| webhooks::enable(tx, id)).await);
    until("the server knows", async || app.clock().cx().wanted != mail::Wanted::default()).await;
    app.account("cid").await;
    assert_eq!(receiver.hears().body()["data"]["user_id"], 3);
    assert_eq!(receiver.heard().len(), 0);
}

#[tokio::test]
async fn one_that_asks_for_patience_is_left_alone() {
    let app = start().await;
    let receiver = Receiver::start();
    app.hook(&receiver.url(), &[Kind::UserCreated]).await;
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
        receiver.next([Reply::Says(format!("{status} Later\r\nRetry-After: {asked}\r\n"))]);
        app.account(&format!("user{number}")).await;
        let before = app.clock().now();
        receiver.hears();
        let tried = app.tried(number + 1, 1).await;
        let Standing::Due(next) = tried[0].standing else { panic!("it is tried again") };
        let waits = next.0 - before.0;
        let most = least + least / 10 + Time::MINUTE;
        assert!((least..most).contains(&waits), "{status} {asked}: {waits}");
    }
}

#[tokio::test]
async fn nothing_that_is_not_public_is_connected_to() {
    let app = TestApp::with(&[("webhook_timeout_seconds", "5")]).await;
    let trap = Receiver::start();
    let port = trap.address.port();
    // However it is written, and whoever has put it into the database.
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
            app.hook(&format!("{scheme}://{host}:{port}/"), &[Kind::UserCreated]).await;
            number += 1;
        }
    }
    app.account("ann").await;
    for delivery in app.tried(number, 1).await {
        let refused = ["it must be https", "is no public address", "there is no host"];
        let words = words(&delivery);
        assert!(refused.iter().any(|refused| words.contains(refused)), "{words}");
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn a_server_that_stops_lets_what_it_tells_end_or_tells_it_again() {
    let mut app = start().await;
    let receiver = Receiver::start();
    receiver.always(Reply::Hangs);
    app.hook(&receiver.url(), &[Kind::UserCreated]).await;
    app.account("ann").await;
    let first = receiver.hears();
    app.restart();
    receiver.always(Reply::status(200));
    let again = receiver.hears();
    assert_eq!(first.id(), again.id());
    let tried = app.tried(1, 1).await;
    assert_eq!((tried[0].attempts, words(&tried[0])), (1, "200"));
}

#[tokio::test]
async fn attempts_are_counted() {
    let app = start().await;
    let receiver = Receiver::start();
    app.hook(&receiver.url(), &[Kind::UserCreated]).await;
    receiver.next([Reply::status(500), Reply::status(200)]);
    for (number, name) in ["ann", "bob"].into_iter().enumerate() {
        app.account(name).await;
        app.tried(number + 1, 1).await;
    }
    let metrics = app.browser().ask("GET", "/metrics").go().await;
    let text = String::from_utf8_lossy(&metrics.body);
    for result in ["delivered", "failed"] {
        let line = format!("postroom_webhook_attempts_total{{result=\"{result}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}
