//! Idempotency keys: what the response to the first request is made of is stored in the same
//! transaction as its effect, and every retry gets that response again.
//!
//! What is stored holds no name, no text and no secret: names and texts are read again for a
//! replay, so that what was erased does not come back, and a secret in a response is derived from
//! the server's key and a stored number. Nor does a hash of the body reach the disk, by which a
//! password could be guessed.

mod steps;

use std::sync::PoisonError;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use db::{Of, Purpose, Tx};
use domain::idempotency::Holder;
use domain::users::StoredPassword;
use domain::{Cx, audit, idempotency};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::canonical;
use crate::http::by::{self, By};
use crate::http::client::Device;
use crate::http::code::Code;
use crate::http::login::{self, Claimant};
use crate::http::{App, Error};

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

/// What a request created, for the log: a part of its response that is not sent.
#[derive(Clone, Copy)]
pub(super) struct Created {
    pub(super) user: i64,
    pub(super) id: i64,
}

/// What the request created; `None` where the response is a replay.
pub(super) fn created(response: &Response) -> Option<Created> {
    let created = response.extensions().get::<Created>().copied();
    created.filter(|_| !is_replay(response))
}

pub(super) fn is_replay(response: &Response) -> bool {
    response.headers().contains_key(&REPLAYED)
}

/// When a stored response may be replayed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replay {
    AtOnce,
    /// After the request was checked again, as it has a password.
    Checked,
}

/// A POST and its key. Without a key, each request is a new one.
///
/// What is stored of a response is `K`: ids and times, and nothing that somebody wrote. `show`
/// makes the response of it, for the first request and for a retry. It returns `None` where there
/// is nothing left to show, because a session has ended or an account was erased; the request is
/// then a new one.
pub(super) struct KeyedRequest {
    key: Option<String>,
    route: String,
    /// The body, so that equal JSON values are equal texts.
    body: String,
    purpose: Purpose,
    /// Whether it holds the locks of many mailboxes.
    is_wide: bool,
}

impl KeyedRequest {
    pub(super) fn new(key: Option<String>, path: &str, body: &[u8]) -> Self {
        let body = if key.is_some() { canonical::json(body) } else { String::new() };
        Self { key, route: format!("POST {path}"), body, purpose: Purpose::Store, is_wide: false }
    }

    /// The same for a request that frees space.
    pub(super) fn freeing(self) -> Self {
        Self { purpose: Purpose::Free, ..self }
    }

    /// The same request, for what holds the locks of many mailboxes.
    pub(super) fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }

    fn db<'a>(&self, app: &'a App, by: By<'_>) -> Of<'a> {
        let db = app.db.of(by.owner());
        if self.is_wide { db.wide() } else { db }
    }

    /// Whether the caller sent an idempotency key.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Does a request in one transaction, or replays the stored response. `f` and `show` get a
    /// secret that nobody can guess, the same for a retry; it is not stored.
    ///
    /// # Errors
    /// What `f` returned; or that the key is in use, or belongs to another request.
    pub(super) fn run<K, F, S>(
        &self,
        app: &App,
        by: By<'_>,
        f: F,
        show: S,
    ) -> impl Future<Output = Result<Response, Error>> + Send
    where
        K: Serialize + DeserializeOwned + 'static,
        F: FnMut(&mut Tx<'_>, &Cx, &[u8; 32]) -> domain::Result<K> + Send + 'static,
        S: Show<K>,
    {
        self.run_after(app, by, async { Ok(f) }, show)
    }

    /// The same as [`run`](Self::run), with slow work before the transaction that a replay skips.
    pub(super) fn run_after<K, F, S>(
        &self,
        app: &App,
        by: By<'_>,
        prepare: impl Future<Output = Result<F, Error>> + Send,
        show: S,
    ) -> impl Future<Output = Result<Response, Error>> + Send
    where
        K: Serialize + DeserializeOwned + 'static,
        F: FnMut(&mut Tx<'_>, &Cx, &[u8; 32]) -> domain::Result<K> + Send + 'static,
        S: Show<K>,
    {
        self.process(app, by, Replay::AtOnce, prepare, show)
    }

    /// The same as [`run`](Self::run) for a user who authenticates with a name and a password. A
    /// retry has to have the right password too: it may have been changed since.
    pub(super) async fn run_with_password<K, F, S>(
        &self,
        app: &App,
        device: &Device,
        (username, password): (&str, String),
        mut f: F,
        mut show: S,
    ) -> Result<Response, Error>
    where
        K: Serialize + DeserializeOwned + 'static,
        F: FnMut(&mut Tx<'_>, &Cx, &StoredPassword, &[u8; 32]) -> domain::Result<K>
            + Send
            + 'static,
        S: Show<K>,
    {
        let claimant = Claimant::named(username);
        let counted = login::begin(app, &app.clock.cx(), claimant, device).await?;
        let (attempt, right) = (counted.attempt.clone(), counted.attempt.clone());
        let prepare = async {
            let credentials = counted.check(app, password).await?;
            Ok(move |tx: &mut Tx<'_>, cx: &Cx, secret: &[u8; 32]| f(tx, cx, &credentials, secret))
        };
        let show = move |tx: &mut Tx<'_>, cx: &Cx, kept: &K, secret: &[u8; 32]| {
            let shown = show(tx, cx, kept, secret)?;
            if shown.is_some() {
                right.let_in(tx, cx)?;
            }
            Ok(shown)
        };
        let done = self
            .process(app, By::Name(username, device.address), Replay::Checked, prepare, show)
            .await;
        let response = attempt.settle(app, done).await?;
        attempt.succeeded(app);
        Ok(response)
    }

    async fn process<K, F, S>(
        &self,
        app: &App,
        by: By<'_>,
        replay: Replay,
        prepare: impl Future<Output = Result<F, Error>> + Send,
        mut show: S,
    ) -> Result<Response, Error>
    where
        K: Serialize + DeserializeOwned + 'static,
        F: FnMut(&mut Tx<'_>, &Cx, &[u8; 32]) -> domain::Result<K> + Send + 'static,
        S: Show<K>,
    {
        let cx = app.clock.cx();
        let Some(key) = self.sign(app, by) else {
            let (mut f, secret) = (prepare.await?, cx.random());
            let acting = by.acting();
            let response = self.db(app, by).write_for(self.purpose, move |tx| {
                let kept = f(tx, &cx, &secret)?;
                by::record(tx, &cx, acting.as_ref())?;
                fresh(tx, &cx, &kept, &secret, &mut show)
            });
            return Ok(response.await?);
        };
        let (request, keys, mut again) = (key.request, App::clone(app), show.clone());
        let found = app.db.of(by.owner()).read(move |tx| {
            let stored = idempotency::find(tx, &cx, &request)?;
            stored
                .filter(|_| replay == Replay::AtOnce)
                .map_or(Ok(None), |stored| key.replay(tx, &cx, &keys, &stored, &mut again))
        });
        if let Some(response) = found.await? {
            // A visible row may not have reached the standby yet if the first request was cut off
            // while it waited for that. A commit of our own waits for it.
            let acting = by.acting();
            let claimed = self.db(app, by).write_for(self.purpose, move |tx| {
                idempotency::claim(tx, &request)?;
                by::record(tx, &cx, acting.as_ref())
            });
            claimed.await?;
            return Ok(response);
        }
        let nonce = cx.random();
        let secret = key.secret(app, &nonce);
        let in_flight = InFlight::begin(app, key.id)?;
        let (mut f, keys, acting) = (prepare.await?, App::clone(app), by.acting());
        let done = self.db(app, by).write_for(self.purpose, move |tx| {
            idempotency::claim(tx, &request)?;
            by::record(tx, &cx, acting.as_ref())?;
            if let Some(stored) = idempotency::find(tx, &cx, &request)? {
                if let Some(response) = key.replay(tx, &cx, &keys, &stored, &mut show)? {
                    return Ok(response);
                }
                idempotency::forget(tx, &request)?;
            }
            let kept = f(tx, &cx, &secret)?;
            let bytes = serde_json::to_vec(&kept).expect("ids and times are JSON");
            idempotency::store(tx, &cx, &request, &nonce, &bytes)?;
            fresh(tx, &cx, &kept, &secret, &mut show)
        });
        let response = done.await?;
        drop(in_flight);
        Ok(response)
    }

    /// Each key has idempotency keys of its own.
    fn route_by(&self, call: &audit::Call) -> String {
        format!("{} by server key {}", self.route, call.key.id.get())
    }

    fn sign(&self, app: &App, by: By<'_>) -> Option<RequestKey> {
        let key = self.key.as_ref()?;
        let sign = |purpose: &[u8], parts: &[&[u8]]| app.idempotency.sign(purpose, parts);
        let (holder, route) = match by {
            By::User(user, None) => (Holder::User(user), self.route.clone()),
            By::User(user, Some(call)) => (Holder::User(user), self.route_by(call)),
            By::Key(call) => (Holder::ServerKey(call.key.id.get()), self.route_by(call)),
            By::Name(name, _) => {
                // Only a keyed hash: the name may be erased while the response is stored.
                let name = sign(b"name", &[login::login_name(name).as_bytes()]);
                let route = format!("{} {}", self.route, URL_SAFE_NO_PAD.encode(name));
                (Holder::Name(name), route)
            }
        };
        let user = if let Holder::User(user) = holder { user.get() } else { 0 };
        let id = sign(b"key", &[&user.to_be_bytes(), route.as_bytes(), key.as_bytes()]);
        let body = sign(b"value", &[self.body.as_bytes()]);
        let request = idempotency::KeyedRequest::new(holder, &route, key, &body);
        Some(RequestKey { request, id, body })
    }
}

/// Makes the response from what is stored of it; see [`KeyedRequest`].
pub(super) trait Show<K>
where
    Self: FnMut(&mut Tx<'_>, &Cx, &K, &[u8; 32]) -> domain::Result<Option<Response>>
        + Clone
        + Send
        + 'static,
{
}

impl<K, S> Show<K> for S where
    S: FnMut(&mut Tx<'_>, &Cx, &K, &[u8; 32]) -> domain::Result<Option<Response>>
        + Clone
        + Send
        + 'static
{
}

/// The response to the first request. Where somebody has ended in between what it shows, nothing
/// was done, and the request can be repeated.
fn fresh<K>(
    tx: &mut Tx<'_>,
    cx: &Cx,
    kept: &K,
    secret: &[u8; 32],
    show: &mut impl Show<K>,
) -> domain::Result<Response> {
    show(tx, cx, kept, secret)?.ok_or(domain::Error::Db(db::Error::Busy))
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

    fn replay<K: DeserializeOwned>(
        &self,
        tx: &mut Tx<'_>,
        cx: &Cx,
        app: &App,
        stored: &idempotency::StoredResponse,
        show: &mut impl Show<K>,
    ) -> domain::Result<Option<Response>> {
        // Another version of the server may have stored other fields.
        let unreadable = |_| db::Error::Column { column: 2, expected: "what this version stores" };
        let kept = serde_json::from_slice(&stored.response).map_err(unreadable)?;
        let mut shown = show(tx, cx, &kept, &self.secret(app, &stored.nonce))?;
        if let Some(response) = &mut shown {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(shown)
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
