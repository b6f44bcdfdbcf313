//! A copy of a mailbox in a tab, and what it must equal.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{PASSWORD, User};

use crate::driver::{Browser, LONG, Tab};
use crate::support::{Place, Server, until};

/// A page with nothing on it that the client could be confused by.
const PAGE: &str = "/docs/errors";

const OPEN: &str = r#"
    const { Postroom } = await import("/docs/postroom.js");
    const [token, username, password, folder] = args;
    window.client = new Postroom(token ? { token } : {});
    if (username) await client.login(username, password);
    window.folder = folder;
    window.statuses = [];
    window.mailbox = await client.openMailbox({ folder, limit: 20 });
    mailbox.addEventListener("status", ({ detail }) => statuses.push(detail));
"#;

/// How the copy differs from what the server lists; nothing where it does not.
const DIFFERS: &str = r#"
    const flat = (messages) => messages.map((one) => JSON.stringify(Object.entries(one).sort()));
    const list = [];
    try {
        for (let cursor; list.length < mailbox.messages.length || !list.length; ) {
            const query = { folder, limit: 100, ...(cursor && { cursor }) };
            const page = await client.listMessages(query);
            list.push(...page.data);
            cursor = page.next_cursor;
            if (!cursor) break;
        }
        const { messages, conversations } = await client.getUnread();
        const counts = JSON.stringify({ messages, conversations });
        const shown = flat(mailbox.messages);
        const wanted = flat(mailbox.hasMore ? list.slice(0, shown.length) : list);
        if (mailbox.status !== "live") return `it is ${mailbox.status}`;
        if (JSON.stringify(mailbox.unread) !== counts) return "the counts differ";
        const only = (some, others) => some.filter((one) => !others.includes(one)).join(", ");
        if (shown.join() === wanted.join()) return null;
        return `${folder}: ${only(shown, wanted)} is ${only(wanted, shown)}, at ${mailbox.state}`;
    } catch (error) {
        return String(error);
    }
"#;

/// Who opens a copy.
pub(crate) enum By<'a> {
    /// Somebody with a password, who gets a cookie.
    Login(&'a User),
    /// Who has logged in with this browser before.
    Cookie,
    /// The user who has the token.
    Token(&'a str),
}

/// A folder for a server that keeps idle connections open while a test waits for the browser.
pub(crate) fn place() -> Place {
    Place::new().with("POSTROOM_HEADER_TIMEOUT_SECONDS", "120")
}

/// Opens a tab with a copy of a folder.
#[track_caller]
pub(crate) fn copy<'b>(
    browser: &'b Browser,
    server: SocketAddr,
    by: &By<'_>,
    folder: &str,
) -> Tab<'b> {
    let tab = browser.open(server, PAGE);
    let (token, name) = match by {
        By::Login(user) => (Value::Null, json!(user.name)),
        By::Cookie => (Value::Null, Value::Null),
        By::Token(token) => (json!(token), Value::Null),
    };
    tab.run(OPEN, &[token, name, json!(PASSWORD), json!(folder)]);
    tab
}

/// Waits until the copy is what the server lists.
#[track_caller]
pub(crate) fn is_in_step(tab: &Tab<'_>) {
    let mut differs = tab.run(DIFFERS, &[]);
    let deadline = Instant::now() + LONG;
    while !differs.is_null() {
        assert!(Instant::now() < deadline, "not in {LONG:?} what the server lists: {differs}");
        thread::sleep(Duration::from_millis(20));
        differs = tab.run(DIFFERS, &[]);
    }
}

/// The ids in the copy, the newest first.
#[track_caller]
pub(crate) fn ids(tab: &Tab<'_>) -> Vec<i64> {
    let ids = tab.run("return mailbox.messages.map(({ id }) => id);", &[]);
    ids.as_array().expect("it is a list").iter().filter_map(Value::as_i64).collect()
}

/// A token of a user.
#[track_caller]
pub(crate) fn token(user: &mut User) -> String {
    let answer = user.v1("POST", "/tokens", "", &json!({ "name": "browser" }));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_str().expect("it is text").to_owned()
}

/// Waits until the server has so many streams.
#[track_caller]
pub(crate) fn has_streams(server: &Server, number: u64) {
    let what = format!("there are {number} streams");
    until(LONG, &what, || streams(server) == number);
}

/// How many streams the server has.
pub(crate) fn streams(server: &Server) -> u64 {
    server.figure("postroom_streams", "")
}
