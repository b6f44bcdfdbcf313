//! Reads files that settings name.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a file that a setting names, such as a key or a certificate, of at most `most` bytes.
///
/// # Errors
/// Where it cannot be read, is longer, or is not a regular file: a device may have no end, and a
/// pipe would wait for a writer.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}
