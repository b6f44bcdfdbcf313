//! What an import says while it runs.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use domain::moving::Problem;

/// How often the progress is shown: on a terminal, and in a log.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(10));

/// Says what is wrong, and how far it is: on a terminal as one changing line, otherwise as a line
/// now and then. Standard error may be closed, which stops nothing.
pub(super) struct Report {
    pub(super) errors: Box<dyn Write>,
    pub(super) problems: u64,
    terminal: bool,
    shown: Instant,
}

impl Report {
    pub(super) fn new(errors: Box<dyn Write>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { errors, problems: 0, terminal, shown: Instant::now() }
    }

    pub(super) fn wrong(&mut self, problems: &[Problem]) -> Result<()> {
        for problem in problems {
            self.problems += 1;
            writeln!(self.errors, "{}", problem.to_json())
                .context("what is wrong cannot be written")?;
        }
        Ok(())
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
