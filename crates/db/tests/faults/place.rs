//! A database in a folder, the process that has it open, and the switch for its faults.

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

/// Longer than anything here takes; after it the test has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is to fail, on files whose name has this ending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    ending: &'static str,
    pub(crate) error: i32,
    /// So many go well first, and then so many fail.
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
/// Not an error of the device: the process is killed at that operation.
pub(crate) const KILLED: i32 = 0;
pub(crate) const ENOSPC: i32 = 28;
/// What a network file system says of a file that has gone.
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

/// The library that lets system calls fail, compiled at its first use.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let ready = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
        // Another run may be using the last one: it keeps it under a rename.
        let made = ready.with_extension(std::process::id().to_string());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&made).arg(source).arg("-ldl");
        let built = cc.status().expect("there is a C compiler, SQLite needs it too");
        assert!(built.success(), "the shim does not compile");
        fs::rename(made, &ready).expect("it can be renamed");
        ready
    })
}

/// A folder with a database, and the switch for its faults.
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

    /// Lets this fail from now on.
    pub(crate) fn arm(&self, fault: Fault) {
        let mut bytes = [0; 64];
        let numbers = [fault.operation as i32, fault.error, fault.passing, fault.failing, 0];
        for (to, number) in bytes.chunks_mut(4).zip(numbers) {
            to.copy_from_slice(&number.to_ne_bytes());
        }
        bytes[20..20 + fault.ending.len()].copy_from_slice(fault.ending.as_bytes());
        self.control.write_all_at(&bytes, 0).expect("the file can be written");
    }

    /// Lets the device work again.
    pub(crate) fn heal(&self) {
        self.arm(Fault::once(Operation::Nothing, "", 0));
    }

    /// How often an operation has failed since it was armed.
    pub(crate) fn hits(&self) -> i32 {
        let mut bytes = [0; 4];
        self.control.read_exact_at(&mut bytes, 16).expect("the file can be read");
        i32::from_ne_bytes(bytes)
    }

    /// Starts the process, and opens nothing yet.
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

    /// Starts the process anew on a device that works, and reads what is there.
    pub(crate) fn rows_of_a_new_start(&self) -> String {
        self.rows_after("open")
    }

    /// As [`Place::rows_of_a_new_start`], with another way to open it.
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
    /// Starts `command` as the child; nothing where it ends before it is ready.
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

    /// Asks for what may be the last that it is asked; nothing where it died of that.
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

    /// Asks for what must fail because the storage has failed for good.
    pub(crate) fn ask_in_vain(&mut self, command: &str) {
        let answer = self.ask(command);
        assert!(answer.starts_with("error Failed("), "{answer} to {command}");
    }

    /// Lets it close the database and end.
    pub(crate) fn leave(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().expect("it ends").success());
    }

    /// Kills it; what it had still said is answered.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
        self.lines.iter().collect()
    }

    /// How a process may end: in peace, or by the power being cut.
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

/// Waits until something holds that another process does.
pub(crate) fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        std::thread::yield_now();
    }
}
