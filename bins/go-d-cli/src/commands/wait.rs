//! Waiting for the end of tasks. The server holds each question until there is an answer; when it goes away for a
//! while, the jobs go on and so do we.

use crate::args::Format;
use crate::client::Api;
use crate::commands::{Gone, for_each, resolve};
use crate::failure::{Failure, NO_CODE, warn};
use crate::ids::IdList;
use crate::output::Printer;
use crate::task::{End, Task};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Seconds that the server may hold one question; less than most proxies bear.
const HOLD: &str = "50";
/// A server that answers "not yet" sooner than this does not hold questions.
const SOON: Duration = Duration::from_millis(500);

pub async fn run(lists: &[IdList], api: &Api, printer: Printer) -> Result<u8, Failure> {
    let ids = resolve(api, lists).await?;
    let mut documents = Vec::new();
    let mut code = None;
    let (_, ended) = for_each(&ids, async |id| {
        let document = until_over(api, id, Gone::default()).await?;
        let (own, line) = match Task(&document).end() {
            End::Code(given) => {
                (End::passed_on(given), Some(format!("task {id} is over, exit code {given}")))
            }
            End::NoCode(reason) => {
                warn(&Failure::NoExitCode { task: id, reason }.to_string());
                (NO_CODE, None)
            }
        };
        if own != 0 && code.is_none() {
            code = Some(own);
        }
        match printer.format {
            Format::Json => documents.push(document),
            _ if printer.quiet => {}
            _ => line.map_or(Ok(()), |line| printer.line(&line))?,
        }
        Ok(())
    })
    .await;
    if printer.format == Format::Json {
        printer.json(&Value::Array(documents))?;
    }
    ended.map(|()| code.unwrap_or(0))
}

/// Waits for one task, of a server that has answered before, and gives its exit code as our own.
///
/// # Errors
/// [`Failure::NoExitCode`] when it has none.
pub async fn for_code(api: &Api, id: u64) -> Result<u8, Failure> {
    let document = until_over(api, id, Gone::after_an_answer()).await?;
    match Task(&document).end() {
        End::Code(code) => Ok(End::passed_on(code)),
        End::NoCode(reason) => Err(Failure::NoExitCode { task: id, reason }),
    }
}

/// The status document of a task once it is over.
async fn until_over(api: &Api, id: u64, mut gone: Gone) -> Result<Value, Failure> {
    let number = id.to_string();
    let ask = api.get(&["task", &number, "wait"], format!("waiting for task {id}")).query("timeout", HOLD);
    let waiting = async {
        loop {
            let asked = Instant::now();
            match api.json(&ask).await {
                Ok(document) if Task(&document).is_over() => return Ok(document),
                Ok(_) => {
                    gone.is_back();
                    tokio::time::sleep(SOON.saturating_sub(asked.elapsed())).await;
                }
                Err(failure) => gone.bear(failure).await?,
            }
        }
    };
    or_interrupt(id, waiting).await
}

/// Runs it unless Ctrl-C comes first.
pub async fn or_interrupt<T>(id: u64, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted(format!(
            "task {id} goes on. Wait for it: go-d-cli wait {id}; end it: go-d-cli kill {id}"
        ))),
    }
}
