// Calls through a connection that passes the beginning of an answer and then nothing: they end within
// 30 seconds, and those after it are answered.

import net from "node:net";

import { Postroom } from "@postroom/client";

const [url, key] = process.argv.slice(2);
const { port } = new URL(url);
const asked = await fetch(`${url}/v1/server/tokens`, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify({ user: "ext:bob", create: { display_name: "Bob" } }),
});
const { token } = await asked.json();
let stalls = true;
const between = net.createServer((client) => {
    const server = net.connect(Number(port), "127.0.0.1");
    client.on("error", () => server.destroy()).on("close", () => server.destroy());
    // Nothing tells the client that the server has closed an idle connection.
    server.on("error", () => client.destroy()).on("close", () => stalls || client.destroy());
    client.pipe(server);
    // The last bytes are part of the body.
    server.on("data", (bytes) => client.write(stalls ? bytes.subarray(0, -20) : bytes));
});
await new Promise((resolve) => between.listen(0, "127.0.0.1", resolve));
const client = new Postroom({ url: `http://127.0.0.1:${between.address().port}`, token });
const begun = Date.now();
const impatient = client.request("GET", "/v1/users/me", undefined, { signal: AbortSignal.timeout(2000) });
const own = await impatient.catch((problem) => problem);
if (own.code !== "timeout") throw new Error(`a signal of the caller: ${own}`);
const calls = [client.me(), client.getUnread(), client.listMessages()];
const watched = new Promise((resolve) => setTimeout(resolve, 60_000, "it hangs").unref());
for (const call of calls) {
    const problem = await Promise.race([call.then(() => "a value", (error) => error.code), watched]);
    if (problem !== "timeout") throw new Error(`${problem} after ${Date.now() - begun} ms`);
}
stalls = false;
if ((await client.me()).external_id !== "bob") throw new Error("it is answered again");
between.close();
process.exit();
