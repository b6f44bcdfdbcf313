//! The floor: the whole path of a request with no product around it.
//!
//! One parsed request, one prepared statement or one group-committed insert, one answer, as durable
//! as the server (WAL, `synchronous=FULL`, answered after the commit). No passwords, no validation
//! beyond the body. It shows what this machine allows, so that the server can be held to a share of
//! it.
//!
//! `POST /m {receiver_id, subject, body}`, `GET /inbox` (ids), `GET /page` (50 with snippets),
//! `GET /m/ID` (marks it read the first time), `GET /unread` (how many).
#![expect(clippy::print_stderr, reason = "the log of a program that has no logger")]

mod statements;

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bench::{Fill, SIGNED_IN, floor_token};
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rusqlite::Connection;
use serde::Deserialize;
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Most inserts that share one commit.
const BATCH: usize = 128;
/// Pages in the log above which the writer starts it anew: 64 MiB of 4 KiB pages.
const LONG_LOG: i64 = 16_000;
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

/// Fills DIR with messages and serves them on 127.0.0.1:PORT.
#[derive(Parser)]
struct Args {
    port: u16,
    dir: PathBuf,
    #[arg(default_value_t = 1000)]
    users: usize,
    #[arg(default_value_t = 100_000)]
    messages: usize,
}

struct Floor {
    database: PathBuf,
    users: i64,
    sessions: HashMap<Box<[u8]>, i64>,
    writer: SyncSender<Job>,
    log_pages: AtomicI64,
}

/// Work for the one thread that writes; the answer is the message's id, after the commit.
struct Job {
    write: Write,
    done: oneshot::Sender<i64>,
}

enum Write {
    Message { from: i64, to: i64, subject: Box<str>, body: Box<str> },
    Read { owner: i64, id: i64 },
}

#[derive(Deserialize)]
struct SendBody {
    receiver_id: i64,
    subject: Box<str>,
    body: Box<str>,
}

thread_local! {
    static READER: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

fn main() -> Result<()> {
    let args = Args::parse();
    let fill = Fill::new(args.users, args.messages)?;
    std::fs::create_dir_all(&args.dir)?;
    let (writer, jobs) = sync_channel(4096);
    // Leaked because it lives as long as the process; a counter shared by both runtimes would cost.
    let floor: &'static Floor = Box::leak(Box::new(Floor {
        database: args.dir.join("floor.db"),
        users: i64::try_from(fill.users())?,
        sessions: (1..=SIGNED_IN)
            .zip(1..)
            .map(|(user, id)| (floor_token(user).into_bytes().into(), id))
            .collect(),
        writer,
        log_pages: AtomicI64::new(0),
    }));
    statements::fill(&floor.open()?, fill).context("filling the database")?;

    let threads = [
        thread::spawn(move || floor.checkpoint()),
        thread::spawn(move || floor.write(&jobs)),
        thread::spawn(move || floor.serve(args.port)),
        thread::spawn(move || floor.serve(args.port)),
    ];
    while !threads.iter().any(thread::JoinHandle::is_finished) {
        thread::sleep(CHECKPOINT_EVERY);
    }
    for ended in threads.into_iter().filter(thread::JoinHandle::is_finished) {
        ended.join().map_err(|_panic| anyhow!("a thread panicked"))??;
    }
    Err(anyhow!("a thread ended"))
}

impl Floor {
    fn open(&self) -> rusqlite::Result<Connection> {
        statements::open(&self.database)
    }

    fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        READER.with_borrow_mut(|reader| {
            if reader.is_none() {
                *reader = Some(self.open()?);
            }
            f(reader.as_ref().expect("opened above"))
        })
    }

    /// Copies the log back, so that no send has to wait for it.
    fn checkpoint(&self) -> Result<()> {
        let connection = self.open()?;
        loop {
            thread::sleep(CHECKPOINT_EVERY);
            let pages =
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
            self.log_pages.store(pages, Ordering::Relaxed);
        }
    }

    fn write(&self, jobs: &Receiver<Job>) -> Result<()> {
        let connection = self.open()?;
        let mut done = Vec::with_capacity(BATCH);
        while let Ok(first) = jobs.recv() {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let mut next = Some(first);
            while let Some(job) = next {
                done.push((job.done, apply(&connection, &job.write)?));
                next = if done.len() < BATCH { jobs.try_recv().ok() } else { None };
            }
            connection.prepare_cached("COMMIT")?.execute([])?;
            for (caller, id) in done.drain(..) {
                // A caller who hung up no longer wants to know.
                let _ = caller.send(id);
            }
            if self.log_pages.load(Ordering::Relaxed) > LONG_LOG {
                connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
                self.log_pages.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
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
        if request.method() == Method::POST {
            let raw = request.into_body().collect().await?.to_bytes();
            return self.send(me, &raw).await;
        }
        match request.uri().path() {
            "/inbox" => Ok(reply(StatusCode::OK, self.read(|it| statements::inbox(it, me))?)),
            "/page" => Ok(reply(StatusCode::OK, self.read(|it| statements::page(it, me))?)),
            "/unread" => {
                let unread = self.read(|it| statements::unread(it, me))?;
                Ok(reply(StatusCode::OK, format!("{{\"messages\":{unread}}}")))
            }
            path => match path.strip_prefix("/m/").and_then(|id| id.parse().ok()) {
                Some(id) => self.message(me, id).await,
                None => Ok(reply(StatusCode::NOT_FOUND, "{}")),
            },
        }
    }

    async fn send(&self, from: i64, raw: &[u8]) -> Result<Response<Full<Bytes>>> {
        let Ok(SendBody { receiver_id: to, subject, body }) = serde_json::from_slice(raw) else {
            return Ok(reply(StatusCode::BAD_REQUEST, "{}"));
        };
        if !(1..=self.users).contains(&to) || body.is_empty() {
            return Ok(reply(StatusCode::NOT_FOUND, "{}"));
        }
        Ok(match self.enqueue(Write::Message { from, to, subject, body }).await? {
            Some(id) => reply(StatusCode::CREATED, format!("{{\"message_id\":{id}}}")),
            None => reply(StatusCode::SERVICE_UNAVAILABLE, "{}"),
        })
    }

    /// `None` where the queue is full.
    async fn enqueue(&self, write: Write) -> Result<Option<i64>> {
        let (done, answer) = oneshot::channel();
        if self.writer.try_send(Job { write, done }).is_err() {
            return Ok(None);
        }
        Ok(Some(answer.await?))
    }

    async fn message(&self, owner: i64, id: i64) -> Result<Response<Full<Bytes>>> {
        let found = self.read(|connection| statements::message(connection, owner, id))?;
        let Some((view, unread)) = found else {
            return Ok(reply(StatusCode::NOT_FOUND, "{}"));
        };
        if unread && self.enqueue(Write::Read { owner, id }).await?.is_none() {
            return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, "{}"));
        }
        Ok(reply(StatusCode::OK, view))
    }
}

fn apply(connection: &Connection, write: &Write) -> rusqlite::Result<i64> {
    match write {
        Write::Message { from, to, subject, body } => {
            statements::send(connection, *from, *to, subject, body)
        }
        Write::Read { owner, id } => {
            statements::mark_read(connection, *owner, *id)?;
            Ok(*id)
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
