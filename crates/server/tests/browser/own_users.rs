//! The client with `getToken`: pages of an app with users of its own, from another origin.

use serde_json::json;

use crate::app::{self, Says};
use crate::copies::{has_streams, ids, is_in_step, place};
use crate::driver::{Browser, LONG, Tab};
use crate::ends::is_over;
use crate::support::{Place, Server, until};

/// What a page of the app may not be told by the way.
const ALWAYS_LIVE: &str = "statuses.every((status) => status === 'live')";

/// Beside the stream, a tab needs one connection to open a mailbox.
const ONE_BY_ONE: &str =
    "calls.length > 2 && calls.every(([begin], at) => !at || calls[at - 1][1] <= begin)";

/// Has all tabs doubt that the user is still signed in to the app.
const DOUBT: &str = "
    const channel = new BroadcastChannel(`postroom ${args[0]} app arrivals`);
    channel.postMessage(0);
    channel.close();";

#[track_caller]
fn doubt(tab: &Tab<'_>, server: &Server) {
    tab.run(DOUBT, &[json!(format!("http://{}", server.address))]);
}

/// The token that a tab sends.
#[track_caller]
fn token_of(tab: &Tab<'_>) -> String {
    let sent = tab.run("await client.getUnread(); return sent.at(-1);", &[]);
    sent.as_str().expect("it is text").to_owned()
}

#[test]
fn nine_tabs_of_a_user_share_one_stream_and_one_renewal() {
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let (ann, mut bob) = (app.user("ann"), server.user("bob"));
    bob.send_message(ann, "a letter", "");
    let connections = || server.figure("postroom_connections", "");
    let before = connections();
    let mut tabs: Vec<_> = (0..9).map(|_| app.open(&browser, None)).collect();
    assert_eq!(app.asked(), 9, "each tab asks whose it is");
    has_streams(&server, 1);
    for tab in &tabs {
        tab.shows(ONE_BY_ONE);
    }
    tabs.iter().for_each(is_in_step);
    let first: Vec<_> = tabs.iter().map(token_of).collect();

    doubt(&tabs[4], &server);
    until(LONG, "the leading tab has a new token", || token_of(&tabs[0]) != first[0]);
    let next = token_of(&tabs[0]);
    for (tab, first) in tabs.iter().zip(&first) {
        until(LONG, "the tabs have the new token", || token_of(tab) == next);
        assert_ne!(next, *first);
    }
    bob.send_message(ann, "another", "");
    tabs.iter().for_each(is_in_step);
    assert_eq!(app.asked(), 10);
    has_streams(&server, 1);
    // On a busy machine Chromium has up to four, though no three requests overlap: it connects
    // again before it knows that a connection is free, and keeps it until the server closes it.
    until(3 * LONG, "a browser keeps two connections", || connections() <= before + 2);
    for tab in &tabs {
        tab.shows(ALWAYS_LIVE);
    }
    // The tab that leads next asks nobody.
    tabs.remove(0).close();
    bob.send_message(ann, "a third", "");
    for tab in &tabs {
        is_in_step(tab);
        assert_eq!(ids(tab).len(), 3);
    }
    assert_eq!(app.asked(), 10);
    assert_eq!(browser.complaints(), [""; 0]);
    server.is_unharmed();
}

#[test]
fn a_stream_goes_on_from_its_cursor_with_tokens_that_are_renewed_thirty_seconds_before_they_end() {
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let (ann, mut bob) = (app.user("ann"), server.user("bob"));
    let tab = app.open(&browser, Some(31_500));
    tab.run("window.began = performance.now();", &[]);
    let mut sent = 0;
    until(LONG, "three tokens were used", || {
        bob.send_message(ann, "a letter", "");
        sent += 1;
        app.asked() >= 4
    });
    let took = tab.run("return performance.now() - began;", &[]).as_f64().expect("a number");
    assert!(took > 3_500.0, "{took} ms: it asks when 30 s are left, not before");
    is_in_step(&tab);
    assert_eq!(ids(&tab).len(), sent);
    tab.shows(ALWAYS_LIVE);
    has_streams(&server, 1);
    server.is_unharmed();
}

#[test]
fn calls_go_on_while_the_proof_of_the_next_token_is_lost() {
    const LOSE: &str = "
        const ask = window.fetch;
        window.fetch = (url, options) => {
            if (!url.endsWith('/v1/users/me')) return ask(url, options);
            window.lost = true;
            return new Promise(() => {});
        };";
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let tab = app.open(&browser, Some(32_000));
    tab.run(LOSE, &[]);
    tab.shows("window.lost");
    tab.run("await client.getUnread(); await client.listMessages();", &[]);
    tab.shows(ALWAYS_LIVE);
    server.is_unharmed();
}

#[test]
fn a_token_that_is_refused_is_replaced_once_and_everything_goes_on() {
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let (ann, mut bob) = (app.user("ann"), server.user("bob"));
    let tabs = [app.open(&browser, None), app.open(&browser, None)];
    tabs.iter().for_each(is_in_step);
    app.revoke("ann");
    // The second tab is refused first and gets its token from the leading one.
    for tab in tabs.iter().rev() {
        tab.run("await client.getUnread();", &[]);
    }
    assert_eq!(app.asked(), 3);
    bob.send_message(ann, "a letter", "");
    tabs.iter().for_each(is_in_step);
    assert_eq!((app.asked(), token_of(&tabs[0])), (3, token_of(&tabs[1])));
    has_streams(&server, 1);
    for tab in &tabs {
        tab.shows("!statuses.includes('ended')");
    }
    server.is_unharmed();
}

#[test]
fn where_a_fresh_token_is_refused_as_well_it_is_over() {
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let tabs = [app.open(&browser, None), app.open(&browser, None)];
    tabs.iter().for_each(is_in_step);
    app.says(Says::Again(app.token("ann")));
    app.revoke("ann");
    is_over(&tabs, &server, "token_revoked", 0);
    assert_eq!(app.asked(), 3, "a token that was refused is asked for once");
    let code = "return client.getUnread().catch(({ code, reason }) => `${code}: ${reason}`);";
    assert_eq!(tabs[1].run(code, &[]), "ended: token_revoked");
    server.is_unharmed();
}

#[test]
fn who_signs_out_of_the_app_sees_nothing_any_more_in_any_tab() {
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let (ann, mut bob) = (app.user("ann"), server.user("bob"));
    bob.send_message(ann, "a letter", "");
    for page_says_so in [true, false] {
        app.says(Says::User("ann"));
        let tabs = [app.open(&browser, None), app.open(&browser, None)];
        tabs.iter().for_each(is_in_step);
        app.says(Says::Nobody);
        if page_says_so {
            tabs[1].run("await client.logout();", &[]);
        } else {
            // Another page of the app is opened and learns it.
            let opened = "return newClient().openMailbox().catch(({ code, reason }) => reason);";
            let page = browser.open(app.address, "/");
            let begun = "
                const { Postroom } = await import('/postroom.js');
                window.newClient = () => new Postroom({ url: args[0], getToken: () => null });";
            page.run(begun, &[json!(format!("http://{}", server.address))]);
            assert_eq!(page.run(opened, &[]), "signed_out");
        }
        is_over(&tabs, &server, "signed_out", 0);
        let more = "return mailbox.loadMore().catch(({ code }) => code);";
        assert_eq!(tabs[0].run(more, &[]), "ended");
        tabs.into_iter().for_each(Tab::close);
    }
    server.is_unharmed();
}

#[test]
fn while_the_app_gives_no_token_the_copy_is_offline_and_comes_back() {
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let (ann, mut bob) = (app.user("ann"), server.user("bob"));
    let tabs = [app.open(&browser, None), app.open(&browser, None)];
    tabs.iter().for_each(is_in_step);
    app.says(Says::Nothing);
    app.revoke("ann");
    for tab in &tabs {
        tab.shows("mailbox.status === 'offline'");
        let code = "return client.getUnread().catch(({ code }) => code);";
        assert_eq!(tab.run(code, &[]), "no_token");
    }
    bob.send_message(ann, "meanwhile", "");
    let before = app.asked();
    until(LONG, "it tries again", || app.asked() > before);
    app.says(Says::User("ann"));
    tabs.iter().for_each(is_in_step);
    // Also where the old token is still good, and where there is none yet.
    app.says(Says::Nothing);
    doubt(&tabs[1], &server);
    tabs[1].shows("mailbox.status === 'offline'");
    tabs[1].run("window.late = newClient().openMailbox();", &[]);
    app.says(Says::User("ann"));
    assert_eq!(tabs[1].run("return (await late).messages.length;", &[]), 1);
    tabs.iter().for_each(is_in_step);
    server.is_unharmed();
}

#[test]
fn nothing_of_a_user_is_shown_or_sent_for_the_next_one_in_another_tab() {
    /// Letters do not get through until the page says so.
    const QUEUE: &str = "
        const ask = window.fetch;
        window.apart = true;
        window.fetch = (url, options) =>
            window.apart && options?.method === 'POST'
                ? Promise.reject(new TypeError('apart'))
                : ask(url, options);
        client.send({ to: [args[0]], body: 'from ann' }).then(
            () => (window.end = 'sent'),
            ({ code, reason }) => (window.end = `${code}: ${reason}`),
        );";
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let (ann, mut cid) = (app.user("ann"), server.user("cid"));
    cid.send_message(ann, "for ann", "");
    let tabs = [app.open(&browser, None), app.open(&browser, None)];
    tabs.iter().for_each(is_in_step);
    tabs[1].run(QUEUE, &[json!("cid")]);
    app.says(Says::User("bob"));
    let bobs = app.open(&browser, None);
    is_over(&tabs, &server, "another_user", 1);
    tabs[1].run("window.apart = false;", &[]);
    tabs[1].shows("window.end");
    assert_eq!(tabs[1].run("return end;", &[]), "ended: another_user");
    is_in_step(&bobs);
    assert_eq!(ids(&bobs).len(), 0);
    for user in ["ann", "bob"] {
        assert_eq!(app.folder(user, "sent"), json!([]), "{user}");
    }
    server.is_unharmed();
}

#[test]
fn a_leading_tab_that_gets_no_token_keeps_nothing_on_the_others_for_the_next_user() {
    let Some(browser) = Browser::start() else { return };
    for held in ["new Promise(() => {})", "Promise.reject(new Error())"] {
        let (app, _place, server) = app::start(Says::User("ann"));
        let (ann, mut cid) = (app.user("ann"), server.user("cid"));
        cid.send_message(ann, "for ann", "");
        let tabs = [app.open(&browser, None), app.open(&browser, None)];
        tabs.iter().for_each(is_in_step);
        tabs[0].run(&format!("window.held = {held}; window.held.catch(() => {{}});"), &[]);
        app.says(Says::User("bob"));
        let bobs = app.open(&browser, None);
        is_in_step(&bobs);
        // One hears it from the app, and the other one from the first.
        is_over(&tabs, &server, "another_user", 1);
        server.is_unharmed();
    }
}

#[test]
fn nothing_of_a_user_is_shown_or_sent_for_the_next_one_in_the_same_page() {
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::User("ann"));
    let (ann, mut cid) = (app.user("ann"), server.user("cid"));
    cid.send_message(ann, "for ann", "");
    let tab = app.open(&browser, None);
    is_in_step(&tab);
    app.says(Says::User("bob"));
    let bobs = "
        window.bobs = await newClient().openMailbox();
        return bobs.messages.length;";
    assert_eq!(tab.run(bobs, &[]), 0);
    is_over(std::slice::from_ref(&tab), &server, "another_user", 1);
    for call in ["client.send({ to: ['cid'], body: '' })", "mailbox.mark(1, { read: true })"] {
        let body =
            format!("return {call}.catch(({{ code, reason }}) => `${{code}}: ${{reason}}`);");
        assert_eq!(tab.run(&body, &[]), "ended: another_user");
    }
    cid.send_message(ann, "for ann again", "");
    cid.send_message(app.user("bob"), "for bob", "");
    tab.shows("bobs.messages.length");
    let shown = tab.run("return bobs.messages.map(({ subject }) => subject);", &[]);
    assert_eq!(shown, json!(["for bob"]));
    tab.shows("mailbox.messages.length === 0");
    server.is_unharmed();
}

#[test]
fn a_server_key_is_refused_and_never_sent() {
    const TRIES: &str = "
        const { Postroom } = await import('/postroom.js');
        const [url, key] = args;
        let sent = 0;
        window.fetch = () => Promise.reject(new Error(`sent ${(sent += 1)}`));
        const errors = [];
        try {
            new Postroom({ url, token: key });
        } catch (error) {
            errors.push(error);
        }
        for (const given of [key, { token: key }]) {
            const client = new Postroom({ url, getToken: () => given });
            errors.push(await client.getUnread().catch((error) => error));
            errors.push(await client.openMailbox().catch((error) => error));
        }
        return [sent, errors.map(({ code, message }) => [code, message])];";
    let Some(browser) = Browser::start() else { return };
    let (app, _place, server) = app::start(Says::Nobody);
    let tab = browser.open(app.address, "/");
    let url = format!("http://{}", server.address);
    let told = tab.run(TRIES, &[json!(url), json!("prk_1.abc")]);
    assert_eq!(told[0], 0);
    let errors = told[1].as_array().expect("it is a list");
    assert_eq!(errors.len(), 5);
    for error in errors {
        assert_eq!(error[0], "server_key_in_browser");
        let message = error[1].as_str().expect("it is text");
        assert!(message.contains("for servers only") && !message.contains("abc"), "{message}");
    }
    server.is_unharmed();
}

/// The page signs for the app. A token that lives for 32 seconds is renewed after two.
const SIGNING: &str = "
    const { Postroom } = await import('/docs/postroom.js');
    const bytes = (text) => new TextEncoder().encode(text);
    const part = (value) =>
        btoa(value).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
    const key = await crypto.subtle.importKey(
        'raw', bytes(args[0]), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    window.given = [];
    const getToken = async () => {
        const iat = Math.floor(Date.now() / 1000);
        const claims = { iss: 'https://app.example.org', aud: 'mail', sub: 'ann', name: 'Ann' };
        const said = JSON.stringify({ ...claims, iat, exp: iat + 32 });
        const signed = `${part('{\"alg\":\"HS256\",\"typ\":\"JWT\"}')}.${part(said)}`;
        const signature = new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes(signed)));
        given.push(`${signed}.${part(String.fromCharCode(...signature))}`);
        return given.at(-1);
    };
    window.client = new Postroom({ getToken });
    window.folder = 'inbox';
    window.statuses = [];
    window.mailbox = await client.openMailbox({ folder, limit: 20 });
    mailbox.addEventListener('status', ({ detail }) => statuses.push(detail));
    return (await client.me()).external_id;";
const SECRET: &str = "a secret that the app and its Postroom share";
/// A server that takes the JWTs of the app, and its folder.
fn with_jwts() -> (Place, Server) {
    let place = place()
        .with("POSTROOM_JWT_ISSUER", "https://app.example.org")
        .with("POSTROOM_JWT_AUDIENCE", "mail")
        .with("POSTROOM_JWT_SECRET_FILE", "jwt.secret")
        .with("POSTROOM_SERVER_KEY", app::KEY);
    std::fs::write(place.path("jwt.secret"), SECRET).expect("it can be written");
    let server = place.serve();
    (place, server)
}

#[test]
fn a_jwt_says_itself_when_it_has_to_be_renewed() {
    let Some(browser) = Browser::start() else { return };
    let (_place, server) = with_jwts();
    let tab = browser.open(server.address, "/docs/errors");
    assert_eq!(tab.run(SIGNING, &[json!(SECRET)]), "ann");
    tab.shows("given.length >= 3");
    is_in_step(&tab);
    tab.shows(ALWAYS_LIVE);
    has_streams(&server, 1);
    server.is_unharmed();
}

#[test]
fn a_jwt_of_a_user_who_was_erased_ends_the_client_and_empties_the_page() {
    let Some(browser) = Browser::start() else { return };
    let (_place, server) = with_jwts();
    let mut bob = server.user("bob");
    let tab = browser.open(server.address, "/docs/errors");
    assert_eq!(tab.run(SIGNING, &[json!(SECRET)]), "ann");
    let ann = tab.run("return (await client.me()).id;", &[]).as_i64().expect("it is a number");
    bob.send_message(ann, "a letter", "");
    is_in_step(&tab);
    let erased = app::by_key(server.address, "DELETE", "/v1/server/users/ext:ann", &json!({}));
    assert_eq!(erased.status, 202, "{}", erased.text());
    is_over(std::slice::from_ref(&tab), &server, "user_erased", 0);
    for call in ["me", "openMailbox"] {
        let told = format!("return client.{call}().catch(({{ code, reason }}) => code + reason);");
        assert_eq!(tab.run(&told, &[]), "endeduser_erased", "{call}");
    }
    server.is_unharmed();
}
