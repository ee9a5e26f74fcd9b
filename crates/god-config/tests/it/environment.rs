//! Every variable that overrides a key.

use god_config::{Config, StoreKind};

use crate::{ALL, FEW, LEAST, check_with, warnings};

/// The least configuration with one variable set.
fn with(variable: &str, value: &str) -> Config {
    check_with(LEAST, &[(variable, value)], None, ALL).expect("good").config
}

#[test]
fn texts_and_numbers() {
    assert_eq!(with("GODOCKER_SHARED_DIR", "/s").base.shared_dir.to_str(), Some("/s"));
    assert_eq!(with("GODOCKER_DATA_DIR", "/d").base.data_dir.to_str(), Some("/d"));
    assert_eq!(with("GODOCKER_STORE", "memory").stores.kind, StoreKind::Memory);
    assert_eq!(with("GODOCKER_SECRET_PASSPHRASE", "s").auth.secret_passphrase.reveal(), "s");
    let shared = with("GODOCKER_SHARED_SECRET_PASSPHRASE", "s").auth.shared_secret_passphrase;
    assert_eq!(shared.expect("set").reveal(), "s");
    let mongo = with("GODOCKER_MONGO_URL", "mongodb://m/").stores;
    assert_eq!((mongo.kind, mongo.mongo.url.reveal()), (StoreKind::Mongo, "mongodb://m/"));
    assert_eq!(with("GODOCKER_MONGO_DB", "x").stores.mongo.db, "x");
    assert_eq!(with("GODOCKER_REDIS_HOST", "x").stores.redis.host, "x");
    assert_eq!(with("GODOCKER_REDIS_PORT", "7").stores.redis.port, 7);
    assert_eq!(with("GODOCKER_REDIS_DB", "3").stores.redis.db, 3);
    assert_eq!(with("GODOCKER_REDIS_PREFIX", "x").stores.redis.prefix, "x");
    assert_eq!(with("GODOCKER_SCHEDULER_POLICY", "FairShare").scheduling.policy, "FairShare");
    assert_eq!(with("GODOCKER_AUTH_POLICY", "fake").auth.policy, "fake");
    assert_eq!(with("GODOCKER_STATUS_POLICY", "etcd").monitoring.status_policy.as_deref(), Some("etcd"));
    assert_eq!(with("GODOCKER_STATUS_POLICY", "").monitoring.status_policy, None);
    let exporter = with("GODOCKER_PROMETHEUS_EXPORTER", "h:1").monitoring.prometheus_exporter;
    assert_eq!(exporter.expect("set").reveal(), "http://h:1");
    assert_eq!(with("GODOCKER_WEB_ENDPOINT", "http://w").web.endpoint.reveal(), "http://w");
    assert_eq!(with("GODOCKER_MESOS_MASTER", "h:1").executors.mesos.master.expect("set").reveal(), "h:1");
    let server = with("GODOCKER_KUBE_SERVER", "https://k").executors.kubernetes.server;
    assert_eq!(server.expect("set").reveal(), "https://k");
    assert_eq!(with("GODOCKER_KUBE_TOKEN", "t").executors.kubernetes.token.expect("set").reveal(), "t");
    assert_eq!(with("GODOCKER_LDAP_HOST", "l").auth.ldap.host.as_deref(), Some("l"));
    assert_eq!(with("GODOCKER_LDAP_PORT", "7").auth.ldap.port, 7);
    assert_eq!(with("GODOCKER_LDAP_DN", "l").auth.ldap.dn.as_deref(), Some("l"));
    assert_eq!(with("GODOCKER_LDAP_BASE_DN_FILTER", "l").auth.ldap.base_dn_filter, "l");
    assert_eq!(with("GODOCKER_CADVISOR_PORT", "7").monitoring.cadvisor.port, 7);
    assert_eq!(with("GODOCKER_ETCD_PREFIX", "p").monitoring.etcd.prefix, "/p");
    assert_eq!(with("GODOCKER_ETCD_HOST", "e").monitoring.etcd.host, "e");
    assert_eq!(with("GODOCKER_FTP_LISTEN", "::").ftp.listen, "::");
    assert_eq!(with("GODOCKER_FTP_PORT", "7").ftp.port, 7);
    assert!(with("GODOCKER_FTP_PUBLIC_ENDPOINT", "ftp://h").ftp.public_endpoint.is_some());
}

#[test]
fn groups_that_need_each_other() {
    let variables = [
        ("GODOCKER_INFLUXDB_HOST", "i"),
        ("GODOCKER_INFLUXDB_PORT", "7"),
        ("GODOCKER_INFLUXDB_USER", "u"),
        ("GODOCKER_INFLUXDB_PASSWORD", "p"),
        ("GODOCKER_INFLUXDB_DB", "d"),
        ("GODOCKER_EMAIL_FROM", "a@b"),
        ("GODOCKER_EMAIL_SMTP_HOST", "m"),
        ("GODOCKER_EMAIL_SMTP_PORT", "8"),
        ("GODOCKER_EMAIL_SMTP_TLS", "1"),
        ("GODOCKER_EMAIL_SMTP_USER", "u"),
        ("GODOCKER_EMAIL_SMTP_PASSWORD", "p"),
        ("GODOCKER_DOCKER_URL", "https://d:1"),
        ("GODOCKER_DOCKER_TLS", "1"),
        ("GODOCKER_DOCKER_CA_CERT", "/ca"),
        ("GODOCKER_DOCKER_CLIENT_CERT", "/c"),
        ("GODOCKER_DOCKER_CLIENT_KEY", "/k"),
        ("GODOCKER_LDAP_SSL", "1"),
    ];
    let loaded = check_with(LEAST, &variables, None, ALL).expect("good");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let config = loaded.config;
    let influx = config.stores.influxdb.expect("set");
    assert_eq!((influx.host, influx.port, influx.user, influx.db), ("i".into(), 7, "u".into(), "d".into()));
    assert_eq!(influx.password.reveal(), "p");
    let mail = config.mail.expect("set");
    assert_eq!((mail.host, mail.port, mail.tls, mail.from), ("m".into(), 8, true, "a@b".into()));
    assert_eq!(
        (mail.user, mail.password.map(|p| p.reveal().to_owned())),
        (Some("u".into()), Some("p".into()))
    );
    // The file has no section `docker`: it is made.
    let docker = config.executors.docker;
    assert_eq!(docker.url.reveal(), "https://d:1");
    let tls = docker.tls.expect("on");
    assert!(tls.ca_cert.is_some() && tls.client.is_some());
    assert_eq!(config.auth.ldap.security, god_config::LdapSecurity::Tls);
}

#[test]
fn the_port_of_etcd_stands_by_itself() {
    assert_eq!(with("GODOCKER_ETCD_PORT", "2379").monitoring.etcd.port, 2379);
    assert_eq!(with("GODOCKER_EMAIL_SMTP_PORT", "587").monitoring.etcd.port, 4001);
}

#[test]
fn lists_replace_those_of_the_file() {
    let text = format!("{LEAST}watchers: [maxlifespan]\n");
    let variables = [("GODOCKER_EXECUTOR", " docker , fake,"), ("GODOCKER_WATCHERS", "")];
    let config = check_with(&text, &variables, None, ALL).expect("good").config;
    assert_eq!(config.executors.names, ["docker", "fake"]);
    assert!(config.scheduling.watchers.is_empty());
    let old = check_with("executor: sge\nshared_dir: /s\nsecret_passphrase: x\n", &variables, None, ALL);
    assert_eq!(old.expect("good").config.executors.names, ["docker", "fake"], "wins over the old key, too");
}

#[test]
fn faults_name_the_variable() {
    let variables = [
        ("GODOCKER_REDIS_PORT", ""),
        ("GODOCKER_FTP_PORT", "ftp"),
        ("GODOCKER_LDAP_PORT", "70000"),
        ("GODOCKER_EXECUTOR", "local,swarm"),
        ("GODOCKER_AUTH_POLICY", "ldpa"),
    ];
    let errors = check_with(LEAST, &variables, None, FEW).expect_err("faults");
    let shown = errors.to_string();
    for expected in [
        "GODOCKER_REDIS_PORT, redis_port: `` is not a whole number",
        "GODOCKER_FTP_PORT, ftp.port: `ftp` is not a whole number; accepted: a whole number from 1 to 65535",
        "GODOCKER_LDAP_PORT, ldap_port: 70000 is out of range",
        "GODOCKER_EXECUTOR, executors[1]: the executor `swarm` is not built into this program",
        "GODOCKER_AUTH_POLICY, auth_policy: no authentication plugin named `ldpa`",
    ] {
        assert!(shown.contains(expected), "{expected}\nnot in\n{shown}");
    }
    assert_eq!(errors.faults.len(), 5, "{shown}");
}

#[test]
fn odd_switches_and_misspelt_variables_are_warned_about() {
    let variables = [("GODOCKER_LDAP_SSL", "true"), ("GODOCKER_REDIS_HOTS", "h"), ("GODOCKER_JID", "5")];
    let loaded = check_with(LEAST, &variables, None, ALL).expect("good");
    assert_eq!(loaded.config.auth.ldap.security, god_config::LdapSecurity::StartTls);
    let found = warnings(&loaded);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("GODOCKER_LDAP_SSL, ssl: `true` switches this off"), "{found:?}");
    assert!(
        found[1]
            .contains("GODOCKER_REDIS_HOTS: unknown variable, ignored; did you mean `GODOCKER_REDIS_HOST`?")
    );
}
