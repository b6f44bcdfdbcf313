//! `postroom key`

use anyhow::Result;
use clap::Subcommand;
use domain::history;

use super::Store;
use super::output::done;
use crate::config::Settings;
use crate::runtime::key::{fingerprint, server_key};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Use the database with another secret key from now on, and end the warning about it
    #[command(after_help = "Example:\n  postroom key accept\n\n\
        Only where the key of before is lost. If there is none, one is made. Every webhook gets \
        another secret, which `postroom webhook secret` prints, old unsubscribe links stop \
        working, and the names of erased accounts are free again.")]
    Accept,
}

pub(super) fn run(settings: &Settings, command: &Command) -> Result<()> {
    let Command::Accept = command;
    let store = Store::open(settings)?;
    let ours = fingerprint(&server_key(settings, None)?);
    store.write(move |tx| Ok(history::set_key_fingerprint(tx, &ours)?))?;
    done("The database is used with this secret key from now on.");
    Ok(())
}
