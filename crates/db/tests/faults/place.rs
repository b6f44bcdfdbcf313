//! A database in a folder, the process that has it open, and the control of its faults.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use db::Db;
use tempfile::TempDir;

use crate::child;

/// Longer than anything here takes; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Which operation fails, on files whose name ends like this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    ending: &'static str,
    pub(crate) error: i32,
    /// How many operations succeed first, and how many fail then.
    pub(crate) passing: i32,
    failing: i32,
}

/// As in `shim.c`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Nothing,
    Sync,
    Write,
    Truncate,
    Read,
    Rename,
    Link,
    Unlink,
}

pub(crate) const EIO: i32 = 5;
/// Not an error: the process is killed at that operation.
pub(crate) const KILLED: i32 = 0;
pub(crate) const ENOSPC: i32 = 28;
/// The error of a network file system for a file that is gone.
pub(crate) const ESTALE: i32 = 116;
pub(crate) const LOG: &str = "-wal";
pub(crate) const INDEX: &str = "-shm";
pub(crate) const FILE: &str = "post.db";

impl Fault {
    /// One operation fails, and the device works again.
    pub(crate) const fn once(operation: Operation, ending: &'static str, error: i32) -> Self {
        Self { operation, ending, error, passing: 0, failing: 1 }
    }

    pub(crate) const fn after(self, passing: i32) -> Self {
        Self { passing, ..self }
    }

    pub(crate) const fn forever(self) -> Self {
        Self { failing: i32::MAX, ..self }
    }
}

/// The library that makes system calls fail, compiled at its first use.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let ready = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
        // Renamed, because another run may be using the previous one.
        let made = ready.with_extension(std::process::id().to_string());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&made).arg(source).arg("-ldl");
        let built = cc.status().expect("there is a C compiler, SQLite needs it too");
        assert!(built.success(), "the shim does not compile");
        fs::rename(made, &ready).expect("it can be renamed");
        ready
    })
}

/// A folder with a database, and the control of its faults.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    control: File,
}

impl Place {
    /// A new database with the rows 1 and 2.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut create = File::options();
        create.read(true).write(true).create_new(true);
        let control = create.open(folder.path().join("control")).expect("a file can be made");
        let place = Self { folder, control };
        place.heal();
        let mut server = place.start();
        for command in ["migrate", "open", "write 1", "write 2"] {
            assert_eq!(server.ask(command), "ok", "to {command}");
        }
        server.leave();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes this fail from now on.
    pub(crate) fn arm(&self, fault: Fault) {
        let mut bytes = [0; 64];
        let numbers = [fault.operation as i32, fault.error, fault.passing, fault.failing, 0];
        for (to, number) in bytes.chunks_mut(4).zip(numbers) {
            to.copy_from_slice(&number.to_ne_bytes());
        }
        bytes[20..20 + fault.ending.len()].copy_from_slice(fault.ending.as_bytes());
        self.control.write_all_at(&bytes, 0).expect("the file can be written");
    }

    /// Makes the device work again.
    pub(crate) fn heal(&self) {
        self.arm(Fault::once(Operation::Nothing, "", 0));
    }

    /// How often an operation has failed since it was armed.
    pub(crate) fn hits(&self) -> i32 {
        let mut bytes = [0; 4];
        self.control.read_exact_at(&mut bytes, 16).expect("the file can be read");
        i32::from_ne_bytes(bytes)
    }

    /// Starts the process without opening the database.
    pub(crate) fn start(&self) -> Server {
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command.env("LD_PRELOAD", shim()).env("FAULT_CONTROL", self.path("control"));
        Server::start(command, self.folder.path()).expect("it starts")
    }

    pub(crate) fn open(&self) -> Server {
        let mut server = self.start();
        assert_eq!(server.ask("open"), "ok");
        server
    }

    /// Starts the process again on a working device, and reads the rows.
    pub(crate) fn rows_of_a_new_start(&self) -> String {
        self.rows_after("open")
    }

    /// As [`Place::rows_of_a_new_start`], opened with another command.
    pub(crate) fn rows_after(&self, open: &str) -> String {
        self.heal();
        let mut server = self.start();
        assert_eq!(server.ask(open), "ok");
        let rows = server.ask("rows");
        assert_eq!(server.ask("sound"), "ok");
        server.leave();
        assert_eq!(Db::integrity(&child::url(self.folder.path())), Ok(vec![]));
        rows
    }
}

/// A running process.
pub(crate) struct Server {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Server {
    /// Starts `command` as the child; `None` if it ends before it is ready.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Option<Self> {
        let mut process = command
            .args(["--exact", "child::serve", "--ignored", "--nocapture"])
            .env(child::FOLDER, folder)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let input = process.stdin.take();
        let output = process.stdout.take().expect("it was piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The test may have ended.
                drop(sender.send(line));
            }
        });
        let server = Self { process, input, lines };
        while server.lines.recv_timeout(PATIENCE).ok()? != "ready" {}
        Some(server)
    }

    pub(crate) fn tell(&mut self, command: &str) {
        let input = self.input.as_mut().expect("it has not been told to end");
        writeln!(input, "{command}").expect("it listens");
    }

    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it answers")
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.line()
    }

    /// Sends a line; `None` if the process died.
    pub(crate) fn ask_once(mut self, command: &str) -> Option<String> {
        self.tell(command);
        match self.lines.recv_timeout(PATIENCE) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => panic!("it does not answer"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.process.wait().expect("it ends");
                assert_eq!(status.signal(), Some(9), "it ended in another way");
                None
            }
        }
    }

    /// Sends a line that must fail, because the storage has failed for good.
    pub(crate) fn ask_in_vain(&mut self, command: &str) {
        let answer = self.ask(command);
        assert!(answer.starts_with("error Failed("), "{answer} to {command}");
    }

    /// Makes it close the database and end.
    pub(crate) fn leave(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().expect("it ends").success());
    }

    /// Kills it and returns the rest of its output.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
        self.lines.iter().collect()
    }

    /// How a process may end: regularly, or killed.
    pub(crate) fn ends() -> [fn(Self); 2] {
        [Self::leave, |server| drop(server.kill())]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Waits until a condition holds that another process brings about.
pub(crate) fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        std::thread::yield_now();
    }
}
