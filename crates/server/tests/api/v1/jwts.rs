//! JWTs of the app or its identity provider, as an issuer with real keys makes them.

use std::time::{Duration, Instant};

use domain::Time;
use serde_json::{Value, json};
use testing::Response;

use super::text;
use crate::harness::TestApp;
use crate::issuer::{AUDIENCE, Answer, Issuer, SigningKey};

const HOUR: i64 = Time::HOUR;

/// A server that accepts the JWTs of that issuer, with further settings.
async fn start(issuer: &Issuer, settings: &[(&str, &str)]) -> TestApp {
    let (name, keys) = (issuer.name(), issuer.jwks());
    let usual = [
        ("jwt_issuer", name.as_str()),
        ("jwt_audience", AUDIENCE),
        ("jwt_keys", keys.as_str()),
        ("jwt_allow_hosts", "127.0.0.1"),
    ];
    TestApp::with(&[usual.as_slice(), settings].concat()).await
}

async fn call(app: &TestApp, token: &str) -> Response {
    app.client().request("GET", "/v1/unread").bearer(token).send().await
}

/// Claims with some of them replaced; null takes one away.
fn with(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().expect("they are named").clone() {
        let members = claims.as_object_mut().expect("they are an object");
        if value.is_null() {
            members.remove(&name)
        } else {
            members.insert(name, value)
        };
    }
    claims
}

/// Waits until something holds that the server does by itself.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_mins(1), "not in a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_user_of_the_app_needs_no_account_here_and_writes_with_a_jwt() {
    let keys = [SigningKey::rsa("r"), SigningKey::ec("e"), SigningKey::ed("d")];
    let issuer = Issuer::with(&[&keys[0], &keys[1], &keys[2]]);
    let app = start(&issuer, &[("jwt_keys", "discovery")]).await;
    let client = app.client();
    let mut tokens = Vec::new();
    for (key, subject) in keys.iter().zip(["auth0|7", "ü-8", "9"]) {
        let claims = with(&issuer.claims(subject, app.clock().now()), &json!({ "name": subject }));
        tokens.push(key.sign(&claims));
    }
    let bob = app.user("bob").await;

    let body = json!({ "to": ["ext:ü-8", bob.id.get()], "subject": "a", "body": "b" });
    call(&app, &tokens[1]).await.expect(200);
    let sent = client.request("POST", "/v1/messages").bearer(&tokens[0]).json(&body).send().await;

    let sent = sent.expect(201);
    assert_eq!(sent["from"]["external_id"], "auth0|7");
    assert_eq!(sent["from"]["display_name"], "auth0|7");
    let unread = call(&app, &tokens[1]).await.expect(200);
    assert_eq!(unread["messages"], 1);
    let classic = client.request("GET", "/messages/messages_per_receiver").bearer(&tokens[1]);
    assert_eq!(classic.send().await.ok()["messages_id"], json!([sent["id"]]));
    call(&app, &tokens[2]).await.expect(200);
    let account = client.request("GET", "/v1/tokens").bearer(&tokens[0]).send().await;
    account.problem(403, "insufficient_scope");
    let found = call(&app, &tokens[0]).await;
    assert_eq!(found.expect(200)["messages"], 0, "the second time it is the same account");
    assert_eq!(issuer.asked(), 1);
    // Never in an address, where it would reach logs.
    let path = format!("/v1/unread?access_token={}", tokens[0]);
    client.request("GET", &path).send().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_jwt_is_refused_for_each_thing_that_is_wrong_with_it() {
    let (rsa, ec) = (SigningKey::rsa("r"), SigningKey::ec("e"));
    let (foreign, issuer) = (SigningKey::rsa("r"), Issuer::with(&[&rsa, &ec]));
    let app = start(&issuer, &[]).await;
    let now = app.clock().now().0 / Time::SECOND;
    let good = issuer.claims("7", app.clock().now());
    call(&app, &rsa.sign(&good)).await.expect(200);

    let claims = [
        (json!({ "exp": now - 61 }), "token_expired"),
        (json!({ "aud": "another" }), "token_invalid"),
        (json!({ "aud": ["another", "third"] }), "token_invalid"),
        (json!({ "aud": null }), "token_invalid"),
        (json!({ "aud": 7 }), "token_invalid"),
        (json!({ "iss": null }), "token_invalid"),
        (json!({ "iss": "https://evil.example" }), "token_invalid"),
        (json!({ "iss": [issuer.name()] }), "token_invalid"),
        (json!({ "iat": null }), "token_invalid"),
        (json!({ "iat": "yesterday" }), "token_invalid"),
        (json!({ "iat": now + 3600, "exp": now + 7200 }), "token_not_yet_valid"),
        (json!({ "nbf": now + 3600 }), "token_not_yet_valid"),
        (json!({ "nbf": "soon" }), "token_invalid"),
        (json!({ "exp": null }), "token_invalid"),
        (json!({ "exp": now + 90_000 }), "token_invalid"),
        (json!({ "exp": 1e300 }), "token_invalid"),
        (json!({ "sub": null }), "token_invalid"),
        (json!({ "sub": "" }), "token_invalid"),
        (json!({ "sub": "x".repeat(256) }), "token_invalid"),
        (json!({ "sub": "a\nb" }), "token_invalid"),
        (json!({ "sub": ["7"] }), "token_invalid"),
        (json!({ "sid": "x".repeat(256) }), "token_invalid"),
        (json!({ "sid": "" }), "token_invalid"),
        (json!({ "sid": -7 }), "token_invalid"),
        (json!({ "sid": ["web"] }), "token_invalid"),
        (json!({ "filler": "x".repeat(8192) }), "token_invalid"),
    ];
    for (changes, code) in claims {
        let token = rsa.sign(&with(&good, &changes));
        for _again in 0..2 {
            let refused = call(&app, &token).await;
            assert_eq!(refused.problem(401, code)["code"], code, "{changes}");
            let challenge = refused.header("www-authenticate").unwrap_or_default();
            assert_eq!(challenge, "Bearer error=\"invalid_token\"", "{changes}");
        }
    }
    let rs = json!({ "alg": "RS256", "kid": "r" });
    let public = SigningKey::secret("r", &rsa.public_bytes());
    let headers = [
        rsa.sign_with(&json!({ "alg": "none" }), &good),
        rsa.sign_with(&json!({ "alg": "None", "kid": "r" }), &good),
        // The public key as a secret.
        public.sign(&good),
        public.sign_with(&json!({ "alg": "HS256" }), &good),
        rsa.sign_with(&json!({ "alg": "PS256", "kid": "r" }), &good),
        ec.sign_with(&json!({ "alg": "ES256", "kid": "r" }), &good),
        foreign.sign(&good),
        foreign.sign_with(&with(&rs, &json!({ "jwk": foreign.public() })), &good),
        rsa.sign_with(&with(&rs, &json!({ "jwk": rsa.public() })), &good),
        rsa.sign_with(&with(&rs, &json!({ "jku": issuer.jwks() })), &good),
        rsa.sign_with(&with(&rs, &json!({ "x5u": issuer.jwks() })), &good),
        rsa.sign_with(&with(&rs, &json!({ "crit": ["b64"], "b64": true })), &good),
        rsa.sign_with(&with(&rs, &json!({ "typ": "logout+jwt" })), &good),
        rsa.sign_with(&with(&rs, &json!({ "typ": "secevent+jwt" })), &good),
    ];
    for token in &headers {
        call(&app, token).await.problem(401, "token_invalid");
    }
    let token = rsa.sign(&good);
    for cut in [&token[..token.len() - 4], &token[4..], "ey..", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(call(&app, cut).await.status, 401, "{cut}");
    }
    for kind in [json!("JWT"), json!("jwt"), json!("at+jwt"), json!("application/at+jwt")] {
        let token = rsa.sign_with(&with(&rs, &json!({ "typ": kind })), &good);
        call(&app, &token).await.expect(200);
    }
    // Exactly one key fits each of these.
    call(&app, &rsa.sign_with(&json!({ "alg": "RS256" }), &good)).await.expect(200);
    call(&app, &ec.sign_with(&json!({ "alg": "ES256" }), &good)).await.expect(200);
    let listed = with(&good, &json!({ "aud": ["another", AUDIENCE] }));
    call(&app, &rsa.sign(&listed)).await.expect(200);
    call(&app, &rsa.sign(&with(&good, &json!({ "exp": now - 30 })))).await.expect(200);
    assert_eq!(issuer.asked(), 1, "no bad token makes anybody ask the issuer");
}

#[tokio::test]
async fn the_signature_of_a_jwt_that_is_remembered_goes_with_no_other_header_or_claims() {
    let (rsa, ec) = (SigningKey::rsa("r"), SigningKey::ec("e"));
    let issuer = Issuer::with(&[&rsa, &ec]);
    let app = start(&issuer, &[]).await;
    let claims = |of| issuer.claims(of, app.clock().now());
    for key in [&rsa, &ec] {
        let (ann, bob) = (key.sign(&claims("ann")), key.sign(&claims("bob")));
        for token in [&ann, &bob, &ann, &bob] {
            call(&app, token).await.expect(200);
        }
        let part = |token: &str, at| token.split('.').nth(at).expect("it has three").to_owned();
        let (header, payload, signature) = (part(&ann, 0), part(&ann, 1), part(&ann, 2));
        let other = json!({ "alg": "none" });
        for mixed in [
            format!("{header}.{}.{signature}", part(&bob, 1)),
            format!("{}.{payload}.{signature}", part(&rsa.sign_with(&other, &claims("ann")), 0)),
            format!("{header}.{payload}.{}", part(&bob, 2)),
            format!("{header}.{payload}."),
        ] {
            for _again in 0..2 {
                call(&app, &mixed).await.problem(401, "token_invalid");
            }
        }
        call(&app, &ann).await.expect(200);
    }
}

#[tokio::test]
async fn without_a_name_a_key_is_used_only_where_no_other_fits() {
    let (one, two) = (SigningKey::rsa("one"), SigningKey::rsa("two"));
    let issuer = Issuer::with(&[&one, &two]);
    let app = start(&issuer, &[]).await;
    let claims = issuer.claims("7", app.clock().now());
    let nameless = one.sign_with(&json!({ "alg": "RS256" }), &claims);
    call(&app, &nameless).await.problem(401, "token_invalid");
    call(&app, &one.sign(&claims)).await.expect(200);
}

#[tokio::test]
async fn many_tokens_with_unknown_keys_cost_the_issuer_one_request_in_half_a_minute() {
    let (known, new) = (SigningKey::ec("known"), SigningKey::ec("new"));
    let issuer = Issuer::with(&[&known]);
    let app = start(&issuer, &[]).await;
    let claims = issuer.claims("7", app.clock().now());
    call(&app, &known.sign(&claims)).await.expect(200);
    assert_eq!(issuer.asked(), 1);

    let client = app.client();
    for number in 0..100 {
        let unknown = SigningKey::ec(&format!("unknown-{number}"));
        let refused = client.request("GET", "/v1/unread").bearer(&unknown.sign(&claims));
        refused.send().await.problem(401, "token_invalid");
    }
    assert_eq!(issuer.asked(), 1, "it was asked at the start");
    app.advance(31 * Time::SECOND);
    for number in 0..20 {
        let unknown = SigningKey::ec(&format!("unknown-{number}"));
        call(&app, &unknown.sign(&claims)).await.problem(401, "token_invalid");
    }
    assert_eq!(issuer.asked(), 2);
    // A new key is known as soon as a token names it.
    issuer.answer(Answer::Keys(vec![known.public(), new.public()], 3600));
    app.advance(31 * Time::SECOND);
    call(&app, &new.sign(&claims)).await.expect(200);
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn a_key_that_leaves_the_set_ends_its_tokens() {
    let (old, new) = (SigningKey::ec("old"), SigningKey::ec("new"));
    let issuer = Issuer::start(Answer::Keys(vec![old.public()], 60));
    let app = start(&issuer, &[]).await;
    let token = old.sign(&issuer.claims("7", app.clock().now()));
    call(&app, &token).await.expect(200);
    let mut stream = app.client().request("GET", "/v1/events").bearer(&token).events().await;
    stream.next().await;

    issuer.answer(Answer::Keys(vec![new.public()], 60));
    app.advance(61 * Time::SECOND);
    until("the keys are fetched", async || issuer.asked() >= 2).await;
    until("the token has ended", async || call(&app, &token).await.status == 401).await;
    call(&app, &token).await.problem(401, "token_invalid");
    call(&app, &new.sign(&issuer.claims("7", app.clock().now()))).await.expect(200);
    stream.read_to_end().await;
}

#[tokio::test]
async fn an_issuer_that_is_down_is_not_missed_for_a_day() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[]).await;
    let fresh = || key.sign(&issuer.claims("7", app.clock().now()));
    call(&app, &fresh()).await.expect(200);

    let huge = json!({ "keys": [key.public()], "filler": "x".repeat(10 << 20) }).to_string();
    let many = json!({ "keys": vec![key.public(); 65] }).to_string();
    for answer in [
        Answer::Down,
        Answer::Body(b"<html>not now</html>".to_vec()),
        Answer::Body(huge.into_bytes()),
        Answer::Body(many.into_bytes()),
        Answer::Body(br#"{"keys":[]}"#.to_vec()),
        Answer::Silent,
    ] {
        let asked = issuer.asked();
        issuer.answer(answer);
        app.advance(HOUR + Time::SECOND);
        until("it is asked", async || issuer.asked() > asked).await;
        call(&app, &fresh()).await.expect(200);
    }
    let metrics = async || {
        let metrics = app.scraper().request("GET", "/metrics").send().await;
        String::from_utf8(metrics.body.to_vec()).expect("it is text")
    };
    until("the failures are counted", async || {
        let metrics = metrics().await;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("postroom_jwt_key_fetches_total{result=\"failed\"}"));
        line.is_some_and(|line| !line.ends_with(" 0") && !line.ends_with(" 1"))
    })
    .await;
    issuer.answer(Answer::Down);
    app.advance(19 * HOUR);
    until("a day is over", async || call(&app, &fresh()).await.status == 401).await;
    issuer.answer(Answer::Keys(vec![key.public()], 3600));
    app.advance(31 * Time::SECOND);
    until("it is back", async || call(&app, &fresh()).await.status == 200).await;
    // A clock that is ahead for a while puts off no fetch.
    for by in [400 * 24 * HOUR, -400 * 24 * HOUR] {
        let asked = issuer.asked();
        app.advance(by);
        until("it is asked", async || issuer.asked() > asked).await;
    }
}

#[tokio::test]
async fn only_known_users_get_in_where_the_operator_wants_it_so() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[("jwt_provision", "known")]).await;
    let token = key.sign(&issuer.claims("7", app.clock().now()));
    let before = app.dump().await;
    call(&app, &token).await.problem(403, "user_unknown");
    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_call_that_is_refused_whosever_it_is_makes_no_account() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[]).await;
    let ann = app.user("ann").await;
    let token = key.sign(&issuer.claims("7", app.clock().now()));
    let client = app.client();
    let before = app.dump().await;
    let as_ann = [ann.id.get().to_string(), "0".to_owned()];
    for (name, value, code) in [
        ("postroom-if-user", &*as_ann[0], "another_user"),
        ("postroom-if-user", &*as_ann[1], "another_user"),
        ("postroom-if-user", "ann", "bad_request"),
        ("postroom-user", "ann", "act_not_allowed"),
        ("authorization", "Bearer of somebody else", "bad_request"),
    ] {
        let call = client.request("GET", "/v1/users/me").bearer(&token).header(name, value);
        assert_eq!(call.send().await.json()["code"], code, "{name}: {value}");
    }
    let tokens = client.request("GET", "/v1/tokens").bearer(&token).send().await;
    tokens.problem(403, "insufficient_scope");
    assert_eq!(app.dump().await, before);
    call(&app, &token).await.expect(200);
}

#[tokio::test]
async fn accounts_that_jwts_make_are_limited_for_each_address_as_registrations_are() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let limits = [("registrations_per_hour", "2"), ("trusted_proxies", "127.0.0.1")];
    let app = start(&issuer, &limits).await;
    let now = app.clock().now();
    let from = async |subject: &str, address: &str| {
        let token = key.sign(&issuer.claims(subject, now));
        let client = app.client().with_header("x-forwarded-for", address);
        client.request("GET", "/v1/unread").bearer(&token).send().await
    };
    from("1", "203.0.113.5").await.expect(200);
    from("2", "203.0.113.5").await.expect(200);
    let refused = from("3", "203.0.113.5").await;
    refused.problem(429, "rate_limited");
    assert!(refused.header("retry-after").is_some());
    from("2", "203.0.113.5").await.expect(200);
    from("3", "203.0.113.6").await.expect(200);
}

#[tokio::test]
async fn claims_make_the_profile_and_change_it_only_where_the_operator_wants_it_so() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let shown = async |app: &TestApp, name: &str, email: Value| {
        let now = app.clock().now();
        let claims = json!({ "name": name, "email": email["a"], "email_verified": email["v"] });
        let token = key.sign(&with(&issuer.claims("7", now), &claims));
        call(app, &token).await.expect(200);
        let stored = app.scan(|tx| {
            tx.query_one("SELECT display_name, email FROM users", &[], |row| {
                Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))
            })
        });
        stored.await
    };
    let both = |name: &str, email: &str| (name.to_owned(), email.to_owned());
    let (ann, bea) = (json!({ "a": "ann@example.org" }), json!({ "a": "bea@example.org" }));
    let long = format!("  {}  ", "é".repeat(120));

    let app = start(&issuer, &[]).await;
    assert_eq!(shown(&app, " Ann Lee ", ann.clone()).await, both("Ann Lee", "ann@example.org"));
    assert_eq!(shown(&app, "Bea", bea.clone()).await, both("Ann Lee", "ann@example.org"));

    let app = start(&issuer, &[("jwt_update_profile", "true")]).await;
    let unverified = json!({ "a": "ann@example.org", "v": false });
    assert_eq!(shown(&app, &long, unverified).await, both(&"é".repeat(100), ""));
    assert_eq!(shown(&app, "Bea", bea.clone()).await, both("Bea", "bea@example.org"));
    for unsure in [json!("false"), json!(0), json!("no"), json!(1), json!("")] {
        let other = json!({ "a": "eve@example.org", "v": unsure });
        assert_eq!(shown(&app, "Bea", other).await, both("Bea", "bea@example.org"), "{unsure}");
    }
    let sure = json!({ "a": "bee@example.org", "v": "true" });
    assert_eq!(shown(&app, "Bea", sure).await, both("Bea", "bee@example.org"));
    assert_eq!(shown(&app, "B\u{7}e\u{202e}a\n", bea).await, both("Bea", "bea@example.org"));
    // What cannot be a name or an address is as good as none, and locks nobody out.
    assert_eq!(shown(&app, "\u{7}", json!({ "a": "?" })).await, both("Bea", "bea@example.org"));
}

#[tokio::test]
async fn an_app_without_keys_signs_with_a_secret() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (file, secret) = (folder.path().join("secret"), "a secret of thirty-two characters");
    std::fs::write(&file, format!("{secret}\n")).expect("it can be written");
    let issuer = Issuer::start(Answer::Down);
    let path = file.to_str().expect("its name is text");
    let app = start(&issuer, &[("jwt_secret_file", path)]).await;
    let claims = issuer.claims("7", app.clock().now());

    let token = SigningKey::secret("any", secret.as_bytes()).sign(&claims);
    call(&app, &token).await.expect(200);
    let wrong = SigningKey::secret("any", b"another secret of thirty-two chars").sign(&claims);
    call(&app, &wrong).await.problem(401, "token_invalid");
    let rsa = SigningKey::rsa("any").sign(&claims);
    call(&app, &rsa).await.problem(401, "token_invalid");
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn equal_subjects_of_two_issuers_are_two_people() {
    let (one, two) = (SigningKey::ec("key"), SigningKey::ec("key"));
    let (shop, club) = (Issuer::with(&[&one]), Issuer::with(&[&two]));
    let table = format!(
        "[{{ issuer = \"{}\", audience = \"{AUDIENCE}\", keys = \"{}\", \
         external_id_prefix = \"club:\" }}]",
        club.name(),
        club.jwks()
    );
    let app = start(&shop, &[("jwt", &table)]).await;
    let now = app.clock().now();
    call(&app, &one.sign(&shop.claims("7", now))).await.expect(200);
    call(&app, &two.sign(&club.claims("7", now))).await.expect(200);

    let ids = app.scan(|tx| {
        tx.query("SELECT external_id FROM users ORDER BY id", &[], |row| {
            Ok(row.text(0)?.to_owned())
        })
    });
    assert_eq!(ids.await, ["7", "club:7"]);
    // Neither issuer speaks for the other, and no subject reaches into the other's names.
    call(&app, &two.sign(&shop.claims("7", now))).await.problem(401, "token_invalid");
    call(&app, &one.sign(&shop.claims("club:7", now))).await.problem(401, "token_invalid");
}

#[tokio::test]
async fn a_server_without_an_issuer_takes_no_jwt() {
    let app = TestApp::start().await;
    let issuer = Issuer::start(Answer::Down);
    let token = SigningKey::ec("key").sign(&issuer.claims("7", app.clock().now()));
    let refused = call(&app, &token).await.problem(401, "token_invalid");
    assert!(text(&refused["detail"]).contains("jwt_issuer"), "{refused}");
}

#[tokio::test]
async fn no_jwt_is_stored() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[]).await;
    let token = key.sign(&issuer.claims("7", app.clock().now()));
    call(&app, &token).await.expect(200);
    let signature = token.rsplit('.').next().expect("it has one");
    let stored = app.stored_bytes();
    assert!(!stored.windows(signature.len()).any(|bytes| bytes == signature.as_bytes()));
}

#[tokio::test]
async fn a_jwt_brings_back_nobody_whom_the_app_has_deactivated_or_erased() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[]).await;
    let shop = app.server_key(&["users"]).await;
    let fresh = || key.sign(&issuer.claims("7", app.clock().now()));
    let token = fresh();
    call(&app, &token).await.expect(200);
    let put = async |body: &Value| {
        shop.request("PUT", "/v1/server/users/ext:7").json(body).send().await.expect(200);
    };
    put(&json!({ "active": false })).await;
    for token in [&token, &fresh()] {
        call(&app, token).await.problem(401, "user_deactivated");
    }
    put(&json!({ "active": true })).await;
    call(&app, &token).await.problem(401, "token_revoked");
    app.advance(2 * Time::MINUTE);
    call(&app, &fresh()).await.expect(200);
    let token = fresh();
    call(&app, &token).await.expect(200);
    shop.call("DELETE", "/v1/server/users/ext:7").await.expect(202);
    for token in [&token, &fresh()] {
        call(&app, token).await.problem(410, "user_erased");
    }
}

#[tokio::test]
async fn a_jwt_of_who_was_erased_does_not_open_the_mailbox_of_who_comes_after() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[]).await;
    let shop = app.server_key(&["users", "tokens"]).await;
    let fresh = |claims: Value| key.sign(&with(&issuer.claims("7", app.clock().now()), &claims));
    let batch = json!({ "users": [{ "ref": "ext:7", "recreate": true }] });
    for (method, path, body) in [
        ("PUT", "/v1/server/users/ext:7", json!({ "recreate": true })),
        ("POST", "/v1/server/users/batch", batch),
    ] {
        let (used, unused) = (fresh(json!({})), fresh(json!({ "sid": "web" })));
        call(&app, &used).await.expect(200);
        app.advance(2 * Time::MINUTE);
        shop.call("DELETE", "/v1/server/users/ext:7").await.expect(202);
        assert_eq!(shop.request(method, path).json(&body).send().await.status / 100, 2, "{path}");
        for token in [&used, &unused, &fresh(json!({}))] {
            call(&app, token).await.problem(401, "token_revoked");
        }
        app.advance(2 * Time::MINUTE);
        call(&app, &fresh(json!({}))).await.expect(200);
    }
    // Where nobody was erased, nothing has ended.
    let path = "/v1/server/users/ext:8";
    shop.request("PUT", path).json(&json!({ "recreate": true })).send().await.expect(201);
    call(&app, &fresh(json!({ "sub": "8" }))).await.expect(200);
}

#[tokio::test]
async fn a_jwt_from_before_a_restore_makes_no_account() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[]).await;
    let shop = app.server_key(&["users"]).await;
    let fresh = |subject: &str| key.sign(&issuer.claims(subject, app.clock().now()));
    let (one, two) = (fresh("7"), fresh("8"));
    app.advance(2 * Time::MINUTE);
    let cx = app.clock().cx();
    shop.request("PUT", "/v1/server/users/ext:9").json(&json!({})).send().await.expect(201);
    app.write(move |tx| Ok(domain::history::begin(tx, &cx, 0)?)).await;
    let before = app.dump().await;
    for token in [&one, &two, &fresh("7")] {
        call(&app, token).await.problem(401, "token_revoked");
    }
    assert_eq!(app.dump().await, before, "nobody was made");
    app.advance(2 * Time::MINUTE);
    call(&app, &fresh("7")).await.expect(200);
    // An account that was made since does not bring them back.
    call(&app, &one).await.problem(401, "token_revoked");
}

#[tokio::test]
async fn who_is_called_like_a_system_user_gets_in_without_the_name() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[("jwt_update_profile", "true")]).await;
    let shop = app.server_key(&["users", "system"]).await;
    let clerk = json!({ "kind": "system", "username": "clerk", "display_name": "The Shop" });
    let put = shop.request("PUT", "/v1/server/users/ext:clerk").json(&clerk).send();
    put.await.expect(201);
    let shown = async |subject: &str, name: &str| {
        let claims = issuer.claims(subject, app.clock().now());
        call(&app, &key.sign(&with(&claims, &json!({ "name": name })))).await.expect(200);
        let path = format!("/v1/server/users/ext:{subject}");
        text(&shop.call("GET", &path).await.expect(200)["display_name"])
    };
    for name in ["the shop", "CLERK"] {
        assert!(shown("7", name).await.starts_with("user-"), "{name}");
    }
    assert_eq!(shown("7", "Ann").await, "Ann");
    for name in ["The Shop", "clerk"] {
        assert_eq!(shown("7", name).await, "Ann");
    }
}

#[tokio::test]
async fn the_session_of_a_jwt_can_be_a_number() {
    let key = SigningKey::ec("key");
    let issuer = Issuer::with(&[&key]);
    let app = start(&issuer, &[]).await;
    let shop = app.server_key(&["tokens"]).await;
    let claims = issuer.claims("7", app.clock().now());
    let of = |session: Value| key.sign(&with(&claims, &json!({ "sid": session })));
    let (number, other, none) = (of(json!(12)), of(json!(13)), of(Value::Null));
    for token in [&number, &other, &none] {
        call(&app, token).await.expect(200);
    }
    let revoke = shop.request("POST", "/v1/server/users/ext:7/revoke");
    revoke.json(&json!({ "session": "12" })).send().await.expect(204);
    call(&app, &number).await.problem(401, "token_revoked");
    call(&app, &other).await.expect(200);
    call(&app, &none).await.expect(200);
}
