//! The open file limit of the process: each connection is an open file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Other open files: the database, connections to it and to webhooks, listening sockets.
const OTHERS: u64 = 256;

/// Raises the limit to the hard limit, and warns if that is too low for so many connections:
/// further ones would wait until others are closed.
pub(crate) fn raise(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let all = Rlimit { current: maximum, maximum };
        if let Err(error) = setrlimit(Resource::Nofile, all) {
            tracing::warn!(%error, "cannot raise the open file limit");
        }
    }
    // `None` is no limit.
    if let Some(files) = getrlimit(Resource::Nofile).current
        && files < connections as u64 + OTHERS
    {
        tracing::warn!(files, connections, "the open file limit is too low for max_connections");
    }
}
