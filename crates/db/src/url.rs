//! The address of a database.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::sqlite::files::real;
use crate::{Error, Options, Result, postgres::config::Config};

/// The address of a database. Its text forms show no password.
#[derive(Clone)]
pub struct Url {
    pub(crate) location: Location,
}

#[derive(Clone)]
pub(crate) enum Location {
    File(PathBuf),
    Server(Box<Config>),
}

impl Url {
    /// Parses `sqlite:<path>`, where a relative path starts at `base`, or `postgres://…`. A link to
    /// a file is followed, so that all names of a database have one lock and one log.
    ///
    /// The server's parameters `sslmode` (disable, prefer, require, verify-ca, verify-full) and
    /// `sslrootcert` are interpreted here. Without `sslmode`, every host except this machine must
    /// present a certificate for its name. Only a server that accepts writes is used.
    ///
    /// # Errors
    /// [`Error::Url`] for anything else. The error does not repeat the text, which may contain a
    /// password.
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        Self::with(text, base, Options::default())
    }

    /// Like [`Url::parse`], with options.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn with(text: &str, base: &Path, options: Options) -> Result<Self> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let location = Location::Server(Box::new(Config::parse(text, options)?));
            return Ok(Self { location });
        }
        let Some(path) = text.strip_prefix("sqlite:") else {
            return Err(Error::Url("it must begin with sqlite: or postgres://"));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(Error::Url("the path of the file is missing after sqlite:"));
        }
        Ok(Self { location: Location::File(real(base.join(path))) })
    }

    /// The path of a SQLite database.
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::File(path) => Some(path),
            Location::Server(_) => None,
        }
    }

    /// The path, for operations that only SQLite supports.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it is on a server.
    pub fn file(&self) -> Result<&Path> {
        self.path().ok_or(Error::Unsupported(
            "this works on SQLite files only: use pg_dump or pg_basebackup for PostgreSQL",
        ))
    }
}

/// The path, or the hosts and the name of the database.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::File(path) => path.display().fmt(f),
            Location::Server(config) => config.fmt(f),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}
