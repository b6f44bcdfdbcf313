//! Measures Postroom against the floor of this machine, over HTTP, and prints the table of figures.
//!
//! It starts both on throw-away directories, fills Postroom through its public API, runs the
//! workloads in turns and looks up every acknowledged send; a lost one makes it fail.
#![expect(clippy::print_stdout, reason = "the tables are the output")]
#![expect(clippy::print_stderr, reason = "says what it is doing, beside the tables")]

mod abuse;
mod acked;
mod batches;
mod binaries;
mod credentials;
mod database;
mod delivery;
mod fill;
mod followers;
mod goals;
mod load;
mod numbers;
mod plans;
mod process;
mod report;
mod requests;
mod rounds;
mod settings;
mod streams;
mod wire;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use bench::SIGNED_IN;
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::fill::Filled;
use crate::plans::Plans;
use crate::process::{Launch, System};
use crate::report::Report;
use crate::rounds::{Rounds, Subject};
use crate::settings::{Args, Settings, Workload};

fn main() -> Result<()> {
    let settings = Args::parse().resolve()?;
    let server = binaries::server(&settings)?;
    let other = (!settings.abuse).then(|| binaries::other(&settings)).transpose()?;
    // A stream is an open file here too; too few of them are an error when they are opened.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
    let dir = Dir::new(settings.keep_dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = async {
        if let Some(other) = &other {
            let report = measure(&settings, &server, other, dir.path()).await?;
            output(&report, report.check())
        } else {
            let table = abuse::measure(&settings, &server, dir.path()).await?;
            output(&table, table.check())
        }
    };
    let output = runtime.block_on(async {
        // Caught, so that what was started is ended too.
        let (mut interrupt, mut end) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            output = Box::pin(measured) => output,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = end.recv() => bail!("terminated"),
        }
    })?;
    println!("{}", output.text);
    if let Some(path) = &settings.json {
        fs::write(path, output.json)?;
    }
    output.check
}

/// What was measured, and whether the run itself was good.
struct Output {
    text: String,
    json: Vec<u8>,
    check: Result<()>,
}

fn output(measured: &(impl Display + Serialize), check: Result<()>) -> Result<Output> {
    let (text, json) = (measured.to_string(), serde_json::to_vec_pretty(measured)?);
    Ok(Output { text, json, check })
}

async fn measure(
    settings: &Settings,
    binary: &PathBuf,
    (other, other_binary): &(System, PathBuf),
    dir: &Path,
) -> Result<Report> {
    let database = settings.database.open();
    let database = database.as_ref();
    let launch = |system: System, binary: &PathBuf| Launch {
        system,
        binary: binary.clone(),
        data: dir.join(system.name()),
        fill: settings.fill,
        database: database.map(|server| (server.create(system), settings.pool)),
        server_key: settings.server_key(),
        limits: false,
    };
    let messages = settings.fill.messages();
    eprintln!("filling in {messages} messages of {} users", settings.fill.users());
    let postroom = launch(System::Postroom, binary);
    let filled = fill::fill(&postroom, database, settings.followers()).await?;
    let users = filled.users;
    let plans = Plans::postroom(&filled.server, settings, &users).await?;
    let mut server = Subject { process: filled.server, plans };
    let (mut delivery, mut batches) = (None, Vec::new());

    let mut rounds = Rounds::new(settings, database);
    if let Some(length) = settings.soak {
        eprintln!("sending for {} s", length.as_secs());
        rounds.soak(&server, length).await?;
    } else {
        if settings.shared().next().is_some() {
            let launch = launch(*other, other_binary);
            let other = if *other == System::Floor {
                let (process, _) = launch.start()?;
                let plans = Plans::floor(&process, settings).await?;
                Subject { process, plans }
            } else {
                let Filled { server: process, users, .. } =
                    fill::fill(&launch, database, 0).await?;
                let plans = Plans::postroom(&process, settings, &users).await?;
                Subject { process, plans }
            };
            rounds.in_turns(&server, &other).await?;
        }
        if settings.workloads.iter().any(|workload| workload.is_of_an_app()) {
            rounds.of_an_app(&server).await?;
        }
        if settings.workloads.contains(&Workload::Signin) {
            rounds.sign_ins(&server).await?;
        }
        if settings.runs(Workload::W1streams) {
            eprintln!("sending beside streams");
            rounds.beside_streams(&server, &users).await?;
        }
        if settings.server_key() {
            eprintln!("asking about many at once");
            batches = rounds.batches(&server, &users).await?;
        }
        if settings.runs(Workload::Streams) {
            eprintln!("delivering to {} streams", filled.followers.len());
            // A fresh start, so that what a stream takes is not taken from what was used before.
            server.process.stop()?;
            (server.process, _) = postroom.start()?;
            let senders = &users[..SIGNED_IN];
            delivery = Some(rounds.deliver(&server.process, senders, &filled.followers).await?);
        }
    }

    let (cases, acked) = rounds.finish();
    eprintln!("looking up every acknowledged send");
    let account = acked.settle(&server.process, &users).await?;
    server.process.stop()?;
    Ok(Report {
        users: users.len(),
        messages,
        on_postgres: database.is_some(),
        cases,
        delivery,
        batches,
        starts_ms: filled.starts.iter().map(|start| start.as_secs_f64() * 1e3).collect(),
        idle_mib: filled.idle_mib,
        binary_mib: numbers::mib(fs::metadata(binary)?.len()),
        bytes_per_message: filled.bytes_per_message,
        account,
    })
}

/// Where databases and logs are, until the end or for good.
enum Dir {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Dir {
    fn new(kept: Option<&Path>) -> Result<Self> {
        let Some(path) = kept else {
            return Ok(Self::Temporary(
                tempfile::Builder::new().prefix("postroom-bench-").tempdir()?,
            ));
        };
        fs::create_dir_all(path)?;
        let path = path.canonicalize()?;
        let is_empty = fs::read_dir(&path)?.next().is_none();
        ensure!(is_empty, "{} is not empty", path.display());
        Ok(Self::Kept(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}
