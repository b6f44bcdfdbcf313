//! Requests that are sent again: the first answer is kept, in the transaction of what the request
//! did, and given again.
//!
//! Secrets do not reach the disk: what an answer holds of them is derived from the server's key
//! and a number that is kept, so it can be made again. Neither does a hash of the body that
//! somebody could guess a password by.

use std::sync::PoisonError;

use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use db::Tx;
use mail::answers::{self, Request};
use mail::{Cx, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::App;
use crate::http::Error;
use crate::http::code::Code;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key.
const LONGEST: usize = 255;
/// What a key looks like, quoted or not.
pub(super) const PATTERN: &str = r#"^(?:[!#-~]{1,255}|"[!#-~]{1,255}")$"#;

/// The `Idempotency-Key` of a request; without it, the request is another one each time.
pub(super) struct Keyed {
    key: Option<String>,
    route: String,
}

impl FromRequestParts<App> for Keyed {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Error> {
        let route = format!("{} {}", Method::POST, parts.uri.path());
        Ok(Self { key: key(&parts.headers)?, route })
    }
}

/// The key, quoted as in RFC 9651 or not.
fn key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if values.next().is_some() || !visible || !(1..=LONGEST).contains(&key.len()) {
        let detail = "Idempotency-Key: it must be there once, with 1 to 255 visible characters, \
                      no quotes among them";
        return Err(Error::new(Code::BadRequest, detail));
    }
    Ok(Some(key.to_owned()))
}

/// An answer that can be kept: a success.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    /// JSON, or nothing.
    body: String,
}

impl Reply {
    /// An answer with this value.
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let body = serde_json::to_string(value).expect("an answer is JSON");
        Self { status: status.as_u16(), headers: vec![], body }
    }

    /// An answer that only says that it was done.
    pub(super) fn done() -> Self {
        let status = StatusCode::NO_CONTENT.as_u16();
        Self { status, headers: vec![], body: String::new() }
    }

    /// With a header, which is kept as well.
    pub(super) fn header(mut self, name: &HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name.as_str().to_owned(), value.into()));
        self
    }

    /// With the path of what was made.
    pub(super) fn location(self, path: impl Into<String>) -> Self {
        self.header(&LOCATION, path)
    }

    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let is_json = !self.body.is_empty();
        let mut response = (status, self.body).into_response();
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        if is_json {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value.try_into()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// What came of a request: its answer, the first one or the same again.
pub(super) struct Done {
    reply: Reply,
    secret: [u8; 32],
    replayed: bool,
}

impl Done {
    /// The answer as it is sent.
    pub(super) fn respond(self) -> Response {
        let mut response = self.reply.into_response();
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }

    /// The answer with what must not be kept: `fill` puts it into the value, from the secret that
    /// [`Once::finish`] was given.
    ///
    /// # Errors
    /// Where the answer was kept by another version of the server, with other fields.
    pub(super) fn reveal<T: Serialize + DeserializeOwned>(
        mut self,
        fill: impl FnOnce(&mut T, &[u8; 32]),
    ) -> Result<Response, Error> {
        let unknown = |_cause| Error::new(Code::Internal, "the answer cannot be given again");
        let mut value = serde_json::from_str(&self.reply.body).map_err(unknown)?;
        fill(&mut value, &self.secret);
        self.reply.body = serde_json::to_string(&value).map_err(unknown)?;
        Ok(self.respond())
    }
}

/// How a request begins.
pub(super) enum Begun {
    /// It was done before; this is its answer.
    Before(Done),
    /// It is to be done.
    Now(Once),
}

impl Keyed {
    /// Does a request in one transaction, or gives the answer that was given before. `owner` is
    /// the caller, if he is logged in.
    ///
    /// # Errors
    /// What `f` returned; or that the key is in use, or was for another body.
    pub(super) async fn run<F>(
        &self,
        app: &App,
        owner: Option<UserId>,
        body: &[u8],
        mut f: F,
    ) -> Result<Response, Error>
    where
        F: FnMut(&mut Tx<'_>, &Cx) -> mail::Result<Reply> + Send + 'static,
    {
        match self.begin(app, owner, body).await? {
            Begun::Before(done) => Ok(done.respond()),
            Begun::Now(once) => {
                let done = once.finish(app, move |tx, cx, _secret| f(tx, cx)).await?;
                Ok(done.respond())
            }
        }
    }

    /// Begins a request that has slow work before its transaction.
    ///
    /// # Errors
    /// That the key is in use, or was for another body.
    pub(super) async fn begin(
        &self,
        app: &App,
        owner: Option<UserId>,
        body: &[u8],
    ) -> Result<Begun, Error> {
        let cx = app.clock.cx();
        let nonce = cx.random();
        let Some(key) = &self.key else {
            return Ok(Begun::Now(Once { cx, nonce, keyed: None, secret: cx.random() }));
        };
        let user = owner.map_or(0, UserId::get).to_be_bytes();
        let id = app.answers.sign(b"key", &[&user, self.route.as_bytes(), key.as_bytes()]);
        let body = app.answers.sign(b"body", &[body]);
        let keyed = Found { request: Request::new(owner, &self.route, key, &body), id, body };
        let request = keyed.request;
        if let Some(kept) = app.db.read(move |tx| answers::find(tx, &cx, &request)).await? {
            // What can be seen on a server need not be on its standby: nobody was told of it, if
            // the wait for that was cut short. A commit of our own is only over when both are.
            app.db.write(move |tx| answers::claim(tx, &request)).await?;
            return Ok(Begun::Before(keyed.again(app, &kept)?));
        }
        let secret = keyed.secret(app, &nonce);
        let running = Running::begin(app, id)?;
        Ok(Begun::Now(Once { cx, nonce, keyed: Some((keyed, running)), secret }))
    }
}

/// What a key was found to be.
#[derive(Clone, Copy)]
struct Found {
    request: Request,
    id: [u8; 32],
    body: [u8; 32],
}

impl Found {
    fn secret(&self, app: &App, nonce: &[u8; 16]) -> [u8; 32] {
        app.answers.sign(b"postroom kept secret", &[&self.id, &self.body, nonce])
    }

    fn again(&self, app: &App, kept: &answers::Kept) -> Result<Done, Error> {
        let unknown = |_cause| Error::new(Code::Internal, "the answer cannot be given again");
        let mut reply: Reply = serde_json::from_slice(&kept.answer).map_err(unknown)?;
        // What was left of the limits then is not what is left now.
        reply.headers.retain(|(name, _)| !name.starts_with("ratelimit"));
        Ok(Done { reply, secret: self.secret(app, &kept.nonce), replayed: true })
    }
}

/// A request that is to be done once.
pub(super) struct Once {
    cx: Cx,
    nonce: [u8; 16],
    keyed: Option<(Found, Running)>,
    secret: [u8; 32],
}

impl Once {
    /// Does it, and keeps the answer in the same transaction. `f` gets a secret that nobody can
    /// guess and that must not be in its reply; [`Done::reveal`] gets it again.
    ///
    /// # Errors
    /// What `f` returned; nothing is kept then.
    pub(super) async fn finish<F>(self, app: &App, mut f: F) -> Result<Done, Error>
    where
        F: FnMut(&mut Tx<'_>, &Cx, &[u8; 32]) -> mail::Result<Reply> + Send + 'static,
    {
        let Self { cx, nonce, keyed, secret } = self;
        let Some((found, running)) = keyed else {
            let reply = app.db.write(move |tx| f(tx, &cx, &secret)).await?;
            return Ok(Done { reply, secret, replayed: false });
        };
        let done = app.db.write(move |tx| {
            answers::claim(tx, &found.request)?;
            if let Some(kept) = answers::find(tx, &cx, &found.request)? {
                return Ok::<_, mail::Error>(Err(kept));
            }
            let reply = f(tx, &cx, &secret)?;
            let kept = serde_json::to_vec(&reply).expect("texts are JSON");
            answers::keep(tx, &cx, &found.request, &nonce, &kept)?;
            Ok(Ok(reply))
        });
        let done = done.await?;
        drop(running);
        match done {
            Ok(reply) => Ok(Done { reply, secret, replayed: false }),
            Err(kept) => found.again(app, &kept),
        }
    }
}

/// A request that runs; when it is dropped, it does no more.
struct Running {
    app: App,
    id: [u8; 32],
}

impl Running {
    /// # Errors
    /// Where the same request runs already.
    fn begin(app: &App, id: [u8; 32]) -> Result<Self, Error> {
        let mut running = app.answers.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.insert(id) {
            let detail = "the first request with this Idempotency-Key has not been answered yet";
            return Err(Error::new(Code::RequestInProgress, detail).retry_after(1));
        }
        Ok(Self { app: App::clone(app), id })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let running = self.app.answers.running.lock();
        running.unwrap_or_else(PoisonError::into_inner).remove(&self.id);
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
