//! What operators watch the server with: the alerts, the dashboard and the list of the metrics, all
//! held to what `/metrics` has.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::harness::TestApp;

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/alerts.yml");
const ALERT_TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/alerts.yml");
const DASHBOARD: &str = include_str!("../../../../deploy/grafana.json");
const MANUAL: &str = include_str!("../../../../docs/operations.md");

/// The labels of each sample of the server, by name.
type Samples = BTreeMap<String, BTreeSet<String>>;

/// The names of labels in `a="…",b=~"…"`.
fn labels(text: &str) -> impl Iterator<Item = String> {
    let pairs = text.split('"').step_by(2);
    let names = pairs.map(|pair| pair.trim_matches(|c| ",=~! ".contains(c)).to_owned());
    names.filter(|name| !name.is_empty())
}

/// Each metric in an expression, with the labels that it names.
fn used(text: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.match_indices("postroom_").chain(text.match_indices("process_"));
    let starts = starts.filter(|(at, _)| !text[..*at].ends_with(is_name));
    let metrics = starts.map(|(at, _)| {
        let rest = &text[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        (name.to_owned(), labels(matchers.map_or("", |(matchers, _)| matchers)).collect())
    });
    metrics.collect()
}

async fn samples(app: &TestApp) -> Samples {
    // Tasks run in the background: what they count is there after the first of them.
    let mut text = String::new();
    while !text.contains("\npostroom_task_runs_total{") {
        let body = app.scraper().request("GET", "/metrics").send().await.body;
        std::str::from_utf8(&body).expect("it is text").clone_into(&mut text);
    }
    let (mut samples, mut series) = (Samples::new(), BTreeSet::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, _) = line.rsplit_once(' ').expect("a sample has a value");
        assert!(series.insert(sample), "{sample} is there twice");
        let (name, rest) = sample.split_once('{').unwrap_or((sample, ""));
        samples.entry(name.to_owned()).or_default().extend(labels(rest.trim_end_matches('}')));
    }
    samples
}

/// Asserts that the server has what an expression asks for.
fn hold(samples: &Samples, expression: &str) {
    let used = used(expression);
    assert!(!used.is_empty() || expression.starts_with("up{"), "{expression}");
    for (name, asked) in used {
        let known = samples.get(&name).unwrap_or_else(|| panic!("there is no {name}"));
        // These two are Prometheus's own.
        let mut asked = asked.iter().filter(|label| !["instance", "job"].contains(&label.as_str()));
        assert!(asked.all(|label| known.contains(label)), "{name} has {known:?}: {expression}");
    }
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_what_is_there() {
    let app = TestApp::start().await;
    let samples = samples(&app).await;

    let alerts = std::fs::read_to_string(ALERTS).expect("the file can be read");
    let rules: Vec<_> = alerts.split("- alert: ").skip(1).collect();
    assert!(rules.len() > 10, "{alerts}");
    for rule in rules {
        let (_, rest) = rule.split_once("expr: ").expect("a rule has an expression");
        let (expression, _) = rest.split_once("labels:").expect("and a severity");
        hold(&samples, expression);
    }

    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("a panel has an id")), "{panel}");
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(panel["type"] == "row" || !targets.is_empty(), "{panel}");
        for target in targets {
            hold(&samples, target["expr"].as_str().expect("a target has an expression"));
        }
    }
    assert!(panels.len() > 15, "{panels:?}");
}

#[tokio::test]
async fn the_manual_lists_every_metric_and_no_other() {
    let app = TestApp::start().await;
    let sums = |name: String| {
        let ends = ["_bucket", "_count", "_sum"];
        ends.iter().find_map(|end| name.strip_suffix(end)).map_or(name.clone(), str::to_owned)
    };
    let there: BTreeSet<_> = samples(&app).await.into_keys().map(sums).collect();
    let rows = MANUAL
        .lines()
        .filter(|line| line.starts_with("| `postroom_") || line.starts_with("| `process_"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let listed: BTreeSet<_> = cells.flat_map(used).map(|(name, _)| name).collect();
    assert_eq!(listed, there);
}

#[tokio::test]
async fn the_process_and_the_database_are_measured() {
    let app = TestApp::start().await;
    let figure = async |name: &str| {
        let body = app.scraper().request("GET", "/metrics").send().await.body;
        let text = String::from_utf8(body.to_vec()).expect("it is text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing")).parse::<f64>().expect("a number")
    };
    // A background task measures it at once.
    for _ in 0..200 {
        if figure("postroom_db_bytes").await > 4096.0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(figure("postroom_db_bytes").await > 4096.0);
    let memory = figure("process_resident_memory_bytes").await;
    assert!((4e6..4e10).contains(&memory), "{memory}");
    let (files, limit) = (figure("process_open_fds").await, figure("process_max_fds").await);
    assert!(files > 5.0 && files < limit, "{files} of {limit}");
    // Again where other tests of this process have closed as many meanwhile.
    let mut counted = false;
    for _ in 0..50 {
        let before = figure("process_open_fds").await;
        let held: Vec<_> =
            (0..50).map(|_| std::fs::File::open(ALERTS).expect("it can be opened")).collect();
        counted = figure("process_open_fds").await >= before + 40.0;
        drop(held);
        if counted {
            break;
        }
    }
    assert!(counted, "open files are counted");
    assert!(figure("process_cpu_seconds_total").await > 0.0);
    let started = figure("process_start_time_seconds").await;
    let own = std::fs::metadata("/proc/self").and_then(|own| own.modified()).expect("it is Linux");
    let own = own.duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs_f64();
    assert!((started - own).abs() < 3600.0, "{started} and {own}");
    let (architecture, version) = (std::env::consts::ARCH, env!("CARGO_PKG_VERSION"));
    let text = app.scraper().request("GET", "/metrics").send().await.body;
    let text = std::str::from_utf8(&text).expect("it is text");
    let build = text.lines().find(|line| line.starts_with("postroom_build_info{"));
    let build = build.expect("it says what it is");
    assert!(build.contains(&format!("version=\"{version}\"")) && build.ends_with("} 1"), "{build}");
    assert!(build.contains(&format!("architecture=\"{architecture}\"")), "{build}");
}

#[test]
fn prometheus_itself_understands_the_alerts_and_raises_them() {
    for (what, file) in [("check", ALERTS), ("test", ALERT_TESTS)] {
        let ran = Command::new("promtool").args([what, "rules", file]).output();
        let ran = match ran {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return testing::skip("promtool");
            }
            ran => ran.expect("promtool can be run"),
        };
        let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
    }
}
