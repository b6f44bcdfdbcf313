//! `postroom audit`

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;
use domain::audit::{self, Record};
use domain::{ServerKeyId, UserId, UserRef, users};

use super::output::listing;
use super::{Store, shown, wait};
use crate::config::Settings;

#[derive(Args)]
pub(super) struct Audit {
    /// Only of the server key with this id; 0 is the one of the configuration
    #[arg(long)]
    key: Option<i64>,
    /// Only about this user: an id, ext: and the app's own id, or a username
    #[arg(long)]
    user: Option<String>,
    /// The most lines to print
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) fn run(settings: &Settings, Audit { key, user, limit }: &Audit) -> Result<()> {
    let store = Store::open(settings)?;
    let key = match key {
        Some(0) => Some(ServerKeyId::CONFIGURED),
        Some(id) => {
            Some(ServerKeyId::new(*id).with_context(|| format!("there is no server key {id}"))?)
        }
        None => None,
    };
    let user = match user {
        Some(named) => {
            let of = UserRef::parse(named)?;
            // What is about an erased user is still found by their id.
            let id = store.read(move |tx| users::id_of(tx, &of))?;
            Some(id.with_context(|| format!("there is no user {named}"))?)
        }
        None => None,
    };
    let (mut out, limit) = (listing()?, usize::try_from(*limit)?);
    for Record { happened_at, key, key_name, call, request_id, user } in
        wait(store.db.scan(move |tx| audit::list(tx, key, user, limit)))??
    {
        let at = shown(happened_at);
        let user = user.map_or("-".to_owned(), |user: UserId| user.get().to_string());
        let key = key.get();
        writeln!(out, "{at}\t{key}\t{key_name}\t{call}\t{user}\t{request_id}")?;
    }
    Ok(())
}
