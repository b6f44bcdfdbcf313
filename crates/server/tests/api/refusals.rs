//! Who is refused again and again is answered in turn; nobody else waits for that.

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
    let metrics = app.scraper().request("GET", "/metrics").send().await.body;
    let text = std::str::from_utf8(&metrics).expect("it is text");
    let figure =
        text.lines().find_map(|line| line.strip_prefix("postroom_refusals_delayed_total "));
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
