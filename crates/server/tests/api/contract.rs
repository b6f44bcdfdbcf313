//! What docs/openapi.json promises of the answers of /v1, and whether they keep it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hyper::Method;
use jsonschema::Validator;
use serde_json::{Value, json};
use testing::{EVENT_STREAM, Response};

/// Headers that need not be promised: they are on every answer, or a matter of HTTP itself.
const USUAL: [&str; 14] = [
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
    "x-request-id",
    "allow",
];

/// The document that is in the tree; a test holds it equal to what is served.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let text = include_str!("../../../../docs/openapi.json");
        serde_json::from_str(text).expect("the document is JSON")
    })
}

/// Holds an answer to what the document promises.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, answer: &Response) {
    if method == Method::OPTIONS && answer.status == 204 {
        return;
    }
    let path = path.split('?').next().expect("a path has a start");
    let Some(operations) = operations(path) else {
        assert_eq!(answer.status, 404, "{path} is documented nowhere: {answer:?}");
        return check_body(method, "application/problem+json", "Problem", answer);
    };
    let name = if method == Method::HEAD { Method::GET } else { method.clone() };
    let Some(operation) = operations.get(name.as_str().to_ascii_lowercase()) else {
        assert_eq!(answer.status, 405, "{method} {path} is documented nowhere: {answer:?}");
        assert!(answer.header("allow").is_some(), "{method} {path}: {answer:?}");
        return check_body(method, "application/problem+json", "Problem", answer);
    };
    let Some(promised) = operation["responses"].get(answer.status.to_string()) else {
        panic!("{method} {path}: {} is not documented: {answer:?}", answer.status);
    };
    let promised = resolve(promised);
    check_headers(method, path, promised, answer);
    let content = promised["content"].as_object().and_then(|content| content.iter().next());
    let Some((kind, content)) = content else {
        assert!(answer.body.is_empty(), "{method} {path}: {answer:?}");
        return assert_eq!(answer.header("content-type"), None, "{method} {path}: {answer:?}");
    };
    if kind == "text/event-stream" {
        assert_eq!(answer.header("x-accel-buffering"), Some("no"), "{answer:?}");
        return assert_eq!(answer.header("content-type"), Some(EVENT_STREAM), "{answer:?}");
    }
    if kind == "application/x-ndjson" {
        assert_eq!(answer.header("content-type"), Some(kind.as_str()), "{answer:?}");
        return check_lines(&answer.text());
    }
    let schema = content["schema"]["$ref"].as_str().expect("each schema has a name");
    check_body(method, kind, schema.rsplit('/').next().expect("a path has an end"), answer);
}

/// The operations of a path, by the template that it fits.
fn operations(path: &str) -> Option<&'static Value> {
    let paths = document()["paths"].as_object().expect("it is an object");
    let fits = |template: &str| {
        let (expected, parts) = (template.split('/'), path.split('/'));
        template.split('/').count() == path.split('/').count()
            && expected.zip(parts).all(|(expected, part)| {
                expected == part || expected.starts_with('{') && !part.is_empty()
            })
    };
    paths.get(path).or_else(|| paths.iter().find(|(path, _)| fits(path)).map(|(_, found)| found))
}

#[track_caller]
fn check_headers(method: &Method, path: &str, promised: &'static Value, answer: &Response) {
    let promised = promised["headers"].as_object().expect("there is one at least");
    for (name, header) in promised {
        let header = resolve(header);
        let there = answer.headers.contains_key(name);
        assert!(there || header["required"] != true, "{method} {path}: no {name} in {answer:?}");
    }
    for name in answer.headers.keys() {
        let known = promised.keys().any(|promised| promised.eq_ignore_ascii_case(name.as_str()));
        let usual = USUAL.contains(&name.as_str()) || name.as_str().starts_with("access-control-");
        assert!(known || usual, "{method} {path}: {name} is not documented: {answer:?}");
    }
}

/// What a reference within the document stands for.
pub(crate) fn resolve(value: &'static Value) -> &'static Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let place = reference.strip_prefix('#').expect("it is in the document");
    document().pointer(place).unwrap_or_else(|| panic!("there is no {reference}"))
}

#[track_caller]
fn check_body(method: &Method, kind: &str, schema: &str, answer: &Response) {
    assert_eq!(answer.header("content-type"), Some(kind), "{answer:?}");
    if method == Method::HEAD {
        return assert!(answer.body.is_empty(), "{answer:?}");
    }
    let body = answer.json();
    let validator = validator(schema);
    let problems: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{schema}: {problems:?} in {answer:?}");
    if kind == "application/problem+json" {
        assert_eq!(body["status"], answer.status, "{answer:?}");
        assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{answer:?}");
        let wait = body["retry_after"].as_i64().map(|wait| wait.to_string());
        assert_eq!(wait.as_deref(), answer.header("retry-after"), "{answer:?}");
        assert!(wait.is_none_or(|wait| wait != "0"), "{answer:?}");
    }
}

/// Holds each line of an export to the schema of the format.
#[track_caller]
fn check_lines(text: &str) {
    static LINE: OnceLock<Validator> = OnceLock::new();
    let line = LINE.get_or_init(|| {
        let schema = include_str!("../../../../docs/moving.schema.json");
        let schema = serde_json::from_str(schema).expect("the schema is JSON");
        jsonschema::options().should_validate_formats(true).build(&schema).expect("it is a schema")
    });
    for text in text.lines() {
        let value = serde_json::from_str(text).expect("each line is JSON");
        assert!(line.is_valid(&value), "docs/moving.schema.json has no such line: {text}");
    }
}

/// What holds values to a schema of the document, without further members.
pub(crate) fn validator(schema: &str) -> Arc<Validator> {
    static KNOWN: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let validator = known.entry(schema.to_owned()).or_insert_with(|| {
        let root = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": format!("#/components/schemas/{schema}"),
            "components": { "schemas": document()["components"]["schemas"] },
            "unevaluatedProperties": false,
        });
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.build(&root).unwrap_or_else(|error| panic!("{schema}: {error}")))
    });
    Arc::clone(validator)
}
