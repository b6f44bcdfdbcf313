//! `postroom token`

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use domain::Time;
use domain::text::TokenName;
use domain::tokens::{self, NewToken, Scopes};

use super::output::{self, confirm_visible, done};
use super::user::find;
use super::{Store, shown};
use crate::config::Settings;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a token to an account, and print it: it is shown only this once
    #[command(after_help = "Examples:\n  postroom token add ann --name \"backup script\" \
        --scopes messages:read\n  postroom token add robot --name sender --days 90\n\n\
        Scopes: messages:read, messages:write, account; without --scopes, all of them.")]
    Add {
        /// The owner of the token: a name, an id, or ext: and the app's id
        user: String,
        /// A name by which the owner recognises it
        #[arg(long)]
        name: String,
        /// What it allows, separated by commas
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Days until it expires; without it, the token is valid until it is revoked
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        days: Option<u16>,
    },
    /// List the tokens of an account: id, name, scopes, since when, when it ends, last used
    #[command(after_help = "Example:\n  postroom token list ann")]
    List {
        /// The owner of the tokens: a name, an id, or ext: and the app's id
        user: String,
    },
    /// Revoke a token
    #[command(after_help = "Example:\n  postroom token revoke ann 2251799813685247\n\n\
        A running server notices it within 5 seconds.")]
    Revoke {
        /// The owner of the token: a name, an id, or ext: and the app's id
        user: String,
        /// Its id in the list
        id: i64,
    },
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<()> {
    let store = Store::open(settings)?;
    match command {
        Command::Add { user, name, scopes, days } => {
            let scopes = match scopes.as_slice() {
                [] => Scopes::all(),
                names => Scopes::parse(names.iter().map(String::as_str))?,
            };
            let expires_at = days.map(|days| store.cx.now.plus(i64::from(days) * Time::DAY));
            let name = TokenName::parse(&name)?;
            add(&store, &user, NewToken { name, scopes, expires_at })
        }
        Command::List { user } => list(&store, &user),
        Command::Revoke { user, id } => {
            let owner = find(&store, &user)?.id;
            let revoked = store.write(move |tx| tokens::revoke(tx, owner, id))?;
            revoked.with_context(|| format!("{user} has no token {id}"))?;
            done(&format!("token {id} is revoked"));
            Ok(())
        }
    }
}

fn add(store: &Store, user: &str, new: NewToken) -> Result<()> {
    let (cx, owner) = (store.cx, find(store, user)?);
    if owner.disabled_at.is_some() {
        bail!("{user} is disabled");
    }
    confirm_visible().context("no token is made")?;
    let secret = cx.random();
    let added = store.write(move |tx| tokens::create(tx, &cx, owner.id, &secret, &new))?;
    output::secret(&added.token).or_else(|unseen| {
        store.write(move |tx| tokens::revoke(tx, owner.id, added.listed.id))?;
        Err(unseen.context("the token that nobody has seen is revoked"))
    })
}

fn list(store: &Store, user: &str) -> Result<()> {
    let owner = find(store, user)?.id;
    let mut out = output::listing()?;
    for token in store.read(move |tx| tokens::list(tx, owner))? {
        let scopes = token.scopes.names().collect::<Vec<_>>().join(",");
        let (id, name, created) = (token.id, token.name, shown(token.created_at));
        let until = token.expires_at.map_or("never".to_owned(), shown);
        let last_used = token.last_used_at.map_or("never".to_owned(), shown);
        writeln!(out, "{id}\t{name}\t{scopes}\t{created}\t{until}\t{last_used}")?;
    }
    Ok(())
}
