//! Password hashes: pure work for the processor, done outside of every transaction.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};

use crate::text::{Password, fold};

/// A sorted list, one password a line; where it comes from stands in `common_passwords.md`.
const COMMON: &str = include_str!("common_passwords.txt");

/// The hash that an unknown user is checked against, so that the answer takes the same time. Its
/// password was random and is known to nobody.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cG9zdHJvb20tbm9ib2R5$\
                      u0p1bZ3nqcE1l9n0v4Ww0y2m5m6kqk0b3C8mQm0oJ9A";

/// Hashes a password with argon2id, 19 MiB, 2 passes, 1 lane (OWASP's minimum, and the library's
/// default), into a PHC string.
pub fn hash(password: &Password, salt: [u8; 16]) -> String {
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("the default parameters and a salt of 16 bytes are valid")
        .to_string()
}

/// Whether the password belongs to the hash. Without a hash the same work is done for nothing.
pub fn verify(password: &[u8], hash: Option<&str>) -> bool {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODY));
    let fits =
        parsed.is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok());
    fits && hash.is_some()
}

/// Whether everybody would guess it: in any case, it is on the list.
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
    use crate::text::Username;

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
        assert!(PasswordHash::new(NOBODY).is_ok_and(|hash| hash.hash.is_some()));
    }
}
