//! The unread counts of many users at once, for the app's own server.

use std::collections::HashMap;

use db::{Row, Tx, params};

use crate::accounts::users::{self, Person, person_columns};
use crate::base::event::UnreadCounts;
use crate::base::id::each_once;
use crate::base::{Cx, EventKind, MessageId, Result, Time, UserId};
use crate::mailbox::envelopes;
use crate::mailbox::place::place;
use crate::outbox::unread_changes;
use crate::outbox::webhooks::{self, Occurrence};

/// What one of many users has not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Whose it is.
    pub user: Person,
    /// Unread messages in the inbox.
    pub messages: i64,
    /// Conversations with such a message.
    pub conversations: i64,
    /// When the oldest of them was sent.
    pub oldest_at: Option<Time>,
}

/// The columns of [`unread`], which join mailboxes with their users.
macro_rules! unread_columns {
    () => {
        concat!(person_columns!(), ", unread, unread_conversations, oldest_unread_at")
    };
}

fn unread(row: &Row<'_>) -> db::Result<Unread> {
    let (user, messages) = (Person::read(row)?, row.int(5)?);
    let oldest_at = row.opt_int(7)?.filter(|_| messages > 0).map(Time);
    Ok(Unread { user, messages, conversations: row.int(6)?, oldest_at })
}

/// The counts of up to some thousand users, each once, ascending by id, in one statement, or three
/// where something was read. Users that do not exist or are erased are left out.
pub fn counts_of(tx: &mut Tx<'_>, users: &[UserId]) -> Result<Vec<Unread>> {
    let ids = each_once(users.iter().map(|user| user.get()));
    let mut found = tx.query(
        concat!(
            "SELECT ",
            unread_columns!(),
            " FROM rarray(?1) JOIN mailboxes ON owner_id = value JOIN users ON users.id = owner_id"
        ),
        &params![&*ids],
        unread,
    )?;
    found.sort_by_key(|unread| unread.user.id);
    found.retain(|unread| unread.user.username != users::ERASED);
    look_up_oldest(tx, &mut found)?;
    Ok(found)
}

/// Looks up the time of the oldest message where the mailbox does not say it.
fn look_up_oldest(tx: &mut Tx<'_>, found: &mut [Unread]) -> Result<()> {
    let is_unknown = |unread: &Unread| unread.messages > 0 && unread.oldest_at.is_none();
    let unknown = found.iter().filter(|unread| is_unknown(unread));
    let unknown: Vec<i64> = unknown.map(|unread| unread.user.id.get()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    // The oldest message is the first of one of two ranges of the key.
    let oldest: HashMap<_, _> = tx
        .query(
            concat!(
                "SELECT owner_id, (SELECT min(message_id) FROM entries
                     WHERE entries.owner_id = mailboxes.owner_id AND place = ",
                place!(inbox_unread),
                "), (SELECT min(message_id) FROM entries
                     WHERE entries.owner_id = mailboxes.owner_id AND place = ",
                place!(inbox_unread_row),
                ") FROM mailboxes WHERE owner_id IN rarray(?1)"
            ),
            &params![&*unknown],
            |row| {
                let oldest = row.opt_int(1)?.into_iter().chain(row.opt_int(2)?).min();
                Ok((UserId::stored(row.int(0)?), oldest))
            },
        )?
        .into_iter()
        .filter_map(|(owner, oldest)| Some((owner, oldest?)))
        .collect();
    let times = envelopes::times(tx, oldest.values().copied().map(MessageId::stored))?;
    let times: HashMap<_, _> = times.into_iter().collect();
    for unread in found.iter_mut().filter(|unread| is_unknown(unread)) {
        let oldest = oldest.get(&unread.user.id);
        unread.oldest_at = oldest.and_then(|oldest| times.get(oldest).copied());
    }
    Ok(())
}

/// Whom a page of users with something unread shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadFilter {
    /// Those who have at least so many unread messages.
    pub least: i64,
    /// Those whose oldest unread message was sent before.
    pub oldest_before: Option<Time>,
}

/// The mailboxes that a page looks at, at most. An index of those with something unread would save
/// that look, and cost every send a page to write.
pub const LOOKED_AT: i64 = 10_000;

/// Up to `limit` of the users whom the filter shows, active and ascending by id above `after`; and
/// after whom to continue. A page has fewer than `limit` where few of the users that it looks at
/// have something unread, or the oldest message leaves some out.
pub fn page(
    tx: &mut Tx<'_>,
    filter: UnreadFilter,
    after: Option<UserId>,
    limit: i64,
) -> Result<(Vec<Unread>, Option<UserId>)> {
    let after = after.map_or(0, UserId::get);
    let last = tx.query_opt(
        "SELECT owner_id FROM mailboxes WHERE owner_id > ?1 ORDER BY owner_id LIMIT 1 OFFSET ?2",
        &params![after, LOOKED_AT - 1],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    let mut found = tx.query(
        concat!(
            "SELECT ",
            unread_columns!(),
            " FROM mailboxes JOIN users ON users.id = owner_id
             WHERE owner_id > ?1 AND owner_id <= ?2 AND unread >= ?3 AND closed_at IS NULL
             ORDER BY owner_id LIMIT ?4"
        ),
        &params![after, last.map_or(i64::MAX, UserId::get), filter.least, limit],
        unread,
    )?;
    let full = i64::try_from(found.len()).is_ok_and(|length| length == limit);
    let next = if full { found.last().map(|unread| unread.user.id) } else { last };
    look_up_oldest(tx, &mut found)?;
    if let Some(before) = filter.oldest_before {
        found.retain(|unread| unread.oldest_at.is_some_and(|oldest_at| oldest_at < before));
    }
    Ok((found, next))
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
         WHERE owner_id IN rarray(?1)",
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
