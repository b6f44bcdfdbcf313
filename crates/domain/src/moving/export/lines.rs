//! Lines, and how they name users and messages.

use std::collections::{BTreeSet, HashMap};

use db::{Row, Tx, params};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::shapes::{MessageOut, StateOut};
use crate::base::text::Username;
use crate::base::{MessageId, Result, Time, UserId};
use crate::mailbox::entries::Entry;
use crate::mailbox::envelopes::Envelope;

pub(super) fn shown(time: Time) -> String {
    jiff::Timestamp::from_microsecond(time.0).unwrap_or(jiff::Timestamp::MAX).to_string()
}

pub(super) fn line(kind: &str, content: &impl Serialize) -> String {
    let content = serde_json::to_string(content).expect("its keys are strings");
    format!("{{\"{kind}\":{content}}}")
}

/// Whether nobody has chosen that username.
pub(super) fn is_generated(name: &str) -> bool {
    Username::parse(name).is_ok_and(|name| name.is_reserved())
}

/// What is known of some messages besides what they say.
pub(super) struct Seen {
    /// Whose export it is: it has nothing that they cannot see. Else it is of everybody.
    pub(super) owner: Option<UserId>,
    /// Those messages that are answered and are a line as well.
    pub(super) parents: BTreeSet<MessageId>,
    /// What mailboxes say of them.
    pub(super) held: HashMap<(UserId, MessageId), Entry>,
}

/// A line of each message.
pub(super) fn messages(
    tx: &mut Tx<'_>,
    envelopes: &[Envelope],
    seen: &Seen,
    refs: &HashMap<UserId, Value>,
) -> Result<Vec<String>> {
    let ids = envelopes.iter().map(|of| of.id);
    let firsts = envelopes.iter().map(|of| of.conversation.first());
    let names = names(tx, ids.chain(seen.parents.iter().copied()).chain(firsts))?;
    let lines = envelopes.iter().map(|of| {
        let parent = of.in_reply_to.filter(|parent| seen.parents.contains(parent));
        let begins = of.conversation == of.id.begins();
        let is_sender = seen.owner.is_none_or(|owner| owner == of.from);
        let message = MessageOut {
            external_id: &names[&of.id],
            from: &refs[&of.from],
            to: of.to.iter().map(|to| &refs[to]).collect(),
            subject: &of.subject,
            body: &of.body,
            sent_at: shown(of.sent_at),
            in_reply_to: parent.map(|parent| &*names[&parent]),
            // It is the sender's own name of the message.
            client_id: of.client_id.as_deref().filter(|_| is_sender),
            metadata: of.metadata.as_deref().and_then(one_line),
            conversation: (!begins && parent.is_none()).then(|| &*names[&of.conversation.first()]),
            state: state(of, seen, refs),
        };
        line("message", &message)
    });
    Ok(lines.collect())
}

/// JSON on one line: within strings there is no line break.
fn one_line(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.replace(['\n', '\r'], " ")).ok()
}

fn state<'m>(of: &Envelope, seen: &Seen, refs: &'m HashMap<UserId, Value>) -> Vec<StateOut<'m>> {
    let others = of.to.iter().copied().filter(|to| *to != of.from);
    let owners = std::iter::once(of.from).chain(others);
    let owners = owners.filter(|owner| seen.owner.is_none_or(|of| of == *owner));
    let states = owners.filter_map(|owner| {
        let entry = seen.held.get(&(owner, of.id));
        let time = |of: fn(&Entry) -> Option<Time>| entry.and_then(of).map(shown);
        let state = StateOut {
            user: &refs[&owner],
            first_read_at: time(|entry| entry.first_read_at),
            read_at: time(|entry| entry.read_at),
            starred_at: time(|entry| entry.starred_at),
            archived_at: time(|entry| entry.archived_at),
            trashed_at: time(|entry| entry.trashed_at),
            deleted: entry.is_none().then_some(true),
        };
        let says = entry.is_none_or(|entry| {
            let marks = [entry.first_read_at, entry.read_at, entry.starred_at, entry.archived_at];
            marks.iter().any(Option::is_some) || entry.trashed_at.is_some()
        });
        says.then_some(state)
    });
    states.collect()
}

/// The external ids of messages: those of an import, else their own ids.
pub(super) fn names(
    tx: &mut Tx<'_>,
    ids: impl Iterator<Item = MessageId>,
) -> Result<HashMap<MessageId, String>> {
    let ids: BTreeSet<i64> = ids.map(MessageId::get).collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let own: Vec<String> = ids.iter().map(i64::to_string).collect();
    let named = |row: &Row<'_>| Ok((row.int(1)?, row.text(0)?.to_owned()));
    let imported = tx.query(
        "SELECT external_id, message_id FROM imported_messages WHERE message_id IN rarray(?1)",
        &params![&*ids],
        named,
    )?;
    let imported: HashMap<_, _> = imported.into_iter().collect();
    // An import may have called another one by this id.
    let source = super::super::target(tx, "")?.here.unwrap_or_default();
    let taken = super::super::messages::stored(tx, &source, &own)?;
    let name = |id: i64| {
        let own = || {
            let own = id.to_string();
            if taken.contains_key(&own) { format!("{own}-here") } else { own }
        };
        (MessageId::stored(id), imported.get(&id).cloned().unwrap_or_else(own))
    };
    Ok(ids.into_iter().map(name).collect())
}

/// How lines name users: by external id or username, and by id where only a stub is left.
pub(super) fn refs(
    tx: &mut Tx<'_>,
    users: impl IntoIterator<Item = UserId>,
) -> Result<HashMap<UserId, Value>> {
    let ids: Vec<i64> = users.into_iter().map(UserId::get).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = tx.query(
        "SELECT id, external_id, name FROM users WHERE id IN rarray(?1)",
        &params![&*ids],
        |row| {
            let (id, name) = (row.int(0)?, row.text(2)?);
            let of = match row.opt_text(1)? {
                Some(external_id) => Value::from(format!("ext:{external_id}")),
                None if name.is_empty() => Value::from(id),
                None => Value::from(name),
            };
            Ok((UserId::stored(id), of))
        },
    )?;
    let mut refs: HashMap<_, _> = found.into_iter().collect();
    for id in ids {
        refs.entry(UserId::stored(id)).or_insert_with(|| Value::from(id));
    }
    Ok(refs)
}
