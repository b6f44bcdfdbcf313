/** Uses the TypeScript client that openapi-generator makes. Usage: node generated.js URL */

import * as made from "./client/index.js";

declare const process: { argv: string[] };
const password = "seven-white-geese";

function equal(found: unknown, wanted: unknown): void {
    const [one, other] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (one !== other) throw new Error(`${one}, not ${other}`);
}

async function refusal(call: Promise<unknown>): Promise<made.Problem> {
    try {
        await call;
    } catch (error) {
        if (!(error instanceof made.ResponseError)) throw error;
        return made.ProblemFromJSON(await error.response.json());
    }
    throw new Error("it must be refused");
}

const basePath = process.argv[2];
const stranger = new made.Configuration({ basePath });
const users = new made.UsersApi(stranger);
for (const username of ["ts-ann", "ts-bea"])
    await users.createUser({ newUser: { username, email: `${username}@example.org`, password } });
const newToken = { name: "ci", username: "ts-ann", password };
const { token } = await new made.TokensApi(stranger).createToken({ newToken });
const messages = new made.MessagesApi(new made.Configuration({ basePath, accessToken: token }));

const metadata = { colour: "grün", parts: [1, { a: null }] };
const sent: made.SentMessage[] = [];
for (let at = 0; at < 5; at++) {
    const to: made.UserRef[] = ["ts-bea", "nobody"];
    const newMessage = { to, subject: "Hello", body: `No. ${at}`, metadata };
    sent.push(await messages.sendMessage({ newMessage }));
}
const first = sent[0]!;
equal([first.subject, first.body, first.metadata], ["Hello", "No. 0", metadata]);
equal(
    first.refused.map(({ to, code }) => [to, code]),
    [["nobody", "unknown_recipient"]],
);
const newMessage = { inReplyTo: first.id, body: "Fine." };
const reply = await messages.sendMessage({ newMessage });
equal([reply.subject, reply.inReplyTo], ["Re: Hello", first.id]);

const listed: made.MessageItem[] = [];
let cursor: string | undefined;
do {
    const page = await messages.listMessages({ folder: "sent", limit: 2, cursor });
    listed.push(...page.data);
    cursor = page.nextCursor ?? undefined;
} while (cursor !== undefined);
equal(
    listed.map((item) => item.id),
    [reply, ...sent.reverse()].map((message) => message.id),
);
equal(listed[5]?.sentAt, first.sentAt);
const marked = await messages.markMessage({ id: first.id, marks: { starred: true } });
equal(marked.starredAt instanceof Date, true);

const unknown = await refusal(messages.sendMessage({ newMessage: { to: ["nobody"], body: "?" } }));
equal([unknown.status, unknown.code], [422, "unknown_recipient"]);
const newUser = { username: "a b", email: "a@example.org", password: "short" };
const invalid = await refusal(users.createUser({ newUser }));
equal(invalid.errors?.map((error) => error.pointer), ["#/username", "#/password"]);
console.log("the generated TypeScript client: sent, listed, paged, read problems");
