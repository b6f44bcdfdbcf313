// Postroom for browsers: the calls of /v1, and a copy of a mailbox that stays in step with the
// server's. One file, no dependencies. How to use it: docs/clients.md.

// All times are milliseconds. Pauses are drawn at random below these, so that the clients who lost
// a server do not come back as one.
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
const LONGEST_REFUSAL = 60_000;
/** The server says something every 15 seconds; a stream that says nothing for so long is dead. */
const SILENCE = 40_000;
/** A stream that lived for so long was a good one. */
const HEALTHY = 10_000;
/** A tab that leads and tells nothing for so long is frozen. */
const FROZEN = 90_000;
const PATIENCE = 30_000;
/** With more changes than these the list is loaded anew, instead of one message after the other. */
const MANY = 100;
const AT_ONCE = 6;
/** What a list that waits for an answer keeps for later, and loads anew, at most. */
const MOST = 1_000;
const RETRIES = 5;

/**
 * @typedef {{ id: number, username: string, display_name: string }} Person
 * @typedef {{ id: number, conversation_id: number, in_reply_to: number | null, from: Person,
 *     to: Person[], subject: string, snippet: string, sent_at: string, read_at: string | null,
 *     starred_at: string | null, archived_at: string | null, trashed_at: string | null,
 *     client_id: string | null, metadata: object | null }} Item  A message in a list.
 * @typedef {Omit<Item, "snippet"> & { body: string }} Message
 * @typedef {{ read?: boolean, starred?: boolean, archived?: boolean, trashed?: boolean }} Marks
 * @typedef {"connecting" | "live" | "offline" | "ended"} State
 */

/** What the server refused, in its words; `code` is stable, `errors` name the fields. */
export class Problem extends Error {
    constructor(status, said, retryAfter) {
        super(said?.detail || said?.title || `the server answered ${status}`);
        Object.assign(this, { status, code: said?.code, errors: said?.errors || [], retryAfter });
    }
}

/** One user at one server: with a token, or with the session cookie of the browser. */
export class Postroom {
    #url;
    #token;
    #csrf;
    #feed;

    /** @param {{ url?: string, token?: string }} [options] Without a url: the page's own server. */
    constructor({ url = "", token } = {}) {
        this.#url = new URL(`${url}/`, globalThis.location?.href).href.replace(/\/+$/, "");
        this.#token = token;
    }

    /**
     * One call, and what it answers; null where that is nothing.
     * @throws {Problem} what the server refused; another error where it cannot be reached.
     */
    async request(method, path, body, options) {
        const signal = AbortSignal.timeout(PATIENCE);
        const answer = await this.open(method, path, body, { signal, ...options });
        return answer.status === 204 ? null : answer.json();
    }

    /** The same as an answer of `fetch`, for what comes bit by bit. */
    async open(method, path, body, { headers, signal } = {}) {
        const forgeable = method !== "GET" && !this.#token;
        for (let again = false; ; again = true) {
            const sent = { Accept: "application/json", ...headers };
            if (this.#token) sent.Authorization = `Bearer ${this.#token}`;
            if (body !== undefined) sent["Content-Type"] = "application/json";
            if (forgeable) sent["X-CSRFToken"] = this.#csrf ||= await this.#newCsrf(signal);
            const answer = await fetch(this.#url + path, {
                method,
                headers: sent,
                body: JSON.stringify(body),
                credentials: this.#token ? "omit" : "include",
                cache: "no-store",
                signal,
            });
            if (answer.ok) return answer;
            const said = await answer.json().catch(nothing);
            // A login in another tab makes another cookie.
            if (forgeable && said?.code === "csrf" && !again) this.#csrf = undefined;
            else throw new Problem(answer.status, said, time(answer.headers.get("retry-after")));
        }
    }

    async #newCsrf(signal) {
        const options = { credentials: "include", cache: "no-store", signal };
        const answer = await fetch(`${this.#url}/users/token`, options);
        if (!answer.ok) throw new Problem(answer.status);
        return (await answer.json()).csrfToken;
    }

    /** Makes an account, and does not log in. */
    register(account) {
        return this.request("POST", "/v1/users", account);
    }

    async login(username, password) {
        const session = await this.request("POST", "/v1/sessions", { username, password });
        this.#csrf = session.csrf_token;
        return session.user;
    }

    async logout() {
        await this.request("DELETE", "/v1/sessions/current");
        this.#feed?.then((feed) => feed.end(), nothing);
    }

    me() {
        return this.request("GET", "/v1/users/me");
    }

    /** @returns {Promise<{ messages: number, conversations: number, state: string }>} */
    unread() {
        return this.request("GET", "/v1/unread");
    }

    /** A page of messages: `box`, `unread`, `q`, `limit`, `cursor` and what else there is. */
    list(filter = {}) {
        return this.request("GET", `/v1/messages?${new URLSearchParams(filter)}`);
    }

    /** The whole message; it stays unread. @returns {Promise<Message>} */
    read(id) {
        return this.request("GET", `/v1/messages/${id}`);
    }

    /** @param {number} id @param {Marks} marks @returns {Promise<Message>} */
    mark(id, marks) {
        return this.request("PATCH", `/v1/messages/${id}`, marks);
    }

    /** Deletes a message from the own mailbox for good. */
    destroy(id) {
        return this.request("DELETE", `/v1/messages/${id}`);
    }

    /**
     * Sends a message once: where no answer comes it is tried again, under the same key.
     * @param {{ to?: (number | string)[], subject?: string, body: string, in_reply_to?: number,
     *     client_id?: string, metadata?: object }} message
     * @returns {Promise<Message & { refused: { to: number | string, code: string }[] }>}
     */
    async send(message) {
        const headers = { "Idempotency-Key": hex(crypto.getRandomValues(new Uint8Array(16))) };
        for (let tries = 0; ; tries += 1) {
            try {
                return await this.request("POST", "/v1/messages", message, { headers });
            } catch (error) {
                const { status, code } = error;
                const unknown = [undefined, 502, 503, 504].includes(status);
                if (tries === RETRIES || !(unknown || code === "request_in_progress")) throw error;
                await pause(error.retryAfter || backoff(tries));
            }
        }
    }

    /**
     * A copy of a box, loaded, and in step with the server's from now on.
     * @param {{ box?: "inbox" | "sent" | "archive" | "trash" | "all", limit?: number }} [options]
     * @returns {Promise<Mailbox>}
     */
    async mailbox({ box = "inbox", limit = 50 } = {}) {
        const opened = (this.#feed ||= this.#newFeed());
        const feed = await opened.catch(nothing);
        if (!feed || feed.over) {
            if (this.#feed === opened) this.#feed = undefined;
            return feed ? this.mailbox({ box, limit }) : opened;
        }
        const mailbox = new Mailbox(this, feed, box, limit);
        await mailbox.load().catch((error) => {
            mailbox.close();
            throw error;
        });
        feed.start(mailbox.cursor);
        return mailbox;
    }

    async #newFeed() {
        const user = (await this.me()).id;
        // Tabs share a stream if they would be told the same: one user by cookie, or one token.
        const key = this.#token && (await hash(this.#token));
        const who = this.#token ? key : `user ${user}`;
        return new Feed(this, user, who && `postroom ${this.#url} ${who}`, !this.#token);
    }
}

/**
 * A copy of a box. It tells of itself by events: `change` (its detail has the ids that were
 * `added`, `changed` and `removed`), `unread` (the counts) and `state` (a {@link State}).
 */
export class Mailbox extends EventTarget {
    /** The newest first; each change makes another array. @type {readonly Item[]} */
    messages = [];
    /** Of the whole inbox, as the server counts. */
    unread = { messages: 0, conversations: 0 };
    /** The `state` of the server up to which the copy has everything. */
    cursor = 0;
    #client;
    #feed;
    #box;
    #limit;
    /**
     * What the feed leaves out is what nobody knew who had its `base`: a message that came and went
     * after it. A list that was loaded meanwhile may have it. So whoever joined with a state that is
     * younger than the base asks once what went since, when the feed has come to that state.
     */
    #joined;
    /** From which id on the copy has everything, and where the page below begins. */
    #bottom;
    #next;
    /** What was told and is not shown yet. What comes during the first load waits for it. */
    #waiting = [];
    #works = true;
    #closed = false;

    constructor(client, feed, box, limit) {
        super();
        [this.#client, this.#feed, this.#box, this.#limit] = [client, feed, box, limit];
        feed.mailboxes.add(this);
    }

    /** @returns {State} */
    get state() {
        return this.#feed.state;
    }

    /** Whether the server has nothing older. */
    get complete() {
        return this.#next === null;
    }

    /** Loads the next page. */
    more() {
        return new Promise((resolve, reject) => this.take({ kind: "more", resolve, reject }));
    }

    /** Marks a message; the copy shows it at once. @param {number} id @param {Marks} marks */
    async mark(id, marks) {
        const { cursor } = this;
        const message = item(await this.#client.mark(id, marks));
        this.take({ kind: "own", cursor, event: { id, message } });
    }

    /** Deletes a message for good; the copy shows it at once. */
    async destroy(id) {
        const { cursor } = this;
        await this.#client.destroy(id);
        this.take({ kind: "own", cursor, event: { id } });
    }

    /** Ends it; with its last mailbox a client ends its connection. */
    close() {
        this.#closed = true;
        this.#feed.leave(this);
    }

    /** Loads the list for the first time; `Postroom.mailbox` has done it. */
    async load() {
        await this.#reload();
        this.#works = false;
        this.#work();
    }

    /** What the feed tells, in its order. */
    take(told) {
        if (told.kind === "state") return this.#emit("state", told.state);
        if (this.#waiting.length >= MOST) {
            const kept = this.#waiting.filter(({ kind }) => kind === "more");
            this.#waiting = [{ kind: "reload" }, ...kept];
        }
        this.#waiting.push(told);
        this.#work();
    }

    async #work() {
        if (this.#works) return;
        this.#works = true;
        for (let failures = 0; this.#waiting.length && !this.#closed && !this.#feed.over; ) {
            const told = this.#waiting[0];
            const done = () => (this.#waiting = this.#waiting.filter((one) => one !== told));
            try {
                // What needs no answer of the server is shown in the turn in which it came.
                const answer = this.#apply(told);
                if (answer) await answer;
                done();
                failures = 0;
            } catch (error) {
                if (isFinal(error)) this.#feed.end();
                if (told.reject) {
                    done();
                    told.reject(error);
                } else await pause(error.retryAfter || backoff(failures++));
            }
        }
        this.#works = false;
    }

    /** A promise where the server has to be asked. */
    #apply(told) {
        if (told.kind === "group") return this.#group(told);
        if (told.kind === "reload") return this.#reload();
        if (told.kind === "more") return this.#more().then(told.resolve);
        if (told.kind === "unread") this.#count(told.counts);
        // Where something was told meanwhile it may be younger than this answer, and tells of it too.
        if (told.kind === "own" && told.cursor === this.cursor) this.#show([told.event]);
    }

    /** All that happened after `since`, up to `state`. */
    #group(group) {
        if (group.since > this.cursor) return this.#catchUp(group);
        if (group.since < this.cursor) this.#joined ??= this.cursor;
        if (group.state < this.cursor) return;
        if (group.state > this.cursor) this.#turn(group);
        if (this.#joined > group.base) return this.#settle();
        this.#joined = undefined;
    }

    #turn(group) {
        this.cursor = group.state;
        this.#show(group.events);
        if (group.counts) this.#count(group.counts);
    }

    /** Something was told that this copy did not hear. */
    async #catchUp(group) {
        const missed = await this.#feed.changes(this.cursor);
        if (missed.kind === "reload" || missed.state < group.since) return this.#reload();
        this.#turn(missed);
        this.#joined = this.cursor;
        return this.#group(group);
    }

    async #settle() {
        const missed = await this.#feed.changes(this.#joined);
        if (missed.kind === "reload") return this.#reload();
        this.#joined = undefined;
        // What came is told by the feed as well, and in time.
        this.#show(missed.events.filter(({ came }) => !came));
    }

    async #reload() {
        const wanted = Math.min(this.messages.length, MOST);
        const first = await this.#client.list({ box: this.#box, limit: this.#limit });
        // After the list: what is told and not heard shows in its state, not in the counts.
        const counts = await this.#client.unread();
        let { data: list, next_cursor: next } = first;
        // What was shown stays. Later pages may be younger than the state of the first one: what
        // happened between is told again, which changes nothing.
        while (next && list.length < wanted) {
            const page = await this.#client.list({ box: this.#box, limit: MANY, cursor: next });
            [list, next] = [[...list, ...page.data], page.next_cursor];
        }
        const [before, after] = [this.messages, list].map((part) => part.map(({ id }) => id));
        const [old, young] = [new Set(before), new Set(after)];
        this.#joined = this.cursor = Number(first.state);
        this.messages = list;
        [this.#next, this.#bottom] = [next, next ? list.at(-1).id : 0];
        this.#emit("change", {
            added: after.filter((id) => !old.has(id)),
            changed: after.filter((id) => old.has(id)),
            removed: before.filter((id) => !young.has(id)),
        });
        this.#count(counts);
    }

    async #more() {
        if (this.complete) return;
        const asked = { box: this.#box, limit: this.#limit, cursor: this.#next };
        const { data, next_cursor: next } = await this.#client.list(asked);
        this.messages = [...this.messages, ...data];
        [this.#next, this.#bottom] = [next, next ? (data.at(-1)?.id ?? this.#bottom) : 0];
        this.#emit("change", { added: data.map(({ id }) => id), changed: [], removed: [] });
    }

    /** Puts messages in their places. What is said twice changes nothing the second time. */
    #show(events) {
        const [added, changed, removed] = [[], [], []];
        const list = [...this.messages];
        for (const { id, message } of events) {
            const at = place(list, id);
            const known = list[at]?.id === id;
            if (message && id >= this.#bottom && isIn(this.#box, message, this.#feed.user)) {
                list.splice(at, known ? 1 : 0, message);
                (known ? changed : added).push(id);
            } else if (known) {
                list.splice(at, 1);
                removed.push(id);
            }
        }
        if (!added.length && !changed.length && !removed.length) return;
        this.messages = list;
        this.#emit("change", { added, changed, removed });
    }

    #count({ messages, conversations }) {
        const { unread } = this;
        if (unread.messages === messages && unread.conversations === conversations) return;
        this.unread = { messages, conversations };
        this.#emit("unread", this.unread);
    }

    #emit(type, detail) {
        if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
    }
}

/**
 * What happens in a mailbox, told to all copies of it in all tabs. One tab holds the connection and
 * with it a lock, and tells the others by a channel; whoever waits for the lock goes on where it
 * ended. All that is told says after which state it comes, so a copy knows when it missed some.
 */
class Feed {
    mailboxes = new Set();
    over = false;
    /** @type {State} */
    state = "connecting";
    #client;
    #name;
    #byCookie;
    #channel;
    #cursor;
    /** From which state the server began to tell. */
    #base = 0;
    #leads = false;
    /** When the server, or the tab that leads, was heard. */
    #heard = Date.now();
    /** Milliseconds that the server wants us to stay away, once the stream has ended. */
    #retry;
    #stop = new AbortController();
    /** Ends a pause; ends a stream that may be dead. */
    #wake = nothing;
    #drop = nothing;

    constructor(client, user, name, byCookie) {
        this.user = user;
        [this.#client, this.#name, this.#byCookie] = [client, name, byCookie];
    }

    /** Begins, now that there is a state to go on from; a copy that comes later may know less. */
    start(cursor) {
        if (this.#cursor !== undefined) return this.#pass(this.#sign());
        if (this.over) return;
        this.#cursor = cursor;
        const { signal } = this.#stop;
        const timer = setInterval(() => this.#look(), 5_000);
        signal.addEventListener("abort", () => clearInterval(timer));
        const on = (target, name, act) => target?.addEventListener?.(name, act, { signal });
        on(globalThis, "online", () => this.#again(0));
        on(globalThis, "pageshow", () => this.#again(SILENCE / 2));
        on(globalThis.document, "visibilitychange", () => this.#again(SILENCE / 2));
        if (this.#name && globalThis.navigator?.locks && globalThis.BroadcastChannel) {
            this.#channel = new BroadcastChannel(this.#name);
            this.#channel.onmessage = ({ data }) => this.#hear(data);
            this.#channel.postMessage({ kind: "hello" });
            this.#wait({ signal });
        } else this.#lead(signal);
    }

    leave(mailbox) {
        this.mailboxes.delete(mailbox);
        if (!this.mailboxes.size) this.#close();
    }

    /** The session is over, for all tabs. */
    end() {
        if (this.over) return;
        const told = { kind: "state", state: "ended" };
        this.#channel?.postMessage(told);
        this.#close();
        this.#pass(told);
    }

    #close() {
        this.over = true;
        this.#stop.abort();
        this.#channel?.close();
        this.#channel = undefined;
    }

    /** What a copy of that state does not know: a group, or that it is too much. */
    async changes(since) {
        const path = `/v1/changes?since=${since}&limit=${MANY}`;
        const found = await this.#client.request("GET", path).catch((error) => {
            if (error.status !== 410) throw error;
        });
        if (!found || found.has_more) return { kind: "reload" };
        const events = found.destroyed.map((id) => ({ id }));
        const known = new Set(found.updated);
        const left = [...found.created, ...known].values();
        const read = async () => {
            for (const id of left) {
                const message = await this.#client.read(id).catch((error) => {
                    // It has gone meanwhile, which will be told.
                    if (error.status !== 404) throw error;
                });
                if (message) events.push({ id, message: item(message), came: !known.has(id) });
            }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, read));
        const counts = await this.#client.unread();
        const state = Number(found.new_state);
        return { kind: "group", base: since, since, state, events, counts };
    }

    /** Waits for the lock, and leads while it holds it. */
    async #wait(options) {
        const mine = new AbortController();
        this.#stop.signal.addEventListener("abort", () => mine.abort());
        await navigator.locks
            .request(this.#name, options, () => this.#lead(mine.signal))
            .catch(nothing);
        // All is over, or it was taken from this tab, which was frozen. Who took it still waits.
        mine.abort();
        if (!this.over && !options.steal) this.#wait({ signal: this.#stop.signal });
    }

    async #lead(signal) {
        this.#leads = true;
        // After another that led, or where this tab slept.
        let missed = this.state !== "connecting";
        for (let failures = 0; !signal.aborted; missed = true) {
            const begun = Date.now();
            let wait;
            try {
                this.#base = this.#cursor;
                this.#tell(this.#sign());
                if (missed) await this.#catchUp();
                await this.#follow(signal);
                wait = this.#retry;
            } catch (error) {
                if (signal.aborted) break;
                if (isFinal(error)) return this.end();
                wait = error.retryAfter;
                if (this.state !== "live") this.#change("offline");
            }
            if (this.state === "live") this.#change("connecting");
            failures = Date.now() - begun > HEALTHY ? 0 : failures + 1;
            await pause(wait || backoff(failures), signal, (wake) => {
                if (!wait) this.#wake = wake;
            });
        }
        this.#leads = false;
    }

    /** Tells what happened while there was no stream. */
    async #catchUp() {
        // Another user may have logged in with this browser.
        if (this.#byCookie && (await this.#client.me()).id !== this.user) return this.end();
        const missed = await this.changes(this.#cursor);
        if (missed.kind === "group") return this.#go(missed);
        this.#cursor = Number((await this.#client.unread()).state);
        this.#tell(missed);
    }

    /** The stream, to its end. */
    async #follow(signal) {
        const mine = new AbortController();
        const stop = () => mine.abort();
        signal.addEventListener("abort", stop);
        if (signal.aborted) stop();
        [this.#drop, this.#heard, this.#retry] = [stop, Date.now(), undefined];
        this.#base = this.#cursor;
        try {
            const headers = { Accept: "text/event-stream" };
            const path = `/v1/events?since=${this.#cursor}`;
            const options = { headers, signal: mine.signal };
            const answer = await this.#client.open("GET", path, undefined, options);
            this.#change("live");
            let events = [];
            for await (const event of eventsOf(answer.body, () => (this.#heard = Date.now()))) {
                const data = event.data ? JSON.parse(event.data) : {};
                const state = Number(event.id || 0);
                if (event.retry !== undefined) this.#retry = Math.min(event.retry, LONGEST_REFUSAL);
                if (event.type === "ping") this.#tell(this.#sign());
                if (event.type === "unread") this.#tell({ kind: "unread", counts: data });
                if (event.type.startsWith("message.")) events.push(data);
                if (event.type === "reset") {
                    [events, this.#cursor] = [[], state || Number(data.state)];
                    this.#base = this.#cursor;
                    this.#tell({ kind: "reload" });
                } else if (state > this.#cursor) {
                    this.#go({ ...this.#sign(), state, events });
                    events = [];
                }
            }
        } finally {
            signal.removeEventListener("abort", stop);
            this.#drop = nothing;
        }
    }

    #go(group) {
        this.#cursor = group.state;
        this.#tell(group);
    }

    /** That nothing happened: whoever knows less has missed something. */
    #sign() {
        const [base, at] = [this.#base, this.#cursor];
        return { kind: "group", base, since: at, state: at, events: [] };
    }

    #change(state) {
        if (this.state !== state) this.#tell({ kind: "state", state });
    }

    #tell(told) {
        this.#channel?.postMessage(told);
        this.#pass(told);
    }

    #pass(told) {
        if (told.kind === "state") this.state = told.state;
        for (const mailbox of this.mailboxes) mailbox.take(told);
    }

    /** What another tab says. */
    #hear(told) {
        if (this.#leads && told.kind === "hello") {
            this.#channel.postMessage({ kind: "state", state: this.state });
            this.#channel.postMessage(this.#sign());
        } else if (told.state === "ended") {
            this.#close();
            this.#pass(told);
        } else if (!this.#leads && told.kind !== "hello") {
            this.#heard = Date.now();
            if (told.kind === "group") [this.#base, this.#cursor] = [told.base, told.state];
            this.#pass(told);
        }
    }

    /** Is the other side still there? */
    #look() {
        const silent = Date.now() - this.#heard;
        if (this.#leads && silent > SILENCE) this.#drop();
        if (!this.#leads && silent > FROZEN) {
            this.#heard = Date.now();
            this.#wait({ steal: true });
        }
    }

    /** The network is back, or the page is looked at: no more pause, and no silent stream. */
    #again(silence) {
        if (globalThis.document?.visibilityState === "hidden" && silence) return;
        if (Date.now() - this.#heard >= silence) this.#drop();
        this.#wake();
    }
}

/**
 * The events of a stream as the standard reads it; `id`, `data` and `retry` where they were given.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* eventsOf(body, heard = nothing) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let [rest, afterCr, event] = ["", false, { type: "" }];
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            heard();
            let text = decoder.decode(value, { stream: true });
            if (!text) continue;
            // CR LF is one end of a line, also where the bytes came in two parts.
            if (afterCr && text.startsWith("\n")) text = text.slice(1);
            afterCr = text.endsWith("\r");
            const lines = (rest + text).split(/\r\n|\r|\n/);
            rest = lines.pop();
            for (const line of lines) {
                const [, name, given] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
                if (line === "") {
                    if (event.type || Object.keys(event).length > 1) yield event;
                    event = { type: "" };
                } else if (name === "event") event.type = given;
                else if (name === "data")
                    event.data = event.data === undefined ? given : `${event.data}\n${given}`;
                else if (name === "id" && !given.includes("\0")) event.id = given;
                else if (name === "retry" && /^\d+$/.test(given)) event.retry = Number(given);
            }
        }
    } finally {
        reader.cancel().catch(nothing);
    }
}

function nothing() {}

/** Whether trying again would change nothing: logged out, revoked, not allowed. */
function isFinal({ status }) {
    return status === 401 || status === 403;
}

/** A message as lists show it. */
function item({ body, ...message }) {
    return { ...message, snippet: [...body.slice(0, 280)].slice(0, 140).join("") };
}

function isIn(box, message, user) {
    if (box === "trash" || message.trashed_at) return box === "trash" && !!message.trashed_at;
    if (box === "all") return true;
    if (box === "archive" || message.archived_at) return box === "archive" && !!message.archived_at;
    return box === "sent" ? message.from.id === user : message.to.some(({ id }) => id === user);
}

/** Where a message stands, or would stand, in a list that begins with the newest. */
function place(list, id) {
    let [low, high] = [0, list.length];
    while (low < high) {
        const middle = (low + high) >> 1;
        if (list[middle].id > id) low = middle + 1;
        else high = middle;
    }
    return low;
}

function backoff(failures) {
    return Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures);
}

/** Waits; `give` gets what ends it at once. */
function pause(milliseconds, signal, give = nothing) {
    return new Promise((resolve) => {
        const wake = () => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", wake);
            resolve();
        };
        const timer = setTimeout(wake, milliseconds);
        signal?.addEventListener("abort", wake);
        give(wake);
        if (signal?.aborted) wake();
    });
}

/** `Retry-After`: seconds, or a date. */
function time(header) {
    if (!header) return undefined;
    const wait = /^\d+$/.test(header) ? header * 1_000 : Date.parse(header) - Date.now();
    return Math.min(Math.max(wait || 0, 0), LONGEST_REFUSAL);
}

function hex(bytes) {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** By it tabs with one token find each other, and learn nothing of it. */
async function hash(token) {
    const bytes = new TextEncoder().encode(token);
    const hashed = await globalThis.crypto.subtle?.digest("SHA-256", bytes);
    return hashed && hex(new Uint8Array(hashed));
}
