//! `logs`: the output of a task, as it stands or as it grows.

use crate::args::LogsArgs;
use crate::client::Api;
use crate::commands::{Gone, resolve_one};
use crate::failure::Failure;
use crate::follow::{self, Sink, Stream};

pub async fn run(args: &LogsArgs, api: &Api) -> Result<u8, Failure> {
    let id = resolve_one(api, &args.id).await?;
    let stream = if args.err { Stream::Err } else { Stream::Out };
    let sink = Sink::new(Stream::Out, args.raw);
    if args.follow {
        follow::until_over(api, id, stream, sink, Gone::default()).await?;
    } else {
        follow::once(api, id, stream, sink).await?;
    }
    Ok(0)
}
