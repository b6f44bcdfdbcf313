// A live inbox: new messages and changes appear in all tabs without a reload.
// Everything that users wrote is put into the page as text, never as markup.

import { Postroom } from "./postroom.js";

const client = new Postroom();
/** @type {import("./postroom.js").Mailbox | undefined} */
let mailbox;
/** The id of the message that is open, and the last message that was opened. */
let openId;
let openMessage;

const $ = (id) => document.getElementById(id);
const names = (people) => people.map((person) => person.display_name).join(", ");
const STATUSES = {
    connecting: "Connecting…",
    live: "Live",
    offline: "Offline, trying again…",
    displaced: "Paused: too many windows are open. Click to go on in this one.",
    ended: "Signed out",
};

/** The time, if it was today; otherwise the date. */
function formatTime(text) {
    const date = new Date(text);
    const today = date.toDateString() === new Date().toDateString();
    const style = today ? { timeStyle: "short" } : { dateStyle: "medium" };
    return new Intl.DateTimeFormat(undefined, style).format(date);
}

function make(tag, className) {
    const element = document.createElement(tag);
    element.className = className;
    return element;
}

// The list.

/** The row of each message. Rows are kept when the list changes, so that none loses the focus. */
const rows = new Map();

function addRow(id) {
    const row = make("li", "");
    const button = make("button", "row");
    button.type = "button";
    button.addEventListener("click", () => showMessage(id).catch(showError));
    const parts = ["from", "at", "subject", "snippet"].map((name) => make("span", name));
    button.append(...parts);
    row.append(button);
    rows.set(id, { row, button, parts });
    return rows.get(id);
}

function fillRow({ row, button, parts }, message) {
    const unread = !message.read_at;
    const [from, at, subject, snippet] = parts;
    from.textContent = message.from.display_name;
    at.textContent = formatTime(message.sent_at);
    subject.textContent = message.subject || "(no subject)";
    snippet.textContent = message.snippet;
    row.className = unread ? "unread" : "";
    const label = [unread ? "Unread" : "", message.from.display_name, subject.textContent];
    button.setAttribute("aria-label", label.filter(Boolean).join(", "));
    if (message.id === openId) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
}

function showList() {
    const { messages } = mailbox;
    const ids = new Set(messages.map(({ id }) => id));
    for (const [id, { row }] of rows) {
        if (ids.has(id)) continue;
        row.remove();
        rows.delete(id);
    }
    let next = $("messages").firstElementChild;
    for (const message of messages) {
        const shown = rows.get(message.id) || addRow(message.id);
        fillRow(shown, message);
        if (shown.row === next) next = next.nextElementSibling;
        else $("messages").insertBefore(shown.row, next);
    }
    $("empty").hidden = messages.length > 0;
    $("older").hidden = !mailbox.hasMore;
    if (openId && !ids.has(openId)) closeMessage();
}

function showUnread() {
    const { messages } = mailbox ? mailbox.unread : { messages: 0 };
    $("badge").hidden = !messages;
    $("badge").textContent = messages;
    $("badge").setAttribute("aria-label", `${messages} unread`);
    document.title = messages ? `(${messages}) Inbox` : "Inbox";
}

function showStatus() {
    const status = mailbox ? mailbox.status : "";
    $("status").textContent = STATUSES[status] || "";
    $("status").className = status;
    if (status === "ended") showSignIn("Your session has ended. Sign in again.");
}

/** Announces new messages to screen readers. */
function announce({ detail }) {
    const isNew = ({ id, read_at }) => detail.added.includes(id) && !read_at;
    const arrived = mailbox.messages.filter(isNew);
    const [first] = arrived;
    if (arrived.length === 1)
        $("announcement").textContent = `New message from ${first.from.display_name}`;
    else if (first) $("announcement").textContent = `${arrived.length} new messages`;
}

function showError(error) {
    $("announcement").textContent = error.message;
    $("status").textContent = error.message;
}

// One message.

async function showMessage(id) {
    const message = await client.getMessage(id);
    openId = id;
    openMessage = message;
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
    showList();
    if (!message.read_at) await mailbox.mark(id, { read: true });
}

function closeMessage() {
    const row = rows.get(openId);
    openId = undefined;
    $("message").hidden = true;
    $("mail").className = "";
    if (mailbox) showList();
    row?.button.focus();
}

$("back").addEventListener("click", closeMessage);
$("unread").addEventListener("click", () => {
    mailbox.mark(openId, { read: false }).catch(showError);
    closeMessage();
});
$("delete").addEventListener("click", () => {
    mailbox.mark(openId, { trashed: true }).catch(showError);
    closeMessage();
});
$("older").addEventListener("click", () => mailbox.loadMore().catch(showError));

// Writing.

/** The id of the message that is being answered. */
let replyTo;

function openEditor(to, subject, inReplyTo) {
    replyTo = inReplyTo;
    $("editor").reset();
    $("editor").querySelector(".error").textContent = "";
    $("editor-to").value = to;
    $("editor-subject").value = subject;
    $("editor-dialog").showModal();
    $(to ? "editor-body" : "editor-to").focus();
}

$("write").addEventListener("click", () => openEditor("", ""));
$("reply").addEventListener("click", () => {
    const { id, from, subject } = openMessage;
    openEditor(from.username, /^re:/i.test(subject) ? subject : `Re: ${subject}`, id);
});
$("cancel").addEventListener("click", () => $("editor-dialog").close());
onSubmit("editor", async (values) => {
    const to = values.to.split(",").map((name) => name.trim());
    const message = { to: to.filter(Boolean), subject: values.subject, body: values.body };
    const sent = await client.send(replyTo ? { ...message, in_reply_to: replyTo } : message);
    $("editor-dialog").close();
    const refused = sent.refused.map(({ to: name }) => name).join(", ");
    $("announcement").textContent = refused ? `Sent, but not to ${refused}` : "Sent";
});

/** Calls `action` with the values of a form when it is submitted, and shows errors in the form. */
function onSubmit(id, action) {
    const form = $(id);
    const output = form.querySelector(".error");
    const button = form.querySelector("[type=submit]");
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        output.textContent = "";
        button.disabled = true;
        try {
            await action(Object.fromEntries(new FormData(form)));
        } catch (error) {
            const fields = (error.errors || []).map(({ pointer, detail }) => {
                return `${pointer.replace("#/", "")}: ${detail}`;
            });
            output.textContent = fields.join("; ") || error.message;
        } finally {
            button.disabled = false;
        }
    });
}

// Signing in and out.

$("new").addEventListener("change", () => {
    const isNew = $("new").checked;
    $("new-fields").hidden = !isNew;
    $("email").required = isNew;
    $("password").autocomplete = isNew ? "new-password" : "current-password";
    const title = isNew ? "Create an account" : "Sign in";
    $("sign-in").querySelector("h2").textContent = title;
    $("sign-in").querySelector("[type=submit]").textContent = title;
});

onSubmit("sign-in", async ({ username, password, email }) => {
    if ($("new").checked) await client.register({ username, password, email });
    await client.login(username, password);
    $("sign-in").reset();
    $("new").dispatchEvent(new Event("change"));
    await showInbox();
});

$("sign-out").addEventListener("click", () => client.logout().catch(showError));

for (const type of ["focus", "click"]) addEventListener(type, () => mailbox?.resume());

async function showInbox() {
    const me = await client.me();
    mailbox = await client.openMailbox();
    mailbox.addEventListener("change", showList);
    mailbox.addEventListener("change", announce);
    mailbox.addEventListener("unread", showUnread);
    mailbox.addEventListener("status", showStatus);
    $("user").textContent = me.display_name;
    for (const id of ["account", "mail"]) $(id).hidden = false;
    $("sign-in").hidden = true;
    showList();
    showUnread();
    showStatus();
}

/** Shows the sign-in form, and removes everything of the user before from the page. */
function showSignIn(reason) {
    mailbox?.close();
    mailbox = undefined;
    for (const { row } of rows.values()) row.remove();
    rows.clear();
    closeMessage();
    showUnread();
    $("editor-dialog").close();
    for (const id of ["subject", "from", "to", "at", "body", "user"]) $(id).textContent = "";
    for (const id of ["account", "mail"]) $(id).hidden = true;
    $("sign-in").hidden = false;
    $("sign-in").querySelector(".error").textContent = reason;
    $("username").focus();
}

showInbox().catch((error) => {
    showSignIn(error.status === 401 ? "" : error.message);
    showStatus();
});
