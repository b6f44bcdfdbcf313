//! What commands print, by one rule: the exit status says whether the work was done, not whether
//! anybody could read of it.
//!
//! - What was done is said on standard output, and on standard error where that cannot be written;
//!   the status is 0.
//! - What a command only prints (a list, a setting, a secret that is there) is its work: where it
//!   cannot be written or is closed, the status is 1.
//! - A new secret that could not be shown is taken back, and the status is 1.

use std::fs::File;
use std::io::{StdoutLock, Write as _, stderr, stdout};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{OFlags, fcntl_getfl};

use crate::config::{has_password, mask_password};

/// Says what was done, in one or more lines.
pub(super) fn done(lines: &str) {
    if let Err(cause) = print(lines) {
        // Standard error may be closed as well.
        drop(writeln!(stderr(), "standard output cannot be written: {cause}\n{lines}"));
    }
}

/// Prints a new secret. Where that fails, the caller has to take it back.
pub(super) fn secret(lines: &str) -> Result<()> {
    print(lines).context("standard output cannot be written")
}

/// Standard output for what a command only prints, unless it is closed.
pub(super) fn listing() -> Result<StdoutLock<'static>> {
    // A shell opens /dev/null for writing only.
    let is_closed =
        is_null() && fcntl_getfl(stdout()).is_ok_and(|flags| flags.contains(OFlags::RDWR));
    ensure!(!is_closed, "standard output is closed");
    Ok(stdout().lock())
}

/// Refuses to make a secret that is shown only once where nobody could see it.
pub(super) fn confirm_visible() -> Result<()> {
    ensure!(!is_null(), "standard output is closed or /dev/null, and it is shown only once");
    Ok(())
}

/// Whether standard output is /dev/null. What is closed is opened as this, for reading and writing,
/// when a program starts.
fn is_null() -> bool {
    let device = |file: std::io::Result<File>| Some(file.ok()?.metadata().ok()?.rdev());
    let ours = device(stdout().as_fd().try_clone_to_owned().map(File::from));
    ours.is_some() && ours == device(File::open("/dev/null"))
}

fn print(lines: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{lines}")?;
    out.flush()
}

/// Says what is wrong with the arguments, without the password of an address among them.
pub(super) fn refuse(wrong: &clap::Error) -> ExitCode {
    let arguments = std::env::args_os().map(|text| text.to_string_lossy().into_owned());
    let arguments: Vec<_> = arguments.filter(|text| has_password(text)).collect();
    if arguments.is_empty() {
        wrong.exit();
    }
    let mut said = wrong.render().to_string();
    for argument in &arguments {
        let value = argument.split_once('=').map(|(_, value)| value);
        let value = value.filter(|value| has_password(value));
        for text in [Some(&**argument), value].into_iter().flatten() {
            said = said.replace(text, &mask_password(text));
        }
    }
    drop(write!(stderr(), "{said}"));
    ExitCode::from(2)
}
