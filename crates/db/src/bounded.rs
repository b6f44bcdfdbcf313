//! Reads files that settings name.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

/// Reads a file that a setting names, such as a key or a certificate, of at most `most` bytes.
///
/// # Errors
/// Where it cannot be read, is longer, or is not a regular file: a device may have no end, and a
/// pipe would wait for a writer. And where somebody else could have written it: it belongs neither
/// to root nor to the user of this process, or every user may write to it.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?;
    confirm_trusted(&file.metadata()?)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// Who writes to what settings name decides on the server. A group may: operators share files so.
fn confirm_trusted(file: &Metadata) -> io::Result<()> {
    let (owner, own) = (file.uid(), geteuid().as_raw());
    if owner != own && owner != 0 {
        return Err(io::Error::other(format!(
            "it belongs to another user, number {owner}, and this is number {own}: run as that \
             user, or make it root's or this one's (chown)"
        )));
    }
    if file.mode() & 0o002 != 0 {
        return Err(io::Error::other("every user may write to it: take that away (chmod o-w)"));
    }
    Ok(())
}
