//! The classic API, row by row: what each call answers, and what it refuses.

mod accounts;
mod answers;
mod inputs;
mod messages;
mod numbers;
mod texts;

use serde_json::{Value, json};
use testing::{Client, Response};

use crate::harness::PASSWORD;
use crate::user::User;

/// A call that takes a body.
#[derive(Clone, Copy)]
struct Call {
    method: &'static str,
    path: &'static str,
    fields: &'static [&'static str],
}

const REGISTER: Call =
    Call { method: "POST", path: "/users/register", fields: &["username", "email", "password"] };
const LOGIN: Call =
    Call { method: "POST", path: "/users/login", fields: &["username", "password"] };
const WRITE: Call = Call {
    method: "POST",
    path: "/messages/write_message",
    fields: &["receiver_id", "subject", "body"],
};
const READ: Call = Call { method: "GET", path: "/messages/read_message", fields: &["message_id"] };
const DELETE: Call =
    Call { method: "DELETE", path: "/messages/delete_message", fields: &["message_id"] };

/// All of them.
const CALLS: [Call; 5] = [REGISTER, LOGIN, WRITE, READ, DELETE];

impl Call {
    /// Makes the call with any body.
    async fn with(self, client: &Client, body: impl Into<bytes::Bytes>) -> Response {
        client.request(self.method, self.path).body(body).send().await
    }

    /// A body that the user could send: it names this user, and the message.
    fn good_body(self, user: &User, message: i64) -> Value {
        let mut body = json!({
            "username": "newcomer",
            "email": "newcomer@example.org",
            "password": PASSWORD,
            "receiver_id": user.id.get(),
            "subject": "a subject",
            "body": "a body",
            "message_id": message,
        });
        if self.path == LOGIN.path {
            body["username"] = Value::from(user.name.as_str());
        }
        let fields = body.as_object_mut().expect("it is an object");
        fields.retain(|name, _| self.fields.contains(&name.as_str()));
        body
    }
}
