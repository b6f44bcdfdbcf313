//! What all parts of a running server share, whether they answer requests or work in the
//! background. It knows no HTTP: what only requests need is in `http::app`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use db::{Db, Url};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::secret::Secret;
use crate::config::{Settings, Switch, Unusable};
use crate::email::link::Links;
use crate::realtime::streams::Streams;
use crate::runtime::actings::Actings;
use crate::runtime::clock::Clock;
use crate::runtime::jwt::Jwts;
use crate::runtime::metrics::Metrics;
use crate::runtime::server_keys::ServerKeys;
use crate::runtime::sessions::Sessions;
use crate::runtime::{key, passwords};

/// One running server. Several that share a database are the nodes of one service.
pub struct Node {
    pub(crate) settings: Settings,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    /// Shared with the listener for notices, which must not own the node: the node owns `db`.
    pub(crate) sessions: Arc<Sessions>,
    /// Shared with the listener for notices.
    pub(crate) server_keys: Arc<ServerKeys>,
    /// Shared with the listener for notices.
    pub(crate) actings: Arc<Actings>,
    /// Shared with the listener for notices, and with each open stream.
    pub(crate) streams: Arc<Streams>,
    /// Shared with the listener for notices.
    pub(crate) wakeups: Arc<Wakeups>,
    pub(crate) jwts: Jwts,
    pub(crate) passwords: passwords::Pool,
    pub(crate) metrics: Metrics,
    pub(crate) links: Links,
    /// What the operator should mend, although it serves.
    pub(crate) warning: Option<&'static str>,
    /// Cancelled once, when the server begins to stop; every task and connection watches it.
    pub(crate) stopping: CancellationToken,
}

/// How a committing thread wakes background tasks, without waiting for them.
#[derive(Default)]
pub(crate) struct Wakeups {
    /// An account was erased: its mailbox waits to be purged.
    pub(crate) erased: Notify,
    /// There is a webhook event to deliver, or the endpoints may have changed.
    pub(crate) webhooks: Notify,
    /// Set before `webhooks` is notified when the endpoints may have changed; the dispatcher clears
    /// it and reads them again.
    pub(crate) endpoints_changed: AtomicBool,
}

impl Node {
    /// Opens the database and brings its schema up to date; returns the node and its secret key.
    /// The metrics have these routes.
    ///
    /// # Errors
    /// Where the database, the key or the system does not allow it.
    pub(crate) async fn open(
        settings: Settings,
        clock: Clock,
        routes: impl Iterator<Item = &'static str>,
    ) -> anyhow::Result<(Arc<Self>, Secret)> {
        let url = settings.database()?;
        let jwts = Jwts::open(&settings).map_err(Unusable)?;
        let server_key = key::server_key(&settings)?;
        key::confirm_there(&settings, &url)?;
        let migrated = Db::migrate(&url, domain::SCHEMA, clock.now().0)
            .with_context(|| format!("cannot prepare {url}"))?;
        if migrated.from != migrated.to {
            let copy = migrated.copy.as_ref().map(|copy| copy.display().to_string());
            tracing::info!(from = migrated.from, to = migrated.to, copy, "the schema was migrated");
        }
        say_kept(&url);
        let db = Db::open(&url, domain::SCHEMA).with_context(|| format!("cannot open {url}"))?;
        if settings.rate_limits == Switch::On {
            db.keep_pace();
        }
        if let Err(error) = db.keep_reserve(u64::from(settings.disk_reserve_mib) << 20) {
            tracing::warn!(%error, "nothing of the disk is kept for deletions");
        }
        clock.follow(&db).await.with_context(|| format!("cannot read the time of {url}"))?;
        // Under the database's lock: two servers that start at once must not both make a key.
        let (key, warning) = key::database_key(&db, &settings).await?;
        clock.reserve_names(key::name_reservation(&settings, &key));
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        let node = Self {
            db,
            jwts,
            sessions: Arc::default(),
            actings: Arc::default(),
            server_keys: Arc::new(ServerKeys::new(server_key.as_ref())),
            streams: Arc::default(),
            wakeups: Arc::default(),
            passwords: passwords::Pool::start(or_processors(settings.password_threads))?,
            metrics: Metrics::new(routes),
            links: Links::new(&key),
            warning,
            stopping: CancellationToken::new(),
            clock,
            settings,
        };
        Ok((Arc::new(node), key))
    }
}

/// Says which copies of the database from before are there: they hold what was deleted since.
fn say_kept(url: &Url) {
    let kept = Db::kept(url);
    if !kept.is_empty() {
        let files: Vec<_> = kept.iter().map(|file| file.display().to_string()).collect();
        let files = files.join(", ");
        tracing::info!(
            files,
            "upgrades and restores have kept these databases, with what was deleted since: remove \
             those that are not needed any more"
        );
    }
}

/// The number of threads that a setting wants; 0 is one per processor.
pub(crate) fn or_processors(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
