//! Blocks, mutes and contacts that move.

use std::collections::{BTreeSet, HashSet};

use db::{Tx, params};

use super::fields::Problem;
use super::line::{BlockLine, ContactLine, Line, MuteLine};
use super::messages::stored;
use super::people::People;
use crate::base::{Cx, Error, Result, UserRef};
use crate::mailbox::conversations;

/// The users whom a line names, with where it does.
fn refs(line: &Line) -> Vec<(&'static str, &UserRef)> {
    match line {
        Line::Block(BlockLine { user, blocked, .. }) => {
            vec![("/block/user", user), ("/block/blocked", blocked)]
        }
        Line::Mute(MuteLine { user, .. }) => vec![("/mute/user", user)],
        Line::Contact(ContactLine { user, peer, .. }) => {
            vec![("/contact/user", user), ("/contact/peer", peer)]
        }
        Line::User(_) | Line::Message(_) | Line::Login => vec![],
    }
}

fn look_up(tx: &mut Tx<'_>, people: &mut People, lines: &[(i64, Line)]) -> Result<()> {
    let all = lines.iter().flat_map(|(_, line)| refs(line)).map(|(_, of)| of.clone());
    people.look_up(tx, all.collect())
}

/// Checks lines. Their users have to be there: nobody is made of a block. `begun` are those of the
/// conversations that they name which the file begins.
pub fn check_others(
    tx: &mut Tx<'_>,
    source: &str,
    people: &mut People,
    (lines, begun): (&[(i64, Line)], &BTreeSet<String>),
) -> Result<Vec<Problem>> {
    look_up(tx, people, lines)?;
    let mutes = lines.iter().filter_map(|(_, line)| match line {
        Line::Mute(mute) => Some(mute.conversation.clone()),
        _ => None,
    });
    let known = stored(tx, source, &mutes.collect::<Vec<_>>())?;
    let mut problems = Vec::new();
    for (line, content) in lines {
        let mut wrong = |pointer: &str, code, detail: &str| {
            let (pointer, detail) = (pointer.to_owned(), detail.to_owned());
            problems.push(Problem { line: *line, pointer, code, detail });
        };
        for (pointer, of) in refs(content) {
            if !people.has(of) {
                wrong(pointer, "unknown_user", "there is no such user: add a user line");
            }
        }
        match content {
            Line::Block(BlockLine { user, blocked, .. }) if user == blocked => {
                wrong("/block/blocked", "invalid", "nobody can block themselves");
            }
            Line::Mute(MuteLine { conversation, .. })
                if !known.contains_key(conversation) && !begun.contains(conversation) =>
            {
                wrong("/mute/conversation", "unknown_message", "there is no such conversation");
            }
            _ => {}
        }
    }
    Ok(problems)
}

/// Writes lines that were checked.
pub fn write_others(
    tx: &mut Tx<'_>,
    cx: &Cx,
    source: &str,
    people: &mut People,
    lines: &[(i64, Line)],
) -> Result<()> {
    look_up(tx, people, lines)?;
    let (mut blocks, mut contacts, mut blockers) = (vec![], vec![], HashSet::new());
    for (_, line) in lines {
        match line {
            Line::Block(BlockLine { user, blocked, created_at }) => {
                let (user, blocked) = (people.id(user)?, people.id(blocked)?);
                blocks.push(params![user, blocked, created_at.unwrap_or(cx.now)]);
                blockers.insert(user);
            }
            Line::Contact(ContactLine { user, peer, first_at }) => {
                let first_at = first_at.unwrap_or(cx.now);
                contacts.push(params![people.id(user)?, people.id(peer)?, first_at]);
            }
            Line::Mute(mute) => write_mute(tx, cx, source, people, mute)?,
            Line::User(_) | Line::Message(_) | Line::Login => {}
        }
    }
    tx.batch(
        "INSERT INTO blocks (owner_id, blocked_id, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id, blocked_id) DO NOTHING",
        &blocks,
    )?;
    let blockers: Vec<_> = blockers.into_iter().map(|owner| params![owner]).collect();
    tx.batch(
        "UPDATE mailboxes SET blocks = (SELECT count(*) FROM blocks WHERE owner_id = ?1)
         WHERE owner_id = ?1",
        &blockers,
    )?;
    // A clock that was set back may have dated the first of some messages after others.
    tx.batch(
        "INSERT INTO contacts (owner_id, peer_id, first_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner_id, peer_id) DO UPDATE SET first_at = ?3
         WHERE contacts.first_at > ?3 OR contacts.first_at < ?3 AND EXISTS
             (SELECT 1 FROM imported_messages WHERE message_id = contacts.message_id)",
        &contacts,
    )?;
    Ok(())
}

fn write_mute(
    tx: &mut Tx<'_>,
    cx: &Cx,
    source: &str,
    people: &People,
    mute: &MuteLine,
) -> Result<()> {
    let owner = people.id(&mute.user)?;
    let first = stored(tx, source, std::slice::from_ref(&mute.conversation))?;
    let Some(first) = first.get(&mute.conversation) else { return Ok(()) };
    let conversation = first.begins();
    match conversations::mute(tx, cx, owner, conversation, true) {
        // The mailbox holds nothing of it any more; the mute stays.
        Err(Error::NotFound(_)) => {
            tx.execute(
                "INSERT INTO conversations (owner_id, conversation_id, last_message_id, unread,
                     subject, participants, muted_at) VALUES (?1, ?2, NULL, 0, '', '', ?3)
                 ON CONFLICT (owner_id, conversation_id) DO NOTHING",
                &params![owner, conversation, cx.now],
            )?;
            Ok(())
        }
        muted => muted,
    }
}
