//! The configuration without a file, and the file that is written from it.

use std::path::{Path, PathBuf};

use god_config::{Config, Embedded, Environment, FileText, Input, Secret, StoreKind, embedded_file_text};

fn choices() -> Embedded {
    Embedded {
        data_dir: PathBuf::from("/home/bob/.local/share/god"),
        shared_dir: PathBuf::from("/home/bob/.local/share/god/shared"),
        executors: vec!["local".to_owned(), "docker".to_owned()],
        secret_passphrase: Secret::new("9f86d081884c7d659a2feaa0c55ad015"),
        admin: vec!["bob".to_owned()],
    }
}

fn parsed(text: &str) -> Config {
    let loaded = Config::check(&Input {
        file: Some(FileText { name: "go-d.ini", bytes: text.as_bytes(), mode: None }),
        production: None,
        environment: &Environment::default(),
        known: crate::FEW,
        data_dir: Path::new("/elsewhere"),
        dir_exists: &|_| true,
    })
    .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert_eq!(loaded.warnings, []);
    loaded.config
}

#[test]
fn it_is_complete() {
    let config = Config::embedded(&choices());
    assert_eq!(config.executors.names, ["local", "docker"]);
    assert_eq!((config.auth.policy.as_str(), config.stores.kind), ("local", StoreKind::Sqlite));
    assert_eq!(config.refusals(), []);
    assert!(config.volumes.protected.contains(&config.base.data_dir));
}

#[test]
fn the_file_reads_as_the_same_configuration() {
    let mut read = parsed(&embedded_file_text(&choices()));
    assert!(read.file.take().is_some_and(|file| file.holds_secrets));
    assert_eq!(read, Config::embedded(&choices()));
}

#[test]
fn odd_paths_and_names_survive_the_file() {
    let odd = Embedded {
        data_dir: PathBuf::from("/a \"b\"\\c: #d\t\u{85}\u{feff}é/%"),
        shared_dir: PathBuf::from("/None"),
        secret_passphrase: Secret::new("{[*&!|>'\"%@`,]}: # yes"),
        admin: vec!["yes".to_owned(), "o'neil, b".to_owned()],
        ..choices()
    };
    let mut read = parsed(&embedded_file_text(&odd));
    read.file = None;
    assert_eq!(read, Config::embedded(&odd));
}
