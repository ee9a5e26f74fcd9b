//! Whatever the bytes are, the answer is a configuration or a report.

use std::path::Path;

use god_config::{
    Access, Config, Embedded, Environment, FileText, Input, ProcessEnv, ProductionIni, Secret, Volume,
    VolumeRequest, VolumeUser, VolumesConfig, embedded_file_text, parse_lifespan, parse_size,
    resolve_volumes,
};
use proptest::prelude::*;

fn check(bytes: &[u8], variables: &[(String, String)], ini: &str) {
    let environment: Environment = variables.iter().cloned().collect();
    let production = ProductionIni::parse(Path::new("p.ini"), ini);
    let answer = Config::check(&Input {
        file: Some(FileText { name: "f", bytes, mode: None }),
        production: Some(&production),
        environment: &environment,
        known: crate::ALL,
        data_dir: Path::new("/d"),
        dir_exists: &|_| true,
    });
    match answer {
        Ok(loaded) => {
            assert!(!loaded.config.executors.names.is_empty());
            assert!(loaded.config.base.shared_dir.is_absolute() && loaded.config.base.data_dir.is_absolute());
            loaded.config.refusals();
        }
        Err(errors) => assert!(!errors.faults.is_empty() && !errors.to_string().is_empty()),
    }
}

/// Texts that look like YAML: keys of ours and others, values of all kinds, and what structures them.
fn yaml_like() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "shared_dir",
        "executors",
        "executor",
        "docker",
        "docker_url",
        "network",
        "network_disabled",
        "mesos_master",
        "volumes",
        "log_config",
        "web",
        "ftp",
        "placement",
        "sge",
        "default_images",
        "constraints",
        "maxlifespan",
        "script_max",
        "name",
        "path",
        "mount",
        "loggers",
        "handlers",
        "root",
        "level",
        "class",
        "<<",
        "port_start",
        "port_range",
        "secret_passphrase",
        "watchers",
        "url",
        "tls",
        "listen",
        "x",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "",
            "null",
            "None",
            "~",
            "yes",
            "off",
            "0",
            "-1",
            "65535",
            "18446744073709551616",
            "1_0",
            "0x1f",
            "1.40",
            ".nan",
            "/a",
            "/",
            "$USERID",
            "'q'",
            "\"\\u00e9\"",
            "[local, fake]",
            "[]",
            "{}",
            "[[a], {b: c}]",
            "{name: a, path: /b}",
            "&a {x: 1}",
            "*a",
            "!!python/object:os.system x",
            "!!binary aGk=",
            "|\n  text",
            "10k",
            "7d",
            "unix:///s",
            "tcp://h:1",
            "[::1]:80",
            "\u{FFFD}",
            "99999999999t",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,12}",
    ];
    let line = (0..4_usize, prop::bool::ANY, key, value).prop_map(|(depth, is_item, key, value)| {
        let dash = if is_item { "- " } else { "" };
        format!("{}{dash}{key}: {value}\n", "  ".repeat(depth))
    });
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), ini in "\\PC{0,60}") {
        check(&bytes, &[], &ini);
    }

    #[test]
    fn on_texts_like_yaml(text in yaml_like(), port in "\\PC{0,6}", list in "[a-z, ]{0,12}") {
        let variables = [
            ("GODOCKER_REDIS_PORT".to_owned(), port.clone()),
            ("GODOCKER_EXECUTOR".to_owned(), list),
            ("GODOCKER_DOCKER_URL".to_owned(), port),
        ];
        check(text.as_bytes(), &[], "[server:main]\nport = x\n");
        check(text.as_bytes(), &variables, "[app:main]\nadmin = ,\n");
        check(format!("{}{text}", crate::LEAST).as_bytes(), &[], "");
    }

    #[test]
    fn on_any_unit_and_variable(text in "\\PC{0,24}") {
        // Only that they answer counts here; what they answer is tested beside them.
        prop_assert!(parse_size(&text).is_ok() || !text.bytes().all(|b| b.is_ascii_digit()) || text.is_empty() || text.len() > 19);
        prop_assert!(parse_lifespan(&text).is_ok() || !text.bytes().all(|b| b.is_ascii_digit()) || text.is_empty() || text.len() > 19);
        let environment: Environment = [("GOD_LOGLEVEL", text.as_str()), ("GOD_PROCID", text.as_str())].into_iter().collect();
        if let Ok(process) = ProcessEnv::read(&environment) {
            prop_assert!(process.process_id.is_none_or(|id| !id.contains('/')));
        }
    }

    #[test]
    fn on_any_volume(name in "\\PC{0,8}", path in "[/.a-z$USERID:\\PC]{0,20}", login in "\\PC{0,8}", acl in "\\PC{0,3}") {
        let config = VolumesConfig::default();
        let project = [Volume { name: name.clone(), access: Access::ReadWrite, path: Some(path), mount: None }];
        let request = [VolumeRequest { name, acl: Some(acl) }];
        let user = VolumeUser { login: &login, home: None };
        let resolution = resolve_volumes(&request, &user, &project, &config, false, &|_| true);
        for volume in resolution.volumes {
            prop_assert!(volume.path.is_absolute() && volume.path != Path::new("/"));
            prop_assert!(volume.path.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
            prop_assert!(!volume.path.starts_with("/etc") && !volume.path.starts_with("/proc"));
        }
    }

    #[test]
    fn any_embedded_choice_reads_back(dir in "/\\PC{1,12}", secret in "\\PC{1,20}", login in "\\PC{1,8}") {
        prop_assume!(secret != "None" && login != "None");
        let choices = Embedded {
            data_dir: format!("{dir}/d").into(),
            shared_dir: dir.into(),
            executors: vec!["local".to_owned()],
            secret_passphrase: Secret::new(secret),
            admin: vec![login],
        };
        let text = embedded_file_text(&choices);
        let read = Config::check(&Input {
            file: Some(FileText { name: "f", bytes: text.as_bytes(), mode: None }),
            production: None,
            environment: &Environment::default(),
            known: crate::ALL,
            data_dir: Path::new("/d"),
            dir_exists: &|_| true,
        });
        let mut config = read.expect("our own text").config;
        config.file = None;
        prop_assert_eq!(config, Config::embedded(&choices));
    }
}
