//! Who makes a request that is replayed when it is sent again.

use std::net::IpAddr;
use std::sync::Arc;

use db::{Owner, Tx};
use domain::{Cx, UserId, audit};

/// Who makes a keyed request. Everyone has their own keys.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// A user, and the call, where a server key makes it for them.
    User(UserId, Option<&'a Arc<audit::Call>>),
    /// The app's own server. Its handler records in the audit log what the call changes.
    Key(&'a audit::Call),
    /// Somebody without a login at an address, for the account of that username.
    Name(&'a str, IpAddr),
}

impl By<'_> {
    /// The call and the user, where a server key makes it for them.
    pub(super) fn acting(self) -> Option<(Arc<audit::Call>, UserId)> {
        match self {
            Self::User(user, call) => call.map(|call| (Arc::clone(call), user)),
            Self::Key(_) | Self::Name(..) => None,
        }
    }

    /// For whom the work is done.
    pub(super) fn owner(self) -> Owner {
        match self {
            Self::User(user, _) => user.into(),
            Self::Key(call) => call.key.id.into(),
            Self::Name(_, address) => address.into(),
        }
    }
}

/// Records what a server key does for a user, or what it is shown again.
pub(super) fn record(
    tx: &mut Tx<'_>,
    cx: &Cx,
    acting: Option<&(Arc<audit::Call>, UserId)>,
) -> domain::Result<()> {
    acting.map_or(Ok(()), |(call, user)| audit::record(tx, cx, call, Some(*user)))
}
