//! Notices: what a commit tells this node and the others. They are hints that save waiting;
//! nothing depends on their arrival.

use crate::base::UserId;
use db::{Notice, Tx};

/// Sessions or tokens of a user have ended.
pub const ACCESS: u8 = 1;
/// An account was erased; its mailbox is to be purged.
pub const ERASED: u8 = 2;
/// A mailbox's modseq was advanced.
pub const MAILBOX: u8 = 3;
/// The list of webhook endpoints changed.
pub const WEBHOOKS: u8 = 4;
/// A webhook event is to be delivered.
pub const WEBHOOK_EVENTS: u8 = 5;
/// A server key was rotated or revoked.
pub const SERVER_KEYS: u8 = 6;

pub(crate) fn send(tx: &mut Tx<'_>, topic: u8, user: UserId) {
    tx.notify(Notice { topic, key: user.get() });
}
