//! Servers of PostgreSQL, and nodes over them that can be stopped and started.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use testing::{Cluster, Response, User, get};

use crate::support::{Place, Server};

/// The database that the nodes share.
pub(crate) const DATABASE: &str = "postroom";
/// How many connections a node has for requests.
pub(crate) const CONNECTIONS: usize = 4;
/// Longer than anything takes that is not given a time, on a machine with other work.
pub(crate) const LONG: Duration = Duration::from_mins(1);

const SECRET_KEY: &str = "the same on every node, as the manual says";

/// A server with an empty database, on which commits are on the disk; nothing where PostgreSQL is
/// not installed.
pub(crate) fn cluster() -> Option<Cluster> {
    if testing::binaries().is_none() {
        testing::skip("PostgreSQL");
        return None;
    }
    let cluster = Cluster::start(&[("fsync", "on")]);
    cluster.sql("postgres", &format!("CREATE DATABASE {DATABASE}"));
    Some(cluster)
}

/// The address of the database, on the first of these ports where it can be written to.
pub(crate) fn url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres@{}/{DATABASE}", hosts.join(","))
}

/// A folder for a node.
pub(crate) fn place(url: &str) -> Place {
    Place::bare()
        .with("POSTROOM_LISTEN", "127.0.0.1:0")
        .with("POSTROOM_METRICS_LISTEN", "127.0.0.1:0")
        .with("POSTROOM_DATA_DIR", "data")
        .with("POSTROOM_SECRET_KEY", SECRET_KEY)
        .with("POSTROOM_DATABASE_URL", url)
        .with("POSTROOM_DATABASE_CONNECTIONS", &CONNECTIONS.to_string())
        .with("POSTROOM_DATABASE_LOCK_TIMEOUT_SECONDS", "4")
        // Connections stay open while a test waits for a fault to end.
        .with("POSTROOM_HEADER_TIMEOUT_SECONDS", "120")
        .with("POSTROOM_RATE_LIMITS", "off")
}

/// Nodes that share a database.
pub(crate) struct Nodes {
    pub places: Vec<Place>,
    running: Mutex<Vec<Option<Server>>>,
}

impl Nodes {
    /// Starts so many nodes over the database at an address, all at once.
    pub(crate) fn start(number: usize, url: &str) -> Self {
        Self::in_places((0..number).map(|_| place(url)).collect())
    }

    /// Starts a node in each of these places, all at once.
    pub(crate) fn in_places(places: Vec<Place>) -> Self {
        let running = thread::scope(|scope| {
            let starts: Vec<_> =
                places.iter().map(|place| scope.spawn(move || place.serve())).collect();
            starts.into_iter().map(|start| Some(start.join().expect("it starts"))).collect()
        });
        Self { places, running: Mutex::new(running) }
    }

    /// Nodes that run already.
    pub(crate) fn of(places: Vec<Place>, servers: Vec<Server>) -> Self {
        let running = Mutex::new(servers.into_iter().map(Some).collect());
        Self { places, running }
    }

    pub(crate) fn number(&self) -> usize {
        self.places.len()
    }

    fn running(&self) -> MutexGuard<'_, Vec<Option<Server>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a node listens; nothing where it does not run.
    pub(crate) fn try_address(&self, node: usize) -> Option<SocketAddr> {
        self.running()[node].as_ref().map(|server| server.address)
    }

    #[track_caller]
    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        self.try_address(node).expect("the node runs")
    }

    /// What a node has logged since it was started.
    pub(crate) fn log(&self, node: usize) -> String {
        self.running()[node].as_ref().expect("the node runs").log()
    }

    /// Ends a node as a power cut ends it.
    pub(crate) fn kill(&self, node: usize) {
        let server = self.running()[node].take();
        server.expect("the node runs").kill();
    }

    /// Stops a node softly, and answers its log. Meanwhile it finishes what it was asked.
    #[track_caller]
    pub(crate) fn stop(&self, node: usize) -> String {
        let server = self.running()[node].take();
        server.expect("the node runs").stop()
    }

    /// Starts a node that was stopped or killed.
    pub(crate) fn start_again(&self, node: usize) {
        let server = self.places[node].serve();
        self.running()[node] = Some(server);
    }

    /// Asserts that all nodes have run until now, without a defect that they know of, that they
    /// stop, and that the database makes sense.
    #[track_caller]
    pub(crate) fn are_well(&self) {
        for node in 0..self.number() {
            if self.try_address(node).is_some() {
                let log = self.stop(node);
                assert!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");
            }
        }
        self.places[0].is_whole();
    }

    /// Registers somebody at a node.
    pub(crate) fn user(&self, node: usize, name: &str) -> User {
        User::register(self.address(node), name)
    }
}

/// `/readyz` of a node.
pub(crate) fn readiness(address: SocketAddr) -> Response {
    get(address, "/readyz")
}

/// Asserts that as many requests of a node can be in the database at once as it has connections:
/// nothing that went before has cost it one. There must be as many senders.
#[track_caller]
pub(crate) fn all_slots_work(
    cluster: &Cluster,
    address: SocketAddr,
    senders: &mut [&mut User],
    recipient: i64,
) {
    while_held(cluster, recipient, |give_free| {
        thread::scope(|scope| {
            let mut sends = Vec::new();
            for sender in &mut senders[..CONNECTIONS] {
                sender.connect_to(address);
                sends.push(scope.spawn(|| sender.send(recipient, "in a queue", "of locks")));
            }
            poll("all connections wait for it", || waiting(cluster) == CONNECTIONS);
            give_free();
            for send in sends {
                send.join().expect("it does not panic").expect("an answer").ok();
            }
        });
    });
}

/// Holds the lock of a mailbox until `meanwhile` calls what it is given, or ends.
pub(crate) fn while_held(cluster: &Cluster, owner: i64, meanwhile: impl FnOnce(&dyn Fn())) {
    const HOLDER: &str = "application_name = 'holder'";
    let hold = format!(
        "SET application_name = 'holder'; BEGIN;
         SELECT modseq FROM mailboxes WHERE owner_id = {owner} FOR UPDATE; SELECT pg_sleep(50)"
    );
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {HOLDER}");
    thread::scope(|scope| {
        let holder = scope.spawn(|| cluster.try_sql(DATABASE, &hold));
        let sleeps = format!("{HOLDER} AND wait_event = 'PgSleep'");
        poll("the mailbox is held", || sessions(cluster, &sleeps) == 1);
        meanwhile(&|| drop(cluster.sql("postgres", &end)));
        cluster.sql("postgres", &end);
        holder.join().expect("it does not panic").expect_err("it was ended");
    });
}

/// How many statements of nodes wait for a lock.
pub(crate) fn waiting(cluster: &Cluster) -> usize {
    sessions(cluster, "application_name = 'postroom' AND wait_event_type = 'Lock'")
}

/// How many sessions of a server are in a state.
pub(crate) fn sessions(cluster: &Cluster, state: &str) -> usize {
    cluster.sql("postgres", &format!("SELECT pid FROM pg_stat_activity WHERE {state}")).len()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn poll(what: &str, holds: impl FnMut() -> bool) {
    crate::support::until(LONG, what, holds);
}
