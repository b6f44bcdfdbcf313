//! What follows from a path alone.

/// Whether it is of /v1.
pub(super) fn is_v1(path: &str) -> bool {
    path.starts_with("/v1/")
}

/// Whether pages of other origins may use it, where the operator allows them.
pub(super) fn has_cors(path: &str) -> bool {
    is_v1(path) && !is_servers(path)
}

/// Whether it is for the app's own server, with a server key.
pub(super) fn is_servers(path: &str) -> bool {
    path.starts_with("/v1/server/")
}

/// The metrics, on a listener of their own.
pub(super) const METRICS: &str = "/metrics";

/// Whether it is for the operator's machines, which may call the server by any name.
pub(super) fn is_operators(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | METRICS)
}
