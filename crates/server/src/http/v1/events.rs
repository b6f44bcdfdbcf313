//! `/v1/events`: what happens in a mailbox, as it happens (server-sent events).
//!
//! Subscribe first, then read what is new since the cursor, send it, wait to be woken: to catch up,
//! to go on and to come back are the same. The next piece is made when the connection has room for
//! it, so a client that reads slowly costs one piece, and its cursor stays where it is.

mod frames;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use mail::changes::{self, News};
use mail::mailbox;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::changes::{parse_state, state, state_schema};
use super::input::Asked;
use super::operation::{Api, Operation, Tag};
use crate::http::App;
use crate::http::Error;
use crate::http::auth::{Caller, Read, Scope as _};
use crate::http::code::Code;
use crate::realtime::streams::Stream;
use frames::Frames;

/// How often a client hears that the stream is alive.
const PING: Duration = Duration::from_secs(15);
/// How long it waits where the database cannot be asked.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes of one piece: with the largest texts that a list shows, a few hundred kilobytes.
const PIECE: usize = 50;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The stream.
pub(super) fn api(api: Api) -> Api {
    let summary = "Tells what happens in the mailbox, as it happens";
    let path = "/v1/events";
    let events = Operation::get(path, "streamEvents", Tag::Sync, summary)
        .scope::<Read>()
        .query("since", "The state from which to go on; else from now.", &state_schema(), "17")
        .streams("Server-sent events, until the login ends or one side leaves.")
        .header("X-Accel-Buffering", "`no`: proxies must not keep events back.")
        .may_send("Last-Event-ID", "The `id` of the last event that the caller has.", "17")
        .errors(&[Code::TooManyStreams]);
    api.add(events, self::events)
}

async fn events(
    State(app): State<App>,
    caller: Caller<Read>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, Error> {
    let since = asked.read(|fields| fields.optional("since", state))?;
    // What a browser that comes back has is newer than what its page asked for at first.
    let last = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty());
    let from = match last {
        Some(last) => Since::of(last.to_str().ok().and_then(parse_state)),
        None => since.map_or(Since::Now, Since::State),
    };
    let most = app.settings.streams_per_user;
    let stream = app.streams.open(caller.key, most).ok_or_else(|| {
        Error::new(Code::TooManyStreams, "close one of your streams first").retry_after(30)
    })?;
    // What is remembered of the login may be old, which is good enough for what is over soon.
    app.sessions.forget(&caller.key);
    let begun = Instant::now();
    let [early] = app.clock.cx().random();
    let events = Events {
        app,
        stream,
        from,
        unread: None,
        behind: true,
        rested: begun,
        // Not all those who came at once, as after a restart, are pinged at once.
        ping: begun + PING - PING.mul_f32(f32::from(early) / 512.0),
        told_to_leave: false,
    };
    let body = Body::new(Pieces(Some(Box::pin(events.next()))));
    Ok(([(CONTENT_TYPE, "text/event-stream")], [(BUFFERING, "no")], body).into_response())
}

/// Where a stream goes on.
#[derive(Clone, Copy)]
enum Since {
    /// Here and now.
    Now,
    /// After what the client has.
    State(i64),
    /// After something that was never told.
    Nowhere,
}

impl Since {
    fn of(state: Option<i64>) -> Self {
        state.map_or(Self::Nowhere, Self::State)
    }
}

/// A stream and how far it is.
struct Events {
    app: App,
    stream: Stream,
    from: Since,
    /// The counts that were sent last.
    unread: Option<(i64, i64)>,
    /// Whether there may be something to send.
    behind: bool,
    /// Until when it rests.
    rested: Instant,
    ping: Instant,
    told_to_leave: bool,
}

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Events)>> + Send>>;

impl Events {
    /// The next piece, and the stream after it; nothing where it ends.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if self.app.stopping.is_set() {
                return self.leave().map(|piece| (piece, self));
            }
            if self.has_ended().await {
                return None;
            }
            let mut wake = self.ping;
            if self.behind {
                if Instant::now() < self.rested {
                    sleep_until(self.rested).await;
                }
                self.stream.forget_wakes();
                // In a box of its own: most of its time a stream waits, and that takes little.
                match timeout_at(self.ping, Box::pin(self.read())).await {
                    Ok(Ok(piece)) if !piece.is_empty() => return Some((piece, self)),
                    Ok(Ok(_nothing)) if self.behind => continue,
                    Ok(Ok(_nothing)) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a stream could not be read");
                        wake = wake.min(Instant::now() + AGAIN);
                    }
                    // It says that it is alive, and begins again.
                    Err(_late) => {}
                }
            }
            let failed = self.behind && wake < self.ping;
            tokio::select! {
                () = self.stream.woken(), if !failed => self.behind = true,
                () = sleep_until(wake) => {}
            }
            if Instant::now() >= self.ping {
                self.ping = Instant::now() + PING;
                return Some((frames::PING, self));
            }
        }
    }

    /// Tells the client to come back soon, which is to another node or after a restart; then ends.
    fn leave(&mut self) -> Option<Bytes> {
        let [chance] = self.app.clock.cx().random();
        let told = std::mem::replace(&mut self.told_to_leave, true);
        (!told).then(|| frames::retry(250 + 4 * u32::from(chance)))
    }

    /// Whether the session or the token holds no more, where there is a doubt.
    async fn has_ended(&self) -> bool {
        if self.stream.has_ended() {
            return true;
        }
        if !self.stream.is_doubted() {
            return false;
        }
        let (app, key) = (&self.app, self.stream.key());
        // Where it cannot be asked, the keeper finds out.
        let scopes = Box::pin(app.sessions.scopes(&app.db, &app.clock.cx(), &key)).await;
        scopes.is_ok_and(|scopes| scopes.is_none_or(|scopes| !scopes.contains(Read::SCOPE)))
    }

    /// What is new, as events.
    async fn read(&mut self) -> mail::Result<Bytes> {
        let user = self.stream.key().user;
        let turn = self.app.streams.turns.acquire().await;
        let since = match self.from {
            Since::State(since) => Some(since),
            Since::Now | Since::Nowhere => None,
        };
        let found = self.app.db.read(move |tx| {
            let news = match since {
                Some(since) => changes::news(tx, user, since, PIECE),
                None => Err(mail::Error::ChangesForgotten),
            };
            match news {
                Ok(news) => Ok(Ok(news)),
                Err(mail::Error::ChangesForgotten) => Ok(Err(mailbox::unread_counts(tx, user)?)),
                Err(error) => Err(error),
            }
        });
        let found = found.await?;
        drop(turn);
        Ok(match found {
            Ok(news) => self.told(news),
            Err(now) => self.begin(now),
        })
    }

    /// Begins here and now.
    fn begin(&mut self, now: mailbox::Unread) -> Bytes {
        let mut frames = Frames::default();
        if !matches!(self.from, Since::Now) {
            frames.reset(now.state);
        }
        self.unread = Some((now.messages, now.conversations));
        frames.unread(now, true);
        self.behind = false;
        self.go_on(now.state, frames)
    }

    fn told(&mut self, news: News) -> Bytes {
        let mut frames = Frames::default();
        let (now, until) = (news.changes.now, news.changes.until);
        self.behind = news.changes.has_more();
        let nothing = news.changes.changes.is_empty();
        frames.news(news);
        let counts = Some((now.messages, now.conversations));
        if !self.behind && self.unread != counts {
            self.unread = counts;
            frames.unread(now, nothing);
        }
        self.go_on(until, frames)
    }

    fn go_on(&mut self, state: i64, frames: Frames) -> Bytes {
        self.from = Since::State(state);
        // What comes while it rests is read at once.
        let rest = self.stream.has_sent(state);
        self.app.metrics.stream_events.inc_by(frames.count());
        if !self.behind {
            self.rested = Instant::now() + rest;
        }
        frames.finish()
    }
}

/// The body of the answer: each piece is made when it is asked for.
struct Pieces(Option<Next>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(next) = &mut self.0 else { return Poll::Ready(None) };
        let Poll::Ready(made) = next.as_mut().poll(cx) else { return Poll::Pending };
        let (piece, events) = made.unzip();
        self.0 = events.map(|events| -> Next { Box::pin(events.next()) });
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
