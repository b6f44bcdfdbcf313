//! Requests that are done in several transactions, so that none of them is long. Each stores its
//! part of the response with its effect: a retry replays the parts that were done, and does the
//! others. So nothing is done twice, wherever the first request was cut off.

use std::sync::Arc;

use axum::http::header::HeaderValue;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use db::Tx;
use domain::Cx;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{InFlight, KeyedRequest, REPLAYED, is_replay};
use crate::http::by::By;
use crate::http::{App, Error};

/// Whether all parts of a response are replayed.
pub(in crate::http::v1) struct Replayed(bool);

impl Replayed {
    /// Says so in the response.
    pub(in crate::http::v1) fn mark(&self, mut response: Response) -> Response {
        if self.0 {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// The part of a response that a step made; it is not sent.
#[derive(Clone)]
struct Made<K>(Arc<K>);

impl KeyedRequest {
    /// Does a request in so many transactions. `f` gets the number of the step, from 0, and the
    /// parts that the steps before it made; what it returns is stored, as in
    /// [`run`](Self::run). Without a key, nothing is stored.
    ///
    /// # Errors
    /// What `f` returned first; the steps before stay done. Or that the key is in use, or belongs
    /// to another request.
    pub(in crate::http::v1) async fn run_in_steps<K, F>(
        &self,
        app: &App,
        by: By<'_>,
        steps: usize,
        f: F,
    ) -> Result<(Vec<K>, Replayed), Error>
    where
        K: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        F: FnMut(&mut Tx<'_>, &Cx, usize, &[K]) -> domain::Result<K> + Clone + Send + 'static,
    {
        // A retry on this node must not come between two steps.
        let whole = self.sign(app, by);
        let _in_flight = whole.as_ref().map(|key| InFlight::begin(app, key.id)).transpose()?;
        let body = whole.map(|key| URL_SAFE_NO_PAD.encode(key.body)).unwrap_or_default();
        let (mut parts, mut replayed): (Vec<K>, bool) = (Vec::with_capacity(steps), true);
        for step in 0..steps {
            let route = format!("{} step {step}", self.route);
            let (key, body) = (self.key.clone(), body.clone());
            let request = Self { key, route, body, purpose: self.purpose, is_wide: true };
            let (mut f, before) = (f.clone(), parts.clone());
            let run = move |tx: &mut Tx<'_>, cx: &Cx, _: &[u8; 32]| f(tx, cx, step, &before);
            let show = |_: &mut Tx<'_>, _: &Cx, made: &K, _: &[u8; 32]| {
                let mut response = ().into_response();
                response.extensions_mut().insert(Made(Arc::new(made.clone())));
                Ok(Some(response))
            };
            let response = request.run(app, by, run, show).await?;
            replayed &= is_replay(&response);
            let made = response.extensions().get::<Made<K>>().expect("it was just put there");
            parts.push((*made.0).clone());
        }
        Ok((parts, Replayed(replayed)))
    }
}
