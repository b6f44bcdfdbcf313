//! A small blocking HTTP/1.1 client: it shows what was on the wire, and hides nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// Longer than any answer takes; after it the server hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The password of everybody who is not about passwords.
pub(crate) const PASSWORD: &str = "plum-tree-7-ladder";

/// An answer, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} is no JSON (status {})", self.text(), self.status))
    }

    /// What the classic API says of an error.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error says what is wrong").to_owned()
    }

    /// The answer, which must be a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The value of a cookie that it sets.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.iter().filter(|(key, _)| key == "set-cookie");
        let mut pairs = set.filter_map(|(_, value)| value.split(';').next()?.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection was closed and not a byte of an answer had come.
    Closed,
    /// The connection was closed within an answer.
    Cut,
    /// Nothing came for as long as the reader waited.
    Silent,
    /// Nobody listens any more.
    Refused,
}

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server listens")
    }

    pub(crate) fn try_open(address: SocketAddr) -> Result<Self, End> {
        let stream = TcpStream::connect(address).map_err(|_cause| End::Refused)?;
        stream.set_nodelay(true).map_err(|_cause| End::Refused)?;
        let mut wire = Self { stream, ahead: Vec::new() };
        wire.wait_up_to(PATIENCE);
        stream_timeout(&wire.stream);
        Ok(wire)
    }

    /// How long a read waits.
    pub(crate) fn wait_up_to(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a socket takes a timeout");
    }

    /// The port of this side.
    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().expect("it has an address").port()
    }

    /// Sends bytes; whether the other side still took them.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        // The other side may have closed it already.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Reads once; 0 is the end.
    fn fill(&mut self) -> Result<usize, End> {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(length) => {
                    self.ahead.extend_from_slice(&piece[..length]);
                    return Ok(length);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(End::Silent),
                    _ => return Ok(0),
                },
            }
        }
    }

    fn more(&mut self) -> Result<(), End> {
        match self.fill()? {
            0 if self.ahead.is_empty() => Err(End::Closed),
            0 => Err(End::Cut),
            _ => Ok(()),
        }
    }

    /// The next answer, an interim one as well.
    pub(crate) fn answer(&mut self) -> Result<Answer, End> {
        let head = loop {
            match self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break self.ahead.drain(..end + 4).collect::<Vec<_>>(),
                None => self.more()?,
            }
        };
        let head = String::from_utf8(head).expect("the head of an answer is text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        let mut answer = Answer {
            status: status.unwrap_or_else(|| panic!("there is a status in {head:?}")),
            headers: headers.collect(),
            body: Vec::new(),
        };
        let length = answer.header("content-length").map_or(0, |length| {
            length.parse::<usize>().expect("the length of an answer is a number")
        });
        while self.ahead.len() < length {
            if self.fill()? == 0 {
                return Err(End::Cut);
            }
        }
        answer.body = self.ahead.drain(..length).collect();
        Ok(answer)
    }

    /// The next piece of an answer that has no length; nothing at its end.
    pub(crate) fn piece(&mut self) -> Result<Vec<u8>, End> {
        loop {
            let size = self.ahead.windows(2).position(|two| two == b"\r\n");
            if let Some(end) = size {
                let digits = std::str::from_utf8(&self.ahead[..end]).expect("a size is text");
                let length = usize::from_str_radix(digits, 16).expect("a size is a number");
                if self.ahead.len() >= end + 2 + length + 2 {
                    let piece = self.ahead[end + 2..end + 2 + length].to_vec();
                    self.ahead.drain(..end + 2 + length + 2);
                    return Ok(piece);
                }
            }
            self.more()?;
        }
    }

    /// Everything until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, End> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Whether the server has closed the connection, without another byte, in the time of
    /// [`Wire::wait_up_to`].
    pub(crate) fn is_closed(&mut self) -> bool {
        self.rest().is_ok_and(|rest| rest.is_empty())
    }

    /// Sends one request and reads its answer.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Result<Answer, End> {
        // What could not be sent may have been answered all the same.
        self.send(request);
        self.answer()
    }
}

fn stream_timeout(stream: &TcpStream) {
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
}

/// The text of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: postroom\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() || method == "POST" {
        text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    text + "\r\n" + body
}

/// Asks once, on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    let answer = Wire::open(address).ask(request("GET", path, &[], ""));
    answer.unwrap_or_else(|end| panic!("GET {path}: {end:?}"))
}

/// A user with cookies, and a connection that stays open.
pub(crate) struct User {
    pub name: String,
    pub id: i64,
    pub session: String,
    pub token: String,
    pub address: SocketAddr,
    pub wire: Option<Wire>,
}

impl User {
    /// Registers and logs in.
    pub(crate) fn register(address: SocketAddr, name: &str) -> Self {
        let mut user = Self::visitor(address, name);
        let email = format!("{name}@example.org");
        let account = json!({ "username": name, "email": email, "password": PASSWORD });
        user.call("POST", "/users/register", &account).expect("an answer").ok();
        user.login(PASSWORD);
        user
    }

    /// Somebody who has an account and is not logged in.
    pub(crate) fn visitor(address: SocketAddr, name: &str) -> Self {
        let token = get(address, "/users/token").ok()["csrfToken"].as_str().map(str::to_owned);
        Self {
            name: name.to_owned(),
            id: 0,
            session: String::new(),
            token: token.expect("the token is text"),
            address,
            wire: None,
        }
    }

    #[track_caller]
    pub(crate) fn login(&mut self, password: &str) {
        let answer = self.try_login(password);
        self.session = answer.cookie("sessionid").unwrap_or_else(|| panic!("{}", answer.text()));
        self.id = answer.ok()["user_id"].as_i64().expect("the id is a number");
    }

    pub(crate) fn try_login(&mut self, password: &str) -> Answer {
        let credentials = json!({ "username": self.name, "password": password });
        self.call("POST", "/users/login", &credentials).expect("an answer")
    }

    /// The same user at another server, or at the same after a restart.
    pub(crate) fn at(&mut self, address: SocketAddr) {
        self.address = address;
        self.wire = None;
    }

    /// The text of a request with the user's cookies.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        self.request_with(&[], method, path, body)
    }

    /// The same with further headers.
    pub(crate) fn request_with(
        &self,
        further: &[(&str, &str)],
        method: &str,
        path: &str,
        body: &str,
    ) -> String {
        let mut cookies = format!("csrftoken={}", self.token);
        if !self.session.is_empty() {
            cookies = format!("{cookies}; sessionid={}", self.session);
        }
        let mut headers = vec![("Cookie", cookies.as_str()), ("X-CSRFToken", self.token.as_str())];
        headers.extend(further);
        request(method, path, &headers, body)
    }

    /// One request on the user's connection. It is never sent twice.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer, End> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.exchange(&self.request(method, path, &body))
    }

    /// Sends a request as it stands, once.
    pub(crate) fn exchange(&mut self, request: &str) -> Result<Answer, End> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::try_open(self.address)?,
        };
        let answer = wire.ask(request)?;
        if !answer.closes() {
            self.wire = Some(wire);
        }
        Ok(answer)
    }

    /// Tries to send a message.
    pub(crate) fn send(&mut self, to: i64, subject: &str, body: &str) -> Result<Answer, End> {
        let draft = json!({ "receiver_id": to, "subject": subject, "body": body });
        self.call("POST", "/messages/write_message", &draft)
    }

    /// Tries to send a message over /v1, under a key that makes a retry harmless.
    pub(crate) fn send_keyed(&mut self, to: i64, key: &str) -> Result<Answer, End> {
        let draft = json!({ "to": [to], "subject": "once", "body": key }).to_string();
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        self.exchange(&self.request_with(&headers, "POST", "/v1/messages", &draft))
    }

    /// Asks /v1 for something; `key` makes a retry harmless.
    #[track_caller]
    pub(crate) fn v1(&mut self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        let headers = &headers[..if key.is_empty() { 1 } else { 2 }];
        let request = self.request_with(headers, method, &format!("/v1{path}"), &body);
        self.exchange(&request).expect("an answer")
    }

    /// Sends a message and returns its id.
    #[track_caller]
    pub(crate) fn sends(&mut self, to: i64, subject: &str, body: &str) -> i64 {
        let answer = self.send(to, subject, body).expect("an answer");
        answer.ok()["message_id"].as_i64().expect("the id is a number")
    }

    #[track_caller]
    pub(crate) fn inbox(&mut self) -> Vec<i64> {
        self.list("/messages/messages_per_receiver").expect("a list")
    }

    #[track_caller]
    pub(crate) fn unread(&mut self) -> Vec<i64> {
        self.list("/messages/unread_per_receiver").expect("a list")
    }

    /// A list, which must ascend; or no answer.
    pub(crate) fn list(&mut self, path: &str) -> Result<Vec<i64>, End> {
        let list = self.call("GET", path, &Value::Null)?.ok();
        let ids = list["messages_id"].as_array().expect("it is a list").iter();
        let ids: Vec<_> = ids.map(|id| id.as_i64().expect("an id is a number")).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{path} does not ascend");
        Ok(ids)
    }

    pub(crate) fn read(&mut self, id: i64) -> Result<Answer, End> {
        self.call("GET", "/messages/read_message", &json!({ "message_id": id }))
    }

    pub(crate) fn delete(&mut self, id: i64) -> Result<Answer, End> {
        self.call("DELETE", "/messages/delete_message", &json!({ "message_id": id }))
    }

    /// Whether the session holds.
    pub(crate) fn is_logged_in(&mut self) -> bool {
        let answer = self.call("GET", "/messages/unread_per_receiver", &Value::Null);
        match answer.expect("an answer").status {
            200 => true,
            401 => false,
            status => panic!("a list answers {status}"),
        }
    }
}
