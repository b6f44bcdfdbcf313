//! Changing users who exist: what is said of each is merged into what is known of them.

use std::collections::HashMap;

use db::{Tx, params};

use super::super::access::{end_credentials, end_jwts};
use super::super::app::select;
use super::super::people::Kind;
use super::super::{AcceptFrom, AppUser, lookup, refuse_reserved, reserved, resolve_all};
use super::change::{Done, Put, PutStatus, UserChange, missing};
use super::system;
use crate::accounts::modseq;
use crate::base::text::{DisplayName, Email, Username};
use crate::base::{Cx, Error, Result, UserId, UserRef};
use crate::outbox::{notices, reminders};

/// A user with the names as they are stored.
#[derive(Clone, PartialEq)]
struct Stored {
    user: AppUser,
    folded: String,
    /// Empty where there is no display name.
    shown: String,
    shown_folded: String,
}

/// A user before and after.
struct Merged<'p> {
    at: usize,
    change: &'p UserChange,
    old: Stored,
    new: Stored,
}

/// Merges what is said into each of these users, who are different ones. `None` is one that has to
/// be looked for again: another of them has the wanted name, or they were erased meanwhile.
pub(super) fn merge_all(
    tx: &mut Tx<'_>,
    cx: &Cx,
    puts: &[(UserId, &Put)],
) -> Result<Vec<Option<Result<Done>>>> {
    let mut results: Vec<Option<Result<Done>>> = puts.iter().map(|_| None).collect();
    if puts.is_empty() {
        return Ok(results);
    }
    let mut stored = read_locked(tx, puts)?;
    let mut merged = Vec::new();
    for (at, (user, put)) in puts.iter().enumerate() {
        let change = &put.change;
        let Some(old) = stored.remove(user) else {
            // Erased since they were found. With `recreate` they are looked for once more.
            if !put.recreates() {
                results[at] = Some(Err(missing(tx, cx, put)?));
            }
            continue;
        };
        if change.version.flatten().is_some_and(|new| old.user.version.is_some_and(|old| new < old))
        {
            results[at] = Some(Ok((old.user, PutStatus::Stale)));
            continue;
        }
        match merge(cx, change, &old) {
            Err(refused) => results[at] = Some(Err(refused)),
            Ok(new) if new == old => results[at] = Some(Ok((old.user, PutStatus::Unchanged))),
            Ok(mut new) => {
                new.user.updated_at = cx.now;
                merged.push(Merged { at, change, old, new });
            }
        }
    }
    for (at, field) in reserved(tx, &merged)? {
        merged.retain(|one| one.at != at);
        results[at] = Some(Err(Error::NameReserved(field)));
    }
    for (at, refused) in taken(tx, cx, &merged)? {
        merged.retain(|one| one.at != at);
        results[at] = refused.map(Err);
    }
    write(tx, cx, &merged)?;
    for Merged { at, new, .. } in merged {
        results[at] = Some(Ok((new.user, PutStatus::Updated)));
    }
    Ok(results)
}

/// Locks the mailboxes, and reads the users.
fn read_locked(tx: &mut Tx<'_>, puts: &[(UserId, &Put)]) -> Result<HashMap<UserId, Stored>> {
    let ids: Vec<_> = puts.iter().map(|(user, _)| *user).collect();
    modseq::lock_all(tx, &ids)?;
    let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    let stored = tx.query(
        select!(
            ", name_folded, users.display_name, display_folded",
            "users.id IN rarray(?1) AND erased_at IS NULL"
        ),
        &params![&*ids],
        |row| {
            Ok(Stored {
                user: AppUser::read(row)?,
                folded: row.text(16)?.to_owned(),
                shown: row.text(17)?.to_owned(),
                shown_folded: row.text(18)?.to_owned(),
            })
        },
    )?;
    Ok(stored.into_iter().map(|stored| (stored.user.person.id, stored)).collect())
}

/// Those who would be called as a system user is, and by which field.
fn reserved(tx: &mut Tx<'_>, merged: &[Merged<'_>]) -> Result<Vec<(usize, &'static str)>> {
    let renamed = merged.iter().flat_map(|Merged { at, old, new, .. }| {
        let is_person = new.user.person.kind == Kind::Person;
        let names = [
            ("username", &old.folded, &new.folded),
            ("display_name", &old.shown_folded, &new.shown_folded),
        ];
        let renamed = names.into_iter().filter(move |(_, old, new)| is_person && old != new);
        renamed.map(|(field, _, new)| (*at, field, new))
    });
    let renamed: Vec<_> = renamed.collect();
    let names: Vec<_> = renamed.iter().map(|(.., name)| (*name).clone()).collect();
    let theirs = system::reserved(tx, &names)?;
    let refused = renamed.into_iter().filter(|(.., name)| theirs.contains(*name));
    Ok(refused.map(|(at, field, _)| (at, field)).collect())
}

fn merge(cx: &Cx, change: &UserChange, old: &Stored) -> Result<Stored> {
    change.confirm_kind(old.user.person.kind)?;
    let mut new = old.clone();
    let person = &mut new.user.person;
    if let Some(name) = &change.username {
        let generated = Username::generated(person.id);
        let name = name.as_ref().unwrap_or(&generated);
        if name.folded() != old.folded && *name != generated {
            refuse_reserved(name)?;
        }
        name.shown().clone_into(&mut person.username);
        name.folded().clone_into(&mut new.folded);
    }
    if let Some(name) = &change.display_name {
        name.as_ref().map_or("", DisplayName::shown).clone_into(&mut new.shown);
        name.as_ref().map_or("", DisplayName::folded).clone_into(&mut new.shown_folded);
    }
    person.display_name =
        if new.shown.is_empty() { person.username.clone() } else { new.shown.clone() };
    let user = &mut new.user;
    if let Some(email) = &change.email {
        user.email = email.as_ref().map(|email: &Email| email.as_str().to_owned());
    }
    if let Some(active) = change.active {
        user.disabled_at = if active { None } else { user.disabled_at.or(Some(cx.now)) };
    }
    if let Some(accept_from) = change.accept_from
        && user.person.kind != Kind::System
    {
        user.accept_from = accept_from.unwrap_or(AcceptFrom::Everyone);
    }
    if let Some(replies) = change.replies {
        user.accept_from = if replies { AcceptFrom::Everyone } else { AcceptFrom::Nobody };
    }
    user.reminders = change.reminders.map_or(user.reminders, |on| on.unwrap_or(true));
    user.findable = change.findable.map_or(user.findable, |on| on.unwrap_or(true));
    user.version = change.version.unwrap_or(user.version);
    Ok(new)
}

/// Those who cannot have the wanted name, and why; or `None` where another of them has it, who may
/// be about to give it away.
fn taken(tx: &mut Tx<'_>, cx: &Cx, merged: &[Merged<'_>]) -> Result<Vec<(usize, Option<Error>)>> {
    let renamed = merged.iter().filter(|one| one.new.folded != one.old.folded);
    let renamed: Vec<_> = renamed.collect();
    if renamed.is_empty() {
        return Ok(vec![]);
    }
    let names: Vec<_> = renamed.iter().map(|one| UserRef::Name(one.new.folded.clone())).collect();
    let holders = resolve_all(tx, &names)?;
    // After the look for holders: they may just be erasing a name.
    let folded: Vec<_> = renamed.iter().map(|one| one.new.folded.as_str()).collect();
    let any_reserved = reserved::any_is_reserved(tx, cx, &folded)?;
    let mut taken = Vec::new();
    for (one, holder) in renamed.into_iter().zip(holders) {
        let is_before = |holder: UserId| {
            merged.iter().any(|other| other.at < one.at && other.old.user.person.id == holder)
        };
        match holder {
            Some(holder) if is_before(holder) => taken.push((one.at, None)),
            Some(_) => taken.push((one.at, Some(Error::NameTaken))),
            None if any_reserved && reserved::is_reserved(tx, cx, &one.new.folded)? => {
                taken.push((one.at, Some(Error::NameTaken)));
            }
            None => {}
        }
    }
    Ok(taken)
}

fn write(tx: &mut Tx<'_>, cx: &Cx, merged: &[Merged<'_>]) -> Result<()> {
    if merged.is_empty() {
        return Ok(());
    }
    let rows = merged.iter().map(|Merged { new, .. }| {
        let user = &new.user;
        params![
            user.person.id,
            user.person.username.as_str(),
            new.folded.as_str(),
            new.shown.as_str(),
            new.shown_folded.as_str(),
            user.email.as_deref().unwrap_or_default(),
            user.disabled_at,
            user.reminders,
            user.findable,
            user.version,
            cx.now
        ]
    });
    let rows: Vec<_> = rows.collect();
    tx.batch(
        "UPDATE users SET name = ?2, name_folded = ?3, display_name = ?4, display_folded = ?5,
             words_of = ?2 || ' ' || ?4, email = ?6, disabled_at = ?7,
             reminders_off_at = CASE ?8 WHEN 0 THEN coalesce(reminders_off_at, ?11) END,
             findable = ?9, app_version = ?10, updated_at = ?11
         WHERE id = ?1",
        &rows,
    )?;
    let of_mailbox = |one: &&Merged<'_>| {
        let (old, new) = (&one.old.user, &one.new.user);
        old.accept_from != new.accept_from || old.disabled_at != new.disabled_at
    };
    let rows = merged.iter().filter(of_mailbox).map(|Merged { change, new, .. }| {
        let kind = new.user.person.kind;
        let is_said = match kind {
            Kind::Person => change.accept_from.is_some(),
            Kind::System => change.replies.is_some(),
        };
        let accept_from = is_said.then(|| system::stored(kind, new.user.accept_from));
        params![new.user.person.id, accept_from, new.user.disabled_at]
    });
    let rows: Vec<_> = rows.collect();
    tx.batch(
        "UPDATE mailboxes SET accept_from = coalesce(?2, accept_from), closed_at = ?3
         WHERE owner_id = ?1",
        &rows,
    )?;
    let renamed = merged.iter().filter(|Merged { old, new, .. }| {
        (&old.user.person.username, &old.shown) != (&new.user.person.username, &new.shown)
    });
    let renamed: Vec<_> = renamed.map(|one| &one.new).collect();
    let rows: Vec<_> = renamed.iter().map(|new| params![new.user.person.id]).collect();
    tx.batch("DELETE FROM name_words WHERE user_id = ?1", &rows)?;
    let words = renamed
        .iter()
        .map(|new| (new.user.person.id, new.user.person.username.as_str(), new.shown.as_str()));
    lookup::add_words(tx, &words.collect::<Vec<_>>())?;
    for Merged { old, new, .. } in merged {
        if old.user.reminders && !new.user.reminders {
            reminders::cancel(tx, new.user.person.id)?;
        }
        match (old.user.disabled_at, new.user.disabled_at) {
            (None, Some(_)) => {
                end_credentials(tx, new.user.person.id, None)?;
                end_jwts(tx, cx, new.user.person.id)?;
            }
            (Some(_), None) => notices::send(tx, notices::ACCESS, new.user.person.id),
            _ => {}
        }
    }
    Ok(())
}
