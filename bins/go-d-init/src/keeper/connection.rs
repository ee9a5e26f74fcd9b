//! One client of the keeper: bytes in, requests out, and back.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use god_runtime::keeper::{Frame, FrameBuffer, Reply, Request, encode};

use super::poll::Poll;
use crate::sys;

/// Bytes read from one client in one turn of the loop.
const READ_LIMIT: usize = 4 << 20;
/// Bytes that may wait for a client that does not read.
const WRITE_LIMIT: usize = 256 << 20;

/// A connected client.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    incoming: FrameBuffer,
    outgoing: Vec<u8>,
    written: usize,
    waits_to_write: bool,
    /// It wants to hear what happens.
    pub subscribes: bool,
}

impl Connection {
    /// Accepts a client that is this user or root.
    ///
    /// # Errors
    /// `PermissionDenied` for anybody else.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let peer = peer_uid(&stream)?;
        if peer != 0 && peer != sys::effective_uid() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {peer} may not ask")));
        }
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            incoming: FrameBuffer::default(),
            outgoing: Vec::new(),
            written: 0,
            waits_to_write: false,
            subscribes: false,
        })
    }

    /// For polling.
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Reads what has arrived. False when the client is gone or speaks nonsense.
    pub fn read(&mut self) -> (Vec<Request>, bool) {
        let mut requests = Vec::new();
        let mut buffer = [0; 1 << 16];
        let mut total = 0;
        let mut alive = true;
        while total < READ_LIMIT {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    alive = false;
                    break;
                }
                Ok(n) => {
                    total += n;
                    self.incoming.push(&buffer[..n]);
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    alive = false;
                    break;
                }
            }
        }
        loop {
            match self.incoming.next_message() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => return (requests, alive),
                Err(err) => {
                    eprintln!("dropped a client that sent what cannot be read: {err}");
                    return (requests, false);
                }
            }
        }
    }

    /// Puts a frame after those that wait to be sent.
    pub fn send(&mut self, frame: &Frame) {
        if let Err(err) = encode(frame, &mut self.outgoing) {
            let Frame::Reply { id, .. } = frame else { return };
            let bad = Frame::Reply { id: *id, reply: Reply::Bad { reason: err.to_string() } };
            encode(&bad, &mut self.outgoing).expect("a short text fits in a frame");
        }
    }

    /// Puts a ready frame after those that wait to be sent.
    pub fn send_bytes(&mut self, frame: &[u8]) {
        self.outgoing.extend_from_slice(frame);
    }

    /// Sends what can be sent now, and asks to be woken for the rest.
    ///
    /// # Errors
    /// When the client is gone or has not read for too long.
    pub fn flush(&mut self, poll: &Poll, token: u64) -> io::Result<()> {
        while self.written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.written..]) {
                Ok(n) => self.written += n,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) => return Err(err),
            }
        }
        if self.written == self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
        } else if self.outgoing.len() - self.written > WRITE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"));
        }
        let waits = !self.outgoing.is_empty();
        if waits != self.waits_to_write {
            poll.set_writable(self.fd(), token, waits)?;
            self.waits_to_write = waits;
        }
        Ok(())
    }
}

fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    // SAFETY: ucred is plain data, and its size is passed with it.
    unsafe {
        let mut peer: libc::ucred = std::mem::zeroed();
        let mut size = size_of::<libc::ucred>() as libc::socklen_t;
        sys::check(libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut size,
        ))?;
        Ok(peer.uid)
    }
}
