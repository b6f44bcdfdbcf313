//! The house rules that no linter knows, held over every Rust file of the tree.

use std::path::{Path, PathBuf};

/// A file of the tree, under its path from the root with `/` between the names.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
    }

    /// Its lines with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The same without comments; `//` in a text counts as one, which hides little.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }

    fn at(&self, number: usize, problem: &str) -> String {
        format!("{}:{number}: {problem}", self.path)
    }
}

type Rule = fn(&File) -> Vec<String>;

const RULES: [Rule; 8] = [
    lines,
    width,
    modules,
    marks,
    plain_words,
    no_sql_at_the_edge,
    no_edge_in_the_domain,
    an_owner_for_each_request,
];

/// A file is read in one sitting.
fn lines(file: &File) -> Vec<String> {
    let most = if file.is_test() { 600 } else { 400 };
    let found = file.lines().count();
    if found <= most {
        return vec![];
    }
    vec![file.at(found, &format!("a file has at most {most} lines"))]
}

/// rustfmt leaves comments and texts as they are.
fn width(file: &File) -> Vec<String> {
    let wide = file.lines().filter(|(_, line)| line.chars().count() > 100);
    wide.map(|(number, _)| file.at(number, "a line has at most 100 characters")).collect()
}

fn modules(file: &File) -> Vec<String> {
    if !file.path.ends_with("/mod.rs") {
        return vec![];
    }
    vec![file.at(1, "a module is a file of its own name")]
}

/// What is not done is an issue, not a comment.
fn marks(file: &File) -> Vec<String> {
    // In halves, so that this file is not found itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|half| half.concat());
    let marked = file.lines().filter(|(_, line)| words(line).any(|word| marks.contains(&word)));
    marked.map(|(number, _)| file.at(number, "a mark is no issue")).collect()
}

/// People are "they", and two words have a plainer one.
fn plain_words(file: &File) -> Vec<String> {
    // In halves, as above.
    let halves = [["h", "e"], ["h", "im"], ["h", "is"], ["who", "ever"], ["an", "ew"]];
    let avoided = halves.map(|half| half.concat());
    let is_avoided = |word: &str| avoided.contains(&word.to_lowercase());
    let found = file
        .lines()
        .filter(|(_, line)| line.split('_').flat_map(words).any(|word| is_avoided(&word)));
    found.map(|(number, _)| file.at(number, "people are they, and a sentence is plain")).collect()
}

fn words(line: &str) -> impl Iterator<Item = String> {
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty()).map(str::to_owned)
}

/// A statement in capitals is SQL; one that is not in capitals is not recognized.
fn no_sql_at_the_edge(file: &File) -> Vec<String> {
    const STARTS: [&str; 10] = [
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "DELETE FROM",
        "CREATE ",
        "DROP ",
        "ALTER ",
        "PRAGMA ",
        "BEGIN ",
        "WITH RECURSIVE",
    ];
    if !file.path.starts_with("crates/server/src/") {
        return vec![];
    }
    let sql = |line: &str| STARTS.iter().any(|start| line.contains(start));
    let found = file.code().filter(|(_, line)| sql(line));
    found.map(|(number, _)| file.at(number, "the edge knows no SQL")).collect()
}

fn no_edge_in_the_domain(file: &File) -> Vec<String> {
    const FOREIGN: [&str; 6] = ["async", "await", "tokio", "axum", "hyper", "rusqlite"];
    if !file.path.starts_with("crates/domain/src/") {
        return vec![];
    }
    let foreign = |line: &str| words(line).any(|word| FOREIGN.contains(&word.as_str()));
    let found = file.code().filter(|(_, line)| foreign(line));
    found.map(|(number, _)| file.at(number, "the domain knows no runtime and no edge")).collect()
}

/// What a request asks of the database has its turn under the owner's name.
fn an_owner_for_each_request(file: &File) -> Vec<String> {
    const WITHOUT: [&str; 5] =
        ["db.read(", "db.scan(", "db.write(", "db.write_for(", "db.write_later("];
    if !file.path.starts_with("crates/server/src/http/") {
        return vec![];
    }
    let without = |line: &str| WITHOUT.iter().any(|call| line.contains(call));
    let found = file.code().filter(|(_, line)| without(line));
    found.map(|(number, _)| file.at(number, "a request names its owner: `db.of(…)`")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files of the crates, of what they are tested with, and of the benchmark.
fn tree() -> Vec<File> {
    files(&["crates", "testing", "bench"], &["rs"])
}

/// What people read or build on besides, by this or that extension.
fn documents() -> Vec<File> {
    let extensions = ["md", "py", "js", "ts", "html", "toml", "conf", "cfg", "yml", "yaml", "sh"];
    let mut documents = files(&["docs", "clients", "examples", "deploy", ".ci"], &extensions);
    for path in ["README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG"] {
        let path = format!("{path}.md");
        documents.push(File { text: read(&path), path });
    }
    documents
}

fn files(folders: &[&str], extensions: &[&str]) -> Vec<File> {
    let root = root();
    let mut folders: Vec<_> = folders.iter().map(|name| root.join(name)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the folder is there");
        for entry in entries {
            let path = entry.expect("it can be read").path();
            let is_built = ["target", "node_modules", "data", "venv", ".venv"];
            if path.is_dir() {
                if !is_built.iter().any(|name| path.ends_with(name)) {
                    folders.push(path);
                }
            } else if extensions.iter().any(|one| path.extension() == Some(one.as_ref())) {
                let text = std::fs::read_to_string(&path).expect("it is text");
                let path = path.strip_prefix(&root).expect("it is below the root");
                files.push(File { path: path.to_str().expect("it is text").to_owned(), text });
            }
        }
    }
    files
}

fn assert_none(mut problems: Vec<String>) {
    problems.sort();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_file_keeps_the_house_rules() {
    let tree = tree();
    assert!(tree.len() > 50, "the tree is not where it was: {} files", tree.len());
    let mut problems: Vec<_> =
        tree.iter().flat_map(|file| RULES.iter().flat_map(|rule| rule(file))).collect();
    let documents = documents();
    assert!(documents.len() > 50, "the documents are not where they were: {}", documents.len());
    problems.extend(documents.iter().flat_map(plain_words));

    assert_none(problems);
}

#[test]
fn each_rule_names_what_breaks_it_and_nothing_else() {
    let breaks = |rule: Rule, path: &str, text: &str| {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        !rule(&file).is_empty()
    };
    let source = "crates/server/src/http.rs";

    assert!(
        breaks(lines, source, &"a\n".repeat(401)) && !breaks(lines, source, &"a\n".repeat(400))
    );
    let test = "crates/server/tests/api/main.rs";
    assert!(breaks(lines, test, &"a\n".repeat(601)) && !breaks(lines, test, &"a\n".repeat(600)));
    assert!(breaks(width, source, &"ü".repeat(101)) && !breaks(width, source, &"ü".repeat(100)));
    assert!(breaks(modules, "crates/db/src/sqlite/mod.rs", "") && !breaks(modules, source, ""));
    let mark = format!("// {}{}: later", "TO", "DO");
    assert!(breaks(marks, source, &mark) && !breaks(marks, source, "// todos are fine"));

    let pronoun = format!("// {}{} token", "H", "is");
    let name = format!("fn made_an{}_again()", "ew");
    assert!(
        breaks(plain_words, source, &pronoun)
            && breaks(plain_words, source, &name)
            && !breaks(plain_words, source, "// this new history")
    );

    let sql = r#"    tx.query("SELECT id FROM users")"#;
    assert!(breaks(no_sql_at_the_edge, source, sql));
    assert!(breaks(no_sql_at_the_edge, source, "DELETE FROM sessions"));
    assert!(!breaks(no_sql_at_the_edge, source, "// SELECT is not written here"));
    assert!(!breaks(no_sql_at_the_edge, source, "only(\"DELETE\", delete(messages::delete))"));
    assert!(!breaks(no_sql_at_the_edge, "crates/domain/src/accounts/users.rs", sql));

    let domain = "crates/domain/src/accounts/users.rs";
    for line in ["pub async fn f()", "use tokio::sync;", "    axum::Json(x)", "f().await"] {
        assert!(breaks(no_edge_in_the_domain, domain, line), "{line}");
        assert!(!breaks(no_edge_in_the_domain, source, line), "{line}");
    }
    assert!(!breaks(no_edge_in_the_domain, domain, "//! No async, no HTTP"));

    let handler = "crates/server/src/http/v1/blocks.rs";
    let read = "    let read = app.db.read(move |tx| blocks::list(tx, user));";
    assert!(breaks(an_owner_for_each_request, handler, read));
    assert!(!breaks(an_owner_for_each_request, "crates/server/src/background/jobs.rs", read));
    let named = read.replace("db.", "db.of(user).");
    assert!(!breaks(an_owner_for_each_request, handler, &named));
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace_and_unsafe_code_is_forbidden() {
    let workspace: toml::Table = read("Cargo.toml").parse().expect("it is TOML");
    let unsafe_code = &workspace["workspace"]["lints"]["rust"]["unsafe_code"];
    assert_eq!(unsafe_code.as_str(), Some("forbid"));
    let members = workspace["workspace"]["members"].as_array().expect("it is a list");
    assert!(members.len() >= 4);

    for member in members {
        let path = format!("{}/Cargo.toml", member.as_str().expect("it is a path"));
        let manifest: toml::Table = read(&path).parse().expect("it is TOML");
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(lints.and_then(toml::Value::as_bool), Some(true), "{path}");
    }
}

/// The part of the layers that `deny.toml` cannot say: it knows no kinds of dependencies.
#[test]
fn the_product_is_built_without_what_tests_need_and_the_domain_without_a_runtime() {
    let workspace: toml::Table = read("Cargo.toml").parse().expect("it is TOML");
    let uses = |member: &str, section: &str, name: &str| {
        let manifest: toml::Table =
            read(&format!("{member}/Cargo.toml")).parse().expect("it is TOML");
        manifest.get(section).is_some_and(|section| section.get(name).is_some())
    };
    let members = |list: &str| {
        let members = workspace["workspace"][list].as_array().expect("it is a list").clone();
        members.into_iter().map(|member| member.as_str().expect("it is a path").to_owned())
    };
    for product in members("default-members") {
        assert!(uses(&product, "dev-dependencies", "testing"), "{product} is not tested");
        assert!(!uses(&product, "dependencies", "testing"), "{product}");
    }
    for member in members("members") {
        for section in ["dependencies", "dev-dependencies"] {
            assert!(!uses(&member, section, "server"), "{member}");
        }
    }
    assert!(uses("crates/domain", "dependencies", "db"));
    assert!(!uses("crates/domain", "dependencies", "tokio"));
}

#[test]
fn every_dependency_and_every_rule_about_one_has_its_reason_beside_it() {
    let manifest = read("Cargo.toml");
    let (_, rest) = manifest.split_once("[workspace.dependencies]").expect("they are listed");
    let listed = rest.lines().take_while(|line| !line.starts_with('['));
    let listed: Vec<_> = listed.filter(|line| line.contains(" = ")).collect();
    assert!(listed.len() > 40, "{}", listed.len());
    let others = |line: &&str| !line.contains("{ path = ");
    let silent: Vec<_> =
        listed.into_iter().filter(others).filter(|line| !line.contains(" # ")).collect();
    assert!(silent.is_empty(), "{silent:#?}");

    let rules = read("deny.toml");
    let mut rules = rules.lines().filter(|line| line.contains("{ crate = "));
    assert!(rules.clone().count() > 10);
    let silent = rules.find(|rule| !rule.contains(", reason = \""));
    assert_eq!(silent, None);
}
