//! The command line, one file for each command. The highest room: only `main` uses it.

mod audit;
mod clock;
mod copy;
mod database;
mod email;
mod export;
mod import;
mod key;
mod manual;
mod output;
mod progress;
mod serve;
mod token;
mod user;
mod webhook;

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use db::{Db, Tx, Url};
use domain::{Cx, Time, webhooks};
use jiff::Timestamp;

use output::listing;

use crate::config::secret::Secret;
use crate::config::{self, Config, DEFAULTS, LogFormat, Settings, Sources};
use crate::http::v1;
use crate::runtime::clock::Clock;
use crate::runtime::key::{database_key, name_reservation};

/// Postroom: a messaging backend to add to an app, so that its users can write to each other
#[derive(Parser)]
#[command(
    name = "postroom",
    version,
    after_help = "Examples:\n  \
        postroom                          serve on http://127.0.0.1:8000, data in \
        ./postroom-data\n  \
        postroom --listen 127.0.0.1:9000  serve on another port\n  \
        postroom user add ann --email ann@example.org\n  \
        postroom backup /backups/today.db\n\n\
        Exit status: 0 success, 1 failure, 2 wrong usage or configuration. What was done is \
        said on\nstandard output, or on standard error where that cannot be written.\n\
        All settings with their defaults and explanations: postroom config --defaults"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Common {
    /// The configuration file; the default is postroom.toml in the current folder, if it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the database and the secret key
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// The IP address and port to serve on: 127.0.0.1:8000, 0.0.0.0:8000, `[::1]:8000`
    #[arg(long, global = true, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Any other setting, such as --set `rate_limits=off`; a list is `a,b`, or one --set for each
    #[arg(long, global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default without a command)
    #[command(after_help = "Example:\n  postroom serve --listen 127.0.0.1:8000\n\n\
        Creates the data folder, the secret key, the database and its schema if they are missing. \
        On SIGTERM running requests are finished; on a second one they are dropped.")]
    Serve,
    /// Bring the schema of the database up to date, without serving
    #[command(after_help = "Example:\n  postroom migrate\n\n\
        `serve` does the same at its start. A copy of the database file is made before.")]
    Migrate,
    /// Add, list and change accounts
    #[command(
        subcommand,
        after_help = "Examples:\n  postroom user add ann --email ann@example.org\n  \
            postroom user list"
    )]
    User(user::Command),
    /// Add, list and revoke tokens, by which programs log in
    #[command(
        subcommand,
        after_help = "Examples:\n  postroom token add ann --name \"backup script\"\n  \
            postroom token list ann"
    )]
    Token(token::Command),
    /// Send events to the app's own server, as signed requests
    #[command(
        subcommand,
        after_help = "Examples:\n  postroom webhook add https://app.example.org/postroom\n  \
            postroom webhook test 1\n  postroom webhook log --failed\n\n\
            Events: message.created, message.read, message.destroyed, user.created, user.erased. \
            How to receive them: docs/webhooks.md. A running server notices a change within 5 \
            seconds."
    )]
    Webhook(webhook::Command),
    /// Copy the database to a file or to S3, while the server runs
    #[command(after_help = database::BACKUP_HELP)]
    Backup(database::Backup),
    /// Replace the database by a backup
    #[command(after_help = database::RESTORE_HELP)]
    Restore(database::Restore),
    /// Do what `restore` does to a database that something else has put back
    #[command(after_help = "Example:\n  postroom restored\n\n\
        Run it once, with all servers stopped, after PostgreSQL was restored from a dump or a base \
        backup, and after a database file was put back by hand, by a snapshot or by Litestream: no \
        id is given again, clients load their mailboxes again, and all sessions and tokens end. To \
        run it twice does no harm.")]
    Restored,
    /// Add, list, rotate and revoke server keys, by which the app's own server calls
    #[command(
        subcommand,
        after_help = "Examples:\n  postroom key add shop --scopes users,tokens,act\n  \
            postroom key list\n  postroom key rotate 1 --overlap 24h\n\n\
            What they are for: docs/server-keys.md. `postroom key accept` is about the secret key \
            of the server itself."
    )]
    Key(key::Command),
    /// Show what server keys have changed, and whose messages were read by one, newest first
    #[command(after_help = "Examples:\n  postroom audit\n  postroom audit --user ext:42\n  \
        postroom audit --key 1 --limit 1000\n\n\
        Columns: time, id and name of the key, call, id of the user, id of the request. Readings \
        and tokens are written a second or more after their time, so ask again for the last \
        seconds. It is kept for the days of the setting audit_days.")]
    Audit(audit::Audit),
    /// Copy everything into an empty database of either kind
    #[command(after_help = "Examples:\n  \
        postroom copy --from sqlite:postroom.db --to postgres://postroom@pg1/postroom\n  \
        POSTROOM_DATABASE_URL=postgres://… postroom copy --from sqlite:postroom.db --to config\n\n\
        Servers on both must be stopped. The source is not changed. All rows are read back and \
        compared before the copy is committed; after a failure the target is still empty. \
        Accounts, sessions, tokens and ids stay the same. Other users of the machine can see a \
        command line: put an address with a password into the configuration, and write `config` \
        for it.")]
    Copy(copy::Copy),
    /// Take in users and messages from a file of JSON Lines
    #[command(after_help = import::HELP)]
    Import(import::From),
    /// Print everything as JSON Lines, which `postroom import` reads
    #[command(after_help = export::HELP)]
    Export(export::Export),
    /// Check the database: the file itself, and that its contents are consistent
    #[command(after_help = "Example:\n  postroom check\n\n\
        Reads the whole database, also while the server runs. Exit status 1 on problems.")]
    Check,
    /// Show whether the clock is believed, or say that it is right
    #[command(after_help = "Examples:\n  postroom clock\n  postroom clock accept\n\n\
        While the clock is more than three days from the last time that the database knows, \
        nothing is purged. It is believed after 24 hours, or after `postroom clock accept`.")]
    Clock {
        #[command(subcommand)]
        command: Option<clock::Command>,
    },
    /// Check that e-mail can be sent
    #[command(subcommand, after_help = "Example:\n  postroom mail test you@example.org")]
    Mail(email::Command),
    /// Show the current settings, and where each comes from
    #[command(
        after_help = "Examples:\n  postroom config\n  postroom config --defaults > postroom.toml"
    )]
    Config {
        /// Print the defaults with their explanations, as a file to start from
        #[arg(long)]
        defaults: bool,
    },
    /// Print the OpenAPI document of /v1, as served at /openapi.json
    #[command(after_help = "Examples:\n  postroom openapi > openapi.json\n  \
        postroom openapi --version 3.0 > openapi-3.0.json")]
    Openapi {
        /// 3.0 for tools that do not take 3.1; served at /openapi-3.0.json
        #[arg(long, value_parser = ["3.0", "3.1"], default_value = "3.1")]
        version: String,
    },
    /// Print the completions of a shell
    #[command(after_help = "Examples:\n  \
        postroom completions bash > /usr/share/bash-completion/completions/postroom\n  \
        postroom completions zsh > /usr/local/share/zsh/site-functions/_postroom\n  \
        postroom completions fish > ~/.config/fish/completions/postroom.fish")]
    Completions(manual::Completions),
    /// Write man pages, one for each command
    #[command(after_help = "Example:\n  postroom man /usr/local/share/man/man1")]
    Man(manual::Man),
}

/// The command line is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // The allocator asks for pages of 2 MiB, of which an idle server leaves many half empty: that
    // doubles its memory and makes it no faster. Systems without such pages return an error.
    let _unsupported = rustix::thread::disable_transparent_huge_pages(true);
    // Only the server has a log.
    let mut format = LogFormat::Text;
    let ran = match Cli::try_parse() {
        Ok(cli) => dispatch(cli, &mut format),
        Err(asked) if !asked.use_stderr() => help(&asked),
        Err(wrong) => return output::refuse(&wrong),
    };
    let Err(error) = ran else { return ExitCode::SUCCESS };
    let said = match format {
        LogFormat::Json => serve::failure(&error),
        LogFormat::Text => format!("error: {error:#}"),
    };
    // Standard error may be closed.
    drop(writeln!(std::io::stderr(), "{said}"));
    let is_wrong_address = matches!(
        error.downcast_ref::<db::Error>(),
        Some(db::Error::Url(_) | db::Error::Certificates(_))
    );
    let is_wrong_setting = error.is::<config::Error>() || error.is::<config::Unusable>();
    let is_wrong = error.is::<Usage>() || is_wrong_setting || is_wrong_address;
    ExitCode::from(if is_wrong { 2 } else { 1 })
}

fn help(asked: &clap::Error) -> Result<()> {
    drop(listing()?);
    asked.print()?;
    Ok(stdout().flush()?)
}

/// Runs a command. `format` is set to that of the log, where it serves.
fn dispatch(cli: Cli, format: &mut LogFormat) -> Result<()> {
    let Common { config, data_dir, listen, set } = cli.common;
    let mut set = set.iter().map(|text| pair(text)).collect::<Result<Vec<_>>>()?;
    set.extend(data_dir.map(|dir| ("data_dir".to_owned(), dir)));
    set.extend(listen.map(|address| ("listen".to_owned(), address)));
    let sources = Sources::of_process(config, set);
    let load = || Config::load(&sources);
    let settings = || load().map(|config| config.settings);
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let loaded = load();
            *format = match &loaded {
                Ok(config) => config.settings.log_format,
                Err(error) => error.log_format,
            };
            serve::run(loaded?.settings)?;
        }
        Command::Migrate => database::migrate(&settings()?)?,
        Command::User(command) => user::run(&settings()?, command)?,
        Command::Token(command) => token::run(&settings()?, command)?,
        Command::Webhook(command) => webhook::run(&settings()?, command)?,
        Command::Backup(backup) => database::backup(&settings()?, &backup)?,
        Command::Restore(restore) => database::restore(&settings()?, &restore)?,
        Command::Restored => database::restored(&settings()?)?,
        Command::Key(command) => key::run(&settings()?, command)?,
        Command::Audit(of) => audit::run(&settings()?, &of)?,
        Command::Copy(copy) => copy::run(&settings()?, &copy)?,
        Command::Import(from) => import::run(&settings()?, &from)?,
        Command::Export(what) => export::run(&settings()?, &what)?,
        Command::Check => database::check(&settings()?)?,
        Command::Clock { command } => clock::run(&settings()?, command.as_ref())?,
        Command::Mail(command) => email::run(&settings()?, command)?,
        Command::Config { defaults: true } => write!(listing()?, "{DEFAULTS}")?,
        Command::Config { defaults: false } => {
            let (config, mut out) = (load()?, listing()?);
            for (line, layer) in config.lines() {
                writeln!(out, "{line:<44} # {layer}")?;
            }
        }
        Command::Openapi { version } if version == "3.0" => {
            write!(listing()?, "{}", *v1::DOCUMENT_30)?;
        }
        Command::Openapi { .. } => write!(listing()?, "{}", v1::document())?,
        Command::Completions(of) => manual::completions(&of)?,
        Command::Man(man) => manual::man(&man)?,
    }
    Ok(())
}

/// A setting and its value. The error does not repeat the text, which may be a secret.
fn pair(text: &str) -> Result<(String, String)> {
    let pair = text.split_once('=');
    let (name, value) = pair.ok_or_else(|| Usage("--set: it must look like NAME=VALUE".into()))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The address of the database, which must exist.
fn existing(settings: &Settings) -> Result<Url> {
    let url = settings.database()?;
    match url.path() {
        Some(path) if !path.is_file() => Err(no_database(&url)),
        _ => Ok(url),
    }
}

/// The error where there is no database, most likely because the command runs in another folder
/// than the server.
fn no_database(url: &Url) -> anyhow::Error {
    let place = url.path().filter(|path| path.is_relative());
    let place = place.and_then(|path| std::path::absolute(path).ok());
    let place = place.map(|path| format!(", which is {}", path.display())).unwrap_or_default();
    anyhow::anyhow!(
        "there is no database at {url}{place}. Name the server's data folder with --data-dir, or \
         its configuration with --config; `postroom config` shows each setting and where it comes \
         from. (`postroom serve` and `postroom migrate` make a new database.)"
    )
}

/// The database that was opened, which must exist.
fn found(url: &Url, opened: db::Result<Db>) -> Result<Db> {
    match opened {
        Err(db::Error::SchemaOlder { found: 0, .. }) => Err(no_database(url)),
        opened => Ok(opened?),
    }
}

/// The database as commands use it: beside a server that may be running.
struct Store {
    db: Db,
    cx: Cx,
}

impl Store {
    /// Opens the database, which must exist.
    fn open(settings: &Settings) -> Result<Self> {
        let (url, clock) = (existing(settings)?, Clock::default());
        let db = found(&url, Db::open_beside(&url, domain::SCHEMA))?;
        wait(clock.follow(&db))??;
        // Commands make webhook events as well.
        clock.want_webhooks(webhooks::all_wanted(&wait(db.read_one(webhooks::list))??));
        Ok(Self { db, cx: clock.cx() })
    }

    /// The key of the database; warns of another one than before.
    fn key(&self, settings: &Settings) -> Result<Secret> {
        let (key, warning) = wait(database_key(&self.db, settings))??;
        if let Some(warning) = warning {
            // Standard error may be closed.
            drop(writeln!(std::io::stderr(), "warning: {warning}."));
        }
        Ok(key)
    }

    /// Makes and erases accounts as the server does: the names of erased ones are reserved, under
    /// the key of the database only.
    fn reserve_names(&mut self, settings: &Settings) -> Result<()> {
        if settings.name_reserved_days > 0 {
            let (key, warning) = wait(database_key(&self.db, settings))??;
            ensure!(
                warning.is_none(),
                "this is not the secret key that the database was used with: reserved names would \
                 be given away. Put the key of then back; if it is lost, run `postroom key \
                 accept`, which frees these names, or add --set name_reserved_days=0"
            );
            self.cx.names = name_reservation(settings, &key);
        }
        Ok(())
    }

    fn read<T: Send + 'static>(
        &self,
        f: impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(wait(self.db.read(f))??)
    }

    fn write<T: Send + 'static>(
        &self,
        f: impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(wait(self.db.write(f))??)
    }
}

/// Waits for a future, in a runtime of its own.
fn wait<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // Dropping the runtime would wait for requests that were given up and may never end.
    runtime.shutdown_background();
    Ok(output)
}

/// A time as the lists print it: RFC 3339, in whole seconds.
fn shown(time: Time) -> String {
    format!("{:.0}", Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX))
}
