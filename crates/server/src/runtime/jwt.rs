//! JWTs of the app or its identity provider: each is verified once, then remembered by hashes.
//!
//! A JWT is never stored, and neither it nor what it says reaches a log.

mod claims;
mod issuer;
mod key_set;

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use anyhow::{Context as _, ensure};
use domain::Time;
use domain::browser_tokens::Grant;
use jsonwebtoken::Algorithm;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::connect::{Guard, Target};
use super::key;
use crate::config::Settings;
use crate::config::jwt::{JwtIssuer, KeySource};
pub(crate) use claims::{Claims, Refused};
pub(crate) use issuer::Issuer;
use key_set::{Found, KeySet};

/// JWTs that are remembered, with about 200 bytes each.
const REMEMBERED: usize = 65_536;
/// Bad ones that are remembered, so that a client which repeats one costs no signature.
const BAD: usize = 1_024;
/// Bytes of the secret that an app signs with.
const SECRET_BYTES: usize = 32;

/// A hash of a JWT.
pub(crate) type Hash = [u8; 32];

/// What a JWT is remembered by: a hash of its signature, which only who has the JWT knows, and one
/// of the rest, so that the signature with other claims is not taken for it. The second costs
/// little, and may: it could be made to fit only by somebody who has the JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    signature: Hash,
    rest: u64,
}

/// What was verified of a token that is in use: a browser token or a JWT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) grant: Grant,
    /// The key of a JWT, without which it ends; a browser token of ours has none.
    pub(crate) key: Option<KeyOfJwt>,
}

/// The key that a JWT was verified by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyOfJwt {
    issuer: usize,
    fingerprint: [u8; 16],
    /// The generation of the issuer's keys in which it was last seen.
    generation: u64,
}

/// The issuers whose JWTs are accepted, and the JWTs in use.
pub(crate) struct Jwts {
    issuers: Vec<Issuer>,
    guard: Guard,
    /// Notified where a token names a key that is not known.
    pub(crate) wanted: Notify,
    verified: Cache<Name, Pass>,
    /// The key of the hashes of what is not the signature.
    rest: RandomState,
    /// What is wrong with some tokens, by the generation of the keys that said so.
    bad: Cache<Hash, (u64, Refused)>,
}

/// A JWT whose signature and claims are right; the account is still to be found.
pub(crate) struct Verified<'a> {
    pub(crate) claims: Claims,
    pub(crate) issuer: &'a JwtIssuer,
    pub(crate) key: KeyOfJwt,
}

impl Jwts {
    /// The issuers of the settings.
    ///
    /// # Errors
    /// Why their keys can never be read.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Self> {
        // What is named has to be there, whether or not there is an issuer.
        if !settings.jwt_secret_file.as_os_str().is_empty() {
            read_secret(&settings.jwt_secret_file)?;
        }
        if let KeySource::File(path) = &settings.jwt_keys {
            read_keys(path, &settings.jwt_algorithms)?;
        }
        let guard = Guard::new(settings.jwt_allow_hosts.clone(), "jwt_allow_hosts");
        let all = settings.jwt_issuers();
        let open = |one: &JwtIssuer| {
            let of = || format!("the issuer of JWTs {}", one.issuer);
            open(one, &all, &guard).with_context(of)
        };
        let issuers = all.iter().map(open).collect::<anyhow::Result<Vec<_>>>()?;
        // Without issuers nothing is ever remembered.
        let (most, bad) = if issuers.is_empty() { (1, 1) } else { (REMEMBERED, BAD) };
        Ok(Self {
            issuers,
            guard,
            wanted: Notify::new(),
            verified: Cache::new(most),
            rest: RandomState::new(),
            bad: Cache::new(bad),
        })
    }

    pub(crate) fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What a text would be remembered by, if it was a JWT.
    pub(crate) fn name(&self, token: &str) -> Name {
        let (rest, signature) = token.rsplit_once('.').unwrap_or(("", token));
        Name { signature: Sha256::digest(signature).into(), rest: self.rest.hash_one(rest) }
    }

    /// A JWT that was verified before, if its key still is its issuer's.
    pub(crate) fn remembered(&self, name: &Name) -> Option<Pass> {
        let pass = self.verified.get(name)?;
        let key = pass.key?;
        if self.generation(key.issuer) == key.generation {
            return Some(pass);
        }
        self.recheck(name, pass, key)
    }

    /// The keys have changed since the JWT was last seen.
    fn recheck(&self, name: &Name, pass: Pass, key: KeyOfJwt) -> Option<Pass> {
        let generation = self.generation(key.issuer);
        if !self.is_current(&key) {
            self.verified.remove(name);
            return None;
        }
        let pass = Pass { key: Some(KeyOfJwt { generation, ..key }), ..pass };
        self.verified.insert(*name, pass);
        Some(pass)
    }

    /// Whether a key still is its issuer's.
    pub(crate) fn is_current(&self, key: &KeyOfJwt) -> bool {
        let issuer = self.issuers.get(key.issuer);
        issuer.is_some_and(|issuer| {
            issuer.generation() == key.generation || issuer.keys().has(&key.fingerprint)
        })
    }

    fn generation(&self, issuer: usize) -> u64 {
        self.issuers.get(issuer).map_or(0, Issuer::generation)
    }

    pub(crate) fn remember(&self, name: Name, pass: Pass) {
        self.verified.insert(name, pass);
    }

    /// Verifies a JWT. Where it names a key that is not known, the keys of its issuer are fetched
    /// first, if that was not just done.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) async fn verify(
        &self,
        hash: &Hash,
        token: &str,
        now: impl Fn() -> Time + Send,
    ) -> Result<Verified<'_>, Refused> {
        if self.issuers.is_empty() {
            return Err(Refused::Invalid("this server takes no JWTs: jwt_issuer is not set"));
        }
        let header = claims::header(token)?;
        let issued_by = claims::issuer(token)?;
        let known = self.issuers.iter().enumerate();
        let mut known = known.filter(|(_, issuer)| issuer.settings.issuer == issued_by);
        let unknown = Refused::Invalid("its issuer is not one of this server's");
        let (at, issuer) = known.next().ok_or(unknown)?;
        let mut tried = false;
        loop {
            // Before the keys: where they change meanwhile, they are looked at again.
            let generation = issuer.generation();
            if let Some((_, refused)) = self.bad.get(hash).filter(|(of, _)| *of == generation) {
                return Err(refused);
            }
            let keys = issuer.keys();
            match keys.find(header.kid.as_deref(), header.alg) {
                Found::Key(key) => {
                    let claims = claims::check(token, key, issuer, now());
                    let claims =
                        claims.inspect_err(|refused| self.note(hash, generation, *refused))?;
                    let (settings, fingerprint) = (&issuer.settings, key.fingerprint);
                    let key = KeyOfJwt { issuer: at, fingerprint, generation };
                    return Ok(Verified { claims, issuer: settings, key });
                }
                Found::Unknown
                    if !tried && issuer.fetched_again(generation, &self.wanted, now()).await =>
                {
                    tried = true;
                }
                Found::Unknown => return Err(Refused::Invalid("its key is not its issuer's")),
                Found::Unfit => {
                    return Err(Refused::Invalid("its alg is not that of its key"));
                }
            }
        }
    }

    /// Remembers that a token is bad, unless it may become good.
    fn note(&self, hash: &Hash, generation: u64, refused: Refused) {
        if refused != Refused::NotYetValid {
            self.bad.insert(*hash, (generation, refused));
        }
    }
}

/// Reads the secret that an app signs with.
fn read_secret(path: &Path) -> anyhow::Result<String> {
    let secret = key::read_file(path, "the secret of jwt_secret_file")?;
    let has_length = secret.len() >= SECRET_BYTES;
    ensure!(has_length, "the secret must have at least {SECRET_BYTES} bytes");
    Ok(secret)
}

/// Confirms that a file has keys that can be used.
fn read_keys(path: &Path, algorithms: &[Algorithm]) -> anyhow::Result<()> {
    let json = issuer::read(path).map_err(anyhow::Error::msg)?;
    let keys = KeySet::parse(&json, algorithms).map(drop);
    keys.map_err(anyhow::Error::msg).context("the keys of jwt_keys")
}

fn open(one: &JwtIssuer, all: &[JwtIssuer], guard: &Guard) -> anyhow::Result<Issuer> {
    let prefix = one.external_id_prefix.as_str();
    let others = all.iter().map(|other| other.external_id_prefix.clone());
    let others = others.filter(|other| other.len() > prefix.len() && other.starts_with(prefix));
    let others = others.collect();
    if !one.secret_file.as_os_str().is_empty() {
        let secret = read_secret(&one.secret_file)?;
        return Ok(Issuer::new(one.clone(), others, Some(&secret)));
    }
    let address = match &one.keys {
        KeySource::File(path) => {
            read_keys(path, &one.algorithms)?;
            return Ok(Issuer::new(one.clone(), others, None));
        }
        KeySource::Address(address) => address,
        KeySource::Discovery => &one.issuer,
    };
    let target = Target::parse(address).map_err(anyhow::Error::msg);
    let target = target.with_context(|| format!("the address of its keys, {address}"))?;
    let allowed = guard.allows(&target).map_err(anyhow::Error::msg);
    allowed.with_context(|| format!("the address of its keys, {address}"))?;
    Ok(Issuer::new(one.clone(), others, None))
}
