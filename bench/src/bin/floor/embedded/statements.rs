//! The tables of the floor, the statements over them, and what is made of their rows.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use bench::{BODY, Fill, INBOX, SUBJECT};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::views::{Item, MessageView};

/// What a mailbox says of a message stands in the order of its owner, so that a list is one range.
///
/// The unread are counted up to a message whenever one is read; those above it are all unread. So
/// the count is one row and the end of a range, and a send writes nothing for it: a modseq or an
/// index of the unread would make each send of the floor dearer, and w1 look better than it is.
const TABLES: &str = "
    CREATE TABLE message(
        id INTEGER PRIMARY KEY, sender INTEGER NOT NULL, recipient INTEGER NOT NULL,
        subject TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL);
    CREATE TABLE inbox(
        owner INTEGER NOT NULL, id INTEGER NOT NULL, unread INTEGER NOT NULL,
        PRIMARY KEY(owner, id)) WITHOUT ROWID;
    CREATE TABLE counted(
        owner INTEGER PRIMARY KEY, up_to INTEGER NOT NULL, unread INTEGER NOT NULL);";

pub(crate) fn open(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(database)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32000;
         PRAGMA busy_timeout = 5000; PRAGMA wal_autocheckpoint = 0;",
    )?;
    // Plans must not depend on bound values: else SQLite 3.54 prepares every join again each time,
    // because the statement cache of rusqlite clears the bindings.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

pub(crate) fn fill(connection: &Connection, fill: Fill) -> Result<()> {
    connection.execute_batch("BEGIN")?;
    connection.execute_batch(TABLES)?;
    for owner in 1..=fill.users() {
        let owner = i64::try_from(owner)?;
        connection.prepare_cached("INSERT INTO counted VALUES (?, 0, 0)")?.execute([owner])?;
    }
    for i in 0..fill.messages() {
        let (from, to) = (i64::try_from(fill.sender(i))?, i64::try_from(fill.recipient(i))?);
        send(connection, from, to, SUBJECT, BODY)?;
    }
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// The id of the new message.
pub(crate) fn send(
    connection: &Connection,
    from: i64,
    to: i64,
    subject: &str,
    body: &str,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO message(sender, recipient, subject, body, created)
             VALUES (?, ?, ?, ?, unixepoch())",
        )?
        .execute(params![from, to, subject, body])?;
    let id = connection.last_insert_rowid();
    connection.prepare_cached("INSERT INTO inbox VALUES (?, ?, 1)")?.execute([to, id])?;
    Ok(id)
}

pub(crate) fn mark_read(connection: &Connection, owner: i64, id: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE inbox SET unread = 0 WHERE owner = ? AND id = ?")?
        .execute([owner, id])?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO counted
             SELECT owner, max(id), sum(unread) FROM inbox WHERE owner = ? GROUP BY owner",
        )?
        .execute([owner])?;
    Ok(())
}

/// The ids of an inbox.
pub(crate) fn inbox(connection: &Connection, owner: i64) -> rusqlite::Result<String> {
    let mut ids = String::with_capacity(512);
    ids.push_str("{\"messages_id\":[");
    let mut list = connection.prepare_cached("SELECT id FROM inbox WHERE owner = ?")?;
    let mut rows = list.query([owner])?;
    while let Some(row) = rows.next()? {
        let comma = if ids.ends_with('[') { "" } else { "," };
        write!(ids, "{comma}{}", row.get::<_, i64>(0)?).expect("a String takes all");
    }
    ids.push_str("]}");
    Ok(ids)
}

/// The newest of an inbox, with the beginnings of their bodies.
pub(crate) fn page(connection: &Connection, owner: i64) -> rusqlite::Result<Vec<u8>> {
    let mut page = Vec::with_capacity(INBOX * 300);
    page.extend_from_slice(b"{\"data\":[");
    let mut list = connection.prepare_cached(
        "SELECT m.id, m.sender, m.subject, substr(m.body, 1, 140), m.created, i.unread
         FROM inbox i JOIN message m ON m.id = i.id
         WHERE i.owner = ? ORDER BY i.id DESC LIMIT 50",
    )?;
    let mut rows = list.query([owner])?;
    while let Some(row) = rows.next()? {
        if !page.ends_with(b"[") {
            page.push(b',');
        }
        let item = Item {
            id: row.get(0)?,
            sender_id: row.get(1)?,
            subject: row.get_ref(2)?.as_str()?,
            snippet: row.get_ref(3)?.as_str()?,
            creation_date: row.get(4)?,
            unread: row.get(5)?,
        };
        serde_json::to_writer(&mut page, &item).expect("a Vec takes all");
    }
    page.extend_from_slice(b"]}");
    Ok(page)
}

/// A message of an inbox, and whether it is unread.
pub(crate) fn message(
    connection: &Connection,
    owner: i64,
    id: i64,
) -> rusqlite::Result<Option<(Vec<u8>, bool)>> {
    let mut one = connection.prepare_cached(
        "SELECT m.sender, m.subject, m.body, m.created, i.unread
         FROM inbox i JOIN message m ON m.id = i.id WHERE i.owner = ? AND i.id = ?",
    )?;
    one.query_row([owner, id], |row| {
        let view = MessageView {
            sender_id: row.get(0)?,
            receiver_id: owner,
            subject: row.get_ref(1)?.as_str()?,
            body: row.get_ref(2)?.as_str()?,
            creation_date: row.get(3)?,
        };
        let view = serde_json::to_vec(&view).expect("a Vec takes all");
        Ok((view, row.get(4)?))
    })
    .optional()
}

/// How many of an inbox are unread.
pub(crate) fn unread(connection: &Connection, owner: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT c.unread
                 + (SELECT count(*) FROM inbox i WHERE i.owner = c.owner AND i.id > c.up_to)
             FROM counted c WHERE c.owner = ?",
        )?
        .query_row([owner], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Users 1 to 3 without messages.
    fn empty() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection
            .execute_batch("INSERT INTO counted VALUES (1, 0, 0), (2, 0, 0), (3, 0, 0)")
            .unwrap();
        connection
    }

    #[test]
    fn a_page_is_the_newest_of_one_inbox_with_snippets() {
        let connection = empty();
        for _ in 0..60 {
            send(&connection, 2, 1, SUBJECT, BODY).unwrap();
            send(&connection, 1, 3, SUBJECT, BODY).unwrap();
        }
        let page: Value = serde_json::from_slice(&page(&connection, 1).unwrap()).unwrap();
        let data = page["data"].as_array().unwrap();
        let ids = data.iter().map(|item| item["id"].as_i64().unwrap()).collect::<Vec<_>>();
        assert_eq!(ids, (0..50).map(|k| 119 - 2 * k).collect::<Vec<_>>());
        assert_eq!(data[0]["snippet"], BODY[..140]);
        assert_eq!(data[0]["unread"], true);
    }

    #[test]
    fn the_unread_are_counted_whatever_was_sent_and_read_in_between() {
        let connection = empty();
        let unread = |owner| unread(&connection, owner).unwrap();
        let ids = [2, 3, 2, 3].map(|from| send(&connection, from, 1, SUBJECT, BODY).unwrap());
        assert_eq!((unread(1), unread(2)), (4, 0));
        mark_read(&connection, 1, ids[1]).unwrap();
        mark_read(&connection, 1, ids[1]).unwrap();
        assert_eq!(unread(1), 3);
        let last = send(&connection, 2, 1, SUBJECT, BODY).unwrap();
        assert_eq!(unread(1), 4);
        mark_read(&connection, 1, last).unwrap();
        mark_read(&connection, 1, ids[0]).unwrap();
        assert_eq!(unread(1), 2);
    }

    #[test]
    fn a_message_is_unread_until_it_is_marked_and_found_by_its_owner_only() {
        let connection = empty();
        let id = send(&connection, 2, 1, SUBJECT, BODY).unwrap();
        let is_unread = |owner| message(&connection, owner, id).unwrap().map(|(_, unread)| unread);
        assert_eq!((is_unread(1), is_unread(2)), (Some(true), None));
        mark_read(&connection, 1, id).unwrap();
        assert_eq!(is_unread(1), Some(false));
    }
}
