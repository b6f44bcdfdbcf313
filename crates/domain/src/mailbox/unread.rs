//! What is unread, in counts, of one user and of many, and as the lists of the classic API.

pub mod many;

use db::{Row, Tx, params};

use crate::accounts::modseq;
pub use crate::base::event::UnreadCounts;
use crate::base::{Cx, Error, MessageId, Missing, Result, UserId};
use crate::mailbox::entries::{self, Entry, Folder};
use crate::mailbox::place::{Place, place, places};

/// The counts of a mailbox, from one row; zeros for a user that does not exist.
pub fn counts(tx: &mut Tx<'_>, owner: UserId) -> Result<UnreadCounts> {
    let counts = tx.query_opt(
        "SELECT unread, unread_conversations, modseq FROM mailboxes WHERE owner_id = ?1",
        &params![owner],
        |row| {
            let (messages, conversations) = (row.int(0)?, row.int(1)?);
            Ok(UnreadCounts { messages, conversations, modseq: row.int(2)? })
        },
    )?;
    Ok(counts.unwrap_or_default())
}

/// The modseqs of some mailboxes.
pub fn modseqs(tx: &mut Tx<'_>, owners: &[i64]) -> Result<Vec<(UserId, i64)>> {
    Ok(tx.query(
        "SELECT owner_id, modseq FROM mailboxes
         WHERE owner_id IN rarray(?1)",
        &params![owners],
        |row| Ok((UserId::stored(row.int(0)?), row.int(1)?)),
    )?)
}

/// The lists of the classic API: received messages outside the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassicList {
    /// All of them.
    Received,
    /// Those that the owner has not read.
    Unread,
}

/// Entries that a step of a list reads at most from each of eight ranges of the key.
const STEP: u16 = 5_000;

/// A whole list, ascending by id, in one statement; `None` where that would have to read more than
/// `limit` entries, for a list that is read in steps.
pub fn ids(
    tx: &mut Tx<'_>,
    owner: UserId,
    list: ClassicList,
    limit: usize,
) -> Result<Option<Vec<MessageId>>> {
    let sql = match list {
        ClassicList::Received => concat!(
            // A negative one was only sent: a second column would cost a sixth of the work.
            "SELECT CASE WHEN role <> 2 THEN message_id ELSE -message_id END
             FROM entries WHERE owner_id = ?1 AND place BETWEEN ",
            place!(inbox_read),
            " AND ",
            place!(archive_unread_row),
            " LIMIT ?2"
        ),
        ClassicList::Unread => concat!(
            "SELECT message_id FROM entries WHERE owner_id = ?1 AND place IN (",
            places!(inbox_unread inbox_unread_row archive_unread archive_unread_row),
            ") LIMIT ?2"
        ),
    };
    let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let found = tx.query(sql, &params![owner, most], |row| row.int(0))?;
    if found.len() > limit {
        return Ok(None);
    }
    let received = found.into_iter().filter(|id| *id > 0).map(MessageId::stored);
    let mut ids: Vec<_> = received.collect();
    // They come as a few ascending runs of the key.
    ids.sort();
    Ok(Some(ids))
}

/// The next part of a list, above `after`; and above which id to go on, where there may be more.
///
/// All parts together are the list, though each is read in a snapshot of its own: an id is read at
/// one moment, whatever range of the key its entry moves to meanwhile.
pub fn next_ids(
    tx: &mut Tx<'_>,
    owner: UserId,
    list: ClassicList,
    after: Option<MessageId>,
) -> Result<(Vec<MessageId>, Option<MessageId>)> {
    let after = after.map_or(0, MessageId::get);
    let read: &[bool] = if list == ClassicList::Unread { &[] } else { &[false] };
    let (mut all, mut end) = (Vec::new(), None);
    for folder in [Folder::Inbox, Folder::Archive] {
        for unread in [true].iter().chain(read) {
            for threaded in [false, true] {
                let place = Place::new(folder, *unread, threaded);
                let found = tx.query(
                    "SELECT message_id, role FROM entries
                     WHERE owner_id = ?1 AND place = ?2 AND message_id > ?3
                     ORDER BY message_id LIMIT ?4",
                    &params![owner, place, after, i64::from(STEP)],
                    id_and_role,
                )?;
                let cut = found.last().filter(|_| found.len() == usize::from(STEP));
                end = end.into_iter().chain(cut.map(|(id, _)| *id)).min();
                all.extend(found);
            }
        }
    }
    // Beyond the end of the shortest range that was not read to its end, others are incomplete.
    all.retain(|(id, _)| end.is_none_or(|end| *id <= end));
    let mut ids = received(&all);
    ids.sort();
    Ok((ids, end))
}

fn id_and_role(row: &Row<'_>) -> db::Result<(MessageId, i64)> {
    Ok((MessageId::stored(row.int(0)?), row.int(1)?))
}

/// The archive may also hold what the owner only sent.
fn received(found: &[(MessageId, i64)]) -> Vec<MessageId> {
    found.iter().filter(|(_, role)| *role != 2).map(|(id, _)| *id).collect()
}

/// Marks a received message as read. Changes no entry where it is read already or was not received.
///
/// # Errors
/// [`Error::NotFound`] where the mailbox does not hold it.
pub fn mark_read(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, message: MessageId) -> Result<()> {
    modseq::advance(tx, owner)?;
    let old = entries::find(tx, owner, message)?.ok_or(Error::NotFound(Missing::Message))?;
    if !old.is_unread() {
        return Ok(());
    }
    let new = Entry { read_at: Some(cx.now), ..old };
    entries::change(tx, cx, owner, &old, &new)
}
