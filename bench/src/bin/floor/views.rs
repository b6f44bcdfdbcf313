//! What the floor answers, whatever it keeps its messages in.

use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct MessageView<'a> {
    pub(crate) sender_id: i64,
    pub(crate) receiver_id: i64,
    pub(crate) subject: &'a str,
    pub(crate) body: &'a str,
    pub(crate) creation_date: i64,
}

#[derive(Serialize)]
pub(crate) struct Item<'a> {
    pub(crate) id: i64,
    pub(crate) sender_id: i64,
    pub(crate) subject: &'a str,
    pub(crate) snippet: &'a str,
    pub(crate) creation_date: i64,
    pub(crate) unread: bool,
}
