//! Directories, limits and intervals that every daemon needs.

use std::path::{Path, PathBuf};

use crate::reader::Section;

/// Directories, limits and intervals that every daemon needs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Base {
    /// Directory that all daemons and nodes see at the same absolute path.
    pub shared_dir: PathBuf,
    /// Directory of this host alone: database file, sockets, keys. Absolute.
    pub data_dir: PathBuf,
    /// Name of this installation, used in the names of containers. Letters, digits, `-`, `_`, `.`.
    pub cluster: String,
    /// Name of the plugin that lays out job directories.
    pub storage: String,
    /// Cores of a task that names none.
    pub defaults_cpu: u32,
    /// Memory of a task that names none, in GB.
    pub defaults_ram_gb: u32,
    /// Whether tasks may ask to run as root in their container.
    pub allow_root: bool,
    /// Smallest uid and gid that a task may run with; 0 lets root itself own tasks.
    pub min_uid: u32,
    /// Days that usage counts for fair shares and quotas.
    pub usage_window_days: u32,
    /// Tasks taken per queue and pass.
    pub max_job_pop: u32,
    /// Seconds after which another scheduler may take the lead. At least 1.
    pub master_timeout_seconds: u64,
    /// Days after which a finished task may be archived by itself.
    pub clean_old_days: u32,
    /// Most children of one task array.
    pub array_max: u32,
    /// Largest script of a task, in bytes.
    pub script_max_bytes: u64,
    /// Seconds between the polite and the hard end of a task that is killed.
    pub grace_seconds: u64,
    /// Seconds between two full comparisons of what is recorded with what runs. At least 1.
    pub reconcile_seconds: u64,
}

const MASTER_TIMEOUT_SECONDS: u64 = 600;

impl Default for Base {
    /// The defaults; the two directories are empty paths until they are set.
    fn default() -> Base {
        Base {
            shared_dir: PathBuf::new(),
            data_dir: PathBuf::new(),
            cluster: "god".to_owned(),
            storage: "pairtree".to_owned(),
            defaults_cpu: 1,
            defaults_ram_gb: 2,
            allow_root: false,
            min_uid: 1000,
            usage_window_days: 30,
            max_job_pop: 100,
            master_timeout_seconds: MASTER_TIMEOUT_SECONDS,
            clean_old_days: 30,
            array_max: 100_000,
            script_max_bytes: 1 << 20,
            grace_seconds: 10,
            reconcile_seconds: 10,
        }
    }
}

impl Base {
    pub(crate) fn read(root: &mut Section<'_>, data_dir: &Path) -> Base {
        root.ignored("plugins_dir", "plugins are compiled into the programs");
        let default = Base::default();
        let storages = root.cx.known.storages;
        Base {
            shared_dir: shared_dir(root),
            data_dir: root.path_value("data_dir").unwrap_or_else(|| data_dir.to_owned()),
            cluster: root.word("cluster", 32).unwrap_or(default.cluster),
            storage: root.plugin_or("storage", "storage", storages, default.storage),
            defaults_cpu: root.count32("defaults_cpu", 1).unwrap_or(default.defaults_cpu),
            defaults_ram_gb: root.count32("defaults_ram", 1).unwrap_or(default.defaults_ram_gb),
            allow_root: root.flag("allow_root").unwrap_or(default.allow_root),
            min_uid: root.count32("min_uid", 0).unwrap_or(default.min_uid),
            usage_window_days: root
                .count32("user_reset_usage_duration", 1)
                .unwrap_or(default.usage_window_days),
            max_job_pop: root.count32("max_job_pop", 1).unwrap_or(default.max_job_pop),
            master_timeout_seconds: master_timeout(root),
            clean_old_days: root.count32("clean_old", 0).unwrap_or(default.clean_old_days),
            array_max: root.count32("array_max", 1).unwrap_or(default.array_max),
            script_max_bytes: script_max(root).unwrap_or(default.script_max_bytes),
            grace_seconds: root.count("grace_seconds", 0).unwrap_or(default.grace_seconds),
            reconcile_seconds: root.count("reconcile_seconds", 1).unwrap_or(default.reconcile_seconds),
        }
    }
}

fn shared_dir(root: &mut Section<'_>) -> PathBuf {
    const ACCEPTED: &str = "accepted: an existing directory that every node sees at the same absolute path";
    match root.node("shared_dir") {
        None => {
            root.missing("shared_dir", ACCEPTED);
            PathBuf::new()
        }
        Some(_) => match root.path_value("shared_dir") {
            Some(path) if (root.cx.dir_exists)(&path) => path,
            Some(path) => {
                root.fault(
                    "shared_dir",
                    format!("the directory {} does not exist", path.display()),
                    ACCEPTED,
                );
                path
            }
            None => PathBuf::new(),
        },
    }
}

fn script_max(root: &mut Section<'_>) -> Option<u64> {
    let bytes = root.size("script_max")?;
    if bytes == 0 {
        root.fault("script_max", "no script is small enough", "accepted: a size from 1 byte, such as 1m");
    }
    Some(bytes)
}

/// Old files may hold anything here: what is not a positive number counts as the default.
fn master_timeout(root: &mut Section<'_>) -> u64 {
    let Some(node) = root.node("master_timeout") else { return MASTER_TIMEOUT_SECONDS };
    let seconds = match &node.kind {
        crate::tree::Kind::Scalar { text, .. } => crate::tree::text_to_i64(text).filter(|&number| number > 0),
        _ => None,
    };
    seconds.map(i64::unsigned_abs).unwrap_or_else(|| {
        root.warn(
            "master_timeout",
            format!("not a number of seconds above 0; {MASTER_TIMEOUT_SECONDS} is used"),
            "accepted: seconds, longer than one pass of the scheduler",
        );
        MASTER_TIMEOUT_SECONDS
    })
}
