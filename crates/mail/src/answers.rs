//! Answers that are kept for a day, so that a request that is sent again does nothing again.

use db::{Tx, params};
use sha2::{Digest as _, Sha256};

use crate::{Cx, Error, Result, Time, UserId};

/// How long an answer is kept.
pub const KEPT: i64 = Time::DAY;

/// A request that carries a key of its author's choice. Both hashes are all that is stored of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    owner: Option<UserId>,
    key: [u8; 32],
    body: [u8; 32],
}

impl Request {
    /// A request of a user, or of somebody who is not logged in. The same key is another one at
    /// another route, and of another user.
    pub fn new(owner: Option<UserId>, route: &str, key: &str, body: &[u8]) -> Self {
        let key = key.as_bytes();
        // A body may hold a password: without the key, its hash is not enough to try guesses.
        Self { owner, key: hash(route.as_bytes(), key), body: hash(body, key) }
    }

    fn owner(&self) -> i64 {
        self.owner.map_or(0, UserId::get)
    }
}

/// With the length in front, so that no two pairs are the same bytes.
fn hash(one: &[u8], other: &[u8]) -> [u8; 32] {
    let length = (one.len() as u64).to_be_bytes();
    Sha256::new().chain_update(length).chain_update(one).chain_update(other).finalize().into()
}

/// An answer as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The answer.
    pub answer: Vec<u8>,
    /// What was handed in with it.
    pub nonce: [u8; 16],
}

/// The answer that was given to this request before.
///
/// # Errors
/// [`Error::KeyReused`] where the key came with another body.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, request: &Request) -> Result<Option<Kept>> {
    let found = tx.query_opt(
        "SELECT request_hash, nonce, answer FROM kept_answers
         WHERE owner_id = ?1 AND key_hash = ?2 AND over_at > ?3",
        &params![request.owner(), &request.key, cx.now],
        |row| {
            let same = row.blob(0)? == request.body;
            let wrong = |_| db::Error::Column { column: 1, expected: "16 bytes" };
            let nonce = row.blob(1)?.try_into().map_err(wrong)?;
            Ok(same.then_some(Kept { answer: row.blob(2)?.to_owned(), nonce }))
        },
    )?;
    found.map(|kept| kept.ok_or(Error::KeyReused)).transpose()
}

/// Makes sure that nobody else does the same request at this moment, on any node: who comes second
/// waits, and finds the answer of the first.
pub fn claim(tx: &mut Tx<'_>, request: &Request) -> Result<()> {
    tx.lock(
        "INSERT INTO kept_answers (owner_id, key_hash, request_hash, nonce, answer, over_at)
         VALUES (?1, ?2, ?3, '', '', 0)
         ON CONFLICT (owner_id, key_hash) DO UPDATE SET over_at = kept_answers.over_at",
        &params![request.owner(), &request.key, &request.body],
    )?;
    Ok(())
}

/// Keeps the answer to a request, in the transaction of what the request did and after [`find`]
/// found none.
///
/// # Errors
/// [`db::Error::Busy`] where the same was done elsewhere since: what is kept is never replaced.
pub fn keep(
    tx: &mut Tx<'_>,
    cx: &Cx,
    request: &Request,
    nonce: &[u8; 16],
    answer: &[u8],
) -> Result<()> {
    let kept = tx.execute(
        "INSERT INTO kept_answers (owner_id, key_hash, request_hash, nonce, answer, over_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (owner_id, key_hash) DO UPDATE SET request_hash = ?3, nonce = ?4,
             answer = ?5, over_at = ?6
         WHERE kept_answers.over_at <= ?7",
        &params![
            request.owner(),
            &request.key,
            &request.body,
            nonce,
            answer,
            cx.now.plus(KEPT),
            cx.now
        ],
    )?;
    if kept == 1 { Ok(()) } else { Err(db::Error::Busy.into()) }
}

/// Removes up to `limit` answers that are kept no more, the oldest first; how many there were.
pub fn sweep(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let over = tx.query(
        "SELECT owner_id, key_hash FROM kept_answers WHERE over_at <= ?1
         ORDER BY over_at LIMIT ?2",
        &params![cx.now, limit],
        |row| Ok((row.int(0)?, row.blob(1)?.to_owned())),
    )?;
    let rows: Vec<_> =
        over.iter().map(|(owner, key)| params![*owner, key.as_slice(), cx.now]).collect();
    // One of them may have been kept anew since.
    Ok(tx.batch(
        "DELETE FROM kept_answers WHERE owner_id = ?1 AND key_hash = ?2 AND over_at <= ?3",
        &rows,
    )?)
}
