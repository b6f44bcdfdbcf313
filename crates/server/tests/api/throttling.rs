//! Failed logins are held up, for an account and for an address; nobody is locked out for good.

use domain::Time;
use domain::throttle;
use testing::{Client, Response};
use tokio::task::JoinSet;

use crate::harness::{PASSWORD, TestApp, WRONG};

/// Failures that an account has free.
const FREE: usize = 10;
/// Seconds of waiting that a slow machine may have lived through by itself.
const SLACK: i64 = 10;

/// Fails to log in so many times.
async fn fail(client: &Client, name: &str, times: usize) {
    for _ in 0..times {
        client.try_login(name, WRONG).await.error(401);
    }
}

/// The seconds that a throttled answer asks to wait for.
#[track_caller]
fn wait(answer: &Response) -> i64 {
    let error = answer.error(429);
    let seconds = answer.header("retry-after").expect("it says how long");
    assert!(error.contains(seconds), "{error}");
    seconds.parse().expect("it is a number of seconds")
}

#[tokio::test]
async fn after_ten_wrong_passwords_even_the_right_one_has_to_wait() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    fail(&client, "ann", FREE).await;

    let wrong = client.try_login("ann", WRONG).await;
    let right = client.try_login("ann", PASSWORD).await;

    for answer in [&wrong, &right] {
        assert!((30 - SLACK..=30).contains(&wait(answer)), "{answer:?}");
        assert!(answer.cookies().is_empty());
    }
    app.advance((30 + SLACK) * Time::SECOND);
    client.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn the_wait_is_over_when_it_is_over_and_not_before() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    fail(&client, "ann", FREE).await;

    app.advance((30 - SLACK) * Time::SECOND);
    wait(&client.try_login("ann", PASSWORD).await);
    app.advance(SLACK * Time::SECOND);
    client.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn who_asks_again_too_early_does_not_wait_longer() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    fail(&client, "ann", FREE).await;

    for _ in 0..50 {
        wait(&client.try_login("ann", WRONG).await);
    }

    app.advance(30 * Time::SECOND);
    client.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn waits_grow_up_to_twenty_minutes() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    fail(&client, "ann", FREE - 1).await;

    for expected in [30, 60, 120, 240, 480, 960, 1200, 1200] {
        fail(&client, "ann", 1).await;
        let wait = wait(&client.try_login("ann", WRONG).await);
        assert!((expected - SLACK..=expected).contains(&wait), "{wait} s, not {expected}");
        app.advance(wait * Time::SECOND);
    }

    client.try_login("ann", PASSWORD).await.ok();
    app.advance(Time::DAY);
    fail(&client, "ann", FREE).await;
}

#[tokio::test]
async fn failures_are_forgotten_after_a_day() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;

    fail(&client, "ann", FREE - 1).await;
    app.advance(Time::DAY);
    fail(&client, "ann", FREE - 1).await;

    client.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn a_restart_forgets_no_failure() {
    let mut app = TestApp::start().await;
    app.account("ann").await;
    app.account("bob").await;
    let client = app.visitor().await;
    fail(&client, "ann", FREE).await;
    fail(&client, "bob", FREE - 1).await;

    app.restart();

    wait(&client.try_login("ann", PASSWORD).await);
    fail(&client, "bob", 1).await;
    wait(&client.try_login("bob", PASSWORD).await);
}

#[tokio::test]
async fn the_right_password_is_no_failure_and_takes_none_back() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;

    for _ in 0..FREE {
        client.try_login("ann", PASSWORD).await.ok();
        client.try_login("ann", PASSWORD).await.ok();
        fail(&client, "ann", 1).await;
    }

    wait(&client.try_login("ann", PASSWORD).await);
}

#[tokio::test]
async fn other_accounts_are_not_held_up() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let client = app.visitor().await;
    fail(&client, "ann", FREE).await;
    wait(&client.try_login("ann", PASSWORD).await);

    client.try_login("bob", PASSWORD).await.ok();
    fail(&client, "bob", 1).await;
    // Nor is anybody who is logged in already.
    ann.send(&bob, "I am still here", "").await;
}

#[tokio::test]
async fn the_case_of_a_name_does_not_make_another_account_of_it() {
    let app = TestApp::start().await;
    app.account("Ann").await;
    let client = app.visitor().await;

    for name in ["ann", "Ann", "ANN", "aNN", "ａｎｎ"] {
        fail(&client, name, 2).await;
    }

    wait(&client.try_login("ann", PASSWORD).await);
    wait(&client.try_login("ＡＮＮ", PASSWORD).await);
}

#[tokio::test]
async fn an_unknown_name_is_counted_like_a_known_one() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.account("carl").await;
    app.disable(&app.user("dora").await).await;
    let client = app.visitor().await;
    let long = "n".repeat(10_000);
    let mut seen = Vec::new();

    for name in ["carl", "nobody", "dora", "no name\0", "", &long] {
        let mut reported = Vec::new();
        for _ in 0..=FREE {
            let mut answer = client.try_login(name, WRONG).await;
            // The seconds depend on how fast the machine is.
            answer.headers.remove("retry-after");
            answer.headers.remove("ratelimit");
            let mut body = answer.body.to_vec();
            body.retain(|byte| !byte.is_ascii_digit());
            answer.body = body.into();
            answer.headers.remove("content-length");
            reported.push(answer.comparable());
        }
        seen.push(reported);
    }

    assert_eq!(seen[0][FREE].0, 429);
    for reported in &seen {
        assert_eq!(*reported, seen[0]);
    }
    ann.login().await;
}

#[tokio::test]
async fn fifty_at_once_get_no_more_than_ten_tries() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let token = app.client().csrf_token().await;
    let mut tries = JoinSet::new();

    for _ in 0..50 {
        let client = app.client();
        client.set_cookie("csrftoken", &token);
        tries.spawn(async move { client.try_login("ann", WRONG).await.status });
    }
    let statuses = tries.join_all().await;

    let of = |status: u16| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((of(401), of(429)), (FREE, 50 - FREE), "{statuses:?}");
}

#[tokio::test]
async fn rate_limits_can_be_switched_off() {
    let app = TestApp::with(&[("rate_limits", "off"), ("trusted_proxies", "127.0.0.1")]).await;
    app.account("ann").await;
    let client = app.visitor().await.with_header("x-forwarded-for", "198.51.100.7");

    fail(&client, "ann", 2 * FREE).await;
    for number in 0..12 {
        fail(&client, &format!("nobody{number}"), 1).await;
    }

    client.try_login("ann", PASSWORD).await.ok();
}

/// A server behind a proxy on the same machine.
async fn behind_a_proxy() -> TestApp {
    TestApp::with(&[("trusted_proxies", "127.0.0.1,10.0.0.0/8")]).await
}

/// A client whose requests come from there, as the proxy says.
async fn from(app: &TestApp, forwarded: &str) -> Client {
    app.visitor().await.with_header("x-forwarded-for", forwarded)
}

/// Counts failures from an address, each at another account, without a password for each.
async fn count(app: &TestApp, address: &str, times: usize) {
    let (cx, address) = (app.clock().cx(), address.parse().expect("it is an address"));
    let count = move |tx: &mut db::Tx<'_>| {
        for number in 0..times {
            throttle::count(tx, &cx, &format!("counted {number}"), Some(address))?;
        }
        Ok(())
    };
    app.write(count).await;
}

#[tokio::test]
async fn an_address_has_thirty_failures_a_minute() {
    let app = behind_a_proxy().await;
    app.account("ann").await;
    let client = from(&app, "198.51.100.7").await;

    for number in 0..30 {
        fail(&client, &format!("nobody{number}"), 1).await;
    }

    let throttled = client.try_login("ann", PASSWORD).await;
    assert!((60 - SLACK..=60).contains(&wait(&throttled)), "{throttled:?}");
    from(&app, "198.51.100.8").await.try_login("ann", PASSWORD).await.ok();
    app.visitor().await.try_login("ann", PASSWORD).await.ok();
    app.advance(Time::MINUTE);
    client.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn right_passwords_cost_an_address_nothing() {
    let app = behind_a_proxy().await;
    app.account("ann").await;
    let client = from(&app, "198.51.100.7").await;
    count(&app, "198.51.100.7", 28).await;

    for _ in 0..5 {
        client.try_login("ann", PASSWORD).await.ok();
    }

    fail(&client, "nobody", 2).await;
    wait(&client.try_login("nobody", WRONG).await);
}

#[tokio::test]
async fn what_a_client_writes_into_the_header_itself_does_not_hide_it() {
    let app = behind_a_proxy().await;
    count(&app, "198.51.100.7", 30).await;

    for forwarded in [
        "198.51.100.7",
        "203.0.113.1, 198.51.100.7",
        "127.0.0.1, 198.51.100.7",
        "203.0.113.1,198.51.100.7 , 10.1.2.3",
        "::ffff:198.51.100.7",
        "garbage, 198.51.100.7",
    ] {
        wait(&from(&app, forwarded).await.try_login("nobody", WRONG).await);
    }
    from(&app, "198.51.100.7, 203.0.113.1").await.try_login("nobody", WRONG).await.error(401);
    let two = from(&app, "203.0.113.1").await.with_header("x-forwarded-for", "198.51.100.7");
    wait(&two.try_login("nobody", WRONG).await);
}

#[tokio::test]
async fn an_ipv6_network_counts_as_one_address() {
    let app = behind_a_proxy().await;
    count(&app, "2001:db8:1:2::1", 30).await;

    wait(&from(&app, "2001:db8:1:2:ffff:ffff:ffff:ffff").await.try_login("nobody", WRONG).await);
    from(&app, "2001:db8:1:3::1").await.try_login("nobody", WRONG).await.error(401);
}

#[tokio::test]
async fn without_a_trusted_proxy_the_header_is_not_believed() {
    let app = TestApp::start().await;
    app.account("ann").await;
    count(&app, "198.51.100.7", 30).await;

    // It would be held up, were it believed; and it would be free of the account's count.
    let client = from(&app, "198.51.100.7").await;
    client.try_login("nobody", WRONG).await.error(401);
    fail(&client, "ann", FREE).await;
    wait(&from(&app, "203.0.113.1").await.try_login("ann", PASSWORD).await);
}

#[tokio::test]
async fn programs_of_this_machine_are_counted_by_account_only() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;

    for number in 0..35 {
        fail(&client, &format!("nobody{number}"), 1).await;
    }

    client.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn what_is_refused_for_another_reason_is_no_failure() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    let request = || client.request("POST", "/users/login");
    let body = serde_json::json!({ "username": "ann", "password": WRONG });

    for _ in 0..2 * FREE {
        request().json(&body).without_csrf().send().await.error(403);
        request().json(&body).header("origin", "https://evil.example").send().await.error(403);
        request().body(r#"{"username": "ann"}"#).send().await.error(400);
    }

    client.try_login("ann", PASSWORD).await.ok();
}
