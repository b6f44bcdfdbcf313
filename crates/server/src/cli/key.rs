//! `postroom key`

use std::io::{Write as _, stdout};

use anyhow::{Result, bail};
use clap::Subcommand;
use domain::history;

use super::Store;
use crate::config::Settings;
use crate::runtime::key::{file, fingerprint, server_key};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Use the database with another secret key from now on, and end the warning about it
    #[command(after_help = "Example:\n  postroom key accept\n\n\
        Only where the key of before is lost: every webhook gets another secret, which \
        `postroom webhook secret` prints, and old unsubscribe links stop working.")]
    Accept,
}

pub(super) fn run(settings: &Settings, command: &Command) -> Result<()> {
    let Command::Accept = command;
    let store = Store::open(settings)?;
    if let Some(path) = file(settings).filter(|path| !path.exists()) {
        bail!("there is no secret key in {}", path.display());
    }
    let ours = fingerprint(&server_key(settings)?);
    store.write(move |tx| Ok(history::set_key_fingerprint(tx, &ours)?))?;
    writeln!(stdout(), "The database is used with this secret key from now on.")?;
    Ok(())
}
