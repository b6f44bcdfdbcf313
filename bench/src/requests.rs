//! The requests of both systems as the bytes that go over the wire.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use bench::{BODY, SUBJECT, floor_token};
use serde_json::json;
use testing::Client;

/// A user of Postroom.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) csrf: String,
    pub(crate) session: String,
}

impl User {
    /// Makes a bearer token with the user's session.
    pub(crate) async fn make_token(&self, port: u16) -> String {
        let client = client(port);
        client.set_cookie("sessionid", &self.session);
        client.set_cookie("csrftoken", &self.csrf);
        let request = client.request("POST", "/v1/tokens").json(&json!({ "name": "bench" }));
        let made = request.send().await.expect(201);
        made["token"].as_str().expect("a token is text").to_owned()
    }
}

/// A client for what is not measured.
pub(crate) fn client(port: u16) -> Client {
    Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// One request, ready to be sent as often as wanted.
pub(crate) type Request = Box<[u8]>;

pub(crate) const PASSWORD: &str = "grey-harbour-lantern-51";

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> Request {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}");
    if !body.is_empty() {
        write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
            .expect("a String takes all");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes().into()
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Whose request a proxy says it is.
pub(crate) fn forwarded(client: Ipv4Addr) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

pub(crate) mod postroom {
    use super::{BODY, PASSWORD, Request, SUBJECT, User, json, request};

    pub(crate) fn login(name: &str, csrf: &str) -> Request {
        let body = json!({"username": name, "password": PASSWORD});
        let headers = format!("Cookie: csrftoken={csrf}\r\nX-CSRFToken: {csrf}\r\n");
        request("POST", "/users/login", &headers, &body.to_string())
    }

    pub(crate) fn send(from: &User, to: u64) -> Request {
        let body = json!({"receiver_id": to, "subject": SUBJECT, "body": BODY});
        request("POST", "/messages/write_message", &write_headers(from), &body.to_string())
    }

    pub(crate) fn list(user: &User) -> Request {
        request("GET", "/messages/messages_per_receiver", &session_header(user), "")
    }

    pub(crate) fn read(user: &User, message: u64) -> Request {
        let body = format!("{{\"message_id\": {message}}}");
        request("GET", "/messages/read_message", &session_header(user), &body)
    }

    pub(crate) fn events(user: &User) -> Request {
        request("GET", "/v1/events", &session_header(user), "")
    }

    /// What a browser sends with a write.
    pub(super) fn write_headers(user: &User) -> String {
        format!("{}X-CSRFToken: {}\r\n", session_header(user), user.csrf)
    }

    pub(super) fn session_header(user: &User) -> String {
        format!("Cookie: sessionid={}; csrftoken={}\r\n", user.session, user.csrf)
    }
}

/// Postroom's API for everybody else: browsers write, programs with a token read.
pub(crate) mod v1 {
    use super::postroom::{session_header, write_headers};
    use super::{BODY, Request, SUBJECT, User, bearer, json, request};

    pub(crate) fn send(from: &User, to: u64) -> Request {
        let body = json!({"to": [to], "subject": SUBJECT, "body": BODY});
        request("POST", "/v1/messages", &write_headers(from), &body.to_string())
    }

    pub(crate) fn page(token: &str) -> Request {
        request("GET", "/v1/messages?limit=50", &bearer(token), "")
    }

    pub(crate) fn read(token: &str, message: u64) -> Request {
        request("GET", &format!("/v1/messages/{message}"), &bearer(token), "")
    }

    pub(crate) fn unread(token: &str) -> Request {
        request("GET", "/v1/unread", &bearer(token), "")
    }

    pub(crate) fn unread_by_session(user: &User) -> Request {
        request("GET", "/v1/unread", &session_header(user), "")
    }

    pub(crate) fn events(token: &str) -> Request {
        request("GET", "/v1/events", &bearer(token), "")
    }
}

/// What the app's own server asks.
pub(crate) mod server {
    use super::{BODY, Request, SUBJECT, bearer, json, request};

    /// Reads a message of a user, for whom the key acts.
    pub(crate) fn read(key: &str, user: u64, message: u64) -> Request {
        let headers = format!("{}Postroom-User: {user}\r\n", bearer(key));
        request("GET", &format!("/v1/messages/{message}"), &headers, "")
    }

    /// Makes a user of an id of the app's.
    pub(crate) fn put(key: &str, id: &str) -> Request {
        let body = json!({"display_name": "A user of the app"});
        request("PUT", &format!("/v1/server/users/ext:{id}"), &bearer(key), &body.to_string())
    }

    pub(crate) fn put_all(key: &str, ids: &[String]) -> Request {
        let user = |id| json!({"ref": format!("ext:{id}"), "display_name": "A user of the app"});
        let body = json!({"users": ids.iter().map(user).collect::<Vec<_>>()});
        request("POST", "/v1/server/users/batch", &bearer(key), &body.to_string())
    }

    pub(crate) fn unread(key: &str, users: &[u64]) -> Request {
        request("POST", "/v1/server/unread", &bearer(key), &json!({"users": users}).to_string())
    }

    pub(crate) fn send(from: &str, key: &str, to: &[u64]) -> Request {
        let body = json!({"from": from, "to": to, "subject": SUBJECT, "body": BODY});
        request("POST", "/v1/server/messages", &bearer(key), &body.to_string())
    }
}

pub(crate) mod floor {
    use super::{BODY, Request, SUBJECT, bearer, floor_token, json, request};

    pub(crate) fn send(from: usize, to: u64) -> Request {
        let body = json!({"receiver_id": to, "subject": SUBJECT, "body": BODY});
        request("POST", "/m", &known(from), &body.to_string())
    }

    /// The same with what /v1 asks besides.
    pub(crate) fn v1_send(from: usize, to: u64) -> Request {
        let body = json!({"receiver_id": to, "subject": SUBJECT, "body": BODY});
        request("POST", "/v1/m", &known(from), &body.to_string())
    }

    pub(crate) fn list(user: usize) -> Request {
        request("GET", "/inbox", &known(user), "")
    }

    pub(crate) fn page(user: usize) -> Request {
        request("GET", "/v1/page", &known(user), "")
    }

    pub(crate) fn read(user: usize, message: u64) -> Request {
        request("GET", &format!("/m/{message}"), &known(user), "")
    }

    pub(crate) fn v1_read(user: usize, message: u64) -> Request {
        request("GET", &format!("/v1/m/{message}"), &known(user), "")
    }

    pub(crate) fn unread(user: usize) -> Request {
        request("GET", "/v1/unread", &known(user), "")
    }

    fn known(user: usize) -> String {
        bearer(&floor_token(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        User { id: 7, name: "ann".to_owned(), csrf: "c".to_owned(), session: "s".to_owned() }
    }

    fn text(request: &Request) -> &str {
        str::from_utf8(request).unwrap()
    }

    #[test]
    fn a_read_carries_its_body_in_a_get() {
        assert_eq!(
            text(&postroom::read(&ann(), 12)),
            "GET /messages/read_message HTTP/1.1\r\nHost: localhost\r\n\
             Cookie: sessionid=s; csrftoken=c\r\nContent-Type: application/json\r\n\
             Content-Length: 18\r\n\r\n{\"message_id\": 12}"
        );
    }

    /// The path and the body of a send that carries a session and both halves of its CSRF token.
    fn send_of_ann(send: &Request) -> (String, serde_json::Value) {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Request::new(&mut headers);
        let head = parsed.parse(send).unwrap().unwrap();
        let header = |name| {
            let found = parsed.headers.iter().find(|header| header.name == name).unwrap();
            str::from_utf8(found.value).unwrap()
        };
        assert_eq!(header("X-CSRFToken"), "c");
        assert_eq!(header("Cookie"), "sessionid=s; csrftoken=c");
        assert_eq!(header("Content-Length"), (send.len() - head).to_string());
        assert_eq!(header("Content-Type"), "application/json");
        let path = parsed.path.unwrap().to_owned();
        (path, serde_json::from_slice(&send[head..]).unwrap())
    }

    #[test]
    fn a_send_is_a_whole_request_with_both_halves_of_the_csrf_token() {
        let (path, body) = send_of_ann(&postroom::send(&ann(), 101));
        assert_eq!(path, "/messages/write_message");
        assert_eq!(body, json!({"receiver_id": 101, "subject": SUBJECT, "body": BODY}));

        let (path, body) = send_of_ann(&v1::send(&ann(), 101));
        assert_eq!(path, "/v1/messages");
        assert_eq!(body, json!({"to": [101], "subject": SUBJECT, "body": BODY}));
    }

    #[test]
    fn a_program_reads_with_its_token_and_without_cookies() {
        assert_eq!(
            text(&v1::page("prt_t")),
            "GET /v1/messages?limit=50 HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer prt_t\r\n\r\n"
        );
        assert!(text(&v1::read("prt_t", 12)).starts_with("GET /v1/messages/12 HTTP/1.1\r\n"));
    }

    #[test]
    fn a_list_has_no_body() {
        assert!(text(&floor::list(1)).ends_with("\r\n\r\n"));
        assert!(!text(&postroom::list(&ann())).contains("Content-"));
    }
}
