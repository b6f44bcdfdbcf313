//! The floor: the whole path of a request with no product around it.
//!
//! On SQLite one parsed request, one prepared statement or one group-committed insert, one answer.
//! On PostgreSQL the statements that Postroom executes for the request, from a bare pooled driver.
//! Either is as durable as the server and answers after the commit. No passwords, no validation
//! beyond the body. It shows what this machine allows, so that the server can be held to a share of
//! it.
//!
//! `POST /m {receiver_id, subject, body}`, `GET /inbox` (ids), `GET /page` (50 with snippets),
//! `GET /m/ID` (marks it read the first time), `GET /unread` (how many); under /v1 the same, where
//! it matters with the statements of that API.
#![expect(clippy::print_stderr, reason = "the log of a program that has no logger")]

mod embedded;
mod postgres;
mod views;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bench::{Fill, SIGNED_IN, floor_token};
use bytes::Bytes;
use clap::Parser;
use embedded::Write;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use postgres::Api;
use serde::Deserialize;
use socket2::{Domain, Socket, Type};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runtimes that serve, each on a thread of its own.
const SERVERS: usize = 2;

/// Fills a database with messages and serves them on 127.0.0.1:PORT.
#[derive(Parser)]
struct Args {
    port: u16,
    /// Where the file of SQLite is
    dir: PathBuf,
    #[arg(default_value_t = 1000)]
    users: usize,
    #[arg(default_value_t = 100_000)]
    messages: usize,
    /// An empty database of PostgreSQL instead of the file
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Connections to PostgreSQL in all
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

/// What a runtime serves.
struct Floor {
    users: i64,
    sessions: HashMap<Box<[u8]>, i64>,
    store: Store,
}

enum Store {
    Embedded(&'static embedded::Store),
    Postgres(postgres::Store),
}

#[derive(Deserialize)]
struct SendBody {
    receiver_id: i64,
    subject: Box<str>,
    body: Box<str>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let fill = Fill::new(args.users, args.messages)?;
    let mut threads: Vec<JoinHandle<Result<()>>> = Vec::new();
    let serve = |store: Store| -> Result<JoinHandle<Result<()>>> {
        let floor = Floor::new(fill, store)?;
        Ok(thread::spawn(move || floor.serve(args.port)))
    };
    if let Some(url) = &args.database {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(postgres::fill(url, fill)).context("filling the database")?;
        // Each runtime has connections of its own: nothing is handed from thread to thread.
        let connections = args.connections.div_ceil(SERVERS);
        for _ in 0..SERVERS {
            threads.push(serve(Store::Postgres(postgres::Store::open(url, connections)?))?);
        }
    } else {
        std::fs::create_dir_all(&args.dir)?;
        let (store, own) = embedded::Store::open(args.dir.join("floor.db"), fill)?;
        threads.extend(own);
        for _ in 0..SERVERS {
            threads.push(serve(Store::Embedded(store))?);
        }
    }
    while !threads.iter().any(JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(100));
    }
    for ended in threads.into_iter().filter(JoinHandle::is_finished) {
        ended.join().map_err(|_panic| anyhow!("a thread panicked"))??;
    }
    Err(anyhow!("a thread ended"))
}

impl Floor {
    /// Leaked, because it lives as long as the process.
    fn new(fill: Fill, store: Store) -> Result<&'static Self> {
        Ok(Box::leak(Box::new(Self {
            users: i64::try_from(fill.users())?,
            sessions: (1..=SIGNED_IN)
                .zip(1..)
                .map(|(user, id)| (floor_token(user).into_bytes().into(), id))
                .collect(),
            store,
        })))
    }

    fn serve(&'static self, port: u16) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listen(port)?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::spawn(async move {
                    let answer = service_fn(|request| self.answer(request));
                    let mut http = http1::Builder::new();
                    let served = http
                        .pipeline_flush(true)
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                    if let Err(error) = served
                        && !error.is_incomplete_message()
                    {
                        eprintln!("connection: {error}");
                    }
                });
            }
        })
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(self.route(request).await.unwrap_or_else(|error| {
            eprintln!("request: {error:#}");
            reply(StatusCode::INTERNAL_SERVER_ERROR, "{}")
        }))
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let token = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = token.and_then(|value| value.strip_prefix(b"Bearer "));
        let Some(&me) = token.and_then(|token| self.sessions.get(token)) else {
            return Ok(reply(StatusCode::UNAUTHORIZED, "{}"));
        };
        let path = request.uri().path();
        let api = if path.starts_with("/v1/") { Api::V1 } else { Api::Classic };
        if request.method() == Method::POST {
            let raw = request.into_body().collect().await?.to_bytes();
            return self.send(api, me, &raw).await;
        }
        match path.strip_prefix("/v1").unwrap_or(path) {
            "/inbox" => Ok(reply(StatusCode::OK, self.store.inbox(me).await?)),
            "/page" => Ok(reply(StatusCode::OK, self.store.page(me).await?)),
            "/unread" => {
                let unread = self.store.unread(me).await?;
                Ok(reply(StatusCode::OK, format!("{{\"messages\":{unread}}}")))
            }
            path => match path.strip_prefix("/m/").and_then(|id| id.parse().ok()) {
                Some(id) => self.message(api, me, id).await,
                None => Ok(reply(StatusCode::NOT_FOUND, "{}")),
            },
        }
    }

    async fn send(&self, api: Api, from: i64, raw: &[u8]) -> Result<Response<Full<Bytes>>> {
        let Ok(SendBody { receiver_id: to, subject, body }) = serde_json::from_slice(raw) else {
            return Ok(reply(StatusCode::BAD_REQUEST, "{}"));
        };
        if !(1..=self.users).contains(&to) || body.is_empty() {
            return Ok(reply(StatusCode::NOT_FOUND, "{}"));
        }
        Ok(match self.store.send(api, from, to, subject, body).await? {
            Some(answer) => reply(StatusCode::CREATED, answer),
            None => reply(StatusCode::SERVICE_UNAVAILABLE, "{}"),
        })
    }

    async fn message(&self, api: Api, owner: i64, id: i64) -> Result<Response<Full<Bytes>>> {
        let Some((view, unread)) = self.store.message(api, owner, id).await? else {
            return Ok(reply(StatusCode::NOT_FOUND, "{}"));
        };
        if unread && !self.store.mark_read(owner, id).await? {
            return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, "{}"));
        }
        Ok(reply(StatusCode::OK, view))
    }
}

impl Store {
    /// `None` where the queue is full.
    async fn send(
        &self,
        api: Api,
        from: i64,
        to: i64,
        subject: Box<str>,
        body: Box<str>,
    ) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Embedded(store) => {
                let id = store.enqueue(Write::Message { from, to, subject, body }).await?;
                Ok(id.map(|id| format!("{{\"message_id\":{id}}}").into_bytes()))
            }
            Self::Postgres(store) => store.send(api, from, to, &subject, &body).await.map(Some),
        }
    }

    async fn inbox(&self, owner: i64) -> Result<String> {
        match self {
            Self::Embedded(store) => store.inbox(owner),
            Self::Postgres(store) => store.inbox(owner).await,
        }
    }

    async fn page(&self, owner: i64) -> Result<Vec<u8>> {
        match self {
            Self::Embedded(store) => store.page(owner),
            Self::Postgres(store) => store.page(owner).await,
        }
    }

    async fn message(&self, api: Api, owner: i64, id: i64) -> Result<Option<(Vec<u8>, bool)>> {
        match self {
            Self::Embedded(store) => store.message(owner, id),
            Self::Postgres(store) => store.message(api, owner, id).await,
        }
    }

    async fn mark_read(&self, owner: i64, id: i64) -> Result<bool> {
        match self {
            Self::Embedded(store) => Ok(store.enqueue(Write::Read { owner, id }).await?.is_some()),
            Self::Postgres(store) => store.mark_read(owner, id).await.map(|()| true),
        }
    }

    async fn unread(&self, owner: i64) -> Result<i64> {
        match self {
            Self::Embedded(store) => store.unread(owner),
            Self::Postgres(store) => store.unread(owner).await,
        }
    }
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Several sockets on one port: the kernel spreads the connections over the runtimes.
fn listen(port: u16) -> Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
