//! `/unsubscribe`: the end of reminders by e-mail, for whoever has the link of one.
//!
//! A mail program, or the server of a mail provider, posts to it without a cookie, an `Origin` or a
//! login (RFC 8058): the token says all. Only a POST does something, for scanners of mail follow
//! links.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use mail::reminders;

use super::Error;
use crate::http::App;

/// The page has a form and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

/// `GET /unsubscribe`: a page with a button. It changes nothing, and looks nothing up.
pub(super) async fn ask(RawQuery(query): RawQuery) -> Response {
    let Some(token) = token(query.as_deref()) else { return unknown() };
    let form = format!(
        "<p>Do you want no more mails that remind you of unread messages?</p>\n\
         <form method=\"post\" action=\"/unsubscribe?token={token}\">\
         <button>No more reminders</button></form>"
    );
    page(StatusCode::OK, "Reminders", &form)
}

/// `POST /unsubscribe`: switches them off. It may be repeated.
pub(super) async fn act(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let Some(user) = token(query.as_deref()).and_then(|token| app.links.user(token)) else {
        return Ok(unknown());
    };
    let cx = app.clock.cx();
    app.db.write(move |tx| reminders::switch(tx, &cx, user, false)).await?;
    let text = "<p>You will get no more mails that remind you of unread messages.</p>";
    Ok(page(StatusCode::OK, "No more reminders", text))
}

/// The token of the query, if it could be one: letters that may stand in a page as they are.
fn token(query: Option<&str>) -> Option<&str> {
    let mut pairs = query.unwrap_or_default().split('&');
    let token = pairs.find_map(|pair| pair.strip_prefix("token="))?;
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    (!token.is_empty() && token.len() <= 64 && token.bytes().all(known)).then_some(token)
}

fn unknown() -> Response {
    let text = "<p>This is not a link of ours, or it was cut short. Nothing has changed.</p>";
    page(StatusCode::NOT_FOUND, "An unknown link", text)
}

fn page(status: StatusCode, title: &str, content: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"/docs/style.css\">\n</head>\n<body>\n\
         <main class=\"alone\">\n<h1>{title}</h1>\n{content}\n</main>\n</body>\n</html>\n"
    );
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    (status, headers, html).into_response()
}
