//! Finding and ending the processes below a process of ours.

use std::time::{Duration, Instant};

use crate::sys;

/// Direct children of a process, of all its threads. Empty when it is gone.
pub fn children_of(pid: i32) -> Vec<i32> {
    let mut children = Vec::new();
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return children };
    for thread in threads.flatten() {
        // A thread that ended in between has no children any more.
        if let Ok(text) = std::fs::read_to_string(thread.path().join("children")) {
            children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    children
}

/// All processes below a process, parents before their children.
pub fn below(pid: i32) -> Vec<i32> {
    let mut all = children_of(pid);
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        all.extend(children_of(pid));
        next += 1;
    }
    all
}

/// Sends KILL to the group of a process and to everything below us.
pub fn kill_all(group: i32) {
    if is_init() {
        sys::kill(-1, libc::SIGKILL);
        return;
    }
    sys::kill(-group, libc::SIGKILL);
    for pid in below(own_pid()) {
        sys::kill(pid, libc::SIGKILL);
    }
}

/// Ends everything below us and collects it, for at most this long. What dies slower is left to
/// the kernel, which ends a container's processes together with its first one.
pub fn end_all(limit: Duration) {
    let until = Instant::now() + limit;
    loop {
        while sys::reap(-1).is_some() {}
        let left = if is_init() {
            sys::kill(-1, libc::SIGKILL)
        } else {
            // Orphans become our children, so a second look finds what the first one missed.
            let left = below(own_pid());
            for pid in &left {
                sys::kill(*pid, libc::SIGKILL);
            }
            !left.is_empty()
        };
        if !left || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

fn is_init() -> bool {
    own_pid() == 1
}
