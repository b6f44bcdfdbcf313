//! Lines of the format, from what is here: everything, or what one person has.

mod lines;
mod person;
mod shapes;

use std::collections::{BTreeSet, HashMap};

use db::{Row, Tx, params};
use serde_json::Value;

use self::lines::{Seen, line, names, refs, shown};
pub use self::person::{Personal, Piece};
use self::shapes::{BlockOut, ContactOut, MuteOut, UserOut};
use crate::accounts::users::AcceptFrom;
use crate::base::{ConversationId, MessageId, Result, Time, UserId};
use crate::mailbox::entries::{self, Entry, entry_columns};
use crate::mailbox::envelopes::{self, BodyPart, Envelope};

/// Lines that are read at once.
const PAGE: i64 = 1000;
/// Bytes of bodies and metadata that are read at once, but for a message that has more.
const BYTES: usize = 8 << 20;

/// Where an export of everything continues.
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

/// Up to a thousand lines of everything, of messages only those that were sent `since`, and the
/// page that follows. A page may have none.
pub fn export(
    tx: &mut Tx<'_>,
    since: Option<Time>,
    page: Page,
) -> Result<(Vec<String>, Option<Page>)> {
    let (lines, last) = match page.part {
        Part::Users => users(tx, page.after.0)?,
        Part::Messages => messages(tx, since, page.after.0)?,
        Part::Blocks => blocks(tx, page.after)?,
        Part::Mutes => mutes(tx, page.after)?,
        Part::Contacts => contacts(tx, page.after)?,
    };
    let next = match last {
        Some(after) => Some(Page { part: page.part, after }),
        None => page.part.next().map(|part| Page { part, after: (0, 0) }),
    };
    Ok((lines, next))
}

/// Lines, and after what they continue.
type Lines = (Vec<String>, Option<(i64, i64)>);

/// The columns of a user, for [`user`].
macro_rules! user_columns {
    () => {
        "id, external_id, name, kind, accept_from, display_name, email, created_at, disabled_at, \
         erased_at, findable, reminders_off_at, app_version, password_hash"
    };
}
use user_columns;

fn user(row: &Row<'_>) -> db::Result<UserOut> {
    let text = |column| Ok::<_, db::Error>(row.text(column)?.to_owned());
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let (is_system, is_erased) = (row.int(3)? == 1, row.opt_int(9)?.is_some());
    let accepts = AcceptFrom::stored(4, row.int(4)?)?;
    let external_id = row.opt_text(1)?.map(str::to_owned);
    Ok(UserOut {
        id: row.int(0)?,
        username: some(text(2)?).filter(|name| external_id.is_none() || !lines::is_generated(name)),
        external_id,
        kind: is_system.then_some("system"),
        replies: (is_system && accepts == AcceptFrom::Everyone).then_some(true),
        display_name: some(text(5)?),
        email: some(text(6)?),
        created_at: Some(shown(Time(row.int(7)?))),
        active: (row.opt_int(8)?.is_some() && !is_erased).then_some(false),
        erased: is_erased.then_some(true),
        findable: (row.int(10)? == 0).then_some(false),
        accept_from: Some(accepts)
            .filter(|accepts| !is_system && *accepts != AcceptFrom::Everyone)
            .map(AcceptFrom::name),
        reminders: row.opt_int(11)?.is_some().then_some(false),
        version: row.opt_int(12)?,
        password_hash: some(text(13)?),
    })
}

fn users(tx: &mut Tx<'_>, after: i64) -> Result<Lines> {
    let found = tx.query(
        concat!(
            "SELECT ",
            user_columns!(),
            " FROM users JOIN mailboxes ON owner_id = id WHERE id > ?1 ORDER BY id LIMIT ?2"
        ),
        &params![after, PAGE],
        user,
    )?;
    let last = found.last().map(|user| (user.id, 0));
    Ok((found.iter().map(|user| line("user", user)).collect(), last))
}

fn messages(tx: &mut Tx<'_>, since: Option<Time>, after: i64) -> Result<Lines> {
    let ids = tx.query(
        "SELECT id FROM messages WHERE id > ?1 AND sent_at >= ?2 ORDER BY id LIMIT ?3",
        &params![after, since.unwrap_or(Time(i64::MIN)), PAGE],
        |row| Ok(MessageId::stored(row.int(0)?)),
    )?;
    let sizes = envelopes::sizes(tx, ids.iter().copied())?;
    let mut bytes = 0;
    let ids: Vec<_> =
        ids.into_iter().take_while(|id| fits(&mut bytes, sizes.get(id), BYTES)).collect();
    let Some(last) = ids.last().copied() else { return Ok((vec![], None)) };
    let envelopes = envelopes::load(tx, ids.iter().copied(), BodyPart::Whole)?;
    let people: BTreeSet<UserId> = envelopes.iter().flat_map(Envelope::people).collect();
    let parents: BTreeSet<i64> =
        envelopes.iter().filter_map(|of| of.in_reply_to).map(MessageId::get).collect();
    let parents: Vec<i64> = parents.into_iter().collect();
    let there =
        tx.query("SELECT id FROM messages WHERE id IN rarray(?1)", &params![&*parents], |row| {
            Ok(MessageId::stored(row.int(0)?))
        })?;
    let held = held(tx, &people, (ids[0], last))?;
    let seen = Seen { owner: None, parents: there.into_iter().collect(), held };
    let refs = refs(tx, people)?;
    Ok((lines::messages(tx, &envelopes, &seen, &refs)?, Some((last.get(), 0))))
}

/// Whether a message of that size belongs to a page, which has one at least.
fn fits(bytes: &mut usize, size: Option<&usize>, most: usize) -> bool {
    let is_first = *bytes == 0;
    *bytes += size.copied().unwrap_or_default().max(1);
    is_first || *bytes <= most
}

/// What mailboxes say of the messages between two ids.
fn held(
    tx: &mut Tx<'_>,
    people: &BTreeSet<UserId>,
    (first, last): (MessageId, MessageId),
) -> Result<HashMap<(UserId, MessageId), Entry>> {
    let owners: Vec<i64> = people.iter().map(|user| user.get()).collect();
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

/// A user, another one, and since when.
type Pair = (UserId, UserId, Time);

fn pair(row: &Row<'_>) -> db::Result<Pair> {
    Ok((UserId::stored(row.int(0)?), UserId::stored(row.int(1)?), Time(row.int(2)?)))
}

fn last_of(pairs: &[Pair]) -> Option<(i64, i64)> {
    pairs.last().map(|(one, other, _)| (one.get(), other.get()))
}

fn blocks(tx: &mut Tx<'_>, (owner, other): (i64, i64)) -> Result<Lines> {
    let found = tx.query(
        "SELECT owner_id, blocked_id, created_at FROM blocks
         WHERE (owner_id, blocked_id) > (?1, ?2) ORDER BY owner_id, blocked_id LIMIT ?3",
        &params![owner, other, PAGE],
        pair,
    )?;
    Ok((block_lines(&found, &refs_of(tx, &found)?), last_of(&found)))
}

fn contacts(tx: &mut Tx<'_>, (owner, other): (i64, i64)) -> Result<Lines> {
    let found = tx.query(
        "SELECT owner_id, peer_id, first_at FROM contacts
         WHERE (owner_id, peer_id) > (?1, ?2) ORDER BY owner_id, peer_id LIMIT ?3",
        &params![owner, other, PAGE],
        pair,
    )?;
    Ok((contact_lines(&found, &refs_of(tx, &found)?), last_of(&found)))
}

fn refs_of(tx: &mut Tx<'_>, pairs: &[Pair]) -> Result<HashMap<UserId, Value>> {
    refs(tx, pairs.iter().flat_map(|(one, other, _)| [*one, *other]))
}

fn block_lines(pairs: &[Pair], refs: &HashMap<UserId, Value>) -> Vec<String> {
    let lines = pairs.iter().map(|(user, blocked, at)| {
        let block = BlockOut { user: &refs[user], blocked: &refs[blocked], created_at: shown(*at) };
        line("block", &block)
    });
    lines.collect()
}

fn contact_lines(pairs: &[Pair], refs: &HashMap<UserId, Value>) -> Vec<String> {
    let lines = pairs.iter().map(|(user, peer, at)| {
        let contact = ContactOut { user: &refs[user], peer: &refs[peer], first_at: shown(*at) };
        line("contact", &contact)
    });
    lines.collect()
}

fn mutes(tx: &mut Tx<'_>, (owner, other): (i64, i64)) -> Result<Lines> {
    let found = tx.query(
        "SELECT owner_id, conversation_id, participants = '' AND NOT EXISTS
             (SELECT 1 FROM messages WHERE messages.id = conversations.conversation_id)
         FROM conversations WHERE (owner_id, conversation_id) > (?1, ?2)
         AND muted_at IS NOT NULL ORDER BY owner_id, conversation_id LIMIT ?3",
        &params![owner, other, PAGE],
        |row| {
            let (owner, conversation) = (row.int(0)?, row.int(1)?);
            let is_gone = row.int(2)? == 1;
            Ok((UserId::stored(owner), ConversationId::stored(conversation), is_gone))
        },
    )?;
    let last = found.last().map(|(owner, other, _)| (owner.get(), other.get()));
    // Of what is gone no line of a message may say the name.
    let kept = found.into_iter().filter(|(.., is_gone)| !is_gone);
    let kept: Vec<_> = kept.map(|(owner, of, _)| (owner, of)).collect();
    Ok((mute_lines(tx, &kept)?, last))
}

fn mute_lines(tx: &mut Tx<'_>, mutes: &[(UserId, ConversationId)]) -> Result<Vec<String>> {
    let refs = refs(tx, mutes.iter().map(|(owner, _)| *owner))?;
    let names = names(tx, mutes.iter().map(|(_, conversation)| conversation.first()))?;
    let lines = mutes.iter().map(|(owner, conversation)| {
        let conversation = &*names[&conversation.first()];
        line("mute", &MuteOut { user: &refs[owner], conversation })
    });
    Ok(lines.collect())
}
