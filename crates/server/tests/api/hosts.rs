//! Which names the server answers to.

use crate::harness::TestApp;

/// The status, and the text, of the answer to a request with these lines in its head.
async fn ask(app: &TestApp, start: &str, lines: &str) -> (u16, String) {
    let answer = app.raw(format!("{start}\r\n{lines}Connection: close\r\n\r\n").as_bytes()).await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("there is a status"), answer)
}

#[tokio::test]
async fn a_request_of_http_1_1_names_one_host() {
    let app = TestApp::start().await;
    for path in ["/v1/csrf", "/users/token", "/healthz", "/none"] {
        let get = format!("GET {path} HTTP/1.1");
        for lines in ["", "Host: a\r\nHost: a\r\n", "Host: \r\n", "Host: a b\r\n", "Host: a/b\r\n"]
        {
            let (status, answer) = ask(&app, &get, lines).await;
            assert_eq!(status, 400, "{path} {lines}: {answer}");
            let is_problem = answer.contains("content-type: application/problem+json");
            assert_eq!(is_problem, path.starts_with("/v1/"), "{answer}");
            assert!(answer.contains("Host: ") && answer.contains("x-request-id: "), "{answer}");
        }
        let expected = if path == "/none" { 404 } else { 200 };
        assert_eq!(ask(&app, &get, "Host: any.example\r\n").await.0, expected);
        assert_eq!(ask(&app, &format!("GET {path} HTTP/1.0"), "").await.0, expected);
    }
}

#[tokio::test]
async fn a_server_with_a_name_answers_to_no_other() {
    let settings = [("public_url", "https://mail.example.org"), ("allowed_hosts", "postroom")];
    let app = TestApp::with(&settings).await;
    for (path, wrong) in [("/v1/csrf", 421), ("/users/token", 400), ("/docs", 421)] {
        let get = format!("GET {path} HTTP/1.1");
        for own in [
            "mail.example.org",
            "MAIL.example.org:443",
            "postroom:8000",
            "127.0.0.1:8000",
            "localhost",
            "[::1]",
        ] {
            let (status, answer) = ask(&app, &get, &format!("Host: {own}\r\n")).await;
            assert_eq!(status, 200, "{path} {own}: {answer}");
        }
        for other in ["evil.example", "mail.example.org.evil.example", "example.org"] {
            let host = format!("Host: {other}\r\nOrigin: https://{other}\r\n");
            let (status, answer) = ask(&app, &get, &host).await;
            assert_eq!(status, wrong, "{path} {other}: {answer}");
            assert!(answer.contains("allowed_hosts"), "{answer}");
            assert_eq!(answer.contains("\"code\":\"wrong_host\""), wrong == 421, "{answer}");
        }
        // The target counts where it is a whole URL.
        let whole = format!("GET http://evil.example{path} HTTP/1.1");
        assert_eq!(ask(&app, &whole, "Host: mail.example.org\r\n").await.0, wrong);
    }
    for path in ["/healthz", "/readyz"] {
        let (status, answer) =
            ask(&app, &format!("GET {path} HTTP/1.1"), "Host: 10-0-0-7.pod.local\r\n").await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test]
async fn an_international_name_is_known_as_browsers_send_it() {
    let app = TestApp::with(&[("public_url", "http://b\u{fc}cher.example")]).await;
    let get = "GET /v1/csrf HTTP/1.1";
    assert_eq!(ask(&app, get, "Host: xn--bcher-kva.example\r\n").await.0, 200);
    assert_eq!(ask(&app, get, "Host: xn--other.example\r\n").await.0, 421);
}
