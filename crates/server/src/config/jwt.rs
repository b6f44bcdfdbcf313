//! Who may issue JWTs: the settings `jwt_…`, and the tables `[[jwt]]`.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Sessions of the app that were ended are remembered for a day, so no token may be older.
const LONGEST: u32 = 86_400;

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The address is in the document that the issuer itself publishes (discovery).
    Discovery,
    /// The address of a JWK set.
    Address(String),
    /// A file with a JWK set.
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provision {
    /// Who is not known gets an account.
    Create,
    /// Who is not known is refused.
    Known,
}

/// One issuer. The names are those of the tables; the settings have `jwt_` before them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtIssuer {
    pub issuer: String,
    pub audience: String,
    #[serde(default = "discovery", deserialize_with = "key_source")]
    pub keys: KeySource,
    #[serde(default)]
    pub secret_file: PathBuf,
    #[serde(default, deserialize_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    #[serde(default = "subject")]
    pub subject: String,
    #[serde(default = "name")]
    pub name: String,
    #[serde(default = "email")]
    pub email: String,
    #[serde(default = "leeway")]
    pub leeway_seconds: u32,
    #[serde(default = "longest")]
    pub longest_seconds: u32,
    #[serde(default = "provision")]
    pub provision: Provision,
    #[serde(default)]
    pub update_profile: bool,
    #[serde(default)]
    pub external_id_prefix: String,
}

fn discovery() -> KeySource {
    KeySource::Discovery
}

fn subject() -> String {
    "sub".to_owned()
}

fn name() -> String {
    "name".to_owned()
}

fn email() -> String {
    "email".to_owned()
}

fn leeway() -> u32 {
    60
}

fn longest() -> u32 {
    LONGEST
}

fn provision() -> Provision {
    Provision::Create
}

pub(super) fn key_source<'de, D: Deserializer<'de>>(from: D) -> Result<KeySource, D::Error> {
    let text = String::deserialize(from)?;
    match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Ok(KeySource::File(path.into())),
        None if text == "discovery" => Ok(KeySource::Discovery),
        None if text.starts_with("https://") || text.starts_with("http://") => {
            Ok(KeySource::Address(text))
        }
        _ => Err(D::Error::custom("it must be discovery, an address or file:PATH")),
    }
}

pub(super) fn algorithms<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Algorithm>, D::Error> {
    let parse = |name: &String| name.parse().ok().filter(|known| !is_symmetric(*known));
    let parsed = Vec::<String>::deserialize(from)?.iter().map(parse).collect::<Option<_>>();
    let problem = "each must be RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA \
                   (HS256 is what jwt_secret_file is for)";
    parsed.ok_or_else(|| D::Error::custom(problem))
}

fn is_symmetric(algorithm: Algorithm) -> bool {
    algorithm.family() == jsonwebtoken::AlgorithmFamily::Hmac
}

/// What is wrong with the issuers, if anything.
pub(super) fn problem(issuers: &[JwtIssuer]) -> Option<&'static str> {
    let texts = |one: &JwtIssuer| {
        !one.issuer.is_empty() && !one.audience.is_empty() && !one.subject.is_empty()
    };
    if !issuers.iter().all(texts) {
        return Some("an issuer needs jwt_issuer and jwt_audience, and a claim as jwt_subject");
    }
    if issuers.iter().any(|one| one.leeway_seconds > 600) {
        return Some("the leeway must be at most 600 seconds");
    }
    if issuers.iter().any(|one| !(1..=LONGEST).contains(&one.longest_seconds)) {
        return Some("the longest life of a token must be 1 to 86400 seconds");
    }
    let control = |one: &JwtIssuer| one.external_id_prefix.contains(char::is_control);
    if issuers.iter().any(control) {
        return Some("external_id_prefix must not hold control characters");
    }
    let twice = |same: fn(&JwtIssuer, &JwtIssuer) -> bool| {
        let mut before = issuers.iter().enumerate();
        before.any(|(at, one)| issuers[..at].iter().any(|other| same(one, other)))
    };
    if twice(|one, other| one.issuer == other.issuer) {
        return Some("each issuer must be named once");
    }
    if twice(|one, other| one.external_id_prefix == other.external_id_prefix) {
        return Some("each issuer needs an external_id_prefix of its own");
    }
    None
}
