//! The tables against the configuration.

use super::*;
use god_config::StoreKind;
use god_core::units::Seconds;

fn config() -> Config {
    let mut config = Config::default();
    config.executors.names = vec!["fake".to_owned()];
    config.stores.kind = StoreKind::Memory;
    config
}

#[tokio::test]
async fn every_name_of_a_table_makes_the_plugin_of_that_name() {
    let known = known();
    assert_eq!(known.executors, ["local", "docker", "fake"]);
    assert_eq!(
        (known.policies, known.auth, known.status),
        (["FiFo", "FairShare"].as_slice(), ["local", "goauth"].as_slice(), ["etcd", "consul"].as_slice())
    );
    let config = config();
    assert_eq!(policy(&config).unwrap().name(), "FiFo");
    let store = store(&config).await.unwrap();
    assert_eq!(auth(&config, Arc::clone(&store)).unwrap().name(), "local");
    let mut directory = config.clone();
    directory.auth.policy = "goauth".to_owned();
    directory.auth.ldap.host = Some("ldap.example.org".to_owned());
    directory.auth.ldap.dn = Some("dc=example,dc=org".to_owned());
    directory.auth.ldap.security = god_config::LdapSecurity::Plain;
    assert_eq!(auth(&directory, Arc::clone(&store)).unwrap().name(), "goauth");
    directory.auth.ldap.admin_dn = Some("cn=admin".to_owned());
    let error = auth(&directory, store).unwrap_err();
    let why = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(why.starts_with("ldap_admin_password:"), "{why}");
    let executors = executors(&config).await.unwrap();
    assert_eq!(executors[0].name().as_str(), "fake");
    assert_eq!(needs_one_process(&config), ["fake"]);
}

#[tokio::test]
async fn a_name_outside_of_the_tables_is_an_error_with_the_names_there_are() {
    let mut config = config();
    config.executors.names.push("mesos".to_owned());
    let error = executors(&config).await.unwrap_err().to_string();
    assert_eq!(error, "the executor `mesos` is not built into this program; known here: local, docker, fake");
    config.scheduling.policy = "FairShare".to_owned();
    assert_eq!(policy(&config).unwrap().name(), "FairShare");
    config.scheduling.policy = "Backfill".to_owned();
    assert!(policy(&config).unwrap_err().to_string().contains("known here: FiFo, FairShare"));
    config.stores.kind = StoreKind::Mongo;
    assert!(store(&config).await.unwrap_err().to_string().contains("known here: memory, sqlite"));
    assert!(backup(&config, std::path::Path::new("/nowhere/x")).await.is_err());
}

#[tokio::test]
async fn docker_says_what_it_misses() {
    let mut config = config();
    config.executors.names = vec!["docker".to_owned()];
    config.executors.docker.tls = Some(tls());
    let error = executors(&config).await.unwrap_err();
    let why = std::error::Error::source(&error).expect("a cause").to_string();
    // Either go-d-init or the certificate, whichever is looked for first.
    assert!(why.contains("go-d-init") || why.contains("/ca.pem"), "{why}");
}

/// TLS as a configuration has it.
fn tls() -> god_config::DockerTls {
    let text = b"shared_dir: /\nexecutors: [docker]\nsecret_passphrase: kG7qLz0PweR4vX2m\n\
                 docker: {url: 'https://h:2376', tls: true, ca_cert: /ca.pem}\n";
    let loaded = Config::check(&god_config::Input {
        file: Some(god_config::FileText { name: "f", bytes: text, mode: None }),
        production: None,
        environment: &god_config::Environment::default(),
        known: known(),
        data_dir: std::path::Path::new("/d"),
        dir_exists: &|_| true,
    });
    loaded.expect("a good configuration").config.executors.docker.tls.expect("TLS is on")
}

#[tokio::test]
async fn the_rules_of_admission_follow_the_configuration() {
    let mut config = config();
    config.base.min_uid = 500;
    config.base.array_max = 7;
    config.scheduling.max_lifespan_seconds = Some(60);
    let executors = executors(&config).await.unwrap();
    let plain = site(&config, &executors);
    assert_eq!((plain.min_uid, plain.min_gid, plain.array_max), (500, 500, 7));
    assert_eq!(plain.time_limit_default, None, "nobody enforces the limit");
    assert!(!plain.executors[0].images && plain.executors[0].features.contains(&"pause".to_owned()));
    config.scheduling.watchers = vec!["maxlifespan".to_owned()];
    assert_eq!(site(&config, &executors).time_limit_default, Some(Seconds(60)));
}

#[test]
fn settings_that_would_be_ignored_are_named() {
    let mut config = config();
    assert_eq!((not_built_in(&config), without_effect(&config)), (Vec::new(), Vec::new()));
    config.network.ports.allocate = false;
    config.monitoring.prometheus_key = Some(god_config::Secret::new("key"));
    assert!(not_built_in(&config)[0].starts_with("port_allocate:"));
    assert!(without_effect(&config)[0].starts_with("prometheus_key:"));
}
