//! The log says who did what, and from where, by ids and addresses only.

use serde_json::{Value, json};
use testing::{Client, PASSWORD, get};

use crate::support::Place;

const FORWARDED: (&str, &str) = ("X-Forwarded-For", "203.0.113.9");

/// The line that says this, without its time and level.
#[track_caller]
fn line<'l>(log: &'l str, said: &str) -> &'l str {
    let mut lines = log.lines().filter_map(|line| line.split_once(" INFO ")).map(|(_, line)| line);
    lines.find(|line| line.starts_with(said)).unwrap_or_else(|| panic!("{said}: {log}"))
}

#[test]
fn the_log_says_who_and_from_where_and_nothing_that_is_theirs() {
    let place = Place::new().with("POSTROOM_TRUSTED_PROXIES", "127.0.0.1");
    let server = place.serve();
    let client = Client::new(server.address).with_header(FORWARDED.0, FORWARDED.1);
    let call = |method: &str, path: &str, token: &str, body: &Value| {
        let request = client.request(method, path).without_cookies();
        let request = if token.is_empty() { request } else { request.bearer(token) };
        request.json(body).wait().expect("an answer")
    };
    let account = json!({
        "username": "annabelle", "display_name": "Belle Secretly", "password": PASSWORD,
        "email": "annabelle@secretly.example",
    });
    // The request and its retry are one registration.
    for _ in 0..2 {
        let request = client.request("POST", "/v1/users").header("Idempotency-Key", "once");
        request.without_cookies().json(&account).wait().expect("an answer").expect(201);
    }
    let login = json!({ "name": "laptop-of-annabelle", "username": "annabelle",
        "password": PASSWORD });
    let made = call("POST", "/v1/tokens", "", &login).expect(201);
    let token = made["token"].as_str().expect("it is text");
    for (name, password) in [("annabelle", "not-the-password"), ("nobody-at-all", "either")] {
        let wrong = json!({ "name": "x", "username": name, "password": password });
        call("POST", "/v1/tokens", "", &wrong).problem(401, "authentication_failed");
    }
    let other = call("POST", "/v1/tokens", token, &json!({ "name": "second" })).expect(201);
    let id = other["id"].as_i64().expect("it is a number");
    call("DELETE", &format!("/v1/tokens/{id}"), token, &json!({}));
    let mail = json!({ "email": "belle@secretly.example" });
    call("PATCH", "/v1/users/me", token, &mail).ok();
    let letter =
        json!({ "to": ["annabelle"], "subject": "a hidden subject", "body": "a hidden body" });
    call("POST", "/v1/messages", token, &letter).expect(201);

    let session =
        call("POST", "/v1/sessions", "", &json!({ "username": "annabelle", "password": PASSWORD }));
    session.expect(201);
    let sessions = call("GET", "/v1/sessions", token, &json!({})).ok();
    let session = sessions["data"][0]["id"].as_i64().expect("it is a number");
    call("DELETE", &format!("/v1/sessions/{session}"), token, &json!({}));
    let passwords = json!({ "current_password": PASSWORD, "new_password": "seven-other-trees" });
    call("POST", "/v1/users/me/password", token, &passwords);
    let login =
        json!({ "name": "again", "username": "annabelle", "password": "seven-other-trees" });
    let made = call("POST", "/v1/tokens", "", &login).expect(201);
    let last = made["token"].as_str().expect("it is text");
    assert_eq!(call("DELETE", "/v1/users/me", last, &json!({})).status, 204);
    assert_eq!(get(server.address, "/healthz").status, 200);

    let log = server.stop();
    for said in [
        "registered client=203.0.113.9 user=1",
        "logged in client=203.0.113.9 user=1",
        "login refused client=203.0.113.9 user=1",
        "created a token client=203.0.113.9 user=1 token=",
        "set the e-mail address client=203.0.113.9 user=1",
        "changed the password client=203.0.113.9 user=1",
        "erased the account client=203.0.113.9 user=1",
    ] {
        line(&log, said);
    }
    line(&log, &format!("revoked a token client=203.0.113.9 user=1 token={id}"));
    line(&log, &format!("ended a session client=203.0.113.9 user=1 session={session}"));
    let refused = log.lines().filter(|line| line.ends_with("login refused client=203.0.113.9"));
    assert_eq!(refused.count(), 1, "of a user that does not exist: {log}");
    assert_eq!(log.matches(" registered ").count(), 1, "{log}");
    for secret in
        ["annabelle", "Belle", "secretly", "hidden", "laptop", "password\"", token, PASSWORD]
    {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn the_log_names_the_origin_of_a_page_that_was_refused() {
    let place = Place::new().with("POSTROOM_CORS_ORIGINS", "https://app.example.org");
    let server = place.serve();
    let client = Client::new(server.address);
    for origin in ["https://app.example.org", "http://127.0.0.1:3000", "no origin"] {
        for (method, path) in
            [("OPTIONS", "/v1/unread"), ("OPTIONS", "/users/me"), ("GET", "/v1/unread")]
        {
            let request = client.request(method, path).without_cookies().header("Origin", origin);
            let request = request.header("Access-Control-Request-Method", "GET");
            request.wait().expect("an answer");
        }
    }
    let log = server.log();
    let refused = "refused a page: its origin is not in cors_origins";
    assert_eq!(log.matches(refused).count(), 1, "{log}");
    assert!(line(&log, refused).contains("origin=\"http://127.0.0.1:3000\""), "{log}");
}
