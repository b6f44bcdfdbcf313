//! Messages that are older than the operator keeps any.

use domain::{Time, known_time};
use serde_json::json;

use crate::harness::TestApp;

/// Lets days go by that the server has seen.
async fn wait(app: &TestApp, days: i64) {
    app.advance(days * Time::DAY);
    let cx = app.clock().cx();
    app.write(move |tx| known_time::believe(tx, &cx)).await;
}

/// The sum of a figure of the server that runs.
async fn figure(app: &TestApp, name: &str) -> u64 {
    let text = app.scraper().request("GET", "/metrics").send().await.text();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_default()
}

/// Waits until the task has run to its end.
async fn has_run(app: &TestApp) {
    let ran = "postroom_task_runs_total{task=\"retention\",result=\"ok\"}";
    while figure(app, ran).await == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_older_than_the_setting_leaves_all_mailboxes() {
    let mut app = TestApp::with(&[("retention_days", "30")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let old = ann.write_to(&[&bob, &ann], "old").await;
    let starred = bob.write_to(&[&ann], "starred").await;
    ann.mark(starred, json!({ "starred": true, "archived": true })).await;
    wait(&app, 1).await;
    let new = ann.write_to(&[&bob], "new").await;
    let state = bob.state().await;
    wait(&app, 28).await;
    app.restart();
    has_run(&app).await;
    ann.login().await;
    bob.login().await;
    assert_eq!(bob.list("").await, [new, old], "they are 29 days old");

    app.advance(Time::DAY);
    app.restart();
    has_run(&app).await;
    ann.login().await;
    bob.login().await;
    assert_eq!(bob.list("").await, [new]);
    assert_eq!(ann.list("folder=sent").await, [new]);
    for user in [&ann, &bob] {
        assert_eq!(user.list("folder=archive").await, [0; 0]);
        for gone in [old, starred] {
            user.try_show(gone).await.problem(404, "not_found");
        }
    }
    assert_eq!(bob.counts().await, (1, 1));
    assert_eq!(bob.changes(&state).await, [vec![], vec![], vec![old, starred]]);
    assert_eq!(figure(&app, "postroom_messages_purged_total").await, 2);
}

#[tokio::test]
async fn without_the_setting_everything_stays() {
    let mut app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let old = ann.write_to(&[&bob], "old").await;
    wait(&app, 4000).await;
    app.restart();
    bob.login().await;
    let ran = "postroom_task_runs_total{task=\"jobs\",result=\"ok\"}";
    while figure(&app, ran).await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(figure(&app, "postroom_task_runs_total{task=\"retention\"").await, 0);
    assert_eq!(bob.list("").await, [old]);
}

#[tokio::test]
async fn a_clock_far_ahead_removes_nothing_until_it_is_believed() {
    let mut app = TestApp::with(&[("retention_days", "30")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let old = ann.write_to(&[&bob], "old").await;
    app.advance(400 * Time::DAY);
    app.restart();
    has_run(&app).await;
    bob.login().await;
    assert_eq!(bob.list("").await, [old]);
    assert_eq!(figure(&app, "postroom_messages_purged_total").await, 0);

    wait(&app, 0).await;
    app.restart();
    has_run(&app).await;
    assert_eq!(bob.list("").await, [0; 0]);
}
