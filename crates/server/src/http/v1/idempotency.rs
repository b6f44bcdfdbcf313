//! Idempotency keys: the response to the first request is stored in the same transaction as its
//! effect, and replayed to every retry.
//!
//! Secrets do not reach the disk: a secret in a response is derived from the server's key and a
//! stored number, so it can be derived again. Nor does a hash of the body, by which a password
//! could be guessed.

use std::sync::PoisonError;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use db::Tx;
use domain::users::StoredPassword;
use domain::{Cx, UserId, idempotency};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::client::Device;
use crate::http::code::Code;
use crate::http::{App, Error, login};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY_CHARS: usize = 255;
/// What a key looks like, quoted or not.
pub(super) const PATTERN: &str = r#"^(?:[!#-~]{1,255}|"[!#-~]{1,255}")$"#;

/// The `Idempotency-Key`, quoted as in RFC 9651 or not.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if values.next().is_some() || !visible || !(1..=MAX_KEY_CHARS).contains(&key.len()) {
        let detail =
            "Idempotency-Key: send one, with 1 to 255 visible characters and no quotes among them";
        return Err(Error::new(Code::BadRequest, detail));
    }
    Ok(Some(key.to_owned()))
}

/// A response that can be stored: a success, without secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredResponse {
    status: u16,
    headers: Vec<(String, String)>,
    /// JSON, or nothing.
    body: String,
}

impl StoredResponse {
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let body = serde_json::to_string(value).expect("a response is JSON");
        Self { status: status.as_u16(), headers: vec![], body }
    }

    pub(super) fn no_content() -> Self {
        let status = StatusCode::NO_CONTENT.as_u16();
        Self { status, headers: vec![], body: String::new() }
    }

    /// Adds a header, which is stored as well.
    pub(super) fn header(mut self, name: &HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name.as_str().to_owned(), value.into()));
        self
    }
}

/// The response to a request, the first one or a replay of it.
pub(super) struct Outcome {
    response: StoredResponse,
    secret: [u8; 32],
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let StoredResponse { status, headers, body } = self.response;
        let mut response = Response::builder().status(status);
        if !body.is_empty() {
            response = response.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response.body(body.into()).expect("it was made from a valid response")
    }
}

impl Outcome {
    /// Whether the request was done before.
    pub(super) fn is_replay(&self) -> bool {
        self.response.headers.iter().any(|(name, _)| name == REPLAYED.as_str())
    }

    /// The id of what the request created, by its `Location`; `None` for a replay.
    pub(super) fn created(&self) -> Option<i64> {
        let mut headers = self.response.headers.iter();
        let (_, path) =
            headers.find(|(name, _)| name == LOCATION.as_str()).filter(|_| !self.is_replay())?;
        path.rsplit('/').next()?.parse().ok()
    }

    /// Adds what must not be stored: `fill` puts it into the value, from the request's secret.
    /// Fails if another version of the server stored the response, with other fields.
    pub(super) fn reveal<T: Serialize + DeserializeOwned>(
        mut self,
        fill: impl FnOnce(&mut T, &[u8; 32]),
    ) -> Result<Self, Error> {
        let mut value = serde_json::from_str(&self.response.body).map_err(unreadable)?;
        fill(&mut value, &self.secret);
        self.response.body = serde_json::to_string(&value).map_err(unreadable)?;
        Ok(self)
    }
}

fn unreadable(_cause: serde_json::Error) -> Error {
    Error::new(Code::Internal, "the stored response cannot be replayed")
}

/// A POST and its key. Without a key, each request is a new one.
pub(super) struct KeyedRequest {
    key: Option<String>,
    route: String,
    body: Bytes,
}

impl KeyedRequest {
    pub(super) fn new(key: Option<String>, path: &str, body: Bytes) -> Self {
        Self { key, route: format!("POST {path}"), body }
    }

    /// Does a request in one transaction, or replays the stored response. `owner` is the caller, if
    /// logged in. `f` gets a secret that nobody can guess and that must not be in the response;
    /// [`Outcome::reveal`] gets it again.
    ///
    /// # Errors
    /// What `f` returned; or that the key is in use, or belongs to another request.
    pub(super) async fn run<F>(
        &self,
        app: &App,
        owner: Option<UserId>,
        f: F,
    ) -> Result<Outcome, Error>
    where
        F: FnMut(&mut Tx<'_>, &Cx, &[u8; 32]) -> domain::Result<StoredResponse> + Send + 'static,
    {
        self.run_after(app, owner, async { Ok(f) }).await
    }

    /// The same as [`run`](Self::run) for a user who authenticates with a name and a password.
    pub(super) async fn run_with_password<F>(
        &self,
        app: &App,
        device: &Device,
        (username, password): (&str, String),
        mut f: F,
    ) -> Result<Outcome, Error>
    where
        F: FnMut(&mut Tx<'_>, &Cx, &StoredPassword, &[u8; 32]) -> domain::Result<StoredResponse>
            + Send
            + 'static,
    {
        // A replay shows that the password was right, so the look-up counts as an attempt.
        let attempt = login::begin(app, &app.clock.cx(), username, device).await?;
        let mut user = None;
        let outcome = self.run_after(app, None, async {
            let credentials = attempt.check(app, password).await?;
            user = Some(credentials.user);
            let attempt = attempt.clone();
            Ok(move |tx: &mut Tx<'_>, cx: &Cx, secret: &[u8; 32]| {
                let response = f(tx, cx, &credentials, secret)?;
                attempt.forgive(tx)?;
                Ok(response)
            })
        });
        let outcome = outcome.await?;
        match user {
            Some(user) => attempt.succeeded(app, user),
            None => app.db.write(move |tx| attempt.forgive(tx)).await?,
        }
        Ok(outcome)
    }

    /// The same as [`run`](Self::run), with slow work before the transaction that a replay skips.
    pub(super) async fn run_after<F>(
        &self,
        app: &App,
        owner: Option<UserId>,
        prepare: impl Future<Output = Result<F, Error>> + Send,
    ) -> Result<Outcome, Error>
    where
        F: FnMut(&mut Tx<'_>, &Cx, &[u8; 32]) -> domain::Result<StoredResponse> + Send + 'static,
    {
        let cx = app.clock.cx();
        let Some(key) = self.sign(app, owner) else {
            let (mut f, secret) = (prepare.await?, cx.random());
            let response = app.db.write(move |tx| f(tx, &cx, &secret)).await?;
            return Ok(Outcome { response, secret });
        };
        let request = key.request;
        if let Some(stored) = app.db.read(move |tx| idempotency::find(tx, &cx, &request)).await? {
            // A visible row may not have reached the standby yet if the first request was cut off
            // while it waited for that. A commit of our own waits for it.
            app.db.write(move |tx| idempotency::claim(tx, &request)).await?;
            return key.replay(app, &stored);
        }
        let nonce = cx.random();
        let secret = key.secret(app, &nonce);
        let in_flight = InFlight::begin(app, key.id)?;
        let mut f = prepare.await?;
        let done = app.db.write(move |tx| {
            idempotency::claim(tx, &request)?;
            if let Some(stored) = idempotency::find(tx, &cx, &request)? {
                return Ok::<_, domain::Error>(Err(stored));
            }
            let response = f(tx, &cx, &secret)?;
            let bytes = serde_json::to_vec(&response).expect("texts are JSON");
            idempotency::store(tx, &cx, &request, &nonce, &bytes)?;
            Ok(Ok(response))
        });
        let done = done.await?;
        drop(in_flight);
        match done {
            Ok(response) => Ok(Outcome { response, secret }),
            Err(stored) => key.replay(app, &stored),
        }
    }

    fn sign(&self, app: &App, owner: Option<UserId>) -> Option<RequestKey> {
        let key = self.key.as_ref()?;
        let user = owner.map_or(0, UserId::get).to_be_bytes();
        let id = app.idempotency.sign(b"key", &[&user, self.route.as_bytes(), key.as_bytes()]);
        let body = app.idempotency.sign(b"body", &[&self.body]);
        let request = idempotency::KeyedRequest::new(owner, &self.route, key, &body);
        Some(RequestKey { request, id, body })
    }
}

/// A request as the stored responses know it, and the signatures that its secret is derived from.
#[derive(Clone, Copy)]
struct RequestKey {
    request: idempotency::KeyedRequest,
    id: [u8; 32],
    body: [u8; 32],
}

impl RequestKey {
    fn secret(&self, app: &App, nonce: &[u8; 16]) -> [u8; 32] {
        app.idempotency.sign(b"postroom kept secret", &[&self.id, &self.body, nonce])
    }

    fn replay(&self, app: &App, stored: &idempotency::StoredResponse) -> Result<Outcome, Error> {
        let mut response: StoredResponse =
            serde_json::from_slice(&stored.response).map_err(unreadable)?;
        // What was left of the limits then is not what is left now.
        response.headers.retain(|(name, _)| !name.starts_with("ratelimit"));
        let response = response.header(&REPLAYED, "true");
        Ok(Outcome { response, secret: self.secret(app, &stored.nonce) })
    }
}

/// A request in flight on this node, until dropped.
struct InFlight {
    app: App,
    id: [u8; 32],
}

impl InFlight {
    fn begin(app: &App, id: [u8; 32]) -> Result<Self, Error> {
        let in_flight = app.idempotency.in_flight.lock();
        if !in_flight.unwrap_or_else(PoisonError::into_inner).insert(id) {
            let detail = "the first request with this Idempotency-Key is still in progress";
            return Err(Error::new(Code::RequestInProgress, detail).retry_after(1));
        }
        Ok(Self { app: App::clone(app), id })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let in_flight = self.app.idempotency.in_flight.lock();
        in_flight.unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_quoted_or_not_and_has_a_length() {
        let key = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, value.parse().unwrap());
            }
            key(&headers).ok()
        };
        let long = "k".repeat(255);
        assert_eq!(key(&[]), Some(None));
        assert_eq!(key(&["a-b"]), Some(Some("a-b".to_owned())));
        assert_eq!(key(&["\"a-b\""]), Some(Some("a-b".to_owned())));
        assert_eq!(key(&[&format!("\"{long}\"")]), Some(Some(long.clone())));
        for wrong in ["", "\"\"", "\"", "\"a", "a b", "ä", &format!("{long}k")] {
            assert_eq!(key(&[wrong]), None, "{wrong}");
        }
        assert_eq!(key(&["a", "a"]), None);
    }
}
