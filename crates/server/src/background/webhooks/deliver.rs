//! One delivery attempt: a request, and what its response means.

use std::time::Duration;

use axum::http::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderMap, LOCATION, RETRY_AFTER, USER_AGENT,
};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use domain::Time;
use domain::webhooks::{Endpoint, Event, Outcome};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::payload;
use super::sign::{Secrets, seconds};
use crate::config::Settings;
use crate::config::secret::Secret;
use crate::runtime::connect::{Guard, Target};

/// At most so much of a response's body is read; its content does not matter.
const RESPONSE_BYTES: usize = 64 * 1024;
const AGENT: &str = concat!("Postroom/", env!("CARGO_PKG_VERSION"));

/// Sends signed requests to endpoints.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) guard: Guard,
    pub(crate) secrets: Secrets,
    /// The time that one attempt may take.
    timeout: Duration,
}

/// The outcome of an attempt, also in words.
type Attempted = (Outcome, String);

impl Sender {
    pub(crate) fn new(settings: &Settings, key: &Secret) -> Self {
        Self {
            guard: Guard::new(settings.webhook_allow_hosts.clone(), "webhook_allow_hosts"),
            secrets: Secrets::new(key, settings.webhook_secret_overlap_hours),
            timeout: Duration::from_secs(settings.webhook_timeout_seconds),
        }
    }

    /// Sends an event to an endpoint.
    pub(super) async fn deliver(&self, endpoint: &Endpoint, event: &Event, now: Time) -> Attempted {
        self.post(endpoint, &event.name(), payload::event(event), now).await
    }

    /// Sends a test event to an endpoint.
    pub(crate) async fn test(&self, endpoint: &Endpoint, now: Time) -> Attempted {
        let id = format!("test_{}_{}", endpoint.id.get(), now.0);
        self.post(endpoint, &id, payload::test(endpoint, now), now).await
    }

    async fn post(&self, endpoint: &Endpoint, id: &str, body: String, now: Time) -> Attempted {
        let failed = |words: String| (Outcome::Failed(None), words);
        let end = Instant::now() + self.timeout;
        match timeout_at(end, self.exchange(endpoint, id, body, now, end)).await {
            Ok(Ok(response)) => outcome(response.status(), response.headers(), now),
            Ok(Err(problem)) => failed(problem),
            Err(_elapsed) => failed(format!("no answer in {} s", self.timeout.as_secs())),
        }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: String,
        now: Time,
        end: Instant,
    ) -> Result<Response<()>, String> {
        let target = Target::parse(&endpoint.url)?;
        let stream = TokioIo::new(self.guard.connect(&target).await?);
        let request = Request::post(target.path)
            .header(HOST, target.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds(now))
            .header("webhook-signature", self.secrets.sign(endpoint, now, id, &body))
            .body(Full::new(Bytes::from(body)))
            .expect("the parts are valid");
        let broken = |cause: hyper::Error| format!("no answer: {cause}");
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        // It ends with the sender and the response, and reports its errors to them.
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        // The status counts, whether the body arrives or not.
        drop(timeout_at(end, Limited::new(body, RESPONSE_BYTES).collect()).await);
        Ok(Response::from_parts(head, ()))
    }
}

fn outcome(status: StatusCode, headers: &HeaderMap, now: Time) -> Attempted {
    let code = status.as_u16();
    match status {
        status if status.is_success() => (Outcome::Delivered, code.to_string()),
        status if status.is_redirection() && headers.contains_key(LOCATION) => {
            (Outcome::Failed(None), format!("{code}, a redirect is not followed"))
        }
        StatusCode::GONE => (Outcome::Gone, code.to_string()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            (Outcome::Failed(retry_after(headers, now)), code.to_string())
        }
        _ => (Outcome::Failed(None), code.to_string()),
    }
}

/// The microseconds until the endpoint wants the next attempt; the header has seconds or a date.
fn retry_after(headers: &HeaderMap, now: Time) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * Time::SECOND);
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(until.as_microsecond().saturating_sub(now.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_has_seconds_or_a_date() {
        let now = Time(784_111_777 * Time::SECOND);
        let read = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(120 * Time::SECOND));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Time::MINUTE));
        assert_eq!(read("Sun, 06 Nov 1994 08:48:37 GMT"), Some(-Time::MINUTE));
        for nonsense in ["", "soon", "-5", "1.5", "99999999999999"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
