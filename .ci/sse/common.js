/** What the clients for Node share. */

export const { URL: url, TOKEN: token } = process.env;

/** Writes down a message, and ends the program with the last one. */
export function take(name, data) {
    if (name !== "message.created") return;
    const { message } = JSON.parse(data);
    console.log(JSON.stringify([message.id, message.snippet]));
    if (message.subject === "end") process.exit();
}
