//! Contacts: whom an owner has written to.

use db::{Tx, params};

use crate::base::id::split_ids;
use crate::base::{Cx, MessageId, Result, UserId};
use crate::mailbox::envelopes::{self, BodyPart, Envelope};
use crate::mailbox::place::places;

/// Whether the owner has written to the other. A message that was deleted afterwards counts as
/// well; for one that was withdrawn see [`forget`].
fn has_written(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM contacts WHERE owner_id = ?1 AND peer_id = ?2";
    Ok(tx.query_opt(sql, &params![owner, other], |_| Ok(()))?.is_some())
}

/// Records whom the owner, whose mailbox is locked, has written to. Returns how many of them are
/// new contacts: written to for the first time, and not the ones who have written to the owner
/// before.
pub(crate) fn record(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    to: &[UserId],
    message: MessageId,
) -> Result<i64> {
    const RECORD: &str = "INSERT INTO contacts (owner_id, peer_id, first_at, message_id)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (owner_id, peer_id) DO NOTHING";
    let row = |other: &UserId| params![owner, *other, cx.now, message];
    if let [other] = to {
        let is_first = *other != owner && tx.execute(RECORD, &row(other))? == 1;
        return Ok(i64::from(is_first && !has_written(tx, *other, owner)?));
    }
    let others: Vec<_> = to.iter().copied().filter(|other| *other != owner).collect();
    let ids: Vec<i64> = others.iter().map(|other| other.get()).collect();
    let known = tx.query(
        "SELECT peer_id FROM contacts WHERE owner_id = ?1 AND peer_id IN rarray(?2)",
        &params![owner, &*ids],
        |row| row.int(0),
    )?;
    let first: Vec<_> = others.iter().filter(|other| !known.contains(&other.get())).collect();
    if first.is_empty() {
        return Ok(0);
    }
    let rows: Vec<_> = first.iter().map(|other| row(other)).collect();
    tx.batch(RECORD, &rows)?;
    let ids: Vec<i64> = first.iter().map(|other| other.get()).collect();
    let wrote_before = tx.query(
        "SELECT owner_id FROM contacts WHERE owner_id IN rarray(?1) AND peer_id = ?2",
        &params![&*ids, owner],
        |_| Ok(()),
    )?;
    Ok(i64::try_from(first.len() - wrote_before.len()).unwrap_or(i64::MAX))
}

/// How many later messages of a folder are searched for one to somebody from whom the first was
/// withdrawn.
const LATER_SEARCHED: i64 = 1000;

/// Of up to [`LATER_SEARCHED`] messages of a mailbox in some places those that somebody may have
/// sent.
macro_rules! some_above {
    ($($place:ident)*) => {
        concat!(
            "SELECT message_id FROM (
                 SELECT message_id, role, peer_id FROM entries
                 WHERE owner_id = ?1 AND place IN (",
            places!($($place)*),
            ") AND message_id > ?2 LIMIT ?3
             ) AS later WHERE peer_id = ?4 OR peer_id IS NULL OR role >= 2"
        )
    };
}

const SENT: &str = some_above!(sent sent_row);
const INBOX: &str = some_above!(inbox_read inbox_read_row inbox_unread inbox_unread_row);
const PUT_AWAY: &str = some_above!(archive_read archive_read_row archive_unread archive_unread_row
    trash_read trash_read_row trash_unread trash_unread_row);

/// Messages above one that a mailbox still holds, that the sender has sent and not withdrawn.
struct Later {
    envelopes: Vec<Envelope>,
    unsent: Vec<(MessageId, UserId)>,
}

impl Later {
    fn of(
        tx: &mut Tx<'_>,
        (sender, holder): (UserId, UserId),
        message: MessageId,
        places: [&'static str; 2],
    ) -> Result<Self> {
        let mut ids = Vec::new();
        for sql in places {
            ids.extend(tx.query(
                sql,
                &params![holder, message, LATER_SEARCHED, sender],
                |row| Ok(MessageId::stored(row.int(0)?)),
            )?);
        }
        let unsent = unsent(tx, &ids)?;
        let mut envelopes = envelopes::load(tx, ids, BodyPart::Snippet)?;
        envelopes.retain(|later| later.from == sender);
        Ok(Self { envelopes, unsent })
    }

    /// One that has reached that user.
    fn to(&self, user: UserId) -> Option<&Envelope> {
        let reached = |later: &&Envelope| {
            later.to.contains(&user) && !self.unsent.contains(&(later.id, user))
        };
        self.envelopes.iter().find(reached)
    }
}

/// Forgets that the owner has written to `others`, from whom a message was withdrawn before they
/// ever read it: what nobody saw opens no door. They stay contacts where it was not the first
/// message to them, or one of the two still holds a later one that was not withdrawn as well.
pub(crate) fn forget(
    tx: &mut Tx<'_>,
    owner: UserId,
    withdrawn: MessageId,
    others: &[UserId],
) -> Result<()> {
    if others.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = others.iter().map(|other| other.get()).collect();
    let strangers = tx.query(
        "SELECT peer_id FROM contacts WHERE owner_id = ?1
         AND peer_id IN rarray(?2) AND message_id = ?3",
        &params![owner, &*ids, withdrawn],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    if strangers.is_empty() {
        return Ok(());
    }
    let own = Later::of(tx, (owner, owner), withdrawn, [SENT, PUT_AWAY])?;
    for stranger in strangers {
        // Most are found here, without a look into the mailbox of each.
        let mut theirs = None;
        if own.to(stranger).is_none() {
            theirs = Some(Later::of(tx, (owner, stranger), withdrawn, [INBOX, PUT_AWAY])?);
        }
        match theirs.as_ref().unwrap_or(&own).to(stranger) {
            Some(later) => tx.execute(
                "UPDATE contacts SET first_at = ?3, message_id = ?4
                 WHERE owner_id = ?1 AND peer_id = ?2",
                &params![owner, stranger, later.sent_at, later.id],
            )?,
            None => tx.execute(
                "DELETE FROM contacts WHERE owner_id = ?1 AND peer_id = ?2",
                &params![owner, stranger],
            )?,
        };
    }
    Ok(())
}

/// Which of these messages were withdrawn from whom before they ever read them.
pub(crate) fn unsent(tx: &mut Tx<'_>, messages: &[MessageId]) -> Result<Vec<(MessageId, UserId)>> {
    let ids: Vec<i64> = messages.iter().map(|message| message.get()).collect();
    let unsent = tx.query(
        "SELECT id, unsent_from FROM messages
         WHERE id IN rarray(?1) AND unsent_from IS NOT NULL",
        &params![&*ids],
        |row| {
            let id = MessageId::stored(row.int(0)?);
            Ok(split_ids(row.text(1)?).map(|user| (id, user)).collect::<Vec<_>>())
        },
    )?;
    Ok(unsent.into_iter().flatten().collect())
}
