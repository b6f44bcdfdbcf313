//! Logging in and registering, as both APIs do it: limits, passwords, and what is told of them.

use std::net::IpAddr;

use db::Tx;
use mail::text::{self, Password, Username};
use mail::throttle;
use mail::users::{self, Credentials};
use mail::{Cx, UserId, passwords};

use super::Error;
use super::client::Device;
use crate::config::{Registration, Switch};
use crate::http::App;

/// An attempt to log in, counted before the password is looked at.
#[derive(Clone)]
pub(super) struct Attempt {
    name: String,
    address: IpAddr,
    counted: Option<throttle::Attempt>,
}

/// Begins an attempt to log in with that name.
///
/// # Errors
/// Where there were too many failures.
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
    let (cx, attempt) = (*cx, throttle::Attempt::new(&name, device.public_address()));
    let counted = app.db.write(move |tx| throttle::count(tx, &cx, &attempt)).await;
    if let Err(mail::Error::Throttled(_)) = &counted {
        app.metrics.logins.throttled.inc();
        tracing::info!(client = %address, "login held up after too many failures");
    }
    counted?;
    Ok(Attempt { name, address, counted: Some(attempt) })
}

/// The name as it is compared. One that nobody can have is still counted, at bounded length.
fn login_name(name: &str) -> String {
    let start: String = name.chars().take(text::USERNAME_CHARS + 1).collect();
    Username::parse(&start).map_or_else(|_| text::fold(&start), |name| name.folded().to_owned())
}

impl Attempt {
    /// Whose name and password these are. An unknown name costs the same work as a known one.
    ///
    /// # Errors
    /// Where they are nobody's.
    pub(super) async fn check(&self, app: &App, password: String) -> Result<Credentials, Error> {
        let name = self.name.clone();
        let known = app.db.read(move |tx| users::credentials(tx, &name)).await?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let verify = move || passwords::verify(password.as_bytes(), hash.as_deref());
        let fits = app.passwords.run(verify).await?;
        known.filter(|_| fits).ok_or_else(|| {
            app.metrics.logins.refused.inc();
            tracing::info!(client = %self.address, "login refused");
            mail::Error::AuthenticationFailed.into()
        })
    }

    /// Gives the attempt back, in the transaction of what it led to.
    pub(super) fn forgive(&self, tx: &mut Tx<'_>) -> mail::Result<()> {
        self.counted.as_ref().map_or(Ok(()), |attempt| throttle::forgive(tx, attempt))
    }

    /// Tells the metrics and the log that the attempt was right.
    pub(super) fn succeeded(&self, app: &App, user: UserId) {
        app.metrics.logins.accepted.inc();
        tracing::info!(client = %self.address, user = user.get(), "logged in");
    }
}

/// Hashes a new password.
///
/// # Errors
/// Where too many wait for the same.
pub(super) async fn hash(app: &App, cx: &Cx, password: Password) -> Result<String, Error> {
    let salt = cx.random();
    Ok(app.passwords.run(move || passwords::hash(&password, salt)).await?)
}

/// Refuses where nobody may register.
///
/// # Errors
/// Where that is so.
pub(super) fn registration_is_open(app: &App) -> Result<(), Error> {
    match app.settings.registration {
        Registration::Open => Ok(()),
        Registration::Closed => Err(Error::registration_closed()),
    }
}

/// The limit on registrations, for one address.
#[derive(Clone, Copy)]
pub(super) struct Registrations {
    address: Option<IpAddr>,
    per_hour: i64,
}

/// The limit on registrations from that device.
pub(super) fn registrations(app: &App, device: &Device) -> Registrations {
    let limited = app.settings.rate_limits == Switch::On;
    Registrations {
        address: device.public_address().filter(|_| limited),
        per_hour: app.settings.registrations_per_hour.into(),
    }
}

impl Registrations {
    /// Counts one, in the transaction that makes the account.
    ///
    /// # Errors
    /// Where there were too many.
    pub(super) fn count(self, tx: &mut Tx<'_>, cx: &Cx) -> mail::Result<()> {
        match self.address {
            Some(address) => throttle::count_registration(tx, cx, address, self.per_hour),
            None => Ok(()),
        }
    }
}
