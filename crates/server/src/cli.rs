//! The command line: each command is one file. The uppermost room: nothing uses it but `main`.

#![expect(clippy::print_stdout, reason = "a command talks to a person")]

mod backup;
mod check;
mod config;
mod copy;
mod email;
mod migrate;
mod openapi;
mod serve;
mod token;
mod user;
mod webhook;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use db::Db;
use mail::webhooks;

use crate::config::{Config, Settings, Sources};
use crate::runtime::clock::Clock;
use crate::serve::make_data_dir;

/// Postroom: the messaging backend that an app drops in so that its users can write to each other.
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
        Exit status: 0 done, 1 failed, 2 wrong usage or configuration.\n\
        Every setting, its default and its reason: postroom config --defaults"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Common {
    /// A configuration file; else postroom.toml in this folder, if it is there
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database and the secret key are kept
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// The address to serve on
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Any other setting, as in --set `rate_limits=off`
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (what happens without a command)
    #[command(after_help = "Example:\n  postroom serve --listen 127.0.0.1:8000\n\n\
        It prepares what is missing: the folder, the key, the database, the schema. SIGTERM lets \
        requests in flight end; a second one does not.")]
    Serve,
    /// Bring the schema of the database up to date, and do no more
    #[command(after_help = "Example:\n  postroom migrate\n\n\
        `serve` does the same when it starts. The file is copied before it is changed.")]
    Migrate,
    /// Make, list and change accounts
    #[command(
        subcommand,
        after_help = "Examples:\n  postroom user add ann --email ann@example.org\n  \
            postroom user list"
    )]
    User(user::Command),
    /// Make, list and revoke the tokens that programs log in with
    #[command(
        subcommand,
        after_help = "Examples:\n  postroom token add ann --name \"backup script\"\n  \
            postroom token list ann"
    )]
    Token(token::Command),
    /// Tell the app's own server of events, by signed requests
    #[command(
        subcommand,
        after_help = "Examples:\n  postroom webhook add https://app.example.org/postroom\n  \
            postroom webhook test 1\n  postroom webhook log --failed\n\n\
            Events: message.created, message.read, message.destroyed, user.created, user.erased. \
            How to receive them: docs/webhooks.md. A running server follows within 5 seconds."
    )]
    Webhook(webhook::Command),
    /// Copy the database to a file, while the server runs
    #[command(after_help = "Example:\n  postroom backup /backups/$(date +%F).db\n\n\
        The copy is one moment of the database, checked before it gets its name. It holds \
        everybody's letters: keep it as safe as the database. The secret key is not in it.")]
    Backup(backup::Backup),
    /// Put a backup in the place of the database
    #[command(after_help = "Example:\n  postroom restore /backups/2026-11-22.db\n\n\
        The server must be stopped. The database that was there is kept beside it. Everybody must \
        log in again, and programs need new tokens: what was ended since the backup must not \
        come back.")]
    Restore(backup::Restore),
    /// Copy everything into an empty database of either kind, to move there
    #[command(after_help = "Examples:\n  \
        postroom copy --from sqlite:postroom.db --to postgres://postroom@pg1/postroom\n  \
        POSTROOM_DATABASE_URL=postgres://… postroom copy --from sqlite:postroom.db --to config\n\n\
        Servers on both must be stopped. The source is not changed. All is read back and compared \
        on both sides before it counts; where anything fails, there is nothing in the target. \
        Accounts, sessions, tokens and ids stay as they are. Others on the machine can see a \
        command line: an address with a password belongs into the configuration, which `config` \
        stands for.")]
    Copy(copy::Copy),
    /// Check the database: the file, and whether its contents make sense
    #[command(after_help = "Example:\n  postroom check\n\n\
        It reads everything, also while the server runs. Exit status 1 means problems.")]
    Check,
    /// Look whether e-mail can be sent
    #[command(subcommand, after_help = "Example:\n  postroom mail test you@example.org")]
    Mail(email::Command),
    /// Show the settings in force, and where each comes from
    #[command(
        after_help = "Examples:\n  postroom config\n  postroom config --defaults > postroom.toml"
    )]
    Config(config::Show),
    /// Print the OpenAPI document of /v1, as the server has it at /openapi.json
    #[command(after_help = "Example:\n  postroom openapi > openapi.json")]
    Openapi,
}

/// How a command ends, if not well.
enum Failure {
    /// The configuration or the usage is wrong.
    Usage(String),
    /// It was tried and failed.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.into())
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // The allocator asks for pages of 2 MiB, of which an idle server then holds many half empty:
    // twice the memory, and no more speed. A system that does not know of them has none.
    let _unknown = rustix::thread::disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(problem)) => {
            complain(&problem);
            ExitCode::from(2)
        }
        Err(Failure::Failed(error)) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong. That nobody can hear it changes nothing.
fn complain(problem: &str) {
    drop(writeln!(std::io::stderr(), "error: {problem}"));
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Common { config, data_dir, listen, mut set } = cli.common;
    set.extend(data_dir.map(|dir| ("data_dir".to_owned(), dir)));
    set.extend(listen.map(|address| ("listen".to_owned(), address)));
    if let Some(Command::Config(show)) = &cli.command
        && show.defaults
    {
        print!("{}", crate::config::DEFAULTS);
        return Ok(());
    }
    if let Some(Command::Openapi) = &cli.command {
        openapi::run();
        return Ok(());
    }
    let config = Config::load(&Sources::of_process(config, set));
    let config = config.map_err(|error| Failure::Usage(error.to_string()))?;
    let settings = &config.settings;
    match cli.command {
        None | Some(Command::Serve) => serve::run(config.settings),
        Some(Command::Migrate) => migrate::run(settings),
        Some(Command::User(command)) => user::run(settings, command),
        Some(Command::Token(command)) => token::run(settings, command),
        Some(Command::Webhook(command)) => webhook::run(settings, command),
        Some(Command::Backup(backup)) => backup::run(settings, &backup),
        Some(Command::Restore(restore)) => backup::restore(settings, &restore),
        Some(Command::Copy(copy)) => copy::run(settings, &copy),
        Some(Command::Check) => check::run(settings),
        Some(Command::Mail(command)) => email::run(settings, command),
        Some(Command::Config(_)) => {
            config::run(&config);
            Ok(())
        }
        // It was run before the configuration was read.
        Some(Command::Openapi) => Ok(()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("it must look like NAME=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// Opens the database beside a server that may be running, with the clock that belongs to it; it is
/// made if it is not there.
fn open(settings: &Settings) -> Result<(Db, Clock), Failure> {
    make_data_dir(settings)?;
    let url = settings.database()?;
    let clock = Clock::default();
    let db = match Db::open_beside(&url, mail::SCHEMA) {
        Err(db::Error::SchemaOlder { found: 0, .. }) => {
            Db::migrate(&url, mail::SCHEMA, clock.now().0)?;
            Db::open_beside(&url, mail::SCHEMA)?
        }
        opened => opened?,
    };
    wait(clock.follow(&db))??;
    // What a command does, others are told of as well.
    clock.want_webhooks(webhooks::all_wanted(&wait(db.read(webhooks::list))??));
    Ok((db, clock))
}

/// Waits for a future, in a runtime of the command's own.
fn wait<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // Dropped, it would wait for what was given up: for requests that do not end.
    runtime.shutdown_background();
    Ok(output)
}
