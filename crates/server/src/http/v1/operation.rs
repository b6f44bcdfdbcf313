//! The operations of the API: what the router serves and what the document says of it, in one.

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::{HeaderMap, Method};
use axum::middleware::from_fn;
use axum::routing::{MethodFilter, on};
use domain::server_keys::KeyScope;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::declare::{body_schema, text};
use super::document::{Document, Operation, Schemas};
use super::extract::{JsonBody, KeyedBody, PathId, QueryParams};
use super::field_types::{NumericId, id_schema};
use super::idempotency;
use super::preconditions::{self, Preconditions};
use super::reader::FieldSet;
use super::refs::{PathRef, REF, ref_schema};
use crate::http::auth::{ByKey, Caller, Scope, Stranger};
use crate::http::browser_login;
use crate::http::client::Device;
use crate::http::code::Code;
use crate::http::server_key::{ServerCaller, ServerScope};
use crate::http::{App, Error};

/// An argument of a handler. The document describes the arguments by their types, so a handler
/// cannot take a body, a parameter or a scope that is not documented.
pub(super) trait Argument {
    /// Whether it refuses the conditions (`If-Match`) that no other argument takes.
    const REFUSES_CONDITIONS: bool = false;

    /// Describes what the caller must or may send.
    fn describe(_operation: &mut Operation, _schemas: &mut Schemas) {}
}

impl Argument for State<App> {}
impl Argument for HeaderMap {}
impl Argument for Method {}
impl Argument for Device {}

impl Argument for Stranger {
    fn describe(operation: &mut Operation, _schemas: &mut Schemas) {
        operation.errors.push(Code::NotByKey);
    }
}

impl<T: Argument> Argument for Result<T, Error> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        T::describe(operation, schemas);
    }
}

impl<S: Scope> Argument for Caller<S> {
    fn describe(operation: &mut Operation, _schemas: &mut Schemas) {
        let mut cookie = json!({ "cookieAuth": [] });
        if !operation.reads() {
            cookie["csrfToken"] = json!([]);
            operation.errors.push(Code::Csrf);
        }
        operation.security = vec![json!({ "bearerAuth": [S::SCOPE.name()] }), cookie];
        operation.errors.extend([Code::Unauthenticated, Code::InsufficientScope]);
        operation.errors.extend(browser_login::CODES);
        operation.errors.extend([Code::ServerKeyInBrowser, Code::ActNotAllowed]);
        operation.errors.extend([Code::BadRequest, Code::AnotherUser]);
        if S::BY_KEY == ByKey::Never {
            operation.errors.push(Code::NotByKey);
            return;
        }
        let key = json!({ "serverKey": [KeyScope::Act.name()], "actingUser": [] });
        operation.security.push(key);
        operation.errors.extend([Code::UserRequired, Code::MissingScope]);
        operation.errors.extend([Code::UserDeactivated, Code::SystemUser, Code::UserUnknown]);
    }
}

impl<S: ServerScope> Argument for ServerCaller<S> {
    fn describe(operation: &mut Operation, _schemas: &mut Schemas) {
        let scope = S::SCOPE.map(KeyScope::name);
        operation.security = vec![json!({ "serverKey": scope.as_slice() })];
        operation.errors.extend([Code::Unauthenticated, Code::ServerKeyInBrowser]);
        operation.errors.extend(scope.map(|_| Code::MissingScope));
    }
}

impl Argument for PathRef {
    fn describe(operation: &mut Operation, _schemas: &mut Schemas) {
        let name = operation.path.split(['{', '}']).nth(1).expect("the path has a parameter");
        let parameter = operation.parameter("path", name, REF, &ref_schema(), &json!("ext:42"));
        parameter["required"] = true.into();
        operation.errors.push(Code::NotFound);
    }
}

impl<T: NumericId> Argument for PathId<T> {
    fn describe(operation: &mut Operation, _schemas: &mut Schemas) {
        let name = operation.path.split(['{', '}']).nth(1).expect("the path has a parameter");
        let description = format!("The id of the {}.", T::NOUN);
        let parameter = operation.parameter("path", name, &description, &id_schema(), &json!(7));
        parameter["required"] = true.into();
        operation.errors.push(Code::NotFound);
    }
}

impl<T: FieldSet> Argument for QueryParams<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        for field in T::specs() {
            let (about, schema) = (text(field.about), (field.schema)(schemas));
            let is_ref = schema.get("$ref").is_some();
            // Of several types in a query string generators make what no server reads.
            let (about, schema) =
                if is_ref { (format!("{about} {REF}"), ref_schema()) } else { (about, schema) };
            let example = json!(field.example());
            let parameter = operation.parameter("query", field.name, &about, &schema, &example);
            if field.presence == "required" {
                parameter["required"] = true.into();
            }
        }
        operation.errors.extend([Code::BadRequest, Code::Invalid]);
    }
}

impl<T: FieldSet> Argument for JsonBody<T> {
    const REFUSES_CONDITIONS: bool = true;

    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.errors.extend([
            Code::BadRequest,
            Code::MalformedJson,
            Code::UnsupportedMediaType,
            Code::BodyTooLarge,
            Code::RequestTimeout,
            Code::Invalid,
        ]);
        if T::NAME.is_empty() {
            return;
        }
        let schema = body_schema::<T>(schemas);
        let members = schemas.get(&schema);
        let required = members.get("required").or(members.get("if")).is_some();
        let content = json!({ "application/json": { "schema": schema } });
        operation.json["requestBody"] = json!({ "required": required, "content": content });
    }
}

impl<T: FieldSet> Argument for KeyedBody<T> {
    const REFUSES_CONDITIONS: bool = true;

    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        JsonBody::<T>::describe(operation, schemas);
        let description = "Makes a retry safe: the first response is stored for 24 hours.";
        let schema = json!({ "type": "string", "pattern": idempotency::PATTERN });
        let example = json!("8e03978e-40d5-43e8-bc93-6894a57f9324");
        operation.parameter("header", "Idempotency-Key", description, &schema, &example);
        operation.errors.extend([Code::RequestInProgress, Code::KeyReused, Code::TooManyKeys]);
    }
}

impl Argument for Preconditions {
    fn describe(operation: &mut Operation, _schemas: &mut Schemas) {
        if operation.reads() {
            operation.header_parameter("If-None-Match", "Tags that the caller has.", "\"17\"");
            operation.response(304, "The caller already has it, according to If-None-Match.");
            operation.response_header("ETag", "The tag of the resource.", true);
        } else {
            let description = "Tags, one of which the resource must have; names of other users \
                that have changed do not count.";
            operation.header_parameter("If-Match", description, "\"17\"");
            operation.errors.push(Code::PreconditionFailed);
        }
    }
}

/// All arguments of a handler are one, as axum takes them.
macro_rules! arguments {
    ($($argument:ident)*) => {
        impl<Via, $($argument: Argument),*> Argument for (Via, $($argument,)*) {
            const REFUSES_CONDITIONS: bool = false $(|| $argument::REFUSES_CONDITIONS)*;

            fn describe(operation: &mut Operation, schemas: &mut Schemas) {
                $($argument::describe(operation, schemas);)*
            }
        }
    };
}

arguments! { A }
arguments! { A B }
arguments! { A B C }
arguments! { A B C D }
arguments! { A B C D E }
arguments! { A B C D E F }

/// The routes of the operations, and their document where it is wanted: every worker needs the
/// routes, and the document is most of the work. The methods that follow [`Api::on`] describe the
/// operation that it added last, or its last response.
#[derive(Default)]
pub(super) struct Api {
    pub(super) router: Router<App>,
    pub(super) paths: Vec<&'static str>,
    pub(super) document: Option<Document>,
}

impl Api {
    /// Starts a section of the document, for the operations that follow.
    pub(super) fn tag(mut self, name: &'static str, description: &'static str) -> Self {
        if let Some(document) = &mut self.document {
            document.tags.push((name, description));
        }
        self
    }

    /// Adds an operation. `route` is its method and its path.
    pub(super) fn on<H, T>(
        mut self,
        route: &'static str,
        id: &str,
        summary: &str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, App>,
        T: Argument + 'static,
    {
        let (method, path) = route.split_once(' ').expect("a route has a method and a path");
        let method = Method::from_bytes(method.as_bytes()).expect("a route has a method");
        if let Some(document) = &mut self.document {
            document.add(&method, path, id, summary, T::describe);
        }
        let ignores = !method.is_safe() && !T::REFUSES_CONDITIONS;
        let method = MethodFilter::try_from(method).expect("a route has a standard method");
        let mut route = on(method, handler);
        if ignores {
            route = route.route_layer(from_fn(preconditions::refuse));
            self = self.errors(&[Code::BadRequest]);
        }
        self.router = self.router.route(path, route);
        self.paths.push(path);
        self
    }

    fn describe(mut self, describe: impl FnOnce(&mut Operation, &mut Schemas)) -> Self {
        if let Some(Document { operations, schemas, .. }) = &mut self.document {
            describe(operations.last_mut().expect("an operation was added"), schemas);
        }
        self
    }

    /// The operation also takes a name and its password in the body instead of a login.
    pub(super) fn or_password(self) -> Self {
        self.describe(|operation, _| operation.security.push(json!({})))
    }

    /// Responds with a value of this type.
    pub(super) fn answers<T: ToSchema>(self, status: u16, description: &str) -> Self {
        self.answers_with("application/json", status, description, Schemas::of::<T>)
    }

    /// Responds with a page of values of this type.
    pub(super) fn answers_page<T: ToSchema>(self, description: &str) -> Self {
        self.answers_with("application/json", 200, description, Schemas::page_of::<T>)
    }

    /// Responds with a page of a list of the mailbox; the first page has the state.
    pub(super) fn answers_mailbox_page<T: ToSchema>(self, description: &str) -> Self {
        self.answers_with("application/json", 200, description, Schemas::mailbox_page_of::<T>)
            .may_have("ETag", "On the first page: for the state of the mailbox and the names.")
    }

    /// The response has no more than these fields of that type in some cases.
    pub(super) fn may_lack<T: ToSchema>(self, required: &[&str]) -> Self {
        self.describe(|_, schemas| {
            let schema = schemas.of::<T>();
            schemas.get(&schema)["required"] = json!(required);
        })
    }

    /// Responds with a value of this type, or with no more than its `id`; the schema gets a name of
    /// its own.
    pub(super) fn answers_some_of<T: ToSchema>(
        self,
        name: &'static str,
        description: &str,
    ) -> Self {
        self.answers_with("application/json", 200, description, |schemas| {
            let whole = schemas.of::<T>();
            let mut schema = schemas.get(&whole).clone();
            schema["required"] = json!(["id"]);
            schemas.put(name, schema)
        })
    }

    /// Responds with events, until one side closes the stream.
    pub(super) fn streams(self, description: &str) -> Self {
        let schema = |_: &mut Schemas| json!({ "type": "string" });
        self.answers_with("text/event-stream", 200, description, schema)
    }

    /// Responds with a file of JSON Lines.
    pub(super) fn downloads(self, description: &str) -> Self {
        let schema = |_: &mut Schemas| json!({ "type": "string" });
        self.answers_with("application/x-ndjson", 200, description, schema)
    }

    fn answers_with(
        self,
        media: &str,
        status: u16,
        description: &str,
        schema: impl FnOnce(&mut Schemas) -> Value,
    ) -> Self {
        self.describe(|operation, schemas| {
            let response = operation.response(status, description);
            response["content"] = json!({ media: { "schema": schema(schemas) } });
        })
    }

    /// Responds without a body before all of it is done.
    pub(super) fn accepted(self, description: &str) -> Self {
        self.describe(|operation, _| {
            operation.response(202, description);
        })
    }

    pub(super) fn done(self, description: &str) -> Self {
        self.describe(|operation, _| {
            operation.response(204, description);
        })
    }

    /// The response always has this header.
    pub(super) fn header(self, name: &str, description: &str) -> Self {
        self.describe(|operation, _| operation.response_header(name, description, true))
    }

    /// The response may have this header.
    pub(super) fn may_have(self, name: &str, description: &str) -> Self {
        self.describe(|operation, _| operation.response_header(name, description, false))
    }

    /// The response has, at the JSON pointer `from`, this parameter of these operations.
    pub(super) fn leads_to(self, operations: &[&str], parameter: &str, from: &str) -> Self {
        self.describe(|operation, _| {
            for id in operations {
                operation.last_response()["links"][*id] = json!({
                    "operationId": id,
                    "parameters": { parameter: format!("$response.body#{from}") },
                });
            }
        })
    }

    /// The caller may send this header.
    pub(super) fn may_send(self, name: &str, description: &str, example: &str) -> Self {
        self.describe(|operation, _| operation.header_parameter(name, description, example))
    }

    /// The operation can fail with these codes, besides those of its arguments.
    pub(super) fn errors(self, errors: &[Code]) -> Self {
        self.describe(|operation, _| operation.errors.extend_from_slice(errors))
    }
}
