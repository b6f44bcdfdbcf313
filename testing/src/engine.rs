//! Which engine this process tests.

/// The engines that the suite runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// The engine that the environment variable `TEST_ENGINE` names, `sqlite` or `postgres`; SQLite
/// where it is not set.
pub fn engine() -> Engine {
    match variable("TEST_ENGINE").as_deref() {
        None | Some("sqlite") => Engine::Sqlite,
        Some("postgres") => Engine::Postgres,
        Some(other) => panic!("TEST_ENGINE is {other:?}, and can be `sqlite` or `postgres`"),
    }
}

/// What an environment variable says; empty is as good as not set.
#[expect(clippy::disallowed_methods, reason = "the settings of tests have no file and no flags")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
