//! Endpoints: addresses of the app's own server that subscribe to events.

use db::{Notice, Row, Tx, params};

use crate::base::{Cx, EventKinds, Result, Time, WebhookId};
use crate::outbox::notices;

/// An address that subscribes to events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The id.
    pub id: WebhookId,
    /// The address.
    pub url: String,
    /// The kinds of events that it subscribes to.
    pub kinds: EventKinds,
    /// When it was added.
    pub created_at: Time,
    /// The version of its newest secret, from 1.
    pub secret_version: i64,
    /// When it got its newest secret, unless that is the first.
    pub rotated_at: Option<Time>,
    /// When it was disabled, and why.
    pub disabled: Option<(Time, String)>,
}

impl Endpoint {
    /// The versions of the secrets that sign now: the newest, and for `overlap` microseconds after
    /// a rotation the one before.
    pub fn signing(&self, now: Time, overlap: i64) -> impl Iterator<Item = i64> {
        let before = self.rotated_at.is_some_and(|since| since.runs(overlap, now));
        let oldest = self.secret_version - i64::from(before);
        (oldest..=self.secret_version).rev()
    }
}

/// Adds an endpoint.
pub fn add(tx: &mut Tx<'_>, cx: &Cx, url: &str, kinds: EventKinds) -> Result<Endpoint> {
    let id = tx.insert(
        "INSERT INTO webhooks (url, kinds, created_at, secret_version) VALUES (?1, ?2, ?3, 1)",
        &params![url, i64::from(kinds.bits()), cx.now],
    )?;
    let id = WebhookId::stored(id);
    changed(tx, id);
    Ok(Endpoint {
        id,
        url: url.to_owned(),
        kinds,
        created_at: cx.now,
        secret_version: 1,
        rotated_at: None,
        disabled: None,
    })
}

/// All endpoints, in the order in which they were added.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Endpoint>> {
    Ok(tx.query(
        "SELECT id, url, kinds, created_at, secret_version, rotated_at, disabled_at, disabled_reason
         FROM webhooks ORDER BY id",
        &params![],
        endpoint,
    )?)
}

/// One endpoint.
pub fn find(tx: &mut Tx<'_>, id: WebhookId) -> Result<Option<Endpoint>> {
    Ok(tx.query_opt(
        "SELECT id, url, kinds, created_at, secret_version, rotated_at, disabled_at, disabled_reason
         FROM webhooks WHERE id = ?1",
        &params![id],
        endpoint,
    )?)
}

/// The kinds that any enabled endpoint subscribes to.
pub fn all_wanted(endpoints: &[Endpoint]) -> EventKinds {
    let enabled = endpoints.iter().filter(|endpoint| endpoint.disabled.is_none());
    enabled.fold(EventKinds::default(), |all, endpoint| all.and(endpoint.kinds))
}

/// Removes an endpoint. Returns whether it existed. Its deliveries stay in the log for a while.
pub fn remove(tx: &mut Tx<'_>, id: WebhookId) -> Result<bool> {
    let removed = tx.execute("DELETE FROM webhooks WHERE id = ?1", &params![id])?;
    changed(tx, id);
    Ok(removed == 1)
}

/// Stops deliveries to an endpoint until it is enabled. Returns whether it exists. What is due
/// waits. Repeating it changes nothing.
pub fn disable(tx: &mut Tx<'_>, cx: &Cx, id: WebhookId, reason: &str) -> Result<bool> {
    let disabled = tx.execute(
        "UPDATE webhooks SET disabled_reason = coalesce(disabled_reason, ?3),
         disabled_at = coalesce(disabled_at, ?2) WHERE id = ?1",
        &params![id, cx.now, reason],
    )?;
    changed(tx, id);
    Ok(disabled == 1)
}

/// Enables an endpoint. Returns whether it exists.
pub fn enable(tx: &mut Tx<'_>, id: WebhookId) -> Result<bool> {
    let enabled = tx.execute(
        "UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL WHERE id = ?1",
        &params![id],
    )?;
    changed(tx, id);
    Ok(enabled == 1)
}

/// Gives an endpoint a new secret. Returns it as it is then; `None` where it does not exist.
pub fn rotate(tx: &mut Tx<'_>, cx: &Cx, id: WebhookId) -> Result<Option<Endpoint>> {
    tx.execute(
        "UPDATE webhooks SET secret_version = secret_version + 1, rotated_at = ?2 WHERE id = ?1",
        &params![id, cx.now],
    )?;
    changed(tx, id);
    find(tx, id)
}

/// Undoes the latest rotation of an endpoint, which was as `before` says.
pub fn take_back_rotation(tx: &mut Tx<'_>, before: &Endpoint) -> Result<()> {
    tx.execute(
        "UPDATE webhooks SET secret_version = ?2, rotated_at = ?3
         WHERE id = ?1 AND secret_version = ?2 + 1",
        &params![before.id, before.secret_version, before.rotated_at],
    )?;
    changed(tx, before.id);
    Ok(())
}

fn changed(tx: &mut Tx<'_>, id: WebhookId) {
    tx.notify(Notice { topic: notices::WEBHOOKS, key: id.get() });
}

fn endpoint(row: &Row<'_>) -> db::Result<Endpoint> {
    let disabled_at = row.opt_int(6)?.map(Time);
    let reason = row.opt_text(7)?.unwrap_or_default().to_owned();
    Ok(Endpoint {
        id: WebhookId::stored(row.int(0)?),
        url: row.text(1)?.to_owned(),
        kinds: EventKinds::from_bits(u32::try_from(row.int(2)?).unwrap_or_default()),
        created_at: Time(row.int(3)?),
        secret_version: row.int(4)?,
        rotated_at: row.opt_int(5)?.map(Time),
        disabled: disabled_at.map(|since| (since, reason)),
    })
}
