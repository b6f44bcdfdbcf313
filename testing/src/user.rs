//! A registered user with a client, for tests that are not async.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{Client, Request};
use crate::response::{Failure, Response};

/// The password of every user of a test that is not about passwords.
pub const PASSWORD: &str = "plum-tree-7-ladder";

/// A user and their session. Requests carry the session and the CSRF token that are kept here,
/// also after the server has ended the session: tests then see whether it is really refused.
pub struct User {
    pub name: String,
    pub id: i64,
    /// The cookie of the session; empty before the login.
    pub session: String,
    /// The CSRF token.
    pub token: String,
    pub client: Client,
}

impl User {
    /// Registers and logs in.
    pub fn register(address: SocketAddr, name: &str) -> Self {
        let mut user = Self::visitor(address, name);
        let email = format!("{name}@example.org");
        let account = json!({ "username": name, "email": email, "password": PASSWORD });
        user.call("POST", "/users/register", &account).expect("an answer").ok();
        user.login(PASSWORD);
        user
    }

    /// A user who may have an account and is not logged in.
    pub fn visitor(address: SocketAddr, name: &str) -> Self {
        let client = Client::new(address);
        let token = client.request("GET", "/users/token").wait().expect("an answer").ok();
        let token = token["csrfToken"].as_str().expect("the token is text").to_owned();
        Self { name: name.to_owned(), id: 0, session: String::new(), token, client }
    }

    /// Another client with the same session, at any server.
    #[must_use]
    pub fn twin(&self, address: SocketAddr) -> Self {
        let (name, session, token) = (self.name.clone(), self.session.clone(), self.token.clone());
        Self { name, id: self.id, session, token, client: Client::new(address) }
    }

    #[track_caller]
    pub fn login(&mut self, password: &str) {
        let answer = self.try_login(password);
        self.id = answer.ok()["user_id"].as_i64().expect("the id is a number");
        let session = answer.cookies().into_iter().find(|cookie| cookie.name == "sessionid");
        self.session = session.expect("a login sets a session").value;
    }

    pub fn try_login(&mut self, password: &str) -> Response {
        let credentials = json!({ "username": self.name, "password": password });
        self.call("POST", "/users/login", &credentials).expect("an answer")
    }

    /// The header `Cookie` of the user's requests.
    pub fn cookies(&self) -> String {
        if self.session.is_empty() {
            return format!("csrftoken={}", self.token);
        }
        format!("csrftoken={}; sessionid={}", self.token, self.session)
    }

    /// Begins a request with the user's session.
    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        self.client.request(method, path).cookies(&self.cookies()).csrf(&self.token)
    }

    /// Goes on at another server, or at the same on a new connection.
    pub fn connect_to(&mut self, address: SocketAddr) {
        self.client.connect_to(address);
    }

    /// Goes on at this server; a connection to it is kept.
    pub fn stay_at(&mut self, address: SocketAddr) {
        self.client.address().set(address);
    }

    /// Sends one request with a JSON body, or without a body for `null`.
    pub fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Response, Failure> {
        let request = self.request(method, path);
        if body.is_null() { request.wait() } else { request.json(body).wait() }
    }

    /// The same under a key that makes a retry harmless.
    pub fn call_with_key(
        &mut self,
        method: &str,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Response, Failure> {
        self.request(method, path).header("idempotency-key", key).json(body).wait()
    }

    /// A request to /v1, which must be answered; an empty key is no key.
    #[track_caller]
    pub fn v1(&mut self, method: &str, path: &str, key: &str, body: &Value) -> Response {
        let path = format!("/v1{path}");
        let answer = match key {
            "" => self.call(method, &path, body),
            key => self.call_with_key(method, &path, key, body),
        };
        answer.expect("an answer")
    }

    /// Tries to send a message over the classic API.
    pub fn send(&mut self, to: i64, subject: &str, body: &str) -> Result<Response, Failure> {
        let draft = json!({ "receiver_id": to, "subject": subject, "body": body });
        self.call("POST", "/messages/write_message", &draft)
    }

    /// Sends a message over the classic API and returns its id.
    #[track_caller]
    pub fn send_message(&mut self, to: i64, subject: &str, body: &str) -> i64 {
        let answer = self.send(to, subject, body).expect("an answer");
        answer.ok()["message_id"].as_i64().expect("the id is a number")
    }

    /// Tries to send a message over /v1, under a key that is also its text and `client_id`.
    pub fn send_keyed(&mut self, to: i64, key: &str) -> Result<Response, Failure> {
        let draft = json!({ "to": [to], "subject": key, "body": key, "client_id": key });
        self.call_with_key("POST", "/v1/messages", key, &draft)
    }

    #[track_caller]
    pub fn inbox(&mut self) -> Vec<i64> {
        self.list("/messages/messages_per_receiver").expect("a list")
    }

    #[track_caller]
    pub fn unread(&mut self) -> Vec<i64> {
        self.list("/messages/unread_per_receiver").expect("a list")
    }

    /// The ids of a list, which must ascend.
    pub fn list(&mut self, path: &str) -> Result<Vec<i64>, Failure> {
        let list = self.call("GET", path, &Value::Null)?.ok();
        let ids = list["messages_id"].as_array().expect("it is a list").iter();
        let ids: Vec<_> = ids.map(|id| id.as_i64().expect("an id is a number")).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{path} does not ascend");
        Ok(ids)
    }

    /// All messages of a folder, as /v1 lists them, the newest first.
    #[track_caller]
    pub fn folder(&mut self, name: &str) -> Vec<Value> {
        let (mut messages, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/messages?folder={name}&limit=100{cursor}");
            let mut page = self.call("GET", &path, &Value::Null).expect("an answer").ok();
            messages.append(page["data"].as_array_mut().expect("it is a list"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return messages,
            }
        }
    }

    /// The state of the mailbox, as a number.
    #[track_caller]
    pub fn state(&mut self) -> i64 {
        let counts = self.call("GET", "/v1/unread", &Value::Null).expect("an answer").ok();
        let state = counts["state"].as_str().and_then(|state| state.parse().ok());
        state.expect("a state is a number")
    }

    pub fn read(&mut self, id: i64) -> Result<Response, Failure> {
        self.call("GET", "/messages/read_message", &json!({ "message_id": id }))
    }

    pub fn delete(&mut self, id: i64) -> Result<Response, Failure> {
        self.call("DELETE", "/messages/delete_message", &json!({ "message_id": id }))
    }

    /// Whether the session is valid.
    pub fn is_logged_in(&mut self) -> bool {
        let answer = self.call("GET", "/messages/unread_per_receiver", &Value::Null);
        match answer.expect("an answer").status {
            200 => true,
            401 => false,
            status => panic!("a list answers {status}"),
        }
    }
}
