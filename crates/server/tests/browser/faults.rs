//! The server dies, goes silent or goes back in time; the copy does not mind.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use testing::Proxy;

use crate::copies::{By, copy, has_streams, ids, is_in_step, place, token};
use crate::driver::{Browser, LONG};
use crate::support::until;

/// An address that a server can come back to.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address")
}

#[test]
fn a_copy_outlives_a_server_that_is_killed_while_letters_arrive() {
    let Some(browser) = Browser::start() else { return };
    let address = free_address();
    let place = place().with("POSTROOM_LISTEN", &address.to_string());
    let mut server = place.serve();
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let tabs = [
        copy(&browser, address, &By::Login(&ann), "inbox"),
        copy(&browser, address, &By::Cookie, "all"),
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, recipient) = (Arc::clone(&stop), ann.id);
    let letters = thread::spawn(move || {
        let mut sent = 0;
        while !stopped.load(Relaxed) {
            // What gets no answer is sent again, under its key.
            let answer = bob.send_keyed(recipient, &sent.to_string());
            sent += usize::from(answer.is_ok_and(|answer| answer.status == 201));
        }
        sent
    });
    for _ in 0..3 {
        let before = ids(&tabs[0]).len();
        until(LONG, "letters come", || ids(&tabs[0]).len() > before);
        server.kill();
        tabs[0].shows("['connecting', 'offline'].includes(mailbox.status)");
        server = place.serve();
        for tab in &tabs {
            tab.shows("mailbox.status === 'live'");
        }
    }
    stop.store(true, Relaxed);
    let sent = letters.join().expect("they are sent");
    tabs.iter().for_each(is_in_step);
    tabs[0].run("while (mailbox.hasMore) await mailbox.loadMore();", &[]);
    is_in_step(&tabs[0]);
    assert_eq!(ids(&tabs[0]).len(), sent);
    has_streams(&server, 1);
    server.is_unharmed();
}

/// Has the page ask once for changes, and once for events, since a state that there never was.
const FORGET: &str = r#"
    const real = window.fetch;
    const left = new Set(["/v1/changes", "/v1/events"]);
    window.listed = 0;
    window.fetch = (url, options) => {
        const path = new URL(url).pathname;
        if (path === "/v1/messages") listed += 1;
        if (left.delete(path)) url = url.replace(/since=\d+/, "since=99999999999");
        return real(url, options);
    };
    dispatchEvent(new Event("online"));
"#;

#[test]
fn a_copy_whose_state_the_server_does_not_know_is_loaded_again() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    for text in 0..50 {
        bob.send_message(ann.id, "a letter", &text.to_string());
    }
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    tab.run("await mailbox.loadMore(); await mailbox.loadMore();", &[]);
    is_in_step(&tab);
    assert_eq!(ids(&tab).len(), 50);
    tab.run(FORGET, &[]);
    // The list was loaded after 410, and again after `reset`: its first page and the one below, for
    // what was shown stays there.
    tab.shows("listed === 4 && mailbox.status === 'live'");
    bob.send_message(ann.id, "another letter", "");
    is_in_step(&tab);
    assert_eq!(ids(&tab).len(), 51);
    server.is_unharmed();
}

#[test]
fn a_connection_that_says_nothing_is_made_again() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let token = token(&mut ann);
    let proxy = Proxy::start(server.address.port());
    let address = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
    let tab = copy(&browser, address, &By::Token(&token), "inbox");
    is_in_step(&tab);
    // Time passes for the page; it looks every few seconds whether the server is still there. While
    // a machine sleeps one of its clocks stands still, and the other one may be set back.
    let asleep = "const now = Date.now; Date.now = () => now() + 60_000;";
    let set_back = "const [now, passed] = [Date.now, performance.now.bind(performance)];
        Date.now = () => now() - 7_200_000;
        performance.now = () => passed() + 60_000;";
    for (letters, time) in (1..).zip([asleep, set_back]) {
        proxy.black_hole(true);
        bob.send_message(ann.id, "into the hole", "");
        tab.run(&format!("statuses.length = 0; {time}"), &[]);
        tab.shows("statuses.includes('connecting')");
        proxy.cut();
        proxy.black_hole(false);
        is_in_step(&tab);
        assert_eq!(ids(&tab).len(), letters);
    }
    server.is_unharmed();
}

#[test]
fn a_page_that_is_back_on_the_network_does_not_wait() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    is_in_step(&tab);
    // Pauses do not end by themselves.
    tab.run("Math.random = () => 1000;", &[]);
    for _ in 0..3 {
        tab.run("statuses.length = 0; dispatchEvent(new Event('online'));", &[]);
        tab.shows("statuses.includes('connecting')");
        bob.send_message(ann.id, "meanwhile", "");
        tab.run("dispatchEvent(new Event('online'));", &[]);
        is_in_step(&tab);
    }
    assert_eq!(ids(&tab).len(), 3);
    server.is_unharmed();
}
