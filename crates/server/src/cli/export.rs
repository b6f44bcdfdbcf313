//! `postroom export`

use std::io::{BufWriter, IsTerminal as _, Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use db::{Db, Url};
use domain::moving::{self, Page, Personal};
use domain::{Time, UserId, UserRef, users};

use super::output::listing;
use super::progress::Progress;
use super::{Store, Usage, existing, wait};
use crate::config::Settings;

/// The end of its help.
pub(super) const HELP: &str = "Examples:\n  postroom export > all.jsonl\n  \
    postroom export --user ann > ann.jsonl\n\n\
    Also while the server runs. It has all messages and the hashes of passwords: keep it safe.";

#[derive(Args)]
pub(super) struct Export {
    /// Only what this user wrote, received and set, with their sessions and tokens: a name, an id,
    /// or ext: and the app's id
    #[arg(long, value_name = "REF")]
    user: Option<String>,
    /// Only messages that were sent since, such as 2026-11-22T20:16:23Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

pub(super) fn run(settings: &Settings, export: &Export) -> Result<()> {
    let since = export.since.as_deref().map(time).transpose()?;
    let copy = Copy::make(settings)?;
    let store = match &copy {
        Some(copy) => {
            let db = Db::open_beside(&copy.url()?, domain::SCHEMA)?;
            Store { db, cx: crate::runtime::clock::Clock::default().cx() }
        }
        None => Store::open(settings)?,
    };
    let user = match &export.user {
        None => None,
        Some(user) => {
            let of = UserRef::parse(user)?;
            let found = store.read(move |tx| users::id_of(tx, &of))?;
            Some(found.with_context(|| format!("there is no user {user}"))?)
        }
    };
    let now = store.cx.now;
    let mut out = BufWriter::with_capacity(1 << 18, listing()?);
    let first = store.read(move |tx| moving::first_line(tx, now))?;
    writeln!(out, "{first}")?;
    let mut progress = Progress::new();
    // On a terminal the lines themselves show how far it is.
    if !stdout().is_terminal() {
        progress.begin("lines written", None);
    }
    let to = (&mut out, &mut progress);
    match user {
        Some(user) => one(&store, user, since, to)?,
        None => all(&store, since, to)?,
    }
    out.flush()?;
    store.db.close();
    Ok(())
}

fn all(
    store: &Store,
    since: Option<Time>,
    (out, progress): (&mut impl Write, &mut Progress),
) -> Result<()> {
    let mut page = Some(Page::default());
    while let Some(at) = page {
        let (lines, next) = wait(store.db.read(move |tx| moving::export(tx, since, at)))??;
        for line in &lines {
            writeln!(out, "{line}")?;
        }
        progress.add(lines.len());
        page = next;
    }
    Ok(())
}

fn one(
    store: &Store,
    user: UserId,
    since: Option<Time>,
    (out, progress): (&mut impl Write, &mut Progress),
) -> Result<()> {
    let cx = store.cx;
    let personal = store.read(move |tx| Personal::begin(tx, user, since, true))?;
    let mut personal = Arc::new(personal);
    loop {
        let at = Arc::clone(&personal);
        let Some(page) = store.read(move |tx| at.page(tx, &cx))? else { return Ok(()) };
        out.write_all(page.text.as_bytes())?;
        progress.add(page.text.lines().count());
        Arc::make_mut(&mut personal).pass(&page);
    }
}

fn time(text: &str) -> Result<Time> {
    let time = text.parse::<jiff::Timestamp>();
    let problem = || Usage("--since: it must look like 2026-11-22T20:16:23Z".into());
    Ok(Time(time.map_err(|_wrong| problem())?.as_microsecond()))
}

/// A copy of a database file, so that an export is of one moment and holds no snapshot of the
/// database in use. It goes with this.
struct Copy {
    path: PathBuf,
}

impl Copy {
    /// None of a PostgreSQL database, which keeps snapshots by itself.
    fn make(settings: &Settings) -> Result<Option<Self>> {
        let url = existing(settings)?;
        let Some(of) = url.path() else { return Ok(None) };
        let mut path = of.as_os_str().to_owned();
        path.push(format!(".export-{}", std::process::id()));
        let copy = Self { path: path.into() };
        copy.remove();
        Db::backup(&url, &copy.path)?;
        Ok(Some(copy))
    }

    fn url(&self) -> Result<Url> {
        let path = std::path::absolute(&self.path)?;
        Ok(Url::parse(&format!("sqlite:{}", path.display()), &path)?)
    }

    fn remove(&self) {
        for end in ["", "-wal", "-shm", ".lock"] {
            let mut name = self.path.as_os_str().to_owned();
            name.push(end);
            drop(std::fs::remove_file(name));
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.remove();
    }
}
