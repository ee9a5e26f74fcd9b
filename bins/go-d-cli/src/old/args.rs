//! Command lines of the older client's programs. docs/cli.md says what each accepts, and where that is known from.

use crate::args::QuotaArgs;
use crate::ids::IdList;
use clap::{Args, Parser, Subcommand};
use god_core::array::ArraySpec;
use std::path::PathBuf;

/// Saves the server, the login and the API key.
#[derive(Debug, Parser)]
#[command(name = "godlogin", version, max_term_width = 100)]
pub struct GodLogin {
    /// API key; asked for unless given. Others on this machine can read command lines
    #[arg(short, long, value_name = "KEY")]
    pub apikey: Option<String>,
    /// Login name
    #[arg(short, long, value_name = "NAME")]
    pub login: String,
    /// Address of the server
    #[arg(short, long, value_name = "URL")]
    pub server: String,
    /// Do not check the server's certificate
    #[arg(long, alias = "no_certificate")]
    pub no_certificate: bool,
}

/// Submits and manages tasks.
#[derive(Debug, Parser)]
#[command(name = "godjob", version, max_term_width = 100)]
pub struct GodJob {
    /// What to do.
    #[command(subcommand)]
    pub command: GodJobCommand,
}

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub enum GodJobCommand {
    /// Submit a task
    Create(Box<CreateArgs>),
    /// List tasks: active ones, or with --over those that are over
    List(OldListArgs),
    /// Show one task
    Show {
        /// The task
        id: IdList,
        /// Write it to jobs_infos.xml
        #[arg(long)]
        xml: bool,
    },
    /// List tasks that a regular expression matches
    Search {
        /// The expression
        pattern: String,
    },
    /// Kill a task
    Kill {
        /// The task
        id: IdList,
    },
    /// Kill all active tasks
    Killall {
        /// Only those with this tag
        #[arg(short, long, value_name = "WORD")]
        tag: Option<String>,
    },
    /// Pause a running task
    Suspend {
        /// The task
        id: IdList,
    },
    /// Let a paused task go on
    Resume {
        /// The task
        id: IdList,
    },
    /// Change a field of a task
    Update {
        /// The task
        id: IdList,
        /// The field, such as maxlifespan
        #[arg(short, long)]
        name: String,
        /// Its new value
        #[arg(short, long, allow_hyphen_values = true)]
        value: String,
    },
    /// Archive, or with --purge remove, a task that is over, or old ones
    Archive {
        /// The task
        #[arg(required_unless_present = "days", conflicts_with = "days")]
        id: Option<IdList>,
        /// All tasks over for more than that many days
        #[arg(long)]
        days: Option<u32>,
        /// Of these only those with this tag
        #[arg(short, long, value_name = "WORD", requires = "days", conflicts_with = "id")]
        tag: Option<String>,
        /// Remove files and record
        #[arg(long)]
        purge: bool,
    },
}

/// Options of `godjob create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Name of the task
    #[arg(short, long)]
    pub name: String,
    /// A longer text about it
    #[arg(short, long, default_value = "")]
    pub description: String,
    /// Words to find it by, with a comma between two
    #[arg(short, long, alias = "tag", value_name = "WORDS", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Project it counts for
    #[arg(short, long)]
    pub project: Option<String>,
    /// Container image; the server's default image unless given
    #[arg(short, long)]
    pub image: Option<String>,
    /// Take an image that is neither offered nor was used before
    #[arg(long = "external_image", alias = "external-image")]
    pub external_image: bool,
    /// File with the script
    #[arg(short, long, value_name = "FILE", conflicts_with = "cmd")]
    pub script: Option<PathBuf>,
    /// Text of the script instead of a file
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub cmd: Option<String>,
    /// An interactive session instead of a script
    #[arg(long)]
    pub interactive: bool,
    /// Cores
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
    pub cpu: Option<u32>,
    /// Memory in GB
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
    pub ram: Option<u32>,
    /// GPUs
    #[arg(short, long, alias = "gpu")]
    pub gpus: Option<u32>,
    /// Volume to mount, as the site offers it; may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub volume: Vec<String>,
    /// Where it may run, as name==value; may be repeated
    #[arg(long, alias = "labels")]
    pub label: Vec<String>,
    /// Make an array: N, first:last or first:last:step
    #[arg(long, allow_hyphen_values = true)]
    pub array: Option<ArraySpec>,
    /// Tasks to wait for, with a comma between two
    #[arg(long, alias = "parents", value_name = "IDS", value_delimiter = ',')]
    pub parent: Vec<String>,
    /// Start it again that often after a failure of its node
    #[arg(long, value_name = "N")]
    pub retry: Option<u32>,
    /// Where it is to run, beginning with the name of an executor
    #[arg(long, value_name = "TEXT")]
    pub placement: Option<String>,
    /// Port of the container to open; may be repeated
    #[arg(long, alias = "ports", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// Scratch space of this size, such as 10g
    #[arg(long = "tmp_storage", aliases = ["tmp-storage", "tmpstorage"], value_name = "SIZE")]
    pub tmp_storage: Option<String>,
    /// Run as root in the container
    #[arg(long)]
    pub root: bool,
    /// Wait until it is over
    #[arg(long)]
    pub wait: bool,
    /// Submit for this user (administrators)
    #[arg(long, value_name = "NAME")]
    pub login: Option<String>,
}

/// Options of `godjob list`.
#[derive(Debug, Clone, Args)]
pub struct OldListArgs {
    /// Active tasks
    #[arg(long, conflicts_with = "over")]
    pub active: bool,
    /// Tasks that are over, the last ones first
    #[arg(long)]
    pub over: bool,
    /// Tasks of everybody (administrators)
    #[arg(long)]
    pub all: bool,
    /// Leave out that many of those that are over
    #[arg(long, default_value_t = 0)]
    pub skip: u64,
    /// List that many of those that are over; 0 lists all
    #[arg(long, default_value_t = 100)]
    pub limit: u64,
    /// Tasks of this project, also of others where the site shares them
    #[arg(short, long)]
    pub project: Option<String>,
}

/// Submits lists of tasks.
#[derive(Debug, Parser)]
#[command(name = "godbatch", version, max_term_width = 100)]
pub struct GodBatch {
    /// What to do.
    #[command(subcommand)]
    pub command: GodBatchCommand,
}

/// What to do with lists.
#[derive(Debug, Subcommand)]
pub enum GodBatchCommand {
    /// Submit the tasks of a list, a few at a time, and wait for them
    Play(PlayArgs),
}

/// Options of `godbatch play`.
#[derive(Debug, Args)]
pub struct PlayArgs {
    /// File with the list
    pub list: PathBuf,
    /// How many may wait or run at once
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub parallel: u32,
    /// Begin anew and forget what has been done
    #[arg(long)]
    pub restart: bool,
}

/// Lists and fetches files of tasks.
#[derive(Debug, Parser)]
#[command(name = "godfile", version, max_term_width = 100)]
pub struct GodFile {
    /// What to do.
    #[command(subcommand)]
    pub command: GodFileCommand,
}

/// What to do with files.
#[derive(Debug, Subcommand)]
pub enum GodFileCommand {
    /// List a directory of a task
    List {
        /// The task
        id: IdList,
        /// Directory below the task's own
        #[arg(default_value = "")]
        directory: String,
    },
    /// Fetch a file of a task into the current directory
    Download {
        /// The task
        id: IdList,
        /// The file
        #[arg(default_value = "god.log")]
        name: String,
    },
}

/// Lists images.
#[derive(Debug, Parser)]
#[command(name = "godimage", version, max_term_width = 100)]
pub struct GodImage {
    /// What to do.
    #[command(subcommand)]
    pub command: GodImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum GodImageCommand {
    /// List images that are offered, and that were used before
    List,
}

/// Shows how to log in to interactive tasks.
#[derive(Debug, Parser)]
#[command(name = "godssh", version, max_term_width = 100)]
pub struct GodSsh {
    /// The task; all that run unless given
    pub id: Option<IdList>,
}

/// Shows and changes users.
#[derive(Debug, Parser)]
#[command(name = "goduser", version, max_term_width = 100)]
pub struct GodUser {
    /// What to do.
    #[command(subcommand)]
    pub command: GodUserCommand,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum GodUserCommand {
    /// Show a user
    #[command(alias = "info")]
    Show {
        /// The login; you unless given
        login: Option<String>,
    },
    /// List all users (administrators)
    List,
    /// Show what a user has used, day by day
    Usage {
        /// The login; you unless given
        login: Option<String>,
    },
    /// Change priority and quotas of a user (administrators)
    Update {
        /// The login
        login: String,
        /// What to change.
        #[command(flatten)]
        quotas: QuotaArgs,
    },
    /// Remove a user and the data of the user's tasks (administrators)
    #[command(alias = "remove")]
    Delete {
        /// The login
        login: String,
    },
}

/// Shows and changes projects.
#[derive(Debug, Parser)]
#[command(name = "godproject", version, max_term_width = 100)]
pub struct GodProject {
    /// What to do.
    #[command(subcommand)]
    pub command: GodProjectCommand,
}

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub enum GodProjectCommand {
    /// List your projects
    List,
    /// List all projects (administrators)
    Listall,
    /// Show a project
    Show {
        /// Its name
        name: String,
    },
    /// Show what a project has used, day by day
    Usage {
        /// Its name
        name: String,
    },
    /// Make a project (administrators)
    Create(OldProjectArgs),
    /// Change a project (administrators)
    Update(OldProjectArgs),
    /// Remove a project (administrators)
    Delete {
        /// Its name
        name: String,
    },
    /// Add members (administrators)
    Addmember(MemberArgs),
    /// Take members out (administrators)
    Deletemember(MemberArgs),
    /// Add or delete a volume (administrators)
    Volume(OldVolumeArgs),
    /// Forget what was counted against the quotas (administrators)
    #[command(name = "quota_reset", alias = "quota-reset")]
    QuotaReset {
        /// The project
        name: String,
    },
}

/// A project to make or to change.
#[derive(Debug, Clone, Args)]
pub struct OldProjectArgs {
    /// Its name
    pub name: String,
    /// A text about it
    #[arg(short, long)]
    pub description: Option<String>,
    /// A member; may be repeated
    #[arg(short, long, alias = "member", value_name = "LOGIN", value_delimiter = ',')]
    pub members: Vec<String>,
    /// Priority and quotas.
    #[command(flatten)]
    pub quotas: QuotaArgs,
}

/// Members of a project.
#[derive(Debug, Clone, Args)]
pub struct MemberArgs {
    /// The project
    pub name: String,
    /// Logins
    #[arg(required_unless_present = "member")]
    pub logins: Vec<String>,
    /// A login; may be repeated
    #[arg(short, long, alias = "members", value_name = "LOGIN", value_delimiter = ',')]
    pub member: Vec<String>,
}

/// A volume of a project.
#[derive(Debug, Clone, Args)]
pub struct OldVolumeArgs {
    /// The project
    pub name: String,
    /// Name of the volume
    #[arg(short, long, value_name = "NAME")]
    pub volume: String,
    /// Take it out
    #[arg(long, conflicts_with_all = ["path", "mount", "acl"])]
    pub delete: bool,
    /// Add it
    #[arg(long, conflicts_with = "delete")]
    pub add: bool,
    /// Directory on the nodes
    #[arg(long, required_unless_present = "delete")]
    pub path: Option<String>,
    /// Where it appears in the container; at the same path unless given
    #[arg(long)]
    pub mount: Option<String>,
    /// ro or rw
    #[arg(long, value_parser = ["ro", "rw"], default_value = "ro")]
    pub acl: String,
}
