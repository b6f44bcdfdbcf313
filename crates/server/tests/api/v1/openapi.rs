//! The document says what the server does.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::contract::{document, resolve, validator};
use crate::harness::{PASSWORD, TestApp};

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

/// Calls `look` with each object of a value, and its place.
fn each_object(value: &Value, place: &str, look: &mut impl FnMut(&str, &Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_object(item, place, look)),
        Value::Object(members) => {
            look(place, members);
            for (name, member) in members {
                each_object(member, &format!("{place}/{name}"), look);
            }
        }
        _ => {}
    }
}

/// What generators of clients made of the other shapes: types without fields, ids of 32 bits,
/// passwords of asterisks.
#[test]
fn schemas_have_the_shapes_that_generators_of_clients_understand() {
    each_object(&document()["components"]["schemas"], "", &mut |place, schema| {
        for choice in ["anyOf", "allOf"] {
            assert!(!schema.contains_key(choice), "{place} has {choice}");
        }
        let alone = !(schema.contains_key("oneOf") && schema.contains_key("properties"));
        assert!(alone, "{place} has oneOf beside its properties");
    });
    each_object(document(), "", &mut |place, schema| {
        let has_type = |name: &str| match schema.get("type") {
            Some(Value::Array(types)) => types.contains(&name.into()),
            kind => kind.is_some_and(|kind| kind == name),
        };
        let format = schema.get("format").and_then(Value::as_str);
        assert_ne!(format, Some("password"), "{place}");
        // The limit of a page may be any number; what is too large is clamped.
        let sized =
            schema.contains_key("default") || format.is_some_and(|it| it.starts_with("int"));
        assert!(!has_type("integer") || sized, "{place}");
        let is_id = place.ends_with("id") || place.ends_with("in_reply_to");
        assert!(!is_id || !has_type("integer") || format == Some("int64"), "{place}");
        let says_members = ["properties", "additionalProperties"];
        let says_members = says_members.iter().any(|name| schema.contains_key(*name));
        assert!(!has_type("object") || says_members, "{place}");
    });
}

/// Bodies with each combination of these fields: left out, null, or with this value.
fn combinations(base: &Value, fields: &[(&str, Value)]) -> Vec<Value> {
    fields.iter().fold(vec![base.clone()], |bodies, (name, value)| {
        let with = |body: &Value, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            body
        };
        let each = |body| [with(&body, Value::Null), with(&body, value.clone()), body];
        bodies.into_iter().flat_map(each).collect()
    })
}

#[tokio::test]
async fn rules_between_fields_are_those_of_the_server() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "hi").await;
    let message = [("to", json!(["bob"])), ("in_reply_to", json!(id))];
    let token = [("username", json!("ann")), ("password", json!(PASSWORD))];
    let batch = [
        ("ids", json!([id])),
        ("filter", json!({ "starred": true })),
        ("cursor", json!("AAAAAAAAAAc")),
        ("set", json!({ "read": true })),
        ("delete", json!(true)),
    ];
    let mut valid = vec![];
    for (path, schema, base, fields) in [
        ("/v1/messages", "NewMessage", json!({ "body": "x" }), message.as_slice()),
        ("/v1/tokens", "NewToken", json!({ "name": "x" }), &token),
        ("/v1/messages/batch", "NewBatch", json!({}), &batch),
    ] {
        for body in combinations(&base, fields) {
            let answer = ann.request("POST", path).json(&body).send().await;
            let fits = validator(schema).is_valid(&body);
            assert_eq!(answer.status != 422, fits, "{path} {body}: {answer:?}");
            valid.push(fits);
        }
    }
    let count = |wanted: bool| valid.iter().filter(|fits| **fits == wanted).count();
    assert_eq!((count(true), count(false)), (4 + 5 + 6, 5 + 4 + 237));
}

#[tokio::test]
async fn the_document_for_openapi_3_0_says_the_same_in_the_words_of_that_version() {
    let app = TestApp::start().await;
    let served = app.client().request("GET", "/openapi-3.0.json").send().await.ok();
    assert_eq!(served["openapi"], "3.0.3");
    let unknown = ["if", "then", "else", "dependentRequired", "const", "identifier"];
    let mut nullables = 0;
    each_object(&served, "", &mut |place, object| {
        for name in unknown.iter().filter(|_| !place.ends_with("/properties")) {
            assert!(!object.contains_key(*name), "{place} has {name}");
        }
        assert!(!object.contains_key("$ref") || object.len() == 1, "{place}: {object:?}");
        let lists = ["type", "examples"].map(|name| object.get(name).is_some_and(Value::is_array));
        assert_eq!(lists, [false; 2], "{place}");
        assert!(object.get("type").is_none_or(|kind| kind != "null"), "{place}");
        // Null has to be allowed beside the type, and by a list of values as well.
        if let Some(nullable) = object.get("nullable").filter(|_| !place.ends_with("/properties")) {
            let values = object.get("enum").and_then(Value::as_array);
            let typed = object.get("type").is_some_and(Value::is_string);
            let listed = values.is_none_or(|values| values.contains(&Value::Null));
            assert!(*nullable == true && typed && listed, "{place}: {object:?}");
            nullables += 1;
        }
    });
    let message = &served["components"]["schemas"]["NewMessage"];
    let subject = &message["properties"]["subject"];
    assert_eq!((&subject["type"], &subject["nullable"]), (&"string".into(), &true.into()));
    let rule = "`to` may be left out only with `in_reply_to`.";
    assert!(message["description"].as_str().is_some_and(|text| text.ends_with(rule)));
    let send = &served["paths"]["/v1/messages"]["post"];
    assert_eq!(send["security"][0], json!({ "bearerAuth": [] }));
    let scopes = "A token needs the scope `messages:write`. A server key needs the scope `act`.";
    assert_eq!(send["description"], scopes);
    assert!(nullables > 20, "{nullables}");
    let nothing = json!({ "type": "object", "nullable": true, "enum": [null] });
    for (of, property, named) in [
        ("Conversation", "last_message", "MessageItem"),
        ("NewBrowserToken", "create", "NewPerson"),
    ] {
        let property = &served["components"]["schemas"][of]["properties"][property];
        let named = json!({ "$ref": format!("#/components/schemas/{named}") });
        assert_eq!(property["oneOf"], json!([named, nothing]));
        assert!(property["description"].is_string() && property.get("nullable").is_none());
    }
    // Nothing else is missing.
    let names = |document: &Value| {
        let mut names = BTreeSet::new();
        each_object(document, "", &mut |place, object| {
            let kept = |name: &&String| !unknown.contains(&name.as_str());
            let names_here = object.keys().filter(kept).map(|name| format!("{place}/{name}"));
            let is_rule = unknown.iter().any(|name| place.contains(&format!("/{name}")));
            names.extend(names_here.filter(|_| !is_rule));
        });
        names
    };
    let (older, newer) = (names(&served), names(document()));
    let moved = |name: &&String| {
        let ends = ["$ref", "oneOf", "type", "examples", "description"];
        !ends.iter().any(|end| name.ends_with(end))
    };
    let lost: Vec<_> = newer.difference(&older).filter(moved).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Some clients name the type of a form with every body, also with one that is empty.
#[tokio::test]
async fn an_empty_body_is_none_whatever_its_type() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let token = app.user("ann").await.token(None).await;
    let server = app.server_key(&["users", "tokens", "unread", "system"]).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (length, chunked) = ("Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n");
    let ways = [
        format!("{form}{length}\r\n"),
        format!("{form}{chunked}\r\n0\r\n\r\n"),
        format!("Content-Type: text/plain\r\n{length}\r\n"),
        format!("Content-Type: \r\n{chunked}\r\n0\r\n\r\n"),
        format!("{length}\r\n"),
    ];
    let (mut without, mut needed) = (0, 0);
    for (method, path, said) in operations() {
        if method == "GET" {
            continue;
        }
        let bearer = if path.starts_with("/v1/server/") { &server.key } else { &token };
        let mut told = BTreeSet::new();
        for way in ["\r\n"].into_iter().chain(ways.iter().map(String::as_str)) {
            let host = app.address().host();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
            let request = format!("{head}Authorization: Bearer {bearer}\r\n{way}");
            let answer = app.raw(request.as_bytes()).await;
            let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
            let code = answer.split_once("\"code\":\"").map_or("", |(_, rest)| rest);
            told.insert((status, code.split('"').next().unwrap_or_default().to_owned()));
        }
        let [(status, code)] = &Vec::from_iter(told.clone())[..] else {
            panic!("{method} {path}: {told:?}")
        };
        if said["requestBody"]["required"] == true {
            assert!(status == "422" && code == "invalid", "{method} {path}: {status} {code}");
            needed += 1;
        } else {
            assert!(status != "415" && status != "400", "{method} {path}: {status} {code}");
            without += 1;
        }
    }
    assert!(without > 14 && needed > 9, "{without} {needed}");
}

#[tokio::test]
async fn who_may_call_is_as_documented() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let all = ["messages:read", "messages:write", "account"];
    for (method, path, said) in operations() {
        let Some(scope) = said["security"].pointer("/0/bearerAuth/0") else {
            let of_the_server = path.starts_with("/v1/server/");
            assert!(of_the_server || said["security"] == json!([]), "{method} {path}");
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
