//! `attach`: both outputs of a task, and then its exit code.

use crate::client::Api;
use crate::commands::{Gone, resolve_one, wait};
use crate::failure::Failure;
use crate::follow::{self, Sink, Stream};
use crate::ids::IdList;

pub async fn run(id: &IdList, raw: bool, api: &Api) -> Result<u8, Failure> {
    let id = resolve_one(api, id).await?;
    until_over(api, id, raw).await
}

/// Its output on ours, its error output on ours, until it is over. Gives its exit code as our own.
///
/// # Errors
/// Whatever a request meets; Ctrl-C; [`Failure::NoExitCode`].
pub async fn until_over(api: &Api, id: u64, raw: bool) -> Result<u8, Failure> {
    let show = |stream| follow::until_over(api, id, stream, Sink::new(stream, raw), Gone::after_an_answer());
    let both = async { tokio::try_join!(show(Stream::Out), show(Stream::Err)) };
    wait::or_interrupt(id, both).await?;
    wait::for_code(api, id).await
}
