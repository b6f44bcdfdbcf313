//! `postroom backup` and `postroom restore`

use std::path::PathBuf;

use clap::Args;
use db::Db;

use super::Failure;
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::serve::make_data_dir;

#[derive(Args)]
pub(super) struct Backup {
    /// The file to write; it must not be there yet
    file: PathBuf,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup to take
    file: PathBuf,
}

pub(super) fn run(settings: &Settings, backup: &Backup) -> Result<(), Failure> {
    let url = settings.database()?;
    if url.path().is_some_and(|path| !path.is_file()) {
        return Err(anyhow::anyhow!("there is no database at {url}").into());
    }
    Db::backup(&url, &backup.file)?;
    let bytes = std::fs::metadata(&backup.file)?.len();
    println!("{}: {bytes} bytes, checked", backup.file.display());
    Ok(())
}

pub(super) fn restore(settings: &Settings, restore: &Restore) -> Result<(), Failure> {
    make_data_dir(settings)?;
    let url = settings.database()?;
    let now = jiff::Timestamp::from_microsecond(Clock::default().now().0)?;
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let prepare = |tx: &mut db::Tx<'_>| {
        mail::changes::begin_anew(tx)?;
        mail::sessions::end_everybodys(tx).map(drop)
    };
    let restored = Db::restore(&url, &restore.file, mail::SCHEMA, &stamp, prepare)?;
    println!("{url} now holds {}", restore.file.display());
    if let Some(kept) = restored.kept {
        println!("The database that was there is kept in {}.", kept.display());
    }
    println!("All sessions and tokens have ended: everybody must log in again.");
    Ok(())
}
