// Calls through connections that pass the beginning of an answer and then nothing, nothing at all, or
// everything too late: they end within 30 seconds, as the caller's own signal says where that is first, and
// those after them are answered.

import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";

import { Postroom, Problem } from "@postroom/client";

const [url, key] = process.argv.slice(2);
const { port } = new URL(url);
const asked = await fetch(`${url}/v1/server/tokens`, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify({ user: "ext:bob", create: { display_name: "Bob" } }),
});
const { token } = await asked.json();

/** The address of a server that is made of a function for each connection, or each request. */
async function listen(server) {
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${server.address().port}`;
}

/** A way to the server on which `pass` decides what the client gets of the bytes, and when. */
function through(pass) {
    const between = net.createServer((client) => {
        const server = net.connect(Number(port), "127.0.0.1");
        client.on("error", () => server.destroy()).on("close", () => server.destroy());
        // Nothing tells the client that the server has closed an idle connection.
        server.on("error", () => client.destroy()).on("close", () => stalls || client.destroy());
        client.pipe(server);
        server.on("data", (bytes) => pass(bytes, (some) => client.writable && client.write(some)));
    });
    return listen(between);
}

let stalls = true;
// The last bytes are part of the body.
const half = await through((bytes, write) => write(stalls ? bytes.subarray(0, -20) : bytes));
const late = await through((bytes, write) => setTimeout(write, 12_000, bytes));
const silent = await listen(net.createServer(() => {}));
const busy = await listen(
    http.createServer((_request, response) => {
        response.writeHead(503, { "Content-Type": "application/problem+json", "Retry-After": "90" });
        response.end('{"code": "unavailable", "status": 503}');
    }),
);
const getToken = async () => token;
const client = new Postroom({ url: half, token });
const ofApp = new Postroom({ url: half, getToken });

let isFirst = true;
const lost = await listen(
    http.createServer((_request, response) => {
        if (isFirst) return void (isFirst = false);
        response.setHeader("Content-Type", "application/json").end('{"id": 1, "external_id": "bob"}');
    }),
);
const begun = Date.now();
/** How a call has ended. */
const end = (call) => call.then(() => "a value", (error) => error);
const watched = new Promise((resolve) => setTimeout(resolve, 60_000, "it hangs").unref());

const controller = new AbortController();
setTimeout(() => controller.abort(null), 1_000);
const own = [AbortSignal.timeout(1_000), controller.signal].flatMap((signal) => {
    const clients = [client, ofApp, new Postroom({ url: silent, token }), new Postroom({ url: silent, getToken })];
    // There is no message 1, and that is said in half of an error.
    return clients.map(async (one) => [await end(one.request("GET", "/v1/messages/1", undefined, { signal })), signal]);
});
const losing = new Postroom({ url: lost, getToken });
const first = end(losing.me());
const afterwards = new Promise((resolve) => setTimeout(resolve, 10_000)).then(() => losing.me());
const calls = {
    "a token whose proof is lost": first,
    me: end(client.me()),
    unread: end(client.getUnread()),
    list: end(client.listMessages()),
    "half of an error": end(client.getMessage(1)),
    "a token that is not proven": end(ofApp.me()),
    "the response itself": end(new Postroom({ url: silent, token }).fetch("GET", "/v1/unread")),
    "a mailbox": end(new Postroom({ url: silent, getToken }).openMailbox()),
    "a mailbox of late answers": end(new Postroom({ url: late, getToken }).openMailbox()),
};
for (const [given, signal] of await Promise.all(own)) assert.equal(given, signal.reason, "the caller's signal");

const program = await end(new Postroom({ url, token }).send({ to: ["bob"], body: "", metadata: { n: 1n } }));
assert(program instanceof TypeError && Date.now() - begun < 10_000, `what is no JSON is not sent again: ${program}`);
const problem = await end(new Postroom({ url: busy, token }).send({ to: ["bob"], body: "" }));
assert(problem instanceof Problem && Date.now() - begun < 10_000, `nobody waits for a long pause: ${problem}`);
assert.equal(problem.retryAfter, 90_000, "the pause is that of the server");

for (const [name, call] of Object.entries(calls)) {
    const error = await Promise.race([call, watched]);
    assert.equal(error.code, "timeout", `${name} after ${Date.now() - begun} ms: ${error}`);
}
assert(Date.now() - begun < 35_000, "they end within 30 seconds");
assert.equal((await afterwards).external_id, "bob", "the call before is no answer to a later one");
stalls = false;
for (const one of [client, ofApp]) assert.equal((await one.me()).external_id, "bob", "it is answered again");
process.exit();
