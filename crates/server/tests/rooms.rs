//! The map of each crate: files import from each other without circles, and a room imports only
//! from rooms below it. A room is a file at the top of `src` and the folder of the same name.
//!
//! An import is a `use`, or a path in the code that begins with `crate` or `super`, from the file
//! that defines what it names. That a parent declares, re-exports or calls its children is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::slice::from_ref;

/// The rooms of each crate, from the top down. `lib.rs` and `main.rs` stand above them.
const ROOMS: [(&str, &str); 3] = [
    ("db", ""),
    ("domain", "check > moving > mailbox > accounts > outbox > base"),
    ("server", "cli > serve > http > background > node > realtime > email > runtime > config"),
];

type Names = Vec<String>;
type Edges = BTreeSet<(String, String)>;

/// The files of a crate, by the names of their modules; `lib.rs` has none.
struct Map(BTreeMap<Names, Module>);

#[derive(Default)]
struct Module {
    imports: Vec<Names>,
    /// What it re-exports: the path, which ends with the name.
    exports: Vec<Names>,
}

/// A file's code without comments and without its tests, which come last.
fn code(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].contains("mod ");
    let end = lines.windows(2).position(is_tests).unwrap_or(lines.len());
    let lines = lines[..end].iter().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Takes `a::{b, c::d}` apart into its paths.
fn expand(tree: &str) -> Vec<Names> {
    let Some((before, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let names = path.split("::").map(|name| name.trim().to_owned());
        return vec![names.filter(|name| !name.is_empty() && name != "self").collect()];
    };
    let inner = inner.trim_end().strip_suffix('}').expect("what is opened is closed");
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().expect("there is one").push(c),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(&format!("{}{}", before.trim(), part.trim()))).collect()
}

impl Module {
    fn read(text: &str) -> Self {
        let (code, mut module) = (code(text), Self::default());
        for statement in code.split(';') {
            let Some(start) = statement.rfind("use ") else { continue };
            let before = statement[..start].rsplit('\n').next().unwrap_or_default().trim();
            let tree = &statement[start + "use ".len()..];
            // A text can have the word too.
            let is_tree =
                |c: char| c.is_alphanumeric() || c.is_whitespace() || "_:{},*".contains(c);
            if !tree.chars().all(is_tree) || tree.matches('{').count() != tree.matches('}').count()
            {
                continue;
            }
            let paths = || expand(tree);
            match before {
                "" => module.imports.extend(paths()),
                _ if before.starts_with("pub") => module.exports.extend(paths()),
                _ => {}
            }
        }
        for root in ["crate::", "super::"] {
            for (at, _) in code.match_indices(root) {
                let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
                let length = code[at..].find(|c| !is_path(c)).unwrap_or(code.len() - at);
                let path = &code[at..at + length];
                // Not a tree, which was read above, nor the middle of a path, nor a visibility.
                let is_whole = !path.ends_with("::") && !code[..at].ends_with([':', '$']);
                if is_whole && !code[..at].ends_with("(in ") {
                    module.imports.extend(expand(path));
                }
            }
        }
        module
    }
}

impl Map {
    fn of(source: &Path) -> Self {
        let (mut map, mut folders) = (Self(BTreeMap::new()), vec![source.to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("it can be read") {
                let path = entry.expect("it can be read").path();
                let names = path.strip_prefix(source).expect("it is below").with_extension("");
                let names = names.iter().map(|name| name.to_str().expect("it is text").to_owned());
                let names: Names = names.filter(|name| name != "lib").collect();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|is| is == "rs") && names != ["main"] {
                    let text = std::fs::read_to_string(&path).expect("it is text");
                    map.0.insert(names, Module::read(&text));
                }
            }
        }
        map
    }

    /// The file that defines what a path names, unless another crate does.
    fn resolve(&self, from: &[String], path: &[String]) -> Option<Names> {
        let is_child =
            |at: &[String], name: &String| self.0.contains_key(&[at, from_ref(name)].concat());
        let (mut at, rest) = match path.first()?.as_str() {
            "crate" => (vec![], &path[1..]),
            first if first == "super" || is_child(from, &path[0]) => (from.to_vec(), path),
            _ => return None,
        };
        for name in rest {
            let exported = || self.0[&at].exports.iter().find(|path| path.last() == Some(name));
            if name == "super" {
                at.pop();
            } else if is_child(&at, name) {
                at.push(name.clone());
            } else if let Some(inner) = exported().and_then(|path| self.resolve(&at, path)) {
                at = inner;
            } else {
                break;
            }
        }
        Some(at)
    }

    fn edges(&self) -> Edges {
        let imports = self.0.iter().flat_map(|(from, module)| {
            let to = module.imports.iter().filter_map(|path| self.resolve(from, path));
            to.map(|to| (from.join("/"), to.join("/")))
        });
        imports.filter(|(from, to)| from != to).collect()
    }
}

/// The imports that are left when those that close no circle are taken away.
fn circles(mut edges: Edges) -> Edges {
    loop {
        let importers: BTreeSet<_> = edges.iter().map(|(from, _)| from.clone()).collect();
        let imported: BTreeSet<_> = edges.iter().map(|(_, to)| to.clone()).collect();
        let before = edges.len();
        edges.retain(|(from, to)| imported.contains(from) && importers.contains(to));
        if edges.len() == before {
            return edges;
        }
    }
}

/// The imports that run up, or whose rooms are not in the list.
fn upwards(edges: &Edges, rooms: &str) -> Edges {
    let rooms: Vec<_> = rooms.split(" > ").collect();
    let floor = |file: &str| rooms.iter().position(|room| file.split('/').next() == Some(room));
    let up = |from: &str, to: &str| floor(from).is_none() || floor(from) > floor(to);
    edges.iter().filter(|(from, to)| !from.is_empty() && up(from, to)).cloned().collect()
}

#[test]
fn no_crate_has_a_circle_and_no_room_imports_from_above() {
    for (name, rooms) in ROOMS {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let map = Map::of(&source);
        let edges = map.edges();
        assert!(edges.len() > 30, "{name}: its imports are not found: {edges:?}");
        let up = upwards(&edges, rooms);
        assert!(rooms.is_empty() || up.is_empty(), "{name}: imports from above: {up:#?}");
        let all = map.0.values().flat_map(|module| &module.imports);
        let of_root = |path: &&Names| path[0] == "crate" && !map.0.contains_key(&path[1..2]);
        let of_root: Vec<_> = all.filter(of_root).collect();
        assert!(name != "server" || of_root.is_empty(), "import from its file: {of_root:?}");
        let circles = circles(edges);
        assert!(circles.is_empty(), "{name}: imports in a circle: {circles:#?}");
    }
}
