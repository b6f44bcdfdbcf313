// A program in strict TypeScript that uses the package as it is packed.

import { Mailbox, Postroom, Problem, type Given, type Item, type Status } from "@postroom/client";

declare const process: { argv: string[] };
const [url, key] = process.argv.slice(2) as [string, string];

async function getToken(): Promise<Given> {
    const response = await fetch(`${url}/v1/server/tokens`, {
        method: "POST",
        headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
        body: JSON.stringify({ user: "ext:ann", create: { display_name: "Ann" } }),
    });
    if (!response.ok) throw new Error(await response.text());
    return response.json();
}

const client = new Postroom({ url, getToken });
const mailbox: Mailbox = await client.openMailbox({ folder: "inbox", limit: 10 });
const arrived = new Promise<Item>((resolve) => {
    mailbox.addEventListener("change", ({ detail }) => {
        const found = mailbox.messages.find(({ id }) => detail.added.includes(id));
        if (found) resolve(found);
    });
});
// The count comes with an event of its own, after the message.
const counted = new Promise<void>((resolve) => {
    mailbox.addEventListener("unread", ({ detail }) => detail.messages === 1 && resolve());
});
const statuses: Status[] = [];
mailbox.addEventListener("status", ({ detail }) => statuses.push(detail));
const { id, refused } = await client.send({ to: ["ext:ann"], subject: "Hello", body: "To myself." });
const item = await arrived;
if (item.id !== id || item.from.external_id !== "ann" || refused.length) throw new Error(item.subject);
await counted;
if (mailbox.unread.messages !== 1) throw new Error("there is one unread message");

const problem: unknown = await client.getMessage(id + 1).catch((error: unknown) => error);
if (!(problem instanceof Problem) || problem.code !== "not_found") throw problem;
await client.logout();
if (mailbox.status !== "ended" || mailbox.reason !== "signed_out") throw new Error(mailbox.status);
const after: unknown = await client.getUnread().catch((error: unknown) => error);
if (!(after instanceof Problem) || after.code !== "ended") throw after;

try {
    new Postroom({ url, token: `prk_1.${key}` });
    throw new Error("it takes a server key");
} catch (error) {
    if (!(error instanceof Problem) || error.code !== "server_key_in_browser") throw error;
}
// @ts-expect-error A folder that there is not.
const wrong = () => client.openMailbox({ folder: "outbox" });
console.log(`the packed client: ${statuses.join(", ")}`, wrong.length);
