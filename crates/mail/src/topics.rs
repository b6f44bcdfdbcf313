//! What nodes tell each other of a write when it is committed: hints that save waiting.

use db::{Notice, Tx};

use crate::UserId;

/// Sessions or tokens of a user have ended.
pub const ACCESS: u8 = 1;
/// An account was erased: what it held waits to be removed.
pub const ERASED: u8 = 2;
/// The counter of a mailbox was advanced.
pub const MAILBOX: u8 = 3;
/// The list of webhooks changed: who is told of what.
pub const WEBHOOKS: u8 = 4;
/// A webhook is to be told of an event.
pub const WEBHOOK_EVENTS: u8 = 5;

pub(crate) fn tell(tx: &mut Tx<'_>, topic: u8, user: UserId) {
    tx.notify(Notice { topic, key: user.get() });
}
