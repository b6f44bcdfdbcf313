// A page of the club: it calls Postroom itself, with tokens that the club's server gives it.

import { Postroom } from "/postroom.js";

const $ = (id) => document.getElementById(id);
const show = (error) => ($("error").textContent = error?.message ?? "");

/** Calls the club's server. */
async function club(path, body) {
    const options = body && {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
    };
    const response = await fetch(path, options);
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status });
    return answer;
}

/** A token for the member who is signed in; null if nobody is. */
const getToken = () =>
    club("/postroom-token").catch((error) => {
        if (error.status === 401) return null;
        throw error;
    });

const { me, postroom } = await club("/me");
$("sign-in").hidden = !!me;
$("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = Object.fromEntries(new FormData(event.target));
    club(`/${event.submitter.value}`, body).then(() => location.reload(), show);
});
if (me) await openMail().catch(show);

async function openMail() {
    const client = new Postroom({ url: postroom, getToken });
    $("rename").hidden = $("mail").hidden = false;
    $("rename").elements.name.value = me.name;
    $("rename").addEventListener("submit", (event) => {
        event.preventDefault();
        const name = $("rename").elements.name.value;
        club("/rename", { name }).then(() => show(), show);
    });
    $("sign-out").addEventListener("click", async () => {
        await club("/sign-out", {}).catch(show);
        await client.logout();
        location.reload();
    });

    for (const { id, name } of await club("/members")) {
        if (id !== me.id) $("write").elements.to.append(new Option(name, id));
    }

    const mailbox = await client.openMailbox();
    let open;
    const showList = () => {
        const rows = mailbox.messages.map((message) => {
            const button = document.createElement("button");
            const { from, subject } = message;
            button.textContent = `${from.display_name}: ${subject || "(no subject)"}`;
            button.addEventListener("click", () => read(message.id).catch(show));
            const row = document.createElement("li");
            row.className = message.read_at ? "" : "unread";
            row.append(button);
            return row;
        });
        $("letters").replaceChildren(...rows);
    };
    const showUnread = () => {
        $("badge").textContent = mailbox.unread.messages;
        $("badge").hidden = !mailbox.unread.messages;
    };
    const showStatus = () => {
        $("status").textContent = mailbox.status;
        if (mailbox.status !== "ended") return;
        // Nothing of the member stays on a page that another one may see now.
        $("mail").remove();
        $("status").textContent = `ended: ${mailbox.reason}`;
    };
    const read = async (id) => {
        open = await client.getMessage(id);
        if (mailbox.status === "ended") return;
        for (const part of ["subject", "body"]) $(part).textContent = open[part];
        $("from").textContent = `from ${open.from.display_name}`;
        $("letter").hidden = false;
        await mailbox.mark(id, { read: true });
    };
    mailbox.addEventListener("change", showList);
    mailbox.addEventListener("unread", showUnread);
    mailbox.addEventListener("status", showStatus);
    showList();
    showUnread();
    showStatus();

    $("reply").addEventListener("click", async () => {
        const body = prompt("Your reply");
        if (body) await client.send({ in_reply_to: open.id, body }).catch(show);
    });
    $("write").addEventListener("submit", async (event) => {
        event.preventDefault();
        const { to, subject, body } = Object.fromEntries(new FormData(event.target));
        show();
        try {
            await client.send({ to: [`ext:${to}`], subject, body });
            event.target.reset();
        } catch (error) {
            show(error);
        }
    });
}
