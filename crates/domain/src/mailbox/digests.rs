//! Digests: what a reminder e-mail says about a user's unread messages.

use std::num::NonZeroI64;

use db::{Tx, params};

use crate::accounts::users::{self, Person, person_columns};
use crate::accounts::{modseq, sessions};
use crate::base::{Cx, Result, Time, UserId};
use crate::mailbox::entries::{self, Entry, select_entries};
use crate::mailbox::envelopes::{self, BodyPart, Envelope};
use crate::mailbox::place::place;
use crate::mailbox::unread;
use crate::outbox::reminders::{self, Claim, Pending};

/// A reminder that is later than this, as after a long downtime, is dropped.
const LATEST: i64 = 3 * Time::DAY;
/// Unread messages of a user that are examined.
const UNREAD: i64 = 200;
/// Messages that a digest names.
pub const NAMED: usize = 5;

/// A reminder to send now, by the node that claimed it and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Which reminder it is.
    pub claim: Claim,
    /// The address of the owner.
    pub email: String,
    /// The display name of the owner.
    pub name: String,
    /// How many messages are unread in the inbox.
    pub unread: i64,
    /// The oldest of those that the reminder is about, at most [`NAMED`].
    pub messages: Vec<DigestLine>,
}

/// A message that a digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestLine {
    /// The display name of its sender.
    pub sender: String,
    /// Its subject.
    pub subject: String,
}

/// What [`next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextDigest {
    /// Nobody has waited long enough.
    NoneDue,
    /// Some users needed no reminder; there may be others who do.
    Skipped,
    /// A digest to send.
    Send(Box<Digest>),
}

/// Claims the next reminder of messages that stayed unread for `after` microseconds.
///
/// It counts as sent from now on: a node that stops before it has sent it loses it, which is better
/// than sending it twice.
pub fn next(tx: &mut Tx<'_>, cx: &Cx, after: NonZeroI64) -> Result<NextDigest> {
    let mut next = NextDigest::NoneDue;
    // Ascending by owner, as mailboxes are locked.
    for pending in reminders::due(tx, cx, after.get())? {
        modseq::lock(tx, pending.owner)?;
        if let Some(digest) = examine(tx, cx, &pending, after.get())? {
            return Ok(NextDigest::Send(Box::new(digest)));
        }
        next = NextDigest::Skipped;
    }
    Ok(next)
}

/// Decides what becomes of a wait that is long enough: the user is reminded, the wait restarts with
/// a later message, or it ends.
fn examine(tx: &mut Tx<'_>, cx: &Cx, pending: &Pending, after: i64) -> Result<Option<Digest>> {
    let too_late = pending.since < cx.now.plus(-after - LATEST);
    let seen = last_seen(tx, pending.owner)?;
    // An open stream keeps its session seen.
    let is_there = seen.is_some_and(|seen| seen.runs(2 * sessions::SEEN_EVERY, cx.now));
    // A wrong clock may have written either time.
    let seen = seen.filter(|seen| seen.has_come(cx.now));
    let address = if too_late || is_there { None } else { addressee(tx, pending.owner)? };
    let unread = match address {
        Some(_) => unread_since(tx, pending, seen)?,
        None => Vec::new(),
    };
    let (Some((email, name)), Some(oldest)) = (address, unread.first()) else {
        reminders::drop_pending(tx, pending)?;
        return Ok(None);
    };
    if oldest.sent_at.has_come(cx.now) && oldest.sent_at.plus(after) > cx.now {
        // The message that started the wait was read, withdrawn, or is in a muted conversation.
        reminders::restart(tx, pending, oldest.id, oldest.sent_at)?;
        return Ok(None);
    }
    let Some(claim) = reminders::claim(tx, pending)? else { return Ok(None) };
    Ok(Some(Digest {
        claim,
        email,
        name,
        unread: unread::counts(tx, pending.owner)?.messages,
        messages: lines(tx, &unread)?,
    }))
}

/// The address and display name of a user who can be reminded and has not switched it off.
fn addressee(tx: &mut Tx<'_>, owner: UserId) -> Result<Option<(String, String)>> {
    Ok(tx.query_opt(
        concat!(
            "SELECT ",
            person_columns!(),
            ", email FROM users
             WHERE id = ?1 AND disabled_at IS NULL AND reminders_off_at IS NULL AND email <> ''"
        ),
        &params![owner],
        |row| Ok((row.text(5)?.to_owned(), Person::read(row)?.display_name)),
    )?)
}

/// When a user was last seen, as far as the session or token still exists.
fn last_seen(tx: &mut Tx<'_>, owner: UserId) -> Result<Option<Time>> {
    let session = tx.query_one(
        "SELECT max(last_seen_at) FROM sessions WHERE user_id = ?1",
        &params![owner],
        |row| row.opt_int(0),
    )?;
    let token = tx.query_one(
        "SELECT max(last_used_at) FROM tokens WHERE user_id = ?1",
        &params![owner],
        |row| row.opt_int(0),
    )?;
    Ok(session.max(token).map(Time))
}

/// The oldest messages that the owner is reminded of: unread in the inbox, not older than the one
/// that started the wait, sent after the owner was last seen, by others who are not blocked, in
/// conversations that are not muted, and not without a reminder.
fn unread_since(tx: &mut Tx<'_>, pending: &Pending, seen: Option<Time>) -> Result<Vec<Envelope>> {
    let params = params![pending.owner, pending.message, UNREAD];
    let mut found = tx.query(
        select_entries!(
            "WHERE owner_id = ?1 AND place = ",
            place!(inbox_unread),
            " AND message_id >= ?2 ORDER BY message_id LIMIT ?3"
        ),
        &params,
        entries::entry,
    )?;
    found.extend(tx.query(
        select_entries!(
            "WHERE owner_id = ?1 AND place = ",
            place!(inbox_unread_row),
            " AND message_id >= ?2 ORDER BY message_id LIMIT ?3"
        ),
        &params,
        entries::entry,
    )?);
    let muted = muted(tx, pending.owner, &found)?;
    found.retain(|entry| !entry.sent && !muted.contains(&entry.conversation.get()));
    found.sort_by_key(|entry| entry.message);
    let ids = found.iter().map(|entry| entry.message);
    let mut envelopes = envelopes::load(tx, ids, BodyPart::Snippet)?;
    let blocked = blocked(tx, pending.owner, &envelopes)?;
    let quiet = without_reminder(tx, &envelopes)?;
    envelopes.retain(|envelope| {
        Some(envelope.sent_at) > seen
            && !blocked.contains(&envelope.from.get())
            && !quiet.contains(&envelope.id.get())
    });
    Ok(envelopes)
}

/// Those of the conversations of these entries that are muted.
fn muted(tx: &mut Tx<'_>, owner: UserId, found: &[Entry]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = found
        .iter()
        .filter(|entry| entry.has_conversation_row)
        .map(|entry| entry.conversation.get())
        .collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(tx.query(
        "SELECT conversation_id FROM conversations WHERE owner_id = ?1
         AND conversation_id IN rarray(?2) AND muted_at IS NOT NULL",
        &params![owner, &*ids],
        |row| row.int(0),
    )?)
}

fn blocked(tx: &mut Tx<'_>, owner: UserId, envelopes: &[Envelope]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = envelopes.iter().map(|envelope| envelope.from.get()).collect();
    Ok(tx.query(
        "SELECT blocked_id FROM blocks WHERE owner_id = ?1
         AND blocked_id IN rarray(?2)",
        &params![owner, &*ids],
        |row| row.int(0),
    )?)
}

/// Those of the messages of which nobody is to be reminded.
fn without_reminder(tx: &mut Tx<'_>, envelopes: &[Envelope]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = envelopes.iter().map(|envelope| envelope.id.get()).collect();
    Ok(tx.query(
        "SELECT id FROM messages
         WHERE id IN rarray(?1) AND without_reminder = 1",
        &params![&*ids],
        |row| row.int(0),
    )?)
}

fn lines(tx: &mut Tx<'_>, unread: &[Envelope]) -> Result<Vec<DigestLine>> {
    let named = || unread.iter().take(NAMED);
    let senders: Vec<_> = named().map(|envelope| envelope.from).collect();
    let people = users::people(tx, &senders)?;
    let line = |envelope: &Envelope| {
        let sender = people.iter().find(|person| person.id == envelope.from);
        DigestLine {
            sender: sender.map_or(users::ERASED, |person| &person.display_name).to_owned(),
            subject: envelope.subject.clone(),
        }
    };
    Ok(named().map(line).collect())
}
