//! Typed usage, nodes and the audit trail.

use crate::access::{Action, Object};
use crate::app::App;
use crate::error::ApiError;
use crate::http::{Asked, json};
use crate::routes::general::used_by_node;
use crate::subject::Subject;
use crate::typed::{Act, ActList, Amount, DayUsed, Node, NodeList, Usage, Used};
use axum::extract::State;
use axum::response::Response;
use god_core::store::UsageOf;
use god_core::usage::UsageSum;
use god_core::{ProjectId, UserId, resources};
use serde::Deserialize;

/// Records on a page, when nothing is said, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

/// Whose usage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageQuery {
    user: Option<String>,
    project: Option<String>,
}

/// `GET /api/2/usage[?user=|?project=]`: of the caller when nothing is said.
pub(crate) async fn usage(
    State(app): State<App>,
    subject: Subject,
    Asked(query): Asked<UsageQuery>,
) -> Result<Response, ApiError> {
    let bad = |err: god_core::ids::BadId| ApiError::Bad(err.to_string());
    let of = match (query.user, query.project) {
        (Some(_), Some(_)) => {
            return Err(ApiError::Bad("accepted are either a user or a project".to_owned()));
        }
        (user, None) => {
            let login = user
                .map_or_else(|| Ok(subject.login().clone()), |login| UserId::parse(&login))
                .map_err(bad)?;
            app.authorize(&subject, Action::Read, Object::User(&login)).await?;
            UsageOf::User(login)
        }
        (None, Some(project)) => {
            let project = ProjectId::parse(&project).map_err(bad)?;
            super::super::projects::authorize_usage(&app, &subject, &project).await?;
            UsageOf::Project(project)
        }
    };
    let days: Vec<UsageSum> = app.store.usage(&of, app.window()).await?;
    let sum = days.iter().fold(god_core::usage::Used::default(), |mut sum, day| {
        sum.add(day);
        sum
    });
    let used = |cores, ram, millis: u64| Used { cpu: cores, ram, seconds: millis as f64 / 1000.0 };
    let (user, project) = match &of {
        UsageOf::User(login) => (Some(login), None),
        UsageOf::Project(project) => (None, Some(project)),
    };
    let disk_bytes = match user {
        Some(login) => Some(app.ledger().await?.users.get(login).map_or(0, |used| used.disk)),
        None => None,
    };
    Ok(json(&Usage {
        user: user.map(ToString::to_string),
        project: project.map(ToString::to_string),
        window_days: app.config().usage_days,
        total: used(sum.cores, sum.ram, sum.millis),
        disk_bytes,
        days: days
            .iter()
            .map(|day| DayUsed {
                date: iso(&day.day.to_string()),
                used: used(day.cores, day.ram, day.millis),
            })
            .collect(),
    }))
}

/// From `2024_2_29` to `2024-02-29`.
fn iso(day: &str) -> String {
    day.split('_').map(|part| format!("{part:0>2}")).collect::<Vec<_>>().join("-")
}

/// `GET /api/2/nodes`
pub(crate) async fn nodes(State(app): State<App>) -> Result<Response, ApiError> {
    let used = used_by_node(&app).await?;
    let amount = |amount: resources::Amount| Amount {
        cpu: amount.cores.0,
        memory_bytes: amount.memory.0,
        gpus: amount.gpus,
    };
    let mut nodes: Vec<Node> = app
        .nodes()
        .await?
        .iter()
        .map(|node| {
            let (used, tasks) =
                used.get(&(node.executor.clone(), node.name.clone())).copied().unwrap_or_default();
            Node {
                name: node.name.to_string(),
                executor: node.executor.to_string(),
                labels: node.labels.clone(),
                total: amount(node.total),
                used: amount(used),
                tasks,
            }
        })
        .collect();
    nodes.sort_by(|a, b| (&a.executor, &a.name).cmp(&(&b.executor, &b.name)));
    Ok(json(&NodeList { nodes }))
}

/// Which page of the audit trail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    after: Option<u64>,
    limit: Option<usize>,
}

/// `GET /api/2/audit[?after=][&limit=]`
pub(crate) async fn audit(
    State(app): State<App>,
    Asked(query): Asked<AuditQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let records = app.store.audited(query.after, limit).await?;
    let next = records.last().filter(|_| records.len() == limit).map(|(number, _)| *number);
    let records = records.into_iter().map(|(number, record)| Act::of(number, record)).collect();
    Ok(json(&ActList { records, next }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_are_written_as_dates() {
        assert_eq!(super::iso("2024_2_9"), "2024-02-09");
        assert_eq!(super::iso("2024_12_31"), "2024-12-31");
    }
}
