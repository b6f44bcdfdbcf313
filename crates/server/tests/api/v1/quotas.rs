//! How much a user may send.

use domain::Time;
use serde_json::{Value, json};
use testing::Response;

use crate::harness::TestApp;
use crate::user::User;

/// The settings of a test, in which no account is young.
async fn app(limits: &[(&str, &str)]) -> TestApp {
    let mut settings = vec![("young_account_days", "0")];
    settings.extend(limits);
    TestApp::with(&settings).await
}

/// What an answer says of each limit: its name, its parameters, and of the seconds to its end
/// whether they are those that are expected. The time goes on while the test runs.
#[track_caller]
fn limits(answer: &Response, ends: &[(&str, i64)]) -> Vec<String> {
    let header = |name| answer.header(name).unwrap_or_else(|| panic!("no {name} in {answer:?}"));
    let (policies, left) = (header("ratelimit-policy"), header("ratelimit"));
    let each = policies.split(", ").zip(left.split(", ")).map(|(policy, left)| {
        let (left, seconds) = left.split_once(";t=").expect("it has an end");
        let (name, left) = left.split_once(';').expect("it has a name");
        let policy = policy.strip_prefix(name).expect("both have the same order");
        let seconds: i64 = seconds.parse().expect("they are a number");
        let end = ends.iter().find(|(end, _)| name.contains(end));
        let (_, end) = end.unwrap_or_else(|| panic!("{name} is not expected"));
        assert!((end - 60..=*end).contains(&seconds), "{name} ends in {seconds}, not in {end}");
        format!("{}{policy};{left}", name.trim_matches('"'))
    });
    each.collect()
}

async fn try_send(from: &User, to: &User) -> Response {
    from.try_write(&json!({ "to": [to.id.get()], "body": "" })).await
}

#[track_caller]
fn exceeded(answer: &Response, limit: &str, seconds: i64) -> Value {
    let problem = answer.problem(429, "quota_exceeded");
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!([limit]));
    let wait = problem["retry_after"].as_i64().expect("it is a number");
    assert!((seconds - 60..=seconds).contains(&wait), "{wait}, not {seconds}");
    problem
}

#[tokio::test]
async fn so_many_messages_are_sent_in_an_hour_and_in_a_day() {
    let app = app(&[("sends_per_hour", "2"), ("sends_per_day", "3")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;

    let first = try_send(&ann, &bob).await;
    first.expect(201);
    let all = [
        "send-hour;q=2;w=3600;r=1",
        "send-day;q=3;w=86400;r=2",
        "contact-hour;q=30;w=3600;r=29",
        "contact-day;q=100;w=86400;r=99",
    ];
    assert_eq!(limits(&first, &[("hour", 3600), ("day", 86400)]), all);
    app.advance(20 * Time::MINUTE);
    let second = try_send(&ann, &bob).await;
    second.expect(201);
    let sends = ["send-hour;q=2;w=3600;r=0", "send-day;q=3;w=86400;r=1"];
    let ends = [("hour", 2400), ("day", 86400 - 1200)];
    assert_eq!(limits(&second, &ends), sends, "what was not touched is not told");

    let before = app.dump().await;
    let third = try_send(&ann, &bob).await;
    exceeded(&third, "send-hour", 2400);
    assert_eq!(limits(&third, &[("hour", 2400)]), ["send-hour;q=2;w=3600;r=0"]);
    assert_eq!(app.dump().await, before);
    try_send(&bob, &ann).await.expect(201);

    app.advance(40 * Time::MINUTE);
    let fourth = try_send(&ann, &bob).await;
    let sends = ["send-hour;q=2;w=3600;r=1", "send-day;q=3;w=86400;r=0"];
    fourth.expect(201);
    assert_eq!(limits(&fourth, &[("hour", 3600), ("day", 86400 - 3600)]), sends);
    exceeded(&try_send(&ann, &bob).await, "send-day", 86400 - 3600);
    app.advance(Time::DAY - Time::HOUR);
    try_send(&ann, &bob).await.expect(201);
}

#[tokio::test]
async fn so_many_are_written_to_for_the_first_time() {
    let app = app(&[("contacts_per_hour", "2"), ("contacts_per_day", "5")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, dan) = app.pair("cat", "dan").await;
    let eve = app.user("eve").await;
    eve.write_to(&[&ann], "who wrote first is no new contact").await;
    ann.write_to(&[&bob], "one").await;
    let before = app.dump().await;

    let both = ann.try_write(&json!({ "to": ["cat", "dan"], "body": "" })).await;

    exceeded(&both, "contact-hour", 3600);
    assert_eq!(app.dump().await, before, "all of them, or nobody");
    let second = try_send(&ann, &cat).await;
    second.expect(201);
    let left = limits(&second, &[("hour", 3600), ("day", 86400)]);
    assert_eq!(left[2..], ["contact-hour;q=2;w=3600;r=0", "contact-day;q=5;w=86400;r=3"]);
    exceeded(&try_send(&ann, &dan).await, "contact-hour", 3600);
    let known = ann.try_write(&json!({ "to": ["bob", "cat", "eve", "ann"], "body": "" })).await;
    known.expect(201);
    assert_eq!(limits(&known, &[("hour", 3600), ("day", 86400)]).len(), 2);
    app.advance(Time::HOUR);
    try_send(&ann, &dan).await.expect(201);
}

#[tokio::test]
async fn a_young_account_has_a_part_of_it() {
    let app = TestApp::with(&[("sends_per_hour", "7"), ("contacts_per_hour", "2")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;

    let first = try_send(&ann, &bob).await;
    let of_young = [
        "send-hour;q=2;w=3600;r=1",
        "send-day;q=1666;w=86400;r=1665",
        "contact-hour;q=1;w=3600;r=0",
        "contact-day;q=33;w=86400;r=32",
    ];
    assert_eq!(limits(&first, &[("hour", 3600), ("day", 86400)]), of_young, "and at least 1");
    exceeded(&try_send(&ann, &cat).await, "contact-hour", 3600);
    try_send(&ann, &bob).await.expect(201);
    exceeded(&try_send(&ann, &bob).await, "send-hour", 3600);

    app.advance(3 * Time::DAY);
    let grown = try_send(&ann, &cat).await;
    let left = limits(&grown, &[("hour", 3600), ("day", 86400)]);
    assert_eq!(left[0], "send-hour;q=7;w=3600;r=6");
    assert_eq!(left[2], "contact-hour;q=2;w=3600;r=1");
}

#[tokio::test]
async fn the_classic_api_has_the_same_limits() {
    let app = app(&[("sends_per_hour", "2")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.send(&bob, "classic", "").await;
    try_send(&ann, &bob).await.expect(201);
    let before = app.dump().await;

    let refused = ann.try_send(&bob, "classic", "").await;

    refused.error(429);
    let wait: i64 = refused.header("retry-after").expect("it says when").parse().unwrap();
    assert!((3540..=3600).contains(&wait), "{wait}");
    exceeded(&try_send(&ann, &bob).await, "send-hour", 3600);
    assert_eq!(app.dump().await, before);
    app.advance(Time::HOUR);
    ann.send(&bob, "classic", "").await;
}

#[tokio::test]
async fn what_is_not_sent_takes_nothing() {
    let app = app(&[("sends_per_hour", "2"), ("contacts_per_hour", "3")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    cat.block(&ann).await;
    for draft in [
        json!({ "to": [4_000_000], "body": "" }),
        json!({ "to": ["cat"], "body": "" }),
        json!({ "to": ["bob"], "body": 7 }),
        json!({ "in_reply_to": 4_000_000, "body": "" }),
    ] {
        for _ in 0..3 {
            assert!([403, 422].contains(&ann.try_write(&draft).await.status));
        }
    }
    let draft = json!({ "to": ["bob", "cat", 4_000_000], "body": "" });
    let send =
        || ann.request("POST", "/v1/messages").header("idempotency-key", "k").json(&draft).send();

    let first = send().await;

    first.expect(201);
    let left = limits(&first, &[("hour", 3600), ("day", 86400)]);
    assert_eq!(left[0], "send-hour;q=2;w=3600;r=1");
    assert_eq!(left[2], "contact-hour;q=3;w=3600;r=2", "who did not get it is no contact");
    for _ in 0..3 {
        assert_eq!(send().await.header("idempotency-replayed"), Some("true"));
    }
    try_send(&ann, &bob).await.expect(201);
    exceeded(&try_send(&ann, &bob).await, "send-hour", 3600);
}

#[tokio::test]
async fn without_rate_limits_there_are_none() {
    let off = [("rate_limits", "off"), ("sends_per_hour", "1"), ("contacts_per_hour", "1")];
    let app = TestApp::with(&off).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let cat = app.user("cat").await;
    for to in [&bob, &bob, &cat] {
        let sent = try_send(&ann, to).await;
        sent.expect(201);
        assert_eq!((sent.header("ratelimit"), sent.header("ratelimit-policy")), (None, None));
        ann.send(to, "classic", "").await;
    }
    assert!(!app.dump().await.iter().any(|row| row.starts_with("quota ")));
}

#[tokio::test]
async fn so_many_look_ups_are_made_in_an_hour_whichever_way() {
    let app = app(&[("lookups_per_hour", "6")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let profile = format!("/v1/users/{}", bob.id.get());
    let unknown = json!({ "to": ["nobody", "none"], "body": "" });
    let classic = json!({ "receiver_id": 4_000_000, "subject": "", "body": "" });

    ann.call("GET", &profile).await.expect(200);
    ann.call("GET", "/v1/users?prefix=bo").await.expect(200);
    ann.call("PUT", "/v1/blocks/nobody").await.problem(404, "not_found");
    ann.try_write(&unknown).await.problem(422, "unknown_recipient");
    ann.request("POST", "/messages/write_message").json(&classic).send().await.error(404);

    exceeded(&ann.call("GET", &profile).await, "lookup-hour", 3600);
    exceeded(&ann.call("GET", "/v1/users?prefix=bo").await, "lookup-hour", 3600);
    exceeded(&ann.call("DELETE", "/v1/blocks/bob").await, "lookup-hour", 3600);
    let refused = ann.try_write(&unknown).await;
    exceeded(&refused, "lookup-hour", 3600);
    assert!(!String::from_utf8_lossy(&refused.body).contains("unknown_recipient"));
    ann.request("POST", "/messages/write_message").json(&classic).send().await.error(429);
    // Who is there can be written to, and others have limits of their own.
    try_send(&ann, &bob).await.expect(201);
    bob.call("GET", &profile).await.expect(200);
    app.advance(Time::HOUR);
    ann.call("GET", &profile).await.expect(200);
}

#[tokio::test]
async fn who_has_used_up_a_limit_does_not_learn_from_it_who_is_there() {
    for (limit, reached) in [("contacts_per_hour", "contact-hour"), ("sends_per_hour", "send-hour")]
    {
        let app = app(&[("lookups_per_hour", "3"), (limit, "2")]).await;
        let (ann, bob) = app.pair("ann", "bob").await;
        let (cat, dan) = app.pair("cat", "dan").await;
        dan.block(&ann).await;
        try_send(&ann, &bob).await.expect(201);
        try_send(&ann, &cat).await.expect(201);
        app.user("eve").await;
        let before = app.dump().await;
        let to = async |names: &[&str]| ann.try_write(&json!({ "to": names, "body": "" })).await;
        // Somebody, nobody, and somebody who blocks the sender; alone and beside somebody known.
        for name in ["eve", "nobody", "dan"] {
            for names in [&[name][..], &["bob", name], &["ann", name]] {
                exceeded(&to(names).await, reached, 3600);
            }
            let classic = json!({ "receiver_id": 4_000_000, "subject": "", "body": "" });
            let classic = ann.request("POST", "/messages/write_message").json(&classic);
            classic.send().await.error(429);
        }
        assert_eq!(app.dump().await, before, "{limit}");
    }
}

#[tokio::test]
async fn the_first_look_ups_write_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.call("GET", "/v1/users/me").await.expect(200);
    app.settle().await;
    let before = app.dump().await;
    for _ in 0..19 {
        ann.call("GET", &format!("/v1/users/{}", bob.id.get())).await.expect(200);
    }
    assert_eq!(app.dump().await, before);
}
