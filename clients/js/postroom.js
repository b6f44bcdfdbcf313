// Postroom for browsers: the calls of /v1, and live copies of mailbox folders.
// One file without dependencies. How to use it: docs/clients.md.

// All times are in milliseconds. The pause before a retry is random, up to these limits, so that
// clients who lost a server do not all come back at once.
const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 30_000;
/** The longest pause that a server can ask for. */
const LONGEST_RETRY_AFTER = 60_000;
const REQUEST_TIMEOUT = 30_000;
/** The server sends a ping every 15 seconds; a stream that is silent for this long is dead. */
const STREAM_TIMEOUT = 40_000;
/** A stream that lasted this long resets the count of failures. */
const STABLE_STREAM = 10_000;
/** A leading tab that is silent for this long is frozen. */
const LEADER_TIMEOUT = 90_000;
/** If there are more changes than this, the list is loaded again. */
const MAX_CHANGES = 20;
/** The pages of a list that is loaded again. */
const PAGE = 100;
/** The most updates that a mailbox queues, and the most messages that it loads again. */
const MAX_KEPT = 1_000;
/** How many recipients of a message a list names. */
const NAMED = 5;
const SEND_RETRIES = 5;
/** The app is asked for the next token so long before the end of a token. */
const RENEWAL = 30_000;
/** The life of a token if neither the app nor the token says when it ends: the server's default. */
const USUAL_LIFE = 900_000;
/** The least time between two questions, if the app gives a token that is about to end. */
const SHORTEST_RENEWAL = 1_000;
/** When a token is due that may be that of a user who has signed out of the app. */
const IN_DOUBT = 0;
/** How long a tab waits for the token of the leading one before it asks for its own. */
const LEADER_ANSWER = 10_000;
/** The longest time of a timer. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * @typedef {{ id: number, username: string, display_name: string, external_id: string | null,
 *     kind: "person" | "system", mixed_scripts?: true }} Person
 * @typedef {{ id: number, conversation_id: number, in_reply_to: number | null, from: Person,
 *     to: Person[], subject: string, sent_at: string, read_at: string | null,
 *     starred_at: string | null, archived_at: string | null, trashed_at: string | null,
 *     client_id: string | null, via?: string }} Envelope
 * @typedef {Envelope & { to_count: number, snippet: string, body?: string,
 *     metadata?: object | null }} Item  A message in a list: of `to_count` recipients `to` are the
 *     first five, the user among them if they are one. `metadata` and `body` are there if the
 *     list was asked for them by `fields`.
 * @typedef {Envelope & { body: string, metadata: object | null }} Message  A whole message.
 * @typedef {{ id: number, subject: string, participants: Person[], participants_count: number,
 *     last_message: Item | null, unread: number, muted: boolean }} Conversation  In a list,
 *     `participants` are the first five.
 * @typedef {{ read?: boolean, starred?: boolean, archived?: boolean, trashed?: boolean }} Marks
 * @typedef {"inbox" | "sent" | "archive" | "trash" | "all"} Folder
 * @typedef {"connecting" | "live" | "offline" | "displaced" | "ended"} Status
 * @typedef {string | { token: string, expires_at?: string } | null} Given  What `getToken` returns:
 *     the response to `POST /v1/server/tokens`, or a token (a JWT as well); null if nobody is
 *     signed in to the app any more.
 * @typedef {{ change: { added: number[], changed: number[], removed: number[] },
 *     unread: { messages: number, conversations: number }, status: Status }} MailboxEvents
 * @typedef {{ type: string, id?: string, data?: string, retry?: number }} ServerEvent
 */

/** What is wrong, by code, where no response of the server says it. */
const FAILURES = {
    network: "The server cannot be reached. Check your connection, and try again.",
    timeout: "The server did not answer in time. Try again.",
    unexpected_response: "Something other than the server has answered. Try again later.",
    no_token: "The app has given no token. Try again.",
    server_key_in_browser:
        "A server key (prk_…) is for servers only: everybody who opens the page could act as any " +
        "user. Revoke it, and give the page tokens of POST /v1/server/tokens by `getToken`.",
    ended: "The session has ended. Sign in again.",
    closed: "The mailbox is closed.",
    not_shown: "The mailbox shows no message of this conversation.",
};

/**
 * Why a call failed: a stable `code` for programs and a `message` for people. If the server refused
 * the call, the code is one of docs/errors.md, `status` is that of the response, `errors` has one
 * for each invalid field, and `retryAfter` is in milliseconds. Otherwise the code is one of
 * docs/clients.md, and `cause` is the error of the browser or of `getToken`, if there was one.
 */
export class Problem extends Error {
    name = "Problem";
    /** @type {string} */
    code;
    /** @type {number | undefined} */
    status;
    /** @type {{ pointer?: string, parameter?: string, detail: string, code: string }[]} */
    errors;
    /** @type {number | undefined} */
    retryAfter;
    /** @type {string | undefined} Why a mailbox or client has ended, if the code is `ended`. */
    reason;

    /**
     * @param {string} message
     * @param {{ code: string, status?: number, errors?: Problem["errors"], retryAfter?: number,
     *     reason?: string, cause?: unknown }} facts
     */
    constructor(message, { code, status, errors = [], retryAfter, reason, cause }) {
        super(message, cause && { cause });
        Object.assign(this, { code, status, errors, retryAfter, reason });
    }
}

/**
 * Refuses what would be lost on the way to the server: without a limit, more would be changed or
 * deleted than was meant.
 * @param {unknown} given @param {string[]} [known] @param {string} [what]
 */
function checkNames(given, known, what = "the argument") {
    // Members that are inherited would not be sent.
    const plain = given && [Object.prototype, null].includes(Object.getPrototypeOf(given));
    if (!plain) throw new TypeError(`${what} must be a plain object.`);
    for (const [name, value] of Object.entries(given)) {
        if (known && !known.includes(name)) {
            throw new TypeError(`${name} is unknown here. Known are: ${known.join(", ")}.`);
        }
        // JSON leaves out what is undefined, and makes null of numbers that are none.
        if ([undefined, "null"].includes(JSON.stringify(value))) {
            throw new TypeError(`${name} has no value. Leave it out if it is to have none.`);
        }
        if (["filter", "set"].includes(name)) checkNames(value, undefined, name);
    }
}

/** @param {string} code @param {unknown} [cause] @param {string} [reason] */
function failure(code, cause, reason) {
    return new Problem(FAILURES[code], { code, cause, reason });
}

/** @param {string | undefined} reason @param {unknown} [cause] */
function ended(reason, cause) {
    return failure("ended", cause, reason);
}

/** Why there is no usable response; what the caller aborted is passed on. */
function withoutResponse(cause, signal) {
    if (cause instanceof SyntaxError) return failure("unexpected_response", cause);
    if (!signal?.aborted) return failure("network", cause);
    return signal.reason?.name === "TimeoutError" ? failure("timeout", cause) : cause;
}

/** The id of a message or conversation for a path: anything else could name another resource. */
function pathId(id) {
    if (["number", "string"].includes(typeof id) && /^\d+$/.test(String(id))) return String(id);
    throw new TypeError("An id must be a whole number, or its digits.");
}

/** The JSON of a response, which is an object; null of one without content. */
async function contentOf(response, signal) {
    if (response.status === 204) return null;
    const content = await response.json().catch((cause) => {
        throw withoutResponse(cause, signal);
    });
    if (kindOf(content) !== "object") throw failure("unexpected_response");
    return content;
}

function kindOf(value) {
    if (value === null) return "null";
    return Array.isArray(value) ? "array" : typeof value;
}

/**
 * Waits for an answer and confirms that it has the members that are used here, or that there is
 * none: a proxy, or another program at this address, may answer with any JSON.
 * @param {Promise<any>} answer
 * @param {Record<string, string> | null} kinds Of what kinds each member may be; null: no answer.
 * @returns {Promise<any>}
 */
async function expect(answer, kinds) {
    const given = await answer;
    const members = Object.entries(kinds || {});
    const fits = members.every(([name, allowed]) =>
        allowed.split(" ").includes(kindOf(given?.[name])),
    );
    if (!fits || !kinds !== !given) throw failure("unexpected_response");
    return given;
}

/** What is used of a page of a list, and of what has an id. */
const LIST = { data: "array", next_cursor: "string null" };
const WITH_ID = { id: "number" };

/** A client for one user of one server: by tokens of the app, by cookie, or by one token. */
export class Postroom {
    #url;
    #token;
    /** @type {Tokens | undefined} */
    #tokens;
    #csrf;
    /** The user who has the session of the browser, as far as this client knows. */
    #user;
    #feed;

    /**
     * @param {{ url?: string, getToken?: () => Given | Promise<Given>, token?: string }} [options]
     *     Without `url`, the server of the page is called. `getToken` asks the app for a token of
     *     the user who is signed in to it; if it throws, it is called again later. Without
     *     `getToken` and `token`, the session cookie is used.
     */
    constructor({ url = "", getToken, token } = {}) {
        this.#url = new URL(`${url}/`, globalThis.location?.href).href.replace(/\/+$/, "");
        if (token !== undefined) this.#token = checked(token);
        const owner = (given) => this.#exchange("GET", "/v1/users/me", undefined, { token: given });
        if (getToken) this.#tokens = new Tokens(getToken, owner, `postroom ${this.#url} app`);
    }

    /**
     * Makes any call of the API and returns the JSON of the response, or null for a 204.
     * @param {string} method @param {string} path It begins with `/v1/`. @param {object} [body]
     * @param {{ headers?: object, signal?: AbortSignal }} [options]
     * @returns {Promise<any>}
     * @throws {Problem} Within 30 seconds at most.
     */
    async request(method, path, body, { headers, signal } = {}) {
        // Not `AbortSignal.any`: Node forgets a timeout that nothing else refers to, and never aborts.
        const either = new AbortController();
        const pass = () => either.abort(signal.reason);
        const end = () => either.abort(new DOMException("It took too long.", "TimeoutError"));
        const timer = setTimeout(end, REQUEST_TIMEOUT);
        signal?.addEventListener("abort", pass);
        if (signal?.aborted) pass();
        const options = { headers, signal: either.signal };
        try {
            const response = await this.fetch(method, path, body, options);
            return await contentOf(response, either.signal);
        } finally {
            clearTimeout(timer);
            signal?.removeEventListener("abort", pass);
        }
    }

    /**
     * Like `request`, but without a timeout, and returns the `Response` itself: for streams.
     * @param {string} method @param {string} path @param {object} [body]
     * @param {{ headers?: object, signal?: AbortSignal }} [options]
     * @returns {Promise<Response>}
     */
    async fetch(method, path, body, { headers, signal } = {}) {
        const needsCsrf = method !== "GET" && this.#isByCookie();
        let token = this.#token;
        if (this.#tokens) token = await unlessAborted(this.#tokens.current(), signal);
        for (let retries = 0; ; retries += 1) {
            const sent = { ...headers };
            if (needsCsrf) sent["X-CSRFToken"] = this.#csrf ||= await this.#fetchCsrf(signal);
            try {
                return await this.#exchange(method, path, body, { headers: sent, signal, token });
            } catch (error) {
                // A login in another tab replaces the CSRF cookie.
                if (needsCsrf && error.code === "csrf" && !retries) this.#csrf = undefined;
                else if (!this.#tokens || error.status !== 401) throw error;
                // The first one of another tab may be refused as well; the next one is fresh.
                else if (retries > 1) throw this.#tokens.end(error.code, ended(error.code, error));
                else token = await unlessAborted(this.#tokens.renew(token, true), signal);
            }
        }
    }

    /**
     * One request and its response.
     * @param {string} method @param {string} path @param {object} [body]
     * @param {{ headers?: object, signal?: AbortSignal, token?: string }} [options]
     */
    async #exchange(method, path, body, { headers, signal, token } = {}) {
        const sent = { Accept: "application/json", ...headers };
        if (token) sent.Authorization = `Bearer ${token}`;
        if (body !== undefined) sent["Content-Type"] = "application/json";
        const response = await fetch(this.#url + path, {
            method,
            headers: sent,
            body: JSON.stringify(body),
            credentials: token ? "omit" : "include",
            cache: "no-store",
            signal,
        }).catch((cause) => {
            throw withoutResponse(cause, signal);
        });
        if (response.ok) return response;
        const { status } = response;
        const retryAfter = milliseconds(response.headers.get("retry-after"));
        const problem = await response.json().catch(nothing);
        const isOurs = typeof problem?.code === "string";
        const { code, errors, detail, title } = isOurs ? problem : { code: "unexpected_response" };
        const message = detail || title || `The server answered ${status}.`;
        throw new Problem(message, { status, code, errors, retryAfter });
    }

    #isByCookie() {
        return !this.#token && !this.#tokens;
    }

    async #fetchCsrf(signal) {
        const asked = this.request("GET", "/v1/csrf", undefined, { signal });
        return (await expect(asked, { csrf_token: "string" })).csrf_token;
    }

    /**
     * Creates an account. It does not log in.
     * @param {{ username: string, email: string, password: string, display_name?: string }} account
     */
    register(account) {
        return expect(this.request("POST", "/v1/users", account), WITH_ID);
    }

    /**
     * Starts a session in this browser.
     * @param {string} username @param {string} password @returns {Promise<Person>} The user.
     */
    async login(username, password) {
        const asked = this.request("POST", "/v1/sessions", { username, password });
        const { csrf_token: csrf, user } = await expect(asked, {
            csrf_token: "string",
            user: "object",
        });
        [this.#csrf, this.#user] = [csrf, user.id];
        return user;
    }

    /**
     * Ends the session, and with it the open mailboxes in all tabs. With `getToken` there is no
     * session, and the user's clients in all tabs end: call it when the user signs out of the app.
     */
    async logout() {
        if (this.#tokens) return void this.#tokens.signOut();
        await expect(this.request("DELETE", "/v1/sessions/current"), null);
        this.#user = undefined;
        this.#feed?.then((feed) => feed.end("signed_out"), nothing);
    }

    /** The user's own account. @returns {Promise<Person & Record<string, any>>} */
    me() {
        return expect(this.request("GET", "/v1/users/me"), WITH_ID);
    }

    /** @returns {Promise<{ messages: number, conversations: number, state: string }>} */
    getUnread() {
        const kinds = { messages: "number", conversations: "number", state: "string" };
        return expect(this.request("GET", "/v1/unread"), kinds);
    }

    /**
     * One page of messages.
     * @param {Record<string, any>} [filter] The parameters of `GET /v1/messages`: `folder`, `q`,
     *     `fields`, ….
     * @returns {Promise<{ data: Item[], next_cursor: string | null, state?: string }>}
     */
    listMessages(filter = {}) {
        const query = new URLSearchParams(filter);
        return expect(this.request("GET", `/v1/messages?${query}`), LIST);
    }

    /**
     * The whole message. This does not mark it as read.
     * @param {number} id @returns {Promise<Message>}
     */
    async getMessage(id) {
        const asked = this.request("GET", `/v1/messages/${pathId(id)}`);
        return expect(asked, { ...WITH_ID, body: "string" });
    }

    /**
     * Sets or removes marks of a message.
     * @param {number} id @param {Marks} marks @returns {Promise<Message>} The message as it is now.
     */
    async mark(id, marks) {
        checkNames(marks);
        return expect(this.request("PATCH", `/v1/messages/${pathId(id)}`, marks), WITH_ID);
    }

    /** Deletes a message from the user's own mailbox, for good. @param {number} id */
    async delete(id) {
        return expect(this.request("DELETE", `/v1/messages/${pathId(id)}`), null);
    }

    /**
     * Marks or deletes up to 1,000 messages: those with the `ids`, or those that fit the `filter`
     * and are not newer than the message `upTo`. `next_cursor` is the `cursor` of the next call.
     * @param {{ ids?: number[], filter?: object, upTo?: number, cursor?: string,
     *     set?: Marks, delete?: true }} batch
     * @returns {Promise<{ updated: number[], destroyed: number[], not_found: number[],
     *     next_cursor: string | null }>}
     */
    async batch(batch) {
        checkNames(batch, ["ids", "filter", "upTo", "cursor", "set", "delete"]);
        const { upTo, ...rest } = batch;
        const asked = this.request("POST", "/v1/messages/batch", { ...rest, up_to: upTo });
        const kinds = { updated: "array", destroyed: "array", next_cursor: "string null" };
        return expect(asked, kinds);
    }

    /**
     * One page of conversations.
     * @param {{ cursor?: string, limit?: number, fields?: "metadata" }} [page]
     * @returns {Promise<{ data: Conversation[], next_cursor: string | null, state?: string }>}
     */
    listConversations(page = {}) {
        const query = new URLSearchParams(/** @type {any} */ (page));
        return expect(this.request("GET", `/v1/conversations?${query}`), LIST);
    }

    /** @param {number} id @returns {Promise<Conversation>} */
    async getConversation(id) {
        return expect(this.request("GET", `/v1/conversations/${pathId(id)}`), WITH_ID);
    }

    /**
     * Marks the messages of a conversation as read, none that is newer than the message `upTo`.
     * @param {number} id @param {{ upTo?: number }} [options] @returns {Promise<Conversation>}
     */
    async markConversationRead(id, options = {}) {
        checkNames(options, ["upTo"]);
        const body = { read: true, up_to: options.upTo };
        return expect(this.request("PATCH", `/v1/conversations/${pathId(id)}`, body), WITH_ID);
    }

    /**
     * Moves a conversation to the trash, but no message that is newer than the message `upTo`.
     * @param {number} id @param {{ upTo?: number }} [options]
     */
    async deleteConversation(id, options = {}) {
        checkNames(options, ["upTo"]);
        const query = "upTo" in options ? `?up_to=${pathId(options.upTo)}` : "";
        return expect(this.request("DELETE", `/v1/conversations/${pathId(id)}${query}`), null);
    }

    /**
     * Mutes a conversation: the app should not notify about it.
     * @param {number} id @param {boolean} [muted] @returns {Promise<Conversation>}
     */
    async muteConversation(id, muted = true) {
        const asked = this.request("PATCH", `/v1/conversations/${pathId(id)}`, { muted });
        return expect(asked, WITH_ID);
    }

    /**
     * Sends a message exactly once: if no response arrives, it is sent again with the same
     * idempotency key.
     * @param {{ to?: (number | string)[], subject?: string, body: string, in_reply_to?: number,
     *     client_id?: string, metadata?: object }} message
     * @returns {Promise<Message & { refused: { to: number | string, code: string }[] }>}
     */
    async send(message) {
        // A reply without recipients goes to everybody whom the message before names.
        if ("to" in message) checkNames({ to: message.to });
        const headers = { "Idempotency-Key": hex(crypto.getRandomValues(new Uint8Array(16))) };
        let sender;
        for (let retries = 0; ; retries += 1) {
            try {
                if (this.#isByCookie()) {
                    // Between two attempts another user may log in with this browser.
                    const known = !retries && this.#user;
                    const user = known || (await this.me()).id;
                    if ((sender ??= user) !== user) throw ended("another_user");
                }
                const asked = this.request("POST", "/v1/messages", message, { headers });
                return await expect(asked, WITH_ID);
            } catch (error) {
                const unknown = [undefined, 502, 503, 504].includes(error.status);
                const canRetry =
                    (unknown && !isFinal(error)) || error.code === "request_in_progress";
                if (retries === SEND_RETRIES || !canRetry) throw error;
                await pause(error.retryAfter || backoff(retries));
            }
        }
    }

    /**
     * Loads a folder and keeps the copy up to date until it is closed. Where `getToken` fails, it
     * is called again and again, for 30 seconds.
     * @param {{ folder?: Folder, limit?: number }} [options] `limit` is the size of a page.
     * @returns {Promise<Mailbox>}
     */
    async openMailbox({ folder = "inbox", limit = 50 } = {}) {
        const opened = (this.#feed ||= this.#newFeed());
        const feed = await opened.catch(nothing);
        if (!feed || feed.over) {
            if (this.#feed === opened) this.#feed = undefined;
            return feed ? this.openMailbox({ folder, limit }) : opened;
        }
        const mailbox = new Mailbox(this, feed, folder, limit);
        await mailbox.load().catch((error) => {
            mailbox.close();
            throw error;
        });
        // The list may be that of the user who has logged in meanwhile.
        if (feed.over) throw ended(feed.reason);
        feed.start(mailbox.state);
        return mailbox;
    }

    async #newFeed() {
        const tokens = this.#tokens;
        if (tokens) {
            await tokens.first();
            return (tokens.feed = new Feed(this, tokens.user, tokens.name, { tokens }));
        }
        const user = (await this.me()).id;
        if (!this.#token) this.#user = user;
        // Tabs share a stream if it shows them the same: one user by cookie, or one token.
        const key = this.#token && (await hash(this.#token));
        const who = this.#token ? key : `user ${user}`;
        const name = who && `postroom ${this.#url} ${who}`;
        return new Feed(this, user, name, { byCookie: !this.#token });
    }
}

/**
 * The tokens that the app gives a client. Each is proven: the server says whose it is, and the
 * client ends if that is not the user whose the first one was. While mailboxes are open, the
 * leading tab asks for the next token and hands it to the other tabs of this user, on the channel
 * of their feed; every script that can listen there could call `getToken` as well.
 */
class Tokens {
    /** The id of the user whose tokens these are, as soon as the first one is proven. */
    user;
    /** @type {Feed | undefined} */
    feed;
    /** @type {Problem | undefined} Why no token will be sent any more. */
    over;
    #getToken;
    #owner;
    #prefix;
    #token;
    /** When to ask for the next token. */
    #due = Infinity;
    #asking;
    /** Where the clients of all users in this browser say who has signed in. */
    #arrivals;

    constructor(getToken, owner, prefix) {
        [this.#getToken, this.#owner, this.#prefix] = [getToken, owner, prefix];
    }

    /** The name under which the tabs of this user find each other. */
    get name() {
        return `${this.#prefix} user ${this.user}`;
    }

    /** How many milliseconds there are until the next token is due. */
    get left() {
        return this.#due - Date.now();
    }

    /** The token to send. One that is due is good for a while, also if the app cannot be asked. */
    async current() {
        if (this.over) throw this.over;
        if (!this.#token) return this.renew();
        if (this.left <= 0) {
            await this.renew().catch((error) => {
                if (this.over || this.#due === IN_DOUBT) throw error;
            });
        }
        return this.#token;
    }

    /** Waits for the first token, for 30 seconds while the app cannot be asked. */
    async first() {
        const started = Date.now();
        for (let failures = 0; ; failures += 1) {
            try {
                return await this.current();
            } catch (error) {
                const isLate = Date.now() - started > REQUEST_TIMEOUT;
                if (error.code !== "no_token" || isLate) throw error;
                await pause(backoff(failures));
            }
        }
    }

    /**
     * Gets another token than the old one, by one question at a time.
     * @param {string} [old] @param {boolean} [isRefused] Whether the server has refused it.
     * @returns {Promise<string>}
     */
    async renew(old = this.#token, isRefused = false) {
        if (this.over) throw this.over;
        if (this.#token !== old) return this.#token;
        this.#asking ||= this.#renew(old, isRefused).finally(() => (this.#asking = undefined));
        return this.#asking;
    }

    async #renew(old, isRefused) {
        await this.feed?.askLeader(old, isRefused);
        if (this.over) throw this.over;
        if (this.#token === old) await this.#ask(isRefused);
        return this.#token;
    }

    /** Asks the app, and once more if the server refuses what it gave. */
    async #ask(isLast) {
        const { token, expires_at: end } = await this.#call();
        let response;
        try {
            response = await this.#owner(token);
        } catch (error) {
            if (error.status === 401 && !isLast) return this.#ask(true);
            throw isFinal(error) ? this.end(error.code, ended(error.code, error)) : error;
        }
        const { id } = await expect(contentOf(response), WITH_ID);
        if (this.over) throw this.over;
        if (this.user !== undefined && this.user !== id) throw this.end("another_user");
        if (this.user === undefined) this.#announce(id);
        this.user = id;
        // By the server's clock: that of the browser may be wrong.
        const now = Date.parse(response.headers.get("date")) || Date.now();
        const left = (Date.parse(end) || endOf(token) || now + USUAL_LIFE) - now;
        const wait = Math.max(left - RENEWAL, left / 2, SHORTEST_RENEWAL);
        this.shared = { token, due: left > 0 ? Date.now() + wait : Infinity };
        this.feed?.handOut();
    }

    async #call() {
        let given;
        try {
            given = await unlessAborted(this.#getToken(), AbortSignal.timeout(REQUEST_TIMEOUT));
        } catch (cause) {
            throw failure("no_token", cause);
        }
        if (given === null) throw this.signOut();
        given = typeof given === "string" ? { token: given } : given;
        try {
            return { ...given, token: checked(given?.token) };
        } catch (error) {
            throw isFinal(error) ? this.end(error.code, error) : error;
        }
    }

    /** The token and when the next one is due, for the other tabs of this user. */
    get shared() {
        return { token: this.#token, due: this.#due };
    }

    set shared({ token, due }) {
        [this.#token, this.#due] = [token, due];
    }

    /**
     * Says who is signed in to the app, or null, to the clients of other users in this browser:
     * they ask the app whose page theirs is now. Listens for the same.
     */
    #announce(user) {
        if (!canShare()) return;
        this.#arrivals ||= new BroadcastChannel(`${this.#prefix} arrivals`);
        // Node would wait for it.
        this.#arrivals.unref?.();
        this.#arrivals.onmessage = ({ data }) => {
            if (data === this.user) return;
            this.#due = IN_DOUBT;
            this.feed?.keepToken();
        };
        this.#arrivals.postMessage(user);
    }

    /** Nobody is signed in to the app any more. */
    signOut() {
        if (this.over) return this.over;
        this.#announce(null);
        return this.end("signed_out");
    }

    /** Ends the client, and the other tabs of this user. Returns the error for those who ask. */
    end(reason, problem = ended(reason)) {
        if (this.over) return this.over;
        this.over = problem;
        this.#token = undefined;
        this.#arrivals?.close();
        this.feed?.end(reason);
        return this.over;
    }
}

/**
 * A live copy of a folder; `Postroom.openMailbox` makes it. It dispatches these events:
 * - `change`: `messages` has changed. `detail` has the ids that were `added`, `changed`, `removed`.
 * - `unread`: `unread` has changed. `detail` has the counts.
 * - `status`: `status` has changed. `detail` is the {@link Status}.
 */
export class Mailbox extends EventTarget {
    /** Newest first. Each change replaces the array. @type {readonly Item[]} */
    messages = [];
    /** The unread counts of the whole inbox, as the server counts them. */
    unread = { messages: 0, conversations: 0 };
    /** The state of the server's mailbox that this copy shows. */
    state = 0;
    #client;
    #feed;
    #folder;
    #limit;
    /**
     * The state at which this copy joined the feed, if that is later than the feed's `base`.
     * Changes are collapsed: a message that was created and destroyed after the base is not
     * mentioned, but a list that was loaded in between may have it. So such a copy asks once what
     * was destroyed after it joined, as soon as the feed has reached its state.
     */
    #joinedAt;
    /** The lowest id from which on the copy is complete, and the cursor of the page below it. */
    #lowestId;
    #nextCursor;
    /** Updates that are not applied yet. During the first load they wait here. */
    #queue = [];
    #busy = true;
    #closed = false;
    /** Why the queue cannot go on at the moment, and what ends its pause. */
    #obstacle;
    #wake = nothing;

    /** @internal Use `Postroom.openMailbox`. */
    constructor(client, feed, folder, limit) {
        super();
        [this.#client, this.#feed, this.#folder, this.#limit] = [client, feed, folder, limit];
        feed.subscribe(this);
    }

    /**
     * `connecting`; `live`; `offline` (it keeps trying); `displaced` (the user has opened too many
     * streams since, and this copy waits for `resume`); `ended` (the session or token is no longer
     * valid, or another user has logged in, and the copy is empty). @returns {Status}
     */
    get status() {
        return this.#feed.status;
    }

    /**
     * Why the status is `ended`: `signed_out`, `another_user`, or the code with which the server
     * has refused the session or a fresh token. @returns {string | undefined}
     */
    get reason() {
        return this.#feed.reason;
    }

    /** Goes on after the status was `displaced`; the user's oldest stream may be displaced by it. */
    resume() {
        this.#feed.resume();
    }

    /**
     * @template {keyof MailboxEvents} T
     * @param {T} type
     * @param {((e: CustomEvent<MailboxEvents[T]>) => void) | EventListenerObject | null} listener
     * @param {boolean | AddEventListenerOptions} [options]
     */
    addEventListener(type, listener, options) {
        super.addEventListener(type, /** @type {any} */ (listener), options);
    }

    /**
     * @template {keyof MailboxEvents} T
     * @param {T} type
     * @param {((e: CustomEvent<MailboxEvents[T]>) => void) | EventListenerObject | null} listener
     * @param {boolean | EventListenerOptions} [options]
     */
    removeEventListener(type, listener, options) {
        super.removeEventListener(type, /** @type {any} */ (listener), options);
    }

    /** Whether the server has older messages. */
    get hasMore() {
        return this.#nextCursor !== null;
    }

    /**
     * Loads the next page of older messages.
     * @returns {Promise<void>} It is rejected as soon as the mailbox ends, is closed, or cannot
     *     reach the server.
     */
    loadMore() {
        return new Promise((resolve, reject) => {
            const obstacle = this.#end() || this.#obstacle;
            if (obstacle) reject(obstacle);
            else this.receive({ kind: "more", resolve, reject });
        });
    }

    /**
     * Sets or removes marks of a message, and shows it at once.
     * @param {number} id @param {Marks} marks
     */
    async mark(id, marks) {
        this.#confirmUser();
        const { state } = this;
        const message = toItem(await this.#client.mark(id, marks), this.#feed.user);
        this.receive({ kind: "own", state, event: { id: message.id, message } });
    }

    /** Deletes a message for good, and shows it at once. @param {number} id */
    async delete(id) {
        this.#confirmUser();
        const { state } = this;
        await this.#client.delete(id);
        this.receive({ kind: "own", state, event: { id: Number(id) } });
    }

    /**
     * Marks a conversation as read, up to its newest message that this copy shows.
     * @param {number} id @param {{ upTo?: number }} [options] @returns {Promise<Conversation>}
     */
    async markConversationRead(id, options = {}) {
        checkNames(options, ["upTo"]);
        this.#confirmUser();
        const { upTo = this.#newestShown(id) } = options;
        return this.#client.markConversationRead(id, { upTo });
    }

    /**
     * Moves a conversation to the trash, up to its newest message that this copy shows.
     * @param {number} id @param {{ upTo?: number }} [options]
     */
    async deleteConversation(id, options = {}) {
        checkNames(options, ["upTo"]);
        this.#confirmUser();
        const { upTo = this.#newestShown(id) } = options;
        return this.#client.deleteConversation(id, { upTo });
    }

    /**
     * Marks or deletes all messages of the folder that fit a filter, none that is newer than those
     * that this copy shows. Older ones need not be loaded.
     * @param {{ filter?: object, set?: Marks, delete?: true }} action
     * @returns {Promise<{ updated: number[], destroyed: number[] }>}
     */
    async batch(action) {
        checkNames(action, ["filter", "set", "delete"]);
        const { filter = {}, ...change } = action;
        if ("folder" in filter && filter.folder !== this.#folder) {
            throw new TypeError(`This mailbox is the folder ${this.#folder}, no other.`);
        }
        this.#confirmUser();
        const done = { updated: [], destroyed: [] };
        const upTo = this.messages[0]?.id;
        for (let cursor; upTo && cursor !== null; ) {
            this.#confirmUser();
            const limits = { filter: { ...filter, folder: this.#folder }, upTo };
            const next = cursor && { cursor };
            const sent = await this.#client.batch({ ...limits, ...next, ...change });
            done.updated.push(...sent.updated);
            done.destroyed.push(...sent.destroyed);
            cursor = sent.next_cursor;
        }
        return done;
    }

    /** Stops updating this copy. Closing the last mailbox of a client closes its connection. */
    close() {
        this.#closed = true;
        this.#giveUp(failure("closed"));
        this.#wake();
        this.#feed.unsubscribe(this);
    }

    #newestShown(conversation) {
        const newest = this.messages.find((one) => one.conversation_id === conversation);
        if (!newest) throw failure("not_shown");
        return newest.id;
    }

    /** Why nothing more will be loaded. */
    #end() {
        return this.status === "ended" ? ended(this.reason) : this.#closed && failure("closed");
    }

    /** After the end, the browser's session may be that of another user. */
    #confirmUser() {
        if (this.status === "ended") throw ended(this.reason);
    }

    /** Rejects the calls of `loadMore` that are waiting. */
    #giveUp(problem) {
        const waiting = this.#queue.filter(({ kind }) => kind === "more");
        this.#queue = this.#queue.filter(({ kind }) => kind !== "more");
        for (const { reject } of waiting) reject(problem);
    }

    /** @internal Loads the list for the first time. */
    async load() {
        await this.#reload();
        this.#busy = false;
        this.#applyQueue();
    }

    /** @internal Takes an update of the feed; updates are applied in their order. */
    receive(update) {
        if (update.kind === "status") {
            if (update.status === "ended") this.#forget();
            if (["ended", "live"].includes(update.status)) this.#wake();
            return this.#emit("status", update.status);
        }
        if (this.#queue.length >= MAX_KEPT) {
            const kept = this.#queue.filter(({ kind }) => kind === "more");
            this.#queue = [{ kind: "reload" }, ...kept];
        }
        this.#queue.push(update);
        this.#applyQueue();
    }

    /** The page may be in front of another user now. */
    #forget() {
        this.#giveUp(ended(this.reason));
        const removed = this.messages.map(({ id }) => id);
        const hadUnread = this.unread.messages > 0;
        [this.#queue, this.messages, this.#nextCursor] = [[], [], null];
        this.unread = { messages: 0, conversations: 0 };
        if (removed.length) this.#emit("change", { added: [], changed: [], removed });
        if (hadUnread) this.#emit("unread", this.unread);
    }

    async #applyQueue() {
        if (this.#busy) return;
        this.#busy = true;
        for (let failures = 0; this.#queue.length && !this.#closed && !this.#feed.over; ) {
            const update = this.#queue[0];
            const remove = () => (this.#queue = this.#queue.filter((other) => other !== update));
            try {
                // An update that needs no request is applied synchronously.
                const request = this.#apply(update);
                if (request) await request;
                remove();
                failures = 0;
            } catch (error) {
                this.#giveUp(error);
                if (isFinal(error)) this.#feed.end(error.reason ?? error.code);
                else if (update.kind !== "more") {
                    this.#obstacle = error;
                    const { retryAfter } = error;
                    await pause(retryAfter || backoff(failures++), undefined, (wake) => {
                        if (!retryAfter) this.#wake = wake;
                    });
                    [this.#obstacle, this.#wake] = [undefined, nothing];
                }
            }
        }
        this.#busy = false;
    }

    /** Returns a promise if the server has to be asked. */
    #apply(update) {
        if (update.kind === "changes") return this.#applyChanges(update);
        if (update.kind === "reload") return this.#reload();
        if (update.kind === "more") return this.#loadPage().then(update.resolve);
        if (update.kind === "unread") this.#setUnread(update.counts);
        // If the state has advanced meanwhile, the feed may have shown something newer than this
        // response, and it reports this change as well.
        if (update.kind === "own" && update.state === this.state) this.#applyEvents([update.event]);
    }

    /** Applies all changes after the state `since`, up to `state`. */
    #applyChanges(changes) {
        if (changes.since > this.state) return this.#catchUp(changes);
        if (changes.since < this.state) this.#joinedAt ??= this.state;
        if (changes.state < this.state) return;
        if (changes.state > this.state) this.#advance(changes);
        if (this.#joinedAt > changes.base) return this.#removeDestroyed();
        this.#joinedAt = undefined;
    }

    #advance(changes) {
        this.state = changes.state;
        this.#applyEvents(changes.events);
        if (changes.counts) this.#setUnread(changes.counts);
    }

    /** Fetches the changes that this copy has missed, then applies the ones that came. */
    async #catchUp(changes) {
        const missed = await this.#feed.changesSince(this.state);
        if (missed.kind === "reload" || missed.state < changes.since) return this.#reload();
        this.#advance(missed);
        this.#joinedAt = this.state;
        return this.#applyChanges(changes);
    }

    /** See `#joinedAt`. */
    async #removeDestroyed() {
        const missed = await this.#feed.changesSince(this.#joinedAt);
        if (missed.kind === "reload") return this.#reload();
        this.#joinedAt = undefined;
        // The feed reports new messages as well, in their order.
        this.#applyEvents(missed.events.filter(({ isNew }) => !isNew));
    }

    async #reload() {
        const wanted = Math.min(this.messages.length, MAX_KEPT);
        const [folder, limit] = [this.#folder, this.#limit];
        const first = await this.#client.listMessages({ folder, limit });
        // The counts after the list: a gap is detected by the state of the list, not of the counts.
        const counts = await this.#client.getUnread();
        let { data: list, next_cursor: next } = first;
        // As much as was shown is loaded again. Later pages may be newer than the state of the
        // first one: changes in between are reported again, which changes nothing.
        while (next && list.length < wanted) {
            const query = { folder, limit: PAGE, cursor: next };
            const page = await this.#client.listMessages(query);
            [list, next] = [[...list, ...page.data], page.next_cursor];
        }
        if (this.#end()) return;
        const [before, after] = [this.messages, list].map((part) => part.map(({ id }) => id));
        const [oldIds, newIds] = [new Set(before), new Set(after)];
        this.#joinedAt = this.state = Number(first.state);
        this.messages = list;
        [this.#nextCursor, this.#lowestId] = [next, next ? list.at(-1).id : 0];
        this.#emit("change", {
            added: after.filter((id) => !oldIds.has(id)),
            changed: after.filter((id) => oldIds.has(id)),
            removed: before.filter((id) => !newIds.has(id)),
        });
        this.#setUnread(counts);
    }

    async #loadPage() {
        if (!this.hasMore) return;
        const query = { folder: this.#folder, limit: this.#limit, cursor: this.#nextCursor };
        const { data, next_cursor: next } = await this.#client.listMessages(query);
        if (this.#end()) return;
        this.messages = [...this.messages, ...data];
        const lowest = next ? (data.at(-1)?.id ?? this.#lowestId) : 0;
        [this.#nextCursor, this.#lowestId] = [next, lowest];
        this.#emit("change", { added: data.map(({ id }) => id), changed: [], removed: [] });
    }

    /** Inserts, replaces and removes messages. Applying an event twice changes nothing. */
    #applyEvents(events) {
        if (this.#end()) return;
        const [added, changed, removed] = [[], [], []];
        const list = [...this.messages];
        for (const { id, message } of events) {
            const index = indexOf(list, id);
            const known = list[index]?.id === id;
            if (message && id >= this.#lowestId && isIn(this.#folder, message, this.#feed.user)) {
                list.splice(index, known ? 1 : 0, message);
                (known ? changed : added).push(id);
            } else if (known) {
                list.splice(index, 1);
                removed.push(id);
            }
        }
        if (!added.length && !changed.length && !removed.length) return;
        this.messages = list;
        this.#emit("change", { added, changed, removed });
    }

    #setUnread({ messages, conversations }) {
        const { unread } = this;
        if (this.#end()) return;
        if (unread.messages === messages && unread.conversations === conversations) return;
        this.unread = { messages, conversations };
        this.#emit("unread", this.unread);
    }

    #emit(type, detail) {
        if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
    }
}

/**
 * The changes of one user's mailbox, for all copies of its folders in all tabs. One tab is the
 * leader: it holds a lock and the connection to the server, and passes updates on to the others by
 * a channel. The tab that gets the lock next resumes where the last leader ended. Changes name the
 * state that they follow, so a copy knows when it has missed some.
 */
class Feed {
    over = false;
    /** @type {Status} */
    status = "connecting";
    /** @type {string | undefined} Why it has ended. */
    reason;
    #subscribers = new Set();
    #client;
    /** The name of the lock and of the channel; the tabs that share it show the same mailbox. */
    #name;
    #byCookie;
    /** @type {Tokens | undefined} */
    #tokens;
    /** Asks for the next token in time. */
    #renewal;
    /** Whether the stream was closed in order to open it with a new token. */
    #isRenewed = false;
    /** Ends the wait for the leading tab's token. @type {(failed?: boolean) => void} */
    #answered = nothing;
    /** Whether the stream is open. */
    #isStreaming = false;
    #channel;
    /** The state up to which changes have been published. */
    #state;
    /** The state from which on the current stream reports changes. */
    #base = 0;
    #isLeader = false;
    /** When the server, or the leading tab, was last heard from. */
    #lastSeen = Date.now();
    /** How long the server wants clients to wait after it has ended a stream. */
    #retry;
    #stop = new AbortController();
    /** Ends the current pause. */
    #wake = nothing;
    /** Closes the current stream. */
    #dropStream = nothing;

    /**
     * @param {Postroom} client @param {number} user @param {string | undefined} name
     * @param {{ byCookie?: boolean, tokens?: Tokens }} by
     */
    constructor(client, user, name, { byCookie, tokens }) {
        this.user = user;
        [this.#client, this.#name, this.#byCookie] = [client, name, byCookie];
        this.#tokens = tokens;
    }

    subscribe(mailbox) {
        this.#subscribers.add(mailbox);
    }

    unsubscribe(mailbox) {
        this.#subscribers.delete(mailbox);
        if (!this.#subscribers.size) this.#close();
    }

    /** Starts from the state of the first mailbox. A later mailbox may have an older state. */
    start(state) {
        if (this.#state !== undefined) return this.#deliver(this.#heartbeat());
        if (this.over) return;
        this.#state = state;
        const { signal } = this.#stop;
        const timer = setInterval(() => this.#checkSilence(), 5_000);
        signal.addEventListener("abort", () => clearInterval(timer));
        const on = (target, name, act) => target?.addEventListener?.(name, act, { signal });
        on(globalThis, "online", () => this.#reconnect(0));
        on(globalThis, "offline", () => this.#dropStream());
        on(globalThis, "pageshow", () => this.#reconnect(STREAM_TIMEOUT / 2));
        on(globalThis.document, "visibilitychange", () => this.#reconnect(STREAM_TIMEOUT / 2));
        if (this.#name && canShare()) {
            this.#channel = new BroadcastChannel(this.#name);
            this.#channel.onmessage = ({ data }) => this.#onChannelMessage(data);
            this.#channel.postMessage({ kind: "hello" });
            this.#waitForLock({ signal });
        } else this.#lead(signal);
    }

    /** Opens a stream again after one was displaced: this tab becomes the leader. */
    resume() {
        if (this.status !== "displaced") return;
        this.#setStatus("connecting");
        if (this.#isLeader) this.#wake();
        else this.#waitForLock({ steal: true });
    }

    /** Ends the feed in all tabs: the session or token is no longer valid. */
    end(reason) {
        if (this.over) return;
        const update = { kind: "status", status: "ended", reason };
        this.#channel?.postMessage(update);
        this.#finish(update);
    }

    #finish(update) {
        this.#close();
        this.#tokens?.end(update.reason);
        this.#deliver(update);
    }

    #close() {
        this.over = true;
        clearTimeout(this.#renewal);
        this.#answered();
        this.#stop.abort();
        this.#channel?.close();
        this.#channel = undefined;
    }

    /** Waits for another token than the old one from the leading tab, if there is one. */
    async askLeader(old, isRefused) {
        if (this.#isLeader || !this.#channel) return;
        this.#channel.postMessage({ kind: "renew", old, isRefused });
        let hasFailed = false;
        await pause(LEADER_ANSWER, undefined, (wake) => {
            this.#answered = (failed = false) => {
                hasFailed = failed;
                wake();
            };
        });
        this.#answered = nothing;
        if (hasFailed) throw failure("no_token");
    }

    /** Hands a new token to the other tabs, and goes on with it. */
    handOut() {
        if (!this.#isLeader || this.over) return;
        this.#channel?.postMessage({ kind: "token", ...this.#tokens.shared });
        this.#isRenewed = this.#isStreaming;
        if (this.#isStreaming) this.#dropStream();
        this.#wake();
        this.keepToken();
    }

    /** Has the leading tab ask for the next token when it is due. */
    keepToken(failures = 0) {
        clearTimeout(this.#renewal);
        if (!this.#tokens || !this.#isLeader || this.over) return;
        const again = (next, wait) => {
            clearTimeout(this.#renewal);
            this.#renewal = setTimeout(() => this.keepToken(next), wait);
        };
        const { left } = this.#tokens;
        if (left > 0) return again(0, Math.min(left, LONGEST_TIMER));
        this.#tokens.renew().catch(({ retryAfter }) => {
            if (this.over) return;
            if (this.status !== "displaced") this.#setStatus("offline");
            again(failures + 1, retryAfter || backoff(failures));
        });
    }

    /** Gives another tab a token that is not the old one. */
    async #answer({ old, isRefused }) {
        const failed = await this.#tokens.renew(old, isRefused).then(nothing, () => true);
        const token = failed ? undefined : this.#tokens.shared;
        this.#channel?.postMessage({ kind: "token", ...token });
    }

    /** The changes since a state as an update; `reload` if they are too many or no longer known. */
    async changesSince(since) {
        const path = `/v1/changes?since=${since}&limit=${MAX_CHANGES}`;
        const kinds = { created: "array", updated: "array", destroyed: "array" };
        const asked = expect(this.#client.request("GET", path), { ...kinds, new_state: "string" });
        const found = await asked.catch((error) => {
            if (error.status !== 410) throw error;
        });
        if (!found || found.has_more) return { kind: "reload" };
        const events = found.destroyed.map((id) => ({ id }));
        const updated = new Set(found.updated);
        // One after the other: beside the stream, a browser needs one connection.
        for (const id of [...found.created, ...updated]) {
            const message = await this.#client.getMessage(id).catch((error) => {
                // It was destroyed meanwhile, which will be reported.
                if (error.status !== 404) throw error;
            });
            if (message)
                events.push({ id, message: toItem(message, this.user), isNew: !updated.has(id) });
        }
        const counts = await this.#client.getUnread();
        const state = Number(found.new_state);
        return { kind: "changes", base: since, since, state, events, counts };
    }

    /** Waits for the lock, and leads while this tab holds it. */
    async #waitForLock(options) {
        const leading = new AbortController();
        this.#stop.signal.addEventListener("abort", () => leading.abort());
        await navigator.locks
            .request(this.#name, options, () => this.#lead(leading.signal))
            .catch(nothing);
        // The feed is over, or this tab was frozen and another one has taken the lock from it. The
        // tab that takes a lock is still waiting for it in the usual way.
        leading.abort();
        if (!this.over && !options.steal) this.#waitForLock({ signal: this.#stop.signal });
    }

    /** Connects again and again until it is stopped. */
    async #lead(signal) {
        this.#isLeader = true;
        this.#answered();
        this.keepToken();
        // Changes may have been missed if another tab led before.
        let resumed = this.status !== "connecting";
        for (let failures = 0; !signal.aborted; resumed = true) {
            if (this.status === "displaced") {
                await pause(LONGEST_RETRY, signal, (wake) => (this.#wake = wake));
                continue;
            }
            const started = Date.now();
            let wait;
            try {
                this.#base = this.#state;
                this.#publish(this.#heartbeat());
                // A stream that was closed to get a new token is not missed for long.
                if (resumed && !this.#isRenewed) await this.#publishMissed();
                this.#isRenewed = false;
                await this.#readStream(signal);
                wait = this.#retry;
            } catch (error) {
                if (signal.aborted) break;
                if (isFinal(error)) return this.end(error.reason ?? error.code);
                if (this.#isRenewed) continue;
                wait = error.retryAfter;
                const isOffline = globalThis.navigator?.onLine === false;
                if (this.status !== "live" || isOffline) this.#setStatus("offline");
            }
            if (/** @type {Status} */ (this.status) === "displaced") continue;
            if (this.status === "live") this.#setStatus("connecting");
            failures = Date.now() - started > STABLE_STREAM ? 0 : failures + 1;
            await pause(wait || backoff(failures), signal, (wake) => {
                if (!wait) this.#wake = wake;
            });
        }
        this.#isLeader = false;
    }

    /** Publishes what happened while there was no stream. */
    async #publishMissed() {
        // Another user may have logged in with this browser.
        if (this.#byCookie && (await this.#client.me()).id !== this.user)
            return this.end("another_user");
        const missed = await this.changesSince(this.#state);
        if (missed.kind === "changes") return this.#publishChanges(missed);
        this.#state = Number((await this.#client.getUnread()).state);
        this.#publish(missed);
    }

    /** Opens a stream of events and publishes them until it ends. */
    async #readStream(signal) {
        const aborter = new AbortController();
        const abort = () => aborter.abort();
        signal.addEventListener("abort", abort);
        if (signal.aborted) abort();
        [this.#dropStream, this.#lastSeen, this.#retry] = [abort, Date.now(), undefined];
        this.#base = this.#state;
        try {
            const headers = { Accept: "text/event-stream" };
            const path = `/v1/events?since=${this.#state}`;
            const options = { headers, signal: aborter.signal };
            const response = await this.#client.fetch("GET", path, undefined, options);
            const { body } = response;
            const kind = response.headers.get("content-type");
            if (!kind?.startsWith("text/event-stream")) throw failure("unexpected_response");
            this.#isStreaming = true;
            this.#setStatus("live");
            let events = [];
            for await (const event of eventsOf(body, () => (this.#lastSeen = Date.now()))) {
                const data = event.data ? JSON.parse(event.data) : {};
                const state = Number(event.id || 0);
                if (event.retry !== undefined)
                    this.#retry = Math.min(event.retry, LONGEST_RETRY_AFTER);
                if (event.type === "displaced") return this.#setStatus("displaced");
                if (event.type === "ping") {
                    this.#publish(this.#heartbeat());
                    // The timers of a tab in the background may be late.
                    if (this.#tokens?.left <= 0) this.keepToken();
                }
                if (event.type === "unread") this.#publish({ kind: "unread", counts: data });
                if (event.type.startsWith("message.")) events.push(data);
                if (event.type === "reset") {
                    [events, this.#state] = [[], state || Number(data.state)];
                    this.#base = this.#state;
                    this.#publish({ kind: "reload" });
                } else if (state > this.#state) {
                    this.#publishChanges({ ...this.#heartbeat(), state, events });
                    events = [];
                }
            }
        } finally {
            signal.removeEventListener("abort", abort);
            this.#dropStream = nothing;
            this.#isStreaming = false;
        }
    }

    #publishChanges(changes) {
        this.#state = changes.state;
        this.#publish(changes);
    }

    /** An update without changes: by it a copy with an older state notices that it missed some. */
    #heartbeat() {
        const [base, state] = [this.#base, this.#state];
        return { kind: "changes", base, since: state, state, events: [] };
    }

    #setStatus(status) {
        if (this.status !== status) this.#publish({ kind: "status", status });
    }

    /** Hands an update to the mailboxes of all tabs. */
    #publish(update) {
        this.#channel?.postMessage(update);
        this.#deliver(update);
    }

    /** Hands an update to the mailboxes of this tab. */
    #deliver(update) {
        if (update.kind === "status") [this.status, this.reason] = [update.status, update.reason];
        for (const mailbox of this.#subscribers) mailbox.receive(update);
    }

    #onChannelMessage(update) {
        if (this.#isLeader && update.kind === "hello") {
            this.#channel.postMessage({ kind: "status", status: this.status });
            this.#channel.postMessage(this.#heartbeat());
        } else if (this.#isLeader && update.kind === "renew") {
            this.#answer(update);
        } else if (update.status === "ended") {
            this.#finish(update);
        } else if (!this.#isLeader && update.kind === "token") {
            if (update.token) this.#tokens.shared = update;
            this.#answered(!update.token);
        } else if (!this.#isLeader && !["hello", "renew"].includes(update.kind)) {
            this.#lastSeen = Date.now();
            if (update.kind === "changes") [this.#base, this.#state] = [update.base, update.state];
            this.#deliver(update);
        }
    }

    /** Gives up a stream, or a leading tab, that has been silent for too long. */
    #checkSilence() {
        if (this.status === "displaced") return;
        const silence = Date.now() - this.#lastSeen;
        if (this.#isLeader && silence > STREAM_TIMEOUT) this.#dropStream();
        if (!this.#isLeader && silence > LEADER_TIMEOUT) {
            this.#lastSeen = Date.now();
            this.#waitForLock({ steal: true });
        }
    }

    /**
     * The network is back, or the page is visible again: replaces a stream that has been silent for
     * at least `silence`, and ends the current pause.
     */
    #reconnect(silence) {
        if (globalThis.document?.visibilityState === "hidden" && silence) return;
        if (Date.now() - this.#lastSeen >= silence) this.#dropStream();
        this.#wake();
        this.keepToken();
    }
}

/**
 * Parses a stream of server-sent events as the HTML standard says. An event has a `type`, and `id`,
 * `data` and `retry` if they were sent.
 * @param {ReadableStream<Uint8Array>} body
 * @param {() => void} [onData] Called for each chunk of bytes.
 * @returns {AsyncGenerator<ServerEvent, void, void>}
 */
export async function* eventsOf(body, onData = nothing) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let [rest, afterCr] = ["", false];
    /** @type {ServerEvent} */
    let event = { type: "" };
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            onData();
            let text = decoder.decode(value, { stream: true });
            if (!text) continue;
            // CR LF is one line break, even if the two come in different chunks.
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

/** Whether a retry is pointless: logged out, revoked, or not allowed. */
function isFinal({ status, code }) {
    return [401, 403].includes(status) || ["ended", "server_key_in_browser"].includes(code);
}

/** Whether tabs can find each other. */
function canShare() {
    return globalThis.navigator?.locks && globalThis.BroadcastChannel;
}

/** A token that may be in a browser, and that a header can carry. */
function checked(token) {
    if (typeof token !== "string" || !/^[!-~]+$/.test(token)) {
        const expected = "a token is visible ASCII; getToken returns one, {token, …} or null";
        throw failure("no_token", new TypeError(expected));
    }
    if (token.startsWith("prk_")) throw failure("server_key_in_browser");
    return token;
}

/** When a JWT ends. The other tokens do not say it. */
function endOf(token) {
    try {
        const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
        return JSON.parse(atob(payload)).exp * 1_000;
    } catch {
        return NaN;
    }
}

/** Waits for a value, but no longer than until the signal aborts. */
function unlessAborted(value, signal) {
    return new Promise((resolve, reject) => {
        const abort = () => reject(withoutResponse(signal.reason, signal));
        const forget = () => signal?.removeEventListener("abort", abort);
        signal?.addEventListener("abort", abort);
        Promise.resolve(value).then(resolve, reject).finally(forget);
        if (signal?.aborted) abort();
    });
}

/** A message as lists show it. @param {Message} message @param {number} user @returns {Item} */
function toItem({ body, metadata: _, to, ...message }, user) {
    const own = to.slice(NAMED).find(({ id }) => id === user);
    const named = own ? [...to.slice(0, NAMED - 1), own] : to.slice(0, NAMED);
    const snippet = [...body.slice(0, 280)].slice(0, 140).join("");
    return { ...message, to: named, to_count: to.length, snippet };
}

/** Whether a folder of the user with this id shows the message. */
function isIn(folder, message, user) {
    const { archived_at: archived, trashed_at: trashed } = message;
    if (folder === "trash" || trashed) return folder === "trash" && !!trashed;
    if (folder === "all") return true;
    if (folder === "archive" || archived) return folder === "archive" && !!archived;
    return folder === "sent" ? message.from.id === user : message.to.some(({ id }) => id === user);
}

/** Where a message is, or would be inserted, in a list that begins with the newest. */
function indexOf(list, id) {
    let [low, high] = [0, list.length];
    while (low < high) {
        const middle = (low + high) >> 1;
        if (list[middle].id > id) low = middle + 1;
        else high = middle;
    }
    return low;
}

function backoff(failures) {
    return Math.random() * Math.min(LONGEST_RETRY, FIRST_RETRY * 2 ** failures);
}

/**
 * Waits until the time is over or the signal aborts; `onStart` gets a function to end it early.
 * @param {number} time @param {AbortSignal} [signal] @param {(wake: () => void) => void} [onStart]
 * @returns {Promise<void>}
 */
function pause(time, signal, onStart = nothing) {
    return new Promise((resolve) => {
        const wake = () => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", wake);
            resolve();
        };
        const timer = setTimeout(wake, time);
        signal?.addEventListener("abort", wake);
        onStart(wake);
        if (signal?.aborted) wake();
    });
}

/** The milliseconds of a `Retry-After`, which has seconds or a date. */
function milliseconds(header) {
    if (!header) return undefined;
    const wait = /^\d+$/.test(header) ? header * 1_000 : Date.parse(header) - Date.now();
    return Math.min(Math.max(wait || 0, 0), LONGEST_RETRY_AFTER);
}

function hex(bytes) {
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Tabs with the same token find each other by its hash, which does not reveal the token. */
async function hash(token) {
    const bytes = new TextEncoder().encode(token);
    const hashed = await globalThis.crypto.subtle?.digest("SHA-256", bytes);
    return hashed && hex(new Uint8Array(hashed));
}
