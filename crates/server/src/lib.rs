//! The edge of Postroom: everything between a socket and the domain. No SQL here.

#![warn(missing_docs)]

pub mod cli;
mod clock;
pub mod config;
mod files;
pub mod http;
mod jobs;
mod listener;
mod mailer;
mod metrics;
mod nodes;
mod passwords;
mod reminders;
mod secret;
mod serve;
mod sessions;
mod signal;
mod streams;
mod telemetry;
mod webhooks;

use std::sync::Arc;

use axum::http::HeaderMap;
use db::Db;
use mail::text::Lengths;
use tokio::sync::Notify;

pub use clock::Clock;
pub use config::Config;
pub use serve::{Server, start};

use config::Settings;
use http::Peer;
use http::cors::Cors;
use http::csrf::Csrf;
use http::origin::Origin;
use signal::Flag;

/// What handlers share; a clone is another handle to the same.
///
/// Each worker counts its own handles. Were they counted in one place, the processors would wait
/// for each other at every request.
#[derive(Clone)]
pub struct App(Arc<Local>);

/// What a worker has for itself.
struct Local {
    parts: Arc<Parts>,
    request_ids: http::RequestIds,
    routes: Arc<metrics::Routes>,
}

impl App {
    fn new(parts: Arc<Parts>) -> Self {
        let request_ids = http::RequestIds::new(parts.clock.cx().random());
        let routes = parts.metrics.worker();
        Self(Arc::new(Local { parts, request_ids, routes }))
    }

    /// The same for another worker.
    fn for_worker(&self) -> Self {
        Self::new(Arc::clone(&self.0.parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

/// The parts of a running server.
pub struct Parts {
    settings: Settings,
    limits: Limits,
    db: Db,
    clock: Clock,
    csrf: Csrf,
    cors: Cors,
    public: Option<Origin>,
    sessions: Arc<sessions::Sessions>,
    streams: Arc<streams::Streams>,
    passwords: passwords::Pool,
    answers: http::v1::Answers,
    metrics: metrics::Metrics,
    reminders: Option<reminders::Reminders>,
    links: reminders::Links,
    stopping: Flag,
    /// An account was erased: what it held waits to be removed.
    erased: Arc<Notify>,
    courier: webhooks::Courier,
    webhooks: Arc<webhooks::Bell>,
}

/// Bounds that follow from the settings.
#[derive(Debug, Clone, Copy)]
struct Limits {
    texts: Lengths,
    /// How much a user may send, where that is limited.
    sends: Option<mail::quotas::Limits>,
    /// Bytes of a request's body.
    request_bytes: usize,
}

impl Limits {
    fn new(settings: &Settings) -> Self {
        let texts = Lengths {
            subject_chars: settings.subject_max_chars,
            body_bytes: settings.body_max_bytes,
        };
        // JSON may write each byte of a body as \u00xx, each character of a subject as two of
        // these; the rest is numbers and space.
        // The rest of /v1 is the metadata and a hundred names.
        let metadata = 6 * mail::sending::Metadata::BYTES;
        let names = 12 * mail::text::USERNAME_CHARS * mail::sending::RECEIVERS;
        let texts_bytes = 6 * texts.body_bytes + 12 * texts.subject_chars;
        let request_bytes = texts_bytes + metadata + names + 8192;
        let sends = mail::quotas::Limits {
            sends_per_hour: settings.sends_per_hour.into(),
            sends_per_day: settings.sends_per_day.into(),
            contacts_per_hour: settings.contacts_per_hour.into(),
            contacts_per_day: settings.contacts_per_day.into(),
            young_for: i64::from(settings.young_account_days) * mail::Time::DAY,
            young_divisor: settings.young_account_divisor.into(),
        };
        let sends = (settings.rate_limits == config::Switch::On).then_some(sends);
        Self { texts, sends, request_bytes }
    }
}

impl Parts {
    /// The origin whose pages are ours, where it is known.
    fn origin(&self) -> Option<&Origin> {
        self.public.as_ref()
    }

    /// Whether the client speaks https, so that cookies may be kept to it.
    fn is_secure(&self, peer: Peer, headers: &HeaderMap) -> bool {
        self.origin().is_some_and(Origin::is_https)
            || peer.says_https(headers, &self.settings.trusted_proxies)
    }
}
