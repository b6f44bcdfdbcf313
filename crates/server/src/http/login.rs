//! What both APIs share of signing in and registering: limits, passwords, log and metrics.

use std::net::IpAddr;

use db::Tx;
use domain::passwords::Password;
use domain::text::{self, Username};
use domain::throttle;
use domain::users::{self, StoredPassword};
use domain::{Cx, UserId, passwords};

use super::Error;
use super::client::Device;
use super::code::Code;
use crate::config::{Registration, Switch};
use crate::http::App;

/// An attempt to sign in, counted before the password is checked.
#[derive(Clone)]
pub(super) struct Attempt {
    name: String,
    address: IpAddr,
    /// `None` if rate limits are off.
    counted: Option<throttle::SignInAttempt>,
}

/// # Errors
/// If there were too many failures.
pub(super) async fn begin(
    app: &App,
    cx: &Cx,
    name: &str,
    device: &Device,
) -> Result<Attempt, Error> {
    let (name, address) = (login_name(name), device.address);
    if app.settings.rate_limits == Switch::Off {
        return Ok(Attempt { name, address, counted: None });
    }
    let (cx, attempt) = (*cx, throttle::SignInAttempt::new(&name, device.public_address()));
    let attempted = name.clone();
    let counted = app.db.write(move |tx| throttle::count(tx, &cx, &attempt)).await;
    if let Err(domain::Error::Throttled(_)) = &counted {
        app.metrics.logins.throttled.inc();
        let owner = app.db.read(move |tx| users::find(tx, &attempted)).await;
        let user = owner.ok().flatten().map(|owner| owner.id.get());
        tracing::info!(client = %address, user, "login throttled after too many failures");
    }
    counted?;
    Ok(Attempt { name, address, counted: Some(attempt) })
}

/// The name as it is compared. An invalid name counts as well, at bounded length.
pub(super) fn login_name(name: &str) -> String {
    let start: String = name.chars().take(text::USERNAME_CHARS + 1).collect();
    Username::parse(&start).map_or_else(|_| text::fold(&start), |name| name.folded().to_owned())
}

impl Attempt {
    /// Checks the password. An unknown name costs as much work as a known one.
    ///
    /// # Errors
    /// If the name or the password is wrong.
    pub(super) async fn check(&self, app: &App, password: String) -> Result<StoredPassword, Error> {
        let name = self.name.clone();
        let known = app.db.read(move |tx| users::password(tx, &name)).await?;
        let hash = known.as_ref().map(|known| known.hash.clone());
        let verify = move || passwords::verify(password.as_bytes(), hash.as_deref());
        let fits = app.passwords.run(verify).await?;
        let user = known.as_ref().map(|known| known.user.get());
        known.filter(|_| fits).ok_or_else(|| {
            app.metrics.logins.refused.inc();
            tracing::info!(client = %self.address, user, "login refused");
            domain::Error::AuthenticationFailed.into()
        })
    }

    /// Uncounts a successful attempt, in the transaction of the sign-in.
    pub(super) fn forgive(&self, tx: &mut Tx<'_>) -> domain::Result<()> {
        self.counted.as_ref().map_or(Ok(()), |attempt| throttle::forgive(tx, attempt))
    }

    pub(super) fn succeeded(&self, app: &App, user: UserId) {
        app.metrics.logins.accepted.inc();
        tracing::info!(client = %self.address, user = user.get(), "logged in");
    }
}

/// # Errors
/// If too many requests wait for a hash.
pub(super) async fn hash(app: &App, cx: &Cx, password: Password) -> Result<String, Error> {
    let salt = cx.random();
    Ok(app.passwords.run(move || passwords::hash(&password, salt)).await?)
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
