//! Many tabs of one browser.

use crate::copies::{By, copy, has_streams, ids, is_in_step, place, streams, token};
use crate::driver::{Browser, LONG};
use crate::support::until;

#[test]
fn three_tabs_have_one_stream_and_another_goes_on_with_it_where_the_first_is_closed() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let mut tabs = vec![copy(&browser, server.address, &By::Login(&ann), "inbox")];
    for folder in ["all", "inbox"] {
        tabs.push(copy(&browser, server.address, &By::Cookie, folder));
    }
    let mut letters = 0;
    let mut send = |number: usize| {
        for _ in 0..number {
            letters += 1;
            bob.send_message(ann.id, "a letter", &letters.to_string());
        }
        letters
    };
    while tabs.len() > 1 {
        send(10);
        for tab in &tabs {
            is_in_step(tab);
        }
        until(LONG, "there is one stream", || {
            // The server learns by what it sends that a tab is gone; else by the next ping.
            send(1);
            streams(&server) == 1
        });
        // The first is the one that leads. What comes while nobody does is not missed.
        tabs.remove(0).close();
        send(10);
    }
    let all = send(5);
    is_in_step(&tabs[0]);
    assert_eq!(ids(&tabs[0]).len(), all);
    tabs[0].run("mailbox.close();", &[]);
    until(LONG, "there is no stream", || {
        send(1);
        streams(&server) == 0
    });
    assert_eq!(browser.complaints(), [""; 0]);
    server.is_unharmed();
}

#[test]
fn a_tab_that_leads_and_says_nothing_loses_the_lead() {
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
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let tabs = [
        copy(&browser, server.address, &By::Login(&ann), "inbox"),
        copy(&browser, server.address, &By::Cookie, "inbox"),
    ];
    tabs.iter().for_each(is_in_step);
    // For the second tab much time passes in which the first is silent, as one that is frozen.
    tabs[1].run(SILENT, &[]);
    tabs[1].shows("window.leads");
    until(LONG, "there is one stream", || {
        bob.send_message(ann.id, "a letter", "");
        streams(&server) == 1
    });
    tabs.iter().for_each(is_in_step);
    // The first waits for its turn again.
    let [first, second] = tabs;
    second.close();
    bob.send_message(ann.id, "a letter", "");
    is_in_step(&first);
    server.is_unharmed();
}

#[test]
fn two_folders_of_one_client_share_its_stream() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let id = bob.send_message(ann.id, "a letter", "to be put aside");
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    tab.run("window.archive = await client.openMailbox({ folder: 'archive' });", &[]);
    let put = "mailbox.mark(args[0], { archived: args[1] });";
    for aside in [true, false] {
        tab.run(put, &[id.into(), aside.into()]);
        let places = if aside { "[0, 1]" } else { "[1, 0]" };
        let now = "[mailbox.messages.length, archive.messages.length]";
        tab.shows(&format!("JSON.stringify({now}) === JSON.stringify({places})"));
    }
    has_streams(&server, 1);
    is_in_step(&tab);
    server.is_unharmed();
}

#[test]
fn users_in_one_browser_hear_nothing_of_each_other() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let tokens = [token(&mut ann), token(&mut bob)];
    let tabs = [
        copy(&browser, server.address, &By::Token(&tokens[0]), "inbox"),
        copy(&browser, server.address, &By::Token(&tokens[1]), "inbox"),
        copy(&browser, server.address, &By::Login(&ann), "inbox"),
    ];
    has_streams(&server, 3);
    let to_ann = bob.send_message(ann.id, "for ann", "");
    let to_bob = ann.send_message(bob.id, "for bob", "");
    for (tab, wanted) in tabs.iter().zip([to_ann, to_bob, to_ann]) {
        is_in_step(tab);
        assert_eq!(ids(tab), [wanted]);
    }
    server.is_unharmed();
}
