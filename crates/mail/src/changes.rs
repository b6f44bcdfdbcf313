//! What changed in a mailbox since one of its numbers: exactly that, each message once.
//!
//! A number holds one thing at most: a message came, changed or went. So as soon as each number
//! since then is explained there is nothing more to look for; where few are asked for, which is
//! the usual case, the newest entries of the places in which messages come are enough. Else the
//! first message that came later is found by halving, for ids ascend with the numbers, and what
//! follows is read in ascending ranges: however large the mailbox, a page costs no more.

use std::collections::{BTreeMap, BTreeSet};

use db::{Row, Tx, params};

use crate::entries::{Entry, entry};
use crate::envelopes::Text;
use crate::mailbox::Unread;
use crate::messages::{self, Message};
use crate::users::Person;
use crate::{Cx, Error, MessageId, Result, Time, UserId};

/// Something that happened to a message; of several things the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The number at which it happened.
    pub seq: i64,
    /// To which message.
    pub message: MessageId,
    /// What the mailbox says of it now; nothing where it is gone.
    pub entry: Option<Entry>,
    created_seq: i64,
}

/// What it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The message came.
    Created,
    /// It was there, and is another one now.
    Updated,
    /// It was there, and is gone.
    Destroyed,
}

impl Change {
    /// What it was.
    pub fn kind(&self) -> Kind {
        match self.entry {
            Some(_) if self.seq == self.created_seq => Kind::Created,
            Some(_) => Kind::Updated,
            None => Kind::Destroyed,
        }
    }

    /// Whether it is news to somebody who knows the mailbox as it was then.
    fn is_news(&self, since: i64) -> bool {
        self.kind() == Kind::Created || self.created_seq <= since
    }

    /// The numbers that it explains.
    fn numbers(&self) -> [i64; 3] {
        let changed = self.entry.map_or(self.seq, |entry| entry.changed_seq);
        [self.seq, self.created_seq, changed]
    }
}

/// What changed in a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// In the order of their numbers.
    pub changes: Vec<Change>,
    /// The number up to which they are all.
    pub until: i64,
    /// What is unread now, and the counter; where it is beyond `until`, there may be more.
    pub now: Unread,
}

impl Changes {
    /// Whether there may be more.
    pub fn has_more(&self) -> bool {
        self.until < self.now.state
    }
}

/// Changes with the messages that they are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The changes.
    pub changes: Changes,
    /// The messages that came or changed, in the same order.
    pub messages: Vec<Message>,
    /// Everybody whom they name, ascending by id.
    pub people: Vec<Person>,
}

/// Numbers that are looked at without looking for the first message.
const RECENT: i64 = 64;
/// Numbers that are looked at in one step, and steps until a page may be empty.
const STEP: i64 = 500;
const STEPS: usize = 20;

/// What changed since a number: up to `limit` changes, or a few more where they share a number.
///
/// # Errors
/// [`Error::ChangesForgotten`] where it is not known any more, or where the mailbox never had that
/// number.
pub fn since(tx: &mut Tx<'_>, owner: UserId, since: i64, limit: usize) -> Result<Changes> {
    let (now, forgotten) = state(tx, owner)?;
    if !(forgotten..=now.state).contains(&since) {
        return Err(Error::ChangesForgotten);
    }
    if now.state - since <= RECENT {
        let found = recent(tx, owner, since, now.state)?;
        return Ok(page(found, since, now.state, now, limit));
    }
    let first = first_after(tx, owner, since)?;
    let mut from = since;
    for _ in 1..STEPS {
        let until = now.state.min(from + STEP);
        let (found, until) = step(tx, owner, first, (from, until), limit)?;
        let page = page(found, since, until, now, limit);
        if !page.changes.is_empty() || until == now.state {
            return Ok(page);
        }
        from = until;
    }
    Ok(Changes { changes: Vec::new(), until: from, now })
}

/// The same with the messages, as lists show them.
///
/// # Errors
/// As [`since`].
pub fn news(tx: &mut Tx<'_>, owner: UserId, since: i64, limit: usize) -> Result<News> {
    let changes = self::since(tx, owner, since, limit)?;
    let entries: Vec<_> = changes.changes.iter().filter_map(|change| change.entry).collect();
    let messages = messages::views(tx, &entries, Text::Snippet)?;
    let named = messages.iter().flat_map(|message| message.envelope.people());
    let people = messages::people(tx, named)?;
    Ok(News { changes, messages, people })
}

/// The row of the mailbox; nobody has an empty one.
fn state(tx: &mut Tx<'_>, owner: UserId) -> Result<(Unread, i64)> {
    let row = tx.query_opt(
        "SELECT unread, unread_conversations, counter, forgotten_seq FROM mailboxes
         WHERE owner_id = ?1",
        &params![owner],
        |row| {
            let (messages, conversations) = (row.int(0)?, row.int(1)?);
            Ok((Unread { messages, conversations, state: row.int(2)? }, row.int(3)?))
        },
    )?;
    Ok(row.unwrap_or_default())
}

/// The news among what was found, in their order; cut at the end of a number.
fn page(mut found: Vec<Change>, since: i64, until: i64, now: Unread, limit: usize) -> Changes {
    found.retain(|change| change.is_news(since));
    found.sort_by_key(|change| (change.seq, change.message));
    found.dedup_by_key(|change| (change.seq, change.message));
    let mut until = until;
    if let Some(last) = found.get(limit.saturating_sub(1)).map(|last| last.seq) {
        let more = found.iter().any(|change| change.seq > last);
        found.retain(|change| change.seq <= last);
        until = if more { last } else { until };
    }
    Changes { changes: found, until, now }
}

/// Entries in some places, with what chooses among those of one place, and among these again.
macro_rules! places {
    ($first:literal $($place:literal)*; $choice:literal; $then:literal) => {
        concat!(
            places!(@ $first, $choice, $then)
            $(, " UNION ALL ", places!(@ $place, $choice, $then))*
        )
    };
    (@ $place:literal, $choice:literal, $then:literal) => {
        concat!(
            "SELECT * FROM (SELECT place, message_id, conversation_id, role, peer_id, read_at, \
             starred_at, archived_at, trashed_at, created_seq, changed_seq FROM entries \
             WHERE owner_id = ?1 AND place = ", $place, " ", $choice, ") AS of_", $place,
            " ", $then
        )
    };
}

/// What came since then, among the newest in the places where messages come: inbox and sent.
const BORN: &str = places!(2 3 8 9; "ORDER BY message_id DESC LIMIT ?2"; "WHERE created_seq > ?3");
/// The same in the places to which they are moved.
const MOVED: &str = places!(0 1 4 5 6 7 10 11 12 13 14 15;
    "ORDER BY message_id DESC LIMIT ?2"; "WHERE created_seq > ?3");
/// The first from a message on, in every place.
const NEXT: &str = places!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15;
    "AND message_id >= ?2 ORDER BY message_id LIMIT ?3"; "");

/// Everything since a number that is not long ago.
fn recent(tx: &mut Tx<'_>, owner: UserId, since: i64, until: i64) -> Result<Vec<Change>> {
    let numbers = until - since;
    let mut found = Vec::new();
    // Most likely is that something came, least likely that it was put away at once.
    for look in 0..4 {
        let explained: BTreeSet<_> = found.iter().flat_map(Change::numbers).collect();
        if explained.range(since + 1..).count() as u64 == numbers.unsigned_abs() {
            break;
        }
        found.extend(match look {
            0 => newest(tx, owner, BORN, since, numbers)?,
            1 => {
                let mut changed = changed(tx, owner, since, until)?;
                // What also came since then has left the place where it came.
                let came = changed.iter_mut().filter(|change| change.created_seq > since);
                came.for_each(|change| change.seq = change.created_seq);
                changed
            }
            2 => gone(tx, owner, since, until)?,
            _ => newest(tx, owner, MOVED, since, numbers)?,
        });
    }
    Ok(found)
}

/// What came since then, among the newest of some places.
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
    let (message, seq) = (entry.message, entry.created_seq);
    Ok(Change { seq, message, entry: Some(entry), created_seq: seq })
}

/// What changed after it came, in a range of numbers.
fn changed(tx: &mut Tx<'_>, owner: UserId, from: i64, until: i64) -> Result<Vec<Change>> {
    Ok(tx.query(
        crate::entries::select_entries!(
            "WHERE owner_id = ?1 AND changed_seq > ?2 AND changed_seq <= ?3"
        ),
        &params![owner, from, until],
        |row| {
            let entry = entry(row)?;
            let Entry { message, created_seq, changed_seq: seq, .. } = entry;
            Ok(Change { seq, message, entry: Some(entry), created_seq })
        },
    )?)
}

/// What went, in a range of numbers.
fn gone(tx: &mut Tx<'_>, owner: UserId, from: i64, until: i64) -> Result<Vec<Change>> {
    Ok(tx.query(
        "SELECT seq, message_id, created_seq FROM tombstones
         WHERE owner_id = ?1 AND seq > ?2 AND seq <= ?3",
        &params![owner, from, until],
        |row| {
            let message = MessageId::stored(row.int(1)?);
            Ok(Change { seq: row.int(0)?, message, entry: None, created_seq: row.int(2)? })
        },
    )?)
}

/// Everything in a range of numbers, or in the beginning of it; and where that ends. `first` is
/// the first message that came in it.
fn step(
    tx: &mut Tx<'_>,
    owner: UserId,
    first: MessageId,
    (from, mut until): (i64, i64),
    limit: usize,
) -> Result<(Vec<Change>, i64)> {
    let most = limit + 1;
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let came =
        tx.query(NEXT, &params![owner, first, limit], |row| Ok((row.int(0)?, created(row)?)))?;
    let mut places = BTreeMap::new();
    for (place, change) in &came {
        let (entries, last) = places.entry(*place).or_insert((0, 0));
        (*entries, *last) = (*entries + 1, change.seq.max(*last));
        if *entries == most {
            // There may be more in this place.
            until = until.min(*last);
        }
    }
    let mut found = changed(tx, owner, from, until)?;
    found.extend(gone(tx, owner, from, until)?);
    found.extend(came.into_iter().map(|(_, change)| change));
    found.retain(|change| (from + 1..=until).contains(&change.seq));
    Ok((found, until))
}

/// The first message that came after a number; above all where none did.
fn first_after(tx: &mut Tx<'_>, owner: UserId, since: i64) -> Result<MessageId> {
    let mut newest = newest(tx, owner, BORN, since, 1)?;
    newest.extend(self::newest(tx, owner, MOVED, since, 1)?);
    let Some(newest) = newest.into_iter().max_by_key(|change| change.message) else {
        return Ok(MessageId::ABOVE_ALL);
    };
    let (mut low, mut high) = (1, newest.message.get());
    while low < high {
        let middle = low + (high - low) / 2;
        let next = tx.query(NEXT, &params![owner, middle, 1], created)?;
        match next.into_iter().min_by_key(|change| change.message) {
            Some(next) if next.seq <= since => low = next.message.get() + 1,
            _ => high = middle,
        }
    }
    Ok(MessageId::stored(low))
}

/// How long a mailbox remembers what is gone from it.
const KEPT: i64 = 30 * Time::DAY;

/// Forgets up to so many things that went from mailboxes more than 30 days ago; how many there
/// were. Who knows a mailbox only as it was before has to load it anew.
pub fn forget(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let mut old = tx.query(
        "SELECT owner_id, seq, message_id FROM tombstones WHERE destroyed_at < ?1
         ORDER BY destroyed_at LIMIT ?2",
        &params![cx.now.plus(-KEPT), limit],
        |row| Ok((row.int(0)?, row.int(1)?, row.int(2)?)),
    )?;
    old.sort_unstable();
    for mailbox in old.chunk_by(|(one, ..), (next, ..)| one == next) {
        let (owner, last, _) = *mailbox.last().expect("a chunk holds something");
        // The row is its lock; so mailboxes come first, in ascending order.
        tx.execute(
            "UPDATE mailboxes SET forgotten_seq = ?2 WHERE owner_id = ?1 AND forgotten_seq < ?2",
            &params![owner, last],
        )?;
    }
    let old: Vec<_> = old.iter().map(|(owner, seq, id)| params![*owner, *seq, *id]).collect();
    tx.batch("DELETE FROM tombstones WHERE owner_id = ?1 AND seq = ?2 AND message_id = ?3", &old)?;
    Ok(old.len() as u64)
}

/// By how much the counters of a restored database are ahead of those of its backup: more than
/// happened in any mailbox since.
const LEAP: i64 = 1 << 32;

/// Lets nobody go on from what he knew: a restored database has another history than the one that
/// it takes the place of.
pub fn begin_anew(tx: &mut Tx<'_>) -> db::Result<()> {
    tx.execute(
        "UPDATE mailboxes SET counter = counter + ?1, forgotten_seq = counter + ?1",
        &params![LEAP],
    )?;
    Ok(())
}
