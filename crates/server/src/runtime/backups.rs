//! Backups in the place that holds them: a folder, or a bucket.
//!
//! A backup counts once it has its name, which it gets when it is whole. Its checksum is there
//! before it, in a file beside it as `sha256sum` writes one.

mod files;

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use db::{Db, Snapshot};
use domain::Time;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use super::s3;
use crate::config::backups::Place;
use crate::config::{Settings, Unusable};
pub(crate) use files::confirm_room;
use files::{checksum_of, files, read_start, sha256, write};

/// The names that the server gives: the time in UTC, so that they sort by it.
const NAME: &str = "postroom-%Y%m%dT%H%M%SZ.db";
/// How the name of a checksum ends.
const CHECKSUM: &str = ".sha256";
/// The most bytes of a file of checksums, which may be that of many files.
const CHECKSUM_BYTES: usize = 64 * 1024;

/// Where backups are.
pub(crate) enum Store {
    /// A folder, which may be empty for the present one.
    Folder(PathBuf),
    /// A bucket, and what comes before the names in it.
    Bucket { bucket: Box<s3::Bucket>, prefix: String, shown: Place },
}

/// A backup that the server or the command has named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) at: Time,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// The name of a backup that is made now.
pub(crate) fn name(now: Time) -> String {
    let at = Timestamp::from_microsecond(now.0).unwrap_or(Timestamp::MAX);
    at.strftime(NAME).to_string()
}

/// When a backup was made, by its name; `None` for any name that is not given here.
fn time(name: &str) -> Option<Time> {
    let at = DateTime::strptime(NAME, name).ok()?.to_zoned(TimeZone::UTC).ok()?;
    let at = Time(at.timestamp().as_microsecond());
    (self::name(at) == name).then_some(at)
}

/// Refuses settings by which no backups could be made.
///
/// # Errors
/// What is wrong, and what to do.
pub(crate) fn check_settings(settings: &Settings) -> Result<()> {
    let Some(place) = &settings.backup_dir else { return Ok(()) };
    let check = || {
        ensure!(
            settings.database()?.path().is_some(),
            "backup_dir: the server makes backups of the embedded database only. For PostgreSQL \
             use pg_dump, or base backups and the log, as docs/operations.md says (Backups of \
             PostgreSQL), and unset backup_every and backup_dir"
        );
        if let Place::Path(folder) = place {
            let folder = folder.display();
            ensure!(
                place_is_folder(place),
                "backup_dir: there is no folder {folder}. Make it, for the user of the server \
                 alone: install -d -m 0700 {folder}"
            );
        }
        Store::open(settings, place).map(drop)
    };
    check().map_err(|problem: anyhow::Error| Unusable(problem).into())
}

fn place_is_folder(place: &Place) -> bool {
    matches!(place, Place::Path(folder) if folder.as_os_str().is_empty() || folder.is_dir())
}

impl Store {
    /// The store at a place. Nothing is read yet.
    ///
    /// # Errors
    /// If settings for a bucket are missing or cannot be used.
    pub(crate) fn open(settings: &Settings, place: &Place) -> Result<Self> {
        Ok(match place {
            Place::Path(folder) => Self::Folder(folder.clone()),
            Place::Bucket { bucket, key } => {
                let prefix = if key.is_empty() { String::new() } else { format!("{key}/") };
                let bucket = Box::new(s3::Bucket::open(settings, bucket)?);
                let shown = place.clone();
                Self::Bucket { bucket, prefix, shown }
            }
        })
    }

    /// The path to make a copy of the database for: where it is, or beside the database.
    pub(crate) fn path(&self, database: &Path, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Bucket { .. } => database.with_file_name(name),
        }
    }

    /// The backups that are there, the oldest first.
    ///
    /// # Errors
    /// If the place cannot be read.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        for (name, bytes) in self.files().await? {
            if let Some(at) = time(&name) {
                found.push(Listed { at, name, bytes });
            }
        }
        found.sort();
        Ok(found)
    }

    /// The names and sizes of all files with our names.
    async fn files(&self) -> Result<Vec<(String, u64)>> {
        match self {
            Self::Folder(folder) => files(folder),
            Self::Bucket { bucket, prefix, .. } => {
                let ours = format!("{prefix}postroom-");
                let found = bucket.list(&ours).await.with_context(|| self.failed("list"))?;
                let name = |(key, bytes): (String, u64)| {
                    Some((key.strip_prefix(prefix)?.to_owned(), bytes))
                };
                Ok(found.into_iter().filter_map(name).collect())
            }
        }
    }

    /// Removes what killed backups have left.
    ///
    /// # Errors
    /// If the bucket cannot be asked. What a folder does not let go of stays.
    pub(crate) async fn tidy(&self, database: &Path) -> Result<()> {
        Db::remove_abandoned(&self.path(database, "any"));
        let Self::Bucket { bucket, prefix, .. } = self else { return Ok(()) };
        let is_ours = |key: &str| key.strip_prefix(prefix).and_then(time).is_some();
        let ended = bucket.end_uploads(&format!("{prefix}postroom-"), is_ours).await;
        let ended = ended.with_context(|| self.failed("end unfinished uploads to"))?;
        if ended > 0 {
            tracing::info!(ended, "ended unfinished uploads of backups");
        }
        Ok(())
    }

    /// Refuses to overwrite a file.
    ///
    /// # Errors
    /// If there is one of this name, or that cannot be told.
    pub(crate) async fn confirm_free(&self, name: &str) -> Result<()> {
        let has = match self {
            Self::Folder(folder) => folder.join(name).exists(),
            Self::Bucket { bucket, prefix, .. } => {
                let has = bucket.has(&format!("{prefix}{name}")).await;
                has.with_context(|| self.failed("look into"))?
            }
        };
        ensure!(!has, "{} is there already", self.shown(name));
        Ok(())
    }

    /// Gives a copy its name in this place, with its checksum beside it; returns its size.
    ///
    /// # Errors
    /// If it cannot be written, or `goes_on` ends it; there is no such backup then.
    pub(crate) async fn save(
        &self,
        name: &str,
        copy: Snapshot,
        goes_on: impl FnMut() -> bool,
    ) -> Result<u64> {
        let opened = File::open(copy.path()).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.context("cannot read the copy")?;
        let line = format!("{}  {name}\n", sha256(&file, goes_on)?);
        let beside = format!("{name}{CHECKSUM}");
        match self {
            Self::Folder(folder) => {
                write(&folder.join(beside), line.as_bytes())?;
                copy.keep()?;
            }
            Self::Bucket { bucket, prefix, .. } => {
                let sent = async {
                    bucket.put(&format!("{prefix}{beside}"), line.into()).await?;
                    bucket.upload(&format!("{prefix}{name}"), &file).await
                };
                sent.await.with_context(|| self.failed("write to"))?;
            }
        }
        Ok(bytes)
    }

    /// Removes all but the newest backups, and checksums without one; returns the names. `newest`
    /// was made just now: what seems to be from later was named by a clock that was ahead.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub(crate) async fn keep(&self, most: usize, newest: Time) -> Result<Vec<String>> {
        let mut there = self.list().await?;
        there.sort_by_key(|one| (one.at <= newest, one.at));
        let old: Vec<_> = there.drain(..there.len().saturating_sub(most)).collect();
        for one in &old {
            self.remove(&one.name).await?;
            self.remove(&format!("{}{CHECKSUM}", one.name)).await?;
        }
        for (name, _bytes) in self.files().await? {
            let of = name.strip_suffix(CHECKSUM).filter(|of| time(of).is_some());
            if of.is_some_and(|of| there.iter().all(|one| one.name != of)) {
                self.remove(&name).await?;
            }
        }
        Ok(old.into_iter().map(|one| one.name).collect())
    }

    async fn remove(&self, name: &str) -> Result<()> {
        let removed = match self {
            Self::Folder(folder) => match fs::remove_file(folder.join(name)) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause.into()),
                _ => Ok(()),
            },
            Self::Bucket { bucket, prefix, .. } => bucket.remove(&format!("{prefix}{name}")).await,
        };
        removed.with_context(|| format!("cannot remove {}", self.shown(name)))
    }

    /// The checksum that lies beside a backup, if one does.
    ///
    /// # Errors
    /// If it cannot be read, or has none for that name.
    pub(crate) async fn checksum(&self, name: &str) -> Result<Option<String>> {
        let beside = format!("{name}{CHECKSUM}");
        let read = match self {
            Self::Folder(folder) => match read_start(&folder.join(&beside), CHECKSUM_BYTES) {
                Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
                read => read.map(Some).map_err(anyhow::Error::from),
            },
            Self::Bucket { bucket, prefix, .. } => {
                let read = bucket.get(&format!("{prefix}{beside}"), CHECKSUM_BYTES).await;
                read.map(|found| found.map(|bytes| bytes.to_vec()))
            }
        };
        let read = read.with_context(|| format!("cannot read {}", self.shown(&beside)))?;
        let Some(bytes) = read else { return Ok(None) };
        let found = String::from_utf8_lossy(&bytes);
        let found = checksum_of(&found, name);
        let found =
            found.with_context(|| format!("{} is no checksum of {name}", self.shown(&beside)));
        found.map(Some)
    }

    /// Writes a backup into an empty file, and compares it with its checksum.
    ///
    /// # Errors
    /// If it is not there, cut off, or not what was saved.
    pub(crate) async fn fetch(&self, name: &str, mut to: File) -> Result<()> {
        let Self::Bucket { bucket, prefix, .. } = self else {
            bail!("{} is a file", self.shown(name));
        };
        let expected = self.checksum(name).await?;
        let mut hash = Sha256::new();
        let take = |data: &[u8]| {
            hash.update(data);
            to.write_all(data)
        };
        let read = bucket.read(&format!("{prefix}{name}"), take).await;
        read.with_context(|| format!("cannot read {}", self.shown(name)))?;
        self.compare(name, expected, &hex::encode(hash.finalize()))
    }

    /// Compares a file with the checksum beside it, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is not what was saved.
    pub(crate) async fn verify(&self, name: &str) -> Result<()> {
        let Some(expected) = self.checksum(name).await? else { return Ok(()) };
        let path = self.path(Path::new(""), name);
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.compare(name, Some(expected), &sha256(&file, || true)?)
    }

    fn compare(&self, name: &str, expected: Option<String>, found: &str) -> Result<()> {
        let Some(expected) = expected.filter(|expected| expected != found) else { return Ok(()) };
        let (shown, beside) = (self.shown(name), self.shown(&format!("{name}{CHECKSUM}")));
        bail!(
            "{shown} is not what was saved: its SHA-256 is {found}, and {beside} says {expected}. \
             Take another backup. (If it was changed on purpose, remove {beside}.)"
        )
    }

    fn shown(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            Self::Bucket { shown, .. } => shown.join(name).to_string(),
        }
    }

    fn failed(&self, what: &str) -> String {
        match self {
            Self::Folder(folder) => format!("cannot {what} {}", folder.display()),
            Self::Bucket { shown, .. } => format!("cannot {what} {shown}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_only_ours_are_read() {
        let at = Time(1_796_084_096_000_000);
        assert_eq!(name(at), "postroom-20261201T001456Z.db");
        assert_eq!(time("postroom-20261201T001456Z.db"), Some(at));
        for other in [
            "postroom-20261201T001456Z.db.sha256",
            "postroom-20261201T001456.db",
            "postroom-20261301T001456Z.db",
            "postroom-20261201T001460Z.db",
            "postroom- 20261201T001456Z.db",
            "Postroom-20261201T001456Z.db",
            "postroom.db",
            "",
        ] {
            assert_eq!(time(other), None, "{other}");
        }
    }
}
