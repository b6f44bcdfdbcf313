//! The document says what the server does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::contract::{document, resolve, validator};
use crate::harness::TestApp;

/// Each operation: its method, its path with a number for each parameter, and what is said of it.
fn operations() -> Vec<(String, String, &'static Value)> {
    let paths = document()["paths"].as_object().expect("it is an object").iter();
    let each = paths.flat_map(|(path, operations)| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "777" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        let operations = operations.as_object().expect("it is an object").iter();
        operations.map(move |(method, said)| (method.to_ascii_uppercase(), path.clone(), said))
    });
    each.collect()
}

#[tokio::test]
async fn the_document_in_the_tree_is_the_one_that_is_served() {
    let app = TestApp::start().await;
    let client = app.client();

    let served = client.request("GET", "/openapi.json").send().await;

    assert_eq!(served.status, 200);
    let served = std::str::from_utf8(&served.body).expect("it is text");
    let kept = include_str!("../../../../../docs/openapi.json");
    assert!(served == kept, "run `postroom openapi > docs/openapi.json`");
    assert_eq!(document()["openapi"], "3.1.0");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let text = document().to_string();
    let mut used = BTreeSet::new();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let place = reference.split('"').next().expect("it ends");
        assert!(document().pointer(place).is_some(), "{place}");
        used.insert(place.rsplit('/').next().expect("it has an end").to_owned());
    }
    for name in document()["components"]["schemas"].as_object().expect("they are there").keys() {
        assert!(used.contains(name) || name == "Person", "{name} is not used");
        validator(name);
    }
    assert!(used.len() > 20, "{used:?}");
}

#[test]
fn every_operation_explains_itself() {
    let mut ids = BTreeSet::new();
    for (method, path, said) in operations() {
        let id = said["operationId"].as_str().expect("it has a name");
        assert!(ids.insert(id), "{id} is there twice");
        for text in ["/summary", "/tags/0"] {
            let text = said.pointer(text).and_then(Value::as_str).unwrap_or_default();
            assert!(text.len() > 3, "{method} {path}");
        }
        for response in said["responses"].as_object().expect("it is an object").values() {
            assert!(resolve(response)["description"].is_string(), "{method} {path}");
        }
        let parameters = said["parameters"].as_array().expect("it is a list");
        for parameter in parameters {
            for member in ["name", "in", "description", "schema", "example"] {
                assert!(parameter.get(member).is_some(), "{method} {path}: {parameter}");
            }
        }
        let keyed = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
        assert_eq!(keyed, method == "POST", "{path}");
    }
    assert!(ids.len() >= 17, "{ids:?}");
}

#[test]
fn every_link_leads_to_a_parameter_of_an_operation() {
    let all = operations();
    let mut count = 0;
    for (method, path, said) in &all {
        for response in said["responses"].as_object().expect("it is an object").values() {
            for link in response["links"].as_object().into_iter().flat_map(|links| links.values()) {
                let mut others = all.iter().map(|(_, _, said)| said);
                let other = others.find(|said| said["operationId"] == link["operationId"]);
                let known = other.expect("it is there")["parameters"].as_array();
                let known = known.expect("it is a list");
                for (name, from) in link["parameters"].as_object().expect("it is an object") {
                    let there = known.iter().any(|parameter| parameter["name"] == *name);
                    let from = from.as_str().expect("it is text");
                    assert!(
                        there && from.starts_with("$response.body#/"),
                        "{method} {path}: {link}"
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count > 10);
}

#[test]
fn every_example_is_one() {
    for (name, example) in document()["components"]["examples"].as_object().expect("they are") {
        assert!(validator("Problem").is_valid(&example["value"]), "{name}");
    }
    for (name, schema) in document()["components"]["schemas"].as_object().expect("they are") {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(example) = schema.get("example") {
                let within = json!({ "allOf": [schema], "components": document()["components"] });
                let valid = jsonschema::is_valid(&within, example);
                assert!(valid, "{name}.{field}: {example} is no example of {schema}");
            }
        }
    }
}

#[tokio::test]
async fn who_may_call_is_as_documented() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let all = ["messages:read", "messages:write", "account"];
    for (method, path, said) in operations() {
        let Some(scope) = said["security"].pointer("/0/bearerAuth/0") else {
            assert_eq!(said["security"], json!([]), "{method} {path}");
            continue;
        };
        let open = said["security"].as_array().is_some_and(|ways| ways.contains(&json!({})));
        let has_body = said.get("requestBody").is_some();
        let body = || if has_body { json!({ "name": "a" }) } else { Value::Null };
        let request = |token: Option<&str>| {
            let request = app.client();
            let (method, path, token) = (method.clone(), path.clone(), token.map(str::to_owned));
            async move {
                let request = request.request(&method, &path);
                let request = match &token {
                    Some(token) => request.bearer(token),
                    None => request,
                };
                if has_body { request.json(&body()).send().await } else { request.send().await }
            }
        };
        let nobody = request(None).await;
        nobody.problem(401, "unauthenticated");
        assert_eq!(nobody.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        let stranger = request(Some("prt_1.AAAA")).await;
        stranger.problem(401, "unauthenticated");
        let reported = Some("Bearer error=\"invalid_token\"");
        assert_eq!(stranger.header("www-authenticate"), reported, "{method} {path}");

        let others: Vec<_> = all.into_iter().filter(|other| *other != *scope).collect();
        let token = ann.token(Some(&others)).await;
        let refused = request(Some(&token)).await;
        refused.problem(403, "insufficient_scope");
        let reported = refused.header("www-authenticate").expect("it says what is missing");
        assert_eq!(reported, format!("Bearer error=\"insufficient_scope\", scope={scope}"));
        assert!(!open || path == "/v1/tokens", "{path}");
    }
}
