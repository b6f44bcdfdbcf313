//! Whether a credential still holds, for what would outlive it.

use db::Tx;

use crate::accounts::browser_tokens::{self, Grant, Standing};
use crate::accounts::{sessions, tokens, users};
use crate::base::{Credential, CredentialKind, Cx, Error, Result, Time};

/// Makes sure that the credential of a call holds until the commit: it may have ended since the
/// call was let in, and a token that is created while all of them end would outlive them. Returns
/// when it expires, if it is a token that does.
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
) -> Result<Option<Time>> {
    // Locks the account first, as those do who end its credentials.
    users::confirm_enabled(tx, credential.user)?;
    let expires_at = match (credential.kind, grant) {
        (CredentialKind::Session, _) => sessions::find(tx, cx, credential)?.map(|_session| None),
        (CredentialKind::Token, _) => {
            tokens::find(tx, cx, credential)?.map(|token| token.expires_at)
        }
        (CredentialKind::Browser, Some(grant)) => {
            let is_valid = browser_tokens::standing(tx, cx, grant)? == Standing::Valid;
            is_valid.then_some(Some(grant.expires_at))
        }
        (CredentialKind::Browser, None) | (CredentialKind::ServerKey, _) => None,
    };
    expires_at.ok_or(Error::NotLoggedIn)
}
