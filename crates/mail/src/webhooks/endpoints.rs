//! Who is told: addresses of the app's own server.

use db::{Notice, Row, Tx, params};

use super::Kinds;
use crate::{Cx, Result, Time, topics};

/// Which endpoint it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(i64);

impl WebhookId {
    /// An id as somebody names it.
    pub fn new(id: i64) -> Option<Self> {
        (id > 0).then_some(Self(id))
    }

    pub(super) fn stored(id: i64) -> Self {
        Self(id)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl From<WebhookId> for db::Value<'_> {
    fn from(id: WebhookId) -> Self {
        db::Value::Int(id.0)
    }
}

/// An address that is told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which one.
    pub id: WebhookId,
    /// Where it is.
    pub url: String,
    /// Of what it is told.
    pub kinds: Kinds,
    /// Since when there is one.
    pub created_at: Time,
    /// Which of its secrets is the newest, from 1 on.
    pub secret_version: i64,
    /// When it got the newest secret, if that is not the first.
    pub rotated_at: Option<Time>,
    /// Since when it is told of nothing, and why.
    pub disabled: Option<(Time, String)>,
}

impl Endpoint {
    /// Which secrets sign now: the newest, and for so many microseconds the one before it.
    pub fn signing(&self, now: Time, overlap: i64) -> impl Iterator<Item = i64> {
        let before = self.rotated_at.is_some_and(|since| now < since.plus(overlap));
        let oldest = self.secret_version - i64::from(before);
        (oldest..=self.secret_version).rev()
    }
}

/// Adds an address.
pub fn add(tx: &mut Tx<'_>, cx: &Cx, url: &str, kinds: Kinds) -> Result<Endpoint> {
    let id = tx.insert(
        "INSERT INTO webhooks (url, kinds, created_at, secret_version) VALUES (?1, ?2, ?3, 1)",
        &params![url, i64::from(kinds.bits()), cx.now],
    )?;
    changed(tx, WebhookId(id));
    Ok(Endpoint {
        id: WebhookId(id),
        url: url.to_owned(),
        kinds,
        created_at: cx.now,
        secret_version: 1,
        rotated_at: None,
        disabled: None,
    })
}

/// All of them, in the order in which they came.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Endpoint>> {
    Ok(tx.query(
        "SELECT id, url, kinds, created_at, secret_version, rotated_at, disabled_at, disabled_why
         FROM webhooks ORDER BY id",
        &params![],
        endpoint,
    )?)
}

/// One of them.
pub fn find(tx: &mut Tx<'_>, id: WebhookId) -> Result<Option<Endpoint>> {
    Ok(tx.query_opt(
        "SELECT id, url, kinds, created_at, secret_version, rotated_at, disabled_at, disabled_why
         FROM webhooks WHERE id = ?1",
        &params![id],
        endpoint,
    )?)
}

/// What any of them is told of.
pub fn all_wanted(endpoints: &[Endpoint]) -> Kinds {
    let enabled = endpoints.iter().filter(|endpoint| endpoint.disabled.is_none());
    enabled.fold(Kinds::default(), |all, endpoint| all.and(endpoint.kinds))
}

/// Removes it; whether there was one. What it was told stays in the log for a while.
pub fn remove(tx: &mut Tx<'_>, id: WebhookId) -> Result<bool> {
    let removed = tx.execute("DELETE FROM webhooks WHERE id = ?1", &params![id])?;
    changed(tx, id);
    Ok(removed == 1)
}

/// Tells it of nothing new until it is enabled; whether there is such a one. What it was to be told
/// before waits. Repeating it changes nothing.
pub fn disable(tx: &mut Tx<'_>, cx: &Cx, id: WebhookId, why: &str) -> Result<bool> {
    let disabled = tx.execute(
        "UPDATE webhooks SET disabled_why = coalesce(disabled_why, ?3),
         disabled_at = coalesce(disabled_at, ?2) WHERE id = ?1",
        &params![id, cx.now, why],
    )?;
    changed(tx, id);
    Ok(disabled == 1)
}

/// Enables it again; whether there is such a one.
pub fn enable(tx: &mut Tx<'_>, id: WebhookId) -> Result<bool> {
    let enabled = tx.execute(
        "UPDATE webhooks SET disabled_at = NULL, disabled_why = NULL WHERE id = ?1",
        &params![id],
    )?;
    changed(tx, id);
    Ok(enabled == 1)
}

/// Gives it another secret; what it is then, if there is such a one.
pub fn rotate(tx: &mut Tx<'_>, cx: &Cx, id: WebhookId) -> Result<Option<Endpoint>> {
    tx.execute(
        "UPDATE webhooks SET secret_version = secret_version + 1, rotated_at = ?2 WHERE id = ?1",
        &params![id, cx.now],
    )?;
    changed(tx, id);
    find(tx, id)
}

fn changed(tx: &mut Tx<'_>, id: WebhookId) {
    tx.notify(Notice { topic: topics::WEBHOOKS, key: id.0 });
}

fn endpoint(row: &Row<'_>) -> db::Result<Endpoint> {
    let disabled_at = row.opt_int(6)?.map(Time);
    let why = row.opt_text(7)?.unwrap_or_default().to_owned();
    Ok(Endpoint {
        id: WebhookId(row.int(0)?),
        url: row.text(1)?.to_owned(),
        kinds: Kinds::from_bits(u32::try_from(row.int(2)?).unwrap_or_default()),
        created_at: Time(row.int(3)?),
        secret_version: row.int(4)?,
        rotated_at: row.opt_int(5)?.map(Time),
        disabled: disabled_at.map(|since| (since, why)),
    })
}
