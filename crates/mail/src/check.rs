//! Whether the database makes sense as a whole: what no single statement can promise.

use db::{Tx, params};

use crate::Result;

/// A rule that the data breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: &'static str,
    /// In how many rows.
    pub rows: i64,
}

/// Each rule with the statement that counts what breaks it.
const RULES: &[(&str, &str)] = &[
    (
        "users without a mailbox",
        "SELECT count(*) FROM users WHERE NOT EXISTS
         (SELECT 1 FROM mailboxes WHERE owner_id = users.id)",
    ),
    (
        "mailboxes without a user",
        "SELECT count(*) FROM mailboxes WHERE NOT EXISTS
         (SELECT 1 FROM users WHERE id = mailboxes.owner_id)",
    ),
    (
        "mailboxes that are open while their user is disabled, or the reverse",
        "SELECT count(*) FROM mailboxes JOIN users ON users.id = mailboxes.owner_id
         WHERE (closed_at IS NULL) <> (disabled_at IS NULL)",
    ),
    (
        "sessions without a user",
        "SELECT count(*) FROM sessions WHERE NOT EXISTS
         (SELECT 1 FROM users WHERE id = sessions.user_id AND disabled_at IS NULL)",
    ),
    (
        "entries without a mailbox",
        "SELECT count(*) FROM entries WHERE NOT EXISTS
         (SELECT 1 FROM mailboxes WHERE owner_id = entries.owner_id)",
    ),
    (
        "entries without a message",
        "SELECT count(*) FROM entries WHERE NOT EXISTS
         (SELECT 1 FROM messages WHERE id = entries.message_id)",
    ),
    (
        "entries in the mailbox of neither the sender nor the receiver, or in the wrong role",
        "SELECT count(*) FROM entries JOIN messages ON messages.id = entries.message_id
         WHERE sent <> (sender_id = owner_id) OR received <> (receiver_id = owner_id)
            OR (sent = 0 AND received = 0)",
    ),
    (
        "entries whose mark of being unread and time of reading disagree",
        "SELECT count(*) FROM entries
         WHERE (unread = 1) <> (received = 1 AND read_at IS NULL)",
    ),
    (
        "messages whose number of holders is wrong",
        "SELECT count(*) FROM messages WHERE holders <> (SELECT count(*) FROM entries
         WHERE owner_id IN (sender_id, receiver_id) AND received IN (0, 1)
         AND unread IN (0, 1) AND message_id = messages.id)",
    ),
    ("messages that nobody holds", "SELECT count(*) FROM messages WHERE holders <= 0"),
    (
        "entries that are ahead of their mailbox's counter",
        "SELECT count(*) FROM entries JOIN mailboxes ON mailboxes.owner_id = entries.owner_id
         WHERE changed_seq > counter OR created_seq > changed_seq OR created_seq < 1",
    ),
    (
        "tombstones that are ahead of their mailbox's counter",
        "SELECT count(*) FROM tombstones JOIN mailboxes
         ON mailboxes.owner_id = tombstones.owner_id
         WHERE seq > counter OR created_seq >= seq",
    ),
    (
        "tombstones of what is still there",
        "SELECT count(*) FROM tombstones JOIN entries
         ON entries.owner_id = tombstones.owner_id
         AND entries.message_id = tombstones.message_id",
    ),
    (
        "entries whose order of coming is not the order of their ids",
        "SELECT count(*) FROM (SELECT created_seq,
         lag(created_seq) OVER (PARTITION BY owner_id ORDER BY message_id) AS before
         FROM entries) AS ordered WHERE created_seq <= before",
    ),
];

/// Everything that is wrong; empty is good. It reads the whole database.
pub fn run(tx: &mut Tx<'_>) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (what, sql) in RULES {
        let rows = tx.query_one(sql, &params![], |row| row.int(0))?;
        if rows != 0 {
            problems.push(Problem { what, rows });
        }
    }
    Ok(problems)
}
