//! A server for e-mail that keeps what it is sent, or fails as a test wants it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longer than anything takes that happens at all.
const LONG: Duration = Duration::from_mins(1);

/// What the server does with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Accepts the e-mail.
    Take,
    /// Closes the connection before its greeting.
    Close,
    /// Never sends anything.
    Hang,
    /// Answers the command that begins so with this; `.` is the end of the text.
    Answer(&'static str, &'static str),
    /// Closes the connection when it hears this command.
    CloseAt(&'static str),
    /// Reads the text, and closes the connection without an answer.
    CloseAfterText,
    /// Reads the text, and never answers.
    HangAfterText,
}

/// A session that has ended.
#[derive(Debug, Clone, Default)]
pub struct SmtpSession {
    /// All commands except the login.
    pub commands: Vec<String>,
    /// The arguments of the login.
    pub login: Option<String>,
    /// Whether it was encrypted before the sender was named.
    pub encrypted: bool,
    /// The text, where one was sent.
    pub text: Option<String>,
    /// Whether the server accepted it.
    pub accepted: bool,
}

/// A running server for e-mail. It listens until the process ends.
pub struct Smtp {
    address: SocketAddr,
    turns: Arc<Mutex<VecDeque<Turn>>>,
    sessions: Receiver<SmtpSession>,
    texts: Arc<AtomicUsize>,
}

impl Smtp {
    /// A server on the loopback that accepts everything.
    pub fn start() -> Self {
        Self::with(None, false)
    }

    /// The same with the certificate of a folder of [`certificates`]: from the first byte, or when
    /// it is asked for.
    pub fn secret(certificates: &Path, at_once: bool) -> Self {
        Self::with(Some(config(certificates)), at_once)
    }

    fn with(tls: Option<Arc<ServerConfig>>, at_once: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let turns = Arc::new(Mutex::new(VecDeque::new()));
        let (tx, sessions) = channel();
        let texts = Arc::new(AtomicUsize::new(0));
        let (next, count) = (Arc::clone(&turns), Arc::clone(&texts));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let turn = next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let (tls, tx, texts) = (tls.clone(), tx.clone(), Arc::clone(&count));
                let turn = turn.unwrap_or(Turn::Take);
                thread::spawn(move || serve(stream, turn, (tls, at_once), &texts, &tx));
            }
        });
        Self { address, turns, sessions, texts }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plans the next sessions; those after them are accepted.
    pub fn plan(&self, turns: &[Turn]) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).extend(turns);
    }

    /// How many texts were read so far, also in sessions that have not ended.
    pub fn texts(&self) -> usize {
        self.texts.load(Ordering::SeqCst)
    }

    /// The next session that ends.
    #[track_caller]
    pub fn next(&self) -> SmtpSession {
        self.sessions.recv_timeout(LONG).expect("an e-mail comes")
    }

    /// The sessions that have ended and were not taken yet.
    pub fn rest(&self) -> Vec<SmtpSession> {
        self.sessions.try_iter().collect()
    }
}

fn config(folder: &Path) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(folder.join("server.crt"));
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("it is a certificate")],
            key.expect("it is a key"),
        );
    Arc::new(config.expect("they belong together"))
}

/// Makes a certificate for `localhost`, `server.crt`, and the authority behind it, `ours.crt`.
pub fn certificates(folder: &Path) -> PathBuf {
    let openssl = |arguments: &str| {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
        let made = made.expect("openssl is installed");
        assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=ours -keyout ours.key -out ours.crt"));
    openssl(&format!("req {key} -subj /CN=server -keyout server.key -out server.csr"));
    let names = "subjectAltName=DNS:localhost\n";
    std::fs::write(folder.join("names"), names).expect("it can be written");
    openssl(
        "x509 -req -in server.csr -CA ours.crt -CAkey ours.key -CAcreateserial -days 2 \
         -extfile names -out server.crt",
    );
    folder.join("ours.crt")
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn serve(
    stream: TcpStream,
    turn: Turn,
    tls: (Option<Arc<ServerConfig>>, bool),
    texts: &AtomicUsize,
    tx: &Sender<SmtpSession>,
) {
    let mut session = SmtpSession::default();
    match turn {
        Turn::Close => drop(stream),
        Turn::Hang => {
            // Until the other side gives up.
            let mut stream = stream;
            let _end = stream.read_to_end(&mut Vec::new());
        }
        _ => {
            // A client that leaves in the middle has sent all that it wanted to send.
            let _end = converse(stream, turn, tls, texts, &mut session);
        }
    }
    // The test may have ended.
    let _gone = tx.send(session);
}

fn secure(stream: Box<dyn Stream>, config: Arc<ServerConfig>) -> Box<dyn Stream> {
    let connection = ServerConnection::new(config).expect("the configuration is whole");
    Box::new(StreamOwned::new(connection, stream))
}

fn converse(
    stream: TcpStream,
    turn: Turn,
    (mut tls, at_once): (Option<Arc<ServerConfig>>, bool),
    texts: &AtomicUsize,
    session: &mut SmtpSession,
) -> std::io::Result<()> {
    let mut stream: Box<dyn Stream> = Box::new(stream);
    if at_once && let Some(config) = tls.take() {
        stream = secure(stream, config);
        session.encrypted = true;
    }
    let mut stream = BufReader::new(stream);
    say(&mut stream, "220 the test is ready")?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if let Some(login) = line.strip_prefix("AUTH ") {
            session.login = Some(login.to_owned());
        } else {
            session.commands.push(line.to_owned());
        }
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        match turn {
            Turn::Answer(begins, answer) if verb == begins => {
                say(&mut stream, answer)?;
                continue;
            }
            Turn::CloseAt(begins) if verb == begins => return Ok(()),
            _ => {}
        }
        match verb {
            "EHLO" => {
                let starttls = if tls.is_some() { "250-STARTTLS\r\n" } else { "" };
                say(&mut stream, &format!("250-test\r\n{starttls}250 AUTH PLAIN LOGIN"))?;
            }
            "STARTTLS" => {
                let Some(config) = tls.take() else { return say(&mut stream, "502 no") };
                say(&mut stream, "220 go on")?;
                stream = BufReader::new(secure(stream.into_inner(), config));
                session.encrypted = true;
            }
            "AUTH" => say(&mut stream, "235 welcome")?,
            "DATA" => {
                say(&mut stream, "354 tell it")?;
                let text = text(&mut stream)?;
                session.text = Some(text);
                texts.fetch_add(1, Ordering::SeqCst);
                match turn {
                    Turn::CloseAfterText => return Ok(()),
                    Turn::HangAfterText => {
                        stream.read_to_end(&mut Vec::new())?;
                        return Ok(());
                    }
                    Turn::Answer(".", answer) => say(&mut stream, answer)?,
                    _ => {
                        session.accepted = true;
                        say(&mut stream, "250 taken")?;
                    }
                }
            }
            "QUIT" => return say(&mut stream, "221 good-bye"),
            _ => say(&mut stream, "250 fine")?,
        }
    }
}

fn say(stream: &mut BufReader<Box<dyn Stream>>, line: &str) -> std::io::Result<()> {
    let stream = stream.get_mut();
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    stream.flush()
}

/// The text up to the point that ends it, with the points that were doubled.
fn text(stream: &mut BufReader<Box<dyn Stream>>) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_prefix('.') {
            Some("\r\n") => return Ok(text),
            Some(rest) => text.push_str(rest),
            None => text.push_str(&line),
        }
    }
}
