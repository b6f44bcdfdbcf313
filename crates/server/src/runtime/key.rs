//! The secret key of the server, and other files that contain a secret.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use db::Db;
use domain::{NameReservation, Time, history};

use super::clock;
use crate::config::Settings;
use crate::config::secret::{self, Secret};

/// Checks that there is a key that can be used, or that one can be made: nodes that share a
/// database need the same one.
pub(crate) fn check_settings(settings: &Settings) -> anyhow::Result<()> {
    let is_set = !settings.secret_key.expose().is_empty()
        || !settings.secret_key_file.as_os_str().is_empty();
    ensure!(
        is_set || settings.database()?.path().is_some(),
        "nodes that share a database need the same key: set POSTROOM_SECRET_KEY_FILE or \
         POSTROOM_SECRET_KEY (for example to the output of `openssl rand -hex 32`)"
    );
    match file(settings) {
        Some(path) if is_set || path.exists() => read_key(&path).map(drop),
        _ => Ok(()),
    }
}

/// Returns the configured key, or that of the data folder, which is created if it is missing.
pub(crate) fn server_key(settings: &Settings) -> anyhow::Result<Secret> {
    check_settings(settings)?;
    let Some(path) = file(settings) else { return Ok(settings.secret_key.clone()) };
    if settings.secret_key_file.as_os_str().is_empty() && !path.exists() {
        make(&path)?;
    }
    read_key(&path)
}

fn read_key(path: &Path) -> anyhow::Result<Secret> {
    let key = read_file(path, "the secret key")?;
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

/// The file of the key, which may be missing; `None` where the key itself is a setting.
pub(crate) fn file(settings: &Settings) -> Option<PathBuf> {
    if !settings.secret_key.expose().is_empty() {
        return None;
    }
    let named = &settings.secret_key_file;
    let is_named = !named.as_os_str().is_empty();
    Some(if is_named { named.clone() } else { settings.data_dir.join("secret.key") })
}

/// What a database knows of its key, from which the key cannot be found.
pub(crate) fn fingerprint(key: &Secret) -> [u8; 16] {
    secret::sign(&key.derive(b"postroom key fingerprint"), b"")
}

/// Records which key a database is used with. If it is another one than before, returns what that
/// means and how to mend it.
pub(crate) async fn check(db: &Db, key: &Secret) -> Result<Option<&'static str>, db::Error> {
    let ours = fingerprint(key);
    let known = db.read(history::key_fingerprint).await?;
    if known.is_none() {
        db.write(move |tx| history::set_key_fingerprint(tx, &ours)).await?;
    }
    Ok(known.is_some_and(|known| known != ours).then_some(OTHER_KEY))
}

/// What is said of another key than the one that the database was used with.
pub(crate) const OTHER_KEY: &str = "\
    this is not the secret key that the database was used with: every webhook is signed with \
    another secret than its receiver has, the unsubscribe links in e-mails that were sent do not \
    work, and a repeated POST /v1/tokens gets a token that is not valid. Put the key of then back \
    (its file is secret.key in the data folder, unless secret_key or secret_key_file is set) and \
    start again. If it is lost, tell the receivers their new secrets (`postroom webhook secret \
    ID`), and then run `postroom key accept`, which ends this warning";

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
