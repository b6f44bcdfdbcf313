//! HTTP: a handler extracts its input, makes one call, and responds. The routes are listed here, in
//! `docs` and in `v1`.
//!
//! `serve` starts it and the command line prints its document; nothing else may use it.

mod acting;
mod app;
mod auth;
mod bearer;
mod body;
mod browser_login;
pub(crate) mod browser_token;
mod by;
mod classic_body;
mod client;
mod code;
mod cookies;
pub(crate) mod cors;
pub(crate) mod csrf;
mod docs;
mod edge;
mod error;
mod exports;
mod forwarded;
mod health;
mod host;
mod json;
mod list_turns;
mod login;
mod long_responses;
mod messages;
mod origin;
mod paths;
mod problem;
mod refusals;
mod request_ids;
mod server_key;
mod unfinished_bodies;
mod unsubscribe;
mod users;
pub(crate) mod v1;
pub(crate) mod waits;

use axum::Router;
use axum::http::header::ALLOW;
use axum::routing::{MethodRouter, delete, get, post};

pub use app::App;
pub(crate) use app::{Limits, Parts};
pub use edge::handle;
pub use error::Error;
pub(crate) use forwarded::ForwardingNotes;
pub use forwarded::Peer;
pub(crate) use host::Hosts;
pub(crate) use refusals::Refusals;
pub(crate) use unfinished_bodies::UnfinishedBodies;

/// All paths with their routes, except those of /v1.
fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    let classic_and_operator = [
        ("/users/token", only("GET", get(users::token))),
        ("/users/register", only("POST", post(users::register))),
        ("/users/login", only("POST", post(users::login))),
        ("/users/logout", only("POST", post(users::logout))),
        ("/messages/write_message", only("POST", post(messages::write))),
        ("/messages/messages_per_receiver", only("GET", get(messages::received))),
        ("/messages/unread_per_receiver", only("GET", get(messages::unread))),
        ("/messages/read_message", only("GET", get(messages::read))),
        ("/messages/delete_message", only("DELETE", delete(messages::delete))),
        ("/healthz", get(health::alive)),
        ("/readyz", get(health::ready)),
        ("/metrics", get(health::metrics)),
        ("/openapi.json", get(health::openapi)),
        ("/openapi-3.0.json", get(health::openapi_30)),
        ("/unsubscribe", get(unsubscribe::form).post(unsubscribe::submit)),
    ];
    classic_and_operator.into_iter().chain(docs::routes()).collect()
}

/// All paths, with parameters as `{name}`.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    routes().into_iter().map(|(path, _)| path).chain(v1::paths())
}

pub(crate) fn router(app: &App) -> Router {
    let routes = routes().into_iter().filter(|(path, _)| *path != "/metrics");
    finish(routes.fold(v1::router(), |router, (path, route)| router.route(path, route)), app)
}

pub(crate) fn metrics_router(app: &App) -> Router {
    let routes = routes().into_iter().filter(|(path, _)| ["/healthz", "/metrics"].contains(path));
    finish(routes.fold(Router::new(), |router, (path, route)| router.route(path, route)), app)
}

fn finish(router: Router<App>, app: &App) -> Router {
    router
        .method_not_allowed_fallback(error::wrong_method)
        .fallback(error::no_such_path)
        .with_state(App::clone(app))
}

/// Allows one method alone. Not even HEAD beside GET: it must not mark a message as read.
fn only(allow: &'static str, route: MethodRouter<App>) -> MethodRouter<App> {
    let refuse = move |method| async move { ([(ALLOW, allow)], error::wrong_method(method).await) };
    route.head(refuse).fallback(refuse)
}
