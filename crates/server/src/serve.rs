//! A server from its start to its end: it puts all parts together and starts them.
//!
//! Used by the command line and by programs that have this crate as a library.

mod addresses;
mod listener;
mod socket;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use db::{Db, Paces};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::background::reminders::{ReminderSettings, Reminders};
use crate::background::{self, nodes, webhooks};
use crate::config::origin::Origin;
use crate::config::{Settings, Unusable};
use crate::http::browser_token::BrowserTokens;
use crate::http::cors::Cors;
use crate::http::csrf::Csrf;
use crate::http::{
    self, App, ForwardingNotes, Hosts, Limits, Parts, Refusals, UnfinishedBodies, v1,
};
use crate::node::Node;
use crate::runtime::clock::Clock;
use crate::runtime::lookups::Lookups;
use crate::runtime::{backups, key};
use listener::{Socket, Workers};

/// The default of `metrics_listen`.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// A running server.
pub struct Server {
    app: App,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    workers: Arc<Workers>,
    /// The accept loops and the background tasks; they end when the node stops.
    tasks: JoinSet<()>,
}

/// Opens the database, brings its schema up to date and serves.
///
/// # Errors
/// Why it cannot start, and what to change.
pub async fn start(settings: Settings, clock: Clock) -> anyhow::Result<Server> {
    // These come first: a server that was started by mistake leaves nothing behind.
    key::check_settings(&settings)?;
    backups::check_settings(&settings)?;
    let bind = |address: SocketAddr| {
        listener::bind(address).with_context(|| format!("cannot listen on {address}"))
    };
    let main = bind(settings.listen)?;
    let metrics = match settings.metrics_listen {
        Some(address) => of_metrics(address, bind(address))?,
        None => None,
    };
    let reminders = ReminderSettings::read(&settings).map_err(Unusable)?;
    let _data_dir = DataDir::make(&settings)?;
    warn_of_others(&settings);
    let (node, key) = Node::open(settings, clock, http::paths()).await?;
    let reminders = reminders.map(|settings| Reminders::new(settings, &node, &key));
    node.clock.want_reminders(reminders.is_some());
    let app = App::new(Arc::new(Parts {
        limits: Limits::new(&node.settings),
        csrf: Csrf::new(&key),
        browser_tokens: BrowserTokens::new(&key),
        cors: Cors::new(node.settings.cors_origins.clone()),
        public: Origin::parse(&node.settings.public_url),
        idempotency: v1::Idempotency::new(&key),
        lookups: Lookups::default(),
        hosts: Hosts::new(&node.settings),
        unfinished_bodies: UnfinishedBodies::new(
            node.settings.unfinished_bodies_max_bytes,
            node.metrics.bodies_refused.clone(),
        ),
        exports: Arc::default(),
        forwarding: ForwardingNotes::default(),
        refusals: Refusals::default(),
        long_bodies: Paces::default(),
        node: Arc::clone(&node),
    }));
    nodes::listen(&node);
    webhooks::read_endpoints(&node).await.context("cannot read the webhooks")?;

    // Clients are refused until there is somebody to answer them.
    let listen = |bound: TcpSocket| {
        let address = bound.local_addr()?;
        listener::listen(bound).with_context(|| format!("cannot listen on {address}"))
    };
    let main = listen(main)?;
    let address = main.local_addr()?;
    let metrics = match metrics {
        Some(bound) => of_metrics(bound.local_addr()?, listen(bound))?,
        None => None,
    };
    let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
    let sockets = [Some((main, Socket::Main)), metrics.map(|socket| (socket, Socket::Metrics))];
    let workers = Arc::new(Workers::start(App::clone(&app))?);
    let mut tasks = JoinSet::new();
    for (listener, socket) in sockets.into_iter().flatten() {
        tasks.spawn(Arc::clone(&workers).accept(listener, socket));
    }
    let sender = webhooks::Sender::new(&node.settings, &key);
    background::start(&mut tasks, &node, reminders, sender);
    if app.public.as_ref().is_some_and(Origin::is_https) && app.settings.trusted_proxies.is_empty()
    {
        tracing::warn!(
            "public_url is https, so there is a proxy, and trusted_proxies is empty: the limits of \
             addresses do not see its clients"
        );
    }
    Ok(Server { app, address, metrics_address, workers, tasks })
}

/// Says where other users of the machine may write to what is stored, or read it. The server itself
/// makes it for its owner alone.
fn warn_of_others(settings: &Settings) {
    let database = settings.database().ok();
    let database = database.as_ref().and_then(|database| database.path());
    let paths = [(Some(&*settings.data_dir), 0o022), (database, 0o077)];
    for (path, others) in paths.into_iter().filter_map(|(path, bits)| Some((path?, bits))) {
        let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| mode & others != 0) {
            tracing::warn!(
                path = %path.display(),
                "other users of this machine may read or write what is stored: chmod go-rwx"
            );
        }
    }
}

/// A step towards the listener for the metrics. The default address is wanted by each server of a
/// machine: the first has it, and the others serve without metrics.
fn of_metrics<T>(address: SocketAddr, done: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match done {
        Err(error) if address == METRICS => {
            tracing::warn!("there are no metrics: {error:#}; set metrics_listen to another");
            Ok(None)
        }
        done => done.map(Some),
    }
}

impl Server {
    /// The address that it listens on; its port is the real one where the settings say 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `/metrics`, if it is served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// What the operator should mend, although it serves.
    pub fn warning(&self) -> Option<&'static str> {
        self.app.warning
    }

    /// The database, for tests that look below the API.
    pub fn db(&self) -> &Db {
        &self.app.db
    }

    /// Waits until the storage fails for good.
    pub async fn failed(&self) -> db::Error {
        self.app.db.failed().await
    }

    /// Accepts no more connections, finishes requests in flight and closes the database. What is
    /// left after `shutdown_seconds`, or when `hurry` completes, is dropped. Returns whether
    /// nothing was.
    pub async fn stop(self, hurry: impl Future<Output = ()>) -> bool {
        let Self { app, workers, mut tasks, .. } = self;
        app.stopping.cancel();
        while tasks.join_next().await.is_some() {}
        let Some(workers) = Arc::into_inner(workers) else { return false };
        let joined = tokio::task::spawn_blocking(move || workers.join());
        let limit = Duration::from_secs(app.settings.shutdown_seconds);
        let finished = tokio::select! {
            joined = joined => joined.is_ok(),
            () = tokio::time::sleep(limit) => false,
            () = hurry => false,
        };
        // What the last requests read for others.
        if let Err(error) = app.actings.write(&app.db).await {
            tracing::warn!(%error, "some of the audit log was not written");
        }
        app.db.close();
        finished
    }
}

/// The data folder. If it was made here and nothing was put into it, it goes when this is dropped:
/// what was refused leaves nothing behind, and nodes whose database is on a server need no folder.
pub(crate) struct DataDir {
    /// The folders that were made, the innermost first.
    made: Vec<PathBuf>,
}

impl DataDir {
    /// Makes it if it is missing, with access for its owner only.
    pub(crate) fn make(settings: &Settings) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        let folders = settings.data_dir.ancestors().take_while(missing);
        let this = Self { made: folders.map(Path::to_path_buf).collect() };
        let made =
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.data_dir);
        made.with_context(|| format!("cannot make the folder {}", settings.data_dir.display()))?;
        Ok(this)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        for folder in &self.made {
            // Fails where there is something in it.
            drop(std::fs::remove_dir(folder));
        }
    }
}
