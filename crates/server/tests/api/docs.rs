//! The pages for people: /docs, /docs/errors, and what they are made of.

use std::collections::BTreeSet;

use serde_json::Value;
use testing::Response;

use crate::contract::document;
use crate::harness::TestApp;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const PAGES: [&str; 3] = ["/docs", "/docs/errors", "/docs/inbox"];
const FILES: [(&str, &str); 5] = [
    ("/docs/style.css", "text/css; charset=utf-8"),
    ("/docs/script.js", "text/javascript; charset=utf-8"),
    ("/docs/inbox.css", "text/css; charset=utf-8"),
    ("/docs/inbox.js", "text/javascript; charset=utf-8"),
    ("/docs/postroom.js", "text/javascript; charset=utf-8"),
];

async fn get(app: &TestApp, path: &str) -> (Response, String) {
    let answer = app.client().request("GET", path).send().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let text = String::from_utf8(answer.body.to_vec()).expect("it is text");
    (answer, text)
}

/// What stands in quotes behind each of these names of attributes.
fn attributes<'t>(html: &'t str, name: &str) -> Vec<&'t str> {
    let behind = html.split(name).skip(1);
    behind.filter_map(|rest| rest.strip_prefix("=\"")?.split('"').next()).collect()
}

#[tokio::test]
async fn pages_run_their_own_script_and_name_no_other_host() {
    let app = TestApp::start().await;
    for path in PAGES {
        let (answer, html) = get(&app, path).await;
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("content-security-policy"), Some(POLICY));
        let names: Vec<_> = [attributes(&html, "src"), attributes(&html, "href")].concat();
        assert!(names.len() >= 4, "{names:?}");
        for name in names {
            let own = name.starts_with('#') || name.starts_with("/docs") || name == "/openapi.json";
            assert!(own || name == "data:,", "{path} names {name}");
            if let Some(file) = name.strip_prefix('/') {
                get(&app, &format!("/{file}")).await;
            }
        }
        for inline in ["style=", "<style", "onclick", "javascript:", "<script>", "://"] {
            assert!(!html.contains(inline), "{path} has {inline}");
        }
    }
    for (path, kind) in FILES {
        let (answer, text) = get(&app, path).await;
        assert_eq!(answer.header("content-type"), Some(kind));
        let (own, _) = POLICY.split_once(';').expect("it has parts");
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, Some(&*format!("{own}; frame-ancestors 'none'")));
        for foreign in ["://", "@import", " url(", "innerHTML", "eval(", "Storage", "cookie="] {
            assert!(!text.contains(foreign), "{path} has {foreign}");
        }
    }
}

#[tokio::test]
async fn pages_are_read_and_nothing_else() {
    let app = TestApp::start().await;
    for path in PAGES.into_iter().chain(FILES.map(|(path, _)| path)) {
        let answer = app.client().request("HEAD", path).send().await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
        let answer = app.client().request("POST", path).send().await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{path}");
    }
    app.client().request("GET", "/docs/page.html").send().await.problem(404, "not_found");
}

#[tokio::test]
async fn the_script_reads_the_document_and_gives_each_call_its_place() {
    let app = TestApp::start().await;
    let (_, script) = get(&app, "/docs/script.js").await;
    assert!(script.contains("fetch(\"/openapi.json\")"));
    let (_, html) = get(&app, "/docs").await;
    assert!(html.contains("<noscript>") && html.contains("href=\"/openapi.json\""));

    // The script makes a section for each method that it knows, in the group of its tag.
    let tags: Vec<_> = document()["tags"].as_array().expect("they are there").iter().collect();
    let paths = document()["paths"].as_object().expect("it is an object").values();
    for (method, said) in paths.flat_map(|path| path.as_object().expect("it is an object")) {
        assert!(script.contains(&format!("\"{method}\"")), "{method}");
        let id = said["operationId"].as_str().unwrap_or_default();
        let anchor = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(anchor && !html.contains(&format!("id=\"{id}\"")), "{id} is no anchor");
        assert!(tags.iter().any(|tag| tag["name"] == said["tags"][0]), "{id} has no group");
    }
}

#[tokio::test]
async fn each_error_is_explained_where_its_type_leads() {
    let app = TestApp::start().await;
    let (_, html) = get(&app, "/docs/errors").await;
    let examples = document()["components"]["examples"].as_object().expect("they are there");
    let anchors = attributes(&html, " id");
    let known: BTreeSet<_> = examples.keys().map(String::as_str).collect();
    assert_eq!(anchors.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(anchors.len(), known.len());
    for (code, example) in examples {
        let part = html.split(&format!("id=\"{code}\"")).nth(1).expect("it is there");
        let part = part.split("</section>").next().expect("it ends");
        let part = part.replace("&#39;", "'").replace("&quot;", "\"");
        let text = |name: &str| example["value"][name].as_str().unwrap_or_default().to_owned();
        assert!(part.contains(&text("title")), "{code}: {part}");
        assert!(part.contains(&text("detail").replace('`', "")), "{code}: {part}");
        assert!(part.contains(&example["value"]["status"].to_string()), "{code}: {part}");
        assert!(!part.contains("<p></p>"), "{code} has no advice: {part}");
        let uri = text("type");
        let leads = uri == format!("/docs/errors#{code}") || code == "quota_exceeded";
        assert!(leads && example["value"] != Value::Null, "{uri}");
    }
}
