//! The command line.

use std::time::Duration;

use crate::cases::Case;
use crate::{Result, Side};

pub(crate) const HELP: &str = "\
cargo bench -p db --bench engine -- [OPTIONS]
  --connections 1,16,64   numbers of connections; as many callers, and twice as many
  --cases point,page,send what is asked
  --rounds 5              rounds of each, in turns
  --seconds 1             length of a round
  --side engine           only this side (or bare), for a profiler
  --server postgres://...  address without a database; default: a new server";

pub(crate) struct Settings {
    pub(crate) connections: Vec<usize>,
    pub(crate) cases: Vec<Case>,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) server: Option<String>,
    only: Option<Side>,
}

impl Settings {
    /// Reads the options; `None` for `--help`.
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut settings = Self {
            connections: vec![1, 16, 64],
            cases: Case::ALL.to_vec(),
            rounds: 5,
            length: Duration::from_secs(1),
            server: None,
            only: None,
        };
        while let Some(option) = args.next() {
            // Cargo passes this to every benchmark.
            if option == "--bench" {
                continue;
            }
            if option == "--help" {
                return Ok(None);
            }
            let value = args.next().ok_or_else(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--connections" => {
                    settings.connections =
                        value.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
                }
                "--cases" => settings.cases = value.split(',').map(case).collect::<Result<_>>()?,
                "--rounds" => settings.rounds = value.parse()?,
                "--seconds" => settings.length = Duration::try_from_secs_f64(value.parse()?)?,
                "--server" => settings.server = Some(value),
                "--side" => settings.only = Some(side(&value)?),
                _ => return Err(format!("{option} is no option\n{HELP}").into()),
            }
        }
        Ok(Some(settings))
    }

    pub(crate) fn sides(&self) -> &[Side] {
        match self.only {
            None => &[Side::Engine, Side::Bare],
            Some(Side::Engine) => &[Side::Engine],
            Some(Side::Bare) => &[Side::Bare],
        }
    }
}

fn case(name: &str) -> Result<Case> {
    let found = Case::ALL.into_iter().find(|case| case.name() == name);
    found.ok_or_else(|| format!("{name} is no case").into())
}

fn side(name: &str) -> Result<Side> {
    match name {
        "engine" => Ok(Side::Engine),
        "bare" => Ok(Side::Bare),
        _ => Err(format!("{name} is no side").into()),
    }
}
