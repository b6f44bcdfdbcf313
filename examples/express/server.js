// A club whose members write to each other. The club has its own sign-in; letters are Postroom's.
// This server only keeps the users in step and gives pages tokens: the pages call Postroom.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import express from "express";
import { mintToken, putUser, revoke, url } from "./backend.js";
import { Members } from "./members.js";

mkdirSync("data", { recursive: true });
const members = new Members("data/club.json");
const app = express();
app.use(express.json());

app.use((request, response, next) => {
    response.set("Content-Security-Policy", `default-src 'self'; connect-src 'self' ${url}`);
    const cookie = /(?:^|; )club=([0-9a-f]{64})/.exec(request.headers.cookie)?.[1];
    request.cookie = cookie;
    request.session = members.session(cookie);
    next();
});

/** Refuses those who are not signed in. */
const member = (request, response, next) => {
    if (request.session) next();
    else response.status(401).json({ error: "Sign in." });
};

/** Tells Postroom of members who are new or have a new name; what fails is tried again. */
async function tell() {
    for (const one of members.untold()) {
        const { version } = one;
        try {
            await putUser(one);
            members.isTold(one, version);
        } catch (error) {
            console.error(`Postroom does not know ${one.id} yet: ${error.message}`);
        }
    }
}
setInterval(tell, 5_000);

/** Ends the session of the browser, and the tokens that its pages have. */
async function signOut({ session, cookie }) {
    if (!session) return;
    members.closeSession(cookie);
    // The tokens would end by themselves a little later.
    await revoke(session.member, session.name).catch((error) => console.error(error.message));
}

async function signIn(request, response, one) {
    await signOut(request);
    const options = { httpOnly: true, sameSite: "lax", path: "/" };
    response.cookie("club", members.openSession(one), options).json({ name: one.name });
}

/** The text fields of a body; nothing after an answer that says which one is wrong. */
function texts(request, response, ...names) {
    const given = names.map((name) => request.body?.[name]);
    const pattern = /^[^\p{C}\s][^\p{C}]{0,98}[^\p{C}\s]$/u;
    const isText = (text) => typeof text === "string" && pattern.test(text);
    const wrong = names.find((_name, at) => !isText(given[at]));
    if (!wrong) return given;
    response.status(422).json({ error: `The ${wrong} needs 2 to 100 characters.` });
}

app.post("/join", async (request, response) => {
    const [name, password] = texts(request, response, "name", "password") ?? [];
    if (!name) return;
    const one = await members.join(name, password);
    if (!one) return response.status(409).json({ error: "That name is taken." });
    await tell();
    await signIn(request, response, one);
});

app.post("/sign-in", async (request, response) => {
    const [name, password] = texts(request, response, "name", "password") ?? [];
    if (!name) return;
    const one = await members.signIn(name, password);
    if (one) await signIn(request, response, one);
    else response.status(401).json({ error: "The name or the password is wrong." });
});

app.post("/sign-out", member, async (request, response) => {
    await signOut(request);
    response.clearCookie("club").json({});
});

app.post("/rename", member, async (request, response) => {
    const [name] = texts(request, response, "name") ?? [];
    if (!name) return;
    const done = members.rename(request.session.member, name);
    if (!done) return response.status(409).json({ error: "That name is taken." });
    await tell();
    response.json({ name });
});

app.get("/me", (request, response) => {
    const one = request.session?.member;
    response.json({ postroom: url, me: one ? { id: one.id, name: one.name } : null });
});

app.get("/members", member, (_request, response) => {
    response.json(members.list().map(({ id, name }) => ({ id, name })));
});

const refused = new Set(["user_deactivated", "user_erased", "name_reserved"]);

// What pages call as `getToken`.
app.get("/postroom-token", member, async (request, response) => {
    const { member: one, name } = request.session;
    response.set("Cache-Control", "no-store");
    try {
        response.json(await mintToken(one, name));
    } catch (error) {
        // What Postroom refuses a user for, it will refuse again: their pages end.
        error.status = refused.has(error.code) ? 401 : 502;
        throw error;
    }
});

app.get("/postroom.js", (_request, response) => {
    const file = fileURLToPath(import.meta.resolve("@postroom/client"));
    response.sendFile(file, { dotfiles: "allow" });
});
app.use(express.static("public"));

app.use((error, _request, response, _next) => {
    console.error(error.message);
    response.status(error.status ?? 502).json({ error: "That did not work. Try again." });
});

const port = Number(process.env.PORT ?? 3000);
app.listen(port, "127.0.0.1", () => console.log(`The club: http://localhost:${port}`));
