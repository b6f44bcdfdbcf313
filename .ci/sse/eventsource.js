// The package eventsource. It gives up at any status but 200.
import { EventSource } from "eventsource";
import { take, token, url } from "./common.js";

let last = "0";
function open() {
    const headers = () => ({ Authorization: `Bearer ${token}`, "Last-Event-ID": last });
    const source = new EventSource(url, {
        fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers() } }),
    });
    for (const name of ["message.created", "message.updated", "message.destroyed", "unread", "reset"])
        source.addEventListener(name, ({ data, lastEventId }) => {
            take(name, data);
            last = lastEventId || last;
        });
    source.addEventListener("error", ({ code }) => {
        if (code >= 500) setTimeout(open, 3_000);
    });
}
open();
