//! Users who are being removed with their data: their tasks end, are purged, and then the record goes.
//!
//! That somebody is to be removed is on the board of the store, so that it goes on after a restart, in whatever server is
//! there. Every step may be done twice.

use crate::app::{App, Inner};
use crate::bulk::ask_all;
use god_core::query::{MAX_PAGE, TaskQuery};
use god_core::state::{Ask, Phase};
use god_core::store::{Scan, StoreError};
use god_core::{Task, TaskId, UserId};
use std::time::Duration;

/// Board entries of users who are to be removed begin with this.
const BOARD: &str = "removing/";
/// Steps follow each other after this, while there is somebody to remove.
const SOON: Duration = Duration::from_secs(2);
/// The board is looked at this often.
const LATE: Duration = Duration::from_secs(30);
const PAGE: usize = 500;

impl Inner {
    /// Those who are being removed.
    pub(crate) async fn leaving(&self) -> Result<Vec<UserId>, StoreError> {
        let pins = self.store.pinned(BOARD).await?;
        Ok(pins.iter().filter_map(|(key, _)| UserId::parse(key.strip_prefix(BOARD)?).ok()).collect())
    }

    /// Puts a user on the board, and takes the first step.
    pub(crate) async fn remove_user(&self, login: &UserId) -> Result<bool, StoreError> {
        self.store.pin(vec![(format!("{BOARD}{login}"), Some("1".to_owned()))]).await?;
        self.forget_user(login);
        let gone = self.removal_step(login).await?;
        self.removals.notify_one();
        Ok(gone)
    }

    /// Ends and purges what there is of a user's tasks; `true` once nothing was left and the record is gone.
    async fn removal_step(&self, login: &UserId) -> Result<bool, StoreError> {
        // The login may not be used any more, whoever set it active again.
        if let Some(user) = self.store.user(login).await?
            && user.active
        {
            let mut user = user;
            user.active = false;
            self.store.put_user(&user).await?;
            self.forget_user(login);
        }
        let mut left = 0;
        let mut after = None;
        loop {
            let page = self.store.scan(&Scan::Active(Some(login.clone())), after, PAGE).await?;
            let ids: Vec<TaskId> = page.iter().filter(|t| !t.kill_wanted()).map(|task| task.id).collect();
            ask_all(self, &ids, Ask::Kill, Some("the user was removed")).await?;
            left += page.len();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
        }
        let mut query = TaskQuery {
            owner: Some(login.clone()),
            phases: vec![Phase::Over, Phase::Archived],
            limit: MAX_PAGE,
            ..TaskQuery::default()
        };
        loop {
            let page = self.store.find(&query).await?;
            let wanted = |task: &&Task| task.parent.is_none() && task.to_remove() != Some(Ask::Purge);
            let ids: Vec<TaskId> = page.tasks.iter().filter(wanted).map(|task| task.id).collect();
            ask_all(self, &ids, Ask::Purge, None).await?;
            left += page.tasks.len();
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        if left > 0 {
            return Ok(false);
        }
        for mut project in self.store.projects().await? {
            if project.members.contains(login) {
                project.members.retain(|member| member != login);
                if !self.store.put_project(&project).await? {
                    return Ok(false);
                }
                self.forget_projects();
            }
        }
        self.store.remove_user(login).await?;
        self.store.pin(vec![(format!("{BOARD}{login}"), None)]).await?;
        self.forget_user(login);
        tracing::info!(user = %login, "the user was removed, with all tasks");
        Ok(true)
    }
}

/// Works on removals until the server stops.
pub(crate) async fn keep(app: App) {
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            () = app.closing.cancelled() => return,
            () = app.removals.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
        wait = LATE;
        let leaving = match app.leaving().await {
            Ok(leaving) => leaving,
            Err(err) => {
                tracing::warn!(err = %god_engine::chain(&err), "users to remove can not be read");
                continue;
            }
        };
        for login in leaving {
            if app.closing.is_cancelled() {
                return;
            }
            match app.removal_step(&login).await {
                Ok(true) => {}
                Ok(false) => wait = SOON,
                Err(err) => {
                    tracing::warn!(user = %login, err = %god_engine::chain(&err), "a user can not be removed yet");
                }
            }
        }
    }
}
