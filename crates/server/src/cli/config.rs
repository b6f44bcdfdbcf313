//! `postroom config`

use clap::Args;

use crate::config::Config;

#[derive(Args)]
pub(super) struct Show {
    /// Print the commented defaults, as a file to start from
    #[arg(long)]
    pub(super) defaults: bool,
}

pub(super) fn run(config: &Config) {
    for (line, origin) in config.lines() {
        println!("{line:<44} # {origin}");
    }
}
