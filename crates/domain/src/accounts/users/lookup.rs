//! Finding users by the beginning of a name, and the words by which they are found.

use std::collections::BTreeSet;

use db::{Row, Tx, params};

use super::people::{Person, person_columns};
use crate::base::text::fold;
use crate::base::words::{first_words, words};
use crate::base::{Result, UserId};

/// The most users that a look-up by prefix finds.
pub const LOOKED_UP: i64 = 20;
/// What a look-up reads at most: names that begin like this, also of users who cannot be found, and
/// contacts each way. A name that is exactly this one is the first.
const READ: i64 = 5_000;
/// The same at once.
const STEP: i64 = 500;
/// Words of a name by which its user is found; further words are ignored. In scripts without
/// spaces, each character counts as a word.
const WORDS: usize = 32;
/// Characters of a word with what follows it, and of what is looked for; PostgreSQL takes no long
/// keys.
const CHARS: usize = 64;

/// Up to `limit`, at most [`LOOKED_UP`], users whose username, or any word of whose names, begins
/// with this; only contacts of `of`, where that is given: whom they have written to, or who have
/// written to them. Case and accents do not count in words. First come those whose username is
/// this, then those who have this as a name or as its end, then usernames that begin with it. Left
/// out are disabled and erased users, those who are not findable, and system users; a prefix
/// without a letter or digit, or like an e-mail address, is looked for in usernames only, an empty
/// one finds nobody.
///
/// It reads up to 5,000 names, and among contacts up to 5,000 each way, those with the newest
/// accounts; so of more, some may not be found before the prefix is longer.
pub fn lookup(
    tx: &mut Tx<'_>,
    prefix: &str,
    limit: i64,
    of: Option<UserId>,
) -> Result<Vec<Person>> {
    let limit = limit.clamp(0, LOOKED_UP);
    let username = fold(prefix);
    let mut found = match of {
        None => walk(tx, BY_USERNAME, &username, limit, found_by_username)?,
        Some(of) => among_contacts(tx, &username, of, [NAMED_WRITTEN_TO, NAMED_WRITERS], |row| {
            found_by_username(row, &username)
        })?,
    };
    // Nobody is found by an e-mail address, nor should it look as if they were.
    if !prefix.trim_start_matches('@').contains('@') {
        let word = joined(&words(prefix));
        found.extend(match of {
            None => walk(tx, BY_WORD, &word, limit, found_by_word)?,
            Some(of) => among_contacts(tx, &word, of, [KNOWN_WRITTEN_TO, KNOWN_WRITERS], |row| {
                found_by_word(row, &word)
            })?,
        });
    }
    // A stable sort: where two match alike, the username goes before the words.
    found.sort_by(|one, other| (one.rank, &one.text).cmp(&(other.rank, &other.text)));
    let mut people: Vec<Person> = Vec::new();
    for Found { person, .. } in found {
        if !people.iter().any(|known| known.id == person.id) {
            people.push(person);
        }
    }
    people.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(people)
}

/// Who was found, by which text, and how good that is; 0 is best.
struct Found {
    rank: u8,
    text: String,
    person: Person,
}

/// From the columns of a person and `name_folded`.
fn found_by_username(row: &Row<'_>, prefix: &str) -> db::Result<Found> {
    let text = row.text(5)?.to_owned();
    Ok(Found { rank: if text == prefix { 0 } else { 2 }, text, person: Person::read(row)? })
}

/// From the columns of a person and `word`.
fn found_by_word(row: &Row<'_>, prefix: &str) -> db::Result<Found> {
    let (text, person) = (row.text(5)?.to_owned(), Person::read(row)?);
    let is_username = joined(&words(&person.username)).starts_with(prefix);
    let rank = if is_username { 2 } else { 3 };
    Ok(Found { rank: if text == prefix { 1 } else { rank }, text, person })
}

/// Who can be found at all.
macro_rules! findable {
    () => {
        "users.disabled_at IS NULL AND users.findable = 1 AND users.kind = 0"
    };
}

const BY_USERNAME: &str = concat!(
    "SELECT ",
    person_columns!(),
    ", name_folded, ",
    findable!(),
    " FROM users WHERE name_folded >= ?1 AND name_folded < ?2
     AND (name_folded > ?1 OR users.id > ?3) ORDER BY name_folded LIMIT ?4"
);
const BY_WORD: &str = concat!(
    "SELECT ",
    person_columns!(),
    ", word, ",
    findable!(),
    " FROM name_words JOIN users ON users.id = name_words.user_id
     WHERE word >= ?1 AND word < ?2 AND (word > ?1 OR name_words.user_id > ?3)
     ORDER BY word, name_words.user_id LIMIT ?4"
);

/// Reads on until there are enough users, as one may have many words that begin alike, and others
/// cannot be found.
fn walk(
    tx: &mut Tx<'_>,
    sql: &'static str,
    prefix: &str,
    limit: i64,
    read: fn(&Row<'_>, &str) -> db::Result<Found>,
) -> Result<Vec<Found>> {
    let Some(end) = successor(prefix) else { return Ok(vec![]) };
    let most = usize::try_from(limit).unwrap_or_default();
    let (mut found, mut users): (Vec<Found>, BTreeSet<UserId>) = (vec![], BTreeSet::new());
    let (mut text, mut user, mut rows, mut left) = (prefix.to_owned(), 0, limit, READ);
    loop {
        let page = tx.query(sql, &params![text.as_str(), end.as_str(), user, rows], |row| {
            Ok((read(row, prefix)?, row.flag(6)?))
        })?;
        let full = i64::try_from(page.len()).is_ok_and(|length| length == rows);
        if let Some((last, _)) = page.last() {
            (text, user) = (last.text.clone(), last.person.id.get());
        }
        let before = found.len();
        found.extend(page.into_iter().filter(|(_, findable)| *findable).map(|(found, _)| found));
        users.extend(found[before..].iter().map(|found| found.person.id));
        left -= rows;
        if !full || users.len() >= most || left <= 0 {
            return Ok(found);
        }
        rows = (4 * rows).min(STEP).min(left);
    }
}

/// A statement that finds up to ?4 contacts of the user ?1 by a text from ?2, and before ?3.
macro_rules! contacts {
    ($text:literal, $join:literal, $contact:literal, $of:literal) => {
        concat!(
            "SELECT ",
            person_columns!(),
            ", ",
            $text,
            " FROM (SELECT ",
            $contact,
            " FROM contacts WHERE ",
            $of,
            " = ?1 ORDER BY ",
            $contact,
            " DESC LIMIT ?4) AS known JOIN users ON users.id = known.",
            $contact,
            $join,
            " WHERE ",
            $text,
            " >= ?2 AND ",
            $text,
            " < ?3 AND ",
            findable!()
        )
    };
}

const NAMED_WRITTEN_TO: &str = contacts!("name_folded", "", "peer_id", "owner_id");
const NAMED_WRITERS: &str = contacts!("name_folded", "", "owner_id", "peer_id");
const KNOWN_WRITTEN_TO: &str =
    contacts!("word", " JOIN name_words ON name_words.user_id = users.id", "peer_id", "owner_id");
const KNOWN_WRITERS: &str =
    contacts!("word", " JOIN name_words ON name_words.user_id = users.id", "owner_id", "peer_id");

fn among_contacts(
    tx: &mut Tx<'_>,
    prefix: &str,
    of: UserId,
    both_ways: [&'static str; 2],
    read: impl Fn(&Row<'_>) -> db::Result<Found>,
) -> Result<Vec<Found>> {
    let Some(end) = successor(prefix) else { return Ok(vec![]) };
    let mut found = Vec::new();
    for sql in both_ways {
        found.extend(tx.query(sql, &params![of, prefix, end.as_str(), READ], &read)?);
    }
    Ok(found)
}

/// Replaces the words by which a user is found by those of their names. It is the caller's to
/// record the names in `words_of`.
pub(super) fn set_words(tx: &mut Tx<'_>, user: UserId, name: &str, shown: &str) -> Result<()> {
    tx.execute("DELETE FROM name_words WHERE user_id = ?1", &params![user])?;
    add_words(tx, &[(user, name, shown)])
}

/// The same for users who have none, by their username and display name.
pub(super) fn add_words(tx: &mut Tx<'_>, named: &[(UserId, &str, &str)]) -> Result<()> {
    let all = named.iter().map(|(user, name, shown)| {
        // A word of 64 characters has at most as many others with it.
        let shown = first_words(shown, WORDS + CHARS);
        let starts = (0..shown.len().min(WORDS)).map(|start| joined(&shown[start..]));
        let mut all: BTreeSet<String> = starts.chain([joined(&words(name))]).collect();
        all.remove("");
        (*user, all)
    });
    let all: Vec<_> = all.collect();
    let rows =
        all.iter().flat_map(|(user, all)| all.iter().map(|word| params![*user, word.as_str()]));
    let rows: Vec<_> = rows.collect();
    tx.batch("INSERT INTO name_words (user_id, word) VALUES (?1, ?2)", &rows)?;
    Ok(())
}

/// Makes the words of up to `limit` users whose words are not those of their names: of accounts
/// from before there were any, and where a node of an older version changed a name or erased its
/// user. Returns how many there were.
pub fn index_names(tx: &mut Tx<'_>, limit: i64) -> Result<u64> {
    let stale = tx.query(
        "SELECT id FROM users WHERE words_of IS DISTINCT FROM name || ' ' || display_name
         ORDER BY id LIMIT ?1",
        &params![limit],
        |row| Ok(UserId::stored(row.int(0)?)),
    )?;
    for user in &stale {
        super::lock(tx, *user)?;
        let names = tx.query_opt(
            "SELECT name, display_name FROM users WHERE id = ?1",
            &params![*user],
            |row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())),
        )?;
        if let Some((name, shown)) = names {
            set_words(tx, *user, &name, &shown)?;
            tx.execute(
                "UPDATE users SET words_of = name || ' ' || display_name WHERE id = ?1",
                &params![*user],
            )?;
        }
    }
    Ok(stale.len() as u64)
}

/// Words as one text, cut to the length that is stored.
fn joined(words: &[String]) -> String {
    let mut text = words[..words.len().min(CHARS)].join(" ");
    if let Some((end, _)) = text.char_indices().nth(CHARS) {
        text.truncate(end);
    }
    text
}

/// The first text after all that begin with this one, by scalar values; `None` where there is none,
/// as for the empty text.
fn successor(prefix: &str) -> Option<String> {
    let mut start = prefix.to_owned();
    while let Some(last) = start.pop() {
        // The successor of U+D7FF is U+E000: what is between them is no character.
        if let Some(next) = (last..=char::MAX).nth(1) {
            start.push(next);
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn the_successor_ends_the_range_of_a_beginning() {
        let successors = [
            ("a", Some("b")),
            ("da", Some("db")),
            ("\u{7f}", Some("\u{80}")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("\u{ffff}", Some("\u{10000}")),
            ("a\u{10ffff}", Some("b")),
            ("a\u{10ffff}\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ];
        for (prefix, end) in successors {
            assert_eq!(successor(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
