//! Erasure is whole: of a person who was erased, whichever way, no column of any table holds
//! anything that was known of them.

use std::collections::{BTreeMap, BTreeSet};

use db::{Value as Param, params};
use domain::browser_tokens::{self, AppSession};
use domain::webhooks::{self, EventKind};
use domain::{Time, UserId, purge, text};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testing::{Client, Engine, Response, engine};

use crate::harness::TestApp;
use crate::user::{User, number};

/// Tables whose rows go with their owner, and the column that names the owner.
const OWNED: [(&str, &str); 16] = [
    ("familiar_addresses", "user_id"),
    ("revoked_sessions", "user_id"),
    ("sessions", "user_id"),
    ("tokens", "user_id"),
    ("blocks", "owner_id"),
    ("contacts", "owner_id"),
    ("quotas", "owner_id"),
    ("stored_responses", "owner_id"),
    ("stored_counts", "owner_id"),
    ("reminders", "owner_id"),
    ("entries", "owner_id"),
    ("conversations", "owner_id"),
    ("tombstones", "owner_id"),
    ("trash", "owner_id"),
    ("name_words", "user_id"),
    ("unread_changes", "owner_id"),
];

/// Columns of the two rows that stay of a person, which an erasure does not clear.
const OF_THE_STUB: [(&str, &str); 12] = [
    ("users.id", "letters of others name it"),
    ("users.created_at", "says when, and of nobody"),
    ("users.disabled_at", "the time of the erasure"),
    ("users.erased_at", "the time of the erasure"),
    ("users.updated_at", "the time of the erasure"),
    ("users.kind", "a person, or a sender of the app's"),
    ("mailboxes.owner_id", "letters of others name it"),
    ("mailboxes.modseq", "a counter"),
    ("mailboxes.closed_at", "the time of the erasure"),
    ("mailboxes.unread", "a count, which is 0 when the mailbox is empty"),
    ("mailboxes.unread_conversations", "a count, which is 0 when the mailbox is empty"),
    ("mailboxes.purged_modseq", "a counter"),
];

/// Tables without an owner: each column, and why it need not be cleared.
const OF_NOBODY: [(&str, &str, &str); 21] = [
    ("erasures", "owner_id withdraws", "what is left to purge"),
    ("erased_external_ids", "id_hash erased_at", "a hash under the server's key"),
    ("reserved_names", "name_hash erased_at", "a hash under the server's key"),
    (
        "messages",
        "id sender_id recipient_id other_recipients conversation_id in_reply_to sent_at \
         mailbox_count unsent_from",
        "ids, times and counts",
    ),
    ("messages", "subject body metadata", "letters belong to those who got them"),
    ("messages", "via", "the operator's name for a server key"),
    ("messages", "without_reminder", "a flag"),
    ("expirations", "message_id expires_at", "ids and times"),
    (
        "server_keys",
        "id name scopes key_hash previous_hash previous_until created_at expires_at last_used_at \
         revoked_at",
        "the operator's",
    ),
    (
        "audit",
        "id happened_at key_id key_name call user_id request_id reads",
        "ids, times and routes",
    ),
    ("messages", "client_id", "gone with the sender's copy"),
    ("throttles", "subject", "a hash of a name that was typed, of an address, or of a session's"),
    ("throttles", "failures window_started_at expires_at blocked_until", "counts and times"),
    (
        "webhooks",
        "id url kinds created_at secret_version rotated_at disabled_at disabled_reason",
        "the operator's",
    ),
    (
        "webhook_events",
        "id kind happened_at pending user_id message_id conversation_id sender_id recipients \
         unread unread_conversations modseq",
        "ids, times and counts, for the app's own server",
    ),
    ("webhook_events", "client_id", "the app's own, gone with the log of deliveries"),
    ("webhook_events", "external_ids", "the app's own, gone with the log of deliveries"),
    (
        "webhook_deliveries",
        "event_id webhook_id attempts due_at tried_at delivered_at outcome",
        "ids, times and what the app's server answered",
    ),
    (
        "imported_messages",
        "source external_id message_id",
        "the app's own names for letters that an import has stored",
    ),
    ("leases", "name holder until", "the nodes'"),
    ("history", "id origin key_fingerprint", "the database's"),
];

/// All columns of the running database, by table, with the kind of their values.
async fn columns(app: &TestApp) -> BTreeMap<String, BTreeMap<String, String>> {
    let catalog = match engine() {
        Engine::Sqlite => {
            "SELECT tables.name, columns.name, columns.type
             FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%'"
        }
        Engine::Postgres => {
            "SELECT table_name::text, column_name::text, data_type::text
             FROM information_schema.columns WHERE table_schema = current_schema()"
        }
    };
    let rows = app.scan(move |tx| {
        tx.query(catalog, &[], |row| {
            let [table, column, kind] = [row.text(0)?, row.text(1)?, row.text(2)?];
            Ok((table.to_owned(), column.to_owned(), kind.to_lowercase()))
        })
    });
    let mut tables = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (table, column, kind) in rows.await {
        tables.entry(table).or_default().insert(column, kind);
    }
    // The engine's own account of the steps of the schema.
    tables.remove("schema_migrations");
    assert!(tables.len() > 15, "{tables:?}");
    tables
}

/// A statement that is made from the catalog of the running database.
fn made(sql: String) -> &'static str {
    sql.leak()
}

/// Each value of a column that is not NULL: as text, and bytes also in hexadecimal.
async fn values(app: &TestApp, table: &str, column: &str, kind: &str) -> Vec<String> {
    let sql = made(format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL"));
    let (texts, bytes) = (kind == "text", ["blob", "bytea"].contains(&kind));
    app.scan(move |tx| {
        tx.query(sql, &[], |row| {
            Ok(match (texts, bytes) {
                (true, _) => row.text(0)?.to_lowercase(),
                (_, true) => {
                    let bytes = row.blob(0)?;
                    format!("{} {}", String::from_utf8_lossy(bytes).to_lowercase(), hex(bytes))
                }
                _ => row.int(0)?.to_string(),
            })
        })
    })
    .await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// In how many rows of each table the person is the owner.
async fn owned(app: &TestApp, person: UserId) -> Vec<(&'static str, i64)> {
    let mut counts = Vec::new();
    for (table, column) in OWNED {
        let sql = made(format!("SELECT count(*) FROM {table} WHERE {column} = ?1"));
        let count = app.scan(move |tx| tx.query_one(sql, &params![person], |row| row.int(0)));
        counts.push((table, count.await));
    }
    counts
}

const NAME: &str = "Zephyrine.Quux";
const SHOWN: &str = "Zéphyrine Quuxová";
const EMAIL: &str = "z.quux@mail.example.org";
const PASSWORD: &str = "quux-and-seven-wild-geese";
const ADDRESS: &str = "203.0.113.77";
const AGENT: &str = "Quuxbrowser/7";

/// Somebody who has left a trace in every table.
struct Person {
    app: TestApp,
    id: UserId,
    client: Client,
    /// What nobody may find any more, in lower case.
    traces: BTreeSet<String>,
}

impl Person {
    async fn new() -> Self {
        let app = TestApp::with(&[("trusted_proxies", "127.0.0.1")]).await;
        let (cx, kinds) = (app.clock().cx(), EventKind::ALL.into_iter().collect());
        let url = "https://127.0.0.1/".to_owned();
        app.write(move |tx| webhooks::add(tx, &cx, &url, kinds)).await;
        while !app.clock().cx().wanted.webhooks.has(EventKind::MessageCreated) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let client = app.client();
        let mut person =
            Self { app, id: UserId::new(1).expect("it is an id"), client, traces: BTreeSet::new() };
        person.log_in().await;
        person.write_letters().await;
        // Not from the familiar address, so that it is counted under the name.
        person.app.visitor().await.try_login(NAME, "a wrong password").await.error(401);
        person.fill().await;
        let stored = person.everything().await;
        let unstored = |trace: &&String| !stored.iter().any(|value| value.contains(*trace));
        let unstored = person.traces.iter().filter(unstored).count();
        assert_eq!(unstored, 5, "the password, three tokens, and a hash of the name without a key");
        person
    }

    /// All values of all columns.
    async fn everything(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (table, columns) in columns(&self.app).await {
            for (column, kind) in columns {
                all.extend(values(&self.app, &table, &column, &kind).await);
            }
        }
        all
    }

    /// A request with a key, from an address and with a browser of its own.
    async fn post(&self, client: &Client, path: &str, body: &Value) -> Response {
        let request = client.request("POST", path).header("idempotency-key", "1");
        let request = request.header("x-forwarded-for", ADDRESS).header("user-agent", AGENT);
        request.json(body).send().await
    }

    async fn log_in(&mut self) {
        let account = json!({
            "username": NAME, "email": EMAIL, "password": PASSWORD, "display_name": SHOWN,
        });
        let account = self.post(&self.client, "/v1/users", &account).await.expect(201);
        self.id = UserId::new(number(&account["id"])).expect("it is an id");
        let mut login = json!({ "username": NAME, "password": PASSWORD });
        self.post(&self.client, "/v1/sessions", &login).await.expect(201);
        let own = json!({ "name": "quux laptop" });
        let own = self.post(&self.client, "/v1/tokens", &own).await.expect(201);
        login["name"] = "quux phone".into();
        let by_password = self.post(&self.app.client(), "/v1/tokens", &login).await.expect(201);

        let folded = text::fold(NAME);
        let mut tokens = vec![self.client.session()];
        let token = |made: &Value| made["token"].as_str().expect("it is text").to_owned();
        tokens.extend([token(&own), token(&by_password)]);
        for token in tokens {
            let secret = token.split_once('.').expect("it has two parts").1;
            let bytes = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, secret);
            self.traces.insert(hex(&Sha256::digest(bytes.expect("it is base64"))));
            self.traces.insert(secret.to_lowercase());
        }
        self.traces.insert(hex(&Sha256::digest(format!("account:{folded}"))));
        self.traces.insert(hex(&Sha256::digest(&folded)));
        for trace in [NAME, SHOWN, EMAIL, PASSWORD, ADDRESS, AGENT, "quux", "$argon2id", &folded] {
            self.traces.insert(trace.to_lowercase());
        }
    }

    /// Letters of all kinds. Those that others keep do not hold a trace, all others do.
    async fn write_letters(&self) {
        let (ann, bob) = self.app.pair("ann", "bob").await;
        let hash = "UPDATE users SET password_hash = 'another' WHERE name <> 'Zephyrine.Quux'";
        self.app.write(move |tx| Ok(tx.execute(hash, &[])?)).await;
        let (cx, id) = (self.app.clock().cx(), self.id);
        let web = AppSession::named("quux web");
        self.app.write(move |tx| browser_tokens::revoke(tx, &cx, id, Some(&web))).await;
        let own = User::new(self.id, NAME, self.app.client());
        let login = json!({ "username": NAME, "password": PASSWORD });
        own.request("POST", "/v1/sessions").json(&login).send().await.expect(201);
        let send = async |from: &User, key: &str, draft: Value| {
            let request = from.request("POST", "/v1/messages").header("idempotency-key", key);
            number(&request.json(&draft).send().await.expect(201)["id"])
        };
        let call = async |from: &User, method: &str, path: String, body: Value| {
            let answer = from.request(method, &path).json(&body).send().await;
            assert!(answer.status < 300, "{method} {path}: {answer:?}");
        };
        let path = |id: i64| format!("/v1/messages/{id}");

        let kept = json!({ "to": ["ann", "bob"], "subject": "a farewell", "body": "thanks",
                           "client_id": "quux-1" });
        let kept = send(&own, "1", kept).await;
        let own_copy = json!({ "to": ["ann"], "body": "kept by ann", "client_id": "quux-2" });
        let own_copy = send(&own, "2", own_copy).await;
        call(&own, "DELETE", path(own_copy), json!({})).await;
        send(&own, "3", json!({ "to": [NAME], "subject": "quux", "body": "diary of quux" })).await;
        let got = json!({ "to": [NAME], "subject": "for quux", "body": "dear quux" });
        let got = send(&ann, "1", got).await;
        call(&ann, "DELETE", path(got), json!({})).await;
        call(&own, "PATCH", path(got), json!({ "trashed": true, "starred": true })).await;
        let reply = json!({ "in_reply_to": kept, "body": "ann keeps her answer" });
        let reply = send(&ann, "2", reply).await;
        call(&own, "PATCH", format!("/v1/conversations/{kept}"), json!({ "muted": true })).await;
        call(&own, "DELETE", path(reply), json!({})).await;
        call(&own, "PUT", format!("/v1/blocks/{}", bob.id.get()), json!({})).await;
        // Refused, so that her name is in the answer as it was written.
        send(&bob, "1", json!({ "to": ["ann", NAME], "body": "to ann alone" })).await;
        // Nothing sends e-mails here.
        let reminder = "INSERT INTO reminders (owner_id, message_id) VALUES (?1, 1)";
        let id = self.id;
        self.app.write(move |tx| Ok(tx.execute(reminder, &params![id])?)).await;
    }

    /// Writes something into every column of the rows that stay, whatever columns there are.
    async fn fill(&mut self) {
        let tables = columns(&self.app).await;
        let mut filled = 0;
        for (table, owner) in [("users", "id"), ("mailboxes", "owner_id")] {
            for (column, kind) in &tables[table] {
                let name = format!("{table}.{column}");
                let spared = ["mailboxes.accept_from", "mailboxes.blocks"].contains(&&*name)
                    || OF_THE_STUB.iter().any(|(stays, _why)| *stays == name)
                    || self.holds_trace(&values(&self.app, table, column, kind).await).is_some();
                if spared {
                    continue;
                }
                filled += 1;
                let number = 7_700_000_000_000_000 + filled;
                let (id, kind) = (self.id, kind.clone());
                if kind != "text" && kind != "blob" && kind != "bytea" {
                    self.traces.insert(number.to_string());
                }
                let sql = made(format!("UPDATE {table} SET {column} = ?2 WHERE {owner} = ?1"));
                self.app
                    .write(move |tx| {
                        let value = match kind.as_str() {
                            "text" => Param::Text("left by quux"),
                            "blob" | "bytea" => Param::Blob(b"left by quux"),
                            _ => Param::Int(number),
                        };
                        Ok(tx.execute(sql, &[id.into(), value])?)
                    })
                    .await;
            }
        }
        assert!(filled > 0, "reminders_off_at is one of them");
        // No number could be told from those of others.
        let (id, settings) = (self.id, "UPDATE mailboxes SET accept_from = 1 WHERE owner_id = ?1");
        self.app.write(move |tx| Ok(tx.execute(settings, &params![id])?)).await;
    }

    fn holds_trace(&self, values: &[String]) -> Option<String> {
        let holds = |value: &&String| self.traces.iter().any(|trace| value.contains(trace));
        values.iter().find(holds).cloned()
    }

    /// Asserts that nothing is left, and that every column is known to this test.
    async fn left_nothing(self) {
        let app = &self.app;
        let cx = app.clock().cx();
        while app.write(move |tx| purge::erased_mailboxes(tx, &cx, 100)).await > 0 {}
        for (table, rows) in owned(app, self.id).await {
            assert_eq!(rows, 0, "rows of {table}");
        }
        let mut unknown = Vec::new();
        for (table, columns) in columns(app).await {
            for (column, kind) in columns {
                let name = format!("{table}.{column}");
                let known = OWNED.iter().any(|(owned, _)| *owned == table)
                    || ["users", "mailboxes"].contains(&&*table)
                    || OF_NOBODY.iter().any(|(of, columns, _why)| {
                        *of == table && columns.split_whitespace().any(|known| known == column)
                    });
                if !known {
                    unknown.push(name.clone());
                }
                let allowed =
                    ["webhook_events.client_id", "webhook_events.external_ids"].contains(&&*name);
                let left = self.holds_trace(&values(app, &table, &column, &kind).await);
                assert!(allowed || left.is_none(), "{name} holds {left:?}");
            }
        }
        assert_eq!(unknown, [""; 0], "is it erased, or why not? Add it to the lists above");
        let id = self.id;
        let row = "SELECT accept_from, blocks, unread FROM mailboxes WHERE owner_id = ?1";
        let row = app.scan(move |tx| {
            tx.query_one(row, &params![id], |row| Ok([row.int(0)?, row.int(1)?, row.int(2)?]))
        });
        assert_eq!(row.await, [0; 3]);
        let name = json!({ "username": NAME.to_uppercase(), "email": EMAIL, "password": PASSWORD });
        let again = app.client().request("POST", "/v1/users").json(&name).send().await;
        again.problem(409, "username_taken");
    }
}

#[tokio::test]
async fn who_erases_the_own_account_leaves_no_trace_in_any_column() {
    let person = Person::new().await;
    for (table, rows) in owned(&person.app, person.id).await {
        assert!(rows > 0, "nothing of {table} could be missed");
    }
    person.client.request("DELETE", "/v1/users/me").send().await.expect(204);
    person.left_nothing().await;
}

#[tokio::test]
async fn whom_the_app_erases_leaves_no_trace_in_any_column_nor_a_message() {
    let mut person = Person::new().await;
    // What was written into every column is in this one as well.
    let id = hex(&Sha256::digest("ext:left by quux"));
    person.traces.extend([id, "left by quux".to_owned()]);
    let server = person.app.server_key(&["users"]).await;
    let path = "/v1/server/users/ext:left%20by%20quux";
    assert_eq!(server.call("GET", path).await.ok()["id"], person.id.get());
    server.call("DELETE", &format!("{path}?messages=withdraw")).await.expect(202);
    server.call("GET", path).await.problem(410, "user_erased");
    let (cx, id) = (person.app.clock().cx(), person.id);
    while person.app.write(move |tx| purge::erased_mailboxes(tx, &cx, 100)).await > 0 {}
    let sent = "SELECT count(*) FROM messages WHERE sender_id = ?1";
    let sent = person.app.scan(move |tx| tx.query_one(sent, &params![id], |row| row.int(0)));
    assert_eq!(sent.await, 0);
    person.left_nothing().await;
}

#[tokio::test]
async fn whom_the_operator_erases_leaves_no_trace_in_any_column() {
    let person = Person::new().await;
    let erased = person.app.command(&["user", "erase", NAME, "--yes"]);
    assert_eq!(erased, Ok(format!("{NAME} is erased\n")));
    let app = &person.app;
    let add = ["user", "add", "zephyrine.quux", "--email", "other@example.org"];
    let taken = app.command_with("a-password-of-another", &add);
    assert_eq!(taken, Err("error: username: it is taken\n".to_owned()));
    // The streams and sessions of the running server end within five seconds.
    app.advance(5 * Time::SECOND);
    person.client.request("GET", "/v1/users/me").send().await.problem(401, "unauthenticated");
    person.left_nothing().await;
}
