//! `postroom completions` and `postroom man`: what shells and `man` know of the commands.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::output::{done, listing};

#[derive(Args)]
pub(super) struct Completions {
    /// The shell that is to complete the commands
    shell: Shell,
}

#[derive(Args)]
pub(super) struct Man {
    /// The folder for the pages; it is made if it is missing
    dir: PathBuf,
}

/// Prints a script for the shell.
pub(super) fn completions(of: &Completions) -> Result<()> {
    // The library panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(of.shell, &mut Cli::command(), "postroom", &mut script);
    Ok(listing()?.write_all(&script)?)
}

/// Writes a page for each command.
pub(super) fn man(Man { dir }: &Man) -> Result<()> {
    let written = |dir: &Path| {
        fs::create_dir_all(dir)?;
        clap_mangen::generate_to(Cli::command(), dir)
    };
    written(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
    done(&format!("the manual is in {}", dir.display()));
    Ok(())
}
