//! Where backups go, and how often they are made: the settings `backup_…`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use super::period;

/// Where a bucket is meant.
const SCHEME: &str = "s3://";

/// A place for files, or for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Path(PathBuf),
    /// In a bucket of storage that speaks S3.
    Bucket {
        /// The name of the bucket.
        bucket: String,
        /// What the keys in it begin with, without a `/` at its ends; or one key.
        key: String,
    },
}

impl Place {
    /// Parses a path, or `s3://BUCKET/KEY`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix(SCHEME) else { return Ok(Self::Path(text.into())) };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty()
            || !bucket.chars().all(is_name)
            || !bucket.contains(char::is_alphanumeric)
        {
            return Err("it must look like s3://BUCKET/PREFIX");
        }
        let key = key.trim_end_matches('/');
        // The library takes such parts for steps in a tree of folders; elsewhere they are names.
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        if !key.is_empty() && (!key.split('/').all(is_part) || key.contains(char::is_control)) {
            return Err("what follows the bucket must have no empty part, no . and no ..");
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// The place of a file in this one.
    pub(crate) fn join(&self, name: &str) -> Self {
        match self {
            Self::Path(folder) => Self::Path(folder.join(name)),
            Self::Bucket { bucket, key } => {
                let key = if key.is_empty() { name.to_owned() } else { format!("{key}/{name}") };
                Self::Bucket { bucket: bucket.clone(), key }
            }
        }
    }

    /// The place that a file is in, and its name.
    pub(crate) fn split(&self) -> Option<(Self, String)> {
        match self {
            Self::Path(path) => {
                let name = path.file_name()?.to_str()?.to_owned();
                let folder = path.parent().unwrap_or(Path::new(""));
                Some((Self::Path(folder.into()), name))
            }
            Self::Bucket { bucket, key } => {
                let (key, name) = key.rsplit_once('/').unwrap_or(("", key));
                let place = Self::Bucket { bucket: bucket.clone(), key: key.to_owned() };
                (!name.is_empty()).then(|| (place, name.to_owned()))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Bucket { bucket, key } => write!(f, "{SCHEME}{bucket}/{key}"),
        }
    }
}

/// A place, or none.
pub(super) fn place<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Place>, D::Error> {
    let text = String::deserialize(from)?;
    let place = (!text.is_empty()).then(|| Place::parse(&text)).transpose();
    place.map_err(D::Error::custom)
}

/// A period, or none.
pub(super) fn every<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let period = period::microseconds(&text).map_err(D::Error::custom)?;
    match u64::try_from(period) {
        Ok(period @ 1..) => Ok(Some(Duration::from_micros(period))),
        _ => Err(D::Error::custom("it must be longer; empty makes no backups")),
    }
}

/// The address of the storage, without that of a bucket; that of AWS where the text is empty.
/// `by_http` allows other hosts than this machine to be called without TLS.
///
/// # Errors
/// What is wrong with it.
pub(super) fn endpoint(text: &str, region: &str, by_http: bool) -> Result<Url, &'static str> {
    const SHAPE: &str = "it must look like https://s3.example.org";
    let is_region = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if region.is_empty() || !region.chars().all(is_region) {
        return Err("backup_s3_region must be the name of a region, such as eu-central-1");
    }
    let of_aws = format!("https://s3.{region}.amazonaws.com");
    let url = Url::parse(if text.is_empty() { &of_aws } else { text }).map_err(|_wrong| SHAPE)?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(SHAPE),
    };
    match url.scheme() {
        _ if !is_bare => Err("it must have no name, password or parameters: the credentials are \
                              backup_s3_access_key and backup_s3_secret_key"),
        "https" => Ok(url),
        "http" if is_here || by_http => Ok(url),
        "http" => Err("without TLS everybody on the way can read the messages: use https, or set \
                       backup_s3_plain_http to true"),
        _ => Err(SHAPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_a_key_in_a_bucket() {
        let bucket = |bucket: &str, key: &str| {
            Ok(Place::Bucket { bucket: bucket.to_owned(), key: key.to_owned() })
        };
        assert_eq!(Place::parse("s3://a-b.c/d/e.db"), bucket("a-b.c", "d/e.db"));
        assert_eq!(Place::parse("s3://a"), bucket("a", ""));
        assert_eq!(Place::parse("s3://a/b/"), bucket("a", "b"));
        assert_eq!(Place::parse("/b/s3:/x"), Ok(Place::Path("/b/s3:/x".into())));
        let wrong = ["s3://", "s3:///a", "s3://../a", "s3://a/../b", "s3://a//b", "s3://a/./b"];
        for text in wrong.into_iter().chain(["s3://a b/c", "s3://a@b/c", "s3://a?b", "s3://a/b\n"])
        {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_is_taken_from_its_place_and_put_back() {
        for text in ["s3://a/b/c.db", "s3://a/c.db", "/x/c.db", "c.db"] {
            let (place, name) = Place::parse(text).unwrap().split().expect("it is a file");
            assert_eq!(name, "c.db");
            assert_eq!(place.join(&name).to_string(), text);
        }
        assert_eq!(Place::parse("s3://a").unwrap().split(), None);
    }
}
