//! What is stored once all is quiet: every document, the store's own counts, and what was booked. Read through the
//! store's interface; nothing is written.

use god_core::store::{Counts, OverFilter, Scan, Store, StoreError, UsageOf};
use god_core::units::Day;
use god_core::usage::UsageSum;
use god_core::{Task, TaskId, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// Documents read at once.
const PAGE: usize = 1000;

/// Everything of a store that the judge looks at.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// Documents that are stored, parents of arrays included; children that were never written are not among them.
    pub tasks: BTreeMap<TaskId, Task>,
    /// The store's counts of all tasks.
    pub counts: Counts,
    /// The store's counts by owner.
    pub counts_of: BTreeMap<UserId, Counts>,
    /// What was booked, by owner; sums over all days.
    pub booked: BTreeMap<UserId, UsageSum>,
}

impl Documents {
    /// Reads a store that nobody writes to.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(store: &dyn Store) -> Result<Documents, StoreError> {
        let mut tasks = BTreeMap::new();
        for task in store.over(&OverFilter::default()).await? {
            tasks.insert(task.id, task);
        }
        pages(store, &Scan::Active(None), &mut tasks).await?;
        let parents: Vec<TaskId> =
            tasks.values().filter(|task| task.array().is_some()).map(|task| task.id).collect();
        for parent in parents {
            pages(store, &Scan::ChildrenOf(parent), &mut tasks).await?;
        }
        let owners: BTreeSet<UserId> = tasks.values().map(|task| task.spec.owner.id.clone()).collect();
        let mut documents = Documents { counts: store.counts(None).await?, tasks, ..Documents::default() };
        for owner in owners {
            let mut sum = UsageSum::default();
            for day in store.usage(&UsageOf::User(owner.clone()), Day(0)).await? {
                sum.cores += day.cores;
                sum.ram += day.ram;
                sum.millis += day.millis;
            }
            documents.counts_of.insert(owner.clone(), store.counts(Some(&owner)).await?);
            documents.booked.insert(owner, sum);
        }
        Ok(documents)
    }

    /// The documents of an array's children, and those that it stands for.
    pub fn children<'a>(&'a self, parent: &'a Task) -> impl Iterator<Item = Task> + 'a {
        let n = parent.array().map_or(0, god_core::ArraySpec::count);
        (0..n).filter_map(move |ordinal| {
            let stored = self.tasks.get(&parent.id.child(ordinal)).cloned();
            stored.or_else(|| parent.child(ordinal))
        })
    }
}

async fn pages(store: &dyn Store, scan: &Scan, into: &mut BTreeMap<TaskId, Task>) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.scan(scan, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        into.extend(page.into_iter().map(|task| (task.id, task)));
    }
}
