//! What an import says while it runs.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use domain::moving::Problem;
use domain::moving::django::Note;
use serde_json::json;

/// How often the progress is shown: on a terminal, and in a log.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(10));

/// Says what is wrong, and how far it is: on a terminal as one changing line, otherwise as a line
/// now and then. Standard error may be closed, which stops nothing.
pub(super) struct Report {
    pub(super) errors: Box<dyn Write>,
    pub(super) problems: u64,
    /// The tables of users and of messages whose rows the lines are; none where they are a file's.
    pub(super) tables: Option<[String; 2]>,
    terminal: bool,
    shown: Instant,
}

impl Report {
    pub(super) fn new(errors: Box<dyn Write>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { errors, problems: 0, tables: None, terminal, shown: Instant::now() }
    }

    pub(super) fn wrong(&mut self, problems: &[Problem]) -> Result<()> {
        for problem in problems {
            self.problems += 1;
            let json = match &self.tables {
                None => problem.to_json(),
                Some(tables) => {
                    let Problem { line, pointer, code, detail } = problem;
                    let table = &tables[usize::from(!pointer.starts_with("/user"))];
                    json!({ "table": table, "row": line.to_string(), "pointer": pointer,
                        "code": code, "detail": detail })
                    .to_string()
                }
            };
            self.write(&json)?;
        }
        Ok(())
    }

    /// Says what of a row does not come, or changes, which is no error.
    pub(super) fn note(&mut self, note: &Note) -> Result<()> {
        let Some(tables) = &self.tables else { return Ok(()) };
        let Note { is_user, row, code, detail } = note;
        let table = &tables[usize::from(!is_user)];
        let json = json!({ "table": table, "row": row, "code": code, "detail": detail });
        self.write(&json.to_string())
    }

    fn write(&mut self, line: &str) -> Result<()> {
        writeln!(self.errors, "{line}").context("what is wrong cannot be written")
    }

    pub(super) fn show(&mut self, what: &str, number: i64, of: Option<i64>) {
        let interval = if self.terminal { INTERVALS.0 } else { INTERVALS.1 };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let share = of.and_then(|of| number.saturating_mul(100).checked_div(of));
        let share = share.map(|share| format!(", {share} %")).unwrap_or_default();
        let (begin, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        drop(write!(std::io::stderr(), "{begin}{what}: {number}{share}{end}"));
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        if self.terminal {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}
