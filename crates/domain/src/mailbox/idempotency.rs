//! Idempotency: responses are stored for a day, so that a request that is sent again has no second
//! effect. How many a holder has is counted, so that nobody fills the disk with them.

use crate::base::{Cx, Error, Exceeded, Result, Time, UserId};
use db::{Tx, params};
use sha2::{Digest as _, Sha256};

/// How long a response is stored.
pub const KEPT: i64 = Time::DAY;
/// So many responses are stored for a holder.
pub const MAX_RESPONSES: i64 = 10_000;
/// No more are stored for a holder who has so many bytes of them.
pub const MAX_BYTES: i64 = 16 << 20;
/// When to try again where it is not known when the first of them expires: some do all the time.
const SOON: i64 = Time::MINUTE;

/// Whose response is stored. Each has idempotency keys of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A user.
    User(UserId),
    /// The app's own server, by the number of its key. It counts as 256 holders, by the idempotency
    /// key: so its requests do not wait for each other, and it has as much as it needs.
    ServerKey(i64),
    /// Somebody who is not signed in, by a keyed hash of the name that they give.
    Name([u8; 32]),
}

impl Holder {
    fn owner(&self) -> i64 {
        match self {
            Self::User(user) => user.get(),
            Self::ServerKey(_) | Self::Name(_) => 0,
        }
    }

    /// Positive for users; below -2^62 for names, and above for server keys.
    fn id(&self, key: &[u8; 32]) -> i64 {
        match self {
            Self::User(user) => user.get(),
            Self::ServerKey(number) => -(number * 256 + i64::from(key[0])),
            Self::Name(hash) => {
                let (first, _) = hash.split_first_chunk().expect("it has 32 bytes");
                i64::MIN | (i64::from_be_bytes(*first) & i64::MAX >> 1)
            }
        }
    }
}

/// A request with an idempotency key. Only hashes of it are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyedRequest {
    owner: i64,
    holder: i64,
    key: [u8; 32],
    body: [u8; 32],
}

impl KeyedRequest {
    /// A request of a holder. Keys are separate for each route and each user.
    pub fn new(holder: Holder, route: &str, key: &str, body: &[u8]) -> Self {
        let key = key.as_bytes();
        // A body may hold a password. Its hash includes the key, so guesses cannot be tried
        // without it.
        let (body, key) = (hash(body, key), hash(route.as_bytes(), key));
        Self { owner: holder.owner(), holder: holder.id(&key), key, body }
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
/// [`Error::KeyReused`] where the key came with another body; [`Error::TooManyKeys`] where there is
/// none and the holder can have no more.
pub fn find(tx: &mut Tx<'_>, cx: &Cx, request: &KeyedRequest) -> Result<Option<StoredResponse>> {
    let found = tx.query(
        "SELECT 0, request_hash, nonce, response FROM stored_responses
         WHERE owner_id = ?1 AND key_hash = ?2 AND expires_at > ?3
         UNION ALL
         SELECT began_at, NULL, NULL, NULL FROM stored_counts
         WHERE owner_id = ?4 AND (responses >= ?5 OR bytes >= ?6)",
        &params![request.owner, &request.key, cx.now, request.holder, MAX_RESPONSES, MAX_BYTES],
        |row| {
            let began_at = row.int(0)?;
            if began_at > 0 {
                return Ok(Err(too_many(cx, Time(began_at))));
            }
            let same = row.blob(1)? == request.body;
            let wrong = |_| db::Error::Column { column: 2, expected: "16 bytes" };
            let nonce = row.blob(2)?.try_into().map_err(wrong)?;
            let stored = StoredResponse { response: row.blob(3)?.to_owned(), nonce };
            Ok(if same { Ok(stored) } else { Err(Error::KeyReused) })
        },
    )?;
    // One that is stored is replayed, however many there are.
    let (stored, full): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| !matches!(found, Err(Error::TooManyKeys(_))));
    stored.into_iter().chain(full).next().transpose()
}

/// The first of a holder's responses expires a day after they began to have some. Later, others do.
fn too_many(cx: &Cx, began_at: Time) -> Error {
    let wait = (began_at.plus(KEPT).0 - cx.now.0).clamp(SOON, KEPT);
    Error::TooManyKeys(Exceeded {
        name: "idempotency-keys",
        limit: MAX_RESPONSES,
        window_seconds: KEPT / Time::SECOND,
        retry_after: (wait + Time::SECOND - 1) / Time::SECOND,
    })
}

/// Makes sure that the same request is not processed elsewhere at the same time, on any node: the
/// second waits for the first and finds its response.
pub fn claim(tx: &mut Tx<'_>, request: &KeyedRequest) -> Result<()> {
    tx.lock(
        "INSERT INTO stored_responses
         (owner_id, key_hash, request_hash, nonce, response, expires_at)
         VALUES (?1, ?2, ?3, '', '', 0)
         ON CONFLICT (owner_id, key_hash) DO UPDATE SET expires_at = stored_responses.expires_at",
        &params![request.owner, &request.key, &request.body],
    )?;
    Ok(())
}

/// Stores the response to a request, in the transaction of the request's effect, after [`find`]
/// found none.
///
/// # Errors
/// [`db::Error::Busy`] where the same request was processed elsewhere since: a stored response is
/// never replaced. [`Error::TooManyKeys`] where the holder can have no more.
pub fn store(
    tx: &mut Tx<'_>,
    cx: &Cx,
    request: &KeyedRequest,
    nonce: &[u8; 16],
    response: &[u8],
) -> Result<()> {
    if !insert(tx, cx, request, nonce, response)? {
        // Of an expired one the purge has not come to, the holder has to be known first.
        forget_expired(tx, cx.now, request)?;
        if !insert(tx, cx, request, nonce, response)? {
            return Err(db::Error::Busy.into());
        }
    }
    let bytes = i64::try_from(response.len()).expect("a response is short");
    let counted = tx.execute(
        "INSERT INTO stored_counts (owner_id, responses, bytes, began_at) VALUES (?1, 1, ?2, ?3)
         ON CONFLICT (owner_id) DO UPDATE SET responses = stored_counts.responses + 1,
             bytes = stored_counts.bytes + ?2
         WHERE stored_counts.responses < ?4 AND stored_counts.bytes < ?5",
        &params![request.holder, bytes, cx.now, MAX_RESPONSES, MAX_BYTES],
    )?;
    if counted == 1 {
        return Ok(());
    }
    let began_at = tx.query_one(
        "SELECT began_at FROM stored_counts WHERE owner_id = ?1",
        &params![request.holder],
        |row| row.int(0),
    )?;
    Err(too_many(cx, Time(began_at)))
}

/// Returns whether there was no response yet, or one that expired and is not counted.
fn insert(
    tx: &mut Tx<'_>,
    cx: &Cx,
    request: &KeyedRequest,
    nonce: &[u8; 16],
    response: &[u8],
) -> Result<bool> {
    let stored = tx.execute(
        "INSERT INTO stored_responses
         (owner_id, key_hash, request_hash, nonce, response, expires_at, holder_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?8)
         ON CONFLICT (owner_id, key_hash) DO UPDATE SET request_hash = ?3, nonce = ?4,
             response = ?5, expires_at = ?6, holder_id = ?8
         WHERE stored_responses.expires_at <= ?7 AND stored_responses.holder_id = 0",
        &params![
            request.owner,
            &request.key,
            &request.body,
            nonce,
            response,
            cx.now.plus(KEPT),
            cx.now,
            request.holder
        ],
    )?;
    Ok(stored == 1)
}

/// Forgets the response of a request that is to be done again, before [`store`].
pub fn forget(tx: &mut Tx<'_>, request: &KeyedRequest) -> Result<()> {
    forget_expired(tx, Time(i64::MAX), request)
}

fn forget_expired(tx: &mut Tx<'_>, now: Time, request: &KeyedRequest) -> Result<()> {
    let expired = tx.query_opt(
        "SELECT holder_id, length(response), expires_at FROM stored_responses
         WHERE owner_id = ?1 AND key_hash = ?2 AND expires_at <= ?3",
        &params![request.owner, &request.key, now],
        |row| {
            let (owner, key) = (request.owner, request.key.to_vec());
            Ok(Stored {
                owner,
                key,
                holder: row.int(0)?,
                bytes: row.int(1)?,
                expires_at: row.int(2)?,
            })
        },
    )?;
    expired.map_or(Ok(()), |expired| remove(tx, &[expired]))
}

/// Removes up to `limit` expired responses, oldest first. Returns how many there were.
pub fn purge(tx: &mut Tx<'_>, cx: &Cx, limit: i64) -> Result<u64> {
    let expired = tx.query(
        "SELECT owner_id, key_hash, holder_id, length(response), expires_at FROM stored_responses
         WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        &params![cx.now, limit],
        |row| {
            let (owner, key, holder) = (row.int(0)?, row.blob(1)?.to_owned(), row.int(2)?);
            Ok(Stored { owner, key, holder, bytes: row.int(3)?, expires_at: row.int(4)? })
        },
    )?;
    remove(tx, &expired)?;
    Ok(expired.len() as u64)
}

/// A row as it was read.
struct Stored {
    owner: i64,
    key: Vec<u8>,
    holder: i64,
    bytes: i64,
    expires_at: i64,
}

/// Removes responses, and counts them no more.
///
/// # Errors
/// [`db::Error::Busy`] where one of them has been stored again since it was read.
fn remove(tx: &mut Tx<'_>, stored: &[Stored]) -> Result<()> {
    let rows = stored.iter().map(|row| params![row.owner, row.key.as_slice(), row.expires_at]);
    let rows: Vec<_> = rows.collect();
    let removed = tx.batch(
        "DELETE FROM stored_responses WHERE owner_id = ?1 AND key_hash = ?2 AND expires_at = ?3",
        &rows,
    )?;
    if removed != stored.len() as u64 {
        return Err(db::Error::Busy.into());
    }
    let mut counted: Vec<_> = stored.iter().filter(|row| row.holder != 0).collect();
    counted.sort_by_key(|row| row.holder);
    let holders = counted.chunk_by(|one, next| one.holder == next.holder);
    let fewer = holders.map(|rows| {
        let add = |(number, bytes), row: &&Stored| (number + 1_i64, bytes + row.bytes);
        let (number, bytes) = rows.iter().fold((0, 0), add);
        params![rows[0].holder, number, bytes]
    });
    let fewer: Vec<_> = fewer.collect();
    tx.batch(
        "UPDATE stored_counts SET responses = responses - ?2, bytes = bytes - ?3
         WHERE owner_id = ?1",
        &fewer,
    )?;
    let none: Vec<_> = fewer.iter().map(|[holder, ..]| [*holder]).collect();
    tx.batch("DELETE FROM stored_counts WHERE owner_id = ?1 AND responses = 0", &none)?;
    Ok(())
}
