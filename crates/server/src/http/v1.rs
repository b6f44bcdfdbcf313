//! /v1: every operation, with its route and its documentation.

mod batch;
mod blocks;
mod canonical;
mod changes;
mod conversations;
mod declare;
mod document;
mod events;
mod export;
mod extract;
mod field_types;
mod idempotency;
mod idempotency_keys;
mod json;
mod messages;
mod openapi30;
mod operation;
mod page;
mod preconditions;
mod prelude;
mod reader;
mod refs;
mod server;
mod sessions;
mod tokens;
mod users;
mod view;

use std::sync::LazyLock;

use axum::Router;
use serde_json::Value;

pub(crate) use idempotency_keys::Idempotency;

use crate::http::App;
use document::Document;
use operation::Api;

/// Adds all operations, in the order of the document.
fn add_operations(api: Api) -> Api {
    let parts = [
        messages::api,
        batch::api,
        changes::api,
        events::api,
        conversations::api,
        users::api,
        export::api,
        sessions::api,
        tokens::api,
        blocks::api,
        server::api,
    ];
    parts.into_iter().fold(api, |api, part| part(api))
}

pub(super) fn router() -> Router<App> {
    add_operations(Api::default()).router
}

/// The paths of the routes, with parameters as `{name}`.
pub(crate) fn paths() -> Vec<&'static str> {
    let mut paths = add_operations(Api::default()).paths;
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The OpenAPI document as it is served. It comes from the repository, because writing it would be
/// most of the time and memory of a start.
pub(crate) const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

/// The OpenAPI document, written from the operations, as `postroom openapi` prints it.
pub(crate) fn document() -> String {
    let api = add_operations(Api { document: Some(Document::default()), ..Api::default() });
    pretty(&api.document.map(Document::finish).unwrap_or_default())
}

/// The same for OpenAPI 3.0, made when it is first wanted.
pub(crate) static DOCUMENT_30: LazyLock<String> = LazyLock::new(|| {
    let document = serde_json::from_str(DOCUMENT).expect("the document is JSON");
    pretty(&openapi30::from_31(document))
});

fn pretty(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("a document is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_served_document_is_the_generated_one() {
        assert!(DOCUMENT == document(), "run `postroom openapi > docs/openapi.json`");
    }
}
