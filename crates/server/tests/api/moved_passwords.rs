//! Signing in with a password that another program has hashed.

use std::time::Instant;

use db::params;
use domain::passwords::MovedHash;
use domain::{UserId, users};

use crate::harness::TestApp;

/// Of `pässword of ann`, made by bcrypt 5.0.0 (Python) with a cost of 10.
const BCRYPT: &str = "$2b$10$1asLCT/eryJ1SIOFD0INpunoULlNyVheUfhKBMuPC7868mj9wyvWi";
/// The same, made by Django 5.2.19.
const DJANGO: &str =
    "pbkdf2_sha256$1000000$1655xW1bNrtasks88Wu9yY$BrvWOpj+9L+ZM07A/LFcIqr2wbvPxpcoLParzwcwZOA=";
const PASSWORD: &str = "pässword of ann";

async fn moved(app: &TestApp, name: &str, hash: &str) -> UserId {
    let (id, hash) = (app.account(name).await, MovedHash::parse(hash).expect("it is one"));
    app.write(move |tx| users::set_moved_password(tx, id, &hash)).await;
    id
}

async fn stored(app: &TestApp, id: UserId) -> String {
    let sql = "SELECT password_hash FROM users WHERE id = ?1";
    app.scan(move |tx| tx.query_one(sql, &params![id], |row| Ok(row.text(0)?.to_owned()))).await
}

async fn longest_wait(app: &TestApp) -> u64 {
    let longest = app.scan(|tx| users::longest_wait(tx).map_err(|_wrong| db::Error::NoRow));
    longest.await
}

#[tokio::test]
async fn a_moved_password_signs_in_by_both_apis_and_becomes_ours() {
    let app = TestApp::start().await;
    let (ann, ben) = (moved(&app, "ann", BCRYPT).await, moved(&app, "ben", DJANGO).await);
    app.visitor().await.try_login("ann", "pässword of ben").await.error(401);
    assert_eq!(stored(&app, ann).await, BCRYPT, "a wrong password changes nothing");
    for id in [ann, ben] {
        let name = if id == ann { "ann" } else { "ben" };
        let classic = app.visitor().await.try_login(name, PASSWORD).await;
        assert_eq!(classic.status, 200, "{}", classic.text());
        let hash = stored(&app, id).await;
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let body = serde_json::json!({ "username": name, "password": PASSWORD });
        let client = app.visitor().await;
        let v1 = client.request("POST", "/v1/sessions").json(&body).send().await;
        assert_eq!((v1.status, stored(&app, id).await), (201, hash), "{}", v1.text());
    }
}

#[tokio::test]
async fn sign_ins_at_the_same_time_all_succeed() {
    let app = TestApp::start().await;
    moved(&app, "ann", BCRYPT).await;
    let (one, other) = (app.visitor().await, app.visitor().await);
    let (one, other) =
        tokio::join!(one.try_login("ann", PASSWORD), other.try_login("ann", PASSWORD));
    assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text(), other.text());
}

#[tokio::test]
async fn every_failure_takes_as_long_as_that_of_the_costliest_moved_password() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let zoe = app.user("zoe").await;
    let gone = app.user("gone").await;
    app.disable(&gone).await;
    moved(&app, "ann", BCRYPT).await;
    let longest = longest_wait(&app).await;
    assert!(longest >= 200, "{longest}");
    let wrong = "pässword of zoe";
    let token = serde_json::json!({ "name": "a script", "username": "", "password": wrong });
    for name in ["ann", "zoe", "gone", "nobody"] {
        for path in ["/users/login", "/v1/sessions", "/v1/tokens"] {
            let mut body = serde_json::json!({ "username": name, "password": wrong });
            if path == "/v1/tokens" {
                body = token.clone();
                body["username"] = name.into();
            }
            let (client, began) = (app.visitor().await, Instant::now());
            let refused = client.request("POST", path).json(&body).send().await;
            assert_eq!(refused.status, 401, "{}", refused.text());
            assert!(began.elapsed().as_millis() >= u128::from(longest), "{name} at {path}");
        }
    }
    let body = serde_json::json!({ "current_password": wrong, "new_password": "three-wild-geese" });
    let began = Instant::now();
    let refused = zoe.request("POST", "/v1/users/me/password").json(&body).send().await;
    refused.problem(401, "authentication_failed");
    assert!(began.elapsed().as_millis() >= u128::from(longest), "who is signed in");
    app.visitor().await.try_login("ann", PASSWORD).await;
    assert_eq!(longest_wait(&app).await, 0, "nobody has such a password");
}
