//! The server's programs, wherever a system keeps them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::engine::variable;

/// The folder of the newest server on this machine: where Debian puts it, or a folder of `PATH`.
pub fn binaries() -> Option<PathBuf> {
    debian().or_else(|| {
        let path = variable("PATH")?;
        std::env::split_paths(&path).find(|folder| is_complete(folder))
    })
}

/// The highest version under the folder in which versions stand beside each other.
fn debian() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|version| {
            let number: u32 = version.ok()?.file_name().to_str()?.parse().ok()?;
            let folder = PathBuf::from(format!("/usr/lib/postgresql/{number}/bin"));
            is_complete(&folder).then_some((number, folder))
        })
        .max()
        .map(|(_number, folder)| folder)
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_basebackup"].iter().all(|name| folder.join(name).is_file())
}

/// A user of the system.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Who runs the server where that may not be us: it refuses to be root's.
pub(crate) fn owner() -> Option<Owner> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users can be read");
    let numbers = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        let mut number = || fields.next()?.parse().ok();
        Some(Owner { uid: number()?, gid: number()? })
    });
    Some(numbers.expect("there is a user `postgres` for the server, which does not run as root"))
}

/// A program of the server, run as the user that may.
pub(crate) fn program(name: &str, folder: &Path) -> Command {
    let binaries = binaries().expect("the programs of PostgreSQL are installed");
    let mut command = Command::new(binaries.join(name));
    // Our own folder is one that this user may not enter.
    command.current_dir(folder);
    // Ctrl-C is for the tests; the watchdog does the rest.
    command.process_group(0);
    if let Some(owner) = owner() {
        command.uid(owner.uid).gid(owner.gid);
    }
    command
}
