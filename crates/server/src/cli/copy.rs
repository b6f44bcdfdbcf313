//! `postroom copy`

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use db::{Copied, Db, Progress, Step, Url};

use super::Failure;
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::serve::make_data_dir;

/// What stands for the database of the configuration.
const CONFIGURED: &str = "config";
/// How often a person is told how far it is.
const OFTEN: Duration = Duration::from_millis(300);

#[derive(Args)]
pub(super) struct Copy {
    /// The database to read, as `database_url` is written; `config` is the configured one
    #[arg(long, value_name = "URL")]
    from: String,
    /// The database to fill, which must be empty; `config` is the configured one
    #[arg(long, value_name = "URL")]
    to: String,
}

pub(super) fn run(settings: &Settings, copy: &Copy) -> Result<(), Failure> {
    let (from, to) = (url(settings, "--from", &copy.from)?, url(settings, "--to", &copy.to)?);
    if to.path().is_some_and(|path| path.starts_with(&settings.data_dir)) {
        make_data_dir(settings)?;
    }
    let now = Clock::default().now().0;
    let mut report = Report::new();
    let copied = Db::copy(&from, &to, mail::SCHEMA, now, |progress| report.tell(progress));
    report.end();
    let copied = copied.with_context(|| format!("cannot copy {from} to {to}"))?;
    print(&copied)?;
    println!("{to} now holds what {from} holds: {} rows, compared.", total(&copied));
    Ok(())
}

fn url(settings: &Settings, flag: &str, text: &str) -> Result<Url, Failure> {
    let url = if text == CONFIGURED { settings.database() } else { settings.database_at(text) };
    url.map_err(|error| Failure::Usage(format!("{flag}: {error}")))
}

fn total(copied: &[Copied]) -> u64 {
    copied.iter().map(|table| table.rows).sum()
}

fn print(copied: &[Copied]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let width = copied.iter().map(|table| table.table.len()).max().unwrap_or(0);
    for Copied { table, rows, checksum } in copied {
        writeln!(out, "{table:width$} {rows:>12}  {checksum}")?;
    }
    Ok(())
}

/// Says on standard error how far it is: to a person a line that changes, else a line for each
/// table that is done.
struct Report {
    person: bool,
    told: Option<Instant>,
}

impl Report {
    fn new() -> Self {
        Self { person: std::io::stderr().is_terminal(), told: None }
    }

    fn tell(&mut self, Progress { table, step, rows, of }: Progress<'_>) {
        let what = match step {
            Step::Copying => "copying",
            Step::Checking => "checking",
            // Nobody may be listening, which is no reason to stop.
            Step::Done if !self.person => {
                return drop(writeln!(std::io::stderr(), "{table}: {rows} rows"));
            }
            Step::Done => return,
        };
        if !self.person || self.told.is_some_and(|told| told.elapsed() < OFTEN) {
            return;
        }
        self.told = Some(Instant::now());
        let share = rows.saturating_mul(100).checked_div(of).unwrap_or(100);
        drop(write!(std::io::stderr(), "\r\x1b[K{what} {table}: {rows} of {of} rows, {share} %"));
    }

    /// Clears the line, for what comes next.
    fn end(&self) {
        if self.person {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}
