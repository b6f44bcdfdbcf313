//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13).
//!
//! Not the crate `headers`: it would save a dozen lines that split a list, and bring four crates,
//! among them an older `digest`.

use axum::extract::{FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::code::Code;
use crate::http::{App, Error};

/// The tags of these headers, each as it was sent; `*` is one too.
pub(super) struct Preconditions {
    if_match: Option<Vec<String>>,
    if_none_match: Option<Vec<String>>,
}

impl FromRequestParts<App> for Preconditions {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Error> {
        let if_match = tags(&parts.headers, &IF_MATCH);
        // What nobody has taken is refused, see `confirm_none`.
        parts.headers.remove(IF_MATCH);
        Ok(Self { if_match, if_none_match: tags(&parts.headers, &IF_NONE_MATCH) })
    }
}

/// Refuses conditions that this change would not obey.
pub(super) fn confirm_none(headers: &HeaderMap) -> Result<(), Error> {
    let condition = [("If-Match", IF_MATCH), ("If-None-Match", IF_NONE_MATCH)];
    match condition.into_iter().find(|(_, header)| headers.contains_key(header)) {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("{name}: this call does not take it, so nothing was done");
            Err(Error::new(Code::BadRequest, detail))
        }
    }
}

/// For operations that have neither a body nor conditions.
pub(super) async fn refuse(request: Request, next: Next) -> Result<Response, Error> {
    confirm_none(request.headers())?;
    Ok(next.run(request).await)
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    headers.get(name)?;
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    // Our tags have no commas.
    Some(lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().to_owned()).collect())
}

impl Preconditions {
    /// Whether a resource with this tag may be changed. Names of others that have changed do not
    /// matter, only the state in front of them.
    pub(super) fn allows(&self, tag: &str) -> bool {
        self.allows_state(state(tag))
    }

    /// Whether a change depends on what the caller has seen.
    pub(super) fn has_if_match(&self) -> bool {
        self.if_match.is_some()
    }

    /// Whether a resource in this state may be changed, whatever the names in it: of a tag, the
    /// part in front of the last `-`.
    pub(super) fn allows_state(&self, state: &str) -> bool {
        let same = |known: &String| {
            let tag = given(known).and_then(|tag| tag.rsplit_once('-'));
            known == "*" || tag.is_some_and(|(known, _names)| known == state)
        };
        self.if_match.as_ref().is_none_or(|known| known.iter().any(same))
    }

    fn knows(&self, tag: &str) -> bool {
        let same = |known: &String| known == "*" || given(known) == Some(tag);
        self.if_none_match.as_ref().is_some_and(|known| known.iter().any(same))
    }

    /// The response with this tag, or 304 if the client has it.
    pub(super) fn answer(&self, tag: &str, show: impl IntoResponse) -> Response {
        let tag_header = [(ETAG, quoted(tag))];
        if self.knows(tag) {
            (StatusCode::NOT_MODIFIED, tag_header).into_response()
        } else {
            (tag_header, show).into_response()
        }
    }
}

/// The tag that a client was given, as it was before a proxy compressed the response: some make it
/// weak then (nginx, `HAProxy`), others add the coding to it (Apache, Caddy). By RFC 9110 a weak
/// tag matches no `If-Match`, but ours says what the resource holds, however that is written.
fn given(known: &str) -> Option<&str> {
    let quoted = known.strip_prefix("W/").unwrap_or(known);
    let tag = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let coding = |coding: &&str| tag.strip_suffix(*coding);
    Some(["-gzip", "-br", "-zstd", "-deflate"].iter().find_map(coding).unwrap_or(tag))
}

/// The part of a tag before the hash of the names, see [`domain::users::names_tag`].
fn state(tag: &str) -> &str {
    tag.rsplit_once('-').map_or(tag, |(state, _names)| state)
}

pub(super) fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}
