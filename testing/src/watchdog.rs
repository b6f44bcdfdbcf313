//! What has to end with this process ends with it, however it ends.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A shell that sleeps until this process is gone, and then cleans up after it.
///
/// It reads a pipe whose other end nobody but this process holds, so it wakes up even where we
/// are killed. It is in no group with us: what is sent to all of a terminal does not reach it.
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Runs a script, with `$1`, at the end of this process or of the value.
    pub(crate) fn start(script: &str, argument: &str) -> Self {
        let shell = Command::new("sh")
            .args(["-c", &format!("trap '' HUP INT TERM\ncat >/dev/null\n{script}")])
            .args(["watchdog", argument])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Self { shell }
    }

    /// Ends it without the script.
    pub(crate) fn forget(mut self) {
        // The whole group: the shell, and what it waits with.
        kill_process_group(Pid::from_child(&self.shell), Signal::KILL)
            .expect("it runs as long as we do");
        self.shell.wait().expect("our child can be waited for");
    }
}

impl Drop for Watchdog {
    /// Has the script run, and waits for its end.
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}
