//! The rules of schema versions, the same for every engine: append-only and checksummed.

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// One step of the schema. Versions count from 1 without a gap; a shipped step never changes.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub name: &'static str,
    /// Its statements, in the `STRICT` dialect of the embedded engine.
    pub sql: &'static str,
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 is an empty database.
    pub from: i64,
    /// The version now.
    pub to: i64,
    /// The copy that was made of the file before it was changed.
    pub copy: Option<std::path::PathBuf>,
}

/// A step that a database has seen: its version and the checksum of its text.
pub(crate) type Applied = (i64, String);

impl Migration {
    pub(crate) fn checksum(&self) -> String {
        use std::fmt::Write as _;
        Sha256::digest(self.sql).iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string succeeds");
            hex
        })
    }
}

/// The steps that a database lacks, after those it has were found to be ours.
pub(crate) fn pending<'a>(schema: &'a [Migration], applied: &[Applied]) -> Result<&'a [Migration]> {
    let known = schema.last().map_or(0, |last| last.version);
    for (version, checksum) in applied {
        let Some(step) = schema.iter().find(|step| step.version == *version) else {
            return Err(Error::SchemaNewer { found: *version, known });
        };
        if step.checksum() != *checksum {
            return Err(Error::SchemaChanged(*version));
        }
    }
    Ok(&schema[applied.len().min(schema.len())..])
}
