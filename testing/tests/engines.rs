//! The suite on both engines: this binary runs itself again, as every binary of tests does.

use testing::{Database, Engine, again_on_postgres, engine, shared};

#[test]
fn everything_again_on_postgresql() {
    again_on_postgres("everything_again_on_postgresql");
}

#[test]
fn what_runs_on_postgresql_has_a_server() {
    match engine() {
        Engine::Sqlite => {}
        Engine::Postgres => {
            let database = Database::empty();
            assert_eq!(testing::sql(&database.url(), "SELECT 1"), [["1"]]);
            assert!(shared().unwrap().url("other").contains("/other"));
        }
    }
}
