//! Admission: whether a mailbox takes a message from a sender.
//!
//! What counts is the two people and what the owner has done: blocked the sender, or written to
//! them. What the sender or others have done opens no mailbox, and neither does a conversation
//! that both are in. Whom an owner has written to is recorded in `contacts`.

use db::{Tx, params};

use crate::accounts::modseq;
use crate::accounts::users::{self, AcceptFrom};
use crate::base::id::split_ids;
use crate::base::{Cx, Error, MessageId, Refusal, Result, Time, UserId};
use crate::mailbox::conversation_rows::has_row;
use crate::mailbox::envelopes::{self, BodyPart, Envelope};
use crate::mailbox::place::places;

/// Advances a mailbox where the condition holds, for a message that is sent now. The first one that
/// is unread is the oldest.
macro_rules! receive {
    ($condition:literal) => {
        concat!(
            "UPDATE mailboxes SET modseq = modseq + 1, unread = unread + ?2,
             unread_conversations = unread_conversations + ?2,
             oldest_unread_at = CASE WHEN unread = 0 THEN ?3 ELSE oldest_unread_at END
             WHERE owner_id = ?1 AND ",
            $condition
        )
    };
}

/// Advances the sender's own mailbox, adding `unread` to its unread counts. Returns those of the
/// recipients whom the sender blocks.
///
/// # Errors
/// [`Error::NotLoggedIn`] where the mailbox is closed.
pub(crate) fn admit_sender(
    tx: &mut Tx<'_>,
    sender: UserId,
    recipients: &[(usize, UserId)],
    (unread, now): (i64, Time),
) -> Result<Vec<(usize, UserId)>> {
    // Most people block nobody: for them the condition is part of the one statement.
    let advanced =
        tx.execute(receive!("closed_at IS NULL AND blocks = 0"), &params![sender, unread, now])?;
    if modseq::notify(tx, sender, advanced) {
        return Ok(Vec::new());
    }
    if !advance_open(tx, sender, (unread, now))? {
        return Err(Error::NotLoggedIn);
    }
    let ids: Vec<i64> = recipients.iter().map(|(_, user)| user.get()).collect();
    let blocked = tx.query(
        "SELECT blocked_id FROM blocks
         WHERE owner_id = ?1 AND blocked_id IN rarray(?2)",
        &params![sender, &*ids],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    Ok(recipients.iter().filter(|(_, user)| blocked.contains(user)).copied().collect())
}

/// Advances the modseq of a mailbox that is open, adding `unread` to its unread counts. Returns
/// whether it is open.
fn advance_open(tx: &mut Tx<'_>, owner: UserId, (unread, now): (i64, Time)) -> Result<bool> {
    let advanced = tx.execute(receive!("closed_at IS NULL"), &params![owner, unread, now])?;
    Ok(modseq::notify(tx, owner, advanced))
}

/// Undoes what [`admit`] did to a mailbox in the same transaction.
pub(crate) fn take_back(tx: &mut Tx<'_>, owner: UserId, unread: i64) -> Result<()> {
    tx.execute(
        "UPDATE mailboxes SET modseq = modseq - 1, unread = unread - ?2,
         unread_conversations = unread_conversations - ?2 WHERE owner_id = ?1",
        &params![owner, unread],
    )?;
    Ok(())
}

/// Advances a recipient's mailbox where it takes a message from `sender`, which may answer the
/// message `parent`. Returns why it does not. `unread` is what the message adds to the unread
/// counts.
pub(crate) fn admit(
    tx: &mut Tx<'_>,
    owner: UserId,
    sender: UserId,
    parent: Option<&Envelope>,
    (unread, now): (i64, Time),
) -> Result<Option<Refusal>> {
    // Most mailboxes take everything: for them the conditions are part of the one statement.
    let advanced = tx.execute(
        receive!("closed_at IS NULL AND accept_from = 0 AND blocks = 0"),
        &params![owner, unread, now],
    )?;
    if modseq::notify(tx, owner, advanced) {
        return Ok(None);
    }
    modseq::lock(tx, owner)?;
    let rules = tx.query_opt(
        "SELECT accept_from, blocks FROM mailboxes WHERE owner_id = ?1",
        &params![owner],
        |row| Ok((row.int(0)?, AcceptFrom::stored(0, row.int(0)?)?, row.int(1)?)),
    )?;
    let Some((rule, accept_from, blocks)) = rules else { return Ok(Some(Refusal::Unknown)) };
    if rule == users::NO_REPLIES {
        return Ok(Some(Refusal::NoReplies));
    }
    if blocks > 0 && blocks_user(tx, owner, sender)? {
        return Ok(Some(Refusal::Unavailable));
    }
    // Who holds a message of the owner's can answer it, whatever is recorded.
    let answers = parent.is_some_and(|parent| parent.from == owner && parent.to.contains(&sender));
    let accepted = match (accept_from, parent) {
        (AcceptFrom::Everyone, _) => true,
        (AcceptFrom::Nobody, None) => false,
        _ if answers => true,
        (AcceptFrom::Known, _) => has_written(tx, owner, sender)?,
        (AcceptFrom::Nobody, Some(parent)) => {
            has_written(tx, owner, sender)? && has_written_in(tx, owner, parent)?
        }
    };
    if accepted && advance_open(tx, owner, (unread, now))? {
        return Ok(None);
    }
    Ok(Some(Refusal::Unavailable))
}

fn blocks_user(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM blocks WHERE owner_id = ?1 AND blocked_id = ?2";
    Ok(tx.query_opt(sql, &params![owner, other], |_| Ok(()))?.is_some())
}

/// How many of the newest messages of a conversation are searched for one that the owner wrote.
const MESSAGES_SEARCHED: i64 = 1000;

/// Whether the owner has written in a conversation, one of whose messages is `parent`: that
/// message, the first one, or one that their mailbox holds, or held while it holds others.
fn has_written_in(tx: &mut Tx<'_>, owner: UserId, parent: &Envelope) -> Result<bool> {
    if parent.from == owner {
        return Ok(true);
    }
    let begun = tx.query_opt(
        "SELECT 1 FROM messages WHERE id = ?1 AND sender_id = ?2",
        &params![parent.conversation.first(), owner],
        |_| Ok(()),
    )?;
    if begun.is_some() {
        return Ok(true);
    }
    let deleted = tx.query_opt(
        "SELECT 1 FROM conversations
         WHERE owner_id = ?1 AND conversation_id = ?2 AND has_written = 1",
        &params![owner, parent.conversation],
        |_| Ok(()),
    )?;
    if deleted.is_some() {
        return Ok(true);
    }
    let newest = tx.query(
        concat!(
            "SELECT role FROM entries WHERE owner_id = ?1 AND conversation_id = ?2 AND ",
            has_row!(),
            " ORDER BY message_id DESC LIMIT ?3"
        ),
        &params![owner, parent.conversation, MESSAGES_SEARCHED],
        |row| row.int(0),
    )?;
    Ok(newest.iter().any(|role| *role >= 2))
}

/// Whether the owner has written to the other. A message that was deleted afterwards counts as
/// well; for one that was withdrawn see [`forget_contacts`].
pub(crate) fn has_written(tx: &mut Tx<'_>, owner: UserId, other: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM contacts WHERE owner_id = ?1 AND peer_id = ?2";
    Ok(tx.query_opt(sql, &params![owner, other], |_| Ok(()))?.is_some())
}

/// Records that the owner has written to the other. Returns whether that was the first time.
pub(crate) fn record_contact(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    other: UserId,
    message: MessageId,
) -> Result<bool> {
    let recorded = tx.execute(
        "INSERT INTO contacts (owner_id, peer_id, first_at, message_id) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (owner_id, peer_id) DO NOTHING",
        &params![owner, other, cx.now, message],
    )?;
    Ok(recorded == 1)
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
pub(crate) fn forget_contacts(
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
