//! An operation of the API: what the router serves and what the document says of it, in one.
//!
//! Every worker makes all of them for their routes, so they only name the types that they speak
//! of: the schemas are made where a document is.

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{MethodFilter, on};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::document::Schemas;
use crate::http::App;
use crate::http::auth::Scope;
use crate::http::code::Code;

/// A part of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Messages,
    Sync,
    Conversations,
    Users,
    Sessions,
    Tokens,
    Blocks,
}

impl Tag {
    /// All of them, in the order of the document.
    pub(super) const ALL: [Self; 7] = [
        Self::Messages,
        Self::Sync,
        Self::Conversations,
        Self::Users,
        Self::Sessions,
        Self::Tokens,
        Self::Blocks,
    ];

    /// Its name, and what it is about.
    pub(super) fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Messages => ("Messages", "Sending, listing, reading, marking, deleting."),
            Self::Sync => ("Sync", "What changed, what happens, and what is unread."),
            Self::Conversations => {
                ("Conversations", "Messages that answer each other, as one thing.")
            }
            Self::Users => ("Users", "Accounts, profiles, and looking others up."),
            Self::Sessions => ("Sessions", "Logins of browsers, which keep a cookie."),
            Self::Tokens => ("Tokens", "Logins of programs, which send a bearer token."),
            Self::Blocks => ("Blocks", "Whom a user takes no messages from."),
        }
    }
}

/// The schema of an id that the caller names.
pub(super) fn id() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": mail::LARGEST_ID })
}

/// Puts what a type is made of among the schemas, and refers to it.
pub(super) type Schema = fn(&mut Schemas) -> Value;

/// One call of the API, as the document tells it.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: Tag,
    pub(super) summary: &'static str,
    /// What a token must hold for; without it, anybody may call.
    pub(super) scope: Option<&'static str>,
    /// Whether anybody may call all the same who has a password.
    pub(super) or_password: bool,
    /// Parameters of the query string.
    pub(super) query: Vec<Parameter>,
    /// Whether it has those of a list that comes a page at a time as well.
    pub(super) paged: bool,
    pub(super) body: Option<Body>,
    /// Headers that the caller may send: name, meaning, an example.
    pub(super) headers: Vec<(&'static str, &'static str, &'static str)>,
    pub(super) answers: Vec<Answer>,
    pub(super) errors: Vec<Code>,
    pub(super) idempotent: bool,
}

/// A parameter of the query string.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: Value,
    pub(super) example: Value,
    pub(super) required: bool,
}

/// What is sent along.
pub(super) struct Body {
    pub(super) schema: Schema,
    /// Members of JSON Schema that its type does not say.
    pub(super) rules: Vec<Value>,
}

/// What is answered when it was done.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) description: &'static str,
    pub(super) schema: Option<Schema>,
    /// What kind of content that is.
    pub(super) media: &'static str,
    /// Headers: name, meaning, and whether they are always there.
    pub(super) headers: Vec<(&'static str, &'static str, bool)>,
    /// What can be asked next.
    pub(super) links: Vec<Link>,
}

/// From an answer to an operation that takes a part of it.
pub(super) struct Link {
    /// The id of the operation.
    pub(super) operation: &'static str,
    /// Its parameter.
    pub(super) parameter: &'static str,
    /// The value for it: a pointer into the answer.
    pub(super) from: &'static str,
}

impl Operation {
    fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            tag,
            summary,
            scope: None,
            or_password: false,
            query: vec![],
            paged: false,
            body: None,
            headers: vec![],
            answers: vec![],
            errors: vec![],
            // Every POST takes an Idempotency-Key; the other methods need none.
            idempotent: method == "post",
        }
    }

    /// A call that only reads.
    pub(super) fn get(
        path: &'static str,
        id: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self::new("get", path, id, tag, summary)
    }

    /// A call that makes something; it takes an Idempotency-Key.
    pub(super) fn post(
        path: &'static str,
        id: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self::new("post", path, id, tag, summary)
    }

    /// A call that puts something in its place.
    pub(super) fn put(
        path: &'static str,
        id: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self::new("put", path, id, tag, summary)
    }

    /// A call that changes a part of something.
    pub(super) fn patch(
        path: &'static str,
        id: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self::new("patch", path, id, tag, summary)
    }

    /// A call that removes something.
    pub(super) fn delete(
        path: &'static str,
        id: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self::new("delete", path, id, tag, summary)
    }

    /// Only for a caller who is logged in, with a scope where it is by a token. The handler takes
    /// a `Caller` of the same scope.
    pub(super) fn scope<S: Scope>(mut self) -> Self {
        self.scope = Some(S::SCOPE.name());
        self
    }

    /// Or for whoever sends a name and its password in the body.
    pub(super) fn or_password(mut self) -> Self {
        self.or_password = true;
        self
    }

    /// With a parameter of the query string, its schema and an example.
    pub(super) fn query(
        mut self,
        name: &'static str,
        description: &'static str,
        schema: &Value,
        example: impl Into<Value>,
    ) -> Self {
        let (schema, example) = (schema.clone(), example.into());
        self.query.push(Parameter { name, description, schema, example, required: false });
        self
    }

    /// The parameter that was named last must be there.
    pub(super) fn required(mut self) -> Self {
        let last = self.query.last_mut().expect("a parameter was named");
        last.required = true;
        self
    }

    /// A list that comes a page at a time.
    pub(super) fn paged(mut self) -> Self {
        self.paged = true;
        self
    }

    /// With a body of this type. Neither it nor what it is made of has other fields.
    pub(super) fn body<T: ToSchema>(mut self) -> Self {
        self.body = Some(Body { schema: Schemas::of::<T>, rules: vec![] });
        self
    }

    /// The body keeps to these members of JSON Schema as well.
    pub(super) fn rule(mut self, members: Value) -> Self {
        let body = self.body.as_mut().expect("a body was named");
        body.rules.push(members);
        self
    }

    /// Answers with a value of this type.
    pub(super) fn answers<T: ToSchema>(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, Some(Schemas::of::<T>))
    }

    /// Answers with a page of values of this type.
    pub(super) fn answers_page<T: ToSchema>(self, description: &'static str) -> Self {
        self.answer(200, description, Some(Schemas::page_of::<T>))
    }

    /// Answers without a body.
    pub(super) fn done(self, description: &'static str) -> Self {
        self.answer(204, description, None)
    }

    fn answer(mut self, status: u16, description: &'static str, schema: Option<Schema>) -> Self {
        let status = StatusCode::from_u16(status).expect("it is a status");
        let (headers, links) = (vec![], vec![]);
        let media = "application/json";
        self.answers.push(Answer { status, description, schema, media, headers, links });
        self
    }

    /// Answers with events, for as long as the caller listens.
    pub(super) fn streams(self, description: &'static str) -> Self {
        let mut told = self.answer(200, description, Some(|_| json!({ "type": "string" })));
        let answer = told.answers.last_mut().expect("it was just named");
        answer.media = "text/event-stream";
        told
    }

    /// The answer that was named last always has this header.
    pub(super) fn header(self, name: &'static str, description: &'static str) -> Self {
        self.told_beside(name, description, true)
    }

    /// The answer that was named last may have this header.
    pub(super) fn may_have(self, name: &'static str, description: &'static str) -> Self {
        self.told_beside(name, description, false)
    }

    fn told_beside(mut self, name: &'static str, description: &'static str, always: bool) -> Self {
        let answer = self.answers.last_mut().expect("an answer was named");
        answer.headers.push((name, description, always));
        self
    }

    /// The answer that was named last holds, at `from`, this parameter of these operations.
    pub(super) fn leads_to(
        mut self,
        operations: &[&'static str],
        parameter: &'static str,
        from: &'static str,
    ) -> Self {
        let answer = self.answers.last_mut().expect("an answer was named");
        let links = operations.iter().map(|operation| Link { operation, parameter, from });
        answer.links.extend(links);
        self
    }

    /// Answers only that nothing is new to a caller who has the thing with the same tag.
    pub(super) fn unchanged(mut self) -> Self {
        self.answers.push(Answer {
            status: StatusCode::NOT_MODIFIED,
            description: "The caller has it, as If-None-Match says.",
            schema: None,
            media: "application/json",
            headers: vec![("ETag", "The tag of the thing.", true)],
            links: vec![],
        });
        self.may_send("If-None-Match", "Tags that the caller has.", "\"17\"")
    }

    /// The caller may send this header.
    pub(super) fn may_send(
        mut self,
        name: &'static str,
        description: &'static str,
        example: &'static str,
    ) -> Self {
        self.headers.push((name, description, example));
        self
    }

    /// Is refused where the thing has none of the tags that the caller says.
    pub(super) fn conditional(self) -> Self {
        self.may_send("If-Match", "Tags one of which the thing must have.", "\"17\"")
            .errors(&[Code::PreconditionFailed])
    }

    /// Can be refused for these reasons, besides those that follow from the rest.
    pub(super) fn errors(mut self, errors: &[Code]) -> Self {
        self.errors.extend_from_slice(errors);
        self
    }

    fn filter(&self) -> MethodFilter {
        match self.method {
            "get" => MethodFilter::GET,
            "post" => MethodFilter::POST,
            "put" => MethodFilter::PUT,
            "patch" => MethodFilter::PATCH,
            _ => MethodFilter::DELETE,
        }
    }
}

/// Operations, with the routes that serve them.
#[derive(Default)]
pub(super) struct Api {
    /// The routes.
    pub(super) router: Router<App>,
    /// What they serve.
    pub(super) operations: Vec<Operation>,
}

impl Api {
    /// With an operation, served by this handler.
    pub(super) fn add<H, T>(mut self, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.router = self.router.route(operation.path, on(operation.filter(), handler));
        self.operations.push(operation);
        self
    }
}
