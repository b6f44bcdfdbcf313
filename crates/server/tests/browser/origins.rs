//! A page of another origin, and what answers in place of the server.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testing::{PASSWORD, Proxy};

use crate::copies::{ids, is_in_step, place};
use crate::driver::Browser;
use crate::site;

/// Serves the client and an empty page from an origin of its own. What a program asks it for is
/// answered as something between a page and its server would: with a page, or with 502.
fn another_origin() -> SocketAddr {
    site::serve(|path| match path {
        "/v1/unread" => (502, "text/html", "<p>it is away</p>".to_owned()),
        _ => site::page(),
    })
}

#[test]
fn a_page_of_another_origin_logs_in_by_cookie_and_changes_things() {
    const LOGIN: &str = "
        const { Postroom } = await import('/postroom.js');
        window.client = new Postroom({ url: args[0] });
        await client.login(args[1], args[2]);
        window.folder = 'inbox';
        window.mailbox = await client.openMailbox({ folder, limit: 20 });";
    const AGAIN: &str = "
        const { Postroom } = await import('/postroom.js');
        const again = new Postroom({ url: args[0] });
        const [{ id }] = mailbox.messages;
        const { read_at: at } = await again.mark(id, { read: true });
        await again.send({ to: [args[1]], body: 'back' });
        return [!!at, document.cookie];";
    let Some(browser) = Browser::start() else { return };
    let page = another_origin();
    let place = place().with("POSTROOM_CORS_ORIGINS", &format!("http://{page}"));
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    bob.send_message(ann.id, "a letter", "");
    let tab = browser.open(page, "/");
    let url = json!(format!("http://{}", server.address));

    tab.run(LOGIN, &[url.clone(), json!(ann.name), json!(PASSWORD)]);
    is_in_step(&tab);
    bob.send_message(ann.id, "another", "");
    is_in_step(&tab);
    assert_eq!(ids(&tab).len(), 2);
    // A client that did not log in itself has to ask for the token.
    let done = tab.run(AGAIN, &[url, json!(bob.name)]);
    assert_eq!(done[0], true);
    // Cookies do not know ports; on another host of the site there would be none to read.
    assert!(done[1].as_str().unwrap_or_default().contains("csrftoken="), "{done}");
    is_in_step(&tab);
    tab.run("await client.logout();", &[]);
    tab.shows("mailbox.status === 'ended'");
    assert_eq!(ann.v1("GET", "/unread", "", &Value::Null).json()["messages"], 1);
    assert_eq!(browser.complaints(), [""; 0]);
    server.is_unharmed();
}

#[test]
fn a_call_that_gets_no_response_says_why_in_words_for_people() {
    const CALLS: &str = "
        const { Postroom } = await import('/postroom.js');
        const client = new Postroom(args[0] ? { url: args[0], token: 'prt_1.x' } : {});
        const [limit, begin] = [args[1], window.setTimeout];
        window.setTimeout = (act, time) => begin(act, limit && time === 30_000 ? limit : time);
        const call = { me: () => client.me(), unread: () => client.getUnread() }[args[2]];
        const error = await call().catch((error) => error);
        window.setTimeout = begin;
        const { name, status = null, code, message, cause } = error;
        return { name, status, code, message, cause: cause?.name ?? null };";
    let Some(browser) = Browser::start() else { return };
    let page = another_origin();
    let tab = browser.open(page, "/");
    let silent = Proxy::start(page.port());
    silent.black_hole(true);
    let silent = format!("http://127.0.0.1:{}", silent.port());
    let own = format!("http://{page}");
    let (none, nobody) = (Value::Null, json!("http://127.0.0.1:1"));
    let calls = [
        ([nobody, none.clone(), json!("me")], none.clone(), "network", json!("TypeError")),
        ([json!(silent), json!(300), json!("me")], none.clone(), "timeout", json!("TimeoutError")),
        (
            [none.clone(), none.clone(), json!("me")],
            none.clone(),
            "unexpected_response",
            json!("SyntaxError"),
        ),
        ([json!(own), none.clone(), json!("unread")], json!(502), "unexpected_response", none),
    ];
    for (arguments, status, code, cause) in calls {
        let error = tab.run(CALLS, &arguments);
        assert_eq!((&error["name"], &error["code"]), (&json!("Problem"), &json!(code)), "{error}");
        assert_eq!((&error["status"], &error["cause"]), (&status, &cause), "{error}");
        let message = error["message"].as_str().expect("it is text");
        assert!(!message.contains("fetch") && message.ends_with('.'), "{message}");
    }
    let aborted = tab.run(
        "const { Postroom } = await import('/postroom.js');
         const signal = AbortSignal.abort();
         const call = new Postroom().request('GET', '/v1/unread', undefined, { signal });
         return (await call.catch((error) => error)).name;",
        &[],
    );
    assert_eq!(aborted, "AbortError", "what the caller aborts is their own");
}
