//! Pulling images: one pull of an image at a time however many tasks wait for it, going on when nobody waits any more.

use crate::engine::{CallError, Engine, lock};
use bollard::query_parameters::CreateImageOptions;
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoImage {
    /// The engine says so.
    Refused(String),
    /// It is not known yet.
    NotYet(String),
}

type Pull = Shared<BoxFuture<'static, Result<(), NoImage>>>;

/// The pulls that are under way.
#[derive(Debug, Default)]
pub struct Pulls {
    running: Arc<Mutex<HashMap<String, Pull>>>,
}

impl Pulls {
    /// Pulls an image, or waits for the pull that is under way, for as long as `patience`.
    pub async fn pull(&self, engine: &Arc<Engine>, image: &str, patience: Duration) -> Result<(), NoImage> {
        let pull = lock(&self.running).get(image).cloned();
        let pull = pull.unwrap_or_else(|| self.begin(engine, image));
        match tokio::time::timeout(patience, pull).await {
            Ok(result) => result,
            Err(_) => Err(NoImage::NotYet(format!("image {image} is still being pulled"))),
        }
    }

    fn begin(&self, engine: &Arc<Engine>, image: &str) -> Pull {
        let (engine, running, name) = (Arc::clone(engine), Arc::clone(&self.running), image.to_owned());
        let pull = async move {
            tracing::info!(image = %name, "pull began");
            let result = pull(&engine, &name).await;
            if let Err(err) = &result {
                tracing::warn!(image = %name, err = ?err, "pull failed");
            }
            lock(&running).remove(&name);
            result
        };
        let pull = pull.boxed().shared();
        lock(&self.running).insert(image.to_owned(), pull.clone());
        tokio::spawn(pull.clone());
        pull
    }
}

async fn pull(engine: &Engine, image: &str) -> Result<(), NoImage> {
    let (name, tag) = name_and_tag(image);
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: tag.map(str::to_owned),
        ..CreateImageOptions::default()
    };
    let result = match engine.client().await {
        Ok(client) => {
            let steps = client.create_image(Some(options), None, None);
            steps.try_for_each(|_| futures::future::ok(())).await.map_err(CallError::from)
        }
        Err(err) => Err(err),
    };
    result.map_err(|err| match err {
        CallError::Said { message, .. } => {
            NoImage::Refused(format!("image {image} is not there and cannot be pulled: {message}"))
        }
        err => NoImage::NotYet(format!("image {image} cannot be pulled now: {}", err.chain())),
    })
}

/// Splits the tag off, `latest` when there is neither tag nor digest: without one the engine pulls every tag.
fn name_and_tag(image: &str) -> (&str, Option<&str>) {
    if image.contains('@') {
        return (image, None);
    }
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[last..].rfind(':') {
        Some(colon) => (&image[..last + colon], Some(&image[last + colon + 1..])),
        None => (image, Some("latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_from_ports() {
        for (image, name, tag) in [
            ("debian", "debian", Some("latest")),
            ("debian:12", "debian", Some("12")),
            ("host:5000/debian", "host:5000/debian", Some("latest")),
            ("host:5000/a/debian:12", "host:5000/a/debian", Some("12")),
            ("debian@sha256:abc", "debian@sha256:abc", None),
        ] {
            assert_eq!(name_and_tag(image), (name, tag));
        }
    }
}
