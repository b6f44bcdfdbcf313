//! Idempotency: responses are stored for a day, so that a request that is sent again has no second
//! effect.

use crate::base::{Cx, Error, Result, Time, UserId};
use db::{Tx, params};
use sha2::{Digest as _, Sha256};

/// How long a response is stored.
pub const KEPT: i64 = Time::DAY;

/// A request with an idempotency key. Only hashes of it are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyedRequest {
    owner: Option<UserId>,
    key: [u8; 32],
    body: [u8; 32],
}

impl KeyedRequest {
    /// A request of a user, or of a caller who is not signed in. Keys are separate for each route
    /// and each user.
    pub fn new(owner: Option<UserId>, route: &str, key: &str, body: &[u8]) -> Self {
        let key = key.as_bytes();
        // A body may hold a password. Its hash includes the key, so guesses cannot be tried
        // without it.
        Self { owner, key: hash(route.as_bytes(), key), body: hash(body, key) }
    }

    fn owner(&self) -> i64 {
        self.owner.map_or(0, UserId::get)
    }
}

/// The length comes first, so that two different pairs are never the same bytes.
fn hash(one: &[u8], other: &[u8]) -> [u8; 32] {
    let length = (one.len() as u64).to_be_bytes();
    Sha256::new().chain_update(length).chain_update(one).chain_update(other).finalize().into()
}

/// A stored response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The response.
    pub response: Vec<u8>,
    /// The nonce that was stored with it.
    pub nonce: [u8; 16],
}

/// The response that this request got before.
///
/// # Errors
/// [`Error::KeyReused`] where the key came with another body.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, request: &KeyedRequest) -> Result<Option<StoredResponse>> {
    let found = tx.query_opt(
        "SELECT request_hash, nonce, response FROM stored_responses
         WHERE owner_id = ?1 AND key_hash = ?2 AND expires_at > ?3",
        &params![request.owner(), &request.key, cx.now],
        |row| {
            let same = row.blob(0)? == request.body;
            let wrong = |_| db::Error::Column { column: 1, expected: "16 bytes" };
            let nonce = row.blob(1)?.try_into().map_err(wrong)?;
            Ok(same.then_some(StoredResponse { response: row.blob(2)?.to_owned(), nonce }))
        },
    )?;
    found.map(|stored| stored.ok_or(Error::KeyReused)).transpose()
}

/// Makes sure that the same request is not processed elsewhere at the same time, on any node: the
/// second waits for the first and finds its response.
pub fn claim(tx: &mut Tx<'_>, request: &KeyedRequest) -> Result<()> {
    tx.lock(
        "INSERT INTO stored_responses
         (owner_id, key_hash, request_hash, nonce, response, expires_at)
         VALUES (?1, ?2, ?3, '', '', 0)
         ON CONFLICT (owner_id, key_hash) DO UPDATE SET expires_at = stored_responses.expires_at",
        &params![request.owner(), &request.key, &request.body],
    )?;
    Ok(())
}

/// Stores the response to a request, in the transaction of the request's effect, after [`find`]
/// found none.
///
/// # Errors
/// [`db::Error::Busy`] where the same request was processed elsewhere since: a stored response is
/// never replaced.
pub fn store(
    tx: &mut Tx<'_>,
    cx: &Cx,
    request: &KeyedRequest,
    nonce: &[u8; 16],
    response: &[u8],
) -> Result<()> {
    let stored = tx.execute(
        "INSERT INTO stored_responses
         (owner_id, key_hash, request_hash, nonce, response, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (owner_id, key_hash) DO UPDATE SET request_hash = ?3, nonce = ?4,
             response = ?5, expires_at = ?6
         WHERE stored_responses.expires_at <= ?7",
        &params![
            request.owner(),
            &request.key,
            &request.body,
            nonce,
            response,
            cx.now.plus(KEPT),
            cx.now
        ],
    )?;
    if stored == 1 { Ok(()) } else { Err(db::Error::Busy.into()) }
}

/// Forgets the response of a request that is to be done again, before [`store`].
pub fn forget(tx: &mut Tx<'_>, request: &KeyedRequest) -> Result<()> {
    tx.execute(
        "UPDATE stored_responses SET expires_at = 0 WHERE owner_id = ?1 AND key_hash = ?2",
        &params![request.owner(), &request.key],
    )?;
    Ok(())
}

/// Removes up to `limit` expired responses, oldest first. Returns how many there were.
pub fn purge(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let expired = tx.query(
        "SELECT owner_id, key_hash FROM stored_responses WHERE expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
        &params![cx.now, limit],
        |row| Ok((row.int(0)?, row.blob(1)?.to_owned())),
    )?;
    let rows: Vec<_> =
        expired.iter().map(|(owner, key)| params![*owner, key.as_slice(), cx.now]).collect();
    // One of them may have been stored again since.
    Ok(tx.batch(
        "DELETE FROM stored_responses WHERE owner_id = ?1 AND key_hash = ?2 AND expires_at <= ?3",
        &rows,
    )?)
}
