//! `postroom user`

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use domain::UserRef;
use domain::passwords::{self, Password};
use domain::text::{Email, Username};
use domain::users::{self, User};

use super::output::{done, listing};
use super::{Store, Usage, shown};
use crate::config::Settings;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add an account; asks for the password, or reads it as a line from standard input
    #[command(after_help = "Examples:\n  postroom user add ann --email ann@example.org\n  \
        pwgen 20 1 | postroom user add robot --email robot@example.org")]
    Add {
        /// Letters, digits and @ . + - _
        name: String,
        /// The e-mail address
        #[arg(long)]
        email: String,
    },
    /// List all accounts: id, name, e-mail address, since when, active or disabled
    #[command(after_help = "Example:\n  postroom user list")]
    List,
    /// Set a new password, and end all sessions and tokens of the account
    #[command(after_help = "Example:\n  postroom user passwd ann")]
    Passwd(Account),
    /// Disable an account: no logins and no new messages; the mailbox stays
    #[command(after_help = "Example:\n  postroom user disable ann\n\n\
        A running server notices it within 5 seconds. `user enable` undoes it.")]
    Disable(Account),
    /// Erase an account and its mailbox for good; its sent messages stay with their recipients
    #[command(after_help = "Example:\n  postroom user erase ann --yes\n\n\
        This cannot be undone. The name can be registered again after 180 days \
        (name_reserved_days).")]
    Erase {
        #[command(flatten)]
        account: Account,
        /// Confirms it: without --yes, nothing is erased
        #[arg(long)]
        yes: bool,
    },
    /// Enable a disabled account
    #[command(after_help = "Example:\n  postroom user enable ann")]
    Enable(Account),
}

#[derive(Args)]
pub(super) struct Account {
    /// The account: its name, its id, or ext: and the app's id for it; a name of digits alone, or
    /// one that begins with a hyphen, is written as name:NAME
    user: String,
}

/// Accounts that are read at once.
const PAGE: i64 = 1000;

pub(super) fn run(settings: &Settings, command: Command) -> Result<()> {
    let mut store = Store::open(settings)?;
    if matches!(command, Command::Add { .. } | Command::Erase { yes: true, .. }) {
        store.reserve_names(settings)?;
    }
    let cx = store.cx;
    match command {
        Command::Add { name, email } => add(&store, &name, &email)?,
        Command::List => list(&store)?,
        Command::Passwd(account) => passwd(&store, &find(&store, &account.user)?)?,
        Command::Disable(account) => {
            let user = find(&store, &account.user)?;
            store.write(move |tx| users::disable(tx, &cx, user.id))?;
            done(&format!("{} is disabled", user.name));
        }
        Command::Erase { account, yes } => {
            let user = find(&store, &account.user)?;
            if !yes {
                let problem = format!("this erases {} for good; add --yes to do it", user.name);
                return Err(Usage(problem).into());
            }
            store.write(move |tx| users::erase(tx, &cx, user.id))?;
            done(&format!("{} is erased", user.name));
        }
        Command::Enable(account) => {
            let user = find(&store, &account.user)?;
            store.write(move |tx| users::enable(tx, &cx, user.id))?;
            done(&format!("{} is enabled", user.name));
        }
    }
    Ok(())
}

fn add(store: &Store, name: &str, email: &str) -> Result<()> {
    let (cx, name, email) = (store.cx, Username::parse(name)?, Email::parse(email)?);
    let hash = ask_password(store, &name, email.as_str())?;
    let shown = name.shown().to_owned();
    let id = store.write(move |tx| users::create(tx, &cx, &name, None, &email, &hash))?;
    done(&format!("{shown} is user {}", id.get()));
    Ok(())
}

fn list(store: &Store) -> Result<()> {
    let mut out = listing()?;
    let mut after = 0;
    loop {
        let page = store.read(move |tx| users::list(tx, after, PAGE))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id.get();
        for user in &page {
            let state = if user.disabled_at.is_some() { "disabled" } else { "active" };
            let (id, since) = (user.id.get(), shown(user.created_at));
            let email = if user.email.is_empty() { "-" } else { &user.email };
            writeln!(out, "{id}\t{}\t{email}\t{since}\t{state}", user.name)?;
        }
    }
}

fn passwd(store: &Store, user: &User) -> Result<()> {
    let (id, name) = (user.id, Username::parse(&user.name)?);
    let hash = ask_password(store, &name, &user.email)?;
    store.write(move |tx| users::set_password(tx, id, &hash))?;
    done(&format!("{} has another password, and no session any more", user.name));
    Ok(())
}

/// Finds an account as paths of the API name one, where digits are an id: the log names ids, and
/// anybody may call themselves `7`.
pub(super) fn find(store: &Store, user: &str) -> Result<User> {
    let of = UserRef::parse(user)?;
    let found = store.read(move |tx| users::find(tx, &of))?;
    found.with_context(|| format!("there is no user {user}"))
}

/// Returns the hash of a password that is typed twice, or is a line of standard input.
fn ask_password(store: &Store, name: &Username, email: &str) -> Result<String> {
    let text = if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ")?;
        let second = rpassword::prompt_password("Once more: ")?;
        ensure!(first == second, "the two passwords are different");
        first
    } else {
        let mut line = String::new();
        // More than a password may have, so that what is too long is refused as such.
        let mut stdin = std::io::stdin().lock().take(4096);
        stdin.read_line(&mut line).context("cannot read the password")?;
        line.trim_end_matches(['\n', '\r']).to_owned()
    };
    let password = Password::parse(&text, name, email)?;
    Ok(passwords::hash(&password, store.cx.random()))
}
