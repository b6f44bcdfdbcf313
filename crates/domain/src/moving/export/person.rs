//! What one person has, page by page: what they wrote and received, their settings, logins, blocks,
//! mutes and contacts. It has nothing that they could not see, and the marks of nobody else.
//!
//! Each page is a transaction of its own, so nothing is held between two. What came into the
//! mailbox after the export began is left out.

use std::collections::{BTreeSet, HashMap};

use db::{Tx, params};
use serde_json::Value;

use super::lines::{self, Seen, is_generated, line, refs, shown};
use super::shapes::{SessionOut, TokenOut, UserOut};
use super::{Pair, Part, block_lines, contact_lines, fits, mute_lines, pair, user, user_columns};
use crate::accounts::{modseq, sessions, tokens};
use crate::base::{ConversationId, Cx, Error, MessageId, Result, Time, UserId};
use crate::mailbox::entries::{self, Entry, Folder, select_entries};
use crate::mailbox::envelopes::{self, BodyPart, Envelope};
use crate::mailbox::place::{Place, places};

/// Messages of a page at most.
const MESSAGES: usize = 200;
/// Bytes of bodies and metadata of a page, unless one message alone has more.
const BYTES: usize = 64 << 10;
/// Blocks, mutes or contacts of a page.
const OTHERS: i64 = 500;

/// An export of one person that goes on.
#[derive(Debug, Clone)]
pub struct Personal {
    owner: UserId,
    since: Option<Time>,
    has_logins: bool,
    /// The modseq of the mailbox when it began.
    until: i64,
    /// Who had a line.
    named: BTreeSet<UserId>,
    next: Option<(Part, i64)>,
}

/// A page of it.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its lines, each with its end; there may be none.
    pub text: String,
    named: Vec<UserId>,
    next: Option<(Part, i64)>,
}

/// Lines, whom they name, and after what they continue.
struct Found {
    lines: Vec<String>,
    people: BTreeSet<UserId>,
    last: Option<i64>,
}

impl Personal {
    /// Begins an export of what the owner has now, of messages only those that were sent `since`;
    /// `has_logins` is whether it has their sessions and tokens.
    ///
    /// # Errors
    /// [`Error::UnknownUser`] where they do not exist or are erased.
    pub fn begin(
        tx: &mut Tx<'_>,
        owner: UserId,
        since: Option<Time>,
        has_logins: bool,
    ) -> Result<Self> {
        confirm(tx, owner)?;
        let until = modseq::of(tx, owner)?;
        let (named, next) = (BTreeSet::from([owner]), Some((Part::Users, 0)));
        Ok(Self { owner, since, has_logins, until, named, next })
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// [`Error::UnknownUser`] where the owner was erased meanwhile.
    pub fn page(&self, tx: &mut Tx<'_>, cx: &Cx) -> Result<Option<Piece>> {
        let Some((part, after)) = self.next else { return Ok(None) };
        confirm(tx, self.owner)?;
        let Found { lines, mut people, last } = match part {
            Part::Users => self.own(tx, cx)?,
            Part::Messages => self.messages(tx, MessageId::stored(after))?,
            Part::Blocks => self.blocks(tx, after)?,
            Part::Mutes => self.mutes(tx, after)?,
            Part::Contacts => self.contacts(tx, after)?,
        };
        people.retain(|user| !self.named.contains(user));
        let named: Vec<_> = people.into_iter().collect();
        let mut text = String::new();
        for line in peers(tx, &named)?.iter().chain(&lines) {
            text.push_str(line);
            text.push('\n');
        }
        let next = match last {
            Some(after) => Some((part, after)),
            None => part.next().map(|part| (part, 0)),
        };
        Ok(Some(Piece { text, named, next }))
    }

    /// Goes on behind a page.
    pub fn pass(&mut self, piece: &Piece) {
        self.named.extend(&piece.named);
        self.next = piece.next;
    }

    fn own(&self, tx: &mut Tx<'_>, cx: &Cx) -> Result<Found> {
        let mut own = tx.query_one(
            concat!(
                "SELECT ",
                user_columns!(),
                " FROM users JOIN mailboxes ON owner_id = id WHERE id = ?1"
            ),
            &params![self.owner],
            user,
        )?;
        // A person takes away what they know of themselves, and no hash.
        own.password_hash = None;
        let mut lines = vec![line("user", &own)];
        if self.has_logins {
            let of = &refs(tx, [self.owner])?[&self.owner];
            lines.extend(sessions::list(tx, cx, self.owner)?.iter().map(|session| {
                let session = SessionOut {
                    user: of,
                    created_at: shown(session.created_at),
                    last_seen_at: shown(session.last_seen_at),
                    address: &session.address,
                    user_agent: &session.user_agent,
                };
                line("session", &session)
            }));
            lines.extend(tokens::list(tx, self.owner)?.iter().map(|token| {
                let token = TokenOut {
                    user: of,
                    name: &token.name,
                    scopes: token.scopes.names().collect(),
                    created_at: shown(token.created_at),
                    expires_at: token.expires_at.map(shown),
                    last_used_at: token.last_used_at.map(shown),
                };
                line("token", &token)
            }));
        }
        Ok(Found { lines, people: BTreeSet::new(), last: None })
    }

    fn messages(&self, tx: &mut Tx<'_>, after: MessageId) -> Result<Found> {
        let held = held(tx, self.owner, after)?;
        let sizes = envelopes::sizes(tx, held.iter().map(|entry| entry.message))?;
        let mut bytes = 0;
        let fits = |entry: &&Entry| fits(&mut bytes, sizes.get(&entry.message), BYTES);
        let held: Vec<&Entry> = held.iter().take_while(fits).collect();
        let last = held.last().map(|entry| entry.message.get());
        // They may have come since, with a lower id on PostgreSQL.
        let held = held.into_iter().filter(|entry| entry.created_modseq <= self.until);
        let held: HashMap<_, _> = held.map(|entry| ((self.owner, entry.message), *entry)).collect();
        let ids = held.keys().map(|(_, message)| *message);
        let mut envelopes = envelopes::load(tx, ids, BodyPart::Whole)?;
        envelopes.retain(|of| self.since.is_none_or(|since| of.sent_at >= since));
        let parents = envelopes.iter().filter_map(|of| of.in_reply_to).map(MessageId::get);
        let parents: BTreeSet<i64> = parents.collect();
        let parents = self.holds(tx, &parents.into_iter().collect::<Vec<_>>())?;
        let people: BTreeSet<UserId> = envelopes.iter().flat_map(Envelope::people).collect();
        let refs = refs(tx, people.iter().copied())?;
        let seen = Seen { owner: Some(self.owner), parents, held };
        Ok(Found { lines: lines::messages(tx, &envelopes, &seen, &refs)?, people, last })
    }

    /// Those of some messages that the mailbox holds.
    fn holds(&self, tx: &mut Tx<'_>, messages: &[i64]) -> Result<BTreeSet<MessageId>> {
        if messages.is_empty() {
            return Ok(BTreeSet::new());
        }
        let found = tx.query(
            concat!(
                "SELECT message_id FROM entries WHERE owner_id = ?1 AND place IN (",
                places!(inbox_read inbox_read_row inbox_unread inbox_unread_row archive_read
                    archive_read_row archive_unread archive_unread_row sent sent_row trash_read
                    trash_read_row trash_unread trash_unread_row),
                ") AND message_id IN rarray(?2)"
            ),
            &params![self.owner, messages],
            |row| Ok(MessageId::stored(row.int(0)?)),
        )?;
        Ok(found.into_iter().collect())
    }

    fn blocks(&self, tx: &mut Tx<'_>, after: i64) -> Result<Found> {
        let found = tx.query(
            "SELECT owner_id, blocked_id, created_at FROM blocks
             WHERE owner_id = ?1 AND blocked_id > ?2 ORDER BY blocked_id LIMIT ?3",
            &params![self.owner, after, OTHERS],
            pair,
        )?;
        pairs(tx, &found, block_lines)
    }

    fn contacts(&self, tx: &mut Tx<'_>, after: i64) -> Result<Found> {
        let found = tx.query(
            "SELECT owner_id, peer_id, first_at FROM contacts
             WHERE owner_id = ?1 AND peer_id > ?2 ORDER BY peer_id LIMIT ?3",
            &params![self.owner, after, OTHERS],
            pair,
        )?;
        pairs(tx, &found, contact_lines)
    }

    fn mutes(&self, tx: &mut Tx<'_>, after: i64) -> Result<Found> {
        let found = tx.query(
            "SELECT conversation_id, muted_at IS NOT NULL AND participants <> ''
             FROM conversations WHERE owner_id = ?1 AND conversation_id > ?2
             ORDER BY conversation_id LIMIT ?3",
            &params![self.owner, after, OTHERS],
            |row| Ok((ConversationId::stored(row.int(0)?), row.int(1)? == 1)),
        )?;
        let last = found.last().map(|(conversation, _)| conversation.get());
        // One without a message says nothing to anybody who reads this.
        let muted = found.into_iter().filter(|(_, is_muted)| *is_muted);
        let muted: Vec<_> = muted.map(|(conversation, _)| (self.owner, conversation)).collect();
        Ok(Found { lines: mute_lines(tx, &muted)?, people: BTreeSet::new(), last })
    }
}

fn confirm(tx: &mut Tx<'_>, owner: UserId) -> Result<()> {
    let there = tx.query_opt(
        "SELECT 1 FROM users WHERE id = ?1 AND erased_at IS NULL",
        &params![owner],
        |_| Ok(()),
    )?;
    there.ok_or(Error::UnknownUser)
}

fn pairs(
    tx: &mut Tx<'_>,
    found: &[Pair],
    lines: fn(&[Pair], &HashMap<UserId, Value>) -> Vec<String>,
) -> Result<Found> {
    let people: BTreeSet<UserId> =
        found.iter().flat_map(|(one, other, _)| [*one, *other]).collect();
    let refs = refs(tx, people.iter().copied())?;
    let last = found.last().map(|(_, other, _)| other.get());
    Ok(Found { lines: lines(found, &refs), people, last })
}

/// The next entries of a mailbox, ascending: of all places, as one may move between two pages.
fn held(tx: &mut Tx<'_>, owner: UserId, after: MessageId) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for folder in [Folder::Inbox, Folder::Archive, Folder::Sent, Folder::Trash] {
        for (unread, has_row) in [(false, false), (false, true), (true, false), (true, true)] {
            if unread && folder == Folder::Sent {
                continue;
            }
            found.extend(tx.query(
                select_entries!(
                    "WHERE owner_id = ?1 AND place = ?2 AND message_id > ?3
                     ORDER BY message_id LIMIT ?4"
                ),
                &params![owner, Place::new(folder, unread, has_row), after, LIMIT],
                entries::entry,
            )?);
        }
    }
    found.sort_by_key(|entry| entry.message);
    found.truncate(MESSAGES);
    Ok(found)
}

#[expect(clippy::cast_possible_wrap, reason = "it is small")]
const LIMIT: i64 = MESSAGES as i64;

/// A line of each of some people, with no more than everybody can know of them.
fn peers(tx: &mut Tx<'_>, people: &[UserId]) -> Result<Vec<String>> {
    if people.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<i64> = people.iter().map(|user| user.get()).collect();
    let found = tx.query(
        "SELECT id, external_id, name, kind, display_name, erased_at IS NOT NULL FROM users
         WHERE id IN rarray(?1)",
        &params![&*ids],
        |row| {
            let external_id = row.opt_text(1)?.map(str::to_owned);
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let user = UserOut {
                username: some(row.text(2)?)
                    .filter(|name| external_id.is_none() || !is_generated(name)),
                external_id,
                kind: (row.int(3)? == 1).then_some("system"),
                display_name: some(row.text(4)?),
                erased: (row.int(5)? == 1).then_some(true),
                ..UserOut::of(row.int(0)?)
            };
            Ok((user.id, user))
        },
    )?;
    let mut found: HashMap<_, _> = found.into_iter().collect();
    let lines = ids.iter().map(|id| {
        let stub = || UserOut { erased: Some(true), ..UserOut::of(*id) };
        line("user", &found.remove(id).unwrap_or_else(stub))
    });
    Ok(lines.collect())
}
