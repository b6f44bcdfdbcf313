//! What may enter the tree, and who may use it: the rules of `deny.toml` and of the layers, held on
//! every `cargo test`.
//!
//! cargo-deny reads the same `deny.toml`, so the two cannot drift; these tests need nothing but
//! cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::SplitWhitespace;

use serde::Deserialize;
use serde_json::json;

/// What a crate of ours must not name among its dependencies.
const LAYERS: &[(&str, Kinds, &[&str])] = &[
    ("db", Kinds::All, &["mail", "server"]),
    ("mail", Kinds::All, &["server"]),
    ("db", Kinds::Normal, &["testing"]),
    ("mail", Kinds::Normal, &["tokio", "axum", "hyper", "rusqlite", "testing"]),
    ("server", Kinds::Normal, &["testing"]),
    ("testing", Kinds::All, &["db", "mail", "server"]),
    ("server", Kinds::All, &["rusqlite"]),
    ("bench", Kinds::All, &["db", "mail", "server"]),
];

#[derive(Clone, Copy, PartialEq)]
enum Kinds {
    /// Those of the tests and the build script too.
    All,
    Normal,
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    assert_none(&unlicensed(&rules(), &tree()));
}

#[test]
fn every_package_is_ours_or_from_an_allowed_registry() {
    assert_none(&strangers(&rules(), &tree()));
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let rules = rules();
    for name in ["openssl", "native-tls", "ring", "chrono"] {
        let banned = rules.bans.deny.iter().any(|d| d.name == name && d.wrappers.is_empty());
        assert!(banned, "deny.toml no longer bans {name}");
    }
    assert_none(&banned(&rules, &tree()));
}

#[test]
fn a_guarded_crate_is_used_only_by_its_wrappers() {
    let rules = rules();
    for name in ["rusqlite", "axum", "hyper"] {
        let guarded = rules.bans.deny.iter().any(|d| d.name == name && !d.wrappers.is_empty());
        assert!(guarded, "deny.toml no longer guards {name}");
    }
    assert_none(&unguarded(&rules, &tree()));
}

#[test]
fn each_crate_is_there_in_one_version() {
    assert_none(&doubled(&rules(), &tree()));
}

#[test]
fn each_crate_of_ours_keeps_to_its_layer() {
    assert_none(&out_of_layer(&tree()));
}

#[test]
fn a_licence_expression_is_met_as_spdx_means_it() {
    let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND Zlib", true),
        ("MIT OR GPL-3.0 AND GPL-2.0", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("(GPL-3.0 OR (MIT AND Zlib))", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("MIT WITH LLVM-exception", false),
        ("(MIT", false),
        ("MIT Zlib", false),
        ("", false),
    ] {
        assert_eq!(met(expression, &allowed), expected, "{expression:?}");
    }
}

#[test]
fn each_rule_names_what_breaks_it() {
    let rules: Rules = toml::from_str(
        r#"
        [licenses]
        allow = ["MIT"]
        [bans]
        skip = [{ crate = "twice", reason = "" }]
        deny = [
            { crate = "ring", reason = "" },
            { crate = "hyper", wrappers = ["server"], reason = "" },
        ]
        [sources]
        allow-registry = ["https://registry.test/index"]
        "#,
    )
    .unwrap();
    let registry = "registry+https://registry.test/index";
    let ours = |name: &str, dependencies: serde_json::Value| {
        json!({"id": name, "name": name, "version": "0.1.0", "license": "MIT", "source": null,
               "manifest_path": format!("/repo/{name}/Cargo.toml"), "dependencies": dependencies})
    };
    let other = |name: &str, version: &str, license: Option<&str>, source: &str| {
        json!({"id": format!("{name}@{version}"), "name": name, "version": version,
            "license": license, "source": source,
               "manifest_path": format!("/cache/{name}/Cargo.toml"), "dependencies": []})
    };
    let mut outsider = ours("outsider", json!([]));
    outsider["manifest_path"] = json!("/elsewhere/Cargo.toml");
    let tree: Tree = serde_json::from_value(json!({
        "workspace_root": "/repo",
        "packages": [
            ours("db", json!([{"name": "mail", "kind": "dev"}])),
            ours(
                "mail",
                json!([{"name": "tokio", "kind": null}, {"name": "hyper", "kind": "dev"}]),
            ),
            ours("server", json!([{"name": "hyper", "kind": null}])),
            outsider,
            other("hyper", "1.0.0", Some("MIT OR GPL-3.0"), registry),
            other("ring", "0.17.0", Some("GPL-3.0"), registry),
            other("nameless", "1.0.0", None, "git+https://registry.test/nameless"),
            other("twice", "1.0.0", Some("MIT"), registry),
            other("twice", "2.0.0", Some("MIT"), registry),
            other("again", "1.0.0", Some("MIT"), registry),
            other("again", "2.0.0", Some("MIT"), registry),
        ],
        "resolve": {"nodes": [
            {"id": "mail", "dependencies": ["hyper@1.0.0"]},
            {"id": "server", "dependencies": ["hyper@1.0.0"]},
        ]},
    }))
    .unwrap();

    let unlicensed = unlicensed(&rules, &tree);
    assert_eq!(unlicensed, ["ring 0.17.0: GPL-3.0", "nameless 1.0.0: no licence named"]);
    let git = "nameless 1.0.0: git+https://registry.test/nameless";
    assert_eq!(strangers(&rules, &tree), ["outsider 0.1.0: /elsewhere/Cargo.toml", git]);
    assert_eq!(banned(&rules, &tree), ["ring 0.17.0"]);
    assert_eq!(unguarded(&rules, &tree), ["mail uses hyper"]);
    assert_eq!(doubled(&rules, &tree), ["again: 1.0.0, 2.0.0"]);
    let layers = out_of_layer(&tree);
    assert_eq!(layers[..2], ["db uses mail", "mail uses tokio"]);
    assert_eq!(
        layers[2..],
        ["testing", "bench"].map(|name| format!("{name} is not in the workspace"))
    );
}

/// The part of `deny.toml` that needs no advisory database. A key of a rule that these tests would
/// not keep is an error.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Entry>,
    skip: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: BTreeSet<String>,
    /// Nobody bans, guards or skips without one.
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// The part of `cargo metadata` that the rules speak of.
#[derive(Deserialize)]
struct Tree {
    workspace_root: PathBuf,
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for a normal one.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rules() -> Rules {
    let text = std::fs::read_to_string(workspace().join("deny.toml")).expect("deny.toml is there");
    let rules: Rules = toml::from_str(&text).expect("deny.toml says only what these tests keep");
    for entry in rules.bans.deny.iter().chain(&rules.bans.skip) {
        let plain = !entry.name.contains(['@', ':', '*']);
        assert!(plain, "these tests know no versions: {}", entry.name);
    }
    rules
}

fn tree() -> Tree {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--all-features", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut tree: Tree =
        serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON of format 1");
    let used = used();
    tree.packages.retain(|package| used.contains(&(package.name.clone(), package.version.clone())));
    let ids: BTreeSet<_> = tree.packages.iter().map(|package| package.id.clone()).collect();
    tree.resolve.nodes.retain(|node| ids.contains(&node.id));
    for node in &mut tree.resolve.nodes {
        node.dependencies.retain(|id| ids.contains(id));
    }
    tree
}

/// What is built of it, for any system: the lock file also names what a library would need for
/// features that nobody asks for.
fn used() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--workspace", "--all-features", "--target", "all"])
        .args(["--edges", "all", "--prefix", "none", "--format", "{p}"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    let packages = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    });
    packages.collect()
}

fn unlicensed(rules: &Rules, tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for package in &tree.packages {
        let license = package.license.as_deref();
        if !license.is_some_and(|license| met(license, &rules.licenses.allow)) {
            found.push(format!("{package}: {}", license.unwrap_or("no licence named")));
        }
    }
    found
}

fn strangers(rules: &Rules, tree: &Tree) -> Vec<String> {
    let registries: Vec<String> =
        rules.sources.allow_registry.iter().map(|url| format!("registry+{url}")).collect();
    let mut found = Vec::new();
    for package in &tree.packages {
        match &package.source {
            Some(source) if registries.contains(source) => {}
            Some(source) => found.push(format!("{package}: {source}")),
            None if package.manifest_path.starts_with(&tree.workspace_root) => {}
            None => found.push(format!("{package}: {}", package.manifest_path.display())),
        }
    }
    found
}

fn banned(rules: &Rules, tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for rule in rules.bans.deny.iter().filter(|rule| rule.wrappers.is_empty()) {
        found.extend(tree.packages.iter().filter(|p| p.name == rule.name).map(Package::to_string));
    }
    found
}

fn unguarded(rules: &Rules, tree: &Tree) -> Vec<String> {
    let names: BTreeMap<&str, &str> =
        tree.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let mut found = Vec::new();
    for rule in rules.bans.deny.iter().filter(|rule| !rule.wrappers.is_empty()) {
        for node in &tree.resolve.nodes {
            let parent = names[node.id.as_str()];
            let uses_it = node.dependencies.iter().any(|id| names[id.as_str()] == rule.name);
            if uses_it && !rule.wrappers.contains(parent) {
                found.push(format!("{parent} uses {}", rule.name));
            }
        }
    }
    found
}

fn doubled(rules: &Rules, tree: &Tree) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &tree.packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    for skip in &rules.bans.skip {
        versions.remove(skip.name.as_str());
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    several.map(|(name, versions)| format!("{name}: {}", versions.join(", "))).collect()
}

fn out_of_layer(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (name, kinds, forbidden) in LAYERS {
        let ours = tree.packages.iter().find(|p| p.source.is_none() && p.name == *name);
        let Some(ours) = ours else {
            found.push(format!("{name} is not in the workspace"));
            continue;
        };
        for dependency in &ours.dependencies {
            let counts = *kinds == Kinds::All || dependency.kind.is_none();
            if counts && forbidden.contains(&dependency.name.as_str()) {
                found.push(format!("{name} uses {}", dependency.name));
            }
        }
    }
    found
}

/// Whether the licences in `allowed` are enough for an SPDX expression, or for the older
/// `MIT/Zlib`.
fn met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any_met(&mut words, allowed) && words.next().is_none()
}

fn any_met(words: &mut Peekable<SplitWhitespace<'_>>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all_met(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_met(words, allowed);
    }
    met
}

fn all_met(words: &mut Peekable<SplitWhitespace<'_>>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one_met(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one_met(words, allowed);
    }
    met
}

fn one_met(words: &mut Peekable<SplitWhitespace<'_>>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any_met(words, allowed);
        return words.next() == Some(")") && met;
    }
    let mut licence = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&licence)
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "deny.toml and the layers forbid:\n  {}", found.join("\n  "));
}
