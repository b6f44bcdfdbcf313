//! Lines as they are written: what is as usual is left out.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Default, Serialize)]
pub(super) struct UserOut {
    pub(super) id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replies: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) erased: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) findable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) accept_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reminders: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password_hash: Option<String>,
}

impl UserOut {
    /// A user of whom nothing else is said.
    pub(super) fn of(id: i64) -> Self {
        Self { id, ..Self::default() }
    }
}

#[derive(Serialize)]
pub(super) struct MessageOut<'m> {
    pub(super) external_id: &'m str,
    pub(super) from: &'m Value,
    pub(super) to: Vec<&'m Value>,
    pub(super) subject: &'m str,
    pub(super) body: &'m str,
    pub(super) sent_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_reply_to: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conversation: Option<&'m str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) state: Vec<StateOut<'m>>,
}

#[derive(Serialize)]
pub(super) struct StateOut<'m> {
    pub(super) user: &'m Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_read_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) read_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) starred_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) archived_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trashed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct BlockOut<'m> {
    pub(super) user: &'m Value,
    pub(super) blocked: &'m Value,
    pub(super) created_at: String,
}

#[derive(Serialize)]
pub(super) struct MuteOut<'m> {
    pub(super) user: &'m Value,
    pub(super) conversation: &'m str,
}

#[derive(Serialize)]
pub(super) struct ContactOut<'m> {
    pub(super) user: &'m Value,
    pub(super) peer: &'m Value,
    pub(super) first_at: String,
}

#[derive(Serialize)]
pub(super) struct SessionOut<'m> {
    pub(super) user: &'m Value,
    pub(super) created_at: String,
    pub(super) last_seen_at: String,
    pub(super) address: &'m str,
    pub(super) user_agent: &'m str,
}

#[derive(Serialize)]
pub(super) struct TokenOut<'m> {
    pub(super) user: &'m Value,
    pub(super) name: &'m str,
    pub(super) scopes: Vec<&'static str>,
    pub(super) created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<String>,
}
