//! Sends e-mails about messages that stay unread: one per absence of a user.

use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::Duration;

use db::Tx;
use domain::Time;
use domain::digests::{self, Digest, NextDigest};
use domain::reminders::{self, Claim, SendFailure};
use hmac::Hmac;
use sha2::Sha256;
use tokio::time::sleep;

use super::runner::{Lease, Task};
use crate::config::Settings;
use crate::config::secret::Secret;
use crate::email::address;
use crate::email::mailer::{Failure, FailureKind, Mailer};
use crate::email::message::{self, Headers};
use crate::email::templates::Templates;
use crate::node::Node;

/// The pause after the mail server could not be used; it doubles with each failure.
const PAUSE: i64 = Time::MINUTE;
const LONGEST_PAUSE: i64 = 30 * Time::MINUTE;
/// How long a stopping node waits for an e-mail that is being sent.
const GRACE: Duration = Duration::from_secs(3);

/// Sends reminders. Only its task touches this state.
pub(crate) struct Reminders {
    node: Arc<Node>,
    after: NonZeroI64,
    mailer: Mailer,
    templates: Templates,
    ids: Hmac<Sha256>,
    paused_until: Time,
    /// How often in a row the mail server could not be used.
    failures: u32,
}

impl Task for Reminders {
    const NAME: &'static str = "reminders";
    const EVERY: Duration = Duration::from_secs(1);

    async fn run(&mut self, lease: &mut Lease) -> domain::Result<()> {
        let (now, after) = (self.node.clock.now(), self.after);
        // A clock that was set back does not prolong the pause.
        if self.paused_until.plus(-LONGEST_PAUSE).runs(LONGEST_PAUSE, now)
            || !self.node.db.read_one(move |tx| reminders::is_due(tx, now, after.get())).await?
        {
            return Ok(());
        }
        while !self.node.stopping.is_cancelled() && lease.take().await? {
            let cx = self.node.clock.cx();
            match self.node.db.write(move |tx| digests::next(tx, &cx, after)).await? {
                NextDigest::Send(reminder) => {
                    if !Box::pin(self.remind(*reminder)).await {
                        // Another node may reach the mail server.
                        lease.release().await;
                        break;
                    }
                }
                NextDigest::Skipped => {}
                NextDigest::NoneDue => break,
            }
        }
        Ok(())
    }
}

/// What the settings say of reminders, read before the node is opened: a file that cannot be used
/// must not be noticed after a database was made.
pub(crate) struct ReminderSettings {
    after: NonZeroI64,
    mailer: Mailer,
    templates: Templates,
}

impl ReminderSettings {
    /// Reads the settings and templates, which have to be there whatever else is set; `None` where
    /// reminders are off.
    ///
    /// # Errors
    /// Where the settings of the mail server or the templates are invalid.
    pub(crate) fn read(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let templates = Templates::load(&settings.templates_dir)?;
        let mailer = Mailer::new(settings)?;
        let minutes = i64::from(settings.reminder_after_minutes);
        let after = NonZeroI64::new(minutes * Time::MINUTE);
        Ok(after.zip(mailer).map(|(after, mailer)| Self { after, mailer, templates }))
    }
}

impl Reminders {
    pub(crate) fn new(settings: ReminderSettings, node: &Arc<Node>, key: &Secret) -> Self {
        let ReminderSettings { after, mailer, templates } = settings;
        Self {
            node: Arc::clone(node),
            after,
            mailer,
            templates,
            ids: key.derive(b"postroom reminder id"),
            paused_until: Time(0),
            failures: 0,
        }
    }

    /// Sends a reminder and records the result. Returns whether the mail server can be used.
    async fn remind(&mut self, reminder: Digest) -> bool {
        let stopped = async {
            self.node.stopping.cancelled().await;
            sleep(GRACE).await;
        };
        let sent = tokio::select! {
            sent = self.send(&reminder) => sent,
            () = stopped => Err(Failure {
                kind: FailureKind::Unknown,
                reason: "the server stops".to_owned(),
                said: String::new(),
            }),
        };
        let is_up =
            !matches!(&sent, Err(failure) if failure.kind == FailureKind::ServerUnavailable);
        if is_up && self.failures > 0 {
            tracing::info!("the mail server can be used again");
            self.failures = 0;
        }
        match sent {
            Ok(()) => drop(self.node.metrics.mails.sent.inc()),
            Err(failure) => {
                if !is_up {
                    self.pause(&failure.reason);
                }
                self.record(reminder.claim, &failure).await;
            }
        }
        is_up
    }

    fn pause(&mut self, reason: &str) {
        if self.failures == 0 {
            tracing::warn!(reason, "the mail server cannot be used; reminders wait");
        }
        let pause = PAUSE << self.failures.min(10);
        self.paused_until = self.node.clock.now().plus(pause.min(LONGEST_PAUSE));
        self.failures += 1;
    }

    async fn send(&self, reminder: &Digest) -> Result<(), Failure> {
        // It may be from a version that took others.
        let to = address::parse(&reminder.email).map_err(|_error| unusable("the address"))?;
        let token = self.node.links.token(reminder.claim.owner);
        let unsubscribe = format!("{}/unsubscribe?token={token}", self.node.settings.public_url);
        let from = self.mailer.sender();
        let headers = Headers {
            from,
            to: &to,
            now: self.node.clock.now(),
            id: &message::id(&self.ids, reminder, from.email.domain()),
            unsubscribe: &unsubscribe,
        };
        let content = self.templates.render(reminder, &unsubscribe);
        let mail = message::write(&headers, content).map_err(|_error| unusable("the e-mail"))?;
        self.mailer.send(&to, &mail).await
    }

    /// Records a reminder that was not sent, or may not have been.
    async fn record(&self, claim: Claim, failure: &Failure) {
        let (user, attempt, reason) = (claim.owner.get(), claim.attempt, &failure.reason);
        let mails = &self.node.metrics.mails;
        let (counter, result) = match failure.kind {
            FailureKind::Permanent => {
                mails.refused.inc();
                return tracing::info!(user, reason, "a reminder was refused");
            }
            FailureKind::ServerUnavailable => (&mails.put_off, SendFailure::NotAttempted),
            FailureKind::Temporary => (&mails.put_off, SendFailure::Temporary),
            FailureKind::Unknown => (&mails.in_doubt, SendFailure::Unknown),
        };
        counter.inc();
        let (cx, after) = (self.node.clock.cx(), self.after.get());
        let record = move |tx: &mut Tx<'_>| reminders::failed(tx, &cx, &claim, result, after);
        match self.node.db.write(record).await {
            Ok(true) => tracing::debug!(user, attempt, reason, "a reminder will be sent again"),
            Ok(false) => tracing::info!(user, attempt, reason, "a reminder is given up"),
            Err(error) => tracing::warn!(user, %error, "a reminder is lost"),
        }
    }
}

fn unusable(what: &str) -> Failure {
    let reason = format!("{what} cannot be used");
    Failure { kind: FailureKind::Permanent, reason, said: String::new() }
}
