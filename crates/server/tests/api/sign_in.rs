//! Signing in and registering while somebody else does their worst: with guesses, with retries,
//! with names that are taken, and with many connections at once.

use std::time::Instant;

use domain::Time;
use serde_json::{Value, json};
use testing::{Client, Response};
use tokio::task::JoinSet;

use crate::harness::{PASSWORD, TestApp, WRONG};
use crate::user::User;

const NEW: &str = "three-wild-geese";
const HOME: &str = "192.0.2.7";
/// Failures that strangers have free at an account.
const FREE: usize = 10;

async fn behind_a_proxy() -> TestApp {
    TestApp::with(&[("trusted_proxies", "127.0.0.1")]).await
}

/// A client at that address, with a CSRF token.
async fn from(app: &TestApp, address: &str) -> Client {
    app.visitor().await.with_header("x-forwarded-for", address)
}

/// A user who has signed in at home.
async fn at_home(app: &TestApp, name: &str) -> User {
    let client = from(app, HOME).await;
    let user = User::new(app.account(name).await, name, client);
    user.login().await;
    user
}

async fn post(client: &Client, path: &str, body: &Value) -> Response {
    client.request("POST", path).json(body).send().await
}

async fn post_with_key(client: &Client, path: &str, body: &Value) -> Response {
    client.request("POST", path).header("idempotency-key", "the-key").json(body).send().await
}

/// Guesses from ten addresses, until no stranger may try any more.
async fn strangers_guess(app: &TestApp, name: &str) {
    for number in 0..FREE {
        from(app, &format!("198.51.100.{number}")).await.try_login(name, WRONG).await.error(401);
    }
    from(app, "198.51.100.77").await.try_login(name, PASSWORD).await.error(429);
}

fn login(name: &str, password: &str) -> Value {
    json!({ "username": name, "password": password })
}

fn token(name: &str, password: &str) -> Value {
    json!({ "name": "a script", "username": name, "password": password })
}

fn newcomer(name: &str) -> Value {
    json!({ "username": name, "email": "somebody@example.org", "password": PASSWORD })
}

/// The failures that are counted anywhere.
async fn failures(app: &TestApp) -> i64 {
    let sum = "SELECT CAST(coalesce(sum(failures), 0) AS BIGINT) FROM throttles";
    app.scan(move |tx| tx.query_one(sum, &[], |row| row.int(0))).await
}

#[tokio::test]
async fn strangers_do_not_keep_anybody_out_of_where_they_have_signed_in_before() {
    let app = behind_a_proxy().await;
    let ann = at_home(&app, "ann").await;
    ann.logout().await;
    strangers_guess(&app, "ann").await;

    let stranger = from(&app, "198.51.100.77").await;
    for (path, body) in
        [("/v1/sessions", login("ann", PASSWORD)), ("/v1/tokens", token("ann", PASSWORD))]
    {
        post(&stranger, path, &body).await.problem(429, "rate_limited");
    }
    for _ in 0..3 {
        ann.login().await;
        let other = from(&app, HOME).await;
        post(&other, "/v1/sessions", &login("ann", PASSWORD)).await.expect(201);
        post(&other, "/v1/tokens", &token("ann", PASSWORD)).await.expect(201);
    }
    app.advance(30 * Time::SECOND);
    stranger.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn the_same_address_is_familiar_after_each_way_to_give_the_password() {
    let app = behind_a_proxy().await;
    for (name, path) in [("ann", "/v1/sessions"), ("bob", "/v1/tokens")] {
        app.account(name).await;
        let body = if name == "ann" { login(name, PASSWORD) } else { token(name, PASSWORD) };
        let home = from(&app, HOME).await;
        post(&home, path, &body).await.expect(201);
        strangers_guess(&app, name).await;
        app.visitor().await.try_login(name, PASSWORD).await.error(429);
        from(&app, HOME).await.try_login(name, PASSWORD).await.ok();
    }
}

#[tokio::test]
async fn who_is_signed_in_changes_their_password_and_leaves_while_strangers_guess() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for _ in 0..FREE {
        app.visitor().await.try_login("ann", WRONG).await.error(401);
    }
    app.visitor().await.try_login("ann", PASSWORD).await.error(429);

    let path = "/v1/users/me/password";
    let change = |current: &str| json!({ "current_password": current, "new_password": NEW });
    for _ in 0..FREE - 1 {
        let refused = post(&ann.client, path, &change(WRONG)).await;
        refused.problem(401, "authentication_failed");
    }
    post(&ann.client, path, &change(PASSWORD)).await.expect(204);
    let again = || ann.request("DELETE", "/v1/users/me");
    again().json(&json!({ "password": WRONG })).send().await.problem(401, "authentication_failed");
    // The tenth: a thief who has the session guesses no faster than anybody else.
    again().json(&json!({ "password": NEW })).send().await.problem(429, "rate_limited");
    app.advance(30 * Time::SECOND);
    again().json(&json!({ "password": NEW })).send().await.expect(204);
}

#[tokio::test]
async fn a_retry_of_a_sign_in_forgives_nothing_and_is_worth_nothing_once_the_password_is_old() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    post_with_key(&client, "/v1/sessions", &login("ann", PASSWORD)).await.expect(201);
    post_with_key(&client, "/v1/tokens", &token("ann", PASSWORD)).await.expect(201);
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    post(&client, "/v1/users/me/password", &change).await.expect(204);

    let eve = app.visitor().await;
    let (mut guesses, mut held_up) = (0, 0);
    for _ in 0..3 {
        for (path, body) in
            [("/v1/sessions", login("ann", PASSWORD)), ("/v1/tokens", token("ann", PASSWORD))]
        {
            let retried = post_with_key(&eve, path, &body).await;
            assert!(retried.cookies().is_empty());
            for status in [retried.status, eve.try_login("ann", WRONG).await.status] {
                match status {
                    401 => guesses += 1,
                    429 => held_up += 1,
                    other => panic!("{other}"),
                }
            }
        }
    }
    assert_eq!((guesses, held_up), (FREE, 2));
}

#[tokio::test]
async fn a_kept_sign_in_is_worth_nothing_for_a_disabled_account() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let client = app.visitor().await;
    let kept = [("/v1/sessions", login("ann", PASSWORD)), ("/v1/tokens", token("ann", PASSWORD))];
    for (path, body) in &kept {
        post_with_key(&client, path, body).await.expect(201);
    }
    app.disable(&ann).await;
    for (path, body) in &kept {
        let retried = post_with_key(&app.visitor().await, path, body).await;
        retried.problem(401, "authentication_failed");
        assert!(retried.cookies().is_empty());
    }
    assert_eq!(failures(&app).await, 2, "and it is a failure");
}

#[tokio::test]
async fn between_the_sign_ins_of_the_owner_nobody_has_more_guesses() {
    let app = behind_a_proxy().await;
    let ann = at_home(&app, "ann").await;
    let mut guesses = 0;
    for round in 0..14 {
        let eve = from(&app, &format!("198.51.100.{round}")).await;
        guesses += usize::from(eve.try_login("ann", WRONG).await.status == 401);
        ann.login().await;
        // From somewhere new as well, where the count is the strangers'.
        let new = from(&app, &format!("203.0.113.{round}")).await;
        new.try_login("ann", PASSWORD).await;
    }
    // One more where half a minute has passed meanwhile.
    assert!((FREE..=FREE + 1).contains(&guesses), "{guesses}");
}

#[tokio::test]
async fn a_right_password_for_what_cannot_be_done_is_no_failure() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    for _ in 0..100 {
        post(&client, "/v1/tokens", &token("ann", PASSWORD)).await.expect(201);
    }
    for _ in 0..2 * FREE {
        let refused = post(&client, "/v1/tokens", &token("ann", PASSWORD)).await;
        refused.problem(422, "too_many_tokens");
    }
    assert_eq!(failures(&app).await, 0);
}

#[tokio::test]
async fn registrations_that_fail_are_counted_and_cost_no_hash() {
    let limits = [("trusted_proxies", "127.0.0.1"), ("registrations_per_hour", "8")];
    let app = TestApp::with(&limits).await;
    app.account("ann").await;
    let (here, there) = (from(&app, HOME).await, from(&app, "192.0.2.8").await);
    let weak = json!({ "username": "eve", "email": "e@example.org", "password": "password" });

    let begin = Instant::now();
    for _ in 0..5 {
        post(&here, "/v1/users", &newcomer("ann")).await.problem(409, "username_taken");
        here.try_register("ANN", "a@example.org", PASSWORD).await.error(400);
        post(&here, "/v1/users", &weak).await.problem(422, "invalid");
        here.try_register("eve", "no address", PASSWORD).await.error(400);
        here.try_register("me", "a@example.org", PASSWORD).await.error(400);
    }
    let without_a_hash = begin.elapsed();
    for _ in 0..15 {
        here.try_register("ann", "a@example.org", PASSWORD).await.error(400);
    }
    // Five times as many as may succeed.
    post(&here, "/v1/users", &newcomer("eve")).await.problem(429, "rate_limited");
    post(&here, "/v1/users", &weak).await.problem(429, "rate_limited");
    here.try_register("eve", "e@example.org", PASSWORD).await.error(429);
    let begin = Instant::now();
    for number in 0..8 {
        post(&there, "/v1/users", &newcomer(&format!("new{number}"))).await.expect(201);
    }
    let with_a_hash = begin.elapsed() * 25 / 8;
    assert!(with_a_hash > without_a_hash, "{without_a_hash:?}, {with_a_hash:?}");
    // Before the hash as well, if it could only be in vain.
    post(&there, "/v1/users", &newcomer("new9")).await.problem(429, "rate_limited");
    app.advance(Time::HOUR);
    post(&here, "/v1/users", &newcomer("eve")).await.expect(201);
    there.try_register("new9", "e@example.org", PASSWORD).await.ok();
}

#[tokio::test]
async fn retries_are_no_free_guesses_at_a_password() {
    let limits = [("trusted_proxies", "127.0.0.1"), ("registrations_per_hour", "2")];
    let app = TestApp::with(&limits).await;
    let here = from(&app, HOME).await;
    let again = |password: &str| {
        let mut body = newcomer("ann");
        body["password"] = password.into();
        body
    };
    post_with_key(&here, "/v1/users", &newcomer("ann")).await.expect(201);
    for _ in 0..9 {
        let wrong = post_with_key(&here, "/v1/users", &again("another-goose-7")).await;
        wrong.problem(422, "idempotency_key_reused");
    }
    for password in ["another-goose-7", PASSWORD] {
        let refused = post_with_key(&here, "/v1/users", &again(password)).await;
        refused.problem(429, "rate_limited");
    }

    let bob = at_home(&app, "bob").await;
    let ask = async |current: &str| {
        let change = json!({ "current_password": current, "new_password": "three-new-geese" });
        let request = bob.request("POST", "/v1/users/me/password").json(&change);
        request.header("idempotency-key", "the-key").send().await
    };
    let before = failures(&app).await;
    for _ in 0..3 {
        ask(PASSWORD).await.expect(204);
    }
    assert_eq!(failures(&app).await, before, "a retry that is right is no failure");
    for _ in 0..FREE {
        ask(WRONG).await.problem(422, "idempotency_key_reused");
    }
    for current in [WRONG, PASSWORD] {
        ask(current).await.problem(429, "rate_limited");
    }
}

#[tokio::test]
async fn an_address_with_many_connections_holds_nobody_else_up_and_503_is_no_failure() {
    let app = behind_a_proxy().await;
    let ann = at_home(&app, "ann").await;
    app.account("bob").await;
    let csrf = app.client().csrf_token().await;
    let mut flood = JoinSet::new();
    for number in 0..60 {
        let client = app.client().with_header("x-forwarded-for", "198.51.100.7");
        client.set_cookie("csrftoken", &csrf);
        flood.spawn(async move {
            if number % 3 == 0 {
                return post(&client, "/v1/users", &newcomer(&format!("n{number}"))).await.status;
            }
            client.try_login("bob", WRONG).await.status
        });
    }
    for _ in 0..3 {
        ann.login().await;
    }
    let statuses = flood.join_all().await;
    let of = |status: u16| statuses.iter().filter(|other| **other == status).count();
    app.expect_failures(u64::try_from(of(503)).expect("it is small"));
    assert!(of(503) > 0 && of(401) > 0, "{statuses:?}");
    assert_eq!(of(201) + of(401) + of(429) + of(503), 60, "{statuses:?}");
    // At the account and the address; as a try and as a registration.
    assert_eq!(failures(&app).await, 2 * i64::try_from(of(401) + of(201)).expect("it is small"));
}
