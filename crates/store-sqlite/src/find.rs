//! Pages of tasks by query. Each source is an index that gives candidates by descending id; they are merged, and what
//! the query does not admit is left out. After [`VISITS`] candidates a page ends, full or not.

use crate::fault::Fault;
use crate::row::{Reader, corrupt, int, uint};
use god_core::query::{Facts, NameFilter, OutcomeClass, TaskPage, TaskQuery};
use god_core::state::Phase;
use god_core::units::Timestamp;
use god_core::{ProjectId, TaskId};
use rusqlite::OptionalExtension;
use rusqlite::types::Value;
use std::collections::VecDeque;

/// Candidates that one call looks at.
const VISITS: usize = 5_000;
/// Names that begin alike which are merged; with more of them other sources are tried.
const NAMES: usize = 64;
/// So many candidates are taken without asking for their order, and sorted here.
const FEW: usize = 1_000;
/// Candidates that a source is asked for at once.
const CHUNK: usize = 512;
/// By how much ids may be out of the order of submits.
const SLACK_MS: i64 = 3_600_000;

/// The statements, apart so that a test can look at their plans. Parameters: ids below ?1, at most ?2, keys from ?3 on.
pub(crate) mod sql {
    macro_rules! candidates {
        ($from:literal, $condition:literal, $id:literal) => {
            concat!(
                "SELECT t.id, t.parent, t.owner, t.project, t.name, t.phase, t.submitted, t.ended, t.outcome FROM ",
                $from,
                " WHERE ",
                $condition,
                " AND ",
                $id,
                " < ?1 ORDER BY ",
                $id,
                " DESC LIMIT ?2"
            )
        };
    }
    pub(crate) const ALL: &str = candidates!("task t", "true", "t.id");
    pub(crate) const CHILDREN: &str = candidates!("task t", "t.id > ?3 AND t.id <= ?4", "t.id");
    pub(crate) const TAGGED: &str =
        candidates!("tag g CROSS JOIN task t ON t.id = g.task", "g.tag = ?3", "g.task");
    pub(crate) const OVER_OF: &str =
        candidates!("task t INDEXED BY task_over_of", "t.owner = ?3 AND t.ended IS NOT NULL", "t.id");
    pub(crate) const PROJECT: &str = candidates!(
        "task t INDEXED BY task_project",
        "t.project = ?3 AND t.ended IS NOT NULL AND t.project <> 'default'",
        "t.id"
    );
    pub(crate) const NAMED: &str =
        candidates!("task t INDEXED BY task_name", "t.name = ?3 AND t.ended IS NOT NULL", "t.id");
    pub(crate) const OUTCOME: &str =
        candidates!("task t INDEXED BY task_outcome", "t.outcome = ?3 AND t.outcome > 0", "t.id");
    pub(crate) const OUTCOME_OF: &str = candidates!(
        "task t INDEXED BY task_outcome_of",
        "t.outcome = ?3 AND t.owner = ?4 AND t.outcome > 0",
        "t.id"
    );
    pub(crate) const ACTIVE_OF: &str =
        candidates!("task t INDEXED BY task_active", "t.owner = ?3 AND t.ended IS NULL", "t.id");
    pub(crate) const IN_PHASE: &str =
        candidates!("task t INDEXED BY task_phase", "t.phase = ?3 AND t.ended IS NULL", "t.id");

    macro_rules! few {
        ($index:literal, $condition:literal) => {
            (
                concat!(
                    "SELECT count(*) FROM (SELECT 1 FROM task INDEXED BY ",
                    $index,
                    " WHERE ended IS NOT NULL AND ",
                    $condition,
                    " LIMIT ?1)"
                ),
                concat!(
                    "SELECT id, parent, owner, project, name, phase, submitted, ended, outcome
                     FROM task INDEXED BY ",
                    $index,
                    " WHERE ended IS NOT NULL AND ",
                    $condition,
                    " LIMIT ?1"
                ),
            )
        };
    }
    pub(crate) const FEW_NAMED: (&str, &str) = few!("task_name", "name >= ?2 AND name < ?3");
    pub(crate) const FEW_ENDED: (&str, &str) = few!("task_over", "ended >= ?2 AND ended < ?3");
    pub(crate) const FEW_ENDED_OF: (&str, &str) =
        few!("task_over_owner", "ended >= ?2 AND ended < ?3 AND owner = ?4");
    pub(crate) const NEXT_NAME: &str = "SELECT name FROM task INDEXED BY task_name
         WHERE ended IS NOT NULL AND name > ?1 AND name < ?2 ORDER BY name LIMIT 1";
    pub(crate) const SUBMITTED: &str = "SELECT id, submitted FROM task WHERE id >= ?1 ORDER BY id LIMIT 1";
    pub(crate) const LAST: &str = "SELECT coalesce(max(id), 0) FROM task";
}

/// A task that an index gave, with what the query asks about.
struct Candidate {
    id: i64,
    parent: Option<TaskId>,
    owner: String,
    project: String,
    name: String,
    phase: Phase,
    submitted: Timestamp,
    end: Option<(Timestamp, OutcomeClass)>,
}

impl Candidate {
    fn of(row: &rusqlite::Row<'_>) -> Result<Candidate, Fault> {
        let id = row.get(0)?;
        let odd = |what: &str, code: u8| corrupt(&format!("task {id}"), format!("no {what} {code}"));
        let phase: u8 = row.get(5)?;
        let end = match (row.get::<_, Option<i64>>(7)?, row.get::<_, Option<u8>>(8)?) {
            (Some(at), Some(code)) => {
                Some((Timestamp(at), OutcomeClass::from_code(code).ok_or_else(|| odd("outcome", code))?))
            }
            _ => None,
        };
        Ok(Candidate {
            id,
            parent: row.get::<_, Option<i64>>(1)?.map(|id| TaskId(uint(id))),
            owner: row.get(2)?,
            project: row.get(3)?,
            name: row.get(4)?,
            phase: Phase::from_code(phase).ok_or_else(|| odd("phase", phase))?,
            submitted: Timestamp(row.get(6)?),
            end,
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            owner: &self.owner,
            project: &self.project,
            name: &self.name,
            parent: self.parent,
            phase: self.phase,
            submitted: self.submitted,
            end: self.end,
        }
    }
}

/// Candidates by descending id.
struct Source {
    sql: &'static str,
    keys: Vec<Value>,
    /// Asks for ids below this one next.
    below: i64,
    chunk: usize,
    ready: VecDeque<Candidate>,
    dry: bool,
}

impl Source {
    /// Fetches more, if there are none at hand; the first one tells.
    fn head(&mut self, reader: &Reader<'_>) -> Result<Option<i64>, Fault> {
        if self.ready.is_empty() && !self.dry {
            let mut statement = reader.conn.prepare_cached(self.sql)?;
            let limit = i64::try_from(self.chunk).unwrap_or(i64::MAX);
            let fixed = [Value::Integer(self.below), Value::Integer(limit)];
            let mut rows = statement.query(rusqlite::params_from_iter(fixed.iter().chain(&self.keys)))?;
            while let Some(row) = rows.next()? {
                self.ready.push_back(Candidate::of(row)?);
            }
            self.dry = self.ready.len() < self.chunk;
            self.below = self.ready.back().map_or(self.below, |last| last.id);
            self.chunk = (self.chunk * 2).min(CHUNK);
        }
        Ok(self.ready.front().map(|first| first.id))
    }
}

/// Where candidates come from, and between which ids.
struct Search<'r, 'c> {
    reader: &'r Reader<'c>,
    below: i64,
    sources: Vec<Source>,
}

pub(crate) fn find(reader: &mut Reader<'_>, query: &TaskQuery) -> Result<TaskPage, Fault> {
    let (ids, next) = {
        let below = query.before.map_or(i64::MAX, |id| int(id.0));
        let mut search = Search { reader, below, sources: Vec::new() };
        let floor = search.limit_to_span(query)?;
        search.choose(query)?;
        search.run(query, floor)?
    };
    Ok(TaskPage { tasks: reader.tasks(&ids)?, next: next.map(|id| TaskId(uint(id))) })
}

impl Search<'_, '_> {
    /// Merges the sources; answers the ids of the page, and where the next one begins.
    fn run(mut self, query: &TaskQuery, floor: i64) -> Result<(Vec<i64>, Option<i64>), Fault> {
        let size = query.page_size();
        let each = (2 * size / self.sources.len().max(1)).clamp(4, CHUNK);
        for source in &mut self.sources {
            source.chunk = each;
        }
        let (mut ids, mut last) = (Vec::new(), None);
        for visit in 0.. {
            let mut best: Option<(i64, &mut Source)> = None;
            for source in &mut self.sources {
                if let Some(id) = source.head(self.reader)?
                    && best.as_ref().is_none_or(|(other, _)| id > *other)
                {
                    best = Some((id, source));
                }
            }
            let Some((id, source)) = best.filter(|(id, _)| *id >= floor) else { break };
            if ids.len() == size || visit == VISITS {
                return Ok((ids, last));
            }
            let Some(candidate) = source.ready.pop_front() else { break };
            if last != Some(id) && query.admits(&candidate.facts()) {
                ids.push(id);
            }
            last = Some(id);
        }
        Ok((ids, None))
    }

    fn add(&mut self, sql: &'static str, keys: Vec<Value>) {
        let (below, ready) = (self.below, VecDeque::new());
        self.sources.push(Source { sql, keys, below, chunk: CHUNK, ready, dry: false });
    }

    /// The sources that look at the fewest tasks, as far as that can be told beforehand.
    fn choose(&mut self, query: &TaskQuery) -> Result<(), Fault> {
        if let Some(parent) = query.parent {
            let last = crate::reads::last_child(self.reader, parent)?;
            self.add(sql::CHILDREN, vec![int(parent.0).into(), last.into()]);
            return Ok(());
        }
        if let Some(tag) = &query.tag {
            self.add(sql::TAGGED, vec![tag.clone().into()]);
            return Ok(());
        }
        if !query.wants_active_only() && !self.choose_over(query)? {
            self.add(sql::ALL, Vec::new());
            return Ok(());
        }
        if query.wants_over_only() {
            return Ok(());
        }
        if let Some(owner) = &query.owner {
            self.add(sql::ACTIVE_OF, vec![owner.as_str().to_owned().into()]);
        } else {
            let wanted = |phase: &Phase| query.phases.is_empty() || query.phases.contains(phase);
            for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_over()).filter(wanted) {
                self.add(sql::IN_PHASE, vec![i64::from(phase.code()).into()]);
            }
        }
        Ok(())
    }

    /// Sources of what is over; `false` when there is none but everything.
    fn choose_over(&mut self, query: &TaskQuery) -> Result<bool, Fault> {
        let owner = query.owner.as_ref().map(|owner| Value::from(owner.as_str().to_owned()));
        let project =
            query.project.as_ref().map(ProjectId::as_str).filter(|project| *project != ProjectId::DEFAULT);
        if let Some(NameFilter::Prefix(prefix)) = &query.name
            && let Some(end) = after_prefix(prefix)
            && self.names(prefix, &end, owner.is_some() || project.is_some())?
        {
            return Ok(true);
        }
        if !query.ended.is_all() {
            let from = query.ended.from.map_or(i64::MIN, |at| at.0);
            let mut keys = vec![from.into(), query.ended.until.map_or(i64::MAX, |at| at.0).into()];
            keys.extend(owner.clone());
            let sql = if owner.is_some() { sql::FEW_ENDED_OF } else { sql::FEW_ENDED };
            if self.few(sql, &keys)? {
                return Ok(true);
            }
        }
        let outcomes = &query.outcomes;
        if !outcomes.is_empty() && !outcomes.contains(&OutcomeClass::Success) {
            for class in OutcomeClass::ALL.into_iter().filter(|class| outcomes.contains(class)) {
                let mut keys = vec![Value::from(i64::from(class.code()))];
                keys.extend(owner.clone());
                self.add(if owner.is_some() { sql::OUTCOME_OF } else { sql::OUTCOME }, keys);
            }
            return Ok(true);
        }
        match (owner, project) {
            (Some(owner), _) => self.add(sql::OVER_OF, vec![owner]),
            (None, Some(project)) => self.add(sql::PROJECT, vec![project.to_owned().into()]),
            (None, None) => return Ok(false),
        }
        Ok(true)
    }

    /// Sources of names between two texts; `false` when there are too many. With `few`, only when that means few tasks.
    fn names(&mut self, from: &str, until: &str, few: bool) -> Result<bool, Fault> {
        if self.few(sql::FEW_NAMED, &[from.to_owned().into(), until.to_owned().into()])? {
            return Ok(true);
        }
        if few {
            return Ok(false);
        }
        let mut names = vec![from.to_owned()];
        loop {
            let mut statement = self.reader.conn.prepare_cached(sql::NEXT_NAME)?;
            let last = names.last().map_or(from, String::as_str);
            let next: Option<String> = statement.query_row((last, until), |row| row.get(0)).optional()?;
            match next {
                Some(_) if names.len() == NAMES => return Ok(false),
                Some(next) => names.push(next),
                None => break,
            }
        }
        for name in names {
            self.add(sql::NAMED, vec![name.into()]);
        }
        Ok(true)
    }

    /// All that lies between two values of an index, if that is little.
    fn few(&mut self, (count, rows): (&'static str, &'static str), keys: &[Value]) -> Result<bool, Fault> {
        let limit = Value::Integer(i64::try_from(FEW + 1).unwrap_or(i64::MAX));
        let params = || rusqlite::params_from_iter(std::iter::once(&limit).chain(keys));
        let n: i64 = self.reader.conn.prepare_cached(count)?.query_row(params(), |row| row.get(0))?;
        if usize::try_from(n).unwrap_or(usize::MAX) > FEW {
            return Ok(false);
        }
        let mut found = Vec::new();
        let mut statement = self.reader.conn.prepare_cached(rows)?;
        let mut rows = statement.query(params())?;
        while let Some(row) = rows.next()? {
            found.push(Candidate::of(row)?);
        }
        found.retain(|candidate| candidate.id < self.below);
        found.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.id));
        let (below, ready) = (self.below, found.into());
        self.sources.push(Source { sql: sql::ALL, keys: Vec::new(), below, chunk: CHUNK, ready, dry: true });
        Ok(true)
    }

    /// Narrows the ids to those submitted about in the wanted span; answers the lowest.
    fn limit_to_span(&mut self, query: &TaskQuery) -> Result<i64, Fault> {
        if let Some(until) = query.submitted.until {
            let end = self.first_submitted(until.0.saturating_add(SLACK_MS))?;
            self.below = self.below.min(end);
        }
        match query.submitted.from {
            Some(from) => self.first_submitted(from.0.saturating_sub(SLACK_MS)),
            None => Ok(0),
        }
    }

    /// The first id whose task was submitted at a point in time or later, as far as ids are in the order of submits.
    fn first_submitted(&self, at: i64) -> Result<i64, Fault> {
        let last: i64 = self.reader.conn.prepare_cached(sql::LAST)?.query_row([], |row| row.get(0))?;
        let (mut low, mut high) = (0, last + 1);
        let mut statement = self.reader.conn.prepare_cached(sql::SUBMITTED)?;
        while low < high {
            let middle = low + (high - low) / 2;
            let found: Option<(i64, i64)> =
                statement.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            match found {
                Some((id, submitted)) if submitted < at => low = id + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// The first text that comes after all texts with this beginning; `None` when the beginning is empty, or the last of all.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The numbers between the two halves of the range are no characters.
        let next = (u32::from(last) + 1..=0x10_FFFF).find_map(char::from_u32);
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_just_after_it() {
        for (prefix, want) in [
            ("", None),
            ("a", Some("b")),
            ("job-9", Some("job-:")),
            ("\u{D7FF}", Some("\u{E000}")),
            ("a\u{10FFFF}", Some("b")),
            ("\u{10FFFF}\u{10FFFF}", None),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), want, "{prefix:?}");
        }
    }
}
