//! The state that handlers share: the node, and what only requests need.

use std::sync::Arc;

use db::Paces;
use domain::audit::Call;
use domain::text::Lengths;
use domain::{Time, UserId};

use super::browser_token::BrowserTokens;
use super::cors::Cors;
use super::csrf::Csrf;
use super::exports::Exports;
use super::forwarded::ForwardingNotes;
use super::host::Hosts;
use super::paths;
use super::refusals::Refusals;
use super::request_ids::RequestIds;
use super::unfinished_bodies::{Holder, UnfinishedBodies};
use super::v1::Idempotency;
use crate::config::origin::Origin;
use crate::config::{Settings, Switch};
use crate::node::Node;
use crate::runtime::actings::Reads;
use crate::runtime::lookups::Lookups;
use crate::runtime::metrics::Routes;
use crate::runtime::server_keys::LastKey;

/// The state of one worker; a clone is another handle to it.
///
/// Every request clones a handle. Each worker has a reference count of its own for that, so that
/// the processors do not contend for one.
#[derive(Clone)]
pub struct App(pub(super) Arc<Local>);

pub(super) struct Local {
    parts: Arc<Parts>,
    pub(super) request_ids: RequestIds,
    pub(super) routes: Arc<Routes>,
    pub(super) last_key: LastKey,
    reads: Arc<Reads>,
}

impl App {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        let request_ids = RequestIds::new(parts.clock.cx().random());
        let routes = parts.metrics.worker();
        let (last_key, reads) = (LastKey::default(), parts.actings.worker());
        Self(Arc::new(Local { parts, request_ids, routes, last_key, reads }))
    }

    /// Notes that a call of a server key asks for messages of a user, for the audit log.
    ///
    /// # Errors
    /// [`db::Error::Busy`].
    pub(super) fn has_read(&self, call: &Call, user: UserId, at: Time) -> db::Result<()> {
        self.actings.has_read(&self.0.reads, call, user, at)
    }

    /// Counts look-ups of a user, and recipients of theirs whom a message did not reach.
    ///
    /// # Errors
    /// [`domain::Error::QuotaExceeded`].
    pub(super) async fn count_lookups(&self, user: UserId, count: usize) -> domain::Result<()> {
        let Some(limits) = self.limits.sends.filter(|_| count > 0) else { return Ok(()) };
        self.lookups.count(self.db.of(user), &self.clock.cx(), user, (count, limits)).await
    }

    /// A state for another worker.
    pub(crate) fn for_worker(&self) -> Self {
        Self::new(Arc::clone(&self.0.parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

/// What all workers share: the node, and what only requests need.
pub struct Parts {
    pub(crate) node: Arc<Node>,
    pub(crate) limits: Limits,
    pub(crate) csrf: Csrf,
    pub(crate) browser_tokens: BrowserTokens,
    pub(crate) cors: Cors,
    pub(crate) public: Option<Origin>,
    pub(crate) idempotency: Idempotency,
    pub(crate) lookups: Lookups,
    pub(crate) hosts: Hosts,
    pub(crate) unfinished_bodies: Arc<UnfinishedBodies>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) forwarding: ForwardingNotes,
    pub(crate) refusals: Refusals,
    /// At what pace long bodies of one holder are read.
    pub(crate) long_bodies: Paces<Holder>,
}

impl std::ops::Deref for Parts {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// Limits that follow from the settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(super) texts: Lengths,
    /// `None` if rate limits are off.
    pub(super) sends: Option<domain::quotas::SendLimits>,
    request_bytes: usize,
}

/// The most bytes of a body under `/v1/server`, where lists have up to 1,000 items.
const SERVER_BYTES: usize = 1 << 20;
/// The most bytes of a body without a credential: the longest registration has 11,000, with each
/// character escaped.
const STRANGERS_BYTES: usize = 16 << 10;
/// How much is read on after the response: so much more than a request may have.
pub(super) const READ_ON_BYTES: usize = 1 << 20;

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        let texts = Lengths {
            subject_chars: settings.subject_max_chars,
            body_bytes: settings.body_max_bytes,
        };
        // JSON may escape each byte of a body as \u00xx, and each character of a subject as two of
        // these. /v1 adds metadata and names of recipients; the rest is numbers and whitespace.
        let metadata = 6 * domain::sending::Metadata::BYTES;
        let names = 12 * domain::text::USERNAME_CHARS * domain::sending::MAX_RECIPIENTS;
        let texts_bytes = 6 * texts.body_bytes + 12 * texts.subject_chars;
        let request_bytes = texts_bytes + metadata + names + 8192;
        let sends = domain::quotas::SendLimits {
            sends_per_hour: settings.sends_per_hour.into(),
            sends_per_day: settings.sends_per_day.into(),
            contacts_per_hour: settings.contacts_per_hour.into(),
            contacts_per_day: settings.contacts_per_day.into(),
            lookups_per_hour: settings.lookups_per_hour.into(),
            young_for: i64::from(settings.young_account_days) * Time::DAY,
            young_divisor: settings.young_account_divisor.into(),
        };
        let sends = (settings.rate_limits == Switch::On).then_some(sends);
        Self { texts, sends, request_bytes }
    }

    /// The most bytes of a body that is sent to a path.
    pub(super) fn request_bytes(&self, path: &str) -> usize {
        if paths::is_servers(path) { SERVER_BYTES } else { self.request_bytes }
    }

    /// The most bytes that are read on at the end of a connection.
    pub(crate) fn read_on_bytes(&self) -> usize {
        self.request_bytes.max(SERVER_BYTES) + READ_ON_BYTES
    }

    /// The most bytes of a body that is read into memory.
    pub(super) fn body_bytes(&self, path: &str, is_accepted: bool) -> usize {
        if is_accepted { self.request_bytes(path) } else { STRANGERS_BYTES }
    }
}
