//! Lines on their way into the temporary database.

use std::io::BufRead;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use db::Db;
use domain::moving::spool::{self, Spooled};
use domain::moving::{self, Line, People, Problem, Reading};

use super::lines::Lines;
use super::report::Report;
use super::stages::Import;
use crate::cli::wait;

/// Bytes of lines that are read before they are written to the temporary database.
const READ: usize = 4 << 20;

/// Takes one line after the other.
pub(super) struct Intake {
    spool: Db,
    reading: Reading,
    people: People,
    waiting: Vec<Spooled>,
    bytes: usize,
}

impl Intake {
    pub(super) fn new(spool: Db, reading: Reading) -> Self {
        Self { spool, reading, people: People::default(), waiting: Vec::new(), bytes: 0 }
    }

    /// Takes a line, or what is wrong with it.
    pub(super) fn take(
        &mut self,
        line: i64,
        text: Result<String, Problem>,
        report: &mut Report,
    ) -> Result<()> {
        let parsed = match text {
            Ok(text) => Line::parse(line, &text, &self.reading).map(|content| (content, text)),
            Err(problem) => Err(vec![problem]),
        };
        match parsed {
            Ok((content, text)) => {
                self.people.add(&content);
                self.bytes += text.len();
                self.waiting.push(Spooled { line, content, text });
            }
            Err(problems) => report.wrong(&problems)?,
        }
        if self.waiting.len() >= 10_000 || self.bytes > READ {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        Ok(wait(self.spool.write(move |tx| spool::add(tx, &lines)))??)
    }

    /// All lines are there, and come from this source.
    pub(super) fn end(mut self, source: String) -> Result<Import> {
        self.write()?;
        let Self { spool, reading, people, .. } = self;
        Ok(Import { spool, reading, source, people: Arc::new(Mutex::new(people)) })
    }
}

/// Reads a file of lines.
pub(super) fn read(
    spool: Db,
    file: Box<dyn BufRead>,
    reading: Reading,
    report: &mut Report,
) -> Result<Import> {
    let mut lines = Lines::of(file);
    let source = match lines.next()?.map(|(_, first)| first) {
        Some(Ok(first)) => moving::header(&first),
        Some(Err(problem)) => Err(vec![problem]),
        None => moving::header(""),
    };
    let source = match source {
        Ok(source) => source,
        Err(problems) => {
            report.wrong(&problems)?;
            String::new()
        }
    };
    let mut intake = Intake::new(spool, reading);
    report.progress.begin("lines read", None);
    while let Some((line, text)) = lines.next()? {
        report.progress.add(1);
        intake.take(line, text, report)?;
    }
    intake.end(source)
}
