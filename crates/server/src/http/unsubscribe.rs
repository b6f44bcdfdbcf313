//! `/unsubscribe`: ends reminders by e-mail, for anyone who has the link of one.
//!
//! Mail programs and providers post to it without a cookie, an `Origin` or a session (RFC 8058):
//! the token is enough. Only a POST has an effect, because mail scanners follow links.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::users;

use super::Error;
use super::client::Device;
use crate::email::template::{self, escape};
use crate::http::App;

/// The page has a form and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

const FORM: &str = r#"<p>Do you want to stop the e-mails that remind you of unread messages?</p>
<form method="post" action="/unsubscribe?token={{token}}"><button>Unsubscribe</button></form>"#;

/// `GET /unsubscribe`: a page with a button. It neither reads nor changes the database.
pub(super) async fn form(RawQuery(query): RawQuery) -> Response {
    let Some(token) = token(query.as_deref()) else { return unknown() };
    let form = template::page(FORM, &[("token", escape(token))]);
    page(StatusCode::OK, "Reminders", form)
}

/// `POST /unsubscribe`: switches reminders off. It can be repeated.
pub(super) async fn submit(
    State(app): State<App>,
    device: Device,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let Some(user) = token(query.as_deref()).and_then(|token| app.links.user(token)) else {
        return Ok(unknown());
    };
    let cx = app.clock.cx();
    app.db.of(device.address).write(move |tx| users::set_reminders(tx, &cx, user, false)).await?;
    tracing::info!(client = %device.address, user = user.get(), "unsubscribed from reminders");
    let text = "<p>You will not get any more e-mails about unread messages.</p>";
    Ok(page(StatusCode::OK, "Unsubscribed", text.to_owned()))
}

/// The token of the query string, if it has the form of one.
fn token(query: Option<&str>) -> Option<&str> {
    let mut pairs = query.unwrap_or_default().split('&');
    let token = pairs.find_map(|pair| pair.strip_prefix("token="))?;
    let is_base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    (!token.is_empty() && token.len() <= 64 && token.bytes().all(is_base64)).then_some(token)
}

fn unknown() -> Response {
    let text = "<p>This link is not valid; perhaps it was cut short. Nothing has been changed.</p>";
    page(StatusCode::NOT_FOUND, "Invalid link", text.to_owned())
}

fn page(status: StatusCode, title: &str, content: String) -> Response {
    let html = include_str!("unsubscribe.html");
    let html = template::page(html, &[("title", escape(title)), ("content", content)]);
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    (status, headers, html).into_response()
}
