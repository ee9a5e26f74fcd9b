//! Recognising the processes of a job without control groups, whatever they did to hide: changed
//! their session, their parent, their environment.
//!
//! The child gets a random number as its limit of file locks, a limit the kernel has not used
//! since 2.4. Every descendant inherits it; a process can lower it but not raise it, so nobody
//! can pose as a member of a job whose number is unknown to it.

use std::os::fd::OwnedFd;

use libc::c_int;

use crate::sys;

const RESOURCE: c_int = libc::RLIMIT_LOCKS as c_int;

/// Makes marks.
#[derive(Debug)]
pub struct Marks {
    below: u64,
}

impl Marks {
    /// Marks stay below the limit this process has itself.
    pub fn new() -> Self {
        let own = sys::hard_limit_of(0, RESOURCE).unwrap_or(u64::MAX);
        Self { below: own.clamp(1, 1 << 62) }
    }

    /// A number nobody can guess.
    pub fn next(&self) -> u64 {
        let mut bytes = [0_u8; 8];
        // SAFETY: the buffer is as long as said. Eight bytes are never cut short once the
        // system has started.
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        u64::from_ne_bytes(bytes) % self.below
    }
}

/// The limit that carries a mark into a child.
pub fn as_limit(mark: u64) -> (c_int, libc::rlimit64) {
    (RESOURCE, libc::rlimit64 { rlim_cur: mark, rlim_max: mark })
}

/// The mark of a process, `None` when it is gone.
pub fn of(pid: i32) -> Option<u64> {
    // The quick way takes a capability that root in a container often lacks; the other way is
    // open to all.
    sys::hard_limit_of(pid, RESOURCE)
        .or_else(|| parse_limits(&std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?))
}

/// The hard limit of file locks in `/proc/PID/limits`.
fn parse_limits(text: &str) -> Option<u64> {
    let values = text.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    match values.split_ascii_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Every process of this machine with its mark, as far as we may see them.
pub fn everybody() -> Vec<(i32, u64)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, of(pid)?)))
        .collect()
}

/// Sends a signal to all processes with a mark. Returns how many there were.
pub fn signal(mark: u64, signal: c_int) -> usize {
    let members = everybody().into_iter().filter(|(_, found)| *found == mark);
    members.filter(|(pid, _)| signal_one(*pid, mark, signal)).count()
}

/// Sends a signal to a process if, held fast, it still carries the mark.
pub fn signal_one(pid: i32, mark: u64, signal: c_int) -> bool {
    let Ok(held) = sys::pidfd_open(pid) else { return false };
    of(pid) == Some(mark) && sys::pidfd_signal(&held, signal)
}

/// Holds a process that was started between two ticks of the machine's clock, if it still lives.
pub fn hold(pid: i32, ticks: (u64, u64)) -> Option<OwnedFd> {
    let held = sys::pidfd_open(pid).ok()?;
    let start = start_ticks(pid)?;
    (ticks.0..=ticks.1).contains(&start).then_some(held)
}

/// When a process was started, in ticks since the machine started; `None` when it is gone or is
/// only waiting to be collected.
pub fn start_ticks(pid: i32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads state (field 3) and start (field 22); the name before them may hold anything.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Now, in the ticks of [`start_ticks`].
pub fn ticks_now() -> u64 {
    // SAFETY: plain integers.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    (sys::boot_time().as_nanos() * u128::from(per_second) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_confuse_the_reader() {
        let tail = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(parse_stat(&format!("42 (sleep) S {tail}")), Some(777));
        assert_eq!(parse_stat(&format!("42 (a) Z 9 (b) ) R {tail}")), Some(777));
        assert_eq!(parse_stat(&format!("42 (sleep) Z {tail}")), None);
        assert_eq!(parse_stat("42 (sleep"), None);
    }

    #[test]
    fn both_ways_to_the_mark_agree() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(parse_limits(&text), sys::hard_limit_of(0, RESOURCE));
        let line = "Max file locks            12                   77                   locks     \n";
        assert_eq!(parse_limits(line), Some(77));
        assert_eq!(parse_limits("Max open files 1 2"), None);
    }

    #[test]
    fn a_child_is_recognised_by_its_time() {
        let before = ticks_now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let after = ticks_now();
        let pid = child.id() as i32;
        assert!(hold(pid, (before, after)).is_some());
        assert!(hold(pid, (0, before.saturating_sub(1))).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(hold(pid, (before, after)).is_none());
    }
}
