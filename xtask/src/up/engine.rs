//! The few calls to a Docker engine that preparing tests needs: through the `docker` program when there is one,
//! else through `curl`. Never used by the product.

use crate::repo::{on_path, output_of, stdout_of};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// One engine, by its address in the form of `DOCKER_HOST`.
pub struct Engine {
    host: String,
    docker: bool,
}

impl Engine {
    /// The engine at `host`, which need not answer yet.
    pub fn at(host: &str) -> Self {
        Self { host: host.to_owned(), docker: on_path("docker").is_some() }
    }

    /// The value for `DOCKER_HOST`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it answers now. Waits 10 seconds at most.
    pub fn answers(&self) -> bool {
        let mut ping = if self.docker {
            self.docker(&["version", "--format", "{{.Server.Version}}"], Some(Duration::from_secs(10)))
        } else {
            match self.curl("/_ping") {
                Ok(curl) => curl,
                Err(_) => return false,
            }
        };
        ping.stdin(Stdio::null());
        output_of(&mut ping).is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    }

    /// Whether it has the image.
    ///
    /// # Errors
    /// Neither `docker` nor `curl` can be started, or the address is not one they can use.
    pub fn has_image(&self, image: &str) -> Result<bool> {
        let mut inspect = if self.docker {
            self.docker(&["image", "inspect", "--format", "{{.Id}}", image], None)
        } else {
            self.curl(&format!("/images/{image}/json"))?
        };
        Ok(output_of(&mut inspect)?.status.success())
    }

    /// Makes an image of one layer from the tar file `layer`. `changes` are lines of a Dockerfile (`ENV`, `CMD`).
    ///
    /// # Errors
    /// The engine refuses; the message carries its words.
    pub fn import(&self, layer: &Path, image: &str, changes: &[&str]) -> Result<()> {
        let layer = layer.to_str().context("the path of the layer is not UTF-8")?;
        let mut import = if self.docker {
            let mut import = self.docker(&["import"], None);
            for change in changes {
                import.args(["--change", change]);
            }
            import.args([layer, image]);
            import
        } else {
            let (repo, tag) = image.split_once(':').context("an image is NAME:TAG")?;
            let mut query = format!("/images/create?fromSrc=-&repo={repo}&tag={tag}");
            for change in changes {
                query.push_str("&changes=");
                query.push_str(&percent(change));
            }
            let mut import = self.curl(&query)?;
            import.args(["-X", "POST", "-H", "Content-Type: application/x-tar", "--data-binary"]);
            import.arg(format!("@{layer}"));
            import
        };
        let answer = stdout_of(&mut import)?;
        // The engine reports a failed import in the body of a 200.
        if answer.contains("\"error\"") {
            bail!("importing {image}: {}", answer.trim());
        }
        Ok(())
    }

    fn docker(&self, args: &[&str], limit: Option<Duration>) -> Command {
        let mut command = match limit {
            Some(limit) => {
                let mut timeout = Command::new("timeout");
                timeout.arg(limit.as_secs().to_string()).arg("docker");
                timeout
            }
            None => Command::new("docker"),
        };
        command.args(["--host", &self.host]).args(args);
        command
    }

    fn curl(&self, path: &str) -> Result<Command> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--connect-timeout", "10"]);
        if let Some(socket) = self.host.strip_prefix("unix://") {
            command.args(["--unix-socket", socket]).arg(format!("http://docker{path}"));
        } else if let Some(address) = self.host.strip_prefix("tcp://") {
            command.arg(format!("http://{address}{path}"));
        } else {
            bail!("{}: without the docker program only unix:// and tcp:// can be used", self.host);
        }
        Ok(command)
    }
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_survive_a_query_string() {
        assert_eq!(percent("CMD [\"/a b\"]"), "CMD%20%5B%22%2Fa%20b%22%5D");
    }

    #[test]
    fn curl_refuses_an_address_it_cannot_use() {
        let engine = Engine { host: "ssh://elsewhere".to_owned(), docker: false };
        let refusal = engine.curl("/_ping").expect_err("ssh needs the docker program").to_string();
        assert!(refusal.contains("ssh://elsewhere"), "{refusal}");
    }

    #[test]
    fn nobody_answers_on_a_socket_that_is_not_there() {
        for docker in [true, false] {
            assert!(!Engine { host: "unix:///nonexistent/docker.sock".to_owned(), docker }.answers());
        }
    }
}
