//! Moving in and out: the lines of the format, read and written.
//!
//! An import reads everything into a temporary database first ([`spool`]) and checks it
//! ([`check_users`], [`check_messages`]). Only then it writes: users first, and messages in the
//! order in which they were sent, because ids ascend with dates. Each step is a transaction, and
//! done again it changes nothing.

pub mod django;
mod export;
mod fields;
mod line;
mod messages;
mod others;
mod people;
pub mod spool;

pub use self::export::{Page, Personal, Piece, export, first_line};
pub use self::fields::Problem;
pub use self::line::{Line, MessageLine, Reading, header};
pub use self::messages::{
    Message, Rows, Target, check_messages, target, write_messages, write_stubs,
};
pub use self::others::{check_others, write_others};
pub use self::people::{Mode, People, check_users, write_users};

/// The largest id that is taken over: half of all, so that the others are left for what comes.
const LARGEST: i64 = 1 << 52;
