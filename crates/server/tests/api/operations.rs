//! What an operator's machines ask: whether the server lives, is ready, and how it does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{PASSWORD, TestApp, WRONG};

#[tokio::test]
async fn the_server_says_that_it_lives_and_is_ready_without_a_login() {
    let app = TestApp::start().await;
    let client = app.client();

    assert_eq!(client.request("GET", "/healthz").send().await.ok(), json!({ "status": "alive" }));
    assert_eq!(client.request("GET", "/readyz").send().await.ok(), json!({ "status": "ready" }));
    let scraper = app.scraper();
    for (client, path) in [(&client, "/healthz"), (&client, "/readyz"), (&scraper, "/metrics")] {
        assert_eq!(client.request("HEAD", path).send().await.status, 200);
        for method in ["POST", "PUT", "DELETE"] {
            let answer = client.request(method, path).send().await;
            answer.error(405);
            assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_failure_tells_the_client_an_id_and_when_to_come_back() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    app.close_database(2);

    for answer in [ann.try_send(&ann, "", "").await, ann.client.try_login("ann", WRONG).await] {
        assert_eq!(answer.error(503), "the server is stopping");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
}

/// One figure, as the text has it.
type Figures = BTreeMap<String, f64>;

/// Reads the text of the metrics as a scraper would, and holds it to the format.
fn parse(text: &str) -> Figures {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with its mark");
    let mut kinds = BTreeMap::new();
    let mut described = BTreeSet::new();
    let mut figures = Figures::new();
    for line in body.lines() {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let mut word = || words.next().expect("it has three words");
            match (word(), word(), word()) {
                ("HELP", name, text) => assert!(described.insert(name) && !text.is_empty()),
                ("TYPE", name, kind) => assert!(kinds.insert(name, kind).is_none(), "{line}"),
                ("UNIT", ..) => {}
                _ => panic!("{line} is no line of metadata"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = series.split('{').next().expect("a sample has a name");
        let family = |suffix: &str| name.strip_suffix(suffix).and_then(|name| kinds.get(name));
        let right = if let Some(kind) = family("_total") {
            *kind == "counter"
        } else {
            let histogram = ["_bucket", "_sum", "_count"].map(family);
            histogram.contains(&Some(&"histogram")) || kinds.get(name) == Some(&"gauge")
        };
        assert!(right, "{line} belongs to no family of its kind");
        assert!(name.starts_with("postroom_") || name.starts_with("process_"), "{line}");
        let value = value.parse::<f64>().expect("a value is a number");
        assert!(figures.insert(series.to_owned(), value).is_none(), "{series} is there twice");
    }
    assert_eq!(described, kinds.keys().copied().collect());
    figures
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics for a client that accepts this, and the type that they came as.
async fn scrape(app: &TestApp, accept: &str) -> (String, String) {
    let answer = app.scraper().request("GET", "/metrics").header("Accept", accept).send().await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").expect("it has a type").to_owned();
    (kind, String::from_utf8(answer.body.to_vec()).expect("it is text"))
}

async fn figures(app: &TestApp) -> Figures {
    let (kind, text) = scrape(app, "application/openmetrics-text").await;
    assert_eq!(kind, OPEN_METRICS);
    parse(&text)
}

#[tokio::test]
async fn the_metrics_are_in_the_format_that_the_scraper_accepts() {
    let app = TestApp::start().await;
    let of_a_server = "application/openmetrics-text;version=1.0.0;q=0.5,\
         application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, expected) in [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/html, */*;q=0.8", PROMETHEUS),
        ("text/plain", PROMETHEUS),
        ("text/plain, application/openmetrics-text; q=0.9", PROMETHEUS),
        ("application/openmetrics-text;q=0, text/plain;q=0", PROMETHEUS),
        ("application/openmetrics-text;q=much", PROMETHEUS),
        ("application/openmetrics-text", OPEN_METRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPEN_METRICS),
        (of_a_server, OPEN_METRICS),
    ] {
        assert_eq!(scrape(&app, accept).await.0, expected, "{accept}");
    }
    let answer = app.scraper().request("GET", "/metrics").send().await;
    assert_eq!(answer.header("content-type"), Some(PROMETHEUS));
}

#[expect(clippy::disallowed_methods, reason = "it says nothing of the server")]
fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

#[tokio::test]
async fn prometheus_itself_finds_nothing_wrong_with_the_metrics() {
    let app = TestApp::start().await;
    app.user("ann").await.inbox().await;
    let (_, text) = scrape(&app, "text/plain").await;
    assert!(text.contains("\n# TYPE postroom_http_requests_total counter\n"), "{text}");

    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match promtool.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound && !is_ci() => {
            let skipped = "skipped: promtool (Debian package prometheus) is not installed";
            drop(writeln!(std::io::stderr(), "{skipped}"));
            return;
        }
        spawned => spawned.expect("promtool can be run"),
    };
    let mut input = promtool.stdin.take().expect("it has one");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let checked = promtool.wait_with_output().expect("it ends");
    let problems = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && problems.is_empty(), "{problems}");
}

fn answers(route: &str, status: &str) -> String {
    format!("postroom_http_requests_total{{route=\"{route}\",status=\"{status}\"}}")
}

#[tokio::test]
async fn the_metrics_count_answers_by_route_and_status() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let before = figures(&app).await;

    for _ in 0..3 {
        ann.inbox().await;
    }
    ann.try_read(77).await.error(404);
    ann.request("GET", "/nothing/at/all?with=a-query").send().await.error(404);
    ann.request("GET", "/nothing-else").send().await.error(404);
    ann.request("PUT", "/users/token").send().await.error(405);

    let after = figures(&app).await;
    let grown = |name: &str| after[name] - before[name];
    let is = |name: &str, number: f64| assert!((grown(name) - number).abs() < 0.1, "{name}");
    is(&answers("/messages/messages_per_receiver", "2xx"), 3.0);
    is(&answers("/messages/messages_per_receiver", "4xx"), 0.0);
    is(&answers("/messages/read_message", "4xx"), 1.0);
    is(&answers("other", "4xx"), 2.0);
    is(&answers("/users/token", "4xx"), 1.0);
    is(&answers("/metrics", "2xx"), 1.0);
    is("postroom_http_request_seconds_count{route=\"/messages/messages_per_receiver\"}", 3.0);
    assert!(grown("postroom_http_request_seconds_sum{route=\"other\"}") > 0.0);
    assert!(!after.keys().any(|name| name.contains("nothing")), "a path is no label");
}

#[tokio::test]
async fn the_metrics_count_logins_writes_and_connections() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.visitor().await;
    let before = figures(&app).await;

    client.try_login("ann", PASSWORD).await.ok();
    for _ in 0..10 {
        client.try_login("ann", WRONG).await.error(401);
    }
    for _ in 0..2 {
        client.try_login("ann", PASSWORD).await.error(429);
    }

    let after = figures(&app).await;
    for (result, number) in [("accepted", 1.0), ("refused", 10.0), ("throttled", 2.0)] {
        let name = format!("postroom_logins_total{{result=\"{result}\"}}");
        assert!((after[&name] - before[&name] - number).abs() < 0.1, "{name}: {}", after[&name]);
    }
    let written = after["postroom_db_writes_total"] - before["postroom_db_writes_total"];
    let commits = after["postroom_db_commits_total"] - before["postroom_db_commits_total"];
    assert!(written >= 12.0 && commits >= 1.0 && commits <= written, "{written} in {commits}");
    assert!(after["postroom_connections"] >= 2.0, "the browser's and the scraper's");
    assert!(after["postroom_db_queued"] >= 0.0 && after["postroom_db_log_bytes"] >= 0.0);
}

#[tokio::test]
async fn a_histogram_is_one() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for _ in 0..20 {
        ann.inbox().await;
    }

    let figures = figures(&app).await;

    let route = "route=\"/messages/messages_per_receiver\"";
    let mut buckets = Vec::new();
    for (name, value) in &figures {
        if name.starts_with("postroom_http_request_seconds_bucket") && name.contains(route) {
            let (_, limit) = name.split_once("le=\"").expect("a bucket has a limit");
            let (limit, _) = limit.split_once('"').expect("it ends");
            buckets.push((limit.replace("+Inf", "inf").parse::<f64>().expect("a number"), *value));
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.len() > 10 && buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
    let last = buckets.last().expect("there are many");
    assert!(last.0.is_infinite() && (last.1 - 20.0).abs() < 0.1, "{last:?}");
}

#[tokio::test]
async fn the_metrics_tell_nobodys_secrets() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("somebody-ann", "somebody-bob").await;
    ann.send(&bob, "a private subject", "a private body").await;

    let text = app.scraper().request("GET", "/metrics").send().await.body;

    let text = std::str::from_utf8(&text).expect("it is text");
    for secret in ["somebody", "private", "example.org", &ann.client.session()] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn the_metrics_are_on_an_address_of_their_own_and_only_there() {
    let app = TestApp::start().await;
    app.client().request("GET", "/metrics").send().await.error(404);
    app.client().request("GET", "/healthz").send().await.ok();

    let scraper = app.scraper();
    assert!(figures(&app).await[&answers("/healthz", "2xx")] >= 1.0);
    scraper.request("GET", "/healthz").send().await.ok();
    for path in ["/users/token", "/messages/messages_per_receiver", "/readyz"] {
        scraper.request("GET", path).send().await.error(404);
    }
}
