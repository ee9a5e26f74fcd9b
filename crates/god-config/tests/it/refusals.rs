//! Configurations that are well formed and must not start.

use std::path::Path;

use god_config::{Config, Environment, FileText, Input};

use crate::{ALL, LEAST};

fn refusals(text: &str, mode: u32, variables: &[(&str, &str)]) -> Vec<String> {
    let environment: Environment = variables.iter().copied().collect();
    let input = Input {
        file: Some(FileText { name: "go-d.ini", bytes: text.as_bytes(), mode: Some(mode) }),
        production: None,
        environment: &environment,
        known: ALL,
        data_dir: Path::new("/d"),
        dir_exists: &|_| true,
    };
    let config = Config::check(&input).expect("well formed").config;
    config.refusals().iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_file_is_not_refused() {
    for mode in [0o600, 0o640, 0o400] {
        assert_eq!(refusals(LEAST, mode, &[]), Vec::<String>::new());
    }
}

#[test]
fn a7_short_and_known_secrets_are_refused() {
    let found = refusals(
        "shared_dir: /s\nexecutors: [local]\nsecret_passphrase: short\nshared_secret_passphrase: Change-me-now-please\n\
         prometheus_key: 12345678901234567890\nsecret_passphrase_previous: changeme changeme\n\
         allow_proxy_remote_user: true\nproxy_peers: [10.0.0.1]\nproxy_secret: aaaabbbbccccddddeeee\n",
        0o600,
        &[],
    );
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].starts_with("go-d.ini, secret_passphrase: the text has 5 characters only"), "{found:?}");
    assert!(
        found[1].starts_with("go-d.ini, secret_passphrase_previous: the text comes from a sample"),
        "{found:?}"
    );
    assert!(found[2].starts_with("go-d.ini, proxy_secret: the text repeats"), "{found:?}");
    assert!(
        found[3].starts_with("go-d.ini, shared_secret_passphrase: the text comes from a sample"),
        "{found:?}"
    );
}

#[test]
fn files_that_everybody_can_read_or_write_are_refused() {
    assert!(refusals(LEAST, 0o644, &[])[0].contains("everybody can read it (mode 0644)"));
    assert!(refusals(LEAST, 0o602, &[])[0].contains("everybody can write the file (mode 0602)"));
    assert_eq!(refusals(LEAST, 0o666, &[]).len(), 2);
    // A file without secrets may be read by everybody.
    let text = "shared_dir: /s\nexecutors: [local]\n";
    let secret = [("GODOCKER_SECRET_PASSPHRASE", "kG7qLz0PweR4vX2m")];
    assert_eq!(refusals(text, 0o644, &secret), Vec::<String>::new());
    let with_url = format!("{text}mongo_url: mongodb://u:p@h/\n");
    assert_eq!(refusals(&with_url, 0o644, &secret).len(), 1);
}
