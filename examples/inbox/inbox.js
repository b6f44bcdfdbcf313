// An inbox that lives: what the server tells appears, in all tabs, with nothing loaded anew.
// Whatever users wrote goes into the page as text, never as markup.

import { Postroom } from "./postroom.js";

const client = new Postroom();
/** @type {import("./postroom.js").Mailbox | undefined} */
let mailbox;
let open;
let answers;

const $ = (id) => document.getElementById(id);
const names = (people) => people.map((person) => person.display_name).join(", ");
const STATES = {
    connecting: "Connecting…",
    live: "Live",
    offline: "Offline, trying again…",
    ended: "Signed out",
};

/** A time of today as a time, any other as a day. */
function when(text) {
    const date = new Date(text);
    const today = date.toDateString() === new Date().toDateString();
    const style = today ? { timeStyle: "short" } : { dateStyle: "medium" };
    return new Intl.DateTimeFormat(undefined, style).format(date);
}

function make(tag, name) {
    const element = document.createElement(tag);
    element.className = name;
    return element;
}

// The list.

/** The row of a message; rows stay the same, so that none loses the focus. */
const rows = new Map();

function newRow(id) {
    const row = make("li", "");
    const button = make("button", "row");
    button.type = "button";
    button.addEventListener("click", () => show(id).catch(complain));
    const parts = ["from", "at", "subject", "snippet"].map((name) => make("span", name));
    button.append(...parts);
    row.append(button);
    rows.set(id, { row, button, parts });
    return rows.get(id);
}

function fill({ row, button, parts }, message) {
    const unread = !message.read_at;
    const [from, at, subject, snippet] = parts;
    from.textContent = message.from.display_name;
    at.textContent = when(message.sent_at);
    subject.textContent = message.subject || "(no subject)";
    snippet.textContent = message.snippet;
    row.className = unread ? "unread" : "";
    const said = [unread ? "Unread" : "", message.from.display_name, subject.textContent];
    button.setAttribute("aria-label", said.filter(Boolean).join(", "));
    if (message.id === open) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
}

function render() {
    const { messages } = mailbox;
    const ids = new Set(messages.map(({ id }) => id));
    for (const [id, { row }] of rows) {
        if (ids.has(id)) continue;
        row.remove();
        rows.delete(id);
    }
    let next = $("messages").firstElementChild;
    for (const message of messages) {
        const shown = rows.get(message.id) || newRow(message.id);
        fill(shown, message);
        if (shown.row === next) next = next.nextElementSibling;
        else $("messages").insertBefore(shown.row, next);
    }
    $("none").hidden = messages.length > 0;
    $("older").hidden = mailbox.complete;
    if (open && !ids.has(open)) close();
}

function count() {
    const { messages } = mailbox ? mailbox.unread : { messages: 0 };
    $("badge").hidden = !messages;
    $("badge").textContent = messages;
    $("badge").setAttribute("aria-label", `${messages} unread`);
    document.title = messages ? `(${messages}) Inbox` : "Inbox";
}

function state() {
    const now = mailbox ? mailbox.state : "";
    $("state").textContent = STATES[now] || "";
    $("state").className = now;
    if (now === "ended") start("The session has ended.");
}

/** Says what came, to those who listen to the page. */
function tell({ detail }) {
    const came = mailbox.messages.filter(({ id, read_at }) => detail.added.includes(id) && !read_at);
    if (came.length === 1) $("told").textContent = `New message from ${came[0].from.display_name}`;
    else if (came.length) $("told").textContent = `${came.length} new messages`;
}

function complain(error) {
    $("told").textContent = error.message;
    $("state").textContent = error.message;
}

// One message.

async function show(id) {
    const message = await client.read(id);
    open = id;
    answers = message;
    $("subject").textContent = message.subject || "(no subject)";
    $("from").textContent = message.from.display_name;
    $("to").textContent = names(message.to);
    $("at").dateTime = message.sent_at;
    $("at").textContent = new Date(message.sent_at).toLocaleString(undefined, {
        dateStyle: "medium",
        timeStyle: "short",
    });
    $("body").textContent = message.body;
    $("message").hidden = false;
    $("mail").className = "reading";
    $("message").focus();
    render();
    if (!message.read_at) await mailbox.mark(id, { read: true });
}

function close() {
    const row = rows.get(open);
    open = undefined;
    $("message").hidden = true;
    $("mail").className = "";
    if (mailbox) render();
    row?.button.focus();
}

$("back").addEventListener("click", close);
$("unread").addEventListener("click", () => {
    mailbox.mark(open, { read: false }).catch(complain);
    close();
});
$("delete").addEventListener("click", () => {
    mailbox.mark(open, { trashed: true }).catch(complain);
    close();
});
$("older").addEventListener("click", () => mailbox.more().catch(complain));

// Writing.

let reply;

function write(to, subject, inReplyTo) {
    reply = inReplyTo;
    $("letter").reset();
    $("letter").querySelector(".wrong").textContent = "";
    $("letter-to").value = to;
    $("letter-subject").value = subject;
    $("writing").showModal();
    $(to ? "letter-body" : "letter-to").focus();
}

$("write").addEventListener("click", () => write("", ""));
$("answer").addEventListener("click", () => {
    const { id, from, subject } = answers;
    write(from.username, /^re:/i.test(subject) ? subject : `Re: ${subject}`, id);
});
$("cancel").addEventListener("click", () => $("writing").close());
submits("letter", async (given) => {
    const to = given.to.split(",").map((name) => name.trim());
    const message = { to: to.filter(Boolean), subject: given.subject, body: given.body };
    const sent = await client.send(reply ? { ...message, in_reply_to: reply } : message);
    $("writing").close();
    const left = sent.refused.map((refused) => refused.to).join(", ");
    $("told").textContent = left ? `Sent, but not to ${left}` : "Sent";
});

/** Does something with what a form holds, and shows in the form what is wrong with it. */
function submits(id, work) {
    const form = $(id);
    const wrong = form.querySelector(".wrong");
    const button = form.querySelector("[type=submit]");
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        wrong.textContent = "";
        button.disabled = true;
        try {
            await work(Object.fromEntries(new FormData(form)));
        } catch (error) {
            const parts = (error.errors || []).map(({ pointer, detail }) => {
                return `${pointer.replace("#/", "")}: ${detail}`;
            });
            wrong.textContent = parts.join("; ") || error.message;
        } finally {
            button.disabled = false;
        }
    });
}

// Coming and going.

$("new").addEventListener("change", () => {
    const fresh = $("new").checked;
    $("more-of-new").hidden = !fresh;
    $("email").required = fresh;
    $("password").autocomplete = fresh ? "new-password" : "current-password";
    const words = fresh ? "Create an account" : "Sign in";
    $("enter").querySelector("h2").textContent = words;
    $("enter").querySelector("[type=submit]").textContent = words;
});

submits("enter", async ({ username, password, email }) => {
    if ($("new").checked) await client.register({ username, password, email });
    await client.login(username, password);
    $("enter").reset();
    $("new").dispatchEvent(new Event("change"));
    await begin();
});

$("leave").addEventListener("click", () => client.logout().catch(complain));

async function begin() {
    const me = await client.me();
    mailbox = await client.mailbox();
    mailbox.addEventListener("change", render);
    mailbox.addEventListener("change", tell);
    mailbox.addEventListener("unread", count);
    mailbox.addEventListener("state", state);
    $("who").textContent = me.display_name;
    for (const id of ["account", "mail"]) $(id).hidden = false;
    $("enter").hidden = true;
    render();
    count();
    state();
}

/** The form to sign in, and nothing of who was here before. */
function start(why) {
    mailbox?.close();
    mailbox = undefined;
    for (const { row } of rows.values()) row.remove();
    rows.clear();
    close();
    count();
    $("writing").close();
    for (const id of ["subject", "from", "to", "at", "body", "who"]) $(id).textContent = "";
    for (const id of ["account", "mail"]) $(id).hidden = true;
    $("enter").hidden = false;
    $("enter").querySelector(".wrong").textContent = why;
    $("username").focus();
}

begin().catch((error) => {
    start(error.status === 401 ? "" : error.message);
    state();
});
