//! What everything else is made of: ids, times, parsed text, credentials, kinds of events, errors.
//! It knows no table and uses no other room.

pub mod budget;
pub mod context;
pub mod credential;
pub mod error;
pub mod event;
pub mod id;
pub mod looks;
pub mod reference;
pub mod text;
pub(crate) mod words;

pub use budget::Budget;
pub use context::{Cx, NameReservation, Time, Wanted};
pub use credential::{Credential, CredentialKind};
pub use error::{Error, Exceeded, Invalid, Missing, Refusal, RefusedRecipient, Result};
pub use event::{EventKind, EventKinds};
pub use id::{ConversationId, EventId, LARGEST_ID, MessageId, ServerKeyId, UserId, WebhookId};
pub use reference::UserRef;
