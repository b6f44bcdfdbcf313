//! Whose address counts where a proxy stands before the server.

use serde_json::json;
use testing::Response;

use crate::harness::{PASSWORD, TestApp};

/// A server behind a proxy on the same machine, where each address may register two accounts.
async fn behind_a_proxy() -> TestApp {
    TestApp::with(&[("trusted_proxies", "127.0.0.1"), ("registrations_per_hour", "2")]).await
}

/// Registers an account from there, as the proxy says.
async fn register(app: &TestApp, forwarded: &[u8], name: &str) -> Response {
    let email = format!("{name}@example.org");
    let account = json!({ "username": name, "email": email, "password": PASSWORD });
    let client = app.client();
    let request = client.request("POST", "/v1/users").header("x-forwarded-for", forwarded);
    request.json(&account).send().await
}

#[tokio::test]
async fn a_client_is_counted_in_whatever_form_the_proxy_names_it() {
    let app = behind_a_proxy().await;
    for (kind, forms) in [
        &["198.51.100.7:5555", "\"198.51.100.7\"", "198.51.100.7", "203.0.113.1, 198.51.100.7:1"],
        &["[2001:db8::7]:5555", "\"[2001:db8::7]\"", "2001:db8::8", "2001:db8::7%eth0"],
        // What names nobody counts under the proxy, even if that is this machine.
        &["unknown", "203.0.113.1, _hidden", "203.0.113.2, unknown", "\"\""],
    ]
    .into_iter()
    .enumerate()
    {
        for (number, form) in forms.iter().enumerate() {
            let answer = register(&app, form.as_bytes(), &format!("n{kind}x{number}")).await;
            let status = if number < 2 { 201 } else { 429 };
            assert_eq!(answer.status, status, "{form}");
        }
    }
    // Other addresses are not held up, nor is who comes from the machine itself.
    assert_eq!(register(&app, b"198.51.100.8", "other").await.status, 201);
    for number in 0..4 {
        assert_eq!(register(&app, b"", &format!("local{number}")).await.status, 201);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_do_not_hide_who_wrote_them() {
    let app = behind_a_proxy().await;
    for (number, status) in [201, 201, 429, 429].into_iter().enumerate() {
        let answer = register(&app, b"\xff\xfe, 198.51.100.7", &format!("n{number}")).await;
        assert_eq!(answer.status, status, "{number}");
    }
}
