//! System messages: what a system user writes to many people at once. Each of them gets a message
//! and a conversation of their own, and sees no other recipient.
//!
//! Neither what an owner accepts nor limits hold for them.

use db::{Tx, params};

use crate::accounts::{modseq, users};
use crate::base::text::{Body, Subject};
use crate::base::{Cx, EventKind, Invalid, MessageId, Refusal, Result, Time, UserId, UserRef};
use crate::mailbox::entries::{self, Entry};
use crate::mailbox::envelopes::{self, BodyPart};
use crate::mailbox::sending::Metadata;
use crate::outbox::webhooks::{self, Occurrence};
use crate::outbox::{notices, reminders, unread_changes};

/// The most recipients of a request.
pub const MAX_RECIPIENTS: usize = 1000;
/// How many of them are written to in one transaction, a few milliseconds of the writer's time, and
/// how many bytes of bodies: each recipient has a copy, and all their mailboxes are locked.
const STEP: usize = 200;
const STEP_BYTES: usize = 1 << 20;

/// A message that a system user is about to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemDraft {
    /// The subject.
    pub subject: Subject,
    /// The body.
    pub body: Body,
    /// The app's metadata.
    pub metadata: Option<Metadata>,
    /// Whether the recipients have it as read from the beginning.
    pub silent: bool,
    /// When it is withdrawn from recipients who have never read it.
    pub expires_at: Option<Time>,
    /// Whether recipients are reminded of it by e-mail.
    pub reminder: bool,
}

impl SystemDraft {
    /// How many recipients one transaction writes to at most.
    pub fn step(&self) -> usize {
        (STEP_BYTES / self.body.as_str().len().max(1)).clamp(1, STEP)
    }
}

/// What became of the recipients of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemSent {
    /// Who got which message, in the order in which they were named.
    pub messages: Vec<(UserId, MessageId)>,
    /// The positions of those who do not get it.
    pub refused: Vec<(usize, Refusal)>,
}

/// Sends a message of its own to each of up to [`SystemDraft::step`] recipients; not to those who
/// are in `already`, and to each once.
///
/// # Errors
/// [`Invalid`] with the field `from` where that is no system user, or was deactivated; with
/// `expires_at` where that has passed.
pub fn send(
    tx: &mut Tx<'_>,
    cx: &Cx,
    from: UserId,
    to: &[UserRef],
    draft: &SystemDraft,
    already: &[UserId],
) -> Result<SystemSent> {
    if draft.expires_at.is_some_and(|end| end <= cx.now) {
        return Err(Invalid::new("expires_at", "it must be in the future").into());
    }
    let mut sent = SystemSent::default();
    let mut wanted: Vec<(usize, UserId)> = Vec::with_capacity(to.len());
    for (at, user) in users::resolve_all(tx, to)?.into_iter().enumerate() {
        match user {
            None => sent.refused.push((at, Refusal::Unknown)),
            Some(user) if user == from => sent.refused.push((at, Refusal::Unavailable)),
            Some(user) if already.contains(&user) => {}
            Some(user) if wanted.iter().any(|(_, other)| *other == user) => {}
            Some(user) => wanted.push((at, user)),
        }
    }
    let (base, open) = admit(tx, from, wanted, &mut sent.refused)?;
    sent.refused.sort_by_key(|(at, _)| *at);
    if open.is_empty() {
        return Ok(sent);
    }
    let stored = store(tx, cx, from, draft, &open)?;
    deliver(tx, cx, from, draft, (base, &open), &stored)?;
    follow_up(tx, cx, from, draft, &stored)?;
    let id_of = |user: UserId| stored.iter().find(|(_, to)| *to == user).map(|(id, _)| *id);
    let mut named = open;
    named.sort_by_key(|mailbox| mailbox.at);
    sent.messages = named.iter().filter_map(|to| Some((to.owner, id_of(to.owner)?))).collect();
    Ok(sent)
}

/// A mailbox that takes the message: its position among the recipients, and its modseq before.
struct Open {
    owner: UserId,
    at: usize,
    modseq: i64,
}

/// Locks all mailboxes. Returns the modseq of the sender's, and those of the recipients that are
/// open.
fn admit(
    tx: &mut Tx<'_>,
    from: UserId,
    wanted: Vec<(usize, UserId)>,
    refused: &mut Vec<(usize, Refusal)>,
) -> Result<(i64, Vec<Open>)> {
    let owners: Vec<i64> = wanted.iter().map(|(_, to)| to.get()).chain([from.get()]).collect();
    tx.lock(
        "SELECT 1 FROM mailboxes WHERE owner_id IN rarray(?1)
         ORDER BY owner_id FOR UPDATE",
        &params![&*owners],
    )?;
    let found = tx.query(
        "SELECT owner_id, modseq, closed_at, accept_from FROM mailboxes
         WHERE owner_id IN rarray(?1) ORDER BY owner_id",
        &params![&*owners],
        |row| {
            let closed = row.opt_int(2)?.is_some();
            Ok((UserId::stored(row.int(0)?), row.int(1)?, closed, row.int(3)?))
        },
    )?;
    let find = |owner: UserId| {
        let at = found.binary_search_by_key(&owner, |(owner, ..)| *owner);
        at.ok().map(|at| found[at])
    };
    let base = match find(from) {
        Some((_, modseq, false, _)) if users::kind(tx, from)? == Some(users::Kind::System) => {
            modseq
        }
        Some((_, _, true, _)) => {
            return Err(Invalid::new("from", "this system user is deactivated").into());
        }
        _ => return Err(Invalid::new("from", "it must be a system user").into()),
    };
    let mut open = Vec::with_capacity(wanted.len());
    for (at, owner) in wanted {
        match find(owner) {
            None => refused.push((at, Refusal::Unknown)),
            Some((.., users::NO_REPLIES)) => refused.push((at, Refusal::NoReplies)),
            Some((_, _, true, _)) => refused.push((at, Refusal::Unavailable)),
            Some((_, modseq, false, _)) => open.push(Open { owner, at, modseq }),
        }
    }
    open.sort_by_key(|mailbox| mailbox.owner);
    Ok((base, open))
}

/// Stores a message for each recipient. Returns them ascending by id.
fn store(
    tx: &mut Tx<'_>,
    cx: &Cx,
    from: UserId,
    draft: &SystemDraft,
    open: &[Open],
) -> Result<Vec<(MessageId, UserId)>> {
    let owners: Vec<i64> = open.iter().map(|mailbox| mailbox.owner.get()).collect();
    // In one statement: each row would be a round trip to PostgreSQL.
    let mut stored = tx.query(
        "INSERT INTO messages (sender_id, recipient_id, subject, body, sent_at, mailbox_count,
             metadata, without_reminder)
         SELECT ?2, owner_id, ?3, ?4, ?5, 2, ?6, ?7 FROM mailboxes
         WHERE owner_id IN rarray(?1) RETURNING id, recipient_id",
        &params![
            &*owners,
            from,
            draft.subject.as_str(),
            draft.body.as_str(),
            cx.now,
            draft.metadata.as_ref().map(Metadata::as_str),
            !draft.reminder
        ],
        |row| Ok((MessageId::stored(row.int(0)?), UserId::stored(row.int(1)?))),
    )?;
    stored.sort();
    Ok(stored)
}

/// Adds the messages to the mailboxes, which are locked, and counts them.
fn deliver(
    tx: &mut Tx<'_>,
    cx: &Cx,
    from: UserId,
    draft: &SystemDraft,
    (base, open): (i64, &[Open]),
    stored: &[(MessageId, UserId)],
) -> Result<()> {
    let owners: Vec<i64> = open.iter().map(|mailbox| mailbox.owner.get()).collect();
    tx.execute(
        "UPDATE mailboxes SET modseq = modseq + 1, unread = unread + ?2,
         unread_conversations = unread_conversations + ?2,
         oldest_unread_at = CASE WHEN unread = 0 THEN ?3 ELSE oldest_unread_at END
         WHERE owner_id IN rarray(?1)",
        &params![&*owners, !draft.silent, cx.now],
    )?;
    tx.execute(
        "UPDATE mailboxes SET modseq = modseq + ?2 WHERE owner_id = ?1",
        &params![from, i64::try_from(stored.len()).unwrap_or(i64::MAX)],
    )?;
    let mut entries = Vec::with_capacity(2 * stored.len());
    for ((message, to), base) in stored.iter().zip(base..) {
        let at = open.binary_search_by_key(to, |mailbox| mailbox.owner);
        let modseq = open[at.expect("it was stored for those")].modseq;
        let received = Entry {
            message: *message,
            conversation: message.begins(),
            received: true,
            sent: false,
            peer: Some(from),
            read_at: draft.silent.then_some(cx.now),
            first_read_at: None,
            starred_at: None,
            archived_at: None,
            trashed_at: None,
            created_modseq: modseq + 1,
            changed_modseq: modseq + 1,
            has_conversation_row: false,
        };
        let sent = Entry {
            received: false,
            sent: true,
            peer: Some(*to),
            read_at: None,
            created_modseq: base + 1,
            changed_modseq: base + 1,
            ..received
        };
        entries.extend([(*to, received), (from, sent)]);
        notices::send(tx, notices::MAILBOX, *to);
    }
    notices::send(tx, notices::MAILBOX, from);
    entries::insert_many(tx, &entries)
}

/// Records what follows: contacts, events, reminders, the time at which they are withdrawn.
fn follow_up(
    tx: &mut Tx<'_>,
    cx: &Cx,
    from: UserId,
    draft: &SystemDraft,
    stored: &[(MessageId, UserId)],
) -> Result<()> {
    let contacts: Vec<_> = stored.iter().map(|(id, to)| params![from, *to, cx.now, *id]).collect();
    tx.batch(
        "INSERT INTO contacts (owner_id, peer_id, first_at, message_id) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (owner_id, peer_id) DO NOTHING",
        &contacts,
    )?;
    let events = stored.iter().map(|(message, to)| Occurrence {
        message: Some((*message, message.begins())),
        from: Some(from),
        to: Some(std::slice::from_ref(to)),
        ..Occurrence::default()
    });
    webhooks::emit_all(tx, cx, EventKind::MessageCreated, &events.collect::<Vec<_>>())?;
    if draft.silent {
        return Ok(());
    }
    let recipients: Vec<_> = stored.iter().map(|(_, to)| *to).collect();
    unread_changes::note(tx, cx, &recipients)?;
    if draft.reminder {
        reminders::start_all(tx, cx, stored.iter().map(|(id, to)| (*to, *id)).collect())?;
    }
    if let Some(end) = draft.expires_at {
        let rows: Vec<_> = stored.iter().map(|(id, _)| params![*id, end]).collect();
        tx.batch("INSERT INTO expirations (message_id, expires_at) VALUES (?1, ?2)", &rows)?;
    }
    Ok(())
}

/// Whether [`expire`] has something to do. Costs one look at an index.
pub fn has_expired(tx: &mut Tx<'_>, cx: &Cx) -> Result<bool> {
    let due = tx.query_opt(
        "SELECT message_id FROM expirations WHERE expires_at <= ?1 LIMIT 1",
        &params![cx.now],
        |_| Ok(()),
    )?;
    Ok(due.is_some())
}

/// Withdraws up to `limit` messages whose time is over from recipients who have never read them,
/// as unsending does; the sender keeps their copy. Returns how many were due.
pub fn expire(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let due = tx.query(
        "SELECT message_id FROM expirations WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        &params![cx.now, limit],
        |row| Ok(MessageId::stored(row.int(0)?)),
    )?;
    let envelopes = envelopes::load(tx, due.iter().copied(), BodyPart::Snippet)?;
    let copies = envelopes.iter().flat_map(|of| of.to.iter().map(|to| (*to, of.id)));
    let mut copies: Vec<_> = copies.collect();
    copies.sort();
    for mailbox in copies.chunk_by(|(one, _), (next, _)| one == next) {
        modseq::lock(tx, mailbox[0].0)?;
    }
    for (owner, id) in copies {
        let Some(entry) = entries::find(tx, owner, id)?.filter(|entry| !entry.was_read()) else {
            continue;
        };
        entries::remove(tx, cx, &[(owner, entry)])?;
        tx.execute(
            "UPDATE messages SET unsent_from = ?2 WHERE id = ?1",
            &params![id, owner.get().to_string().as_str()],
        )?;
        envelopes::release(tx, id, 1)?;
    }
    let rows: Vec<_> = due.iter().map(|id| params![*id]).collect();
    tx.batch("DELETE FROM expirations WHERE message_id = ?1", &rows)?;
    Ok(due.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::Lengths;

    #[test]
    fn a_transaction_writes_to_as_many_as_have_short_bodies_together() {
        for (length, step) in [(0, 200), (5_000, 200), (65_536, 16), (3 << 20, 1)] {
            let lengths = Lengths { subject_chars: 10, body_bytes: length };
            let draft = SystemDraft {
                subject: Subject::parse("s".to_owned(), lengths).unwrap(),
                body: Body::parse("x".repeat(length), lengths).unwrap(),
                metadata: None,
                silent: false,
                expires_at: None,
                reminder: true,
            };
            assert_eq!(draft.step(), step, "{length}");
        }
    }
}
