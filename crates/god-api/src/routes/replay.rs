//! The same task once more.

use super::submit;
use super::tasks::allowed_task;
use crate::access::Action;
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::At;
use crate::subject::Subject;
use axum::extract::State;
use axum::response::Response;
use god_core::wire::Submission;

/// `GET` or `POST /task/{id}/replay`: submits a copy, by today's rules. An admin's copy of somebody's task is that user's;
/// anybody else's is the caller's own.
pub(super) async fn replay(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    if let Some(parent) = task.parent {
        return Err(ApiError::Bad(format!("task {id} is one of an array: replay the whole, task {parent}")));
    }
    let mut asked = Submission::again(&task.spec);
    if !subject.is_admin {
        asked.user = None;
        // An admin may have set them; the copy begins without.
        let fields = &app.config().site.dynamic_fields;
        asked.fields.retain(|name, _| !fields.iter().any(|field| field.admin_only && field.name == *name));
    }
    submit::store(&app, &subject, &trail, asked, None).await
}
