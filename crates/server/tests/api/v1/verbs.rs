//! What a user does with a mailbox over /v1.

use serde_json::{Value, json};
use testing::Response;

use crate::harness::TestApp;
use crate::user::{User, number};

impl User {
    /// Asks with a body.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path).json(body).send().await
    }

    /// Tries to send what a draft says.
    pub(super) async fn try_write(&self, draft: &Value) -> Response {
        self.post("/v1/messages", draft).await
    }

    /// Sends what a draft says; the message.
    pub(super) async fn write(&self, draft: &Value) -> Value {
        self.try_write(draft).await.expect(201)
    }

    /// Sends a text to these; the id of the message.
    pub(super) async fn write_to(&self, to: &[&User], body: &str) -> i64 {
        let to: Vec<_> = to.iter().map(|user| user.id.get()).collect();
        number(&self.write(&json!({ "to": to, "subject": "hi", "body": body })).await["id"])
    }

    /// Answers a message; the id of the answer.
    pub(super) async fn reply(&self, id: i64, body: &str) -> i64 {
        number(&self.write(&json!({ "in_reply_to": id, "body": body })).await["id"])
    }

    /// Asks for a message.
    pub(super) async fn try_show(&self, id: i64) -> Response {
        self.call("GET", &format!("/v1/messages/{id}")).await
    }

    /// A message as it is shown.
    pub(super) async fn show(&self, id: i64) -> Value {
        self.try_show(id).await.ok()
    }

    /// A page of the messages.
    pub(super) async fn page(&self, query: &str) -> Value {
        self.call("GET", &format!("/v1/messages?{query}")).await.ok()
    }

    /// The ids of all messages that fit, page by page.
    pub(super) async fn list(&self, query: &str) -> Vec<i64> {
        let mut page = self.page(query).await;
        let mut list = ids(&page["data"]);
        while let Some(cursor) = page["next_cursor"].as_str() {
            page = self.page(&format!("{query}&cursor={cursor}")).await;
            list.extend(ids(&page["data"]));
        }
        list
    }

    /// Tries to mark a message.
    pub(super) async fn try_mark(&self, id: i64, marks: &Value) -> Response {
        self.request("PATCH", &format!("/v1/messages/{id}")).json(marks).send().await
    }

    /// Marks a message, which is returned.
    pub(super) async fn mark(&self, id: i64, marks: Value) -> Value {
        self.try_mark(id, &marks).await.ok()
    }

    /// Deletes a message for good.
    pub(super) async fn destroy(&self, id: i64) {
        self.call("DELETE", &format!("/v1/messages/{id}")).await.expect(204);
    }

    /// Tries to take a message back.
    pub(super) async fn unsend(&self, id: i64) -> Response {
        self.call("POST", &format!("/v1/messages/{id}/unsend")).await
    }

    /// What is unread, in messages and in conversations.
    pub(super) async fn counts(&self) -> (i64, i64) {
        let unread = self.call("GET", "/v1/unread").await.ok();
        (number(&unread["messages"]), number(&unread["conversations"]))
    }

    /// Changes the own account.
    pub(super) async fn set(&self, change: Value) {
        self.request("PATCH", "/v1/users/me").json(&change).send().await.ok();
    }

    /// Takes no messages from somebody any more.
    pub(super) async fn block(&self, other: &User) {
        self.call("PUT", &format!("/v1/blocks/{}", other.id.get())).await.expect(204);
    }
}

/// Waits until the mailboxes of those who are erased are empty, which is done behind the answer.
pub(super) async fn emptied(app: &TestApp) {
    while app.dump().await.iter().any(|row| row.starts_with("erasure ")) {}
}

/// The ids of the items of a list.
pub(super) fn ids(list: &Value) -> Vec<i64> {
    list.as_array().expect("it is a list").iter().map(|item| number(&item["id"])).collect()
}

/// A user as others see one who has chosen no other name.
pub(super) fn person(user: &User) -> Value {
    json!({
        "id": user.id.get(), "username": user.name, "display_name": user.name,
        "external_id": null, "kind": "person",
    })
}

/// All that a client could tell two answers apart by, but the id of the request.
pub(super) fn comparable(answer: &Response) -> (u16, Vec<(String, Vec<u8>)>, Value) {
    let (status, headers, body) = answer.comparable();
    let mut body = if body.is_empty() { Value::Null } else { answer.json() };
    if let Some(problem) = body.as_object_mut() {
        problem.remove("request_id");
    }
    (status, headers, body)
}
