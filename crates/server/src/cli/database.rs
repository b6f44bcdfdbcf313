//! `postroom migrate`, `backup`, `restore`, `restored` and `check`

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;
use db::{Db, Url};
use domain::history;

use super::{existing, found, wait};
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::runtime::key;
use crate::serve::make_data_dir;

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
    make_data_dir(settings)?;
    let migrated = Db::migrate(&settings.database()?, domain::SCHEMA, Clock::default().now().0)?;
    if migrated.from == migrated.to {
        writeln!(stdout(), "The schema is at version {}: nothing to do.", migrated.to)?;
    } else {
        writeln!(stdout(), "The schema went from version {} to {}.", migrated.from, migrated.to)?;
    }
    if let Some(copy) = migrated.copy {
        writeln!(stdout(), "The database as it was is kept in {}.", copy.display())?;
    }
    Ok(())
}

pub(super) fn backup(settings: &Settings, backup: &Backup) -> Result<()> {
    Db::backup(&existing(settings)?, &backup.file)?;
    let bytes = std::fs::metadata(&backup.file)?.len();
    writeln!(stdout(), "{}: {bytes} bytes, checked", backup.file.display())?;
    let key = key::file(settings);
    let key = key.map_or("the setting secret_key".to_owned(), |path| path.display().to_string());
    writeln!(stdout(), "The secret key is not in it. Save {key} as well.")?;
    Ok(())
}

pub(super) fn restore(settings: &Settings, restore: &Restore) -> Result<()> {
    // Before the folder is made, which may be the wrong one.
    ensure!(restore.file.is_file(), "there is no file {}", restore.file.display());
    make_data_dir(settings)?;
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
    writeln!(stdout(), "{url} now holds {}", restore.file.display())?;
    if let Some(kept) = restored.kept {
        writeln!(stdout(), "The database that was there is kept in {}.", kept.display())?;
    }
    tell_history(origin)?;
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
    writeln!(stdout(), "{url} has begun a new history.")?;
    tell_history(origin)?;
    warn_of_key(settings, &url, key.as_deref());
    Ok(())
}

fn tell_history(origin: i64) -> Result<()> {
    writeln!(stdout(), "All sessions and tokens have ended: all users must log in again.")?;
    writeln!(
        stdout(),
        "New ids are above {origin}, so none is given again; clients load their mailboxes again."
    )?;
    Ok(())
}

/// Says so where the secret key is not the one that the database was used with.
fn warn_of_key(settings: &Settings, url: &Url, known: Option<&[u8]>) {
    let missing = key::file(settings).filter(|path| url.path().is_some() && !path.exists());
    let warning = match missing {
        Some(path) => format!(
            "there is no secret key in {}. Put the one of the server that made the backup there \
             before the next start, or else every webhook gets another secret, and the \
             unsubscribe links in e-mails that were sent stop working",
            path.display()
        ),
        None => match key::server_key(settings) {
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
    if problems.is_empty() {
        writeln!(stdout(), "{url}: whole and consistent")?;
        return Ok(());
    }
    for problem in &problems {
        writeln!(stdout(), "{problem}")?;
    }
    bail!("{} problems in {url}", problems.len())
}
