//! The command line, resolved to what is run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use bench::Fill;
use clap::{Parser, ValueEnum};

use crate::abuse::{Attack, PEOPLE, ordinary};
use crate::database::Kind;

/// Measures postroom against the floor and prints the table of figures.
#[derive(Parser)]
#[command(after_help = "Example: cargo run --release -p bench -- --quick --workloads w1,w3")]
pub(crate) struct Args {
    /// 100 users, 10,000 messages, one round of 1 s at 1 and 32 connections, 500 streams; to look,
    /// not to compare
    #[arg(long)]
    quick: bool,
    /// Rounds of each case, in turns with the floor or the other build [3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of one run [5]
    #[arg(long)]
    seconds: Option<u64>,
    /// Numbers of connections [1,32,256]
    #[arg(long, value_delimiter = ',')]
    conns: Vec<usize>,
    /// Messages that are there before anything is measured [100000]
    #[arg(long)]
    messages: Option<usize>,
    /// Users [1000]
    #[arg(long)]
    users: Option<usize>,
    /// Open streams of events, each of another user [10000]
    #[arg(long)]
    streams: Option<usize>,
    /// Messages a second to those who hold a stream [1000]
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// What to run [all]
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Sends at 32 connections for so many seconds instead of the rounds, and counts the slow ones
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// Runs attacks beside ordinary users instead of the rounds: a row for each, with how long the
    /// ordinary ones wait. --seconds is what each of both lasts [8]
    #[arg(long)]
    abuse: bool,
    /// Which attacks --abuse runs [all]
    #[arg(long, value_delimiter = ',', requires = "abuse")]
    attacks: Vec<Attack>,
    /// What both keep their data in: sqlite, postgres for a throw-away server, or the
    /// postgres://USER@HOST:PORT of one, where two databases of the benchmark are created again
    #[arg(long, value_name = "WHAT", default_value = "sqlite", value_parser = Kind::parse)]
    database: Kind,
    /// Connections to PostgreSQL, of each
    #[arg(long, default_value_t = 16)]
    pool: usize,
    /// A postroom to measure instead of building one
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// A floor to measure instead of building one
    #[arg(long, value_name = "PATH")]
    floor: Option<PathBuf>,
    /// Another build of postroom, to measure against in place of the floor
    #[arg(long, value_name = "PATH", conflicts_with_all = ["floor", "abuse"])]
    against: Option<PathBuf>,
    /// Writes the figures of every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Puts databases and logs here and leaves them; the directory must be empty or absent
    #[arg(long, value_name = "DIR")]
    keep_dir: Option<PathBuf>,
}

/// What is asked again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Send a message
    W1,
    /// List the ids of an inbox of 50
    W2,
    /// Read one message, already marked as read
    W3,
    /// Send a message through /v1
    V1send,
    /// The newest 50 of an inbox with snippets, through /v1
    V1page,
    /// Read one message through /v1
    V1read,
    /// Count the unread through /v1
    V1unread,
    /// Read one message through /v1 by a server key that acts for the user
    V1key,
    /// Read one message through /v1 by a browser token
    V1browser,
    /// Read one message through /v1 by a JWT of the app
    V1jwt,
    /// Sign in with a password
    Signin,
    /// Send with an open stream for everyone who receives, and without, in turns
    W1streams,
    /// 1,000 new users, in one call and in as many
    Puts,
    /// The unread counts of up to 1,000 users, in one call and in as many
    Unreads,
    /// A message to each of up to 1,000 users, from a system user in one call and in as many sends
    System,
    /// Open --streams, then --rate messages a second to those who hold them
    Streams,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::W1 => "w1",
            Self::W2 => "w2",
            Self::W3 => "w3",
            Self::V1send => "v1send",
            Self::V1page => "v1page",
            Self::V1read => "v1read",
            Self::V1unread => "v1unread",
            Self::V1key => "v1key",
            Self::V1browser => "v1browser",
            Self::V1jwt => "v1jwt",
            Self::Signin => "signin",
            Self::W1streams => "w1streams",
            Self::Puts => "puts",
            Self::Unreads => "unreads",
            Self::System => "system",
            Self::Streams => "streams",
        }
    }

    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::W1 | Self::V1send)
    }

    /// Whether it needs a server that has a server key.
    pub(crate) fn takes_server_key(self) -> bool {
        self.is_of_an_app() || matches!(self, Self::Puts | Self::Unreads | Self::System)
    }

    /// Whether it is a call of a user of the app, who has no login of ours.
    pub(crate) fn is_of_an_app(self) -> bool {
        matches!(self, Self::V1key | Self::V1browser | Self::V1jwt)
    }

    fn is_v1(self) -> bool {
        matches!(self, Self::V1send | Self::V1page | Self::V1read | Self::V1unread)
            || self.is_of_an_app()
    }
}

pub(crate) struct Settings {
    pub(crate) fill: Fill,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) conns: Vec<usize>,
    pub(crate) streams: usize,
    pub(crate) rate: u32,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) soak: Option<Duration>,
    pub(crate) abuse: bool,
    pub(crate) attacks: Vec<Attack>,
    pub(crate) database: Kind,
    pub(crate) pool: usize,
    pub(crate) server: Option<PathBuf>,
    pub(crate) floor: Option<PathBuf>,
    pub(crate) against: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) keep_dir: Option<PathBuf>,
}

impl Args {
    pub(crate) fn resolve(self) -> Result<Settings> {
        let (mut users, mut messages, rounds, mut seconds, conns, streams) = if self.quick {
            (100, 10_000, 1, 1, vec![1, 32], 500)
        } else {
            (1000, 100_000, 3, 5, vec![1, 32, 256], 10_000)
        };
        let attacks = or_all(self.attacks);
        if self.abuse {
            (users, messages) = (PEOPLE + attacks.len(), 10_000);
            seconds = if self.quick { seconds } else { 8 };
        }
        let settings = Settings {
            fill: Fill::new(self.users.unwrap_or(users), self.messages.unwrap_or(messages))?,
            rounds: self.rounds.unwrap_or(rounds),
            length: Duration::from_secs(self.seconds.unwrap_or(seconds)),
            conns: if self.conns.is_empty() { conns } else { self.conns },
            streams: self.streams.unwrap_or(streams),
            rate: self.rate,
            workloads: or_all(self.workloads),
            abuse: self.abuse,
            attacks,
            soak: self.soak.map(Duration::from_secs),
            database: self.database,
            pool: self.pool,
            server: self.server.map(std::path::absolute).transpose()?,
            floor: self.floor.map(std::path::absolute).transpose()?,
            against: self.against.map(std::path::absolute).transpose()?,
            json: self.json,
            keep_dir: self.keep_dir,
        };
        ensure!(settings.rounds > 0 && !settings.length.is_zero(), "nothing would be measured");
        if settings.abuse {
            let (users, least) = (settings.fill.users(), PEOPLE + settings.attacks.len());
            ensure!(users >= least, "{users} users are too few: the attacks need {least}");
            ordinary::check_quota(settings.length * 2 * u32::try_from(settings.attacks.len())?)?;
        }
        ensure!(settings.streams > 0 && settings.rate > 0, "nothing would be delivered");
        ensure!(settings.pool > 0, "no connection to the database answers nothing");
        ensure!(settings.conns.iter().all(|&conns| conns > 0), "0 connections measure nothing");
        Ok(settings)
    }
}

/// All that there are where none is named.
fn or_all<T: ValueEnum + Clone>(named: Vec<T>) -> Vec<T> {
    if named.is_empty() { T::value_variants().to_vec() } else { named }
}

impl Settings {
    /// The workloads that the floor can run too.
    pub(crate) fn shared(&self) -> impl Iterator<Item = Workload> {
        let floor_lacks = |workload: &Workload| {
            matches!(workload, Workload::Signin | Workload::W1streams | Workload::Streams)
                || workload.takes_server_key()
        };
        self.workloads.iter().copied().filter(move |workload| !floor_lacks(workload))
    }

    /// Whether a workload that only Postroom has is run.
    pub(crate) fn runs(&self, workload: Workload) -> bool {
        self.soak.is_none() && self.workloads.contains(&workload)
    }

    /// Whether the server needs a server key: one from before there were any does not know it.
    pub(crate) fn server_key(&self) -> bool {
        self.workloads.iter().any(|workload| workload.takes_server_key())
    }

    /// Users who are there only to hold a stream.
    pub(crate) fn followers(&self) -> usize {
        if self.runs(Workload::Streams) { self.streams } else { 0 }
    }

    /// Whether anything is asked of /v1: else a server without it can be measured.
    pub(crate) fn v1(&self) -> bool {
        self.soak.is_none() && self.workloads.iter().any(|workload| workload.is_v1())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(line: &str) -> Result<Settings> {
        Args::parse_from(line.split(' ')).resolve()
    }

    #[test]
    fn what_is_given_wins_over_quick() {
        let settings = resolved("bench --quick --conns 8 --workloads w3,signin").unwrap();
        assert_eq!(settings.fill.users(), 100);
        assert_eq!(settings.rounds, 1);
        assert_eq!(settings.conns, [8]);
        assert_eq!(settings.shared().collect::<Vec<_>>(), [Workload::W3]);
    }

    #[test]
    fn a_workload_is_called_what_the_table_calls_it() {
        for &workload in Workload::value_variants() {
            let name = workload.name();
            let settings = resolved(&format!("bench --workloads {name}")).unwrap();
            assert_eq!(settings.workloads, [workload], "{name}");
            assert_eq!(settings.v1(), name.starts_with("v1"), "{name}");
        }
        assert!(!resolved("bench --soak 9").unwrap().v1());
    }

    #[test]
    fn a_bench_that_measures_nothing_is_refused() {
        let lines = ["--rounds 0", "--seconds 0", "--conns 0", "--users 9", "--rate 0"];
        for line in lines.map(|line| format!("bench {line}")) {
            assert!(resolved(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn each_attack_has_an_account_beside_the_ordinary_users() {
        let settings = resolved("bench --abuse").unwrap();
        assert_eq!(settings.fill.users(), PEOPLE + settings.attacks.len());
        for attack in &settings.attacks {
            let named = resolved(&format!("bench --abuse --attacks {}", attack.name())).unwrap();
            assert_eq!(named.attacks, [*attack]);
        }
        assert!(resolved("bench --abuse --users 100").is_err());
        assert!(resolved("bench --abuse --seconds 60").is_err());
    }
}
