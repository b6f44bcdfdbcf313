//! The format of imports and exports as it is published: docs/moving.schema.json and the sample
//! beside it, held to the command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::moving::build;
use crate::support::Place;

const SAMPLE: &str = include_str!("../../../../docs/moving.sample.jsonl");
const HEADER: &str = r#"{"postroom": 1, "source": "shop"}"#;

fn schema() -> Value {
    let schema = include_str!("../../../../docs/moving.schema.json");
    serde_json::from_str(schema).expect("the schema is JSON")
}

fn validator() -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema()).expect("it is a schema")
}

#[track_caller]
fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The errors of an import: the line, the pointer, the code and the detail of each.
fn errors(place: &Place, file: &str) -> Vec<(i64, String, String, String)> {
    fs::write(place.path("file.jsonl"), file).expect("a file can be written");
    let ran = place.run(&["import", "file.jsonl", "--dry-run"]);
    let error = |line: &str| {
        let error = parse(line);
        let text = |name: &str| error[name].as_str().expect("it is text").to_owned();
        let line = error["line"].as_i64().expect("it is a number");
        (line, text("pointer"), text("code"), text("detail"))
    };
    if ran.status == 0 { vec![] } else { ran.out.lines().map(error).collect() }
}

/// The fields of each kind of line, as the schema has them.
fn of_schema() -> BTreeMap<String, BTreeSet<String>> {
    let schema = schema();
    let kinds = schema["$defs"].as_object().expect("it has definitions").iter();
    let fields = kinds.filter_map(|(kind, schema)| {
        let fields = schema["properties"].as_object()?;
        assert_eq!(schema["additionalProperties"], false, "{kind}");
        Some((kind.clone(), fields.keys().cloned().collect()))
    });
    fields.collect()
}

#[test]
fn the_schema_has_the_fields_that_an_import_reads_and_no_others() {
    let place = Place::new();
    let message = json!({ "message": { "external_id": "1", "from": "a", "to": ["a"],
        "sent_at": "2025-01-01T00:00:00Z", "state": [{ "user": "a", "?": 1 }], "?": 1 } });
    let header = json!({ "postroom": 1, "source": "shop", "?": 1 });
    let others = ["user", "block", "mute", "contact", "session", "token"];
    let others = others.map(|kind| json!({ kind: { "?": 1 } }));
    let lines = [header, message].into_iter().chain(others).map(|line| line.to_string());
    let file = lines.collect::<Vec<_>>().join("\n");
    let mut read = BTreeMap::new();
    for (line, pointer, code, detail) in errors(&place, &file) {
        if code != "unknown_field" {
            continue;
        }
        let kind = match pointer.trim_end_matches("/?") {
            "" => "header",
            "/message/state/0" => "state",
            kind => &kind[1..],
        };
        let (_, known) = detail.split_once("but ").unwrap_or_else(|| panic!("{line}: {detail}"));
        let known: BTreeSet<_> = known.split(", ").map(str::to_owned).collect();
        assert_eq!(read.insert(kind.to_owned(), known), None, "{kind}");
    }
    assert_eq!(read, of_schema());
}

#[test]
fn the_sample_has_every_field_and_can_be_imported() {
    let (place, schema) = (Place::new(), validator());
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut see = |kind: &str, fields: &Value| {
        let fields = fields.as_object().expect("it is an object").keys().cloned();
        seen.entry(kind.to_owned()).or_default().extend(fields);
    };
    for (number, line) in SAMPLE.lines().enumerate() {
        let line = parse(line);
        assert!(schema.is_valid(&line), "{line}");
        if number == 0 {
            see("header", &line);
            continue;
        }
        let (kind, fields) = line.as_object().and_then(|line| line.iter().next()).expect("a kind");
        see(kind, fields);
        for state in fields["state"].as_array().into_iter().flatten() {
            see("state", state);
        }
    }
    assert_eq!(seen, of_schema());
    assert_eq!(errors(&place, SAMPLE), []);
    fs::write(place.path("sample.jsonl"), SAMPLE).expect("a file can be written");
    place.run(&["import", "sample.jsonl"]).ok();
    place.is_whole();
    place.run(&["import", "sample.jsonl"]).ok();
    for line in place
        .run(&["export"])
        .ok()
        .lines()
        .chain(place.run(&["export", "--user", "ann"]).ok().lines())
    {
        assert!(schema.is_valid(&parse(line)), "{line}");
    }
}

#[test]
fn what_goes_out_fits_the_schema_and_what_has_more_fits_neither() {
    let (place, schema) = (Place::new(), validator());
    let server = place.serve();
    drop(build(&place, &server));
    server.stop();
    let exports = [&["export"][..], &["export", "--user", "ann"], &["export", "--user", "dan"]];
    let mut kinds = BTreeSet::new();
    for arguments in exports {
        for line in place.run(arguments).ok().lines() {
            let mut line = parse(line);
            assert!(schema.is_valid(&line), "{line}");
            let object = line.as_object_mut().expect("it is an object");
            kinds.extend(object.keys().cloned());
            for fields in object.values_mut() {
                if let Some(fields) = fields.as_object_mut() {
                    fields.insert("colour".to_owned(), "blue".into());
                    assert!(!schema.is_valid(&line), "{line}");
                    break;
                }
            }
        }
    }
    for kind in of_schema().into_keys().filter(|kind| kind != "state" && kind != "header") {
        assert!(kinds.contains(&kind), "no {kind} among {kinds:?}");
    }
}

#[test]
fn each_odd_line_gets_its_code_and_place() {
    let place = Place::new();
    place.run(&["migrate"]).ok();
    let message = |more: &str| {
        format!(
            r#"{{"message": {{"external_id": "1", "from": "ann", "to": ["ann"],
                "sent_at": "2025-01-01T00:00:00Z"{more}}}}}"#
        )
        .replace('\n', " ")
    };
    let long = "x".repeat(65_537);
    let cases = [
        (r#"{"user": {"username": "me"}}"#.to_owned(), "/user/username", "reserved"),
        (r#"{"user": {"username": "user-7"}}"#.to_owned(), "/user/username", "reserved"),
        (r#"{"user": {"display_name": "X"}}"#.to_owned(), "/user/username", "missing"),
        (r#"{"user": {"username": "x", "id": 0}}"#.to_owned(), "/user/id", "invalid"),
        (r#"{"user": {"username": "x", "kind": "robot"}}"#.to_owned(), "/user/kind", "invalid"),
        (
            r#"{"user": {"username": "x", "kind": "system"}}"#.to_owned(),
            "/user/external_id",
            "missing",
        ),
        (
            r#"{"user": {"username": "x", "erased": true, "id": 7}}"#.to_owned(),
            "/user/erased",
            "invalid",
        ),
        (r#"{"user": {"erased": true}}"#.to_owned(), "/user/erased", "invalid"),
        (r#"{"user": {"username": "x", "active": 1}}"#.to_owned(), "/user/active", "invalid"),
        (r#"{"user": {"username": "Ann"}}"#.to_owned(), "/user/username", "duplicate"),
        (r#"{"user": {"username": "ＡＮＮ"}}"#.to_owned(), "/user/username", "duplicate"),
        (
            r#"{"user": {"external_id": "7", "username": "x"}}"#.to_owned(),
            "/user/external_id",
            "duplicate",
        ),
        (r#"{"user": {"id": 3, "username": "x"}}"#.to_owned(), "/user/id", "duplicate"),
        (r#"{"user": {"username": "x\u0000y"}}"#.to_owned(), "/user/username", "invalid"),
        (message(r#", "body": "a\u0000b""#), "/message/body", "invalid"),
        (message(r#", "subject": "a\u0000b""#), "/message/subject", "invalid"),
        (message(&format!(r#", "body": "{long}""#)), "/message/body", "invalid"),
        (message(r#", "body": "\ud800""#), "/message/body", "invalid"),
        (message(r#", "metadata": [1]"#), "/message/metadata", "invalid"),
        (message(r#", "state": [7]"#), "/message/state", "invalid"),
        (message(r#", "state": [{"user": "bob"}]"#), "/message/state/0/user", "unknown_user"),
        (message(r#", "state": [{"read_at": true}]"#), "/message/state/0/user", "missing"),
        (
            message(r#", "state": [{"user": "ann", "read_at": "1969-01-01T00:00:00Z"}]"#),
            "/message/state/0/read_at",
            "invalid",
        ),
        (message("").replace("2025", "1969"), "/message/sent_at", "invalid"),
        (message("").replace(r#""to": ["ann"]"#, r#""to": []"#), "/message/to", "missing"),
        (message("").replace(r#""to": ["ann"]"#, r#""to": [0]"#), "/message/to/0", "invalid"),
        (message("").replace(r#""to": ["ann"]"#, r#""to": [17]"#), "/message/to/0", "unknown_user"),
        (message("").replace(r#""external_id": "1","#, ""), "/message/external_id", "missing"),
        (message(r#", "in_reply_to": "no""#), "/message/in_reply_to", "unknown_message"),
        (message(r#", "in_reply_to": "1""#), "/message/in_reply_to", "circle"),
        (r#"{"block": {"user": "ann", "blocked": "ann"}}"#.to_owned(), "/block/blocked", "invalid"),
        (
            r#"{"block": {"user": "ann", "blocked": "bob"}}"#.to_owned(),
            "/block/blocked",
            "unknown_user",
        ),
        (r#"{"letter": {}}"#.to_owned(), "", "not_a_line"),
        ("[]".to_owned(), "", "not_a_line"),
        (r#"{"user": {"username": "x"}, "block": {}}"#.to_owned(), "", "not_a_line"),
        (r#"{"user": {"username": "broken off"#.to_owned(), "", "not_json"),
    ];
    // Everything after the mark and the other line ends counts as usual, and each case is a line.
    let known = [
        r#"{"user": {"username": "ann"}}"#,
        r#"{"user": {"external_id": "7"}}"#,
        r#"{"user": {"username": "x3", "id": 3}}"#,
    ];
    for (line, pointer, code) in &cases {
        let file = format!("\u{feff}{HEADER}\r\n\r\n{}\r\n{line}", known.join("\r\n"));
        let found = errors(&place, &file);
        let found: Vec<_> = found.iter().map(|(at, to, of, _)| (*at, &**to, &**of)).collect();
        assert_eq!(found, [(6, *pointer, *code)], "{line}");
    }
    let files = place.files();
    assert!(!files.iter().any(|name| name.contains("spool")), "{files:?}");
}
