//! Which of our crates may depend on which: arrows point down only.
//!
//! A crate that the table does not know is a fault, so a new kind of crate is placed before it is used.

use serde::Deserialize;
use std::collections::HashSet;
use std::path::Path;

/// A package of the workspace, as `cargo metadata` tells it.
#[derive(Deserialize)]
pub struct Package {
    /// Name of the crate.
    pub name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Absent for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// What a crate may use of ours. A word that ends with `-` stands for every crate whose name begins so.
struct Rule {
    who: &'static [&'static str],
    may_use: &'static [&'static str],
    /// What its tests may use besides; `None` is anything.
    tests_also: Option<&'static [&'static str]>,
}

const PLUGINS: &[&str] = &["executor-", "policy-", "auth-", "watcher-", "status-", "network-"];

const RULES: &[Rule] = &[
    Rule { who: &["god-core"], may_use: &[], tests_also: Some(&[]) },
    Rule {
        who: &["god-config", "god-store", "god-runtime", "god-engine", "god-telemetry", "god-testkit"],
        may_use: &["god-core"],
        tests_also: None,
    },
    Rule { who: &["store-"], may_use: &["god-core", "god-store"], tests_also: Some(&["god-testkit"]) },
    Rule { who: PLUGINS, may_use: &["god-core", "god-runtime"], tests_also: Some(&["god-testkit"]) },
    Rule { who: &["god-api"], may_use: &["god-engine", "god-core", "god-runtime"], tests_also: None },
    Rule {
        who: &["god-plugins"],
        may_use: &[
            "god-core",
            "god-config",
            "god-store",
            "god-runtime",
            "store-",
            "executor-",
            "policy-",
            "auth-",
            "watcher-",
            "status-",
            "network-",
        ],
        tests_also: None,
    },
    Rule {
        who: &["god-daemon"],
        may_use: &["god-plugins", "god-api", "god-engine", "god-config", "god-telemetry", "god-core"],
        tests_also: None,
    },
    Rule {
        who: &["god-sim"],
        may_use: &["god-engine", "god-store", "god-core", "policy-"],
        tests_also: None,
    },
];

/// Every arrow that the table does not allow.
pub fn faults(packages: &[Package]) -> Vec<String> {
    let ours: HashSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let bins: HashSet<&str> =
        packages.iter().filter(|p| is_bin(p)).map(|package| package.name.as_str()).collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let uses = package.dependencies.iter().filter(|used| ours.contains(used.name.as_str()));
        if is_bin(package) {
            let bad = uses.filter(|used| bins.contains(used.name.as_str()));
            faults
                .extend(bad.map(|used| format!("{name} -> {}: no program uses another program", used.name)));
        } else if is_in(package, &["crates"]) {
            let Some(rule) = RULES.iter().find(|rule| matches(rule.who, name)) else {
                faults.push(format!("{name}: not in the table of xtask/src/check/arrows.rs; place it there"));
                continue;
            };
            faults.extend(uses.filter(|used| !allows(rule, used)).map(|used| {
                let kind = used.kind.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
                format!("{name} -> {}{kind}: {name} may use {}", used.name, words(rule))
            }));
        }
    }
    faults
}

fn allows(rule: &Rule, used: &Dependency) -> bool {
    let in_tests = used.kind.as_deref() == Some("dev");
    matches(rule.may_use, &used.name)
        || in_tests && rule.tests_also.is_none_or(|also| matches(also, &used.name))
}

fn matches(words: &[&str], name: &str) -> bool {
    words.iter().any(|word| name == *word || word.ends_with('-') && name.starts_with(word))
}

fn words(rule: &Rule) -> String {
    let list = |names: &[&str]| if names.is_empty() { "none of ours".to_owned() } else { names.join(" ") };
    match rule.tests_also {
        Some(also) if !also.is_empty() => format!("{}, its tests also {}", list(rule.may_use), list(also)),
        _ => list(rule.may_use),
    }
}

fn is_bin(package: &Package) -> bool {
    is_in(package, &["bins"])
}

/// Whether the package's folder lies in a folder of one of these names.
fn is_in(package: &Package, folders: &[&str]) -> bool {
    let parent = Path::new(&package.manifest_path).parent().and_then(Path::parent).and_then(Path::file_name);
    parent.and_then(|name| name.to_str()).is_some_and(|name| folders.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, name: &str, uses: &[&str]) -> Package {
        let dependency = |text: &&str| match text.split_once(':') {
            Some((kind, name)) => Dependency { name: name.to_owned(), kind: Some(kind.to_owned()) },
            None => Dependency { name: (*text).to_owned(), kind: None },
        };
        Package {
            name: name.to_owned(),
            manifest_path: format!("/tree/{folder}/{name}/Cargo.toml"),
            dependencies: uses.iter().map(dependency).collect(),
        }
    }

    /// Adds the crates that are used as the lowest there are, and checks the one crate.
    fn check(folder: &str, name: &str, uses: &[&str], n_faults: usize) {
        let mut packages = vec![package(folder, name, uses)];
        packages.extend(uses.iter().filter(|used| **used != "serde").map(|used| {
            let used = used.split_once(':').map_or(*used, |(_, used)| used);
            package(if used.starts_with("go-d") { "bins" } else { "crates" }, used, &[])
        }));
        let found = faults(&packages);
        assert_eq!(found.len(), n_faults, "{name} uses {uses:?}: {found:?}");
    }

    #[test]
    fn what_the_table_allows() {
        check("crates", "god-core", &["serde"], 0);
        check("crates", "god-engine", &["god-core", "dev:store-sqlite"], 0);
        check("crates", "store-sqlite", &["god-core", "dev:god-store", "dev:god-testkit"], 0);
        check("crates", "executor-local", &["god-core", "god-runtime", "dev:god-testkit"], 0);
        check("crates", "god-plugins", &["god-config", "store-sqlite", "executor-local", "auth-local"], 0);
        check("bins", "go-d-web", &["god-api", "god-plugins", "god-core"], 0);
        check("xtask", "xtask", &["god-core"], 0);
        check("tests", "god-tests", &["executor-local"], 0);
    }

    #[test]
    fn this_tree_follows_it() {
        let packages = crate::check::packages().expect("cargo metadata");
        assert!(packages.iter().any(|package| package.name == "god-core"));
        assert_eq!(faults(&packages), [""; 0]);
    }

    #[test]
    fn what_it_refuses() {
        check("crates", "god-core", &["dev:god-testkit"], 1);
        check("crates", "god-engine", &["god-core", "executor-local"], 1);
        check("crates", "god-api", &["god-plugins", "store-sqlite"], 2);
        check("crates", "executor-docker", &["god-config", "executor-local", "dev:store-sqlite"], 3);
        check("crates", "store-sqlite", &["god-engine"], 1);
        check("crates", "policy-fifo", &["build:god-config"], 1);
        check("bins", "go-d-web", &["go-d-scheduler"], 1);
        check("crates", "god-surprise", &[], 1);
    }
}
