//! The rows of reminders: which users have unread messages and have not been seen since.
//!
//! A user's row is created by the first message that arrives while there is none, and goes when
//! the user is seen. Further messages change nothing meanwhile, so a user gets one reminder and no
//! other until they have been back.

use crate::base::{Credential, Cx, MessageId, Result, Time, UserId};
use db::{Tx, params};

const MAX_ATTEMPTS: i64 = 6;
/// Wait before the second attempt; each further one waits four times as long, about a day in all.
const FIRST_RETRY: i64 = 5 * Time::MINUTE;
/// Users whose rows are examined in one transaction.
const BATCH: i64 = 20;

/// A user who has unread messages and has not been seen since.
pub(crate) struct Pending {
    pub(crate) owner: UserId,
    pub(crate) message: MessageId,
    pub(crate) since: Time,
    pub(crate) attempts: i64,
}

/// A reminder that one node has claimed and is about to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who is reminded.
    pub owner: UserId,
    /// The message that started the wait; with the owner it identifies the reminder in every
    /// attempt.
    pub message: MessageId,
    /// When the wait started.
    pub since: Time,
    /// Which attempt this is, from 1.
    pub attempt: i64,
}

/// How an attempt to send failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFailure {
    /// No attempt was made.
    NotAttempted,
    /// The mail server did not accept the message, and may do so later.
    Temporary,
    /// It is unknown whether the mail server accepted the message.
    Unknown,
}

/// Starts the wait for the recipients of a message, where none is running.
pub(crate) fn start(
    tx: &mut Tx<'_>,
    cx: &Cx,
    message: MessageId,
    from: UserId,
    to: &[UserId],
) -> Result<()> {
    if !cx.wanted.reminders {
        return Ok(());
    }
    let recipients = to.iter().filter(|to| **to != from);
    start_all(tx, cx, recipients.map(|to| (*to, message)).collect())
}

/// The same for recipients of a message of their own each.
pub(crate) fn start_all(
    tx: &mut Tx<'_>,
    cx: &Cx,
    mut recipients: Vec<(UserId, MessageId)>,
) -> Result<()> {
    if !cx.wanted.reminders {
        return Ok(());
    }
    // Ascending, as the mailboxes were locked: other transactions may do the same.
    recipients.sort();
    let rows: Vec<_> = recipients.iter().map(|(to, of)| params![*to, *of, cx.now]).collect();
    tx.batch(
        "INSERT INTO reminders (owner_id, message_id, waiting_since) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id) DO NOTHING",
        &rows,
    )?;
    Ok(())
}

const CANCEL: &str = "DELETE FROM reminders WHERE owner_id = ?1";

/// Cancels a user's reminder, because they were seen.
pub fn seen(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> db::Result<()> {
    if cx.wanted.reminders { cancel(tx, user) } else { Ok(()) }
}

/// The same as [`seen`] for the owners of many credentials.
pub(crate) fn all_seen(tx: &mut Tx<'_>, cx: &Cx, credentials: &[Credential]) -> db::Result<()> {
    if cx.wanted.reminders {
        let owners: Vec<_> = credentials.iter().map(|of| params![of.user]).collect();
        tx.batch(CANCEL, &owners)?;
    }
    Ok(())
}

pub(crate) fn cancel(tx: &mut Tx<'_>, user: UserId) -> db::Result<()> {
    tx.execute(CANCEL, &params![user])?;
    Ok(())
}

/// Whether some user has waited for `after` microseconds. Costs one look at an index.
pub fn is_due(tx: &mut Tx<'_>, now: Time, after: i64) -> Result<bool> {
    let due = tx.query_opt(
        "SELECT 1 FROM reminders WHERE waiting_since <= ?1 LIMIT 1",
        &params![now.plus(-after)],
        |_| Ok(()),
    )?;
    Ok(due.is_some())
}

/// Some of those who have waited for `after` microseconds, ascending by owner.
pub(crate) fn due(tx: &mut Tx<'_>, cx: &Cx, after: i64) -> Result<Vec<Pending>> {
    let mut due = tx.query(
        "SELECT owner_id, message_id, waiting_since, tries FROM reminders WHERE waiting_since <= ?1
         ORDER BY waiting_since LIMIT ?2",
        &params![cx.now.plus(-after), BATCH],
        |row| {
            Ok(Pending {
                owner: UserId::stored(row.int(0)?),
                message: MessageId::stored(row.int(1)?),
                since: Time(row.int(2)?),
                attempts: row.int(3)?,
            })
        },
    )?;
    due.sort_by_key(|pending| pending.owner);
    Ok(due)
}

/// Removes the row, because there is nothing to remind of.
pub(crate) fn drop_pending(tx: &mut Tx<'_>, pending: &Pending) -> Result<()> {
    tx.execute(
        "DELETE FROM reminders WHERE owner_id = ?1 AND waiting_since = ?2",
        &params![pending.owner, pending.since],
    )?;
    Ok(())
}

/// Restarts the wait with a later message.
pub(crate) fn restart(
    tx: &mut Tx<'_>,
    pending: &Pending,
    message: MessageId,
    since: Time,
) -> Result<()> {
    tx.execute(
        "UPDATE reminders SET message_id = ?3, waiting_since = ?4, tries = 0
         WHERE owner_id = ?1 AND waiting_since = ?2",
        &params![pending.owner, pending.since, message, since],
    )?;
    Ok(())
}

/// Claims a reminder: it counts as sent from now on. `None` where another node has claimed it.
pub(crate) fn claim(tx: &mut Tx<'_>, pending: &Pending) -> Result<Option<Claim>> {
    let claimed = tx.execute(
        "UPDATE reminders SET waiting_since = NULL, tries = tries + 1
         WHERE owner_id = ?1 AND waiting_since = ?2",
        &params![pending.owner, pending.since],
    )?;
    let Pending { owner, message, since, attempts } = *pending;
    Ok((claimed == 1).then_some(Claim { owner, message, since, attempt: attempts + 1 }))
}

/// Records that a claimed reminder was not sent, or may not have been. Returns whether it will be
/// attempted again; it will not where the user was seen meanwhile.
///
/// What was not accepted is attempted up to six times within about a day. What may have been
/// accepted is attempted once more at most, under the same id: a user may get one message twice,
/// never more.
pub fn failed(
    tx: &mut Tx<'_>,
    cx: &Cx,
    claim: &Claim,
    failure: SendFailure,
    after: i64,
) -> Result<bool> {
    let retry_in = |pause| cx.now.plus(pause - after);
    let (attempts, since) = match failure {
        SendFailure::NotAttempted => (claim.attempt - 1, claim.since),
        _ if claim.attempt >= MAX_ATTEMPTS => return Ok(false),
        SendFailure::Temporary => {
            (claim.attempt, retry_in(FIRST_RETRY << (2 * (claim.attempt - 1))))
        }
        SendFailure::Unknown => (MAX_ATTEMPTS - 1, retry_in(FIRST_RETRY)),
    };
    let recorded = tx.execute(
        "UPDATE reminders SET waiting_since = ?4, tries = ?5
         WHERE owner_id = ?1 AND message_id = ?2 AND tries = ?3 AND waiting_since IS NULL",
        &params![claim.owner, claim.message, claim.attempt, since, attempts],
    )?;
    Ok(recorded == 1)
}
