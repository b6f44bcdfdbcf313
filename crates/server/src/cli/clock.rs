//! `postroom clock`

use std::io::Write as _;

use anyhow::Result;
use clap::Subcommand;
use domain::{Time, known_time};

use super::output::{done, listing};
use super::{Store, shown};
use crate::config::Settings;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Believe the clock from now on: what is over by it is purged
    #[command(after_help = "Example:\n  postroom clock accept\n\n\
        Look at the clock first: what is purged is gone. A running server notices it within a \
        minute.")]
    Accept,
}

pub(super) fn run(settings: &Settings, command: Option<&Command>) -> Result<()> {
    let store = Store::open(settings)?;
    let cx = store.cx;
    let now = shown(cx.now);
    match command {
        None => {
            let (known, distance) =
                store.read(move |tx| Ok((known_time::get(tx)?, known_time::distance(tx, &cx)?)))?;
            let known = known.map_or("none".to_owned(), shown);
            let state = match distance {
                None => "the clock is believed".to_owned(),
                Some(ahead) => {
                    let days = ahead.abs() / Time::DAY;
                    let way = if ahead > 0 { "ahead" } else { "behind" };
                    format!(
                        "the clock is {days} days {way}: nothing is purged until it has gone on \
                         for 24 hours, or `postroom clock accept` says that it is right"
                    )
                }
            };
            writeln!(listing()?, "now\t{now}\nknown\t{known}\n{state}")?;
        }
        Some(Command::Accept) => {
            store.write(move |tx| known_time::believe(tx, &cx))?;
            done(&format!("It is {now}: what is over by then is purged."));
        }
    }
    Ok(())
}
