//! Why an operation was refused, in terms that a user can act on.

use crate::base::id::UserId;

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A field of the input that is invalid, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The name of the field.
    pub field: &'static str,
    /// What is wrong, for a person; never repeats a secret.
    pub problem: String,
}

impl Invalid {
    /// An invalid field.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// A limit that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The stable name of the limit.
    pub name: &'static str,
    /// How much a window allows.
    pub limit: i64,
    /// The length of a window in seconds.
    pub window_seconds: i64,
    /// Whole seconds until the next attempt can succeed, at least 1.
    pub retry_after: i64,
}

/// What a request names that does not exist, or is not the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A user.
    User,
    /// A message.
    Message,
    /// A conversation.
    Conversation,
    /// A token.
    Token,
    /// A session.
    Session,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Message => "message",
            Self::Conversation => "conversation",
            Self::Token => "token",
            Self::Session => "session",
        })
    }
}

/// Why a recipient does not get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such user.
    Unknown,
    /// They do not accept messages from the sender, who is not told why.
    Unavailable,
    /// The sender blocks them.
    BlockedByYou,
    /// It is a system user that takes no replies.
    NoReplies,
}

impl Refusal {
    /// The one to report of a message that reaches nobody: the first of these that occurs.
    pub fn of_all(refused: &[(RefusedRecipient, Self)]) -> Self {
        [Self::Unavailable, Self::BlockedByYou, Self::NoReplies]
            .into_iter()
            .find(|wanted| refused.iter().any(|(_, refusal)| refusal == wanted))
            .unwrap_or(Self::Unknown)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Unknown => "there is no such user",
            Self::Unavailable => "this user does not accept messages from you",
            Self::BlockedByYou => "you block this user: unblock them to write to them",
            Self::NoReplies => "this sender belongs to the app and takes no replies",
        })
    }
}

/// A recipient who does not get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedRecipient {
    /// The one at this position of the draft.
    Named(usize),
    /// A participant of the message that it replies to.
    FromParent(UserId),
}

/// Why an operation was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field of the input is invalid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Another user has that username, whatever its case.
    #[error("username: it is taken")]
    NameTaken,
    /// A system user is called that; the name of the field.
    #[error("{0}: this name is reserved, and nobody else may take it")]
    NameReserved(&'static str),
    /// It is a system user, and only people have this.
    #[error("it is a system user: nobody can block, sign in or act as one")]
    SystemUser,
    /// It does not exist, or is not the caller's.
    #[error("there is no such {0}")]
    NotFound(Missing),
    /// Only the sender can withdraw a message.
    #[error("only its sender can withdraw a message")]
    NotTheSender,
    /// The tag is not that of the message as it is now.
    #[error("it has changed since you read it")]
    StaleTag,
    /// The message reaches nobody: each recipient, in the order of the draft, and why.
    #[error("{}", Refusal::of_all(.0))]
    ReachesNobody(Vec<(RefusedRecipient, Refusal)>),
    /// The calling account was disabled or erased meanwhile.
    #[error("the account is disabled or erased")]
    NotLoggedIn,
    /// The credential was not issued for a password a short while ago.
    #[error("log in again, or send the password")]
    FreshLoginRequired,
    /// The name or the password is wrong; the caller does not learn which.
    #[error("authentication failed")]
    AuthenticationFailed,
    /// Too many failed sign-ins at an account or from an address.
    #[error("too many failed attempts, try again in {} seconds", .0.retry_after)]
    Throttled(Exceeded),
    /// Too many registrations from an address.
    #[error("too many registrations from your address, try again in {} seconds", .0.retry_after)]
    TooManyRegistrations(Exceeded),
    /// The user has used up a quota.
    #[error("more than {} in {} seconds, try again in {} seconds", .0.limit, .0.window_seconds,
            .0.retry_after)]
    QuotaExceeded(Exceeded),
    /// The user has as many tokens as a user can have.
    #[error("there are too many tokens: revoke one first")]
    TooManyTokens,
    /// The idempotency key belongs to a request with another body.
    #[error("the key belongs to another request")]
    KeyReused,
    /// As many responses are stored for the caller's idempotency keys as can be.
    #[error("too many idempotency keys, try again in {} seconds, or without a key", .0.retry_after)]
    TooManyKeys(Exceeded),
    /// What changed since that state is not known any more, or never was.
    #[error("what changed since that state is not known: load the mailbox again")]
    ChangesForgotten,
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
    /// The user was erased, and their external id creates nobody until that is asked for.
    #[error(
        "this user was erased: PUT them with recreate: true to create them again, as somebody new"
    )]
    UserErased,
    /// Another user has that external id.
    #[error("another user has this external id")]
    ExternalIdTaken,
    /// The user has another external id.
    #[error("the user has an external id already, and it is another one")]
    AlreadyLinked,
    /// The user is deactivated.
    #[error("this user is deactivated")]
    UserDeactivated,
    /// The database failed; nothing was done.
    #[error(transparent)]
    Db(#[from] db::Error),
}
