//! A server to test: its start, its settings, its clock, and what must hold at its end.

use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use db::{Db, Notice, Tx, params};
use domain::passwords::Password;
use domain::sending::{self, Draft};
use domain::text::{Body, Email, Lengths, Subject, Username};
use domain::{UserId, passwords, users};
use server::config::{Config, Settings, Sources};
use server::{Clock, Server};
use tempfile::TempDir;
use testing::{Address, Client, Database, Engine, engine};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::checks;
use crate::user::User;

/// The password of every user that [`TestApp::user`] makes.
pub(crate) const PASSWORD: &str = "a fine password 7";
/// How the key of a node begins; the name of its database follows.
const KEY: &str = "the key of all nodes that share ";
/// A password that is nobody's.
pub(crate) const WRONG: &str = "not the password";

/// A running server with an empty database.
///
/// It ends when it is dropped, and its end is a test: no answer was a 5xx, unless the test closed
/// the database; the database makes sense, and nothing in flight was cut off.
pub(crate) struct TestApp {
    folder: TempDir,
    flags: Vec<(String, String)>,
    clock: Clock,
    address: Address,
    metrics: Address,
    failures: AtomicU64,
    running: Option<Running>,
    /// Where the database is not a file in the folder.
    database: Option<Database>,
}

/// The server has a thread with a runtime of its own, so that a drop can wait for its end.
struct Running {
    db: Db,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), String>>,
}

impl TestApp {
    /// Starts a server with the default settings.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a server with these settings over the default ones.
    #[expect(clippy::unused_async, reason = "every test awaits its server, however it starts")]
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        crate::plans::watch();
        let folder = tempfile::tempdir().expect("a folder can be made");
        let data = folder.path().join("data");
        let database = match engine() {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Database::fresh(prepare)),
        };
        let url = database.as_ref().map(Database::url).unwrap_or_default();
        // Nodes have to be given one; a server with a file makes its own.
        let key = database.as_ref().map(|database| format!("{KEY}{}", database.name()));
        let key = key.unwrap_or_default();
        let usual = [
            ("secret_key", key.as_str()),
            ("database_url", url.as_str()),
            ("database_connections", "4"),
            ("listen", "127.0.0.1:0"),
            ("disk_reserve_mib", "0"),
            ("metrics_listen", "127.0.0.1:0"),
            ("data_dir", data.to_str().expect("its name is text")),
            // The threads of one test must not take the processors from the others.
            ("workers", "2"),
            ("password_threads", "2"),
            // No answer may depend on how fast the machine is.
            ("header_timeout_seconds", "600"),
            ("body_timeout_seconds", "600"),
            ("shutdown_seconds", "600"),
            ("database_timeout_seconds", "60"),
            ("database_lock_timeout_seconds", "60"),
        ];
        let flags = usual.iter().chain(settings);
        let flags = flags.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut app = Self {
            folder,
            flags,
            clock: Clock::default(),
            address: Address::default(),
            metrics: Address::default(),
            failures: AtomicU64::new(0),
            running: None,
            database,
        };
        app.run();
        app
    }

    fn settings(&self) -> Settings {
        let sources = Sources {
            folder: self.folder.path().to_path_buf(),
            flags: self.flags.clone(),
            ..Sources::default()
        };
        Config::load(&sources).expect("the settings of a test are right").settings
    }

    fn run(&mut self) {
        let (settings, clock) = (self.settings(), self.clock.clone());
        let (tx, rx) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("the system has a runtime").block_on(async move {
                let url = settings.database().expect("it is an address");
                let started = server::start(settings, clock).await;
                let server = started.map_err(|error| format!("{error:#}"))?;
                let metrics = server.metrics_address().expect("it serves metrics");
                let begun = tx.send((server.address(), metrics, server.db().clone()));
                begun.expect("the test waits for it");
                // Told to stop, or left alone by a test that has ended.
                drop(stopped.await);
                end(server, &url).await
            })
        });
        let Ok((address, metrics, db)) = rx.recv() else {
            let refused = thread.join().expect("the start does not panic");
            panic!("the server does not start: {refused:?}");
        };
        self.address.set(address);
        self.metrics.set(metrics);
        self.running = Some(Running { db, stop, thread });
    }

    /// Stops the server as SIGTERM would, and starts another on the same data.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.run();
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let failures = self.count_failures();
        // An error means that it has ended already; its thread tells why.
        let _ended = running.stop.send(());
        drop(running.db);
        let ended = running.thread.join();
        if std::thread::panicking() {
            return;
        }
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => panic!("the server did not end well: {problem}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let expected = self.failures.swap(0, Relaxed);
        assert_eq!(failures, expected, "answers with a status of 5xx (left) and those expected");
    }

    /// The number of answers with a status of 5xx, as the server itself counts them.
    fn count_failures(&self) -> u64 {
        let metrics = TcpStream::connect(self.metrics.socket()).and_then(|mut stream| {
            stream.write_all(
                b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        let Ok(metrics) = metrics else {
            assert!(std::thread::panicking(), "the metrics cannot be read: {metrics:?}");
            return 0;
        };
        let of_5xx = metrics.lines().filter(|line| {
            line.starts_with("postroom_http_requests_total{") && line.contains("status=\"5xx\"")
        });
        let counts = of_5xx.map(|line| {
            let count = line.rsplit(' ').next().expect("a line has an end");
            count.parse::<u64>().expect("a counter is a number")
        });
        let counts: Vec<_> = counts.collect();
        assert!(!counts.is_empty() || std::thread::panicking(), "the metrics count no 5xx");
        counts.iter().sum()
    }

    /// Takes the database away from the running server, which must then fail so many times.
    pub(crate) fn close_database(&self, failures: u64) {
        self.failures.store(failures, Relaxed);
        self.db().close();
    }

    /// So many answers with a status of 5xx are right.
    pub(crate) fn expect_failures(&self, failures: u64) {
        self.failures.store(failures, Relaxed);
    }

    /// Moves the clock of the server.
    pub(crate) fn advance(&self, microseconds: i64) {
        self.clock.advance(microseconds);
    }

    /// The clock of the server.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// Everything that the database holds, as bytes: its file and its log, or its tables.
    pub(crate) fn stored_bytes(&self) -> Vec<u8> {
        if let Some(database) = &self.database {
            return database.stored_bytes();
        }
        let data = self.folder.path().join("data");
        let files = ["postroom.db", "postroom.db-wal"].map(|file| std::fs::read(data.join(file)));
        files.into_iter().flat_map(|file| file.expect("it can be read")).collect()
    }

    fn db(&self) -> &Db {
        &self.running.as_ref().expect("the server runs").db
    }

    /// Changes the database below the server, as the command line does.
    pub(crate) async fn write<T, F>(&self, f: F) -> T
    where
        F: FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.db().write(f).await.expect("the database can be written")
    }

    /// Reads from the database below the server.
    pub(crate) async fn scan<T, F>(&self, f: F) -> T
    where
        F: FnMut(&mut Tx<'_>) -> db::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.db().scan(f).await.expect("the database can be read")
    }

    /// Is a scan of a user until the other end of the channel is dropped.
    pub(crate) async fn hold_scan_of(&self, user: UserId, until: Receiver<()>) {
        let hold = move |_tx: &mut Tx<'_>| -> db::Result<()> {
            until.recv().unwrap_or_default();
            Ok(())
        };
        self.db().of(user).scan(hold).await.expect("the database can be read");
    }

    /// Is a write of a user that tells so many mailboxes.
    pub(crate) async fn tell_mailboxes(&self, user: UserId, many: i64) {
        let tell = move |tx: &mut Tx<'_>| -> db::Result<()> {
            (0..many).for_each(|key| tx.notify(Notice { topic: u8::MAX, key }));
            Ok(())
        };
        self.db().of(user).write(tell).await.expect("the database can be written");
    }

    /// Runs a command of the program beside the server: what it printed, or what it complained of.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String, String> {
        self.command_with("", arguments)
    }

    /// The same with a line on standard input.
    pub(crate) fn command_with(&self, line: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postroom"));
        command.current_dir(self.folder.path()).args(arguments);
        for (name, value) in &self.flags {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut input = child.stdin.take().expect("it has an input");
        writeln!(input, "{line}").expect("it reads, or its input fits a pipe");
        drop(input);
        let ended = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        if ended.status.success() { Ok(text(ended.stdout)) } else { Err(text(ended.stderr)) }
    }

    /// Waits for what was written without waiting: it is done when nothing is left to do.
    pub(crate) async fn settle(&self) {
        while self.db().stats().queued > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How much work waits for the database or runs, and how many writes it has committed.
    pub(crate) fn work(&self) -> (usize, u64) {
        let stats = self.db().stats();
        (stats.queued, stats.writes)
    }

    /// Sends bytes as they are, and returns everything that is answered until the end.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let stream = tokio::net::TcpStream::connect(self.address.socket()).await;
        let mut stream = stream.expect("the server listens");
        // An early refusal may close the connection before all is sent.
        let _cut = stream.write_all(request).await;
        let mut answer = Vec::new();
        while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
        String::from_utf8(answer).expect("the answer is text")
    }

    /// Sends bytes as they are, keeps the connection, and returns what is answered up to a text.
    pub(crate) async fn raw_until(&self, request: &[u8], end: &str) -> String {
        let stream = tokio::net::TcpStream::connect(self.address.socket()).await;
        let mut stream = stream.expect("the server listens");
        stream.write_all(request).await.expect("the server reads");
        let mut answer = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&answer).contains(end) {
                assert_ne!(stream.read_buf(&mut answer).await.expect("it answers"), 0, "it ended");
            }
        };
        // Not a measure of time: the answer comes, or it never does.
        let came = tokio::time::timeout(Duration::from_mins(1), read).await;
        came.unwrap_or_else(|_never| panic!("no {end} in {}", String::from_utf8_lossy(&answer)));
        String::from_utf8(answer).expect("the answer is text")
    }

    /// A client that has no cookie yet.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address()).with_check(checks::check)
    }

    /// A client of `/metrics`.
    pub(crate) fn scraper(&self) -> Client {
        Client::new(self.metrics.clone()).with_check(checks::check)
    }

    /// A client that has fetched its CSRF token.
    pub(crate) async fn visitor(&self) -> Client {
        let client = self.client();
        client.csrf_token().await;
        client
    }

    /// A user who is logged in. The account is made as `postroom user add` makes it.
    pub(crate) async fn user(&self, name: &str) -> User {
        let id = self.account(name).await;
        let user = User::new(id, name, self.visitor().await);
        user.login().await;
        user
    }

    /// Two users who are logged in.
    pub(crate) async fn pair(&self, one: &str, other: &str) -> (User, User) {
        (self.user(one).await, self.user(other).await)
    }

    /// Makes an account whose password is [`PASSWORD`].
    pub(crate) async fn account(&self, name: &str) -> UserId {
        static HASH: OnceLock<String> = OnceLock::new();
        let hash = HASH.get_or_init(|| hash(PASSWORD));
        let cx = self.clock.cx();
        let email = Email::parse(&format!("{name}@example.org")).expect("it is an address");
        let name = Username::parse(name).expect("it is a name");
        self.write(move |tx| users::create(tx, &cx, &name, None, &email, hash)).await
    }

    /// Disables an account, as an operator would.
    pub(crate) async fn disable(&self, user: &User) {
        let (cx, id) = (self.clock.cx(), user.id);
        self.write(move |tx| users::disable(tx, &cx, id)).await;
    }

    /// Sets another password, as an operator would.
    pub(crate) async fn set_password(&self, user: &User, password: &str) {
        let (id, hash) = (user.id, hash(password));
        self.write(move |tx| users::set_password(tx, id, &hash)).await;
    }

    /// Sends many messages in one transaction.
    pub(crate) async fn send_many(&self, from: &User, to: &User, number: usize) -> Vec<i64> {
        let lengths = Lengths { subject_chars: 255, body_bytes: 65_536 };
        let subject = Subject::parse("one of many".to_owned(), lengths).expect("it is a subject");
        let body = Body::parse(String::new(), lengths).expect("it is a body");
        let draft = Draft::new(to.id, subject, body);
        let (cx, from) = (self.clock.cx(), from.id);
        let send = move |tx: &mut Tx<'_>| {
            let send = |_| sending::send(tx, &cx, from, &draft, None).map(|sent| sent.id.get());
            (0..number).map(send).collect()
        };
        self.write(send).await
    }

    /// Everything that the database holds, as text: whether something changed shows in it.
    pub(crate) async fn dump(&self) -> Vec<String> {
        let tables = self.db().scan(|tx| {
            let mut rows = Vec::new();
            for table in TABLES {
                rows.extend(tx.query(table, &params![], |row| Ok(row.text(0)?.to_owned()))?);
            }
            Ok::<_, db::Error>(rows)
        });
        tables.await.expect("the database can be read")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Brings the schema of a new database up to date, and adds what [`TABLES`] needs and SQLite has.
fn prepare(url: &str) {
    let place = db::Url::parse(url, Path::new("")).expect("it is an address");
    Db::migrate(&place, domain::SCHEMA, 0).expect("the schema can be made");
    let quote = "
        CREATE FUNCTION quote(text) RETURNS text LANGUAGE sql AS 'SELECT quote_nullable($1)';
        CREATE FUNCTION quote(bigint) RETURNS text LANGUAGE sql
            AS $$SELECT coalesce($1::text, 'NULL')$$;
        CREATE FUNCTION quote(bytea) RETURNS text LANGUAGE sql
            AS $$SELECT coalesce('X' || quote_literal(upper(encode($1, 'hex'))), 'NULL')$$";
    testing::sql(url, quote);
}

/// Each table, a row as one text. When credentials were used last is left out: it is written
/// later, so it would come into the one dump or the next by chance.
const TABLES: [&str; 31] = [
    "SELECT 'imported ' || quote(source) || ' ' || quote(external_id) || ' ' || message_id
     FROM imported_messages ORDER BY source, external_id",
    "SELECT 'erased external id ' || quote(id_hash) FROM erased_external_ids ORDER BY id_hash",
    "SELECT 'server key ' || id || ' ' || quote(name) || ' ' || scopes || ' ' || quote(key_hash)
         || ' ' || quote(coalesce(previous_hash, '')) || ' ' || quote(revoked_at)
     FROM server_keys ORDER BY id",
    "SELECT 'audit ' || id || ' ' || key_id || ' ' || quote(call) || ' ' || quote(user_id)
     FROM audit ORDER BY id",
    "SELECT 'name ' || user_id || ' ' || quote(word) FROM name_words ORDER BY user_id, word",
    "SELECT 'webhook ' || id || ' ' || quote(url) || ' ' || kinds || ' ' || secret_version || ' '
         || quote(disabled_at) FROM webhooks ORDER BY id",
    "SELECT 'event ' || id || ' ' || kind || ' ' || pending FROM webhook_events ORDER BY id",
    "SELECT 'delivery ' || event_id || ' ' || webhook_id || ' ' || attempts || ' '
         || quote(due_at) || ' ' || quote(outcome)
     FROM webhook_deliveries ORDER BY event_id, webhook_id",
    "SELECT 'trash ' || owner_id || ' ' || message_id || ' ' || trashed_at
     FROM trash ORDER BY owner_id, message_id",
    "SELECT 'user ' || id || ' ' || quote(name) || ' ' || quote(name_folded) || ' '
         || quote(email) || ' ' || quote(password_hash) || ' ' || quote(disabled_at) || ' '
         || quote(display_name) || ' ' || quote(erased_at) || ' ' || quote(reminders_off_at)
         || ' ' || quote(external_id) || ' ' || kind || ' ' || quote(app_version) || ' '
         || findable || ' ' || updated_at || ' ' || password_wait
     FROM users ORDER BY id",
    "SELECT 'tokens of ' || id || ' ' || token_generation || ' ' || quote(tokens_revoked_at)
     FROM users ORDER BY id",
    "SELECT 'ended ' || user_id || ' ' || quote(session_hash) || ' ' || revoked_at
     FROM revoked_sessions ORDER BY user_id, session_hash",
    "SELECT 'session ' || user_id || ' ' || quote(token_hash) || ' ' || created_at || ' '
         || quote(address) || ' ' || quote(user_agent)
     FROM sessions ORDER BY user_id, token_hash",
    "SELECT 'token ' || user_id || ' ' || quote(token_hash) || ' ' || quote(name) || ' ' || scopes
         || ' ' || by_password || ' ' || created_at || ' ' || quote(expires_at)
     FROM tokens ORDER BY user_id, token_hash",
    "SELECT 'block ' || owner_id || ' ' || blocked_id || ' ' || created_at
     FROM blocks ORDER BY owner_id, blocked_id",
    "SELECT 'response ' || owner_id || ' ' || quote(key_hash) || ' ' || quote(request_hash) || ' '
         || quote(nonce) || ' ' || quote(response) || ' ' || expires_at
     FROM stored_responses ORDER BY owner_id, key_hash",
    "SELECT 'counted ' || owner_id || ' ' || responses || ' ' || bytes || ' ' || began_at
     FROM stored_counts ORDER BY owner_id",
    "SELECT 'throttle ' || quote(subject) || ' ' || failures || ' ' || window_started_at || ' '
         || blocked_until FROM throttles ORDER BY subject",
    "SELECT 'familiar ' || user_id || ' ' || quote(network_hash) || ' ' || signed_in_at || ' '
         || failures || ' ' || window_started_at || ' ' || blocked_until
     FROM familiar_addresses ORDER BY user_id, network_hash",
    "SELECT 'quota ' || owner_id || ' ' || kind || ' ' || used || ' ' || window_started_at
     FROM quotas ORDER BY owner_id, kind",
    "SELECT 'mailbox ' || owner_id || ' ' || modseq || ' ' || quote(closed_at) || ' ' || unread
         || ' ' || unread_conversations || ' ' || accept_from || ' ' || blocks || ' '
         || purged_modseq FROM mailboxes ORDER BY owner_id",
    "SELECT 'contact ' || owner_id || ' ' || peer_id || ' ' || first_at
     FROM contacts ORDER BY owner_id, peer_id",
    "SELECT 'reminder ' || owner_id || ' ' || message_id || ' ' || quote(waiting_since)
         || ' ' || tries FROM reminders ORDER BY owner_id",
    "SELECT 'reserved ' || quote(name_hash) || ' ' || erased_at FROM reserved_names
     ORDER BY name_hash",
    "SELECT 'erasure ' || owner_id FROM erasures ORDER BY owner_id",
    "SELECT 'message ' || id || ' ' || sender_id || ' ' || recipient_id || ' '
         || quote(other_recipients)
         || ' ' || quote(conversation_id) || ' ' || quote(in_reply_to) || ' ' || quote(subject)
         || ' ' || quote(body) || ' ' || quote(client_id) || ' ' || quote(metadata) || ' '
         || sent_at || ' ' || mailbox_count || ' ' || quote(via) || ' ' || quote(without_reminder)
     FROM messages ORDER BY id",
    "SELECT 'expiration ' || message_id || ' ' || expires_at FROM expirations ORDER BY message_id",
    "SELECT 'unread change ' || owner_id || ' ' || next_at || ' ' || pending
     FROM unread_changes ORDER BY owner_id",
    "SELECT 'entry ' || owner_id || ' ' || message_id || ' ' || place || ' ' || role
         || ' ' || quote(conversation_id) || ' ' || quote(peer_id)
         || ' ' || quote(read_at) || ' ' || quote(starred_at) || ' ' || quote(archived_at)
         || ' ' || quote(trashed_at) || ' ' || created_modseq || ' ' || quote(changed_modseq)
     FROM entries ORDER BY owner_id, message_id",
    "SELECT 'conversation ' || owner_id || ' ' || conversation_id || ' ' || quote(last_message_id)
         || ' ' || unread || ' ' || quote(subject) || ' ' || participants || ' ' || quote(muted_at)
     FROM conversations ORDER BY owner_id, conversation_id",
    "SELECT 'tombstone ' || owner_id || ' ' || modseq || ' ' || message_id
     FROM tombstones ORDER BY owner_id, modseq, message_id",
];

fn hash(password: &str) -> String {
    let name = Username::parse("nobody").expect("it is a name");
    let password = Password::parse(password, &name, "").expect("it is good enough");
    passwords::hash(&password, [7; 16])
}

/// Ends a server, and looks at what it leaves.
async fn end(server: Server, url: &db::Url) -> Result<(), String> {
    match server.db().scan(domain::check::run).await {
        Ok(problems) if problems.is_empty() => {}
        // A test has closed it.
        Err(domain::Error::Db(db::Error::Closed)) => {}
        problems => return Err(format!("the database makes no sense: {problems:?}")),
    }
    if !server.stop(pending()).await {
        return Err("what was in flight was cut off".to_owned());
    }
    if engine() == Engine::Postgres {
        return Ok(());
    }
    match Db::integrity(url) {
        Ok(damage) if damage.is_empty() => Ok(()),
        damage => Err(format!("the file is damaged: {damage:?}")),
    }
}
