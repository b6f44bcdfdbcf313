//! The ways in which users of an app read their messages: a server key that acts for them, a
//! browser token, and a JWT of the app.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::process::{JWT, Process, SERVER_KEY};
use crate::requests::{User, client};

/// Seconds for which a token or JWT is valid: longer than any run.
const VALID: u64 = 86_000;

/// What a user of the app has.
pub(crate) struct Credentials {
    pub(crate) browser_token: String,
    pub(crate) jwt: String,
}

/// Gives a user an id of the app's, and has a token made for them.
pub(crate) async fn of(process: &Process, user: &User) -> Result<Credentials> {
    let client = client(process.port);
    let subject = format!("bench.{}", user.id);
    let link = client.request("POST", &format!("/v1/server/users/{}/link", user.id));
    let linked = json!({ "external_id": subject, "end_logins": false });
    let linked = link.bearer(SERVER_KEY).json(&linked).send().await;
    ensure!(linked.status == 200, "the user was not linked: {}", linked.text());
    let made = client.request("POST", "/v1/server/tokens").bearer(SERVER_KEY);
    let made = made.json(&json!({ "user": user.id, "expires_in": VALID })).send().await;
    let token = made.expect(201)["token"].as_str().context("a token is text")?.to_owned();
    Ok(Credentials { browser_token: token, jwt: jwt(&subject)? })
}

#[expect(clippy::disallowed_methods, reason = "the server compares it with the real time")]
fn jwt(subject: &str) -> Result<String> {
    let [secret, issuer, audience] = JWT;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims =
        json!({ "iss": issuer, "aud": audience, "sub": subject, "iat": now, "exp": now + VALID });
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?.chain_update(&signed);
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}
