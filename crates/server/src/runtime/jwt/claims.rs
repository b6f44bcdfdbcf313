//! What a JWT says, and whether it may say so.

use domain::Time;
use domain::browser_tokens::AppSession;
use domain::text::ExternalId;
use jsonwebtoken::{Header, Validation, dangerous, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::issuer::Issuer;
use super::key_set::Key;

/// Bytes that a JWT may have.
const MOST: usize = 8 * 1024;

/// Why a JWT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Expired,
    NotYetValid,
    /// What is wrong with it.
    Invalid(&'static str),
}

/// What a JWT says of its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) subject: ExternalId,
    /// The name of the app's session, from the claim `sid`.
    pub(crate) session: Option<String>,
    pub(crate) issued_at: Time,
    /// When it stops being accepted: its `exp` and the leeway.
    pub(crate) accepted_until: Time,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
}

/// The header of a JWT, before its signature is checked.
pub(super) fn header(token: &str) -> Result<Header, Refused> {
    if token.len() > MOST {
        return Err(Refused::Invalid("it is longer than 8 KB"));
    }
    let unreadable = "it is not a JWT, or its algorithm is not supported";
    let header = decode_header(token).map_err(|_cause| Refused::Invalid(unreadable))?;
    if header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() {
        return Err(Refused::Invalid("it brings its own key (jwk, jku or x5u)"));
    }
    if header.crit.is_some() {
        return Err(Refused::Invalid("it has a critical header (crit), and none is understood"));
    }
    let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    if !matches!(kind, "jwt" | "at+jwt") {
        return Err(Refused::Invalid("its typ is neither JWT nor at+jwt"));
    }
    Ok(header)
}

/// Who says to have issued it; its signature is not checked.
pub(super) fn issuer(token: &str) -> Result<String, Refused> {
    #[derive(Deserialize)]
    struct Issued {
        iss: String,
    }
    let issued = dangerous::insecure_decode_claims::<Issued>(token);
    issued.map(|issued| issued.iss).map_err(|_cause| Refused::Invalid("it has no claim iss"))
}

/// Checks the signature by that key, and then all claims. Times are compared by our own clock,
/// which the library does not know.
pub(super) fn check(token: &str, key: &Key, issuer: &Issuer, now: Time) -> Result<Claims, Refused> {
    let settings = &issuer.settings;
    let mut rules = Validation::new(key.algorithm);
    rules.validate_exp = false;
    rules.set_issuer(&[&settings.issuer]);
    rules.set_audience(&[&settings.audience]);
    rules.set_required_spec_claims(&["iss", "aud"]);
    let checked = decode::<Map<String, Value>>(token, &key.decoding, &rules);
    let claims = checked.map_err(|cause| Refused::Invalid(words(cause.kind())))?.claims;

    let leeway = i64::from(settings.leeway_seconds) * Time::SECOND;
    let longest = i64::from(settings.longest_seconds) * Time::SECOND;
    let required = |name| time(&claims, name)?.ok_or(Refused::Invalid(missing(name)));
    let (expires_at, issued_at) = (required("exp")?, required("iat")?);
    let not_before = time(&claims, "nbf")?;
    if expires_at.0 - issued_at.0 > longest {
        return Err(Refused::Invalid("it lives longer than jwt_longest_seconds allows"));
    }
    let accepted_until = expires_at.plus(leeway);
    if accepted_until <= now {
        return Err(Refused::Expired);
    }
    let latest = now.plus(leeway);
    if issued_at > latest || not_before.is_some_and(|begin| begin > latest) {
        return Err(Refused::NotYetValid);
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_verified = claims.get("email_verified").is_none_or(|is| *is == true || *is == "true");
    Ok(Claims {
        subject: subject(claims.get(&settings.subject), issuer)?,
        session: session(claims.get("sid"))?,
        issued_at,
        accepted_until,
        name: text(&settings.name),
        email: text(&settings.email).filter(|_| is_verified),
    })
}

fn words(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidIssuer => "its iss is not that of the issuer",
        ErrorKind::InvalidAudience => "its aud does not name this server",
        ErrorKind::MissingRequiredClaim(_) => "it lacks iss or aud",
        _ => "its signature is wrong, or its claims cannot be read",
    }
}

fn missing(claim: &str) -> &'static str {
    if claim == "exp" { "it has no claim exp" } else { "it has no claim iat" }
}

/// A claim that is a time, in seconds since 1970.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Time>, Refused> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    // Beyond the year 5138 it is no time, or one in milliseconds.
    let seconds = value.as_f64().filter(|seconds| (0.0..1e11).contains(seconds));
    let wrong = Refused::Invalid("its exp, iat or nbf is not a time in seconds");
    #[expect(clippy::cast_possible_truncation, reason = "it is below 10^17")]
    seconds.map(|seconds| Some(Time((seconds * 1e6) as i64))).ok_or(wrong)
}

/// The name of the app's session. Where it cannot be one, nobody could ever end the session.
fn session(claim: Option<&Value>) -> Result<Option<String>, Refused> {
    let name = match claim {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(name)) if AppSession::fits(name) => name.clone(),
        Some(Value::Number(number)) if number.is_u64() => number.to_string(),
        Some(_) => {
            let wrong = "its sid is neither text of 1 to 255 characters nor a whole number";
            return Err(Refused::Invalid(wrong));
        }
    };
    Ok(Some(name))
}

/// Whom it is about, under the prefix of the issuer.
fn subject(claim: Option<&Value>, issuer: &Issuer) -> Result<ExternalId, Refused> {
    let text = match claim {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) if number.is_u64() => number.to_string(),
        _ => return Err(Refused::Invalid("it lacks the claim that says whom it is about")),
    };
    let id = format!("{}{text}", issuer.settings.external_id_prefix);
    if issuer.others.iter().any(|prefix| id.starts_with(prefix)) {
        return Err(Refused::Invalid("its subject begins with the prefix of another issuer"));
    }
    let wrong = Refused::Invalid("its subject is too long, or holds control characters");
    ExternalId::parse(&id).map_err(|_cause| wrong)
}
