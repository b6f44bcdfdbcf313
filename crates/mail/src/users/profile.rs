//! An account as its owner sees it, and what the owner can change of it.

use db::{Tx, params};

use super::{Person, confirm_enabled};
use crate::text::{DisplayName, Email};
use crate::{Cx, Result, Time, UserId, mailbox, reminders};

/// Whom an owner takes messages from. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFrom {
    /// Everyone who is not blocked.
    Everyone = 0,
    /// Those to whom the owner wrote first, or who share a conversation.
    Known = 1,
    /// Nobody.
    Nobody = 2,
}

impl AcceptFrom {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Everyone, Self::Known, Self::Nobody];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Known => "known",
            Self::Nobody => "nobody",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|accept_from| accept_from.name() == name)
    }

    /// As the database gave it.
    pub(crate) fn stored(column: usize, number: i64) -> db::Result<Self> {
        let known = Self::ALL.into_iter().find(|accept_from| *accept_from as i64 == number);
        known.ok_or(db::Error::Column { column, expected: "0, 1 or 2" })
    }
}

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What everybody sees of it.
    pub person: Person,
    /// The address.
    pub email: String,
    /// Whom the owner takes messages from.
    pub accept_from: AcceptFrom,
    /// Whether the owner is reminded by e-mail of what stays unread, where the server does that.
    pub reminders: bool,
    /// When the account was made.
    pub created_at: Time,
}

/// What to change of an account; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// Another display name, or none any more.
    pub display_name: Option<Option<DisplayName>>,
    /// Another address.
    pub email: Option<Email>,
    /// Whom the owner takes messages from.
    pub accept_from: Option<AcceptFrom>,
    /// Whether to be reminded by e-mail.
    pub reminders: Option<bool>,
}

/// The account as its owner sees it; `None` where it was erased.
pub fn profile(tx: &mut Tx<'_>, owner: UserId) -> Result<Option<Profile>> {
    Ok(tx.query_opt(
        "SELECT id, name, display_name, email, accept_from, created_at, reminders_off_at
         FROM users JOIN mailboxes ON mailboxes.owner_id = users.id
         WHERE users.id = ?1 AND erased_at IS NULL",
        &params![owner],
        |row| {
            Ok(Profile {
                person: Person::read(row)?,
                email: row.text(3)?.to_owned(),
                accept_from: AcceptFrom::stored(4, row.int(4)?)?,
                reminders: row.opt_int(6)?.is_none(),
                created_at: Time(row.int(5)?),
            })
        },
    )?)
}

/// Changes what the owner wants changed.
///
/// # Errors
/// [`Error::NotLoggedIn`](crate::Error::NotLoggedIn) where the owner was disabled in the meantime.
pub fn update(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, change: &ProfileChange) -> Result<()> {
    mailbox::lock(tx, owner)?;
    confirm_enabled(tx, owner)?;
    if let Some(name) = &change.display_name {
        let (shown, folded) = name.as_ref().map_or(("", ""), |name| (name.shown(), name.folded()));
        tx.execute(
            "UPDATE users SET display_name = ?2, display_folded = ?3
             WHERE id = ?1 AND disabled_at IS NULL",
            &params![owner, shown, folded],
        )?;
    }
    if let Some(email) = &change.email {
        tx.execute(
            "UPDATE users SET email = ?2 WHERE id = ?1 AND disabled_at IS NULL",
            &params![owner, email.as_str()],
        )?;
    }
    if let Some(accept_from) = change.accept_from {
        tx.execute(
            "UPDATE mailboxes SET accept_from = ?2 WHERE owner_id = ?1",
            &params![owner, accept_from as i64],
        )?;
    }
    if let Some(on) = change.reminders {
        reminders::set(tx, cx, owner, on)?;
    }
    Ok(())
}
