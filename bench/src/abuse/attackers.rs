//! The connections of an attack, on a thread of their own: what they do must not delay those who
//! are measured but by what it does to the server and to the processors.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::attack::Attack;
use super::attacks;
use super::stage::Stage;
use crate::requests::request;
use crate::wire::Connection;

/// How long a connection waits that was not taken.
const RETRY: Duration = Duration::from_millis(10);
/// How long an attack that was not answered yet goes on, to see whether it is one. Many long
/// requests of one user have turns of each other, and all end late.
const LATE: Duration = Duration::from_mins(1);
/// Answers to what is no request of the API.
const FAULTY: [u16; 5] = [400, 404, 405, 411, 415];

/// What the connections do.
#[derive(Clone, Copy)]
pub(super) enum What {
    Attack(Attack),
    /// They ask for /healthz, with as many connections as an attack has.
    Healthz(Attack),
}

/// How many answers there were, by status; 0 stands for no answer.
pub(super) type Answers = BTreeMap<u16, u64>;

/// Runs until it is stopped or dropped.
pub(super) struct Attackers {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Answers>>,
}

/// One connection of an attack.
pub(super) struct Attacker {
    pub(super) stage: Arc<Stage>,
    pub(super) port: u16,
    /// Which of the connections it is, from 0.
    pub(super) number: usize,
    answers: Arc<Mutex<Answers>>,
    connection: Option<Connection>,
}

impl Attackers {
    pub(super) fn start(port: u16, stage: &Arc<Stage>, what: What) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let stage = Arc::clone(stage);
        let thread = thread::Builder::new().name("attack".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(attack(port, stage, what, stopped))
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends them.
    ///
    /// # Errors
    /// Where the attack was none, as it was no request of the API.
    pub(super) fn stop(self) -> Result<Answers> {
        drop(self.stop);
        self.thread.join().ok().context("an attack panicked")?
    }
}

async fn attack(
    port: u16,
    stage: Arc<Stage>,
    what: What,
    stopped: oneshot::Receiver<()>,
) -> Result<Answers> {
    let answers = Arc::new(Mutex::default());
    let mut running = JoinSet::new();
    let conns = match what {
        What::Attack(attack) | What::Healthz(attack) => attack.conns(),
    };
    for number in 0..conns {
        let (stage, answers) = (Arc::clone(&stage), Arc::clone(&answers));
        let attacker = Attacker { stage, port, number, answers, connection: None };
        match what {
            What::Attack(attack) => running.spawn(attacks::run(attack, attacker)),
            What::Healthz(_) => running.spawn(healthz(attacker)),
        };
    }
    tokio::select! {
        _ = stopped => {}
        Some(ended) = running.join_next() => ended.context("an attack has ended")?,
    }
    let first_answer = async {
        while !is_answered(&answers) {
            sleep(RETRY).await;
        }
    };
    drop(timeout(LATE, first_answer).await);
    running.shutdown().await;
    let answers = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
    let is_faulty = answers.keys().any(|status| FAULTY.contains(status));
    ensure!(!is_faulty, "the attack was none: {answers:?}");
    Ok(answers)
}

fn is_answered(answers: &Mutex<Answers>) -> bool {
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    answers.keys().any(|status| *status != 0)
}

async fn healthz(mut attacker: Attacker) {
    let request = request("GET", "/healthz", "", "");
    loop {
        attacker.ask(&request).await;
    }
}

impl Attacker {
    /// Asks, over the connection of before if it is open still.
    pub(super) async fn ask(&mut self, request: &[u8]) {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match Connection::open(self.port).await {
                Ok(connection) => connection,
                Err(_refused) => return self.wait().await,
            },
        };
        let Ok(answer) = connection.exchange(request).await else { return self.wait().await };
        let status = answer.status;
        self.connection = Some(connection);
        self.count(status);
    }

    /// A connection from an address of this machine that takes little at a time.
    pub(super) async fn connect(&self, from: Ipv4Addr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // Before it is connected, or the window is larger already.
        socket.set_recv_buffer_size(4096)?;
        socket.bind((from, 0).into())?;
        socket.connect((Ipv4Addr::LOCALHOST, self.port).into()).await
    }

    /// Reads the status of an answer, and counts it.
    pub(super) async fn take_status(&self, stream: &mut TcpStream) {
        let mut start = [0; 12];
        let read = stream.read_exact(&mut start).await;
        let digits = read.ok().and_then(|_| str::from_utf8(&start[9..]).ok());
        self.count(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0));
    }

    pub(super) fn count(&self, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(status).or_default() += 1;
    }

    /// Counts that there was no answer, and waits before the next try.
    pub(super) async fn wait(&self) {
        self.count(0);
        sleep(RETRY).await;
    }
}
