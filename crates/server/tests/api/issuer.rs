//! An issuer of JWTs: keys of several kinds, tokens signed by them, and a server that gives the
//! public ones to anybody who asks, in whatever way the test wants.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Time;
use serde_json::{Value, json};

/// The audience of all tokens.
pub(crate) const AUDIENCE: &str = "postroom";

/// A key, under a name.
pub(crate) struct SigningKey {
    kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SigningKey {
    pub(crate) fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
        Self { kid: kid.to_owned(), pair: Pair::Rsa(pair) }
    }

    pub(crate) fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self { kid: kid.to_owned(), pair: Pair::Ec(pair.expect("a key can be made")) }
    }

    pub(crate) fn ed(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key can be made");
        Self { kid: kid.to_owned(), pair: Pair::Ed(pair) }
    }

    pub(crate) fn secret(kid: &str, secret: &[u8]) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Secret(secret.to_vec()) }
    }

    /// The usual algorithm of its kind.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
            Pair::Secret(_) => "HS256",
        }
    }

    /// The public key as a member of a JWK set.
    pub(crate) fn public(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "kid": self.kid, "alg": "RS256", "use": "sig",
                        "n": text(&parts.n), "e": text(&parts.e) })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "kid": self.kid, "crv": "P-256",
                        "x": text(x), "y": text(y) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "kid": self.kid, "crv": "Ed25519",
                                      "x": text(pair.public_key().as_ref()) }),
            Pair::Secret(secret) => {
                json!({ "kty": "oct", "kid": self.kid, "alg": "HS256", "k": text(secret) })
            }
        }
    }

    /// The bytes of the public key as a program would find them in a file.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Secret(secret) => secret.clone(),
        }
    }

    /// A token with the usual header.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.kid });
        self.sign_with(&header, claims)
    }

    /// A token with any header, signed as the header says where the key can.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| text(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let (bytes, random) = (message.as_bytes(), SystemRandom::new());
        let signed = match &self.pair {
            Pair::Rsa(pair) => {
                let is_pss = header["alg"] == "PS256";
                let padding: &dyn signature::RsaEncoding =
                    if is_pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, bytes, &mut signed).expect("the key signs");
                signed
            }
            Pair::Ec(pair) => pair.sign(&random, bytes).expect("it signs").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(bytes).as_ref().to_vec(),
            Pair::Secret(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), bytes).as_ref().to_vec()
            }
        };
        format!("{message}.{}", text(&signed))
    }
}

/// What the issuer answers to anybody who asks for its keys.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These keys, for so many seconds.
    Keys(Vec<Value>, u32),
    /// A body of any kind.
    Body(Vec<u8>),
    /// An error.
    Down,
    /// Nothing, and the connection stays open.
    Silent,
}

/// The server of an issuer, on 127.0.0.1.
pub(crate) struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.expect("it can be accepted");
                open.extend(respond(stream, address, &shared.0, &shared.1));
            }
        });
        Self { address, answer, asked }
    }

    /// An issuer that has these keys.
    pub(crate) fn with(keys: &[&SigningKey]) -> Self {
        Self::start(Answer::Keys(keys.iter().map(|key| key.public()).collect(), 3600))
    }

    /// The claim `iss` of its tokens.
    pub(crate) fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn jwks(&self) -> String {
        format!("{}/jwks", self.name())
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panics with it") = answer;
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// The claims of a token that is good for five minutes.
    pub(crate) fn claims(&self, subject: &str, now: Time) -> Value {
        let now = now.0 / Time::SECOND;
        json!({ "iss": self.name(), "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 300 })
    }
}

/// Answers a request; returns the connection if it is to stay open without an answer.
fn respond(
    mut stream: TcpStream,
    address: SocketAddr,
    answer: &Mutex<Answer>,
    asked: &AtomicUsize,
) -> Option<TcpStream> {
    let mut lines = BufReader::new(stream.try_clone().expect("it can be read")).lines();
    let line = lines.next()?.ok()?;
    let mut rest = lines.map_while(Result::ok);
    rest.find(String::is_empty)?;
    let discovery = line.contains("/.well-known/openid-configuration");
    if !discovery {
        asked.fetch_add(1, SeqCst);
    }
    let answer = answer.lock().expect("nobody panics with it").clone();
    let (status, cached, body) = match answer {
        Answer::Silent => return Some(stream),
        Answer::Down => ("503 Service Unavailable", 0, vec![]),
        _ if discovery => {
            let name = format!("http://{address}");
            let metadata = json!({ "issuer": name, "jwks_uri": format!("{name}/jwks") });
            ("200 OK", 0, metadata.to_string().into_bytes())
        }
        Answer::Keys(keys, seconds) => {
            ("200 OK", seconds, json!({ "keys": keys }).to_string().into_bytes())
        }
        Answer::Body(body) => ("200 OK", 0, body),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nCache-Control: public, max-age={cached}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // The server may have gone, or want no more of it.
    let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    None
}
