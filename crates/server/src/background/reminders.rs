//! Reminds those who are away of what stays unread, by e-mail: once, until they have been back.

use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::Duration;

use hmac::Hmac;
use lettre::Address;
use mail::reminders::{self, Next, Reminder};
use mail::{Time, leases};
use sha2::Sha256;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::config::Settings;
use crate::config::secret::Secret;
use crate::email::letter::{self, Frame};
use crate::email::mailer::{Failure, Fate, Mailer};
use crate::email::templates::Templates;
use crate::node::Node;

/// How often it is looked whether somebody has waited long enough: one look at an index.
const EVERY: Duration = Duration::from_secs(1);
/// Which of several nodes does it, and for how long it is believed to be there: it says so again
/// with each mail.
const LEASE: &str = "reminders";
const LEASED: i64 = 3 * Time::MINUTE;
/// After how long a server that could not be used is tried again; each time in vain doubles it, up
/// to the other.
const PAUSE: i64 = Time::MINUTE;
const LONGEST_PAUSE: i64 = 30 * Time::MINUTE;
/// How long a mail that is on its way is waited for when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What reminds.
pub(crate) struct Reminders {
    after: NonZeroI64,
    mailer: Mailer,
    templates: Templates,
    ids: Hmac<Sha256>,
    public_url: String,
}

impl Reminders {
    /// What the settings say; nothing where nobody is to be reminded.
    ///
    /// # Errors
    /// Where the server for e-mail or the templates cannot be used.
    pub(crate) fn new(settings: &Settings, key: &Secret) -> anyhow::Result<Option<Self>> {
        let minutes = i64::from(settings.reminder_after_minutes);
        let Some(after) = NonZeroI64::new(minutes * Time::MINUTE) else { return Ok(None) };
        let Some(mailer) = Mailer::new(settings)? else { return Ok(None) };
        Ok(Some(Self {
            after,
            mailer,
            templates: Templates::load(&settings.templates_dir)?,
            ids: key.derive(b"postroom reminder id"),
            public_url: settings.public_url.clone(),
        }))
    }

    async fn send(&self, node: &Node, reminder: &Reminder) -> Result<(), Failure> {
        // An account takes any address that looks like one.
        let to: Address = reminder.email.parse().map_err(|_error| impossible("the address"))?;
        let token = node.links.token(reminder.owner);
        let unsubscribe = format!("{}/unsubscribe?token={token}", self.public_url);
        let from = self.mailer.sender();
        let frame = Frame {
            from,
            to: &to,
            now: node.clock.now(),
            id: &letter::id(&self.ids, reminder, from.email.domain()),
            unsubscribe: &unsubscribe,
        };
        let content = self.templates.render(reminder, &unsubscribe);
        let mail = letter::write(&frame, content).map_err(|_error| impossible("the mail"))?;
        self.mailer.send(&to, &mail).await
    }
}

fn impossible(what: &str) -> Failure {
    let reason = format!("{what} cannot be used");
    Failure { fate: Fate::Refused, reason, said: String::new() }
}

/// Until when nothing is tried, where the server for e-mail could not be used.
#[derive(Default)]
struct Rest {
    until: Option<Time>,
    in_vain: u32,
}

impl Rest {
    fn is_over(&self, now: Time) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// It is told once.
    fn begin(&mut self, now: Time, reason: &str) {
        if self.in_vain == 0 {
            tracing::warn!(reason, "the server for e-mail cannot be used; reminders wait");
        }
        let pause = PAUSE << self.in_vain.min(10);
        self.until = Some(now.plus(pause.min(LONGEST_PAUSE)));
        self.in_vain += 1;
    }

    fn end(&mut self) {
        if self.in_vain > 0 {
            tracing::info!("the server for e-mail can be used again");
        }
        *self = Self::default();
    }
}

/// Runs until the server stops. Of several nodes one does it.
pub(crate) async fn run(node: Arc<Node>, reminders: Option<Reminders>) {
    let Some(ours) = &reminders else { return };
    let me: [u8; 16] = node.clock.cx().random();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest = Rest::default();
    let mut leased = false;
    while !node.stopping.is_set() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.stopping.wait() => break,
        }
        let (now, after) = (node.clock.now(), ours.after.get());
        if !rest.is_over(now) {
            continue;
        }
        let due = node.db.read(move |tx| reminders::is_due(tx, now, after)).await;
        if let Ok(true) = due {
            leased = true;
            all_that_is_due(&node, ours, &me, &mut rest).await;
        }
    }
    if leased {
        // Another node need not wait until it is over; where that fails, it does.
        drop(node.db.write(move |tx| leases::release(tx, LEASE, &me)).await);
    }
}

async fn all_that_is_due(node: &Node, ours: &Reminders, me: &[u8; 16], rest: &mut Rest) {
    while !node.stopping.is_set() {
        let (cx, me, after) = (node.clock.cx(), *me, ours.after);
        let next = node.db.write(move |tx| {
            if !leases::take(tx, &cx, LEASE, &me, LEASED)? {
                return Ok(Next::Nobody);
            }
            reminders::next(tx, &cx, after)
        });
        let reminder = match next.await {
            Ok(Next::Due(reminder)) => *reminder,
            Ok(Next::Passed) => continue,
            Ok(Next::Nobody) => return,
            Err(error) => return tracing::debug!(%error, "nobody is reminded for now"),
        };
        let stopped = async {
            node.stopping.wait().await;
            sleep(LAST_WORDS).await;
        };
        let sent = tokio::select! {
            sent = ours.send(node, &reminder) => sent,
            () = stopped => Err(Failure {
                fate: Fate::InDoubt,
                reason: "the server stops".to_owned(),
                said: String::new(),
            }),
        };
        match sent {
            Ok(()) => {
                node.metrics.mails.sent.inc();
                rest.end();
            }
            Err(failure) => {
                let down = failure.fate == Fate::Down;
                if down {
                    rest.begin(node.clock.now(), &failure.reason);
                } else {
                    rest.end();
                }
                note(node, ours, reminder, &failure).await;
                if down {
                    return drop(node.db.write(move |tx| leases::release(tx, LEASE, &me)).await);
                }
            }
        }
    }
}

/// Notes what became of a mail that was not taken. Who is not reminded in the end is told once.
async fn note(node: &Node, ours: &Reminders, reminder: Reminder, failure: &Failure) {
    let (user, attempt, reason) = (reminder.owner.get(), reminder.attempt, &failure.reason);
    let mails = &node.metrics.mails;
    let fate = match failure.fate {
        Fate::Refused => {
            mails.refused.inc();
            return tracing::info!(user, reason, "a reminder was refused");
        }
        Fate::Down => reminders::Failure::Untried,
        Fate::NotYet => reminders::Failure::NotYet,
        Fate::InDoubt => reminders::Failure::InDoubt,
    };
    match failure.fate {
        Fate::InDoubt => mails.in_doubt.inc(),
        _ => mails.put_off.inc(),
    };
    let (cx, after) = (node.clock.cx(), ours.after);
    let again = node.db.write(move |tx| reminders::failed(tx, &cx, &reminder, fate, after)).await;
    match again {
        Ok(true) => tracing::debug!(user, attempt, reason, "a reminder is tried again"),
        Ok(false) => tracing::info!(user, attempt, reason, "a reminder is not tried again"),
        Err(error) => tracing::warn!(user, %error, "a reminder is lost"),
    }
}
