//! `postroom user`

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use db::Db;
use mail::text::{Email, Password, Username, fold};
use mail::users::{self, User};
use mail::{Cx, passwords};

use super::{Failure, open, wait};
use crate::config::Settings;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an account; the password is asked for, or read as a line from standard input
    #[command(after_help = "Examples:\n  postroom user add ann --email ann@example.org\n  \
        pwgen 20 1 | postroom user add robot --email robot@example.org")]
    Add {
        /// Letters, digits and @ . + - _
        name: String,
        /// The address
        #[arg(long)]
        email: String,
    },
    /// List all accounts: id, name, e-mail, since when, whether disabled
    #[command(after_help = "Example:\n  postroom user list")]
    List,
    /// Set another password, and end all sessions of the account
    #[command(after_help = "Example:\n  postroom user passwd ann")]
    Passwd {
        /// Whose password
        name: String,
    },
    /// Disable an account: nobody can log in to it or write to it; what it holds stays
    #[command(after_help = "Example:\n  postroom user disable ann\n\n\
        A running server follows within 5 seconds. `user enable` is the way back.")]
    Disable {
        /// Which account
        name: String,
    },
    /// Erase an account for good, with its mailbox; what it sent to others stays with them
    #[command(after_help = "Example:\n  postroom user erase ann --yes\n\n\
        There is no way back. The name can be registered again.")]
    Erase {
        /// Which account
        name: String,
        /// Do not ask whether it is meant
        #[arg(long)]
        yes: bool,
    },
    /// Enable a disabled account again
    #[command(after_help = "Example:\n  postroom user enable ann")]
    Enable {
        /// Which account
        name: String,
    },
}

/// Accounts that are listed at once.
const PAGE: i64 = 1000;

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let (db, clock) = open(settings)?;
    let cx = clock.cx();
    match command {
        Command::Add { name, email } => add(&db, cx, &name, &email),
        Command::List => list(&db),
        Command::Passwd { name } => passwd(&db, cx, &name),
        Command::Disable { name } => {
            let user = find(&db, &name)?;
            wait(db.write(move |tx| users::disable(tx, &cx, user.id)))??;
            println!("{} is disabled", user.name);
            Ok(())
        }
        Command::Erase { name, yes } => erase(&db, cx, &name, yes),
        Command::Enable { name } => {
            let user = find(&db, &name)?;
            wait(db.write(move |tx| users::enable(tx, user.id)))??;
            println!("{} is enabled", user.name);
            Ok(())
        }
    }
}

fn add(db: &Db, cx: Cx, name: &str, email: &str) -> Result<(), Failure> {
    let (name, email) = (Username::parse(name)?, Email::parse(email)?);
    let password = Password::parse(&ask_password()?, &name, email.as_str())?;
    let hash = passwords::hash(&password, cx.random());
    let shown = name.shown().to_owned();
    let id = wait(db.write(move |tx| users::create(tx, &cx, &name, None, &email, &hash)))??;
    println!("{shown} is user {}", id.get());
    Ok(())
}

fn list(db: &Db) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut after = 0;
    loop {
        let page = wait(db.read(move |tx| users::list(tx, after, PAGE)))??;
        for user in &page {
            let since = jiff::Timestamp::from_microsecond(user.created_at.0)?;
            let state = if user.disabled_at.is_some() { "disabled" } else { "active" };
            let (id, name, email) = (user.id.get(), &user.name, &user.email);
            writeln!(out, "{id}\t{name}\t{email}\t{since:.0}\t{state}")?;
        }
        match page.last() {
            Some(last) => after = last.id.get(),
            None => return Ok(()),
        }
    }
}

fn passwd(db: &Db, cx: Cx, name: &str) -> Result<(), Failure> {
    let user = find(db, name)?;
    let password = Password::parse(&ask_password()?, &Username::parse(&user.name)?, &user.email)?;
    let hash = passwords::hash(&password, cx.random());
    wait(db.write(move |tx| users::set_password(tx, user.id, &hash)))??;
    println!("{} has another password, and no session any more", user.name);
    Ok(())
}

fn erase(db: &Db, cx: Cx, name: &str, yes: bool) -> Result<(), Failure> {
    let user = find(db, name)?;
    if !yes {
        let problem = format!("this erases {} for good; add --yes to do it", user.name);
        return Err(Failure::Usage(problem));
    }
    wait(db.write(move |tx| users::erase(tx, &cx, user.id)))??;
    println!("{} is erased", user.name);
    Ok(())
}

pub(super) fn find(db: &Db, name: &str) -> Result<User, Failure> {
    let folded = fold(name);
    let user = wait(db.read(move |tx| users::find(tx, &folded)))??;
    user.ok_or_else(|| anyhow!("there is no user {name}").into())
}

/// Asks twice without showing it; where nobody can be asked, a line of standard input is taken.
fn ask_password() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("cannot read the password")?;
        return Ok(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    let first = rpassword::prompt_password("Password: ")?;
    let second = rpassword::prompt_password("Once more: ")?;
    if first == second { Ok(first) } else { Err(anyhow!("the two are not the same")) }
}
