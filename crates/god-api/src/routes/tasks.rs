//! Reading tasks.

use crate::access::{Action, Object};
use crate::app::App;
use crate::error::ApiError;
use crate::http::{Asked, At, json, json_bytes, json_stream};
use crate::hub;
use crate::subject::Subject;
use crate::why;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use god_core::query::{MAX_PAGE, TaskQuery};
use god_core::state::Phase;
use god_core::store::{OverFilter, Scan, StoreError};
use god_core::{ProjectId, Task, TaskId, UserId};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashSet;
use std::io;
use std::time::Duration;

/// Tasks read at once.
const PAGE: usize = 500;
/// Finished tasks read at once: each page is searched from the newest on.
const OVER_PAGE: usize = 5000;
/// A list up to this size is sent as a whole.
const WHOLE: usize = 1 << 20;
/// The longest that a client may wait in one request.
const WAIT_MAX: u64 = 300;
/// A missed bell is made good within this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Filter of a list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    project: Option<String>,
}

/// Reads an id out of a path: anything else names no task.
pub(super) fn task_id(text: &str) -> Result<TaskId, ApiError> {
    text.parse().map_err(|_| ApiError::no_task(format!("{:?}", text.chars().take(40).collect::<String>())))
}

/// The task of a path, if the subject may do this to it.
pub(super) async fn allowed_task(
    app: &App,
    subject: &Subject,
    action: Action,
    id: &str,
) -> Result<Task, ApiError> {
    let task = app.task(task_id(id)?).await?;
    app.authorize(subject, action, Object::Task(&task.spec.owner)).await?;
    Ok(task)
}

/// Where the tasks of a list come from, and how far it has come.
enum Source {
    /// Unfinished tasks, by id.
    Active { scan: Scan, after: Option<TaskId>, project: Option<ProjectId> },
    /// Finished ones, the newest end first. `last` are the ids of the page before: an end that comes in between pages moves
    /// all that follow by one.
    Over { owner: Option<UserId>, skip: usize, left: usize, last: HashSet<TaskId> },
    /// What a query finds, the highest id first; `None` at its end.
    Found { query: Option<TaskQuery>, skip: usize, left: usize },
}

impl Source {
    /// The next tasks; `None` at the end. May be empty before.
    async fn next(&mut self, app: &App) -> Result<Option<Vec<Task>>, StoreError> {
        match self {
            Source::Active { scan, after, project } => {
                let mut page = app.store.scan(scan, *after, PAGE).await?;
                let Some(last) = page.last() else { return Ok(None) };
                *after = Some(last.id);
                page.retain(|task| project.as_ref().is_none_or(|p| task.spec.owner.project == *p));
                Ok(Some(page))
            }
            Source::Over { owner, skip, left, last } => {
                if *left == 0 {
                    return Ok(None);
                }
                let limit = Some((*left).min(OVER_PAGE));
                let filter = OverFilter { owner: owner.clone(), skip: *skip, limit };
                let mut page = app.store.over(&filter).await?;
                if page.is_empty() {
                    return Ok(None);
                }
                *skip = skip.saturating_add(page.len());
                *left = left.saturating_sub(page.len());
                let ids = page.iter().map(|task| task.id).collect();
                page.retain(|task| !last.contains(&task.id));
                *last = ids;
                Ok(Some(page))
            }
            Source::Found { query: at, skip, left } => {
                let Some(query) = at.as_mut().filter(|_| *left > 0) else { return Ok(None) };
                let page = app.store.find(query).await?;
                let n = page.tasks.len();
                let tasks: Vec<Task> = page.tasks.into_iter().skip(*skip).take(*left).collect();
                *skip = skip.saturating_sub(n);
                *left -= tasks.len();
                match page.next {
                    Some(next) => query.before = Some(next),
                    None => *at = None,
                }
                Ok(Some(tasks))
            }
        }
    }
}

/// Writes a list of documents page by page, so that a long one is never in memory as a whole.
struct Lister {
    app: App,
    source: Source,
    is_first: bool,
    is_done: bool,
}

impl Lister {
    fn new(app: &App, source: Source) -> Lister {
        Lister { app: app.clone(), source, is_first: true, is_done: false }
    }

    /// A short list at once, a long one as it is read.
    async fn answer(mut self) -> Result<Response, ApiError> {
        let mut bytes = b"[".to_vec();
        while !self.is_done && bytes.len() < WHOLE {
            self.page(&mut bytes).await?;
        }
        if self.is_done {
            return Ok(json_bytes(bytes.into()));
        }
        let rest = futures::stream::try_unfold(self, |mut lister| async move {
            if lister.is_done {
                return Ok::<_, io::Error>(None);
            }
            let mut bytes = Vec::new();
            match lister.page(&mut bytes).await {
                Ok(()) => Ok(Some((Bytes::from(bytes), lister))),
                // The client sees a broken answer, never a list that looks whole.
                Err(_) => Err(io::Error::other("the list broke off")),
            }
        });
        let first = futures::stream::once(std::future::ready(Ok(Bytes::from(bytes))));
        Ok(json_stream(Body::from_stream(first.chain(rest))))
    }

    async fn page(&mut self, bytes: &mut Vec<u8>) -> Result<(), ApiError> {
        let Some(tasks) = self.source.next(&self.app).await? else {
            bytes.push(b']');
            self.is_done = true;
            return Ok(());
        };
        let whys = self.app.whys_of(&tasks).await?;
        for task in &tasks {
            if !std::mem::take(&mut self.is_first) {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut *bytes, &self.app.document(task, whys.of(task)))
                .map_err(|_| ApiError::Failed("the answer can not be written"))?;
        }
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Visits all tasks of a scan, a page at a time, letting other requests in between.
pub(super) async fn pages(
    app: &App,
    scan: &Scan,
    mut visit: impl FnMut(Task) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut after = None;
    loop {
        let page = app.store.scan(scan, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        page.into_iter().try_for_each(&mut visit)?;
        tokio::task::yield_now().await;
    }
}

/// Visits what a query finds, a page at a time, the highest id first.
pub(super) async fn found_pages(
    app: &App,
    mut query: TaskQuery,
    mut visit: impl FnMut(Task),
) -> Result<(), StoreError> {
    query.limit = MAX_PAGE;
    loop {
        let page = app.store.find(&query).await?;
        page.tasks.into_iter().for_each(&mut visit);
        query.before = page.next;
        if page.next.is_none() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// `GET /task/active[?project=]`
pub(super) async fn active(
    State(app): State<App>,
    subject: Subject,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let (owner, project) = scope(&app, &subject, query).await?;
    list_active(&app, owner, project).await
}

/// `GET /task/active/all`
pub(super) async fn active_all(State(app): State<App>) -> Result<Response, ApiError> {
    list_active(&app, None, None).await
}

async fn list_active(
    app: &App,
    owner: Option<UserId>,
    project: Option<ProjectId>,
) -> Result<Response, ApiError> {
    let source = Source::Active { scan: Scan::Active(owner), after: None, project };
    Lister::new(app, source).answer().await
}

/// Whose tasks a list shows, and of which project: those of all members only where members share.
async fn scope(
    app: &App,
    subject: &Subject,
    query: ListQuery,
) -> Result<(Option<UserId>, Option<ProjectId>), ApiError> {
    let own = Some(subject.login().clone());
    let Some(project) = query.project.filter(|name| !name.is_empty()).map(ProjectId::new) else {
        return Ok((own, None));
    };
    let shared = app.shares(subject, &project).await?;
    Ok((if shared { None } else { own }, Some(project)))
}

/// `POST /task/over/{skip}/{limit}[?project=]`
pub(super) async fn over(
    State(app): State<App>,
    subject: Subject,
    At((skip, limit)): At<(String, String)>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let (owner, project) = scope(&app, &subject, query).await?;
    list_over(&app, owner, project, &skip, &limit).await
}

/// `POST /task/over/all/{skip}/{limit}`
pub(super) async fn over_all(
    State(app): State<App>,
    At((skip, limit)): At<(String, String)>,
) -> Result<Response, ApiError> {
    list_over(&app, None, None, &skip, &limit).await
}

/// Newest first; a limit of 0 is none.
async fn list_over(
    app: &App,
    owner: Option<UserId>,
    project: Option<ProjectId>,
    skip: &str,
    limit: &str,
) -> Result<Response, ApiError> {
    let number = |text: &str| {
        text.parse::<usize>().map_err(|_| ApiError::NotFound(format!("{text:?} is no number of tasks")))
    };
    let (skip, limit) = (number(skip)?, number(limit)?);
    let left = if limit > 0 { limit } else { usize::MAX };
    let source = match project {
        None => Source::Over { owner, skip, left, last: HashSet::new() },
        Some(_) => {
            let phases = vec![Phase::Over, Phase::Archived];
            let query = TaskQuery { owner, project, phases, limit: MAX_PAGE, ..TaskQuery::default() };
            Source::Found { query: Some(query), skip, left }
        }
    };
    Lister::new(app, source).answer().await
}

/// `GET /task/{id}`
pub(super) async fn one(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    let why = app.why_of(&task).await?;
    Ok(json(&app.document(&task, why.as_ref())))
}

/// `GET /task/{id}/status`
pub(super) async fn status(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    status_answer(&app, &task).await
}

async fn status_answer(app: &App, task: &Task) -> Result<Response, ApiError> {
    let why = app.why_of(task).await?;
    Ok(json(&json!({"id": task.id, "status": why::status(task, why.as_ref())})))
}

/// How long to wait.
#[derive(Debug, Deserialize)]
pub(super) struct WaitQuery {
    timeout: Option<u64>,
}

/// `GET /task/{id}/wait[?timeout=]`: the status as soon as the task is over, or when the time is up.
pub(super) async fn wait(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
    Asked(query): Asked<WaitQuery>,
) -> Result<Response, ApiError> {
    let end = tokio::time::Instant::now() + Duration::from_secs(query.timeout.unwrap_or(60).min(WAIT_MAX));
    // Listening begins before the first look, so that no end falls in between.
    let mut changes = app.hub.listen().await?;
    loop {
        let task = allowed_task(&app, &subject, Action::Read, &id).await?;
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        if task.phase().is_over() || left.is_zero() || app.closing.is_cancelled() {
            return status_answer(&app, &task).await;
        }
        tokio::select! {
            () = hub::ended(&mut changes, task.id) => {}
            () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
            () = app.closing.cancelled() => {}
        }
    }
}
