//! Lists of messages: the newest first, a page at a time, stable while messages come and go.
//!
//! A page begins below the id at which the last one ended. Where the boxes of the key, or an index,
//! hold exactly what is asked for, a page reads no more than it shows. Any other condition is tried
//! on one entry after the other, up to a bound: a page may be short then, and the next one goes on
//! where it stopped.

use db::{Tx, params};

use crate::entries::{self, Entry, Folder, Place, select_entries};
use crate::envelopes::{self, Envelope, SNIPPET, Text};
use crate::messages::{self, Message};
use crate::search::Query;
use crate::users::Person;
use crate::{ConversationId, MessageId, Result, Time, UserId, mailbox};

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Below which message the next page begins, where there may be one.
    pub next: Option<MessageId>,
    /// Everybody whom the items name, ascending by id.
    pub people: Vec<Person>,
    /// The counter of the mailbox, on the first page.
    pub state: Option<i64>,
}

/// Which part of a mailbox is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shelf {
    /// What was received, and is neither archived nor in the trash.
    #[default]
    Inbox,
    /// What was sent, and is neither archived nor in the trash.
    Sent,
    /// What was put aside.
    Archive,
    /// What will be destroyed.
    Trash,
    /// Everything except the trash.
    All,
}

/// What is asked for: everything that is given has to be true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In which part of the mailbox.
    pub shelf: Shelf,
    /// Whether it is unread.
    pub unread: Option<bool>,
    /// Whether it has a star.
    pub starred: Option<bool>,
    /// Who wrote it or to whom it was written, beside the owner.
    pub with: Option<UserId>,
    /// To which conversation it belongs.
    pub conversation: Option<ConversationId>,
    /// The earliest moment of sending.
    pub since: Option<Time>,
    /// The moment before which it was sent.
    pub until: Option<Time>,
    /// Words that it has.
    pub words: Option<Query>,
}

/// Entries that a page looks at, at most, and how many of them at once.
const LOOKED_AT: usize = 10_000;
const STEP: usize = 500;
/// The same where the text of each has to be read.
const TEXTS_LOOKED_AT: usize = 4_000;
const TEXTS_STEP: usize = 200;
/// Bytes of text that are read for a page, at most, and those of one more step.
const BYTES_READ: usize = 4 << 20;
/// How far the clocks that set the times of two messages may be apart.
const SKEW: i64 = Time::DAY;

/// Something that holds entries in their order.
#[derive(Clone, Copy)]
enum Source {
    Place(Place),
    Self_,
    Starred,
    Thread(ConversationId),
}

impl Filter {
    /// Whether a page may have to look at more than it shows.
    pub fn is_selective(&self) -> bool {
        self.needs_texts() || self.with.is_some() || !self.sources().1
    }

    fn needs_texts(&self) -> bool {
        self.words.is_some() || self.since.is_some() || self.until.is_some()
    }

    /// What holds all that is asked for, and whether it holds nothing else.
    fn sources(&self) -> (Vec<Source>, bool) {
        if let Some(conversation) = self.conversation {
            return (vec![Source::Thread(conversation)], false);
        }
        if self.starred == Some(true) {
            return (vec![Source::Starred], false);
        }
        let folders: &[Folder] = match self.shelf {
            Shelf::Inbox => &[Folder::Inbox],
            Shelf::Sent => &[Folder::Sent],
            Shelf::Archive => &[Folder::Archive],
            Shelf::Trash => &[Folder::Trash],
            Shelf::All => &[Folder::Inbox, Folder::Sent, Folder::Archive],
        };
        let mut sources = Vec::with_capacity(10);
        for folder in folders {
            let states: &[bool] = match (self.unread, folder) {
                (Some(false), _) | (None, Folder::Sent) => &[false],
                (None, _) => &[false, true],
                (Some(true), Folder::Sent) => &[],
                (Some(true), _) => &[true],
            };
            for unread in states {
                for threaded in [false, true] {
                    sources.push(Source::Place(Place::new(*folder, *unread, threaded)));
                }
            }
        }
        if self.shelf == Shelf::Sent {
            sources.push(Source::Self_);
        }
        let exact = self.starred.is_none() && (self.shelf != Shelf::Sent || self.unread.is_none());
        (sources, exact)
    }

    fn fits(&self, entry: &Entry) -> bool {
        let folder = entry.folder();
        let in_shelf = match self.shelf {
            Shelf::Inbox => folder == Folder::Inbox,
            Shelf::Sent => entry.sent && matches!(folder, Folder::Sent | Folder::Inbox),
            Shelf::Archive => folder == Folder::Archive,
            Shelf::Trash => folder == Folder::Trash,
            Shelf::All => folder != Folder::Trash,
        };
        in_shelf
            && self.unread.is_none_or(|unread| unread == entry.is_unread())
            && self.starred.is_none_or(|starred| starred == entry.starred_at.is_some())
            && self.conversation.is_none_or(|wanted| wanted == entry.conversation)
            // Who the others are in a message to several only the message knows.
            && self.with.is_none_or(|with| entry.peer.is_none_or(|peer| peer == with))
    }

    fn fits_envelope(&self, owner: UserId, envelope: &Envelope) -> bool {
        self.since.is_none_or(|since| envelope.sent_at >= since)
            && self.until.is_none_or(|until| envelope.sent_at < until)
            && self.with.is_none_or(|with| {
                let to_himself = with == owner && envelope.to == [owner] && envelope.from == owner;
                to_himself || (with != owner && envelope.people().contains(&with))
            })
            && self.words.as_ref().is_none_or(|words| {
                words.matches(&[envelope.subject.as_str(), envelope.body.as_str()])
            })
    }
}

impl Source {
    fn read(
        self,
        tx: &mut Tx<'_>,
        owner: UserId,
        below: MessageId,
        most: i64,
    ) -> Result<Vec<Entry>> {
        let found = match self {
            Source::Place(place) => tx.query(
                select_entries!(
                    "WHERE owner_id = ?1 AND place = ?2 AND message_id < ?3
                     ORDER BY message_id DESC LIMIT ?4"
                ),
                &params![owner, place, below, most],
                entries::entry,
            ),
            Source::Self_ => tx.query(
                select_entries!(
                    "WHERE owner_id = ?1 AND role = 3 AND message_id < ?2
                     AND archived_at IS NULL AND trashed_at IS NULL
                     ORDER BY message_id DESC LIMIT ?3"
                ),
                &params![owner, below, most],
                entries::entry,
            ),
            Source::Starred => tx.query(
                select_entries!(
                    "WHERE owner_id = ?1 AND starred_at IS NOT NULL AND message_id < ?2
                     ORDER BY message_id DESC LIMIT ?3"
                ),
                &params![owner, below, most],
                entries::entry,
            ),
            Source::Thread(conversation) => tx.query(
                select_entries!(
                    "WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1
                     AND message_id < ?3 ORDER BY message_id DESC LIMIT ?4"
                ),
                &params![owner, conversation, below, most],
                entries::entry,
            ),
        };
        Ok(found?)
    }
}

/// The newest entries below a message that are in one of the sources.
fn newest(
    tx: &mut Tx<'_>,
    owner: UserId,
    sources: &[Source],
    below: MessageId,
    most: usize,
) -> Result<Vec<Entry>> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for source in sources {
        found.extend(source.read(tx, owner, below, limit)?);
        if let Source::Thread(conversation) = source {
            // A conversation that is its first message alone has no index.
            let single = entries::single(tx, owner, *conversation)?;
            found.extend(single.filter(|entry| entry.message < below));
        }
    }
    found.sort_by_key(|entry| std::cmp::Reverse(entry.message));
    found.truncate(most);
    Ok(found)
}

/// The entries that are a conversation by themselves, outside of the trash.
pub(crate) fn singles(
    tx: &mut Tx<'_>,
    owner: UserId,
    below: MessageId,
    most: usize,
) -> Result<Vec<Entry>> {
    let places = [
        Place::new(Folder::Inbox, false, false),
        Place::new(Folder::Inbox, true, false),
        Place::new(Folder::Archive, false, false),
        Place::new(Folder::Archive, true, false),
        Place::new(Folder::Sent, false, false),
    ];
    newest(tx, owner, &places.map(Source::Place), below, most)
}

/// The messages that are asked for, the newest first, and those below `before`: up to `limit`.
///
/// Where [`Filter::is_selective`] says so it may take long, and the page may hold fewer while
/// there are more.
pub fn list(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Page<Message>> {
    let state = state(tx, owner, before)?;
    let (items, next) = if filter.is_selective() {
        select(tx, owner, filter, before, limit)?
    } else {
        let below = before.unwrap_or(MessageId::ABOVE_ALL);
        let mut entries = newest(tx, owner, &filter.sources().0, below, limit + 1)?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|last| last.message);
        (messages::views(tx, &entries, Text::Snippet)?, next)
    };
    let named = items.iter().flat_map(|item| item.envelope.people());
    let people = messages::people(tx, named)?;
    Ok(Page { items, next, people, state })
}

/// The counter of the mailbox, where a page is the first.
pub(crate) fn state(
    tx: &mut Tx<'_>,
    owner: UserId,
    before: Option<MessageId>,
) -> Result<Option<i64>> {
    match before {
        None => Ok(Some(mailbox::unread_counts(tx, owner)?.state)),
        Some(_) => Ok(None),
    }
}

/// Tries entries one after the other.
fn select(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<Message>, Option<MessageId>)> {
    let (most, longest) =
        if filter.needs_texts() { (TEXTS_LOOKED_AT, TEXTS_STEP) } else { (LOOKED_AT, STEP) };
    // The first step is enough where most entries fit.
    let (mut looked_at, mut bytes, mut step) = (0, 0, longest.min(limit + 1));
    let sources = filter.sources().0;
    let mut below = before.unwrap_or(MessageId::ABOVE_ALL);
    if let Some(until) = filter.until {
        below = below.min(first_after(tx, until.plus(SKEW))?);
    }
    let mut items: Vec<Message> = Vec::new();
    while looked_at < most && bytes < BYTES_READ {
        let entries = newest(tx, owner, &sources, below, step)?;
        let last = entries.last().map(|entry| entry.message);
        let ended = entries.len() < step;
        looked_at += entries.len();
        step = (4 * step).min(longest).min(most - looked_at);
        let fitting: Vec<_> = entries.into_iter().filter(|entry| filter.fits(entry)).collect();
        let Found { messages, read, too_old } = find(tx, owner, filter, &fitting, limit)?;
        items.extend(messages);
        bytes += read;
        if items.len() > limit {
            items.truncate(limit);
            let next = items.last().map(|last| last.entry.message);
            return Ok((items, next));
        }
        match last {
            Some(last) if !ended && !too_old => below = last,
            _ => return Ok((items, None)),
        }
    }
    Ok((items, Some(below)))
}

/// What was found among some entries.
struct Found {
    /// The messages that are asked for.
    messages: Vec<Message>,
    /// Bytes of text that were read for it.
    read: usize,
    /// Whether what follows is too old.
    too_old: bool,
}

fn find(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    entries: &[Entry],
    limit: usize,
) -> Result<Found> {
    let certain = !filter.needs_texts() && filter.with.is_none();
    // What is certain to fit need not be read beyond the page.
    let entries = if certain { &entries[..entries.len().min(limit + 1)] } else { entries };
    let text = if filter.words.is_some() { Text::Whole } else { Text::Snippet };
    let mut messages = messages::views(tx, entries, text)?;
    let read = messages.iter().map(|message| message.envelope.body.len()).sum();
    let too_old = filter.since.is_some_and(|since| {
        let oldest = messages.last().map(|oldest| oldest.envelope.sent_at);
        oldest.is_some_and(|oldest| oldest < since.plus(-SKEW))
    });
    messages.retain(|message| filter.fits_envelope(owner, &message.envelope));
    for message in &mut messages {
        let body = &mut message.envelope.body;
        if let Some((end, _)) = body.char_indices().nth(SNIPPET) {
            body.truncate(end);
        }
    }
    Ok(Found { messages, read, too_old })
}

/// An id below which everything is that was sent until some moment: ids ascend with the times, as
/// far as the clocks agree. It looks at a few dozen messages, however many there are.
fn first_after(tx: &mut Tx<'_>, moment: Time) -> Result<MessageId> {
    let (mut low, mut high) = (0, MessageId::ABOVE_ALL.get());
    while low < high {
        let middle = low + (high - low) / 2;
        match envelopes::first_from(tx, middle)? {
            Some((id, sent_at)) if sent_at <= moment => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(MessageId::stored(low))
}
