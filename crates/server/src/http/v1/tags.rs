//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13).

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use mail::{UserId, mailbox};

use crate::http::App;
use crate::http::Error;

/// What the client knows of a thing.
pub(super) struct Known {
    if_match: Option<Vec<String>>,
    if_none_match: Option<Vec<String>>,
}

impl FromRequestParts<App> for Known {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Error> {
        Ok(Self {
            if_match: tags(&parts.headers, &IF_MATCH),
            if_none_match: tags(&parts.headers, &IF_NONE_MATCH),
        })
    }
}

/// The tags of a header, each as it was written; `*` is one too.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    if lines.is_empty() {
        return None;
    }
    let lines = lines.iter().filter_map(|line| line.to_str().ok());
    // No tag of ours has a comma in it.
    Some(lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().to_owned()).collect())
}

impl Known {
    /// Whether a thing with this tag may be changed: a weak tag never is the same.
    pub(super) fn allows(&self, tag: &str) -> bool {
        self.if_match
            .as_ref()
            .is_none_or(|known| known.iter().any(|known| known == "*" || *known == quoted(tag)))
    }

    /// The answer with this tag, or only that nothing is new.
    pub(super) fn answer(&self, tag: &str, show: impl FnOnce() -> Response) -> Response {
        let tag = quoted(tag);
        let known = self.knows(&tag);
        tagged(tag, if known { StatusCode::NOT_MODIFIED.into_response() } else { show() })
    }

    fn knows(&self, tag: &str) -> bool {
        let same = |known: &String| known == "*" || known.trim_start_matches("W/") == tag;
        self.if_none_match.as_ref().is_some_and(|known| known.iter().any(same))
    }

    /// The answer that nothing is new, where the mailbox still is in a state that the client has:
    /// one look at its counter.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub(super) async fn unmoved(
        &self,
        app: &App,
        owner: UserId,
    ) -> Result<Option<Response>, mail::Error> {
        if self.if_none_match.is_none() {
            return Ok(None);
        }
        let counts = app.db.read(move |tx| mailbox::unread_counts(tx, owner)).await?;
        let tag = quoted(&counts.state.to_string());
        let known = self.knows(&tag);
        Ok(known.then(|| tagged(weak(&tag), StatusCode::NOT_MODIFIED.into_response())))
    }
}

/// A page of a list; the first has the state of the mailbox as its tag. It is weak, for the names
/// of others may change without it.
pub(super) fn of_list(state: Option<i64>, list: impl IntoResponse) -> Response {
    let list = list.into_response();
    match state {
        Some(state) => tagged(weak(&quoted(&state.to_string())), list),
        None => list,
    }
}

fn weak(tag: &str) -> String {
    format!("W/{tag}")
}

fn tagged(tag: String, mut response: Response) -> Response {
    let tag = HeaderValue::try_from(tag).expect("a tag is letters and digits");
    response.headers_mut().insert(ETAG, tag);
    response
}

/// A tag as headers write it.
pub(super) fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}
