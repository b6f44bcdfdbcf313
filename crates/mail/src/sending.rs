//! Sending: a message is in all the mailboxes that take it, or in none.

use db::{Tx, params};

use crate::entries::{self, Entry};
use crate::envelopes::{self, Envelope};
use crate::mailbox::{self, Standing};
use crate::quotas::{self, Limits};
use crate::text::{Body, Subject};
use crate::webhooks::{self, News};
use crate::{
    ConversationId, Cx, Error, Invalid, MessageId, Result, UserId, messages, reminders, threads,
};

/// Receivers of a message at most.
pub const RECEIVERS: usize = 100;

/// Somebody to write to, as the sender names him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// By id.
    Id(UserId),
    /// By name, folded.
    Name(String),
}

/// The sender's own name for a message: 1 to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientId(String);

impl ClientId {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let characters = text.chars().take(256).count();
        if !(1..=255).contains(&characters) || text.contains('\0') {
            let problem = "it must have 1 to 255 characters, none of them U+0000";
            return Err(Invalid::new("client_id", problem));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What the app keeps with a message: a JSON object of up to 5 KB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(String);

impl Metadata {
    /// Bytes of the JSON.
    pub const BYTES: usize = 5 * 1024;

    /// Takes a JSON object as text.
    pub fn parse(object: String) -> Result<Self, Invalid> {
        if object.len() > Self::BYTES {
            return Err(Invalid::new("metadata", "it must have at most 5120 bytes as JSON"));
        }
        // Without the backslashes that are escaped themselves, each one left begins an escape.
        if object.replace(r"\\", "").contains(r"\u0000") {
            return Err(Invalid::new("metadata", "it must not hold the character U+0000"));
        }
        Ok(Self(object))
    }
}

/// A message that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// To whom, up to [`RECEIVERS`]; nobody means those of the message that it answers.
    pub to: Vec<To>,
    /// What it is about; nothing means what the message that it answers is about.
    pub subject: Option<Subject>,
    /// What it says.
    pub body: Body,
    /// The message that it answers, in the sender's mailbox.
    pub in_reply_to: Option<MessageId>,
    /// The sender's own name for it.
    pub client_id: Option<ClientId>,
    /// What the app keeps with it.
    pub metadata: Option<Metadata>,
}

impl Draft {
    /// A message to one receiver that answers none.
    pub fn new(to: UserId, subject: Subject, body: Body) -> Self {
        Self {
            to: vec![To::Id(to)],
            subject: Some(subject),
            body,
            in_reply_to: None,
            client_id: None,
            metadata: None,
        }
    }
}

/// Why somebody does not get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such user.
    Unknown,
    /// He takes no messages from the sender; why is not told.
    Unavailable,
}

/// Somebody who was to get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// Who is named at this position of [`Draft::to`].
    Named(usize),
    /// One of those of the message that it answers.
    Answered(UserId),
}

/// A message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Which one it is.
    pub id: MessageId,
    /// Who does not get it, in the order of the draft.
    pub refused: Vec<(Whom, Refusal)>,
    /// What is left of the sender's limits, where there are some.
    pub quotas: Vec<quotas::Standing>,
}

/// Sends a message to everybody who can be written to.
///
/// # Errors
/// [`Error::UnknownReceiver`] where nobody of them exists, [`Error::ReceiverUnavailable`] where
/// nobody can be written to; [`Error::Invalid`] where the message that it answers is not in the
/// sender's mailbox; [`Error::QuotaExceeded`]; [`Error::NotLoggedIn`] where the sender was disabled
/// in the meantime.
pub fn send(
    tx: &mut Tx<'_>,
    cx: &Cx,
    sender: UserId,
    draft: &Draft,
    limits: Option<&Limits>,
) -> Result<Sent> {
    let parent = match draft.in_reply_to {
        Some(id) => Some(parent(tx, sender, id)?),
        None => None,
    };
    let mut refused = Vec::new();
    let wanted = receivers(tx, sender, draft, parent.as_ref(), &mut refused)?;
    let conversation = parent.as_ref().map(|parent| parent.conversation);
    let accepted = advance(tx, sender, &wanted, conversation, &mut refused)?;
    if accepted.is_empty() {
        let unknown = refused.iter().all(|(_, refusal)| *refusal == Refusal::Unknown);
        return Err(if unknown { Error::UnknownReceiver } else { Error::ReceiverUnavailable });
    }
    let contacts = note_contacts(tx, cx, sender, &accepted)?;
    let quotas = match limits {
        Some(limits) => quotas::take(tx, cx, sender, limits, contacts)?,
        None => Vec::new(),
    };
    let subject = match (&draft.subject, &parent) {
        (Some(subject), _) => subject.as_str().to_owned(),
        (None, Some(parent)) => answer_to(&parent.subject),
        (None, None) => String::new(),
    };
    let id = store(tx, cx, sender, draft, &subject, &accepted, parent.as_ref())?;
    let envelope = Envelope {
        id,
        from: sender,
        to: accepted,
        conversation: conversation.unwrap_or(id.begins()),
        in_reply_to: draft.in_reply_to,
        subject,
        body: String::new(),
        sent_at: cx.now,
        client_id: None,
        metadata: None,
    };
    deliver(tx, &envelope, parent.is_some(), wanted.len() > 1)?;
    let client_id = draft.client_id.as_ref().map(|id| id.0.as_str());
    webhooks::tell(tx, cx, &News::Created(&envelope, client_id))?;
    reminders::expect(tx, cx, &envelope)?;
    refused.sort_by_key(|(at, _)| *at);
    let answers = draft.to.is_empty();
    let whom = |at: usize| if answers { Whom::Answered(wanted[at].1) } else { Whom::Named(at) };
    let refused = refused.into_iter().map(|(at, refusal)| (whom(at), refusal)).collect();
    Ok(Sent { id, refused, quotas })
}

fn parent(tx: &mut Tx<'_>, sender: UserId, id: MessageId) -> Result<Envelope> {
    let found = messages::read(tx, sender, id)?;
    let unknown = || Invalid::new("in_reply_to", "there is no such message in your mailbox");
    Ok(found.ok_or_else(unknown)?.envelope)
}

/// "Re: " before a subject, unless it is there: so it grows once, and by four characters.
fn answer_to(subject: &str) -> String {
    let begins = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if begins { subject.to_owned() } else { format!("Re: {subject}") }
}

/// Whom the sender wants to write to, each once, with the position in the draft.
fn receivers(
    tx: &mut Tx<'_>,
    sender: UserId,
    draft: &Draft,
    parent: Option<&Envelope>,
    refused: &mut Vec<(usize, Refusal)>,
) -> Result<Vec<(usize, UserId)>> {
    let mut wanted: Vec<(usize, UserId)> = Vec::with_capacity(draft.to.len());
    if draft.to.is_empty() {
        let Some(parent) = parent else { return Ok(Vec::new()) };
        let mut others = parent.people();
        others.retain(|other| *other != sender);
        if others.is_empty() {
            others.push(sender);
        }
        return Ok(others.into_iter().enumerate().collect());
    }
    for (at, to) in draft.to.iter().enumerate() {
        let user = match to {
            To::Id(id) => Some(*id),
            To::Name(folded) => tx.query_opt(
                "SELECT id FROM users WHERE name_folded = ?1 AND erased_at IS NULL",
                &params![folded.as_str()],
                |row| Ok(UserId::stored(row.int(0)?)),
            )?,
        };
        match user {
            None => refused.push((at, Refusal::Unknown)),
            Some(user) if wanted.iter().all(|(_, other)| *other != user) => {
                wanted.push((at, user));
            }
            Some(_twice) => {}
        }
    }
    Ok(wanted)
}

/// Advances the mailboxes of the sender and of everybody who takes the message, in ascending
/// order. Returns the latter in the order of the draft.
fn advance(
    tx: &mut Tx<'_>,
    sender: UserId,
    wanted: &[(usize, UserId)],
    conversation: Option<ConversationId>,
    refused: &mut Vec<(usize, Refusal)>,
) -> Result<Vec<UserId>> {
    let mut ascending: Vec<_> = wanted.iter().map(|(at, user)| (*user, Some(*at))).collect();
    let to_himself = wanted.iter().any(|(_, user)| *user == sender);
    if !to_himself {
        ascending.push((sender, None));
    }
    ascending.sort();
    let mut accepted = Vec::with_capacity(wanted.len());
    // What begins a conversation is unread in a conversation of its own; a reply is counted where
    // its conversation is known.
    let unread = i64::from(conversation.is_none());
    for (user, at) in ascending {
        if user == sender {
            let unread = if to_himself { unread } else { 0 };
            if !mailbox::advance_open(tx, user, unread)? {
                return Err(Error::NotLoggedIn);
            }
            accepted.extend(at.map(|at| (at, user)));
            continue;
        }
        let at = at.expect("only the sender is not in the draft");
        match mailbox::admit(tx, user, sender, conversation, unread)? {
            Standing::Open => accepted.push((at, user)),
            Standing::Closed => refused.push((at, Refusal::Unavailable)),
            Standing::Absent => refused.push((at, Refusal::Unknown)),
        }
    }
    accepted.sort();
    Ok(accepted.into_iter().map(|(_, user)| user).collect())
}

/// Notes whom the sender has written to. Returns to how many for the first time, those left out
/// who have written to him before.
fn note_contacts(tx: &mut Tx<'_>, cx: &Cx, sender: UserId, to: &[UserId]) -> Result<i64> {
    let mut first = 0;
    for user in to.iter().filter(|user| **user != sender) {
        if mailbox::has_now_written(tx, cx, sender, *user)?
            && !mailbox::has_written(tx, *user, sender)?
        {
            first += 1;
        }
    }
    Ok(first)
}

fn store(
    tx: &mut Tx<'_>,
    cx: &Cx,
    sender: UserId,
    draft: &Draft,
    subject: &str,
    to: &[UserId],
    parent: Option<&Envelope>,
) -> Result<MessageId> {
    let others = (to.len() > 1).then(|| envelopes::joined(&to[1..]));
    let holders = to.len() + usize::from(!to.contains(&sender));
    let id = tx.insert(
        "INSERT INTO messages (sender_id, receiver_id, others, conversation_id, in_reply_to,
         subject, body, sent_at, holders, client_id, metadata)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        &params![
            sender,
            to[0],
            others.as_deref(),
            parent.map(|parent| parent.conversation),
            draft.in_reply_to,
            subject,
            draft.body.as_str(),
            cx.now,
            i64::try_from(holders).unwrap_or(i64::MAX),
            draft.client_id.as_ref().map(|id| id.0.as_str()),
            draft.metadata.as_ref().map(|metadata| metadata.0.as_str())
        ],
    )?;
    Ok(MessageId::stored(id))
}

/// Puts a message into the mailboxes of its sender and its receivers, which were advanced.
fn deliver(tx: &mut Tx<'_>, envelope: &Envelope, is_reply: bool, several: bool) -> Result<()> {
    let mut owners = vec![envelope.from];
    owners.extend(envelope.to.iter().filter(|to| **to != envelope.from));
    let alone = envelope.to.len() == 1;
    for owner in owners {
        let sent = owner == envelope.from;
        let other = if sent { envelope.to[0] } else { envelope.from };
        let entry = Entry {
            message: envelope.id,
            conversation: envelope.conversation,
            received: !sent || envelope.to.contains(&owner),
            sent,
            peer: alone.then_some(other),
            read_at: None,
            starred_at: None,
            archived_at: None,
            trashed_at: None,
            created_seq: 0,
            changed_seq: 0,
            threaded: is_reply || several,
        };
        if is_reply {
            threads::join(tx, owner, envelope)?;
            entries::insert(tx, owner, &entry)?;
            entries::count(tx, owner, &entry)?;
        } else {
            if several {
                threads::start(tx, owner, envelope, entry.counts())?;
            }
            entries::insert(tx, owner, &entry)?;
        }
    }
    Ok(())
}
