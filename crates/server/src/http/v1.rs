//! /v1: every operation, with its route and its documentation.

mod answers;
mod batch;
mod blocks;
mod changes;
mod conversations;
mod document;
mod events;
mod fields;
mod filter;
mod idempotency;
mod input;
mod messages;
mod operation;
mod page;
mod sessions;
mod tags;
mod tokens;
mod users;
mod view;

use axum::Router;

pub(crate) use answers::Answers;

use crate::http::App;
use operation::Api;

/// All operations, in the order of the documentation.
fn api() -> Api {
    let parts = [
        messages::api,
        batch::api,
        changes::api,
        events::api,
        conversations::api,
        users::api,
        sessions::api,
        tokens::api,
        blocks::api,
    ];
    parts.into_iter().fold(Api::default(), |api, part| part(api))
}

/// The routes.
pub(super) fn router() -> Router<App> {
    api().router
}

/// The paths of the routes, with `{}` around what differs.
pub(crate) fn paths() -> Vec<&'static str> {
    let mut paths: Vec<_> = api().operations.iter().map(|operation| operation.path).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The OpenAPI document, as it is served. It is the one of the tree: to make it is most of the
/// work of a start, and of its memory.
pub(crate) const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

/// The OpenAPI document, as the operations say it and `postroom openapi` prints it.
pub(crate) fn document() -> String {
    let document = document::of(&api().operations);
    let mut text = serde_json::to_string_pretty(&document).expect("a document is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_that_is_served_says_what_the_operations_say() {
        assert!(DOCUMENT == document(), "run `postroom openapi > docs/openapi.json`");
    }
}
