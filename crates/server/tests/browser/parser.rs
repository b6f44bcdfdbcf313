//! Streams of events, as the standard reads them.

use serde_json::{Value, json};

use crate::copies::place;
use crate::driver::Browser;

/// Reads a text as a stream that comes in two parts, cut at every byte; once for each of three ends
/// of lines.
const READ: &str = r#"
    const { eventsOf } = await import("/docs/postroom.js");
    const read = async (chunks) => {
        const body = new ReadableStream({
            start(controller) {
                for (const chunk of chunks) controller.enqueue(chunk);
                controller.close();
            },
        });
        const events = [];
        for await (const event of eventsOf(body)) events.push(event);
        return flat(events);
    };
    const flat = (events) => JSON.stringify(events.map((one) => Object.entries(one).sort()));
    const wanted = flat(args[1]);
    for (const end of ["\n", "\r\n", "\r"]) {
        const bytes = new TextEncoder().encode(args[0].replaceAll("\n", end));
        for (let cut = 0; cut <= bytes.length; cut += 1) {
            const found = await read([bytes.slice(0, cut), bytes.slice(cut)]);
            if (found !== wanted) return `cut at ${cut} with ${JSON.stringify(end)}: ${found}`;
        }
        const found = await read(Array.from(bytes, (byte) => Uint8Array.of(byte)));
        if (found !== wanted) return `byte by byte with ${JSON.stringify(end)}: ${found}`;
    }
    return null;
"#;

#[test]
fn a_stream_is_read_as_the_standard_says_however_it_is_cut() {
    let Some(browser) = Browser::start() else { return };
    let place = place();
    let server = place.serve();
    let tab = browser.open(server.address, "/docs/errors");
    for (text, events) in [
        (
            "data: one\n\ndata\ndata\n\n",
            json!([{ "type": "", "data": "one" }, { "type": "", "data": "\n" }]),
        ),
        (": nothing\n\nevent: ping\ndata:\n\n", json!([{ "type": "ping", "data": "" }])),
        ("event:ping\n\n", json!([{ "type": "ping" }])),
        (
            "id: 7\ndata:  two\ndata:three\n\n",
            json!([{ "type": "", "id": "7", "data": " two\nthree" }]),
        ),
        ("\u{feff}data: é😀\u{2028}:x\n\n", json!([{ "type": "", "data": "é😀\u{2028}:x" }])),
        ("retry: 300\nretry: 3x\n\n", json!([{ "type": "", "retry": 300 }])),
        ("id: a\0b\nother: x\ndata: y\n\n", json!([{ "type": "", "data": "y" }])),
        ("data: cut off", json!([])),
        ("data: no empty line\n", json!([])),
    ] {
        assert_eq!(tab.run(READ, &[json!(text), events]), Value::Null, "{text:?}");
    }
}
