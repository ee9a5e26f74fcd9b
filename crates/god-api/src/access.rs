//! Who may do what: one function for all routes. What it does not allow is refused.

use crate::app::Inner;
use crate::error::ApiError;
use crate::subject::Subject;
use god_core::ids::{ProjectId, UserId};
use god_core::spec::Owner;
use god_core::user::Project;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// See it, its files and its output.
    Read,
    /// Change it, or ask for its end.
    Change,
}

/// What it is done to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object<'a> {
    /// A task, by its owner.
    Task(&'a Owner),
    /// A user's record, usage, and tasks as a whole.
    User(&'a UserId),
    /// A project's record and usage.
    Project(&'a Project),
    /// What is everybody's who is logged in.
    Common,
    /// The site: everybody's tasks, nodes, maintenance.
    Site,
}

/// How tasks are shared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sharing<'a> {
    /// Whether members of a project see and manage each other's tasks in it.
    pub(crate) among_members: bool,
    /// The projects.
    pub(crate) projects: &'a [Project],
}

/// Whether the rules allow it.
#[must_use]
pub(crate) fn is_allowed(
    subject: &Subject,
    action: Action,
    object: Object<'_>,
    sharing: Sharing<'_>,
) -> bool {
    if subject.is_admin {
        return true;
    }
    match (object, action) {
        (Object::Task(owner), Action::Read | Action::Change) => {
            owner.id == *subject.login() || shares(subject.login(), &owner.project, sharing)
        }
        (Object::User(login), Action::Read | Action::Change) => login == subject.login(),
        (Object::Project(project), Action::Read) => project.members.contains(subject.login()),
        (Object::Common, Action::Read) => true,
        (Object::Project(_) | Object::Common, Action::Change)
        | (Object::Site, Action::Read | Action::Change) => false,
    }
}

/// Whether a login sees the tasks of others in a project. Everybody is in the default one, so it shares nothing.
fn shares(login: &UserId, project: &ProjectId, sharing: Sharing<'_>) -> bool {
    sharing.among_members
        && project.as_str() != ProjectId::DEFAULT
        && sharing.projects.iter().any(|p| p.id == *project && p.members.contains(login))
}

impl Inner {
    /// Whether the rules and the projects as they are allow it.
    pub(crate) async fn is_allowed(
        &self,
        subject: &Subject,
        action: Action,
        object: Object<'_>,
    ) -> Result<bool, ApiError> {
        let alone = Sharing { among_members: false, projects: &[] };
        if is_allowed(subject, action, object, alone) || !self.config.share_project_tasks {
            return Ok(is_allowed(subject, action, object, alone));
        }
        let projects = self.projects().await?;
        Ok(is_allowed(subject, action, object, Sharing { among_members: true, projects: &projects }))
    }

    /// Lets it pass, or says what may not be done.
    pub(crate) async fn authorize(
        &self,
        subject: &Subject,
        action: Action,
        object: Object<'_>,
    ) -> Result<(), ApiError> {
        if self.is_allowed(subject, action, object).await? {
            return Ok(());
        }
        let text = match object {
            Object::Task(_) => "this task belongs to somebody else",
            Object::User(_) => "this user is somebody else",
            Object::Project(_) => "you are no member of this project, or only admins may do this",
            Object::Common | Object::Site => "only admins may do this",
        };
        Err(ApiError::Forbidden(text.to_owned()))
    }

    /// Whether somebody sees everybody's tasks of a project.
    pub(crate) async fn shares(&self, subject: &Subject, project: &ProjectId) -> Result<bool, ApiError> {
        let among_members = self.config.share_project_tasks;
        if subject.is_admin || !among_members {
            return Ok(subject.is_admin);
        }
        let projects = self.projects().await?;
        Ok(shares(subject.login(), project, Sharing { among_members, projects: &projects }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Credential;
    use serde_json::json;
    use std::sync::Arc;

    fn subject(login: &str, is_admin: bool) -> Subject {
        let user = json!({"id": login, "type": "local", "uid": 1000, "gid": 1000});
        let credential = Credential::Token("t".into());
        Subject { user: Arc::new(serde_json::from_value(user).expect("a user")), is_admin, credential }
    }

    fn owner(login: &str, project: &str) -> Owner {
        Owner {
            id: UserId::new(login),
            uid: 1000,
            gid: 1000,
            sgids: Vec::new(),
            email: None,
            home: None,
            project: ProjectId::new(project),
            guest: None,
        }
    }

    #[test]
    fn the_table() {
        let projects: Vec<Project> = serde_json::from_value(json!([
            {"id": "p", "members": ["owner", "member"]},
            {"id": "q", "members": ["stranger", "former"]},
            // Not a real project: its members must not share what everybody's project holds.
            {"id": "default", "members": ["owner", "member"]},
        ]))
        .expect("projects");
        let (in_p, in_default) = (owner("owner", "p"), owner("owner", "default"));
        let owner_id = UserId::new("owner");
        let objects = [Object::Task(&in_p), Object::Task(&in_default), Object::User(&owner_id), Object::Site];
        // For each subject: may it do anything to each of the objects, without and with sharing among members?
        let table = [
            ("owner", false, [true, true, true, false], [true, true, true, false]),
            ("member", false, [false, false, false, false], [true, false, false, false]),
            ("former", false, [false, false, false, false], [false, false, false, false]),
            ("stranger", false, [false, false, false, false], [false, false, false, false]),
            ("admin", true, [true, true, true, true], [true, true, true, true]),
        ];
        for (login, is_admin, alone, shared) in table {
            let subject = subject(login, is_admin);
            for (among_members, expected) in [(false, alone), (true, shared)] {
                let sharing = Sharing { among_members, projects: &projects };
                for (object, expected) in objects.iter().zip(expected) {
                    for action in [Action::Read, Action::Change] {
                        let got = is_allowed(&subject, action, *object, sharing);
                        assert_eq!(got, expected, "{login} {action:?} {object:?} sharing {among_members}");
                    }
                }
            }
        }
    }
}
