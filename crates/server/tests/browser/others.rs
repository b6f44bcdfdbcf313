//! What is not the server's, or nobody's: answers of other programs, texts that are no tokens, and
//! ids that are none.

use serde_json::{Value, json};

use crate::copies::{By, copy, is_in_step, place, token};
use crate::driver::Browser;
use crate::site;

#[test]
fn what_another_program_answers_is_no_answer() {
    /// Every call of the client, and two of a copy that it loads first.
    const CALLS: &str = "
        const { Postroom } = await import('/postroom.js');
        Math.random = () => 0;
        const names = ['wrong', 'none', 'empty', 'list', 'nothing', 'number', 'page'];
        const wrong = [];
        for (const name of names) {
            const url = `${location.origin}/${name}`;
            const [byCookie, byToken] = [new Postroom({ url }), new Postroom({ url, token: 'x' })];
            const byApp = new Postroom({ url, getToken: () => 'x' });
            const calls = {
                csrf: () => byCookie.request('POST', '/v1/x', {}),
                login: () => byToken.login('ann', 'x'),
                logout: () => byToken.logout(),
                register: () => byToken.register({ username: 'ann' }),
                me: () => byToken.me(),
                owner: () => byApp.request('GET', '/v1/x'),
                unread: () => byToken.getUnread(),
                list: () => byToken.listMessages(),
                get: () => byToken.getMessage(1),
                mark: () => byToken.mark(1, { read: true }),
                delete: () => byToken.delete(1),
                batch: () => byToken.batch({ filter: {}, delete: true }),
                conversations: () => byToken.listConversations(),
                conversation: () => byToken.getConversation(1),
                read: () => byToken.markConversationRead(1),
                trash: () => byToken.deleteConversation(1),
                mute: () => byToken.muteConversation(1),
                send: () => byToken.send({ to: ['bob'], body: '' }),
                open: () => byToken.openMailbox(),
            };
            for (const [call, make] of Object.entries(calls)) {
                // This is what these calls should get.
                if (name === 'nothing' && ['logout', 'delete', 'trash'].includes(call)) continue;
                const told = ({ name, code }) => `${name} ${code}`;
                const end = await make().then(JSON.stringify, told);
                if (end !== 'Problem unexpected_response') wrong.push(`${name}, ${call}: ${end}`);
            }
        }
        return wrong;";
    let Some(browser) = Browser::start() else { return };
    let page = site::serve(|path| match path.split('/').nth(1) {
        Some("wrong") => (200, "application/json", r#"{"error":"no such api"}"#.to_owned()),
        Some("none") => (200, "application/json", "null".to_owned()),
        Some("empty") => (200, "application/json", "{}".to_owned()),
        Some("list") => (201, "application/json", "[]".to_owned()),
        Some("nothing") => (204, "application/json", String::new()),
        Some("number") => (404, "application/json", r#"{"code":404,"errors":null}"#.to_owned()),
        _ => site::page(),
    });
    let tab = browser.open(page, "/");
    assert_eq!(tab.run(CALLS, &[]), json!([]));
}

#[test]
fn a_stream_of_another_program_is_not_live() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let mut ann = server.user("ann");
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    is_in_step(&tab);
    tab.run(
        "const ask = window.fetch;
         window.asked = 0;
         window.fetch = (url, options) => {
             if (!url.includes('/v1/events')) return ask(url, options);
             asked += 1;
             return ask('/docs/errors');
         };
         statuses.length = 0;
         dispatchEvent(new Event('online'));",
        &[],
    );
    tab.shows("asked > 1 && mailbox.status === 'offline' && !statuses.includes('live')");
    server.is_unharmed();
}

#[test]
fn a_text_that_no_header_can_carry_is_no_token() {
    const TRIES: &str = "
        const { Postroom } = await import('/docs/postroom.js');
        let sent = 0;
        window.fetch = () => Promise.reject(new Error(`sent ${(sent += 1)}`));
        const codes = [];
        const note = (error) => codes.push(error.code);
        for (const token of ['abc\\ndef', 'токен', 'a b', 'tök', '\\0', '', null, 7, {}]) {
            try {
                new Postroom({ token });
            } catch (error) {
                note(error);
            }
            for (const given of [token ?? '', { token }]) {
                const client = new Postroom({ getToken: () => given });
                await client.getUnread().catch(note);
            }
        }
        return [sent, codes.length, codes.filter((code) => code !== 'no_token')];";
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let tab = browser.open(server.address, "/docs/errors");
    assert_eq!(tab.run(TRIES, &[]), json!([0, 27, []]));
    server.is_unharmed();
}

#[test]
fn an_id_names_nothing_but_what_has_it() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    bob.send_message(ann.id, "a letter", "");
    let reply = json!({ "in_reply_to": 1, "body": "more" });
    assert_eq!(bob.v1("POST", "/messages", "", &reply).status, 201);
    let tab = copy(&browser, server.address, &By::Token(&token(&mut ann)), "inbox");
    is_in_step(&tab);
    let calls = [
        "client.delete(ID)",
        "client.mark(ID, { read: true })",
        "client.getMessage(ID)",
        "client.getConversation(ID)",
        "client.markConversationRead(ID)",
        "client.deleteConversation(ID)",
        "client.deleteConversation(1, { upTo: ID })",
        "client.muteConversation(ID)",
        "client.markConversationRead(1, { upTo: ID })",
        "client.batch({ ids: [1, ID], set: { read: true } })",
        "client.batch({ filter: {}, upTo: ID, set: { read: true } })",
        "client.batch({ filter: { conversation: ID }, set: { read: true } })",
        "client.listMessages({ conversation: ID })",
        "mailbox.delete(ID)",
        "mailbox.mark(ID, { read: true })",
        "mailbox.markConversationRead(ID)",
        "mailbox.markConversationRead(1, { upTo: ID })",
        "mailbox.deleteConversation(ID)",
        "mailbox.deleteConversation(1, { upTo: ID })",
        "mailbox.batch({ filter: { conversation: ID }, set: { read: true } })",
    ];
    let ids = ["'../conversations/1'", "'1?x'", "'1/'", "''", "' 1'", "'1e0'", "-1", "1.5", "1e21"];
    let more = ["NaN", "null", "undefined", "[1]", "true", "'١'", "0", "1n", "'9007199254740993'"];
    for id in ids.into_iter().chain(more) {
        for call in calls {
            let call = call.replace("ID", id);
            let name = format!("return {call}.then(() => 'done', ({{ name }}) => name);");
            assert_eq!(tab.run(&name, &[]), "TypeError", "{call}");
        }
    }
    let unread = ann.v1("GET", "/messages?unread=true", "", &Value::Null).json();
    assert_eq!(unread["data"].as_array().map(Vec::len), Some(2), "nothing is changed");
    let wrong = "return client.send({ in_reply_to: 'x', body: '' }).catch(({ name }) => name);";
    assert_eq!(tab.run(wrong, &[]), "TypeError");
    // Digits are what a page has that keeps ids in attributes.
    let by_digits = tab.run(
        "await client.getMessage('1');
         await client.getConversation('1');
         await client.muteConversation('1');
         await client.mark('1', { starred: true });
         const { data } = await client.listMessages({ conversation: '1' });
         const set = { starred: true };
         const byIds = await client.batch({ ids: ['1'], set });
         const upTo = await client.batch({ filter: { conversation: '1' }, upTo: '1', set });
         const own = await mailbox.batch({ filter: { conversation: '1' }, set });
         await client.markConversationRead('1', { upTo: '1' });
         await mailbox.markConversationRead('1', { upTo: '1' });
         await mailbox.markConversationRead('1');
         await mailbox.mark('1', { read: true });
         const { in_reply_to: before } = await client.send({ in_reply_to: '1', body: 'so' });
         await mailbox.delete('2');
         return [data.length, byIds.updated, upTo.updated, own.updated, before];",
        &[],
    );
    assert_eq!(by_digits, json!([2, [1], [1], [1, 2], 1]));
    tab.shows("mailbox.messages.length === 1 && mailbox.messages[0].read_at");
    is_in_step(&tab);
    tab.run("await client.deleteConversation('1', { upTo: '1' });", &[]);
    tab.shows("mailbox.messages.length === 0");
    tab.run("await mailbox.deleteConversation('1', { upTo: '1' });", &[]);
    is_in_step(&tab);
    server.is_unharmed();
}
