//! Users who move: whom a line means, and who is made of it.

use std::collections::{HashMap, HashSet};

use db::Tx;

use super::fields::Problem;
use super::line::Line;
use crate::accounts::users::{self, Found, MovedUser};
use crate::base::text::Username;
use crate::base::{Cx, Error, Result, UserId, UserRef};

/// What is done with users that are here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They stay as they are.
    Keep,
    /// They become what their lines say.
    Update,
    /// They are an error.
    Refuse,
}

/// Whom the refs of a file mean.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// By every ref that a user line gives; no id before the user is written.
    known: HashMap<UserRef, Option<UserId>>,
    /// Users whose stub is all that is left.
    erased: HashSet<UserId>,
}

impl People {
    /// Adds a user line of the file.
    pub fn add(&mut self, line: &Line) {
        if let Line::User(user) = line {
            self.note(user, None);
        }
    }

    fn note(&mut self, user: &MovedUser, id: Option<UserId>) {
        let refs = [
            user.id.map(UserRef::Id),
            user.external_id.clone().map(UserRef::External),
            user.username.as_ref().map(|name| UserRef::Name(name.folded().to_owned())),
        ];
        for of in refs.into_iter().flatten() {
            self.known.insert(of, id);
        }
        if user.is_erased {
            self.erased.extend(id);
        }
    }

    /// Finds those of some refs that no line of the file explains. An id is one of the file.
    pub(super) fn look_up(&mut self, tx: &mut Tx<'_>, refs: Vec<UserRef>) -> Result<()> {
        let unknown = refs.into_iter().filter(|of| !self.known.contains_key(of));
        let unknown: Vec<_> = unknown.filter(|of| !matches!(of, UserRef::Id(_))).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let found = users::resolve_all(tx, &unknown)?;
        let found = unknown.into_iter().zip(found);
        self.known.extend(found.filter_map(|(of, id)| Some((of, Some(id?)))));
        Ok(())
    }

    /// Whether a ref means somebody.
    pub(super) fn has(&self, of: &UserRef) -> bool {
        self.known.contains_key(of)
    }

    /// The user whom a ref means, after users were written.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], which the check has told before.
    pub(super) fn id(&self, of: &UserRef) -> Result<UserId> {
        self.known.get(of).copied().flatten().ok_or(Error::UnknownUser)
    }

    pub(super) fn is_erased(&self, id: UserId) -> bool {
        self.erased.contains(&id)
    }

    /// Makes a user of each ref that means nobody, where it is an external id or a username. They
    /// are found when they are looked up next.
    pub(super) fn stub(&self, tx: &mut Tx<'_>, cx: &Cx, refs: &[UserRef]) -> Result<()> {
        let mut made = HashSet::new();
        for of in refs {
            if self.has(of) || !made.insert(of) {
                continue;
            }
            let mut user = MovedUser::default();
            match of {
                UserRef::External(id) => user.external_id = Some(id.clone()),
                UserRef::Name(name) => user.username = Username::parse(name).ok(),
                UserRef::Id(_) => return Err(Error::UnknownUser),
            }
            users::insert_moved(tx, cx, &[&user], 0)?;
        }
        Ok(())
    }
}

/// Checks users against those that are here. Returns what is wrong, and how many are new.
pub fn check_users(
    tx: &mut Tx<'_>,
    cx: &Cx,
    mode: Mode,
    users: &[(i64, Box<MovedUser>)],
) -> Result<(Vec<Problem>, i64)> {
    let (mut problems, mut new) = (Vec::new(), 0);
    let found = find(tx, users)?;
    for ((line, user), found) in users.iter().zip(found) {
        let mut wrong = |field: &str, code, detail: &str| {
            let (pointer, detail) = (format!("/user/{field}"), detail.to_owned());
            problems.push(Problem { line: *line, pointer, code, detail });
        };
        let is_person = !user.is_erased && user.kind == users::Kind::Person;
        let display_name = user.display_name.as_ref();
        let names = match found {
            Found::Here(_) if mode == Mode::Refuse => {
                wrong("username", "exists", "this user is here already: leave out --insert");
                continue;
            }
            Found::Here(id) if mode == Mode::Update && is_person => display_name
                .map_or(Ok(()), |name| {
                    users::confirm_not_reserved(tx, Some(id), "display_name", name.shown())
                }),
            Found::Here(_) => continue,
            Found::Taken("id") => {
                wrong("id", "id_taken", "another user here has this id");
                continue;
            }
            Found::Taken(_) => {
                wrong("username", "name_taken", "another user here has this username");
                continue;
            }
            Found::New => {
                new += 1;
                if !is_person {
                    continue;
                }
                users::confirm_names(tx, cx, user.username.as_ref(), display_name)
            }
        };
        match names {
            Err(Error::NameTaken) => {
                wrong("username", "name_taken", "an erased account had this username");
            }
            Err(Error::NameReserved(field)) => {
                wrong(field, "name_reserved", "a system user is called so");
            }
            names => names?,
        }
    }
    Ok((problems, new))
}

fn find(tx: &mut Tx<'_>, users: &[(i64, Box<MovedUser>)]) -> Result<Vec<Found>> {
    let users: Vec<_> = users.iter().map(|(_, user)| &**user).collect();
    users::find_moved(tx, &users)
}

/// Writes users that were checked, and notes who they are.
pub fn write_users(
    tx: &mut Tx<'_>,
    cx: &Cx,
    mode: Mode,
    people: &mut People,
    (users, above): (&[(i64, Box<MovedUser>)], i64),
) -> Result<()> {
    let found = find(tx, users)?;
    let both = || users.iter().map(|(_, user)| &**user).zip(&found);
    let new: Vec<_> =
        both().filter(|(_, found)| **found == Found::New).map(|(user, _)| user).collect();
    let ids = users::insert_moved(tx, cx, &new, above)?;
    for (user, id) in new.iter().zip(ids) {
        people.note(user, Some(id));
    }
    let here = both().filter_map(|(user, found)| match found {
        Found::Here(id) => Some((*id, user)),
        _ => None,
    });
    let here: Vec<_> = here.collect();
    for (id, user) in &here {
        people.note(user, Some(*id));
    }
    if mode == Mode::Update {
        users::update_moved(tx, cx, &here)?;
    }
    Ok(())
}
