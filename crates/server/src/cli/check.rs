//! `postroom check`

use anyhow::anyhow;
use db::Db;

use super::Failure;
use crate::config::Settings;

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let url = settings.database()?;
    if url.path().is_some_and(|path| !path.is_file()) {
        return Err(anyhow!("there is no database at {url}").into());
    }
    let mut problems = Db::integrity(&url)?;
    // What a broken file says of its contents is worth nothing.
    if problems.is_empty() {
        let db = Db::open_beside(&url, mail::SCHEMA)?;
        let found = super::wait(db.scan(mail::check::run))??;
        problems.extend(found.iter().map(|problem| format!("{} ({})", problem.what, problem.rows)));
    }
    if problems.is_empty() {
        println!("{url}: whole and consistent");
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    Err(anyhow!("{} problems in {url}", problems.len()).into())
}
