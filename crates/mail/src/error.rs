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
    /// Too many failures; the next try is allowed after so many seconds.
    #[error("too many failed attempts, try again in {retry_after} seconds")]
    Throttled {
        /// Whole seconds, at least 1.
        retry_after: i64,
    },
    /// There is no user with that name.
    #[error("there is no user of that name")]
    UnknownUser,
    /// The database failed; nothing was done.
    #[error(transparent)]
    Db(#[from] db::Error),
}
