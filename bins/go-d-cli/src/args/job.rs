//! Options that describe a task: the same words on a command line and in the `#GOD` lines of a script.

use crate::ids::IdList;
use clap::{Args, ValueEnum};
use god_core::array::ArraySpec;
use god_core::units::Seconds;
use std::path::PathBuf;

/// What a task is and needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "The task")]
pub struct JobArgs {
    /// Name of the task; that of the script unless given
    #[arg(short, long)]
    pub name: Option<String>,
    /// A longer text about it
    #[arg(short, long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Words to find it by, with a comma between two; may be repeated
    #[arg(short, long, value_name = "WORDS", value_delimiter = ',')]
    pub tag: Vec<String>,
    /// Project it counts for
    #[arg(short, long, value_name = "NAME")]
    pub project: Option<String>,
    /// Container image; the server's default image unless given
    #[arg(short, long)]
    pub image: Option<String>,
    /// Cores
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpu: Option<u32>,
    /// Memory in GB
    #[arg(short, long, value_name = "GB", value_parser = clap::value_parser!(u32).range(1..))]
    pub ram: Option<u32>,
    /// GPUs
    #[arg(short, long, value_name = "N")]
    pub gpus: Option<u32>,
    /// Make an array: N, first:last or first:last:step, then perhaps %LIMIT for how many run at once
    #[arg(short, long, value_name = "VALUES", allow_hyphen_values = true)]
    pub array: Option<ArraySpec>,
    /// Start when these tasks are over, however they ended
    #[arg(long, value_name = "IDS", num_args = 1)]
    pub after: Vec<IdList>,
    /// Start when these tasks have ended with exit code 0; skip this one if one of them fails
    #[arg(long, value_name = "IDS", num_args = 1, conflicts_with = "after")]
    pub after_ok: Vec<IdList>,
    /// Place it where this holds, as name==value; may be repeated
    #[arg(short, long, value_name = "NAME==VALUE")]
    pub label: Vec<String>,
    /// Mount a volume, for reading only unless :rw follows; may be repeated
    #[arg(short, long, value_name = "NAME[:rw]")]
    pub volume: Vec<Volume>,
    /// Where it is to run, beginning with the name of an executor
    #[arg(short, long, value_name = "TEXT")]
    pub executor: Option<String>,
    /// Kill it after this time: 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    pub time_limit: Option<String>,
    /// Get this signal some time before the time limit: USR1@5m, a minute when no time is said
    #[arg(long, value_name = "NAME[@TIME]", value_parser = warning)]
    pub signal: Option<String>,
    /// Start it again that often after a failure of its node; the server's rule unless given
    #[arg(long, value_name = "N")]
    pub retry: Option<u32>,
    /// Open these ports of the container, with a comma between two; may be repeated
    #[arg(long, value_name = "PORTS", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// Network of the container, where the site offers several: public, user or project
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Scratch space of this size, such as 10g
    #[arg(long, value_name = "SIZE")]
    pub tmpstorage: Option<String>,
    /// Keep no files of the task: no job directory, no log
    #[arg(long)]
    pub output_none: bool,
    /// An interactive session instead of a script
    #[arg(long)]
    pub interactive: bool,
    /// Run as root in the container, where that is allowed
    #[arg(long)]
    pub root: bool,
    /// Send mail when its state changes
    #[arg(long)]
    pub notify: bool,
}

impl JobArgs {
    /// These options, and those of `below` where these say nothing. Lists are put together.
    #[must_use]
    pub fn or(self, below: JobArgs) -> JobArgs {
        let both = |mut own: Vec<_>, mut below: Vec<_>| {
            below.append(&mut own);
            below
        };
        // One rule for what to wait for: the dependencies given here replace those below.
        let waits = !self.after.is_empty() || !self.after_ok.is_empty();
        let (after, after_ok) =
            if waits { (self.after, self.after_ok) } else { (below.after, below.after_ok) };
        JobArgs {
            name: self.name.or(below.name),
            description: self.description.or(below.description),
            tag: both(self.tag, below.tag),
            project: self.project.or(below.project),
            image: self.image.or(below.image),
            cpu: self.cpu.or(below.cpu),
            ram: self.ram.or(below.ram),
            gpus: self.gpus.or(below.gpus),
            array: self.array.or(below.array),
            after,
            after_ok,
            label: both(self.label, below.label),
            volume: volumes(self.volume, below.volume),
            executor: self.executor.or(below.executor),
            time_limit: self.time_limit.or(below.time_limit),
            signal: self.signal.or(below.signal),
            retry: self.retry.or(below.retry),
            port: if self.port.is_empty() { below.port } else { self.port },
            network: self.network.or(below.network),
            tmpstorage: self.tmpstorage.or(below.tmpstorage),
            output_none: self.output_none || below.output_none,
            interactive: self.interactive || below.interactive,
            root: self.root || below.root,
            notify: self.notify || below.notify,
        }
    }
}

/// Both lists; of two volumes with one name the first list's counts.
fn volumes(own: Vec<Volume>, below: Vec<Volume>) -> Vec<Volume> {
    let mut all: Vec<Volume> =
        below.into_iter().filter(|volume| own.iter().all(|other| other.name != volume.name)).collect();
    all.extend(own);
    all
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
    /// Lines of the script that are read as options
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Directives::God)]
    pub read: Directives,
    /// Wait until it is over and end with its exit code
    #[arg(long)]
    pub wait: bool,
    /// As --wait, and show its output meanwhile; what is said about the task then goes to standard error
    #[arg(short, long, conflicts_with_all = ["output_none", "array"])]
    pub follow: bool,
    /// Leave escape sequences in what --follow shows on a terminal
    #[arg(long, requires = "follow")]
    pub raw: bool,
    /// Show what would be sent, and send nothing
    #[arg(long, conflicts_with_all = ["wait", "follow"])]
    pub dry_run: bool,
    /// What the task is and needs.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Leave escape sequences in what is shown on a terminal
    #[arg(long)]
    pub raw: bool,
    /// What the task is and needs.
    #[command(flatten)]
    pub job: JobArgs,
    /// The command and its arguments, passed on as they are
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Which lines of a script are options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Directives {
    /// Lines that begin with `#GOD`.
    God,
    /// Those, and the common options of lines that begin with `#SBATCH`.
    Sbatch,
    /// No line.
    None,
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
fn warning(text: &str) -> Result<String, god_core::warning::BadWarning> {
    text.parse::<god_core::warning::Warning>().map(|_| text.to_owned())
}

fn time_limit(text: &str) -> Result<String, god_core::units::BadSpan> {
    Seconds::parse(text).map(|_| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_read_only_unless_said() {
        let read = |text: &str| text.parse::<Volume>();
        assert_eq!(read("home"), Ok(Volume { name: "home".into(), writable: false }));
        assert_eq!(read("home:rw"), Ok(Volume { name: "home".into(), writable: true }));
        assert_eq!(read("home:ro"), Ok(Volume { name: "home".into(), writable: false }));
        read(":rw").expect_err("no name");
        read("home:w").expect_err("unknown word");
    }

    #[test]
    fn what_stands_above_wins_and_lists_add_up() {
        let volume = |text: &str| text.parse::<Volume>().expect(text);
        let ids = |text: &str| text.parse::<IdList>().expect(text);
        let above = JobArgs {
            cpu: Some(4),
            tag: vec!["b".into()],
            volume: vec![volume("home:rw")],
            after: vec![ids("7")],
            notify: true,
            ..JobArgs::default()
        };
        let below = JobArgs {
            cpu: Some(1),
            ram: Some(2),
            tag: vec!["a".into()],
            volume: vec![volume("home"), volume("data")],
            after_ok: vec![ids("6")],
            root: true,
            ..JobArgs::default()
        };
        let got = above.or(below);
        let want = JobArgs {
            cpu: Some(4),
            ram: Some(2),
            tag: vec!["a".into(), "b".into()],
            volume: vec![volume("data"), volume("home:rw")],
            after: vec![ids("7")],
            notify: true,
            root: true,
            ..JobArgs::default()
        };
        assert_eq!(got, want);
    }
}
