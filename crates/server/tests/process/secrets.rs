//! What must stay secret, through a whole story of requests and mistakes, at the loudest log.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use testing::{Client, Response, User};

use crate::raw::{RawConnection, RequestText as _, request_text};
use crate::support::Place;

/// The words that must never show, in the order of the story.
const KEY: &str = "canary-key-canary-key-canary-key-0";
const FIRST: &str = "canary-first-password";
const SECOND: &str = "canary-second-password";
const WRONG: &str = "canary-wrong-password";
const WEAK: &str = "canary";
const SUBJECT: &str = "canary-subject";
const BODY: &str = "canary-body";
const QUERY: &str = "canary-query";
const HEADER: &str = "canary-header";
const SERVER_KEY: &str = "the-key-of-the-app-which-it-keeps-for-itself";

/// The same on /v1, with keys for retries.
fn story_of_v1(address: std::net::SocketAddr, broken: &[String]) -> Vec<Response> {
    let bodies = [
        ("/v1/users", json!({ "username": WRONG.repeat(20), "email": FIRST, "password": WEAK })),
        ("/v1/users", json!({ "username": "e", "email": "e@example.org", "password": [FIRST] })),
        ("/v1/sessions", json!({ "username": "ann", "password": WRONG })),
        ("/v1/sessions", json!({ "username": "ann", "password": FIRST })),
        ("/v1/tokens", json!({ "name": "a", "username": "ann", "password": FIRST })),
        ("/v1/tokens", json!({ "name": BODY.repeat(50), "expires_at": SUBJECT, "scopes": [BODY] })),
    ];
    let bodies = bodies.map(|(path, body)| (path, body.to_string()));
    let broken = broken.iter().map(|body| ("/v1/sessions", body.clone()));
    let client = Client::new(address);
    let mut said = Vec::new();
    for (path, body) in bodies.into_iter().chain(broken) {
        for kind in ["application/json", HEADER] {
            let request = client.request("POST", path).without_cookies().without_csrf();
            let request = request.header("content-type", kind).header("idempotency-key", "key");
            said.push(request.body(body.clone()).wait().expect("an answer"));
        }
    }
    said
}

/// Tokens of a page, good and bad; those that must never show.
fn story_of_tokens(address: std::net::SocketAddr, user: i64) -> Vec<String> {
    let client = Client::new(address);
    let asked = |path: &str, token: &str| {
        client.request("GET", path).bearer(token).wait().expect("an answer")
    };
    let body = json!({ "user": user, "session": "canary-session" });
    let made = client.request("POST", "/v1/server/tokens").bearer(SERVER_KEY).json(&body).wait();
    let made = made.expect("an answer").expect(201);
    let token = made["token"].as_str().expect("it is text").to_owned();
    asked("/v1/unread", &token).expect(200);
    asked("/v1/unread", &format!("{token}A")).problem(401, "token_invalid");
    // Signed by nobody; what it says is canary-subject.
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"canary-issuer","sub":"canary-subject"}"#);
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{claims}.{}", "A".repeat(342));
    asked("/v1/unread", &jwt).problem(401, "token_invalid");
    for token in [&token, &jwt] {
        let path = format!("/v1/unread?access_token={token}");
        client.request("GET", &path).wait().expect("an answer").problem(401, "unauthenticated");
    }
    let secret = token.rsplit('.').next().expect("it has one").to_owned();
    vec![secret, claims, SERVER_KEY.to_owned()]
}

/// Many things that go well, and many that go wrong; what was answered to them.
fn story(place: &Place, address: std::net::SocketAddr) -> (Vec<Response>, User) {
    let mut said = Vec::new();
    let mut ann = User::visitor(address, "ann");
    let account = |name: &str, password: &str| {
        let email = format!("{name}@example.org");
        json!({ "username": name, "email": email, "password": password })
    };
    for (name, password) in [("ann", FIRST), ("ann", FIRST), ("bob", WEAK), ("bob", FIRST)] {
        said.push(
            ann.call("POST", "/users/register", &account(name, password)).expect("an answer"),
        );
    }
    said.push(
        ann.call("POST", "/users/register", &account("c", &WRONG.repeat(100))).expect("an answer"),
    );
    said.push(ann.try_login(WRONG));
    ann.login(FIRST);
    for (subject, body) in [
        (SUBJECT.to_owned(), BODY.to_owned()),
        (SUBJECT.repeat(100), BODY.to_owned()),
        (SUBJECT.to_owned(), BODY.repeat(7000)),
        (format!("{SUBJECT}\0"), BODY.to_owned()),
    ] {
        for recipient in [ann.id, 999] {
            said.push(ann.send(recipient, &subject, &body).expect("an answer"));
        }
    }
    // Not as the API has it, each holding something that was meant to be right.
    let broken = [
        format!("{{\"username\":\"ann\",\"password\":\"{FIRST}\""),
        format!("{{\"password\":\"{FIRST}\\x\"}}"),
        format!("{{\"receiver_id\":\"{BODY}\",\"subject\":\"{SUBJECT}\",\"body\":[\"{BODY}\"]}}"),
        format!("{{\"message_id\":\"{BODY}\"}}"),
        format!("[\"{FIRST}\"]"),
        FIRST.to_owned(),
    ];
    for body in &broken {
        for (method, path) in [
            ("POST", "/users/register"),
            ("POST", "/users/login"),
            ("POST", "/messages/write_message"),
            ("GET", "/messages/read_message"),
            ("DELETE", "/messages/delete_message"),
        ] {
            let request = ann.request(method, path).body(body.clone());
            said.push(request.wait().expect("an answer"));
        }
    }
    said.extend(story_of_v1(address, &broken));
    let query = format!("/messages/read_message?message_id={QUERY}&password={FIRST}");
    for path in [query, format!("/healthz?{QUERY}")] {
        said.push(ann.request("GET", &path).wait().expect("an answer"));
    }
    let cookies = format!("sessionid={HEADER}; csrftoken={HEADER}");
    for headers in [
        &[("Cookie", cookies.as_str()), ("X-CSRFToken", HEADER)][..],
        &[("Authorization", HEADER)],
        &[("Authorization", "Bearer canary-header")],
        &[("Origin", "https://canary-header.example")],
        &[("Host", HEADER), ("X-Forwarded-For", HEADER)],
        &[("Content-Length", HEADER)],
        &[("Transfer-Encoding", HEADER)],
    ] {
        for (method, path) in [("GET", "/messages/unread_per_receiver"), ("POST", "/users/login")] {
            said.push(
                RawConnection::open(address)
                    .exchange(request_text(method, path, headers, ""))
                    .expect("an answer"),
            );
        }
    }
    // Cut off, so that there is nobody to tell.
    let whole = ann.request_text("POST", "/users/login", &account("ann", FIRST).to_string());
    RawConnection::open(address).send(&whole[..whole.len() - 5]);

    let input = format!("{SECOND}\n");
    let commands = [
        place.run_with(&input, &["user", "add", "carl", "--email", "carl@example.org"]),
        place.run_with(&input, &["user", "add", "carl", "--email", "carl@example.org"]),
        place.run_with(&input, &["user", "passwd", "bob"]),
        place.run_with(&format!("{WEAK}\n"), &["user", "passwd", "bob"]),
        place.run(&["config"]),
        place.run(&["check"]),
        place.run(&["user", "list"]),
    ];
    for ran in commands {
        assert!(!(ran.out + &ran.err).contains("canary"));
    }
    (said, ann)
}

#[test]
fn nothing_secret_is_ever_said() {
    for (level, format) in [("trace", "text"), ("trace,hyper=trace,tokio=trace", "json")] {
        let place = Place::new()
            .with("POSTROOM_LOG", level)
            .with("POSTROOM_LOG_FORMAT", format)
            .with("POSTROOM_SECRET_KEY", KEY)
            .with("POSTROOM_SERVER_KEY", SERVER_KEY)
            .with("POSTROOM_JWT_ISSUER", "https://issuer.example")
            .with("POSTROOM_JWT_AUDIENCE", "postroom");
        let server = place.serve();
        let (said, mut ann) = story(&place, server.address);
        let tokens = story_of_tokens(server.address, ann.id);
        for answer in &said {
            let text = answer.text();
            assert!(!text.contains("canary"), "status {}: {text}", answer.status);
            assert!(answer.status < 500, "{text}");
        }
        let refused = said.iter().filter(|answer| answer.status >= 400).count();
        assert!(refused > 40, "only {refused} of {} were refused", said.len());
        let mine = ann.inbox();
        assert_eq!(ann.read(mine[0]).unwrap().ok()["body"], BODY);
        ann.delete(mine[0]).unwrap().ok();
        let mut spare = User::visitor(server.address, "ann");
        spare.login(FIRST);
        spare.call("POST", "/users/logout", &serde_json::Value::Null).unwrap().ok();

        let words = server.last_words();
        assert!(words.matches("answered").count() > 60, "it said too little: {words}");
        let (user, secret) = ann.session.split_once('.').expect("a session names its user");
        assert_eq!(user, ann.id.to_string());
        for (what, canary) in [
            ("one of the words", "canary"),
            ("the session", secret),
            ("the CSRF token", &ann.token),
            ("a session that has ended", spare.session.split_once('.').unwrap().1),
        ] {
            let line = words.lines().find(|line| line.contains(canary));
            assert!(line.is_none(), "it told {what}: {line:?}");
        }
        for token in &tokens {
            let line = words.lines().find(|line| line.contains(token));
            assert!(line.is_none(), "it told a token: {line:?}");
        }
    }
}

/// Whether these bytes are stored anywhere.
fn is_stored(place: &Place, bytes: &str) -> bool {
    place.stored_bytes().windows(bytes.len()).any(|window| window == bytes.as_bytes())
}

#[test]
fn somebody_who_reads_the_database_cannot_log_in_with_it() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = User::visitor(server.address, "ann");
    let account = json!({ "username": "ann", "email": "ann@example.org", "password": FIRST });
    ann.call("POST", "/users/register", &account).unwrap().ok();
    ann.login(FIRST);
    let id = ann.send_message(ann.id, SUBJECT, BODY);
    let secret = ann.session.split_once('.').unwrap().1.to_owned();
    // Letters are there to be read; it is how one sees that this test looks at the right place.
    assert!(is_stored(&place, BODY));
    for kept in [FIRST, &secret, &ann.token] {
        assert!(!is_stored(&place, kept), "{kept} is stored");
    }
    ann.delete(id).unwrap().ok();
    server.stop();
    for gone in [BODY, SUBJECT, FIRST, &secret] {
        assert!(!is_stored(&place, gone), "{gone} is stored");
    }
    place.is_whole();
}
