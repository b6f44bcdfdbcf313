//! Reads `.env`, as the Django app wrote it.

use std::io::Cursor;
use std::path::Path;

use super::{Error, Layer, read_text, wrong};

/// Returns the variables of a file.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let layer = Layer::File(path.to_path_buf());
    let text = read_text(path).map_err(|problem| wrong(&layer, problem))?;
    let entries = dotenvy::from_read_iter(Cursor::new(with_plain_dollars(&text)));
    // The library's message quotes the line, which may contain a secret.
    entries.collect::<Result<_, _>>().map_err(|_line| wrong(&layer, "a line is not NAME=VALUE"))
}

/// Escapes each `$`: the library would expand it as a variable, but keys that Django generates
/// contain it.
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

/// Translates Python's names of log levels, in any case; other texts are checked later.
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
