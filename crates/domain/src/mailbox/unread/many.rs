//! The unread counts of many users at once, for the app's own server.

use std::collections::HashMap;

use db::{Row, Tx, params};

use crate::base::event::UnreadCounts;
use crate::base::{Cx, EventKind, MessageId, Result, Time, UserId};
use crate::mailbox::envelopes;
use crate::mailbox::place::place;
use crate::outbox::unread_changes;
use crate::outbox::webhooks::{self, Occurrence};

/// What one of many users has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// Whose it is.
    pub user: UserId,
    /// Unread messages in the inbox.
    pub messages: i64,
    /// Conversations with such a message.
    pub conversations: i64,
    /// When the oldest of them was sent.
    pub oldest_at: Option<Time>,
}

/// The columns of [`found`]. The oldest message is the first of a range of the key.
macro_rules! select_counts {
    ($($rest:expr),+) => {
        concat!(
            "SELECT owner_id, unread, unread_conversations, closed_at,
             CASE WHEN unread > 0 THEN (SELECT min(message_id) FROM entries
                 WHERE entries.owner_id = mailboxes.owner_id AND place = ",
            place!(inbox_unread),
            ") END, CASE WHEN unread > 0 THEN (SELECT min(message_id) FROM entries
                 WHERE entries.owner_id = mailboxes.owner_id AND place = ",
            place!(inbox_unread_row),
            ") END FROM mailboxes WHERE ",
            $($rest),+
        )
    };
}

/// A mailbox with something unread, and its oldest unread message.
struct Found {
    unread: Unread,
    oldest: Option<i64>,
    closed: bool,
}

fn found(row: &Row<'_>) -> db::Result<Found> {
    let (alone, in_row) = (row.opt_int(4)?, row.opt_int(5)?);
    let unread = Unread {
        user: UserId::stored(row.int(0)?),
        messages: row.int(1)?,
        conversations: row.int(2)?,
        oldest_at: None,
    };
    let closed = row.opt_int(3)?.is_some();
    Ok(Found { unread, oldest: alone.into_iter().chain(in_row).min(), closed })
}

/// The counts of some hundreds of users, ascending by id, in two statements; users that do not
/// exist are left out.
pub fn counts_of(tx: &mut Tx<'_>, users: &[UserId]) -> Result<Vec<Unread>> {
    let ids: Vec<i64> = users.iter().map(|user| user.get()).collect();
    let sql = select_counts!("owner_id IN (SELECT value FROM json_each(?1)) ORDER BY owner_id");
    let found = tx.query(sql, &params![&*ids], found)?;
    dated(tx, found)
}

/// Adds the times of the oldest messages.
fn dated(tx: &mut Tx<'_>, found: Vec<Found>) -> Result<Vec<Unread>> {
    let oldest = found.iter().filter_map(|found| found.oldest).map(MessageId::stored);
    let times: HashMap<_, _> = envelopes::times(tx, oldest)?.into_iter().collect();
    let dated = |Found { unread, oldest, .. }| {
        let oldest_at = oldest.and_then(|oldest| times.get(&oldest).copied());
        Unread { oldest_at, ..unread }
    };
    Ok(found.into_iter().map(dated).collect())
}

/// Whom a page of users with something unread shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadFilter {
    /// Those who have at least so many unread messages.
    pub least: i64,
    /// Those whose oldest unread message was sent before.
    pub oldest_before: Option<Time>,
}

/// The open mailboxes that the filter shows among the next `limit` that have something unread,
/// ascending by owner, with ids above `after`; and after whom to continue. A page has fewer than
/// `limit` where the filter leaves some out.
pub fn page(
    tx: &mut Tx<'_>,
    filter: UnreadFilter,
    after: Option<UserId>,
    limit: i64,
) -> Result<(Vec<Unread>, Option<UserId>)> {
    let mut found = tx.query(
        select_counts!("unread > 0 AND owner_id > ?1 ORDER BY owner_id LIMIT ?2"),
        &params![after.map_or(0, UserId::get), limit],
        found,
    )?;
    let full = i64::try_from(found.len()).is_ok_and(|length| length == limit);
    let next = found.last().filter(|_| full).map(|last| last.unread.user);
    found.retain(|found| !found.closed && found.unread.messages >= filter.least);
    let mut shown = dated(tx, found)?;
    if let Some(before) = filter.oldest_before {
        shown.retain(|unread| unread.oldest_at.is_some_and(|oldest_at| oldest_at < before));
    }
    Ok((shown, next))
}

/// Whether [`tell_changes`] has something to do. Costs one look at an index.
pub fn has_changes(tx: &mut Tx<'_>, cx: &Cx) -> Result<bool> {
    unread_changes::is_due(tx, cx)
}

/// Records the event `unread.changed` of up to `limit` users whose counts have changed: with the
/// counts as they are now, and for each of them at most every 5 seconds. Returns how many.
pub fn tell_changes(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<usize> {
    let owners = unread_changes::take(tx, cx, limit)?;
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    let counts = tx.query(
        "SELECT owner_id, unread, unread_conversations, modseq FROM mailboxes
         WHERE owner_id IN (SELECT value FROM json_each(?1))",
        &params![&*ids],
        |row| {
            let (messages, conversations) = (row.int(1)?, row.int(2)?);
            let counts = UnreadCounts { messages, conversations, modseq: row.int(3)? };
            Ok((UserId::stored(row.int(0)?), counts))
        },
    )?;
    let event = |(owner, counts)| Occurrence { unread: Some(counts), ..Occurrence::user(owner) };
    let events: Vec<_> = counts.into_iter().map(event).collect();
    webhooks::emit_all(tx, cx, EventKind::UnreadChanged, &events)?;
    Ok(owners.len())
}

/// Removes up to `limit` notes of whom was told more than 5 seconds ago. Returns how many.
pub fn purge_changes(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    unread_changes::purge(tx, cx, limit)
}
