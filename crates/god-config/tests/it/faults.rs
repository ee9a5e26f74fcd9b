//! All faults at once, each with its place, and warnings that help.

use god_config::{Known, LdapSecurity, ProductionIni};

use crate::{ALL, FEW, LEAST, check, check_with, faults, loaded, warnings};

/// One line more than the least makes exactly this fault.
fn fault(line: &str, expected: &str) {
    let found = faults(&format!("{line}\n"));
    assert_eq!(found.len(), 1, "{line}: {found:#?}");
    assert!(found[0].contains(expected), "{line}\nexpected {expected}\nfound    {}", found[0]);
}

#[test]
fn many_faults_make_one_report() {
    let text = "sharde_dir: /x\nexecutors: [local, swram]\nredis_port: many\nport_start: 0\nftp: {quota: giga}\n\
        docker: [1]\nvolumes_check: maybe\nfairshare_user_weight: heavy\nwatchers: [maxlifespam]\n";
    let errors = check_with(text, &[("GODOCKER_ETCD_PORT", "x")], None, FEW).expect_err("faults");
    let shown = errors.to_string();
    for expected in [
        "go-d.ini, shared_dir: this key must be set",
        "go-d.ini, secret_passphrase: this key must be set",
        "go-d.ini, executors[1]: no executor named `swram`; known here: docker, fake, local",
        "go-d.ini, redis_port: `many` is not a whole number; accepted: a whole number from 1 to 65535 (line 3)",
        "go-d.ini, port_start: 0 is out of range",
        "go-d.ini, ftp.quota: `giga` is not a size",
        "go-d.ini, docker: a list stands here; accepted: a map of keys",
        "go-d.ini, volumes_check: `maybe` is neither true nor false",
        "go-d.ini, fairshare_user_weight: `heavy` is not a number",
        "go-d.ini, watchers[0]: no watcher named `maxlifespam`; known here: maxlifespan; did you mean `maxlifespan`?",
        "GODOCKER_ETCD_PORT, etcd_port: `x` is not a whole number",
        "warning: go-d.ini, sharde_dir: unknown key, ignored; did you mean `shared_dir`?",
    ] {
        assert!(shown.contains(expected), "{expected}\nnot in\n{shown}");
    }
    assert_eq!(errors.faults.len(), 11, "{shown}");
}

#[test]
fn executors_must_be_named_and_built_in() {
    let with = |executors: &str| {
        let text = format!("shared_dir: /s\nsecret_passphrase: kG7qLz0PweR4vX2m\n{executors}\n");
        let errors = check_with(&text, &[], None, FEW).expect_err("no good executors");
        assert_eq!(errors.faults.len(), 1, "{errors}");
        errors.to_string()
    };
    assert!(with("").contains("executors: this key must be set"));
    assert!(with("executors: null").contains("executors: this key must be set"));
    assert!(with("executors: []").contains("executors: the list is empty"));
    assert!(with("executors: ''").contains("executors: the list is empty"));
    for name in ["swarm", "mesos", "kubernetes", "sge"] {
        let expected =
            format!("the executor `{name}` is not built into this program; known here: docker, fake");
        assert!(with(&format!("executors: [local, {name}]")).contains(&expected), "{name}");
        assert!(with(&format!("executor: {name}")).contains(&expected), "{name}");
    }
}

#[test]
fn defaults_must_be_built_in_too() {
    let known = Known { auth: &["fake"], policies: &["FairShare"], ..FEW };
    let errors = check_with(LEAST, &[], None, known).expect_err("two defaults are missing").to_string();
    for expected in [
        "go-d.ini, auth_policy: not set, and of its default: the authentication plugin `local` is not built into",
        "go-d.ini, scheduler_policy: not set, and of its default: the scheduling policy `FiFo` is not built into",
        "2 faults",
    ] {
        assert!(errors.contains(expected), "{expected}\nnot in\n{errors}");
    }
}

#[test]
fn each_kind_of_value_is_checked() {
    fault("shared_secret_passphrase: [a]", "shared_secret_passphrase: a list stands here");
    fault("cluster: a b", "`a b` is not a plain name");
    fault("data_dir: here", "`here` is not an absolute path");
    fault("array_max: 0", "0 is out of range");
    fault("array_max: 1e3", "`1e3` is not a whole number");
    fault("min_uid: 0100", "`0100` is not a whole number");
    fault("maxlifespan: soon", "`soon` is not a time");
    fault("store: postgres", "no store named `postgres`; accepted: sqlite, mongo, memory");
    fault("storage: tree", "no storage named `tree`; known here: pairtree");
    fault("fairshare_user_weight: -1", "-1 is negative; accepted: 0 or a positive number, such as 0.2");
    fault("scheduler_policy: fifo", "no scheduling policy named `fifo`; known here: FairShare, FiFo");
    fault("local: {output: all}", "local.output: `all` is not a choice; accepted: files, none");
    fault("local: {cgroups: 1}", "local.cgroups: `1` is not a choice");
    fault("docker: {memory: 0}", "docker.memory: no memory is left for tasks");
    fault("script_max: 0", "script_max: no script is small enough");
    fault("docker: {url: 'unix://'}", "docker.url: this is not an address");
    fault("docker: {network: host}", "docker.network: with the network `host`");
    fault("mongo_url: http://h/", "accepted: a URL that starts with mongodb:// or mongodb+srv://");
    fault("web: {listen: '6543'}", "web.listen: `6543` is not an address to listen on");
    fault("web: {listen: 'h:0'}", "web.listen: `h:0` is not an address to listen on");
    fault("port_start: 65000", "the range ends at port 65999");
    fault("network: {use_cni: true}", "network.cni_plugin: this key must be set");
    fault("network: {cni_plugin: flannel}", "no network plugin named `flannel`");
    fault("default_images: [{name: a}]", "default_images[0].url: this key must be set");
    fault("default_images: {name: a}", "default_images: a map of keys stands here; accepted: a list of maps");
    fault("constraints: [{name: a, value: ' , '}]", "constraints[0].value: no value is listed");
    fault("volumes: [{name: a}]", "volumes[0].path: this key must be set");
    fault("volumes: [{name: go-docker, path: /a}]", "volumes[0].name: the name `go-docker` is reserved");
    fault(
        "volumes: [{name: a, path: /a}, {name: a, path: /b}]",
        "volumes[1].name: a volume named `a` stands above",
    );
    fault("volumes: [{name: a, path: /etc/x, mount: /m}]", "volumes[0].path: /etc/x is never mounted");
    fault("volumes: [{name: a, path: /var/lib/god/x, mount: /m}]", "/var/lib/god/x is never mounted");
    fault("volumes: [{name: a, path: /a, mount: /mnt/home}]", "nothing is mounted at /mnt/home");
    fault("email_smtp_host: h", "email_from: this key must be set");
    fault("auth_policy: goauth\nldap_dn: dc=x", "ldap_host: this key must be set");
    fault("log_config: on", "log_config: a text or number stands here");
    fault(
        "log_config: {loggers: {root: {level: loud}}}",
        "log_config.loggers.root.level: `loud` is not a level",
    );
    fault(
        "log_config: {handlers: {f: {class: logging.FileHandler}}}",
        "handlers.f.filename: this key must be set",
    );
    fault("fairshare_user_weight: .nan", "`.nan` is not a number");
    fault("executor: mesos", "mesos.master: this key must be set");
    fault("executor: kubernetes", "kube_server: this key must be set");
}

#[test]
fn docker_over_tls_has_four_forms_and_no_unchecked_one_by_accident() {
    fault("docker: {tls: true}", "docker.tls: TLS is on and nothing says how to check");
    fault("docker: {tls: true, ca_cert: /ca, client_cert: /c}", "docker.client_key: this key must be set");
    fault("docker: {tls: true, ca_cert: /ca, client_key: /k}", "docker.client_cert: this key must be set");
    let tls = |more: &str| {
        let loaded = loaded(&format!("docker: {{url: 'https://h:2376', tls: true, {more}}}\n"));
        let tls = loaded.config.executors.docker.tls.clone().expect("TLS");
        (tls.ca_cert.is_some(), tls.client.is_some(), warnings(&loaded).len())
    };
    assert_eq!(tls("tls_skip_verify: true"), (false, false, 1));
    assert_eq!(tls("ca_cert: /ca"), (true, false, 0));
    assert_eq!(tls("tls_skip_verify: true, client_cert: /c, client_key: /k"), (false, true, 1));
    assert_eq!(tls("ca_cert: /ca, client_cert: /c, client_key: /k"), (true, true, 0));

    let plain = loaded("docker: {url: 'tcp://node7:2375'}\n");
    assert!(warnings(&plain)[0].contains("docker.url: the engine is reached without TLS"));
    let unused = loaded("docker: {ca_cert: /ca}\n");
    assert!(warnings(&unused)[0].contains("docker.tls: certificates are named but TLS is off"));
}

#[test]
fn the_shared_directory_must_exist() {
    let text = LEAST.replace("/srv/god/shared", "/missing/dir");
    let errors = check(&text).expect_err("no directory").to_string();
    assert!(errors.contains("shared_dir: the directory /missing/dir does not exist"), "{errors}");
}

#[test]
fn values_depend_on_each_other_as_told() {
    let network = |more: &str| loaded(more).config.executors.docker.network;
    assert_eq!(network(""), "bridge");
    assert_eq!(network("network: {disabled: true}\n"), "none");
    let both = loaded("network: {disabled: true}\ndocker: {network: jobs}\n");
    assert_eq!(both.config.executors.docker.network, "none");
    assert!(warnings(&both)[0].contains("docker.network: network.disabled is on"));
    assert_eq!(network("docker: {network: jobs}\n"), "jobs");

    let part = |more: &str| loaded(more).config.monitoring.cadvisor.url_part;
    assert_eq!(part("mesos: {unified: true}\n"), "/containers/mesos");
    assert_eq!(part("mesos: {unified: true}\ncadvisor_url_part_override: /x\n"), "/x");

    let gpu = loaded("mesos: {native_gpu: true}\n");
    assert!(!gpu.config.executors.mesos.native_gpu);
    assert_eq!(warnings(&gpu).len(), 1);

    let cni = loaded("network: {use_cni: true, cni_plugin: weave, cni_public_network_name: null}\n");
    assert_eq!(cni.config.network.cni.expect("a plugin").public_network, "weave");

    let ldap = loaded("ldap: {ssl: true}\n").config.auth.ldap;
    assert_eq!((ldap.port, ldap.security), (636, LdapSecurity::Tls));
    assert_eq!(loaded("etcd_prefix: god\n").config.monitoring.etcd.prefix, "/god");
    assert_eq!(loaded("maxlifespan: null\n").config.scheduling.max_lifespan_seconds, None);
    assert_eq!(loaded("maxlifespan: 90\n").config.scheduling.max_lifespan_seconds, Some(90));
    assert_eq!(loaded("ftp: {quota: null}\n").config.ftp.quota_bytes, None);
    assert_eq!(loaded("ftp: {quota: 500}\n").config.ftp.quota_bytes, Some(500));
    assert_eq!(loaded("web: {max_file_download: 0}\n").config.web.max_file_download_bytes, None);
    let web = loaded("web: {listen: '[::1]:80', admin: 'a, b'}\n").config.web;
    assert_eq!((web.host.as_str(), web.port, web.admin.len()), ("::1", 80, 2));
}

#[test]
fn unknown_keys_are_warned_about_at_every_depth() {
    let loaded = loaded("docker: {urll: x}\nvolumes: [{name: a, path: /a, acll: rw}]\nzzzzzz: 1\n");
    assert_eq!(
        warnings(&loaded),
        [
            "go-d.ini, docker.urll: unknown key, ignored; did you mean `url`? (line 4)",
            "go-d.ini, volumes[0].acll: unknown key, ignored; did you mean `acl`? (line 5)",
            "go-d.ini, zzzzzz: unknown key, ignored (line 6)",
        ]
    );
}

#[test]
fn a11_no_message_and_no_debug_output_shows_a_secret() {
    const CANARY: &str = "hunter2";
    let text = format!(
        "shared_dir: nowhere-{{}}\nexecutors: [x]\nsecret_passphrase: {CANARY}a\nshared_secret_passphrase: {CANARY}a\n\
         ldap_admin_password: [{CANARY}]\ninfluxdb_host: h\ninfluxdb_password: {CANARY}\nkube_token: {{a: {CANARY}}}\n\
         prometheus_key: {CANARY}\nemail_smtp_host: h\nemail_smtp_password: {CANARY}\n\
         mongo_url: http://u:{CANARY}@h/\nmongo_url: http://u:{CANARY}@h/\nweb_endpoint: u:{CANARY}@\n\
         mesos: {{master: 'zk://u:{CANARY}@'}}\nkube_server: 'u:{CANARY}'\nproxy_secret: [{CANARY}]\n\
         oidc: [{{name: a, issuer: 'http://u:{CANARY}@h', client_id: x, client_secret: {{a: {CANARY}}}}}]\n"
    );
    let errors = check(&text).expect_err("faults");
    assert!(errors.faults.len() > 7, "{errors}");
    assert!(!format!("{errors} {errors:?}").contains(CANARY), "{errors:#?}");

    let good = loaded(&format!(
        "shared_secret_passphrase: {CANARY}\ninfluxdb_host: h\ninfluxdb_password: {CANARY}\nkube_token: {CANARY}\n\
         prometheus_key: {CANARY}\nldap_admin_password: {CANARY}\nmongo_url: 'mongodb://u:{CANARY}@h/'\n\
         prometheus_exporter: 'http://u:{CANARY}@h/'\nemail_smtp_host: h\nemail_from: a@b\n\
         email_smtp_password: {CANARY}\nsecret_passphrase_previous: {CANARY}\n\
         allow_proxy_remote_user: true\nproxy_peers: [10.0.0.1]\nproxy_secret: {CANARY}\n\
         oidc: [{{name: a, issuer: 'https://u:{CANARY}@h', client_id: x, client_secret: {CANARY}}}]\nlog_config: {{handlers: {{m: {{class: x, password: {CANARY}}}}}}}\n"
    ));
    let shown = format!("{good:?} {:?}", good.config.refusals());
    assert!(!shown.contains(CANARY) && !shown.contains("kG7qLz0PweR4vX2m"), "{shown}");
}

#[test]
fn values_of_production_ini_are_checked_with_their_place() {
    let ini = ProductionIni::parse(
        std::path::Path::new("production.ini"),
        "[app:main]\nmax_file_download = lots\nprometheus = 2\n",
    );
    let errors = check_with(LEAST, &[], Some(&ini), ALL).expect_err("two faults").to_string();
    assert!(errors.contains("production.ini, web.max_file_download: `lots` is not a size"), "{errors}");
    assert!(errors.contains("production.ini, web.prometheus: `2` is neither true nor false"), "{errors}");
}

#[test]
fn e5_the_directory_is_asked_without_tls_only_when_told_to() {
    let of = |text: &str| {
        let loaded = loaded(&format!("ldap_host: {text}"));
        (loaded.config.auth.ldap.security, loaded.config.auth.ldap.port, warnings(&loaded).len())
    };
    for (text, expected) in [
        ("l.example", (LdapSecurity::StartTls, 389, 1)),
        ("l.example\nldap: {ssl: false}", (LdapSecurity::StartTls, 389, 1)),
        ("l.example\nldap: {ssl: true}", (LdapSecurity::Tls, 636, 0)),
        ("l.example\nldap: {starttls: true}", (LdapSecurity::StartTls, 389, 0)),
        ("l.example\nldap: {insecure: true}", (LdapSecurity::Plain, 389, 1)),
        ("l.example\nldap: {starttls: false, insecure: true}", (LdapSecurity::Plain, 389, 1)),
        ("localhost", (LdapSecurity::Plain, 389, 1)),
        ("127.0.0.1\nldap: {ssl: false}", (LdapSecurity::Plain, 389, 1)),
        ("127.0.0.1\nldap: {starttls: true}", (LdapSecurity::StartTls, 389, 0)),
        ("localhost.example", (LdapSecurity::StartTls, 389, 1)),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    fault("ldap_host: h\nldap: {starttls: false}", "ldap.starttls: neither ssl nor starttls");
    fault("ldap_host: h\nldap: {ssl: true, starttls: true}", "ldap.starttls: ssl and starttls are two ways");
    fault("ldap_host: h\nldap: {ssl: true, insecure: true}", "ldap.insecure: TLS was asked for");
    fault("ldap: {ca_cert: ca.pem}", "ldap.ca_cert: `ca.pem` is not an absolute path");
}

#[test]
fn a9_a_proxy_needs_an_address_and_a_secret() {
    let none = loaded("proxy_peers: [10.0.0.1]\nproxy_secret: kG7qLz0PweR4vX2n\n").config.auth.proxies;
    assert_eq!((none.peers.len(), none.remote_user_secret), (1, None), "off by default");
    let on = "allow_proxy_remote_user: true\n";
    fault(&format!("{on}proxy_secret: kG7qLz0PweR4vX2n"), "proxy_peers: this key must be set");
    fault(&format!("{on}proxy_peers: [10.0.0.1]"), "proxy_secret: this key must be set");
    for bad in ["0.0.0.0/33", "h", "10.0.0", "10.0.0.1:80", "::/129"] {
        let text = format!("{on}proxy_secret: kG7qLz0PweR4vX2n\nproxy_peers: ['{bad}']");
        fault(&text, &format!("proxy_peers[0]: `{bad}` is no address"));
    }
    let text = format!("{on}proxy_secret: kG7qLz0PweR4vX2n\nproxy_peers: [10.1.2.3, 10.7.1.1/16, '::1']\n");
    let peers = loaded(&text).config.auth.proxies.peers;
    assert_eq!(
        peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.1.2.3/32", "10.7.0.0/16", "::1/128"]
    );
}

#[test]
fn providers_of_guests_are_checked() {
    let one = |fields: &str| format!("oidc: [{{name: a, issuer: 'https://i', client_id: c{fields}}}]");
    let provider = &loaded(&one("")).config.guests.providers[0];
    assert_eq!((provider.title.as_str(), provider.scopes.len(), &provider.client_secret), ("a", 2, &None));
    fault("oidc: [{issuer: 'https://i', client_id: c}]", "oidc[0].name: this key must be set");
    fault(
        "oidc: [{name: a/b, issuer: 'https://i', client_id: c}]",
        "oidc[0].name: `a/b` is not a plain name",
    );
    fault("oidc: [{name: a, client_id: c}]", "oidc[0].issuer: this key must be set");
    fault(
        "oidc: [{name: a, issuer: 'http://i', client_id: c}]",
        "oidc[0].issuer: the answers of this address",
    );
    fault("oidc: [{name: a, issuer: 'ftp://i', client_id: c}]", "oidc[0].issuer: this is not an address");
    let two = "{name: a, issuer: 'http://127.0.0.1:1', client_id: c}";
    fault(&format!("oidc: [{two}, {two}]"), "oidc[1].name: this name is listed twice");
}
