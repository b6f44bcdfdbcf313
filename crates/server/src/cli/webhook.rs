//! `postroom webhook`

use std::io::Write as _;
use std::time::Instant;

use anyhow::anyhow;
use clap::Subcommand;
use db::Db;
use jiff::Timestamp;
use jiff::civil::Date;
use mail::webhooks::{
    self, Delivery, Endpoint, Event, Kind, Kinds, Outcome, Replay, Standing, WebhookId,
};
use mail::{Cx, Time};

use super::{Failure, open, wait};
use crate::background::webhooks::{Courier, Target, courier};
use crate::config::Settings;
use crate::runtime::key::server_key;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add an address to be told of events; prints its number, and its secret on the last line
    #[command(
        after_help = "Examples:\n  postroom webhook add https://app.example.org/postroom\n  \
        postroom webhook add https://app.example.org/postroom --events \
        message.created,user.erased\n\n\
        Events: message.created, message.read, message.destroyed, user.created, user.erased; \
        without --events, all of them."
    )]
    Add {
        /// Where it is: https, and a public address, unless `webhook_allow_hosts` names the host
        url: String,
        /// Of what it is told, separated by commas
        #[arg(long, value_delimiter = ',')]
        events: Vec<String>,
    },
    /// List all: number, address, events, since when, enabled or why not
    #[command(after_help = "Example:\n  postroom webhook list")]
    List,
    /// Remove one; what it was to be told is not told any more
    #[command(after_help = "Example:\n  postroom webhook remove 1")]
    Remove {
        /// Which one, as the list numbers them
        id: i64,
    },
    /// Enable one that was disabled; what waited for it is told
    #[command(after_help = "Example:\n  postroom webhook enable 1\n\n\
        What happened while it was disabled is not told: `webhook replay 1 --since` does that, as \
        far as another webhook was told of it.")]
    Enable {
        /// Which one
        id: i64,
    },
    /// Disable one: it is told of nothing until it is enabled
    #[command(after_help = "Example:\n  postroom webhook disable 1")]
    Disable {
        /// Which one
        id: i64,
    },
    /// Give one another secret, and print it; the old one signs beside it for a day
    #[command(after_help = "Example:\n  postroom webhook rotate 1\n\n\
        How long both sign: webhook_secret_overlap_hours. A second rotation within that time ends \
        the first secret at once.")]
    Rotate {
        /// Which one
        id: i64,
    },
    /// Print the secret of one
    #[command(after_help = "Example:\n  postroom webhook secret 1")]
    Secret {
        /// Which one
        id: i64,
    },
    /// Send one a signed request of the type webhook.test, and print what came of it
    #[command(after_help = "Example:\n  postroom webhook test 1\n\n\
        Also one that is disabled. Exit status 1 where it does not answer with 2xx.")]
    Test {
        /// Which one
        id: i64,
    },
    /// Show what was told and what waits, the newest first
    #[command(after_help = "Examples:\n  postroom webhook log\n  \
        postroom webhook log 1 --failed --limit 1000\n\n\
        Columns: event, type, when it happened, webhook, state, attempts, what came of the last.")]
    Log {
        /// Of which one; without it, of all
        id: Option<i64>,
        /// Only what was given up
        #[arg(long)]
        failed: bool,
        /// Lines at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Tell one of events once more
    #[command(after_help = "Examples:\n  postroom webhook replay 1 evt_17_1763856000000000\n  \
        postroom webhook replay 1 --failed\n  postroom webhook replay 1 --since 2026-11-20\n\n\
        --failed: what was given up, all of it or since a day. --since: everything of its events \
        since that day (UTC) or time. A receiver that remembers ids sees what it has seen.")]
    Replay {
        /// Which one
        id: i64,
        /// Events, as the log names them
        events: Vec<String>,
        /// What was given up
        #[arg(long, conflicts_with = "events")]
        failed: bool,
        /// A day as 2026-11-20, or a time as 2026-11-20T08:00:00Z
        #[arg(long, conflicts_with = "events", value_parser = moment)]
        since: Option<Time>,
    },
}

/// Rows that are read or changed at once.
const PAGE: i64 = 500;

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let (db, clock) = open(settings)?;
    let cx = clock.cx();
    let courier = || Ok::<_, Failure>(courier(settings, &server_key(settings)?));
    match command {
        Command::Add { url, events } => add(&db, cx, &courier()?, &url, &events),
        Command::List => list(&db),
        Command::Remove { id } => {
            let id = find(&db, id)?.id;
            wait(db.write(move |tx| webhooks::remove(tx, id)))??;
            println!("webhook {} is removed", id.get());
            Ok(())
        }
        Command::Enable { id } => {
            let id = find(&db, id)?.id;
            wait(db.write(move |tx| webhooks::enable(tx, id)))??;
            println!("webhook {} is enabled", id.get());
            Ok(())
        }
        Command::Disable { id } => {
            let id = find(&db, id)?.id;
            wait(db.write(move |tx| webhooks::disable(tx, &cx, id, "by command")))??;
            println!("webhook {} is disabled", id.get());
            Ok(())
        }
        Command::Rotate { id } => rotate(&db, cx, &courier()?, id),
        Command::Secret { id } => {
            println!("{}", courier()?.secrets.shown(&find(&db, id)?));
            Ok(())
        }
        Command::Test { id } => test(&find(&db, id)?, &courier()?, cx),
        Command::Log { id, failed, limit } => log(&db, id, failed, limit),
        Command::Replay { id, events, failed, since } => {
            let id = find(&db, id)?.id;
            match (events.as_slice(), failed, since) {
                ([], false, None) => {
                    let problem = "name events, or say --failed or --since";
                    Err(Failure::Usage(problem.to_owned()))
                }
                ([], true, since) => replay(&db, cx, id, Replay::GivenUp(since.unwrap_or(Time(0)))),
                ([], false, Some(since)) => replay(&db, cx, id, Replay::Since(since)),
                (events, ..) => replay_some(&db, cx, id, events),
            }
        }
    }
}

fn find(db: &Db, id: i64) -> Result<Endpoint, Failure> {
    let found = match WebhookId::new(id) {
        Some(id) => wait(db.read(move |tx| webhooks::find(tx, id)))??,
        None => None,
    };
    found.ok_or_else(|| anyhow!("there is no webhook {id}").into())
}

fn add(db: &Db, cx: Cx, courier: &Courier, url: &str, events: &[String]) -> Result<(), Failure> {
    let kind = |name: &String| {
        Kind::parse(name).ok_or_else(|| Failure::Usage(format!("there is no event {name}")))
    };
    let kinds = events.iter().map(kind).collect::<Result<Kinds, _>>()?;
    let kinds = if events.is_empty() { Kinds::all() } else { kinds };
    let wrong = |problem: &str| Failure::Usage(format!("{url}: {problem}"));
    let target = Target::parse(url).map_err(wrong)?;
    courier.guard.allows(&target).map_err(|problem| wrong(&problem))?;
    let url = url.to_owned();
    let added = wait(db.write(move |tx| webhooks::add(tx, &cx, &url, kinds)))??;
    println!("webhook {} is told of {}; its secret is", added.id.get(), names(added.kinds));
    println!("{}", courier.secrets.shown(&added));
    Ok(())
}

fn names(kinds: Kinds) -> String {
    kinds.iter().map(Kind::name).collect::<Vec<_>>().join(",")
}

fn list(db: &Db) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for Endpoint { id, url, kinds, created_at, disabled, .. } in wait(db.read(webhooks::list))?? {
        let state = match disabled {
            None => "enabled".to_owned(),
            Some((since, why)) => format!("disabled {}: {why}", shown(since)?),
        };
        let (id, events, since) = (id.get(), names(kinds), shown(created_at)?);
        writeln!(out, "{id}\t{url}\t{events}\t{since}\t{state}")?;
    }
    Ok(())
}

fn rotate(db: &Db, cx: Cx, courier: &Courier, id: i64) -> Result<(), Failure> {
    let id = find(db, id)?.id;
    let rotated = wait(db.write(move |tx| webhooks::rotate(tx, &cx, id)))??;
    let rotated = rotated.ok_or_else(|| anyhow!("webhook {} was just removed", id.get()))?;
    let until = shown(courier.secrets.overlaps_until(&rotated).unwrap_or(cx.now))?;
    println!("webhook {} is signed for by the old secret until {until}, and by", id.get());
    println!("{}", courier.secrets.shown(&rotated));
    Ok(())
}

fn test(endpoint: &Endpoint, courier: &Courier, cx: Cx) -> Result<(), Failure> {
    let begun = Instant::now();
    let (outcome, words) = wait(courier.test(endpoint, cx.now))?;
    if outcome != Outcome::Delivered {
        return Err(anyhow!("webhook {}: {words}", endpoint.id.get()).into());
    }
    let took = begun.elapsed().as_millis();
    println!("webhook {} answered {words} after {took} ms", endpoint.id.get());
    Ok(())
}

fn log(db: &Db, id: Option<i64>, failed: bool, limit: u32) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let id = id.map(|id| WebhookId::new(id).ok_or_else(|| anyhow!("there is no webhook {id}")));
    let id = id.transpose()?;
    let limit = i64::from(limit);
    for delivery in wait(db.scan(move |tx| webhooks::log(tx, id, failed, limit)))?? {
        let Delivery { event, webhook, attempts, standing, outcome } = delivery;
        let state = match standing {
            Standing::Delivered(at) => format!("delivered {}", shown(at)?),
            Standing::Due(at) => format!("due {}", shown(at)?),
            Standing::GivenUp => "given up".to_owned(),
        };
        let (name, kind, at) = (event.name(), event.kind.name(), shown(event.happened_at)?);
        let (webhook, outcome) = (webhook.get(), outcome.unwrap_or_default());
        writeln!(out, "{name}\t{kind}\t{at}\t{webhook}\t{state}\t{attempts}\t{outcome}")?;
    }
    Ok(())
}

fn replay_some(db: &Db, cx: Cx, id: WebhookId, events: &[String]) -> Result<(), Failure> {
    let event = |name: &String| {
        Event::parse_name(name).ok_or_else(|| Failure::Usage(format!("{name} names no event")))
    };
    let events = events.iter().map(|name| Ok((name, event(name)?)));
    for (name, event) in events.collect::<Result<Vec<_>, Failure>>()? {
        let step = move |tx: &mut db::Tx<'_>| {
            webhooks::replay(tx, &cx, id, Replay::Event(event), (None, 1))
        };
        if wait(db.write(step))??.0 == 0 {
            return Err(anyhow!("there is no event {name}").into());
        }
    }
    println!("webhook {} is told once more", id.get());
    Ok(())
}

fn replay(db: &Db, cx: Cx, id: WebhookId, which: Replay) -> Result<(), Failure> {
    let (mut all, mut after) = (0, None);
    loop {
        let step = move |tx: &mut db::Tx<'_>| webhooks::replay(tx, &cx, id, which, (after, PAGE));
        let (again, next) = wait(db.write(step))??;
        all += again;
        if next.is_none() {
            break;
        }
        after = next;
    }
    println!("webhook {} is told of {all} events once more", id.get());
    Ok(())
}

fn shown(time: Time) -> anyhow::Result<String> {
    Ok(format!("{:.0}", Timestamp::from_microsecond(time.0)?))
}

/// A day or a time.
fn moment(text: &str) -> Result<Time, String> {
    let wrong = "it must look like 2026-11-20 or 2026-11-20T08:00:00Z";
    let day = |date: Date| date.to_zoned(jiff::tz::TimeZone::UTC).map(|day| day.timestamp());
    let at = text.parse::<Timestamp>();
    let at = at.or_else(|_time| text.parse::<Date>().and_then(day)).map_err(|_day| wrong)?;
    Ok(Time(at.as_microsecond()))
}
