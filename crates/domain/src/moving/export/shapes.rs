//! Lines as they are written: what is as usual is left out.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Serialize)]
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
    pub(super) created_at: String,
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
