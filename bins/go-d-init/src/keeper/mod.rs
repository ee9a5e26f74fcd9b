//! The keeper of the local jobs of one host: a small process with one thread that starts jobs,
//! watches them and keeps their results until somebody has stored them. It outlives every daemon;
//! one that dies itself is succeeded by another that reads its journal.

mod connection;
mod jobs;
mod journal;
mod marks;
mod poll;
mod prepared;
mod setup;
mod slots;
mod tellings;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use god_runtime::keeper::{Event, Frame, Op, Outcome, Pong, Reply, Request, VERSION, encode};
use god_runtime::launch::{Key, Needs};

use crate::sys;
use connection::Connection;
use jobs::Jobs;
use poll::Poll;
use tellings::Tellings;

pub use setup::{Options, start};

/// Tokens of what is polled; higher ones are connections and adopted jobs.
const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const TIMER: u64 = 2;

/// Variable that sets the idle time in milliseconds, over the option.
const IDLE_VARIABLE: &str = "GOD_KEEPER_IDLE_MS";

/// The loop and what it holds.
struct Keeper {
    jobs: Jobs,
    poll: Poll,
    listener: UnixListener,
    signals: OwnedFd,
    timer: sys::Timer,
    connections: HashMap<u64, Connection>,
    adopted: HashMap<u64, Key>,
    next_token: u64,
    idle: Duration,
    /// Since when there is nothing to do, as [`sys::boot_ms`] counts.
    idle_since: Option<u64>,
    socket: PathBuf,
    is_closing: bool,
    /// What happened and was not yet told.
    untold: Vec<Event>,
    tellings: Tellings,
    /// Held as long as we live: only one keeper for each directory.
    _lock: std::fs::File,
}

impl Keeper {
    /// Works until there is nothing to do any more.
    fn run(mut self) {
        let mut ready = Vec::new();
        let mut more = false;
        loop {
            self.watch_adopted();
            self.set_timer();
            if let Err(err) = self.poll.wait(&mut ready, more) {
                eprintln!("cannot wait for events: {err}");
                std::thread::sleep(Duration::from_millis(100));
            }
            for token in ready.drain(..) {
                self.handle(token);
            }
            self.jobs.on_time();
            more = self.jobs.start_waiting();
            self.jobs.sweep();
            self.end_turn();
            if self.is_over() {
                break;
            }
        }
        // While the lock is held nobody else can have bound it.
        if let Err(err) = std::fs::remove_file(&self.socket) {
            eprintln!("cannot remove the socket: {err}");
        }
        self.jobs.remove_slots();
    }

    fn handle(&mut self, token: u64) {
        match token {
            LISTENER => self.accept(),
            SIGNALS => self.read_signals(),
            TIMER => self.timer.acknowledge(),
            _ => {
                if let Some(key) = self.adopted.remove(&token) {
                    // The descriptor goes with the job; it must not be polled any more before.
                    self.jobs.adopted_ended(key);
                } else {
                    self.serve(token);
                }
            }
        }
    }

    fn read_signals(&mut self) {
        let mut children = false;
        while let Some(signal) = sys::next_signal(&self.signals) {
            match signal {
                libc::SIGCHLD => children = true,
                _ => {
                    eprintln!("told to end by signal {signal}");
                    self.is_closing = true;
                    self.jobs.close();
                }
            }
        }
        if children {
            self.jobs.reap();
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => {
                    eprintln!("cannot accept a connection: {err}");
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        let token = self.next_token;
        self.next_token += 1;
        let added = Connection::new(stream).and_then(|connection| {
            self.poll.add(connection.fd(), token)?;
            Ok(connection)
        });
        match added {
            Ok(connection) => drop(self.connections.insert(token, connection)),
            Err(err) => eprintln!("refused a connection: {err}"),
        }
    }

    fn serve(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let (requests, alive) = connection.read();
        for request in requests {
            self.answer(token, request);
        }
        if !alive {
            self.connections.remove(&token);
        }
    }

    fn answer(&mut self, token: u64, Request { id, op }: Request) {
        let reply = match op {
            Op::Subscribe => {
                if let Some(connection) = self.connections.get_mut(&token) {
                    connection.subscribes = true;
                }
                Reply::Ok
            }
            op => self.carry_out(op),
        };
        if let Some(connection) = self.connections.get_mut(&token) {
            connection.send(&Frame::Reply { id, reply });
        }
    }

    fn carry_out(&mut self, op: Op) -> Reply {
        let jobs = &mut self.jobs;
        match op {
            Op::Start { templates, launches } => Reply::Started(jobs.start(templates, launches)),
            Op::Observe { keys } => {
                Reply::Seen(keys.into_iter().map(|key| (key, jobs.observe(key))).collect())
            }
            Op::ObserveAll => Reply::Seen(jobs.observe_all()),
            Op::Signal { signal, .. } if !(1..=64).contains(&signal) => {
                Reply::Bad { reason: format!("there is no signal {signal}; 1 to 64 are accepted") }
            }
            Op::Signal { keys, signal } => each(jobs, keys, move |jobs, key| jobs.signal(key, signal)),
            Op::Kill { keys, grace_seconds } => {
                each(jobs, keys, move |jobs, key| jobs.kill(key, grace_seconds))
            }
            Op::Pause { keys } => each(jobs, keys, |jobs, key| jobs.pause(key, true)),
            Op::Resume { keys } => each(jobs, keys, |jobs, key| jobs.pause(key, false)),
            Op::Limit { keys, seconds } => each(jobs, keys, move |jobs, key| jobs.limit(key, seconds)),
            Op::Abandon { keys } => each(jobs, keys, |jobs, key| jobs.abandon(key)),
            Op::Forget { keys } => Reply::Done(jobs.forget(&keys)),
            Op::Capacity { cores, memory } => {
                jobs.set_capacity(Needs { cores, memory });
                Reply::Ok
            }
            Op::Ping => Reply::Pong(self.pong()),
            Op::Subscribe => Reply::Ok,
        }
    }

    fn pong(&self) -> Pong {
        let Needs { cores, memory } = self.jobs.capacity();
        Pong {
            version: VERSION,
            pid: std::process::id() as i32,
            cores,
            memory,
            n_running: self.jobs.n_running() as u64,
            n_queued: self.jobs.n_queued() as u64,
            cgroups: self.jobs.has_slots(),
        }
    }

    /// Notes what happened, tells the subscribers, and sends what waits to be sent.
    fn end_turn(&mut self) {
        let events = self.jobs.end_turn();
        let new = events.len();
        self.untold.extend(events);
        if self.tellings.tell_now(new, !self.untold.is_empty(), sys::boot_ms()) {
            self.tell();
        }
        let poll = &self.poll;
        self.connections.retain(|token, connection| match connection.flush(poll, *token) {
            Ok(()) => true,
            Err(err) => {
                eprintln!("dropped a connection: {err}");
                false
            }
        });
    }

    /// Tells the subscribers what happened.
    fn tell(&mut self) {
        let events = std::mem::take(&mut self.untold);
        if self.connections.values().any(|connection| connection.subscribes) {
            let mut frame = Vec::new();
            match encode(&Frame::Events(events), &mut frame) {
                Ok(()) => {
                    let subscribers =
                        self.connections.values_mut().filter(|connection| connection.subscribes);
                    subscribers.for_each(|connection| connection.send_bytes(&frame));
                }
                Err(err) => eprintln!("cannot tell what happened: {err}"),
            }
        }
    }

    fn watch_adopted(&mut self) {
        for (key, fd) in self.jobs.take_to_watch() {
            let token = self.next_token;
            self.next_token += 1;
            match self.poll.add_once(fd, token) {
                Ok(()) => drop(self.adopted.insert(token, key)),
                Err(err) => eprintln!("cannot watch job {key}: {err}"),
            }
        }
    }

    fn set_timer(&mut self) {
        let idle_at = self.idle_since.map(|since| since.saturating_add(self.idle.as_millis() as u64));
        let next = [self.jobs.next_alarm(), self.tellings.due(), idle_at].into_iter().flatten().min();
        if let Err(err) = self.timer.set(next) {
            eprintln!("cannot set the timer: {err}");
        }
    }

    fn is_over(&mut self) -> bool {
        if self.is_closing && self.jobs.n_running() == 0 {
            return true;
        }
        if !self.jobs.is_empty() || !self.connections.is_empty() {
            self.idle_since = None;
            return false;
        }
        let now = sys::boot_ms();
        let since = *self.idle_since.get_or_insert(now);
        now.saturating_sub(since) >= self.idle.as_millis() as u64
    }
}

/// Does the same to each of some jobs.
fn each(jobs: &mut Jobs, keys: Vec<Key>, mut work: impl FnMut(&mut Jobs, Key) -> Outcome) -> Reply {
    Reply::Done(keys.into_iter().map(|key| (key, work(jobs, key))).collect())
}

/// Everything the loop polls from the start.
fn assemble(
    jobs: Jobs,
    listener: UnixListener,
    lock: std::fs::File,
    options: &Options,
) -> std::io::Result<Keeper> {
    let poll = Poll::new()?;
    let signals = sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM])?;
    let timer = sys::Timer::new()?;
    listener.set_nonblocking(true)?;
    poll.add(listener.as_raw_fd(), LISTENER)?;
    poll.add(signals.as_raw_fd(), SIGNALS)?;
    poll.add(timer.fd(), TIMER)?;
    let idle =
        std::env::var(IDLE_VARIABLE).ok().and_then(|text| text.parse().ok()).map(Duration::from_millis);
    Ok(Keeper {
        jobs,
        poll,
        listener,
        signals,
        timer,
        connections: HashMap::new(),
        adopted: HashMap::new(),
        next_token: TIMER + 1,
        idle: idle.unwrap_or(options.idle),
        idle_since: None,
        socket: options.dir.join(god_runtime::keeper::SOCKET),
        is_closing: false,
        untold: Vec::new(),
        tellings: Tellings::default(),
        _lock: lock,
    })
}
