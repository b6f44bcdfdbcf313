//! Changes: exactly what changed in a mailbox since one of its modseqs, each message once.
//!
//! At most one thing happens at a modseq: a message is created, updated or destroyed. So the search
//! ends as soon as each modseq since then is accounted for. Usually they are few, and the newest
//! entries of the places where messages arrive account for them. Else the first message that was
//! created later is found by bisection, as ids ascend with modseqs, and what follows is read in
//! ascending ranges: a page costs the same however large the mailbox is.

use std::collections::{BTreeMap, BTreeSet};

use db::{Row, Tx, params};

use crate::accounts::users::Person;
use crate::base::{Error, MessageId, Result, UserId};
use crate::mailbox::entries::{Entry, entry, entry_columns, select_entries};
use crate::mailbox::envelopes::BodyPart;
use crate::mailbox::history;
use crate::mailbox::messages::{self, Message};
use crate::mailbox::place::place;
use crate::mailbox::unread::UnreadCounts;

/// The last thing that happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The modseq at which it happened.
    pub modseq: i64,
    /// The message.
    pub message: MessageId,
    /// Its entry now; `None` where it is gone.
    pub entry: Option<Entry>,
    created_modseq: i64,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The message was created in the mailbox.
    Created,
    /// It existed, and was changed.
    Updated,
    /// It existed, and is gone.
    Destroyed,
}

impl Change {
    /// The kind.
    pub fn kind(&self) -> ChangeKind {
        match self.entry {
            Some(_) if self.modseq == self.created_modseq => ChangeKind::Created,
            Some(_) => ChangeKind::Updated,
            None => ChangeKind::Destroyed,
        }
    }

    /// Whether a client that knows the mailbox as of `since` must be told of it.
    fn concerns(&self, since: i64) -> bool {
        self.kind() == ChangeKind::Created || self.created_modseq <= since
    }

    fn explains(&self) -> [i64; 3] {
        let changed = self.entry.map_or(self.modseq, |entry| entry.changed_modseq);
        [self.modseq, self.created_modseq, changed]
    }
}

/// The changes in a range of modseqs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Ascending by modseq.
    pub changes: Vec<Change>,
    /// The modseq up to which they are complete.
    pub until: i64,
    /// The unread counts and the modseq now; where that is beyond `until`, there may be more.
    pub now: UnreadCounts,
}

impl Changes {
    /// Whether there may be more.
    pub fn has_more(&self) -> bool {
        self.until < self.now.modseq
    }
}

/// Changes, with the messages that they are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesWithMessages {
    /// The changes.
    pub changes: Changes,
    /// The created and updated messages, in the same order.
    pub messages: Vec<Message>,
    /// The people that these name, ascending by id.
    pub people: Vec<Person>,
}

/// The longest range of modseqs that is read without searching for the first message.
const RECENT: i64 = 64;
/// Modseqs that are read in one step, and the most steps before an empty page is returned.
const STEP: i64 = 500;
const STEPS: usize = 20;

/// Up to `limit` changes since a modseq, or a few more where they share one.
///
/// # Errors
/// [`Error::ChangesForgotten`] where they are no longer available, because tombstones were purged,
/// or where the mailbox never had that modseq.
pub fn since(tx: &mut Tx<'_>, owner: UserId, since: i64, limit: usize) -> Result<Changes> {
    let (now, forgotten) = state(tx, owner)?;
    if !(forgotten..=now.modseq).contains(&since) {
        return Err(Error::ChangesForgotten);
    }
    if now.modseq - since <= RECENT {
        let found = recent(tx, owner, since, now.modseq)?;
        return Ok(page(found, since, now.modseq, now, limit));
    }
    let first = first_after(tx, owner, since)?;
    let mut from = since;
    for _ in 1..STEPS {
        let until = now.modseq.min(from + STEP);
        let (found, until) = step(tx, owner, first, (from, until), limit)?;
        let page = page(found, since, until, now, limit);
        if !page.changes.is_empty() || until == now.modseq {
            return Ok(page);
        }
        from = until;
    }
    Ok(Changes { changes: Vec::new(), until: from, now })
}

/// The same with the messages, as lists show them: `part` is no more than a snippet and metadata.
///
/// # Errors
/// As [`since`].
pub fn with_messages(
    tx: &mut Tx<'_>,
    owner: UserId,
    since: i64,
    limit: usize,
    part: BodyPart,
) -> Result<ChangesWithMessages> {
    let changes = self::since(tx, owner, since, limit)?;
    let entries: Vec<_> = changes.changes.iter().filter_map(|change| change.entry).collect();
    let mut messages = messages::views(tx, &entries, part)?;
    for message in &mut messages {
        message.envelope.shorten(owner);
    }
    let people = messages::people_of(tx, &messages)?;
    Ok(ChangesWithMessages { changes, messages, people })
}

/// The mailbox's counts, and the modseq up to which its tombstones were purged; zeros for a user
/// that does not exist.
fn state(tx: &mut Tx<'_>, owner: UserId) -> Result<(UnreadCounts, i64)> {
    let row = tx.query_opt(
        "SELECT unread, unread_conversations, modseq, purged_modseq FROM mailboxes
         WHERE owner_id = ?1",
        &params![owner],
        |row| {
            let (messages, conversations) = (row.int(0)?, row.int(1)?);
            Ok((UnreadCounts { messages, conversations, modseq: row.int(2)? }, row.int(3)?))
        },
    )?;
    Ok(row.unwrap_or_default())
}

/// Those changes that the client must be told of, in order, cut after a whole modseq.
fn page(
    mut found: Vec<Change>,
    since: i64,
    until: i64,
    now: UnreadCounts,
    limit: usize,
) -> Changes {
    found.retain(|change| change.concerns(since));
    found.sort_by_key(|change| (change.modseq, change.message));
    found.dedup_by_key(|change| (change.modseq, change.message));
    let mut until = until;
    if let Some(last) = found.get(limit.saturating_sub(1)).map(|last| last.modseq) {
        let more = found.iter().any(|change| change.modseq > last);
        found.retain(|change| change.modseq <= last);
        until = if more { last } else { until };
    }
    Changes { changes: found, until, now }
}

/// A statement that reads the entries of some places: `$choice` selects within each place, and
/// `$then` among the selected.
macro_rules! union_of_places {
    ($first:ident $($place:ident)*; $choice:literal; $then:literal) => {
        concat!(
            union_of_places!(@ $first, $choice, $then)
            $(, " UNION ALL ", union_of_places!(@ $place, $choice, $then))*
        )
    };
    (@ $place:ident, $choice:literal, $then:literal) => {
        concat!(
            "SELECT * FROM (SELECT ", entry_columns!(), " FROM entries WHERE owner_id = ?1 \
             AND place = ", place!($place), " ", $choice,
            ") AS of_", place!($place), " ", $then
        )
    };
}

/// What was created since then, among the newest in the places where messages arrive.
const ARRIVED: &str = union_of_places!(
    inbox_unread inbox_unread_row sent sent_row;
    "ORDER BY message_id DESC LIMIT ?2"; "WHERE created_modseq > ?3");
/// The same in the places to which messages are moved.
const MOVED: &str = union_of_places!(
    inbox_read inbox_read_row archive_read archive_read_row archive_unread archive_unread_row
    trash_read trash_read_row trash_unread trash_unread_row;
    "ORDER BY message_id DESC LIMIT ?2"; "WHERE created_modseq > ?3");
/// The first entries with an id of at least `?2`, from every place.
const NEXT: &str = union_of_places!(
    inbox_read inbox_read_row inbox_unread inbox_unread_row archive_read archive_read_row
    archive_unread archive_unread_row sent sent_row trash_read trash_read_row trash_unread
    trash_unread_row;
    "AND message_id >= ?2 ORDER BY message_id LIMIT ?3"; "");

/// Everything since a recent modseq.
fn recent(tx: &mut Tx<'_>, owner: UserId, since: i64, until: i64) -> Result<Vec<Change>> {
    let modseqs = until - since;
    let mut found = Vec::new();
    // Most likely a message arrived; least likely it arrived and was moved at once.
    for attempt in 0..4 {
        let explained: BTreeSet<_> = found.iter().flat_map(Change::explains).collect();
        if explained.range(since + 1..).count() as u64 == modseqs.unsigned_abs() {
            break;
        }
        found.extend(match attempt {
            0 => newest(tx, owner, ARRIVED, since, modseqs)?,
            1 => {
                let mut changed = changed(tx, owner, since, until)?;
                // What was created and then changed since counts as created; it has left the place
                // where `ARRIVED` looks.
                let arrived = changed.iter_mut().filter(|change| change.created_modseq > since);
                arrived.for_each(|change| change.modseq = change.created_modseq);
                changed
            }
            2 => destroyed(tx, owner, since, until)?,
            _ => newest(tx, owner, MOVED, since, modseqs)?,
        });
    }
    Ok(found)
}

/// What was created since then, among the newest of some places.
fn newest(
    tx: &mut Tx<'_>,
    owner: UserId,
    statement: &'static str,
    since: i64,
    most: i64,
) -> Result<Vec<Change>> {
    Ok(tx.query(statement, &params![owner, most, since], created)?)
}

fn created(row: &Row<'_>) -> db::Result<Change> {
    let entry = entry(row)?;
    let (message, modseq) = (entry.message, entry.created_modseq);
    Ok(Change { modseq, message, entry: Some(entry), created_modseq: modseq })
}

/// What was updated in a range of modseqs.
fn changed(tx: &mut Tx<'_>, owner: UserId, from: i64, until: i64) -> Result<Vec<Change>> {
    Ok(tx.query(
        select_entries!("WHERE owner_id = ?1 AND changed_modseq > ?2 AND changed_modseq <= ?3"),
        &params![owner, from, until],
        |row| {
            let entry = entry(row)?;
            let Entry { message, created_modseq, changed_modseq: modseq, .. } = entry;
            Ok(Change { modseq, message, entry: Some(entry), created_modseq })
        },
    )?)
}

/// What was destroyed in a range of modseqs.
fn destroyed(tx: &mut Tx<'_>, owner: UserId, from: i64, until: i64) -> Result<Vec<Change>> {
    Ok(tx.query(
        "SELECT modseq, message_id, created_modseq FROM tombstones
         WHERE owner_id = ?1 AND modseq > ?2 AND modseq <= ?3",
        &params![owner, from, until],
        |row| {
            let message = MessageId::stored(row.int(1)?);
            Ok(Change { modseq: row.int(0)?, message, entry: None, created_modseq: row.int(2)? })
        },
    )?)
}

/// Everything in a range of modseqs or in its beginning, and where that ends. `first` is the first
/// message that was created in it.
fn step(
    tx: &mut Tx<'_>,
    owner: UserId,
    first: MessageId,
    (from, mut until): (i64, i64),
    limit: usize,
) -> Result<(Vec<Change>, i64)> {
    let most = limit + 1;
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let created_in =
        tx.query(NEXT, &params![owner, first, limit], |row| Ok((row.int(0)?, created(row)?)))?;
    let mut places = BTreeMap::new();
    for (place, change) in &created_in {
        let (entries, last) = places.entry(*place).or_insert((0, 0));
        (*entries, *last) = (*entries + 1, change.modseq.max(*last));
        if *entries == most {
            // There may be more in this place.
            until = until.min(*last);
        }
    }
    let mut found = changed(tx, owner, from, until)?;
    found.extend(destroyed(tx, owner, from, until)?);
    found.extend(created_in.into_iter().map(|(_, change)| change));
    found.retain(|change| (from + 1..=until).contains(&change.modseq));
    Ok((found, until))
}

/// The first message that was created after a modseq; above all ids where there is none.
fn first_after(tx: &mut Tx<'_>, owner: UserId, since: i64) -> Result<MessageId> {
    let mut newest = newest(tx, owner, ARRIVED, since, 1)?;
    newest.extend(self::newest(tx, owner, MOVED, since, 1)?);
    let Some(newest) = newest.into_iter().max_by_key(|change| change.message) else {
        return Ok(MessageId::ABOVE_ALL);
    };
    // Whatever was created since a state of this history is above its origin.
    let (mut low, mut high) = (history::origin(tx)? + 1, newest.message.get());
    while low < high {
        let middle = low + (high - low) / 2;
        let next = tx.query(NEXT, &params![owner, middle, 1], created)?;
        match next.into_iter().min_by_key(|change| change.message) {
            Some(next) if next.modseq <= since => low = next.message.get() + 1,
            _ => high = middle,
        }
    }
    Ok(MessageId::stored(low))
}
