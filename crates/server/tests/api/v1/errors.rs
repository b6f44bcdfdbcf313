//! What is wrong is told at once, with its place, in the shape of the API that was asked.

use serde_json::{Value, json};

use super::newcomer;
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn all_fields_that_are_wrong_are_told_at_once() {
    let app = TestApp::start().await;
    let body = json!({
        "username": "two words",
        "email": 7,
        "password": "short",
        "display_name": "",
        "colour": "red",
        "a/b~c d": null,
    });

    let answer = app.client().request("POST", "/v1/users").json(&body).send().await;

    assert_eq!(
        answer.invalid(),
        [
            "#/username invalid",
            "#/email wrong_type",
            "#/password invalid",
            "#/display_name invalid",
            "#/a~1b~0c%20d unknown_field",
            "#/colour unknown_field",
        ]
    );
    let problem = answer.json();
    assert_eq!(problem["type"], "/docs/errors#invalid");
    assert_eq!(problem["title"], "Invalid input");
    let detail = problem["errors"][2]["detail"].as_str().expect("it says what is wrong");
    assert_eq!(detail, "it must have 8 to 1024 bytes");
    assert!(!answer.body.windows(5).any(|text| text == b"short"), "it repeats no password");
}

#[tokio::test]
async fn what_is_missing_is_named_also_where_nothing_was_sent() {
    let app = TestApp::start().await;
    let client = app.client();
    let missing = ["#/username missing", "#/email missing", "#/password missing"];

    let empty = client.request("POST", "/v1/users").json(&json!({})).send().await;
    assert_eq!(empty.invalid(), missing);
    let nothing = client.request("POST", "/v1/users").send().await;
    assert_eq!(nothing.invalid(), missing);
    let one = client.request("POST", "/v1/sessions").json(&json!({ "username": "a" })).send().await;
    assert_eq!(one.invalid(), ["#/password missing"]);
    assert_eq!(one.json()["detail"], "password: it is missing");
}

#[tokio::test]
async fn a_body_has_a_bounded_number_of_members_and_values() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let members = |count| -> Value { (0..count).map(|n| (n.to_string(), json!(n))).collect() };
    let send = async |more: (&str, Value)| {
        let mut draft = json!({ "to": ["ann"], "body": "x" });
        draft[more.0] = more.1;
        ann.try_write(&draft).await
    };
    let unknown = send(("x", members(1000 - 3))).await;
    assert_eq!(unknown.invalid(), ["#/x unknown_field"]);
    let unknown = send(("x", json!(vec![0; 5000 - 5]))).await;
    assert_eq!(unknown.invalid(), ["#/x unknown_field"]);
    send(("metadata", json!({ "a": vec![0; 2556] }))).await.expect(201);
    for (more, problem) in [
        (("x", members(1000 - 2)), "it has more than 1000 members"),
        (("x", json!([members(600), members(600)])), "it has more than 1000 members"),
        (("x", json!(vec![0; 5000 - 4])), "it has more than 5000 values"),
        (("metadata", json!([vec![0; 3000], vec![0; 3000]])), "it has more than 5000 values"),
    ] {
        let refused = send(more).await.problem(400, "malformed_json");
        let detail = refused["detail"].as_str().expect("it is text");
        assert!(detail.starts_with(&format!("body: {problem}")), "{detail}");
    }
}

#[tokio::test]
async fn a_body_must_be_a_json_object_and_be_declared_as_json() {
    let app = TestApp::start().await;
    let client = app.client();
    let post = async |kind: Option<&str>, body: &'static [u8]| {
        let request = client.request("POST", "/v1/users").body(body);
        match kind {
            Some(kind) => request.header("content-type", kind).send().await,
            None => request.send().await,
        }
    };

    post(None, b"{}").await.problem(415, "unsupported_media_type");
    for kind in [
        "",
        "json",
        "text/json",
        "text/plain",
        "application/jsonp",
        "application/x+jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        post(Some(kind), b"{}").await.problem(415, "unsupported_media_type");
    }
    for encoding in ["gzip", "deflate", "br", ""] {
        let request = client.request("POST", "/v1/users").header("content-encoding", encoding);
        let request = request.header("content-type", "application/json").body(&b"\x1f\x8b\x08"[..]);
        request.send().await.problem(415, "unsupported_media_type");
    }
    for kind in [
        "Application/JSON; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/vnd.example+json",
    ] {
        assert_eq!(post(Some(kind), b"{}").await.invalid().len(), 3, "{kind}");
    }
    for body in [&b"{"[..], b"{\"a\":}", b"{} {}", b"nothing", b"{\"a\": \"\xff\"}"] {
        post(Some("application/json"), body).await.problem(400, "malformed_json");
    }
    for body in [&b"[]"[..], b"null", b"\"text\"", b"7"] {
        let refused = post(Some("application/json; charset=utf-8"), body).await;
        assert_eq!(refused.invalid(), ["# wrong_type"]);
    }
    let merged = post(Some("application/merge-patch+json"), b"{}").await;
    assert_eq!(merged.invalid().len(), 3);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let app = TestApp::with(&[("body_max_bytes", "1000")]).await;
    let body = json!({ "username": "a".repeat(1_000_000) });

    let answer = app.client().request("POST", "/v1/sessions").json(&body).send().await;

    answer.problem(413, "body_too_large");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_below_v1_only() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    for path in ["/v1/nothing", "/v1/", "/v1/users/7/nothing", "/v1/users/"] {
        ann.call("GET", path).await.problem(404, "not_found");
    }
    let wrong = ann.call("PUT", "/v1/users/me").await;
    wrong.problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD,PATCH,DELETE"));
    let options = ann.call("OPTIONS", "/v1/users").await;
    options.problem(405, "method_not_allowed");
    ann.call("GET", "/v2/users").await.error(404);
    assert_eq!(ann.call("HEAD", "/v1/users/me").await.status, 200);
}

#[tokio::test]
async fn what_is_no_id_is_not_found() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for id in ["0", "-1", "+1", "01", "1.0", "9007199254740992", "99999999999999999999", "you"] {
        ann.call("GET", &format!("/v1/users/{id}")).await.problem(404, "not_found");
    }
    ann.call("GET", &format!("/v1/users/{}", ann.id.get())).await.expect(200);
}

#[tokio::test]
async fn what_is_missing_is_named_by_its_noun_whether_its_id_could_be_one() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    let others = bob.write_to(&[&bob], "of bob alone").await;
    let others = others.to_string();
    let calls = [
        ("GET", "/v1/users", "user"),
        ("PUT", "/v1/blocks", "user"),
        ("DELETE", "/v1/tokens", "token"),
        ("DELETE", "/v1/sessions", "session"),
        ("GET", "/v1/conversations", "conversation"),
        ("PATCH", "/v1/conversations", "conversation"),
        ("DELETE", "/v1/conversations", "conversation"),
        ("GET", "/v1/messages", "message"),
        ("PATCH", "/v1/messages", "message"),
        ("DELETE", "/v1/messages", "message"),
    ];
    for (method, path, noun) in calls {
        let mut ids = vec!["abc", "0", "4000000"];
        if noun != "user" {
            ids.push(&others);
        }
        for id in ids {
            let asked = ann.request(method, &format!("{path}/{id}"));
            let asked = if method == "PATCH" { asked.json(&json!({})) } else { asked };
            let answer = asked.send().await;
            let problem = answer.problem(404, "not_found");
            assert_eq!(
                problem["detail"],
                format!("there is no such {noun}"),
                "{method} {path}/{id}"
            );
        }
    }
    for (method, path, noun) in [
        ("DELETE", "/v1/blocks/abc", "user"),
        ("DELETE", "/v1/blocks/0", "user"),
        ("POST", "/v1/messages/4000000/unsend", "message"),
        ("POST", "/v1/messages/abc/unsend", "message"),
    ] {
        let answer = ann.call(method, path).await;
        let problem = answer.problem(404, "not_found");
        assert_eq!(problem["detail"], format!("there is no such {noun}"), "{method} {path}");
    }
    for to in [json!(["abc"]), json!([4_000_000])] {
        let answer = ann.try_write(&json!({ "to": to, "body": "" })).await;
        let problem = answer.problem(422, "unknown_recipient");
        assert_eq!(problem["errors"][0]["detail"], "there is no such user");
    }
    for id in [0, 4_000_000] {
        let answer = ann.try_write(&json!({ "to": ["ann"], "in_reply_to": id, "body": "" })).await;
        let told = answer.problem(422, "invalid")["detail"].to_string();
        assert!(told.contains("in_reply_to: "), "{told}");
        let unknown = json!({ "receiver_id": id, "subject": "", "body": "" });
        let answer = ann.request("POST", "/messages/write_message").json(&unknown).send().await;
        assert_eq!(answer.error(404), "receiver_id: there is no such user");
    }
    for id in [0, 4_000_000] {
        for answer in [ann.try_read(id).await, ann.try_delete(id).await] {
            assert_eq!(answer.error(404), "there is no such message");
        }
    }
}

#[tokio::test]
async fn parameters_are_known_are_there_once_and_are_told_all_at_once() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let asked = async |query: &str| ann.call("GET", &format!("/v1/blocks?{query}")).await;

    let answer = asked("limit=0&cursor=%21&colour=red").await;
    let wrong = ["limit invalid", "cursor invalid", "colour unknown_field"];
    assert_eq!(answer.invalid(), wrong);
    assert_eq!(asked("limit=1&limit=2").await.invalid(), ["limit repeated"]);
    for limit in ["-1", "1.5", "", "ten", "0"] {
        assert_eq!(asked(&format!("limit={limit}")).await.invalid(), ["limit invalid"]);
    }
    for limit in ["1", "100", "101", "99999999999999999999"] {
        asked(&format!("limit={limit}")).await.expect(200);
    }
    // Cursors are eight bytes in Base64: those of 7, of 0, of 2^53, of three and of sixteen bytes.
    asked("cursor=AAAAAAAAAAc").await.expect(200);
    for cursor in ["", "AAAAAAAAAAA", "ACAAAAAAAAA", "AAAA", "AAAAAAAAAAcAAAAAAAAACA"] {
        assert_eq!(asked(&format!("cursor={cursor}")).await.invalid(), ["cursor invalid"]);
    }
    ann.call("GET", "/v1/users").await.problem(422, "invalid");
}

#[tokio::test]
async fn an_error_repeats_no_more_of_a_request_than_names_it() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let long = "é".repeat(150_000);
    let body = json!({ "to": ["ann"], "body": "", (long.as_str()): 1, "deep": 2 });
    let answer = ann.try_write(&body).await;
    let problem = answer.problem(422, "invalid");
    assert_eq!(problem["errors"][1]["code"], "unknown_field");
    assert!(answer.body.len() < 2000, "{} bytes", answer.body.len());
    let answer = ann.call("GET", &format!("/v1/blocks?{}=1", "x".repeat(10_000))).await;
    answer.problem(422, "invalid");
    assert!(answer.body.len() < 1000, "{} bytes", answer.body.len());
    let answer = ann.call("GET", &format!("/v1/{}", "x".repeat(10_000))).await;
    answer.problem(404, "not_found");
    assert!(answer.body.len() < 1000, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn a_failure_of_the_server_is_a_problem_that_says_when_to_come_back() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    ann.call("GET", "/v1/users/me").await.expect(200);
    app.close_database(2);

    let change = json!({ "display_name": "Ann" });
    let answer = ann.request("PATCH", "/v1/users/me").json(&change).send().await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
    let body = newcomer("bob");
    let answer = ann.request("POST", "/v1/users").json(&body).send().await;
    assert_eq!(answer.problem(503, "unavailable")["retry_after"], 5);
}

#[tokio::test]
async fn one_account_has_one_shape_of_error_in_each_api() {
    let app = TestApp::start().await;
    let client = app.visitor().await;
    client.request("POST", "/v1/users").json(&newcomer("ann")).send().await.expect(201);

    let classic = client.try_register("ANN", "ann@example.org", PASSWORD).await;
    assert_eq!(classic.error(400), "username: it is taken");
    let taken = client.request("POST", "/v1/users").json(&newcomer("Ann")).send().await;
    let problem = taken.problem(409, "username_taken");
    assert_eq!(problem["errors"][0]["pointer"], Value::from("#/username"));
}

#[tokio::test]
async fn a_member_that_is_there_twice_is_named_and_nothing_is_done() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.write_to(&[&bob], "1").await;
    let before = app.dump().await;

    for (path, body, name) in [
        ("/v1/messages", r#"{"to": ["ann"], "body": "a", "body": "b"}"#, "body"),
        ("/v1/messages", r#"{"to": ["ann"], "to": ["bob"], "body": ""}"#, "to"),
        ("/v1/messages", r#"{"to": ["ann"], "body": "", "t\u006f": ["bob"]}"#, "to"),
        (
            "/v1/messages",
            r#"{"to": ["ann"], "body": "", "metadata": {"a": [{"b": 1, "c": 2, "b": 1}]}}"#,
            "b",
        ),
        (
            "/v1/messages/batch",
            r#"{"filter": {"unread": true, "unread": false}, "delete": true}"#,
            "unread",
        ),
        ("/v1/messages/batch", r#"{"ids": [ID], "delete": true, "ids": [1]}"#, "ids"),
        ("/v1/messages/batch", r#"{"ids": [ID], "set": {"read": true, "read": false}}"#, "read"),
        ("/v1/users", r#"{"username": "x", "nothing": 1, "nothing": 2}"#, "nothing"),
    ] {
        let body = body.replace("ID", &id.to_string());
        let request = bob.request("POST", path).header("content-type", "application/json");
        let problem = request.body(body.clone()).send().await.problem(400, "malformed_json");
        let detail = problem["detail"].as_str().expect("it says what is wrong");
        let expected = format!("body: the member \"{name}\" is there twice at line 1 column ");
        assert!(detail.starts_with(&expected), "{body}: {detail}");
    }
    for body in [
        r#"{"message_id": ID, "message_id": 4000000}"#,
        r#"{"message_id": 4000000, "message_id": ID}"#,
        r#"{"message_id": 4000000, "message\u005fid": ID}"#,
    ] {
        let body = body.replace("ID", &id.to_string());
        for (method, path) in
            [("GET", "/messages/read_message"), ("DELETE", "/messages/delete_message")]
        {
            let told = bob.request(method, path).body(body.clone()).send().await.error(400);
            assert!(told.contains("duplicate field `message_id`"), "{told}");
        }
    }
    assert_eq!(app.dump().await, before);
    // Other values are read as before.
    let body = r#"{"to": ["ann"], "body": "é", "metadata": {"n": [1.5e3, -7, 18446744073709551615,
        null, true, {"deep": {}}], "": "x"}}"#;
    let request = bob.request("POST", "/v1/messages").header("content-type", "application/json");
    let sent = request.body(body).send().await.expect(201);
    assert_eq!(sent["metadata"]["n"][2], 18_446_744_073_709_551_615_u64);
}
