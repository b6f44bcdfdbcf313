//! /v1, call by call. The client holds each answer to docs/openapi.json as well.

mod auth;
mod batch;
mod blocks;
mod both;
mod changes;
mod conditions;
mod conversations;
mod cors;
mod errors;
mod events;
mod export;
mod idempotency;
mod jwts;
mod kept;
mod lists;
mod matrix;
mod messages;
mod openapi;
mod paging;
mod quotas;
mod refusals;
mod retention;
mod retries;
mod scans;
mod seen;
mod sending;
mod server;
mod sessions;
mod shapes;
mod tokens;
mod unread;
mod users;
mod verbs;

use domain::Time;
use serde_json::{Value, json};
use testing::Response;

use crate::harness::PASSWORD;
use crate::user::User;

/// A body that registers somebody of that name.
fn newcomer(name: &str) -> Value {
    json!({
        "username": name,
        "email": format!("{name}@example.org"),
        "password": PASSWORD,
    })
}

impl User {
    /// Makes a token with these scopes, or with all of them.
    pub(crate) async fn token(&self, scopes: Option<&[&str]>) -> String {
        let mut body = json!({ "name": "a program" });
        if let Some(scopes) = scopes {
            body["scopes"] = json!(scopes);
        }
        let answer = self.request("POST", "/v1/tokens").json(&body).send().await;
        text(&answer.expect(201)["token"])
    }

    /// Asks without a body.
    async fn call(&self, method: &str, path: &str) -> Response {
        self.request(method, path).send().await
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A moment as the API writes it.
fn rfc3339(time: Time) -> String {
    // Always six digits, also where the last ones are zeros.
    format!("{:.6}", jiff::Timestamp::from_microsecond(time.0).expect("it is a moment"))
}
