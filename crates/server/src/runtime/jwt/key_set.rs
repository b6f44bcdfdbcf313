//! The keys of an issuer. Each is for one algorithm, which is never taken from a token.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Keys that a set may have.
const MOST: usize = 64;

/// A key, and what it is known by.
pub(crate) struct Key {
    /// `None` where the issuer gives it no name.
    kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
    /// A hash of the key and its algorithm.
    pub(crate) fingerprint: [u8; 16],
}

/// The keys that an issuer signs with now.
#[derive(Default)]
pub(crate) struct KeySet(Vec<Key>);

/// The key of a token, or why there is none.
pub(crate) enum Found<'a> {
    Key(&'a Key),
    /// There is no such key: the issuer may have a new one.
    Unknown,
    /// A key of that name is for another algorithm, or several keys fit.
    Unfit,
}

impl KeySet {
    /// Reads a JWK set. Keys for other purposes and of unknown kinds are left out, and symmetric
    /// ones, which everybody could read here.
    ///
    /// # Errors
    /// Why there is no key that can be used.
    pub(crate) fn parse(json: &[u8], allowed: &[Algorithm]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: Set<'_> =
            serde_json::from_slice(json).map_err(|_cause| "it is not a JWK set".to_owned())?;
        if set.keys.len() > MOST {
            return Err(format!("it has more than {MOST} keys"));
        }
        let parsed = set.keys.iter().filter_map(|key| Key::parse(key.get(), allowed));
        let keys: Vec<_> = parsed.collect();
        if keys.is_empty() {
            return Err("it has no key that can be used".to_owned());
        }
        Ok(Self(keys))
    }

    /// The one secret that an app signs with.
    pub(crate) fn secret(secret: &[u8]) -> Self {
        let fingerprint = fingerprint(Algorithm::HS256, secret);
        let decoding = DecodingKey::from_secret(secret);
        Self(vec![Key { kid: None, algorithm: Algorithm::HS256, decoding, fingerprint }])
    }

    /// The key that a token names, or the only one that fits.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let named: Vec<_> =
            self.0.iter().filter(|key| kid.is_some() && key.kid.as_deref() == kid).collect();
        let is_named = !named.is_empty();
        let nameless = |key: &&Key| kid.is_none() || key.kid.is_none();
        let known = if is_named { named } else { self.0.iter().filter(nameless).collect() };
        let mut fitting = known.into_iter().filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(key),
            (None, _) if !is_named => Found::Unknown,
            _ => Found::Unfit,
        }
    }

    pub(crate) fn has(&self, fingerprint: &[u8; 16]) -> bool {
        self.0.iter().any(|key| key.fingerprint == *fingerprint)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let all_in = |one: &Self, other: &Self| {
            let known = |key: &Key| other.0.iter().any(|same| same.is_same(key));
            one.0.iter().all(known)
        };
        all_in(self, other) && all_in(other, self)
    }
}

impl Key {
    fn parse(json: &str, allowed: &[Algorithm]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_str(json).ok()?;
        let common = &jwk.common;
        let verifies = |operations: &Vec<_>| operations.contains(&KeyOperations::Verify);
        let signs = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(verifies);
        let family = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa,
            AlgorithmParameters::EllipticCurve(_) => AlgorithmFamily::Ec,
            AlgorithmParameters::OctetKeyPair(_) => AlgorithmFamily::Ed,
            _ => return None,
        };
        let algorithm = match common.key_algorithm {
            Some(named) => named.try_into().ok()?,
            None => unnamed(&jwk.algorithm, allowed)?,
        };
        let curve = match (&jwk.algorithm, algorithm) {
            (AlgorithmParameters::EllipticCurve(of), _) => usual_of(&of.curve) == Some(algorithm),
            (AlgorithmParameters::OctetKeyPair(of), _) => of.curve == EllipticCurve::Ed25519,
            _ => true,
        };
        let is_allowed = allowed.is_empty() || allowed.contains(&algorithm);
        if !signs || !curve || !is_allowed || algorithm.family() != family {
            return None;
        }
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        let material = serde_json::to_vec(&jwk.algorithm).ok()?;
        let fingerprint = fingerprint(algorithm, &material);
        Some(Self { kid: jwk.common.key_id, algorithm, decoding, fingerprint })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid && self.fingerprint == other.fingerprint
    }
}

/// The algorithm of a key that names none: the usual one of its kind, or the first that is allowed.
fn unnamed(of: &AlgorithmParameters, allowed: &[Algorithm]) -> Option<Algorithm> {
    let usual = usual(of)?;
    let other = || allowed.iter().copied().find(|other| other.family() == usual.family());
    if allowed.is_empty() || allowed.contains(&usual) { Some(usual) } else { other() }
}

fn usual(of: &AlgorithmParameters) -> Option<Algorithm> {
    match of {
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) => usual_of(&key.curve),
        AlgorithmParameters::OctetKeyPair(key) => usual_of(&key.curve),
        _ => None,
    }
}

fn usual_of(curve: &EllipticCurve) -> Option<Algorithm> {
    match curve {
        EllipticCurve::P256 => Some(Algorithm::ES256),
        EllipticCurve::P384 => Some(Algorithm::ES384),
        EllipticCurve::Ed25519 => Some(Algorithm::EdDSA),
        _ => None,
    }
}

fn fingerprint(algorithm: Algorithm, material: &[u8]) -> [u8; 16] {
    let hash = Sha256::new().chain_update(format!("{algorithm:?}:")).chain_update(material);
    let hash = hash.finalize();
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The modulus of a real key matters only where a signature is checked.
    fn rsa(more: &Value) -> Value {
        let mut key = json!({ "kty": "RSA", "n": "sXchDaQebHnPiGvyDOAT4saGEUetSyo", "e": "AQAB" });
        let more = more.as_object().expect("they are named").clone();
        key.as_object_mut().expect("it is an object").extend(more);
        key
    }

    fn set(keys: &[Value], allowed: &[Algorithm]) -> Result<KeySet, String> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), allowed)
    }

    fn algorithms(keys: &[Value], allowed: &[Algorithm]) -> Vec<Algorithm> {
        set(keys, allowed).map_or(vec![], |set| set.0.iter().map(|key| key.algorithm).collect())
    }

    #[test]
    fn a_key_is_for_the_algorithm_that_it_names_or_the_usual_one_of_its_kind() {
        use Algorithm::{ES256, ES384, EdDSA, PS256, RS256, RS512};
        let ec = |curve: &str| json!({ "kty": "EC", "crv": curve, "x": "AA", "y": "AA" });
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" });
        assert_eq!(algorithms(&[rsa(&json!({}))], &[]), [RS256]);
        assert_eq!(algorithms(&[rsa(&json!({ "alg": "RS512" }))], &[]), [RS512]);
        assert_eq!(algorithms(&[rsa(&json!({}))], &[PS256, ES256]), [PS256]);
        assert_eq!(algorithms(&[rsa(&json!({}))], &[PS256, RS256]), [RS256]);
        assert_eq!(algorithms(&[rsa(&json!({ "alg": "RS512" }))], &[RS256]), []);
        assert_eq!(algorithms(&[ec("P-256"), ec("P-384"), ed], &[]), [ES256, ES384, EdDSA]);
    }

    #[test]
    fn what_is_no_key_for_signatures_is_left_out() {
        for key in [
            rsa(&json!({ "use": "enc" })),
            rsa(&json!({ "key_ops": ["encrypt"] })),
            rsa(&json!({ "alg": "RSA-OAEP" })),
            rsa(&json!({ "alg": "HS256" })),
            rsa(&json!({ "alg": "ES256" })),
            json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
            json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "alg": "ES384" }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
            json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
            json!({ "kty": "AKP", "pub": "AA", "alg": "ML-DSA-44" }),
            json!("a text"),
        ] {
            assert!(set(std::slice::from_ref(&key), &[]).is_err(), "{key}");
            assert_eq!(algorithms(&[key, rsa(&json!({}))], &[]), [Algorithm::RS256]);
        }
        assert!(set(&vec![rsa(&json!({})); MOST], &[]).is_ok());
        assert!(set(&vec![rsa(&json!({})); MOST + 1], &[]).is_err());
        for garbage in ["", "{}", "[]", "<html>", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
            assert!(KeySet::parse(garbage.as_bytes(), &[]).is_err(), "{garbage}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_name_or_as_the_only_one_that_fits() {
        let named = |kid: &str, alg: &str| rsa(&json!({ "kid": kid, "alg": alg }));
        let keys = [named("a", "RS256"), named("b", "RS256"), named("c", "PS256")];
        let keys = set(&keys, &[]).expect("they are keys");
        let found = |kid, algorithm| match keys.find(kid, algorithm) {
            Found::Key(key) => key.kid.as_deref().unwrap_or_default(),
            Found::Unknown => "unknown",
            Found::Unfit => "unfit",
        };
        assert_eq!(found(Some("a"), Algorithm::RS256), "a");
        assert_eq!(found(Some("a"), Algorithm::PS256), "unfit");
        assert_eq!(found(Some("a"), Algorithm::HS256), "unfit");
        assert_eq!(found(Some("d"), Algorithm::RS256), "unknown");
        assert_eq!(found(None, Algorithm::RS256), "unfit");
        assert_eq!(found(None, Algorithm::PS256), "c");
        assert_eq!(found(None, Algorithm::HS256), "unknown");
        let nameless = set(&[rsa(&json!({}))], &[]).expect("it is a key");
        assert!(matches!(nameless.find(Some("any"), Algorithm::RS256), Found::Key(_)));
        let secret = KeySet::secret(b"thirty-two bytes of a secret ...");
        assert!(matches!(secret.find(Some("any"), Algorithm::HS256), Found::Key(_)));
        assert!(matches!(secret.find(Some("any"), Algorithm::RS256), Found::Unknown));
    }
}
