#!/usr/bin/env bash
# npm eventsource-client 1.2.0, on Node 18 or later.
#
# The server refuses a stream with 401 and a JSON body. The HTML standard's EventSource, and the
# package eventsource of the same authors, then close for good and report an error. Seen: this client
# never looks at the status or the content type: it calls onConnect, reads the JSON as a stream
# without events, calls onDisconnect, and asks again every 2 seconds, without an error and without
# end. A program whose login has ended cannot notice, and the server is asked for ever.
# Fails when that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund eventsource-client@1.2.0 eventsource@4.1.1
cat >try.mjs <<'JS'
import { createServer } from "node:http";
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";

const asked = { "/one": 0, "/other": 0 };
const server = createServer((request, response) => {
    asked[request.url]++;
    response.writeHead(401, { "Content-Type": "application/problem+json" });
    response.end('{"title": "log in first", "status": 401}');
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}`;

let connected = 0;
createEventSource({ url: `${url}/one`, onConnect: () => connected++ });
const other = new EventSource(`${url}/other`);
let errors = 0;
other.addEventListener("error", ({ code }) => code === 401 && errors++);
setTimeout(() => {
    console.log(`eventsource-client: asked ${asked["/one"]} times in 7 s, onConnect ${connected} times`);
    console.log(`eventsource: asked ${asked["/other"]} times, ${errors} error with code 401`);
    const same = asked["/one"] >= 3 && connected >= 3 && asked["/other"] === 1 && errors === 1;
    process.exit(same ? 0 : 1);
}, 7_000);
JS
node try.mjs
