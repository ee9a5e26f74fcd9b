//! Options of what is about users, projects and lists of tasks, and of the files that are made of the command line
//! itself.

use clap::{Args, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Show a user
    Show {
        /// The login; you unless given
        login: Option<String>,
    },
    /// List all users (administrators)
    List,
    /// List the projects of a user
    Projects {
        /// The login; you unless given
        login: Option<String>,
    },
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
    Remove {
        /// The login
        login: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Priority and quotas. What is not given stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Args)]
pub struct QuotaArgs {
    /// Priority from 0 to 100; 50 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub prio: Option<u8>,
    /// Seconds of running within the window of quotas; 0 is no limit
    #[arg(long, alias = "quota_time", value_name = "SECONDS")]
    pub quota_time: Option<u64>,
    /// Cores started within that window; 0 is no limit
    #[arg(long, alias = "quota_cpu", value_name = "N")]
    pub quota_cpu: Option<u64>,
    /// Memory in GB started within that window; 0 is no limit
    #[arg(long, alias = "quota_ram", value_name = "GB")]
    pub quota_ram: Option<u64>,
}

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub enum ProjectCommand {
    /// List your projects
    List {
        /// All projects (administrators)
        #[arg(long)]
        all: bool,
    },
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
    Create(ProjectArgs),
    /// Change a project; what is not given stays as it is (administrators)
    Update(ProjectArgs),
    /// Remove a project (administrators)
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Add members (administrators)
    AddMember {
        /// The project
        name: String,
        /// Logins
        #[arg(required = true)]
        logins: Vec<String>,
    },
    /// Take members out (administrators)
    RemoveMember {
        /// The project
        name: String,
        /// Logins
        #[arg(required = true)]
        logins: Vec<String>,
    },
    /// Offer a volume to the members, or change it (administrators)
    AddVolume(VolumeArgs),
    /// No longer offer a volume (administrators)
    RemoveVolume {
        /// The project
        name: String,
        /// The volume
        volume: String,
    },
    /// Forget what was counted against the quotas (administrators)
    ResetQuota {
        /// The project
        name: String,
    },
}

/// A project to make or to change.
#[derive(Debug, Clone, Default, Args)]
pub struct ProjectArgs {
    /// Its name
    pub name: String,
    /// A text about it
    #[arg(short, long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Logins of its members, with a comma between two; may be repeated
    #[arg(short, long, value_name = "LOGINS", value_delimiter = ',')]
    pub member: Vec<String>,
    /// Priority and quotas.
    #[command(flatten)]
    pub quotas: QuotaArgs,
}

/// A volume of a project.
#[derive(Debug, Clone, Default, Args)]
pub struct VolumeArgs {
    /// The project
    pub name: String,
    /// The volume
    pub volume: String,
    /// Directory on the nodes
    pub path: String,
    /// Where it appears in the container; at the same path unless given
    #[arg(long, value_name = "PATH")]
    pub mount: Option<String>,
    /// Members may write
    #[arg(long)]
    pub rw: bool,
}

/// What to do with lists of tasks.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Submit the tasks of a list and wait for them; goes on where it stopped
    Play(BatchArgs),
    /// Show how far a list has got
    Status {
        /// The list
        list: PathBuf,
    },
    /// Check a list without submitting anything
    Check {
        /// The list
        list: PathBuf,
    },
}

/// Options of `batch play`.
#[derive(Debug, Args)]
pub struct BatchArgs {
    /// File with one task on each line; see docs/cli.md
    pub list: PathBuf,
    /// How many of its tasks may wait or run at once
    #[arg(short = 'P', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub parallel: u32,
    /// Where to keep what has been done; LIST.state unless given
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Begin anew and forget what has been done
    #[arg(long, conflicts_with = "retry_failed")]
    pub restart: bool,
    /// Submit those again that did not end with 0
    #[arg(long)]
    pub retry_failed: bool,
    /// Submit no more after one that did not end with 0
    #[arg(long)]
    pub stop_on_failure: bool,
}

/// What to make of the command line itself.
#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Completions for a shell, on standard output
    Completions {
        /// The shell
        shell: Shell,
        /// For this program; go-d-cli or one of the older names
        #[arg(long, value_name = "NAME", default_value = "go-d-cli")]
        program: String,
    },
    /// Manual pages of all programs, in a directory
    Man {
        /// The directory; it must exist
        directory: PathBuf,
    },
    /// Links that call this program by its older names, in a directory
    Links {
        /// The directory; it must exist
        directory: PathBuf,
    },
}
