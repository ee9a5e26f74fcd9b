//! The sample files of the repository are read as they say.

use std::path::{Path, PathBuf};

use god_config::{Access, Config, GuestHome, Images, LogLevel, LogTarget, StoreKind, VolumesConfig};

use crate::{check, loaded, sample, warnings};

#[test]
fn the_sample_loads_without_a_warning() {
    let loaded = check(&sample("config/go-d.ini")).expect("the sample is good");
    assert_eq!(warnings(&loaded), Vec::<String>::new());
}

#[test]
fn the_sample_shows_the_defaults() {
    let mut shown = check(&sample("config/go-d.ini")).expect("the sample is good").config;
    let default = loaded("").config;
    assert_eq!(shown.images.proposed.len(), 1);
    assert_eq!(shown.volumes.volumes.len(), 2);
    assert_eq!(shown.scheduling.constraints[0].values, ["ssd", "disk"]);
    assert!(shown.scheduling.dynamic_fields[0].admin_only);
    // The lists show examples, the secret is to be changed; all else is the default.
    shown.images = Images::default();
    shown.volumes.volumes = default.volumes.volumes.clone();
    shown.scheduling.constraints.clear();
    shown.scheduling.dynamic_fields.clear();
    assert_eq!(shown.guests.providers[0].name, "institute");
    shown.guests.providers.clear();
    shown.auth.secret_passphrase = default.auth.secret_passphrase.clone();
    assert_eq!(shown, default);
}

#[test]
fn a7_the_sample_is_refused_as_it_stands() {
    let config = check(&sample("config/go-d.ini")).expect("the sample is good").config;
    let refusals = config.refusals();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].key, "secret_passphrase");
}

#[test]
fn the_old_sample_is_read_with_a_warning_for_each_old_form() {
    let text = sample("config/old-sample.ini");
    assert!(text.contains('\u{FFFD}') && text.contains("None"));
    let loaded = check(&text).expect("the old sample is good");
    let found = warnings(&loaded);
    let expected = [
        "go-d.ini, executor: old key, read as executors with this one name",
        "go-d.ini, mesos_master: old key, read as mesos.master",
        "go-d.ini, network_disabled: old key, read as network.disabled",
        "go-d.ini, docker_url: old key, read as docker.url, without TLS",
        "go-d.ini, docker_api_version: old key, read as docker.api_version, without TLS",
        "go-d.ini, plugins_dir: this key has no effect: plugins are compiled into the programs",
        "go-d.ini, master_timeout: not a number of seconds above 0; 600 is used",
        "go-d.ini, shared_secret_passphrase: this is the same text as secret_passphrase",
        "go-d.ini, cadvisor_url_part: this key has no effect",
        "go-d.ini, log_config.handlers.graylog.class: handlers of the class `graypy.GELFHandler`",
    ];
    for start in expected {
        assert!(found.iter().any(|warning| warning.starts_with(start)), "{start}\nnot in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn the_old_sample_means_what_it_meant() {
    let Config { base, network, images, volumes, guests, auth, stores, scheduling, executors, .. } =
        check(&sample("config/old-sample.ini")).expect("the old sample is good").config;
    assert_eq!(base.shared_dir, PathBuf::from("/srv/god/shared"));
    assert_eq!((base.defaults_cpu, base.defaults_ram_gb, base.max_job_pop), (2, 4, 50));
    assert!(base.allow_root);
    assert_eq!(executors.names, ["docker"]);
    assert_eq!(executors.docker.url.reveal(), "tcp://127.0.0.1:2375");
    assert_eq!(executors.docker.api_version, "1.40", "a version is a text, whatever it looks like");
    assert_eq!(executors.docker.tls, None);
    assert_eq!(executors.mesos.master.expect("moved").reveal(), "zk://127.0.0.1:2181/mesos");
    assert!(!network.disabled && network.ports.allocate);
    assert_eq!((network.ports.start, network.ports.range), (10_000, 2_000));
    assert_eq!(images.proposed.len(), 2);
    assert_eq!(images.private_registry, None);
    let VolumesConfig { volumes, check, .. } = volumes;
    assert!(check);
    assert_eq!(
        volumes.iter().map(|v| (v.name.as_str(), v.access, v.path.as_deref())).collect::<Vec<_>>(),
        [
            ("home", Access::ReadWrite, None),
            ("banks", Access::ReadOnly, Some("/db")),
            ("work", Access::ReadWrite, Some("/work/$USERID")),
        ]
    );
    assert_eq!(volumes[2].mount, None);
    assert_eq!((guests.allow, guests.bind, guests.home), (false, None, GuestHome::OfBoundUser));
    assert_eq!(auth.ldap.host, None);
    assert_eq!(stores.kind, StoreKind::Mongo, "the file names a MongoDB");
    assert_eq!(stores.influxdb, None, "the text None is nothing");
    assert_eq!(scheduling.policy, "FairShare");
    assert_eq!((scheduling.rate_limit, scheduling.rate_limit_all), (None, Some(10_000)));
    assert_eq!(scheduling.max_lifespan_seconds, Some(30 * 86_400));
    assert_eq!(scheduling.disk_quota_bytes, Some(20_000_000_000));
    assert_eq!(scheduling.watchers, ["maxlifespan"]);
    assert_eq!(scheduling.max_restarts, 2);
}

#[test]
fn the_old_sample_keeps_its_services_and_logs() {
    let Config { sharing, monitoring, mail, ftp, log, .. } =
        check(&sample("config/old-sample.ini")).expect("the old sample is good").config;
    assert!(sharing.live_events);
    assert_eq!(monitoring.status_policy, None);
    assert_eq!(monitoring.prometheus_exporter.expect("set").reveal(), "http://10.0.0.1:9091");
    assert_eq!(mail.expect("a mail server").from, "god@example.org");
    assert_eq!((ftp.listen.as_str(), ftp.quota_bytes), ("0.0.0.0", Some(10_000_000)));
    assert_eq!(
        log.levels.iter().map(|(name, level)| (name.as_str(), *level)).collect::<Vec<_>>(),
        [
            ("godocker-scheduler", LogLevel::Debug),
            ("godocker-watcher", LogLevel::Warning),
            ("root", LogLevel::Info),
        ]
    );
    assert_eq!(log.handlers["console"].target, LogTarget::Stream);
    assert_eq!(log.handlers["console"].level, Some(LogLevel::Debug));
    assert_eq!(log.handlers["file_scheduler"].target, LogTarget::File(PathBuf::from("godscheduler.log")));
    assert_eq!(log.handlers.len(), 2);
    let document = log.document.expect("kept");
    assert_eq!(document["handlers"]["graylog"]["port"], 12201);
    assert_eq!(document["disable_existing_loggers"], false);
}

#[test]
fn a_file_is_read_from_the_disk_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("go-d.ini");
    let text = format!(
        "shared_dir: {}\nexecutors: [fake]\nsecret_passphrase: kG7qLz0PweR4vX2m\n",
        folder.path().display()
    );
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).expect("set");
    let production = folder.path().join("production.ini");
    std::fs::write(&production, "[app:main]\nadmin = alice\n[server:main]\nport = 80\n").expect("written");
    let environment = god_config::Environment::default();
    let load =
        |path: &Path, production| Config::load(path, production, &environment, crate::FEW, Path::new("/d"));
    let config = load(&path, Some(&production)).expect("good").config;
    assert_eq!((config.web.admin.as_slice(), config.web.port), (["alice".to_owned()].as_slice(), 80));
    assert_eq!(config.file.as_ref().and_then(|file| file.mode), Some(0o604));
    assert_eq!(config.refusals().len(), 1, "everybody can read the secret");

    let missing = folder.path().join("none");
    let errors = load(&missing, Some(&missing)).expect_err("no file").to_string();
    assert!(errors.contains("2 faults") && errors.contains("cannot read the file"), "{errors}");
}
