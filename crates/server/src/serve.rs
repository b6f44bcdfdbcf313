//! A server from its start to its end: it puts all parts together and starts them.
//!
//! Only the command line uses it, and whoever has this crate as a library.

mod listener;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use db::Db;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::background::reminders::{self, Reminders};
use crate::background::webhooks::Bell;
use crate::background::{jobs, nodes, webhooks};
use crate::config::Settings;
use crate::config::origin::Origin;
use crate::email::link::Links;
use crate::http::cors::Cors;
use crate::http::csrf::Csrf;
use crate::http::{App, Limits, Parts, v1};
use crate::node::Node;
use crate::realtime::keeper::{self, Keeper};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::signal::Flag;
use crate::runtime::{key, passwords};
use listener::{Door, Worker};

/// A running server.
pub struct Server {
    app: App,
    address: SocketAddr,
    workers: Arc<Vec<Worker>>,
    listeners: Vec<JoinHandle<()>>,
    tasks: [JoinHandle<()>; 5],
}

/// Opens the database, brings its schema up to date and serves.
///
/// # Errors
/// What stands in the way, with the place to mend it.
pub async fn start(settings: Settings, clock: Clock) -> anyhow::Result<Server> {
    make_data_dir(&settings)?;
    let url = settings.database()?;
    let migrated = Db::migrate(&url, mail::SCHEMA, clock.now().0)
        .with_context(|| format!("cannot prepare {url}"))?;
    if migrated.from != migrated.to {
        let copy = migrated.copy.as_ref().map(|copy| copy.display().to_string());
        tracing::info!(from = migrated.from, to = migrated.to, copy, "the schema was migrated");
    }
    let db = Db::open(&url, mail::SCHEMA).with_context(|| format!("cannot open {url}"))?;
    clock.follow(&db).await.with_context(|| format!("cannot ask {url} for the time"))?;
    // After the lock of the database: two that start at once must not both make a key.
    let key = key::server_key(&settings)?;
    let reminders = Reminders::new(&settings, &key)?;
    clock.want_reminders(reminders.is_some());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let or_cores = |number: usize| if number == 0 { cores } else { number };
    let node = Arc::new(Node {
        db,
        sessions: Arc::default(),
        streams: Arc::default(),
        passwords: passwords::Pool::start(or_cores(settings.password_threads))?,
        metrics: Metrics::new(v1::paths()),
        links: Links::new(&key),
        stopping: Flag::default(),
        erased: Arc::new(Notify::new()),
        clock,
        settings,
    });
    let app = App::new(Arc::new(Parts {
        limits: Limits::new(&node.settings),
        csrf: Csrf::new(&key),
        cors: Cors::new(node.settings.cors_origins.clone()),
        public: Origin::parse(&node.settings.public_url),
        answers: v1::Answers::new(&key),
        node: Arc::clone(&node),
    }));
    let bell = Arc::<Bell>::default();
    let courier = webhooks::courier(&node.settings, &key);
    let keeper = Keeper {
        streams: Arc::clone(&node.streams),
        db: node.db.clone(),
        clock: node.clock.clone(),
        stopping: node.stopping.clone(),
    };

    nodes::listen(&node, &bell);
    webhooks::learn(&node).await.with_context(|| format!("cannot read {url}"))?;

    let listen = |address: SocketAddr| {
        listener::bind(address).with_context(|| format!("cannot listen on {address}"))
    };
    let main = listen(app.settings.listen)?;
    let address = main.local_addr()?;
    let mut sockets = vec![(main, Door::Main)];
    if let Some(metrics) = app.settings.metrics_listen {
        sockets.push((listen(metrics)?, Door::Metrics));
    }
    let closed = Arc::new(Notify::new());
    let workers = (0..or_cores(app.settings.workers))
        .map(|number| Worker::start(&app, number, Arc::clone(&closed)));
    let workers = Arc::new(workers.collect::<std::io::Result<Vec<_>>>()?);
    let accept = |(socket, door)| {
        let (app, workers) = (App::clone(&app), Arc::clone(&workers));
        tokio::spawn(listener::accept(app, socket, door, workers, Arc::clone(&closed)))
    };
    let listeners = sockets.into_iter().map(accept).collect();
    let tasks = [
        tokio::spawn(jobs::run(Arc::clone(&node))),
        tokio::spawn(keeper::keep(keeper)),
        tokio::spawn(reminders::run(Arc::clone(&node), reminders)),
        tokio::spawn(nodes::keep_time(Arc::clone(&node))),
        tokio::spawn(webhooks::run(node, courier, bell)),
    ];
    Ok(Server { app, address, workers, listeners, tasks })
}

impl Server {
    /// The address that it listens on; the port is the true one where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The database, for what a test looks at from below.
    pub fn db(&self) -> &Db {
        &self.app.db
    }

    /// Waits until the storage fails for good.
    pub async fn failed(&self) -> db::Error {
        self.app.db.failed().await
    }

    /// Takes no more connections, finishes what is in flight and closes the database. After
    /// `shutdown_seconds`, or when `hurry` is over, what is left is dropped; whether nothing was.
    pub async fn stop(self, hurry: impl Future<Output = ()>) -> bool {
        let Self { app, workers, listeners, tasks, .. } = self;
        app.stopping.set();
        for listener in listeners.into_iter().chain(tasks) {
            // Ended, or cancelled with its runtime: both are over.
            drop(listener.await);
        }
        let Some(workers) = Arc::into_inner(workers) else { return false };
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                worker.join();
            }
        });
        let patience = Duration::from_secs(app.settings.shutdown_seconds);
        let soft = tokio::select! {
            joined = joined => joined.is_ok(),
            () = tokio::time::sleep(patience) => false,
            () = hurry => false,
        };
        app.db.close();
        soft
    }
}

/// Makes the folder for its owner only.
///
/// # Errors
/// Where it cannot be made.
pub(crate) fn make_data_dir(settings: &Settings) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.data_dir);
    made.with_context(|| format!("cannot make the folder {}", settings.data_dir.display()))
}
