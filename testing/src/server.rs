//! The one server that the tests of a process share.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::thread;

use tokio_postgres::{Config, NoTls};

use crate::binaries::binaries;
use crate::cluster::{Cluster, version};
use crate::engine::variable;
use crate::sql::{self, Rows};

/// A server that many databases of tests live on.
pub struct Server {
    /// The address of a database that is always there.
    url: String,
    /// None where somebody gave us the server.
    cluster: Option<Cluster>,
}

/// The server of this process: the one of the environment variable `TEST_DATABASE_URL`, whose role
/// has to be allowed to create databases, or else a cluster that starts at the first use.
///
/// None where there is neither that variable nor the programs of PostgreSQL. With the variable
/// `CI` that is an error, as half of the tests would not be run.
pub fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| match available() {
        Ok(Source::Given(url)) => {
            let server = Server { url, cluster: None };
            server.remove_what_is_left();
            Some(server)
        }
        Ok(Source::Programs) => {
            let cluster = Cluster::start(&[]);
            Some(Server { url: cluster.url("postgres"), cluster: Some(cluster) })
        }
        Err(_why) => None,
    });
    server.as_ref()
}

/// Where a server comes from.
pub(crate) enum Source {
    Given(String),
    Programs,
}

impl Source {
    /// The version of the server, such as 15.18.
    pub(crate) fn version(&self) -> String {
        match self {
            Self::Programs => version(),
            Self::Given(url) => {
                let rows = sql::try_sql(url, "SHOW server_version");
                let rows = rows.unwrap_or_else(|why| panic!("TEST_DATABASE_URL: {why}"));
                rows[0][0].split_whitespace().next().unwrap_or_default().to_owned()
            }
        }
    }
}

/// What this process can have a server of, or what is missing.
pub(crate) fn available() -> Result<Source, &'static str> {
    const MISSING: &str = "neither TEST_DATABASE_URL is set nor are the programs of PostgreSQL \
                           (initdb, postgres, pg_basebackup) in /usr/lib/postgresql or PATH";
    let given = variable("TEST_DATABASE_URL").map(Source::Given);
    match given.or_else(|| binaries().map(|_folder| Source::Programs)) {
        Some(source) => Ok(source),
        None if variable("CI").is_some() => panic!("CI has no PostgreSQL: {MISSING}"),
        None => Err(MISSING),
    }
}

impl Server {
    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("it is the URL of a server");
        let (rest, parameters) = match rest.split_once('?') {
            Some((rest, parameters)) => (rest, format!("?{parameters}")),
            None => (rest, String::new()),
        };
        let host = rest.split('/').next().unwrap_or_default();
        format!("{scheme}://{host}/{database}{parameters}")
    }

    /// The cluster, where it is ours; tests that stop their server start their own.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Runs statements outside the databases of tests.
    #[track_caller]
    pub fn sql(&self, text: &str) -> Rows {
        self.try_sql(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// The same where the server may refuse; the reason begins with its SQLSTATE.
    pub fn try_sql(&self, text: &str) -> Result<Rows, String> {
        sql::try_sql(&self.url, text)
    }

    /// Removes the databases of runs that are over, on a server that outlives us.
    ///
    /// Every run holds a lock with its number as long as it lives. Whose lock is free is gone.
    fn remove_what_is_left(&self) {
        hold_lock(self.url.clone());
        let found = self.sql(
            "SELECT datname FROM pg_database WHERE datname ~ '^postroom_test_[0-9]+_[0-9]+$'
             AND pg_get_userbyid(datdba) = current_user",
        );
        for name in found.into_iter().flatten() {
            let run = name.split('_').nth(2).expect("the name is one of ours").to_owned();
            // The lock is free again at the end of the statement.
            let free = format!("SELECT pg_try_advisory_xact_lock({LOCKS}, {run})");
            if self.sql(&free) == [["t"]] {
                self.sql(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            }
        }
    }
}

/// The class of the locks of runs.
const LOCKS: i32 = 1_886_352_244;

/// The number of this run; the number of the process would be that of others on other machines.
pub(crate) fn run() -> u32 {
    static RUN: OnceLock<u32> = OnceLock::new();
    *RUN.get_or_init(|| {
        let chance = RandomState::new().build_hasher().finish() % 1_000_000_000;
        u32::try_from(chance).expect("it is small enough")
    })
}

/// Holds the lock of this run until the process ends.
fn hold_lock(url: String) {
    let (tell, held) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let config: Config = url.parse().expect("TEST_DATABASE_URL is a URL");
            let (client, connection) = config.connect(NoTls).await.expect("the server answers");
            let connection = tokio::spawn(connection);
            let lock = format!("SELECT pg_advisory_lock({LOCKS}, {})", run());
            client.simple_query(&lock).await.expect("nobody else holds it");
            tell.send(()).expect("somebody waits for it");
            drop(connection.await);
        });
    });
    held.recv().expect("the lock of this run can be taken");
}
