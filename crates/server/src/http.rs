//! The edge: every route on one screen. A handler extracts, makes one call, and answers.
//!
//! `serve` starts it and the command line prints its document; nothing else may use it.

mod app;
mod auth;
mod body;
mod client;
mod code;
mod cookies;
pub(crate) mod cors;
pub mod csrf;
mod docs;
mod edge;
mod error;
mod fields;
mod health;
mod login;
mod messages;
pub mod origin;
mod problem;
mod request_ids;
mod unsubscribe;
mod users;
pub(crate) mod v1;

use axum::Router;
use axum::http::header::ALLOW;
use axum::routing::{MethodRouter, delete, get, post};

pub use app::App;
pub(crate) use app::{Limits, Parts};
pub use client::Peer;
pub use edge::handle;
pub use error::Error;

/// Everything on the main address.
pub(crate) fn router(app: &App) -> Router {
    let router = Router::new()
        .route("/users/token", only("GET", get(users::token)))
        .route("/users/register", only("POST", post(users::register)))
        .route("/users/login", only("POST", post(users::login)))
        .route("/users/logout", only("POST", post(users::logout)))
        .route("/messages/write_message", only("POST", post(messages::write)))
        .route("/messages/messages_per_receiver", only("GET", get(messages::received)))
        .route("/messages/unread_per_receiver", only("GET", get(messages::unread)))
        .route("/messages/read_message", only("GET", get(messages::read)))
        .route("/messages/delete_message", only("DELETE", delete(messages::delete)))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(health::openapi))
        .route("/docs", get(docs::calls))
        .route("/docs/errors", get(docs::errors))
        .route("/docs/style.css", get(docs::style))
        .route("/docs/script.js", get(docs::script))
        .route("/unsubscribe", get(unsubscribe::ask).post(unsubscribe::act))
        .route("/docs/inbox", get(docs::inbox))
        .route("/docs/inbox.css", get(docs::inbox_style))
        .route("/docs/inbox.js", get(docs::inbox_script))
        .route("/docs/postroom.js", get(docs::client))
        .merge(v1::router());
    let router = match app.settings.metrics_listen {
        Some(_elsewhere) => router,
        None => router.route("/metrics", get(health::metrics)),
    };
    operations(router, app)
}

/// What the address of the metrics answers, where it is another one.
pub(crate) fn metrics_router(app: &App) -> Router {
    operations(Router::new().route("/metrics", get(health::metrics)), app)
}

fn operations(router: Router<App>, app: &App) -> Router {
    router
        .route("/healthz", get(health::alive))
        .method_not_allowed_fallback(error::wrong_method)
        .fallback(error::no_such_path)
        .with_state(App::clone(app))
}

/// One method and no other. HEAD is one of the others: it must not mark a message as read.
fn only(allow: &'static str, route: MethodRouter<App>) -> MethodRouter<App> {
    let refuse = move |method| async move { ([(ALLOW, allow)], error::wrong_method(method).await) };
    route.head(refuse).fallback(refuse)
}
