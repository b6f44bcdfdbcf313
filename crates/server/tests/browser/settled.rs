//! Every call of the client ends, whatever becomes of the session, the mailbox, the network or the
//! tab; and what nobody has seen stays as it is.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testing::{Proxy, User};

use crate::copies::{By, copy, ids, is_in_step, place, token};
use crate::driver::{Browser, Tab};
use crate::support::Server;

/// Has calls of `loadMore` begin, and notes how each ends.
const MORE: &str = "
    window.ends = [];
    const noted = (call) => call.then(() => 'loaded', ({ code }) => code);
    const note = (call) => noted(call).then((end) => ends.push(end));
    for (let times = 0; times < args[0]; times += 1) note(mailbox.loadMore());";

/// How a call ends that begins now.
const END: &str = "
    const call = {
        more: () => mailbox.loadMore(),
        mark: () => mailbox.mark(1, { read: true }),
        delete: () => mailbox.delete(1),
        batch: () => mailbox.batch({ set: { read: true } }),
        read: () => mailbox.markConversationRead(1),
        trash: () => mailbox.deleteConversation(1),
    }[args[0]];
    return call().then(() => 'loaded', ({ code }) => code);";

/// A server with so many messages from bob to ann.
fn with_letters(server: &Server, number: usize) -> (User, User) {
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    for text in 0..number {
        bob.send_message(ann.id, "a letter", &text.to_string());
    }
    (ann, bob)
}

#[track_caller]
fn ends(tab: &Tab<'_>, expected: &Value) {
    tab.shows("ends.length === 3");
    assert_eq!(tab.run("return ends;", &[]), *expected);
}

#[test]
fn who_asks_for_more_after_the_end_is_told_so() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, _bob) = with_letters(&server, 45);
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    is_in_step(&tab);
    let listed = ann.v1("GET", "/tokens", "", &Value::Null).json();
    let path = format!("/tokens/{}", listed["data"][0]["id"]);
    assert_eq!(ann.v1("DELETE", &path, "", &Value::Null).status, 204);
    // Some are asked for while it ends, one after it.
    tab.run(MORE, &[json!(3)]);
    tab.shows("ends.length === 3 && mailbox.status === 'ended'");
    for call in ["more", "mark", "delete", "batch", "read", "trash"] {
        assert_eq!(tab.run(END, &[json!(call)]), "ended", "{call}");
    }
    server.is_unharmed();
}

#[test]
fn a_mailbox_that_is_closed_leaves_nobody_waiting() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, _bob) = with_letters(&server, 45);
    let token = token(&mut ann);
    let proxy = Proxy::start(server.address.port());
    let address = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
    let tab = copy(&browser, address, &By::Token(&token), "inbox");
    is_in_step(&tab);
    let before = ids(&tab);
    proxy.black_hole(true);
    tab.run(MORE, &[json!(3)]);
    assert_eq!(tab.run("return ends;", &[]), json!([]));
    tab.run("mailbox.close();", &[]);
    ends(&tab, &json!(["closed", "closed", "closed"]));
    assert_eq!(tab.run(END, &[json!("more")]), "closed");
    proxy.black_hole(false);
    proxy.cut();
    assert_eq!(ids(&tab), before, "a copy that is closed stays as it is");
    server.is_unharmed();
}

#[test]
fn without_a_network_calls_fail_and_the_copy_comes_back_with_it() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = with_letters(&server, 45);
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    is_in_step(&tab);
    tab.is_offline(true);
    tab.shows("mailbox.status === 'offline'");
    tab.run(MORE, &[json!(3)]);
    ends(&tab, &json!(["network", "network", "network"]));
    assert_eq!(tab.run(END, &[json!("mark")]), "network");
    bob.send_message(ann.id, "meanwhile", "");
    tab.is_offline(false);
    is_in_step(&tab);
    tab.run(MORE, &[json!(3)]);
    ends(&tab, &json!(["loaded", "loaded", "loaded"]));
    is_in_step(&tab);
    assert_eq!(ids(&tab).len(), 46);
    server.is_unharmed();
}

#[test]
fn a_tab_that_has_something_to_catch_up_and_cannot_refuses_more() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob) = with_letters(&server, 45);
    let tabs = [
        copy(&browser, server.address, &By::Login(&ann), "inbox"),
        copy(&browser, server.address, &By::Cookie, "inbox"),
    ];
    tabs.iter().for_each(is_in_step);
    // The second follows the first; it misses what that tells while it cannot ask itself.
    tabs[1].run(
        "Math.random = () => 1000;
         const ask = window.fetch;
         window.fetch = (url, options) =>
             window.apart ? Promise.reject(new TypeError('apart')) : ask(url, options);
         window.apart = true;
         mailbox.receive({ kind: 'reload' });",
        &[],
    );
    bob.send_message(ann.id, "meanwhile", "");
    assert_eq!(tabs[1].run(END, &[json!("more")]), "network");
    is_in_step(&tabs[0]);
    // It does not wait longer than until its stream is there again.
    tabs[1].run("window.apart = false;", &[]);
    tabs[0].run("dispatchEvent(new Event('online'));", &[]);
    is_in_step(&tabs[1]);
    assert_eq!(tabs[1].run(END, &[json!("more")]), "loaded");
    server.is_unharmed();
}

#[test]
fn a_tab_that_loses_the_lead_ends_its_calls() {
    const HOLD: &str = "
        const ask = window.fetch;
        const held = new Promise((resolve) => (window.release = resolve));
        window.fetch = async (url, options) => {
            if (url.includes('/v1/messages?')) await held;
            return ask(url, options);
        };";
    const SILENT: &str = "
        const [ask, now] = [window.fetch, Date.now];
        window.fetch = (url, options) => {
            window.leads ||= url.includes('/v1/events');
            return ask(url, options);
        };
        Date.now = () => now() + 100_000;";
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob) = with_letters(&server, 45);
    let tabs = [
        copy(&browser, server.address, &By::Login(&ann), "inbox"),
        copy(&browser, server.address, &By::Cookie, "inbox"),
    ];
    tabs.iter().for_each(is_in_step);
    tabs[0].run(HOLD, &[]);
    tabs[0].run(MORE, &[json!(3)]);
    // For the second tab much time passes in which the first is silent, as one that is frozen.
    tabs[1].run(SILENT, &[]);
    tabs[1].shows("window.leads");
    assert_eq!(tabs[0].run("return ends;", &[]), json!([]));
    tabs[0].run("release();", &[]);
    ends(&tabs[0], &json!(["loaded", "loaded", "loaded"]));
    bob.send_message(ann.id, "meanwhile", "");
    tabs.iter().for_each(is_in_step);
    server.is_unharmed();
}

#[test]
fn what_the_copy_does_not_show_is_neither_read_nor_thrown_away() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = with_letters(&server, 3);
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    is_in_step(&tab);
    let reply = json!({ "in_reply_to": 1, "body": "more" });
    assert_eq!(bob.v1("POST", "/messages", "", &reply).status, 201);
    is_in_step(&tab);
    // What comes from now on does not reach the page.
    tab.run("mailbox.receive = () => {};", &[]);
    assert_eq!(bob.v1("POST", "/messages", "", &reply).status, 201);
    bob.send_message(ann.id, "another", "");
    let mut unread = || ann.v1("GET", "/messages?unread=true", "", &Value::Null).json();
    let mut ids = || -> Vec<i64> {
        let listed = unread();
        let listed = listed["data"].as_array().expect("it is a list").iter();
        listed.filter_map(|item| item["id"].as_i64()).collect()
    };
    assert_eq!(ids(), [6, 5, 4, 3, 2, 1]);

    tab.run("await mailbox.markConversationRead(1);", &[]);
    assert_eq!(ids(), [6, 5, 3, 2]);
    let done = tab.run("return mailbox.batch({ set: { read: true } });", &[]);
    assert_eq!(done, json!({ "updated": [1, 2, 3, 4], "destroyed": [] }));
    assert_eq!(ids(), [6, 5]);
    tab.run("await mailbox.deleteConversation(1);", &[]);
    assert_eq!(ids(), [6, 5], "the conversation goes on with the message that nobody has seen");
    let unseen = "return mailbox.deleteConversation(6).catch(({ code }) => code);";
    assert_eq!(tab.run(unseen, &[]), "not_shown");
    let shown = tab.run(
        "const { data } = await client.listConversations({ limit: 1 });
         await client.muteConversation(1);
         const { muted, unread } = await client.markConversationRead(1, { upTo: 4 });
         await client.deleteConversation(6, { upTo: 5 });
         const filter = { folder: 'all' };
         const { destroyed } = await client.batch({ filter, upTo: 2, delete: true });
         const [{ id }] = data;
         const { last_message: last } = await client.getConversation(1);
         return { id, muted, unread, destroyed, last: last.id };",
        &[],
    );
    let expected = json!({ "id": 6, "muted": true, "unread": 1, "destroyed": [2], "last": 5 });
    assert_eq!(shown, expected);
    assert_eq!(ids(), [6, 5]);
    server.is_unharmed();
}

#[test]
fn a_list_is_loaded_again_as_far_as_it_was_shown() {
    const AGAIN: &str = "
        const all = await client.openMailbox({ limit: 100 });
        while (all.hasMore) await all.loadMore();
        const changes = [];
        all.addEventListener('change', ({ detail }) => changes.push(detail));
        const before = all.messages.length;
        all.receive({ kind: 'reload' });
        while (!changes.length) await new Promise((resolve) => setTimeout(resolve, 20));
        return [before, all.messages.length, changes[0].removed.length, all.hasMore];";
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, _bob) = with_letters(&server, 1_020);
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    assert_eq!(tab.run(AGAIN, &[]), json!([1_020, 1_020, 0, false]));
    server.is_unharmed();
}

#[test]
fn a_batch_goes_on_where_a_page_of_it_is_empty() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = with_letters(&server, 1);
    // Unicode makes 18 letters of each: a page looks at a few such messages.
    for _ in 0..7 {
        bob.send_message(ann.id, "long", &"\u{fdfa}".repeat(21_845));
    }
    let found = ann.v1("GET", "/messages?q=letter", "", &Value::Null).json();
    assert_eq!(found["data"], json!([]));
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    let done =
        tab.run("return mailbox.batch({ filter: { q: 'letter' }, set: { read: true } });", &[]);
    assert_eq!(done, json!({ "updated": [1], "destroyed": [] }));
    server.is_unharmed();
}

#[test]
fn what_limits_a_call_is_never_dropped() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, _bob) = with_letters(&server, 3);
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    is_in_step(&tab);
    for call in [
        "mailbox.batch({ filter: { folder: 'trash' }, delete: true })",
        "mailbox.batch({ filter: { folder: null }, delete: true })",
        "mailbox.batch({ filter: null, delete: true })",
        "mailbox.batch({ filter: undefined, delete: true })",
        "mailbox.batch({ filter: 1, delete: true })",
        "mailbox.batch({ filter: [], delete: true })",
        "mailbox.batch({ filter: new Map([['with', 2]]), delete: true })",
        "mailbox.batch({ filter: { with: undefined }, delete: true })",
        "mailbox.batch({ with: 2, delete: true })",
        "mailbox.batch({ upTo: undefined, delete: true })",
        "mailbox.batch(1)",
        "mailbox.deleteConversation(1, { up_to: 1 })",
        "mailbox.deleteConversation(1, 1)",
        "mailbox.markConversationRead(1, { up_to: 1 })",
        "client.batch({ filter: { with: undefined }, delete: true })",
        "client.batch({ filter: Object.create({ conversation: 1 }), delete: true })",
        "client.batch({ filter: {}, up_to: 1, delete: true })",
        "client.batch({ filter: {}, upTo: undefined, delete: true })",
        "client.batch({ filter: {}, upTo: null, delete: true })",
        "client.batch({ filter: {}, upTo: NaN, delete: true })",
        "client.batch({ filter: {}, cursor: undefined, delete: true })",
        "client.batch({ filter: {}, cursor: null, delete: true })",
        "client.batch({ filter: {}, ids: undefined, delete: true })",
        "client.batch({ filter: { with: null }, delete: true })",
        "client.batch({ filter: {}, set: { read: true, trashed: undefined } })",
        "client.batch({ filter: {}, set: undefined, delete: true })",
        "client.mark(1, { read: undefined, trashed: true })",
        "client.mark(1)",
        "client.send({ to: undefined, in_reply_to: 1, body: 'to all' })",
        "client.send({ to: null, in_reply_to: 1, body: 'to all' })",
        "client.batch({ filter: new Map([['with', 2]]), delete: true })",
        "client.batch(null)",
        "client.deleteConversation(1, { upTo: undefined })",
        "client.deleteConversation(1, { up_to: 1 })",
        "client.deleteConversation(1, 1)",
        "client.deleteConversation(1, null)",
        "client.markConversationRead(1, { up_to: 1 })",
        "client.markConversationRead(1, 1)",
        "client.markConversationRead(1, { upTo: null })",
    ] {
        let end = tab.run(&format!("return {call}.then(() => 'done', ({{ name }}) => name);"), &[]);
        assert_eq!(end, "TypeError", "{call}");
    }
    let unread = ann.v1("GET", "/messages?unread=true", "", &Value::Null).json();
    assert_eq!(unread["data"].as_array().map(Vec::len), Some(3), "nothing is changed");
    let own = "return mailbox.batch({ filter: { folder: 'inbox' }, set: { read: true } });";
    assert_eq!(tab.run(own, &[])["updated"], json!([1, 2, 3]));
    server.is_unharmed();
}

#[test]
fn a_message_to_many_is_in_the_inbox_of_the_last_of_them() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = with_letters(&server, 0);
    let mut to: Vec<_> =
        ["cat", "dot", "eve", "fay", "gus", "hal"].map(|name| server.user(name).id).to_vec();
    to.push(ann.id);
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    let draft = json!({ "to": to, "subject": "hi", "body": "you all", "metadata": { "a": 1 } });
    let sent = bob.v1("POST", "/messages", "", &draft).json();
    tab.shows("mailbox.messages.length === 1");
    is_in_step(&tab);
    tab.run("return mailbox.mark(args[0], { read: true });", &[sent["id"].clone()]);
    assert_eq!(tab.run("return mailbox.messages[0].to_count;", &[]), 7);
    is_in_step(&tab);
    server.is_unharmed();
}
