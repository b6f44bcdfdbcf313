//! Responses, and what tests expect of them.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::header::HeaderMap;
use serde_json::Value;

/// The Content-Type of a stream of events.
pub const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be opened.
    Refused,
    /// The connection was closed before there was a response.
    Closed,
    /// The connection was closed within a response.
    Truncated,
    /// Nothing came for as long as the client waits.
    TimedOut,
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A cookie that a response sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie {
    pub name: String,
    pub value: String,
    pub attributes: BTreeSet<String>,
}

impl Response {
    /// One without a body.
    pub fn new(status: u16, headers: HeaderMap) -> Self {
        Self { status, headers, body: Bytes::new() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of a 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The JSON of a response of that status; `null` where there is no body.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The text of the classic API's error of that status.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.json()["error"].as_str().expect("an error says what is wrong").to_owned()
    }

    /// The problem of /v1 of that status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{self:?}");
        problem
    }

    /// What /v1 says is invalid: of each mistake its pointer or parameter, and its code.
    #[track_caller]
    pub fn invalid(&self) -> Vec<String> {
        let problem = self.problem(422, "invalid");
        let errors = problem["errors"].as_array().expect("it names what is wrong").iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = |error: &Value| text(&error["pointer"]) + &text(&error["parameter"]);
        errors.map(|error| format!("{} {}", place(error), text(&error["code"]))).collect()
    }

    /// The value of a header, which may be there once at most.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().expect("it is text");
        assert!(values.next().is_none(), "{name} is there more than once: {self:?}");
        Some(value)
    }

    /// The cookies that it sets.
    pub fn cookies(&self) -> Vec<SetCookie> {
        let lines = self.headers.get_all("set-cookie").iter();
        lines
            .map(|line| {
                let mut parts = line.to_str().expect("a cookie is text").split("; ");
                let pair = parts.next().expect("a line has a start").split_once('=');
                let (name, value) = pair.expect("a cookie has a value");
                let (name, value) = (name.to_owned(), value.to_owned());
                SetCookie { name, value, attributes: parts.map(str::to_owned).collect() }
            })
            .collect()
    }

    /// The one cookie that it sets.
    #[track_caller]
    pub fn cookie(&self) -> SetCookie {
        let mut cookies = self.cookies();
        assert_eq!(cookies.len(), 1, "{self:?}");
        cookies.remove(0)
    }

    /// All by which a client could tell two responses apart: status, headers and body, without the
    /// date and the id of the request.
    pub fn comparable(&self) -> (u16, Vec<(String, Vec<u8>)>, Bytes) {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        headers.sort();
        (self.status, headers, self.body.clone())
    }
}
