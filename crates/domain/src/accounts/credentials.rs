//! Whether a credential still holds, for what would outlive it.

use db::Tx;

use crate::accounts::browser_tokens::{self, Grant, Standing};
use crate::accounts::{sessions, tokens, users};
use crate::base::{Credential, CredentialKind, Cx, Error, Result};

/// Makes sure that the credential of a call holds until the commit: it may have ended since the
/// call was let in, and a token that is created while all of them end would outlive them.
///
/// `grant` is what a browser token or a JWT says.
///
/// # Errors
/// [`Error::NotLoggedIn`] where it has ended, or is a server key.
pub fn confirm(
    tx: &mut Tx<'_>,
    cx: &Cx,
    credential: &Credential,
    grant: Option<&Grant>,
) -> Result<()> {
    // Locks the account first, as those do who end its credentials.
    users::confirm_enabled(tx, credential.user)?;
    let holds = match (credential.kind, grant) {
        (CredentialKind::Session, _) => sessions::find(tx, cx, credential)?.is_some(),
        (CredentialKind::Token, _) => tokens::find(tx, cx, credential)?.is_some(),
        (CredentialKind::Browser, Some(grant)) => {
            browser_tokens::standing(tx, cx, grant)? == Standing::Valid
        }
        (CredentialKind::Browser, None) | (CredentialKind::ServerKey, _) => false,
    };
    if holds { Ok(()) } else { Err(Error::NotLoggedIn) }
}
