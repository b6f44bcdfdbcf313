//! What is around every answer: paths, methods, headers, request ids. What holds for all of them
//! is checked with each answer of each test, in [`crate::client`].

use std::collections::BTreeSet;

use crate::harness::TestApp;

const ROUTES: [(&str, &str); 9] = [
    ("/users/token", "GET"),
    ("/users/register", "POST"),
    ("/users/login", "POST"),
    ("/users/logout", "POST"),
    ("/messages/write_message", "POST"),
    ("/messages/messages_per_receiver", "GET"),
    ("/messages/unread_per_receiver", "GET"),
    ("/messages/read_message", "GET"),
    ("/messages/delete_message", "DELETE"),
];

#[tokio::test]
async fn a_path_that_is_none_is_not_found() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    for path in [
        "/",
        "/users",
        "/users/",
        "/users/token/",
        "/users/Token",
        "/users//token",
        "/users%2ftoken",
        "/users/token%00",
        "/messages/read_message/1",
        "/messages/../users/token",
        "/admin/",
        "/favicon.ico",
        "/%ff%fe",
        "/?message_id=1",
    ] {
        for method in ["GET", "POST", "DELETE", "PUT"] {
            ann.request(method, path).send().await.error(404);
        }
        assert_eq!(ann.request("HEAD", path).send().await.status, 404);
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_named_beside_the_one_that_it_has() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hi", "").await;
    let before = app.dump().await;

    for (path, allowed) in ROUTES {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
        {
            if method != allowed {
                let path = format!("{path}?message_id={id}");
                let answer = bob.request(method, &path).send().await;
                assert_eq!(answer.status, 405, "{method} {path}");
                assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
            }
        }
    }

    assert_eq!(app.dump().await, before);
    assert_eq!(bob.unread().await, [id], "HEAD of a message does not mark it as read");
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let mut ids = BTreeSet::new();

    for (path, method) in ROUTES.into_iter().cycle().take(50) {
        let answer =
            ann.request(method, path).header("x-request-id", "chosen by the client").send().await;
        let id = answer.header("x-request-id").expect("it has an id").to_owned();
        assert!(ids.insert(id.clone()), "{id} is there twice");
    }
}

#[tokio::test]
async fn answers_of_every_kind_carry_the_headers_and_the_shape() {
    let app = TestApp::with(&[("registration", "closed")]).await;
    let ann = app.user("ann").await;
    let mut kinds = BTreeSet::new();

    // What they have in common is looked at by the client.
    for request in [
        ann.request("GET", "/users/token"),
        ann.request("GET", "/messages/read_message"),
        ann.request("GET", "/messages/messages_per_receiver").without_cookies(),
        ann.request("POST", "/users/register"),
        ann.request("POST", "/users/logout").without_csrf(),
        ann.request("POST", "/users/logout").header("origin", "https://evil.example"),
        ann.request("GET", "/nothing"),
        ann.request("PUT", "/users/token"),
        ann.request("POST", "/messages/write_message").body(vec![b' '; 1_000_000]),
    ] {
        kinds.insert(request.send().await.status);
    }

    assert_eq!(kinds, BTreeSet::from([200, 400, 401, 403, 404, 405, 413]));
}

#[tokio::test]
async fn odd_requests_are_answered_and_the_server_lives_on() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.send(&bob, "hi", "").await;
    let before = app.dump().await;

    for (request, status) in [
        ("GET http://elsewhere.example/users/token HTTP/1.1\r\nHost: a\r\n", 200),
        ("GET /users/token HTTP/1.0\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n", 404),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n", 404),
        ("GET /users/token?%ff=%zz&&&=#a HTTP/1.1\r\nHost: a\r\n", 200),
        ("GET users HTTP/1.1\r\nHost: a\r\n", 404),
        ("GET /users/token HTTP/1.1\r\nno colon\r\n", 400),
        ("GET /users/token HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n", 400),
        ("POST /users/login HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("POST /users/login HTTP/1.1\r\nTransfer-Encoding: gzip\r\n", 400),
    ] {
        let answer = app.raw(format!("{request}Connection: close\r\n\r\n").as_bytes()).await;
        let found = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert_eq!(found, Some(status), "{request}: {answer}");
    }
    for other in ["GET /users/token HTTP/3.0", "PRI * HTTP/2.0", "\x16\x03\x01\x02\x01", "\0"] {
        let answer = app.raw(format!("{other}\r\n\r\n").as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let many = "X: a\r\n".repeat(65);
    let wide = format!("X: {}\r\n", "a".repeat(40_000));
    for headers in [many, wide] {
        let request = format!("GET /users/token HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let answer = app.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    assert_eq!(app.dump().await, before);
    ann.inbox().await;
}

#[tokio::test]
async fn what_comes_behind_a_request_holds_up_no_answer() {
    let app = TestApp::start().await;
    let get = "GET /users/token HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /users/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";

    // Some clients end a body with an empty line (RFC 9112, 2.2).
    for behind in ["", "\r\n", "GET /use", "GET /users/token HTTP/1.1\r\nHost: a\r\n"] {
        let answer = app.raw_until(format!("{get}{behind}").as_bytes(), "\"}").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = app.raw_until(format!("{post}{behind}").as_bytes(), "\"}").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
}

#[tokio::test]
async fn requests_that_are_sent_at_once_are_answered_in_their_order() {
    let app = TestApp::start().await;
    let one = "GET /users/token HTTP/1.1\r\nHost: a\r\n\r\n";
    let other = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /messages/read_message HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    let answer = app.raw(format!("{one}{other}{one}{last}").as_bytes()).await;

    let statuses = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]);
    assert_eq!(statuses.collect::<Vec<_>>(), ["200", "404", "200", "401"]);
}
