//! A client that keeps cookies and looks at every answer: what all of them must be is tested here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::contract;
use crate::feed::Feed;
use crate::harness::Address;

type Line = SendRequest<Full<Bytes>>;

/// What a person has open: one connection at a time, and a jar of cookies.
pub(crate) struct Browser {
    address: Address,
    line: tokio::sync::Mutex<Option<(SocketAddr, Line)>>,
    jar: Mutex<BTreeMap<String, String>>,
    always: Vec<(String, String)>,
}

impl Browser {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, line: tokio::sync::Mutex::default(), jar: Mutex::default(), always: vec![] }
    }

    /// A header that it sends with every request, as a proxy before the server would.
    pub(crate) fn always(mut self, name: &str, value: &str) -> Self {
        self.always.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a cookie that it keeps.
    pub(crate) fn kept(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Keeps a cookie.
    pub(crate) fn keep(&self, name: &str, value: &str) {
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        jar.insert(name.to_owned(), value.to_owned());
    }

    /// The token of the login that it keeps.
    pub(crate) fn session(&self) -> String {
        self.kept("sessionid").expect("it has logged in")
    }

    /// Begins a request. It carries the cookies that are kept and, where something could change,
    /// the CSRF token.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        let method = method.parse().expect("it is a method");
        let path = path.to_owned();
        Ask {
            browser: self,
            method,
            path,
            headers: vec![],
            cookies: None,
            token: None,
            body: Bytes::new(),
        }
    }

    /// Fetches the CSRF token.
    pub(crate) async fn token(&self) -> String {
        let answer = self.ask("GET", "/users/token").go().await.ok();
        answer["csrfToken"].as_str().expect("the token is text").to_owned()
    }

    /// Tries to log in.
    pub(crate) async fn try_login(&self, name: &str, password: &str) -> Answer {
        let body = serde_json::json!({ "username": name, "password": password });
        self.ask("POST", "/users/login").json(&body).go().await
    }

    /// Tries to register.
    pub(crate) async fn try_register(&self, name: &str, email: &str, password: &str) -> Answer {
        let body = serde_json::json!({ "username": name, "email": email, "password": password });
        self.ask("POST", "/users/register").json(&body).go().await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let mut line = self.line.lock().await;
        let server = self.address.socket();
        let open = match line.as_mut() {
            // Another one, after a restart, has another port.
            Some((at, open)) => *at == server && open.ready().await.is_ok(),
            None => false,
        };
        if !open {
            *line = Some((server, connect(server).await));
        }
        let (_, open) = line.as_mut().expect("it is open");
        let response = open.send_request(request).await;
        let (head, body) = response.expect("the server answers").into_parts();
        let body = if head.headers.get("content-type").is_some_and(|kind| kind == EVENTS) {
            // It has no end: [`Ask::listen`] is for those who want to hear it.
            *line = None;
            Bytes::new()
        } else {
            body.collect().await.expect("the answer is whole").to_bytes()
        };
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body };
        let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        for cookie in answer.cookies() {
            if cookie.attributes.contains("Max-Age=0") {
                jar.remove(&cookie.name);
            } else {
                jar.insert(cookie.name, cookie.value);
            }
        }
        answer
    }
}

/// What a stream of events is.
pub(crate) const EVENTS: &str = "text/event-stream";

pub(crate) async fn connect(server: SocketAddr) -> Line {
    let stream = tokio::net::TcpStream::connect(server).await;
    let stream = TokioIo::new(stream.expect("the server listens"));
    let (line, connection) = handshake(stream).await.expect("the server speaks HTTP");
    tokio::spawn(connection);
    line
}

/// A request that is being made.
#[must_use]
pub(crate) struct Ask<'b> {
    browser: &'b Browser,
    method: Method,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    cookies: Option<Vec<String>>,
    token: Option<Vec<String>>,
    body: Bytes,
}

impl Ask<'_> {
    /// With a JSON body; the Content-Type is sent only where it is needed.
    pub(crate) fn json(self, body: &Value) -> Self {
        let ask = self.body(body.to_string());
        let needed = ask.path.starts_with("/v1/");
        if needed { ask.header("content-type", "application/json") } else { ask }
    }

    /// With the token of a program, and without any cookie.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.no_cookies().no_token().header("authorization", format!("Bearer {token}"))
    }

    /// With any body.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With this line of cookies in the place of the jar; repeated, with several lines.
    pub(crate) fn cookies(mut self, line: &str) -> Self {
        self.cookies.get_or_insert_default().push(line.to_owned());
        self
    }

    /// Without any cookie.
    pub(crate) fn no_cookies(mut self) -> Self {
        self.cookies = Some(vec![]);
        self
    }

    /// With this CSRF token in the header in the place of the one that is kept.
    pub(crate) fn token(mut self, token: &str) -> Self {
        self.token = Some(vec![token.to_owned()]);
        self
    }

    /// Without a CSRF token in the header.
    pub(crate) fn no_token(mut self) -> Self {
        self.token = Some(vec![]);
        self
    }

    /// Sends it, and checks what every answer must be.
    pub(crate) async fn go(self) -> Answer {
        let (browser, method, path) = (self.browser, self.method.clone(), self.path.clone());
        let answer = browser.send(self.request()).await;
        answer.check(&method, &path);
        answer
    }

    /// Sends it over a connection of its own and listens to the events that are answered.
    pub(crate) async fn listen(self) -> Feed {
        let (address, path) = (self.browser.address.socket(), self.path.clone());
        Feed::open(address, &path, self.request()).await
    }

    fn request(self) -> Request<Full<Bytes>> {
        let browser = self.browser;
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header("host", browser.address.host())
            .body(Full::new(self.body))
            .expect("it is a request");
        let headers = request.headers_mut();
        let mut add = |name: &str, value: &[u8]| {
            let name = name.parse::<HeaderName>().expect("it is the name of a header");
            headers.append(name, HeaderValue::from_bytes(value).expect("it fits into a header"));
        };
        let jar = browser.jar.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let changes = !matches!(self.method, Method::GET | Method::HEAD);
        let kept = jar.get("csrftoken").filter(|_| changes).cloned();
        for token in self.token.unwrap_or(kept.into_iter().collect()) {
            add("x-csrftoken", token.as_bytes());
        }
        let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let usual = if pairs.is_empty() { vec![] } else { vec![pairs.join("; ")] };
        for line in self.cookies.unwrap_or(usual) {
            add("cookie", line.as_bytes());
        }
        for (name, value) in &browser.always {
            add(name, value.as_bytes());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        request
    }
}

/// A cookie that the server sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub name: String,
    pub value: String,
    pub attributes: BTreeSet<String>,
}

/// What the server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The JSON of a 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// What an answer of that status says is wrong.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.json()["error"].as_str().expect("it says what is wrong").to_owned()
    }

    /// The JSON of an answer of that status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem of that status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.is(status);
        assert_eq!(problem["code"], code, "{self:?}");
        problem
    }

    /// The places and codes of what is wrong with the input.
    #[track_caller]
    pub(crate) fn invalid(&self) -> Vec<String> {
        let problem = self.problem(422, "invalid");
        let errors = problem["errors"].as_array().expect("it names what is wrong").iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = |error: &Value| text(&error["pointer"]) + &text(&error["parameter"]);
        errors.map(|error| format!("{} {}", place(error), text(&error["code"]))).collect()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one value of a header, if it is there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().expect("it is text");
        assert!(values.next().is_none(), "{name} is there more than once: {self:?}");
        Some(value)
    }

    /// The cookies that it sets.
    pub(crate) fn cookies(&self) -> Vec<SetCookie> {
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
    pub(crate) fn cookie(&self) -> SetCookie {
        let mut cookies = self.cookies();
        assert_eq!(cookies.len(), 1, "{self:?}");
        cookies.remove(0)
    }

    /// All that a client could tell two answers apart by.
    pub(crate) fn told(&self) -> (u16, Vec<(String, Vec<u8>)>, Bytes) {
        let headers = self.headers.iter();
        let mut headers: Vec<_> = headers
            .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        headers.sort();
        (self.status, headers, self.body.clone())
    }

    /// What holds for every answer, whatever was asked.
    pub(crate) fn check(&self, method: &Method, path: &str) {
        let id = self.header("x-request-id").unwrap_or_default();
        assert!(id.len() >= 8 && id.bytes().all(|b| b.is_ascii_alphanumeric()), "{path} {self:?}");
        let is_page = self.header("content-type") == Some("text/html; charset=utf-8");
        for (name, value) in SECURITY_HEADERS {
            if is_page && name == "content-security-policy" {
                continue;
            }
            assert_eq!(self.header(name), Some(value), "{method} {path}: {name} of {self:?}");
        }
        let of_v1 = path.starts_with("/v1/");
        for (name, _value) in &self.headers {
            let name = name.as_str();
            let tells = matches!(name, "server" | "x-powered-by");
            let opens = name.starts_with("access-control-") || name == "location";
            assert!(!tells && (of_v1 || !opens), "{method} {path}: {name} in {self:?}");
        }
        for cookie in self.cookies() {
            let known = matches!(cookie.name.as_str(), "sessionid" | "csrftoken");
            assert!(known, "{method} {path}: a cookie that nobody knows of in {self:?}");
        }
        let moved = (300..400).contains(&self.status) && self.status != 304;
        assert!(!moved, "{method} {path}: never a redirect: {self:?}");
        if of_v1 {
            return contract::check(method, path, self);
        }
        if path.starts_with("/docs") && path != "/docs/" {
            return;
        }
        if path != "/metrics" || self.status != 200 {
            assert_eq!(self.header("content-type"), Some("application/json"), "{path} {self:?}");
        }
        if method == Method::HEAD {
            assert!(self.body.is_empty(), "{path}: {self:?}");
        } else if self.status >= 400 {
            self.check_error(method, path);
        }
    }

    fn check_error(&self, method: &Method, path: &str) {
        let error = self.json();
        let error = error.as_object().unwrap_or_else(|| panic!("{path}: no object: {self:?}"));
        let says = error.get("error").and_then(Value::as_str).unwrap_or_default();
        assert!(!says.is_empty(), "{method} {path} must say what is wrong: {self:?}");
        let fields: Vec<_> = error.keys().map(String::as_str).collect();
        if self.status < 500 {
            assert_eq!(fields, ["error"], "{method} {path}: {self:?}");
        } else {
            assert_eq!(fields, ["error", "request_id"], "{method} {path}: {self:?}");
            assert_eq!(error["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        }
        if self.status == 405 {
            assert!(self.header("allow").is_some(), "{method} {path}: {self:?}");
        }
        if self.status == 429 {
            let wait = self.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
            assert!(wait.is_some_and(|wait| wait >= 1), "{method} {path}: {self:?}");
        }
    }
}

const SECURITY_HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];
