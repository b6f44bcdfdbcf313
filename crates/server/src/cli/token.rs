//! `postroom token`

use std::io::Write as _;

use anyhow::anyhow;
use clap::Subcommand;
use db::Db;
use jiff::Timestamp;
use mail::text::TokenName;
use mail::tokens::{self, NewToken, Scopes};
use mail::{Cx, Time};

use super::user::find;
use super::{Failure, open, wait};
use crate::config::Settings;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a token for an account, and print it: it is shown this once
    #[command(after_help = "Examples:\n  postroom token add ann --name \"backup script\" \
        --scopes messages:read\n  postroom token add robot --name sender --days 90\n\n\
        Scopes: messages:read, messages:write, account; without --scopes, all of them.")]
    Add {
        /// Whose token
        user: String,
        /// What its owner knows it by
        #[arg(long)]
        name: String,
        /// What it allows, separated by commas
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
        /// In how many days it ends; without it, when it is revoked
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        days: Option<u16>,
    },
    /// List the tokens of an account: id, name, scopes, since when, until when, last used
    #[command(after_help = "Example:\n  postroom token list ann")]
    List {
        /// Whose tokens
        user: String,
    },
    /// Revoke a token
    #[command(after_help = "Example:\n  postroom token revoke ann 2251799813685247\n\n\
        A running server follows within 5 seconds.")]
    Revoke {
        /// Whose token
        user: String,
        /// Which one, as the list names it
        id: i64,
    },
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let (db, clock) = open(settings)?;
    match command {
        Command::Add { user, name, scopes, days } => {
            let cx = clock.cx();
            let scopes = match scopes.as_slice() {
                [] => Scopes::all(),
                names => Scopes::parse(names.iter().map(String::as_str))?,
            };
            let expires_at = days.map(|days| cx.now.plus(i64::from(days) * Time::DAY));
            let name = TokenName::parse(&name)?;
            add(&db, cx, &user, NewToken { name, scopes, expires_at })
        }
        Command::List { user } => list(&db, &user),
        Command::Revoke { user, id } => revoke(&db, &user, id),
    }
}

fn add(db: &Db, cx: Cx, user: &str, new: NewToken) -> Result<(), Failure> {
    let (owner, secret) = (find(db, user)?.id, cx.random());
    let made = wait(db.write(move |tx| tokens::create(tx, &cx, owner, &secret, &new)))?;
    // The domain speaks to whoever calls; here that is the operator.
    let made = made.map_err(|error| match error {
        mail::Error::NotLoggedIn => anyhow!("{user} is disabled"),
        error => error.into(),
    })?;
    println!("{}", made.token);
    Ok(())
}

fn list(db: &Db, user: &str) -> Result<(), Failure> {
    let owner = find(db, user)?.id;
    let mut out = std::io::stdout().lock();
    for token in wait(db.read(move |tx| tokens::list(tx, owner)))?? {
        let scopes = token.scopes.names().collect::<Vec<_>>().join(",");
        let created = day(Some(token.created_at), "")?;
        let until = day(token.expires_at, "revoked")?;
        let last = day(token.last_used_at, "never")?;
        writeln!(out, "{}\t{}\t{scopes}\t{created}\t{until}\t{last}", token.id, token.name)?;
    }
    Ok(())
}

fn day(time: Option<Time>, never: &str) -> anyhow::Result<String> {
    let Some(time) = time else { return Ok(never.to_owned()) };
    Ok(format!("{:.0}", Timestamp::from_microsecond(time.0)?))
}

fn revoke(db: &Db, user: &str, id: i64) -> Result<(), Failure> {
    let owner = find(db, user)?.id;
    let revoked = wait(db.write(move |tx| tokens::revoke(tx, owner, id)))??;
    revoked.ok_or_else(|| anyhow!("{user} has no token {id}"))?;
    println!("token {id} is revoked");
    Ok(())
}
