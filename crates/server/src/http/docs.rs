//! `/docs`: the API as pages to read. They name no other host, and hold no code of others.

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
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("docs/style.css"))
}

/// `GET /docs/script.js`.
pub(super) async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)
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
