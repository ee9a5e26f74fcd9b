//! Checks of pages by query: whatever is asked, the pages together hold what a look at every task says.

use super::Wanted;
use super::fixture::{Kit, START, attempt, kit, new_task, spec, user};
use god_core::query::{NameFilter, OutcomeClass, Span, TaskQuery};
use god_core::state::{Ask, Outcome, Phase};
use god_core::store::{NewTask, Store, Submitted};
use god_core::{Event, ProjectId, Task, TaskId, TaskSpec, Timestamp};
use std::sync::Arc;

const MINUTE: i64 = 60_000;

/// All pages of a query, each of this size.
async fn pages(kit: &Kit, query: &TaskQuery, size: usize) -> Vec<Task> {
    let mut query = TaskQuery { limit: size, ..query.clone() };
    let mut all = Vec::new();
    loop {
        let page = kit.store.find(&query).await.expect("reads");
        assert!(page.tasks.len() <= size, "{query:?}");
        let below = query.before.unwrap_or(TaskId(u64::MAX));
        assert!(page.tasks.iter().all(|task| task.id < below), "{query:?}");
        assert!(page.tasks.is_sorted_by(|a, b| a.id > b.id), "{query:?}");
        assert!(page.next.is_none_or(|next| next < below), "every page comes nearer to the end: {query:?}");
        assert!(page.next.is_none_or(|next| page.tasks.iter().all(|t| t.id >= next)), "{query:?}");
        all.extend(page.tasks);
        match page.next {
            Some(next) => query.before = Some(next),
            None => return all,
        }
    }
}

/// Submits with the nth variation of everything that a query can ask about.
async fn vary(kit: &Kit, n: usize) -> TaskId {
    let owner = ["bob", "eve", "ann"][n % 3];
    let array = n.is_multiple_of(7).then_some("3");
    let mut asked: TaskSpec = spec(owner, array);
    asked.owner.project = ProjectId::new(["default", "lab", "labor"][n / 2 % 3]);
    let name = ["align", "align-x", "alignment", "bwa", "b", "ünï"][n % 6];
    asked.name = if n % 5 == 4 { format!("{name}{n}") } else { name.to_owned() };
    asked.tags = [vec![], vec!["t1"], vec!["t1", "t2"], vec!["t", "t"]][n % 4]
        .iter()
        .map(|tag: &&str| (*tag).to_owned())
        .collect();
    // About in the order of ids.
    let off = i64::try_from(n * 7 % 13).expect("small") * MINUTE;
    let submitted = Timestamp(START + i64::try_from(n).expect("small") * 3 * MINUTE + off);
    let answers = kit.store.submit(vec![NewTask { submitted, ..new_task(asked) }]).await.expect("submits");
    let [Submitted::New(id)] = answers[..] else { panic!("a new task: {answers:?}") };
    let first = if array.is_some() { id.child(1) } else { id };
    match n % 9 {
        0 => {}
        1 => drop(kit.step(first, &Event::Claimed(attempt(1))).await),
        2 => drop(kit.start(first).await),
        3 => drop(kit.finish(first, 0).await),
        4 => drop(kit.finish(first, 3).await),
        5 => drop(kit.ask(first, Ask::Kill).await),
        6 if array.is_none() => {
            kit.step(first, &Event::EndedUnstarted(Outcome::Quota("too much".into()))).await;
        }
        7 => {
            kit.finish(first, 0).await;
            kit.step(first, &Event::Archived).await;
        }
        _ => drop(kit.step(first, &Event::EndedUnstarted(Outcome::Refused("no".into()))).await),
    }
    id
}

/// Queries of one filter each, and of several.
fn queries(tasks: &[Task]) -> Vec<TaskQuery> {
    let none = TaskQuery::default;
    let name = |filter: fn(String) -> NameFilter, text: &str| {
        vec![TaskQuery { name: Some(filter(text.to_owned())), ..none() }]
    };
    let span = |from: Option<i64>, until: Option<i64>| Span {
        from: from.map(|n| Timestamp(START + n * MINUTE)),
        until: until.map(|n| Timestamp(START + n * MINUTE)),
    };
    let mut lists = vec![vec![none()]];
    lists.extend(["bob", "eve", "nobody"].map(|o| vec![TaskQuery { owner: Some(user(o)), ..none() }]));
    for project in ["default", "lab", "none"] {
        lists.push(vec![TaskQuery { project: Some(ProjectId::new(project)), ..none() }]);
    }
    for phases in [
        vec![Phase::Pending],
        vec![Phase::Running, Phase::Over],
        vec![Phase::Archived],
        vec![Phase::Starting, Phase::Gathering],
        vec![Phase::Over, Phase::Archived],
    ] {
        lists.push(vec![TaskQuery { phases, ..none() }]);
    }
    for outcomes in [
        vec![OutcomeClass::Success],
        vec![OutcomeClass::Failed],
        vec![OutcomeClass::Refused, OutcomeClass::Quota, OutcomeClass::Killed],
        vec![OutcomeClass::Failed, OutcomeClass::Success],
    ] {
        lists.push(vec![TaskQuery { outcomes, ..none() }]);
    }
    lists.extend(
        ["t", "t1", "t2", "T1", ""].map(|tag| vec![TaskQuery { tag: Some(tag.to_owned()), ..none() }]),
    );
    for text in ["align", "alignm", "b", "", "ü", "A", "x%"] {
        lists.push(name(NameFilter::Prefix, text));
    }
    lists.extend(["lig", "n", "ï", "_"].map(|text| name(NameFilter::Part, text)));
    for (from, until) in [(Some(100), None), (None, Some(100)), (Some(60), Some(130)), (Some(9), Some(9))] {
        lists.push(vec![TaskQuery { submitted: span(from, until), ..none() }]);
        lists.push(vec![TaskQuery { ended: span(from.map(|n| n / 60), until.map(|n| n / 60)), ..none() }]);
    }
    let parent = tasks.iter().find(|task| task.array().is_some()).expect("an array").id;
    lists.extend([parent, TaskId(1 << 40)].map(|id| vec![TaskQuery { parent: Some(id), ..none() }]));
    lists.push(vec![TaskQuery { no_children: true, ..none() }]);

    let single: Vec<TaskQuery> = lists.into_iter().flatten().collect();
    let mut all = single.clone();
    for (i, a) in single.iter().enumerate() {
        for b in &single[i + 1..] {
            all.push(both(a, b));
        }
    }
    all
}

/// What both ask for; where they ask for the same thing, the first one's.
fn both(a: &TaskQuery, b: &TaskQuery) -> TaskQuery {
    let pick = |a: &Vec<Phase>, b: &Vec<Phase>| if a.is_empty() { b.clone() } else { a.clone() };
    TaskQuery {
        owner: a.owner.clone().or(b.owner.clone()),
        project: a.project.clone().or(b.project.clone()),
        phases: pick(&a.phases, &b.phases),
        outcomes: if a.outcomes.is_empty() { b.outcomes.clone() } else { a.outcomes.clone() },
        tag: a.tag.clone().or(b.tag.clone()),
        name: a.name.clone().or(b.name.clone()),
        submitted: if a.submitted.is_all() { b.submitted } else { a.submitted },
        ended: if a.ended.is_all() { b.ended } else { a.ended },
        parent: a.parent.or(b.parent),
        no_children: a.no_children || b.no_children,
        before: None,
        limit: 0,
    }
}

/// Every query shows exactly what it asks for, in pages of any size.
pub async fn pages_hold_what_a_query_asks_for(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let mut ids = Vec::new();
    for n in 0..70 {
        let id = vary(&kit, n).await;
        ids.extend(id.0..=id.0 + if n % 7 == 0 { 3 } else { 0 });
    }
    let ids: Vec<TaskId> = ids.into_iter().map(TaskId).collect();
    let all = kit.store.get(&ids).await.expect("reads");
    // What was never written is not shown.
    let mut all: Vec<Task> =
        all.into_iter().flatten().filter(|task| task.parent.is_none() || task.rev.0 > 0).collect();
    all.reverse();
    let queries = queries(&all);
    let mut n_some = 0;
    for (i, query) in queries.iter().enumerate() {
        let want: Vec<TaskId> = all.iter().filter(|task| query.matches(task)).map(|task| task.id).collect();
        let found = pages(&kit, query, [1000, 7, 2][i % 3]).await;
        assert_eq!(found.iter().map(|task| task.id).collect::<Vec<_>>(), want, "{query:?}");
        assert!(found.iter().all(|task| all.contains(task)), "whole documents");
        n_some += usize::from(!want.is_empty());
    }
    assert!(n_some * 3 > queries.len(), "the queries mean something: {n_some} of {}", queries.len());
}

/// Pages follow what changes: a purged task is gone, one that ends moves from one list to another.
pub async fn pages_follow_changes(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let (first, second) = (kit.submit(spec("bob", None)).await, kit.submit(spec("bob", Some("2"))).await);
    let found = async |query: TaskQuery| -> Vec<TaskId> {
        pages(&kit, &query, 10).await.into_iter().map(|task| task.id).collect()
    };
    let tagged = || TaskQuery { tag: Some("one".into()), ..TaskQuery::default() };
    let failed = || TaskQuery { outcomes: vec![OutcomeClass::Failed], ..TaskQuery::default() };
    assert_eq!(found(tagged()).await, [second, first]);
    kit.finish(second.child(1), 1).await;
    assert_eq!(found(tagged()).await, [second.child(1), second, first], "children have their parent's tags");
    assert_eq!(found(failed()).await, [second.child(1)]);
    kit.finish(first, 1).await;
    assert_eq!(found(failed()).await, [second.child(1), first]);
    kit.ask(second, Ask::Kill).await;
    kit.store.purge(second).await.expect("purges");
    assert_eq!(found(tagged()).await, [first]);
    assert_eq!(found(failed()).await, [first]);
    kit.step(first, &Event::Measured(3)).await;
    kit.step(first, &Event::Archived).await;
    let archived = TaskQuery { phases: vec![Phase::Archived], owner: Some(user("bob")), ..failed() };
    assert_eq!(found(archived).await, [first]);
    kit.store.purge(first).await.expect("purges");
    assert_eq!(found(TaskQuery::default()).await, []);
}
