//! The inbox at `/docs/inbox`, as its users see it.

use serde_json::{Value, json};
use testing::{PASSWORD, User};

use crate::copies::place;
use crate::driver::{Browser, Tab};

const PAGE: &str = "/docs/inbox";

fn sign_in(tab: &Tab<'_>, user: &User) {
    tab.shows("!document.querySelector('#sign-in').hidden");
    tab.type_in("#username", &user.name);
    tab.type_in("#password", PASSWORD);
    tab.click("#sign-in button");
    lives(tab);
}

fn lives(tab: &Tab<'_>) {
    tab.shows("document.querySelector('#status').textContent === 'Live'");
}

fn counts(tab: &Tab<'_>, unread: usize, messages: usize) {
    let badge = if unread == 0 { String::new() } else { unread.to_string() };
    tab.shows(&format!(
        "(document.querySelector('#badge').hidden ? '' : \
          document.querySelector('#badge').textContent) === '{badge}' \
         && document.querySelectorAll('#messages > .unread').length === {unread} \
         && document.querySelectorAll('#messages > li').length === {messages} \
         && document.title === '{}'",
        if unread == 0 { "Inbox".to_owned() } else { format!("({unread}) Inbox") }
    ));
}

#[test]
fn a_message_appears_in_all_tabs_with_nothing_loaded_again_and_so_does_all_that_is_done_to_it() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let first = browser.open(server.address, PAGE);
    sign_in(&first, &ann);
    counts(&first, 0, 0);
    assert_eq!(first.text("#empty"), "No messages yet. New messages appear here by themselves.");
    let second = browser.open(server.address, PAGE);
    lives(&second);
    for tab in [&first, &second] {
        tab.run("window.same = true;", &[]);
    }

    bob.send_message(ann.id, "Lunch", "At the corner, at noon?");
    for tab in [&first, &second] {
        counts(tab, 1, 1);
        assert_eq!(tab.text(".row .subject"), "Lunch");
        assert_eq!(tab.text(".row .snippet"), "At the corner, at noon?");
        tab.shows("document.querySelector('#announcement').textContent === 'New message from bob'");
    }
    second.click(".row");
    second.shows("document.querySelector('#body').textContent === 'At the corner, at noon?'");
    for tab in [&first, &second] {
        counts(tab, 0, 1);
    }
    second.click("#reply");
    second.type_in("#editor-body", "Gladly.");
    second.click("#editor .primary");
    second.shows("document.querySelector('#announcement').textContent === 'Sent'");
    let answer = bob.v1("GET", "/messages", "", &Value::Null).json()["data"][0].take();
    assert_eq!((&answer["subject"], &answer["snippet"]), (&json!("Re: Lunch"), &json!("Gladly.")));
    second.click("#unread");
    for tab in [&first, &second] {
        counts(tab, 1, 1);
    }
    first.click(".row");
    first.shows("!document.querySelector('#message').hidden");
    first.click("#delete");
    for tab in [&first, &second] {
        counts(tab, 0, 0);
        assert_eq!(tab.run("return window.same;", &[]), true, "it was loaded again");
    }
    assert_eq!(browser.complaints(), [""; 0]);
    server.is_unharmed();
}

#[test]
fn somebody_new_makes_an_account_and_learns_what_is_wrong_with_it() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let tab = browser.open(server.address, PAGE);
    tab.shows("!document.querySelector('#sign-in').hidden");
    tab.click("#new");
    tab.type_in("#username", "a b");
    tab.type_in("#password", "short");
    tab.type_in("#email", "ann@example.org");
    tab.click("#sign-in button");
    let wrong = "document.querySelector('#sign-in .error').textContent";
    tab.shows(&format!("{wrong}.includes('username: ') && {wrong}.includes('password: ')"));
    tab.type_in("#username", "ann");
    tab.type_in("#password", PASSWORD);
    tab.click("#sign-in button");
    lives(&tab);
    assert_eq!(tab.text("#user"), "ann");
    tab.click("#sign-out");
    tab.shows(
        "!document.querySelector('#sign-in').hidden && document.querySelector('#mail').hidden",
    );
    assert_eq!(tab.text("#user"), "");
    assert_eq!(browser.complaints(), [""; 0]);
    server.is_unharmed();
}

#[test]
fn what_users_write_is_text_and_never_markup() {
    const HOSTILE: [&str; 5] = [
        "<script>window.ran = 1</script>",
        "<img src=x onerror='window.ran = 1'>",
        "</span><svg onload=window.ran=1>",
        "javascript:window.ran=1 &lt;b&gt; {{window.ran=1}} ${window.ran=1}",
        "\u{202e}<b>backwards\u{2028}\"'`",
    ];
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let named = json!({ "display_name": "<img src=x onerror=window.ran=1>" });
    assert_eq!(bob.v1("PATCH", "/users/me", "", &named).status, 200);
    let tab = browser.open(server.address, PAGE);
    sign_in(&tab, &ann);
    for (at, text) in HOSTILE.iter().enumerate() {
        bob.send_message(ann.id, text, text);
        counts(&tab, 1, at + 1);
        let shown = "return document.querySelector(args[0]).textContent;";
        assert_eq!(tab.run(shown, &[json!(".row .subject")]), *text);
        tab.click(".row");
        tab.shows("document.querySelector('.row').getAttribute('aria-current') === 'true'");
        assert_eq!(tab.run(shown, &[json!("#body")]), *text);
        counts(&tab, 0, at + 1);
    }
    let made = "return document.querySelectorAll('img, svg, b, main script').length;";
    assert_eq!(tab.run(made, &[]), 0);
    assert_eq!(tab.run("return window.ran ?? null;", &[]), Value::Null);
    assert_eq!(browser.complaints(), [""; 0]);
    server.is_unharmed();
}
