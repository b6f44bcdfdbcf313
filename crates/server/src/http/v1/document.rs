//! The OpenAPI document: made of the operations, so it says what the router does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema};

use super::operation::{self, Answer, Body, Operation, Parameter, Tag};
use super::{idempotency, page};
use crate::http::code::Code;
use crate::http::error::FieldError;
use crate::http::problem::Problem;

const ABOUT: &str = "\
The messaging backend that an app drops in so that its users can write to each other.

Programs send `Authorization: Bearer prt_…`, browsers the session cookie and, on anything but GET, \
the header `X-CSRFToken`. Errors are problems of RFC 9457. Lists come a page at a time, newest \
first: give `next_cursor` back as `cursor`. Every POST takes an `Idempotency-Key`: a retry with \
the same key and body gets the first answer again. Times are RFC 3339 in UTC, ids are integers \
below 2^53. Fields may be added to answers; unknown fields of a request are refused.";

/// The whole document.
pub(super) fn of(operations: &[Operation]) -> Value {
    let mut paths = BTreeMap::<_, Map<String, Value>>::new();
    let (mut schemas, mut refusals) = (Schemas::default(), Map::new());
    for operation in operations {
        let path = paths.entry(operation.path).or_default();
        let described = describe(operation, &mut schemas, &mut refusals);
        path.insert(operation.method.to_owned(), described);
    }
    let Schemas(mut schemas) = schemas;
    schemas.insert("Problem".to_owned(), json!(Problem::schema()));
    schemas.insert(FieldError::name().into_owned(), json!(FieldError::schema()));
    let tags = Tag::ALL.map(|tag| {
        let (name, description) = tag.about();
        json!({ "name": name, "description": description })
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Postroom",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals,
            "examples": examples(),
            "headers": { "RequestId": header("The id of the request.", true) },
            "securitySchemes": security_schemes(),
        },
    })
}

/// Schemas under their names.
#[derive(Default)]
pub(super) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// A reference to the schema of a type, which they hold from now on.
    pub(super) fn of<T: ToSchema>(&mut self) -> Value {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        self.0.extend(schemas.into_iter().map(|(name, schema)| (name, json!(schema))));
        refer(&T::name())
    }

    /// A reference to the schema of a page of values of a type.
    pub(super) fn page_of<T: ToSchema>(&mut self) -> Value {
        let item = self.of::<T>();
        let name = format!("{}Page", T::name());
        let reference = refer(&name);
        let page = json!({
            "type": "object",
            "required": ["data", "next_cursor"],
            "properties": {
                "data": { "type": "array", "items": item },
                "next_cursor": {
                    "type": ["string", "null"],
                    "description": "Where the next page begins; null on the last one.",
                },
            },
        });
        self.0.insert(name, page);
        reference
    }

    /// What is said of a body. There must be one where it must have a field.
    fn body(&mut self, body: &Body) -> Value {
        let mut own = Self::default();
        let reference = (body.schema)(&mut own);
        for schema in own.0.values_mut().filter(|schema| schema.get("properties").is_some()) {
            schema["additionalProperties"] = false.into();
        }
        let name = reference["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        let schema = name.and_then(|name| own.0.get_mut(name)).expect("it refers to a schema");
        let rules = body.rules.iter();
        let members = rules.flat_map(|rule| rule.as_object().expect("a schema is an object"));
        for (member, value) in members {
            schema[member] = value.clone();
        }
        let required = ["required", "allOf"].iter().any(|member| schema.get(member).is_some());
        self.0.extend(own.0);
        json!({
            "required": required,
            "content": { "application/json": { "schema": reference } },
        })
    }
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn security_schemes() -> Value {
    json!({
        "bearerAuth": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `POST /v1/tokens`.",
        },
        "cookieAuth": {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The session of `POST /v1/sessions`. It has all scopes.",
        },
        "csrfToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRFToken",
            "description": "The token of the login, the same as in the cookie `csrftoken`.",
        },
    })
}

/// An operation. What it can be refused with is shared with others, under the names of the codes.
fn describe(
    operation: &Operation,
    schemas: &mut Schemas,
    refusals: &mut Map<String, Value>,
) -> Value {
    // Its schemas come before those of the answers, which allow more.
    let body = operation.body.as_ref().map(|body| schemas.body(body));
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag.about().0],
        "summary": operation.summary,
        "parameters": parameters(operation),
        "responses": responses(operation, schemas, refusals),
        "security": security(operation),
    });
    if let Some(body) = body {
        described["requestBody"] = body;
    }
    described
}

fn security(operation: &Operation) -> Value {
    let Some(scope) = operation.scope else { return json!([]) };
    let mut cookie = json!({ "cookieAuth": [] });
    if operation.method != "get" {
        cookie["csrfToken"] = json!([]);
    }
    let mut ways = vec![json!({ "bearerAuth": [scope] }), cookie];
    if operation.or_password {
        ways.push(json!({}));
    }
    ways.into()
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let names = operation.path.split('/').filter_map(|part| part.strip_prefix('{'));
    let in_path = names.map(|name| {
        let name = name.trim_end_matches('}');
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": format!("The id of the {}.", if name == "id" { "thing" } else { name }),
            "schema": operation::id(),
            "example": 7,
        })
    });
    let mut parameters: Vec<_> = in_path.chain(query(operation)).collect();
    for (name, description, example) in &operation.headers {
        parameters.push(json!({
            "name": name,
            "in": "header",
            "description": description,
            "schema": { "type": "string" },
            "example": example,
        }));
    }
    if operation.idempotent {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Makes a retry harmless: the first answer is kept for 24 hours.",
            "schema": { "type": "string", "pattern": idempotency::PATTERN },
            "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
        }));
    }
    parameters
}

fn query(operation: &Operation) -> Vec<Value> {
    let describe = |name, description, schema: &Value, example: &Value| {
        json!({
            "name": name,
            "in": "query",
            "description": description,
            "schema": schema,
            "example": example,
        })
    };
    let mut query = vec![];
    for parameter in &operation.query {
        let &Parameter { name, description, ref schema, ref example, required } = parameter;
        let mut described = describe(name, description, schema, example);
        if required {
            described["required"] = true.into();
        }
        query.push(described);
    }
    if operation.paged {
        let text = "How many items a page may have; more than 100 are 100.";
        let limit = json!({ "type": "integer", "minimum": 1, "default": page::USUAL });
        query.push(describe("limit", text, &limit, &20.into()));
        let text = "The `next_cursor` of the page before; only with the same other parameters.";
        let cursor = json!({ "type": "string", "format": "cursor" });
        query.push(describe("cursor", text, &cursor, &page::cursor([7]).into()));
    }
    query
}

fn responses(
    operation: &Operation,
    schemas: &mut Schemas,
    refusals: &mut Map<String, Value>,
) -> Map<String, Value> {
    let mut responses = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.as_str().to_owned(), done(operation, answer, schemas));
    }
    let mut by_status = BTreeMap::<_, Vec<Code>>::new();
    let errors = errors(operation);
    for code in Code::ALL.iter().filter(|code| errors.contains(code)) {
        by_status.entry(code.facts().status).or_default().push(*code);
    }
    for (status, codes) in by_status {
        let slugs: Vec<_> = codes.iter().map(|code| code.facts().slug).collect();
        let name = slugs.join(".");
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        responses.insert(status.as_str().to_owned(), reference);
        refusals.entry(name).or_insert_with(|| refused(&codes));
    }
    responses
}

fn done(operation: &Operation, answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut headers = Map::new();
    headers.insert("X-Request-Id".to_owned(), request_id());
    for (name, description, always) in &answer.headers {
        headers.insert((*name).to_owned(), header(description, *always));
    }
    if operation.idempotent {
        let text = "`true` where this is the kept answer to the first request.";
        headers.insert("Idempotency-Replayed".to_owned(), header(text, false));
    }
    let mut response = json!({ "description": answer.description, "headers": headers });
    if let Some(schema) = answer.schema {
        let schema = schema(schemas);
        response["content"] = json!({ answer.media: { "schema": schema } });
    }
    for link in &answer.links {
        response["links"][link.operation] = json!({
            "operationId": link.operation,
            "parameters": { link.parameter: format!("$response.body#{}", link.from) },
        });
    }
    response
}

fn request_id() -> Value {
    json!({ "$ref": "#/components/headers/RequestId" })
}

fn header(description: &str, required: bool) -> Value {
    json!({ "description": description, "required": required, "schema": { "type": "string" } })
}

/// An answer for all codes of one status.
fn refused(codes: &[Code]) -> Value {
    let mut headers = Map::new();
    headers.insert("X-Request-Id".to_owned(), request_id());
    let mut examples = Map::new();
    for code in codes {
        let slug = code.facts().slug;
        let example = json!({ "$ref": format!("#/components/examples/{slug}") });
        examples.insert(slug.to_owned(), example);
        for (name, description, required) in told_beside(*code) {
            headers.insert((*name).to_owned(), header(description, *required));
        }
    }
    let titles: Vec<_> = codes.iter().map(|code| code.facts().title).collect();
    json!({
        "description": titles.join("; "),
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" },
                "examples": examples,
            },
        },
    })
}

/// The headers that go with a code, and whether they go with every code of that status.
fn told_beside(code: Code) -> &'static [(&'static str, &'static str, bool)] {
    match code {
        Code::Unauthenticated | Code::AuthenticationFailed => {
            &[("WWW-Authenticate", "How to log in.", true)]
        }
        Code::InsufficientScope => &[("WWW-Authenticate", "The scope that is missing.", false)],
        Code::RateLimited | Code::QuotaExceeded => &[
            ("Retry-After", "Seconds to wait.", true),
            ("RateLimit-Policy", "The limit that allows no more.", true),
            ("RateLimit", "When it allows more.", true),
        ],
        Code::TooManyStreams => &[("Retry-After", "Seconds to wait.", true)],
        Code::RequestInProgress | Code::Unavailable | Code::StorageFull => {
            &[("Retry-After", "Seconds to wait.", false)]
        }
        _ => &[],
    }
}

/// An example of each error.
fn examples() -> Map<String, Value> {
    let example = |code: &Code| {
        let facts = code.facts();
        let value = json!({
            "type": code.uri(),
            "title": facts.title,
            "status": facts.status.as_u16(),
            "detail": facts.meaning,
            "code": facts.slug,
            "request_id": "5f0c1d2e00000007",
        });
        (facts.slug.to_owned(), json!({ "value": value }))
    };
    Code::ALL.iter().map(example).collect()
}

/// All codes of an operation: its own, and those that follow from what it takes.
fn errors(operation: &Operation) -> Vec<Code> {
    let mut errors = operation.errors.clone();
    errors.extend([Code::Internal, Code::Unavailable]);
    let changes = operation.method != "get";
    if changes {
        errors.extend([Code::StorageFull, Code::ForeignOrigin]);
    }
    if operation.scope.is_some() {
        errors.extend([Code::Unauthenticated, Code::InsufficientScope]);
        if changes {
            errors.push(Code::Csrf);
        }
    }
    if operation.path.contains('{') {
        errors.push(Code::NotFound);
    }
    if operation.body.is_some() {
        errors.extend([
            Code::MalformedJson,
            Code::UnsupportedMediaType,
            Code::BodyTooLarge,
            Code::RequestTimeout,
            Code::Invalid,
        ]);
    }
    if operation.paged || !operation.query.is_empty() {
        errors.extend([Code::BadRequest, Code::Invalid]);
    }
    if operation.idempotent {
        errors.extend([Code::BadRequest, Code::RequestInProgress, Code::KeyReused]);
    }
    errors
}
