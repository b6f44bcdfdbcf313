//! The kinds of events that webhooks are about.

/// The kind of an event. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A message was sent: one event for all its recipients.
    MessageCreated = 0,
    /// A recipient has read a message.
    MessageRead = 1,
    /// A message is gone from a mailbox that still exists.
    MessageDestroyed = 2,
    /// An account was created.
    UserCreated = 3,
    /// An account and everything in its mailbox was erased.
    UserErased = 4,
    /// The unread counts of a user have changed: at most one event every 5 seconds.
    UnreadChanged = 5,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::MessageCreated,
        Self::MessageRead,
        Self::MessageDestroyed,
        Self::UserCreated,
        Self::UserErased,
        Self::UnreadChanged,
    ];

    /// The name in payloads and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageCreated => "message.created",
            Self::MessageRead => "message.read",
            Self::MessageDestroyed => "message.destroyed",
            Self::UserCreated => "user.created",
            Self::UserErased => "user.erased",
            Self::UnreadChanged => "unread.changed",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn stored(column: usize, number: i64) -> db::Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| *kind as i64 == number);
        known.ok_or(db::Error::Column { column, expected: "0 to 5" })
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What is unread in the inbox of a user, and the mailbox's modseq at that moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnreadCounts {
    /// Unread messages in the inbox.
    pub messages: i64,
    /// Conversations with such a message.
    pub conversations: i64,
    /// The modseq: the state that clients sync from.
    pub modseq: i64,
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventKinds(u32);

impl EventKinds {
    /// All kinds.
    pub fn all() -> Self {
        EventKind::ALL.into_iter().collect()
    }

    /// What an endpoint subscribes to that names no kinds: all but [`EventKind::UnreadChanged`],
    /// which is as frequent as all that happens in mailboxes.
    pub fn usual() -> Self {
        EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::UnreadChanged).collect()
    }

    /// Whether the set has that kind.
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = EventKind> {
        EventKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// The union of two sets.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The set as a bit mask.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set of a bit mask; bits of a newer version are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & Self::all().0)
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}
