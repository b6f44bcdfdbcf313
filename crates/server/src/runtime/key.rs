//! The key of the server, and other files that hold a secret.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::clock;
use crate::config::Settings;
use crate::config::secret::Secret;

/// The key of the server: the one that is set, or the one that was made at the first start.
///
/// # Errors
/// Where a file cannot be read or made, or holds less than 32 characters.
pub(crate) fn server_key(settings: &Settings) -> anyhow::Result<Secret> {
    if !settings.secret_key.expose().is_empty() {
        return Ok(settings.secret_key.clone());
    }
    if !settings.secret_key_file.as_os_str().is_empty() {
        return read(&settings.secret_key_file);
    }
    if settings.database()?.path().is_none() {
        bail!(
            "nodes that share a database need the same key: set POSTROOM_SECRET_KEY_FILE or \
             POSTROOM_SECRET_KEY (as from `openssl rand -hex 32`)"
        );
    }
    let path = settings.data_dir.join("secret.key");
    if !path.exists() {
        make(&path)?;
    }
    read(&path)
}

fn read(path: &Path) -> anyhow::Result<Secret> {
    let key = read_file(path, "the secret key")?;
    if key.len() < 32 {
        bail!("the secret key in {} has less than 32 characters", path.display());
    }
    Ok(Secret::new(key))
}

/// What a file holds that is too secret for the configuration.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn read_file(path: &Path, what: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let opened = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    opened.with_context(|| format!("cannot read {what} in {}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn make(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; 32];
    clock::random(&mut bytes);
    let text = URL_SAFE_NO_PAD.encode(bytes);
    // Under another name first: a crash must not leave half a key. A command may do the same at
    // this moment, and who comes second takes what is there.
    let partial = path.with_extension(format!("partial.{}", std::process::id()));
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let kept = written.and_then(|()| match std::fs::hard_link(&partial, path) {
        Ok(()) => std::fs::remove_file(&partial),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => std::fs::remove_file(&partial),
        // A file system without links.
        Err(_) => std::fs::rename(&partial, path),
    });
    kept.with_context(|| format!("cannot write the secret key to {}", path.display()))
}
