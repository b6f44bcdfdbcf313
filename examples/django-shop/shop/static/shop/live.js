// Keeps the badge right while the page is open: the browser asks Postroom itself, with short-lived
// tokens of the member who is logged in.
import { Postroom } from "../postroom.js";

const client = new Postroom({
  url: document.body.dataset.postroom,
  getToken: async () => {
    const answer = await fetch("/postroom/token");
    if (answer.status === 401) return null;
    if (!answer.ok) throw new Error(`no token: ${answer.status}`);
    return answer.json();
  },
});
const mailbox = await client.openMailbox({ folder: "inbox", limit: 1 });
const show = () => {
  document.getElementById("badge").textContent = mailbox.unread.messages || "";
};
mailbox.addEventListener("unread", show);
mailbox.addEventListener("status", ({ detail }) => (document.body.dataset.live = detail));
document.body.dataset.live = mailbox.status;
show();
