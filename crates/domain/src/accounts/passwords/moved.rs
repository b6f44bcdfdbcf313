//! Password hashes that come from other programs: those of Django, and the plain forms that Rails,
//! Laravel and others store.

use std::num::NonZeroU32;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::base::Invalid;

/// The most rounds of PBKDF2: over three times Django's own, and a second of work.
const MAX_ROUNDS: u32 = 4_000_000;
/// The highest cost of bcrypt: eight times the work of the usual 12.
const MAX_COST: u32 = 15;
/// The most memory of scrypt in bytes; Django takes a quarter.
const MAX_SCRYPT: u64 = 64 << 20;
/// The most memory of Argon2 in KiB: Django takes 100 MiB by default, which 64 would refuse.
const MAX_ARGON2: u32 = 128 << 10;
/// The most passes of Argon2.
const MAX_PASSES: u32 = 4;
/// The most lanes of Argon2, which are done one after the other.
const MAX_LANES: u32 = 16;
/// The most runs of scrypt; Django makes 5.
const MAX_RUNS: u32 = 8;

/// How many milliseconds verifying a hash can take at most, of those that are taken in.
pub const LONGEST_WAIT: u64 = 8_192;

/// A hash is costly that waits for more milliseconds than this: four times as many as it mostly
/// takes.
const LONG: i64 = 4_000;

/// A hash of another program, which can be verified within bounds. Its `Debug` form does not show
/// it.
#[derive(Clone)]
pub struct MovedHash {
    text: String,
    wait: i64,
}

impl MovedHash {
    /// Parses a hash: Django's `pbkdf2_sha256`, `pbkdf2_sha1`, `argon2`, `bcrypt`, `bcrypt_sha256`
    /// and `scrypt`, the PHC form of Argon2, and `$2a$`, `$2b$` and `$2y$`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: &str| Invalid::new("password_hash", problem);
        let scheme = Scheme::parse(text).ok_or_else(|| {
            invalid(
                "it is none of pbkdf2_sha256, pbkdf2_sha1, argon2, bcrypt, bcrypt_sha256, \
                     scrypt, $argon2id$ and $2b$, or is not complete",
            )
        })?;
        if let Some(problem) = scheme.excess() {
            return Err(invalid(problem));
        }
        let wait = if text.starts_with(super::OURS) { 0 } else { scheme.wait() };
        Ok(Self { text: text.to_owned(), wait })
    }

    /// The hash as it is stored.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many milliseconds verifying it can take; 0 where it is one of ours.
    pub(crate) fn wait(&self) -> i64 {
        self.wait
    }
}

impl std::fmt::Debug for MovedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MovedHash(…)")
    }
}

/// A hash, taken apart.
enum Scheme<'h> {
    Pbkdf2 {
        is_sha1: bool,
        rounds: NonZeroU32,
        salt: &'h str,
        key: Vec<u8>,
    },
    Argon2(Box<PasswordHash>),
    /// The password is hashed by SHA-256 first, as only its first 72 bytes count.
    Bcrypt {
        of_sha256: bool,
        cost: u32,
        hash: &'h str,
    },
    Scrypt {
        params: scrypt::Params,
        bytes: u64,
        runs: u32,
        salt: &'h str,
        key: Vec<u8>,
    },
}

impl<'h> Scheme<'h> {
    fn parse(text: &'h str) -> Option<Self> {
        if text.starts_with('$') {
            return if text.starts_with("$argon2") { argon2(text) } else { bcrypt(text, false) };
        }
        let (algorithm, rest) = text.split_once('$')?;
        match algorithm {
            "pbkdf2_sha256" | "pbkdf2_sha1" => {
                let [rounds, salt, key] = fields(rest)?;
                let (is_sha1, key) = (algorithm == "pbkdf2_sha1", STANDARD.decode(key).ok()?);
                let rounds = NonZeroU32::new(number(rounds)?)?;
                let fits = key.len() == if is_sha1 { 20 } else { 32 };
                fits.then_some(Self::Pbkdf2 { is_sha1, rounds, salt, key })
            }
            "argon2" => argon2(text.strip_prefix("argon2")?),
            "bcrypt" => bcrypt(rest, false),
            "bcrypt_sha256" => bcrypt(rest, true),
            "scrypt" => {
                let [n, salt, r, p, key] = fields(rest)?;
                let (n, r, runs): (u32, u32, u32) = (number(n)?, number(r)?, number(p)?);
                if !n.is_power_of_two() || r > 1 << 16 {
                    return None;
                }
                let log_n = u8::try_from(n.ilog2()).ok()?;
                let params = scrypt::Params::new(log_n, r, runs).ok()?;
                let (bytes, key) = (128 * u64::from(n) * u64::from(r), STANDARD.decode(key).ok()?);
                let fits = key.len() == 64;
                fits.then_some(Self::Scrypt { params, bytes, runs, salt, key })
            }
            _ => None,
        }
    }

    /// What is too much work to do for a sign-in.
    fn excess(&self) -> Option<&'static str> {
        match self {
            Self::Pbkdf2 { rounds, .. } if rounds.get() > MAX_ROUNDS => {
                Some("it has more than 4,000,000 rounds of PBKDF2")
            }
            Self::Bcrypt { cost, .. } if *cost > MAX_COST => Some("its cost of bcrypt is above 15"),
            Self::Scrypt { bytes, runs, .. } if *bytes > MAX_SCRYPT || *runs > MAX_RUNS => {
                Some("its scrypt takes more than 64 MiB of memory, or more than 8 runs")
            }
            Self::Argon2(hash) => {
                let params = Params::try_from(&**hash).ok();
                let is_bounded = params.is_some_and(|params| {
                    params.m_cost() <= MAX_ARGON2
                        && params.t_cost() <= MAX_PASSES
                        && params.p_cost() <= MAX_LANES
                });
                (!is_bounded)
                    .then_some("its Argon2 takes more than 128 MiB of memory, 4 passes or 16 lanes")
            }
            _ => None,
        }
    }

    /// How many bytes verifying it takes, but for a few.
    fn memory(&self) -> u64 {
        match self {
            Self::Pbkdf2 { .. } | Self::Bcrypt { .. } => 0,
            Self::Scrypt { bytes, .. } => *bytes,
            Self::Argon2(hash) => {
                u64::from(Params::try_from(&**hash).unwrap_or_default().m_cost()) << 10
            }
        }
    }

    /// How many milliseconds verifying it takes on a slow or busy machine: four times what was
    /// measured on a processor of 2023.
    fn wait(&self) -> i64 {
        let (work, per_millisecond) = match self {
            Self::Pbkdf2 { rounds, .. } => (u64::from(rounds.get()), 1_000),
            Self::Bcrypt { cost, .. } => (1 << (*cost).min(MAX_COST), 4),
            Self::Scrypt { bytes, runs, .. } => (bytes * u64::from(*runs), 100_000),
            Self::Argon2(hash) => {
                let params = Params::try_from(&**hash).unwrap_or_default();
                (u64::from(params.m_cost()) * u64::from(params.t_cost()), 400)
            }
        };
        i64::try_from(work / per_millisecond).unwrap_or(i64::MAX)
    }

    fn fits(&self, password: &[u8]) -> bool {
        match self {
            Self::Pbkdf2 { is_sha1, rounds, salt, key } => {
                let algorithm =
                    if *is_sha1 { pbkdf2::PBKDF2_HMAC_SHA1 } else { pbkdf2::PBKDF2_HMAC_SHA256 };
                pbkdf2::verify(algorithm, *rounds, salt.as_bytes(), password, key).is_ok()
            }
            Self::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Self::Bcrypt { of_sha256: true, hash, .. } => {
                bcrypt::verify(hex::encode(Sha256::digest(password)), hash).unwrap_or(false)
            }
            Self::Bcrypt { hash, .. } => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Scrypt { params, salt, key, .. } => {
                let mut found = vec![0; key.len()];
                let made = scrypt::scrypt(password, salt.as_bytes(), params, &mut found);
                made.is_ok() && bool::from(found.ct_eq(key))
            }
        }
    }
}

/// Whether the password matches a hash of another program.
pub(super) fn verify(password: &[u8], hash: &str) -> bool {
    Scheme::parse(hash).is_some_and(|scheme| scheme.fits(password))
}

/// How many milliseconds verifying can take.
pub(super) fn wait(hash: &str) -> u64 {
    Scheme::parse(hash).map_or(0, |scheme| scheme.wait().unsigned_abs())
}

/// Whether verifying takes more memory than a hash of ours, or over a second of a processor.
pub(super) fn is_costly(hash: &str) -> bool {
    let memory = u64::from(Params::DEFAULT_M_COST) << 10;
    Scheme::parse(hash).is_some_and(|scheme| scheme.memory() > memory || scheme.wait() > LONG)
}

fn argon2<'h>(phc: &str) -> Option<Scheme<'h>> {
    let hash = PasswordHash::new(phc).ok()?;
    let is_whole = hash.hash.is_some() && hash.salt.is_some();
    (is_whole && Params::try_from(&hash).is_ok()).then(|| Scheme::Argon2(hash.into()))
}

fn bcrypt(hash: &str, of_sha256: bool) -> Option<Scheme<'_>> {
    let version = ["$2a$", "$2b$", "$2y$"].iter().any(|version| hash.starts_with(version));
    let parts: bcrypt::HashParts = hash.parse().ok()?;
    let cost = parts.get_cost();
    let is_whole = version && hash.len() == 60 && (4..=31).contains(&cost);
    is_whole.then_some(Scheme::Bcrypt { of_sha256, cost, hash })
}

/// The parts between dollars, if there are so many and none is empty.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    let parts: Vec<_> = text.split('$').collect();
    let parts: [&str; N] = parts.try_into().ok()?;
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

/// A number above 0, of digits alone.
fn number(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hash_that_is_taken_in_waits_longer_than_the_longest() {
        let (key, long) = (STANDARD.encode([7; 32]), STANDARD.encode([7; 64]));
        let at_most = [
            format!("pbkdf2_sha256${MAX_ROUNDS}$salt${key}"),
            format!("$2b${MAX_COST}$abcdefghijklmnopqrstuuKiIlCeXB6chNXkLyAo8C7XcLPzh6zUe"),
            format!("scrypt$65536$salt$8${MAX_RUNS}${long}"),
            format!(
                "$argon2id$v=19$m={MAX_ARGON2},t={MAX_PASSES},p={MAX_LANES}$c2FsdHNhbHQ${}",
                "A".repeat(43)
            ),
        ];
        let waits = at_most.map(|hash| MovedHash::parse(&hash).expect(&hash).wait());
        assert_eq!(waits.into_iter().max(), i64::try_from(LONGEST_WAIT).ok());
    }
}
