//! The output of a task on its way to us: a stream of events that is taken up again where it broke.

use crate::client::{Api, Ask, garbled};
use crate::commands::Gone;
use crate::failure::Failure;
use crate::sse::Reader;
use crate::text::LogFilter;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use std::io::{self, IsTerminal as _, Write as _};

/// One of the two outputs of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What it wrote to standard output.
    Out,
    /// What it wrote to standard error.
    Err,
}

/// Where it goes.
#[derive(Debug)]
pub struct Sink {
    stream: Stream,
    /// For a terminal: what it may be shown. Pipes and files get every byte as it is.
    filter: Option<LogFilter>,
}

impl Sink {
    /// Our own output of that kind; `raw` leaves a terminal nothing spared.
    pub fn new(stream: Stream, raw: bool) -> Sink {
        let terminal = match stream {
            Stream::Out => io::stdout().is_terminal(),
            Stream::Err => io::stderr().is_terminal(),
        };
        Sink { stream, filter: (terminal && !raw).then(LogFilter::new) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let shown = self.filter.as_mut().map(|filter| filter.pass(bytes));
        let bytes = shown.as_ref().map_or(bytes, |text| text.as_bytes());
        match self.stream {
            Stream::Out => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()?;
            }
            Stream::Err => io::stderr().lock().write_all(bytes)?,
        }
        Ok(())
    }
}

fn ask(api: &Api, id: u64, stream: Stream) -> Ask {
    let word = if stream == Stream::Out { "out" } else { "err" };
    api.get(&["task", &id.to_string(), "log"], format!("reading the output of task {id}"))
        .query("stream", word)
}

/// What there is now.
///
/// # Errors
/// Whatever the request or the sink meets.
pub async fn once(api: &Api, id: u64, stream: Stream, mut sink: Sink) -> Result<(), Failure> {
    copy(api, api.send(&ask(api, id, stream)).await?, &mut sink).await
}

async fn copy(api: &Api, mut response: Response, sink: &mut Sink) -> Result<(), Failure> {
    while let Some(piece) = response.chunk().await.map_err(|err| api.unreachable(&err))? {
        sink.write(&piece)?;
    }
    Ok(())
}

/// What there is and what comes, until the task is over. A broken connection is taken up where it broke: nothing is
/// lost and nothing comes twice.
///
/// # Errors
/// Whatever a request or the sink meets; a server that stays away for too long.
pub async fn until_over(
    api: &Api,
    id: u64,
    stream: Stream,
    mut sink: Sink,
    mut gone: Gone,
) -> Result<(), Failure> {
    let ask = ask(api, id, stream).query("follow", "1").header("accept", "text/event-stream");
    let follow = Follow { id, stream, ask };
    let mut last: Option<u64> = None;
    loop {
        let again = match last {
            Some(place) => follow.ask.clone().header("last-event-id", place.to_string()),
            None => follow.ask.clone(),
        };
        let failure = match api.send(&again).await {
            Ok(response) if is_events(&response) => {
                gone.has_answered();
                match events(api, &follow, response, &mut sink, &mut last, &mut gone).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => Failure::Lost(format!("{} ended the stream", api.server())),
                    Err(failure) => failure,
                }
            }
            // A server that has all of it says it in one piece.
            Ok(response) => return copy(api, response, &mut sink).await,
            Err(failure) => failure,
        };
        gone.bear(failure).await?;
    }
}

/// Passes on what the events carry; `true` when the last one said that nothing more comes.
async fn events(
    api: &Api,
    follow: &Follow,
    mut response: Response,
    sink: &mut Sink,
    last: &mut Option<u64>,
    gone: &mut Gone,
) -> Result<bool, Failure> {
    let garbled = |why: &str| garbled(&follow.ask, why);
    let mut reader = Reader::default();
    while let Some(piece) = response.chunk().await.map_err(|err| api.unreachable(&err))? {
        for event in reader.feed(&piece).map_err(|err| garbled(&err.to_string()))? {
            match event.name.as_str() {
                "end" => return Ok(true),
                "text" | "error" => {}
                // Of a newer server.
                _ => continue,
            }
            let text: String =
                serde_json::from_slice(&event.data).map_err(|err| garbled(&format!("no text: {err}")))?;
            if event.name == "error" {
                let text = crate::text::short(&text, 500);
                return Err(Failure::Server { doing: follow.ask.doing.clone(), text });
            }
            let end = event.id.as_deref().and_then(|id| id.parse::<u64>().ok());
            let end = end.ok_or_else(|| garbled("a text without its place"))?;
            let exact = match sink.filter {
                None if text.contains(char::REPLACEMENT_CHARACTER) => {
                    follow.bytes(api, last.unwrap_or(0), end).await?
                }
                _ => None,
            };
            sink.write(exact.as_deref().unwrap_or(text.as_bytes()))?;
            *last = Some(end);
            gone.is_back();
        }
    }
    Ok(false)
}

/// What is followed.
struct Follow {
    id: u64,
    stream: Stream,
    ask: Ask,
}

impl Follow {
    /// The very bytes from `begin` up to `end`, for events carry text only. `None` when the server does not cut files.
    async fn bytes(&self, api: &Api, begin: u64, end: u64) -> Result<Option<Vec<u8>>, Failure> {
        let range = format!("bytes={begin}-{}", end.saturating_sub(1));
        let response = api.send(&ask(api, self.id, self.stream).header("range", range)).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(None);
        }
        Ok(Some(response.bytes().await.map_err(|err| api.unreachable(&err))?.into()))
    }
}

fn is_events(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}
