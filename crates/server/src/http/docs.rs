//! `/docs`: the API as pages, and an inbox as an example. They load nothing from other hosts.

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};

use super::code::Code;
use crate::email::template::{self, escape};
use crate::http::App;

/// Pages run their own script and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Makes the page of the calls from `/openapi.json`.
const SCRIPT: &str = concat!(
    include_str!("docs/schemas.js"),
    include_str!("docs/elements.js"),
    include_str!("docs/calls.js"),
    include_str!("docs/page.js"),
);

/// The last column of its table says what to do about each error.
const ERRORS: &str = include_str!("../../../../docs/errors.md");

static ERROR_PAGE: LazyLock<String> = LazyLock::new(|| {
    let codes = Code::ALL.iter().copied().map(explain).collect();
    template::page(include_str!("docs/errors.html"), &[("codes", codes)])
});

pub(super) fn routes() -> [(&'static str, MethodRouter<App>); 8] {
    [
        ("/docs", get(async || page(include_str!("docs/page.html")))),
        ("/docs/errors", get(async || page(&ERROR_PAGE))),
        ("/docs/style.css", css(include_str!("docs/style.css"))),
        ("/docs/script.js", javascript(SCRIPT)),
        ("/docs/inbox", get(async || page(include_str!("../../../../examples/inbox/index.html")))),
        ("/docs/inbox.css", css(include_str!("../../../../examples/inbox/style.css"))),
        ("/docs/inbox.js", javascript(include_str!("../../../../examples/inbox/inbox.js"))),
        ("/docs/postroom.js", javascript(include_str!("../../../../clients/js/postroom.js"))),
    ]
}

fn css(text: &'static str) -> MethodRouter<App> {
    get(([(CONTENT_TYPE, "text/css; charset=utf-8")], text))
}

fn javascript(text: &'static str) -> MethodRouter<App> {
    get(([(CONTENT_TYPE, "text/javascript; charset=utf-8")], text))
}

fn page(html: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)], html)
}

/// A section of the page of errors, under the anchor that the `type` of the problem names.
fn explain(code: Code) -> String {
    let facts = code.facts();
    let slug = facts.slug;
    let start = format!("| `{slug}` | {} |", facts.status.as_u16());
    let row = ERRORS.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
    let advice = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim();
    let values = [
        ("anchor", code.anchor()),
        ("slug", escape(slug)),
        ("status", facts.status.as_u16().to_string()),
        ("title", prose(facts.title)),
        ("meaning", prose(facts.meaning)),
        ("advice", prose(advice)),
    ];
    template::page(include_str!("docs/error.html"), &values)
}

/// Escapes text for HTML; what stands between backquotes becomes code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| {
        let part = escape(part);
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
