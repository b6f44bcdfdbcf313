//! `postroom import`

mod django;
mod intake;
mod lines;
mod report;
mod stages;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use db::{Db, Url};
use domain::moving::spool::SPOOL;
use domain::moving::{Mode, Reading};
use domain::text::Lengths;

use self::report::Report;
use self::stages::{Found, Import};
use super::output::done;
use super::{Store, shown, wait};
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::serve::DataDir;

/// The end of its help.
pub(super) const HELP: &str = "Examples:\n  postroom import shop.jsonl --dry-run\n  \
    zcat shop.jsonl.gz | postroom import -\n\n\
    The server must be stopped. All errors are reported first; with any, nothing is written. \
    What was interrupted goes on when it is run again. The format: docs/moving.md";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct From {
    #[command(subcommand)]
    app: Option<App>,
    /// The file of JSON Lines; - is standard input
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Users who are here already become what their lines say
    #[arg(long, conflicts_with = "insert")]
    upsert: bool,
    /// Users and messages that are here already are errors
    #[arg(long)]
    insert: bool,
    /// What to do where a message names a user whom no line explains
    #[arg(long, value_enum, default_value_t = MissingUsers::Refuse)]
    missing_users: MissingUsers,
    #[command(flatten)]
    how: How,
}

#[derive(Subcommand)]
enum App {
    /// Take in users and messages from the database of a Django app
    #[command(after_help = django::HELP)]
    Django(django::Django),
}

#[derive(Args)]
struct How {
    /// Check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Where to write what is wrong; else on standard output
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// What to do with bodies that are longer than the setting `body_max_bytes`
    #[arg(long, value_enum, default_value_t = LongBodies::Refuse)]
    long_bodies: LongBodies,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LongBodies {
    Cut,
    Refuse,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MissingUsers {
    Stub,
    Refuse,
}

impl From {
    fn mode(&self) -> Mode {
        match (self.upsert, self.insert) {
            (true, _) => Mode::Update,
            (_, true) => Mode::Refuse,
            _ => Mode::Keep,
        }
    }
}

impl How {
    fn reading(&self, settings: &Settings) -> Reading {
        let lengths = Lengths {
            subject_chars: settings.subject_max_chars,
            body_bytes: settings.body_max_bytes,
        };
        Reading { lengths, cuts_bodies: self.long_bodies == LongBodies::Cut }
    }

    /// Where problems are written.
    fn errors(&self) -> Result<Box<dyn Write>> {
        Ok(match &self.errors {
            None => Box::new(stdout()),
            Some(path) => {
                let file = File::create(path);
                let file = file.with_context(|| format!("cannot write {}", path.display()))?;
                Box::new(BufWriter::new(file))
            }
        })
    }
}

pub(super) fn run(settings: &Settings, from: &From) -> Result<()> {
    let path = match (&from.app, &from.file) {
        (Some(App::Django(django)), _) => return django::run(settings, django),
        (None, path) => path.as_ref().context("which file?")?,
    };
    let file: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(stdin().lock())
    } else {
        let file = File::open(path);
        let file = file.with_context(|| format!("cannot read {}", path.display()))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    let _data_dir = DataDir::make(settings)?;
    let store = open(settings)?;
    let spool = Spool::make(&settings.data_dir)?;
    let mut report = Report::new(from.how.errors()?);
    let reading = from.how.reading(settings);
    let mut import = intake::read(spool.db.clone(), file, reading, &mut report)?;
    let how = (from.mode(), from.missing_users == MissingUsers::Stub);
    let found = check(&mut import, &store, how, &mut report)?;
    let plan = plan(&found);
    if from.how.dry_run {
        done(&format!("{plan}\nNothing is wrong, and nothing was written."));
        return Ok(());
    }
    import.write(&store, how, &mut report)?;
    report.progress.end();
    store.db.close();
    done(&plan);
    Ok(())
}

/// Checks what was read, and ends where something is wrong.
fn check(
    import: &mut Import,
    store: &Store,
    how: (Mode, bool),
    report: &mut Report,
) -> Result<Found> {
    let found = import.check(store, how, report)?;
    report.progress.end();
    report.errors.flush().context("what is wrong cannot be written")?;
    if report.problems > 0 {
        let of = if report.tables.is_some() { "database" } else { "file" };
        bail!("{} errors in the {of}: nothing was written", report.problems);
    }
    Ok(found)
}

/// What an import does, in two lines.
fn plan(found: &Found) -> String {
    let Found { summary, new_users, new_messages, .. } = found;
    let span = summary.span.map_or(String::new(), |(first, last)| {
        format!(", sent from {} to {}", shown(first), shown(last))
    });
    format!(
        "users: {} in the file, {new_users} new\n\
         messages: {} in the file, {new_messages} new{span}\n\
         blocks, mutes and contacts: {} in the file",
        summary.users, summary.messages, summary.others
    )
}

/// Opens the database for itself, and makes it where there is none.
fn open(settings: &Settings) -> Result<Store> {
    let (url, clock) = (settings.database()?, Clock::default());
    let alone = |error| match error {
        db::Error::InUse(_) | db::Error::NotAlone(_) => {
            anyhow::Error::new(error).context("an import needs the database for itself")
        }
        error => error.into(),
    };
    Db::migrate(&url, domain::SCHEMA, clock.now().0).map_err(alone)?;
    let db = Db::open_alone(&url, domain::SCHEMA).map_err(alone)?;
    wait(clock.follow(&db))??;
    let mut store = Store { db, cx: clock.cx() };
    store.reserve_names(settings)?;
    Ok(store)
}

/// The temporary database, which goes with this.
struct Spool {
    db: Db,
    path: PathBuf,
}

impl Spool {
    fn make(folder: &Path) -> Result<Self> {
        let path = folder.join("import.spool");
        // One that a killed import has left.
        remove(&path);
        let url = Url::parse(&format!("sqlite:{}", std::path::absolute(&path)?.display()), folder)?;
        Db::migrate(&url, SPOOL, 0)?;
        Ok(Self { db: Db::open(&url, SPOOL)?, path })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.db.close();
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", "-journal", ".lock", ".reserve"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        drop(std::fs::remove_file(name));
    }
}
