//! Builds what is measured and says where it is.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::settings::Settings;

pub(crate) struct Binaries {
    pub(crate) server: PathBuf,
    pub(crate) floor: PathBuf,
}

/// Builds the release binaries, except those that the settings name.
pub(crate) fn build(settings: &Settings) -> Result<Binaries> {
    let executable = |given: &Option<PathBuf>, package, name| match given {
        Some(path) => Ok(path.clone()),
        None => cargo(package, name),
    };
    let binaries = Binaries {
        server: executable(&settings.server, "server", "postroom")?,
        floor: executable(&settings.floor, "bench", "floor")?,
    };
    for path in [&binaries.server, &binaries.floor] {
        ensure!(path.is_file(), "{} is no file", path.display());
    }
    Ok(binaries)
}

/// One package at a time, so that the server gets its own features and not those of bench besides.
fn cargo(package: &str, name: &str) -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"])
        .args(["-p", package, "--bin", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(output.status.success(), "cargo build -p {package} failed");
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no {name}"))
}
