//! The rules of the house that a compiler does not hold: sizes, `biased` selects, who may know whom, one binary.

#![allow(clippy::disallowed_methods, reason = "a test that reads the sources")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every tracked Rust file with its text.
fn sources() -> Vec<(String, String)> {
    let listed = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output().expect("git ls-files");
    assert!(listed.status.success(), "git ls-files failed");
    let names = String::from_utf8(listed.stdout).expect("names are text");
    let read = |name: &str| std::fs::read_to_string(root().join(name)).ok().map(|text| (name.to_owned(), text));
    let sources: Vec<_> = names.lines().filter_map(read).collect();
    assert!(sources.len() > 50, "only {} files found: is this a checkout?", sources.len());
    sources
}

/// Functions with their lines, and `select!`s that do not open with `biased;`.
#[derive(Default)]
struct Findings {
    functions: Vec<(String, usize, usize)>,
    unbiased: Vec<usize>,
}

impl Findings {
    fn function(&mut self, name: &syn::Ident, whole: impl Spanned) {
        let span = whole.span();
        self.functions.push((name.to_string(), span.start().line, span.end().line - span.start().line + 1));
    }
}

impl<'ast> Visit<'ast> for Findings {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let is_select = call.path.segments.last().is_some_and(|last| last.ident == "select");
        if is_select && !call.tokens.to_string().starts_with("biased ;") {
            self.unbiased.push(call.span().start().line);
        }
        visit::visit_macro(self, call);
    }
}

fn findings(name: &str, text: &str) -> Findings {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut findings = Findings::default();
    findings.visit_file(&file);
    findings
}

#[test]
fn files_and_functions_are_small_and_selects_are_biased() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}"));
        }
        let findings = findings(&name, &text);
        for (function, line, length) in findings.functions {
            if length > FUNCTION_LINES_MAX {
                wrong.push(format!("{name}:{line}: {function} has {length} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
        wrong.extend(findings.unbiased.iter().map(|line| format!("{name}:{line}: select! without `biased;`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tidy_rules_see_what_they_forbid() {
    let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(80));
    assert!(findings("long", &long).functions[0].2 > FUNCTION_LINES_MAX);
    let text = "async fn f() { tokio::select! { a = b => {} } }";
    assert_eq!(findings("select", text).unbiased, [1]);
    let text = "async fn f() { tokio::select! { biased; a = b => {} } }";
    assert!(findings("select", text).unbiased.is_empty());
}

/// The resolved packages: name and version by id, and what each uses over the given kinds of edge.
struct Graph {
    names: BTreeMap<String, (String, String)>,
    uses: BTreeMap<String, Vec<String>>,
    metadata: Value,
}

impl Graph {
    fn read(kinds: &[Option<&str>]) -> Graph {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root())
            .output()
            .expect("cargo metadata");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let array = |value: &Value| value.as_array().expect("an array").clone();
        let names = array(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), (text(&package["name"]), text(&package["version"]))))
            .collect();
        let wanted = |dep: &Value| array(&dep["dep_kinds"]).iter().any(|kind| kinds.contains(&kind["kind"].as_str()));
        let uses = array(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let deps = array(&node["deps"]);
                (text(&node["id"]), deps.iter().filter(|dep| wanted(dep)).map(|dep| text(&dep["pkg"])).collect())
            })
            .collect();
        Graph { names, uses, metadata }
    }

    fn id(&self, name: &str) -> &str {
        let found = self.names.iter().find(|(_, (other, _))| other == name);
        found.unwrap_or_else(|| panic!("no package {name}")).0
    }

    /// (name, version) of everything that `package` uses, directly or not.
    fn reached(&self, package: &str) -> BTreeSet<(String, String)> {
        let mut reached = BTreeSet::new();
        let mut open = vec![self.id(package).to_owned()];
        while let Some(id) = open.pop() {
            for used in &self.uses[&id] {
                if reached.insert(used.clone()) {
                    open.push(used.clone());
                }
            }
        }
        reached.iter().map(|id| self.names[id].clone()).collect()
    }

    fn reaches(&self, package: &str, other: &str) -> bool {
        self.reached(package).iter().any(|(name, _)| name == other)
    }

    /// Workspace packages whose folder lies below `folder`.
    fn below(&self, folder: &str) -> Vec<String> {
        let folder = root().join(folder);
        let packages = self.metadata["packages"].as_array().expect("packages");
        let inside =
            |package: &&Value| Path::new(package["manifest_path"].as_str().expect("a path")).starts_with(&folder);
        let names: Vec<String> = packages
            .iter()
            .filter(inside)
            .map(|package| package["name"].as_str().expect("a name").to_owned())
            .collect();
        assert!(!names.is_empty(), "no package below {}", folder.display());
        names
    }
}

#[test]
fn pure_crates_know_no_runtime_and_no_world() {
    let graph = Graph::read(&[None, Some("build")]);
    let pure = ["base", "wire", "log", "quorum", "controller", "replica", "node", "checkers"];
    for package in pure.map(|name| format!("klamm-{name}")) {
        for forbidden in ["tokio", "madsim", "klamm-env"] {
            assert!(!graph.reaches(&package, forbidden), "{package} reaches {forbidden}");
        }
    }
    assert!(graph.reaches("klamm-client", "tokio"), "the fence can see a path where there is one");
}

#[test]
fn the_stack_does_not_know_the_simulator() {
    let graph = Graph::read(&[None, Some("build")]);
    for package in graph.below("broker") {
        for forbidden in ["klamm-sim", "madsim"] {
            assert!(!graph.reaches(&package, forbidden), "{package} reaches {forbidden}");
        }
    }
    assert!(graph.reaches("scenarios", "klamm-sim"), "the fence can see a path where there is one");
}

#[test]
fn nothing_simulated_draws_entropy_of_its_own() {
    let graph = Graph::read(&[None]);
    let packages = graph.below("broker").into_iter().chain(graph.below("checkers"));
    for package in packages.filter(|package| package != "klamm-env") {
        for (name, version) in graph.reached(&package) {
            let forbidden = matches!(name.as_str(), "ahash" | "fastrand" | "quanta" | "fastant")
                || (name == "rand" && version.starts_with("0.8."));
            assert!(!forbidden, "{package} reaches {name} {version}");
        }
    }
}

#[test]
fn klamm_is_the_only_binary() {
    let graph = Graph::read(&[None]);
    let members = graph.metadata["workspace_members"].as_array().expect("members").clone();
    let packages = graph.metadata["packages"].as_array().expect("packages");
    let targets = packages
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .flat_map(|package| package["targets"].as_array().expect("targets"));
    let binaries: Vec<_> =
        targets.filter(|target| target["kind"][0] == "bin").map(|target| target["name"].as_str()).collect();
    assert_eq!(binaries, [Some("klamm")]);
}

#[test]
fn every_mark_stands_at_one_place_of_the_stack() {
    let stack =
        sources().into_iter().filter(|(name, _)| name.starts_with("broker/") && !name.ends_with("base/src/mark.rs"));
    let text: String = stack.map(|(_, text)| text).collect();
    for mark in klamm_base::Mark::ALL {
        let name = format!("Mark::{mark:?}");
        let places =
            text.match_indices(&name).filter(|(at, _)| !text[at + name.len()..].starts_with(char::is_alphanumeric));
        assert_eq!(places.count(), 1, "{name}");
    }
}
