//! The numbers of users and messages, in all the ways in which they may be written.

use testing::Response;

use super::{DELETE, READ, WRITE};
use crate::harness::TestApp;
use crate::user::User;

/// Writes to the number as it stands in JSON.
async fn write(user: &User, number: &str) -> Response {
    let body = format!(r#"{{"receiver_id": {number}, "subject": "s", "body": "b"}}"#);
    WRITE.with(&user.client, body).await
}

/// What is no whole number.
const NO_NUMBERS: [&str; 20] = [
    "1.5",
    "1.0",
    "1e0",
    "1e3",
    "-1.5",
    "1e300",
    "true",
    "false",
    "[]",
    "[1]",
    "{}",
    r#"{"id": 1}"#,
    r#""""#,
    r#"" ""#,
    r#""1.0""#,
    r#""1e0""#,
    r#""0x1""#,
    r#""+1""#,
    r#""one""#,
    r#""１""#,
];

/// Whole numbers that nobody and nothing can have.
const IMPOSSIBLE: [&str; 13] = [
    "0",
    "-1",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    r#""0""#,
    r#""-1""#,
    r#""9223372036854775808""#,
    r#""99999999999999999999999999999999""#,
];

#[tokio::test]
async fn a_number_may_be_an_integer_or_decimal_digits() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let to = bob.id.get();

    for number in [format!("{to}"), format!(r#""{to}""#), format!(r#""000{to}""#)] {
        write(&ann, &number).await.ok();
    }

    let ids = bob.inbox().await;
    assert_eq!(ids.len(), 3);
    for (id, quote) in ids.iter().zip(["", r#"""#, r#"""#]) {
        let body = format!(r#"{{"message_id": {quote}{id}{quote}}}"#);
        assert_eq!(READ.with(&bob.client, body.clone()).await.ok()["message_id"], *id);
        DELETE.with(&bob.client, body).await.ok();
    }
    assert!(bob.inbox().await.is_empty());
}

#[tokio::test]
async fn what_is_no_whole_number_is_refused_by_the_name_of_its_field() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    bob.send(&ann, "the first message of all has the number", "one").await;
    let before = app.dump().await;

    for number in NO_NUMBERS {
        let answer = write(&ann, number).await;
        assert!(answer.error(400).starts_with("receiver_id: "), "{number}: {answer:?}");
        for call in [READ, DELETE] {
            let answer = call.with(&ann.client, format!(r#"{{"message_id": {number}}}"#)).await;
            assert!(answer.error(400).starts_with("message_id: "), "{number}: {answer:?}");
        }
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_number_that_nobody_has_is_nobodys() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    bob.send(&ann, "hi", "").await;
    let before = app.dump().await;

    for number in IMPOSSIBLE {
        let answer = write(&ann, number).await;
        assert!(answer.error(404).starts_with("receiver_id: "), "{number}: {answer:?}");
        for call in [READ, DELETE] {
            let answer = call.with(&ann.client, format!(r#"{{"message_id": {number}}}"#)).await;
            answer.error(404);
        }
    }

    assert_eq!(app.dump().await, before);
}

#[tokio::test]
async fn a_number_of_any_length_is_answered() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;

    for digits in [20, 400, 100_000] {
        for number in ["9".repeat(digits), format!("-{}", "9".repeat(digits))] {
            let answer = READ.with(&ann.client, format!(r#"{{"message_id": {number}}}"#)).await;
            assert!([400, 404].contains(&answer.status), "{digits} digits: {answer:?}");
        }
    }
}
