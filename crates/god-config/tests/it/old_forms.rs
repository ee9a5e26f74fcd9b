//! Which of an old and a new key wins.

use crate::{loaded, warnings};

#[test]
fn the_old_executor_wins_over_the_list() {
    let loaded = loaded("executor: fake\n");
    assert_eq!(loaded.config.executors.names, ["fake"]);
    assert!(warnings(&loaded)[0].contains("executor: old key; it wins over executors"));
}

#[test]
fn an_empty_old_executor_is_nothing() {
    assert_eq!(loaded("executor: None\n").config.executors.names, ["local"]);
}

#[test]
fn new_keys_win_over_the_other_old_ones() {
    let loaded = loaded(
        "mesos_master: old:1\nmesos: {master: 'new:1'}\nnetwork_disabled: true\nnetwork: {disabled: false}\n\
         docker_url: tcp://127.0.0.1:1\ndocker: {api_version: '1.44'}\n",
    );
    let config = &loaded.config;
    assert_eq!(config.executors.mesos.master.as_ref().map(|master| master.reveal()), Some("new:1"));
    assert!(!config.network.disabled);
    assert_eq!(config.executors.docker.url.scheme(), Some("unix"));
    let found = warnings(&loaded);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|warning| warning.contains("old key, ignored")), "{found:?}");
}

#[test]
fn old_keys_fill_sections_that_leave_them_out() {
    let config =
        loaded("mesos_master: old:1\nmesos: {reconcile: false}\nnetwork_disabled: on\nnetwork: null\n")
            .config;
    let mesos = &config.executors.mesos;
    assert_eq!(mesos.master.as_ref().map(|master| master.reveal()), Some("old:1"));
    assert!(!mesos.reconcile && config.network.disabled);
}
