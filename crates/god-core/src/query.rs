//! Which tasks a list shows. Pure: [`TaskQuery::admits`] decides about one task, stores decide how to find them.

use crate::ids::{ProjectId, TaskId, UserId};
use crate::state::{Outcome, Phase, TaskState};
use crate::task::Task;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// Most tasks of one page.
pub const MAX_PAGE: usize = 1000;

/// How a task ended, without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeClass {
    /// Exit code 0; for an array's parent: of all its children.
    Success,
    /// Another exit code, or a signal that was not ours; for an array's parent: a child did not succeed.
    Failed,
    /// Ended on request.
    Killed,
    /// Its time limit passed.
    TimedOut,
    /// It needed more memory than it had asked for.
    OutOfMemory,
    /// Its node or engine lost it.
    Lost,
    /// A quota was reached.
    Quota,
    /// It can not run here.
    Refused,
    /// A task it waited for did not succeed.
    Skipped,
}

impl OutcomeClass {
    /// All classes, in the order of their codes.
    pub const ALL: [OutcomeClass; 9] = [
        OutcomeClass::Success,
        OutcomeClass::Failed,
        OutcomeClass::Killed,
        OutcomeClass::TimedOut,
        OutcomeClass::OutOfMemory,
        OutcomeClass::Lost,
        OutcomeClass::Quota,
        OutcomeClass::Refused,
        OutcomeClass::Skipped,
    ];

    /// A small number for a database column; 0 is success.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The class of [`OutcomeClass::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<OutcomeClass> {
        OutcomeClass::ALL.get(usize::from(code)).copied()
    }
}

impl Outcome {
    /// The class.
    #[must_use]
    pub fn class(&self) -> OutcomeClass {
        match self {
            Outcome::Exited(0) | Outcome::Gathered { failed: 0 } => OutcomeClass::Success,
            Outcome::Exited(_) | Outcome::Signalled(_) | Outcome::Gathered { .. } => OutcomeClass::Failed,
            Outcome::Killed { .. } => OutcomeClass::Killed,
            Outcome::TimedOut => OutcomeClass::TimedOut,
            Outcome::OutOfMemory => OutcomeClass::OutOfMemory,
            Outcome::Lost(_) => OutcomeClass::Lost,
            Outcome::Quota(_) => OutcomeClass::Quota,
            Outcome::Refused(_) => OutcomeClass::Refused,
            Outcome::Skipped(_) => OutcomeClass::Skipped,
        }
    }
}

/// What a task's name must be like; case counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameFilter {
    /// It begins with this.
    Prefix(String),
    /// It contains this.
    Part(String),
}

/// A span of time; an end that is `None` is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first moment in it.
    pub from: Option<Timestamp>,
    /// The first moment after it.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether both ends are open.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.from.is_none() && self.until.is_none()
    }

    /// Whether a moment is in it.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }
}

/// Which tasks a page shows: those for which all that is given holds. Children of arrays that have no document are not
/// among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskQuery {
    /// Of this owner.
    pub owner: Option<UserId>,
    /// Of this project.
    pub project: Option<ProjectId>,
    /// In one of these phases; empty is all.
    pub phases: Vec<Phase>,
    /// Ended in one of these ways; empty is all, also what has not ended.
    pub outcomes: Vec<OutcomeClass>,
    /// With exactly this tag.
    pub tag: Option<String>,
    /// With a name like this.
    pub name: Option<NameFilter>,
    /// Submitted in this span.
    pub submitted: Span,
    /// Ended in this span.
    pub ended: Span,
    /// Children of this array.
    pub parent: Option<TaskId>,
    /// No children of arrays.
    pub no_children: bool,
    /// Only with an id below this one: the cursor, [`TaskPage::next`] of the page before.
    pub before: Option<TaskId>,
    /// At most this many, 1..=[`MAX_PAGE`]; other numbers count as the nearest of these.
    pub limit: usize,
}

/// One page of a list, the highest id first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where the next page begins; `None` when there is nothing more. A store stops looking after a bounded number of
    /// tasks, so a page may be short, or empty, and still have a next one.
    pub next: Option<TaskId>,
}

/// What a query asks about a task, but for its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Owner.
    pub owner: &'a str,
    /// Project.
    pub project: &'a str,
    /// Name.
    pub name: &'a str,
    /// Parent, for a child of an array.
    pub parent: Option<TaskId>,
    /// Phase.
    pub phase: Phase,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// When and how it ended, if it did.
    pub end: Option<(Timestamp, OutcomeClass)>,
}

impl<'a> Facts<'a> {
    /// The facts of a document.
    #[must_use]
    pub fn of(task: &'a Task) -> Facts<'a> {
        let end = match &task.state {
            TaskState::Over { outcome, at, .. } | TaskState::Archived { outcome, at, .. } => {
                Some((*at, outcome.class()))
            }
            _ => None,
        };
        Facts {
            owner: task.spec.owner.id.as_str(),
            project: task.spec.owner.project.as_str(),
            name: &task.spec.name,
            parent: task.parent,
            phase: task.phase(),
            submitted: task.submitted,
            end,
        }
    }
}

impl TaskQuery {
    /// Whether a task may be shown, tag and cursor aside.
    #[must_use]
    pub fn admits(&self, facts: &Facts<'_>) -> bool {
        let wants_end = !self.outcomes.is_empty() || !self.ended.is_all();
        let ended = match facts.end {
            Some((at, class)) => {
                self.ended.holds(at) && (self.outcomes.is_empty() || self.outcomes.contains(&class))
            }
            None => !wants_end,
        };
        ended
            && self.owner.as_ref().is_none_or(|owner| owner.as_str() == facts.owner)
            && self.project.as_ref().is_none_or(|project| project.as_str() == facts.project)
            && (self.phases.is_empty() || self.phases.contains(&facts.phase))
            && self.submitted.holds(facts.submitted)
            && self.parent.is_none_or(|parent| facts.parent == Some(parent))
            && !(self.no_children && facts.parent.is_some())
            && match &self.name {
                None => true,
                Some(NameFilter::Prefix(text)) => facts.name.starts_with(text.as_str()),
                Some(NameFilter::Part(text)) => facts.name.contains(text.as_str()),
            }
    }

    /// Whether a task is shown on some page.
    #[must_use]
    pub fn matches(&self, task: &Task) -> bool {
        self.tag.as_ref().is_none_or(|tag| task.spec.tags.contains(tag)) && self.admits(&Facts::of(task))
    }

    /// Whether only tasks that are over can be shown.
    #[must_use]
    pub fn wants_over_only(&self) -> bool {
        let phases = !self.phases.is_empty() && self.phases.iter().all(|phase| phase.is_over());
        phases || !self.outcomes.is_empty() || !self.ended.is_all()
    }

    /// Whether only tasks that are not over can be shown.
    #[must_use]
    pub fn wants_active_only(&self) -> bool {
        !self.phases.is_empty() && self.phases.iter().all(|phase| !phase.is_over())
    }

    /// The number of tasks that fit on a page.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'static> = Facts {
        owner: "bob",
        project: "lab",
        name: "align-7",
        parent: Some(TaskId(3)),
        phase: Phase::Over,
        submitted: Timestamp(100),
        end: Some((Timestamp(200), OutcomeClass::Failed)),
    };

    #[test]
    fn codes_come_back() {
        for class in OutcomeClass::ALL {
            assert_eq!(OutcomeClass::from_code(class.code()), Some(class));
        }
        assert_eq!(OutcomeClass::from_code(9), None);
        assert_eq!(OutcomeClass::Success.code(), 0, "indexes leave it out");
    }

    #[test]
    fn each_filter_admits_and_refuses() {
        let span = |from, until| Span { from: Some(Timestamp(from)), until: Some(Timestamp(until)) };
        let name = |filter: fn(String) -> NameFilter, text: &str| Some(filter(text.to_owned()));
        let none = TaskQuery::default;
        let cases: Vec<(TaskQuery, bool)> = vec![
            (none(), true),
            (TaskQuery { owner: Some(UserId::new("bob")), ..none() }, true),
            (TaskQuery { owner: Some(UserId::new("bo")), ..none() }, false),
            (TaskQuery { project: Some(ProjectId::new("lab")), ..none() }, true),
            (TaskQuery { project: Some(ProjectId::new("default")), ..none() }, false),
            (TaskQuery { phases: vec![Phase::Running, Phase::Over], ..none() }, true),
            (TaskQuery { phases: vec![Phase::Running, Phase::Archived], ..none() }, false),
            (TaskQuery { outcomes: vec![OutcomeClass::Killed, OutcomeClass::Failed], ..none() }, true),
            (TaskQuery { outcomes: vec![OutcomeClass::Success], ..none() }, false),
            (TaskQuery { name: name(NameFilter::Prefix, "align"), ..none() }, true),
            (TaskQuery { name: name(NameFilter::Prefix, "lign"), ..none() }, false),
            (TaskQuery { name: name(NameFilter::Part, "gn-"), ..none() }, true),
            (TaskQuery { name: name(NameFilter::Part, "GN"), ..none() }, false),
            (TaskQuery { submitted: span(100, 101), ..none() }, true),
            (TaskQuery { submitted: span(0, 100), ..none() }, false),
            (TaskQuery { ended: span(200, 201), ..none() }, true),
            (TaskQuery { ended: span(201, 300), ..none() }, false),
            (TaskQuery { parent: Some(TaskId(3)), ..none() }, true),
            (TaskQuery { parent: Some(TaskId(4)), ..none() }, false),
            (TaskQuery { no_children: true, ..none() }, false),
        ];
        for (query, want) in cases {
            assert_eq!(query.admits(&FACTS), want, "{query:?}");
        }
    }

    #[test]
    fn what_has_not_ended_has_no_outcome() {
        let active = Facts { phase: Phase::Running, end: None, ..FACTS };
        assert!(TaskQuery::default().admits(&active));
        assert!(!TaskQuery { outcomes: OutcomeClass::ALL.to_vec(), ..TaskQuery::default() }.admits(&active));
        let ended = Span { from: Some(Timestamp(0)), until: None };
        assert!(!TaskQuery { ended, ..TaskQuery::default() }.admits(&active));
    }
}
