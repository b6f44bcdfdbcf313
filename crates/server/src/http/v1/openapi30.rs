//! The document as OpenAPI 3.0 says it, for tools that take no other version.
//!
//! It leaves out what 3.0 cannot say: rules between fields (`if`, `dependentRequired`), which the
//! descriptions have in words anyway, and the scopes of tokens, which become words here.

use serde_json::{Map, Value, json};

const RULES: [&str; 4] = ["if", "then", "else", "dependentRequired"];

/// Rewrites a document of version 3.1.
pub(super) fn from_31(mut document: Value) -> Value {
    document["openapi"] = "3.0.3".into();
    if let Some(license) = document["info"]["license"].as_object_mut() {
        license.remove("identifier");
    }
    rewrite(&mut document);
    document
}

/// Rewrites a part of the document, from the inside out.
fn rewrite(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::Object(members) => {
            let data = |name: &str| ["example", "value", "default", "enum"].contains(&name);
            let parts = members.iter_mut().filter(|(name, _)| !data(name));
            parts.for_each(|(_, part)| rewrite(part));
            members.retain(|name, _| !RULES.contains(&name.as_str()));
            say_nullable(members);
            if let Some(Value::Array(examples)) = members.get("examples") {
                let first = examples.first().cloned();
                members.remove("examples");
                members.extend(first.map(|example| ("example".to_owned(), example)));
            }
            // Here nothing may stand beside a reference.
            if members.len() > 1
                && let Some(reference) = members.remove("$ref")
            {
                members.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
            if members.contains_key("operationId") {
                say_scope(members);
            }
        }
        _ => {}
    }
}

/// Null is no type of its own: a value of some other type may be null.
fn say_nullable(members: &mut Map<String, Value>) {
    let is_null = |value: &Value| *value == "null" || value["type"] == "null";
    for name in ["type", "oneOf"] {
        let Some(Value::Array(choices)) = members.get(name) else { continue };
        if !choices.iter().any(is_null) {
            continue;
        }
        let mut others: Vec<_> = choices.iter().filter(|one| !is_null(one)).cloned().collect();
        assert_eq!(others.len(), 1, "there is one type besides null");
        match others.remove(0) {
            // `nullable` counts only beside the type, and the type is elsewhere: null is a choice.
            Value::Object(mut other) if !other.contains_key("type") => {
                let about = other.remove("description");
                members.extend(about.map(|about| ("description".to_owned(), about)));
                let named = match other.remove("allOf") {
                    Some(Value::Array(mut only)) => only.remove(0),
                    _ => Value::Object(other),
                };
                let nothing = json!({ "type": "object", "nullable": true, "enum": [null] });
                members[name] = json!([named, nothing]);
                continue;
            }
            Value::Object(other) => {
                members.remove(name);
                members.extend(other);
            }
            kind => members[name] = kind,
        }
        members.insert("nullable".to_owned(), true.into());
    }
}

/// Only logins by OAuth have scopes here.
fn say_scope(operation: &mut Map<String, Value>) {
    let ways = operation.get_mut("security").and_then(Value::as_array_mut).into_iter().flatten();
    let schemes = ways.flat_map(|way| way.as_object_mut().into_iter().flatten());
    let scopes = schemes.flat_map(|(scheme, scopes)| {
        let who = if scheme == "serverKey" { "A server key" } else { "A token" };
        let scopes = std::mem::replace(scopes, json!([]));
        let scopes = scopes.as_array().cloned().unwrap_or_default().into_iter();
        scopes.map(move |scope| format!("{who} needs the scope {scope}.").replace('"', "`"))
    });
    let text = scopes.collect::<Vec<_>>().join(" ");
    if !text.is_empty() {
        operation.insert("description".to_owned(), text.into());
    }
}
