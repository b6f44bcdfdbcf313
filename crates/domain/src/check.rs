//! Consistency of the database as a whole: what no single statement can promise.

use db::{Tx, params};

use crate::base::Result;
use crate::mailbox::conversation_rows::has_row;
use crate::mailbox::place::{place, places};

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: &'static str,
    /// The number of rows that break the rule.
    pub rows: i64,
}

/// A rule that each row of a table has its row in another.
macro_rules! without {
    ($table:literal, $name:literal, $other:literal, $condition:literal) => {
        (
            concat!($table, " without ", $name),
            concat!(
                "SELECT count(*) FROM ",
                $table,
                " WHERE NOT EXISTS (SELECT 1 FROM ",
                $other,
                " WHERE ",
                $condition,
                ")"
            ),
        )
    };
}

/// Each rule, with the statement that counts the rows that break it.
const RULES: &[(&str, &str)] = &[
    without!("users", "a mailbox", "mailboxes", "owner_id = users.id"),
    without!("mailboxes", "a user", "users", "id = mailboxes.owner_id"),
    (
        "mailboxes that are open while their user is disabled, or the reverse",
        "SELECT count(*) FROM mailboxes JOIN users ON users.id = mailboxes.owner_id
         WHERE (closed_at IS NULL) <> (disabled_at IS NULL)",
    ),
    without!("sessions", "a user", "users", "id = sessions.user_id AND disabled_at IS NULL"),
    (
        "words of the names of erased users",
        "SELECT count(*) FROM name_words JOIN users ON users.id = name_words.user_id
         WHERE erased_at IS NOT NULL",
    ),
    without!("reminders", "a mailbox", "mailboxes", "owner_id = reminders.owner_id"),
    without!("entries", "a mailbox", "mailboxes", "owner_id = entries.owner_id"),
    without!("entries", "a message", "messages", "id = entries.message_id"),
    (
        "entries in the mailbox of neither the sender nor a recipient, or in the wrong role",
        "SELECT count(*) FROM entries JOIN messages ON messages.id = entries.message_id
         WHERE (role >= 2) <> (sender_id = owner_id) OR (role % 2 = 1) <> (recipient_id = owner_id
             OR (',' || coalesce(other_recipients, '') || ',') LIKE ('%,' || owner_id || ',%'))
            OR role NOT IN (1, 2, 3)",
    ),
    (
        "entries in another place than their marks say",
        "SELECT count(*) FROM entries
         WHERE place / 4 <> CASE WHEN trashed_at IS NOT NULL THEN 3
                                 WHEN archived_at IS NOT NULL THEN 1
                                 WHEN role = 2 THEN 2 ELSE 0 END
            OR (place / 2 % 2 = 1) <> (role <> 2 AND read_at IS NULL)
            OR (role = 2 AND coalesce(read_at, first_read_at) IS NOT NULL)",
    ),
    (
        "entries whose conversation or peer is not the one of their message",
        "SELECT count(*) FROM entries JOIN messages ON messages.id = entries.message_id
         WHERE coalesce(entries.conversation_id, message_id)
               <> coalesce(messages.conversation_id, messages.id)
            OR coalesce(peer_id, 0) <> CASE WHEN other_recipients IS NOT NULL THEN 0
                WHEN sender_id = owner_id THEN recipient_id ELSE sender_id END",
    ),
    (
        "entries whose place disagrees about whether their conversation has a row",
        concat!(
            "SELECT count(*) FROM entries WHERE (",
            has_row!(),
            ") <> EXISTS (SELECT 1 FROM conversations
         WHERE conversations.owner_id = entries.owner_id
           AND conversations.conversation_id = coalesce(entries.conversation_id, message_id))
            OR (place % 2 = 0) <> (conversation_id IS NULL)"
        ),
    ),
    (
        "conversations without a message that are not muted and emptied, or the reverse",
        concat!(
            "SELECT count(*) FROM conversations WHERE (participants = '') = EXISTS
         (SELECT 1 FROM entries WHERE entries.owner_id = conversations.owner_id AND ",
            has_row!(),
            "
           AND entries.conversation_id = conversations.conversation_id)
            OR (participants = '' AND (muted_at IS NULL OR subject <> ''))"
        ),
    ),
    (
        "conversations whose last message or unread count is wrong",
        concat!(
            "SELECT count(*) FROM conversations WHERE
         coalesce(last_message_id, 0) <> (SELECT coalesce(max(message_id), 0) FROM entries
            WHERE entries.owner_id = conversations.owner_id AND ",
            has_row!(),
            " AND place < ",
            place!(trash_read),
            "
              AND entries.conversation_id = conversations.conversation_id)
         OR unread <> (SELECT count(*) FROM entries
            WHERE entries.owner_id = conversations.owner_id AND place = ",
            place!(inbox_unread_row),
            "
              AND entries.conversation_id = conversations.conversation_id)"
        ),
    ),
    (
        "mailboxes whose unread counts are wrong",
        concat!(
            "SELECT count(*) FROM mailboxes WHERE
         unread <> (SELECT count(*) FROM entries
            WHERE entries.owner_id = mailboxes.owner_id AND place IN (",
            places!(inbox_unread inbox_unread_row),
            "))
         OR unread_conversations <> (SELECT count(DISTINCT coalesce(conversation_id, message_id))
            FROM entries WHERE entries.owner_id = mailboxes.owner_id AND place IN (",
            places!(inbox_unread inbox_unread_row),
            "))"
        ),
    ),
    (
        "mailboxes whose oldest unread message was sent at another time",
        concat!(
            "SELECT count(*) FROM mailboxes WHERE unread > 0 AND oldest_unread_at <>
         (SELECT sent_at FROM messages WHERE id = (SELECT min(message_id) FROM entries
            WHERE entries.owner_id = mailboxes.owner_id AND place IN (",
            places!(inbox_unread inbox_unread_row),
            ")))"
        ),
    ),
    (
        "entries whose time in the trash is not the one in the table trash",
        "SELECT count(*) FROM entries LEFT JOIN trash
         ON trash.owner_id = entries.owner_id AND trash.message_id = entries.message_id
         WHERE coalesce(entries.trashed_at, 0) <> coalesce(trash.trashed_at, 0)",
    ),
    (
        "rows of the table trash without an entry in the trash",
        concat!(
            "SELECT count(*) FROM trash WHERE NOT EXISTS
         (SELECT 1 FROM entries WHERE entries.owner_id = trash.owner_id
          AND place BETWEEN ",
            place!(trash_read),
            " AND ",
            place!(trash_unread_row),
            " AND entries.message_id = trash.message_id)"
        ),
    ),
    (
        "mailboxes whose number of blocks is wrong",
        "SELECT count(*) FROM mailboxes WHERE blocks <>
         (SELECT count(*) FROM blocks WHERE blocks.owner_id = mailboxes.owner_id)",
    ),
    (
        "messages whose mailbox count is wrong",
        "SELECT count(*) FROM messages LEFT JOIN
         (SELECT message_id, count(*) AS number FROM entries GROUP BY message_id) AS held
         ON held.message_id = messages.id WHERE mailbox_count <> coalesce(number, 0)",
    ),
    ("messages that no mailbox holds", "SELECT count(*) FROM messages WHERE mailbox_count <= 0"),
    (
        "entries that are ahead of their mailbox's modseq",
        "SELECT count(*) FROM entries JOIN mailboxes ON mailboxes.owner_id = entries.owner_id
         WHERE coalesce(changed_modseq, created_modseq) > modseq OR created_modseq >= changed_modseq
            OR created_modseq < 1",
    ),
    (
        "tombstones that are ahead of their mailbox's modseq",
        "SELECT count(*) FROM tombstones JOIN mailboxes
         ON mailboxes.owner_id = tombstones.owner_id
         WHERE tombstones.modseq > mailboxes.modseq OR created_modseq >= tombstones.modseq",
    ),
    (
        "modseqs of a mailbox at which more than one thing happened",
        "SELECT count(*) FROM (SELECT 1 FROM
            (SELECT owner_id, created_modseq AS modseq FROM entries UNION ALL
             SELECT owner_id, changed_modseq FROM entries WHERE changed_modseq IS NOT NULL UNION ALL
             SELECT owner_id, modseq FROM tombstones) AS happened
         GROUP BY owner_id, modseq HAVING count(*) > 1) AS shared",
    ),
    (
        "tombstones of messages that the mailbox holds",
        "SELECT count(*) FROM tombstones JOIN entries
         ON entries.owner_id = tombstones.owner_id
         AND entries.message_id = tombstones.message_id",
    ),
    (
        "callers whose number of stored responses, or of their bytes, is wrong",
        "SELECT count(*) FROM (SELECT 1 FROM
            (SELECT holder_id, 1 AS responses, length(response) AS bytes FROM stored_responses
             WHERE holder_id <> 0 UNION ALL
             SELECT owner_id, -responses, -bytes FROM stored_counts) AS stored
         GROUP BY holder_id HAVING sum(responses) <> 0 OR sum(bytes) <> 0) AS wrong",
    ),
    (
        "webhook deliveries without an event",
        "SELECT count(*) FROM webhook_deliveries WHERE NOT EXISTS
         (SELECT 1 FROM webhook_events WHERE id = webhook_deliveries.event_id)",
    ),
    // Where clocks differ by no more than is believed of one. What is dated later than the newest
    // message was dated by a clock that was ahead, and says nothing of the others.
    (
        "messages dated long before one with a lower id",
        "SELECT count(*) FROM (SELECT sent_at, max(sent_at) OVER (ORDER BY id
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM messages
             WHERE sent_at <= 259200000000
                 + (SELECT sent_at FROM messages ORDER BY id DESC LIMIT 1))
         AS dated WHERE sent_at < before - 259200000000",
    ),
    (
        "entries whose modseqs do not ascend with their ids",
        "SELECT count(*) FROM (SELECT created_modseq,
         lag(created_modseq) OVER (PARTITION BY owner_id ORDER BY message_id) AS before
         FROM entries) AS ordered WHERE created_modseq <= before",
    ),
];

/// The names of all rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

/// All broken rules; empty for a consistent database. Reads the whole database.
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
