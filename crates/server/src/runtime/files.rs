//! How many files the process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What else is open: the database, connections to it and to webhooks, sockets that listen.
const OTHERS: u64 = 256;

/// Takes as many as the system lets it have, and says where that is too few for so many
/// connections: beyond it new ones wait until others end, however many are allowed.
pub(crate) fn allow(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let all = Rlimit { current: maximum, maximum };
        if let Err(error) = setrlimit(Resource::Nofile, all) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
    // Without one there is no limit.
    if let Some(files) = getrlimit(Resource::Nofile).current
        && files < connections as u64 + OTHERS
    {
        tracing::warn!(files, connections, "fewer open files are allowed than connections");
    }
}
