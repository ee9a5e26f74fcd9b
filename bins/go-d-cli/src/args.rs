//! The command line, as clap reads it. What the words mean is done in `commands`.

use crate::ids::IdList;
use clap::{Args, Parser, Subcommand, ValueEnum};
use god_core::array::ArraySpec;
use god_core::units::Seconds;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server or a file reports an error
  2  the command line is wrong
  3  a job ended without an exit code
  4  not logged in, or not allowed
  5  no server answers
`submit --wait`, `submit --follow` and `wait` end with the exit code of the job.

GODOCKER_SERVER, GODOCKER_USER and GODOCKER_APIKEY stand before what `login` saved.";

/// Submits, follows and manages tasks of GO-Docker.
#[derive(Debug, Parser)]
#[command(name = "go-d-cli", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
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
    /// Submit a task
    Submit(Box<SubmitArgs>),
    /// List tasks: the active ones, or those that are over
    List(ListArgs),
    /// Show one task
    Show {
        /// The task: 7, or 7_2 for a child of array 7
        id: IdList,
    },
    /// Print the output of a task
    Logs(LogsArgs),
    /// Kill tasks
    Kill(KillArgs),
    /// Pause running tasks
    Suspend(IdArgs),
    /// Let paused tasks go on
    Resume(IdArgs),
    /// Kill running tasks and run them again
    Reschedule(IdArgs),
    /// Wait until tasks are over; ends with the exit code of the first that failed
    Wait(IdArgs),
    /// See and fetch the files of a task
    #[command(subcommand)]
    Files(FilesCommand),
    /// List the images that are offered or were used
    Images,
    /// Show who the server takes you for
    Whoami,
    /// Show the public configuration of the server
    Config,
    /// Count tasks by state
    Count,
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

/// Options of `submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// File with the script; `-` reads it from standard input
    #[arg(required_unless_present_any = ["cmd", "interactive"], conflicts_with = "cmd")]
    pub script: Option<PathBuf>,
    /// Run this shell text instead of a script file
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub cmd: Option<String>,
    /// Name of the task; that of the script unless given
    #[arg(long)]
    pub name: Option<String>,
    /// A longer text about it
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Container image; the server's default image unless given
    #[arg(long)]
    pub image: Option<String>,
    /// Cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpu: Option<u32>,
    /// Memory in GB
    #[arg(long, value_name = "GB", value_parser = clap::value_parser!(u32).range(1..))]
    pub ram: Option<u32>,
    /// GPUs
    #[arg(long, value_name = "N")]
    pub gpus: Option<u32>,
    /// Make an array: N, first:last or first:last:step, then perhaps %LIMIT for how many run at once
    #[arg(long, value_name = "VALUES", allow_hyphen_values = true)]
    pub array: Option<ArraySpec>,
    /// Start when these tasks are over, however they ended
    #[arg(long, value_name = "IDS", num_args = 1)]
    pub after: Vec<IdList>,
    /// Start when these tasks have ended with exit code 0; skip this one if one of them fails
    #[arg(long, value_name = "IDS", num_args = 1, conflicts_with = "after")]
    pub after_ok: Vec<IdList>,
    /// Place it where this holds, as name==value; may be repeated
    #[arg(long, value_name = "NAME==VALUE")]
    pub label: Vec<String>,
    /// Mount a volume, for reading only unless :rw follows; may be repeated
    #[arg(long, value_name = "NAME[:rw]")]
    pub volume: Vec<Volume>,
    /// Project it counts for
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// A word to find it by; may be repeated
    #[arg(long, value_name = "WORD")]
    pub tag: Vec<String>,
    /// Where it is to run, beginning with the name of an executor
    #[arg(long, value_name = "TEXT")]
    pub executor: Option<String>,
    /// Kill it after this time: 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    pub time_limit: Option<String>,
    /// Keep no files of the task: no job directory, no log
    #[arg(long)]
    pub output_none: bool,
    /// An interactive session instead of a script
    #[arg(long)]
    pub interactive: bool,
    /// Run as root in the container, where that is allowed
    #[arg(long)]
    pub root: bool,
    /// Scratch space of this size, such as 10g
    #[arg(long, value_name = "SIZE")]
    pub tmpstorage: Option<String>,
    /// Send mail when its state changes
    #[arg(long)]
    pub notify: bool,
    /// Wait until it is over and end with its exit code
    #[arg(long)]
    pub wait: bool,
    /// As --wait, and show its output meanwhile; what is said about the task then goes to standard error
    #[arg(long, conflicts_with_all = ["output_none", "array"])]
    pub follow: bool,
    /// Leave escape sequences in what --follow shows on a terminal
    #[arg(long, requires = "follow")]
    pub raw: bool,
}

/// A volume as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Whether it is to be written.
    pub writable: bool,
}

impl std::str::FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Volume, String> {
        let (name, acl) = text.split_once(':').unwrap_or((text, "ro"));
        match (name, acl) {
            ("", _) => Err("the name of the volume is missing".to_owned()),
            (name, "rw" | "ro") => Ok(Volume { name: name.to_owned(), writable: acl == "rw" }),
            _ => Err(format!("after the colon accepted are rw and ro, not {acl:?}")),
        }
    }
}

/// The text as it stands, once it is known to be a time.
fn time_limit(text: &str) -> Result<String, god_core::units::BadSpan> {
    Seconds::parse(text).map(|_| text.trim().to_owned())
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Tasks that are over, the newest first
    #[arg(long)]
    pub over: bool,
    /// Leave out that many of them
    #[arg(long, value_name = "N", default_value_t = 0, requires = "over")]
    pub skip: u64,
    /// List at most that many of them; 0 lists all
    #[arg(long, value_name = "N", default_value_t = 100, requires = "over")]
    pub limit: u64,
    /// Tasks of everybody, for administrators
    #[arg(long)]
    pub all: bool,
    /// Tasks of everybody in a project that shares them
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub project: Option<String>,
}

/// Options of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The task: 7, or 7_2 for a child of array 7
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
    /// Tasks: 3,5-9; 7_2-4 for children of array 7 by value
    #[arg(required_unless_present = "tag", conflicts_with = "tag")]
    pub ids: Vec<IdList>,
    /// All your active tasks with this tag
    #[arg(long, value_name = "WORD")]
    pub tag: Option<String>,
}

/// Tasks.
#[derive(Debug, Args)]
pub struct IdArgs {
    /// Tasks: 3,5-9; 7_2-4 for children of array 7 by value
    #[arg(required = true)]
    pub ids: Vec<IdList>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn volumes() {
        let read = |text: &str| text.parse::<Volume>();
        assert_eq!(read("home"), Ok(Volume { name: "home".into(), writable: false }));
        assert_eq!(read("home:rw"), Ok(Volume { name: "home".into(), writable: true }));
        assert_eq!(read("home:ro"), Ok(Volume { name: "home".into(), writable: false }));
        read(":rw").expect_err("no name");
        read("home:w").expect_err("unknown word");
    }
}
