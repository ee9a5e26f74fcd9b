//! Rules about files: which must exist, what must not stand in them, what must be documented or tested.

use super::tracked_files;
use crate::repo::root;
use anyhow::Result;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const MUST_EXIST: &[&str] = &[
    "README.md",
    "INSTALL.md",
    "COPYRIGHT",
    "LICENSE",
    "CHANGELOG.md",
    "docs/STATUS.md",
    "docs/ARCHITECTURE.md",
    "docs/task-states.md",
];

/// Written in two parts, so that this file does not hold them.
const FORBIDDEN_WORDS: &[&str] = &[concat!("to", "do!"), concat!("db", "g!")];

/// Kinds of plugins and the folder of their pages.
const PAGES: &[(&str, &str)] = &[
    ("executor-", "docs/executors"),
    ("auth-", "docs/auth"),
    ("policy-", "docs/policies"),
    ("status-", "docs/status"),
    ("watcher-", "docs/watchers"),
];

/// Each file that a reader of the tree is promised and that is not there.
pub fn missing_files(root: &Path) -> Vec<String> {
    let missing = MUST_EXIST.iter().filter(|file| !root.join(file).is_file());
    missing.map(|file| format!("{file} is missing")).collect()
}

/// Each place in a tracked file where a word stands that is only for the time of writing.
///
/// # Errors
/// The tree is not a git checkout.
pub fn forbidden_words() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in tracked_files()? {
        // A binary file, or one that is deleted and not committed yet.
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        faults.extend(words_in(&text).map(|(line, word)| format!("{file}:{line}: {word}")));
    }
    Ok(faults)
}

fn words_in(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        FORBIDDEN_WORDS.iter().filter(move |word| line.contains(**word)).map(move |word| (index + 1, *word))
    })
}

/// Each plugin that no page is about: `executor-docker` needs `docs/executors/docker.md`. Kinds whose plugins are
/// small may share one page, `docs/auth.md`, with a heading for each.
pub fn missing_pages(root: &Path, crates: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for name in crates {
        for (kind, folder) in PAGES {
            let Some(plugin) = name.strip_prefix(kind) else { continue };
            let own = format!("{folder}/{plugin}.md");
            let shared = format!("{folder}.md");
            let in_shared = *kind != "executor-"
                && fs::read_to_string(root.join(&shared)).is_ok_and(|text| has_heading(&text, plugin));
            if !root.join(&own).is_file() && !in_shared {
                faults.push(format!("{name} has no page: write {own}"));
            }
        }
    }
    faults
}

fn has_heading(text: &str, word: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut words = headings.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '-'));
    words.any(|found| found == word)
}

/// Each sample in `config/` that no test reads. A sample that nobody parses is wrong after the next change.
///
/// # Errors
/// The tree is not a git checkout.
pub fn untested_samples() -> Result<Vec<String>> {
    let files = tracked_files()?;
    let tests = files.iter().filter(|file| file.ends_with(".rs") && !file.starts_with("xtask/"));
    let tests: Vec<String> = tests.filter_map(|file| fs::read_to_string(root().join(file)).ok()).collect();
    let samples = files.iter().filter(|file| is_sample(file));
    let untested = samples.filter(|sample| !tests.iter().any(|text| mentions(text, sample)));
    Ok(untested.map(|sample| format!("no test mentions {sample}")).collect())
}

fn is_sample(file: &str) -> bool {
    let endings = [".ini", ".yaml", ".yml", ".toml", ".json"];
    file.starts_with("config/") && endings.iter().any(|ending| file.ends_with(ending))
}

/// By its path, or because the test reads the whole folder.
fn mentions(text: &str, sample: &str) -> bool {
    let folder = sample.rsplit_once('/').map_or("", |(folder, _)| folder);
    text.contains(sample) || (text.contains("read_dir") && text.contains(&format!("/{folder}\"")))
}

/// Folders of the tree; a word between backticks that begins with one of them is a path.
const FOLDERS: &[&str] =
    &["bins/", "config/", "crates/", "docker-files/", "docs/", "scripts/", "tests/", "xtask/"];

/// Each path between backticks in a tracked page under `docs` that is not there. Texts with a place to fill in
/// (`NAME`, `<name>`, `*`) are no paths.
pub fn dead_paths(root: &Path, tracked: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in tracked.iter().filter(|file| file.starts_with("docs/") && file.ends_with(".md")) {
        let Ok(text) = fs::read_to_string(root.join(page)) else { continue };
        for (line, path) in paths_in(&text).filter(|(_, path)| !root.join(path).exists()) {
            faults.push(format!("{page}:{line}: {path} does not exist"));
        }
    }
    faults
}

/// Each test that a page under `docs` names and that is not there: a word in backticks that begins with a letter, digits
/// and `_`, like the rows of the table of threats.
pub fn missing_tests(root: &Path, tracked: &[String]) -> Vec<String> {
    let sources = tracked.iter().filter(|file| file.ends_with(".rs"));
    let texts = sources.filter_map(|file| fs::read_to_string(root.join(file)).ok());
    let known: HashSet<String> = texts
        .flat_map(|text| {
            let names = text.lines().filter_map(|line| line.split("fn ").nth(1)?.split('(').next());
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let mut faults = Vec::new();
    for page in tracked.iter().filter(|file| file.starts_with("docs/") && file.ends_with(".md")) {
        let Ok(text) = fs::read_to_string(root.join(page)) else { continue };
        for (line, test) in tests_in(&text).filter(|(_, test)| !known.contains(*test)) {
            faults.push(format!("{page}:{line}: there is no test {test}"));
        }
    }
    faults
}

fn tests_in(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        let named = line.split('`').skip(1).step_by(2).filter(|word| {
            let row = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
            let name = row.trim_start_matches(|c: char| c.is_ascii_digit());
            let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            word.len() - row.len() == 1 && name.len() < row.len() && name.starts_with('_') && plain
        });
        named.map(move |test| (index + 1, test))
    })
}

fn paths_in(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        let quoted = line.split('`').skip(1).step_by(2);
        let paths = quoted.filter(|word| {
            let plain =
                word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/._-".contains(&b));
            plain && FOLDERS.iter().any(|folder| word.starts_with(folder))
        });
        paths.map(move |path| (index + 1, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_a_page_names_must_exist() {
        let tree = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(tree.path().join("docs")).expect("a folder");
        let page = "`a1_kept` `b12_gone` and `b2_kept`, no test: `a_b` `x64` `god_core` `b2` `1_a`\n";
        fs::write(tree.path().join("docs/a.md"), page).expect("a page");
        let source = "    async fn a1_kept() {}\nfn b2_kept() {\n";
        fs::write(tree.path().join("a.rs"), source).expect("a source");
        let tracked = ["docs/a.md".to_owned(), "a.rs".to_owned()];
        assert_eq!(missing_tests(tree.path(), &tracked), ["docs/a.md:1: there is no test b12_gone"]);
    }

    #[test]
    fn a_path_that_a_page_names_must_exist() {
        let tree = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(tree.path().join("docs")).expect("a folder");
        let page =
            "`docs/a.md` and `crates/gone/`\n`crates/executor-NAME` `tests/*` `cargo test` docs/b.md\n";
        fs::write(tree.path().join("docs/a.md"), page).expect("a page");
        let tracked = ["docs/a.md".to_owned(), "docs/not-there.md".to_owned()];
        assert_eq!(dead_paths(tree.path(), &tracked), ["docs/a.md:1: crates/gone/ does not exist"]);
    }

    #[test]
    fn no_page_of_this_tree_names_a_path_that_is_gone() {
        let tracked = tracked_files().expect("a git checkout");
        assert!(tracked.iter().any(|file| file == "docs/ARCHITECTURE.md"));
        assert_eq!(dead_paths(&root(), &tracked), [""; 0]);
    }

    #[test]
    fn words_are_found_with_their_line() {
        let text = format!("fn a() {{\n    {}()\n}}\n// a todo list\n", FORBIDDEN_WORDS[0]);
        assert_eq!(words_in(&text).collect::<Vec<_>>(), [(2, FORBIDDEN_WORDS[0])]);
    }

    #[test]
    fn a_plugin_needs_its_page() {
        let tree = tempfile::tempdir().expect("a folder");
        let crates = ["executor-fake", "auth-local", "god-core"];
        assert_eq!(missing_pages(tree.path(), &crates).len(), 2);
        fs::create_dir_all(tree.path().join("docs/executors")).expect("a folder");
        fs::write(tree.path().join("docs/executors/fake.md"), "").expect("a page");
        fs::write(tree.path().join("docs/auth.md"), "# Auth\nlocal\n").expect("a page");
        assert_eq!(missing_pages(tree.path(), &crates), ["auth-local has no page: write docs/auth/local.md"]);
        fs::write(tree.path().join("docs/auth.md"), "# Auth\n## `local`: passwords of our own\n")
            .expect("a page");
        assert_eq!(missing_pages(tree.path(), &crates), [""; 0]);
    }

    #[test]
    fn every_promised_file_counts() {
        let tree = tempfile::tempdir().expect("a folder");
        assert_eq!(missing_files(tree.path()).len(), MUST_EXIST.len());
        fs::write(tree.path().join("LICENSE"), "").expect("a file");
        assert_eq!(missing_files(tree.path()).len(), MUST_EXIST.len() - 1);
    }

    #[test]
    fn a_sample_is_tested_by_path_or_by_folder() {
        assert!(is_sample("config/go-d.ini") && !is_sample("config/systemd/go-d.service"));
        assert!(mentions("load(\"../../config/go-d.ini\")", "config/go-d.ini"));
        assert!(mentions("fs::read_dir(root.join(\"../../config\"))", "config/go-d.ini"));
        assert!(!mentions("fs::read_dir(\"/tmp\")", "config/go-d.ini"));
    }
}
