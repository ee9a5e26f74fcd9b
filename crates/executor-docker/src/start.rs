//! Starting attempts: two calls to the engine for each, create and start, and no question before. What could be asked
//! (is the image there, is the name free) the answer to create tells as well.

use crate::engine::{CallError, lock};
use crate::files::{FileError, Prepared};
use crate::inner::{Inner, now};
use crate::pull::NoImage;
use crate::{create, wire};
use bollard::models::ContainerStateStatusEnum as Status;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};
use god_core::executor::{Launch, StartError, Started};
use god_core::ids::RunRef;
use std::sync::Arc;

/// What create made or found.
enum Container {
    /// It has not started.
    Ready(String),
    /// It was started before.
    Known(Started),
}

impl Inner {
    /// Starts one attempt.
    pub(crate) async fn start_one(self: &Arc<Self>, launch: &Launch) -> Result<Started, StartError> {
        let description = create::description(launch, self.options.grace);
        if let Some(why) = create::refusal(&launch.spec, &description, &self.options) {
            return Err(StartError::Refused(why));
        }
        // Known to be impossible before anything is made.
        let facts = self.engine.facts().await.map_err(|err| StartError::NotNow(err.chain()))?;
        let prepared = {
            let (inner, launch) = (Arc::clone(self), launch.clone());
            self.blocking(move || inner.files.prepare(&launch, &description)).await.map_err(
                |err| match err {
                    err @ FileError::Closed(_) => StartError::NotNow(err.to_string()),
                    err => {
                        StartError::NotNow(format!("the job's directories cannot be made: {}", chain(&err)))
                    }
                },
            )?
        };
        let id = match self.create(launch, &prepared, facts.cores).await? {
            Container::Ready(id) => id,
            Container::Known(started) => return Ok(started),
        };
        self.start_container(launch, &id).await?;
        let since = now();
        lock(&self.known).entry(launch.key).or_default().started(&id, since);
        // Whoever gave the attempt up meanwhile has its latch: nothing runs in this container.
        let (inner, key) = (Arc::clone(self), launch.key);
        if let Ok(true) = self.blocking(move || inner.files.is_abandoned(key)).await {
            self.discard(&id).await;
            return Err(StartError::NotNow(FileError::Closed(key).to_string()));
        }
        Ok(Started::Running { run: Some(RunRef::new(id)), since })
    }

    async fn create(
        self: &Arc<Self>,
        launch: &Launch,
        prepared: &Prepared,
        cores: u32,
    ) -> Result<Container, StartError> {
        let mut pulled = false;
        loop {
            let body = create::body(launch, prepared, &self.options, cores);
            let options = CreateContainerOptions {
                name: Some(wire::container_name(&self.options.cluster, launch.key)),
                ..CreateContainerOptions::default()
            };
            let created = {
                let _slot = self.slot().await;
                self.engine
                    .call(|docker| async move { docker.create_container(Some(options), body).await })
                    .await
            };
            let image = create::image(&launch.spec, &self.options);
            match created {
                Ok(created) => return Ok(Container::Ready(created.id)),
                Err(CallError::Said { status: 404, message }) if pulled => {
                    return Err(StartError::Refused(format!("image {image} is not there: {message}")));
                }
                Err(CallError::Said { status: 404, .. }) => {
                    pulled = true;
                    self.pulls.pull(&self.engine, &image, self.options.pull_patience).await.map_err(
                        |err| match err {
                            NoImage::Refused(why) => StartError::Refused(why),
                            NoImage::NotYet(why) => StartError::NotNow(why),
                        },
                    )?;
                }
                Err(CallError::Said { status: 409, message }) => return self.adopt(launch, &message).await,
                Err(CallError::Said { status: 400..=499, message }) => {
                    return Err(StartError::Refused(format!("the engine refuses the container: {message}")));
                }
                // Nothing runs by a create, but one that took effect late must not be taken for none.
                Err(err @ CallError::NoAnswer(_)) => return Err(StartError::Unknown(err.chain())),
                Err(err) => return Err(StartError::NotNow(err.chain())),
            }
        }
    }

    /// The name is taken: by this same attempt, if its labels say so.
    async fn adopt(&self, launch: &Launch, message: &str) -> Result<Container, StartError> {
        let name = wire::container_name(&self.options.cluster, launch.key);
        let found = match self.engine.inspect(&name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Err(StartError::NotNow(message.to_owned())),
            Err(err) => return Err(StartError::Unknown(err.chain())),
        };
        if found.key != Some(launch.key) {
            return Err(StartError::NotNow(format!(
                "a container {name} is there that is not ours: remove it from the engine"
            )));
        }
        Ok(match (found.status, found.started) {
            (Status::CREATED, _) => Container::Ready(found.id),
            (Status::RUNNING | Status::PAUSED, Some(since)) => {
                lock(&self.known).entry(launch.key).or_default().started(&found.id, since);
                Container::Known(Started::Running { run: Some(RunRef::new(found.id)), since })
            }
            _ => Container::Known(Started::Accepted),
        })
    }

    async fn start_container(&self, launch: &Launch, id: &str) -> Result<(), StartError> {
        let _slot = self.slot().await;
        let container = id.to_owned();
        match self.engine.call(|docker| async move { docker.start_container(&container, None).await }).await {
            Ok(()) => Ok(()),
            // Whether it runs is the question that observation answers.
            Err(err @ (CallError::NoAnswer(_) | CallError::Garbled(_))) => {
                Err(StartError::Unknown(err.chain()))
            }
            Err(err @ CallError::NoEngine(_)) => Err(StartError::NotNow(err.chain())),
            Err(CallError::Said { message, .. }) => {
                // Two starts of the same attempt at the same time: the other one may have won.
                match self.engine.inspect(id).await {
                    Ok(Some(found)) if found.started.is_some() => return Ok(()),
                    Ok(_) => {}
                    Err(err) => return Err(StartError::Unknown(err.chain())),
                }
                tracing::warn!(task = %launch.key.task, err = %message, "container could not be started");
                self.discard(id).await;
                Err(StartError::NotNow(format!("the engine cannot start the container: {message}")))
            }
        }
    }

    /// Removes a container in which nothing runs. What is left when this fails is found again as an orphan.
    pub(crate) async fn discard(&self, id: &str) {
        if let Err(err) = self.remove(id).await {
            tracing::warn!(run = %id, err = %err.chain(), "container could not be removed");
        }
    }

    /// Removes a container with its anonymous volumes, ending what runs in it. `Ok` when it is gone.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), CallError> {
        let _slot = self.slot().await;
        let options = RemoveContainerOptions { v: true, force: true, ..RemoveContainerOptions::default() };
        let container = id.to_owned();
        match self
            .engine
            .call(|docker| async move { docker.remove_container(&container, Some(options)).await })
            .await
        {
            // 409: its removal is under way.
            Err(err) if matches!(err.status(), Some(404 | 409)) => Ok(()),
            result => result,
        }
    }
}

/// Message and causes in one line.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}
