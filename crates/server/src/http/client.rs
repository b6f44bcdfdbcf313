//! The client of a request: what is known of it, its address and its program.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::header::{HeaderValue, USER_AGENT};
use axum::http::request::Parts;
use db::Owner;
use domain::sessions;

use super::forwarded::{Forwarded, Peer};
use super::request_ids::RequestId;
use super::unfinished_bodies::{Holder, Unfinished};
use crate::config::origin::Origin;
use crate::http::App;

/// What is known of a request when it arrives, among its extensions.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) peer: Peer,
    pub(super) from: Forwarded,
    pub(super) id: RequestId,
    /// Its path, with parameters as `{name}`.
    pub(super) route: &'static str,
    /// Shared with who answers the request.
    pub(super) accepted: Arc<Accepted>,
}

/// Whose a request is, and what it takes in memory.
#[derive(Default)]
pub(super) struct Accepted {
    holder: OnceLock<Holder>,
    body: OnceLock<Unfinished>,
}

impl Accepted {
    /// Whose it is, once its credential was accepted.
    pub(super) fn holder(&self) -> Option<Holder> {
        self.holder.get().copied()
    }

    /// Counts its body, or that of the response, until the client has taken the response.
    pub(super) fn hold(&self, body: Unfinished) {
        self.body.get_or_init(|| body);
    }
}

impl Arrival {
    pub(super) fn of(parts: &Parts) -> &Self {
        parts.extensions.get().expect("every request has one")
    }

    /// Notes that the credential of a request was accepted.
    pub(super) fn accept(parts: &Parts, holder: Holder) {
        if let Some(arrival) = parts.extensions.get::<Self>() {
            arrival.accepted.holder.get_or_init(|| holder);
        }
    }
}

/// For whom work is done before it is known who makes a request: their address.
pub(super) fn owner(parts: &Parts) -> Owner {
    Arrival::of(parts).from.client.into()
}

pub(super) struct Device {
    pub(super) address: IpAddr,
    public_address: Option<IpAddr>,
    /// Whether it uses https, so that cookies can be limited to that.
    pub(super) secure: bool,
    user_agent: String,
}

impl FromRequestParts<App> for Device {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(parts, app))
    }
}

impl Device {
    pub(super) fn of(parts: &Parts, app: &App) -> Self {
        let headers = &parts.headers;
        let Arrival { peer, from, .. } = Arrival::of(parts);
        let user_agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        if from.is_unreadable {
            app.forwarding.note_unreadable(from.client);
        }
        Self {
            address: from.client,
            public_address: from.public_address(),
            secure: app.public.as_ref().is_some_and(Origin::is_https)
                || peer.says_https(headers, &app.settings.trusted_proxies),
            user_agent: String::from_utf8_lossy(user_agent).into_owned(),
        }
    }

    /// As the list of sessions shows it.
    pub(super) fn client(&self) -> sessions::Client {
        sessions::Client::new(Some(self.address), &self.user_agent)
    }

    /// The address, unless many clients may share it.
    pub(super) fn public_address(&self) -> Option<IpAddr> {
        self.public_address
    }
}
