//! `postroom migrate`, `backup`, `restore`, `restored` and `check`

use std::ffi::OsString;
use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use db::{Db, Url};
use domain::history;

use super::output::{done, listing};
use super::{Usage, existing, found, shown, wait};
use crate::config::Settings;
use crate::config::backups::Place;
use crate::runtime::backups::{self, Store};
use crate::runtime::clock::Clock;
use crate::runtime::key;
use crate::serve::DataDir;

/// The end of the help of `backup`.
pub(super) const BACKUP_HELP: &str = "Examples:\n  postroom backup /backups/$(date +%F).db\n  \
    postroom backup s3://mail-backups/a/\n  postroom backup --list s3://mail-backups/a/\n\n\
    The copy is the database as it is at one moment, and is checked before it gets its name. Its \
    SHA-256 is written beside it, in NAME.sha256. It contains all messages: keep it as safe as the \
    database. It does not contain the secret key: save that as well; the command prints where it \
    is. A server makes backups by itself: see the setting backup_every.";

/// The end of the help of `restore`.
pub(super) const RESTORE_HELP: &str = "Examples:\n  postroom restore /backups/2026-11-22.db\n  \
    postroom restore s3://mail-backups/a/postroom-20261122T030000Z.db\n\n\
    The server must be stopped. Where NAME.sha256 lies beside the backup, both are compared first. \
    The replaced database is kept beside the new one. All users must log in again, and programs \
    need new tokens, so that no session or token comes back that was ended since the backup. No id \
    is given again, and clients load their mailboxes again. The secret key must be the one of the \
    server that made the backup; with another one nothing is done without --yes.";

#[derive(Args)]
pub(super) struct Backup {
    /// The file to write, which must not exist yet: a path, or `s3://BUCKET/KEY`; in a folder, or
    /// where this ends with /, it is named by the time
    #[arg(required_unless_present = "list")]
    #[arg(value_parser = OsStringValueParser::new().try_map(named))]
    file: Option<Named>,
    /// List the backups in this folder, or else in `backup_dir`, that are named by their time
    #[arg(long)]
    list: bool,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup: a path, or `s3://BUCKET/KEY`
    #[arg(value_parser = OsStringValueParser::new().try_map(named))]
    file: Named,
    /// Confirms it where the secret key is another one than that of the backup
    #[arg(long)]
    yes: bool,
}

/// A place on the command line.
#[derive(Clone)]
struct Named {
    place: Place,
    is_folder: bool,
}

fn named(text: OsString) -> Result<Named, &'static str> {
    if let Some(place @ Place::Bucket { .. }) = text.to_str().map(Place::parse).transpose()? {
        let is_whole = matches!(&place, Place::Bucket { key, .. } if key.is_empty());
        let is_folder = is_whole || text.as_encoded_bytes().ends_with(b"/");
        return Ok(Named { place, is_folder });
    }
    let path = PathBuf::from(text);
    Ok(Named { is_folder: path.is_dir(), place: Place::Path(path) })
}

pub(super) fn migrate(settings: &Settings) -> Result<()> {
    let _data_dir = DataDir::make(settings)?;
    let migrated = Db::migrate(&settings.database()?, domain::SCHEMA, Clock::default().now().0)?;
    if migrated.from == migrated.to {
        done(&format!("The schema is at version {}: nothing to do.", migrated.to));
    } else {
        done(&format!("The schema went from version {} to {}.", migrated.from, migrated.to));
    }
    if let Some(copy) = migrated.copy {
        done(&format!("The database as it was is kept in {}.", copy.display()));
    }
    Ok(())
}

pub(super) fn backup(settings: &Settings, backup: &Backup) -> Result<()> {
    if backup.list {
        return list(settings, backup.file.as_ref());
    }
    let Some(Named { place, is_folder }) = &backup.file else { bail!("there is no file to write") };
    let (url, now) = (existing(settings)?, Clock::default().now());
    let (database, new) = (url.file()?, backups::name(now));
    let (store, name) = match place.split() {
        _ if *is_folder => (Store::open(settings, place)?, new),
        Some((folder, name)) => (Store::open(settings, &folder)?, name),
        None => return Err(Usage("the name of a backup must be text in UTF-8".to_owned()).into()),
    };
    let target = store.path(database, &name);
    if matches!(place, Place::Bucket { .. }) {
        backups::confirm_room(&url, &target)?;
    }
    wait(store.confirm_free(&name))??;
    let copy = Db::snapshot(&url, &target)?;
    let bytes = wait(store.save(&name, copy, || true))??;
    let file = if *is_folder { place.join(&name) } else { place.clone() };
    let key = key::file(settings);
    let key = key.map_or("the setting secret_key".to_owned(), |path| path.display().to_string());
    done(&format!(
        "{file}: {bytes} bytes, checked\nThe secret key is not in it. Save {key} as well."
    ));
    Ok(())
}

fn list(settings: &Settings, of: Option<&Named>) -> Result<()> {
    let place = of.map(|named| &named.place).or(settings.backup_dir.as_ref());
    let problem = || Usage("name the place to list, or set backup_dir".to_owned());
    let place = place.ok_or_else(problem)?;
    let found = wait(Store::open(settings, place)?.list())??;
    let mut out = listing()?;
    for backup in found {
        writeln!(out, "{}\t{}\t{}", place.join(&backup.name), backup.bytes, shown(backup.at))?;
    }
    Ok(())
}

pub(super) fn restore(settings: &Settings, restore: &Restore) -> Result<()> {
    let place = &restore.file.place;
    // Before the folder is made, which may be the wrong one.
    let url = settings.database()?;
    let (store, name) = match (place, place.split()) {
        (Place::Path(file), at) => {
            ensure!(file.is_file(), "there is no file {}", file.display());
            url.file()?;
            match at {
                Some((folder, name)) => (Store::open(settings, &folder)?, name),
                // A name that is no text has no checksum of ours.
                None => (Store::Folder(PathBuf::new()), String::new()),
            }
        }
        (Place::Bucket { .. }, Some((folder, name))) => {
            url.file()?;
            (Store::open(settings, &folder)?, name)
        }
        (Place::Bucket { .. }, None) => {
            let problem = "name the backup, not only its bucket: postroom backup --list shows them";
            return Err(Usage(problem.to_owned()).into());
        }
    };
    if matches!(place, Place::Path(_)) && !name.is_empty() {
        wait(store.verify(&name))??;
    }
    let _data_dir = DataDir::make(settings)?;
    let cx = Clock::default().cx();
    let now = jiff::Timestamp::from_microsecond(cx.now.0)?;
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let (mut origin, mut known) = (0, None);
    let prepare = |tx: &mut db::Tx<'_>, replaced: Option<&mut db::Tx<'_>>| {
        known = history::key_fingerprint(tx)?;
        if !restore.yes && key_problem(settings, &url, known.as_deref()).is_other {
            return Err(db::Error::File(format!(
                "{}. Nothing has changed yet: add --yes to restore the backup all the same",
                key::OTHER_KEY
            )));
        }
        origin = history::begin(tx, &cx, replaced.map_or(0, history::seen))?;
        Ok(())
    };
    let at = (cx.now.0, &*stamp);
    let restored = match place {
        Place::Path(file) => Db::restore(&url, file, domain::SCHEMA, at, prepare)?,
        Place::Bucket { .. } => {
            let fetch = |file| {
                let fetched = wait(store.fetch(&name, file)).and_then(|fetched| fetched);
                fetched.map_err(|error| db::Error::File(format!("{error:#}")))
            };
            let shown = PathBuf::from(place.to_string());
            Db::restore_from(&url, &shown, fetch, domain::SCHEMA, at, prepare)?
        }
    };
    let kept = restored.kept.as_ref().map(|kept| kept.display());
    let kept = kept.map(|kept| format!("The database that was there is kept in {kept}."));
    let lines = [Some(format!("{url} now holds {place}")), kept];
    let lines = lines.into_iter().flatten().chain([new_history(origin)]);
    done(&lines.collect::<Vec<_>>().join("\n"));
    warn_of_key(settings, &url, known.as_deref());
    Ok(())
}

/// Does what a restore does, to a database that something else has restored.
pub(super) fn restored(settings: &Settings) -> Result<()> {
    let (url, clock) = (existing(settings)?, Clock::default());
    let opened = match Db::open_alone(&url, domain::SCHEMA) {
        Err(db::Error::SchemaOlder { found: 1.., .. }) => {
            migrate(settings)?;
            Db::open_alone(&url, domain::SCHEMA)
        }
        opened => opened,
    };
    let db = found(&url, opened)?;
    wait(clock.follow(&db))??;
    let cx = clock.cx();
    let (origin, key) = wait(db.write(move |tx| {
        Ok::<_, db::Error>((history::begin(tx, &cx, 0)?, history::key_fingerprint(tx)?))
    }))??;
    done(&format!("{url} has begun a new history.\n{}", new_history(origin)));
    warn_of_key(settings, &url, key.as_deref());
    Ok(())
}

fn new_history(origin: i64) -> String {
    format!(
        "All sessions and tokens have ended: all users must log in again.\n\
         All server keys are revoked: `postroom key add` makes new ones.\n\
         New ids are above {origin}, so none is given again; clients load their mailboxes again."
    )
}

/// What is wrong with the secret key.
#[derive(Default)]
struct KeyProblem {
    text: Option<String>,
    /// Whether there is a key, which is another one than that of the database.
    is_other: bool,
}

/// Compares the secret key with the one that the database was used with, whose fingerprint is
/// `known`.
fn key_problem(settings: &Settings, url: &Url, known: Option<&[u8]>) -> KeyProblem {
    let missing = key::file(settings);
    let missing = missing.filter(|path| url.path().is_some() && !key::is_there(path));
    let text = match missing {
        Some(path) => format!(
            "there is no secret key in {}. Put the one of the server that made the backup there \
             before the next start. If it is lost, `postroom key accept` makes another: then every \
             webhook gets another secret, and the unsubscribe links in e-mails that were sent stop \
             working",
            path.display()
        ),
        None => match key::secret_key(settings, known) {
            Ok(key) if known.is_none_or(|known| known == key::fingerprint(&key)) => {
                return KeyProblem::default();
            }
            Ok(_other) => {
                return KeyProblem { text: Some(key::OTHER_KEY.to_owned()), is_other: true };
            }
            Err(error) => format!("{error:#}"),
        },
    };
    KeyProblem { text: Some(text), is_other: false }
}

/// Says so where the secret key is not the one that the database was used with.
fn warn_of_key(settings: &Settings, url: &Url, known: Option<&[u8]>) {
    if let Some(text) = key_problem(settings, url, known).text {
        // Standard error may be closed.
        drop(writeln!(std::io::stderr(), "warning: {text}."));
    }
}

pub(super) fn check(settings: &Settings) -> Result<()> {
    let url = existing(settings)?;
    let mut problems = Db::integrity(&url)?;
    // The contents of a damaged file are not worth checking.
    if problems.is_empty() {
        let db = found(&url, Db::open_beside(&url, domain::SCHEMA))?;
        let found = wait(db.scan(domain::check::run))??;
        problems.extend(found.iter().map(|problem| format!("{} ({})", problem.what, problem.rows)));
    }
    // Closed or not: the status tells as well, and programs that ignore what is printed may open
    // /dev/null as if it was closed.
    let mut out = stdout().lock();
    if problems.is_empty() {
        writeln!(out, "{url}: whole and consistent")?;
        return Ok(());
    }
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    bail!("{} problems in {url}", problems.len())
}
