//! A device that can be made slow, full or broken (`shim.c`).

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Place, Server};

/// A place whose storage can be made to fail.
pub(crate) struct Faulty {
    pub place: Place,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        build_shim(&place.path("shim.so"));
        Self { place }
    }

    pub(crate) fn serve(&self) -> Server {
        let mut command = self.place.command(&[]);
        command.env("LD_PRELOAD", self.place.path("shim.so"));
        command.env("FAULT_SWITCH", self.place.path("switch"));
        self.place.serve_by(command)
    }

    /// Lets this fail from now on.
    pub(crate) fn fail(&self, what: &str) {
        // A rename is all or nothing for its readers.
        fs::write(self.place.path("switch.new"), what).expect("it can be written");
        fs::rename(self.place.path("switch.new"), self.place.path("switch")).expect("it is there");
    }

    pub(crate) fn heal(&self) {
        fs::remove_file(self.place.path("switch")).expect("something failed before");
    }
}

/// Builds what makes the storage of a process fail that is started with it as `LD_PRELOAD`.
pub(crate) fn build_shim(target: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/shim.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(target).arg(source).arg("-ldl");
    let built = cc.status().expect("there is a C compiler, SQLite needs it too");
    assert!(built.success(), "the shim does not compile");
}
