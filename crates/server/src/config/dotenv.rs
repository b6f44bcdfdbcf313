//! The `.env` of the Django app.

use std::io::Cursor;
use std::path::Path;

use super::{Error, Origin, wrong};

/// The variables of a file.
///
/// # Errors
/// Where it cannot be read; its lines are not repeated.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let origin = Origin::File(path.to_path_buf());
    let text = std::fs::read_to_string(path).map_err(|cause| wrong(&origin, cause.to_string()))?;
    let entries = dotenvy::from_read_iter(Cursor::new(with_plain_dollars(&text)));
    // The library's message would show the line, and the line may hold a secret.
    entries.collect::<Result<_, _>>().map_err(|_line| wrong(&origin, "a line is not NAME=VALUE"))
}

/// Keeps each `$` what it is: the library would put a variable in the place of what follows, but
/// Django makes keys that hold it.
fn with_plain_dollars(text: &str) -> String {
    let (mut plain, mut before, mut quote) = (String::new(), '\n', None);
    for c in text.chars() {
        match c {
            '\n' => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            '\'' | '"' if quote == Some(c) => quote = None,
            '$' if quote != Some('\'') && before != '\\' => plain.push('\\'),
            _ => {}
        }
        plain.push(c);
        before = c;
    }
    plain
}

/// Python's names of levels, in any case; others are left for the check.
pub(super) fn level(text: &str) -> &str {
    match text.to_ascii_uppercase().as_str() {
        "NOTSET" => "trace",
        "DEBUG" => "debug",
        "INFO" => "info",
        "WARNING" | "WARN" => "warn",
        "ERROR" | "CRITICAL" | "FATAL" => "error",
        _ => text,
    }
}
