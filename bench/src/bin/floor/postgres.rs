//! The floor on PostgreSQL: the statements of Postroom, from a bare pool of tokio-postgres.
//!
//! What a request of ours executes, this executes, in the same kind of transaction: a send in one
//! transaction, a read of several statements on one snapshot, a read of one statement without
//! either. Everybody gets the answer that the rows allow, without regard to what they mean.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use bench::{BODY, Fill, INBOX, SUBJECT};
use deadpool_postgres::{Client, Manager, ManagerConfig, Pool, RecyclingMethod, Transaction};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, NoTls, Row};

use crate::views::{Item, MessageView};

const SCHEMA: &str = include_str!("postgres/schema.sql");

const ADVANCE_SENDER: &str = "UPDATE mailboxes SET modseq = modseq + 1, unread = unread + $2,
    unread_conversations = unread_conversations + $2 WHERE owner_id = $1 AND closed_at IS NULL";
const ADVANCE_RECIPIENT: &str = "UPDATE mailboxes SET modseq = modseq + 1, unread = unread + $2,
    unread_conversations = unread_conversations + $2
    WHERE owner_id = $1 AND closed_at IS NULL AND accept_from = 0 AND blocks = 0";
const CONTACT: &str = "INSERT INTO contacts (owner_id, peer_id, first_at) VALUES ($1, $2, $3)
    ON CONFLICT (owner_id, peer_id) DO NOTHING";
const STORE: &str =
    "INSERT INTO messages (sender_id, recipient_id, other_recipients, conversation_id,
    in_reply_to, subject, body, sent_at, mailbox_count, client_id, metadata)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id";
const DELIVER: &str = "INSERT INTO entries (owner_id, place, message_id, conversation_id, role,
    peer_id, created_modseq) VALUES ($1, $2, $3, $4, $5, $6,
    (SELECT modseq FROM mailboxes WHERE owner_id = $1))";
const MARK: &str = "UPDATE entries SET place = 0, read_at = $3,
    changed_modseq = (SELECT modseq FROM mailboxes WHERE owner_id = $1)
    WHERE owner_id = $1 AND place = 2 AND message_id = $2";
const UNCOUNT: &str = "UPDATE mailboxes SET unread = unread - 1,
    unread_conversations = unread_conversations - 1 WHERE owner_id = $1";
const INBOX_IDS: &str = "SELECT message_id FROM entries
    WHERE owner_id = $1 AND place BETWEEN 0 AND 7 AND role <> 2 LIMIT $2";
const ROLE: &str =
    "SELECT role FROM entries WHERE owner_id = $1 AND place = $2 AND message_id = $3";
const ENTRY: &str = "SELECT place, message_id, conversation_id, role, peer_id, read_at, starred_at,
    archived_at, trashed_at, created_modseq, changed_modseq FROM entries
    WHERE owner_id = $1 AND place = $2 AND message_id = $3";
const MESSAGE: &str =
    "SELECT id, sender_id, recipient_id, other_recipients, conversation_id, in_reply_to,
    subject, body, sent_at, client_id, metadata FROM messages WHERE id = $1";
const PEOPLE: &str = "SELECT id, name, display_name FROM users WHERE id = ANY ($1) ORDER BY id";
const COUNTS: &str =
    "SELECT unread, unread_conversations, modseq FROM mailboxes WHERE owner_id = $1";
const RANGE: &str = "SELECT place, message_id, conversation_id, role, peer_id, read_at, starred_at,
    archived_at, trashed_at, created_modseq, changed_modseq FROM entries
    WHERE owner_id = $1 AND place = $2 AND message_id < $3 ORDER BY message_id DESC LIMIT $4";
const TEXTS: &str =
    "SELECT id, sender_id, recipient_id, other_recipients, conversation_id, in_reply_to,
    subject, substr(body, 1, 140), sent_at, client_id FROM messages
    WHERE id = ANY ($1)";

/// Where an entry stands in the key: read and unread in the inbox, and sent.
const READ: i64 = 0;
const UNREAD: i64 = 2;
const SENT: i64 = 8;
/// The four ranges of an inbox: read and unread, each with and without a conversation of its own.
const INBOX_PLACES: [i64; 4] = [0, 1, 2, 3];
/// Ids that a list of ours reads at once.
const SHORT: i64 = 1001;

/// The API whose statements are executed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Classic,
    V1,
}

pub(crate) struct Store {
    pool: Pool,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

async fn query(on: &Transaction<'_>, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
    let statement = on.prepare_cached(sql).await?;
    Ok(on.query(&statement, params).await?)
}

async fn execute(on: &Transaction<'_>, sql: &str, params: Params<'_>) -> Result<u64> {
    let statement = on.prepare_cached(sql).await?;
    Ok(on.execute(&statement, params).await?)
}

/// Makes the tables and fills them as if all had been sent.
pub(crate) async fn fill(url: &str, fill: Fill) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let rows = |sql: &'static str| async { client.prepare(sql).await };
    client.batch_execute(&format!("BEGIN; {SCHEMA}")).await?;
    let user = rows("INSERT INTO users VALUES ($1, $2, '')").await?;
    let mailbox = rows("INSERT INTO mailboxes (owner_id, modseq) VALUES ($1, 0)").await?;
    for number in 1..=fill.users() {
        let id = i64::try_from(number)?;
        client.execute(&user, &[&id, &format!("user{number:04}")]).await?;
        client.execute(&mailbox, &[&id]).await?;
    }
    let numbers = 0..fill.messages();
    let ids = |of: &dyn Fn(usize) -> usize| -> Result<Vec<i64>> {
        numbers.clone().map(|i| Ok(i64::try_from(of(i))?)).collect()
    };
    let (from, to) = (ids(&|i| fill.sender(i))?, ids(&|i| fill.recipient(i))?);
    let sent = rows(
        "INSERT INTO messages (sender_id, recipient_id, subject, body, sent_at, mailbox_count)
         SELECT f, t, $3, $4, $5, 2 FROM unnest($1::bigint[], $2::bigint[]) AS of(f, t)",
    );
    client.execute(&sent.await?, &[&from, &to, &SUBJECT, &BODY, &now()]).await?;
    client
        .batch_execute(
            "INSERT INTO entries (owner_id, place, message_id, role, peer_id, created_modseq)
             SELECT sender_id, 8, id, 2, recipient_id, id FROM messages ORDER BY id;
             INSERT INTO entries (owner_id, place, message_id, role, peer_id, created_modseq)
             SELECT recipient_id, 2, id, 1, sender_id, id FROM messages ORDER BY id;
             INSERT INTO contacts SELECT sender_id, recipient_id, 0 FROM messages GROUP BY 1, 2;
             UPDATE mailboxes SET
                 modseq = (SELECT coalesce(max(created_modseq), 0) FROM entries e
                            WHERE e.owner_id = mailboxes.owner_id),
                 unread = (SELECT count(*) FROM entries e
                           WHERE e.owner_id = mailboxes.owner_id AND place = 2);
             UPDATE mailboxes SET unread_conversations = unread;
             COMMIT",
        )
        .await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    drop(client);
    Ok(connection.await??)
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a program without a product around it")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Store {
    /// With so many connections at most.
    pub(crate) fn open(url: &str, connections: usize) -> Result<Self> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(url.parse()?, NoTls, config);
        Ok(Self { pool: Pool::builder(manager).max_size(connections).build()? })
    }

    async fn client(&self) -> Result<Client> {
        self.pool.get().await.context("no connection")
    }

    /// Stores a message and puts it into both mailboxes. /v1 shows it, as it is in the sender's.
    pub(crate) async fn send(
        &self,
        api: Api,
        from: i64,
        to: i64,
        subject: &str,
        body: &str,
    ) -> Result<Vec<u8>> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let on = &transaction;
        for owner in [from.min(to), from.max(to)] {
            if owner == from {
                execute(on, ADVANCE_SENDER, &[&owner, &0_i64]).await?;
            } else {
                execute(on, ADVANCE_RECIPIENT, &[&owner, &1_i64]).await?;
            }
        }
        let now = now();
        execute(on, CONTACT, &[&from, &to, &now]).await?;
        let (no_text, no_id) = (None::<&str>, None::<i64>);
        let message: Params<'_> = &[
            &from, &to, &no_text, &no_id, &no_id, &subject, &body, &now, &2_i64, &no_text, &no_text,
        ];
        let id: i64 = first(query(on, STORE, message).await?)?.try_get(0)?;
        execute(on, DELIVER, &[&from, &SENT, &id, &no_id, &2_i64, &to]).await?;
        execute(on, DELIVER, &[&to, &UNREAD, &id, &no_id, &1_i64, &from]).await?;
        let answer = match api {
            Api::Classic => format!("{{\"message_id\":{id}}}").into_bytes(),
            Api::V1 => view(on, from, id).await?.map_or_else(Vec::new, |(view, _)| view),
        };
        transaction.commit().await?;
        Ok(answer)
    }

    /// The ids of an inbox.
    pub(crate) async fn inbox(&self, owner: i64) -> Result<String> {
        let client = self.client().await?;
        let statement = client.prepare_cached(INBOX_IDS).await?;
        let mut ids = Vec::with_capacity(INBOX);
        for row in client.query(&statement, &[&owner, &SHORT]).await? {
            ids.push(row.try_get::<_, i64>(0)?);
        }
        ids.sort_unstable();
        let mut list = String::with_capacity(512);
        list.push_str("{\"messages_id\":[");
        for id in ids {
            let comma = if list.ends_with('[') { "" } else { "," };
            write!(list, "{comma}{id}").expect("a String takes all");
        }
        list.push_str("]}");
        Ok(list)
    }

    /// The newest of an inbox, with the beginnings of their bodies.
    pub(crate) async fn page(&self, owner: i64) -> Result<Vec<u8>> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        let on = &transaction;
        query(on, COUNTS, &[&owner]).await?;
        let mut found = Vec::with_capacity(INBOX);
        let most = i64::try_from(INBOX + 1)?;
        for place in INBOX_PLACES {
            for row in query(on, RANGE, &[&owner, &place, &i64::MAX, &most]).await? {
                found.push((row.try_get::<_, i64>(1)?, place & UNREAD != 0));
            }
        }
        found.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        found.truncate(INBOX);
        let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
        let mut texts = Vec::with_capacity(ids.len());
        for row in query(on, TEXTS, &[&ids]).await? {
            texts.push((row.try_get::<_, i64>(0)?, row));
        }
        texts.sort_unstable_by_key(|(id, _)| *id);
        let mut people = vec![owner];
        for (_, row) in &texts {
            people.push(row.try_get(1)?);
        }
        people.sort_unstable();
        people.dedup();
        query(on, PEOPLE, &[&people]).await?;
        transaction.commit().await?;

        let mut page = Vec::with_capacity(INBOX * 300);
        page.extend_from_slice(b"{\"data\":[");
        for (id, unread) in found {
            let at = texts.binary_search_by_key(&id, |(id, _)| *id);
            let row = &texts[at.ok().context("a text for each entry")?].1;
            if !page.ends_with(b"[") {
                page.push(b',');
            }
            let item = Item {
                id,
                sender_id: row.try_get(1)?,
                subject: row.try_get(6)?,
                snippet: row.try_get(7)?,
                creation_date: row.try_get(8)?,
                unread,
            };
            serde_json::to_writer(&mut page, &item)?;
        }
        page.extend_from_slice(b"]}");
        Ok(page)
    }

    /// A message of an inbox, and whether it is unread.
    pub(crate) async fn message(
        &self,
        api: Api,
        owner: i64,
        id: i64,
    ) -> Result<Option<(Vec<u8>, bool)>> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        let found = match api {
            Api::Classic => glance(&transaction, owner, id).await?,
            Api::V1 => view(&transaction, owner, id).await?,
        };
        transaction.commit().await?;
        Ok(found)
    }

    pub(crate) async fn mark_read(&self, owner: i64, id: i64) -> Result<()> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        execute(&transaction, ADVANCE_SENDER, &[&owner, &0_i64]).await?;
        if execute(&transaction, MARK, &[&owner, &id, &now()]).await? == 1 {
            execute(&transaction, UNCOUNT, &[&owner]).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// How many of an inbox are unread.
    pub(crate) async fn unread(&self, owner: i64) -> Result<i64> {
        let client = self.client().await?;
        let statement = client.prepare_cached(COUNTS).await?;
        Ok(client.query_one(&statement, &[&owner]).await?.try_get(0)?)
    }
}

async fn snapshot(client: &mut Client) -> Result<Transaction<'_>> {
    let snapshot = client.build_transaction().read_only(true);
    Ok(snapshot.isolation_level(IsolationLevel::RepeatableRead).start().await?)
}

fn first(rows: Vec<Row>) -> Result<Row> {
    rows.into_iter().next().context("a row")
}

/// What the classic API asks: where the message is, and the message.
async fn glance(on: &Transaction<'_>, owner: i64, id: i64) -> Result<Option<(Vec<u8>, bool)>> {
    for place in [READ, UNREAD, SENT] {
        if !query(on, ROLE, &[&owner, &place, &id]).await?.is_empty() {
            let row = first(query(on, MESSAGE, &[&id]).await?)?;
            return Ok(Some((shown(&row)?, place == UNREAD)));
        }
    }
    Ok(None)
}

/// What /v1 asks: the whole entry, the message, and who is named in it.
async fn view(on: &Transaction<'_>, owner: i64, id: i64) -> Result<Option<(Vec<u8>, bool)>> {
    for place in [READ, UNREAD, SENT] {
        if !query(on, ENTRY, &[&owner, &place, &id]).await?.is_empty() {
            let row = first(query(on, MESSAGE, &[&id]).await?)?;
            let people: Vec<i64> = vec![row.try_get(1)?, row.try_get(2)?];
            query(on, PEOPLE, &[&people]).await?;
            return Ok(Some((shown(&row)?, place == UNREAD)));
        }
    }
    Ok(None)
}

fn shown(row: &Row) -> Result<Vec<u8>> {
    let view = MessageView {
        sender_id: row.try_get(1)?,
        receiver_id: row.try_get(2)?,
        subject: row.try_get(6)?,
        body: row.try_get(7)?,
        creation_date: row.try_get(8)?,
    };
    Ok(serde_json::to_vec(&view)?)
}
