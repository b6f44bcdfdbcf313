//! Passwords and their hashes: slow work, done outside of every transaction.

mod moved;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use sha2::{Digest as _, Sha256};

pub use self::moved::{LONGEST_WAIT, MovedHash};

use crate::base::Invalid;
use crate::base::text::{Username, fold};

/// Bytes of a password: the minimum of OWASP ASVS 5.0 (6.2.1), and a bound on the work of hashing.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;

/// Common passwords, one per line, sorted; `common_passwords.md` names the source.
const COMMON: &str = include_str!("common_passwords.txt");

/// The hash that an unknown user's password is checked against, so that the answer takes the same
/// time. It is of a random password that was thrown away.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cG9zdHJvb20tbm9ib2R5$\
                      u0p1bZ3nqcE1l9n0v4Ww0y2m5m6kqk0b3C8mQm0oJ9A";

/// A password that may be set. Its `Debug` form does not show it.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Parses a new password of the user with that name and e-mail address.
    pub fn parse(text: &str, name: &Username, email: &str) -> Result<Self, Invalid> {
        let password = Self::parse_any(text)?;
        password.is_not_own(Some(name), email)?;
        Ok(password)
    }

    /// Parses a new password of any user; [`Password::is_not_own`] checks the rest.
    pub fn parse_any(text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: &str| Err(Invalid::new("password", problem));
        if !PASSWORD_BYTES.contains(&text.len()) {
            return invalid("it must have 8 to 1024 bytes");
        }
        if text.contains('\0') {
            return invalid("it must not hold the character U+0000");
        }
        if is_common(text) {
            return invalid("it is one of the most common passwords");
        }
        Ok(Self(text.to_owned()))
    }

    /// Checks that the password is neither the user's name, as far as that is known, nor their
    /// e-mail address or the part before its `@`.
    pub fn is_not_own(&self, name: Option<&Username>, email: &str) -> Result<(), Invalid> {
        let folded = fold(&self.0);
        let local = email.rsplit_once('@').map_or(email, |(local, _)| local);
        let is_name = name.is_some_and(|name| folded == name.folded());
        if is_name || folded == fold(email) || folded == fold(local) {
            let problem = "it must not be the user's own name or address";
            return Err(Invalid::new("password", problem));
        }
        Ok(())
    }

    /// The bytes, for hashing.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Hashes a password with argon2id, 19 MiB, 2 passes, 1 lane (OWASP's minimum, and the library's
/// default), into a PHC string.
pub fn hash(password: &Password, salt: [u8; 16]) -> String {
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("the default parameters and a salt of 16 bytes are valid")
        .to_string()
}

/// What the hashes made by [`hash`] begin with.
const OURS: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// A hash as [`hash`] makes it, for one that came from another program and that the password has
/// matched; `None` where the hash is such a one.
///
/// Its salt is made of the other hash: two sign-ins at the same time make the same one.
pub fn upgrade(password: &[u8], hash: &str) -> Option<String> {
    if hash.starts_with(OURS) {
        return None;
    }
    let salt = Sha256::digest(hash.as_bytes());
    let made = Argon2::default().hash_password_with_salt(password, &salt[..16]);
    Some(made.expect("the default parameters and a salt of 16 bytes are valid").to_string())
}

/// Whether the password matches the hash, also one that came from another program ([`MovedHash`]).
/// Without a hash, the work of one of ours is done in vain; an empty text is none.
pub fn verify(password: &[u8], hash: Option<&str>) -> bool {
    let hash = hash.filter(|hash| !hash.is_empty());
    if let Some(moved) = hash.filter(|hash| !hash.starts_with(OURS)) {
        return moved::verify(password, moved);
    }
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODY));
    let fits =
        parsed.is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok());
    fits && hash.is_some()
}

/// How many milliseconds verifying a hash of another program can take, on a machine that is not
/// slower or busier than most; 0 where it is one of ours.
pub fn wait(hash: &str) -> u64 {
    if hash.starts_with(OURS) { 0 } else { moved::wait(hash) }
}

/// Whether verifying a hash takes so much memory or time that one at a time is enough. None of ours
/// does.
pub fn is_costly(hash: &str) -> bool {
    !hash.starts_with(OURS) && moved::is_costly(hash)
}

/// Whether the password is on the list of common ones, whatever its case.
pub fn is_common(password: &str) -> bool {
    let wanted = fold(password);
    let (mut low, mut high) = (0, COMMON.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start =
            COMMON.as_bytes()[..middle].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let end = COMMON.as_bytes()[middle..].iter().position(|b| *b == b'\n');
        let end = end.map_or(COMMON.len(), |length| middle + length);
        match COMMON[start..end].cmp(&wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_long_sorted_and_found_whole() {
        let all: Vec<_> = COMMON.lines().collect();
        assert!(all.len() >= 10_000, "{}", all.len());
        assert!(all.is_sorted());
        assert!(all.iter().all(|password| is_common(password)));
        assert!(is_common("PassWord123"));
        assert!(!is_common("") && !is_common("\u{10ffff}") && !is_common("correct-horse-7"));
    }

    #[test]
    fn an_unknown_user_costs_the_same_parameters_and_never_fits() {
        let name = Username::parse("ann").unwrap();
        let password = Password::parse("a fine password", &name, "").unwrap();
        let real = hash(&password, [7; 16]);
        assert!(verify(password.as_bytes(), Some(&real)));
        assert!(!verify(b"another", Some(&real)));
        assert!(!verify(b"", None));
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(parameters(NOBODY), parameters(&real));
        assert!(real.starts_with(OURS) && NOBODY.starts_with(OURS));
        assert!(PasswordHash::new(NOBODY).is_ok_and(|hash| hash.hash.is_some()));
    }
}
