//! Builds what is measured and says where it is.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process::System;
use crate::settings::Settings;

/// The release binary of Postroom, built unless the settings name one.
pub(crate) fn server(settings: &Settings) -> Result<PathBuf> {
    executable(settings.server.as_ref(), "server", "postroom")
}

/// What it is measured against: the other build that the settings name, or else the floor.
pub(crate) fn other(settings: &Settings) -> Result<(System, PathBuf)> {
    match &settings.against {
        Some(path) => Ok((System::Against, executable(Some(path), "server", "postroom")?)),
        None => Ok((System::Floor, executable(settings.floor.as_ref(), "bench", "floor")?)),
    }
}

fn executable(given: Option<&PathBuf>, package: &str, name: &str) -> Result<PathBuf> {
    let path = given.map_or_else(|| cargo(package, name), |path| Ok(path.clone()))?;
    ensure!(path.is_file(), "{} is no file", path.display());
    Ok(path)
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
