//! One attempt: a request, and what the answer to it means.

use std::time::Duration;

use axum::http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mail::Time;
use mail::webhooks::{Endpoint, Event, Outcome};
use tokio::time::{Instant, timeout_at};

use super::connect::{Guard, Target};
use super::payload;
use super::sign::{Secrets, seconds};

/// As much of an answer is read; what it says is of no interest.
const ANSWER_BYTES: usize = 64 * 1024;
const AGENT: &str = concat!("Postroom/", env!("CARGO_PKG_VERSION"));

/// What an attempt needs.
#[derive(Clone)]
pub(crate) struct Courier {
    pub(crate) guard: Guard,
    pub(crate) secrets: Secrets,
    /// All that an attempt may take.
    pub(crate) patience: Duration,
}

/// What came of an attempt, and in words.
pub(crate) type Told = (Outcome, String);

impl Courier {
    /// Tells an endpoint of an event.
    pub(super) async fn tell(&self, endpoint: &Endpoint, event: &Event, now: Time) -> Told {
        self.post(endpoint, &event.name(), payload::event(event), now).await
    }

    /// Tells an endpoint of nothing, to see whether it hears.
    pub(crate) async fn test(&self, endpoint: &Endpoint, now: Time) -> Told {
        let name = format!("test_{}_{}", endpoint.id.get(), now.0);
        self.post(endpoint, &name, payload::test(endpoint, now), now).await
    }

    async fn post(&self, endpoint: &Endpoint, id: &str, body: String, now: Time) -> Told {
        let end = Instant::now() + self.patience;
        let signature = self.secrets.sign(endpoint, now, id, &body);
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds(now))
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(body)))
            .expect("the parts are valid");
        let failed = |words: String| (Outcome::Failed(None), words);
        match timeout_at(end, self.exchange(&endpoint.url, request, end)).await {
            Ok(Ok(Answer { status, headers })) => meaning(status, &headers, now),
            Ok(Err(problem)) => failed(problem),
            Err(_elapsed) => failed(format!("no answer in {} s", self.patience.as_secs())),
        }
    }

    async fn exchange(
        &self,
        url: &str,
        mut request: Request<Full<Bytes>>,
        end: Instant,
    ) -> Result<Answer, String> {
        let target = Target::parse(url)?;
        let host = target.authority.parse().map_err(|_invalid| "it has no host".to_owned())?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = target.path.clone().into();
        let stream = TokioIo::new(self.guard.connect(&target).await?);
        let broken = |cause: hyper::Error| format!("no answer: {cause}");
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let (head, body) = answer.into_parts();
            // The status is what counts, whether the rest comes or not.
            drop(timeout_at(end, read(body)).await);
            Ok(Answer { status: head.status, headers: head.headers })
        };
        let (mut answered, mut connection) = (Box::pin(answered), Box::pin(connection));
        tokio::select! {
            biased;
            answer = &mut answered => return answer,
            // What had come before its end is still there to be read.
            _ended = &mut connection => {}
        }
        answered.await
    }
}

/// The head of an answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
}

/// Reads an answer to its end, or to where it is too long.
async fn read(mut body: Incoming) {
    let mut left = ANSWER_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn meaning(status: StatusCode, headers: &HeaderMap, now: Time) -> Told {
    let code = status.as_u16();
    match status {
        status if status.is_success() => (Outcome::Delivered, code.to_string()),
        status if status.is_redirection() => {
            (Outcome::Failed(None), format!("{code}, a redirect is not followed"))
        }
        StatusCode::GONE => (Outcome::Gone, code.to_string()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            (Outcome::Failed(patience(headers, now)), code.to_string())
        }
        _ => (Outcome::Failed(None), code.to_string()),
    }
}

/// For how many microseconds an endpoint wants to be left alone: it says seconds, or until when.
fn patience(headers: &HeaderMap, now: Time) -> Option<i64> {
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
    fn patience_is_asked_for_in_seconds_or_until_a_moment() {
        let now = Time(784_111_777 * Time::SECOND);
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]);
            patience(&headers, now)
        };
        assert_eq!(asked("120"), Some(120 * Time::SECOND));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Time::MINUTE));
        assert_eq!(asked("Sun, 06 Nov 1994 08:48:37 GMT"), Some(-Time::MINUTE));
        for nonsense in ["", "soon", "-5", "1.5", "99999999999999"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
        assert_eq!(patience(&HeaderMap::new(), now), None);
    }
}
