//! `/users`: the token, registering, logging in and out.

use std::collections::BTreeSet;

use serde_json::json;
use testing::SetCookie;
use tokio::task::JoinSet;

use super::{LOGIN, REGISTER};
use crate::harness::{PASSWORD, TestApp, WRONG};
use crate::user::number;

fn has(cookie: &SetCookie, attributes: &[&str]) {
    let wanted: BTreeSet<_> = attributes.iter().map(|text| (*text).to_owned()).collect();
    let lasting = |attribute: &&String| !attribute.starts_with("Max-Age=");
    let found: BTreeSet<_> = cookie.attributes.iter().filter(lasting).cloned().collect();
    assert_eq!(found, wanted, "{cookie:?}");
}

#[tokio::test]
async fn the_token_comes_in_the_body_and_in_a_cookie_that_scripts_can_read() {
    let app = TestApp::start().await;

    let answer = app.client().request("GET", "/users/token").send().await;

    let cookie = answer.cookie();
    assert_eq!(cookie.name, "csrftoken");
    assert_eq!(answer.ok(), json!({ "csrfToken": cookie.value }));
    assert!(cookie.value.len() >= 32, "{cookie:?}");
    has(&cookie, &["SameSite=Lax", "Path=/"]);
}

#[tokio::test]
async fn a_client_keeps_its_token_and_each_client_has_another() {
    let app = TestApp::start().await;
    let (one, other) = (app.client(), app.client());

    let (first, second) = (one.csrf_token().await, other.csrf_token().await);

    assert_ne!(first, second);
    assert_eq!(one.csrf_token().await, first, "two tabs of one client share the token");
}

#[tokio::test]
async fn a_token_that_the_server_did_not_make_is_replaced() {
    let app = TestApp::start().await;
    let client = app.client();
    client.set_cookie("csrftoken", "chosen-by-somebody-else-0123456789ABCDEFGHIJ");

    let token = client.csrf_token().await;

    assert_ne!(token, "chosen-by-somebody-else-0123456789ABCDEFGHIJ");
    assert_eq!(client.cookie("csrftoken"), Some(token));
}

#[tokio::test]
async fn registering_answers_with_the_new_id_and_logs_nobody_in() {
    let app = TestApp::start().await;
    let client = app.visitor().await;

    let answer = client.try_register("ann", "ann@example.org", PASSWORD).await;

    let id = number(&answer.ok()["user_id"]);
    assert_eq!(answer.ok(), json!({ "status": "success", "user_id": id }));
    assert!(id > 0 && answer.cookies().is_empty(), "{answer:?}");
    client.request("GET", "/messages/messages_per_receiver").send().await.error(401);
    assert_eq!(number(&client.try_login("ann", PASSWORD).await.ok()["user_id"]), id);
}

#[tokio::test]
async fn a_name_is_taken_whatever_its_case() {
    let app = TestApp::start().await;
    app.account("Ann").await;
    app.account("Straße").await;
    let client = app.visitor().await;
    let before = app.dump().await;

    for name in ["Ann", "ann", "ANN", "ａｎｎ", "straße", "STRASSE"] {
        let answer = client.try_register(name, "x@example.org", PASSWORD).await;
        assert!(answer.error(400).starts_with("username: "), "{name}: {answer:?}");
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn of_many_who_register_a_name_at_once_one_gets_it() {
    let app = TestApp::start().await;
    let token = app.client().csrf_token().await;
    let mut tries = JoinSet::new();

    for number in 0..6 {
        let client = app.client();
        client.set_cookie("csrftoken", &token);
        let name = if number % 2 == 0 { "ann" } else { "ANN" };
        let email = format!("{number}@example.org");
        tries.spawn(async move { client.try_register(name, &email, PASSWORD).await.status });
    }
    let mut statuses = tries.join_all().await;

    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400]);
    app.visitor().await.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn a_name_of_letters_digits_and_five_signs_can_be_registered() {
    let app = TestApp::start().await;
    let client = app.visitor().await;
    for name in ["a", "Zoë_1+2-3.4@5", "安娜", &"ä".repeat(150)] {
        client.try_register(name, "x@example.org", PASSWORD).await.ok();
    }
    let before = app.dump().await;

    let long = "ä".repeat(151);
    for name in ["", " ", "ann lee", "ann/lee", "ann\0", "<ann>", "ann\n", "💌", long.as_str()] {
        let answer = client.try_register(name, "x@example.org", PASSWORD).await;
        assert!(answer.error(400).starts_with("username: "), "{name:?}: {answer:?}");
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn an_address_must_look_like_one() {
    let app = TestApp::start().await;
    let client = app.visitor().await;

    let long = format!("{}@example.org", "a".repeat(243));
    for email in [
        "",
        "ann",
        "@",
        "ann@",
        "@example.org",
        "a@b@c",
        "<script>@x",
        "a b@example.org",
        "a@b\0",
        "a@b\r\nc",
        &long,
    ] {
        let answer = client.try_register("ann", email, PASSWORD).await;
        assert!(answer.error(400).starts_with("email: "), "{email:?}: {answer:?}");
    }

    client.try_register("ann", &long[1..], PASSWORD).await.ok();
    client.try_register("bob", "zoë@münchen.example", PASSWORD).await.ok();
}

#[tokio::test]
async fn a_weak_password_is_refused_and_never_repeated() {
    let app = TestApp::start().await;
    let client = app.visitor().await;
    let before = app.dump().await;

    let long = "long ".repeat(205);
    for password in [
        "",
        "short 7",
        "password",
        "PassWord123",
        "ann-of-green",
        "ANN-of-Green",
        "Ann.Shirley",
        "ann.shirley@example.org",
        "with a \0 in it",
        &long,
    ] {
        let answer = client.try_register("ann-of-green", "ann.shirley@example.org", password).await;
        let error = answer.error(400);
        assert!(error.starts_with("password: "), "{password:?}: {error}");
        assert!(["", "password"].contains(&password) || !error.contains(password), "{error}");
    }

    assert_eq!(app.dump().await, before);
    let longest = &long[..1024];
    client.try_register("ann-of-green", "ann.shirley@example.org", longest).await.ok();
    client.try_login("ann-of-green", longest).await.ok();
    client.try_login("ann-of-green", &longest[..1023]).await.error(401);
}

#[tokio::test]
async fn nobody_registers_where_registration_is_closed() {
    let app = TestApp::with(&[("registration", "closed")]).await;
    app.account("ann").await;
    let client = app.visitor().await;
    let before = app.dump().await;

    client.try_register("bob", "bob@example.org", PASSWORD).await.error(403);
    // Not even whether a name is taken can be asked.
    client.try_register("ann", "ann@example.org", PASSWORD).await.error(403);
    REGISTER.with(&client, "{}").await.error(403);

    assert_eq!(app.dump().await, before);
    client.try_login("ann", PASSWORD).await.ok();
}

#[tokio::test]
async fn logging_in_answers_with_the_id_and_a_cookie_that_scripts_cannot_read() {
    let app = TestApp::start().await;
    let id = app.account("ann").await;
    let client = app.visitor().await;

    let answer = client.try_login("ann", PASSWORD).await;

    assert_eq!(answer.ok(), json!({ "status": "success", "user_id": id.get() }));
    let cookie = answer.cookie();
    assert_eq!(cookie.name, "sessionid");
    assert!(cookie.value.len() >= 32, "{cookie:?}");
    has(&cookie, &["HttpOnly", "SameSite=Lax", "Path=/"]);
}

#[tokio::test]
async fn one_logs_in_with_the_name_in_whatever_case() {
    let app = TestApp::start().await;
    let id = app.account("Ann").await.get();
    let client = app.visitor().await;

    for name in ["Ann", "ann", "ANN"] {
        assert_eq!(number(&client.try_login(name, PASSWORD).await.ok()["user_id"]), id);
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let disabled = app.user("carl").await;
    app.disable(&disabled).await;
    let client = app.visitor().await;

    let wrong = client.try_login("ann", WRONG).await;

    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.json(), json!({ "error": "authentication failed" }));
    assert!(wrong.cookies().is_empty());
    let long = "n".repeat(10_000);
    for (name, password) in [
        ("nobody", PASSWORD),
        ("nobody", ""),
        ("", PASSWORD),
        ("ann\0", PASSWORD),
        ("ann ", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        (&long, PASSWORD),
        ("ann", &long),
        ("ann", "A FINE PASSWORD 7"),
        ("ann", "a fine password 7\0"),
        ("carl", PASSWORD),
        ("carl", WRONG),
    ] {
        let answer = client.try_login(name, password).await;
        assert_eq!(answer.comparable(), wrong.comparable(), "{name:.20} {password:.20}");
    }
}

#[tokio::test]
async fn a_failed_login_leaves_the_client_logged_in_as_before() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    ann.client.try_login("ann", WRONG).await.error(401);
    LOGIN.with(&ann.client, r#"{"username": "ann"}"#).await.error(400);

    assert!(ann.inbox().await.is_empty());
}

#[tokio::test]
async fn logging_out_ends_the_session_and_removes_the_cookie() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    let answer = ann.try_logout().await;

    assert_eq!(answer.ok(), json!({ "status": "success" }));
    let cookie = answer.cookie();
    assert_eq!((cookie.name.as_str(), cookie.value.as_str()), ("sessionid", ""));
    assert!(cookie.attributes.contains("Max-Age=0"), "{cookie:?}");
    has(&cookie, &["HttpOnly", "SameSite=Lax", "Path=/"]);
    ann.try_inbox().await.error(401);
    ann.try_logout().await.error(401);
}

#[tokio::test]
async fn who_is_not_logged_in_cannot_log_out() {
    let app = TestApp::start().await;
    let client = app.visitor().await;

    let answer = client.request("POST", "/users/logout").send().await;

    answer.error(401);
    assert!(answer.cookies().is_empty(), "{answer:?}");
}
