//! A user, with the verbs of one.

use domain::UserId;
use serde_json::{Value, json};
use testing::{Client, Request, Response};

use crate::harness::PASSWORD;

/// Somebody with an account and a browser.
pub(crate) struct User {
    pub id: UserId,
    pub name: String,
    pub client: Client,
}

impl User {
    pub(crate) fn new(id: UserId, name: &str, client: Client) -> Self {
        Self { id, name: name.to_owned(), client }
    }

    /// Begins a request of this user.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request<'_> {
        self.client.request(method, path)
    }

    pub(crate) async fn login(&self) {
        self.client.try_login(&self.name, PASSWORD).await.ok();
    }

    pub(crate) async fn logout(&self) {
        self.try_logout().await.ok();
    }

    pub(crate) async fn try_logout(&self) -> Response {
        self.request("POST", "/users/logout").send().await
    }

    /// Sends a message and returns its id.
    pub(crate) async fn send(&self, to: &User, subject: &str, body: &str) -> i64 {
        number(&self.try_send(to, subject, body).await.ok()["message_id"])
    }

    pub(crate) async fn try_send(&self, to: &User, subject: &str, body: &str) -> Response {
        let draft = json!({ "receiver_id": to.id.get(), "subject": subject, "body": body });
        self.request("POST", "/messages/write_message").json(&draft).send().await
    }

    /// The ids of all that was received and not deleted.
    pub(crate) async fn inbox(&self) -> Vec<i64> {
        ids(&self.try_inbox().await.ok())
    }

    pub(crate) async fn try_inbox(&self) -> Response {
        self.request("GET", "/messages/messages_per_receiver").send().await
    }

    /// The ids of what is unread.
    pub(crate) async fn unread(&self) -> Vec<i64> {
        ids(&self.request("GET", "/messages/unread_per_receiver").send().await.ok())
    }

    /// Reads a message.
    pub(crate) async fn read(&self, id: i64) -> Value {
        self.try_read(id).await.ok()
    }

    pub(crate) async fn try_read(&self, id: i64) -> Response {
        let body = json!({ "message_id": id });
        self.request("GET", "/messages/read_message").json(&body).send().await
    }

    /// Deletes a message.
    pub(crate) async fn delete(&self, id: i64) {
        self.try_delete(id).await.ok();
    }

    pub(crate) async fn try_delete(&self, id: i64) -> Response {
        let body = json!({ "message_id": id });
        self.request("DELETE", "/messages/delete_message").json(&body).send().await
    }
}

/// A whole number of an answer.
#[track_caller]
pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

fn ids(list: &Value) -> Vec<i64> {
    let fields: Vec<_> = list.as_object().expect("it is an object").keys().collect();
    assert_eq!(fields, ["messages_id"]);
    list["messages_id"].as_array().expect("it is a list").iter().map(number).collect()
}
