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
    /// The oldest version whose programs can go on with the database when this step is done: nodes
    /// are replaced one after the other. Its own version where none can.
    pub oldest: i64,
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

/// A step that a database has seen.
pub(crate) struct Applied {
    pub(crate) version: i64,
    /// The checksum of its text.
    pub(crate) checksum: String,
    /// [`Migration::oldest`].
    pub(crate) oldest: i64,
}

/// The version of a database that has seen these steps.
pub(crate) fn version(applied: &[Applied]) -> i64 {
    applied.last().map_or(0, |last| last.version)
}

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
    let known = version_of(schema);
    for Applied { version, checksum, oldest } in applied {
        match schema.iter().find(|step| step.version == *version) {
            Some(step) if step.checksum() != *checksum => {
                return Err(Error::SchemaChanged(*version));
            }
            Some(_) => {}
            None if *oldest <= known => {}
            None => return Err(Error::SchemaNewer { found: *version, known }),
        }
    }
    Ok(&schema[applied.len().min(schema.len())..])
}

/// Refuses a database that lacks a step, or that has one more, though this program could go on
/// with it.
pub(crate) fn newest(schema: &[Migration], applied: &[Applied]) -> Result<()> {
    let (found, known) = (version(applied), version_of(schema));
    match pending(schema, applied)? {
        [] if found > known => Err(Error::SchemaNewer { found, known }),
        [] => Ok(()),
        _ => Err(Error::SchemaOlder { found, known }),
    }
}

fn version_of(schema: &[Migration]) -> i64 {
    schema.last().map_or(0, |last| last.version)
}
