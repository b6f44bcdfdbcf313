//! Long responses count for whom they were made until the client has taken them: one that reads
//! slowly, over many connections, would fill the memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use super::unfinished_bodies::{Holder, Unfinished};
use crate::http::App;

/// What a response may have without being counted: as much as a piece of an event stream.
const LONG: u64 = 64 << 10;

/// What is handed to the connection at a time, which takes the next piece when it has sent most of
/// the one before.
const PIECE: usize = 64 << 10;

/// A response, of which what was not sent yet is counted.
struct Pieces {
    rest: Bytes,
    _unfinished: Unfinished,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE);
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

/// Counts the response to a request that only reads, or answers 503 instead where too much is on
/// its way to the same holder.
pub(super) async fn count(app: &App, holder: Holder, response: Response) -> Response {
    // A stream has no length, and counts its pieces itself.
    let Some(length) = response.body().size_hint().exact().filter(|length| *length > LONG) else {
        return response;
    };
    let mut unfinished = app.unfinished_bodies.begin(holder);
    if let Err(busy) = unfinished.hold(usize::try_from(length).unwrap_or(usize::MAX)) {
        app.metrics.bodies_refused.inc();
        return busy.into_response();
    }
    let (head, body) = response.into_parts();
    let rest = body.collect().await.expect("it is in memory").to_bytes();
    Response::from_parts(head, Body::new(Pieces { rest, _unfinished: unfinished }))
}
