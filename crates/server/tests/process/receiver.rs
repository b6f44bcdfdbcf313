//! The app's own server: it hears what webhooks are told, and answers as a test wants it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver as Queue, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// Longer than it takes to be told of anything that is due.
const LONG: Duration = Duration::from_mins(1);

/// What it does with a request that it has read.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// It answers with this status line and these headers, and an empty body.
    Says(String),
    /// It answers 200 with so many bytes.
    SaysMuch(usize),
    /// It begins an answer of 200 and does not end it.
    Drips,
    /// It keeps the connection and says nothing.
    Hangs,
    /// It closes the connection without a word.
    Closes,
    /// It closes its half of the connection and goes on listening.
    HalfCloses,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Says(format!("{status} Whatever\r\n"))
    }
}

/// A request that it has read.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Heard {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).expect("it is JSON")
    }

    /// The id of the event, the same at each attempt.
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Whether one of its signatures is by this secret.
    pub(crate) fn is_signed_by(&self, secret: &str) -> bool {
        let key = secret.strip_prefix("whsec_").expect("it begins so");
        let key = STANDARD.decode(key).expect("it is base64");
        assert!((24..=64).contains(&key.len()));
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length will do");
        let timestamp = &self.headers["webhook-timestamp"];
        mac.update(format!("{}.{timestamp}.{}", self.id(), self.text).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
    }
}

#[derive(Default)]
struct Script {
    next: VecDeque<Reply>,
    /// What it does when it has no other orders.
    usual: Option<Reply>,
    /// Connections that are kept.
    kept: Vec<TcpStream>,
}

/// A receiver on the loopback, until the test ends.
pub(crate) struct Receiver {
    pub address: SocketAddr,
    heard: Queue<Heard>,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    /// Starts one that answers 200.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (tell, heard) = channel();
        let script = Arc::<Mutex<Script>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (shared, count) = (Arc::clone(&script), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Relaxed);
                let (tell, script) = (tell.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(&stream, &tell, &script));
            }
        });
        Self { address, heard, script, connections }
    }

    /// How often it was connected to, whatever was said then.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?from=postroom", self.address)
    }

    /// What it does with the next requests, each in its turn.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().next.extend(replies);
    }

    /// What it does with all others from now on.
    pub(crate) fn always(&self, reply: Reply) {
        self.lock().usual = Some(reply);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request.
    #[track_caller]
    pub(crate) fn hears(&self) -> Heard {
        self.heard.recv_timeout(LONG).expect("it is told")
    }

    /// All that came and was not asked for yet.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.try_iter().collect()
    }
}

/// Reads one request and does with it as the script says.
fn serve(stream: &TcpStream, tell: &Sender<Heard>, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream);
    let Some(heard) = read(&mut reader) else { return };
    let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
    let usual = script.usual.clone().unwrap_or_else(|| Reply::status(200));
    let reply = script.next.pop_front().unwrap_or(usual);
    let kept = stream.try_clone().expect("it can be kept");
    // Before it answers: who has its answer has been heard. The test may have ended.
    drop(tell.send(heard));
    let empty = "Content-Length: 0\r\n\r\n";
    let answer = match reply {
        Reply::Says(status) => format!("HTTP/1.1 {status}{empty}"),
        Reply::SaysMuch(bytes) => {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n{}", "a".repeat(bytes))
        }
        Reply::Drips => {
            script.kept.push(kept);
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na".to_owned()
        }
        Reply::Hangs => return script.kept.push(kept),
        Reply::Closes => return,
        Reply::HalfCloses => {
            drop(kept.shutdown(Shutdown::Write));
            return script.kept.push(kept);
        }
    };
    drop(script);
    // Whoever asked may have gone.
    let mut stream = stream;
    drop(stream.write_all(answer.as_bytes()));
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Heard> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = BTreeMap::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Heard { line: first, headers, text: String::from_utf8(body).ok()? })
}
