//! Admission: whether a mailbox takes a message from a sender.
//!
//! What counts is the two people and what the owner has done: blocked the sender, or written to
//! them. What the sender or others have done opens no mailbox, and neither does a conversation
//! that both are in. Whom an owner has written to is recorded in `contacts`.

use std::collections::{HashMap, HashSet};

use db::{Tx, params};

use crate::accounts::modseq;
use crate::accounts::users::{self, AcceptFrom};
use crate::base::{Error, Refusal, Result, Time, UserId};
use crate::mailbox::envelopes::Envelope;

/// Advances a mailbox where the condition holds, for a message that is sent now. The first one that
/// is unread is the oldest.
macro_rules! receive {
    ($condition:literal) => {
        receive!("= ?1", $condition)
    };
    ($owners:literal, $condition:literal) => {
        concat!(
            "UPDATE mailboxes SET modseq = modseq + 1, unread = unread + ?2,
             unread_conversations = unread_conversations + ?2,
             oldest_unread_at = CASE WHEN unread = 0 THEN ?3 ELSE oldest_unread_at END
             WHERE owner_id ",
            $owners,
            " AND ",
            $condition
        )
    };
}

/// Advances the mailboxes of a sender and of the one recipient, as [`admit_all`] does. Returns why
/// the recipient does not take the message.
///
/// # Errors
/// As [`admit_all`].
pub(crate) fn admit_one(
    tx: &mut Tx<'_>,
    sender: UserId,
    recipient: UserId,
    parent: Option<&Envelope>,
    (unread, now): (i64, Time),
) -> Result<Option<Refusal>> {
    // Most mailboxes take everything, and most people block nobody: for them the conditions are
    // part of the one statement.
    const OWN: &str = receive!("closed_at IS NULL AND blocks = 0");
    const OTHER: &str = receive!("closed_at IS NULL AND accept_from = 0 AND blocks = 0");
    let mut both = [(recipient, OTHER, unread), (sender, OWN, 0)];
    both.sort();
    let all = if recipient == sender { &[(sender, OWN, unread)][..] } else { &both };
    for (at, (owner, sql, unread_here)) in all.iter().enumerate() {
        let changed = tx.execute(sql, &params![*owner, *unread_here, now])?;
        if modseq::notify(tx, *owner, changed) {
            continue;
        }
        for (owner, _, unread) in &all[..at] {
            take_back(tx, *owner, *unread)?;
        }
        let mut refused = Vec::new();
        admit_all(tx, sender, &[(0, recipient)], parent, (unread, now), &mut refused)?;
        return Ok(refused.pop().map(|(_, refusal)| refusal));
    }
    Ok(None)
}

/// Undoes what [`admit_one`] did to a mailbox before.
fn take_back(tx: &mut Tx<'_>, owner: UserId, unread: i64) -> Result<()> {
    tx.execute(
        "UPDATE mailboxes SET modseq = modseq - 1, unread = unread - ?2,
         unread_conversations = unread_conversations - ?2 WHERE owner_id = ?1",
        &params![owner, unread],
    )?;
    Ok(())
}

/// Locks the mailboxes of a sender and of the recipients, and advances those that take the message,
/// which may answer the message `parent`, with that of the sender. Nothing changes where nobody
/// takes it. `unread` is what it adds to the unread counts. Returns the recipients who take it.
///
/// # Errors
/// [`Error::NotLoggedIn`] where the sender's mailbox is closed.
pub(crate) fn admit_all(
    tx: &mut Tx<'_>,
    sender: UserId,
    recipients: &[(usize, UserId)],
    parent: Option<&Envelope>,
    (unread, now): (i64, Time),
    refused: &mut Vec<(usize, Refusal)>,
) -> Result<Vec<UserId>> {
    let mut owners: Vec<_> = recipients.iter().map(|(_, user)| *user).chain([sender]).collect();
    owners.sort();
    owners.dedup();
    modseq::lock_all(tx, &owners)?;
    let rules = rules(tx, &owners)?;
    let own = rules.iter().find(|rules| rules.owner == sender && rules.is_open);
    let own = own.ok_or(Error::NotLoggedIn)?;
    let blocked = if own.has_blocks { blocked_by(tx, sender, recipients)? } else { vec![] };
    let refusals = refusals(tx, &rules, sender, parent)?;
    let mut accepted = Vec::with_capacity(recipients.len());
    for (at, user) in recipients {
        let refusal = match user {
            _ if *user == sender => None,
            _ if blocked.contains(user) => Some(Refusal::BlockedByYou),
            _ => refusals.get(user).copied().unwrap_or(Some(Refusal::Unknown)),
        };
        match refusal {
            None => accepted.push(*user),
            Some(refusal) => refused.push((*at, refusal)),
        }
    }
    if accepted.is_empty() {
        return Ok(accepted);
    }
    let mut ids: Vec<i64> = accepted.iter().map(|user| user.get()).collect();
    ids.sort_unstable();
    tx.execute(receive!("IN rarray(?1)", "closed_at IS NULL"), &params![&*ids, unread, now])?;
    if !accepted.contains(&sender) {
        modseq::advance(tx, sender)?;
    }
    for user in &accepted {
        modseq::notify(tx, *user, 1);
    }
    Ok(accepted)
}

/// Those of some recipients whom the sender blocks.
fn blocked_by(
    tx: &mut Tx<'_>,
    sender: UserId,
    recipients: &[(usize, UserId)],
) -> Result<Vec<UserId>> {
    let ids: Vec<i64> = recipients.iter().map(|(_, user)| user.get()).collect();
    Ok(tx.query(
        "SELECT blocked_id FROM blocks WHERE owner_id = ?1 AND blocked_id IN rarray(?2)",
        &params![sender, &*ids],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?)
}

/// Why each of some locked mailboxes does not take a message from `sender`; `None` where it does.
fn refusals(
    tx: &mut Tx<'_>,
    rules: &[Rules],
    sender: UserId,
    parent: Option<&Envelope>,
) -> Result<HashMap<UserId, Option<Refusal>>> {
    let those = |is: &dyn Fn(&Rules) -> bool| -> Vec<i64> {
        rules.iter().filter(|rules| is(rules)).map(|rules| rules.owner.get()).collect()
    };
    let blocking = some_of(
        tx,
        "SELECT owner_id FROM blocks WHERE owner_id IN rarray(?1) AND blocked_id = ?2",
        (&those(&|rules| rules.has_blocks), sender.get()),
    )?;
    let known = some_of(
        tx,
        "SELECT owner_id FROM contacts WHERE owner_id IN rarray(?1) AND peer_id = ?2",
        (&those(&|rules| rules.accept_from != AcceptFrom::Everyone), sender.get()),
    )?;
    let talking = match parent {
        None => HashSet::new(),
        Some(parent) => {
            let asks = |rules: &Rules| {
                rules.accept_from == AcceptFrom::Nobody && known.contains(&rules.owner)
            };
            have_written_in(tx, &those(&asks), parent)?
        }
    };
    let refusals = rules.iter().map(|rules| {
        let owner = rules.owner;
        // Who holds a message of the owner's can answer it, whatever is recorded.
        let answers =
            parent.is_some_and(|parent| parent.from == owner && parent.to.contains(&sender));
        let takes = match rules.accept_from {
            AcceptFrom::Everyone => true,
            AcceptFrom::Known => answers || known.contains(&owner),
            AcceptFrom::Nobody => answers || talking.contains(&owner),
        };
        let refusal = if !rules.takes_replies {
            Some(Refusal::NoReplies)
        } else if blocking.contains(&owner) || !takes || !rules.is_open {
            Some(Refusal::Unavailable)
        } else {
            None
        };
        (owner, refusal)
    });
    Ok(refusals.collect())
}

/// What a mailbox says of whom it takes messages from.
struct Rules {
    owner: UserId,
    is_open: bool,
    takes_replies: bool,
    accept_from: AcceptFrom,
    has_blocks: bool,
}

/// The rules of those of some mailboxes that exist.
fn rules(tx: &mut Tx<'_>, owners: &[UserId]) -> Result<Vec<Rules>> {
    let ids: Vec<i64> = owners.iter().map(|owner| owner.get()).collect();
    Ok(tx.query(
        "SELECT owner_id, closed_at, accept_from, blocks FROM mailboxes
         WHERE owner_id IN rarray(?1)",
        &params![&*ids],
        |row| {
            Ok(Rules {
                owner: UserId::stored(row.int(0)?),
                is_open: row.opt_int(1)?.is_none(),
                takes_replies: row.int(2)? != users::NO_REPLIES,
                accept_from: AcceptFrom::stored(2, row.int(2)?)?,
                has_blocks: row.int(3)? > 0,
            })
        },
    )?)
}

/// Those of some owners of whom a statement says something. Without owners, nothing is run.
fn some_of(
    tx: &mut Tx<'_>,
    sql: &'static str,
    (owners, about): (&[i64], i64),
) -> Result<HashSet<UserId>> {
    if owners.is_empty() {
        return Ok(HashSet::new());
    }
    let found = tx.query(sql, &params![owners, about], |row| Ok(UserId::stored(row.int(0)?)))?;
    Ok(found.into_iter().collect())
}

/// Those of some owners who have written in a conversation, one of whose messages is `parent`: that
/// message, the first one, or another while their mailbox holds any.
fn have_written_in(tx: &mut Tx<'_>, owners: &[i64], parent: &Envelope) -> Result<HashSet<UserId>> {
    if owners.is_empty() {
        return Ok(HashSet::new());
    }
    let mut written = some_of(
        tx,
        "SELECT owner_id FROM conversations
         WHERE owner_id IN rarray(?1) AND conversation_id = ?2 AND has_written = 1",
        (owners, parent.conversation.get()),
    )?;
    let begun = tx.query_opt(
        "SELECT sender_id FROM messages WHERE id = ?1",
        &params![parent.conversation.first()],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    written.extend(begun.into_iter().chain([parent.from]));
    Ok(written)
}
