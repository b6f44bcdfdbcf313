//! Refs of users: in paths, query strings and bodies.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use domain::{Missing, UserRef};
use serde_json::{Value, json};

use super::document::Schemas;
use super::field_types::{id_schema, whole_id};
use super::reader::{FieldContext, FieldType, Source};
use crate::http::{App, Error};

/// The ref of a user in the path. What no user can have is "not found".
pub(super) struct PathRef(pub(super) UserRef);

impl FromRequestParts<App> for PathRef {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let text = Path::<String>::from_request_parts(parts, app).await;
        let text = text.ok().map(|Path(text)| text).unwrap_or_default();
        let parsed = UserRef::parse(&text).map(Self);
        parsed.map_err(|_invalid| domain::Error::NotFound(Missing::User).into())
    }
}

impl FieldType for UserRef {
    /// In JSON a number is an id and a string a name; in a query string digits are an id.
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let problem = "it must be the id of a user, a username, or ext: and the app's own id";
        let parsed = match (&value, field.shared.source) {
            (Value::Number(number), _) => whole_id(number).map(Self::Id),
            (Value::String(text), Source::Body) => Self::named(text).ok(),
            (Value::String(text), Source::Query) => Self::parse(text).ok(),
            _ => return field.refuse("wrong_type", problem),
        };
        parsed.or_else(|| field.refuse("invalid", problem))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let name = ref_schema();
        let either = json!({
            "oneOf": [id_schema(), name],
            "description": "A user: by id; by `ext:` and the app's own id; or by username, or \
                `name:` and the username. In JSON a number is an id and a string a name.",
        });
        schemas.put("UserRef", either)
    }
}

/// The schema of a ref in a path or a query string.
pub(super) fn ref_schema() -> Value {
    json!({ "type": "string", "format": "username", "maxLength": UserRef::CHARS })
}

/// How a ref in a path or a query string is described.
pub(super) const REF: &str = "A user: digits are an id; `ext:` and the app's own id; or a \
    username, or `name:` and the username.";
