//! The OpenAPI document, written while the operations are declared.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema};

use crate::http::code::Code;
use crate::http::error::FieldError;
use crate::http::problem::Problem;

const ABOUT: &str = "\
The messaging backend that an app drops in so that its users can write to each other.

Programs send `Authorization: Bearer prt_…`, browsers the session cookie and, on anything but GET, \
the header `X-CSRFToken`. Errors are problems of RFC 9457. Lists come a page at a time, newest \
first: send `next_cursor` back as `cursor`. Every POST takes an `Idempotency-Key`: a retry with \
the same key and body gets the first response again. Times are RFC 3339 in UTC, ids are integers \
below 2^53. Fields may be added to responses; unknown fields of a request are refused.";

#[derive(Default)]
pub(super) struct Document {
    pub(super) schemas: Schemas,
    /// The sections: the name of each, and what it is about.
    pub(super) tags: Vec<(&'static str, &'static str)>,
    pub(super) operations: Vec<Operation>,
}

impl Document {
    /// Adds an operation to the section that was started last.
    pub(super) fn add(
        &mut self,
        method: &Method,
        path: &'static str,
        id: &str,
        summary: &str,
        describe: fn(&mut Operation, &mut Schemas),
    ) {
        let (tag, _) = self.tags.last().expect("a tag precedes the operations");
        let json = json!({ "operationId": id, "tags": [tag], "summary": summary });
        let mut errors = vec![Code::Internal, Code::Unavailable];
        if method != Method::GET {
            errors.extend([Code::StorageFull, Code::ForeignOrigin]);
        }
        let (method, status) = (method.clone(), String::new());
        let (parameters, security) = (vec![], vec![]);
        let mut operation = Operation { method, path, json, parameters, security, errors, status };
        describe(&mut operation, &mut self.schemas);
        self.operations.push(operation);
    }

    pub(super) fn finish(self) -> Value {
        let (mut paths, mut failures) = (json!({}), Map::new());
        for operation in self.operations {
            let (path, method) = (operation.path, operation.method.as_str().to_ascii_lowercase());
            paths[path][method] = operation.finish(&mut failures);
        }
        let Schemas(mut schemas) = self.schemas;
        schemas.insert("Problem".to_owned(), json!(Problem::schema()));
        schemas.insert(FieldError::name().into_owned(), json!(FieldError::schema()));
        let tag = |(name, description)| json!({ "name": name, "description": description });
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Postroom",
                "version": env!("CARGO_PKG_VERSION"),
                "description": ABOUT,
                "license": { "name": "MIT", "identifier": "MIT" },
            },
            "servers": [{ "url": "/" }],
            "tags": self.tags.into_iter().map(tag).collect::<Vec<_>>(),
            "paths": paths,
            "components": {
                "schemas": schemas,
                "responses": failures,
                "examples": Code::ALL.iter().copied().map(example).collect::<Map<_, _>>(),
                "headers": { "RequestId": header("The id of the request.", true) },
                "securitySchemes": security_schemes(),
            },
        })
    }
}

pub(super) struct Operation {
    method: Method,
    pub(super) path: &'static str,
    /// What it says besides the following.
    pub(super) json: Value,
    pub(super) parameters: Vec<Value>,
    pub(super) security: Vec<Value>,
    pub(super) errors: Vec<Code>,
    /// The status of the response that was described last.
    status: String,
}

impl Operation {
    pub(super) fn reads(&self) -> bool {
        self.method == Method::GET
    }

    /// Adds a parameter in the `place` path, query or header.
    pub(super) fn parameter(
        &mut self,
        place: &str,
        name: &str,
        description: &str,
        schema: &Value,
        example: &Value,
    ) -> &mut Value {
        self.parameters.push(json!({
            "in": place,
            "name": name,
            "description": description,
            "schema": schema,
            "example": example,
        }));
        self.parameters.last_mut().expect("it was just added")
    }

    pub(super) fn header_parameter(&mut self, name: &str, description: &str, example: &str) {
        let schema = json!({ "type": "string" });
        self.parameter("header", name, description, &schema, &json!(example));
    }

    /// Adds a response to a request that succeeded.
    pub(super) fn response(&mut self, status: u16, description: &str) -> &mut Value {
        self.status = status.to_string();
        *self.last_response() = response(description);
        if self.method == Method::POST {
            let text = "`true` where this is the stored response to the first request.";
            self.response_header("Idempotency-Replayed", text, false);
        }
        self.last_response()
    }

    pub(super) fn last_response(&mut self) -> &mut Value {
        &mut self.json["responses"][&self.status]
    }

    pub(super) fn response_header(&mut self, name: &str, description: &str, required: bool) {
        self.last_response()["headers"][name] = header(description, required);
    }

    /// The operation with the responses to requests that fail: one for all codes of a status, which
    /// operations share under the names of the codes.
    fn finish(mut self, failures: &mut Map<String, Value>) -> Value {
        let mut by_status = BTreeMap::<_, Vec<Code>>::new();
        for code in Code::ALL.iter().filter(|code| self.errors.contains(code)) {
            by_status.entry(code.facts().status).or_default().push(*code);
        }
        for (status, codes) in by_status {
            let name = codes.iter().map(|code| code.anchor()).collect::<Vec<_>>().join(".");
            let reference = json!({ "$ref": format!("#/components/responses/{name}") });
            self.json["responses"][status.as_str()] = reference;
            failures.entry(name).or_insert_with(|| failure(&codes));
        }
        self.json["parameters"] = self.parameters.into();
        self.json["security"] = self.security.into();
        self.json
    }
}

fn response(description: &str) -> Value {
    let headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } });
    json!({ "description": description, "headers": headers })
}

fn header(description: &str, required: bool) -> Value {
    json!({ "description": description, "required": required, "schema": { "type": "string" } })
}

/// The response for all these codes of one status.
fn failure(codes: &[Code]) -> Value {
    let titles: Vec<_> = codes.iter().map(|code| code.facts().title).collect();
    let (mut failure, mut examples) = (response(&titles.join("; ")), Map::new());
    for code in codes {
        let name = code.anchor();
        let example = json!({ "$ref": format!("#/components/examples/{name}") });
        examples.insert(name, example);
        for (name, description, required) in headers_of(*code) {
            failure["headers"][*name] = header(description, *required);
        }
    }
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    failure["content"]["application/problem+json"] =
        json!({ "schema": schema, "examples": examples });
    failure
}

/// The headers of a code: name, description, and whether every code of that status has it.
fn headers_of(code: Code) -> &'static [(&'static str, &'static str, bool)] {
    match code {
        Code::Unauthenticated | Code::AuthenticationFailed => {
            &[("WWW-Authenticate", "How to log in.", true)]
        }
        Code::TokenExpired
        | Code::TokenRevoked
        | Code::TokenInvalid
        | Code::TokenNotYetValid
        | Code::HolderDeactivated
        | Code::HolderErased => &[("WWW-Authenticate", "That the token is not valid.", true)],
        Code::InsufficientScope | Code::MissingScope => {
            &[("WWW-Authenticate", "The scope that is missing.", false)]
        }
        Code::RateLimited | Code::QuotaExceeded | Code::TooManyKeys => &[
            ("Retry-After", "Seconds to wait.", true),
            ("RateLimit-Policy", "The limit that is exhausted.", true),
            ("RateLimit", "When it allows more.", true),
        ],
        Code::RequestInProgress | Code::Unavailable | Code::StorageFull => {
            &[("Retry-After", "Seconds to wait.", false)]
        }
        _ => &[],
    }
}

fn example(code: Code) -> (String, Value) {
    let facts = code.facts();
    let value = json!({
        "type": code.uri(),
        "title": facts.title,
        "status": facts.status.as_u16(),
        "detail": facts.meaning,
        "code": facts.slug,
        "request_id": "5f0c1d2e00000007",
    });
    (code.anchor(), json!({ "value": value }))
}

fn security_schemes() -> Value {
    json!({
        "bearerAuth": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `POST /v1/tokens`, a browser token, or a JWT.",
        },
        "serverKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `postroom key add`, for the app's server. Never in a page.",
        },
        "actingUser": {
            "type": "apiKey",
            "in": "header",
            "name": "Postroom-User",
            "description": "The user for whom a server key makes the call: `ext:` and the app's \
                own id, an id, or a username. With `Postroom-Present: true` the user counts as \
                seen.",
        },
        "cookieAuth": {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The session of `POST /v1/sessions`. It has all scopes. With \
                `Postroom-If-User: <id>` a call is made only if it is still that user's: \
                `another_user`.",
        },
        "csrfToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRFToken",
            "description": "The token of the login, the same as in the cookie `csrftoken`.",
        },
    })
}

/// The schema of a view within a view as one object: generators understand that best.
fn flat(mut schema: Value) -> Value {
    let parts = schema.as_object_mut().and_then(|schema| schema.remove("allOf"));
    let parts = parts.as_ref().and_then(Value::as_array).into_iter().flatten();
    for part in parts.map(|part| flat(part.clone())) {
        schema["type"] = part["type"].clone();
        for (name, property) in part["properties"].as_object().into_iter().flatten() {
            schema["properties"][name] = property.clone();
        }
        let required = [&schema["required"], &part["required"]].map(Value::as_array);
        schema["required"] = required.into_iter().flatten().flatten().cloned().collect();
    }
    schema
}

/// Schemas by their names.
#[derive(Default)]
pub(super) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Adds the schema of a type, and returns a reference to it.
    pub(super) fn of<T: ToSchema>(&mut self) -> Value {
        let mut schemas = vec![];
        T::schemas(&mut schemas);
        self.0.extend(schemas.into_iter().map(|(name, schema)| (name, flat(json!(schema)))));
        self.put(&T::name(), flat(json!(T::schema())))
    }

    /// Adds a schema, and returns a reference to it.
    pub(super) fn put(&mut self, name: &str, schema: Value) -> Value {
        self.0.insert(name.to_owned(), schema);
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// The schema that a reference refers to.
    pub(super) fn get(&mut self, reference: &Value) -> &mut Value {
        let name = reference["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        name.and_then(|name| self.0.get_mut(name)).expect("it refers to a schema")
    }

    /// The same for a page of values of a type.
    pub(super) fn page_of<T: ToSchema>(&mut self) -> Value {
        let page = json!({
            "type": "object",
            "required": ["data", "next_cursor"],
            "properties": {
                "data": { "type": "array", "items": self.of::<T>() },
                "next_cursor": {
                    "type": ["string", "null"],
                    "description": "Where the next page starts; null on the last page.",
                },
            },
        });
        // A page of messages has items of them.
        self.put(&format!("{}Page", T::name().trim_end_matches("Item")), page)
    }

    /// The same for a page of a list of the mailbox.
    pub(super) fn mailbox_page_of<T: ToSchema>(&mut self) -> Value {
        let reference = self.page_of::<T>();
        self.get(&reference)["properties"]["state"] = json!({
            "type": "string",
            "description": "On the first page: the state of the mailbox that it shows.",
            "example": "17",
        });
        reference
    }
}
