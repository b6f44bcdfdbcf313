//! `postroom webhook`

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use domain::Time;
use domain::webhooks::{
    self, Delivery, DeliveryStatus, Endpoint, Event, EventKind, EventKinds, Outcome, Replay,
    WebhookId,
};
use jiff::Timestamp;
use jiff::civil::Date;

use super::output::{self, confirm_visible, done};
use super::{Store, Usage, shown, wait};
use crate::background::webhooks::Sender;
use crate::config::Settings;
use crate::runtime::connect::Target;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a webhook; prints its id and, on the last line, its secret
    #[command(
        after_help = "Examples:\n  postroom webhook add https://app.example.org/postroom\n  \
        postroom webhook add https://app.example.org/postroom --events \
        message.created,user.erased\n\n\
        Events: message.created, message.read, message.destroyed, user.created, user.erased, \
        unread.changed; without --events, all but unread.changed."
    )]
    Add {
        /// The endpoint: https and a public address, unless `webhook_allow_hosts` has the host
        url: String,
        /// The events to send, separated by commas
        #[arg(long, value_delimiter = ',')]
        events: Vec<String>,
    },
    /// List webhooks: id, address, events, since when, enabled, or since when and why it is not
    #[command(after_help = "Example:\n  postroom webhook list")]
    List,
    /// Remove a webhook; events that wait for it are not sent any more
    #[command(after_help = "Example:\n  postroom webhook remove 1")]
    Remove(Webhook),
    /// Enable a disabled webhook; events that wait for it are sent
    #[command(after_help = "Example:\n  postroom webhook enable 1\n\n\
        Events from while it was disabled are not sent. `webhook replay 1 --since` sends them, if \
        another webhook got them.")]
    Enable(Webhook),
    /// Disable a webhook: nothing is sent to it until it is enabled
    #[command(after_help = "Example:\n  postroom webhook disable 1")]
    Disable(Webhook),
    /// Give a webhook a new secret, and print it; for a day the old one signs beside it
    #[command(after_help = "Example:\n  postroom webhook rotate 1\n\n\
        The setting webhook_secret_overlap_hours says how long both sign. A second rotation within \
        that time ends the first secret at once.")]
    Rotate(Webhook),
    /// Print the secret of a webhook
    #[command(after_help = "Example:\n  postroom webhook secret 1")]
    Secret(Webhook),
    /// Send one signed request of the type webhook.test, and print the result
    #[command(after_help = "Example:\n  postroom webhook test 1\n\n\
        A disabled webhook can be tested as well. Exit status 1 unless the response is 2xx.")]
    Test(Webhook),
    /// List deliveries, newest first
    #[command(after_help = "Examples:\n  postroom webhook log\n  \
        postroom webhook log 1 --failed --limit 1000\n\n\
        Columns: event, type, when it happened, webhook, state, attempts, last result.")]
    Log {
        /// The webhook; without it, all
        id: Option<i64>,
        /// Only deliveries that were given up
        #[arg(long)]
        failed: bool,
        /// The most lines to print
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Send events again
    #[command(after_help = "Examples:\n  postroom webhook replay 1 evt_17_1763856000000000\n  \
        postroom webhook replay 1 --failed\n  postroom webhook replay 1 --since 2026-11-20\n\n\
        --failed: events that were given up, all of them or those since a day. --since: all events \
        of the webhook's types since that day (UTC) or time. An endpoint that remembers ids \
        recognises the events that it already has.")]
    Replay {
        #[command(flatten)]
        webhook: Webhook,
        /// Events, by their names in the log
        events: Vec<String>,
        /// Events that were given up
        #[arg(long, conflicts_with = "events")]
        failed: bool,
        /// A day such as 2026-11-20, or a time such as 2026-11-20T08:00:00Z
        #[arg(long, conflicts_with = "events", value_parser = moment)]
        since: Option<Time>,
    },
}

#[derive(Args)]
pub(super) struct Webhook {
    /// The id of the webhook
    id: i64,
}

impl Webhook {
    fn find(&self, store: &Store) -> Result<Endpoint> {
        let found = match WebhookId::new(self.id) {
            Some(id) => store.read(move |tx| webhooks::find(tx, id))?,
            None => None,
        };
        found.with_context(|| format!("there is no webhook {}", self.id))
    }
}

/// Rows that are read or changed at once.
const PAGE: i64 = 500;

pub(super) fn run(settings: &Settings, command: Command) -> Result<()> {
    let store = Store::open(settings)?;
    let cx = store.cx;
    let sender = || anyhow::Ok(Sender::new(settings, &store.key(settings)?));
    match command {
        Command::Add { url, events } => add(&store, &sender()?, &url, &events)?,
        Command::List => list(&store)?,
        Command::Remove(webhook) => {
            let id = webhook.find(&store)?.id;
            store.write(move |tx| webhooks::remove(tx, id))?;
            done(&format!("webhook {} is removed", id.get()));
        }
        Command::Enable(webhook) => {
            let id = webhook.find(&store)?.id;
            store.write(move |tx| webhooks::enable(tx, id))?;
            done(&format!("webhook {} is enabled", id.get()));
        }
        Command::Disable(webhook) => {
            let id = webhook.find(&store)?.id;
            store.write(move |tx| webhooks::disable(tx, &cx, id, "by command"))?;
            done(&format!("webhook {} is disabled", id.get()));
        }
        Command::Rotate(webhook) => rotate(&store, &sender()?, webhook.find(&store)?)?,
        Command::Secret(webhook) => {
            writeln!(output::listing()?, "{}", sender()?.secrets.shown(&webhook.find(&store)?))?;
        }
        Command::Test(webhook) => test(&store, &sender()?, &webhook.find(&store)?)?,
        Command::Log { id, failed, limit } => log(&store, id, failed, limit)?,
        Command::Replay { webhook, events, failed, since } => {
            let id = webhook.find(&store)?.id;
            let which = match (failed, since) {
                (true, since) => Replay::GivenUp(since.unwrap_or(Time(0))),
                (false, Some(since)) => Replay::Since(since),
                (false, None) => return replay_named(&store, id, &events),
            };
            let count = replay(&store, id, which)?;
            done(&format!("webhook {} is told of {count} events once more", id.get()));
        }
    }
    Ok(())
}

fn add(store: &Store, sender: &Sender, url: &str, events: &[String]) -> Result<()> {
    let kind = |name: &String| {
        EventKind::parse(name).ok_or_else(|| Usage(format!("there is no event {name}")))
    };
    let kinds = events.iter().map(kind).collect::<Result<EventKinds, _>>()?;
    let kinds = if events.is_empty() { EventKinds::usual() } else { kinds };
    let wrong = |problem: &str| Usage(format!("{url}: {problem}"));
    let target = Target::parse(url).map_err(wrong)?;
    sender.guard.allows(&target).map_err(|problem| wrong(&problem))?;
    confirm_visible().context("no webhook is made")?;
    let (cx, url) = (store.cx, url.to_owned());
    let added = store.write(move |tx| webhooks::add(tx, &cx, &url, kinds))?;
    let (id, kinds, secret) = (added.id, names(added.kinds), sender.secrets.shown(&added));
    let lines = format!("webhook {} is told of {kinds}; its secret is\n{secret}", id.get());
    output::secret(&lines).or_else(|unseen| {
        store.write(move |tx| webhooks::remove(tx, id))?;
        Err(unseen.context("the webhook, whose secret nobody has seen, is removed"))
    })
}

fn names(kinds: EventKinds) -> String {
    kinds.iter().map(EventKind::name).collect::<Vec<_>>().join(",")
}

fn list(store: &Store) -> Result<()> {
    let mut out = output::listing()?;
    for Endpoint { id, url, kinds, created_at, disabled, .. } in store.read(webhooks::list)? {
        let state = match disabled {
            None => "enabled".to_owned(),
            Some((since, why)) => format!("disabled {}: {why}", shown(since)),
        };
        let (id, events, since) = (id.get(), names(kinds), shown(created_at));
        writeln!(out, "{id}\t{url}\t{events}\t{since}\t{state}")?;
    }
    Ok(())
}

fn rotate(store: &Store, sender: &Sender, before: Endpoint) -> Result<()> {
    confirm_visible().context("no secret is made")?;
    let (cx, id) = (store.cx, before.id);
    let rotated = store.write(move |tx| webhooks::rotate(tx, &cx, id))?;
    let rotated = rotated.with_context(|| format!("webhook {} was just removed", id.get()))?;
    let until = shown(sender.secrets.overlaps_until(&rotated).unwrap_or(cx.now));
    let secret = sender.secrets.shown(&rotated);
    let lines = format!(
        "webhook {} is signed for by the old secret until {until}, and by\n{secret}",
        id.get()
    );
    output::secret(&lines).or_else(|unseen| {
        store.write(move |tx| webhooks::take_back_rotation(tx, &before))?;
        Err(unseen.context("the rotation to a secret that nobody has seen is taken back"))
    })
}

fn test(store: &Store, sender: &Sender, endpoint: &Endpoint) -> Result<()> {
    let (id, start) = (endpoint.id.get(), Instant::now());
    let (outcome, words) = wait(sender.test(endpoint, store.cx.now))?;
    if outcome != Outcome::Delivered {
        bail!("webhook {id}: {words}");
    }
    done(&format!("webhook {id} answered {words} after {} ms", start.elapsed().as_millis()));
    Ok(())
}

fn log(store: &Store, id: Option<i64>, failed: bool, limit: u32) -> Result<()> {
    let mut out = output::listing()?;
    let webhook = |id| WebhookId::new(id).with_context(|| format!("there is no webhook {id}"));
    let (id, limit) = (id.map(webhook).transpose()?, i64::from(limit));
    let deliveries = wait(store.db.scan(move |tx| webhooks::log(tx, id, failed, limit)))??;
    // What was sent to a webhook that was removed may still be there.
    if let Some(id) = id
        && deliveries.is_empty()
    {
        Webhook { id: id.get() }.find(store)?;
    }
    for delivery in deliveries {
        let Delivery { event, webhook, attempts, status, outcome } = delivery;
        let state = match status {
            DeliveryStatus::Delivered(at) => format!("delivered {}", shown(at)),
            DeliveryStatus::Due(at) => format!("due {}", shown(at)),
            DeliveryStatus::GivenUp => "given up".to_owned(),
        };
        let (name, kind, at) = (event.name(), event.kind.name(), shown(event.happened_at));
        let (webhook, outcome) = (webhook.get(), outcome.unwrap_or_default());
        writeln!(out, "{name}\t{kind}\t{at}\t{webhook}\t{state}\t{attempts}\t{outcome}")?;
    }
    Ok(())
}

fn replay_named(store: &Store, id: WebhookId, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Usage("name events, or say --failed or --since".to_owned()).into());
    }
    let event = |name: &String| {
        Event::parse_name(name).ok_or_else(|| Usage(format!("{name} names no event")))
    };
    let events = names.iter().map(event).collect::<Result<Vec<_>, _>>()?;
    for (event, name) in events.into_iter().zip(names) {
        if replay(store, id, Replay::Event(event))? == 0 {
            bail!("there is no event {name}");
        }
    }
    done(&format!("webhook {} is told once more", id.get()));
    Ok(())
}

/// Returns how many events were replayed.
fn replay(store: &Store, id: WebhookId, which: Replay) -> Result<u64> {
    let (cx, mut count, mut after) = (store.cx, 0, None);
    loop {
        let from = (after, PAGE);
        let (more, next) = store.write(move |tx| webhooks::replay(tx, &cx, id, which, from))?;
        count += more;
        if next.is_none() {
            return Ok(count);
        }
        after = next;
    }
}

/// Parses a day, which stands for its beginning in UTC, or a time.
fn moment(text: &str) -> Result<Time, String> {
    let wrong = "it must look like 2026-11-20 or 2026-11-20T08:00:00Z";
    let day = |date: Date| date.to_zoned(jiff::tz::TimeZone::UTC).map(|day| day.timestamp());
    let at = text.parse::<Timestamp>();
    let at = at.or_else(|_time| text.parse::<Date>().and_then(day)).map_err(|_day| wrong)?;
    Ok(Time(at.as_microsecond()))
}
