//! Messages that move: checked against what is here, and written in the order in which they were
//! sent.

mod store;

use std::collections::{BTreeSet, HashMap};

use db::{Tx, params};

pub use self::store::Rows;
use super::fields::Problem;
use super::line::MessageLine;
use super::people::People;
use super::spool::Turn;
use crate::accounts::modseq;
use crate::base::{Cx, MessageId, Result, Time, UserRef};
use crate::mailbox::{envelopes, history};

/// What messages are moved to.
#[derive(Debug, Clone)]
pub struct Target {
    /// The source of the file.
    pub source: String,
    /// The source of the messages that are here, if an import has stored some.
    pub here: Option<String>,
    /// There are messages that no import has stored.
    pub has_others: bool,
    /// When the newest message here was sent.
    pub newest_at: Option<Time>,
    /// All message ids up to this one are given.
    last: i64,
}

/// A message of the file in its turn, read.
pub type Message = (Turn, Box<MessageLine>);

/// Looks what is here.
pub fn target(tx: &mut Tx<'_>, source: &str) -> Result<Target> {
    let here = tx.query_opt(
        "SELECT source FROM imported_messages WHERE message_id > 0 ORDER BY message_id LIMIT 1",
        &params![],
        |row| Ok(row.text(0)?.to_owned()),
    )?;
    let imported = tx.query_opt(
        "SELECT message_id FROM imported_messages WHERE message_id > 0
         ORDER BY message_id DESC LIMIT 1",
        &params![],
        |row| row.int(0),
    )?;
    let newest = tx.query_opt(
        "SELECT id FROM messages WHERE id > 0 ORDER BY id DESC LIMIT 1",
        &params![],
        |row| row.int(0),
    )?;
    let given = match imported {
        // Ids of messages that are gone are not given again; a new database has given none.
        None if has_begun(tx)? => tx.last_id()?,
        _ => 0,
    };
    Ok(Target {
        source: source.to_owned(),
        here,
        has_others: newest > imported,
        newest_at: envelopes::newest_time(tx)?,
        last: given.max(imported.unwrap_or(0)).max(newest.unwrap_or(0)),
    })
}

/// Whether a mailbox has ever had anything, or the database was restored.
fn has_begun(tx: &mut Tx<'_>) -> Result<bool> {
    let used = tx.query_opt(
        "SELECT 1 FROM mailboxes WHERE owner_id > 0 AND modseq > 0 LIMIT 1",
        &params![],
        |_| Ok(()),
    )?;
    Ok(used.is_some() || history::origin(tx)? > 0)
}

/// Checks messages against what is here. `parents` are those external ids of the file that some of
/// them answer, or whose conversation they belong to. Returns what is wrong, and how many are new.
pub fn check_messages(
    tx: &mut Tx<'_>,
    target: &Target,
    people: &mut People,
    (messages, parents): (&[Message], &BTreeSet<String>),
    (makes_stubs, refuses_known): (bool, bool),
) -> Result<(Vec<Problem>, i64)> {
    let (mut problems, mut new) = (Vec::new(), 0);
    people.look_up(tx, all_refs(messages))?;
    let stored = stored(tx, &target.source, &names(messages))?;
    for (turn, message) in messages {
        let mut wrong = |field: &str, code, detail: String| {
            let (line, pointer) = (turn.line, format!("/message/{field}"));
            problems.push(Problem { line, pointer, code, detail });
        };
        for (field, of) in refs(message) {
            let can_be = makes_stubs && can_be_made(of);
            if !people.has(of) && !can_be {
                let hint = "add a user line, or use --missing-users stub";
                wrong(&field, "unknown_user", format!("there is no such user: {hint}"));
            }
        }
        if stored.contains_key(&message.external_id) {
            if refuses_known {
                let detail = "this message is here already: leave out --insert".to_owned();
                wrong("external_id", "exists", detail);
            }
            continue;
        }
        new += 1;
        if let Some(parent) = &message.in_reply_to
            && !parents.contains(parent)
            && !stored.contains_key(parent)
        {
            let detail = "there is no such message, in the file or from the same source";
            wrong("in_reply_to", "unknown_message", detail.to_owned());
        }
        if let Some(here) = target.here.as_ref().filter(|here| **here != target.source) {
            let detail = format!("the messages here are from another source: {here}");
            wrong("external_id", "other_source", detail);
        } else if target.has_others {
            let detail = "there are messages here that no import has stored: ids ascend with \
                          dates, so older ones cannot be added";
            wrong("external_id", "not_empty", detail.to_owned());
        } else if target.newest_at.is_some_and(|newest| turn.sorted_at.plus(Time::SLACK) < newest) {
            let detail = "it is before that of a message that is here, and ids ascend with dates";
            wrong("sent_at", "too_late", detail.to_owned());
        }
    }
    Ok((problems, new))
}

/// Whether a ref says enough to make a user.
fn can_be_made(of: &UserRef) -> bool {
    match of {
        UserRef::External(_) => true,
        UserRef::Name(name) => {
            crate::text::Username::parse(name).is_ok_and(|name| !name.is_reserved())
        }
        UserRef::Id(_) => false,
    }
}

/// The users whom a message names, with where it does.
fn refs(message: &MessageLine) -> impl Iterator<Item = (String, &UserRef)> {
    let to = message.to.iter().enumerate().map(|(at, of)| (format!("to/{at}"), of));
    let state = message.state.iter().enumerate();
    let state = state.map(|(at, state)| (format!("state/{at}/user"), &state.user));
    std::iter::once(("from".to_owned(), &message.from)).chain(to).chain(state)
}

fn all_refs(messages: &[Message]) -> Vec<UserRef> {
    messages.iter().flat_map(|(_, message)| refs(message)).map(|(_, of)| of.clone()).collect()
}

/// The external ids by which messages are looked for.
fn names(messages: &[Message]) -> Vec<String> {
    let names = messages.iter().flat_map(|(_, message)| {
        let others = [&message.in_reply_to, &message.conversation];
        std::iter::once(&message.external_id).chain(others.into_iter().flatten()).cloned()
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.dedup();
    names
}

/// The messages that an import of the source has stored.
pub(super) fn stored(
    tx: &mut Tx<'_>,
    source: &str,
    names: &[String],
) -> Result<HashMap<String, MessageId>> {
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let found = tx.query(
        "SELECT external_id, message_id FROM imported_messages
         WHERE source = ?1 AND external_id IN rarray(?2)",
        &params![source, names],
        |row| Ok((row.text(0)?.to_owned(), MessageId::stored(row.int(1)?))),
    )?;
    Ok(found.into_iter().collect())
}

/// Makes users of the refs of some messages that mean nobody.
pub fn write_stubs(
    tx: &mut Tx<'_>,
    cx: &Cx,
    people: &mut People,
    messages: &[Message],
) -> Result<()> {
    people.look_up(tx, all_refs(messages))?;
    people.stub(tx, cx, &all_refs(messages))
}

/// Writes those of some messages that are not here yet, which were checked and follow all that are
/// here. `rows` are the conversations that were written before. Returns how many were written.
pub fn write_messages(
    tx: &mut Tx<'_>,
    source: &str,
    people: &mut People,
    (messages, rows): (&[Message], &mut Rows),
) -> Result<i64> {
    people.look_up(tx, all_refs(messages))?;
    let here = target(tx, source)?;
    let stored = stored(tx, source, &names(messages))?;
    let new: Vec<_> =
        messages.iter().filter(|(_, message)| !stored.contains_key(&message.external_id)).collect();
    if new.is_empty() {
        return Ok(0);
    }
    let mut batch = store::Batch::new(source, here.last, stored);
    for (turn, message) in &new {
        batch.add(tx, people, turn, message)?;
    }
    let owners = batch.owners();
    modseq::lock_all(tx, &owners)?;
    batch.write(tx, rows)?;
    Ok(i64::try_from(new.len()).unwrap_or(i64::MAX))
}
