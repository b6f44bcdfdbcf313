//! An endpoint for webhooks, as an app has one: it keeps what is delivered, and answers as a test
//! wants it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// Longer than the delivery of anything that is due takes.
const LONG: Duration = Duration::from_mins(1);

/// What the endpoint does with a request that it has read.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with this status line and these headers, and an empty body.
    Says(String),
    /// Answers 200 with so many bytes.
    SaysMuch(usize),
    /// Begins an answer of 200 and does not end it.
    Drips,
    /// Keeps the connection open and sends nothing.
    Hangs,
    /// Closes the connection without an answer.
    Closes,
    /// Closes its half of the connection and goes on reading.
    HalfCloses,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::Says(format!("{status} Whatever\r\n"))
    }
}

/// A request that the endpoint has read.
#[derive(Debug, Clone)]
pub struct WebhookRequest {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl WebhookRequest {
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).expect("it is JSON")
    }

    /// The id of the event, the same at each attempt.
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Whether one of its signatures is by this secret.
    pub fn is_signed_by(&self, secret: &str) -> bool {
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
    /// What comes when `next` is empty; 200 where nothing is set.
    usual: Option<Reply>,
    /// Connections that stay open.
    kept: Vec<TcpStream>,
}

/// An endpoint on the loopback, until the test process ends.
pub struct TestEndpoint {
    pub address: SocketAddr,
    requests: Receiver<WebhookRequest>,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
}

impl TestEndpoint {
    /// Starts one that answers 200.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (tx, requests) = channel();
        let script = Arc::<Mutex<Script>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (shared, count) = (Arc::clone(&script), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Relaxed);
                let (tx, script) = (tx.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(&stream, &tx, &script));
            }
        });
        Self { address, requests, script, connections }
    }

    /// How many connections were opened to it, whatever came over them.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?from=postroom", self.address)
    }

    /// Sets the replies to the next requests, in their order.
    pub fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().next.extend(replies);
    }

    /// Sets the reply to all other requests.
    pub fn always(&self, reply: Reply) {
        self.lock().usual = Some(reply);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request.
    #[track_caller]
    pub fn next_request(&self) -> WebhookRequest {
        self.requests.recv_timeout(LONG).expect("a request comes")
    }

    /// All requests that came and were not taken yet.
    pub fn requests(&self) -> Vec<WebhookRequest> {
        self.requests.try_iter().collect()
    }
}

/// Reads one request and replies as the script says.
fn serve(stream: &TcpStream, tx: &Sender<WebhookRequest>, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader) else { return };
    let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
    let usual = script.usual.clone().unwrap_or_else(|| Reply::status(200));
    let reply = script.next.pop_front().unwrap_or(usual);
    let kept = stream.try_clone().expect("it can be kept");
    // Before the answer: once the server has that, the test can read the request. The test may have
    // ended.
    drop(tx.send(request));
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
    // The server may have closed the connection.
    let mut stream = stream;
    drop(stream.write_all(answer.as_bytes()));
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<WebhookRequest> {
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
    Some(WebhookRequest { line: first, headers, text: String::from_utf8(body).ok()? })
}
