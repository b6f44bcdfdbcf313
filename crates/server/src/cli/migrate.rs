//! `postroom migrate`

use db::Db;

use super::Failure;
use crate::config::Settings;
use crate::runtime::clock::Clock;
use crate::serve::make_data_dir;

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    make_data_dir(settings)?;
    let migrated = Db::migrate(&settings.database()?, mail::SCHEMA, Clock::default().now().0)?;
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
