// The club's members and their sessions, in a file. Passwords are the club's: Postroom has none.

import { createHash, randomBytes, randomUUID, scrypt, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";

const hashPassword = (password, salt) =>
    promisify(scrypt)(password, Buffer.from(salt, "hex"), 32).then((hash) => hash.toString("hex"));
const hashCookie = (cookie) => createHash("sha256").update(cookie).digest("hex");
const fold = (name) => name.normalize("NFKC").toLowerCase();

export class Members {
    #file;
    #members = [];
    /** By the hash of the cookie: whose session it is, and its name. */
    #sessions = {};

    constructor(file) {
        this.#file = file;
        if (!existsSync(file)) return;
        const { members, sessions } = JSON.parse(readFileSync(file, "utf8"));
        [this.#members, this.#sessions] = [members, sessions];
    }

    #save() {
        const text = JSON.stringify({ members: this.#members, sessions: this.#sessions });
        writeFileSync(`${this.#file}.new`, text, { mode: 0o600 });
        renameSync(`${this.#file}.new`, this.#file);
    }

    list() {
        return this.#members;
    }

    #find(name) {
        return this.#members.find((member) => fold(member.name) === fold(name));
    }

    /** A new member; nothing if the name is taken. */
    async join(name, password) {
        const salt = randomBytes(16).toString("hex");
        const hash = await hashPassword(password, salt);
        if (this.#find(name)) return undefined;
        // `version` counts the changes, `told` is the last one that Postroom knows.
        const member = { id: randomUUID(), name, salt, hash, version: 1, told: 0 };
        this.#members.push(member);
        this.#save();
        return member;
    }

    async signIn(name, password) {
        const member = this.#find(name);
        const hash = await hashPassword(password, member?.salt ?? "00");
        const right = Buffer.from(member?.hash ?? "0".repeat(64));
        return timingSafeEqual(Buffer.from(hash), right) ? member : undefined;
    }

    /** Whether the name was free. */
    rename(member, name) {
        const other = this.#find(name);
        if (other && other !== member) return false;
        member.name = name;
        member.version += 1;
        this.#save();
        return true;
    }

    /** Those whose last change Postroom does not know. */
    untold() {
        return this.#members.filter(({ version, told }) => told < version);
    }

    isTold(member, version) {
        member.told = Math.max(member.told, version);
        this.#save();
    }

    /** Starts a session and returns its cookie. */
    openSession(member) {
        const cookie = randomBytes(32).toString("hex");
        this.#sessions[hashCookie(cookie)] = { member: member.id, name: randomUUID() };
        this.#save();
        return cookie;
    }

    /** The member and the name of their session; nothing if there is none. */
    session(cookie) {
        const found = cookie && this.#sessions[hashCookie(cookie)];
        const member = found && this.#members.find(({ id }) => id === found.member);
        return member && { member, name: found.name };
    }

    closeSession(cookie) {
        delete this.#sessions[hashCookie(cookie)];
        this.#save();
    }
}
