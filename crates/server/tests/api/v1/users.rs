//! Accounts: made, seen, changed, found and erased.

use std::collections::BTreeSet;

use domain::Time;
use serde_json::{Value, json};
use testing::Client;

use super::verbs::comparable;
use super::{newcomer, text};
use crate::harness::{PASSWORD, TestApp, WRONG};
use crate::user::User;

async fn register(client: &Client, body: &Value) -> testing::Response {
    client.request("POST", "/v1/users").json(body).send().await
}

#[tokio::test]
async fn an_account_is_made_and_seen_by_its_owner_and_by_others() {
    let app = TestApp::start().await;
    let mut body = newcomer("Dana");
    body["display_name"] = "Dana Deer".into();

    let made = register(&app.client(), &body).await;

    let own = made.expect(201);
    assert_eq!(own["username"], "Dana");
    assert_eq!(own["email"], "Dana@example.org");
    assert_eq!(own["accept_from"], "everyone");
    let path = format!("/v1/users/{}", own["id"]);
    assert_eq!(made.header("location"), Some(path.as_str()));
    assert!(made.cookies().is_empty(), "to register is not to log in");
    let bob = app.user("bob").await;
    let seen = bob.call("GET", &path).await.expect(200);
    let public = json!({
        "id": own["id"], "username": "Dana", "display_name": "Dana Deer", "external_id": null,
        "kind": "person",
    });
    assert_eq!(seen, public);
    bob.call("GET", "/v1/users/4000000").await.problem(404, "not_found");

    let dana = app.visitor().await;
    dana.try_login("dana", PASSWORD).await.ok();
    assert_eq!(dana.request("GET", "/v1/users/me").send().await.expect(200), own);
}

#[tokio::test]
async fn a_name_is_taken_in_whatever_case_and_a_null_display_name_is_none() {
    let app = TestApp::start().await;
    let client = app.client();
    let mut body = newcomer("ann");
    body["display_name"] = Value::Null;

    let own = register(&client, &body).await.expect(201);
    assert_eq!(own["display_name"], "ann");
    for name in ["ann", "ANN", "ａｎｎ"] {
        let mut body = newcomer("other");
        body["username"] = name.into();
        register(&client, &body).await.problem(409, "username_taken");
    }
}

#[tokio::test]
async fn nobody_registers_where_registration_is_closed() {
    let app = TestApp::with(&[("registration", "closed")]).await;
    let refused = register(&app.client(), &newcomer("ann")).await;
    refused.problem(403, "registration_closed");
}

#[tokio::test]
async fn registrations_are_limited_per_address_in_both_apis() {
    let proxied = [("trusted_proxies", "127.0.0.0/8"), ("registrations_per_hour", "3")];
    let app = TestApp::with(&proxied).await;
    let at = |address: &str| app.client().with_header("x-forwarded-for", address);
    let (here, there) = (at("203.0.113.5"), at("203.0.113.6"));
    here.csrf_token().await;

    register(&here, &newcomer("a")).await.expect(201);
    here.try_register("b", "b@example.org", PASSWORD).await.ok();
    register(&here, &newcomer("b")).await.problem(409, "username_taken");
    register(&here, &newcomer("c")).await.expect(201);
    let refused = register(&here, &newcomer("d")).await;
    let wait = refused.problem(429, "rate_limited")["retry_after"].as_i64();
    assert!(wait.is_some_and(|wait| (3590..=3600).contains(&wait)), "{refused:?}");
    here.try_register("d", "d@example.org", PASSWORD).await.error(429);

    register(&there, &newcomer("d")).await.expect(201);
    for name in ["e", "f", "g", "h"] {
        register(&app.client(), &newcomer(name)).await.expect(201);
    }
    app.advance(Time::HOUR);
    register(&here, &newcomer("i")).await.expect(201);
}

#[tokio::test]
async fn without_rate_limits_nothing_is_counted() {
    let app = TestApp::with(&[
        ("trusted_proxies", "127.0.0.0/8"),
        ("registrations_per_hour", "0"),
        ("rate_limits", "off"),
    ]);
    let app = app.await;
    let client = app.client().with_header("x-forwarded-for", "203.0.113.5");
    register(&client, &newcomer("ann")).await.expect(201);
}

#[tokio::test]
async fn the_own_account_is_changed_in_what_is_named_and_nothing_else() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let change = async |body: Value| ann.request("PATCH", "/v1/users/me").json(&body).send().await;
    let before = ann.call("GET", "/v1/users/me").await.expect(200);

    assert_eq!(change(json!({})).await.expect(200), before);
    let named =
        change(json!({ "display_name": "Ann A.", "accept_from": "known" })).await.expect(200);
    assert_eq!(
        (&named["display_name"], &named["accept_from"]),
        (&json!("Ann A."), &json!("known"))
    );
    assert_eq!((&named["email"], &named["username"]), (&before["email"], &before["username"]));
    let moved = change(json!({ "email": "new@example.org" })).await.expect(200);
    assert_eq!(
        (&moved["email"], &moved["display_name"]),
        (&json!("new@example.org"), &json!("Ann A."))
    );
    assert_eq!(change(json!({ "display_name": null })).await.expect(200)["display_name"], "ann");
    assert_eq!(ann.call("GET", "/v1/users/me").await.expect(200)["email"], "new@example.org");

    let wrong =
        json!({ "email": null, "accept_from": "friends", "username": "b", "display_name": 1 });
    let reported = [
        "#/display_name wrong_type",
        "#/email wrong_type",
        "#/accept_from invalid",
        "#/username unknown_field",
    ];
    assert_eq!(change(wrong).await.invalid(), reported);
}

#[tokio::test]
async fn others_are_found_by_how_their_names_begin_and_never_by_their_address() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for name in ["dana", "Daniel", "david", "carl"] {
        app.account(name).await;
    }
    let mut body = newcomer("zoe");
    body["display_name"] = "Dave Żółty-Łoś".into();
    register(&app.client(), &body).await.expect(201);
    let find = async |prefix: &str| {
        let found = ann.call("GET", &format!("/v1/users?prefix={prefix}")).await;
        let found = found.expect(200);
        assert_eq!(found["next_cursor"], Value::Null);
        let found = found["data"].as_array().expect("it is a list").clone();
        found.iter().map(|person| text(&person["username"])).collect::<BTreeSet<_>>()
    };

    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(find("DA").await, names(&["dana", "Daniel", "david", "zoe"]));
    assert_eq!(find("dan").await, names(&["dana", "Daniel"]));
    assert_eq!(find("dave%20").await, names(&["zoe"]));
    for of_zoe in ["dave%20zo", "zolty", "%C5%BB%C3%B3%C5%81", "los", "Los", "@zo"] {
        assert_eq!(find(of_zoe).await, names(&["zoe"]), "{of_zoe}");
    }
    assert_eq!(find("example").await, names(&[]));
    assert_eq!(find("carl@").await, names(&[]));
    assert_eq!(find("%25").await, names(&[]));
    for prefix in ["", &"a".repeat(151)] {
        let answer = ann.call("GET", &format!("/v1/users?prefix={prefix}")).await;
        assert_eq!(answer.invalid(), ["prefix invalid"]);
    }
    assert_eq!(ann.call("GET", "/v1/users").await.invalid(), ["prefix missing"]);
}

#[tokio::test]
async fn another_password_ends_all_other_sessions_and_tokens() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let elsewhere = User::new(ann.id, "ann", app.visitor().await);
    elsewhere.login().await;
    let token = elsewhere.token(None).await;
    let change = async |user: &User, old: &str, new: &str| {
        let body = json!({ "current_password": old, "new_password": new });
        user.request("POST", "/v1/users/me/password").json(&body).send().await
    };

    let wrong = change(&ann, WRONG, "three-wild-geese").await;
    wrong.problem(401, "authentication_failed");
    let weak = change(&ann, PASSWORD, "password1").await;
    assert_eq!(weak.invalid(), ["#/new_password invalid"]);
    assert_eq!(change(&ann, PASSWORD, "ann@example.org").await.invalid().len(), 1);
    elsewhere.call("GET", "/v1/users/me").await.expect(200);

    change(&ann, PASSWORD, "three-wild-geese").await.expect(204);

    ann.call("GET", "/v1/users/me").await.expect(200);
    elsewhere.call("GET", "/v1/users/me").await.problem(401, "unauthenticated");
    let by_token = app.client();
    let by_token = by_token.request("GET", "/v1/users/me").bearer(&token).send().await;
    by_token.problem(401, "unauthenticated");
    let again = app.visitor().await;
    again.try_login("ann", PASSWORD).await.error(401);
    again.try_login("ann", "three-wild-geese").await.ok();
}

#[tokio::test]
async fn the_current_password_is_not_guessed_with_a_session() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let guess = async || {
        let body = json!({ "current_password": WRONG, "new_password": "three-wild-geese" });
        ann.request("POST", "/v1/users/me/password").json(&body).send().await
    };
    for _ in 0..10 {
        guess().await.problem(401, "authentication_failed");
    }
    guess().await.problem(429, "rate_limited");
}

#[tokio::test]
async fn an_erased_account_is_gone_and_its_messages_to_others_stay() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "a farewell", "and thanks").await;
    let token = ann.token(None).await;

    let erased = ann.call("DELETE", "/v1/users/me").await;
    erased.expect(204);
    assert!(erased.cookie().attributes.contains("Max-Age=0"));

    for request in
        [ann.request("GET", "/v1/users/me"), ann.request("GET", "/v1/users/me").bearer(&token)]
    {
        request.send().await.problem(401, "unauthenticated");
    }
    assert_eq!(bob.read(id).await["subject"], "a farewell");
    let stub = bob.call("GET", &format!("/v1/users/{}", ann.id.get())).await.expect(200);
    assert_eq!(
        (&stub["username"], &stub["display_name"]),
        (&json!("deleted user"), &json!("deleted user"))
    );
    assert_eq!(bob.call("GET", "/v1/users?prefix=ann").await.expect(200)["data"], json!([]));
    app.visitor().await.try_login("ann", PASSWORD).await.error(401);
    assert!(!app.dump().await.iter().any(|row| row.contains("user 1 'ann'")));
}

#[tokio::test]
async fn the_name_of_an_erased_account_is_as_one_that_is_taken_for_180_days() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.call("DELETE", "/v1/users/me").await.expect(204);

    let classic = app.visitor().await;
    for (erased, used) in [("ann", "bob"), ("ANN", "BOB")] {
        let reserved = register(&app.client(), &newcomer(erased)).await;
        reserved.problem(409, "username_taken");
        let taken = register(&app.client(), &newcomer(used)).await;
        assert_eq!(comparable(&reserved), comparable(&taken));
        let reserved = classic.try_register(erased, "a@example.org", PASSWORD).await;
        let taken = classic.try_register(used, "a@example.org", PASSWORD).await;
        assert_eq!((reserved.error(400), reserved.status), (taken.error(400), taken.status));
    }
    app.advance(180 * Time::DAY);
    let again = register(&app.client(), &newcomer("ann")).await.expect(201);
    assert_ne!(again["id"], ann.id.get());
    bob.login().await;
}

#[tokio::test]
async fn a_name_is_free_at_once_where_none_is_reserved() {
    let app = TestApp::with(&[("name_reserved_days", "0")]).await;
    let ann = app.user("ann").await;
    ann.call("DELETE", "/v1/users/me").await.expect(204);
    let again = register(&app.client(), &newcomer("ann")).await.expect(201);
    assert_ne!(again["id"], ann.id.get());
}

#[tokio::test]
async fn erasing_needs_a_fresh_login_or_the_password() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let client = app.client();
    let erase = async |token: &str, body: &Value| {
        client.request("DELETE", "/v1/users/me").bearer(token).json(body).send().await
    };
    let login = json!({ "name": "a program", "username": "ann", "password": PASSWORD });
    let by_password = client.request("POST", "/v1/tokens").json(&login).send().await.expect(201);
    let by_password = text(&by_password["token"]);
    app.advance(10 * Time::MINUTE);
    let by_session = ann.token(None).await;
    for token in [&by_password, &by_session] {
        let refused = erase(token, &json!({})).await;
        refused.problem(403, "fresh_login_required");
        erase(token, &json!({ "password": null })).await.problem(403, "fresh_login_required");
        erase(token, &json!({ "password": WRONG })).await.problem(401, "authentication_failed");
    }
    ann.call("DELETE", "/v1/users/me").await.problem(403, "fresh_login_required");
    let unknown = erase(&by_session, &json!({ "passwort": PASSWORD })).await;
    assert_eq!(unknown.invalid(), ["#/passwort unknown_field"]);
    ann.call("GET", "/v1/users/me").await.expect(200);

    erase(&by_session, &json!({ "password": PASSWORD })).await.expect(204);

    ann.call("GET", "/v1/users/me").await.problem(401, "unauthenticated");
    let bob = app.user("bob").await;
    app.advance(10 * Time::MINUTE);
    bob.call("DELETE", "/v1/users/me").await.problem(403, "fresh_login_required");
    let guess = json!({ "password": WRONG });
    for _ in 0..10 {
        let guess = bob.request("DELETE", "/v1/users/me").json(&guess).send().await;
        guess.problem(401, "authentication_failed");
    }
    let guess = bob.request("DELETE", "/v1/users/me").json(&guess).send().await;
    guess.problem(429, "rate_limited");
    app.advance(Time::HOUR);
    bob.login().await;
    app.advance(10 * Time::MINUTE - Time::SECOND);
    bob.call("DELETE", "/v1/users/me").await.expect(204);
}

#[tokio::test]
async fn a_name_that_mixes_scripts_is_marked_wherever_it_is_shown() {
    let app = TestApp::start().await;
    let client = app.client();
    let (ann, bob) = app.pair("ann", "bob").await;
    let mixed = "\u{430}nn";
    let made = register(&client, &newcomer(mixed)).await.expect(201);
    assert_eq!(made["mixed_scripts"], true);
    let shown = ann.call("GET", &format!("/v1/users/{}", made["id"])).await.expect(200);
    assert_eq!((&shown["username"], &shown["mixed_scripts"]), (&json!(mixed), &json!(true)));
    let name = json!({ "display_name": "Suрport" });
    bob.request("PATCH", "/v1/users/me").json(&name).send().await.expect(200);
    let sent = bob.write(&json!({ "to": ["ann"], "body": "" })).await;
    assert_eq!(
        (&sent["from"]["mixed_scripts"], &sent["to"][0]["mixed_scripts"]),
        (&json!(true), &Value::Null)
    );
    let own = ann.call("GET", "/v1/users/me").await.expect(200);
    assert!(own.get("mixed_scripts").is_none());

    for name in ["deleted user", "Deleted User"] {
        let body = json!({ "display_name": name });
        let refused = ann.request("PATCH", "/v1/users/me").json(&body).send().await;
        refused.problem(422, "name_reserved");
        let body = json!({ "username": "dave", "email": "d@example.org", "password": PASSWORD,
                           "display_name": name });
        register(&client, &body).await.problem(422, "name_reserved");
    }
    let body = json!({ "display_name": "\u{3164}" });
    let refused = ann.request("PATCH", "/v1/users/me").json(&body).send().await;
    assert_eq!(refused.invalid(), ["#/display_name invalid"]);
}
