//! What is about to be sent.

use crate::base::text::{Body, Subject};
use crate::base::{Invalid, MessageId, Result, UserId, UserRef};

/// The id that the sending client gives a message: 1 to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientId(pub(super) String);

impl ClientId {
    /// Parses a client id.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let characters = text.chars().take(256).count();
        if !(1..=255).contains(&characters) || text.contains('\0') {
            let problem = "it must have 1 to 255 characters, none of them U+0000";
            return Err(Invalid::new("client_id", problem));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Metadata that the app attaches to a message: a JSON object of up to 5 KB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(pub(super) String);

impl Metadata {
    /// The most bytes of JSON.
    pub const BYTES: usize = 5 * 1024;

    /// Takes a JSON object as text.
    pub fn parse(object: String) -> Result<Self, Invalid> {
        if object.len() > Self::BYTES {
            return Err(Invalid::new("metadata", "it must have at most 5120 bytes as JSON"));
        }
        // Without escaped backslashes, every backslash that is left starts an escape sequence.
        if object.replace(r"\\", "").contains(r"\u0000") {
            return Err(Invalid::new("metadata", "it must not hold the character U+0000"));
        }
        Ok(Self(object))
    }

    /// The object as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A message that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Up to [`MAX_RECIPIENTS`](super::MAX_RECIPIENTS) recipients; none means those of the message
    /// that it answers.
    pub to: Vec<UserRef>,
    /// The subject; `None` means that of the message that it answers.
    pub subject: Option<Subject>,
    /// The body.
    pub body: Body,
    /// The message that it answers, in the sender's mailbox.
    pub in_reply_to: Option<MessageId>,
    /// The id that the sending client gives it.
    pub client_id: Option<ClientId>,
    /// The app's metadata.
    pub metadata: Option<Metadata>,
    /// The name of the server key that sends it for the sender.
    pub via: Option<String>,
}

impl Draft {
    /// Whether the subject of the message that it answers may reach somebody who has not got that.
    pub fn takes_subject_elsewhere(&self) -> bool {
        self.subject.is_none() && self.in_reply_to.is_some() && !self.to.is_empty()
    }

    /// A new message to one recipient, not a reply.
    pub fn new(to: UserId, subject: Subject, body: Body) -> Self {
        Self {
            to: vec![UserRef::Id(to)],
            subject: Some(subject),
            body,
            in_reply_to: None,
            client_id: None,
            metadata: None,
            via: None,
        }
    }
}
