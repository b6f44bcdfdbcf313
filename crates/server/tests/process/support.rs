//! A folder, the commands that run in it, and a server that runs in it and never outlives it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use db::{Db, Tx};
use domain::SCHEMA;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testing::{Database, Engine, TIMEOUT, User, engine, get};

/// A folder of its own, with settings of its own.
pub(crate) struct Place {
    folder: TempDir,
    settings: Vec<(String, String)>,
    starts: AtomicUsize,
    /// Where the database is not a file in the folder.
    database: Option<Database>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// What it printed, after it succeeded without a complaint.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// What it complained of, after it failed with that status and printed nothing else.
    #[track_caller]
    pub(crate) fn failed(self, status: i32) -> String {
        assert_eq!((self.status, self.out.as_str()), (status, ""), "{}", self.err);
        self.err
    }
}

impl Place {
    /// Changes the database below a server that is stopped.
    pub(crate) fn change(&self, statements: &'static [&'static str]) {
        let db = Db::open(&self.url(), SCHEMA).expect("it can be opened");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("the system has a runtime");
        let changed = db.write(move |tx: &mut Tx<'_>| {
            statements.iter().try_for_each(|statement| tx.execute(statement, &[]).map(drop))
        });
        runtime.block_on(changed).expect("the statements are valid");
    }

    /// A folder without any setting.
    pub(crate) fn bare() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self { folder, settings: Vec::new(), starts: AtomicUsize::new(0), database: None }
    }

    /// A folder for a server on a free port that lets many log in, and a database of its own.
    pub(crate) fn new() -> Self {
        let place = Self::bare()
            .with("POSTROOM_LISTEN", "127.0.0.1:0")
            .with("POSTROOM_METRICS_LISTEN", "127.0.0.1:0")
            .with("POSTROOM_DATA_DIR", "data")
            .with("POSTROOM_DISK_RESERVE_MIB", "0")
            .with("POSTROOM_RATE_LIMITS", "off");
        match engine() {
            Engine::Sqlite => place,
            Engine::Postgres => {
                let database = Database::empty();
                // Nodes have to be given a key; a server with a file makes its own.
                let key = "the key of all nodes of one test";
                fs::write(place.path("nodes.key"), key).expect("a key can be written");
                let place = place
                    .with("POSTROOM_DATABASE_URL", &database.url())
                    .with("POSTROOM_SECRET_KEY_FILE", "nodes.key");
                Self { database: Some(database), ..place }
            }
        }
    }

    /// With a variable of the environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A variable that was set.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().rev().find(|(known, _)| known == name);
        setting.map(|(_, value)| &**value)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.path("data/postroom.db")
    }

    /// Where the database is.
    pub(crate) fn url(&self) -> db::Url {
        let url = self.database.as_ref().map(Database::url);
        let url = url.unwrap_or_else(|| "sqlite:postroom.db".to_owned());
        db::Url::parse(&url, &self.path("data")).expect("it is an address")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postroom"));
        command.args(arguments).env_clear().current_dir(self.folder.path());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments), "")
    }

    /// Runs a command that reads from standard input.
    pub(crate) fn run_with(&self, input: &str, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments), input)
    }

    /// Starts a server and waits until it serves.
    pub(crate) fn serve(&self) -> Server {
        self.serve_by(self.command(&[]))
    }

    /// The same by a command that was changed.
    pub(crate) fn serve_by(&self, command: Command) -> Server {
        let number = self.starts.fetch_add(1, Relaxed);
        Server::start(command, &self.path(&format!("log-{number}")))
            .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// The names of the files in the data folder; nodes that share a database leave none.
    pub(crate) fn files(&self) -> Vec<String> {
        if !self.path("data").exists() {
            return Vec::new();
        }
        let files = fs::read_dir(self.path("data")).expect("the data folder can be listed");
        let name = |file: std::io::Result<fs::DirEntry>| {
            file.expect("it can be listed").file_name().into_string().expect("it is a name")
        };
        let mut names: Vec<_> = files.map(name).collect();
        names.sort();
        names
    }

    /// Everything that is stored, as bytes: the files in the data folder, and the tables where the
    /// database is not one of them.
    pub(crate) fn stored_bytes(&self) -> Vec<u8> {
        let mut stored = self.database.as_ref().map(Database::stored_bytes).unwrap_or_default();
        for name in self.files() {
            stored.extend(fs::read(self.path("data").join(name)).expect("it can be read"));
        }
        stored
    }

    /// Asserts that the database is whole and makes sense.
    #[track_caller]
    pub(crate) fn is_whole(&self) {
        let checked = self.run(&["check"]).ok();
        assert!(checked.ends_with("whole and consistent\n"), "{checked}");
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    // A command that does not read it may have ended before.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let out = text(child.stdout.take().expect("it is a pipe"));
    let err = text(child.stderr.take().expect("it is a pipe"));
    let (Ok(out), Ok(err)) = (out.recv_timeout(3 * TIMEOUT), err.recv_timeout(TIMEOUT)) else {
        drop(child.kill());
        panic!("{command:?} does not end");
    };
    let status = child.wait().expect("it has ended");
    Ran { status: status.code().expect("no signal has ended it"), out, err }
}

/// Reads to the end on a thread, so that a test can stop waiting for it.
fn text(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        drop(from.read_to_string(&mut text));
        // The test may have ended.
        drop(tx.send(text));
    });
    rx
}

/// The address in what a server prints at its start, in either format, and that of its metrics.
fn greeted(text: &str) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let json = |name: &str| json.as_ref().and_then(|line| line[name].as_str());
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let address = json("address").or_else(|| line("Postroom 0.1.0 listens on http://"));
    let metrics = json("metrics").or_else(|| line("Metrics: "));
    let metrics = metrics.and_then(|url| url.strip_prefix("http://")?.strip_suffix("/metrics"));
    Some((address?.parse().ok()?, metrics.and_then(|address| address.parse().ok())))
}

/// Whether it is all that a server prints at its start.
fn is_greeting(text: &str) -> bool {
    text.starts_with('{') || text.lines().any(|line| line.starts_with("Docs: "))
}

/// A running server.
pub(crate) struct Server {
    pub address: SocketAddr,
    /// Where `/metrics` is.
    metrics: Option<SocketAddr>,
    child: Child,
    ended: Receiver<String>,
    log: PathBuf,
}

impl Server {
    /// Starts it; what it logged, if it does not come up.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self, String> {
        let file = File::create(log).expect("a log can be made");
        command.stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let (begun, first) = channel();
        let (end, ended) = channel();
        thread::spawn(move || {
            let mut text = String::new();
            // An error is an end too.
            while out.read_line(&mut text).is_ok_and(|read| read > 0) && !is_greeting(&text) {}
            drop(begun.send(text.clone()));
            drop(out.read_to_string(&mut text));
            drop(end.send(text));
        });
        let said = first.recv_timeout(TIMEOUT).unwrap_or_default();
        if let Some((address, metrics)) = greeted(said.trim_end()) {
            return Ok(Self { address, metrics, child, ended, log: log.to_path_buf() });
        }
        drop(child.kill());
        let status = child.wait().expect("it has ended");
        Err(format!("{said}{}{status}", fs::read_to_string(log).expect("there is a log")))
    }

    pub(crate) fn user(&self, name: &str) -> User {
        User::register(self.address, name)
    }

    /// Makes many users at once: each costs two password hashes.
    pub(crate) fn users(&self, names: impl IntoIterator<Item = String>) -> Vec<User> {
        let (address, names) = (self.address, names.into_iter().collect::<Vec<_>>());
        let register = |names: &[String]| -> Vec<_> {
            names.iter().map(|name| User::register(address, name)).collect()
        };
        thread::scope(|scope| {
            let parts = names.chunks(names.len().div_ceil(4));
            #[expect(clippy::needless_collect, reason = "all begin before one is waited for")]
            let made: Vec<_> = parts.map(|part| scope.spawn(move || register(part))).collect();
            made.into_iter().flat_map(|thread| thread.join().expect("they register")).collect()
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself.
        let _ = kill_process(id.expect("it is the id of a process"), signal);
    }

    /// Waits for its end, for so long at most.
    #[track_caller]
    pub(crate) fn ends_within(&mut self, time: Duration) -> ExitStatus {
        let ended = self.ended.recv_timeout(time);
        assert!(ended.is_ok(), "it did not end in {time:?}:\n{}", self.log());
        self.child.wait().expect("it has ended")
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Ends it at once, as a power cut ends a process. The kernel keeps what was written.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.ends_within(TIMEOUT);
    }

    /// Stops it softly and returns its log.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.ends_within(TIMEOUT);
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.log()
    }

    /// Stops it softly and returns all that it ever said, on either stream.
    pub(crate) fn last_words(self) -> String {
        self.signal(Signal::TERM);
        let out = self.ended.recv_timeout(TIMEOUT).expect("it ends");
        out + &self.log()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(fs::read(&self.log).expect("there is a log")).expect("it is text")
    }

    /// The largest memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    /// The memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    /// The memory that it has now, in bytes, without what is read from files.
    pub(crate) fn own_memory(&self) -> u64 {
        self.memory_of("RssAnon:")
    }

    fn memory_of(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.expect("Linux knows it") * 1024
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        get(self.metrics.expect("it serves metrics"), "/metrics").text()
    }

    /// The sum of a figure of `/metrics` over all series that hold a label.
    pub(crate) fn figure(&self, name: &str, label: &str) -> u64 {
        let metrics = self.metrics();
        let series = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
        let values: Vec<u64> = series
            .map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()))
            .map(|value| value.expect("a figure is a number"))
            .collect();
        assert!(!values.is_empty(), "there is no {name} with {label}");
        values.iter().sum()
    }

    /// Asserts that whatever was done to it did it no harm.
    #[track_caller]
    pub(crate) fn is_unharmed(&self) {
        assert_eq!(get(self.address, "/healthz").ok()["status"], "alive");
        assert_eq!(get(self.address, "/readyz").ok()["status"], "ready");
        let log = self.log();
        assert_eq!(self.figure("postroom_http_requests_total", "status=\"5xx\""), 0, "{log}");
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
        let peak = self.peak_memory() >> 20;
        assert!(peak < 200, "it took {peak} MiB");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes all that has happened two hours older, as far as reminders know.
pub(crate) const TWO_HOURS_GO_BY: [&str; 4] = [
    "UPDATE messages SET sent_at = sent_at - 7200000000",
    "UPDATE mailboxes SET oldest_unread_at = oldest_unread_at - 7200000000",
    "UPDATE sessions SET last_seen_at = last_seen_at - 7200000000",
    "UPDATE reminders SET waiting_since = waiting_since - 7200000000",
];

/// Waits until a condition of another process holds, which tells nobody when it does.
#[track_caller]
pub(crate) fn until(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !holds() {
        assert!(Instant::now() < deadline, "not in {time:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A generator of numbers that are random enough, the same for the same seed (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below the bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("it has 31 bits") % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
