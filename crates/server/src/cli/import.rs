//! `postroom import`

mod lines;
mod report;
mod stages;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use db::{Db, Url};
use domain::moving::spool::{SPOOL, Summary};
use domain::moving::{Mode, Reading};
use domain::text::Lengths;

use self::report::Report;
use self::stages::Import;
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
pub(super) struct From {
    /// The file of JSON Lines; - is standard input
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    /// Check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Users who are here already become what their lines say
    #[arg(long, conflicts_with = "insert")]
    upsert: bool,
    /// Users and messages that are here already are errors
    #[arg(long)]
    insert: bool,
    /// Where to write what is wrong; else on standard output
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// What to do with bodies that are longer than the setting `body_max_bytes`
    #[arg(long, value_enum, default_value_t = LongBodies::Refuse)]
    long_bodies: LongBodies,
    /// What to do where a message names a user whom no line explains
    #[arg(long, value_enum, default_value_t = MissingUsers::Refuse)]
    missing_users: MissingUsers,
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

impl How {
    fn mode(&self) -> Mode {
        match (self.upsert, self.insert) {
            (true, _) => Mode::Update,
            (_, true) => Mode::Refuse,
            _ => Mode::Keep,
        }
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
    let file: Box<dyn BufRead> = if from.file.as_os_str() == "-" {
        Box::new(stdin().lock())
    } else {
        let file = File::open(&from.file);
        let file = file.with_context(|| format!("cannot read {}", from.file.display()))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    import(settings, file, &from.how)
}

fn import(settings: &Settings, file: Box<dyn BufRead>, how: &How) -> Result<()> {
    let _data_dir = DataDir::make(settings)?;
    let store = open(settings)?;
    let spool = Spool::make(&settings.data_dir)?;
    let lengths =
        Lengths { subject_chars: settings.subject_max_chars, body_bytes: settings.body_max_bytes };
    let reading = Reading { lengths, cuts_bodies: how.long_bodies == LongBodies::Cut };
    let stubs = how.missing_users == MissingUsers::Stub;
    let mut report = Report::new(how.errors()?);
    let mut import = Import::read(spool.db.clone(), file, reading, &mut report)?;
    let found = import.check(&store, (how.mode(), stubs), &mut report)?;
    report.end();
    report.errors.flush().context("what is wrong cannot be written")?;
    if report.problems > 0 {
        bail!("{} errors in the file: nothing was written", report.problems);
    }
    let plan = plan(&found.summary, found.new_users, found.new_messages);
    if how.dry_run {
        done(&format!("{plan}\nNothing is wrong, and nothing was written."));
        return Ok(());
    }
    import.write(&store, (how.mode(), stubs), &mut report)?;
    report.end();
    store.db.close();
    done(&plan);
    Ok(())
}

/// What an import does, in two lines.
fn plan(summary: &Summary, users: i64, messages: i64) -> String {
    let span = summary.span.map_or(String::new(), |(first, last)| {
        format!(", sent from {} to {}", shown(first), shown(last))
    });
    format!(
        "users: {} in the file, {users} new\nmessages: {} in the file, {messages} new{span}\n\
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
