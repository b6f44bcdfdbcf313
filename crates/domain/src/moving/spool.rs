//! What an import has read, in a temporary database: memory stays bounded however long the file.

use db::{Migration, Row, Tx, params};

use super::fields::Problem;
use super::line::Line;
use crate::base::text::{ExternalId, Username};
use crate::base::{Result, Time};
use crate::outbox::known_time::FAR;

/// The schema of the temporary database.
pub const SPOOL: &[Migration] =
    &[Migration { version: 1, name: "spool", sql: include_str!("spool.sql"), oldest: 1 }];

/// A number above every id that a message keeps.
const NO_NUMBER: i64 = i64::MAX;
/// Bytes of lines that are read at once, but for one that is longer.
const BYTES: i64 = 8 << 20;
/// How often replies are moved behind what they answer: longer chains of the same moment, and
/// circles, are refused.
const ROUNDS: u32 = 1000;

/// A line that was read, with its text.
#[derive(Debug, Clone)]
pub struct Spooled {
    /// Its number.
    pub line: i64,
    /// What it says.
    pub content: Line,
    /// Its text, which is read again when it is written.
    pub text: String,
}

/// A message in its turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Where it stands.
    pub place: i64,
    /// The number of its line.
    pub line: i64,
    /// When it was sent, or where it stands behind what it answers.
    pub sorted_at: Time,
    /// The text of its line.
    pub text: String,
    /// The number that it can have as its id, and still leave theirs to all that follow.
    pub number: Option<i64>,
    /// Other messages of the file answer it, or go on with its conversation.
    pub has_replies: bool,
}

/// Adds lines.
pub fn add(tx: &mut Tx<'_>, lines: &[Spooled]) -> Result<()> {
    let (mut users, mut messages, mut others) = (vec![], vec![], vec![]);
    for Spooled { line, content, text } in lines {
        match content {
            Line::User(user) => users.push(params![
                *line,
                user.id,
                user.external_id.as_ref().map(ExternalId::as_str),
                user.username.as_ref().map(Username::folded),
                text.as_str()
            ]),
            Line::Message(message) => {
                let (parent, conversation) = (&message.in_reply_to, &message.conversation);
                messages.push(params![
                    *line,
                    message.external_id.as_str(),
                    message.sent_at,
                    parent.as_deref().or(conversation.as_deref()),
                    conversation.as_deref(),
                    number(&message.external_id).unwrap_or(NO_NUMBER),
                    text.as_str()
                ]);
            }
            Line::Block(_) | Line::Mute(_) | Line::Contact(_) => {
                others.push(params![*line, text.as_str()]);
            }
            Line::Login => {}
        }
    }
    tx.batch(
        "INSERT INTO users (line, id, external_id, folded, content) VALUES (?1, ?2, ?3, ?4, ?5)",
        &users,
    )?;
    tx.batch(
        "INSERT INTO messages (line, external_id, sent_at, sorted_at, parent, conversation, number,
             content)
         VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7)",
        &messages,
    )?;
    tx.batch("INSERT INTO others (line, content) VALUES (?1, ?2)", &others)?;
    Ok(())
}

/// The id that an external id of digits asks for.
fn number(external_id: &str) -> Option<i64> {
    let is_number =
        !external_id.starts_with('0') && external_id.bytes().all(|b| b.is_ascii_digit());
    external_id.parse().ok().filter(|number| is_number && *number <= super::LARGEST)
}

/// What lines of the file say against each other, as far as no database has to be asked.
pub fn compare(tx: &mut Tx<'_>) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut find = |sql, pointer: &str, code, detail: &str| {
        let lines = tx.query(sql, &params![], |row| row.int(0))?;
        problems.extend(lines.into_iter().map(|line| Problem {
            line,
            pointer: pointer.to_owned(),
            code,
            detail: detail.to_owned(),
        }));
        Ok::<_, crate::Error>(())
    };
    find(
        "SELECT line FROM users WHERE EXISTS (SELECT 1 FROM users AS other
             WHERE other.id = users.id AND other.line < users.line) ORDER BY line",
        "/user/id",
        "duplicate",
        "a line before has the same id",
    )?;
    find(
        "SELECT line FROM users WHERE EXISTS (SELECT 1 FROM users AS other
             WHERE other.external_id = users.external_id AND other.line < users.line)
         ORDER BY line",
        "/user/external_id",
        "duplicate",
        "a line before has the same external_id",
    )?;
    find(
        "SELECT line FROM users WHERE EXISTS (SELECT 1 FROM users AS other
             WHERE other.folded = users.folded AND other.line < users.line) ORDER BY line",
        "/user/username",
        "duplicate",
        "a line before has the same username, as upper and lower case are the same",
    )?;
    find(
        "SELECT line FROM messages WHERE EXISTS (SELECT 1 FROM messages AS other
             WHERE other.external_id = messages.external_id AND other.line < messages.line)
         ORDER BY line",
        "/message/external_id",
        "duplicate",
        "a line before has the same external_id",
    )?;
    Ok(problems)
}

/// Puts the messages in order: by their times, but each behind the one that it answers, as a clock
/// may have been set back. Returns those that answer each other in a circle, and those that would
/// come so long after their time that a check of the database finds it.
pub fn arrange(tx: &mut Tx<'_>) -> Result<Vec<Problem>> {
    let behind = "UPDATE messages SET sorted_at =
             (SELECT other.sorted_at + 1 FROM messages AS other
              WHERE other.external_id = messages.parent)
         WHERE parent IS NOT NULL AND sorted_at <=
             (SELECT other.sorted_at FROM messages AS other
              WHERE other.external_id = messages.parent)";
    let mut rounds = 0;
    while rounds < ROUNDS && tx.execute(behind, &params![])? > 0 {
        rounds += 1;
    }
    let mut problems = tx.query(
        "SELECT line FROM messages WHERE parent IS NOT NULL AND sorted_at <=
             (SELECT other.sorted_at FROM messages AS other
              WHERE other.external_id = messages.parent) ORDER BY line",
        &params![],
        |row| {
            Ok(Problem {
                line: row.int(0)?,
                pointer: "/message/in_reply_to".to_owned(),
                code: "circle",
                detail: "it answers a message that answers it".to_owned(),
            })
        },
    )?;
    problems.extend(tx.query(
        "SELECT line FROM messages WHERE sorted_at > sent_at + ?1 ORDER BY line",
        &params![FAR],
        |row| {
            Ok(Problem {
                line: row.int(0)?,
                pointer: "/message/sent_at".to_owned(),
                code: "before_parent",
                detail: "it is more than three days before a message that it answers, or that the \
                         messages before it answer"
                    .to_owned(),
            })
        },
    )?);
    tx.execute("DELETE FROM ordered", &params![])?;
    tx.execute(
        "INSERT INTO ordered (place, line, floor)
         SELECT row_number() OVER (ORDER BY sorted_at, line), line, floor FROM
             (SELECT sorted_at, line, min(number) OVER (ORDER BY sorted_at DESC, line DESC
                 ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS floor
              FROM messages) AS floors",
        &params![],
    )?;
    Ok(problems)
}

/// Up to `limit` user lines after a line: their numbers and texts.
pub fn users(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<(i64, String)>> {
    let sql = "SELECT line, content FROM users WHERE line > ?1 ORDER BY line LIMIT ?2";
    Ok(tx.query(sql, &params![after, limit], pair)?)
}

/// The same of blocks, mutes and contacts.
pub fn others(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<(i64, String)>> {
    let sql = "SELECT line, content FROM others WHERE line > ?1 ORDER BY line LIMIT ?2";
    Ok(tx.query(sql, &params![after, limit], pair)?)
}

/// Up to `limit` messages after a place, in their order: fewer where they are long.
pub fn messages(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<Turn>> {
    let sizes = tx.query(
        "SELECT place, octet_length(content) FROM ordered
         JOIN messages ON messages.line = ordered.line
         WHERE place > ?1 ORDER BY place LIMIT ?2",
        &params![after, limit],
        |row| Ok((row.int(0)?, row.int(1)?)),
    )?;
    let mut bytes = 0;
    let fits = sizes.iter().skip(1).take_while(|(_, size)| {
        bytes += size;
        bytes < BYTES
    });
    let last = fits.last().or(sizes.first()).map_or(after, |(place, _)| *place);
    Ok(tx.query(
        "SELECT place, messages.line, content, number, floor,
             EXISTS (SELECT 1 FROM messages AS reply WHERE reply.parent = messages.external_id),
             sorted_at
         FROM ordered JOIN messages ON messages.line = ordered.line
         WHERE place > ?1 AND place <= ?2 ORDER BY place",
        &params![after, last],
        |row| {
            let (number, floor) = (row.int(3)?, row.int(4)?);
            Ok(Turn {
                place: row.int(0)?,
                line: row.int(1)?,
                sorted_at: Time(row.int(6)?),
                text: row.text(2)?.to_owned(),
                number: Some(number).filter(|number| *number == floor && floor != NO_NUMBER),
                has_replies: row.int(5)? == 1,
            })
        },
    )?)
}

/// The highest id that a user line names, or 0.
pub fn highest_id(tx: &mut Tx<'_>) -> Result<i64> {
    let sql = "SELECT max(id) FROM users WHERE id IS NOT NULL";
    Ok(tx.query_one(sql, &params![], |row| row.opt_int(0))?.unwrap_or(0))
}

/// Which of some external ids of messages are in the file.
pub fn known(tx: &mut Tx<'_>, external_ids: &[String]) -> Result<Vec<String>> {
    let sql = "SELECT external_id FROM messages WHERE external_id IN rarray(?1)";
    Ok(tx.query(sql, &params![external_ids], |row| Ok(row.text(0)?.to_owned()))?)
}

/// Which of some conversations the file begins or names.
pub fn conversations(tx: &mut Tx<'_>, names: &[String]) -> Result<Vec<String>> {
    let sql = "SELECT external_id FROM messages WHERE external_id IN rarray(?1)
         UNION SELECT conversation FROM messages WHERE conversation IN rarray(?1)";
    Ok(tx.query(sql, &params![names], |row| Ok(row.text(0)?.to_owned()))?)
}

/// How many of the messages in order can have the number that they ask for as their id.
pub fn numbered(tx: &mut Tx<'_>) -> Result<i64> {
    let sql = "SELECT count(*) FROM ordered JOIN messages ON messages.line = ordered.line
         WHERE number = floor AND number < ?1";
    Ok(tx.query_one(sql, &params![NO_NUMBER], |row| row.int(0))?)
}

/// How many users and messages there are, and when the first and the last was sent.
pub fn summary(tx: &mut Tx<'_>) -> Result<Summary> {
    let users = tx.query_one("SELECT count(*) FROM users", &params![], |row| row.int(0))?;
    let others = tx.query_one("SELECT count(*) FROM others", &params![], |row| row.int(0))?;
    let sql = "SELECT count(*), min(sent_at), max(sent_at) FROM messages";
    let (messages, first, last) = tx.query_one(sql, &params![], |row| {
        Ok((row.int(0)?, row.opt_int(1)?.map(Time), row.opt_int(2)?.map(Time)))
    })?;
    Ok(Summary { users, messages, others, span: first.zip(last) })
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// User lines.
    pub users: i64,
    /// Message lines.
    pub messages: i64,
    /// Blocks, mutes and contacts.
    pub others: i64,
    /// When the first and the last message was sent.
    pub span: Option<(Time, Time)>,
}

fn pair(row: &Row<'_>) -> db::Result<(i64, String)> {
    Ok((row.int(0)?, row.text(1)?.to_owned()))
}
