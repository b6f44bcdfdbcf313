//! The same tests on the second engine.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::engine::{Engine, engine, variable};
use crate::server::available;
use crate::watchdog::Watchdog;

/// Runs all other tests of this binary again, on PostgreSQL, and says on standard error what was
/// run; `this_test` is the name of the one that calls it.
///
/// It does nothing where `TEST_ENGINE` says what to test. Where there is no PostgreSQL it says so,
/// and with the environment variable `CI` it panics.
pub fn again_on_postgres(this_test: &str) {
    if variable("TEST_ENGINE").is_some() {
        return;
    }
    let program = std::env::current_exe().expect("this program has a file");
    let file = program.file_stem().expect("it has a name").to_string_lossy().into_owned();
    // Cargo adds a hash to the name of the target.
    let binary = file.rsplit_once('-').map_or(file.as_str(), |(name, _hash)| name);
    let server = match available() {
        Ok(server) => server,
        Err(missing) => return say(&format!("PostgreSQL: skipped (binary {binary}): {missing}")),
    };
    let child = Command::new(&program)
        .args(["--skip", this_test])
        .env("TEST_ENGINE", "postgres")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be started again");
    let watchdog = Watchdog::start("kill -KILL \"$1\"", &child.id().to_string());
    let output = child.wait_with_output().expect("our child can be waited for");
    watchdog.forget();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        say(&format!("{told}\n{errors}"));
        panic!("PostgreSQL: the tests above failed (binary {binary}): {}", output.status);
    }
    let passed = passed(&told).expect("a test binary says how many tests passed");
    let left_out = errors.lines().filter(|line| line.starts_with(LEFT_OUT)).count();
    let passed = passed.saturating_sub(left_out);
    let version = server.version();
    say(&format!(
        "PostgreSQL {version}: {passed} tests passed, {left_out} left out, which are about the \
         file of SQLite (binary {binary})"
    ));
}

/// Says on standard error that a test is skipped because something is not installed; with the
/// environment variable `CI` that is an error.
pub fn skip(missing: &str) {
    assert!(variable("CI").is_none(), "CI has no {missing}");
    say(&format!("skipped: {missing} is not installed"));
}

/// Whether a test has to be left out, for it is about the file of SQLite and runs on PostgreSQL.
///
/// It is counted beside those that passed.
pub fn is_about_sqlite(why: &str) -> bool {
    let left_out = engine() == Engine::Postgres;
    if left_out {
        say(&format!("{LEFT_OUT}{why}"));
    }
    left_out
}

/// Begins the line on standard error of each test that is left out.
const LEFT_OUT: &str = "left out on PostgreSQL: ";

/// The number in `test result: ok. 243 passed; …`.
fn passed(told: &str) -> Option<usize> {
    let line = told.lines().rfind(|line| line.starts_with("test result: "))?;
    let (before, _after) = line.split_once(" passed")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Writes to the real standard error, for what a test prints is not shown where it passes; on a
/// line of its own, for the name of a test may stand there without its end.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "\n{text}"));
}
