//! `/v1/server`: what the app's own server does, with a server key.

mod key;
mod messages;
mod tokens;
mod unread;
mod user_batch;
mod user_fields;
mod users;

use super::export;
use super::operation::Api;
pub(super) use users::found;

pub(super) fn api(api: Api) -> Api {
    let about = "For the app's own server, with a server key. Never for pages.";
    let parts = [
        key::api,
        users::api,
        user_batch::api,
        export::server_api,
        tokens::api,
        unread::api,
        messages::api,
    ];
    parts.into_iter().fold(api.tag("Server", about), |api, part| part(api))
}
