// The package eventsource-client. It does not look at the status of an answer.
import { createEventSource } from "eventsource-client";
import { take, token, url } from "./common.js";

const source = createEventSource({
    url,
    initialLastEventId: "0",
    headers: { Authorization: `Bearer ${token}` },
    onMessage: ({ event, data }) => take(event, data),
    fetch: async (input, init) => {
        const response = await fetch(input, init);
        if (response.status < 500 && !response.ok) source.close();
        return response;
    },
});
