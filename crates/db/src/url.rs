//! Where a database is, and how it is spoken to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::postgres::Config;
use crate::{Error, Result};

/// Where a database is. It shows no password.
#[derive(Clone)]
pub struct Url {
    pub(crate) place: Place,
}

#[derive(Clone)]
pub(crate) enum Place {
    File(PathBuf),
    Server(Box<Config>),
}

/// How a server of PostgreSQL is used; a file needs none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Connections for requests; each has a thread. Up to as many again serve reads of one
    /// statement, two more long reads, one the notices.
    pub connections: usize,
    /// How long a request waits for the database in all, until it is [`Error::Unavailable`].
    pub patience: Duration,
    /// How long a statement waits for a lock, until it is [`Error::Busy`].
    pub lock_timeout: Duration,
    /// Whether statements are prepared under a name. Off for a pooler that gives each transaction
    /// another connection; the settings of a session are not touched then either.
    pub named_statements: bool,
    /// Another way to the same database for the notices between nodes, where a pooler stands in the
    /// way.
    pub notices: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 16,
            patience: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            named_statements: true,
            notices: None,
        }
    }
}

/// It shows no password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("connections", &self.connections)
            .field("patience", &self.patience)
            .field("lock_timeout", &self.lock_timeout)
            .field("named_statements", &self.named_statements)
            .field("notices", &self.notices.as_ref().map(|_| ".."))
            .finish()
    }
}

impl Url {
    /// Reads `sqlite:<path>`, where a relative path starts at `base`, or `postgres://…`.
    ///
    /// Of a server's parameters `sslmode` (disable, prefer, require, verify-ca, verify-full) and
    /// `sslrootcert` are read here: without a mode everything but this machine must show a
    /// certificate for its name. Only a server that can be written to is ever used.
    ///
    /// # Errors
    /// [`Error::Url`] for anything else. The text itself is not repeated: it may hold a password.
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        Self::with(text, base, Options::default())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn with(text: &str, base: &Path, options: Options) -> Result<Self> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let place = Place::Server(Box::new(Config::parse(text, options)?));
            return Ok(Self { place });
        }
        let Some(path) = text.strip_prefix("sqlite:") else {
            return Err(Error::Url("it must begin with sqlite: or postgres://"));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(Error::Url("the path of the file is missing after sqlite:"));
        }
        Ok(Self { place: Place::File(base.join(path)) })
    }

    /// The database file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }

    /// The database file, for what only a file can have done to it.
    pub(crate) fn file(&self) -> Result<&Path> {
        self.path().ok_or(Error::Unsupported(
            "this is for a database in a file: PostgreSQL has pg_dump and pg_basebackup for it",
        ))
    }
}

/// Names the place for a person: the path, or the hosts and the database.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => path.display().fmt(f),
            Place::Server(config) => config.fmt(f),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}
