//! Writing tasks: submit, commit, purge.

use crate::fault::Fault;
use crate::row::{body_of, encode, int, uint};
use crate::specs::fields_hash;
use crate::tx::{EVERYBODY, Stored, Tx};
use god_core::state::Phase;
use god_core::store::{Change, Committed, Expect, Lease, NewTask, StoreError, Submitted};
use god_core::{Task, TaskId, TaskSpec, TaskState};
use god_store::rules;
use rusqlite::OptionalExtension;

/// A new task with what can be made ready before the writer's turn.
pub(crate) struct Fresh {
    new: NewTask,
    spec: Vec<u8>,
    fields: i64,
    /// The task as it will be, but for its id.
    task: Task,
    body: Vec<u8>,
}

impl Fresh {
    pub(crate) fn of(new: NewTask) -> Fresh {
        let task = Task::new(TaskId(0), std::sync::Arc::clone(&new.spec), new.submitted);
        Fresh { spec: encode(&*new.spec), fields: fields_hash(&new.spec), body: body_of(&task), task, new }
    }
}

pub(crate) const KNOWN: &str = "SELECT id FROM task WHERE owner = ?1 AND submit_key = ?2";

/// Stores new tasks, one after the other.
pub(crate) fn submit(tx: &mut Tx<'_>, batch: &[Fresh]) -> Result<Vec<Submitted>, Fault> {
    batch.iter().map(|fresh| submit_one(tx, fresh)).collect()
}

fn submit_one(tx: &mut Tx<'_>, fresh: &Fresh) -> Result<Submitted, Fault> {
    let new = &fresh.new;
    let owner = new.spec.owner.id.as_str();
    if let Some(key) = &new.idempotency {
        let known: Option<i64> =
            tx.conn.prepare_cached(KNOWN)?.query_row((owner, key), |row| row.get(0)).optional()?;
        if let Some(id) = known {
            return Ok(Submitted::Known(TaskId(uint(id))));
        }
    }
    let more = rules::pending_of(new);
    if new.limits.per_user.is_some() || new.limits.all.is_some() {
        let (owner_has, all_have) = (tx.pending(owner)?, tx.pending(EVERYBODY)?);
        if let Some(text) = rules::over_limit(new.limits, owner_has, all_have, more) {
            return Ok(Submitted::OverLimit(text));
        }
    }
    let id = tx.next_id()?;
    let Some(next) = rules::ids_after(id, new) else {
        return Ok(Submitted::OverLimit(format!(
            "an array of {more} tasks is larger than the ids that are left"
        )));
    };
    tx.set_next_id(next);
    tx.conn
        .prepare_cached(
            "INSERT INTO task (id, owner, phase, rev, op, submitted, killing, kids, fields, submit_key, body,
                 project, name)
             VALUES (?1, ?2, ?3, 0, 0, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            int(id.0),
            owner,
            Phase::Pending.code(),
            new.submitted.0,
            int(more - 1),
            fresh.fields,
            &new.idempotency,
            &fresh.body,
            new.spec.owner.project.as_str(),
            &new.spec.name,
        ))?;
    tag(tx, id, &new.spec.tags)?;
    tx.conn.prepare_cached("INSERT INTO spec VALUES (?1, ?2)")?.execute((int(id.0), &fresh.spec))?;
    let mut moved = [0; Phase::ALL.len()];
    moved[usize::from(Phase::Pending.code())] = int(more);
    tx.count(owner, &moved);
    tx.note(|seq| god_core::store::ChangeNote { task: id, ..rules::note_of(seq, &fresh.task, false) })?;
    tx.keep(id, &fresh.task);
    Ok(Submitted::New(id))
}

/// A change with what can be made ready before the writer's turn.
pub(crate) struct Ready {
    change: Change,
    body: Vec<u8>,
    fields: i64,
}

impl Ready {
    pub(crate) fn of(change: Change) -> Ready {
        Ready { body: body_of(&change.task), fields: fields_hash(&change.task.spec), change }
    }
}

/// Writes the changes that are not stale, unless the lease is lost.
pub(crate) fn commit(
    tx: &mut Tx<'_>,
    changes: &[Ready],
    lease: Option<&Lease>,
) -> Result<Vec<Committed>, Fault> {
    if let Some(lease) = lease
        && !crate::leases::is_held(tx, lease)?
    {
        return Err(Fault::Answer(StoreError::Fenced(lease.name.clone())));
    }
    changes.iter().map(|ready| commit_one(tx, ready)).collect()
}

fn commit_one(tx: &mut Tx<'_>, ready: &Ready) -> Result<Committed, Fault> {
    let change = &ready.change;
    let id = change.task.id;
    let stored = tx.stored(id)?;
    let parent_id = match (change.expect, &stored) {
        (_, Some(stored)) => stored.head.parent,
        (Expect::Absent, None) => change.task.parent,
        (Expect::Rev(_), None) => return Ok(Committed::Stale),
    };
    let parent = match parent_id {
        Some(id) => tx.stored(id)?,
        None => None,
    };
    let heads = (stored.as_ref().map(|stored| stored.head), parent.as_ref().map(|parent| parent.head));
    let Some(effect) = rules::judge(change, heads.0.as_ref(), heads.1.as_ref()) else {
        return Ok(Committed::Stale);
    };
    let owner = match (&stored, &parent) {
        (Some(stored), _) => {
            update(tx, ready, stored)?;
            &stored.owner
        }
        (None, Some(parent)) => {
            insert_child(tx, ready, parent)?;
            &parent.owner
        }
        // The rules let nothing through that has neither.
        (None, None) => return Ok(Committed::Stale),
    };
    if let Some(parent) = parent_id {
        tx.count_children(parent, &effect)?;
    }
    tx.count(owner, &effect.counts);
    tx.fill(owner, effect.disk);
    if let Some(usage) = &change.usage {
        tx.book(usage)?;
    }
    if effect.proves_image {
        let image = change.task.spec.image.as_str();
        tx.conn.prepare_cached("INSERT OR IGNORE INTO image VALUES (?1)")?.execute([image])?;
    }
    for notice in &change.notices {
        tx.conn
            .prepare_cached("INSERT OR IGNORE INTO notice (id, task, body) VALUES (?1, ?2, ?3)")?
            .execute((&notice.id, int(notice.task.0), notice.body.to_string()))?;
    }
    tx.note(|seq| god_core::store::ChangeNote {
        parent: parent_id,
        ..rules::note_of(seq, &change.task, effect.ends)
    })?;
    tx.keep(id, &change.task);
    Ok(Committed::Done)
}

fn update(tx: &mut Tx<'_>, ready: &Ready, stored: &Stored) -> Result<(), Fault> {
    let task = &ready.change.task;
    let (id, phase, killing) = (int(task.id.0), task.phase().code(), task.kill_wanted());
    let (rev, op) = (int(task.rev.0), task.op.0.cast_signed());
    let (disk, to_remove) = (task.disk.map(int), task.to_remove().is_some());
    match ended(task) {
        // Without `ended` and `outcome`, SQLite leaves the indexes of lists alone.
        None => {
            tx.conn
                .prepare_cached(
                    "UPDATE task SET phase = ?2, rev = ?3, op = ?4, killing = ?5, body = ?6 WHERE id = ?1",
                )?
                .execute((id, phase, rev, op, killing, &ready.body))?;
        }
        Some((at, outcome)) if stored.head.phase.is_over() => {
            tx.conn
                .prepare_cached(
                    "UPDATE task SET phase = ?2, rev = ?3, op = ?4, killing = ?5, body = ?6, disk = ?7,
                         to_remove = ?8 WHERE id = ?1",
                )?
                .execute((id, phase, rev, op, killing, &ready.body, disk, to_remove))?;
            tx.conn
                .prepare_cached(
                    "UPDATE task SET ended = ?2, outcome = ?3
                     WHERE id = ?1 AND (ended <> ?2 OR outcome IS NOT ?3)",
                )?
                .execute((id, at, outcome))?;
        }
        Some((at, outcome)) => {
            tx.conn
                .prepare_cached(
                    "UPDATE task SET phase = ?2, rev = ?3, op = ?4, killing = ?5, body = ?6, ended = ?7,
                         outcome = ?8, disk = ?9, to_remove = ?10 WHERE id = ?1",
                )?
                .execute((id, phase, rev, op, killing, &ready.body, at, outcome, disk, to_remove))?;
        }
    }
    let edited = stored.head.parent.is_none() && stored.fields != Some(ready.fields);
    if edited {
        tx.conn.prepare_cached("UPDATE task SET fields = ?2 WHERE id = ?1")?.execute((id, ready.fields))?;
        tx.conn
            .prepare_cached("UPDATE spec SET body = ?2 WHERE id = ?1")?
            .execute((id, encode(&*task.spec)))?;
    }
    tx.rewritten(task.id, |stored| {
        (stored.head.rev, stored.head.phase, stored.head.killing) = (task.rev, task.phase(), killing);
        stored.head.disk = task.disk_held();
        stored.fields = Some(ready.fields);
    });
    Ok(())
}

fn insert_child(tx: &Tx<'_>, ready: &Ready, parent: &Stored) -> Result<(), Fault> {
    let task = &ready.change.task;
    tx.conn
        .prepare_cached(
            "INSERT INTO task (id, parent, owner, phase, rev, op, submitted, ended, killing, kids, body, disk,
                 to_remove, project, name, outcome)
             SELECT ?1, id, owner, ?3, ?4, ?5, submitted, ?6, ?7, 0, ?8, ?9, ?10, project, name, ?11
             FROM task WHERE id = ?2",
        )?
        .execute((
            int(task.id.0),
            int(parent.head.id.0),
            task.phase().code(),
            int(task.rev.0),
            task.op.0.cast_signed(),
            ended(task).map(|(at, _)| at),
            task.kill_wanted(),
            &ready.body,
            task.disk.map(int),
            task.to_remove().is_some(),
            ended(task).map(|(_, outcome)| outcome),
        ))?;
    tag(tx, task.id, &task.spec.tags)
}

/// Makes a task findable by its tags.
fn tag(tx: &Tx<'_>, id: TaskId, tags: &[String]) -> Result<(), Fault> {
    for tag in tags {
        tx.conn.prepare_cached("INSERT OR IGNORE INTO tag VALUES (?1, ?2)")?.execute((tag, int(id.0)))?;
    }
    Ok(())
}

/// When a task ended, and the class of its outcome.
pub(crate) fn ended(task: &Task) -> Option<(i64, u8)> {
    match &task.state {
        TaskState::Over { at, outcome, .. } | TaskState::Archived { at, outcome, .. } => {
            Some((at.0, outcome.class().code()))
        }
        _ => None,
    }
}

/// Removes a finished task that is no child, with its children.
pub(crate) fn purge(tx: &mut Tx<'_>, id: TaskId) -> Result<(), Fault> {
    let Some(stored) = tx.stored(id)? else { return Ok(()) };
    if stored.head.parent.is_some() || !stored.head.phase.is_over() {
        return Ok(());
    }
    let (first, last) = (int(id.0), int(id.0 + stored.head.kids));
    let (mut moved, mut held) = ([0; Phase::ALL.len()], 0);
    {
        let mut statement = tx.conn.prepare_cached(
            "SELECT phase, count(*), sum(disk) FROM task WHERE id BETWEEN ?1 AND ?2 GROUP BY phase",
        )?;
        let mut rows = statement.query((first, last))?;
        while let Some(row) = rows.next()? {
            let (phase, n): (u8, i64) = (row.get(0)?, row.get(1)?);
            if let Some(slot) = moved.get_mut(usize::from(phase)) {
                *slot = -n;
            }
            if phase == Phase::Over.code() {
                held = row.get::<_, Option<i64>>(2)?.unwrap_or(0);
            }
        }
    }
    let spec: Option<Vec<u8>> = tx
        .conn
        .prepare_cached("SELECT body FROM spec WHERE id = ?1")?
        .query_row([first], |row| row.get(0))
        .optional()?;
    if let Some(spec) = spec {
        let spec: TaskSpec = crate::row::decode(&spec, &format!("specification of task {id}"))?;
        for tag in &spec.tags {
            tx.conn
                .prepare_cached("DELETE FROM tag WHERE tag = ?1 AND task BETWEEN ?2 AND ?3")?
                .execute((tag, first, last))?;
        }
    }
    tx.conn.prepare_cached("DELETE FROM task WHERE id BETWEEN ?1 AND ?2")?.execute((first, last))?;
    tx.conn.prepare_cached("DELETE FROM spec WHERE id = ?1")?.execute([first])?;
    tx.count(&stored.owner, &moved);
    tx.fill(&stored.owner, -held);
    tx.removed(id);
    Ok(())
}
