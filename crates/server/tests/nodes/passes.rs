//! Browser tokens and JWTs over several nodes: what ends them at one node ends them at all.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testing::{Client, EventStream, Failure, Response};

use crate::nodes::{Nodes, cluster, place, url};
use crate::support::until;

/// How long what has ended at one node may be believed at another.
const BELIEVED: Duration = Duration::from_secs(5);
const KEY: &str = "the-key-of-the-app-the-same-on-every-node";
const SECRET: &str = "the secret that the app signs its JWTs with";
const ISSUER: &str = "https://app.example.org";

/// Three nodes, at which the app has a key and signs JWTs with a secret.
fn start(port: u16) -> Nodes {
    let place = || {
        let place = place(&url(&[port]))
            .with("POSTROOM_SERVER_KEY", KEY)
            .with("POSTROOM_JWT_ISSUER", ISSUER)
            .with("POSTROOM_JWT_AUDIENCE", "postroom")
            .with("POSTROOM_JWT_PROVISION", "known");
        let file = place.path("secret");
        std::fs::write(&file, SECRET).expect("it can be written");
        place.with("POSTROOM_JWT_SECRET_FILE", file.to_str().expect("its name is text"))
    };
    Nodes::in_places(vec![place(), place(), place()])
}

fn by_key(nodes: &Nodes, node: usize, path: &str, body: &Value) -> Response {
    let client = Client::new(nodes.address(node));
    client.request("POST", path).bearer(KEY).json(body).wait().expect("an answer")
}

fn mint(nodes: &Nodes, node: usize, user: i64, session: &str) -> String {
    let body = json!({ "user": user, "session": session });
    let made = by_key(nodes, node, "/v1/server/tokens", &body).expect(201);
    made["token"].as_str().expect("it is text").to_owned()
}

/// A JWT of the app, issued so many seconds ago.
fn jwt(subject: &str, session: &str, age: i64) -> String {
    let issued = server::Clock::default().now().0 / 1_000_000 - age;
    let claims = json!({ "iss": ISSUER, "aud": "postroom", "sub": subject, "sid": session,
                         "iat": issued, "exp": issued + 3600 });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(json!({ "alg": "HS256" })), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn answer(nodes: &Nodes, node: usize, token: &str) -> Response {
    let client = Client::new(nodes.address(node));
    client.request("GET", "/v1/unread").bearer(token).wait().expect("an answer")
}

/// Asserts that a token holds at every node, and opens a stream by it at each.
fn used_everywhere(nodes: &Nodes, token: &str) -> Vec<EventStream> {
    let open = |node| {
        answer(nodes, node, token).expect(200);
        let client = Client::new(nodes.address(node));
        let request = client.request("GET", "/v1/events").bearer(token);
        let mut stream = request.wait_for_events().expect("it is opened");
        stream.set_timeout(Duration::from_millis(100));
        until(BELIEVED, "the first event comes", || stream.wait().is_ok());
        stream
    };
    (0..nodes.number()).map(open).collect()
}

/// Asserts that a token soon is refused at every node, with that code, and that its streams end.
fn ends_everywhere(nodes: &Nodes, token: &str, code: &str, streams: &mut [EventStream]) {
    until(BELIEVED, "it is refused everywhere and its streams end", || {
        let refused = (0..nodes.number()).all(|node| answer(nodes, node, token).status == 401);
        let ended = |stream: &mut EventStream| {
            matches!(stream.wait(), Err(Failure::Closed | Failure::Truncated))
        };
        refused && streams.iter_mut().all(ended)
    });
    for node in 0..nodes.number() {
        answer(nodes, node, token).problem(401, code);
    }
}

#[test]
fn what_ends_a_browser_token_at_one_node_ends_it_at_all_within_five_seconds() {
    let Some(cluster) = cluster() else { return };
    let nodes = start(cluster.port());
    let ann = nodes.user(0, "ann");
    let (web, phone) = (mint(&nodes, 0, ann.id, "web"), mint(&nodes, 1, ann.id, "phone"));
    let (mut of_web, mut of_phone) =
        (used_everywhere(&nodes, &web), used_everywhere(&nodes, &phone));
    let revoke = format!("/v1/server/users/{}/revoke", ann.id);

    by_key(&nodes, 1, &revoke, &json!({ "session": "web" })).expect(204);
    ends_everywhere(&nodes, &web, "token_revoked", &mut of_web);
    for node in 0..nodes.number() {
        answer(&nodes, node, &phone).expect(200);
    }
    by_key(&nodes, 2, &revoke, &json!({})).expect(204);
    ends_everywhere(&nodes, &phone, "token_revoked", &mut of_phone);

    let fresh = mint(&nodes, 2, ann.id, "phone");
    let mut streams = used_everywhere(&nodes, &fresh);
    nodes.places[0].run(&["user", "disable", "ann"]).ok();
    ends_everywhere(&nodes, &fresh, "user_deactivated", &mut streams);
    nodes.are_well();
}

#[test]
fn what_ends_a_jwt_at_one_node_ends_it_at_all_within_five_seconds() {
    let Some(cluster) = cluster() else { return };
    let nodes = start(cluster.port());
    let ann = nodes.user(0, "ann");
    answer(&nodes, 1, &jwt("42", "web", 0)).problem(403, "user_unknown");
    cluster.sql("postroom", &format!("UPDATE users SET external_id = '42' WHERE id = {}", ann.id));
    let (web, phone) = (jwt("42", "web", 120), jwt("42", "phone", 120));
    let (mut of_web, mut of_phone) =
        (used_everywhere(&nodes, &web), used_everywhere(&nodes, &phone));
    let revoke = format!("/v1/server/users/{}/revoke", ann.id);

    by_key(&nodes, 0, &revoke, &json!({ "session": "web" })).expect(204);
    ends_everywhere(&nodes, &web, "token_revoked", &mut of_web);
    for node in 0..nodes.number() {
        answer(&nodes, node, &phone).expect(200);
    }
    by_key(&nodes, 1, &revoke, &json!({})).expect(204);
    ends_everywhere(&nodes, &phone, "token_revoked", &mut of_phone);
    // The clocks of issuers differ: what they say was issued a moment later counts as before.
    answer(&nodes, 2, &jwt("42", "phone", 0)).problem(401, "token_revoked");
    nodes.are_well();
}
