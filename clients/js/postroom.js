// Postroom for browsers: the calls of /v1, and live copies of mailbox folders.
// One file without dependencies. How to use it: docs/clients.md.

// All times are in milliseconds. The pause before a retry is random, up to these limits, so that
// clients who lost a server do not all come back at once.
const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 30_000;
/** A message is not sent again where the server asks for a longer pause. */
const LONGEST_WAIT = 60_000;
/** How long a call takes at most, with all that it waits for. */
const CALL_TIMEOUT = 30_000;
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
/** The most updates that a mailbox queues. */
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
/** How long a mailbox that is opened waits for the first token while the app cannot be asked. */
const FIRST_TOKEN = 20_000;
/** How long a tab waits for the token of the leading one before it asks for its own. */
const LEADER_ANSWER = 10_000;
/** The same while it is in doubt whose page this is. */
const ANSWER_IN_DOUBT = 2_000;
/** The longest time of a timer. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * @typedef {number | string} Id  A whole number, or its digits.
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

/** Why there is no usable response; what was aborted has its own reason. */
function withoutResponse(cause, signal) {
    if (signal?.aborted) return signal.reason;
    return failure(cause instanceof SyntaxError ? "unexpected_response" : "network", cause);
}

/** The id of a message or conversation: anything else could name another resource. @param {Id} id */
function idOf(id) {
    const parsed = typeof id === "string" && /^\d+$/.test(id) ? Number(id) : id;
    if (typeof parsed === "number" && Number.isSafeInteger(parsed) && parsed > 0) return parsed;
    throw new TypeError("An id must be a whole number, or its digits.");
}

/** A copy in which these members, where they are there, are ids. */
function withIds(given, names) {
    const ids = names.filter((name) => name in given).map((name) => [name, idOf(given[name])]);
    return { ...given, ...Object.fromEntries(ids) };
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
    /**
     * Whose calls these are, by cookie: a call that names a user is refused as soon as the session
     * of the browser is another user's. @type {number | undefined}
     */
    #user;
    /** Ends the calls of a client that is there for a while. @type {AbortSignal | undefined} */
    #signal;
    /** What a client and those that `with` makes of it have in common. */
    #shared = { csrf: undefined, /** @type {Feed | undefined} */ feed: undefined };

    /**
     * @param {{ url?: string, getToken?: () => Given | Promise<Given>, token?: string }} [options]
     *     Without `url`, the server of the page is called. `getToken` asks the app for a token of
     *     the user who is signed in to it; if it throws, it is called again later. Without
     *     `getToken` and `token`, the session cookie is used.
     */
    constructor({ url = "", getToken, token } = {}) {
        this.#url = new URL(`${url}/`, globalThis.location?.href).href.replace(/\/+$/, "");
        if (token !== undefined) this.#token = checked(token);
        const owner = (given, signal) =>
            this.#exchange("GET", "/v1/users/me", undefined, { token: given, signal });
        if (getToken) this.#tokens = new Tokens(getToken, owner, `postroom ${this.#url} app`);
    }

    /**
     * @internal The same client, for calls that are one user's, also when another logs in, or for
     * calls that end with a signal.
     * @param {{ user?: number, signal?: AbortSignal }} by
     */
    with({ user = this.#user, signal }) {
        const copy = new Postroom({ url: this.#url });
        [copy.#token, copy.#tokens, copy.#shared] = [this.#token, this.#tokens, this.#shared];
        [copy.#user, copy.#signal] = [user, signal];
        return copy;
    }

    /**
     * Makes any call of the API and returns the JSON of the response, or null for a 204.
     * @param {string} method @param {string} path It begins with `/v1/`. @param {object} [body]
     * @param {{ headers?: object, signal?: AbortSignal }} [options]
     * @returns {Promise<any>}
     * @throws {Problem} Within 30 seconds at most.
     */
    async request(method, path, body, { headers, signal } = {}) {
        return this.#request(method, path, body, { headers, signal });
    }

    /**
     * @param {string} method @param {string} path @param {object} [body]
     * @param {{ headers?: object, signal?: AbortSignal, isOpen?: boolean }} [options] `isOpen`: it
     *     is no call of a user, or one that says who the user is.
     */
    #request(method, path, body, { headers, signal = this.#signal, isOpen } = {}) {
        return within(signal, async (inner) => {
            const options = { headers, signal: inner, isOpen };
            return contentOf(await this.#call(method, path, body, options), inner);
        });
    }

    /**
     * Like `request`, but returns the `Response` itself as soon as it begins, for streams: what comes
     * then has no timeout.
     * @param {string} method @param {string} path @param {object} [body]
     * @param {{ headers?: object, signal?: AbortSignal }} [options]
     * @returns {Promise<Response>}
     */
    async fetch(method, path, body, { headers, signal } = {}) {
        const call = (inner) => this.#call(method, path, body, { headers, signal: inner });
        return within(signal, call, true);
    }

    /**
     * One call, with what it needs before: the user, a token of the app, the CSRF token.
     * @param {string} method @param {string} path @param {object} [body]
     * @param {{ headers?: object, signal?: AbortSignal, isOpen?: boolean }} [options]
     */
    async #call(method, path, body, { headers, signal, isOpen } = {}) {
        const needsCsrf = method !== "GET" && this.#isByCookie();
        let [user, token] = [undefined, this.#token];
        if (this.#isByCookie() && !isOpen) {
            user = await this.#whose(signal).catch((error) => {
                // Without a session there are calls as well.
                if (error?.status !== 401) throw error;
            });
        }
        if (this.#tokens) token = await this.#tokens.current();
        for (let retries = 0; ; retries += 1) {
            const sent = { ...headers, ...(user && { "Postroom-If-User": user }) };
            if (needsCsrf) sent["X-CSRFToken"] = this.#shared.csrf ||= await this.#fetchCsrf(signal);
            try {
                return await this.#exchange(method, path, body, { headers: sent, signal, token });
            } catch (error) {
                if (signal.aborted) throw error;
                if (user && error.code === "another_user") throw this.#isAnother(user, error);
                // A login in another tab replaces the CSRF cookie.
                if (needsCsrf && error.code === "csrf" && !retries) this.#shared.csrf = undefined;
                else if (!this.#tokens || !isRefused(error)) throw error;
                // The first one of another tab may be refused as well; the next one is fresh.
                else if (retries > 1) throw this.#tokens.end(error.code, ended(error.code, error));
                else token = await this.#tokens.renew(token, true);
            }
        }
    }

    /** Somebody else has logged in with this browser. Returns the error for the caller. */
    #isAnother(user, cause) {
        const { feed } = this.#shared;
        if (feed?.user === user) feed.end("another_user");
        return ended("another_user", cause);
    }

    /** The user whose calls these are. */
    async #whose(signal) {
        return this.#user ?? (await this.#me(signal)).id;
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
        const problem = await response.json().catch((cause) => {
            if (!(cause instanceof SyntaxError)) throw withoutResponse(cause, signal);
        });
        const isOurs = typeof problem?.code === "string";
        const { code, errors, detail, title } = isOurs ? problem : { code: "unexpected_response" };
        const message = detail || title || `The server answered ${status}.`;
        throw new Problem(message, { status, code, errors, retryAfter });
    }

    #isByCookie() {
        return !this.#token && !this.#tokens;
    }

    async #fetchCsrf(signal) {
        const asked = this.#request("GET", "/v1/csrf", undefined, { signal, isOpen: true });
        return (await expect(asked, { csrf_token: "string" })).csrf_token;
    }

    /**
     * Creates an account. It does not log in.
     * @param {{ username: string, email: string, password: string, display_name?: string }} account
     */
    register(account) {
        return expect(this.#request("POST", "/v1/users", account, { isOpen: true }), WITH_ID);
    }

    /**
     * Starts a session in this browser. Mailboxes of another user who had one end.
     * @param {string} username @param {string} password @returns {Promise<Person>} The user.
     */
    async login(username, password) {
        const given = { username, password };
        const asked = this.#request("POST", "/v1/sessions", given, { isOpen: true });
        const { csrf_token: csrf, user } = await expect(asked, {
            csrf_token: "string",
            user: "object",
        });
        [this.#shared.csrf, this.#user] = [csrf, user.id];
        const { feed } = this.#shared;
        if (this.#isByCookie() && feed?.user !== user.id) feed?.end("another_user");
        return user;
    }

    /**
     * Ends the session, and with it the open mailboxes in all tabs. With `getToken` there is no
     * session, and the user's clients in all tabs end: call it when the user signs out of the app.
     */
    async logout() {
        if (this.#tokens) return void this.#tokens.signOut();
        const isOpen = this.#user === undefined;
        await expect(this.#request("DELETE", "/v1/sessions/current", undefined, { isOpen }), null);
        this.#user = undefined;
        this.#shared.feed?.end("signed_out");
    }

    /** The user's own account. @returns {Promise<Person & Record<string, any>>} */
    me() {
        return this.#me();
    }

    async #me(signal = this.#signal) {
        const options = { signal, isOpen: this.#user === undefined };
        const me = await expect(this.#request("GET", "/v1/users/me", undefined, options), WITH_ID);
        this.#user ??= me.id;
        return me;
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
    async listMessages(filter = {}) {
        if ("conversation" in filter) idOf(filter.conversation);
        const query = new URLSearchParams(filter);
        return expect(this.request("GET", `/v1/messages?${query}`), LIST);
    }

    /**
     * The whole message. This does not mark it as read.
     * @param {Id} id @returns {Promise<Message>}
     */
    async getMessage(id) {
        const asked = this.request("GET", `/v1/messages/${idOf(id)}`);
        return expect(asked, { ...WITH_ID, body: "string" });
    }

    /**
     * Sets or removes marks of a message.
     * @param {Id} id @param {Marks} marks @returns {Promise<Message>} The message as it is now.
     */
    async mark(id, marks) {
        checkNames(marks);
        return expect(this.request("PATCH", `/v1/messages/${idOf(id)}`, marks), WITH_ID);
    }

    /** Deletes a message from the user's own mailbox, for good. @param {Id} id */
    async delete(id) {
        return expect(this.request("DELETE", `/v1/messages/${idOf(id)}`), null);
    }

    /**
     * Marks or deletes up to 1,000 messages: those with the `ids`, or those that fit the `filter`
     * and are not newer than the message `upTo`. `next_cursor` is the `cursor` of the next call.
     * @param {{ ids?: Id[], filter?: object, upTo?: Id, cursor?: string,
     *     set?: Marks, delete?: true }} batch
     * @returns {Promise<{ updated: number[], destroyed: number[], not_found: number[],
     *     next_cursor: string | null }>}
     */
    async batch(batch) {
        checkNames(batch, ["ids", "filter", "upTo", "cursor", "set", "delete"]);
        const { upTo, ...body } = withIds(batch, ["upTo"]);
        if ("ids" in body) body.ids = Array.from(body.ids, idOf);
        if ("filter" in body) body.filter = withIds(body.filter, ["conversation"]);
        const asked = this.request("POST", "/v1/messages/batch", { ...body, up_to: upTo });
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

    /** @param {Id} id @returns {Promise<Conversation>} */
    async getConversation(id) {
        return expect(this.request("GET", `/v1/conversations/${idOf(id)}`), WITH_ID);
    }

    /**
     * Marks the messages of a conversation as read, none that is newer than the message `upTo`.
     * @param {Id} id @param {{ upTo?: Id }} [options] @returns {Promise<Conversation>}
     */
    async markConversationRead(id, options = {}) {
        checkNames(options, ["upTo"]);
        const body = { read: true, up_to: withIds(options, ["upTo"]).upTo };
        return expect(this.request("PATCH", `/v1/conversations/${idOf(id)}`, body), WITH_ID);
    }

    /**
     * Moves a conversation to the trash, but no message that is newer than the message `upTo`.
     * @param {Id} id @param {{ upTo?: Id }} [options]
     */
    async deleteConversation(id, options = {}) {
        checkNames(options, ["upTo"]);
        const query = "upTo" in options ? `?up_to=${idOf(options.upTo)}` : "";
        return expect(this.request("DELETE", `/v1/conversations/${idOf(id)}${query}`), null);
    }

    /**
     * Mutes a conversation: the app should not notify about it.
     * @param {Id} id @param {boolean} [muted] @returns {Promise<Conversation>}
     */
    async muteConversation(id, muted = true) {
        const asked = this.request("PATCH", `/v1/conversations/${idOf(id)}`, { muted });
        return expect(asked, WITH_ID);
    }

    /**
     * Sends a message exactly once: if no response arrives, it is sent again with the same
     * idempotency key.
     * @param {{ to?: (number | string)[], subject?: string, body: string, in_reply_to?: Id,
     *     client_id?: string, metadata?: object }} message
     * @returns {Promise<Message & { refused: { to: number | string, code: string }[] }>}
     */
    async send(message) {
        // A reply without recipients goes to everybody whom the message before names.
        if ("to" in message) checkNames({ to: message.to });
        const answered = message.in_reply_to ?? undefined;
        const body = answered === undefined ? message : withIds(message, ["in_reply_to"]);
        const headers = { "Idempotency-Key": hex(crypto.getRandomValues(new Uint8Array(16))) };
        let sender;
        for (let retries = 0; ; retries += 1) {
            try {
                // Between two attempts another user may log in with this browser.
                sender ??= this.#isByCookie() ? this.with({ user: await this.#whose() }) : this;
                const asked = sender.request("POST", "/v1/messages", body, { headers });
                return await expect(asked, WITH_ID);
            } catch (error) {
                const unknown =
                    error instanceof Problem && [undefined, 502, 503, 504].includes(error.status);
                const canRetry =
                    (unknown && !isFinal(error)) || error.code === "request_in_progress";
                const isLong = error.retryAfter > LONGEST_WAIT;
                if (retries === SEND_RETRIES || !canRetry || isLong) throw error;
                await pause(error.retryAfter || backoff(retries));
            }
        }
    }

    /**
     * Loads a folder and keeps the copy up to date until it is closed. Where `getToken` fails, it
     * is called again and again, for 20 seconds.
     * @param {{ folder?: Folder, limit?: number }} [options] `limit` is the size of a page.
     * @returns {Promise<Mailbox>}
     */
    async openMailbox({ folder = "inbox", limit = 50 } = {}) {
        return within(undefined, async (signal) => {
            const user = await (this.#tokens?.first(signal) ?? this.#whose(signal));
            const feed = await this.#feedOf(user);
            const mailbox = new Mailbox(feed, folder, limit);
            await mailbox.load(this.with({ user, signal })).catch((error) => {
                mailbox.close();
                throw error;
            });
            // The user may have signed out meanwhile.
            if (feed.over) throw ended(feed.reason);
            feed.start(mailbox.state);
            return mailbox;
        });
    }

    /** The feed of a user: the one that there is, if it is theirs, or a new one. */
    async #feedOf(user) {
        // Tabs share a stream if it shows them the same: one user, or one token.
        const who = this.#token ? await hash(this.#token) : `user ${user}`;
        const name = this.#tokens?.name ?? (who && `postroom ${this.#url} ${who}`);
        const { feed } = this.#shared;
        if (feed && !feed.over && feed.user === user) return feed;
        this.#shared.feed = new Feed(this.with({ user }), user, name, this.#tokens);
        if (this.#tokens) this.#tokens.feed = this.#shared.feed;
        return this.#shared.feed;
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
    /** When the token came, and how long after that to ask for the next one. */
    #since = now();
    #wait = Infinity;
    /** Whether the token may be that of a user who has signed out of the app. */
    isInDoubt = false;
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
        return this.isInDoubt ? 0 : this.#wait - elapsed(this.#since);
    }

    /** The token to send. One that is due is good for a while, and nobody waits for the next one. */
    async current() {
        if (this.over) throw this.over;
        if (!this.#token || this.isInDoubt) return this.renew();
        if (this.left <= 0) this.renew().catch(nothing);
        return this.#token;
    }

    /** The user, as soon as there is a token; the app is asked again for a while if it gives none. */
    async first(signal) {
        const started = now();
        for (let failures = 0; ; failures += 1) {
            try {
                await this.current();
                return this.user;
            } catch (error) {
                const left = FIRST_TOKEN - elapsed(started);
                if (error.code !== "no_token" || left <= 0) throw error;
                await pause(Math.min(backoff(failures), left), signal);
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
        if (this.#token !== old && !this.isInDoubt) return this.#token;
        const begun = this.#asking;
        this.#asking ||= within(undefined, (signal) => this.#renew(old, isRefused, signal)).finally(
            () => (this.#asking = undefined),
        );
        return this.#asking.catch((error) => {
            // What was lost before this call began is no answer to it.
            const isLost = begun && ["network", "timeout"].includes(error.code);
            if (isLost) return this.renew(old, isRefused);
            throw error;
        });
    }

    async #renew(old, isRefused, signal) {
        await this.feed?.askLeader(old, isRefused, signal);
        if (this.over) throw this.over;
        if (this.#token === old || this.isInDoubt) await this.#ask(isRefused, signal);
        return this.#token;
    }

    /** Asks the app, and once more if the server refuses what it gave. */
    async #ask(isLast, signal) {
        const { token, expires_at: end } = await this.#call(signal);
        let response;
        try {
            response = await this.#owner(token, signal);
        } catch (error) {
            if (isRefused(error) && !isLast) return this.#ask(true, signal);
            throw isFinal(error) ? this.end(error.code, ended(error.code, error)) : error;
        }
        const { id } = await expect(contentOf(response, signal), WITH_ID);
        if (this.over) throw this.over;
        if (this.user !== undefined && this.user !== id) throw this.end("another_user");
        if (this.user === undefined) this.#announce(id);
        this.user = id;
        // By the server's clock: that of the browser may be wrong.
        const time = Date.parse(response.headers.get("date")) || Date.now();
        const left = (Date.parse(end) || endOf(token) || time + USUAL_LIFE) - time;
        const wait = Math.max(left - RENEWAL, left / 2, SHORTEST_RENEWAL);
        this.shared = { token, left: left > 0 ? wait : Infinity };
        this.feed?.handOut();
    }

    async #call(signal) {
        let given;
        try {
            given = await unlessAborted(this.#getToken(), signal);
        } catch (cause) {
            throw signal.aborted ? cause : failure("no_token", cause);
        }
        if (given === null) throw this.signOut();
        given = typeof given === "string" ? { token: given } : given;
        try {
            return { ...given, token: checked(given?.token) };
        } catch (error) {
            throw isFinal(error) ? this.end(error.code, error) : error;
        }
    }

    /** The token, and in how long the next one is due, for the other tabs of this user. */
    get shared() {
        return { token: this.#token, left: this.left };
    }

    set shared({ token, left }) {
        [this.#token, this.#since, this.#wait, this.isInDoubt] = [token, now(), left, false];
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
            this.isInDoubt = true;
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
    constructor(feed, folder, limit) {
        super();
        [this.#client, this.#feed, this.#folder, this.#limit] = [feed.client, feed, folder, limit];
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
        const begin = (signal, resolve, reject) => {
            const obstacle = this.#end() || this.#obstacle;
            if (obstacle) reject(obstacle);
            else this.receive({ kind: "more", signal, resolve, reject });
        };
        return within(undefined, (signal) => new Promise((...ends) => begin(signal, ...ends)));
    }

    /**
     * Sets or removes marks of a message, and shows it at once.
     * @param {Id} id @param {Marks} marks
     */
    async mark(id, marks) {
        this.#confirmUser();
        const { state } = this;
        const message = toItem(await this.#client.mark(id, marks), this.#feed.user);
        this.receive({ kind: "own", state, event: { id: message.id, message } });
    }

    /** Deletes a message for good, and shows it at once. @param {Id} id */
    async delete(id) {
        this.#confirmUser();
        const { state } = this;
        await this.#client.delete(id);
        this.receive({ kind: "own", state, event: { id: idOf(id) } });
    }

    /**
     * Marks a conversation as read, up to its newest message that this copy shows.
     * @param {Id} id @param {{ upTo?: Id }} [options] @returns {Promise<Conversation>}
     */
    async markConversationRead(id, options = {}) {
        checkNames(options, ["upTo"]);
        this.#confirmUser();
        const { upTo = this.#newestShown(id) } = options;
        return this.#client.markConversationRead(id, { upTo });
    }

    /**
     * Moves a conversation to the trash, up to its newest message that this copy shows.
     * @param {Id} id @param {{ upTo?: Id }} [options]
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
        const id = idOf(conversation);
        const newest = this.messages.find((one) => one.conversation_id === id);
        if (!newest) throw failure("not_shown");
        return newest.id;
    }

    /** Why nothing more will be loaded. */
    #end() {
        return this.status === "ended" ? ended(this.reason) : this.#closed && failure("closed");
    }

    /** After the end nothing is sent. Until then the server refuses what is no longer this user's. */
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
    async load(client) {
        await this.#reload(client);
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
        if (update.kind === "more") {
            if (update.signal.aborted) return undefined;
            return this.#loadPage(update.signal).then(update.resolve);
        }
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

    async #reload(client = this.#client) {
        const wanted = this.messages.length;
        const [folder, limit] = [this.#folder, this.#limit];
        const first = await client.listMessages({ folder, limit });
        // The counts after the list: a gap is detected by the state of the list, not of the counts.
        const counts = await client.getUnread();
        let { data: list, next_cursor: next } = first;
        // As much as was shown is loaded again. Later pages may be newer than the state of the
        // first one: changes in between are reported again, which changes nothing.
        while (next && list.length < wanted) {
            const query = { folder, limit: PAGE, cursor: next };
            const page = await client.listMessages(query);
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

    async #loadPage(signal) {
        if (!this.hasMore) return;
        const query = { folder: this.#folder, limit: this.#limit, cursor: this.#nextCursor };
        const client = this.#client.with({ signal });
        const { data, next_cursor: next } = await client.listMessages(query);
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
    /** The name of the lock and of the channel; the tabs that share it show the same mailbox. */
    #name;
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
    #lastSeen = now();
    /** How long the server wants clients to wait after it has ended a stream. */
    #retry;
    #stop = new AbortController();
    /** Ends the current pause. */
    #wake = nothing;
    /** Closes the current stream. */
    #dropStream = nothing;

    /**
     * @param {Postroom} client Its calls are those of the user, and of nobody else.
     * @param {number} user @param {string | undefined} name @param {Tokens} [tokens]
     */
    constructor(client, user, name, tokens) {
        this.client = client;
        this.user = user;
        [this.#name, this.#tokens] = [name, tokens];
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

    /**
     * Waits for another token than the old one from the leading tab, if there is one. Where the
     * user may have signed out, a leading tab that sleeps or cannot reach its app is no excuse.
     */
    async askLeader(old, isRefused, signal) {
        if (this.#isLeader || !this.#channel) return;
        this.#channel.postMessage({ kind: "renew", old, isRefused });
        let hasFailed = false;
        await pause(this.#tokens.isInDoubt ? ANSWER_IN_DOUBT : LEADER_ANSWER, signal, (wake) => {
            this.#answered = (failed = false) => {
                hasFailed = failed;
                wake();
            };
        });
        this.#answered = nothing;
        if (hasFailed && !this.#tokens.isInDoubt) throw failure("no_token");
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

    /** Has the leading tab ask for the next token when it is due, and every tab that is in doubt. */
    keepToken(failures = 0) {
        clearTimeout(this.#renewal);
        if (!this.#tokens || this.over) return;
        if (!this.#isLeader && !this.#tokens.isInDoubt) return;
        const again = (next, wait) => {
            clearTimeout(this.#renewal);
            this.#renewal = setTimeout(() => this.keepToken(next), wait);
        };
        const { left } = this.#tokens;
        if (left > 0) return again(0, Math.min(left, LONGEST_TIMER));
        this.#tokens.renew().catch(({ retryAfter }) => {
            if (this.over) return;
            if (this.#isLeader && this.status !== "displaced") this.#setStatus("offline");
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
        const asked = expect(this.client.request("GET", path), { ...kinds, new_state: "string" });
        const found = await asked.catch((error) => {
            if (error.code !== "cannot_calculate_changes") throw error;
        });
        if (!found || found.has_more) return { kind: "reload" };
        const events = found.destroyed.map((id) => ({ id }));
        const updated = new Set(found.updated);
        // One after the other: beside the stream, a browser needs one connection.
        for (const id of [...found.created, ...updated]) {
            const message = await this.client.getMessage(id).catch((error) => {
                // It was destroyed meanwhile, which will be reported.
                if (error.status !== 404) throw error;
            });
            if (message)
                events.push({ id, message: toItem(message, this.user), isNew: !updated.has(id) });
        }
        const counts = await this.client.getUnread();
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
            const started = now();
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
            failures = elapsed(started) > STABLE_STREAM ? 0 : failures + 1;
            await pause(wait || backoff(failures), signal, (wake) => {
                if (!wait) this.#wake = wake;
            });
        }
        this.#isLeader = false;
    }

    /** Publishes what happened while there was no stream. */
    async #publishMissed() {
        const missed = await this.changesSince(this.#state);
        if (missed.kind === "changes") return this.#publishChanges(missed);
        this.#state = Number((await this.client.getUnread()).state);
        this.#publish(missed);
    }

    /** Opens a stream of events and publishes them until it ends. */
    async #readStream(signal) {
        const aborter = new AbortController();
        const abort = () => aborter.abort();
        signal.addEventListener("abort", abort);
        if (signal.aborted) abort();
        [this.#dropStream, this.#lastSeen, this.#retry] = [abort, now(), undefined];
        this.#base = this.#state;
        try {
            const headers = { Accept: "text/event-stream" };
            const path = `/v1/events?since=${this.#state}`;
            const options = { headers, signal: aborter.signal };
            const response = await this.client.fetch("GET", path, undefined, options);
            const { body } = response;
            const kind = response.headers.get("content-type");
            if (!kind?.startsWith("text/event-stream")) throw failure("unexpected_response");
            this.#isStreaming = true;
            this.#setStatus("live");
            let events = [];
            for await (const event of eventsOf(body, () => (this.#lastSeen = now()))) {
                const data = event.data ? JSON.parse(event.data) : {};
                const state = Number(event.id || 0);
                if (event.retry !== undefined)
                    this.#retry = Math.min(event.retry, LONGEST_TIMER);
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
            this.#lastSeen = now();
            if (update.kind === "changes") [this.#base, this.#state] = [update.base, update.state];
            this.#deliver(update);
        }
    }

    /** Gives up a stream, or a leading tab, that has been silent for too long. */
    #checkSilence() {
        if (this.status === "displaced") return;
        const silence = elapsed(this.#lastSeen);
        if (this.#isLeader && silence > STREAM_TIMEOUT) this.#dropStream();
        if (!this.#isLeader && silence > LEADER_TIMEOUT) {
            this.#lastSeen = now();
            this.#waitForLock({ steal: true });
        }
    }

    /**
     * The network is back, or the page is visible again: replaces a stream that has been silent for
     * at least `silence`, and ends the current pause.
     */
    #reconnect(silence) {
        if (globalThis.document?.visibilityState === "hidden" && silence) return;
        if (elapsed(this.#lastSeen) >= silence) this.#dropStream();
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

/** Whether the server has refused the session or token. A JWT of an erased user gets 410. */
function isRefused({ status, code }) {
    return status === 401 || code === "user_erased";
}

/** Whether a retry is pointless: logged out, revoked, or not allowed. */
function isFinal(error) {
    const { status, code } = error;
    return isRefused(error) || status === 403 || ["ended", "server_key_in_browser"].includes(code);
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

/** Now, by both clocks: one stands still while the machine sleeps, the other one can be set. */
function now() {
    return [performance.now(), Date.now()];
}

/** The milliseconds since then, by the clock that went further. */
function elapsed(then) {
    return Math.max(...now().map((time, clock) => time - then[clock]));
}

/**
 * Does the work of a call: whatever it asks or waits for ends with the caller's signal, with the
 * reason of that, or as soon as the time of the call is over.
 * @template T
 * @param {AbortSignal | undefined} outer @param {(signal: AbortSignal) => Promise<T>} work
 * @param {boolean} [isOpen] Whether the caller's signal counts for what is done with the result too.
 * @returns {Promise<T>}
 */
async function within(outer, work, isOpen = false) {
    if (outer?.aborted) throw outer.reason;
    // Not `AbortSignal.any`: Node forgets a timeout that nothing else refers to, and never aborts.
    const inner = new AbortController();
    const cause = new DOMException("It took too long.", "TimeoutError");
    const timer = setTimeout(() => inner.abort(failure("timeout", cause)), CALL_TIMEOUT);
    const pass = () => inner.abort(outer.reason);
    outer?.addEventListener("abort", pass, { once: true });
    try {
        return await unlessAborted(work(inner.signal), inner.signal);
    } finally {
        clearTimeout(timer);
        if (!isOpen) outer?.removeEventListener("abort", pass);
    }
}

/** Waits for a value, but no longer than until the signal aborts. */
function unlessAborted(value, signal) {
    return new Promise((resolve, reject) => {
        const abort = () => reject(signal.reason);
        const forget = () => signal.removeEventListener("abort", abort);
        signal.addEventListener("abort", abort);
        Promise.resolve(value).then(resolve, reject).finally(forget);
        if (signal.aborted) abort();
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
    return Math.min(Math.max(wait || 0, 0), LONGEST_TIMER);
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
