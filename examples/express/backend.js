// What the club's server asks of Postroom, with its server key. Members are named by the club's own
// ids (`ext:…`), so the club stores nothing of Postroom's.

export const url = process.env.POSTROOM_URL ?? "http://127.0.0.1:8000";
const key = process.env.POSTROOM_SERVER_KEY;

async function call(method, path, body) {
    const response = await fetch(url + path, {
        method,
        headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(10_000),
    });
    const answer = await response.json().catch(() => null);
    if (!response.ok) {
        const error = new Error(`${method} ${path}: ${answer?.detail ?? response.status}`);
        throw Object.assign(error, { code: answer?.code });
    }
    return answer;
}

/** The path of a member. */
const path = ({ id }) => `/v1/server/users/${encodeURIComponent(`ext:${id}`)}`;

/** What Postroom knows of a member. An older version never replaces a newer one. */
const profile = ({ name, version }) => ({ display_name: name, version });

/** Makes the user, or brings it up to date. */
export const putUser = (member) => call("PUT", path(member), profile(member));

/** A token for a page of this member; the user is made if it is not there yet. */
export const mintToken = (member, session) =>
    call("POST", "/v1/server/tokens", {
        user: `ext:${member.id}`,
        create: profile(member),
        session,
        expires_in: Number(process.env.TOKEN_SECONDS ?? 900),
    });

/** Ends the tokens of one of the member's sessions, and the pages that use them. */
export const revoke = (member, session) => call("POST", `${path(member)}/revoke`, { session });
