//! How far a long command is, on standard error: a bar on a terminal, elsewhere a line now and
//! then, so that a log shows it. What is done soon says nothing in a log, as there is nothing to
//! complain of. Standard error may be closed, which stops nothing.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// How often a log has a line: rarely enough that one of an hour can be read.
const INTERVAL: Duration = Duration::from_secs(10);

/// What a command does, one part after the other.
pub(super) struct Progress {
    /// Counts without being drawn where standard error is no terminal.
    bar: ProgressBar,
    /// When the part began, or a log had its last line.
    last: Instant,
    is_told: bool,
}

impl Progress {
    /// Before the first part.
    pub(super) fn new() -> Self {
        Self { bar: ProgressBar::hidden(), last: Instant::now(), is_told: false }
    }

    /// Begins a part, and ends the one before: what is counted, and how many there are in all,
    /// where that is known.
    pub(super) fn begin(&mut self, what: &'static str, of: Option<i64>) {
        self.end();
        let template = match of {
            Some(_) => "{msg} [{wide_bar}] {pos} of {len}, {eta} left",
            None => "{msg}: {pos}, {per_sec}",
        };
        let style = ProgressStyle::with_template(template).expect("it is a template");
        let of = of.map(|of| u64::try_from(of).unwrap_or_default());
        self.bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr())
            .with_style(style.progress_chars("=> "))
            .with_message(what)
            // Also where an error ends the command.
            .with_finish(ProgressFinish::AndClear);
        self.bar.tick();
        self.last = Instant::now();
    }

    /// So many more are done.
    pub(super) fn add(&mut self, more: usize) {
        self.bar.inc(more as u64);
        if self.bar.is_hidden() && self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            self.is_told = true;
            self.log();
        }
    }

    /// Ends the part: a log that has told of it gets how many they were, a terminal keeps nothing.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_told) {
            self.log();
        }
        self.bar = ProgressBar::hidden();
    }

    /// Writes to standard output, where the bar may be.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        if stdout().is_terminal() { self.bar.suspend(write) } else { write() }
    }

    fn log(&self) {
        let (what, number) = (self.bar.message(), self.bar.position());
        let of = self.bar.length().map_or_else(String::new, |of| format!(" of {of}"));
        drop(writeln!(stderr(), "{what}: {number}{of}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
