//! What both APIs share of signing in and registering: limits, passwords, log and metrics.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use db::Tx;
use domain::credential::Credential;
use domain::passwords::Password;
use domain::text::{self, DisplayName, Username};
use domain::throttle;
use domain::users::{self, StoredPassword};
use domain::{Cx, UserId, UserRef, passwords};

use super::Error;
use super::client::Device;
use super::code::Code;
use crate::config::{Registration, Switch};
use crate::http::App;
use crate::runtime::passwords::{Place, Purpose};

/// Who says that a password is theirs.
#[derive(Clone)]
pub(super) enum Claimant {
    /// The user of this folded name.
    Named(String),
    /// The owner of this session or token.
    Holder(Credential),
}

impl Claimant {
    pub(super) fn named(name: &str) -> Self {
        Self::Named(login_name(name))
    }

    /// The database for whom the password is looked at: the name may be anybody's.
    fn db<'a>(&self, app: &'a App, address: IpAddr) -> db::Of<'a> {
        match self {
            Self::Named(_) => app.db.of(address),
            Self::Holder(credential) => app.db.of(credential.user),
        }
    }
}

/// An attempt to give a password.
#[derive(Clone)]
pub(super) struct Attempt {
    address: IpAddr,
    /// `None` if rate limits are off.
    counted: Option<throttle::Counted>,
    /// Whose password it was.
    user: Arc<OnceLock<UserId>>,
}

/// An attempt that was counted, and whose password was not looked at yet.
pub(super) struct Counted {
    pub(super) attempt: Attempt,
    claimant: Claimant,
    place: Place,
}

/// Nothing is wrong with the server, so this is no line of the log.
fn too_many_wait() -> Error {
    let detail = "too many sign-ins and registrations wait, try again";
    Error::new(Code::Unavailable, detail).retry_after(1)
}

/// Counts an attempt, for which a place among those who wait for a hash is free.
///
/// # Errors
/// If there were too many failures, or too many wait for a hash.
pub(super) async fn begin(
    app: &App,
    cx: &Cx,
    claimant: Claimant,
    device: &Device,
) -> Result<Counted, Error> {
    let (cx, address, from) = (*cx, device.address, device.public_address());
    let place = app.passwords.place(from, Purpose::SignIn).ok_or_else(too_many_wait)?;
    let mut attempt = Attempt { address, counted: None, user: Arc::default() };
    if app.settings.rate_limits == Switch::Off {
        return Ok(Counted { attempt, claimant, place });
    }
    let attempted = claimant.clone();
    // Who has signed in may be about to erase their account, which has to work on a full disk.
    let purpose = match claimant {
        Claimant::Named(_) => db::Purpose::Store,
        Claimant::Holder(_) => db::Purpose::Free,
    };
    let count = move |tx: &mut Tx<'_>| match &attempted {
        Claimant::Named(name) => throttle::count(tx, &cx, name, from),
        Claimant::Holder(credential) => throttle::count_of_holder(tx, &cx, credential, from),
    };
    let counted = claimant.db(app, address).write_for(purpose, count).await;
    if let Err(domain::Error::Throttled(_)) = &counted {
        app.metrics.logins.throttled.inc();
        let user = match claimant.clone() {
            Claimant::Named(name) => {
                let name = UserRef::Name(name);
                let owner = app.db.of(address).read_one(move |tx| users::resolve(tx, &name)).await;
                owner.ok().flatten()
            }
            Claimant::Holder(credential) => Some(credential.user),
        };
        let user = user.map(UserId::get);
        tracing::info!(client = %address, user, "login throttled after too many failures");
    }
    attempt.counted = Some(counted?);
    Ok(Counted { attempt, claimant, place })
}

/// Counts an attempt and checks the password.
///
/// # Errors
/// As [`begin`] and [`Counted::check`].
pub(super) async fn check(
    app: &App,
    cx: &Cx,
    claimant: Claimant,
    device: &Device,
    password: String,
) -> Result<(StoredPassword, Attempt), Error> {
    let counted = begin(app, cx, claimant, device).await?;
    let attempt = counted.attempt.clone();
    let checked = counted.check(app, password).await;
    Ok((attempt.settle(app, checked).await?, attempt))
}

/// The name as it is compared. An invalid name counts as well, at bounded length.
pub(super) fn login_name(name: &str) -> String {
    let start: String = name.chars().take(text::USERNAME_CHARS + 1).collect();
    Username::parse(&start).map_or_else(|_| text::fold(&start), |name| name.folded().to_owned())
}

impl Counted {
    /// Checks the password. An unknown name costs as much work as a known one; where the hash of
    /// anybody came from another program, every failure is answered as late as if it was theirs. A
    /// right password of such a hash gets one of ours.
    ///
    /// # Errors
    /// If the name or the password is wrong.
    pub(super) async fn check(self, app: &App, password: String) -> Result<StoredPassword, Error> {
        let Self { attempt, claimant, place } = self;
        let turn = claimant.db(app, attempt.address);
        let purpose = match claimant {
            Claimant::Named(_) => db::Purpose::Store,
            Claimant::Holder(_) => db::Purpose::Free,
        };
        let known = turn.read_one(move |tx| match &claimant {
            Claimant::Named(name) => users::password(tx, name),
            Claimant::Holder(credential) => users::password_of(tx, credential.user),
        });
        let known = known.await?;
        let hash = known.as_ref().map(|known| known.hash.clone());
        let is_costly = hash.as_deref().is_some_and(passwords::is_costly);
        let own_wait = Duration::from_millis(hash.as_deref().map_or(0, passwords::wait));
        let verify = move || {
            let began = Instant::now();
            let fits = passwords::verify(password.as_bytes(), hash.as_deref());
            let took = began.elapsed();
            let hash = hash.filter(|_| fits);
            let upgraded = hash.and_then(|hash| passwords::upgrade(password.as_bytes(), &hash));
            (fits, upgraded, began, took)
        };
        let (fits, upgraded, began, took) =
            if is_costly { place.run_alone(verify).await? } else { place.run(verify).await? };
        if !own_wait.is_zero() {
            app.passwords.note(took, own_wait);
        }
        if !fits {
            // A guess counts and tells nothing, also where the database has no time for it.
            let wait = turn.read_one(users::longest_wait).await.unwrap_or(passwords::LONGEST_WAIT);
            let wait = app.passwords.stretch(Duration::from_millis(wait));
            tokio::time::sleep_until((began + wait).into()).await;
        }
        let user = known.as_ref().map(|known| known.user);
        let right = known.filter(|_| fits).ok_or_else(|| {
            app.metrics.logins.refused.inc();
            let user = user.map(UserId::get);
            tracing::info!(client = %attempt.address, user, "login refused");
            Error::from(domain::Error::AuthenticationFailed)
        })?;
        attempt.user.get_or_init(|| right.user);
        let Some(hash) = upgraded else { return Ok(right) };
        let upgrade = move |tx: &mut Tx<'_>| users::upgrade_password(tx, &right, &hash);
        Ok(turn.write_for(purpose, upgrade).await?)
    }
}

impl Attempt {
    /// Gives the attempt back where a request failed for another reason than a wrong password.
    pub(super) async fn settle<T>(&self, app: &App, done: Result<T, Error>) -> Result<T, Error> {
        // That a key was used for another request may tell that the password was another one.
        let stays = [Code::AuthenticationFailed, Code::KeyReused];
        let is_settled = done.as_ref().map_or_else(|error| stays.contains(&error.code()), |_| true);
        if !is_settled {
            self.give_back(app).await;
        }
        done
    }

    /// Gives the attempt back.
    pub(super) async fn give_back(&self, app: &App) {
        let Some(counted) = self.counted.clone() else { return };
        let back = move |tx: &mut Tx<'_>| throttle::give_back(tx, &counted);
        if let Err(error) = app.db.of(self.address).write_for(db::Purpose::Free, back).await {
            tracing::debug!(%error, "an attempt stays counted");
        }
    }

    /// Gives a right attempt back, in the transaction of what it was for, and makes its address
    /// familiar to the user.
    pub(super) fn let_in(&self, tx: &mut Tx<'_>, cx: &Cx) -> domain::Result<()> {
        match (&self.counted, self.user.get()) {
            (Some(counted), Some(user)) => throttle::let_in(tx, cx, *user, counted),
            _ => Ok(()),
        }
    }

    pub(super) fn succeeded(&self, app: &App) {
        app.metrics.logins.accepted.inc();
        let user = self.user.get().map(|user| user.get());
        tracing::info!(client = %self.address, user, "logged in");
    }
}

/// Hashes the new password of somebody who is signed in.
///
/// # Errors
/// If too many wait for a hash.
pub(super) async fn hash(
    app: &App,
    cx: &Cx,
    device: &Device,
    password: Password,
) -> Result<String, Error> {
    let place = app.passwords.place(device.public_address(), Purpose::SignIn);
    let place = place.ok_or_else(too_many_wait)?;
    let salt = cx.random();
    Ok(place.run(move || passwords::hash(&password, salt)).await?)
}

/// Hashes the password of somebody who registers, after their try was counted and the names were
/// looked at.
///
/// # Errors
/// If there were too many registrations from the address, the names cannot be had, or too many wait
/// for a hash.
pub(super) async fn hash_to_register(
    app: &App,
    cx: &Cx,
    device: &Device,
    (name, display_name): (Username, Option<DisplayName>),
    password: Password,
) -> Result<String, Error> {
    let place = app.passwords.place(device.public_address(), Purpose::Registration);
    let place = place.ok_or_else(too_many_wait)?;
    let (limit, cx) = (registrations(app, device), *cx);
    let looked = app.db.of(device.address).write(move |tx| {
        limit.count_try(tx, &cx)?;
        match users::confirm_free(tx, &cx, &name, display_name.as_ref()) {
            Err(domain::Error::Db(error)) => Err(domain::Error::Db(error)),
            // It is counted, whatever was found.
            looked => Ok(looked),
        }
    });
    looked.await??;
    let salt = cx.random();
    Ok(place.run(move || passwords::hash(&password, salt)).await?)
}

/// Counts a registration that is refused as invalid.
///
/// # Errors
/// The refusal; or that there were too many from the address.
pub(super) async fn refuse_registration<T>(
    app: &App,
    device: &Device,
    refusal: Error,
) -> Result<T, Error> {
    count_try(app, device).await?;
    Err(refusal)
}

/// Counts a try to register that needed no hash.
///
/// # Errors
/// If there were too many from the address.
pub(super) async fn count_try(app: &App, device: &Device) -> Result<(), Error> {
    let (limit, cx) = (registrations(app, device), app.clock.cx());
    Ok(app.db.of(device.address).write(move |tx| limit.count_try(tx, &cx)).await?)
}

/// # Errors
/// If registration is closed.
pub(super) fn registration_is_open(app: &App) -> Result<(), Error> {
    match app.settings.registration {
        Registration::Open => Ok(()),
        Registration::Closed => {
            let detail = "registration is closed: ask the operator for an account";
            Err(Error::new(Code::RegistrationClosed, detail))
        }
    }
}

/// The limit on registrations from one address.
#[derive(Clone, Copy)]
pub(super) struct Registrations {
    /// `None` if there is no limit.
    address: Option<IpAddr>,
    per_hour: i64,
}

pub(super) fn registrations(app: &App, device: &Device) -> Registrations {
    let limited = app.settings.rate_limits == Switch::On;
    Registrations {
        address: device.public_address().filter(|_| limited),
        per_hour: app.settings.registrations_per_hour.into(),
    }
}

impl Registrations {
    fn count_try(self, tx: &mut Tx<'_>, cx: &Cx) -> domain::Result<()> {
        match self.address {
            Some(address) => throttle::try_registration(tx, cx, address, self.per_hour),
            None => Ok(()),
        }
    }

    /// Counts a registration, in the transaction that creates the account.
    ///
    /// # Errors
    /// If there were too many.
    pub(super) fn count(self, tx: &mut Tx<'_>, cx: &Cx) -> domain::Result<()> {
        match self.address {
            Some(address) => throttle::count_registration(tx, cx, address, self.per_hour),
            None => Ok(()),
        }
    }
}
