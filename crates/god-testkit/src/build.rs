//! Small specifications and launches; a test changes the fields it is about.

use god_core::executor::{AttemptKey, Child, Launch, Run};
use god_core::ids::{NodeName, ProjectId, TaskId, UserId};
use god_core::spec::{AfterPolicy, Output, Owner, TaskSpec};
use god_core::units::Cores;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A user `bob` of the default project with these ids and no further group.
#[must_use]
pub fn owner(uid: u32, gid: u32) -> Owner {
    Owner {
        id: UserId::new("bob"),
        uid,
        gid,
        sgids: Vec::new(),
        email: None,
        home: None,
        project: ProjectId::new(ProjectId::DEFAULT),
        guest: None,
    }
}

/// One core, one GiB, no image, this script.
#[must_use]
pub fn spec(owner: Owner, script: &str) -> TaskSpec {
    TaskSpec {
        owner,
        name: "test".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        cores: Cores(1),
        ram: 1,
        gpus: 0,
        array: None,
        labels: Vec::new(),
        after: Vec::new(),
        after_policy: AfterPolicy::Any,
        ports: Vec::new(),
        network: "public".to_owned(),
        executor: None,
        failure_policy: 0,
        tmp_storage: None,
        uris: Vec::new(),
        time_limit: None,
        fields: BTreeMap::new(),
        image: String::new(),
        volumes: Vec::new(),
        root: false,
        interactive: false,
        script: script.to_owned(),
        notify_email: false,
        output: Output::Files,
        quotas: [0.0; 6],
    }
}

/// The launch of one attempt of a task that is no child of an array.
#[must_use]
pub fn launch(spec: TaskSpec, task: u64, attempt: u32, node: &NodeName) -> Launch {
    Launch {
        key: AttemptKey { task: TaskId(task), attempt },
        spec: Arc::new(spec),
        child: None,
        node: node.clone(),
        ports: Vec::new(),
        epoch: 1,
    }
}

/// The launch of the first attempt of a child of the array in `spec`.
///
/// # Panics
/// `spec` has no array, or the array no child of this ordinal.
#[must_use]
pub fn child_launch(spec: TaskSpec, parent: u64, ordinal: u64, node: &NodeName) -> Launch {
    let array = spec.array.clone().expect("the specification has an array");
    let index = array.value(ordinal).expect("the array has this child");
    let parent = TaskId(parent);
    Launch { child: Some(Child { parent, index, array }), ..launch(spec, parent.child(ordinal).0, 1, node) }
}

/// What a store that remembers no reference would say of this launch's run.
#[must_use]
pub fn run_of(launch: &Launch) -> Run {
    Run { key: launch.key, run: None }
}
