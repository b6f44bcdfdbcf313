//! `/docs`: the API as pages to read, and an inbox as an example. They name no other host, and hold
//! no code of others.

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use axum::response::IntoResponse;

use super::code::Code;

/// Pages run their own script and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = concat!(
    include_str!("docs/schemas.js"),
    include_str!("docs/elements.js"),
    include_str!("docs/calls.js"),
    include_str!("docs/page.js"),
);

/// What to do about each error: the last column of its table.
const ERRORS: &str = include_str!("../../../../docs/errors.md");

/// `GET /docs`: all calls. The script makes the page from `/openapi.json`.
pub(super) async fn calls() -> impl IntoResponse {
    page(include_str!("docs/page.html"))
}

/// `GET /docs/errors`: where the `type` of a problem leads.
pub(super) async fn errors() -> impl IntoResponse {
    let codes: String = Code::ALL.iter().copied().map(explain).collect();
    page(include_str!("docs/errors.html").replace("<!-- the codes -->", &codes))
}

/// `GET /docs/style.css`.
pub(super) async fn style() -> impl IntoResponse {
    css(include_str!("docs/style.css"))
}

/// `GET /docs/script.js`.
pub(super) async fn script() -> impl IntoResponse {
    javascript(SCRIPT)
}

/// `GET /docs/inbox`: the example of `examples/inbox`, on the server whose API it calls.
pub(super) async fn inbox() -> impl IntoResponse {
    page(include_str!("../../../../examples/inbox/index.html"))
}

/// `GET /docs/inbox.css`.
pub(super) async fn inbox_style() -> impl IntoResponse {
    css(include_str!("../../../../examples/inbox/style.css"))
}

/// `GET /docs/inbox.js`.
pub(super) async fn inbox_script() -> impl IntoResponse {
    javascript(include_str!("../../../../examples/inbox/inbox.js"))
}

/// `GET /docs/postroom.js`: the client for browsers.
pub(super) async fn client() -> impl IntoResponse {
    javascript(include_str!("../../../../clients/js/postroom.js"))
}

fn css(text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], text)
}

fn javascript(text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], text)
}

fn page(html: impl Into<String>) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 2] =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, html.into())
}

/// A part of the page, under the anchor that the `type` of the problem names.
fn explain(code: Code) -> String {
    let facts = code.facts();
    let (slug, status) = (facts.slug, facts.status.as_u16());
    let (title, meaning) = (prose(facts.title), prose(facts.meaning));
    let start = format!("| `{slug}` |");
    let row = ERRORS.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
    let advice = prose(row.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim());
    format!(
        "<section class=\"problem\" id=\"{slug}\">\n\
         <h2><a href=\"#{slug}\">{title}</a></h2>\n\
         <p class=\"quiet\"><code>{slug}</code> · {status}</p>\n\
         <p>{meaning}</p>\n<p>{advice}</p>\n</section>\n"
    )
}

/// Text as HTML, in which `this` is code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| {
        let part = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        if at % 2 == 1 { format!("<code>{part}</code>") } else { part }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        assert_eq!(prose("a `b<c>` & d"), "a <code>b&lt;c&gt;</code> &amp; d");
    }
}
