//! Whatever is done, and however often the line is cut: the copies are what the server lists.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testing::{Proxy, User};

use crate::copies::{By, copy, is_in_step, place};
use crate::driver::{Browser, Tab};
use crate::support::Random;

const FOLDERS: [&str; 5] = ["inbox", "sent", "archive", "trash", "all"];

/// Something that users do to their messages.
fn step(random: &mut Random, ann: &mut User, bob: &mut User, messages: &mut Vec<i64>) {
    let id = if messages.is_empty() { 1 } else { *random.pick(messages) };
    match random.below(10) {
        0..4 => messages.push(bob.send_message(ann.id, "from bob", "some text")),
        4 => messages.push(ann.send_message(bob.id, "from ann", "some text")),
        5 => messages.push(ann.send_message(ann.id, "from ann to ann", "some text")),
        6 => {
            let ids: Vec<_> = messages.iter().filter(|_| random.below(4) == 0).take(8).collect();
            let marks = json!({ "ids": ids, "set": { "read": random.below(2) == 0 } });
            ann.v1("POST", "/messages/batch", "", &marks);
        }
        7 => drop(ann.v1("DELETE", &format!("/messages/{id}"), "", &Value::Null)),
        _ => {
            let mark = *random.pick(&["read", "starred", "archived", "trashed"]);
            let marks = json!({ mark: random.below(3) > 0 });
            ann.v1("PATCH", &format!("/messages/{id}"), "", &marks);
        }
    }
}

/// Something that happens to the copies.
fn trouble<'b>(random: &mut Random, browser: &'b Browser, proxy: &Proxy, tabs: &mut Vec<Tab<'b>>) {
    let address = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
    match random.below(12) {
        0 | 1 => proxy.cut(),
        2 if tabs.len() < 4 => {
            tabs.push(copy(browser, address, &By::Cookie, random.pick::<&str>(&FOLDERS)));
        }
        3 if tabs.len() > 1 => tabs.remove(random.below(tabs.len())).close(),
        4 => drop(random.pick(tabs).run("mailbox.loadMore().catch(() => {});", &[])),
        5 => drop(random.pick(tabs).run(
            "const found = mailbox.messages[Math.floor(Math.random() * mailbox.messages.length)];
             if (found) mailbox.mark(found.id, { starred: !found.starred_at }).catch(() => {});",
            &[],
        )),
        _ => {}
    }
}

#[test]
fn copies_are_what_the_server_lists_after_any_history() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let proxy = Proxy::start(server.address.port());
    let address = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
    for seed in 1..=4 {
        let mut random = Random::new(seed);
        let mut messages = Vec::new();
        let mut tabs =
            vec![copy(&browser, address, &By::Login(&ann), random.pick::<&str>(&FOLDERS))];
        for _ in 0..60 {
            for _ in 0..random.below(6) {
                step(&mut random, &mut ann, &mut bob, &mut messages);
            }
            trouble(&mut random, &browser, &proxy, &mut tabs);
        }
        tabs.iter().for_each(is_in_step);
        tabs.into_iter().for_each(Tab::close);
    }
    server.is_unharmed();
}
