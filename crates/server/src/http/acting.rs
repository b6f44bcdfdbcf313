//! Acting: a call of /v1 that the app's own server makes for a user, with a server key and the
//! header `Postroom-User`. And the condition that a call is that of a certain user.

use std::sync::Arc;

use axum::http::header::{HeaderMap, HeaderName};
use axum::http::request::Parts;
use domain::server_keys::KeyScope;
use domain::users::Standing;
use domain::{Cx, UserId, UserRef, audit};
use percent_encoding::percent_decode_str;

use super::code::Code;
use super::{Error, paths, server_key};
use crate::http::App;

const USER: HeaderName = HeaderName::from_static("postroom-user");
const PRESENT: HeaderName = HeaderName::from_static("postroom-present");
const IF_USER: HeaderName = HeaderName::from_static("postroom-if-user");

/// Whether the request is one for a user, as only a server key makes it.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    headers.contains_key(USER)
}

/// The user for whom a server key makes a call, and the call as the audit log names it. `may` says
/// whether a key can make this call at all.
pub(super) async fn user(
    app: &App,
    cx: &Cx,
    parts: &Parts,
    sent: &[u8],
    may: bool,
) -> Result<(UserId, Arc<audit::Call>), Error> {
    let call = server_key::authenticate(app, cx, parts, sent).await?;
    if !may || !paths::is_v1(parts.uri.path()) {
        return Err(not_by_key());
    }
    let named = one(&parts.headers, &USER)?.ok_or_else(|| {
        let detail = "a server key acts for a user: name them in the header Postroom-User";
        Error::new(Code::UserRequired, detail)
    })?;
    server_key::check_scope(&call.key, KeyScope::Act)?;
    let present = match one(&parts.headers, &PRESENT)? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_other) => {
            let detail = "Postroom-Present: it must be true or false";
            return Err(Error::new(Code::BadRequest, detail));
        }
    };
    let named = percent_decode_str(named).decode_utf8().ok();
    let found = match named.and_then(|named| UserRef::parse(&named).ok()) {
        Some(named) => app.actings.find(app.db.of(call.key.id), cx, named).await?,
        None => None,
    };
    let user = match found {
        Some((user, Standing::Active)) => user,
        Some((_, Standing::Deactivated)) => {
            let detail = "the user of Postroom-User is deactivated";
            return Err(Error::new(Code::UserDeactivated, detail));
        }
        Some((_, Standing::System)) => {
            return Err(Error::new(Code::SystemUser, "nobody acts as a system user"));
        }
        None => {
            let detail = "there is no such user as Postroom-User names";
            return Err(Error::new(Code::UserUnknown, detail));
        }
    };
    if present {
        app.actings.seen(app.db.of(user), cx, user);
    }
    Ok((user, Arc::new(call)))
}

/// Refuses the header `Postroom-User` of a caller who is a user themselves.
pub(super) fn refuse(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(USER) {
        let detail = "only a server key may send Postroom-User";
        return Err(Error::new(Code::ActNotAllowed, detail));
    }
    Ok(())
}

/// Refuses a call that was meant to be another user's: somebody else may have logged in with the
/// browser since the page was made. `None` is somebody who has no account yet.
pub(super) fn confirm(headers: &HeaderMap, user: impl Into<Option<UserId>>) -> Result<(), Error> {
    let Some(meant) = one(headers, &IF_USER)? else { return Ok(()) };
    match meant.parse().map(UserId::new) {
        Ok(Some(meant)) if user.into() == Some(meant) => Ok(()),
        Ok(_other) => {
            let detail = "the call is that of another user than Postroom-If-User names";
            Err(Error::new(Code::AnotherUser, detail))
        }
        Err(_) => Err(Error::new(Code::BadRequest, "Postroom-If-User: it must be a user's id")),
    }
}

/// The error of a call that is the user's own.
pub(super) fn not_by_key() -> Error {
    Error::new(Code::NotByKey, "a server key cannot make this call")
}

/// The text of a header that may be sent once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let detail = || format!("{name}: send it once, with other than visible ASCII percent-encoded");
    text.map(Some).ok_or_else(|| Error::new(Code::BadRequest, detail()))
}
