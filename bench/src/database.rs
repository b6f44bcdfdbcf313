//! What the systems keep their data in, beside their own process.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testing::{Cluster, Processes, sql};

use crate::process::{Launch, System};

/// As durable as in use; a write-ahead log that is long enough that the length of a run, and not
/// the amount of data, decides whether a checkpoint falls into it.
const DURABLE: [(&str, &str); 5] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
];

/// What was asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file of SQLite for each system.
    Sqlite,
    /// A server of PostgreSQL that is started for this and thrown away.
    Postgres,
    /// A server that is there, without the name of a database.
    Server(String),
}

/// A server of PostgreSQL with a database for each system.
pub(crate) struct Server {
    /// Ends with the benchmark; nothing where the server was there before.
    cluster: Option<Cluster>,
    address: String,
    /// Those of the server, where it runs on this machine.
    processes: Option<Processes>,
}

impl Kind {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            _ if text.starts_with("postgres://") => {
                Ok(Self::Server(text.trim_end_matches('/').to_owned()))
            }
            _ => Err("it must be sqlite, postgres or postgres://USER@HOST:PORT".to_owned()),
        }
    }

    pub(crate) fn open(&self) -> Option<Server> {
        let (cluster, address) = match self {
            Self::Sqlite => return None,
            Self::Postgres => (Some(Cluster::start(&DURABLE)), String::new()),
            Self::Server(address) => (None, address.clone()),
        };
        let mut server = Server { cluster, address, processes: None };
        server.processes = Processes::of(&server.url("postgres"));
        Some(server)
    }
}

impl Server {
    /// Drops the database of a system and creates an empty one.
    pub(crate) fn create(&self, system: System) -> String {
        let (postgres, name) = (self.url("postgres"), name(system));
        sql(&postgres, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        sql(&postgres, &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        match &self.cluster {
            Some(cluster) => cluster.url(database),
            None => format!("{}/{database}", self.address),
        }
    }

    /// Bytes of a system's tables and indexes on the disk.
    pub(crate) fn size(&self, system: System) -> Result<u64> {
        let (postgres, name) = (self.url("postgres"), name(system));
        let size = sql(&postgres, &format!("CHECKPOINT; SELECT pg_database_size('{name}')"));
        size.first().and_then(|row| row[0].parse().ok()).context("no size of a database")
    }

    /// Runs statements in the database of a launch, and then a query for ids.
    pub(crate) fn run(&self, launch: &Launch, text: &str, ids: &str) -> Result<Vec<u64>> {
        let url = self.url(&name(launch.system));
        sql(&url, text);
        let rows = sql(&url, ids);
        rows.iter().map(|row| row[0].parse().context("an id that is no number")).collect()
    }

    /// Time of processors that the server has spent, where that can be seen.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        self.processes.map(Processes::cpu)
    }
}

fn name(system: System) -> String {
    format!("bench_{}", system.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_named_by_its_kind_or_its_server() {
        assert_eq!(Kind::parse("sqlite"), Ok(Kind::Sqlite));
        assert_eq!(Kind::parse("postgres"), Ok(Kind::Postgres));
        let server = Kind::Server("postgres://me@127.0.0.1:5432".to_owned());
        assert_eq!(Kind::parse("postgres://me@127.0.0.1:5432/"), Ok(server));
        assert!(Kind::parse("mysql://127.0.0.1").is_err());
    }
}
