//! Users of a Django app, with names that they can have here.

use std::collections::{HashMap, HashSet};

use db::Foreign;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

use super::tables::Source;
use super::{Key, Names, Out, People, flag, shown, time};
use crate::accounts::passwords::MovedHash;
use crate::base::looks::shows_nothing;
use crate::base::text::{DisplayName, Email, Username};

/// Characters of an old name that are kept before a number.
const KEPT: usize = 120;

pub(super) fn read<E: From<db::Error>>(
    foreign: &mut Foreign,
    source: &Source,
    names: Names,
    out: &mut Out<'_, E>,
) -> Result<People, E> {
    let mut users = Users { source, names, taken: HashSet::new(), come: HashMap::new() };
    // Those whose name can stay come first, so that nobody takes it from them.
    for is_second in [false, true] {
        let mut place = 0;
        foreign.read(&source.table, &source.columns(), |row| {
            place += 1;
            users.take((row, place), is_second, out)
        })?;
        out.counts.users = place;
    }
    Ok(People(users.come))
}

struct Users<'s> {
    source: &'s Source,
    names: Names,
    /// Folded names that somebody has.
    taken: HashSet<String>,
    /// Those who come, with their external id.
    come: HashMap<Key, String>,
}

impl Users<'_> {
    /// Reads a row: of those whose name stays at the first look, of the others at the second.
    fn take<E>(
        &mut self,
        (row, place): (&[Option<&str>], u64),
        is_second: bool,
        out: &mut Out<'_, E>,
    ) -> Result<(), E> {
        let id = row[0].unwrap_or("");
        let key = Key::of(id);
        if self.come.contains_key(&key) {
            return Ok(());
        }
        let get = |meaning| self.source.get(row, meaning).unwrap_or("");
        let (name, number) = (get("username"), key.number(place));
        let email = Email::parse(get("email")).ok();
        let own = Username::parse(name).ok().filter(|name| self.is_free(name));
        let (username, is_renamed) = match own {
            Some(own) => (own, false),
            None if !is_second => return Ok(()),
            None => match self.other((id, number), name, email.as_ref(), out)? {
                Some(other) => (other, true),
                None => return Ok(()),
            },
        };
        let mut user = Map::new();
        if let Key::Number(number) = key {
            user.insert("id".into(), number.into());
        }
        user.insert("external_id".into(), id.into());
        user.insert("username".into(), username.shown().into());
        let full = format!("{} {}", get("first_name"), get("last_name"));
        let display = DisplayName::cut(if is_renamed { name } else { &full });
        if let Some(display) = display {
            user.insert("display_name".into(), display.shown().into());
        }
        if let Some(email) = email {
            user.insert("email".into(), email.as_str().into());
        } else if !get("email").is_empty() {
            let detail = "its e-mail address has not the form of one, and is left out";
            out.note((true, id), "email_left_out", detail)?;
        }
        if let Some(at) = time(Some(get("created_at"))) {
            user.insert("created_at".into(), shown(at).into());
        }
        if self.source.has("active") && !flag(Some(get("active"))) {
            user.insert("active".into(), false.into());
            out.counts.inactive += 1;
        }
        let password = get("password");
        match MovedHash::parse(password) {
            Ok(hash) => drop(user.insert("password_hash".into(), hash.as_str().into())),
            Err(invalid) => {
                out.counts.without_password += 1;
                if !password.is_empty() && !password.starts_with('!') {
                    let detail = format!("it comes without its password: {}", invalid.problem);
                    out.note((true, id), "password_left_out", detail)?;
                }
            }
        }
        self.taken.insert(username.folded().to_owned());
        self.come.insert(key, format!("ext:{id}"));
        out.counts.users_come += 1;
        out.line(number, "user", &Value::Object(user))
    }

    fn is_free(&self, name: &Username) -> bool {
        !name.is_reserved() && !self.taken.contains(name.folded())
    }

    /// The name of somebody who cannot have their own.
    fn other<E>(
        &self,
        (id, number): (&str, i64),
        name: &str,
        email: Option<&Email>,
        out: &mut Out<'_, E>,
    ) -> Result<Option<Username>, E> {
        let why = match Username::parse(name) {
            Err(invalid) => invalid.problem,
            Ok(name) if name.is_reserved() => "it is reserved here".to_owned(),
            Ok(_) => "another user has it, as upper and lower case are the same".to_owned(),
        };
        if self.names == Names::Skip {
            let detail = format!("{name:?} cannot be a username: {why}. They do not come");
            out.note((true, id), "user_left_out", detail)?;
            return Ok(None);
        }
        let free = |name: &str| Username::parse(name).ok().filter(|name| self.is_free(name));
        let by_email = email.filter(|_| self.names == Names::Email);
        let found = by_email.and_then(|email| free(email.as_str())).or_else(|| {
            let allowed = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
            let seen = name.nfkc().filter(|c| !shows_nothing(*c)).take(KEPT);
            let seen: String = seen.map(|c| if allowed(c) { c } else { '_' }).collect();
            let plain = format!("{seen}-{number}");
            // Somebody else's name may end with the same number.
            let more = (2..100).map(|more| format!("{seen}-{number}-{more}"));
            let other = (1..100).map(|more| format!("member-{number}-{more}"));
            std::iter::once(plain).chain(more).chain(other).find_map(|name| free(&name))
        });
        let (code, what) = match &found {
            Some(other) => ("renamed", format!(". They sign in as {}", other.shown())),
            None => ("user_left_out", ", and no other is free".to_owned()),
        };
        out.note((true, id), code, format!("{name:?} cannot be a username: {why}{what}"))?;
        Ok(found)
    }
}
