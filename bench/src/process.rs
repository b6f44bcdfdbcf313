//! The programs under measurement: started, watched through /proc, stopped.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bench::Fill;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

/// Long enough for the floor to fill itself with ten million messages.
const START_LIMIT: Duration = Duration::from_mins(5);
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// The unit of the times in /proc/PID/stat, which Linux fixes for user space.
const TICKS_PER_SECOND: u64 = 100;
/// The key of the app's own server.
pub(crate) const SERVER_KEY: &str = "prk_of-the-benchmark-which-nobody-else-uses";
/// The secret that the app signs JWTs with, its issuer, and their audience.
pub(crate) const JWT: [&str; 3] =
    ["of the benchmark, and of nobody else", "https://app.example.org", "postroom"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    Postroom,
    Floor,
    /// Another build of Postroom.
    Against,
}

/// How a system is started, as often as needed.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) system: System,
    pub(crate) binary: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) fill: Fill,
    /// The database on a server, and how many connections to it there are; nothing is a file.
    pub(crate) database: Option<(String, usize)>,
    /// Whether it gets [`SERVER_KEY`].
    pub(crate) server_key: bool,
    /// Whether the limits of users and addresses hold, and 127.0.0.1 is a proxy that names others.
    pub(crate) limits: bool,
}

/// A running system; dropping it kills it.
pub(crate) struct Process {
    pub(crate) system: System,
    pub(crate) port: u16,
    child: Child,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postroom => "postroom",
            Self::Floor => "floor",
            Self::Against => "against",
        }
    }
}

impl Launch {
    /// Starts it on a free port; also tells how long it took until the first answer.
    pub(crate) fn start(&self) -> Result<(Process, Duration)> {
        fs::create_dir_all(&self.data)?;
        if self.server_key {
            fs::write(self.jwt_secret(), JWT[0])?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let log = self.data.with_extension("log");
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = self.command(port);
        // Cleared, so that no POSTROOM_ setting of the caller reaches a real database.
        command.env_clear().envs(self.environment(port)).current_dir(&self.data);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);

        let begun = Instant::now();
        let child = command.spawn().with_context(|| self.binary.display().to_string())?;
        let mut process = Process { system: self.system, port, child };
        while !process.answers() {
            if let Some(status) = process.child.try_wait()? {
                let said = fs::read_to_string(&log)?;
                bail!("{} ended at its start, {status}:\n{said}", self.system.name());
            }
            ensure!(begun.elapsed() < START_LIMIT, "{} does not answer", self.system.name());
            sleep(Duration::from_micros(200));
        }
        Ok((process, begun.elapsed()))
    }

    fn jwt_secret(&self) -> PathBuf {
        self.data.join("jwt.secret")
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new(&self.binary);
        if self.system == System::Floor {
            command.arg(port.to_string()).arg(&self.data);
            command.arg(self.fill.users().to_string()).arg(self.fill.messages().to_string());
            if let Some((url, connections)) = &self.database {
                command.arg("--database").arg(url);
                command.arg("--connections").arg(connections.to_string());
            }
        }
        command
    }

    fn environment(&self, port: u16) -> Vec<(&'static str, String)> {
        if self.system == System::Floor {
            return vec![];
        }
        let mut environment = vec![
            ("POSTROOM_LISTEN", format!("127.0.0.1:{port}")),
            ("POSTROOM_METRICS_LISTEN", String::new()),
            ("POSTROOM_DATA_DIR", self.data.display().to_string()),
            ("POSTROOM_LOG", "warn".to_owned()),
        ];
        if self.limits {
            environment.push(("POSTROOM_TRUSTED_PROXIES", Ipv4Addr::LOCALHOST.to_string()));
        } else {
            environment.push(("POSTROOM_RATE_LIMITS", "off".to_owned()));
        }
        if self.server_key {
            environment.push(("POSTROOM_SERVER_KEY", SERVER_KEY.to_owned()));
            let [_secret, issuer, audience] = JWT.map(str::to_owned);
            let secret = self.jwt_secret().display().to_string();
            environment.push(("POSTROOM_JWT_SECRET_FILE", secret));
            environment.push(("POSTROOM_JWT_ISSUER", issuer));
            environment.push(("POSTROOM_JWT_AUDIENCE", audience));
        }
        if let Some((url, connections)) = &self.database {
            environment.push(("POSTROOM_DATABASE_URL", url.clone()));
            // On a server it has to be given; nobody but this benchmark signs in.
            environment.push(("POSTROOM_SECRET_KEY", "0".repeat(64)));
            environment.push(("POSTROOM_DATABASE_CONNECTIONS", connections.to_string()));
        }
        environment
    }
}

impl Process {
    /// Ends it with SIGTERM, as an operator would, and insists on a clean end.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{} stopped with {status}", self.system.name());
                return Ok(());
            }
            ensure!(asked.elapsed() < STOP_LIMIT, "{} ignores SIGTERM", self.system.name());
            sleep(Duration::from_millis(1));
        }
    }

    /// CPU time of all its threads since it started.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .with_context(|| format!("{} is gone", self.system.name()))?;
        let ticks = cpu_ticks(&stat).context("/proc/PID/stat has another form")?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// The most memory in MiB that it has had since [`Self::forget_peak`], or its start.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = field_kib(&status, "VmHWM:").context("/proc/PID/status has another form")?;
        Ok(f64::from(kib) / 1024.0)
    }

    /// Makes the memory that it has now the most that it has had.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        // 5 stands for that (proc(5)).
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// Memory in MiB, pages shared with other programs counted in part.
    pub(crate) fn pss_mib(&self) -> Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let kib = field_kib(&rollup, "Pss:").context("/proc/PID/smaps_rollup has another form")?;
        Ok(f64::from(kib) / 1024.0)
    }

    /// Whether GET /healthz is answered; the floor, which has no such route, answers 401.
    fn answers(&self) -> bool {
        let expected = match self.system {
            System::Postroom | System::Against => b"HTTP/1.1 200",
            System::Floor => b"HTTP/1.1 401",
        };
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut start = [0; 12];
            stream.read_exact(&mut start)?;
            Ok(&start == expected)
        };
        ask().unwrap_or(false)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Bytes of all files in a directory.
pub(crate) fn size_of_dir(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size_of_dir(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// utime + stime: fields 14 and 15, counted behind the name, which may hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn field_kib(text: &str, name: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_does_not_disturb_its_cpu_time() {
        let stat = "77 (a ) b) S 1 77 77 0 -1 4194560 900 0 1 0 250 31 0 0 20 0 4 0 12 345 67";
        assert_eq!(cpu_ticks(stat), Some(281));
    }

    #[test]
    fn pss_is_not_one_of_its_parts() {
        let rollup = "Rss:  900 kB\nPss:       512 kB\nPss_Dirty:   100 kB\n";
        assert_eq!(field_kib(rollup, "Pss:"), Some(512));
    }
}
