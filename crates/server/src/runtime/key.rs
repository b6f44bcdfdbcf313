//! The secret key of the server, and other files that contain a secret.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use domain::{NameReservation, Time};

use super::clock;
use crate::config::Settings;
use crate::config::secret::{self, Secret};

/// Returns the configured key, or that of the data folder, which is created if it is missing.
pub(crate) fn server_key(settings: &Settings) -> anyhow::Result<Secret> {
    if !settings.secret_key.expose().is_empty() {
        return Ok(settings.secret_key.clone());
    }
    let mut path = settings.secret_key_file.clone();
    if path.as_os_str().is_empty() {
        ensure!(
            settings.database()?.path().is_some(),
            "nodes that share a database need the same key: set POSTROOM_SECRET_KEY_FILE or \
             POSTROOM_SECRET_KEY (for example to the output of `openssl rand -hex 32`)"
        );
        path = settings.data_dir.join("secret.key");
        if !path.exists() {
            make(&path)?;
        }
    }
    let key = read_file(&path, "the secret key")?;
    ensure!(
        key.len() >= 32,
        "the secret key in {} must have at least 32 characters",
        path.display()
    );
    Ok(Secret::new(key))
}

/// How the usernames of erased accounts are reserved, according to the settings.
pub(crate) fn name_reservation(settings: &Settings, key: &Secret) -> NameReservation {
    let key = secret::sign(&key.derive(b"postroom reserved names"), b"key");
    NameReservation::new(key, i64::from(settings.name_reserved_days) * Time::DAY)
}

/// Reads a file that contains a secret; `what` names it in the error.
pub(crate) fn read_file(path: &Path, what: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {what} in {}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn make(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; 32];
    clock::random(&mut bytes);
    let text = URL_SAFE_NO_PAD.encode(bytes);
    // Written under another name first, so that a crash leaves no partial key. If another process
    // creates the key at the same time, the first one wins.
    let partial = path.with_extension(format!("partial.{}", std::process::id()));
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let kept = written.and_then(|()| match std::fs::hard_link(&partial, path) {
        // The file system has no links.
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => std::fs::rename(&partial, path),
        _ => std::fs::remove_file(&partial),
    });
    kept.with_context(|| format!("cannot write the secret key to {}", path.display()))
}
