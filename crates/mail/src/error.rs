//! What an operation refuses, in terms that a user can act on.

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A field of the input that cannot be used, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The name of the field.
    pub field: &'static str,
    /// A sentence for its author; it never repeats a secret.
    pub problem: String,
}

impl Invalid {
    /// An invalid field.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// A limit that allows no more for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Which limit it is: a stable name.
    pub name: &'static str,
    /// How much the window allows.
    pub limit: i64,
    /// How long the window is.
    pub window_seconds: i64,
    /// Whole seconds until trying again makes sense, at least 1.
    pub retry_after: i64,
}

/// Why an operation did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field of the input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Another user has that name, in whatever case.
    #[error("username: it is taken")]
    NameTaken,
    /// There is no such thing, or none that is the caller's.
    #[error("there is no such message")]
    NotFound,
    /// Only the sender can take a message back.
    #[error("only its sender can take a message back")]
    NotTheSender,
    /// The message is not in the state that the caller knows.
    #[error("the message has changed since you read it")]
    StaleTag,
    /// There is no user with that id.
    #[error("receiver_id: there is no such user")]
    UnknownReceiver,
    /// The receiver takes no messages from the caller.
    #[error("receiver_id: this user takes no messages from you")]
    ReceiverUnavailable,
    /// The account that calls was disabled in the meantime.
    #[error("login first")]
    NotLoggedIn,
    /// The name or the password is wrong; which of them is not told.
    #[error("authentication failed")]
    AuthenticationFailed,
    /// Too many failed logins at an account or from an address.
    #[error("too many failed attempts, try again in {} seconds", .0.retry_after)]
    Throttled(Over),
    /// Too many registrations from an address.
    #[error("too many registrations from your address, try again in {} seconds", .0.retry_after)]
    TooManyRegistrations(Over),
    /// The user has sent as much as is allowed in a window of time.
    #[error("more than {} in {} seconds, try again in {} seconds", .0.limit, .0.window_seconds,
            .0.retry_after)]
    QuotaExceeded(Over),
    /// The user has as many tokens as one can have.
    #[error("there are too many tokens: revoke one first")]
    TooManyTokens,
    /// The key of an earlier request came with another body.
    #[error("the Idempotency-Key belongs to another request")]
    KeyReused,
    /// What changed since then is not known any more, or it never was.
    #[error("what changed since that state is not known: load the mailbox anew")]
    ChangesForgotten,
    /// There is no user with that name.
    #[error("there is no user of that name")]
    UnknownUser,
    /// The database failed; nothing was done.
    #[error(transparent)]
    Db(#[from] db::Error),
}
