//! Who is refused again and again is answered in turn; nobody else waits for that.

use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use testing::Client;
use tokio::task::JoinSet;

use crate::harness::TestApp;

/// Refusals of one that are not held back.
const AT_ONCE: usize = 100;
/// The address of who is refused.
const ADDRESS: &str = "198.51.100.66";
/// Connections of who is refused.
const CONNECTIONS: usize = 50;
/// As many more rounds as a machine may need that refuses few in a second.
const ROUNDS: usize = 20;

/// Requests from that address, as a trusted proxy says.
fn from(app: &TestApp, address: &str) -> Client {
    app.client().with_header("x-forwarded-for", address)
}

/// Asks for something over connections of its own, and returns the statuses of the answers.
async fn ask(client: impl Fn() -> Client, path: &'static str, times: usize) -> Vec<u16> {
    let mut asking = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let client = client();
        asking.spawn(async move {
            let mut statuses = vec![];
            for _ in 0..times / CONNECTIONS {
                let request = match path {
                    "/v1/sessions" => client.request("POST", path).json(&json!({})),
                    _ => client.request("GET", path),
                };
                statuses.push(request.send().await.status);
            }
            statuses
        });
    }
    asking.join_all().await.concat()
}

/// How many refusals were held back.
async fn delayed(app: &TestApp) -> u64 {
    figure(app, "postroom_refusals_delayed_total ").await
}

async fn figure(app: &TestApp, name: &str) -> u64 {
    let metrics = app.scraper().request("GET", "/metrics").send().await.body;
    let text = std::str::from_utf8(&metrics).expect("it is text");
    let figure = text.lines().find_map(|line| line.strip_prefix(name));
    figure.expect("it is counted").parse().expect("it is a number")
}

#[tokio::test]
async fn many_refusals_of_one_address_are_held_back_and_nobody_else_s() {
    let app = TestApp::with(&[("trusted_proxies", "127.0.0.1")]).await;
    let ann = app.user("ann").await;
    let many = || from(&app, ADDRESS);

    let statuses = ask(many, "/v1/sessions", AT_ONCE).await;
    assert_eq!((statuses, delayed(&app).await), (vec![422; AT_ONCE], 0));
    let mut rounds = 0;
    while delayed(&app).await == 0 {
        rounds += 1;
        assert!(rounds < ROUNDS, "none of {rounds} rounds was held back");
        let statuses = ask(many, "/v1/sessions", CONNECTIONS).await;
        assert_eq!(statuses, [422; CONNECTIONS], "it is the same answer");
    }

    let held_back = delayed(&app).await;
    // Another address, a user at the same one, and what is no refusal.
    let other = from(&app, "198.51.100.67");
    other.request("POST", "/v1/sessions").json(&json!({})).send().await.expect(422);
    let send = ann.request("POST", "/v1/messages").header("x-forwarded-for", ADDRESS);
    send.json(&json!({})).send().await.expect(422);
    let inbox = ann.request("GET", "/v1/messages").header("x-forwarded-for", ADDRESS);
    inbox.send().await.expect(200);
    assert_eq!(many().request("GET", "/healthz").send().await.status, 200);
    assert_eq!(delayed(&app).await, held_back);
}

#[tokio::test]
async fn without_rate_limits_no_refusal_is_held_back_and_on_loopback_none_either() {
    for settings in [[("rate_limits", "off"), ("trusted_proxies", "127.0.0.1")].as_slice(), &[]] {
        let app = TestApp::with(settings).await;
        ask(|| app.client(), "/v1/sessions", 3 * AT_ONCE).await;
        assert_eq!(delayed(&app).await, 0, "{settings:?}");
    }
}

#[tokio::test]
async fn what_says_how_things_are_is_not_held_back() {
    let app = TestApp::with(&[("trusted_proxies", "127.0.0.1")]).await;
    let asked = ask(|| from(&app, ADDRESS), "/v1/nothing", 3 * AT_ONCE).await;
    assert_eq!((asked, delayed(&app).await), (vec![404; 3 * AT_ONCE], 0));
}

#[tokio::test]
async fn who_has_written_to_very_many_is_answered_later_and_nobody_else() {
    for (setting, held_back) in [("on", true), ("off", false)] {
        let app = TestApp::with(&[("rate_limits", setting)]).await;
        let (ann, ben) = (app.user("ann").await, app.user("ben").await);
        let late = async || figure(&app, "postroom_writers_delayed_total ").await;
        app.tell_mailboxes(ann.id, 1000).await;
        ann.request("GET", "/v1/unread").send().await.expect(200);
        assert_eq!(late().await, 0, "so many are free");
        app.tell_mailboxes(ann.id, 100).await;
        ben.request("GET", "/v1/unread").send().await.expect(200);
        assert_eq!(late().await, 0);
        ann.request("GET", "/v1/unread").send().await.expect(200);
        assert_eq!(late().await, u64::from(held_back));
        // Who goes on without an answer is refused in the end.
        app.tell_mailboxes(ann.id, 3000).await;
        let body = json!({ "to": [ben.id.get()], "body": "hi" });
        let sent = ann.request("POST", "/v1/messages").json(&body).send().await;
        assert_eq!(sent.status, if held_back { 503 } else { 201 });
        app.expect_failures(u64::from(held_back));
        ben.request("POST", "/v1/messages").json(&body).send().await.expect(201);
    }
}

#[tokio::test]
async fn long_bodies_of_one_user_count_until_they_are_answered() {
    // A user has a quarter, which is 16 of them.
    let most = (32 << 20).to_string();
    let settings = [("unfinished_bodies_max_bytes", &*most), ("rate_limits", "off")];
    let app = TestApp::with(&settings).await;
    let ann = app.user("ann").await;
    let token = ann.token(None).await;
    let batch = json!({ "filter": { "folder": "inbox" }, "delete": true });
    let long = Bytes::from(batch.to_string() + &" ".repeat(500_000));
    let send = || {
        let (client, token, body) = (app.client(), token.clone(), long.clone());
        async move {
            let send = client.request("POST", "/v1/messages/batch").bearer(&token);
            let send = send.header("Content-Type", "application/json").without_cookies();
            send.body(body).send().await.status
        }
    };
    let (go, wait) = channel::<()>();
    let hold = app.hold_scan_of(ann.id, wait);
    let asked = async {
        let mut waiting = JoinSet::new();
        for _ in 0..17 {
            waiting.spawn(send());
            // So that no more than two or three arrive at the same time.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let first = tokio::time::timeout(Duration::from_secs(30), waiting.join_next()).await;
        drop(go);
        let first = first.expect("one too many is refused at once").expect("they are 17");
        [vec![first.expect("it is answered")], waiting.join_all().await].concat()
    };
    let ((), answered) = tokio::join!(hold, asked);

    let refused = answered.iter().filter(|status| **status == 503).count();
    assert!(answered[0] == 503 && answered.contains(&200), "{answered:?}");
    assert_eq!(answered.iter().filter(|status| **status == 200).count(), 17 - refused);
    assert_eq!(send().await, 200, "what was answered is counted no more");
    app.expect_failures(refused as u64);
}

#[tokio::test]
async fn who_sends_much_in_long_bodies_is_refused_and_others_are_not() {
    // So many may be in memory.
    let most = (1 << 30).to_string();
    let app = TestApp::with(&[("unfinished_bodies_max_bytes", &*most)]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let long = Bytes::from(vec![b'x'; 500_000]);
    let send = |token: &str| {
        let (client, token, body) = (app.client(), token.to_owned(), long.clone());
        async move {
            let send = client.request("POST", "/v1/messages").bearer(&token).without_cookies();
            let send = send.header("Content-Type", "application/json").body(body).send().await;
            (send.status, send.header("retry-after").map(str::to_owned))
        }
    };
    let (of_ann, of_bob) = (ann.token(None).await, bob.token(None).await);
    // 150 MB, of which 16 MiB are read at once and 4 MiB a second.
    let asked: JoinSet<_> = (0..300).map(|_| send(&of_ann)).collect();
    let mut answered = asked.join_all().await;
    assert_eq!(send(&of_bob).await, (400, None));

    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered, [(400, None), (503, Some("5".to_owned()))]);
    let refused = figure(&app, "postroom_bodies_refused_total ").await;
    assert!((1..300).contains(&refused), "{refused}");
    app.expect_failures(refused);
}
