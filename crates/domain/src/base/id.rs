//! Ids: whole numbers that a JSON number holds exactly.

/// The largest id: below 2^53, the last whole number that every JSON reader keeps.
pub const LARGEST_ID: i64 = (1 << 53) - 1;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// An id that a client names; `None` where no such id can exist.
            pub fn new(id: i64) -> Option<Self> {
                (1..=LARGEST_ID).contains(&id).then_some(Self(id))
            }

            /// An id read from the database.
            pub(crate) fn stored(id: i64) -> Self {
                Self(id)
            }

            /// The number.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl From<$name> for db::Value<'_> {
            fn from(id: $name) -> Self {
                db::Value::Int(id.0)
            }
        }
    };
}

id! {
    /// A user, and the mailbox of that user.
    UserId
}
id! {
    /// A message, the same in every mailbox that holds it.
    MessageId
}
id! {
    /// A conversation: it has the id of the message that began it.
    ConversationId
}
id! {
    /// A webhook event.
    EventId
}
id! {
    /// A webhook endpoint.
    WebhookId
}
id! {
    /// A key of the app's own server.
    ServerKeyId
}

impl From<UserId> for db::Owner {
    fn from(id: UserId) -> Self {
        Self::User(id.0)
    }
}

impl From<ServerKeyId> for db::Owner {
    fn from(id: ServerKeyId) -> Self {
        Self::Program(id.0)
    }
}

impl ServerKeyId {
    /// The key of the configuration.
    pub const CONFIGURED: Self = Self(0);
}

impl ConversationId {
    /// The message that began it.
    pub fn first(self) -> MessageId {
        MessageId(self.0)
    }
}

impl MessageId {
    /// Above every id that a message can have: where a list of the newest begins.
    pub(crate) const ABOVE_ALL: Self = Self(LARGEST_ID + 1);

    /// The id that follows: everything up to and including this message is below it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The conversation that the message begins where it is not a reply.
    pub fn begins(self) -> ConversationId {
        ConversationId(self.0)
    }
}

/// Reads a list of ids as [`join_ids`] writes it.
pub(crate) fn split_ids(list: &str) -> impl Iterator<Item = UserId> {
    list.split(',').filter_map(|id| id.parse().ok()).map(UserId)
}

/// Ids as they are stored in a list, such as `12,15`.
pub(crate) fn join_ids(ids: &[UserId]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| id.0.to_string()).collect();
    ids.join(",")
}

/// Ids for a statement that joins a list, each once: it has a row for each value of the list. They
/// ascend, so that the rows are found side by side.
pub(crate) fn each_once(ids: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut ids: Vec<i64> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
