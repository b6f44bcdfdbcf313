//! A server of PostgreSQL with its data, for one test or one process.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::{owner, program};
use crate::sql::{self, Rows};
use crate::watchdog::Watchdog;

/// Stops the server whose process stands in the folder's lock file, and removes the folder.
///
/// A server that has not written its lock file yet does not start, or ends within a minute: it
/// looks for the file.
const CLEAN_UP: &str = r#"
tries=0
while [ $tries -lt 100 ] && pid=$(head -n 1 "$1/data/postmaster.pid") && kill -QUIT "$pid"; do
    tries=$((tries + 1))
    sleep 0.1
done
[ $tries -lt 100 ] || kill -KILL "$pid"
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// What tests need of a server. They do not need its data after a power cut; those that do set
/// `fsync` themselves.
const SETTINGS: [(&str, &str); 6] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "400"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "on"),
];

/// How long a server may take to start or to recover, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server on a port of loopback, with its data in a folder of its own.
///
/// It ends with the value, and with this process however that ends; so does its folder.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
    /// Dropped last: it removes the folder.
    _watchdog: Watchdog,
}

impl Cluster {
    /// Makes and starts a server with settings of `postgresql.conf`, which hold for its standbys
    /// too.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let cluster = Self::empty();
        // Where the C library does not know the first, the second orders text the same way.
        let made = cluster.init("C.UTF-8").or_else(|_unknown| cluster.init("C"));
        made.unwrap_or_else(|why| panic!("no data folder could be made: {why}"));
        cluster.configure(&SETTINGS);
        cluster.configure(settings);
        cluster.begin()
    }

    /// Makes and starts a standby of this server that calls itself `name`.
    #[must_use]
    pub fn standby(&self, name: &str) -> Self {
        let standby = Self::empty();
        let source =
            format!("host=127.0.0.1 port={} user=postgres application_name={name}", self.port());
        let copy = program("pg_basebackup", &standby.folder)
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"])
            .args(["--no-sync", "--pgdata=data", "--dbname"])
            .arg(source)
            .output();
        let copy = copy.expect("the copy can be started");
        assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
        standby.begin()
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port, which stays the same when the server starts again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server in order: sessions are ended, what is running is undone.
    pub fn stop(&self) {
        self.end(Signal::INT);
    }

    /// Kills the server as if its machine had gone: nothing is said to anybody.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    /// Starts the server that was stopped or killed.
    pub fn start_again(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "the server runs");
        let begin = Instant::now();
        loop {
            match self.launch() {
                Ok(child) => {
                    *process = Some(child);
                    return;
                }
                // The sessions of a server that was killed notice it in their own time.
                Err(why) if why.contains("still in use") && begin.elapsed() < PATIENCE => {}
                Err(why) => panic!("the server does not start: {why}"),
            }
        }
    }

    /// Stops and starts the server.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Has every commit wait for these standbys, all of them, and waits until they are there.
    /// No name: no commit waits.
    pub fn make_synchronous(&self, names: &[&str]) {
        let list = match names {
            [] => String::new(),
            names => format!("FIRST {} ({})", names.len(), names.join(", ")),
        };
        self.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{list}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        let expected = names.len().to_string();
        let count = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        self.until("the standbys are synchronous", count, &expected);
    }

    /// Makes a standby the primary; it takes writes afterwards.
    pub fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote(false)");
        self.until("it is promoted", "SELECT pg_is_in_recovery()", "f");
    }

    /// Ends every session of a database, and says how many there were.
    pub fn terminate_backends(&self, database: &str) -> usize {
        let ended = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        self.sql("postgres", &ended).len()
    }

    /// Runs statements, and answers their rows.
    #[track_caller]
    pub fn sql(&self, database: &str, text: &str) -> Rows {
        self.try_sql(database, text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// The same where the server may refuse or be away; the reason begins with its SQLSTATE.
    pub fn try_sql(&self, database: &str, text: &str) -> Result<Rows, String> {
        sql::try_sql(&self.url(database), text)
    }

    /// A folder that the server's user owns, and nothing in it yet.
    fn empty() -> Self {
        let folder = match owner() {
            None => tempfile::tempdir(),
            // Our own temporary folder may be one that the server's user cannot enter.
            Some(_other) => tempfile::tempdir_in("/tmp"),
        };
        let folder = folder.expect("a temporary folder can be made").keep();
        let watchdog = Watchdog::start(CLEAN_UP, folder.to_str().expect("its name is text"));
        if let Some(owner) = owner() {
            chown(&folder, Some(owner.uid), Some(owner.gid)).expect("root may give it away");
        }
        Self { folder, port: free_port(), process: Mutex::new(None), _watchdog: watchdog }
    }

    fn init(&self, locale: &str) -> Result<(), String> {
        let made = program("initdb", &self.folder)
            .args(["--pgdata=data", "--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-sync", &format!("--locale={locale}")])
            .output()
            .map_err(|error| error.to_string())?;
        if made.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&made.stderr).into_owned())
    }

    /// Adds settings; the last of a name holds.
    fn configure(&self, settings: &[(&str, &str)]) {
        use std::fmt::Write;

        let file = self.folder.join("data/postgresql.conf");
        let mut text = fs::read_to_string(&file).expect("the settings can be read");
        for (name, value) in settings {
            let value = value.replace('\'', "''");
            writeln!(text, "{name} = '{value}'").expect("a text takes everything");
        }
        fs::write(&file, text).expect("the settings can be written");
    }

    /// Starts for the first time, on another port where somebody was faster.
    fn begin(mut self) -> Self {
        for _another in 0..10 {
            match self.launch() {
                Ok(child) => {
                    *self.process() = Some(child);
                    return self;
                }
                Err(why) if why.contains("could not bind") => self.port = free_port(),
                Err(why) => panic!("the server does not start: {why}"),
            }
        }
        panic!("no port is free")
    }

    /// Starts the process and waits until it takes connections; otherwise what it told its log.
    fn launch(&self) -> Result<Child, String> {
        let name = self.folder.join("log");
        let log = File::create(&name).expect("the log can be written");
        let mut child = program("postgres", &self.folder)
            .args(["-D", "data", "-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.is_ready(child.id()) {
                return Ok(child);
            }
            if child.try_wait().expect("our child can be waited for").is_some() {
                return Err(fs::read_to_string(&name).expect("the log can be read"));
            }
            // The file is all that a server says of itself; `pg_ctl` looks at it as we do.
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(&child, Signal::KILL);
        child.wait().expect("our child can be waited for");
        Err(fs::read_to_string(&name).expect("the log can be read"))
    }

    /// Whether the lock file says that this process takes connections.
    fn is_ready(&self, process: u32) -> bool {
        let Ok(lock) = fs::read_to_string(self.folder.join("data/postmaster.pid")) else {
            return false;
        };
        let mut lines = lock.lines().map(str::trim);
        lines.next() == Some(&process.to_string()) && lines.nth(6) == Some("ready")
    }

    fn end(&self, how: Signal) {
        let mut child = self.process().take().expect("the server runs");
        signal(&child, how);
        child.wait().expect("our child can be waited for");
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a statement answers what is expected.
    fn until(&self, what: &str, statement: &str, expected: &str) {
        let begin = Instant::now();
        while self.sql("postgres", statement) != [[expected]] {
            assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut child) = self.process().take() {
            signal(&child, Signal::QUIT);
            drop(child.wait());
        }
        // What is left of one that was killed; the watchdog has nothing to stop any more.
        drop(fs::remove_file(self.folder.join("data/postmaster.pid")));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("our child can be signalled");
}

/// A port that nobody listens on, below those that the system gives to outgoing connections: it
/// is still free when the server starts again.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1_600).expect("it is small") * 10;
    let port = (0..16_000).find_map(|_another| {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 16_000;
        let port = 15_000 + offset;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    });
    port.expect("a port is free")
}

/// The version of the programs, such as 15.18.
pub(crate) fn version() -> String {
    let folder = std::env::temp_dir();
    let mut command: Command = program("postgres", &folder);
    let said = command.arg("--version").output().expect("the program can be started");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.split_whitespace().nth(2).unwrap_or_default().to_owned()
}
