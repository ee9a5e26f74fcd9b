//! Images made by the tests: a layer written by hand and handed to the engine.

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use futures::TryStreamExt;
use std::path::Path;
use std::process::Command;

/// Gives the tree below `root` to the engine as an image of this name.
pub async fn import(docker: &Docker, root: &Path, image: &str) {
    let layer = tempfile::NamedTempFile::new().expect("a file");
    let tar = Command::new("tar")
        .args(["--numeric-owner", "--owner=0", "--group=0", "-C"])
        .arg(root)
        .arg("-cf")
        .arg(layer.path())
        .arg(".")
        .status();
    assert!(tar.expect("tar runs").success());
    let (repo, tag) = image.split_once(':').expect("a name with a tag");
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        changes: vec!["ENV PATH=/bin".to_owned()],
        ..Default::default()
    };
    let body = bollard::body_full(std::fs::read(layer.path()).expect("the layer").into());
    let steps = docker.create_image(Some(options), Some(body), None);
    steps.try_for_each(|_| futures::future::ok(())).await.expect("the engine takes the image");
}

pub async fn remove(docker: &Docker, image: &str) {
    let options = RemoveImageOptions { force: true, ..Default::default() };
    docker.remove_image(image, Some(options), None).await.expect("the image goes");
}
