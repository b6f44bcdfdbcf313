//! Bodies: of any type, with anything in them, and too large.

use serde_json::{Value, json};

use super::{CALLS, Call, DELETE, LOGIN, READ, REGISTER, WRITE};
use crate::harness::{PASSWORD, TestApp};
use crate::user::number;

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    for (turn, kind) in [
        None,
        Some("application/json"),
        Some("application/json; charset=latin1"),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("no type at all"),
        Some(""),
    ]
    .into_iter()
    .enumerate()
    {
        for call in CALLS {
            let id = ann.send(&ann, "to myself", "").await;
            let mut body = call.good_body(&ann, id);
            if call.path == REGISTER.path {
                body["username"] = Value::from(format!("newcomer{turn}"));
            }
            let request = ann.request(call.method, call.path).json(&body);
            let request =
                if let Some(kind) = kind { request.header("content-type", kind) } else { request };
            request.send().await.ok();
        }
    }
}

#[tokio::test]
async fn a_body_is_ignored_where_none_is_asked_for() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    for body in ["", "null", "{}", "{\"message_id\": 1}", "rubbish"] {
        for path in ["/messages/messages_per_receiver", "/messages/unread_per_receiver"] {
            ann.request("GET", path).body(body).send().await.ok();
        }
        ann.request("GET", "/users/token").body(body).send().await.ok();
        ann.request("POST", "/users/logout").body(body).send().await.ok();
        ann.login().await;
    }
}

#[tokio::test]
async fn fields_that_nobody_asked_for_are_ignored() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({ "deeper": [deep, "and deeper"] });
    }

    for call in CALLS {
        let id = ann.send(&ann, "to myself", "").await;
        let mut body = call.good_body(&ann, id);
        body["sender_id"] = json!(77);
        body["Username"] = json!("another");
        body[""] = json!(null);
        body["deep"] = deep.clone();
        call.with(&ann.client, body.to_string()).await.ok();
    }
    let sent = ann.inbox().await;
    for id in sent {
        assert_eq!(number(&ann.read(id).await["sender_id"]), ann.id.get());
    }
}

#[tokio::test]
async fn a_field_that_is_missing_or_of_the_wrong_kind_is_named() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let id = ann.send(&ann, "to myself", "").await;
    let before = app.dump().await;

    for call in CALLS {
        for field in call.fields {
            let good = call.good_body(&ann, id);
            let mut bad = vec![json!(null), json!([]), json!({}), json!(true), json!(1.5)];
            if !field.ends_with("_id") {
                bad.extend([json!(1), json!(-1), json!(u64::MAX), json!(["text"])]);
            }
            let mut bodies: Vec<_> = bad
                .into_iter()
                .map(|value| {
                    let mut body = good.clone();
                    body[field] = value;
                    body
                })
                .collect();
            let mut without = good.clone();
            without.as_object_mut().expect("it is an object").remove(*field);
            bodies.push(without);
            for body in bodies {
                let answer = call.with(&ann.client, body.to_string()).await;
                let start = format!("{field}: ");
                assert!(answer.error(400).starts_with(&start), "{} {body} {answer:?}", call.path);
            }
        }
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let id = ann.send(&ann, "to myself", "").await;
    let before = app.dump().await;
    let nested = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);

    for call in CALLS {
        let good = call.good_body(&ann, id).to_string();
        let field = call.fields[0];
        let mut bodies: Vec<Vec<u8>> = [
            "",
            " \r\n\t",
            "null",
            "true",
            "7",
            r#""text""#,
            "[]",
            "{",
            "}",
            "{]",
            "rubbish",
            "{'a': 1}",
            "{a: 1}",
            "\u{feff}{}",
            "{}{}",
            "<xml/>",
            "a=b&c=d",
        ]
        .map(|body| body.as_bytes().to_vec())
        .to_vec();
        bodies.push(format!("[{good}]").into());
        bodies.push(format!("{good}x").into());
        bodies.push(format!("{good},").into());
        bodies.push(good[..good.len() - 1].into());
        bodies.push(good.replace('}', ",}").into());
        bodies.push(nested("[", "]").into());
        bodies.push(nested("{\"a\":", "}").into());
        bodies.push(format!(r#"{{"{field}": {}}}"#, nested("[", "]")).into());
        bodies.push(format!(r#"{{"{field}": {}}}"#, "[".repeat(10_000)).into());
        bodies.push(format!(r#"{{"{field}": NaN}}"#).into());
        bodies.push(format!(r#"{{"{field}": "\ud83d"}}"#).into());
        bodies.push(format!(r#"{{"{field}": "\udc8c\ud83d"}}"#).into());
        bodies.push(format!(r#"{{"{field}": "\x41"}}"#).into());
        bodies.push(format!("{{\"{field}\": \"a raw\nline\"}}").into());
        bodies.push([b"{\"", field.as_bytes(), b"\": \"\xff\xfe\"}"].concat());
        bodies.push([b"{\"", field.as_bytes(), b"\": \"\xed\xa0\xbd\"}"].concat());
        bodies.push([good.as_bytes(), b"\0"].concat());
        bodies.push(good.encode_utf16().flat_map(u16::to_le_bytes).collect());
        for body in bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            // Nobody knows yet who wants to log in or to register.
            let is_long = call.path.starts_with("/users/") && body.len() > 16_384;
            let expected = if is_long { 413 } else { 400 };
            let answer = call.with(&ann.client, body).await;
            assert_eq!(answer.status, expected, "{} with {shown}: {answer:?}", call.path);
        }
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_compressed_body_is_called_one() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let refused = ann.request("POST", WRITE.path).header("content-encoding", "gzip");
    let refused = refused.body(&b"\x1f\x8b\x08"[..]).send().await;
    assert_eq!(refused.error(400), "body: send it as it is, without Content-Encoding");
    let plain = ann.request("POST", WRITE.path).header("content-encoding", "Identity");
    plain.json(&WRITE.good_body(&ann, 1)).send().await.ok();
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let id = ann.send(&ann, "to myself", "").await;
    let before = app.dump().await;

    for call in CALLS {
        let good = call.good_body(&ann, id);
        for field in call.fields {
            for value in [good[field].to_string(), "null".to_owned()] {
                let body = good.to_string().replacen('{', &format!("{{\"{field}\": {value},"), 1);
                let answer = call.with(&ann.client, body.clone()).await;
                assert!(answer.error(400).contains(field), "{body}: {answer:?}");
            }
        }
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn no_field_may_hold_the_character_nul() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let before = app.dump().await;

    for call in [REGISTER, WRITE] {
        for field in call.fields.iter().filter(|field| !field.ends_with("_id")) {
            for text in ["\0", "mid\0dle", "end\0"] {
                let mut body = call.good_body(&ann, 1);
                body[field] = if *field == "email" {
                    Value::from(format!("{text}@example.org"))
                } else {
                    Value::from(format!("{text}-and-more"))
                };
                let answer = call.with(&ann.client, body.to_string()).await;
                assert!(answer.error(400).starts_with(field), "{body}: {answer:?}");
            }
        }
    }
    for call in [READ, DELETE] {
        call.with(&ann.client, r#"{"message_id": "1\u0000"}"#).await.error(400);
    }

    assert_eq!(app.dump().await, before);
    LOGIN.with(&ann.client, r#"{"username": "ann\u0000", "password": "x"}"#).await.error(401);
}

#[tokio::test]
async fn a_subject_has_255_characters_and_a_body_65536_bytes() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for (subject, body) in [
        ("s".repeat(255), "b".repeat(65_536)),
        ("ü".repeat(255), "ü".repeat(32_768)),
        ("💌".repeat(255), "💌".repeat(16_384)),
        (String::new(), String::new()),
    ] {
        let id = ann.send(&ann, &subject, &body).await;
        let message = ann.read(id).await;
        assert!(message["subject"] == subject && message["body"] == body);
    }
    let before = app.dump().await;

    for (subject, body, field) in [
        ("s".repeat(256), String::new(), "subject: "),
        ("💌".repeat(256), String::new(), "subject: "),
        (String::new(), "b".repeat(65_537), "body: "),
        (String::new(), "ü".repeat(32_768) + "b", "body: "),
    ] {
        let answer = ann.try_send(&ann, &subject, &body).await;
        assert!(answer.error(400).starts_with(field), "{answer:?}");
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn the_longest_texts_pass_however_json_writes_them() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let (subject, body) = ("\\ud83d\\udc8c".repeat(255), "\\u0001".repeat(65_536));
    let json =
        format!(r#"{{"receiver_id": {}, "subject": "{subject}", "body": "{body}"}}"#, ann.id.get());

    let id = number(&WRITE.with(&ann.client, json).await.ok()["message_id"]);

    let message = ann.read(id).await;
    assert_eq!(message["subject"].as_str(), Some("💌".repeat(255).as_str()));
    assert_eq!(message["body"].as_str(), Some("\u{1}".repeat(65_536).as_str()));
}

#[tokio::test]
async fn lengths_are_settings() {
    let app = TestApp::with(&[("subject_max_chars", "3"), ("body_max_bytes", "5")]).await;
    let ann = app.user("ann").await;

    ann.send(&ann, "äöü", "12345").await;

    ann.try_send(&ann, "äöüß", "").await.error(400);
    ann.try_send(&ann, "", "123456").await.error(400);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let before = app.dump().await;
    let token = ann.client.csrf_token().await;
    let head = |call: Call| {
        let (host, session) = (app.address().host(), ann.client.session());
        format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-CSRFToken: {token}\r\n\
             Cookie: csrftoken={token}; sessionid={session}\r\n",
            call.method, call.path
        )
    };

    for call in CALLS {
        // Announced: no byte of it is sent. In pieces: the last ones are not sent.
        let announced = format!("{}Content-Length: 10000000\r\n\r\n", head(call));
        let endless = format!("{}Content-Length: {}\r\n\r\n", head(call), i64::MAX);
        let piece = format!("{:x}\r\n{}\r\n", 100_000, " ".repeat(100_000));
        let pieces =
            format!("{}Transfer-Encoding: chunked\r\n\r\n{}", head(call), piece.repeat(10));
        for request in [announced, endless, pieces] {
            let answer = app.raw_until(request.as_bytes(), "\"}").await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{}: {answer}", call.path);
            assert!(answer.contains(r#"{"error":"body: "#), "{answer}");
            let answer = answer.to_ascii_lowercase();
            for header in ["x-request-id: ", "nosniff", "no-store", "application/json"] {
                assert!(answer.contains(header), "{header} is not in {answer}");
            }
        }
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_body_may_come_in_pieces_and_wait_to_be_asked_for() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    let token = client.csrf_token().await;
    let body = format!(r#"{{"username": "ann", "password": "{PASSWORD}"}}"#);
    let head = format!(
        "POST /users/login HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-CSRFToken: {token}\r\n\
         Cookie: csrftoken={token}\r\n",
        app.address().host()
    );
    let pieces = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<Vec<_>>().concat();

    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n");
    let expected = format!("{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());

    let answer = app.raw(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = app.raw((expected + &body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100 ") && answer.contains("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn two_places_that_name_different_messages_are_refused() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let [one, two] = [ann.send(&bob, "1", "").await, ann.send(&bob, "2", "").await];
    let ask = async |call: Call, query: String, body: Value| {
        let path = format!("{}?message_id={query}", call.path);
        bob.request(call.method, &path).json(&body).send().await
    };
    let before = app.dump().await;

    for call in [READ, DELETE] {
        for (query, body) in [(one, json!(two)), (two, json!(one)), (one, json!(two.to_string()))] {
            let body = json!({ "message_id": body });
            let told = ask(call, query.to_string(), body).await.error(400);
            let why = "message_id: it must be the same in the body and in the query string";
            assert_eq!(told, why);
        }
        let told = ask(call, "x".to_owned(), json!({ "message_id": one })).await.error(400);
        assert_eq!(told, "message_id: it must be a whole number");
    }
    assert_eq!(app.dump().await, before);
    // The same in both is no contradiction, nor is a body that names none.
    ask(READ, one.to_string(), json!({ "message_id": one.to_string() })).await.ok();
    ask(READ, format!("0{one}"), json!({ "message_id": one })).await.ok();
    ask(DELETE, two.to_string(), json!({ "message_id": null })).await.ok();
    assert_eq!(bob.inbox().await, [one]);
}
