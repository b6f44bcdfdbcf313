//! The database of the benchmark.

use std::path::Path;
use std::time::Duration;

use db::{Db, Url};
use testing::{Cluster, Processes, sql};

use crate::Result;
use crate::cases::{SCHEMA, TEXTS, filling};

const DATABASE: &str = "postroom_bench_engine";
/// As durable as in production: a commit is on the disk when it is acknowledged.
const DURABLE: [(&str, &str); 4] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "256MB"),
];

pub(crate) struct Place {
    url: String,
    processes: Option<Processes>,
    /// Ends with the benchmark.
    _cluster: Option<Cluster>,
}

impl Place {
    /// A filled database on the given server, or on one started for it.
    pub(crate) fn open(server: Option<&str>) -> Result<Self> {
        let cluster = server.is_none().then(|| Cluster::start(&DURABLE));
        let url = |database: &str| match (&cluster, server) {
            (Some(cluster), _) => cluster.url(database),
            (None, server) => format!("{}/{database}", server.unwrap_or_default()),
        };
        sql(&url("postgres"), &format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"));
        sql(&url("postgres"), &format!("CREATE DATABASE {DATABASE}"));
        let url = url(DATABASE);
        Db::migrate(&Url::parse(&url, Path::new(""))?, SCHEMA, 0)?;
        for statement in filling().split(';') {
            sql(&url, statement);
        }
        let processes = Processes::of(&url);
        Ok(Self { url, processes, _cluster: cluster })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The CPU time of the server, or zero if it cannot be determined.
    pub(crate) fn cpu(&self) -> Duration {
        self.processes.map(Processes::cpu).unwrap_or_default()
    }

    /// Fails unless exactly the acknowledged sends are stored.
    pub(crate) fn check(&self, sent: u64) -> Result<()> {
        let there = sql(&self.url, "SELECT count(*) FROM bench_texts");
        let there = u64::try_from(there[0][0].parse::<i64>()? - TEXTS)?;
        if there == sent {
            println!("{sent} sends were acknowledged, and all of them are there.");
            return Ok(());
        }
        Err(format!("{sent} sends were acknowledged, and {there} are there").into())
    }
}
