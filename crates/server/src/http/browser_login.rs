//! Browser tokens and JWTs in the header `Authorization`. Nowhere else: addresses end up in logs.

use std::borrow::Cow;

use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use domain::browser_tokens::{AppSession, Grant, Issued, Standing};
use domain::credential::Credential;
use domain::text::{DisplayName, Email};
use domain::tokens::{Scope, Scopes};
use domain::users::{self, Put, UserChange};
use domain::{Time, UserId, UserRef, history};
use sha2::{Digest as _, Sha256};

use super::client::Device;
use super::code::Code;
use super::{Error, acting, browser_token, login};
use crate::config::jwt::Provision;
use crate::http::App;
use crate::runtime::jwt::{Claims, Hash, Pass, Refused, Verified};

/// Why a call by a browser token or a JWT may be refused, whatever it is for.
pub(super) const CODES: [Code; 9] = [
    Code::TokenExpired,
    Code::TokenRevoked,
    Code::TokenInvalid,
    Code::TokenNotYetValid,
    Code::HolderDeactivated,
    Code::HolderErased,
    Code::SubjectUnknown,
    Code::UserErased,
    Code::RateLimited,
];

/// What a token allows that is a browser token or a JWT, if it is valid now; `None` for any other.
pub(super) async fn pass(
    app: &App,
    parts: &Parts,
    token: &str,
    asked: Scope,
) -> Result<Option<Pass>, Error> {
    if token.starts_with(browser_token::PREFIX) {
        let detail = "the browser token is not one of this server: ask the app for another";
        let invalid = || refuse(Code::TokenInvalid, detail);
        let grant = app.browser_tokens.read(token).ok_or_else(invalid)?;
        return confirm(app, Pass { grant, key: None }).await.map(Some);
    }
    // An object of JSON in base64 begins with these letters.
    if !token.starts_with("ey") {
        return Ok(None);
    }
    let name = app.jwts.name(token);
    if let Some(pass) = app.jwts.remembered(&name) {
        match standing(app, &pass).await? {
            // Under the same external id there may be somebody again, for whom it was not issued.
            Standing::Erased => {}
            standing => return judge(pass, standing).map(Some),
        }
    }
    if token.matches('.').count() != 2 {
        return Ok(None);
    }
    // In a box of its own: it is done once for each JWT, and takes much memory.
    let pass = Box::pin(verify(app, parts, token, asked)).await?;
    let pass = confirm(app, pass).await?;
    app.jwts.remember(name, pass);
    Ok(Some(pass))
}

/// Verifies a JWT that was not seen before. Who is not known may get an account, unless the call is
/// refused whosever it is.
async fn verify(app: &App, parts: &Parts, token: &str, asked: Scope) -> Result<Pass, Error> {
    let hash: Hash = Sha256::digest(token).into();
    let verified = app.jwts.verify(&hash, token, || app.clock.now()).await;
    let verified = verified.map_err(|refused| match refused {
        Refused::Expired => expired(),
        Refused::NotYetValid => {
            refuse(Code::TokenNotYetValid, "the JWT is not valid yet: compare the clocks")
        }
        Refused::Invalid(problem) => {
            refuse(Code::TokenInvalid, format!("the JWT is refused: {problem}"))
        }
    })?;
    let leeway = i64::from(verified.issuer.leeway_seconds) * Time::SECOND;
    let issued = verified.claims.issued_at.plus(-leeway);
    acting::refuse(&parts.headers)?;
    if !Scopes::of_messages().contains(asked) {
        return Err(Error::insufficient_scope(asked.name()));
    }
    let user = user_of(app, parts, &verified, issued).await?;
    let Verified { claims, key, .. } = verified;
    let grant = Grant {
        credential: Credential::of_browser(user, hash),
        scopes: Scopes::of_messages(),
        issued: Issued::At(issued),
        session: claims.session.as_deref().map(AppSession::named),
        expires_at: claims.accepted_until,
    };
    Ok(Pass { grant, key: Some(key) })
}

async fn confirm(app: &App, pass: Pass) -> Result<Pass, Error> {
    let standing = standing(app, &pass).await?;
    judge(pass, standing)
}

async fn standing(app: &App, pass: &Pass) -> Result<Standing, Error> {
    let db = app.db.of(pass.grant.credential.user);
    Ok(app.sessions.standing(db, &app.clock.cx(), &pass.grant).await?)
}

fn judge(pass: Pass, standing: Standing) -> Result<Pass, Error> {
    let is_jwt = pass.key.is_some();
    match standing {
        Standing::Valid => Ok(pass),
        Standing::Expired => Err(expired()),
        Standing::Revoked | Standing::RevokedAhead => Err(revoked()),
        Standing::Deactivated => Err(refuse(Code::HolderDeactivated, "the account is deactivated")),
        // An app that goes on sending JWTs of an erased user learns that it is for good.
        Standing::Erased if is_jwt => Err(domain::Error::UserErased.into()),
        Standing::Erased => Err(refuse(Code::HolderErased, "the account was erased")),
    }
}

fn expired() -> Error {
    refuse(Code::TokenExpired, "the token has expired: ask the app for another")
}

fn revoked() -> Error {
    refuse(Code::TokenRevoked, "the token was revoked: log in to the app again")
}

fn refuse(code: Code, detail: impl Into<Cow<'static, str>>) -> Error {
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    Error::new(code, detail).header(header::WWW_AUTHENTICATE, challenge)
}

/// The account of a JWT, which is made where there is none and the issuer may have it so.
async fn user_of(
    app: &App,
    parts: &Parts,
    verified: &Verified<'_>,
    made_at: Time,
) -> Result<UserId, Error> {
    let device = Device::of(parts, app);
    let (claims, issuer) = (&verified.claims, verified.issuer);
    let user = UserRef::External(claims.subject.clone());
    let (of, cx) = (user.clone(), app.clock.cx());
    let found = app.db.of(device.address).read(move |tx| {
        let found = users::standing(tx, &of)?;
        let is_late = found.is_none() && history::is_later(tx, &cx, made_at)?;
        Ok::<_, domain::Error>((found, is_late))
    });
    let (found, is_late) = found.await?;
    match found {
        Some((_, users::Standing::System)) => {
            return Err(Error::new(Code::SystemUser, "nobody signs in as a system user"));
        }
        Some((user, _)) if !issuer.update_profile => return Ok(user),
        None if issuer.provision == Provision::Known => {
            let detail = "the user of the JWT has no account here: the app's server has to make it";
            return Err(Error::new(Code::SubjectUnknown, detail));
        }
        None if is_late => return Err(revoked()),
        found => acting::confirm(&parts.headers, found.map(|(user, _)| user))?,
    }
    let limit = login::registrations(app, &device);
    let put = Put { user, change: profile(claims) };
    let done = app.db.of(device.address).write(move |tx| {
        let is_new = users::resolve(tx, &put.user)?.is_none();
        let done = match users::put(tx, &cx, &put) {
            // The name must lock nobody out either.
            Err(domain::Error::NameReserved(_)) => {
                let change = UserChange { display_name: None, ..put.change.clone() };
                users::put(tx, &cx, &Put { user: put.user.clone(), change })
            }
            done => done,
        };
        let (user, _status) = done?;
        // An erased user is refused before this, whose app would otherwise use up the limit.
        if is_new {
            limit.count(tx, &cx)?;
        }
        Ok::<_, domain::Error>((user.person.id, is_new))
    });
    let (user, is_new) = done.await?;
    if is_new {
        tracing::info!(client = %device.address, user = user.get(), "registered by a JWT");
    }
    Ok(user)
}

/// What the claims say of a user. What cannot be a name or an address is left out: it must lock
/// nobody out.
fn profile(claims: &Claims) -> UserChange {
    let name = claims.name.as_deref().and_then(DisplayName::cut);
    let email = claims.email.as_deref().and_then(|email| Email::parse(email).ok());
    UserChange { display_name: name.map(Some), email: email.map(Some), ..UserChange::default() }
}
