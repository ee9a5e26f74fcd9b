//! One connection to the keeper, made when it is needed: requests from anywhere in this process go through one writer,
//! which sends many in one write; one reader hands out the replies and the events. When the keeper is gone it is
//! started again.

use crate::options::Options;
use god_runtime::keeper::{Event, Frame, Op, Reply, Request, SOCKET, VERSION, checked_length, encode, parse};
use std::collections::HashMap;
use std::io;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// How long the keeper may take for a reply: longer than a script may hold it that cannot be entered.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that wait for the writer at most.
const REQUESTS: usize = 1024;
/// Requests put into one write at most.
const TOGETHER: usize = 64;
/// Event frames that wait for one listener at most; more are dropped, since observation finds what was missed.
const FRAMES: usize = 4096;

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The keeper was not asked.
    #[error("the keeper of this host cannot be reached or started")]
    NotSent(#[source] ConnectError),
    /// It was asked, and may have done it.
    #[error("the keeper of this host gave no answer")]
    NoAnswer,
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ConnectError {
    /// It could not be started.
    #[error("go-d-init --serve {dir}: {reason}")]
    Start {
        /// Directory of the keeper.
        dir: String,
        /// What it said.
        reason: String,
    },
    /// It was started, and does not listen.
    #[error("its socket does not answer: {0}")]
    Socket(Arc<io::Error>),
    /// It is of another version.
    #[error(
        "it speaks version {0} of its protocol, this program {VERSION}: it leaves when its jobs are over and their \
         results stored; until then use the version that started it"
    )]
    Version(u32),
    /// It hung up before its first answer.
    #[error("it hung up")]
    HungUp,
}

type Listeners = Arc<Mutex<Vec<mpsc::Sender<Arc<Vec<Event>>>>>>;

/// Handle to the connection; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    options: Arc<Options>,
    /// The way to the writer of the living connection. Held while connecting, so that one does it for all.
    writer: Arc<tokio::sync::Mutex<Option<mpsc::Sender<Outgoing>>>>,
    listeners: Listeners,
}

#[derive(Debug)]
struct Outgoing {
    op: Op,
    reply: oneshot::Sender<Reply>,
}

/// Replies that are waited for.
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    pub(crate) fn new(options: Arc<Options>) -> Client {
        Client { options, writer: Arc::default(), listeners: Arc::default() }
    }

    /// Asks the keeper, after starting it if need be.
    pub(crate) async fn call(&self, op: Op) -> Result<Reply, CallError> {
        let (mut op, patience) = (op, tokio::time::Instant::now() + PATIENCE);
        // A second time when the connection turns out to have died before the request was on its way.
        for last in [false, true] {
            let writer = self.writer().await.map_err(CallError::NotSent)?;
            let (reply, answer) = oneshot::channel();
            match writer.send(Outgoing { op, reply }).await {
                Ok(()) => {
                    return match tokio::time::timeout_at(patience, answer).await {
                        Ok(Ok(reply)) => Ok(reply),
                        Ok(Err(_)) | Err(_) => Err(CallError::NoAnswer),
                    };
                }
                Err(back) if last => {
                    drop(back);
                    break;
                }
                Err(mpsc::error::SendError(back)) => op = back.op,
            }
        }
        Err(CallError::NotSent(ConnectError::HungUp))
    }

    /// Hears what happens from now on.
    pub(crate) fn listen(&self) -> mpsc::Receiver<Arc<Vec<Event>>> {
        let (sender, receiver) = mpsc::channel(FRAMES);
        lock(&self.listeners).push(sender);
        receiver
    }

    /// Makes sure that there is a connection, and waits until it is lost.
    pub(crate) async fn stay_connected(&self) -> Result<(), ConnectError> {
        self.writer().await?.closed().await;
        Ok(())
    }

    /// The way to the living connection.
    async fn writer(&self) -> Result<mpsc::Sender<Outgoing>, ConnectError> {
        let mut writer = self.writer.lock().await;
        if let Some(living) = writer.as_ref().filter(|writer| !writer.is_closed()) {
            return Ok(living.clone());
        }
        let stream = self.connect().await?;
        let (requests, waiting) = mpsc::channel(REQUESTS);
        let (reader, half) = stream.into_split();
        let pending = Pending::default();
        let reading =
            tokio::spawn(read(BufReader::new(reader), Arc::clone(&pending), Arc::clone(&self.listeners)));
        tokio::spawn(async move {
            write(half, waiting, &pending, reading).await;
            // Whoever still waits learns that no answer will come.
            lock(&pending).clear();
        });
        self.greet(&requests).await?;
        *writer = Some(requests.clone());
        Ok(requests)
    }

    /// Connects to a keeper, and starts one if none listens.
    async fn connect(&self) -> Result<UnixStream, ConnectError> {
        let socket = self.options.keeper_dir.join(SOCKET);
        if let Ok(stream) = UnixStream::connect(&socket).await {
            return Ok(stream);
        }
        let options = Arc::clone(&self.options);
        let started = tokio::task::spawn_blocking(move || start(&options)).await;
        let failed = |reason: String| ConnectError::Start {
            dir: self.options.keeper_dir.display().to_string(),
            reason,
        };
        started.map_err(|err| failed(err.to_string()))?.map_err(failed)?;
        UnixStream::connect(&socket).await.map_err(|err| ConnectError::Socket(Arc::new(err)))
    }

    /// The first words on a new connection.
    async fn greet(&self, requests: &mpsc::Sender<Outgoing>) -> Result<(), ConnectError> {
        let ask = async |op| {
            let (reply, answer) = oneshot::channel();
            requests.send(Outgoing { op, reply }).await.map_err(|_| ConnectError::HungUp)?;
            match tokio::time::timeout(PATIENCE, answer).await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(_)) | Err(_) => Err(ConnectError::HungUp),
            }
        };
        let Reply::Pong(pong) = ask(Op::Ping).await? else { return Err(ConnectError::HungUp) };
        if pong.version != VERSION {
            return Err(ConnectError::Version(pong.version));
        }
        // It may have been started with another configuration.
        let cores = self.options.cores.unwrap_or(pong.cores);
        let memory = self.options.memory.map_or(pong.memory, |memory| memory.0);
        if (cores, memory) != (pong.cores, pong.memory) {
            ask(Op::Capacity { cores, memory }).await?;
        }
        ask(Op::Subscribe).await.map(drop)
    }
}

/// Starts a keeper and waits until one listens. A plain spawn: nothing of this process is copied, however large it is.
fn start(options: &Options) -> Result<(), String> {
    let mut command = Command::new(&options.init);
    command.arg("--serve").arg(&options.keeper_dir);
    command.args(["--cluster", &options.cluster, "--min-uid", &options.min_id.to_string()]);
    command.args(["--cgroups", options.cgroups.word()]);
    if let Some(cores) = options.cores {
        command.args(["--cores", &cores.to_string()]);
    }
    if let Some(memory) = options.memory {
        command.args(["--memory", &memory.0.to_string()]);
    }
    // Nothing that the daemon was told in its environment is for a process that jobs descend from.
    command.env_clear().stdin(Stdio::null());
    let done = command.output().map_err(|err| format!("cannot be run: {err}"))?;
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    Err(words.trim().trim_start_matches("go-d-init: ").chars().take(500).collect())
}

/// Sends requests until the connection is lost or nobody can make any more.
async fn write(
    mut half: OwnedWriteHalf,
    mut waiting: mpsc::Receiver<Outgoing>,
    pending: &Pending,
    mut reading: tokio::task::JoinHandle<()>,
) {
    let mut next_id = 0;
    let mut batch = Vec::with_capacity(TOGETHER);
    let mut bytes = Vec::new();
    loop {
        tokio::select! {
            // The other side is gone.
            _ = &mut reading => return,
            n = waiting.recv_many(&mut batch, TOGETHER) => if n == 0 {
                reading.abort();
                return;
            },
        }
        bytes.clear();
        for Outgoing { op, reply } in batch.drain(..) {
            next_id += 1;
            match encode(&Request { id: next_id, op }, &mut bytes) {
                Ok(()) => drop(lock(pending).insert(next_id, reply)),
                // Told at once: nothing of it was sent.
                Err(err) => drop(reply.send(Reply::Bad { reason: err.to_string() })),
            }
        }
        if let Err(err) = half.write_all(&bytes).await {
            tracing::debug!(err = %err, "the keeper hung up");
            reading.abort();
            return;
        }
    }
}

/// Hands out what the keeper sends until it hangs up.
async fn read(mut half: BufReader<OwnedReadHalf>, pending: Pending, listeners: Listeners) {
    loop {
        match read_frame(&mut half).await {
            Ok(Frame::Reply { id, reply }) => {
                if let Some(waits) = lock(&pending).remove(&id) {
                    // Whoever asked may have given up.
                    drop(waits.send(reply));
                }
            }
            Ok(Frame::Events(events)) => {
                let events = Arc::new(events);
                lock(&listeners).retain(|listener| {
                    !matches!(
                        listener.try_send(Arc::clone(&events)),
                        Err(mpsc::error::TrySendError::Closed(_))
                    )
                });
            }
            Err(err) => {
                tracing::debug!(err = %err, "the keeper hung up");
                return;
            }
        }
    }
}

async fn read_frame(half: &mut BufReader<OwnedReadHalf>) -> io::Result<Frame> {
    let mut head = [0; 4];
    half.read_exact(&mut head).await?;
    let mut body = vec![0; checked_length(head)?];
    half.read_exact(&mut body).await?;
    parse(&body)
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
