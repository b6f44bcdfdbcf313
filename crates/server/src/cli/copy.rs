//! `postroom copy`

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use db::{Copied, Db, Progress, Step, Url};

use super::Usage;
use super::output::done;
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::serve::DataDir;

/// Stands for the configured database.
const CONFIGURED: &str = "config";
/// How often the progress is shown on a terminal.
const INTERVAL: Duration = Duration::from_millis(300);

#[derive(Args)]
pub(super) struct Copy {
    /// The database to read, in the form of `database_url`; `config` is the configured one
    #[arg(long, value_name = "URL")]
    from: String,
    /// The database to fill, which must be empty; `config` is the configured one
    #[arg(long, value_name = "URL")]
    to: String,
}

pub(super) fn run(settings: &Settings, copy: &Copy) -> Result<()> {
    let (from, to) = (url(settings, "--from", &copy.from)?, url(settings, "--to", &copy.to)?);
    let in_data_dir = to.path().is_some_and(|path| path.starts_with(&settings.data_dir));
    let _data_dir = in_data_dir.then(|| DataDir::make(settings)).transpose()?;
    let now = Clock::default().now().0;
    let mut report = Report { terminal: std::io::stderr().is_terminal(), shown: None };
    let copied = Db::copy(&from, &to, domain::SCHEMA, now, |progress| report.show(progress));
    report.end();
    let copied = copied.with_context(|| format!("cannot copy {from} to {to}"))?;
    let width = copied.iter().map(|table| table.table.len()).max().unwrap_or(0);
    let line = |Copied { table, rows, checksum }: &Copied| {
        format!("{table:width$} {rows:>12}  {checksum}")
    };
    let mut lines: Vec<_> = copied.iter().map(line).collect();
    let total: u64 = copied.iter().map(|table| table.rows).sum();
    lines.push(format!("{to} now holds what {from} holds: {total} rows, compared."));
    done(&lines.join("\n"));
    Ok(())
}

fn url(settings: &Settings, flag: &str, text: &str) -> Result<Url> {
    let url = if text == CONFIGURED { settings.database() } else { settings.database_at(text) };
    Ok(url.map_err(|error| Usage(format!("{flag}: {error}")))?)
}

/// Shows the progress on standard error: on a terminal as one changing line, otherwise as a line
/// for each finished table. Standard error may be closed, which does not stop the copy.
struct Report {
    terminal: bool,
    shown: Option<Instant>,
}

impl Report {
    fn show(&mut self, Progress { table, step, rows, of }: Progress<'_>) {
        let what = match step {
            Step::Copying => "copying",
            Step::Checking => "checking",
            Step::Done if !self.terminal => {
                return drop(writeln!(std::io::stderr(), "{table}: {rows} rows"));
            }
            Step::Done => return,
        };
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let share = rows.saturating_mul(100).checked_div(of).unwrap_or(100);
        drop(write!(std::io::stderr(), "\r\x1b[K{what} {table}: {rows} of {of} rows, {share} %"));
    }

    /// Clears the line.
    fn end(&self) {
        if self.terminal {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}
