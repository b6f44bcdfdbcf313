//! What the app's own server does, with a server key.

mod acting;
mod batches;
mod keys;
mod messages;
mod persons;
mod system;
mod tokens;
mod unread;
mod users;

use domain::server_keys::{self, KeyScopes};
use domain::text::TokenName;
use domain::{ServerKeyId, Time};
use serde_json::Value;
use testing::{Request, Response};

use crate::harness::TestApp;

/// The app's own server: a client that sends its key.
pub(crate) struct AppServer {
    pub(super) id: ServerKeyId,
    pub(super) key: String,
    client: testing::Client,
}

impl AppServer {
    /// Begins a request with the key.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request<'_> {
        self.client.request(method, path).bearer(&self.key)
    }

    /// Asks with a body.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path).json(body).send().await
    }

    /// Asks without a body.
    pub(crate) async fn call(&self, method: &str, path: &str) -> Response {
        self.request(method, path).send().await
    }
}

impl TestApp {
    /// A server key with these scopes, which never expires.
    pub(crate) async fn server_key(&self, scopes: &[&str]) -> AppServer {
        self.server_key_until(scopes, None).await
    }

    pub(crate) async fn server_key_until(
        &self,
        scopes: &[&str],
        expires_at: Option<Time>,
    ) -> AppServer {
        let name = TokenName::parse("shop").expect("it is a name");
        let scopes = KeyScopes::parse(scopes.iter().copied()).expect("they are scopes");
        let cx = self.clock().cx();
        let made = self.write(move |tx| server_keys::create(tx, &cx, &name, scopes, expires_at));
        let (id, key) = made.await;
        AppServer { id, key, client: self.client() }
    }
}
