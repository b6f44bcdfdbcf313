//! `/v1/events`: the mailbox's events, as they happen (server-sent events).
//!
//! A stream subscribes first, then reads what is new since its state, sends it and waits for a
//! wake-up, so catching up, going on and coming back are the same. A piece is made when the
//! connection has room for it, so a slow client costs one piece, and its state stays where it is.

mod frames;

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use domain::browser_tokens::Standing;
use domain::changes::{self, ChangesWithMessages};
use domain::credential::Credential;
use domain::envelopes::BodyPart;
use domain::unread;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::field_types::State as MailboxState;
use super::prelude::*;
use crate::http::auth::Scope as _;
use crate::realtime::streams::{Opener, Stream};
use crate::runtime::jwt::Pass;
use frames::Frames;

const PING: Duration = Duration::from_secs(15);
/// How long a stream waits after a failed read.
const RETRY: Duration = Duration::from_secs(1);
/// The most changes that are read for one piece, which also ends when it is long.
const PIECE: usize = 50;
/// How many are read for the first piece, while nothing is known of their length.
const FIRST: usize = 10;

/// With the charset, which the standard says anyway: without it some clients assume Latin-1.
const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx passes events on as they come where this says so.
const HEAD: [(HeaderName, &str); 2] =
    [(CONTENT_TYPE, EVENT_STREAM), (HeaderName::from_static("x-accel-buffering"), "no")];

pub(super) fn api(api: Api) -> Api {
    api.on("GET /v1/events", "streamEvents", "Streams the mailbox's events", events)
        .streams(
            "Server-sent events, until the login ends, one side closes the stream, or a newer \
             stream of the user displaces it (`event: displaced`).",
        )
        .header("X-Accel-Buffering", "`no`: proxies must not hold events back.")
        .may_send("Last-Event-ID", "The `id` of the last event that the caller has.", "17")
}

fields! {
    struct StreamFrom {
        /// The state from which to go on; by default, the current one.
        optional since: MailboxState = "17";
        /// `metadata`: each message has its metadata.
        or_default fields: Fields<false> = "metadata";
    }
}

async fn events(
    State(app): State<App>,
    caller: Caller<Listen>,
    headers: HeaderMap,
    method: Method,
    QueryParams(StreamFrom { since, fields }): QueryParams<StreamFrom>,
) -> Result<Response, Error> {
    // Who asks for the headers alone opens no stream, which would displace another.
    if method == Method::HEAD {
        return Ok(HEAD.into_response());
    }
    // A browser that reconnects has a newer state than the address that its page opened.
    let last = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty());
    let from = match last {
        Some(last) => {
            let state = last.to_str().ok().and_then(MailboxState::parse);
            state.map_or(Since::Unknown, |state| Since::State(state.0))
        }
        None => since.map_or(Since::Now, |since| Since::State(since.0)),
    };
    let most = app.settings.streams_per_user;
    // Each opening reads, so a user who does nothing else would take the processors from others.
    for opener in [Opener::Credential(caller.key), Opener::User(caller.user)] {
        let now = Instant::now();
        let Some(turn) = app.streams.next_opening(opener, most, now) else {
            let detail = "too many event streams are being opened: open one, and keep it";
            return Err(Error::new(Code::Unavailable, detail).retry_after(5));
        };
        if turn > now {
            let turn = app.stopping.run_until_cancelled(sleep_until(turn));
            waits::wait(turn).await;
            app.sessions.forget(&caller.key);
            if has_ended(&app, &caller.key, caller.pass).await {
                return Err(Error::not_logged_in());
            }
        }
    }
    let stream = app.streams.open(caller.key, caller.pass, most);
    // The cached login may be old, which is good enough only for short requests.
    app.sessions.forget(&caller.key);
    let started = Instant::now();
    // Streams that were opened together, as after a restart, are not pinged together, and do not
    // come back together.
    let [ping, retry] = app.clock.cx().random();
    let first = frames::retry(2_000 + 8 * u32::from(retry));
    let events = Events {
        app,
        stream,
        from,
        part: fields.0,
        unread: None,
        behind: true,
        is_catching_up: false,
        changes: FIRST,
        rests_until: started,
        ping: started + PING - PING.mul_f32(f32::from(ping) / 512.0),
        has_said_farewell: false,
    };
    let pieces = stream::unfold(events, async |events| {
        events.next().await.map(|(piece, events)| (Ok::<_, Infallible>(piece), events))
    });
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(pieces));
    Ok((HEAD, body).into_response())
}

/// Whether a session or token is known to be no longer valid.
pub(super) async fn has_ended(app: &App, key: &Credential, pass: Option<Pass>) -> bool {
    let cx = app.clock.cx();
    if let Some(pass) = pass {
        let standing = app.sessions.standing(app.db.of(key.user), &cx, &pass.grant).await;
        return standing.is_ok_and(|standing| standing != Standing::Valid);
    }
    let scopes = app.sessions.scopes(&app.db, &cx, key, || key.user.into()).await;
    scopes.is_ok_and(|scopes| scopes.is_none_or(|scopes| !scopes.contains(Read::SCOPE)))
}

/// Where a stream goes on.
#[derive(Clone, Copy)]
enum Since {
    Now,
    /// After the state that the client has.
    State(i64),
    /// After something that is no state: the client has to load everything again.
    Unknown,
}

struct Events {
    app: App,
    stream: Stream,
    from: Since,
    /// What is shown of each message.
    part: BodyPart,
    /// The counts that were sent last.
    unread: Option<(i64, i64)>,
    /// Whether there may be something to send.
    behind: bool,
    /// Whether more was waiting than the last piece had room for.
    is_catching_up: bool,
    /// How many changes are read next: about as many as a piece has room for.
    changes: usize,
    rests_until: Instant,
    ping: Instant,
    has_said_farewell: bool,
}

impl Events {
    /// The next piece, and the stream after it; `None` if it has ended.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if self.stream.is_displaced() {
                let has_said = std::mem::replace(&mut self.has_said_farewell, true);
                return (!has_said).then_some((frames::DISPLACED, self));
            }
            if self.app.stopping.is_cancelled() || self.has_ended().await {
                return None;
            }
            let mut wake = self.ping;
            if self.behind {
                if Instant::now() < self.rests_until {
                    sleep_until(self.rests_until).await;
                }
                self.stream.forget_wakes();
                // In a box of its own: a stream waits most of the time, and waiting takes little.
                match timeout_at(self.ping, Box::pin(self.read())).await {
                    Ok(Ok(piece)) if !piece.is_empty() => return Some((piece, self)),
                    Ok(Ok(_nothing)) if self.behind => continue,
                    Ok(Ok(_nothing)) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a stream could not be read");
                        wake = wake.min(Instant::now() + RETRY);
                    }
                    // The ping is due; it reads again afterwards.
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

    /// Whether the session or token is no longer valid, looked up where it may have ended.
    async fn has_ended(&self) -> bool {
        if self.stream.has_ended() {
            return true;
        }
        if !self.stream.take_login_check() {
            return false;
        }
        // If the check fails, it is repeated in the background.
        Box::pin(has_ended(&self.app, &self.stream.key(), self.stream.pass())).await
    }

    /// Reads what is new, as events.
    async fn read(&mut self) -> domain::Result<Bytes> {
        let (user, part) = (self.stream.key().user, self.part);
        let most = self.changes;
        let since = match self.from {
            Since::State(since) => Some(since),
            Since::Now | Since::Unknown => None,
        };
        let read = move |tx: &mut Tx<'_>| {
            let changes = match since {
                Some(since) => changes::with_messages(tx, user, since, most, part),
                None => Err(domain::Error::ChangesForgotten),
            };
            match changes {
                Ok(changes) => Ok(Ok(changes)),
                Err(domain::Error::ChangesForgotten) => Ok(Err(unread::counts(tx, user)?)),
                Err(error) => Err(error),
            }
        };
        // Who has long been away may read the whole mailbox.
        let found = if self.is_catching_up {
            self.app.db.of(user).scan(read).await?
        } else {
            let _turn = self.app.streams.turns.acquire().await;
            self.app.db.of(user).read(read).await?
        };
        Ok(match found {
            Ok(changes) => self.send(changes),
            Err(now) => self.start(now),
        })
    }

    /// Starts from the current state.
    fn start(&mut self, now: unread::UnreadCounts) -> Bytes {
        let mut frames = Frames::default();
        if !matches!(self.from, Since::Now) {
            frames.reset(now.modseq);
        }
        self.unread = Some((now.messages, now.conversations));
        frames.unread(now);
        (self.behind, self.is_catching_up) = (false, false);
        self.go_on(now.modseq, frames)
    }

    fn send(&mut self, found: ChangesWithMessages) -> Bytes {
        let mut frames = Frames::default();
        let (now, read) = (found.changes.now, found.changes.until);
        let until = frames.changes(found, self.part);
        self.behind = until < now.modseq;
        self.is_catching_up = self.behind;
        self.changes = if until < read {
            usize::try_from(frames.count).unwrap_or(PIECE)
        } else {
            PIECE.min(2 * self.changes)
        };
        let counts = Some((now.messages, now.conversations));
        if !self.behind && self.unread != counts {
            self.unread = counts;
            frames.unread(now);
        }
        self.go_on(until, frames)
    }

    fn go_on(&mut self, state: i64, frames: Frames) -> Bytes {
        self.from = Since::State(state);
        // What happens while it rests is read in one go afterwards.
        let rest = self.stream.has_sent(state);
        self.app.metrics.stream_events.inc_by(frames.count);
        if !self.behind {
            self.rests_until = Instant::now() + rest;
        }
        frames.text.into()
    }
}
