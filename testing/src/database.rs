//! A database for one test.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Server, run, shared};
use crate::sql;

/// A database of its own on the shared server; it goes with the value.
pub struct Database {
    server: &'static Server,
    name: String,
}

/// A template that is made once; others that want it wait.
type Template = Arc<OnceLock<String>>;

impl Database {
    /// A new database, filled by `prepare`, which is given an address.
    ///
    /// It runs once for the process, whatever threads ask; the others get copies.
    /// There has to be a server, see [`shared`].
    pub fn fresh(prepare: fn(&str)) -> Self {
        static TEMPLATES: Mutex<Option<HashMap<usize, Template>>> = Mutex::new(None);
        let server = shared().expect("there is a server for the databases of tests");
        let template = {
            let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
            let templates = templates.get_or_insert_default();
            // One function with two addresses costs a second template, and nothing else.
            Arc::clone(templates.entry(prepare as usize).or_default())
        };
        let template = template.get_or_init(|| fill(server, prepare));
        let name = new_name();
        create(server, &name, template);
        Self { server, name }
    }

    /// A new database with nothing in it.
    pub fn empty() -> Self {
        let server = shared().expect("there is a server for the databases of tests");
        let name = new_name();
        create(server, &name, "template0");
        Self { server, name }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Everything that its tables hold: texts and numbers as they are shown, bytes as they are.
    pub fn stored_bytes(&self) -> Vec<u8> {
        let url = self.url();
        let tables = "SELECT quote_ident(tablename) FROM pg_tables
                      WHERE schemaname = current_schema()";
        let mut stored = Vec::new();
        for table in sql(&url, tables).into_iter().flatten() {
            for value in sql(&url, &format!("SELECT * FROM {table}")).into_iter().flatten() {
                match value.strip_prefix("\\x").map(bytes) {
                    Some(Some(bytes)) => stored.extend(bytes),
                    _ => stored.extend(value.bytes()),
                }
                stored.push(0);
            }
        }
        stored
    }

    /// What it is called on its server.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // It may be gone with its server.
        drop(self.server.try_sql(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)));
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn fill(server: &Server, prepare: fn(&str)) -> String {
    let name = new_name();
    create(server, &name, "template0");
    let url = server.url(&name);
    // On a thread of its own: the caller's may belong to a runtime, and `prepare` may want one.
    thread::spawn(move || prepare(&url)).join().expect("a database can be prepared");
    name
}

/// A name that no other database of this run or another has.
fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("postroom_test_{}_{next}", run())
}

fn create(server: &Server, name: &str, template: &str) {
    let begin = Instant::now();
    loop {
        match server.try_sql(&format!("CREATE DATABASE {name} TEMPLATE {template}")) {
            Ok(_none) => return,
            // 55006: the sessions that filled the template are still ending.
            Err(why) if why.starts_with("55006") && begin.elapsed() < Duration::from_secs(30) => {}
            Err(why) => panic!("CREATE DATABASE {name}: {why}"),
        }
    }
}
