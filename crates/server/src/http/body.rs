//! Bodies of requests: bounded in length, in time, and in what arrives at the same time.
//!
//! Not `Limited` and `collect` of http-body-util, which keep every frame until the last has come:
//! 500,000 chunks of one byte each held 19 MiB there, and hold 1 MiB here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HeaderMap};
use axum::http::request::Parts;
use axum::http::{Request, Version};
use bytes::{Bytes, BytesMut};
use db::Paces;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;

use super::app::READ_ON_BYTES;
use super::client::Arrival;
use super::code::Code;
use super::unfinished_bodies::{Holder, Unfinished};
use super::{Error, Peer, list_turns, waits};
use crate::config::Switch;
use crate::http::App;

/// What a byte of a long body takes of its user's time: 4 MiB a second, which is ten of the longest
/// messages, as reading one takes milliseconds.
const BYTE: Duration = Duration::from_nanos(1_000_000_000 / (4 << 20));
/// What they have ahead, 16 MiB.
const AHEAD: Duration = Duration::from_secs(4);

/// What a frame counts at least, so that many tiny ones are no more work than a few. Around a chunk
/// of one byte there are five others, and to read one takes as long as to read hundreds of bytes.
const FRAME_BYTES: usize = 16;
/// How long it is read on, within the time that every body has.
const READ_ON_TIME: Duration = Duration::from_secs(5);

/// A body of which the rest is read, and thrown away, if it is dropped before its end.
///
/// A response may be ready before its request was read, a 401 for example. If the connection were
/// then closed, who still sends would meet a reset, and might never see the response: proxies make
/// a 502 of it (RFC 9112, section 9.6).
pub(super) struct ReadOn<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> {
    body: Option<B>,
    /// How many more bytes are read.
    left: usize,
    /// When it is too late for any more.
    end: Instant,
    asked: Asked,
}

/// Whether a body was asked for whose client waits for "100 Continue"; `None` where it does not
/// wait. Without being asked it may send the body or not, so the connection has to end.
#[derive(Clone)]
pub(super) struct Asked(Option<Arc<AtomicBool>>);

impl Asked {
    /// Looks at a request as hyper does.
    fn of<B>(request: &Request<B>) -> Self {
        let waits = request.version() > Version::HTTP_10
            && request
                .headers()
                .get(EXPECT)
                .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self(waits.then(Arc::default))
    }

    /// Whether the client waits in vain.
    pub(super) fn is_missing(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| !asked.load(Relaxed))
    }
}

/// Puts a request's body into a [`ReadOn`].
pub(super) fn read_on<B>(app: &App, started: Instant, request: Request<B>) -> (Request<Body>, Asked)
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    if request.body().is_end_stream() {
        return (request.map(Body::new), Asked(None));
    }
    let asked = Asked::of(&request);
    let left = app.limits.request_bytes(request.uri().path()) + READ_ON_BYTES;
    let end = started + Duration::from_secs(app.settings.body_timeout_seconds);
    let read_on = |body| ReadOn { body: Some(body), left, end, asked: asked.clone() };
    (request.map(|body| Body::new(read_on(body))), asked)
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> HttpBody for ReadOn<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(asked) = self.asked.0.take() {
            asked.store(true, Relaxed);
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.left = self.left.saturating_sub(bytes_of(frame));
            }
            Some(Err(_)) | None => self.body = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> Drop for ReadOn<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // To read it now would be to ask for it; the connection ends.
        if self.asked.is_missing() {
            return;
        }
        let time = self.end.saturating_duration_since(Instant::now()).min(READ_ON_TIME);
        if time.is_zero() {
            return;
        }
        let mut left = self.left;
        let rest = async move {
            while let Some(Ok(frame)) = body.frame().await
                && let Some(less) = left.checked_sub(bytes_of(&frame))
            {
                left = less;
            }
        };
        // Without a runtime, the connection has ended as well.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(time, rest));
        }
    }
}

/// What a frame counts.
fn bytes_of(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len).max(FRAME_BYTES)
}

/// Whether a body is compressed, which nothing here reads.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Reads a whole body. Before a credential was accepted it may be short only. A long one counts
/// until the client has taken the response, and takes turns of its user: to read it takes as long
/// as lists.
///
/// # Errors
/// If it is too long, too slow, or incomplete, or if too much of others is in memory.
pub(super) async fn read(app: &App, head: &Parts, body: Body) -> Result<Bytes, Error> {
    let arrival = Arrival::of(head);
    let limit = app.limits.body_bytes(head.uri.path(), arrival.accepted.holder().is_some());
    let length = head.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let holder = || {
        let accepted = arrival.accepted.holder();
        accepted.unwrap_or_else(|| Holder::Stranger(Peer(arrival.from.client).network()))
    };
    let time = Duration::from_secs(app.settings.body_timeout_seconds);
    let bound = (limit, length.unwrap_or_default());
    let whole = tokio::time::timeout(time, collect(app, body, bound, holder)).await;
    let (whole, unfinished) = whole.unwrap_or_else(|_elapsed| {
        Err(Error::new(Code::RequestTimeout, "body: it did not arrive in time"))
    })?;
    if let Some(unfinished) = unfinished.filter(|_| whole.len() > list_turns::SHORT) {
        arrival.accepted.hold(unfinished);
    }
    Ok(whole)
}

/// Waits until so many more bytes of the holder's long bodies may be read, if that is a user.
///
/// # Errors
/// Where they send so many that they would wait for too long.
async fn turn(app: &App, holder: Holder, bytes: usize) -> Result<(), Error> {
    let (Holder::User(user) | Holder::ActedFor(user)) = holder else { return Ok(()) };
    pace(app, holder, BYTE, bytes).await?;
    list_turns::ready(user).await;
    list_turns::take(user);
    Ok(())
}

/// Waits until so many more bytes of the holder may be taken, each of which takes such a time.
///
/// # Errors
/// Where they send so many that they would wait for too long.
pub(super) async fn pace(
    app: &App,
    holder: Holder,
    byte: Duration,
    bytes: usize,
) -> Result<(), Error> {
    if bytes == 0 || app.settings.rate_limits == Switch::Off {
        return Ok(());
    }
    let time = u32::try_from(bytes).map_or(Duration::MAX, |bytes| byte * bytes);
    let pause = app.long_bodies.pause(holder, time.min(AHEAD), AHEAD, Instant::now());
    if pause >= Paces::<Holder>::LONGEST {
        app.metrics.bodies_refused.inc();
        let detail = "you send too much in long bodies at the same time, try again";
        return Err(Error::new(Code::Unavailable, detail).retry_after(5));
    }
    if !pause.is_zero() {
        waits::wait(tokio::time::sleep(pause)).await;
    }
    Ok(())
}

async fn collect(
    app: &App,
    mut body: Body,
    (limit, length): (usize, usize),
    holder: impl Fn() -> Holder,
) -> Result<(Bytes, Option<Unfinished>), Error> {
    // Most bodies are a single frame, which is not copied.
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut unfinished = None;
    let (mut tiny, mut counted) = (0, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_cause| Error::malformed("body: it could not be read"))?;
        let Ok(piece) = frame.into_data() else { continue };
        tiny += usize::from(piece.len() < FRAME_BYTES) * FRAME_BYTES;
        let arrived = first.len() + whole.len() + piece.len();
        if arrived > limit {
            return Err(too_large(limit));
        }
        if tiny > limit {
            let detail = format!("body: send it in pieces of at least {FRAME_BYTES} bytes");
            return Err(Error::new(Code::BodyTooLarge, detail));
        }
        if !body.is_end_stream() || unfinished.is_some() || arrived > list_turns::SHORT {
            let unfinished =
                unfinished.get_or_insert_with(|| app.unfinished_bodies.begin(holder()));
            unfinished.hold(piece.len())?;
        }
        if first.is_empty() && whole.is_empty() {
            first = piece;
        } else {
            if whole.is_empty() {
                // At once, as growing would take twice as much; what is not written takes nothing.
                whole.reserve(length);
            }
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&piece);
        }
        if arrived > list_turns::SHORT {
            let more = arrived.max(length) - counted;
            turn(app, holder(), more).await?;
            counted += more;
        }
    }
    Ok((if whole.is_empty() { first } else { whole.freeze() }, unfinished))
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::BodyTooLarge, format!("body: the request must have at most {limit} bytes"))
}
