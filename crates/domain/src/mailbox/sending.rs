//! Sending: a message is in all the mailboxes that take it, or in none.

mod draft;

use db::{Tx, params};

pub use self::draft::{ClientId, Draft, Metadata};
use crate::accounts::modseq;
use crate::accounts::quotas::{self, SendLimits, Use};
use crate::accounts::users::{self, Person};
use crate::base::id::join_ids;
use crate::base::{Cx, Error, EventKind, Invalid, MessageId, Result, UserId, UserRef};
pub use crate::base::{Refusal, RefusedRecipient};
use crate::mailbox::entries::{self, Entry};
use crate::mailbox::envelopes::Envelope;
use crate::mailbox::messages::{self, Message};
use crate::mailbox::{admission, contacts};
use crate::mailbox::{conversation_rows, conversations};
use crate::outbox::webhooks::{self, Occurrence};
use crate::outbox::{reminders, unread_changes};

/// The most recipients of a message.
pub const MAX_RECIPIENTS: usize = 100;

/// A message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub id: MessageId,
    /// The recipients who do not get it, in the order of the draft.
    pub refused: Vec<(RefusedRecipient, Refusal)>,
    /// What is left of the sender's quotas, where they have any.
    pub quotas: Vec<quotas::Remaining>,
    /// What the sender's mailbox holds, as far as it is known without a look.
    envelope: Envelope,
    entry: Entry,
}

impl Sent {
    /// The message in the sender's mailbox and the people that it names, in the transaction that
    /// sent it: the same as [`messages::read_with_people`], in two statements.
    pub fn message(&self, tx: &mut Tx<'_>, draft: &Draft) -> Result<(Message, Vec<Person>)> {
        let envelope = Envelope {
            body: draft.body.as_str().to_owned(),
            client_id: draft.client_id.as_ref().map(|id| id.0.clone()),
            metadata: draft.metadata.as_ref().map(|metadata| metadata.0.clone()),
            via: draft.via.clone(),
            ..self.envelope.clone()
        };
        let modseq = modseq::of(tx, envelope.from)?;
        let entry = Entry { created_modseq: modseq, changed_modseq: modseq, ..self.entry };
        let people = messages::people(tx, envelope.people().into_iter())?;
        Ok((Message { entry, envelope }, people))
    }
}

/// Sends a message to all recipients who can be written to.
///
/// # Errors
/// [`Error::ReachesNobody`] where no recipient can be written to; [`Error::Invalid`] where the
/// message that it answers is not in the sender's mailbox; [`Error::QuotaExceeded`];
/// [`Error::NotLoggedIn`] where the sender was disabled meanwhile.
pub fn send(
    tx: &mut Tx<'_>,
    cx: &Cx,
    sender: UserId,
    draft: &Draft,
    limits: Option<&SendLimits>,
) -> Result<Sent> {
    let parent = match draft.in_reply_to {
        Some(id) => Some(parent(tx, sender, id)?),
        None => None,
    };
    let mut refused = Vec::new();
    let wanted = recipients(tx, sender, draft, parent.as_ref(), &mut refused)?;
    let accepted = advance(tx, cx, sender, &wanted, parent.as_ref(), &mut refused)?;
    refused.sort_by_key(|(at, _)| *at);
    let whom = |at: usize| {
        if draft.to.is_empty() {
            RefusedRecipient::FromParent(wanted[at].1)
        } else {
            RefusedRecipient::Named(at)
        }
    };
    let refused: Vec<_> = refused.into_iter().map(|(at, refusal)| (whom(at), refusal)).collect();
    // Somebody who is named and does not get it is no other than somebody new: else, who may write
    // to nobody new, or to nobody at all, would be told who is there.
    let strangers = if draft.to.is_empty() { 0 } else { refused.len() };
    let strangers = i64::try_from(strangers).unwrap_or(i64::MAX);
    let limits_of_strangers = limits.filter(|_| strangers > 0);
    if accepted.is_empty() {
        if let Some(limits) = limits_of_strangers {
            let as_if_sent = Use { sends: 1, contacts: strangers, lookups: 0 };
            quotas::check(tx, cx, sender, limits, &as_if_sent)?;
        }
        return Err(Error::ReachesNobody(refused));
    }
    let subject = match (&draft.subject, &parent) {
        (Some(subject), _) => subject.as_str().to_owned(),
        (None, Some(parent)) => reply_subject(&parent.subject),
        (None, None) => String::new(),
    };
    let id = store(tx, cx, sender, draft, &subject, &accepted, parent.as_ref())?;
    let contacts = contacts::record(tx, cx, sender, &accepted, id)?;
    if let Some(limits) = limits_of_strangers {
        let as_if_sent = Use { sends: 1, contacts: contacts + strangers, lookups: 0 };
        quotas::check(tx, cx, sender, limits, &as_if_sent)?;
    }
    let quotas = match limits {
        Some(limits) => {
            let lookups = i64::try_from(refused.len()).unwrap_or(i64::MAX);
            quotas::take(tx, cx, sender, limits, &Use { sends: 1, contacts, lookups })?
        }
        None => Vec::new(),
    };
    let envelope = Envelope {
        id,
        from: sender,
        to_count: accepted.len(),
        to: accepted,
        conversation: parent.as_ref().map_or(id.begins(), |parent| parent.conversation),
        in_reply_to: draft.in_reply_to,
        subject,
        body: String::new(),
        sent_at: cx.now,
        client_id: None,
        metadata: None,
        via: None,
    };
    let entry = deliver(tx, cx, &envelope, parent.is_some(), wanted.len() > 1)?;
    let client_id = draft.client_id.as_ref().map(|id| id.0.as_str());
    let event = Occurrence {
        user: None,
        message: Some((id, envelope.conversation)),
        from: Some(sender),
        to: Some(&envelope.to),
        client_id,
        ..Occurrence::default()
    };
    webhooks::emit(tx, cx, EventKind::MessageCreated, &event)?;
    reminders::start(tx, cx, id, sender, &envelope.to)?;
    Ok(Sent { id, refused, quotas, envelope, entry })
}

fn parent(tx: &mut Tx<'_>, sender: UserId, id: MessageId) -> Result<Envelope> {
    let found = messages::read(tx, sender, id)?;
    let unknown = || Invalid::new("in_reply_to", "there is no such message in your mailbox");
    Ok(found.ok_or_else(unknown)?.envelope)
}

/// "Re: " before a subject that does not begin with it: so a subject grows once, by four
/// characters.
fn reply_subject(subject: &str) -> String {
    let begins = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if begins { subject.to_owned() } else { format!("Re: {subject}") }
}

/// The recipients that exist, each once, with their positions in the draft.
fn recipients(
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
    // Whether there is a user of an id is seen when their mailbox is advanced.
    let is_id = |to: &&UserRef| matches!(to, UserRef::Id(_));
    let others: Vec<_> = draft.to.iter().filter(|to| !is_id(to)).cloned().collect();
    let others = if others.is_empty() { vec![] } else { users::resolve_all(tx, &others)? };
    let mut others = others.into_iter();
    for (at, to) in draft.to.iter().enumerate() {
        let user = match to {
            UserRef::Id(id) => Some(*id),
            UserRef::External(_) | UserRef::Name(_) => others.next().flatten(),
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

/// Advances the mailboxes of the sender and of all recipients who take the message. Returns these
/// recipients, in the order of the draft.
fn advance(
    tx: &mut Tx<'_>,
    cx: &Cx,
    sender: UserId,
    wanted: &[(usize, UserId)],
    parent: Option<&Envelope>,
    refused: &mut Vec<(usize, Refusal)>,
) -> Result<Vec<UserId>> {
    // A message that begins a conversation is unread in a conversation of its own. A reply is
    // counted later, where its conversation is known.
    let received = (i64::from(parent.is_none()), cx.now);
    match wanted {
        [(at, user)] => {
            let refusal = admission::admit_one(tx, sender, *user, parent, received)?;
            refused.extend(refusal.map(|refusal| (*at, refusal)));
            Ok(if refusal.is_none() { vec![*user] } else { vec![] })
        }
        _ => admission::admit_all(tx, sender, wanted, parent, received, refused),
    }
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
    let others = (to.len() > 1).then(|| join_ids(&to[1..]));
    let mailbox_count = to.len() + usize::from(!to.contains(&sender));
    let id = tx.insert(
        "INSERT INTO messages (sender_id, recipient_id, other_recipients, conversation_id,
         in_reply_to, subject, body, sent_at, mailbox_count, client_id, metadata, via)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        &params![
            sender,
            to[0],
            others.as_deref(),
            parent.map(|parent| parent.conversation),
            draft.in_reply_to,
            subject,
            draft.body.as_str(),
            cx.now,
            i64::try_from(mailbox_count).unwrap_or(i64::MAX),
            draft.client_id.as_ref().map(|id| id.0.as_str()),
            draft.metadata.as_ref().map(|metadata| metadata.0.as_str()),
            draft.via.as_deref()
        ],
    )?;
    Ok(MessageId::stored(id))
}

/// Adds a message to the mailboxes of its sender and recipients, whose modseqs were advanced.
/// Returns the sender's entry, without its modseqs.
///
/// `to_group` says whether it was written to more than one user, even if only one accepted it: then
/// it begins a conversation that has a row.
fn deliver(
    tx: &mut Tx<'_>,
    cx: &Cx,
    envelope: &Envelope,
    is_reply: bool,
    to_group: bool,
) -> Result<Entry> {
    let has_one_recipient = envelope.to.len() == 1;
    let entry = |owner: UserId| {
        let sent = owner == envelope.from;
        let other = if sent { envelope.to[0] } else { envelope.from };
        Entry {
            message: envelope.id,
            conversation: envelope.conversation,
            received: !sent || envelope.to.contains(&owner),
            sent,
            peer: has_one_recipient.then_some(other),
            read_at: None,
            first_read_at: None,
            starred_at: None,
            archived_at: None,
            trashed_at: None,
            created_modseq: 0,
            changed_modseq: 0,
            has_conversation_row: is_reply || to_group,
        }
    };
    let own = entry(envelope.from);
    let others = envelope.to.iter().filter(|to| **to != envelope.from);
    let mut new = vec![(envelope.from, own)];
    new.extend(others.map(|owner| (*owner, entry(*owner))));
    if is_reply {
        let owners: Vec<_> = new.iter().map(|(owner, _)| *owner).collect();
        conversations::add_reply(tx, &owners, envelope)?;
    } else if to_group {
        let people = envelope.people();
        let rows = new.iter().map(|(owner, entry)| (*owner, entry.unread_count()));
        let rows: Vec<_> = rows.collect();
        let first = (envelope.conversation, Some(envelope.id));
        conversation_rows::insert(tx, &rows, first, (&envelope.subject, &people))?;
    }
    entries::insert(tx, &new)?;
    if is_reply {
        entries::count_reply(tx, cx, &new)?;
    } else {
        unread_changes::note(tx, cx, &envelope.to)?;
    }
    Ok(own)
}
