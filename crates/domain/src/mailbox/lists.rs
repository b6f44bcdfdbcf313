//! Lists of messages: newest first, in pages, stable while messages are added and removed.
//!
//! A page begins below the id at which the last one ended. Where ranges of the key or an index hold
//! exactly what a filter wants, a page reads no more than it shows. Any other condition is tried on
//! one entry after the other (`selective.rs`), up to a bound: a page may then be short, and the
//! next one continues where it stopped.

mod selective;

use db::{Tx, params};

use crate::accounts::users::{self, Person};
use crate::base::{Budget, ConversationId, MessageId, Result, Time, UserId, UserRef};
use crate::mailbox::conversation_rows::has_row;
use crate::mailbox::entries::{self, Entry, Folder, select_entries};
use crate::mailbox::envelopes::{BodyPart, Envelope};
use crate::mailbox::messages::{self, Message};
use crate::mailbox::place::Place;
use crate::mailbox::search::Query;
use crate::mailbox::unread;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The message below which the next page begins, where there may be one.
    pub next: Option<MessageId>,
    /// The people that the items name, ascending by id.
    pub people: Vec<Person>,
    /// The mailbox's modseq, on the first page: the state to sync from.
    pub modseq: Option<i64>,
}

impl<T> Page<T> {
    /// A tag of the first page that changes whenever the mailbox or a name on the page changes.
    pub fn tag(&self) -> Option<String> {
        self.modseq.map(|modseq| users::names_tag(modseq, &self.people))
    }
}

/// The folder to list. Unlike an entry, a list can be of all folders, and a message to oneself is
/// in inbox and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FolderFilter {
    /// Received, and neither archived nor in the trash.
    #[default]
    Inbox,
    /// Sent, and neither archived nor in the trash.
    Sent,
    /// Archived.
    Archive,
    /// In the trash.
    Trash,
    /// Everything except the trash.
    All,
}

/// Which messages to list: those that satisfy every condition that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The folder.
    pub folder: FolderFilter,
    /// Whether it is unread.
    pub unread: Option<bool>,
    /// Whether it is starred.
    pub starred: Option<bool>,
    /// The sender or a recipient other than the owner.
    pub with: Option<UserRef>,
    /// The conversation.
    pub conversation: Option<ConversationId>,
    /// Sent at or after this moment.
    pub since: Option<Time>,
    /// Sent before this moment.
    pub until: Option<Time>,
    /// Words in subject or body.
    pub words: Option<Query>,
}

/// A range of the key or an index that holds entries in order of their ids.
#[derive(Clone, Copy)]
enum Source {
    Place(Place),
    SentToSelf,
    Starred,
    Conversation(ConversationId),
}

impl Filter {
    /// Whether a page may have to examine more than it shows.
    pub fn is_selective(&self) -> bool {
        self.needs_texts() || self.with.is_some() || !self.sources().1
    }

    fn needs_texts(&self) -> bool {
        self.words.is_some() || self.since.is_some() || self.until.is_some()
    }

    /// The sources that hold everything that fits, and whether they hold nothing else.
    fn sources(&self) -> (Vec<Source>, bool) {
        if let Some(conversation) = self.conversation {
            return (vec![Source::Conversation(conversation)], false);
        }
        if self.starred == Some(true) {
            return (vec![Source::Starred], false);
        }
        let folders: &[Folder] = match self.folder {
            FolderFilter::Inbox => &[Folder::Inbox],
            FolderFilter::Sent => &[Folder::Sent],
            FolderFilter::Archive => &[Folder::Archive],
            FolderFilter::Trash => &[Folder::Trash],
            FolderFilter::All => &[Folder::Inbox, Folder::Sent, Folder::Archive],
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
        if self.folder == FolderFilter::Sent {
            sources.push(Source::SentToSelf);
        }
        let exact =
            self.starred.is_none() && (self.folder != FolderFilter::Sent || self.unread.is_none());
        (sources, exact)
    }

    /// `with` is the user whom the filter names.
    fn fits(&self, entry: &Entry, with: Option<UserId>) -> bool {
        let folder = entry.folder();
        let in_folder = match self.folder {
            FolderFilter::Inbox => folder == Folder::Inbox,
            FolderFilter::Sent => entry.sent && matches!(folder, Folder::Sent | Folder::Inbox),
            FolderFilter::Archive => folder == Folder::Archive,
            FolderFilter::Trash => folder == Folder::Trash,
            FolderFilter::All => folder != Folder::Trash,
        };
        in_folder
            && self.unread.is_none_or(|unread| unread == entry.is_unread())
            && self.starred.is_none_or(|starred| starred == entry.starred_at.is_some())
            && self.conversation.is_none_or(|wanted| wanted == entry.conversation)
            // Only the message itself knows the people of a message to several.
            && with.is_none_or(|with| entry.peer.is_none_or(|peer| peer == with))
    }

    /// `None` where the work was used up before that was certain.
    fn fits_envelope(
        &self,
        owner: UserId,
        with: Option<UserId>,
        envelope: &Envelope,
        budget: &mut Budget,
    ) -> Option<bool> {
        let fits = self.since.is_none_or(|since| envelope.sent_at >= since)
            && self.until.is_none_or(|until| envelope.sent_at < until)
            && with.is_none_or(|with| {
                let to_self = with == owner && envelope.to == [owner] && envelope.from == owner;
                to_self || (with != owner && envelope.people().contains(&with))
            });
        match &self.words {
            Some(words) if fits => {
                words.matches(&[envelope.subject.as_str(), envelope.body.as_str()], budget)
            }
            _ => Some(fits),
        }
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
            Source::SentToSelf => tx.query(
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
            Source::Conversation(conversation) => tx.query(
                select_entries!(
                    "WHERE owner_id = ?1 AND conversation_id = ?2 AND ",
                    has_row!(),
                    " AND message_id < ?3 ORDER BY message_id DESC LIMIT ?4"
                ),
                &params![owner, conversation, below, most],
                entries::entry,
            ),
        };
        Ok(found?)
    }
}

/// The newest entries of the sources below a message. It reads up to `most` from each source.
fn newest(
    tx: &mut Tx<'_>,
    owner: UserId,
    sources: &[Source],
    below: MessageId,
    most: usize,
    budget: &mut Budget,
) -> Result<Vec<Entry>> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for source in sources {
        found.extend(source.read(tx, owner, below, limit)?);
        if let Source::Conversation(conversation) = source {
            // A conversation that is its first message alone is in no index.
            let single = entries::single(tx, owner, *conversation)?;
            found.extend(single.filter(|entry| entry.message < below));
        }
    }
    budget.spend(selective::ENTRY * found.len() as u64);
    found.sort_by_key(|entry| std::cmp::Reverse(entry.message));
    found.truncate(most);
    Ok(found)
}

/// The entries outside the trash that are a conversation by themselves.
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
    newest(tx, owner, &places.map(Source::Place), below, most, &mut Budget::unlimited())
}

/// Up to `limit` messages that fit a filter, newest first, below `before`.
///
/// Where [`Filter::is_selective`], it may take long. Such a page, and one of whole messages, may
/// hold fewer while there are more.
pub fn page(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    part: BodyPart,
    (before, limit): (Option<MessageId>, usize),
) -> Result<Page<Message>> {
    let modseq = state(tx, owner, before)?;
    let (found, mut next) = if filter.is_selective() {
        selective::select(tx, owner, filter, before, limit)?
    } else {
        let (entries, next) = exact(tx, owner, filter, before, limit)?;
        (messages::views(tx, &entries, BodyPart::Snippet)?, next)
    };
    let count = found.len();
    let (items, people) = messages::listed(tx, owner, found, part)?;
    if items.len() < count {
        next = items.last().map(|last| last.entry.message);
    }
    Ok(Page { items, next, people, modseq })
}

/// The ids of a page, and the message below which the next one begins; see [`page`].
pub fn ids(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<MessageId>, Option<MessageId>)> {
    if filter.is_selective() {
        let (items, next) = selective::select(tx, owner, filter, before, limit)?;
        return Ok((items.iter().map(|item| item.entry.message).collect(), next));
    }
    let (entries, next) = exact(tx, owner, filter, before, limit)?;
    Ok((entries.iter().map(|entry| entry.message).collect(), next))
}

/// The entries of a page whose filter is not selective.
fn exact(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<Entry>, Option<MessageId>)> {
    let below = before.unwrap_or(MessageId::ABOVE_ALL);
    let (sources, mut budget) = (filter.sources().0, Budget::unlimited());
    let mut entries = newest(tx, owner, &sources, below, limit + 1, &mut budget)?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| last.message);
    Ok((entries, next))
}

/// The mailbox's modseq, for the first page.
pub(crate) fn state(
    tx: &mut Tx<'_>,
    owner: UserId,
    before: Option<MessageId>,
) -> Result<Option<i64>> {
    match before {
        None => Ok(Some(unread::counts(tx, owner)?.modseq)),
        Some(_) => Ok(None),
    }
}
