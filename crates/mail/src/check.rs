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
        "reminders of nobody",
        "SELECT count(*) FROM reminders WHERE NOT EXISTS
         (SELECT 1 FROM mailboxes WHERE owner_id = reminders.owner_id)",
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
        "entries in the mailbox of neither the sender nor a receiver, or in the wrong role",
        "SELECT count(*) FROM entries JOIN messages ON messages.id = entries.message_id
         WHERE (role >= 2) <> (sender_id = owner_id) OR (role % 2 = 1) <> (receiver_id = owner_id
             OR (',' || coalesce(others, '') || ',') LIKE ('%,' || owner_id || ',%'))
            OR role NOT IN (1, 2, 3)",
    ),
    (
        "entries in another place than their marks say",
        "SELECT count(*) FROM entries
         WHERE place / 4 <> CASE WHEN trashed_at IS NOT NULL THEN 3
                                 WHEN archived_at IS NOT NULL THEN 1
                                 WHEN role = 2 THEN 2 ELSE 0 END
            OR (place / 2 % 2 = 1) <> (role <> 2 AND read_at IS NULL)
            OR (role = 2 AND read_at IS NOT NULL)",
    ),
    (
        "entries whose conversation or peer is not the one of their message",
        "SELECT count(*) FROM entries JOIN messages ON messages.id = entries.message_id
         WHERE coalesce(entries.conversation_id, message_id)
               <> coalesce(messages.conversation_id, messages.id)
            OR coalesce(peer_id, 0) <> CASE WHEN others IS NOT NULL THEN 0
                WHEN sender_id = owner_id THEN receiver_id ELSE sender_id END",
    ),
    (
        "entries whose conversation has a row and which do not say so, or the reverse",
        "SELECT count(*) FROM entries WHERE (place % 2 = 1) <> EXISTS (SELECT 1 FROM threads
         WHERE threads.owner_id = entries.owner_id
           AND threads.conversation_id = coalesce(entries.conversation_id, message_id))
            OR (place % 2 = 0) <> (conversation_id IS NULL)",
    ),
    (
        "conversations without a message",
        "SELECT count(*) FROM threads WHERE NOT EXISTS (SELECT 1 FROM entries
         WHERE entries.owner_id = threads.owner_id AND place % 2 = 1
           AND entries.conversation_id = threads.conversation_id)",
    ),
    (
        "conversations whose last message or number of unread ones is wrong",
        "SELECT count(*) FROM threads WHERE
         coalesce(last_message_id, 0) <> (SELECT coalesce(max(message_id), 0) FROM entries
            WHERE entries.owner_id = threads.owner_id AND place % 2 = 1 AND place < 12
              AND entries.conversation_id = threads.conversation_id)
         OR unread <> (SELECT count(*) FROM entries
            WHERE entries.owner_id = threads.owner_id AND place = 3
              AND entries.conversation_id = threads.conversation_id)",
    ),
    (
        "mailboxes whose counts of the unread are wrong",
        "SELECT count(*) FROM mailboxes WHERE
         unread <> (SELECT count(*) FROM entries
            WHERE entries.owner_id = mailboxes.owner_id AND place IN (2, 3))
         OR unread_conversations <> (SELECT count(DISTINCT coalesce(conversation_id, message_id))
            FROM entries WHERE entries.owner_id = mailboxes.owner_id AND place IN (2, 3))",
    ),
    (
        "entries in the trash of which the trash does not know since when",
        "SELECT count(*) FROM entries LEFT JOIN trash
         ON trash.owner_id = entries.owner_id AND trash.message_id = entries.message_id
         WHERE coalesce(entries.trashed_at, 0) <> coalesce(trash.trashed_at, 0)",
    ),
    (
        "what the trash knows of and does not hold",
        "SELECT count(*) FROM trash WHERE NOT EXISTS
         (SELECT 1 FROM entries WHERE entries.owner_id = trash.owner_id
          AND place BETWEEN 12 AND 15 AND entries.message_id = trash.message_id)",
    ),
    (
        "mailboxes whose number of blocks is wrong",
        "SELECT count(*) FROM mailboxes WHERE blocks <>
         (SELECT count(*) FROM blocks WHERE blocks.owner_id = mailboxes.owner_id)",
    ),
    (
        "messages whose number of holders is wrong",
        "SELECT count(*) FROM messages LEFT JOIN
         (SELECT message_id, count(*) AS number FROM entries GROUP BY message_id) AS held
         ON held.message_id = messages.id WHERE holders <> coalesce(number, 0)",
    ),
    ("messages that nobody holds", "SELECT count(*) FROM messages WHERE holders <= 0"),
    (
        "entries that are ahead of their mailbox's counter",
        "SELECT count(*) FROM entries JOIN mailboxes ON mailboxes.owner_id = entries.owner_id
         WHERE coalesce(changed_seq, created_seq) > counter OR created_seq >= changed_seq
            OR created_seq < 1",
    ),
    (
        "tombstones that are ahead of their mailbox's counter",
        "SELECT count(*) FROM tombstones JOIN mailboxes
         ON mailboxes.owner_id = tombstones.owner_id
         WHERE seq > counter OR created_seq >= seq",
    ),
    (
        "numbers of a mailbox at which more than one thing happened",
        "SELECT count(*) FROM (SELECT 1 FROM
            (SELECT owner_id, created_seq AS seq FROM entries UNION ALL
             SELECT owner_id, changed_seq FROM entries WHERE changed_seq IS NOT NULL UNION ALL
             SELECT owner_id, seq FROM tombstones) AS happened
         GROUP BY owner_id, seq HAVING count(*) > 1) AS shared",
    ),
    (
        "tombstones of what is still there",
        "SELECT count(*) FROM tombstones JOIN entries
         ON entries.owner_id = tombstones.owner_id
         AND entries.message_id = tombstones.message_id",
    ),
    (
        "what a webhook is to be told of, and that is not there",
        "SELECT count(*) FROM webhook_deliveries WHERE NOT EXISTS
         (SELECT 1 FROM webhook_events WHERE id = webhook_deliveries.event_id)",
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
