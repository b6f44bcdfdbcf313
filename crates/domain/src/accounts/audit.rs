//! The audit log: what server keys have changed, and whose letters were read by one.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use db::{Tx, params};

use crate::accounts::server_keys::ServerKey;
use crate::base::{Cx, Result, ServerKeyId, Time, UserId};

/// A call by a server key. The log's text of it is made when it is recorded, as most calls are
/// reads, which are recorded by another thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The key.
    pub key: Arc<ServerKey>,
    /// The method.
    pub method: Cow<'static, str>,
    /// The route, such as `/v1/server/users/{ref}`: no text of the request.
    pub route: &'static str,
    /// The id of the request: 16 digits.
    pub request_id: [u8; 16],
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it happened.
    pub happened_at: Time,
    /// Which key it was.
    pub key: ServerKeyId,
    /// The name that the key had then.
    pub key_name: String,
    /// The method and the route.
    pub call: String,
    /// The id of the request.
    pub request_id: String,
    /// The user whom it was about, or for whom it was made.
    pub user: Option<UserId>,
}

/// A call that is recorded later, as it changes nothing.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// When it happened.
    pub at: Time,
    /// Which call it was.
    pub call: Arc<Call>,
    /// The user for whom it was made.
    pub user: Option<UserId>,
}

const RECORD: &str = "INSERT INTO audit (happened_at, key_id, key_name, call, user_id, request_id)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const RECORD_EIGHT: &str = "
    INSERT INTO audit (happened_at, key_id, key_name, call, user_id, request_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6), (?7, ?8, ?9, ?10, ?11, ?12),
           (?13, ?14, ?15, ?16, ?17, ?18), (?19, ?20, ?21, ?22, ?23, ?24),
           (?25, ?26, ?27, ?28, ?29, ?30), (?31, ?32, ?33, ?34, ?35, ?36),
           (?37, ?38, ?39, ?40, ?41, ?42), (?43, ?44, ?45, ?46, ?47, ?48)";

/// Records a call, in the transaction of its effect.
pub fn record(tx: &mut Tx<'_>, cx: &Cx, call: &Call, user: Option<UserId>) -> Result<()> {
    tx.execute(RECORD, &values(cx.now, call, &call.name(), user))?;
    Ok(())
}

/// Records a call that is about several users: a record for each.
pub fn record_all(tx: &mut Tx<'_>, cx: &Cx, call: &Call, users: &[UserId]) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let users: Vec<i64> = users.iter().map(|user| user.get()).collect();
    let name = call.name();
    let mut values = values(cx.now, call, &name, None);
    values[4] = (&*users).into();
    tx.execute(
        "INSERT INTO audit (happened_at, key_id, key_name, call, user_id, request_id)
         SELECT ?1, ?2, ?3, ?4, value, ?6 FROM rarray(?5)",
        &values,
    )?;
    Ok(())
}

/// Records what was gathered.
pub fn record_gathered(tx: &mut Tx<'_>, gathered: &[Gathered]) -> Result<()> {
    let names: Vec<_> = gathered.iter().map(|one| one.call.name()).collect();
    let all = gathered.iter().zip(&names);
    let rows: Vec<_> = all.map(|(one, name)| values(one.at, &one.call, name, one.user)).collect();
    // Eight in one statement cost PostgreSQL little more than one.
    let (eights, rest) = rows.as_chunks::<8>();
    let eights: Vec<[db::Value<'_>; 48]> = eights
        .iter()
        .map(|eight| {
            let all = eight.as_flattened();
            all.try_into().expect("eight rows have 48 values")
        })
        .collect();
    tx.batch(RECORD_EIGHT, &eights)?;
    tx.batch(RECORD, rest)?;
    Ok(())
}

impl Call {
    /// The method and the route, as the log names them.
    fn name(&self) -> String {
        [&self.method, " ", self.route].concat()
    }
}

fn values<'a>(at: Time, call: &'a Call, name: &'a str, user: Option<UserId>) -> [db::Value<'a>; 6] {
    let request_id = str::from_utf8(&call.request_id).expect("digits are ASCII");
    let ServerKey { id, name: key_name, .. } = &*call.key;
    [at.into(), (*id).into(), key_name.as_str().into(), name.into(), user.into(), request_id.into()]
}

/// Up to `limit` records, newest first, of one key or of all, about one user or about all: those
/// that were written last, by when they happened.
pub fn list(
    tx: &mut Tx<'_>,
    key: Option<ServerKeyId>,
    user: Option<UserId>,
    limit: i64,
) -> Result<Vec<Record>> {
    // No id is negative.
    let (key, user) = (key.map_or(-1, ServerKeyId::get), user.map_or(-1, UserId::get));
    let mut records = tx.query(
        "SELECT happened_at, key_id, key_name, call, request_id, user_id FROM audit
         WHERE (?1 = -1 OR key_id = ?1) AND (?2 = -1 OR user_id = ?2)
         ORDER BY id DESC LIMIT ?3",
        &params![key, user, limit],
        |row| {
            Ok(Record {
                happened_at: Time(row.int(0)?),
                key: ServerKeyId::stored(row.int(1)?),
                key_name: row.text(2)?.to_owned(),
                call: row.text(3)?.to_owned(),
                request_id: row.text(4)?.to_owned(),
                user: row.opt_int(5)?.map(UserId::stored),
            })
        },
    )?;
    records.sort_by_key(|record| Reverse(record.happened_at));
    Ok(records)
}

/// Removes up to `limit` of the oldest records that are older than `kept` microseconds. Returns how
/// many there were.
pub fn purge(tx: &mut Tx<'_>, cx: &Cx, kept: i64, limit: i64) -> Result<u64> {
    let oldest = tx.query(
        "SELECT id, happened_at FROM audit ORDER BY id LIMIT ?1",
        &params![limit],
        |row| Ok((row.int(0)?, Time(row.int(1)?))),
    )?;
    let before = cx.now.plus(-kept);
    let due = oldest.iter().take_while(|(_, happened_at)| *happened_at < before);
    let due: Vec<_> = due.map(|(id, _)| params![*id]).collect();
    Ok(tx.batch("DELETE FROM audit WHERE id = ?1", &due)?)
}
