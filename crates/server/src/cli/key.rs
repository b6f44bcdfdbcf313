//! `postroom key`

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use domain::server_keys::{self, KeyInfo, KeyScopes};
use domain::text::TokenName;
use domain::{ServerKeyId, Time, history};

use super::output::{self, confirm_visible, done};
use super::{Store, shown};
use crate::config::{Settings, period};
use crate::runtime::key::{fingerprint, secret_key};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a server key, and print it: it is shown only this once
    #[command(after_help = "Examples:\n  postroom key add shop --scopes users,tokens,act\n  \
        postroom key add digest --scopes unread --days 90\n\n\
        Scopes: users, tokens, act, unread, system, moderation, export, admin.")]
    Add {
        /// A name by which the operator recognises it; users see it where it sends for them
        name: String,
        /// What it allows, separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// Days until it expires; without it, the key is valid until it is revoked
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        days: Option<u16>,
    },
    /// List server keys: id, name, scopes, since when, when it ends, last used, state
    #[command(after_help = "Example:\n  postroom key list\n\n\
        The key of the setting server_key is not in the list.")]
    List,
    /// Revoke a server key
    #[command(after_help = "Example:\n  postroom key revoke 1\n\n\
        A running server notices it within 5 seconds.")]
    Revoke(Key),
    /// Replace a server key by a new one, and print it; for a while both work
    #[command(after_help = "Examples:\n  postroom key rotate 1 --overlap 24h\n  \
        postroom key rotate 1 --overlap 0s\n\n\
        A second rotation within that time ends the first key at once.")]
    Rotate {
        #[command(flatten)]
        key: Key,
        /// How long the key from before works: a number and s, m, h or d
        #[arg(long, value_parser = period::microseconds)]
        overlap: i64,
    },
    /// Use the database with another secret key from now on, and end the warning about it
    #[command(after_help = "Example:\n  postroom key accept\n\n\
        Only where the key of before is lost. If there is none, one is made. Every webhook gets \
        another secret, which `postroom webhook secret` prints, old unsubscribe links stop \
        working, and the names of erased accounts are free again.")]
    Accept,
}

#[derive(Args)]
pub(super) struct Key {
    /// The id of the key
    id: i64,
}

impl Key {
    fn id(&self) -> Result<ServerKeyId> {
        ServerKeyId::new(self.id).with_context(|| format!("there is no server key {}", self.id))
    }
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<()> {
    let store = Store::open(settings)?;
    let cx = store.cx;
    match command {
        Command::Add { name, scopes, days } => {
            let (name, scopes) =
                (TokenName::parse(&name)?, KeyScopes::parse(scopes.iter().map(String::as_str))?);
            let end = days.map(|days| cx.now.plus(i64::from(days) * Time::DAY));
            confirm_visible().context("no key is made")?;
            let (id, added) =
                store.write(move |tx| server_keys::create(tx, &cx, &name, scopes, end))?;
            output::secret(&added).or_else(|unseen| {
                store.write(move |tx| server_keys::revoke(tx, &cx, id))?;
                Err(unseen.context("the key that nobody has seen is revoked"))
            })?;
        }
        Command::List => list(&store)?,
        Command::Revoke(key) => {
            let id = key.id()?;
            if !store.write(move |tx| server_keys::revoke(tx, &cx, id))? {
                bail!("there is no server key {}", key.id);
            }
            done(&format!("server key {} is revoked", key.id));
        }
        Command::Rotate { key, overlap } => {
            let id = key.id()?;
            confirm_visible().context("no key is made")?;
            let rotated = store.write(move |tx| server_keys::rotate(tx, &cx, id, overlap))?;
            let gone = || format!("there is no server key {} that is valid", key.id);
            output::secret(&rotated.with_context(gone)?).or_else(|unseen| {
                store.write(move |tx| server_keys::take_back_rotation(tx, id))?;
                Err(unseen.context("the rotation to a key that nobody has seen is taken back"))
            })?;
        }
        Command::Accept => accept(&store, settings)?,
    }
    Ok(())
}

fn list(store: &Store) -> Result<()> {
    let (mut out, now) = (output::listing()?, store.cx.now);
    for listed in store.read(server_keys::list)? {
        let KeyInfo { key, created_at, last_used_at, revoked_at, previous_until } = listed;
        let scopes = key.scopes.names().collect::<Vec<_>>().join(",");
        let (id, name, created) = (key.id.get(), key.name, shown(created_at));
        let until = key.expires_at.map_or("never".to_owned(), shown);
        let last_used = last_used_at.map_or("never".to_owned(), shown);
        let both = previous_until.filter(|until| *until > now);
        let state = match (revoked_at, both) {
            (Some(at), _) => format!("revoked {}", shown(at)),
            (None, _) if key.expires_at.is_some_and(|end| end <= now) => "expired".to_owned(),
            (None, Some(until)) => format!("the key from before works until {}", shown(until)),
            (None, None) => "valid".to_owned(),
        };
        writeln!(out, "{id}\t{name}\t{scopes}\t{created}\t{until}\t{last_used}\t{state}")?;
    }
    Ok(())
}

fn accept(store: &Store, settings: &Settings) -> Result<()> {
    let ours = fingerprint(&secret_key(settings, None)?);
    store.write(move |tx| Ok(history::set_key_fingerprint(tx, &ours)?))?;
    done("The database is used with this secret key from now on.");
    Ok(())
}
