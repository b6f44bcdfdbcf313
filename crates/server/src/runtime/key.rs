//! The secret key of the server, and other files that contain a secret.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use db::{Db, Url};
use domain::{NameReservation, Time, history};

use super::clock;
use crate::config::secret::{self, Secret};
use crate::config::{Settings, Unusable, server_key_problem};

/// The most bytes of a file that contains a secret.
const BYTES: u64 = 4096;

/// Checks that there is a key that can be used, or that one can be made: nodes that share a
/// database need the same one.
pub(crate) fn check_settings(settings: &Settings) -> anyhow::Result<()> {
    let is_set = !settings.secret_key.expose().is_empty()
        || !settings.secret_key_file.as_os_str().is_empty();
    if !is_set && settings.database()?.path().is_none() {
        return Err(Unusable(anyhow!(
            "nodes that share a database need the same key: set POSTROOM_SECRET_KEY_FILE or \
             POSTROOM_SECRET_KEY (for example to the output of `openssl rand -hex 32`)"
        ))
        .into());
    }
    match file(settings) {
        Some(path) if is_set || is_there(&path) => read_key(&path).map(drop),
        _ => Ok(()),
    }
}

/// Returns the configured key, or that of the data folder. If that is missing, it is made, unless
/// the database was used with one, whose fingerprint is `known`.
pub(crate) fn secret_key(settings: &Settings, known: Option<&[u8]>) -> anyhow::Result<Secret> {
    check_settings(settings)?;
    let Some(path) = file(settings) else { return Ok(settings.secret_key.clone()) };
    if settings.secret_key_file.as_os_str().is_empty() && !is_there(&path) {
        confirm_unused(&path, known)?;
        make(&path)?;
    }
    read_key(&path)
}

/// Refuses to begin where the key of the database is missing, before its schema is changed.
pub(crate) fn confirm_there(settings: &Settings, database: &Url) -> anyhow::Result<()> {
    match file(settings) {
        Some(path) if settings.secret_key_file.as_os_str().is_empty() && !is_there(&path) => {
            let known = Db::look(database, history::key_fingerprint).flatten();
            confirm_unused(&path, known.as_deref())
        }
        _ => Ok(()),
    }
}

/// Refuses to make a key in the place of another one.
fn confirm_unused(path: &Path, known: Option<&[u8]>) -> anyhow::Result<()> {
    ensure!(
        known.is_none(),
        "there is no secret key in {}, and the database was used with one. Put that one there, or \
         name it by secret_key_file. If it is lost, `postroom key accept` makes another: then \
         every webhook gets another secret, the unsubscribe links in e-mails that were sent stop \
         working, and the names of erased accounts are free again",
        path.display()
    );
    Ok(())
}

/// The key to use a database with, and what is wrong if it is another one than before. Records its
/// fingerprint at the first use.
pub(crate) async fn database_key(
    db: &Db,
    settings: &Settings,
) -> anyhow::Result<(Secret, Option<&'static str>)> {
    let known = db.read_one(history::key_fingerprint).await?;
    let key = secret_key(settings, known.as_deref())?;
    let ours = fingerprint(&key);
    if known.is_none() {
        db.write(move |tx| history::set_key_fingerprint(tx, &ours)).await?;
    }
    Ok((key, known.is_some_and(|known| known != ours).then_some(OTHER_KEY)))
}

/// Whether there is a key, even if it is a link that leads nowhere: then none must be made.
pub(crate) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn read_key(path: &Path) -> anyhow::Result<Secret> {
    let key = read_file(path, "the secret key")?;
    if key.len() < 32 {
        let path = path.display();
        let short = anyhow!("the secret key in {path} must have at least 32 characters");
        return Err(Unusable(short).into());
    }
    Ok(Secret::new(key))
}

/// The server key of the configuration, if there is one.
///
/// # Errors
/// If its file cannot be read, or what is in it cannot be a server key.
pub(crate) fn server_key(settings: &Settings) -> anyhow::Result<Option<Secret>> {
    if !settings.server_key.expose().is_empty() {
        return Ok(Some(settings.server_key.clone()));
    }
    let path = &settings.server_key_file;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let key = Secret::new(read_file(path, "the server key")?);
    let problem = server_key_problem(&key);
    match problem {
        Some(problem) => Err(Unusable(anyhow!("{}: {problem}", path.display())).into()),
        None => Ok(Some(key)),
    }
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

/// What is said of another key than the one that the database was used with.
pub(crate) const OTHER_KEY: &str = "\
    this is not the secret key that the database was used with: every webhook is signed with \
    another secret than its receiver has, the unsubscribe links in e-mails that were sent do not \
    work, the reserved names and external ids of erased users are not known any more and can be \
    taken by others, and a repeated POST /v1/tokens gets a token that is not valid. Put the key \
    of then back (its file is secret.key in the data folder, unless secret_key or \
    secret_key_file is set) and start again. If it is lost, tell the receivers their new secrets \
    (`postroom webhook secret ID`), and then run `postroom key accept`, which ends this warning";

/// Reads a file that contains a secret, which is one line; `what` names it in the error.
pub(crate) fn read_file(path: &Path, what: &str) -> anyhow::Result<String> {
    let read = || {
        let text = String::from_utf8(db::read_bounded(path, BYTES)?).ok();
        let text = text.context("it is not text")?.trim().to_owned();
        ensure!(!text.contains(char::is_control), "it must be one line of text");
        anyhow::Ok(text)
    };
    let read = read().with_context(|| format!("cannot read {what} in {}", path.display()));
    read.map_err(|cause| Unusable(cause).into())
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
