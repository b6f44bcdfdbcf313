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

/// Calls that read something for a user, which are recorded later: by key and route, so that what
/// they have in common is kept and written once.
#[derive(Debug, Default)]
pub struct Gathered {
    alike: Vec<Alike>,
    len: usize,
}

/// Calls of one key by one route.
#[derive(Debug, Clone)]
struct Alike {
    key: Arc<ServerKey>,
    method: Cow<'static, str>,
    route: &'static str,
    reads: Vec<Read>,
}

#[derive(Debug, Clone)]
struct Read {
    at: Time,
    user: UserId,
    request_id: [u8; 16],
}

const RECORD: &str = "INSERT INTO audit (happened_at, key_id, key_name, call, user_id, request_id)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// What a read takes in [`Row::reads`]: how long it was before the last one of its row, whom it was
/// for, and the id of the request.
const READ_BYTES: usize = 32;
/// Rows that are read at a time, each of up to some thousand reads.
const ROWS: i64 = 20;
/// How far the log's order may be from that of time, in records: as many as wait to be written.
const OUT_OF_ORDER: usize = 10_000;

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

/// Records what was gathered: a row for those that are alike. A row for each took 7 % of the
/// instructions of a read by a key.
pub fn record_gathered(tx: &mut Tx<'_>, gathered: &Gathered) -> Result<()> {
    for Alike { key, method, route, reads } in &gathered.alike {
        let last = reads.iter().map(|read| read.at).max().unwrap_or(Time(0));
        let packed: Vec<_> = reads.iter().flat_map(|read| read.pack(last)).collect();
        tx.execute(
            "INSERT INTO audit (happened_at, key_id, key_name, call, request_id, reads)
             VALUES (?1, ?2, ?3, ?4, '', ?5)",
            &params![last, key.id, key.name.as_str(), name(method, route).as_str(), &*packed],
        )?;
    }
    Ok(())
}

impl Read {
    fn pack(&self, last: Time) -> [u8; READ_BYTES] {
        let mut bytes = [0; READ_BYTES];
        bytes[..8].copy_from_slice(&(last.0 - self.at.0).to_be_bytes());
        bytes[8..16].copy_from_slice(&self.user.get().to_be_bytes());
        bytes[16..].copy_from_slice(&self.request_id);
        bytes
    }

    fn unpack(bytes: &[u8; READ_BYTES], last: Time) -> Self {
        let number =
            |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("there are 32 bytes"));
        let request_id = *bytes[16..].first_chunk().expect("there are 32 bytes");
        Self { at: Time(last.0 - number(0)), user: UserId::stored(number(8)), request_id }
    }
}

impl Gathered {
    /// Adds a call that read something for a user.
    pub fn add(&mut self, call: &Call, user: UserId, at: Time) {
        let read = Read { at, user, request_id: call.request_id };
        self.len += 1;
        let is_alike = |alike: &&mut Alike| {
            alike.route == call.route
                && alike.method == call.method
                && alike.key.id == call.key.id
                && alike.key.name == call.key.name
        };
        match self.alike.iter_mut().find(is_alike) {
            Some(alike) => alike.reads.push(read),
            None => self.alike.push(Alike {
                key: Arc::clone(&call.key),
                method: call.method.clone(),
                route: call.route,
                reads: vec![read],
            }),
        }
    }

    /// Moves up to `most` calls out of these.
    #[must_use = "what is taken is in no log yet"]
    pub fn take(&mut self, most: usize) -> Self {
        let mut taken = Self::default();
        while taken.len < most
            && let Some(mut alike) = self.alike.pop()
        {
            let here = alike.reads.len().min(most - taken.len);
            let later = alike.reads.split_off(here);
            if !later.is_empty() {
                let (key, method) = (Arc::clone(&alike.key), alike.method.clone());
                self.alike.push(Alike { key, method, route: alike.route, reads: later });
            }
            taken.len += here;
            taken.alike.push(alike);
        }
        self.len -= taken.len;
        taken
    }

    /// Adds what was taken out of these.
    pub fn put_back(&mut self, taken: &Self) {
        self.len += taken.len;
        self.alike.extend_from_slice(&taken.alike);
    }

    /// How many calls these are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Call {
    /// The method and the route, as the log names them.
    fn name(&self) -> String {
        name(&self.method, self.route)
    }
}

fn name(method: &str, route: &str) -> String {
    [method, " ", route].concat()
}

fn values<'a>(at: Time, call: &'a Call, name: &'a str, user: Option<UserId>) -> [db::Value<'a>; 6] {
    let request_id = str::from_utf8(&call.request_id).expect("digits are ASCII");
    let ServerKey { id, name: key_name, .. } = &*call.key;
    [at.into(), (*id).into(), key_name.as_str().into(), name.into(), user.into(), request_id.into()]
}

/// A row of the log: one record, or many reads of one key by one route.
struct Row {
    id: i64,
    record: Record,
    /// Packed, each in [`READ_BYTES`].
    reads: Option<Vec<u8>>,
}

impl Row {
    fn records(self) -> Vec<Record> {
        let Self { record, reads, .. } = self;
        let Some(reads) = reads else { return vec![record] };
        let reads = reads.as_chunks().0.iter().map(|read| Read::unpack(read, record.happened_at));
        let of = |Read { at, user, request_id }: Read| Record {
            happened_at: at,
            user: Some(user),
            request_id: String::from_utf8_lossy(&request_id).into_owned(),
            ..record.clone()
        };
        reads.map(of).collect()
    }
}

/// Up to `limit` records, newest first, of one key or of all, about one user or about all.
pub fn list(
    tx: &mut Tx<'_>,
    key: Option<ServerKeyId>,
    user: Option<UserId>,
    limit: usize,
) -> Result<Vec<Record>> {
    // No id is negative.
    let (of_key, of_user) = (key.map_or(-1, ServerKeyId::get), user.map_or(-1, UserId::get));
    let (mut records, mut before) = (Vec::new(), i64::MAX);
    while records.len() < limit.saturating_add(OUT_OF_ORDER) {
        let rows = tx.query(
            "SELECT id, happened_at, key_id, key_name, call, request_id, user_id, reads FROM audit
             WHERE id < ?1 AND (?2 = -1 OR key_id = ?2)
               AND (?3 = -1 OR user_id = ?3 OR reads IS NOT NULL)
             ORDER BY id DESC LIMIT ?4",
            &params![before, of_key, of_user, ROWS],
            |row| {
                let record = Record {
                    happened_at: Time(row.int(1)?),
                    key: ServerKeyId::stored(row.int(2)?),
                    key_name: row.text(3)?.to_owned(),
                    call: row.text(4)?.to_owned(),
                    request_id: row.text(5)?.to_owned(),
                    user: row.opt_int(6)?.map(UserId::stored),
                };
                Ok(Row { id: row.int(0)?, record, reads: row.opt_blob(7)?.map(<[u8]>::to_vec) })
            },
        )?;
        let Some(last) = rows.last() else { break };
        before = last.id;
        let of_user = |record: &Record| user.is_none_or(|user| record.user == Some(user));
        records.extend(rows.into_iter().flat_map(Row::records).filter(of_user));
    }
    records.sort_by_key(|record| Reverse(record.happened_at));
    records.truncate(limit);
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
