//! The rules of schema versions, which all engines share: append-only and checksummed.

use sha2::{Digest, Sha256};

use crate::{Error, Result, Row};

/// One step of the schema. Versions count from 1 without a gap; a released step never changes.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// A short name, which is only recorded.
    pub name: &'static str,
    /// Its statements, as SQLite's `STRICT` tables take them.
    pub sql: &'static str,
    /// The oldest version whose programs still work once this step is applied, so that nodes can be
    /// replaced one by one. The step's own version if no older program works.
    pub oldest: i64,
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 for an empty database.
    pub from: i64,
    /// The version now.
    pub to: i64,
    /// The copy of the file that was made before it was changed.
    pub copy: Option<std::path::PathBuf>,
}

pub(crate) struct Applied {
    pub(crate) version: i64,
    /// The SHA-256 of its statements.
    pub(crate) checksum: String,
    /// [`Migration::oldest`].
    pub(crate) oldest: i64,
}

impl Applied {
    /// From a row with the fields.
    pub(crate) fn new(row: &Row<'_>) -> Result<Self> {
        let (version, checksum, oldest) = (row.int(0)?, row.text(1)?.to_owned(), row.int(2)?);
        Ok(Self { version, checksum, oldest })
    }
}

/// The version of a database with these steps.
fn version(applied: &[Applied]) -> i64 {
    applied.last().map_or(0, |last| last.version)
}

impl Migration {
    pub(crate) fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql))
    }
}

/// What a migration has to do, and the steps for it.
pub(crate) fn plan<'a>(
    schema: &'a [Migration],
    applied: &[Applied],
) -> Result<(Migrated, &'a [Migration])> {
    let (steps, from) = (pending(schema, applied)?, version(applied));
    let to = steps.last().map_or(from, |last| last.version);
    Ok((Migrated { from, to, copy: None }, steps))
}

/// The steps that a database lacks, once those it has are found to match `schema`.
fn pending<'a>(schema: &'a [Migration], applied: &[Applied]) -> Result<&'a [Migration]> {
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

/// Refuses a database that this program cannot work with.
pub(crate) fn usable(schema: &[Migration], applied: &[Applied]) -> Result<()> {
    match pending(schema, applied)?.last() {
        None => Ok(()),
        Some(last) => Err(Error::SchemaOlder { found: version(applied), known: last.version }),
    }
}

/// Refuses a database that has not exactly the steps of `schema`, even if this program could work
/// with it.
pub(crate) fn exact(schema: &[Migration], applied: &[Applied]) -> Result<()> {
    usable(schema, applied)?;
    let (found, known) = (version(applied), version_of(schema));
    if found > known { Err(Error::SchemaNewer { found, known }) } else { Ok(()) }
}

fn version_of(schema: &[Migration]) -> i64 {
    schema.last().map_or(0, |last| last.version)
}
