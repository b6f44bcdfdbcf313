//! Lines of the format, from what is here.

mod shapes;

use std::collections::{BTreeSet, HashMap};

use db::{Row, Tx, params};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use self::shapes::{MessageOut, StateOut, UserOut};
use crate::accounts::users::AcceptFrom;
use crate::base::text::Username;
use crate::base::{ConversationId, MessageId, Result, Time, UserId};
use crate::mailbox::entries::{self, Entry, entry_columns};
use crate::mailbox::envelopes::{self, BodyPart, Envelope};

/// Lines that are read at once.
const PAGE: i64 = 1000;

/// What is exported.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exported {
    /// Only what this user wrote, received and set.
    pub user: Option<UserId>,
    /// Only messages that were sent since.
    pub since: Option<Time>,
}

/// Where an export continues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    part: Part,
    after: (i64, i64),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Users,
    Messages,
    Blocks,
    Mutes,
    Contacts,
}

impl Part {
    fn next(self) -> Option<Self> {
        match self {
            Self::Users => Some(Self::Messages),
            Self::Messages => Some(Self::Blocks),
            Self::Blocks => Some(Self::Mutes),
            Self::Mutes => Some(Self::Contacts),
            Self::Contacts => None,
        }
    }
}

/// The first line.
pub fn first_line(tx: &mut Tx<'_>, now: Time) -> Result<String> {
    let source = super::target(tx, "")?.here.unwrap_or_else(|| "postroom".to_owned());
    Ok(serde_json::json!({ "postroom": 1, "source": source, "exported_at": shown(now) })
        .to_string())
}

/// Up to a thousand lines of a page, and the page that follows. A page may have none.
pub fn export(tx: &mut Tx<'_>, what: Exported, page: Page) -> Result<(Vec<String>, Option<Page>)> {
    let (lines, last) = match page.part {
        Part::Users => users(tx, what, page.after)?,
        Part::Messages => messages(tx, what, page.after)?,
        Part::Blocks => pairs(tx, BLOCKS, what, page.after, "block", ["user", "blocked"])?,
        Part::Mutes => mutes(tx, what, page.after)?,
        Part::Contacts => pairs(tx, CONTACTS, what, page.after, "contact", ["user", "peer"])?,
    };
    let next = match last {
        Some(after) => Some(Page { part: page.part, after }),
        None => page.part.next().map(|part| Page { part, after: (0, 0) }),
    };
    Ok((lines, next))
}

/// Lines, and after what they continue.
type Lines = (Vec<String>, Option<(i64, i64)>);

fn shown(time: Time) -> String {
    jiff::Timestamp::from_microsecond(time.0).unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn line(kind: &str, content: &impl Serialize) -> String {
    let content = serde_json::to_string(content).expect("its keys are strings");
    format!("{{\"{kind}\":{content}}}")
}

fn users(tx: &mut Tx<'_>, what: Exported, (after, _): (i64, i64)) -> Result<Lines> {
    let found = tx.query(
        "SELECT id, external_id, name, kind, accept_from, display_name, email, created_at,
             disabled_at, erased_at, findable, reminders_off_at, app_version, password_hash
         FROM users JOIN mailboxes ON owner_id = id
         WHERE id > ?1 AND (?2 = 0 OR id = ?2) ORDER BY id LIMIT ?3",
        &params![after, what.user.map_or(0, UserId::get), PAGE],
        |row| {
            let text = |column| Ok::<_, db::Error>(row.text(column)?.to_owned());
            let some = |text: String| Some(text).filter(|text| !text.is_empty());
            let (is_system, is_erased) = (row.int(3)? == 1, row.opt_int(9)?.is_some());
            let accepts = AcceptFrom::stored(4, row.int(4)?)?;
            let external_id = row.opt_text(1)?.map(str::to_owned);
            Ok(UserOut {
                id: row.int(0)?,
                username: some(text(2)?)
                    .filter(|name| external_id.is_none() || !is_generated(name)),
                external_id,
                kind: is_system.then_some("system"),
                replies: (is_system && accepts == AcceptFrom::Everyone).then_some(true),
                display_name: some(text(5)?),
                email: some(text(6)?),
                created_at: shown(Time(row.int(7)?)),
                active: (row.opt_int(8)?.is_some() && !is_erased).then_some(false),
                erased: is_erased.then_some(true),
                findable: (row.int(10)? == 0).then_some(false),
                accept_from: Some(accepts)
                    .filter(|accepts| !is_system && *accepts != AcceptFrom::Everyone)
                    .map(AcceptFrom::name),
                reminders: row.opt_int(11)?.is_some().then_some(false),
                version: row.opt_int(12)?,
                // A person takes away what they know of themselves, and no hash.
                password_hash: some(text(13)?).filter(|_| what.user.is_none()),
            })
        },
    )?;
    let last = found.last().map(|user| (user.id, 0));
    Ok((found.iter().map(|user| line("user", user)).collect(), last))
}

fn is_generated(name: &str) -> bool {
    Username::parse(name).is_ok_and(|name| name.is_reserved())
}

fn messages(tx: &mut Tx<'_>, what: Exported, (after, _): (i64, i64)) -> Result<Lines> {
    let since = what.since.unwrap_or(Time(i64::MIN));
    let id = |row: &Row<'_>| Ok(MessageId::stored(row.int(0)?));
    let ids = match what.user {
        None => tx.query(
            "SELECT id FROM messages WHERE id > ?1 AND sent_at >= ?2 ORDER BY id LIMIT ?3",
            &params![after, since, PAGE],
            id,
        )?,
        Some(owner) => tx.query(
            "SELECT id FROM messages WHERE id IN
                 (SELECT message_id FROM entries WHERE owner_id = ?4 AND message_id > ?1)
             AND sent_at >= ?2 ORDER BY id LIMIT ?3",
            &params![after, since, PAGE, owner],
            id,
        )?,
    };
    let Some(last) = ids.last().copied() else { return Ok((vec![], None)) };
    let envelopes = envelopes::load(tx, ids.iter().copied(), BodyPart::Whole)?;
    let people: BTreeSet<UserId> = envelopes.iter().flat_map(Envelope::people).collect();
    let refs = refs(tx, people.iter().copied())?;
    let parents: BTreeSet<i64> =
        envelopes.iter().filter_map(|of| of.in_reply_to).map(MessageId::get).collect();
    let parents: Vec<i64> = parents.into_iter().collect();
    let there =
        tx.query("SELECT id FROM messages WHERE id IN rarray(?1)", &params![&*parents], |row| {
            Ok(MessageId::stored(row.int(0)?))
        })?;
    let there: BTreeSet<MessageId> = there.into_iter().collect();
    let firsts = envelopes.iter().map(|of| of.conversation.first());
    let names = names(tx, ids.iter().copied().chain(there.iter().copied()).chain(firsts))?;
    let held = held(tx, what, &people, (ids[0], last))?;
    let lines = envelopes.iter().map(|of| {
        let parent = of.in_reply_to.filter(|parent| there.contains(parent));
        let begins = of.conversation == of.id.begins();
        let message = MessageOut {
            external_id: &names[&of.id],
            from: &refs[&of.from],
            to: of.to.iter().map(|to| &refs[to]).collect(),
            subject: &of.subject,
            body: &of.body,
            sent_at: shown(of.sent_at),
            in_reply_to: parent.map(|parent| &*names[&parent]),
            client_id: of.client_id.as_deref(),
            metadata: of.metadata.as_deref().and_then(one_line),
            conversation: (!begins && parent.is_none()).then(|| &*names[&of.conversation.first()]),
            state: state(what, of, &refs, &held),
        };
        line("message", &message)
    });
    Ok((lines.collect(), Some((last.get(), 0))))
}

/// JSON on one line: within strings there is no line break.
fn one_line(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.replace(['\n', '\r'], " ")).ok()
}

fn state<'m>(
    what: Exported,
    of: &Envelope,
    refs: &'m HashMap<UserId, Value>,
    held: &HashMap<(UserId, MessageId), Entry>,
) -> Vec<StateOut<'m>> {
    let others = of.to.iter().copied().filter(|to| *to != of.from);
    let owners = std::iter::once(of.from).chain(others);
    let owners = owners.filter(|owner| what.user.is_none_or(|user| user == *owner));
    let states = owners.filter_map(|owner| {
        let entry = held.get(&(owner, of.id));
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

/// What mailboxes say of the messages between two ids.
fn held(
    tx: &mut Tx<'_>,
    what: Exported,
    people: &BTreeSet<UserId>,
    (first, last): (MessageId, MessageId),
) -> Result<HashMap<(UserId, MessageId), Entry>> {
    let owners: Vec<i64> = match what.user {
        Some(user) => vec![user.get()],
        None => people.iter().map(|user| user.get()).collect(),
    };
    let found = tx.query(
        concat!(
            "SELECT ",
            entry_columns!(),
            ", owner_id FROM entries WHERE owner_id IN rarray(?1)
             AND place IN (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15)
             AND message_id BETWEEN ?2 AND ?3"
        ),
        &params![&*owners, first, last],
        |row| Ok((UserId::stored(row.int(12)?), entries::entry(row)?)),
    )?;
    Ok(found.into_iter().map(|(owner, entry)| ((owner, entry.message), entry)).collect())
}

/// The external ids of messages: those of an import, else their own ids.
fn names(
    tx: &mut Tx<'_>,
    ids: impl Iterator<Item = MessageId>,
) -> Result<HashMap<MessageId, String>> {
    let ids: BTreeSet<i64> = ids.map(MessageId::get).collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let own: Vec<String> = ids.iter().map(i64::to_string).collect();
    let named = |row: &Row<'_>| Ok((row.int(1)?, row.text(0)?.to_owned()));
    let imported = tx.query(
        "SELECT external_id, message_id FROM imported_messages WHERE message_id IN rarray(?1)",
        &params![&*ids],
        named,
    )?;
    let imported: HashMap<_, _> = imported.into_iter().collect();
    // An import may have called another one by this id.
    let source = super::target(tx, "")?.here.unwrap_or_default();
    let taken = super::messages::stored(tx, &source, &own)?;
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
fn refs(
    tx: &mut Tx<'_>,
    users: impl IntoIterator<Item = UserId>,
) -> Result<HashMap<UserId, Value>> {
    let ids: Vec<i64> = users.into_iter().map(UserId::get).collect();
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

const BLOCKS: &str = "SELECT owner_id, blocked_id, created_at FROM blocks
    WHERE (owner_id, blocked_id) > (?1, ?2) AND (?3 = 0 OR owner_id = ?3)
    ORDER BY owner_id, blocked_id LIMIT ?4";
const CONTACTS: &str = "SELECT owner_id, peer_id, first_at FROM contacts
    WHERE (owner_id, peer_id) > (?1, ?2) AND (?3 = 0 OR owner_id = ?3)
    ORDER BY owner_id, peer_id LIMIT ?4";

fn pairs(
    tx: &mut Tx<'_>,
    sql: &'static str,
    what: Exported,
    (owner, other): (i64, i64),
    kind: &'static str,
    [user, peer]: [&'static str; 2],
) -> Result<Lines> {
    let of = what.user.map_or(0, UserId::get);
    let found = tx.query(sql, &params![owner, other, of, PAGE], |row| {
        Ok((UserId::stored(row.int(0)?), UserId::stored(row.int(1)?), Time(row.int(2)?)))
    })?;
    let refs = refs(tx, found.iter().flat_map(|(one, other, _)| [*one, *other]))?;
    let time = if kind == "block" { "created_at" } else { "first_at" };
    let lines = found.iter().map(|(one, other, at)| {
        let content = serde_json::json!({ user: refs[one], peer: refs[other], time: shown(*at) });
        line(kind, &content)
    });
    Ok((lines.collect(), found.last().map(|(one, other, _)| (one.get(), other.get()))))
}

fn mutes(tx: &mut Tx<'_>, what: Exported, (owner, other): (i64, i64)) -> Result<Lines> {
    let of = what.user.map_or(0, UserId::get);
    let found = tx.query(
        "SELECT owner_id, conversation_id FROM conversations
         WHERE (owner_id, conversation_id) > (?1, ?2) AND (?3 = 0 OR owner_id = ?3)
         AND muted_at IS NOT NULL ORDER BY owner_id, conversation_id LIMIT ?4",
        &params![owner, other, of, PAGE],
        |row| Ok((UserId::stored(row.int(0)?), ConversationId::stored(row.int(1)?))),
    )?;
    let refs = refs(tx, found.iter().map(|(owner, _)| *owner))?;
    let names = names(tx, found.iter().map(|(_, conversation)| conversation.first()))?;
    let lines = found.iter().map(|(owner, conversation)| {
        let name = &names[&conversation.first()];
        line("mute", &serde_json::json!({ "user": refs[owner], "conversation": name }))
    });
    Ok((lines.collect(), found.last().map(|(owner, other)| (owner.get(), other.get()))))
}
