//! Reminders by e-mail of what stays unread: who is waited for, and whose turn it is.
//!
//! The row of a user is made by the first message that comes while there is none, and goes when
//! the user is seen. While it is there, further messages change nothing; so there is one reminder,
//! and no other until he has been back.

use std::num::NonZeroI64;

use db::{Tx, params};

use crate::entries::{self, Entry};
use crate::envelopes::{self, Envelope, Text};
use crate::key::Key;
use crate::{Cx, MessageId, Result, Time, UserId, mailbox, sessions, users};

/// How often a mail is tried at most.
const TRIES: i64 = 6;
/// How long it waits for the second try; for each next one four times as long, about a day in all.
const PAUSE: i64 = 5 * Time::MINUTE;
/// What is later than this, as after a long standstill, reminds of nothing any more.
const LATEST: i64 = 3 * Time::DAY;
/// Users that are looked at in one transaction.
const LOOKED_AT: i64 = 20;
/// Unread messages of a user that are looked at.
const UNREAD: i64 = 200;
/// Messages that a reminder names.
pub const NAMED: usize = 5;

/// A mail that is to be sent now, by whoever took it and by nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminder {
    /// Who is reminded.
    pub owner: UserId,
    /// The message that began the waiting: with the owner it names this reminder, in every try.
    pub message: MessageId,
    /// Since when its time runs.
    pub since: Time,
    /// Which try it is, from 1.
    pub attempt: i64,
    /// The address.
    pub email: String,
    /// What the owner is shown as.
    pub name: String,
    /// How many messages are unread in the inbox.
    pub unread: i64,
    /// The oldest of those that the reminder is about, [`NAMED`] at most.
    pub messages: Vec<Waiting>,
}

/// A message that waits to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What its sender is shown as.
    pub sender: String,
    /// What it is about.
    pub subject: String,
}

/// What [`next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nobody has waited long enough.
    Nobody,
    /// Some who need none; there may be others.
    Passed,
    /// A mail to send.
    Due(Box<Reminder>),
}

/// How a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It was not tried.
    Untried,
    /// The mail was not taken, and may be later.
    NotYet,
    /// Nobody knows whether it was taken.
    InDoubt,
}

/// What is known of somebody who is waited for.
struct Row {
    owner: UserId,
    message: MessageId,
    waits_since: Time,
    tries: i64,
}

/// Notes that the receivers of a message are waited for, those who are not yet.
pub(crate) fn expect(tx: &mut Tx<'_>, cx: &Cx, envelope: &Envelope) -> Result<()> {
    if !cx.wanted.reminders {
        return Ok(());
    }
    // In the order in which their mailboxes were locked: others may do the same.
    let mut receivers = envelope.to.clone();
    receivers.retain(|receiver| *receiver != envelope.from);
    receivers.sort();
    let rows = receivers.iter().map(|to| [(*to).into(), envelope.id.into(), cx.now.into()]);
    tx.batch(
        "INSERT INTO reminders (owner_id, message_id, waits_since) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id) DO NOTHING",
        &rows.collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// Notes that a user is there: nobody waits for him.
pub(crate) fn back(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> db::Result<()> {
    if cx.wanted.reminders {
        forget(tx, user)?;
    }
    Ok(())
}

/// The same as [`back`] for the owners of many keys.
pub(crate) fn all_back(tx: &mut Tx<'_>, cx: &Cx, keys: &[Key]) -> db::Result<()> {
    if cx.wanted.reminders {
        let owners: Vec<_> = keys.iter().map(|key| params![key.user]).collect();
        tx.batch(FORGET, &owners)?;
    }
    Ok(())
}

const FORGET: &str = "DELETE FROM reminders WHERE owner_id = ?1";

/// Forgets that a user is waited for.
pub(crate) fn forget(tx: &mut Tx<'_>, user: UserId) -> db::Result<()> {
    tx.execute(FORGET, &params![user])?;
    Ok(())
}

/// Switches the reminders of a user on or off. Repeating it changes nothing, and neither does it
/// where there is no such user.
pub fn switch(tx: &mut Tx<'_>, cx: &Cx, user: UserId, on: bool) -> Result<()> {
    mailbox::lock(tx, user)?;
    set(tx, cx, user, on)
}

/// The same for a mailbox that is locked.
pub(crate) fn set(tx: &mut Tx<'_>, cx: &Cx, user: UserId, on: bool) -> Result<()> {
    if on {
        tx.execute("UPDATE users SET reminders_off_at = NULL WHERE id = ?1", &params![user])?;
        return Ok(());
    }
    tx.execute(
        "UPDATE users SET reminders_off_at = coalesce(reminders_off_at, ?2)
         WHERE id = ?1 AND erased_at IS NULL",
        &params![user, cx.now],
    )?;
    Ok(forget(tx, user)?)
}

/// Whether somebody has waited for so many microseconds: a look at an index.
pub fn is_due(tx: &mut Tx<'_>, now: Time, after: i64) -> Result<bool> {
    let due = tx.query_opt(
        "SELECT 1 FROM reminders WHERE waits_since <= ?1 LIMIT 1",
        &params![now.plus(-after)],
        |_| Ok(()),
    )?;
    Ok(due.is_some())
}

/// Takes the next mail that is to be sent where a message stays unread for `after` microseconds.
///
/// It counts as sent from now on. So whoever takes it and ends before he has sent it loses it: that
/// is better than two.
pub fn next(tx: &mut Tx<'_>, cx: &Cx, after: NonZeroI64) -> Result<Next> {
    let after = after.get();
    let mut due = tx.query(
        "SELECT owner_id, message_id, waits_since, tries FROM reminders WHERE waits_since <= ?1
         ORDER BY waits_since LIMIT ?2",
        &params![cx.now.plus(-after), LOOKED_AT],
        |row| {
            Ok(Row {
                owner: UserId::stored(row.int(0)?),
                message: MessageId::stored(row.int(1)?),
                waits_since: Time(row.int(2)?),
                tries: row.int(3)?,
            })
        },
    )?;
    // Mailboxes are locked in ascending order.
    due.sort_by_key(|row| row.owner);
    let mut next = Next::Nobody;
    for row in due {
        mailbox::lock(tx, row.owner)?;
        if let Some(reminder) = look_at(tx, cx, &row, after)? {
            return Ok(Next::Due(Box::new(reminder)));
        }
        next = Next::Passed;
    }
    Ok(next)
}

/// Decides about one who has waited long enough: he is reminded, goes on waiting for something
/// later, or is waited for no more.
fn look_at(tx: &mut Tx<'_>, cx: &Cx, row: &Row, after: i64) -> Result<Option<Reminder>> {
    let too_late = row.waits_since < cx.now.plus(-after - LATEST);
    let seen = last_seen(tx, row.owner)?;
    // An open stream keeps its session seen.
    let is_there = seen.is_some_and(|seen| seen > cx.now.plus(-2 * sessions::SEEN_EVERY));
    if too_late || is_there {
        return drop_row(tx, row);
    }
    let Some((email, name)) = addressee(tx, row.owner)? else { return drop_row(tx, row) };
    let unread = unread(tx, row, seen)?;
    let Some(oldest) = unread.first() else { return drop_row(tx, row) };
    if oldest.sent_at.plus(after) > cx.now {
        // What it began with was seen, withdrawn or from a conversation without notifications.
        tx.execute(
            "UPDATE reminders SET message_id = ?3, waits_since = ?4, tries = 0
             WHERE owner_id = ?1 AND waits_since = ?2",
            &params![row.owner, row.waits_since, oldest.id, oldest.sent_at],
        )?;
        return Ok(None);
    }
    let taken = tx.execute(
        "UPDATE reminders SET waits_since = NULL, tries = tries + 1
         WHERE owner_id = ?1 AND waits_since = ?2",
        &params![row.owner, row.waits_since],
    )?;
    if taken == 0 {
        return Ok(None);
    }
    Ok(Some(Reminder {
        owner: row.owner,
        message: row.message,
        since: row.waits_since,
        attempt: row.tries + 1,
        email,
        name,
        unread: mailbox::unread_counts(tx, row.owner)?.messages,
        messages: named(tx, &unread)?,
    }))
}

fn drop_row(tx: &mut Tx<'_>, row: &Row) -> Result<Option<Reminder>> {
    tx.execute(
        "DELETE FROM reminders WHERE owner_id = ?1 AND waits_since = ?2",
        &params![row.owner, row.waits_since],
    )?;
    Ok(None)
}

/// The address and the name of a user who wants to be reminded, and can be.
fn addressee(tx: &mut Tx<'_>, owner: UserId) -> Result<Option<(String, String)>> {
    let found = tx.query_opt(
        "SELECT email FROM users
         WHERE id = ?1 AND disabled_at IS NULL AND reminders_off_at IS NULL",
        &params![owner],
        |row| Ok(row.text(0)?.to_owned()),
    )?;
    let Some(email) = found else { return Ok(None) };
    let person = users::person(tx, owner)?;
    Ok(person.map(|person| (email, person.display_name)))
}

/// When a user was last seen, as far as what he came with is still there.
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

/// The oldest messages that the owner is reminded of: unread in the inbox since the one that began
/// it and since he was seen, of others who are not blocked, in conversations that are not muted.
fn unread(tx: &mut Tx<'_>, row: &Row, seen: Option<Time>) -> Result<Vec<Envelope>> {
    let mut found = Vec::new();
    // Unread in the inbox, and the same where the conversation has a row.
    for place in [2, 3] {
        found.extend(tx.query(
            entries::select_entries!(
                "WHERE owner_id = ?1 AND place = ?2 AND message_id >= ?3
                 ORDER BY message_id LIMIT ?4"
            ),
            &params![row.owner, place, row.message, UNREAD],
            entries::entry,
        )?);
    }
    let muted = muted(tx, row.owner, &found)?;
    found.retain(|entry| !entry.sent && !muted.contains(&entry.conversation.get()));
    found.sort_by_key(|entry| entry.message);
    let ids = found.iter().map(|entry| entry.message);
    let mut envelopes = envelopes::load(tx, ids, Text::Snippet)?;
    let blocked = blocked(tx, row.owner, &envelopes)?;
    envelopes.retain(|envelope| {
        Some(envelope.sent_at) > seen && !blocked.contains(&envelope.from.get())
    });
    Ok(envelopes)
}

/// Those of the conversations of these entries that are muted.
fn muted(tx: &mut Tx<'_>, owner: UserId, found: &[Entry]) -> Result<Vec<i64>> {
    let ids: Vec<i64> =
        found.iter().filter(|entry| entry.threaded).map(|entry| entry.conversation.get()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(tx.query(
        "SELECT conversation_id FROM threads WHERE owner_id = ?1
         AND conversation_id IN (SELECT value FROM json_each(?2)) AND muted_at IS NOT NULL",
        &params![owner, &*ids],
        |row| row.int(0),
    )?)
}

/// Those of the senders whom the owner blocks.
fn blocked(tx: &mut Tx<'_>, owner: UserId, envelopes: &[Envelope]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = envelopes.iter().map(|envelope| envelope.from.get()).collect();
    Ok(tx.query(
        "SELECT blocked_id FROM blocks WHERE owner_id = ?1
         AND blocked_id IN (SELECT value FROM json_each(?2))",
        &params![owner, &*ids],
        |row| row.int(0),
    )?)
}

/// What a reminder says of the oldest messages.
fn named(tx: &mut Tx<'_>, unread: &[Envelope]) -> Result<Vec<Waiting>> {
    let senders: Vec<_> = unread.iter().take(NAMED).map(|envelope| envelope.from).collect();
    let people = users::people(tx, &senders)?;
    let waiting = unread.iter().take(NAMED).map(|envelope| {
        let sender = people.iter().find(|person| person.id == envelope.from);
        Waiting {
            sender: sender.map_or(users::ERASED, |person| &person.display_name).to_owned(),
            subject: envelope.subject.clone(),
        }
    });
    Ok(waiting.collect())
}

/// Notes that a mail was not sent, or that nobody knows; whether it is tried again. Whose owner was
/// back in the meantime is not.
///
/// What was not taken is tried up to six times within about a day. What may have been taken is
/// tried once more at most: whoever gets both sees one, for their ids are the same, or two, but
/// never more.
pub fn failed(
    tx: &mut Tx<'_>,
    cx: &Cx,
    reminder: &Reminder,
    failure: Failure,
    after: NonZeroI64,
) -> Result<bool> {
    let in_a_while = |pause| cx.now.plus(pause - after.get());
    let (tries, waits_since) = match failure {
        Failure::Untried => (reminder.attempt - 1, reminder.since),
        _ if reminder.attempt >= TRIES => return Ok(false),
        Failure::NotYet => (reminder.attempt, in_a_while(PAUSE << (2 * (reminder.attempt - 1)))),
        Failure::InDoubt => (TRIES - 1, in_a_while(PAUSE)),
    };
    let noted = tx.execute(
        "UPDATE reminders SET waits_since = ?4, tries = ?5
         WHERE owner_id = ?1 AND message_id = ?2 AND tries = ?3 AND waits_since IS NULL",
        &params![reminder.owner, reminder.message, reminder.attempt, waits_since, tries],
    )?;
    Ok(noted == 1)
}
