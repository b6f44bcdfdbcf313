//! `/v1/server/key`: the key that calls.

use domain::server_keys::{KeyScope, ServerKey};

use crate::http::server_key::AnyKey;
use crate::http::v1::prelude::*;

pub(super) fn api(api: Api) -> Api {
    api.on("GET /v1/server/key", "getServerKey", "Reads the key that calls", own)
        .answers::<ServerKeyView>(200, "The key, without its secret.")
}

/// A server key.
#[derive(Serialize, ToSchema)]
#[schema(as = ServerKey)]
struct ServerKeyView {
    /// 0 for the key of the configuration.
    #[schema(minimum = 0, example = 3)]
    id: i64,
    #[schema(example = "shop")]
    name: String,
    /// What the key allows.
    #[schema(schema_with = scopes)]
    scopes: Vec<&'static str>,
    /// When the key expires; null for never.
    #[schema(required, format = DateTime, example = "2027-01-01T00:00:00Z")]
    expires_at: Option<String>,
}

fn scopes() -> utoipa::openapi::Schema {
    let names = KeyScope::ALL.map(KeyScope::name);
    let schema = serde_json::json!({
        "type": "array",
        "description": "What the key allows.",
        "items": { "type": "string", "enum": names },
        "examples": [names[..3]],
    });
    serde_json::from_value(schema).expect("it is a schema")
}

async fn own(caller: ServerCaller<AnyKey>) -> Json<ServerKeyView> {
    let ServerKey { id, name, scopes, expires_at } = (*caller.key).clone();
    let (scopes, expires_at) = (scopes.names().collect(), expires_at.map(clock::rfc3339));
    Json(ServerKeyView { id: id.get(), name, scopes, expires_at })
}
