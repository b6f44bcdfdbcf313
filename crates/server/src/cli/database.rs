//! `postroom migrate`, `backup`, `restore`, `restored` and `check`

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;
use db::{Db, Url};
use domain::history;

use super::output::done;
use super::{existing, found, wait};
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::runtime::key;
use crate::serve::DataDir;

#[derive(Args)]
pub(super) struct Backup {
    /// The file to write, which must not exist yet
    file: PathBuf,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
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
    Db::backup(&existing(settings)?, &backup.file)?;
    let bytes = std::fs::metadata(&backup.file)?.len();
    let key = key::file(settings);
    let key = key.map_or("the setting secret_key".to_owned(), |path| path.display().to_string());
    done(&format!(
        "{}: {bytes} bytes, checked\nThe secret key is not in it. Save {key} as well.",
        backup.file.display()
    ));
    Ok(())
}

pub(super) fn restore(settings: &Settings, restore: &Restore) -> Result<()> {
    // Before the folder is made, which may be the wrong one.
    ensure!(restore.file.is_file(), "there is no file {}", restore.file.display());
    let _data_dir = DataDir::make(settings)?;
    let (url, cx) = (settings.database()?, Clock::default().cx());
    let now = jiff::Timestamp::from_microsecond(cx.now.0)?;
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let (mut origin, mut key) = (0, None);
    let prepare = |tx: &mut db::Tx<'_>, replaced: Option<&mut db::Tx<'_>>| {
        origin = history::begin(tx, &cx, replaced.map_or(0, history::seen))?;
        key = history::key_fingerprint(tx)?;
        Ok(())
    };
    let at = (cx.now.0, &*stamp);
    let restored = Db::restore(&url, &restore.file, domain::SCHEMA, at, prepare)?;
    let kept = restored.kept.as_ref().map(|kept| kept.display());
    let kept = kept.map(|kept| format!("The database that was there is kept in {kept}."));
    let lines = [Some(format!("{url} now holds {}", restore.file.display())), kept];
    let lines = lines.into_iter().flatten().chain([new_history(origin)]);
    done(&lines.collect::<Vec<_>>().join("\n"));
    warn_of_key(settings, &url, key.as_deref());
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

/// Says so where the secret key is not the one that the database was used with.
fn warn_of_key(settings: &Settings, url: &Url, known: Option<&[u8]>) {
    let missing = key::file(settings);
    let missing = missing.filter(|path| url.path().is_some() && !key::is_there(path));
    let warning = match missing {
        Some(path) => format!(
            "there is no secret key in {}. Put the one of the server that made the backup there \
             before the next start. If it is lost, `postroom key accept` makes another: then every \
             webhook gets another secret, and the unsubscribe links in e-mails that were sent stop \
             working",
            path.display()
        ),
        None => match key::secret_key(settings, known) {
            Ok(key) if known.is_none_or(|known| known == key::fingerprint(&key)) => return,
            Ok(_other) => key::OTHER_KEY.to_owned(),
            Err(error) => format!("{error:#}"),
        },
    };
    // Standard error may be closed.
    drop(writeln!(std::io::stderr(), "warning: {warning}."));
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
