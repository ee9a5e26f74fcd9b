//! What the keeper of local jobs and its clients say to each other: frames of JSON, each after
//! its length as four little-endian bytes. Types and framing only; no socket is opened here.
//!
//! Every [`Request`] gets exactly one [`Frame::Reply`] with the same id and, for requests about
//! jobs, one result for each key. Events come in frames of their own, to subscribers only.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::latch::Verdict;
use crate::launch::{ExitRecord, Key, Launch, Template};

/// Name of the socket in the keeper's directory.
pub const SOCKET: &str = "keeper.sock";
/// Name of the lock file in the keeper's directory.
pub const LOCK: &str = "keeper.lock";
/// Name of the journal in the keeper's directory.
pub const JOURNAL: &str = "journal";
/// Version of this protocol, in [`Pong`].
pub const VERSION: u32 = 2;
/// Longest accepted frame, bytes.
pub const MAX_FRAME: usize = 64 << 20;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client; comes back in the reply.
    pub id: u64,
    /// What is asked.
    pub op: Op,
}

/// The operations of the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Run jobs, now or when there is room. Repeating a start is harmless.
    Start {
        /// Shared descriptions, referred to by index.
        templates: Vec<Template>,
        /// The jobs.
        launches: Vec<Launch>,
    },
    /// Look at these jobs.
    Observe {
        /// Which.
        keys: Vec<Key>,
    },
    /// Look at every job that is queued, runs, or has a result not yet forgotten.
    ObserveAll,
    /// Send a signal to every process of these jobs.
    Signal {
        /// Which.
        keys: Vec<Key>,
        /// Signal number, 1 to 64.
        signal: i32,
    },
    /// TERM to every process of these jobs, KILL after the grace; queued ones are taken out.
    Kill {
        /// Which.
        keys: Vec<Key>,
        /// Time between TERM and KILL; 0 kills at once.
        grace_seconds: u64,
    },
    /// Stop every process of these jobs where it is.
    Pause {
        /// Which.
        keys: Vec<Key>,
    },
    /// Let paused jobs go on.
    Resume {
        /// Which.
        keys: Vec<Key>,
    },
    /// The results of these jobs are stored elsewhere: drop them.
    Forget {
        /// Which.
        keys: Vec<Key>,
    },
    /// Change the time limit of these jobs, counted from their start.
    Limit {
        /// Which.
        keys: Vec<Key>,
        /// The new limit; `None` is none.
        seconds: Option<u64>,
    },
    /// Take the latch of these attempts so that a late start can never run.
    Abandon {
        /// Which.
        keys: Vec<Key>,
    },
    /// Send events on this connection from now on.
    Subscribe,
    /// What may be used by all jobs together.
    Capacity {
        /// Cores.
        cores: u32,
        /// Memory, bytes.
        memory: u64,
    },
    /// Who is there.
    Ping,
}

/// What the keeper sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// The answer to one request.
    Reply {
        /// The request's id.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// What happened since the last such frame, in order.
    Events(Vec<Event>),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Op::Start`]: one result for each launch, in order.
    Started(Vec<(Key, StartResult)>),
    /// To [`Op::Observe`] and [`Op::ObserveAll`].
    Seen(Vec<(Key, Seen)>),
    /// To operations on keys: one result for each key, in order.
    Done(Vec<(Key, Outcome)>),
    /// To [`Op::Subscribe`] and [`Op::Capacity`].
    Ok,
    /// To [`Op::Ping`].
    Pong(Pong),
    /// The request as a whole could not be carried out; nothing was done.
    Bad {
        /// Why.
        reason: String,
    },
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartResult {
    /// It runs since now.
    Started {
        /// Process id of the script.
        pid: i32,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// It waits in the keeper until there is room.
    Queued,
    /// The keeper knew it already; this is its state. Also the answer when the launch itself
    /// failed: then `Exited` with the failure.
    Known(Seen),
    /// The latch of this attempt, or of a later one, is taken: it can never run (again).
    Taken {
        /// What took it.
        verdict: Verdict,
        /// By which attempt.
        attempt: u32,
    },
    /// The description is not acceptable; nothing was run and the latch is untouched.
    Refused {
        /// Why, for the user.
        reason: String,
    },
    /// Nothing was run and the latch is untouched; the same start may be accepted later.
    NotNow {
        /// Why.
        reason: String,
    },
}

/// What the keeper knows of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// It waits for room.
    Queued,
    /// It runs.
    Running {
        /// Process id of the script.
        pid: i32,
        /// Start, milliseconds since 1970.
        started_ms: u64,
        /// An earlier keeper started it: its exit code will not be known.
        adopted: bool,
        /// It is stopped by [`Op::Pause`].
        paused: bool,
    },
    /// It ended.
    Exited(ExitRecord),
    /// It was killed while it waited; it never ran and never will.
    NeverRan,
    /// Nothing is known but the latch: either the keeper never had it, or it was forgotten, or it
    /// was queued in a keeper that died.
    Absent {
        /// Who took the latch of this attempt or of a later one, if anyone.
        latch: Option<Verdict>,
    },
}

/// What became of an operation on one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, or set in motion.
    Done,
    /// It was waiting and has been taken out, or had been: it never ran and never will.
    NeverRan,
    /// It ended before.
    AlreadyEnded,
    /// For [`Op::Abandon`]: too late, it started.
    AlreadyRan,
    /// The keeper does not know it.
    Absent,
    /// Could not be done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A job started.
    Started {
        /// Which.
        key: Key,
        /// Process id of the script.
        pid: i32,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// A job ended.
    Exited {
        /// Which.
        key: Key,
        /// How.
        record: ExitRecord,
    },
    /// A queued job was taken out.
    NeverRan {
        /// Which.
        key: Key,
    },
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// [`VERSION`] of the keeper.
    pub version: u32,
    /// Process id of the keeper.
    pub pid: i32,
    /// Cores all jobs together may use.
    pub cores: u32,
    /// Memory all jobs together may use, bytes.
    pub memory: u64,
    /// Jobs that run.
    pub n_running: u64,
    /// Jobs that wait.
    pub n_queued: u64,
    /// Jobs are held in control groups: memory and cores are enforced.
    pub cgroups: bool,
}

/// Appends one frame to a buffer.
///
/// # Errors
/// When the message is longer than [`MAX_FRAME`]; the buffer is then unchanged.
pub fn encode<T: Serialize>(message: &T, buffer: &mut Vec<u8>) -> io::Result<()> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    let written = serde_json::to_writer(&mut *buffer, message);
    let length = buffer.len() - start - 4;
    if written.is_err() || length > MAX_FRAME {
        buffer.truncate(start);
        written.map_err(io::Error::other)?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a message of {length} bytes exceeds a frame"),
        ));
    }
    let length = u32::try_from(length).expect("MAX_FRAME fits in 32 bits");
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Writes one frame.
///
/// # Errors
/// Those of the writer, and an oversized message.
pub fn write_frame<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    let mut buffer = Vec::new();
    encode(message, &mut buffer)?;
    writer.write_all(&buffer)
}

/// Reads one frame, waiting for it. `None` when the other side closed between frames.
///
/// # Errors
/// Those of the reader; `InvalidData` for a length above [`MAX_FRAME`] or a message that cannot be
/// read.
pub fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut have = 0;
    while have < 4 {
        match reader.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    let mut body = vec![0; checked_length(length)?];
    reader.read_exact(&mut body)?;
    parse(&body).map(Some)
}

/// The length a frame's first four bytes announce.
///
/// # Errors
/// `InvalidData` above [`MAX_FRAME`].
pub fn checked_length(bytes: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(bytes) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes was announced; {MAX_FRAME} is the limit"),
        ));
    }
    Ok(length)
}

/// Reads a message from the body of a frame.
///
/// # Errors
/// `InvalidData` when it cannot be read.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    serde_json::from_slice(body).map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))
}

/// Collects bytes as they arrive and cuts them into frames.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    used: usize,
}

impl FrameBuffer {
    /// Adds bytes read from the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used == self.bytes.len() {
            self.bytes.clear();
            self.used = 0;
        } else if self.used > 1 << 16 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes have arrived.
    ///
    /// # Errors
    /// As [`read_frame`]; the connection is then of no more use.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let rest = &self.bytes[self.used..];
        let Some((head, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = checked_length(*head)?;
        let Some(body) = body.get(..length) else { return Ok(None) };
        let message = parse(body)?;
        self.used += 4 + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u64) -> Request {
        Request { id, op: Op::Kill { keys: vec![Key { task: 7, attempt: 1 }], grace_seconds: 3 } }
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut wire = Vec::new();
        for id in 0..3 {
            encode(&request(id), &mut wire).unwrap();
        }
        for step in [1, 2, 3, 5, 7, wire.len()] {
            let mut buffer = FrameBuffer::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(step) {
                buffer.push(piece);
                while let Some(message) = buffer.next_message::<Request>().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, [request(0), request(1), request(2)], "pieces of {step}");
        }
    }

    #[test]
    fn reading_waits_for_whole_frames() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &request(9)).unwrap();
        let mut reader = &wire[..];
        assert_eq!(read_frame::<Request>(&mut reader).unwrap(), Some(request(9)));
        assert_eq!(read_frame::<Request>(&mut reader).unwrap(), None);
        let mut cut = &wire[..wire.len() - 1];
        assert_eq!(read_frame::<Request>(&mut cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn absurd_lengths_and_texts_are_refused() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&u32::MAX.to_le_bytes());
        assert_eq!(buffer.next_message::<Request>().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut buffer = FrameBuffer::default();
        buffer.push(b"\x02\0\0\0{]");
        assert_eq!(buffer.next_message::<Request>().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
