//! What handlers share: the node, and what only requests need.

use std::sync::Arc;

use mail::text::Lengths;

use super::cors::Cors;
use super::csrf::Csrf;
use super::request_ids::RequestIds;
use super::v1::Answers;
use crate::config::origin::Origin;
use crate::config::{Settings, Switch};
use crate::node::Node;
use crate::runtime::metrics::Routes;

/// What handlers share; a clone is another handle to the same.
///
/// Each worker counts its own handles. Were they counted in one place, the processors would wait
/// for each other at every request.
#[derive(Clone)]
pub struct App(pub(super) Arc<Local>);

/// What a worker has for itself.
pub(super) struct Local {
    parts: Arc<Parts>,
    pub(super) request_ids: RequestIds,
    pub(super) routes: Arc<Routes>,
}

impl App {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        let request_ids = RequestIds::new(parts.clock.cx().random());
        let routes = parts.metrics.worker();
        Self(Arc::new(Local { parts, request_ids, routes }))
    }

    /// The same for another worker.
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

/// The node, with what only requests need.
pub struct Parts {
    pub(crate) node: Arc<Node>,
    pub(crate) limits: Limits,
    pub(crate) csrf: Csrf,
    pub(crate) cors: Cors,
    pub(crate) public: Option<Origin>,
    pub(crate) answers: Answers,
}

impl std::ops::Deref for Parts {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Parts {
    /// The origin whose pages are ours, where it is known.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.public.as_ref()
    }
}

/// Bounds that follow from the settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(super) texts: Lengths,
    /// How much a user may send, where that is limited.
    pub(super) sends: Option<mail::quotas::Limits>,
    /// Bytes of a request's body.
    pub(super) request_bytes: usize,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
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
        let sends = (settings.rate_limits == Switch::On).then_some(sends);
        Self { texts, sends, request_bytes }
    }
}
