//! Creating users of external ids that are nobody's.

use std::collections::{BTreeMap, HashMap, HashSet};

use db::{Row, Tx, params};

use super::super::people::{Kind, Person};
use super::super::{AcceptFrom, AppUser, lookup, refuse_reserved, resolve_all};
use super::change::Put;
use super::system;
use crate::base::text::{DisplayName, Email, Username};
use crate::base::{Cx, Error, EventKind, Result, Time, UserId, UserRef};
use crate::outbox::webhooks::{self, Occurrence};

/// A user to create.
struct New<'p> {
    put: &'p Put,
    external_id: &'p str,
    username: Option<&'p Username>,
    /// What makes the row unique until the user has a name.
    nameless: String,
    /// The keyed hashes of the external id and of the username.
    hashes: (Vec<u8>, Option<Vec<u8>>),
}

impl<'p> New<'p> {
    fn of(cx: &Cx, put: &'p Put) -> Option<Self> {
        let UserRef::External(id) = &put.user else { return None };
        let username = put.change.username.as_ref().and_then(Option::as_ref);
        let hashes = (
            cx.names.hash_external(id.as_str()).to_vec(),
            username.map(|name| cx.names.hash(name.folded()).to_vec()),
        );
        // A username holds neither `#` nor a colon.
        let nameless = format!("#ext:{}", id.as_str());
        Some(Self { put, external_id: id.as_str(), username, nameless, hashes })
    }

    fn shown(&self) -> Option<&'p DisplayName> {
        self.put.change.display_name.as_ref().and_then(Option::as_ref)
    }

    fn disabled_at(&self, cx: &Cx) -> Option<Time> {
        (self.put.change.active == Some(false)).then_some(cx.now)
    }

    /// Makes sure that there can be such a user, beside the system users of these names.
    fn confirm(&self, theirs: &HashSet<String>) -> Result<()> {
        self.username.map_or(Ok(()), refuse_reserved)?;
        let (kind, _) = self.put.change.new_kind()?;
        let mut names = self.put.change.folded_names();
        let taken = names.find(|(_, name)| kind == Kind::Person && theirs.contains(*name));
        taken.map_or(Ok(()), |(field, _)| Err(Error::NameReserved(field)))
    }

    fn kind(&self) -> Kind {
        self.put.change.kind.unwrap_or_default()
    }

    fn accept_from(&self) -> AcceptFrom {
        let change = &self.put.change;
        match (self.kind(), change.replies) {
            (Kind::Person, _) => change.accept_from.flatten().unwrap_or(AcceptFrom::Everyone),
            (Kind::System, Some(true)) => AcceptFrom::Everyone,
            (Kind::System, _) => AcceptFrom::Nobody,
        }
    }

    fn created(&self, cx: &Cx, id: UserId, username: &str) -> AppUser {
        let change = &self.put.change;
        let email = change.email.as_ref().and_then(Option::as_ref);
        AppUser {
            person: Person {
                id,
                username: username.to_owned(),
                display_name: self.shown().map_or(username, DisplayName::shown).to_owned(),
                external_id: Some(self.external_id.to_owned()),
                kind: self.kind(),
            },
            email: email.map(|email| email.as_str().to_owned()),
            has_password: false,
            accept_from: self.accept_from(),
            reminders: change.reminders.flatten().unwrap_or(true),
            findable: change.findable.flatten().unwrap_or(true),
            version: change.version.flatten(),
            created_at: cx.now,
            updated_at: cx.now,
            disabled_at: self.disabled_at(cx),
            unread_messages: 0,
            unread_conversations: 0,
        }
    }
}

/// Creates users of external ids that nobody has. `None` is one that somebody else has created in
/// between, or that cannot be: its user was erased, or the username is taken.
pub(super) fn create_all(
    tx: &mut Tx<'_>,
    cx: &Cx,
    puts: &[&Put],
) -> Result<Vec<Option<Result<AppUser>>>> {
    let mut results: Vec<Option<Result<AppUser>>> = puts.iter().map(|_| None).collect();
    let mut new: Vec<(usize, New<'_>)> = Vec::new();
    let names = puts.iter().flat_map(|put| put.change.folded_names());
    let theirs = system::reserved(tx, &names.map(|(_, name)| name.to_owned()).collect::<Vec<_>>())?;
    for (at, put) in puts.iter().enumerate() {
        let Some(one) = New::of(cx, put) else { continue };
        match one.confirm(&theirs) {
            Ok(()) => new.push((at, one)),
            Err(refused) => results[at] = Some(Err(refused)),
        }
    }
    if new.is_empty() {
        return Ok(results);
    }
    // In one order, so that two who create the same users do not wait for each other.
    new.sort_by_key(|(_, new)| new.external_id);
    let created = insert(tx, cx, &new)?;
    new.retain(|(_, new)| created.contains_key(new.external_id));
    let names = name(tx, &new, &created)?;
    let users = || new.iter().zip(&names).map(|((at, new), (id, name))| (*at, new, *id, name));
    let mut mailboxes: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for (_, new, id, _) in users() {
        let accepts = system::stored(new.kind(), new.accept_from());
        mailboxes.entry((accepts, new.disabled_at(cx))).or_default().push(id.get());
    }
    for ((accepts, closed_at), owners) in &mailboxes {
        tx.execute(
            "INSERT INTO mailboxes (owner_id, modseq, accept_from, closed_at)
             SELECT value, 0, ?2, nullif(?3, 0) FROM rarray(?1)",
            &params![&**owners, *accepts, closed_at.unwrap_or(Time(0))],
        )?;
    }
    let words = users()
        .map(|(_, new, id, name)| (id, name.as_str(), new.shown().map_or("", DisplayName::shown)));
    lookup::add_words(tx, &words.collect::<Vec<_>>())?;
    let events: Vec<_> = names.iter().map(|(id, _)| Occurrence::user(*id)).collect();
    webhooks::emit_all(tx, cx, EventKind::UserCreated, &events)?;
    for (at, new, id, name) in users() {
        results[at] = Some(Ok(new.created(cx, id, name)));
    }
    Ok(results)
}

/// The keyed hashes of external ids and usernames that erased users had.
struct Taken {
    ids: HashSet<Vec<u8>>,
    names: HashSet<Vec<u8>>,
}

impl Taken {
    /// Those that some new users are to have.
    fn find(tx: &mut Tx<'_>, cx: &Cx, new: &[(usize, New<'_>)]) -> Result<Self> {
        let hash = |row: &Row<'_>| Ok(row.blob(0)?.to_owned());
        let ids: Vec<_> = new.iter().map(|(_, new)| new.hashes.0.clone()).collect();
        let ids = tx.query(
            "SELECT id_hash FROM erased_external_ids WHERE id_hash IN rarray(?1)",
            &params![&*ids],
            hash,
        )?;
        let names: Vec<_> = new.iter().filter_map(|(_, new)| new.hashes.1.clone()).collect();
        let names = match &*names {
            [] => vec![],
            names => tx.query(
                "SELECT name_hash FROM reserved_names
                 WHERE name_hash IN rarray(?1) AND erased_at > ?2",
                &params![names, cx.now.plus(-cx.names.kept)],
                hash,
            )?,
        };
        Ok(Self { ids: ids.into_iter().collect(), names: names.into_iter().collect() })
    }

    /// Whether there can be no such user: an external id is given again only where the app says so.
    fn refuses(&self, new: &New<'_>) -> bool {
        let (id, name) = &new.hashes;
        (!new.put.change.recreate && self.ids.contains(id))
            || name.as_ref().is_some_and(|name| self.names.contains(name))
    }
}

/// Inserts the rows. Returns the ids of those that are new, by external id.
fn insert(tx: &mut Tx<'_>, cx: &Cx, new: &[(usize, New<'_>)]) -> Result<HashMap<String, UserId>> {
    let rows = new.iter().map(|(_, new)| {
        let change = &new.put.change;
        let email = change.email.as_ref().and_then(Option::as_ref);
        params![
            new.username.map_or("", Username::shown),
            new.username.map_or(new.nameless.as_str(), Username::folded),
            new.shown().map_or("", DisplayName::shown),
            new.shown().map_or("", DisplayName::folded),
            email.map_or("", Email::as_str),
            cx.now,
            new.external_id,
            new.disabled_at(cx),
            (change.reminders.flatten() == Some(false)).then_some(cx.now),
            change.findable.flatten().unwrap_or(true),
            change.version.flatten(),
            new.kind() as i64
        ]
    });
    let rows: Vec<_> = rows.collect();
    tx.batch(
        "INSERT INTO users (name, name_folded, display_name, display_folded, words_of, email,
             password_hash, created_at, updated_at, external_id, disabled_at, reminders_off_at,
             findable, app_version, kind)
         VALUES (?1, ?2, ?3, ?4, ?1 || ' ' || ?3, ?5, '', ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT DO NOTHING",
        &rows,
    )?;
    // After the insert, which waits for the one who has the external id or the name: they may just
    // be erasing it.
    let taken = Taken::find(tx, cx, new)?;
    // A user without a mailbox is one of ours: asked for by a subquery that PostgreSQL makes no
    // join of, as that could read all mailboxes.
    let refused = new.iter().filter(|(_, new)| taken.refuses(new));
    let refused: Vec<_> = refused.map(|(_, new)| params![new.external_id]).collect();
    tx.batch(
        "DELETE FROM users WHERE external_id = ?1
         AND (SELECT 1 FROM mailboxes WHERE owner_id = users.id) IS NULL",
        &refused,
    )?;
    let ids: Vec<_> = new.iter().map(|(_, new)| new.external_id.to_owned()).collect();
    let ours = tx.query(
        "SELECT id, external_id FROM users WHERE external_id IN rarray(?1)
         AND (SELECT 1 FROM mailboxes WHERE owner_id = users.id) IS NULL",
        &params![&*ids],
        |row| Ok((row.text(1)?.to_owned(), UserId::stored(row.int(0)?))),
    )?;
    let ours: HashMap<_, _> = ours.into_iter().collect();
    let recreated = new.iter().map(|(_, new)| new);
    let recreated = recreated.filter(|new| taken.ids.contains(&new.hashes.0));
    let recreated: Vec<_> = recreated.filter(|new| ours.contains_key(new.external_id)).collect();
    // JWTs name the external id, and those of who had it before must not open the new mailbox.
    let users: Vec<_> = recreated.iter().map(|new| params![new.external_id, cx.now]).collect();
    tx.batch("UPDATE users SET tokens_revoked_at = ?2 WHERE external_id = ?1", &users)?;
    let buried: Vec<_> = recreated.iter().map(|new| params![&*new.hashes.0]).collect();
    tx.batch("DELETE FROM erased_external_ids WHERE id_hash = ?1", &buried)?;
    Ok(ours)
}

/// Gives a name to those who have none. Returns the ids and usernames of all, in their order.
fn name(
    tx: &mut Tx<'_>,
    new: &[(usize, New<'_>)],
    ids: &HashMap<String, UserId>,
) -> Result<Vec<(UserId, String)>> {
    let nameless = new.iter().filter(|(_, new)| new.username.is_none());
    let nameless: Vec<_> = nameless.map(|(_, new)| ids[new.external_id]).collect();
    let generated = |id: &UserId| Username::generated(*id).folded().to_owned();
    // Somebody may have registered it before such names were reserved.
    let taken = match &*nameless {
        [] => vec![],
        ids => {
            resolve_all(tx, &ids.iter().map(|id| UserRef::Name(generated(id))).collect::<Vec<_>>())?
        }
    };
    let all = nameless.iter().zip(&taken);
    let free: Vec<_> =
        all.clone().filter(|(_, taken)| taken.is_none()).map(|(id, _)| id.get()).collect();
    let twice: BTreeMap<_, _> = all
        .filter(|(_, taken)| taken.is_some())
        .map(|(id, _)| (*id, format!("{}-{}", generated(id), id.get())))
        .collect();
    if !free.is_empty() {
        tx.execute(
            "UPDATE users SET name = 'user-' || id, name_folded = 'user-' || id,
                 words_of = 'user-' || id || ' ' || display_name
             WHERE id IN rarray(?1)",
            &params![&*free],
        )?;
    }
    let rows: Vec<_> = twice.iter().map(|(id, name)| params![*id, name.as_str()]).collect();
    tx.batch(
        "UPDATE users SET name = ?2, name_folded = ?2, words_of = ?2 || ' ' || display_name
         WHERE id = ?1",
        &rows,
    )?;
    let named = new.iter().map(|(_, new)| {
        let id = ids[new.external_id];
        let given = new.username.map(|name| name.shown().to_owned());
        let name = given.or_else(|| twice.get(&id).cloned()).unwrap_or_else(|| generated(&id));
        (id, name)
    });
    Ok(named.collect())
}
