//! Lines of the format, each read into its type once.

use super::fields::{Fields, Problem};
use crate::accounts::passwords::MovedHash;
use crate::accounts::users::{AcceptFrom, Kind, MovedUser};
use crate::base::text::{Body, DisplayName, Email, ExternalId, Lengths, Subject, Username};
use crate::base::{Invalid, Time, UserId, UserRef};
use crate::mailbox::sending::{ClientId, MAX_RECIPIENTS, Metadata};

/// Characters of the longest external id of a message, or name of a conversation or source.
const NAME_CHARS: usize = 255;

/// How lines are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// How long texts may be.
    pub lengths: Lengths,
    /// Whether bodies that are too long are cut; else they are refused.
    pub cuts_bodies: bool,
}

/// A line after the first.
#[derive(Debug, Clone)]
pub enum Line {
    /// An account.
    User(Box<MovedUser>),
    /// A message.
    Message(Box<MessageLine>),
    /// Whose messages somebody does not take.
    Block(BlockLine),
    /// A muted conversation.
    Mute(MuteLine),
    /// Whom somebody has written to.
    Contact(ContactLine),
    /// A session or token, of which nothing is taken over: everybody signs in where they are now.
    Login,
}

/// A message as it moves.
#[derive(Debug, Clone)]
pub struct MessageLine {
    pub(super) external_id: String,
    pub(super) from: UserRef,
    pub(super) to: Vec<UserRef>,
    pub(super) subject: Subject,
    pub(super) body: Body,
    pub(super) sent_at: Time,
    pub(super) in_reply_to: Option<String>,
    pub(super) client_id: Option<ClientId>,
    pub(super) metadata: Option<Metadata>,
    pub(super) conversation: Option<String>,
    pub(super) state: Vec<State>,
}

/// What a mailbox says of a message.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) user: UserRef,
    pub(super) first_read_at: Option<Time>,
    /// The time of the message where it is only known that it was read.
    pub(super) read_at: Option<Time>,
    pub(super) starred_at: Option<Time>,
    pub(super) archived_at: Option<Time>,
    pub(super) trashed_at: Option<Time>,
    /// The mailbox does not hold it.
    pub(super) is_deleted: bool,
}

/// A block.
#[derive(Debug, Clone)]
pub struct BlockLine {
    pub(super) user: UserRef,
    pub(super) blocked: UserRef,
    pub(super) created_at: Option<Time>,
}

/// A mute.
#[derive(Debug, Clone)]
pub struct MuteLine {
    pub(super) user: UserRef,
    pub(super) conversation: String,
}

/// A contact.
#[derive(Debug, Clone)]
pub struct ContactLine {
    pub(super) user: UserRef,
    pub(super) peer: UserRef,
    pub(super) first_at: Option<Time>,
}

/// Reads the first line. Returns the source.
///
/// # Errors
/// What is wrong in it.
pub fn header(text: &str) -> Result<String, Vec<Problem>> {
    let Some(mut fields) = Fields::of(1, String::new(), text) else {
        let detail = r#"the first line must be {"postroom": 1, "source": "NAME"}"#.to_owned();
        return Err(vec![Problem { line: 1, pointer: String::new(), code: "no_header", detail }]);
    };
    let version = fields.number("postroom");
    if fields.required("postroom", version).is_some_and(|version| version != 1) {
        let detail = "this server reads version 1 of the format".to_owned();
        fields.wrong("postroom", "unknown_version", detail);
    }
    let source = fields.of_text("source", name);
    let source = fields.required("source", source);
    fields.time("exported_at");
    let problems = fields.end();
    source.filter(|_| problems.is_empty()).ok_or(problems)
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(line: i64, text: &str, reading: &Reading) -> Result<Self, Vec<Problem>> {
        let whole = |code, detail: &str| {
            let detail = detail.to_owned();
            vec![Problem { line, pointer: String::new(), code, detail }]
        };
        if let Err(wrong) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            let detail = format!("it is not JSON: {wrong}");
            return Err(whole("not_json", &detail));
        }
        let of = Fields::of(line, String::new(), text);
        let of = of.as_ref().and_then(Fields::only);
        let (kind, object) = of.ok_or_else(|| {
            whole("not_a_line", "it must be an object with one field, such as {\"user\": {…}}")
        })?;
        let Some(mut fields) = Fields::of(line, format!("/{kind}"), object) else {
            return Err(whole("not_a_line", "its field must be an object"));
        };
        let read = match kind {
            "user" => user(&mut fields).map(|user| Self::User(Box::new(user))),
            "message" => {
                message(&mut fields, reading).map(|message| Self::Message(Box::new(message)))
            }
            "block" => block(&mut fields).map(Self::Block),
            "mute" => mute(&mut fields).map(Self::Mute),
            "contact" => contact(&mut fields).map(Self::Contact),
            "session" => session(&mut fields).map(|()| Self::Login),
            "token" => token(&mut fields).map(|()| Self::Login),
            _ => {
                let detail = "it must be user, message, block, mute, contact, session or token";
                return Err(whole("not_a_line", detail));
            }
        };
        let problems = fields.end();
        read.filter(|_| problems.is_empty()).ok_or(problems)
    }
}

fn user(fields: &mut Fields<'_>) -> Option<MovedUser> {
    let id = fields.number("id");
    let user_id = id.and_then(UserId::new).filter(|id| id.get() <= super::LARGEST);
    if id.is_some() && user_id.is_none() {
        fields.wrong("id", "invalid", "it must be a number from 1 to 2^52".to_owned());
    }
    let kind = fields.of_text("kind", |name| {
        let known = [("person", Kind::Person), ("system", Kind::System)];
        let known = known.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, kind)| kind).ok_or(Invalid::new("kind", "it must be person or system"))
    });
    let accept_from = fields.of_text("accept_from", |name| {
        let problem = "it must be everyone, known or nobody";
        AcceptFrom::parse(name).ok_or(Invalid::new("accept_from", problem))
    });
    let line = MovedUser {
        id: user_id,
        external_id: fields.of_text("external_id", ExternalId::parse),
        username: fields.of_text("username", Username::parse),
        kind: kind.unwrap_or_default(),
        replies: fields.flag("replies").unwrap_or(false),
        display_name: fields.of_text("display_name", DisplayName::parse),
        email: fields.of_text("email", Email::parse),
        created_at: fields.time("created_at"),
        is_active: fields.flag("active"),
        is_erased: fields.flag("erased").unwrap_or(false),
        findable: fields.flag("findable"),
        accept_from,
        reminders: fields.flag("reminders"),
        version: fields.number("version"),
        password: fields.of_text("password_hash", MovedHash::parse),
    };
    let is_named = line.external_id.is_some() || line.username.is_some();
    if fields.has_problems() {
        return None;
    }
    if line.is_erased && (is_named || line.id.is_none()) {
        let detail = "an erased user has an id and no external_id or username".to_owned();
        fields.wrong("erased", "invalid", detail);
    } else if !line.is_erased && !is_named {
        let detail = "it must have an external_id or a username".to_owned();
        fields.wrong("username", "missing", detail);
    } else if line.username.as_ref().is_some_and(Username::is_reserved) {
        let detail = "it is reserved: me, and user- with a number, cannot be chosen".to_owned();
        fields.wrong("username", "reserved", detail);
    } else if line.kind == Kind::System && line.password.is_some() {
        let detail = "a system user has no password".to_owned();
        fields.wrong("password_hash", "invalid", detail);
    } else if line.kind == Kind::System && line.external_id.is_none() && !line.is_erased {
        fields.wrong("external_id", "missing", "a system user must have one".to_owned());
    }
    Some(line)
}

fn message(fields: &mut Fields<'_>, reading: &Reading) -> Option<MessageLine> {
    let external_id = fields.of_text("external_id", name);
    let external_id = fields.required("external_id", external_id);
    let from = fields.user("from");
    let from = fields.required("from", from);
    let to = fields.users("to");
    let to = fields.required("to", (!to.is_empty()).then_some(to));
    if to.as_ref().is_some_and(|to| to.len() > MAX_RECIPIENTS) {
        let detail = format!("it must have at most {MAX_RECIPIENTS} users");
        fields.wrong("to", "invalid", detail);
    }
    let subject = fields.text("subject").unwrap_or_default();
    let subject = fields.parsed("subject", Subject::parse(subject, reading.lengths));
    let body = fields.text("body").map(|body| cut(body, reading)).unwrap_or_default();
    let body = fields.parsed("body", Body::parse(body, reading.lengths));
    let sent_at = fields.time("sent_at");
    let sent_at = fields.required("sent_at", sent_at);
    let in_reply_to = fields.of_text("in_reply_to", name);
    let client_id = fields.of_text("client_id", ClientId::parse);
    let metadata = fields.raw("metadata").and_then(|object| {
        if object.starts_with('{') {
            return fields.parsed("metadata", Metadata::parse(object.to_owned()));
        }
        fields.wrong("metadata", "invalid", "it must be a JSON object".to_owned());
        None
    });
    let conversation = fields.of_text("conversation", name);
    let states = fields.objects("state");
    let state = states.into_iter().filter_map(|(pointer, text)| {
        let Some(mut of) = Fields::of(fields.line(), pointer, text) else {
            fields.wrong("state", "invalid", "it must be a list of objects".to_owned());
            return None;
        };
        let state = state(&mut of, sent_at.unwrap_or(Time(1)));
        fields.add(of.end());
        state
    });
    let state = state.collect();
    Some(MessageLine {
        external_id: external_id?,
        from: from?,
        to: to?,
        subject: subject?,
        body: body?,
        sent_at: sent_at?,
        in_reply_to,
        client_id,
        metadata,
        conversation,
        state,
    })
}

/// A body at its longest, cut between two characters, where that is asked for.
fn cut(mut body: String, reading: &Reading) -> String {
    if reading.cuts_bodies && body.len() > reading.lengths.body_bytes {
        body.truncate(body.floor_char_boundary(reading.lengths.body_bytes));
    }
    body
}

fn state(fields: &mut Fields<'_>, sent_at: Time) -> Option<State> {
    let user = fields.user("user");
    let user = fields.required("user", user);
    let read = fields.raw("read_at");
    let read_at = match read {
        None | Some("false") => None,
        Some("true") => Some(sent_at),
        Some(text) => {
            let time = serde_json::from_str::<String>(text).ok();
            let time = time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
            let time = time.map(|time| Time(time.as_microsecond())).filter(|time| time.0 > 0);
            if time.is_none() {
                fields.wrong("read_at", "invalid", "it must be a time, or true".to_owned());
            }
            time
        }
    };
    Some(State {
        first_read_at: fields.time("first_read_at"),
        read_at,
        starred_at: fields.time("starred_at"),
        archived_at: fields.time("archived_at"),
        trashed_at: fields.time("trashed_at"),
        is_deleted: fields.flag("deleted").unwrap_or(false),
        user: user?,
    })
}

fn block(fields: &mut Fields<'_>) -> Option<BlockLine> {
    let (user, blocked) = (fields.user("user"), fields.user("blocked"));
    let (user, blocked) = (fields.required("user", user), fields.required("blocked", blocked));
    let created_at = fields.time("created_at");
    Some(BlockLine { user: user?, blocked: blocked?, created_at })
}

fn mute(fields: &mut Fields<'_>) -> Option<MuteLine> {
    let (user, conversation) = (fields.user("user"), fields.of_text("conversation", name));
    let user = fields.required("user", user);
    let conversation = fields.required("conversation", conversation);
    Some(MuteLine { user: user?, conversation: conversation? })
}

fn contact(fields: &mut Fields<'_>) -> Option<ContactLine> {
    let (user, peer) = (fields.user("user"), fields.user("peer"));
    let (user, peer) = (fields.required("user", user), fields.required("peer", peer));
    let first_at = fields.time("first_at");
    Some(ContactLine { user: user?, peer: peer?, first_at })
}

fn session(fields: &mut Fields<'_>) -> Option<()> {
    let user = fields.user("user");
    for name in ["created_at", "last_seen_at"] {
        fields.time(name);
    }
    for name in ["address", "user_agent"] {
        fields.text(name);
    }
    fields.required("user", user).map(drop)
}

fn token(fields: &mut Fields<'_>) -> Option<()> {
    let user = fields.user("user");
    fields.text("name");
    fields.texts("scopes");
    for name in ["created_at", "expires_at", "last_used_at"] {
        fields.time(name);
    }
    fields.required("user", user).map(drop)
}

/// The name of a message, a conversation or a source.
fn name(text: &str) -> Result<String, Invalid> {
    let is_long = text.chars().nth(NAME_CHARS).is_some();
    if text.is_empty() || is_long || text.contains(char::is_control) {
        let problem = "it must have 1 to 255 characters, none of them a control character";
        return Err(Invalid::new("external_id", problem));
    }
    Ok(text.to_owned())
}

impl MessageLine {
    /// The other messages that it names: what it answers, and what began its conversation.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.in_reply_to.as_deref().into_iter().chain(self.conversation.as_deref())
    }
}

impl Line {
    /// The conversation that a mute names.
    pub fn conversation(&self) -> Option<&str> {
        match self {
            Self::Mute(mute) => Some(&mute.conversation),
            _ => None,
        }
    }
}
