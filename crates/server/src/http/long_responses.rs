//! Long responses count for whom they were made until the client has taken them, or the bodies of
//! their requests do: one that reads slowly, over many connections, would fill the memory. Those
//! that are the same for everybody, as the documents, are in memory once, and go to each connection
//! in small pieces.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use super::client::Accepted;
use crate::http::App;

/// What a response may have without being counted: as much as a piece of an event stream.
const LONG: usize = 64 << 10;

/// What is handed to the connection at a time, which copies it, and takes the next piece when it
/// has sent most of the one before.
const PIECE: usize = 64 << 10;
/// The same of a response that nobody's count bounds. A connection collects as much before it waits
/// for its client: of smaller pieces its buffer would have twice the length.
const SMALL_PIECE: usize = 32 << 10;

/// A response, of which what was not sent yet is counted.
struct Pieces {
    rest: Bytes,
    length: usize,
    _counted: Arc<Accepted>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(self.length);
        let piece = self.rest.split_to(length);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Counts the response to a request of the method, or answers 503 instead to one that only reads,
/// where too much is on its way to the same holder. What was done is told, whatever it takes. What
/// is nobody's goes in smaller pieces.
pub(super) async fn count(
    app: &App,
    method: &Method,
    accepted: Arc<Accepted>,
    response: Response,
) -> Response {
    let holder = accepted.holder();
    let (longest, length) =
        if holder.is_some() { (LONG, PIECE) } else { (SMALL_PIECE, SMALL_PIECE) };
    // A stream has no length, and counts its pieces itself.
    let bytes = response.body().size_hint().exact();
    let bytes = bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let Some(bytes) = bytes.filter(|bytes| *bytes > longest) else { return response };
    if let Some(holder) = holder.filter(|_| method == Method::GET) {
        let mut unfinished = app.unfinished_bodies.begin(holder);
        if let Err(busy) = unfinished.hold(bytes) {
            return busy.into_response();
        }
        accepted.hold(unfinished);
    }
    let (head, body) = response.into_parts();
    let rest = body.collect().await.expect("it is in memory").to_bytes();
    Response::from_parts(head, Body::new(Pieces { rest, length, _counted: accepted }))
}
