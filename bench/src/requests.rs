//! The requests of both systems as the bytes that go over the wire.

use std::fmt::Write as _;

use bench::{BODY, SUBJECT, floor_token};
use serde_json::json;

/// A user of Postroom.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) csrf: String,
    pub(crate) session: String,
}

/// One request, ready to be sent as often as wanted.
pub(crate) type Request = Box<[u8]>;

const PASSWORD: &str = "grey-harbour-lantern-51";

fn request(method: &str, path: &str, headers: &str, body: &str) -> Request {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}");
    if !body.is_empty() {
        write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
            .expect("a String takes all");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes().into()
}

pub(crate) mod postroom {
    use super::{BODY, PASSWORD, Request, SUBJECT, User, json, request};

    pub(crate) fn token() -> Request {
        request("GET", "/users/token", "", "")
    }

    pub(crate) fn register(name: &str, csrf: &str) -> Request {
        let email = format!("{name}@example.org");
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        request("POST", "/users/register", &csrf_headers(csrf), &body.to_string())
    }

    pub(crate) fn login(name: &str, csrf: &str) -> Request {
        let body = json!({"username": name, "password": PASSWORD});
        request("POST", "/users/login", &csrf_headers(csrf), &body.to_string())
    }

    pub(crate) fn send(from: &User, to: u64) -> Request {
        let body = json!({"receiver_id": to, "subject": SUBJECT, "body": BODY});
        let headers = format!(
            "Cookie: sessionid={}; csrftoken={}\r\nX-CSRFToken: {}\r\n",
            from.session, from.csrf, from.csrf
        );
        request("POST", "/messages/write_message", &headers, &body.to_string())
    }

    pub(crate) fn list(user: &User) -> Request {
        request("GET", "/messages/messages_per_receiver", &session_header(user), "")
    }

    pub(crate) fn read(user: &User, message: u64) -> Request {
        let body = format!("{{\"message_id\": {message}}}");
        request("GET", "/messages/read_message", &session_header(user), &body)
    }

    fn csrf_headers(csrf: &str) -> String {
        format!("Cookie: csrftoken={csrf}\r\nX-CSRFToken: {csrf}\r\n")
    }

    fn session_header(user: &User) -> String {
        format!("Cookie: sessionid={}; csrftoken={}\r\n", user.session, user.csrf)
    }
}

pub(crate) mod floor {
    use super::{BODY, Request, SUBJECT, floor_token, json, request};

    pub(crate) fn send(from: usize, to: u64) -> Request {
        let body = json!({"receiver_id": to, "subject": SUBJECT, "body": BODY});
        request("POST", "/m", &bearer(from), &body.to_string())
    }

    pub(crate) fn list(user: usize) -> Request {
        request("GET", "/inbox", &bearer(user), "")
    }

    pub(crate) fn read(user: usize, message: u64) -> Request {
        request("GET", &format!("/m/{message}"), &bearer(user), "")
    }

    fn bearer(user: usize) -> String {
        format!("Authorization: Bearer {}\r\n", floor_token(user))
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

    #[test]
    fn a_send_is_a_whole_request_with_both_halves_of_the_csrf_token() {
        let send = postroom::send(&ann(), 101);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Request::new(&mut headers);
        let head = parsed.parse(&send).unwrap().unwrap();
        let header = |name| {
            let found = parsed.headers.iter().find(|header| header.name == name).unwrap();
            str::from_utf8(found.value).unwrap()
        };
        assert_eq!(header("X-CSRFToken"), "c");
        assert_eq!(header("Cookie"), "sessionid=s; csrftoken=c");
        assert_eq!(header("Content-Length"), (send.len() - head).to_string());
        let body: serde_json::Value = serde_json::from_slice(&send[head..]).unwrap();
        assert_eq!(body, json!({"receiver_id": 101, "subject": SUBJECT, "body": BODY}));
    }

    #[test]
    fn a_list_has_no_body() {
        assert!(text(&floor::list(1)).ends_with("\r\n\r\n"));
        assert!(!text(&postroom::list(&ann())).contains("Content-"));
    }
}
