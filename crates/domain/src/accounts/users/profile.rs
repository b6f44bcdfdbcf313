//! Profiles: an account as its owner sees and changes it.

use db::{Tx, params};

use super::confirm_enabled;
use super::lookup::set_words;
use super::people::{Person, person_columns};
use super::system::{NO_REPLIES, confirm_not_reserved};
use crate::accounts::modseq;
use crate::base::text::{DisplayName, Email};
use crate::base::{Cx, Result, Time, UserId};
use crate::outbox::reminders;

/// Who may write to an owner. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFrom {
    /// Everyone who is not blocked.
    Everyone = 0,
    /// Those to whom the owner has written.
    Known = 1,
    /// Those to whom the owner has written, and only by replies in a conversation in which the
    /// owner has written.
    Nobody = 2,
}

impl AcceptFrom {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Everyone, Self::Known, Self::Nobody];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Known => "known",
            Self::Nobody => "nobody",
        }
    }

    /// The value of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|accept_from| accept_from.name() == name)
    }

    /// The value read from the database.
    pub(crate) fn stored(column: usize, number: i64) -> db::Result<Self> {
        if number == NO_REPLIES {
            return Ok(Self::Nobody);
        }
        let known = Self::ALL.into_iter().find(|accept_from| *accept_from as i64 == number);
        known.ok_or(db::Error::Column { column, expected: "0 to 3" })
    }
}

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The account as everybody sees it.
    pub person: Person,
    /// The e-mail address, if they have one.
    pub email: Option<String>,
    /// Who may write to the owner.
    pub accept_from: AcceptFrom,
    /// Whether the owner is reminded by e-mail of unread messages, where the server sends
    /// reminders.
    pub reminders: bool,
    /// When the account was created.
    pub created_at: Time,
}

/// Changes to a profile; none by default.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// A new display name, or `Some(None)` to remove it.
    pub display_name: Option<Option<DisplayName>>,
    /// A new e-mail address.
    pub email: Option<Email>,
    /// Who may write to the owner.
    pub accept_from: Option<AcceptFrom>,
    /// Whether to be reminded by e-mail.
    pub reminders: Option<bool>,
}

/// A profile; `None` where the account was erased.
pub fn profile(tx: &mut Tx<'_>, owner: UserId) -> Result<Option<Profile>> {
    Ok(tx.query_opt(
        concat!(
            "SELECT ",
            person_columns!(),
            ", email, accept_from, created_at, reminders_off_at
             FROM users JOIN mailboxes ON mailboxes.owner_id = users.id
             WHERE users.id = ?1 AND erased_at IS NULL"
        ),
        &params![owner],
        |row| {
            Ok(Profile {
                person: Person::read(row)?,
                email: Some(row.text(5)?.to_owned()).filter(|email| !email.is_empty()),
                accept_from: AcceptFrom::stored(6, row.int(6)?)?,
                created_at: Time(row.int(7)?),
                reminders: row.opt_int(8)?.is_none(),
            })
        },
    )?)
}

/// Applies changes to a profile.
///
/// # Errors
/// [`Error::NotLoggedIn`](crate::Error::NotLoggedIn) where the owner was disabled meanwhile;
/// [`Error::NameReserved`](crate::Error::NameReserved) where a system user is called that.
pub fn update(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, change: &ProfileChange) -> Result<()> {
    modseq::lock(tx, owner)?;
    confirm_enabled(tx, owner)?;
    if let Some(Some(name)) = &change.display_name {
        confirm_not_reserved(tx, Some(owner), "display_name", name.shown())?;
    }
    if let Some(name) = &change.display_name {
        let (shown, folded) = name.as_ref().map_or(("", ""), |name| (name.shown(), name.folded()));
        tx.execute(
            "UPDATE users SET display_name = ?2, words_of = name || ' ' || ?2,
                 display_folded = ?3
             WHERE id = ?1 AND disabled_at IS NULL",
            &params![owner, shown, folded],
        )?;
        let name =
            tx.query_one("SELECT name FROM users WHERE id = ?1", &params![owner], |row| {
                Ok(row.text(0)?.to_owned())
            })?;
        set_words(tx, owner, &name, shown)?;
    }
    if let Some(email) = &change.email {
        tx.execute(
            "UPDATE users SET email = ?2 WHERE id = ?1 AND disabled_at IS NULL",
            &params![owner, email.as_str()],
        )?;
    }
    if let Some(accept_from) = change.accept_from {
        // What a system user takes is said by `replies` alone.
        tx.execute(
            "UPDATE mailboxes SET accept_from = ?2
             WHERE owner_id = ?1 AND EXISTS (SELECT 1 FROM users WHERE id = ?1 AND kind = 0)",
            &params![owner, accept_from as i64],
        )?;
    }
    if let Some(on) = change.reminders {
        switch_reminders(tx, cx, owner, on)?;
    }
    touch(tx, cx, owner)
}

/// Records that something has changed that the app is shown of a user.
pub(super) fn touch(tx: &mut Tx<'_>, cx: &Cx, user: UserId) -> Result<()> {
    tx.execute(
        "UPDATE users SET updated_at = ?2 WHERE id = ?1 AND erased_at IS NULL",
        &params![user, cx.now],
    )?;
    Ok(())
}

/// Switches a user's reminders on or off. Repeating it changes nothing; neither does a user that
/// does not exist.
pub fn set_reminders(tx: &mut Tx<'_>, cx: &Cx, user: UserId, on: bool) -> Result<()> {
    modseq::lock(tx, user)?;
    switch_reminders(tx, cx, user, on)?;
    touch(tx, cx, user)
}

/// The same for a mailbox that is locked.
fn switch_reminders(tx: &mut Tx<'_>, cx: &Cx, user: UserId, on: bool) -> Result<()> {
    if on {
        tx.execute("UPDATE users SET reminders_off_at = NULL WHERE id = ?1", &params![user])?;
        return Ok(());
    }
    tx.execute(
        "UPDATE users SET reminders_off_at = coalesce(reminders_off_at, ?2)
         WHERE id = ?1 AND erased_at IS NULL",
        &params![user, cx.now],
    )?;
    Ok(reminders::cancel(tx, user)?)
}
