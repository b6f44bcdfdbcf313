//! What an import says while it runs.

use std::io::Write;

use anyhow::{Context as _, Result};
use domain::moving::Problem;
use domain::moving::django::Note;
use serde_json::json;

use crate::cli::progress::Progress;

/// Says what is wrong, and how far it is.
pub(super) struct Report {
    pub(super) errors: Box<dyn Write>,
    pub(super) problems: u64,
    /// The tables of users and of messages whose rows the lines are; none where they are a file's.
    pub(super) tables: Option<[String; 2]>,
    pub(super) progress: Progress,
}

impl Report {
    pub(super) fn new(errors: Box<dyn Write>) -> Self {
        Self { errors, problems: 0, tables: None, progress: Progress::new() }
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
        let written = self.progress.aside(|| writeln!(self.errors, "{line}"));
        written.context("what is wrong cannot be written")
    }
}
