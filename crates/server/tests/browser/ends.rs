//! A copy ends with its session or its token, and does not ask again.

use serde_json::{Value, json};
use testing::Follower;

use crate::copies::{By, copy, has_streams, is_in_step, place, token};
use crate::driver::{Browser, Tab};
use crate::support::Server;

/// Asserts that they have ended for this reason, show nothing and ask for nothing any more: the
/// next to ask are we. So many streams of others are left.
#[track_caller]
pub(crate) fn is_over(tabs: &[Tab<'_>], server: &Server, reason: &str, streams: u64) {
    for tab in tabs {
        tab.shows("mailbox.status === 'ended' && statuses.at(-1) === 'ended'");
        assert_eq!(tab.run("return statuses.filter((one) => one === 'ended').length;", &[]), 1);
        assert_eq!(tab.run("return mailbox.reason;", &[]), reason);
        // Somebody else may sit there now.
        let left = tab.run("return [mailbox.messages.length, mailbox.unread.messages];", &[]);
        assert_eq!(left, json!([0, 0]));
    }
    has_streams(server, streams);
    let refused = || server.figure("postroom_http_requests_total", "status=\"4xx\"");
    let before = refused();
    for tab in tabs {
        // A tab that asked again without a pause would have done so by then.
        tab.run("for (let times = 0; times < 30; times += 1) await fetch('/healthz');", &[]);
    }
    assert_eq!(refused(), before);
}

/// Has the copies be in step, and try again without a pause.
#[track_caller]
fn are_eager(tabs: &[Tab<'_>]) {
    for tab in tabs {
        is_in_step(tab);
        tab.run("Math.random = () => 0;", &[]);
    }
}

#[test]
fn who_is_signed_out_elsewhere_is_told_in_every_tab() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let mut ann = server.user("ann");
    let tabs = [
        copy(&browser, server.address, &By::Login(&ann), "inbox"),
        copy(&browser, server.address, &By::Cookie, "inbox"),
    ];
    are_eager(&tabs);
    let listed = ann.v1("GET", "/sessions", "", &Value::Null).json();
    let sessions = listed["data"].as_array().expect("it is a list");
    for session in sessions.iter().filter(|session| session["current"] == false) {
        let path = format!("/sessions/{}", session["id"]);
        assert_eq!(ann.v1("DELETE", &path, "", &Value::Null).status, 204);
    }
    is_over(&tabs, &server, "unauthenticated", 0);
    server.is_unharmed();
}

#[test]
fn a_token_that_is_revoked_ends_what_it_opened() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let tabs = [copy(&browser, server.address, &By::Token(&token(&mut ann)), "all")];
    bob.send_message(ann.id, "a letter", "");
    are_eager(&tabs);
    let listed = ann.v1("GET", "/tokens", "", &Value::Null).json();
    let path = format!("/tokens/{}", listed["data"][0]["id"]);
    assert_eq!(ann.v1("DELETE", &path, "", &Value::Null).status, 204);
    is_over(&tabs, &server, "unauthenticated", 0);
    server.is_unharmed();
}

#[test]
fn who_logs_out_is_told_at_once_and_the_next_user_sees_their_own() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    bob.send_message(ann.id, "for ann", "");
    let tabs = [
        copy(&browser, server.address, &By::Login(&ann), "inbox"),
        copy(&browser, server.address, &By::Cookie, "inbox"),
    ];
    are_eager(&tabs);
    tabs[1].run("await client.logout();", &[]);
    is_over(&tabs, &server, "signed_out", 0);
    let login = "await client.login(args[0], args[1]);
        window.mailbox = await client.openMailbox();
        return mailbox.messages.length;";
    let password = json!(testing::PASSWORD);
    assert_eq!(tabs[1].run(login, &[json!("bob"), password]), 0);
    is_in_step(&tabs[1]);
    tabs[0].shows("mailbox.status === 'ended'");
    server.is_unharmed();
}

#[test]
fn a_copy_is_never_mixed_with_the_mailbox_of_who_logged_in_after() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    bob.send_message(ann.id, "for ann", "");
    let tab = copy(&browser, server.address, &By::Login(&ann), "inbox");
    is_in_step(&tab);
    // Another tab logs in as another user: the browser has one cookie, and the old session ends.
    let other = copy(&browser, server.address, &By::Login(&bob), "inbox");
    tab.shows("mailbox.status === 'ended'");
    ann.send_message(bob.id, "for bob", "");
    is_in_step(&other);
    let left = tab.run("return [mailbox.reason, mailbox.messages.length];", &[]);
    assert_eq!(left, json!(["another_user", 0]));
    server.is_unharmed();
}

#[test]
fn a_page_of_the_user_before_does_nothing_to_the_mail_of_who_logged_in() {
    /// The page hears nothing of the login.
    const DEAF: &str = "
        const ask = window.fetch;
        window.fetch = (url, options) =>
            /events|changes/.test(url) ? new Promise(() => {}) : ask(url, options);
        dispatchEvent(new Event('online'));";
    const ACT: &str = "
        const told = (call) => call.then(() => 'done', ({ code, reason }) => `${code}: ${reason}`);
        const set = { starred: true };
        const ends = [await told(mailbox.batch({ delete: true })), mailbox.status];
        for (const act of [
            () => mailbox.mark(args[0], set),
            () => mailbox.delete(args[0]),
            () => client.mark(args[0], set),
            () => client.delete(args[0]),
            () => client.batch({ filter: {}, set }),
            () => client.markConversationRead(args[0]),
            () => client.deleteConversation(args[0]),
            () => client.send({ to: [args[1]], body: 'from ann' }),
            () => client.request('PATCH', '/v1/users/me', { display_name: 'Ann' }),
            () => client.listMessages(),
            () => client.getMessage(args[0]),
            () => client.me(),
            () => client.openMailbox(),
            () => client.logout(),
        ]) ends.push(await told(act()));
        return [ends, mailbox.messages.length];";
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob, mut cid) = (server.user("ann"), server.user("bob"), server.user("cid"));
    let both = json!({ "to": [ann.id, bob.id], "subject": "for both", "body": "" });
    let both = cid.v1("POST", "/messages", "", &both).json()["id"].clone();
    // A page that only reads knows whose session it has as well.
    let reader = browser.open(server.address, "/docs/errors");
    let tab = copy(&browser, server.address, &By::Login(&ann), "inbox");
    let read = "const { Postroom } = await import('/docs/postroom.js');
        window.client = new Postroom();
        return (await client.listMessages()).data.length;";
    assert_eq!(reader.run(read, &[]), 1);
    is_in_step(&tab);
    tab.run(DEAF, &[]);
    let other = copy(&browser, server.address, &By::Login(&bob), "inbox");
    let mut state = || {
        ["/messages", "/users/me", "/sessions"].map(|path| {
            let mut state = bob.v1("GET", path, "", &Value::Null).json();
            // Whose session was seen last is no part of it.
            state["state"].take();
            state
        })
    };
    let before = state();
    let (ends, left) = {
        let told = tab.run(ACT, &[both.clone(), json!(cid.name)]);
        (told[0].clone(), told[1].clone())
    };
    let ends: Vec<_> =
        ends.as_array().expect("it is a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(ends.len(), 16);
    assert_eq!((ends[1], left), ("ended", json!(0)), "{ends:?}");
    assert!(
        ends.iter().enumerate().all(|(at, end)| at == 1 || *end == "ended: another_user"),
        "{ends:?}"
    );
    let delete = "return client.delete(args[0]).catch(({ reason }) => reason);";
    assert_eq!(reader.run(delete, &[both]), "another_user");
    assert_eq!(state(), before);
    is_in_step(&other);
    server.is_unharmed();
}

#[test]
fn a_client_that_logs_in_another_user_gets_a_mailbox_of_theirs() {
    const NEXT: &str = "
        window.before = mailbox;
        await client.login(args[0], args[1]);
        window.ended = before.status;
        statuses.length = 0;
        window.mailbox = await client.openMailbox({ folder, limit: 20 });
        return [ended, before.reason, before.messages.length];";
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    bob.send_message(ann.id, "for ann", "");
    let tabs = [
        copy(&browser, server.address, &By::Login(&ann), "inbox"),
        copy(&browser, server.address, &By::Cookie, "inbox"),
    ];
    tabs.iter().for_each(is_in_step);
    let told = tabs[0].run(NEXT, &[json!(bob.name), json!(testing::PASSWORD)]);
    assert_eq!(told, json!(["ended", "another_user", 0]));
    tabs[1].shows("mailbox.status === 'ended'");
    ann.send_message(bob.id, "for bob", "");
    is_in_step(&tabs[0]);
    assert_eq!(
        tabs[0].run("return mailbox.messages.map(({ subject }) => subject);", &[]),
        json!(["for bob"])
    );
    has_streams(&server, 1);
    server.is_unharmed();
}

#[test]
fn a_letter_that_waits_for_the_network_is_not_sent_by_who_logged_in_after() {
    /// The server cannot be reached for letters until the page says so.
    const SEND: &str = "
        const ask = window.fetch;
        window.apart = true;
        window.fetch = (url, options) =>
            window.apart && options.method === 'POST'
                ? Promise.reject(new TypeError('apart'))
                : ask(url, options);
        client.send({ to: [args[0]], body: 'from ann' }).then(
            () => (window.end = 'sent'),
            ({ code, reason }) => (window.end = `${code}: ${reason}`),
        );";
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob, cid) = (server.user("ann"), server.user("bob"), server.user("cid"));
    let tab = copy(&browser, server.address, &By::Login(&ann), "inbox");
    tab.run(SEND, &[json!(cid.name)]);
    let _other = copy(&browser, server.address, &By::Login(&bob), "inbox");
    tab.run("window.apart = false;", &[]);
    tab.shows("window.end");
    assert_eq!(tab.run("return end;", &[]), "ended: another_user");
    let sent = bob.v1("GET", "/messages?folder=sent", "", &Value::Null).json();
    assert_eq!(sent["data"], json!([]));
    server.is_unharmed();
}

#[test]
fn a_copy_whose_stream_was_displaced_goes_on_when_the_page_asks() {
    let Some(browser) = Browser::start() else { return };
    let place = place().with("POSTROOM_STREAMS_PER_USER", "1");
    let server = place.serve();
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let first = copy(&browser, server.address, &By::Login(&ann), "inbox");
    let tabs = [first, copy(&browser, server.address, &By::Cookie, "inbox")];
    are_eager(&tabs);
    // The tab that has the connection is asked to go on, and then one that has not.
    for (times, tab) in (1..).zip(tabs.iter()) {
        let mut follower = Follower::of(&ann);
        let mut other = follower.open(server.address).expect("it is opened");
        for tab in &tabs {
            tab.shows("mailbox.status === 'displaced'");
        }
        bob.send_message(ann.id, "a letter", "");
        for tab in &tabs {
            // One that came back by itself, or by what wakes a pause, would have done so by then.
            tab.run("for (let times = 0; times < 30; times += 1) await fetch('/healthz');", &[]);
            tab.run("dispatchEvent(new Event('online'));", &[]);
            let displaced =
                tab.run("return statuses.filter((one) => one === 'displaced').length;", &[]);
            assert_eq!(displaced, times);
            tab.shows("mailbox.status === 'displaced' && statuses.at(-1) === 'displaced'");
        }
        tab.run("mailbox.resume();", &[]);
        for tab in &tabs {
            is_in_step(tab);
        }
        has_streams(&server, 1);
        while other.wait().expect("it is told that it is displaced").name != "displaced" {}
    }
    server.is_unharmed();
}
