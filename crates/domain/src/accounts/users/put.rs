//! Users as the app's own server creates and changes them, many in one transaction: each step is a
//! statement for all of them, so a hundred users take as many statements as one.

mod change;
mod create;
mod merge;
mod system;

use std::collections::HashSet;

use db::Tx;

use self::change::{Done, missing};
pub use self::change::{Put, PutStatus, UserChange};
use self::create::create_all;
use self::merge::merge_all;
use super::resolve_all;
use crate::base::text::Username;
use crate::base::{Cx, Error, Result, UserId, UserRef};

/// Creates or changes a user.
///
/// # Errors
/// [`Error::UnknownUser`] where the ref is no external id and nobody's; [`Error::UserErased`] where
/// its user was erased; [`Error::NameTaken`]; [`Error::Invalid`] where the username is one that
/// nobody can choose, or the kind is another; [`Error::NameReserved`] where a system user is called
/// so.
pub fn put(tx: &mut Tx<'_>, cx: &Cx, put: &Put) -> Result<Done> {
    match put_all(tx, cx, std::slice::from_ref(put)) {
        // Somebody took the name in between.
        Err(Error::Db(db::Error::Unique(name))) if name == NAMES => Err(Error::NameTaken),
        done => done?.pop().expect("there is a result for each"),
    }
}

/// The constraint that usernames are unique.
const NAMES: &str = "users_name_folded_key";

/// Whether putting many users failed because somebody took a name in between: it can be repeated.
pub fn can_repeat(error: &Error) -> bool {
    matches!(error, Error::Db(db::Error::Unique(name)) if name == NAMES)
}

/// The same as [`put`] for many users, one after the other. Returns a result for each, and does
/// what it can: a user who cannot be created or changed stays as they are.
///
/// # Errors
/// Nothing was done; see [`can_repeat`].
pub fn put_all(tx: &mut Tx<'_>, cx: &Cx, puts: &[Put]) -> Result<Vec<Result<Done>>> {
    let mut round = Round { puts, done: puts.iter().map(|_| None).collect() };
    let mut waiting: Vec<usize> = (0..puts.len()).collect();
    while !waiting.is_empty() {
        waiting = round.run(tx, cx, waiting)?;
    }
    Ok(round.done.into_iter().flatten().collect())
}

/// Those of some puts that do not touch each other.
struct Round<'p> {
    puts: &'p [Put],
    /// The results so far, at the places of their puts.
    done: Vec<Option<Result<Done>>>,
}

impl Round<'_> {
    /// Does the first of the waiting puts, and all that do not depend on one before. Returns the
    /// others.
    fn run(&mut self, tx: &mut Tx<'_>, cx: &Cx, waiting: Vec<usize>) -> Result<Vec<usize>> {
        let (mut now, mut later): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
        let (mut users, mut names) = (HashSet::new(), HashSet::new());
        for at in waiting {
            let Put { user, change } = &self.puts[at];
            let name = change.username.as_ref().and_then(Option::as_ref).map(Username::folded);
            let is_first = users.insert(user) & name.is_none_or(|name| names.insert(name));
            if is_first { now.push(at) } else { later.push(at) }
        }
        let refs: Vec<_> = now.iter().map(|at| self.puts[*at].user.clone()).collect();
        let mut found = resolve_all(tx, &refs)?;
        let is_new = |(of, found): (&UserRef, &Option<UserId>)| {
            matches!(of, UserRef::External(_)) && found.is_none()
        };
        let new = refs.iter().zip(&found).map(is_new);
        let new: Vec<_> = now.iter().zip(new).filter(|(_, new)| *new).map(|(at, _)| *at).collect();
        let created = self.create(tx, cx, &new)?;
        if created < new.len() {
            // Somebody else has created them in between, or they cannot be.
            found = resolve_all(tx, &refs)?;
        }
        let mut known: Vec<(usize, UserId)> = Vec::new();
        for (at, found) in now.into_iter().zip(found) {
            match found {
                _ if self.done[at].is_some() => {}
                // Somebody before may be about to give the name away.
                None if known.iter().any(|(before, _)| self.renames(*before)) => later.push(at),
                None => self.done[at] = Some(Err(missing(tx, cx, &self.puts[at])?)),
                // Named twice, in two ways.
                Some(user) if known.iter().any(|(_, other)| *other == user) => later.push(at),
                Some(user) => known.push((at, user)),
            }
        }
        later.extend(self.merge(tx, cx, &known)?);
        later.sort_unstable();
        Ok(later)
    }

    fn renames(&self, at: usize) -> bool {
        self.puts[at].change.username.is_some()
    }

    /// Creates users. Returns how many were.
    fn create(&mut self, tx: &mut Tx<'_>, cx: &Cx, new: &[usize]) -> Result<usize> {
        let puts: Vec<_> = new.iter().map(|at| &self.puts[*at]).collect();
        let created = create_all(tx, cx, &puts)?;
        let mut count = 0;
        for (at, created) in new.iter().zip(created) {
            if let Some(created) = created {
                count += usize::from(created.is_ok());
                self.done[*at] = Some(created.map(|user| (user, PutStatus::Created)));
            }
        }
        Ok(count)
    }

    /// Changes users. Returns those that have to be looked for again.
    fn merge(&mut self, tx: &mut Tx<'_>, cx: &Cx, known: &[(usize, UserId)]) -> Result<Vec<usize>> {
        let puts: Vec<_> = known.iter().map(|(at, user)| (*user, &self.puts[*at])).collect();
        let mut waiting = Vec::new();
        for ((at, _), done) in known.iter().zip(merge_all(tx, cx, &puts)?) {
            match done {
                Some(done) => self.done[*at] = Some(done),
                None => waiting.push(*at),
            }
        }
        Ok(waiting)
    }
}
