//! What lies on disk about attempts, and what the keeper is told to run. Everything here blocks, and is called on
//! threads that may.

use crate::options::Options;
use crate::wire;
use god_core::executor::{Child, Finished, Launch, StartError, Started};
use god_core::spec::{Output, TaskSpec};
use god_runtime::environment::{self, ArrayRange, Place};
use god_runtime::jobdir::{JobDirError, JobDirs, Owner};
use god_runtime::launch::{self, DEFAULT_UMASK, Identity, Needs, Template, Timing, Variable, Warn};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Name of a plain task's directory in its object's directory.
const TASK: &str = "task";

/// The files of one site.
#[derive(Debug)]
pub(crate) struct Files {
    dirs: JobDirs,
}

/// What a batch of launches became.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// For each launch the answer, where it is known already.
    pub answers: Vec<Option<Result<Started, StartError>>>,
    /// What the launches share.
    pub templates: Vec<Template>,
    /// The launches for the keeper.
    pub launches: Vec<launch::Launch>,
    /// For each of them its place among the answers.
    pub places: Vec<usize>,
}

impl Files {
    pub(crate) fn new(shared: &Path) -> Files {
        Files { dirs: JobDirs::new(shared).without_sync() }
    }

    /// Writes scripts, makes directories (but the last, which the keeper makes) and describes the launches. Repeating
    /// it is harmless.
    pub(crate) fn prepare(&self, launches: &[Launch], options: &Options) -> Batch {
        let mut batch = Batch::default();
        // The template of an array, for all its children in this batch.
        let mut arrays: HashMap<u64, Result<u32, StartError>> = HashMap::new();
        for (place, launch) in launches.iter().enumerate() {
            let template = match &launch.child {
                None => self.template(launch, options).map(|template| batch.add(template)),
                Some(child) => arrays
                    .entry(child.parent.0)
                    .or_insert_with(|| self.template(launch, options).map(|template| batch.add(template)))
                    .clone(),
            };
            let described =
                template.and_then(|index| describe(launch, index, &batch.templates[index as usize]));
            match described {
                Ok(launch) => {
                    batch.launches.push(launch);
                    batch.places.push(place);
                    batch.answers.push(None);
                }
                Err(err) => batch.answers.push(Some(Err(err))),
            }
        }
        batch
    }

    /// The template of a task, or of all children of an array, with its files ready.
    fn template(&self, launch: &Launch, options: &Options) -> Result<Template, StartError> {
        let spec = &launch.spec;
        if let Some(why) = refusal(spec, options) {
            return Err(StartError::Refused(why));
        }
        let owner = Owner { uid: spec.owner.uid, gid: spec.owner.gid };
        let later = |err: JobDirError| StartError::NotNow(crate::client::chain(&err));
        let object = launch.child.as_ref().map_or(launch.key.task.0, |child| child.parent.0);
        let script = self.dirs.write_script(object, owner, spec.script.as_bytes()).map_err(later)?;
        let files = options.keep_output && spec.output == Output::Files;
        let workdir = match (files, &launch.child) {
            (false, _) => None,
            (true, None) => Some(self.dirs.create_task_parent(object).map_err(later)?),
            (true, Some(_)) => Some(self.dirs.create_array_dir(object, owner.gid).map_err(later)?),
        };
        Ok(template(spec, launch.child.as_ref(), script, workdir, options))
    }

    /// Removes what is left of ended attempts; the first fault is told after all have been tried.
    pub(crate) fn remove(&self, finished: &[Finished]) -> Result<(), JobDirError> {
        let mut result = Ok(());
        for over in finished {
            result = result.and(self.remove_one(over));
        }
        result
    }

    fn remove_one(&self, over: &Finished) -> Result<(), JobDirError> {
        let task = over.key.task.0;
        // A child's script is its parent's, and its directory goes with its parent's: its index is not known here.
        if over.parent.is_some() {
            return Ok(());
        }
        self.dirs.remove_control_dir(task)?;
        if over.keep_files { Ok(()) } else { self.dirs.remove_task_dir(task) }
    }
}

impl Batch {
    fn add(&mut self, template: Template) -> u32 {
        self.templates.push(template);
        u32::try_from(self.templates.len() - 1).unwrap_or(u32::MAX)
    }
}

/// Why this executor will never run such a task, in words for its owner; `None` when it may.
fn refusal(spec: &TaskSpec, options: &Options) -> Option<String> {
    if spec.root {
        return Some("executor local runs nothing as root".to_owned());
    }
    if spec.interactive {
        return Some("executor local has no interactive sessions".to_owned());
    }
    if spec.gpus > 0 {
        return Some("executor local offers no GPUs".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        // The keeper says whom it can be.
        return None;
    }
    identity(spec).check(options.min_id).err().map(|bad| bad.to_string())
}

fn identity(spec: &TaskSpec) -> Identity {
    Identity { uid: spec.owner.uid, gid: spec.owner.gid, groups: spec.owner.sgids.clone() }
}

fn template(
    spec: &TaskSpec,
    child: Option<&Child>,
    script: PathBuf,
    workdir: Option<PathBuf>,
    options: &Options,
) -> Template {
    let home_volume =
        spec.volumes.iter().find(|volume| volume.name == "home").map(|volume| volume.path.as_str());
    let place = Place::Native { home_volume, home: spec.owner.home.as_deref() };
    let range = child.map(|child| ArrayRange {
        first: child.array.first,
        last: child.array.last,
        step: child.array.step,
    });
    let amount = spec.amount();
    let files = workdir.is_some();
    Template {
        script,
        args: Vec::new(),
        env: environment::shared(spec.owner.id.as_str(), place, range),
        identity: identity(spec),
        workdir,
        create: files,
        output: if files { launch::Output::Files } else { launch::Output::None },
        info: files,
        uris: if files { spec.uris.clone() } else { Vec::new() },
        umask: DEFAULT_UMASK,
        timing: Timing {
            time_limit_seconds: spec.limit().map(|limit| limit.0),
            grace_seconds: options.grace.0,
            warn: spec
                .warning()
                .map(|warning| Warn { signal: warning.signal, before_seconds: warning.before.0 }),
        },
        needs: Needs { cores: amount.cores.0, memory: amount.memory.0 },
        pids: None,
        rlimits: Vec::new(),
    }
}

/// One launch for the keeper.
fn describe(launch: &Launch, index: u32, template: &Template) -> Result<launch::Launch, StartError> {
    let leaf = launch.child.as_ref().map_or_else(|| TASK.to_owned(), |child| child.index.to_string());
    let workdir = template.workdir.as_ref().map_or_else(|| PathBuf::from("/"), |dir| dir.join(&leaf));
    let value = launch.child.as_ref().map(|child| child.index);
    let env = environment::own_native(launch.key.task.0, value, &workdir.to_string_lossy(), &template.env);
    let all = template.env.iter().chain(&env);
    let args = template.args.iter().map(String::as_str);
    environment::exec_bytes_limit(args, all).map_err(|big| StartError::Refused(big.to_string()))?;
    check(&env)?;
    Ok(launch::Launch {
        key: wire::key(launch.key),
        template: index,
        env,
        leaf: template.workdir.is_some().then_some(leaf),
    })
}

/// A variable the kernel cannot take would end the keeper's request for all.
fn check(env: &[Variable]) -> Result<(), StartError> {
    let bad = env.iter().find(|(name, value)| name.contains('\0') || value.contains('\0'));
    bad.map_or(Ok(()), |(name, _)| Err(StartError::Refused(format!("variable {name} holds a NUL byte"))))
}
