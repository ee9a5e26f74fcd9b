//! The command line, as clap reads it. What the words mean is done in `commands`.

mod job;
mod list;
mod site;

pub use job::{Directives, JobArgs, RunArgs, SubmitArgs, Volume};
pub use list::{ACTIVE, ENDED, Field, FilterArgs, ListArgs, SearchArgs, Sort, StateWord};
pub use site::{
    BatchArgs, BatchCommand, GenerateCommand, ProjectArgs, ProjectCommand, QuotaArgs, UserCommand, VolumeArgs,
};

use crate::ids::IdList;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const AFTER: &str = "\
Exit codes:
  0  done
  1  the server or a file reports an error
  2  the command line is wrong
  3  a job ended without an exit code
  4  not logged in, or not allowed
  5  no server answers
`run`, `attach`, `submit --wait`, `submit --follow` and `wait` end with the exit code of the job.

Tasks are named 7, 3,5-9, and 12[1-5] or 12_3 for children of array 12 by value.

GODOCKER_SERVER, GODOCKER_USER and GODOCKER_APIKEY stand before what `login` saved.";

/// Submits, follows and manages tasks of GO-Docker.
#[derive(Debug, Parser)]
#[command(name = "go-d-cli", version, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// Address of the server, such as https://god.example.org
    #[arg(long, global = true, env = "GODOCKER_SERVER", hide_env_values = true, value_name = "URL")]
    pub server: Option<String>,
    /// table, plain (tabs, no heading) or json; a table on a terminal and plain elsewhere unless given
    #[arg(long, global = true, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
    /// Print ids only, or nothing
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns with a heading.
    Table,
    /// Columns separated by one tab each, no heading.
    Plain,
    /// The server's answer.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Save the address of a server and an API key
    Login(LoginArgs),
    /// Forget the saved login
    Logout,
    /// Submit a task
    Submit(Box<SubmitArgs>),
    /// Run one command as a task, show its output, end with its exit code
    Run(Box<RunArgs>),
    /// List tasks: the active ones unless others are asked for
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// List tasks that a regular expression matches
    Search(SearchArgs),
    /// Show one task
    Show {
        /// The task: 7, or 12_3 for a child of array 12
        id: IdList,
    },
    /// Say why a task waits, or how it ended
    Why(IdArgs),
    /// Show how much of what they asked for tasks have used
    Eff(IdArgs),
    /// Print the output of a task
    Logs(LogsArgs),
    /// Show both outputs of a task until it is over; ends with its exit code
    Attach {
        /// The task: 7, or 12_3 for a child of array 12
        id: IdList,
        /// Leave escape sequences in what is shown on a terminal
        #[arg(long)]
        raw: bool,
    },
    /// Wait until tasks are over; ends with the exit code of the first that failed
    Wait(IdArgs),
    /// Kill tasks
    Kill(KillArgs),
    /// Pause running tasks
    Suspend(IdArgs),
    /// Let paused tasks go on
    Resume(IdArgs),
    /// Kill running tasks and run them again
    Reschedule(IdArgs),
    /// Submit copies of tasks
    Replay(IdArgs),
    /// Change a field of a task that may be changed after submit
    Update(UpdateArgs),
    /// Archive tasks that are over
    Archive(ArchiveArgs),
    /// Remove tasks that are over, with their files
    Purge(PurgeArgs),
    /// See and fetch the files of a task
    #[command(subcommand)]
    Files(FilesCommand),
    /// Show how to log in to an interactive task
    Ssh(SshArgs),
    /// Submit the tasks of a list, a few at a time
    #[command(subcommand)]
    Batch(BatchCommand),
    /// List the images that are offered or were used
    Images,
    /// Show who the server takes you for
    Whoami,
    /// Users: rights, quotas and use
    #[command(subcommand)]
    User(UserCommand),
    /// Projects: members, volumes, quotas and use
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Show the public configuration of the server
    Config,
    /// Count tasks by state
    Count,
    /// Write completions for a shell, manual pages, or links with the older names
    #[command(subcommand, hide = true)]
    Generate(GenerateCommand),
}

/// Options of `login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Login name; the name of the account you are in unless given
    #[arg(long, env = "GODOCKER_USER", hide_env_values = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Read the API key from standard input instead of asking for it (GODOCKER_APIKEY is taken as well)
    #[arg(long)]
    pub apikey_stdin: bool,
    /// Do not check the server's certificate: whoever sits between can read the key
    #[arg(long)]
    pub insecure: bool,
}

/// Options of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The task: 7, or 12_3 for a child of array 12
    pub id: IdList,
    /// Go on until the task is over
    #[arg(short, long)]
    pub follow: bool,
    /// The error output
    #[arg(long)]
    pub err: bool,
    /// Leave escape sequences in what is shown on a terminal
    #[arg(long)]
    pub raw: bool,
}

/// Options of `kill`.
#[derive(Debug, Args)]
pub struct KillArgs {
    /// Tasks: 3,5-9; 12[1-5] for children of array 12 by value
    #[arg(
        required_unless_present_any = ["tag", "mine", "state", "name", "project", "older"],
        conflicts_with_all = ["tag", "mine", "state", "name", "project", "older"]
    )]
    pub ids: Vec<IdList>,
    /// All your active tasks
    #[arg(long, conflicts_with_all = ["tag", "state", "name", "project", "older"])]
    pub mine: bool,
    /// Your active tasks with this tag
    #[arg(long, value_name = "WORD")]
    pub tag: Option<String>,
    /// Your tasks in these states, with a comma between two
    #[arg(long, value_name = "STATES", value_delimiter = ',', value_parser = ["pending", "starting", "running", "held"])]
    pub state: Vec<String>,
    /// Your active tasks whose name holds this text
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Your active tasks in this project
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Your active tasks that were submitted longer ago than this time
    #[arg(long, value_name = "TIME", value_parser = list::span)]
    pub older: Option<god_core::units::Seconds>,
}

/// Tasks.
#[derive(Debug, Args)]
pub struct IdArgs {
    /// Tasks: 3,5-9; 12[1-5] for children of array 12 by value
    #[arg(required = true)]
    pub ids: Vec<IdList>,
}

/// Options of `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Tasks: 3,5-9; 12[1-5] for children of array 12 by value
    pub ids: IdList,
    /// The field, such as maxlifespan; which ones may be changed the site decides
    pub field: String,
    /// Its new value
    #[arg(allow_hyphen_values = true)]
    pub value: String,
}

/// Options of `archive`.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// Tasks: 3,5-9; 12[1-5] for children of array 12 by value
    #[arg(required_unless_present = "older", conflicts_with = "older")]
    pub ids: Vec<IdList>,
    /// All your tasks that have been over for more than that many days
    #[arg(long, value_name = "DAYS")]
    pub older: Option<u32>,
}

/// Options of `purge`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Tasks: 3,5-9; 12[1-5] for children of array 12 by value
    #[arg(required_unless_present = "older", conflicts_with = "older")]
    pub ids: Vec<IdList>,
    /// All your tasks that have been over for more than that many days
    #[arg(long, value_name = "DAYS")]
    pub older: Option<u32>,
    /// Of these only those with this tag
    #[arg(long, value_name = "WORD", requires = "older", conflicts_with = "ids")]
    pub tag: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// What to do with files.
#[derive(Debug, Subcommand)]
pub enum FilesCommand {
    /// List a directory
    Ls {
        /// The task
        id: IdList,
        /// Directory below the task's own
        path: Option<String>,
    },
    /// Fetch a file
    Get(GetArgs),
}

/// Options of `files get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The task
    pub id: IdList,
    /// The file, below the task's directory
    pub path: String,
    /// Where to write it: a file, a directory, or `-` for standard output; its own name unless given
    #[arg(short, long = "to", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// Options of `ssh`.
#[derive(Debug, Args)]
pub struct SshArgs {
    /// The task
    pub id: IdList,
    /// Start ssh instead of showing the command
    #[arg(long)]
    pub run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
