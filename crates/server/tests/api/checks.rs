//! What every response of the server must be: its headers, its shape, and for /v1 what the OpenAPI
//! document promises.

use hyper::Method;
use serde_json::Value;
use testing::Response;

use crate::contract;

/// What holds for every response, whatever was requested. Each client
/// of a [`crate::harness::TestApp`] applies it.
pub(crate) fn check(method: &Method, path: &str, response: &Response) {
    let id = response.header("x-request-id").unwrap_or_default();
    assert!(id.len() >= 8 && id.bytes().all(|b| b.is_ascii_alphanumeric()), "{path} {response:?}");
    let is_page = response.header("content-type") == Some("text/html; charset=utf-8");
    for (name, value) in SECURITY_HEADERS {
        if is_page && name == "content-security-policy" {
            continue;
        }
        assert_eq!(response.header(name), Some(value), "{method} {path}: {name} of {response:?}");
    }
    let of_v1 = path.starts_with("/v1/");
    for (name, _value) in &response.headers {
        let name = name.as_str();
        let tells = matches!(name, "server" | "x-powered-by");
        let opens = name.starts_with("access-control-") || name == "location";
        assert!(!tells && (of_v1 || !opens), "{method} {path}: {name} in {response:?}");
    }
    for cookie in response.cookies() {
        let known = matches!(cookie.name.as_str(), "sessionid" | "csrftoken");
        assert!(known, "{method} {path}: an unknown cookie in {response:?}");
    }
    let moved = (300..400).contains(&response.status) && response.status != 304;
    assert!(!moved, "{method} {path}: never a redirect: {response:?}");
    if of_v1 {
        return contract::check(method, path, response);
    }
    if path.starts_with("/docs") && path != "/docs/" {
        return;
    }
    if path != "/metrics" || response.status != 200 {
        assert_eq!(
            response.header("content-type"),
            Some("application/json"),
            "{path} {response:?}"
        );
    }
    if method == Method::HEAD {
        assert!(response.body.is_empty(), "{path}: {response:?}");
    } else if response.status >= 400 {
        check_error(method, path, response);
    }
}

fn check_error(method: &Method, path: &str, response: &Response) {
    let error = response.json();
    let error = error.as_object().unwrap_or_else(|| panic!("{path}: no object: {response:?}"));
    let says = error.get("error").and_then(Value::as_str).unwrap_or_default();
    assert!(!says.is_empty(), "{method} {path} must say what is wrong: {response:?}");
    let fields: Vec<_> = error.keys().map(String::as_str).collect();
    if response.status < 500 {
        assert_eq!(fields, ["error"], "{method} {path}: {response:?}");
    } else {
        assert_eq!(fields, ["error", "request_id"], "{method} {path}: {response:?}");
        assert_eq!(error["request_id"].as_str(), response.header("x-request-id"), "{response:?}");
    }
    if response.status == 405 {
        assert!(response.header("allow").is_some(), "{method} {path}: {response:?}");
    }
    if response.status == 429 {
        let wait = response.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
        assert!(wait.is_some_and(|wait| wait >= 1), "{method} {path}: {response:?}");
    }
}

const SECURITY_HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];
