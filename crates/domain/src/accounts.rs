//! Who somebody is and what they may do: users, sign-in, sessions, tokens, blocks, limits.
//!
//! It may use `base` and `outbox`. What is in a mailbox is not known here, only the row that every
//! account has in `mailboxes`, because that row is the lock of everything its owner has.

pub mod audit;
pub mod blocks;
pub mod browser_tokens;
pub mod credentials;
pub mod modseq;
pub mod passwords;
pub mod quotas;
pub mod server_keys;
pub mod sessions;
pub mod throttle;
pub mod tokens;
pub mod users;
