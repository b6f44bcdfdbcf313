//! `postroom migrate`, `backup`, `restore` and `check`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use db::{Db, Url};

use super::wait;
use crate::config::Settings;
use crate::runtime::clock::Clock;
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
        println!("The schema is at version {}: nothing to do.", migrated.to);
    } else {
        println!("The schema went from version {} to {}.", migrated.from, migrated.to);
    }
    if let Some(copy) = migrated.copy {
        println!("The database as it was is kept in {}.", copy.display());
    }
    Ok(())
}

/// The address of the database, which must exist.
fn existing(settings: &Settings) -> Result<Url> {
    let url = settings.database()?;
    if url.path().is_some_and(|path| !path.is_file()) {
        bail!("there is no database at {url}");
    }
    Ok(url)
}

pub(super) fn backup(settings: &Settings, backup: &Backup) -> Result<()> {
    Db::backup(&existing(settings)?, &backup.file)?;
    let bytes = std::fs::metadata(&backup.file)?.len();
    println!("{}: {bytes} bytes, checked", backup.file.display());
    Ok(())
}

pub(super) fn restore(settings: &Settings, restore: &Restore) -> Result<()> {
    make_data_dir(settings)?;
    let url = settings.database()?;
    let now = jiff::Timestamp::from_microsecond(Clock::default().now().0)?;
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let prepare = |tx: &mut db::Tx<'_>| {
        domain::changes::start_new_history(tx)?;
        domain::sessions::end_all_users(tx).map(drop)
    };
    let restored = Db::restore(&url, &restore.file, domain::SCHEMA, &stamp, prepare)?;
    println!("{url} now holds {}", restore.file.display());
    if let Some(kept) = restored.kept {
        println!("The database that was there is kept in {}.", kept.display());
    }
    println!("All sessions and tokens have ended: all users must log in again.");
    Ok(())
}

pub(super) fn check(settings: &Settings) -> Result<()> {
    let url = existing(settings)?;
    let mut problems = Db::integrity(&url)?;
    // The contents of a damaged file are not worth checking.
    if problems.is_empty() {
        let db = Db::open_beside(&url, domain::SCHEMA)?;
        let found = wait(db.scan(domain::check::run))??;
        problems.extend(found.iter().map(|problem| format!("{} ({})", problem.what, problem.rows)));
    }
    if problems.is_empty() {
        println!("{url}: whole and consistent");
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    bail!("{} problems in {url}", problems.len())
}
