//! Keys of older releases, moved to where they are today, each with a warning.

use crate::fault::Report;
use crate::tree::{Map, Node};

/// Rewrites the old keys of a file. Runs before the environment is laid over it.
pub(crate) fn translate(root: &mut Map, report: &mut Report) {
    executor(root, report);
    mesos_master(root, report);
    network_disabled(root, report);
    docker_keys(root, report);
}

fn warn(report: &mut Report, node: &Node, key: &str, what: &str, accepted: &str) {
    report.warnings.push(node.place.fault(key, what, accepted));
}

/// `executor: x` was one name until release 1.3; it still wins over the list that replaced it.
fn executor(root: &mut Map, report: &mut Report) {
    let Some(old) = root.remove("executor") else { return };
    if old.is_null() {
        return warn(report, &old, "executor", "old key without a value, ignored", "use executors");
    }
    let what = match root.has("executors") {
        true => "old key; it wins over executors, as it always did",
        false => "old key, read as executors with this one name",
    };
    warn(report, &old, "executor", what, "use executors: [name]");
    let list = Node::list(&old.place.clone(), vec![old]);
    root.set("executors", list);
}

fn mesos_master(root: &mut Map, report: &mut Report) {
    let Some(old) = root.remove("mesos_master") else { return };
    move_into(root, report, old, "mesos_master", "mesos", "master");
}

fn network_disabled(root: &mut Map, report: &mut Report) {
    let Some(old) = root.remove("network_disabled") else { return };
    move_into(root, report, old, "network_disabled", "network", "disabled");
}

/// Moves a top-level key into a section unless the section has the new key.
fn move_into(root: &mut Map, report: &mut Report, old: Node, old_key: &str, section: &str, key: &str) {
    let place = old.place.clone();
    let accepted = format!("use {section}.{key}");
    match root.section_mut(section, &place) {
        Some(map) if !map.has(key) => {
            let what = format!("old key, read as {section}.{key}");
            warn(report, &old, old_key, &what, &accepted);
            map.set(key, old);
        }
        _ => {
            let what = format!("old key, ignored since the file has {section}.{key}");
            warn(report, &old, old_key, &what, &accepted);
        }
    }
}

/// `docker_url` and `docker_api_version` count only when there is no `docker` section at all.
fn docker_keys(root: &mut Map, report: &mut Report) {
    let has_section = root.get("docker").is_some_and(|node| !node.is_null());
    for (old_key, key) in [("docker_url", "url"), ("docker_api_version", "api_version")] {
        let Some(old) = root.remove(old_key) else { continue };
        let accepted = format!("use docker.{key}");
        if has_section {
            warn(report, &old, old_key, "old key, ignored since the file has a docker section", &accepted);
            continue;
        }
        warn(report, &old, old_key, &format!("old key, read as docker.{key}, without TLS"), &accepted);
        let place = old.place.clone();
        if let Some(map) = root.section_mut("docker", &place) {
            map.set(key, old);
        }
    }
}
