//! Options that choose among tasks and say how to show them.

use clap::{Args, ValueEnum};
use god_core::units::Seconds;
use std::str::FromStr;

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which tasks.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Columns in this order, with a comma between two
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    pub columns: Vec<Field>,
    /// Order by a column; `-` before its name turns it round
    #[arg(long, value_name = "[-]NAME", allow_hyphen_values = true)]
    pub sort: Option<Sort>,
    /// List at most that many; 0 lists all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u64,
}

/// Options of `search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Regular expression, looked for in names, descriptions, tags, images and ids
    pub pattern: String,
    /// Which tasks, and how to show them.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Which tasks.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// In these states, with a comma between two; active ones unless given
    #[arg(long, value_enum, value_name = "STATES", value_delimiter = ',')]
    pub state: Vec<StateWord>,
    /// The same as --state over,archived
    #[arg(long, conflicts_with = "state")]
    pub over: bool,
    /// With this tag
    #[arg(long, value_name = "WORD")]
    pub tag: Option<String>,
    /// Whose name holds this text
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Tasks of everybody in a project, where the site shares them
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Tasks of this user, for administrators
    #[arg(long, value_name = "LOGIN", conflicts_with = "all")]
    pub user: Option<String>,
    /// Tasks of everybody, for administrators
    #[arg(long)]
    pub all: bool,
    /// That ended so, with a comma between two words; implies --over
    #[arg(long, value_enum, value_name = "WORDS", value_delimiter = ',')]
    pub outcome: Vec<OutcomeWord>,
    /// Arrays without their children
    #[arg(long)]
    pub no_children: bool,
    /// Submitted within this time: 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub since: Option<Seconds>,
    /// Submitted longer ago than this time
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub older: Option<Seconds>,
}

/// A span of time as typed.
pub fn span(text: &str) -> Result<Seconds, god_core::units::BadSpan> {
    Seconds::parse(text)
}

/// A state, or several under one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateWord {
    /// Waits for room, or for other tasks.
    Pending,
    /// Has been given a place.
    Starting,
    /// Runs.
    Running,
    /// Set aside after failures that need a person.
    Held,
    /// Has ended.
    Over,
    /// Has ended, and its files were archived.
    Archived,
    /// pending, starting, running and held.
    Active,
    /// Every state.
    Any,
}

/// The words of states that are not over.
pub const ACTIVE: [&str; 4] = ["pending", "starting", "running", "held"];
/// The words of states that are.
pub const ENDED: [&str; 2] = ["over", "archived"];

impl FilterArgs {
    /// The states meant, in their order, each once.
    pub fn states(&self) -> Vec<&'static str> {
        let mut words: Vec<StateWord> = self.state.clone();
        if self.over {
            words.extend([StateWord::Over, StateWord::Archived]);
        }
        if words.is_empty() && !self.outcome.is_empty() {
            words.extend([StateWord::Over, StateWord::Archived]);
        }
        if words.is_empty() {
            words.push(StateWord::Active);
        }
        let means = |word: StateWord| -> &'static [&'static str] {
            match word {
                StateWord::Pending => &["pending"],
                StateWord::Starting => &["starting"],
                StateWord::Running => &["running"],
                StateWord::Held => &["held"],
                StateWord::Over => &["over"],
                StateWord::Archived => &["archived"],
                StateWord::Active => &ACTIVE,
                StateWord::Any => &["pending", "starting", "running", "held", "over", "archived"],
            }
        };
        let wanted = |state: &&str| words.iter().any(|word| means(*word).contains(state));
        ACTIVE.into_iter().chain(ENDED).filter(wanted).collect()
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum OutcomeWord {
    /// With exit code 0.
    Success,
    /// With another exit code.
    Failed,
    /// On request.
    Killed,
    /// At its time limit.
    TimedOut,
    /// For want of memory.
    OutOfMemory,
    /// With its node.
    Lost,
    /// At a quota.
    Quota,
    /// It cannot run here.
    Refused,
    /// A task it waited for did not succeed.
    Skipped,
}

impl OutcomeWord {
    /// The word of the typed interface.
    pub fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A column of a list, named as in docs/cli.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Field {
    Id,
    User,
    Project,
    Name,
    State,
    Outcome,
    Code,
    Cpu,
    Ram,
    Submitted,
    Duration,
    Node,
    Reason,
    Gpus,
    Tags,
    Image,
    Executor,
    Parent,
    Index,
    Position,
    Started,
    Ended,
    TimeLimit,
    Attempts,
    Request,
    CpuTime,
    PeakMemory,
    CpuEfficiency,
    MemoryEfficiency,
    Disk,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub field: Field,
    /// From the greatest to the least.
    pub down: bool,
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Sort, String> {
        let (name, down) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let field = Field::from_str(name, true).map_err(|_| {
            let names = Field::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
            format!("accepted are {}, each with - before it to turn it round", names.join(", "))
        })?;
        Ok(Sort { field, down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_states() {
        let states = |words: &[StateWord], over| {
            FilterArgs { state: words.to_vec(), over, ..FilterArgs::default() }.states()
        };
        assert_eq!(states(&[], false), ACTIVE);
        assert_eq!(states(&[], true), ENDED);
        assert_eq!(
            states(&[StateWord::Over, StateWord::Pending, StateWord::Over], false),
            ["pending", "over"]
        );
        assert_eq!(states(&[StateWord::Any], false).len(), 6);
    }

    #[test]
    fn orders() {
        assert_eq!("id".parse(), Ok(Sort { field: Field::Id, down: false }));
        assert_eq!("-time-limit".parse(), Ok(Sort { field: Field::TimeLimit, down: true }));
        let bad = "size".parse::<Sort>().expect_err("no such column");
        assert!(bad.contains("accepted are id, user"), "{bad}");
    }
}
