//! Webhooks: the app's own server is told of events.
//!
//! An event is a row of the transaction that it tells of, so there is one exactly if there is the
//! other. It holds ids and times; what a letter says stays here. Which events somebody wants is
//! known beforehand ([`Cx::wanted`]): where nobody wants one, nothing is written.

mod deliveries;
mod endpoints;
mod log;

use db::{Notice, Row, Tx, params};

pub use self::deliveries::{
    Attempt, Due, Outcome, RETRIES, distribute, due, is_waiting, record, sweep,
};
pub use self::endpoints::{
    Endpoint, WebhookId, add, all_wanted, disable, enable, find, list, remove, rotate,
};
pub use self::log::{Delivery, Replay, Standing, log, replay};
use crate::entries::Entry;
use crate::envelopes::{self, Envelope};
use crate::{ConversationId, Cx, MessageId, Result, Time, UserId, topics};

/// What an event is about. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message was sent; one event for all who got it.
    MessageCreated = 0,
    /// Somebody who received a message has read it.
    MessageRead = 1,
    /// A message is gone from a mailbox, and the mailbox is still there.
    MessageDestroyed = 2,
    /// An account was made.
    UserCreated = 3,
    /// An account was erased, and all that is in its mailbox with it.
    UserErased = 4,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MessageCreated,
        Self::MessageRead,
        Self::MessageDestroyed,
        Self::UserCreated,
        Self::UserErased,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageCreated => "message.created",
            Self::MessageRead => "message.read",
            Self::MessageDestroyed => "message.destroyed",
            Self::UserCreated => "user.created",
            Self::UserErased => "user.erased",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn stored(column: usize, number: i64) -> db::Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| *kind as i64 == number);
        known.ok_or(db::Error::Column { column, expected: "0 to 4" })
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Some kinds of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// All of them.
    pub fn all() -> Self {
        Kind::ALL.into_iter().collect()
    }

    /// Whether that kind is among them.
    pub fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// As a number.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The kinds of such a number; bits of a newer version are left out.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & Self::all().0)
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

/// Which event it is: a number that is given once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl From<EventId> for db::Value<'_> {
    fn from(id: EventId) -> Self {
        db::Value::Int(id.0)
    }
}

/// An event as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which one.
    pub id: EventId,
    /// What it is about.
    pub kind: Kind,
    /// When it happened.
    pub happened_at: Time,
    /// Who read, whose mailbox it is, or whose account.
    pub user: Option<UserId>,
    /// The message, and the conversation that it belongs to.
    pub message: Option<(MessageId, ConversationId)>,
    /// Who sent the message.
    pub from: Option<UserId>,
    /// Who got it.
    pub to: Vec<UserId>,
    /// The sender's own name for it.
    pub client_id: Option<String>,
}

impl Event {
    /// What it is called, on every node and after a restore: a number may be given again where
    /// what it was given to is lost, and no moment comes twice.
    pub fn name(&self) -> String {
        format!("evt_{}_{}", self.id.0, self.happened_at.0)
    }

    /// The number of an event in its name.
    pub fn parse_name(name: &str) -> Option<EventId> {
        let (id, _moment) = name.strip_prefix("evt_")?.split_once('_')?;
        id.parse().ok().map(EventId)
    }

    /// From the first nine columns: id, kind, `happened_at`, `user_id`, `message_id`,
    /// `conversation_id`, `sender_id`, `receivers`, `client_id`.
    fn read(row: &Row<'_>) -> db::Result<Self> {
        let message = row.opt_int(4)?.map(MessageId::stored);
        let conversation = row.opt_int(5)?.map(ConversationId::stored);
        Ok(Self {
            id: EventId(row.int(0)?),
            kind: Kind::stored(1, row.int(1)?)?,
            happened_at: Time(row.int(2)?),
            user: row.opt_int(3)?.map(UserId::stored),
            message: message.zip(conversation),
            from: row.opt_int(6)?.map(UserId::stored),
            to: row.opt_text(7)?.map(|list| envelopes::ids(list).collect()).unwrap_or_default(),
            client_id: row.opt_text(8)?.map(str::to_owned),
        })
    }
}

/// What has just happened, for whoever is told.
pub(crate) enum News<'a> {
    /// A message was sent, under the sender's own name for it.
    Created(&'a Envelope, Option<&'a str>),
    /// The owner has read what is in his mailbox.
    Read(UserId, &'a Entry),
    /// It is gone from the mailbox of the owner.
    Destroyed(UserId, &'a Entry),
    /// An account was made.
    UserCreated(UserId),
    /// An account was erased.
    UserErased(UserId),
}

impl News<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Created(..) => Kind::MessageCreated,
            Self::Read(..) => Kind::MessageRead,
            Self::Destroyed(..) => Kind::MessageDestroyed,
            Self::UserCreated(_) => Kind::UserCreated,
            Self::UserErased(_) => Kind::UserErased,
        }
    }
}

/// Writes down what has just happened, if anybody is told of such.
pub(crate) fn tell(tx: &mut Tx<'_>, cx: &Cx, news: &News<'_>) -> Result<()> {
    let kind = news.kind();
    if !cx.wanted.webhooks.has(kind) {
        return Ok(());
    }
    let (user, message, from, to, client_id) = match *news {
        News::Created(envelope, client_id) => {
            let message = (envelope.id, envelope.conversation);
            let to = envelopes::joined(&envelope.to);
            (None, Some(message), Some(envelope.from), Some(to), client_id)
        }
        News::Read(owner, entry) | News::Destroyed(owner, entry) => {
            let from = envelopes::sender(tx, owner, entry)?;
            (Some(owner), Some((entry.message, entry.conversation)), Some(from), None, None)
        }
        News::UserCreated(user) | News::UserErased(user) => (Some(user), None, None, None, None),
    };
    tx.execute(
        "INSERT INTO webhook_events (kind, happened_at, waits, user_id, message_id,
         conversation_id, sender_id, receivers, client_id)
         VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8)",
        &params![
            kind as i64,
            cx.now,
            user,
            message.map(|(id, _)| id),
            message.map(|(_, conversation)| conversation),
            from,
            to.as_deref(),
            client_id
        ],
    )?;
    // The same for all of them: of many at once one is heard.
    tx.notify(Notice { topic: topics::WEBHOOK_EVENTS, key: 0 });
    Ok(())
}
