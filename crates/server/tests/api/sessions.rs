//! Sessions: when they begin, when they end, and whose they are.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Time;
use domain::sessions::{ABSOLUTE, IDLE};
use serde_json::json;
use testing::{Client, Response};

use crate::harness::{PASSWORD, TestApp};
use crate::user::User;

const LIST: &str = "/messages/messages_per_receiver";
/// How long an end that another process made may go unnoticed.
const SOON: i64 = 5 * Time::SECOND;

/// Whether the session opens the mailbox, in a client that has nothing else.
async fn opens(app: &TestApp, session: &str) -> bool {
    let client = app.client();
    let cookie = format!("sessionid={session}");
    let answer = client.request("GET", LIST).cookies(&cookie).send().await;
    assert!([200, 401].contains(&answer.status), "{answer:?}");
    answer.status == 200
}

#[tokio::test]
async fn after_logout_the_session_is_dead_on_the_server() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let session = ann.client.session();
    assert!(opens(&app, &session).await);

    ann.logout().await;

    assert!(!opens(&app, &session).await);
    ann.client.set_cookie("sessionid", &session);
    ann.try_inbox().await.error(401);
    ann.try_send(&ann, "", "").await.error(401);
    ann.try_logout().await.error(401);
    app.advance(SOON);
    assert!(!opens(&app, &session).await);
}

#[tokio::test]
async fn logging_out_ends_that_session_and_no_other() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let at_home = User::new(ann.id, "ann", app.visitor().await);
    at_home.login().await;

    ann.logout().await;

    at_home.inbox().await;
    bob.inbox().await;
}

#[tokio::test]
async fn each_login_begins_a_new_session_and_ends_the_one_that_the_client_had() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let elsewhere = User::new(ann.id, "ann", app.visitor().await);
    elsewhere.login().await;
    let mut sessions = vec![ann.client.session()];

    for _ in 0..3 {
        ann.inbox().await;
        ann.login().await;
        sessions.push(ann.client.session());
    }

    let last = sessions.pop().expect("there are four");
    for ended in &sessions {
        assert!(!opens(&app, ended).await);
    }
    assert!(opens(&app, &last).await);
    assert_eq!(sessions.iter().collect::<BTreeSet<_>>().len(), 3);
    elsewhere.inbox().await;
}

#[tokio::test]
async fn logging_in_as_somebody_else_ends_the_session_of_the_first() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.account("bob").await;
    let session = ann.client.session();

    ann.client.try_login("bob", PASSWORD).await.ok();

    assert!(!opens(&app, &session).await);
    let id = ann.client.try_login("ann", PASSWORD).await.ok()["user_id"].clone();
    assert_eq!(id, ann.id.get());
}

#[tokio::test]
async fn a_session_that_somebody_chose_is_not_taken() {
    let app = TestApp::start().await;
    let id = app.account("ann").await.get();
    for chosen in ["attackers".to_owned(), format!("{id}.{}", "A".repeat(43)), String::new()] {
        let client = app.visitor().await;
        client.set_cookie("sessionid", &chosen);
        assert!(!opens(&app, &chosen).await);

        client.try_login("ann", PASSWORD).await.ok();

        assert_ne!(client.session(), chosen);
        assert!(!opens(&app, &chosen).await);
        assert!(opens(&app, &client.session()).await);
    }
}

#[tokio::test]
async fn the_session_that_an_attacker_planted_does_not_become_the_victims() {
    let app = TestApp::start().await;
    let (eve, victim) = (app.user("eve").await, app.visitor().await);
    app.account("ann").await;
    let planted = eve.client.session();
    victim.set_cookie("sessionid", &planted);

    victim.try_login("ann", PASSWORD).await.ok();

    assert_ne!(victim.session(), planted);
    eve.try_inbox().await.error(401);
}

#[tokio::test]
async fn a_session_ends_after_14_days_without_use() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    app.advance(IDLE - Time::MINUTE);
    ann.inbox().await;
    app.settle().await;
    app.advance(IDLE - Time::MINUTE);
    ann.inbox().await;

    ann.login().await;
    app.advance(IDLE);
    ann.try_inbox().await.error(401);
    assert_eq!(IDLE, 14 * Time::DAY);
}

#[tokio::test]
async fn a_session_ends_after_30_days_however_it_is_used() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    for _ in 0..29 {
        app.advance(Time::DAY);
        ann.inbox().await;
        app.settle().await;
    }
    app.advance(Time::DAY - Time::MINUTE);
    ann.inbox().await;
    // What was just found good is believed for a moment, but not beyond its end. Where the machine
    // is slow, the end has come already.
    app.advance(Time::MINUTE - 3 * Time::SECOND);
    ann.try_inbox().await;
    app.advance(3 * Time::SECOND);

    ann.try_inbox().await.error(401);
    assert_eq!(ABSOLUTE, 30 * Time::DAY);
    ann.login().await;
    ann.inbox().await;
}

#[tokio::test]
async fn the_cookie_lasts_as_long_as_the_session_can() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    let cookie = ann.client.try_login("ann", PASSWORD).await.cookie();

    assert!(cookie.attributes.contains("Max-Age=2592000"), "{cookie:?}");
}

#[tokio::test]
async fn another_password_ends_all_sessions_within_5_seconds() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let at_home = User::new(ann.id, "ann", app.visitor().await);
    at_home.login().await;
    ann.inbox().await;
    at_home.inbox().await;

    app.set_password(&ann, "another password 8").await;
    app.advance(SOON);

    ann.try_inbox().await.error(401);
    at_home.try_inbox().await.error(401);
    ann.client.try_login("ann", PASSWORD).await.error(401);
    ann.client.try_login("ann", "another password 8").await.ok();
    bob.inbox().await;
}

#[tokio::test]
async fn who_is_disabled_is_out_within_5_seconds() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    ann.inbox().await;

    app.disable(&ann).await;
    app.advance(SOON);

    ann.try_inbox().await.error(401);
    ann.client.try_login("ann", PASSWORD).await.error(401);
    let id = ann.id;
    let cx = app.clock().cx();
    app.write(move |tx| domain::users::enable(tx, &cx, id)).await;
    ann.try_inbox().await.error(401);
    ann.login().await;
}

#[tokio::test]
async fn sessions_and_tokens_live_through_a_restart_and_what_was_ended_stays_so() {
    let mut app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hi", "").await;
    let ended = bob.client.session();
    bob.logout().await;
    bob.login().await;

    app.restart();

    assert_eq!(bob.inbox().await, [id]);
    assert!(!opens(&app, &ended).await);
    // The tokens were fetched before it.
    let reply = bob.send(&ann, "re: hi", "").await;
    assert_eq!(ann.read(reply).await["subject"], "re: hi");
    ann.logout().await;
    ann.login().await;
}

/// The attributes of both cookies, and whether browsers are told to use https only.
async fn secure(client: &Client) -> (bool, bool, bool, bool) {
    let token = client.request("GET", "/users/token").send().await;
    let login = client.try_login("ann", PASSWORD).await;
    let logout = client.request("POST", "/users/logout").send().await;
    let is_secure = |answer: &Response| answer.cookie().attributes.contains("Secure");
    let strict = token.header("strict-transport-security").is_some();
    (is_secure(&token), is_secure(&login), is_secure(&logout), strict)
}

#[tokio::test]
async fn cookies_are_kept_to_https_where_the_public_address_has_it() {
    let app = TestApp::with(&[("public_url", "https://mail.example.org")]).await;
    app.account("ann").await;

    assert_eq!(secure(&app.client()).await, (true, true, true, true));
}

#[tokio::test]
async fn cookies_are_kept_to_https_where_a_trusted_proxy_says_so() {
    let app = TestApp::with(&[("trusted_proxies", "127.0.0.0/8")]).await;
    app.account("ann").await;
    let proto = "x-forwarded-proto";

    let https = app.client().with_header(proto, "https");
    assert_eq!(secure(&https).await, (true, true, true, false));
    let http = app.client().with_header(proto, "http");
    assert_eq!(secure(&http).await, (false, false, false, false));
}

#[tokio::test]
async fn cookies_are_for_http_too_where_nobody_speaks_of_https() {
    let app = TestApp::with(&[("public_url", "http://mail.example.org")]).await;
    app.account("ann").await;

    let all_false = (false, false, false, false);
    assert_eq!(secure(&app.client()).await, all_false);
    // Nobody trusts this one.
    assert_eq!(secure(&app.client().with_header("x-forwarded-proto", "https")).await, all_false);
}

#[tokio::test]
async fn of_two_sessions_that_a_client_sends_one_that_holds_is_enough() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let (good, token) = (ann.client.session(), ann.client.csrf_token().await);
    let bad = format!("{}.{}", ann.id.get(), "A".repeat(43));
    let lines = |lines: &[String]| {
        let list = ann.request("GET", LIST);
        lines.iter().fold(list, |request, line| request.cookies(line)).send()
    };

    lines(&[format!("sessionid={bad}; sessionid={good}")]).await.ok();
    lines(&[format!("sessionid={good}; sessionid={bad}")]).await.ok();
    lines(&[format!("sessionid={bad}"), format!("sessionid={good}")]).await.ok();
    lines(&[format!("a=b;sessionid=\"{good}\" ;c")]).await.ok();
    lines(&[format!("sessionid={bad}; sessionid={bad}")]).await.error(401);
    lines(&[format!("SESSIONID={good}; xsessionid={good}; sessionid.={good}")]).await.error(401);
    // Pages of a sibling domain can add others in front, well made or not.
    lines(&[format!("{}sessionid={good}", "sessionid=junk; ".repeat(40))]).await.ok();
    let well_made = format!("sessionid={bad}; ").repeat(15);
    lines(&[format!("{well_made}sessionid={good}")]).await.ok();
    let draft = json!({ "receiver_id": ann.id.get(), "subject": "", "body": "" });
    let request = ann.request("POST", "/messages/write_message").json(&draft);
    let cookies = format!("csrftoken={token}; sessionid={bad}; sessionid={good}");
    request.cookies(&cookies).send().await.ok();
}

#[tokio::test]
async fn logging_out_ends_every_session_that_the_client_sends() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let twice = User::new(ann.id, "ann", app.visitor().await);
    twice.login().await;
    let (one, other) = (ann.client.session(), twice.client.session());
    let token = ann.client.csrf_token().await;

    let cookies = format!("csrftoken={token}; sessionid={one}; sessionid={other}");
    ann.request("POST", "/users/logout").cookies(&cookies).send().await.ok();

    assert!(!opens(&app, &one).await);
    assert!(!opens(&app, &other).await, "the client would still be logged in");
}

#[tokio::test]
async fn a_cookie_of_somebody_else_does_not_hide_the_session() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let session = ann.client.session();

    for others in ["theme=dark", "name=Zoë", "a", "=", "==", ";;;", "json={\"a\": \"b=c\"}"] {
        let line = format!("{others}; sessionid={session}; {others}");
        ann.request("GET", LIST).cookies(&line).send().await.ok();
    }
    let mut latin = b"name=Zo\xeb; sessionid=".to_vec();
    latin.extend(session.as_bytes());
    ann.request("GET", LIST).without_cookies().header("cookie", latin).send().await.ok();
}

#[tokio::test]
async fn the_database_does_not_hold_what_a_session_is_opened_with() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let session = ann.client.session();
    let (_, secret) = session.split_once('.').expect("the id stands before the secret");
    let bytes = URL_SAFE_NO_PAD.decode(secret).expect("the secret is bytes");
    app.settle().await;

    let stored = app.stored_bytes();
    let holds = |wanted: &[u8]| stored.windows(wanted.len()).any(|window| window == wanted);
    for wanted in [secret.as_bytes(), bytes.as_slice(), PASSWORD.as_bytes()] {
        assert!(!holds(wanted), "a secret is there in clear");
    }
    assert!(holds(b"ann@example.org"), "what is looked into holds the user");
}
