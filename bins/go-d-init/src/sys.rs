//! The few system calls this program needs, each with its errors as `io::Error`. No policy here.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::c_int;

/// Turns the usual -1 into the error it stands for.
pub fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: the call just returned this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes this process the parent of every orphan among its descendants.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Sets every signal to its default action and blocks them all: from now on they are read from a
/// descriptor. Children must empty the mask again; they then find nothing ignored.
pub fn take_signals() -> io::Result<()> {
    // The kernel's structure, whose first word is the handler; zeroes mean "default".
    let default = [0_u64; 8];
    for signal in 1..=64 {
        // SAFETY: no handler is installed, and the structure is not longer than what is passed.
        // The C library would not touch its two own signals. Refusals (KILL, STOP) do not matter.
        unsafe {
            let old = std::ptr::null_mut::<libc::c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, 8_usize);
        }
    }
    // SAFETY: the set is initialised by sigfillset before use.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        check(libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut()))?;
    }
    Ok(())
}

/// A descriptor from which the given (blocked) signals are read.
pub fn signal_fd(signals: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        owned(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))
    }
}

/// The next signal waiting, if any.
pub fn next_signal(fd: &OwnedFd) -> Option<c_int> {
    // SAFETY: signalfd_siginfo is plain data, and the kernel writes at most its size.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let n = libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size);
        (n == size as isize).then_some(info.ssi_signo as c_int)
    }
}

/// A timer on the clock that goes on while the machine sleeps.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
    armed: Option<u64>,
}

impl Timer {
    /// A timer that is not set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain integers.
        let fd = owned(unsafe {
            libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
        })?;
        Ok(Self { fd, armed: None })
    }

    /// Sets it to a point in time as [`boot_ms`] counts, or off.
    pub fn set(&mut self, at: Option<u64>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        let mut spec = timer_spec(Duration::ZERO);
        if let Some(at) = at {
            // Zero would mean "off".
            spec = timer_spec(Duration::from_millis(at.max(1)));
        }
        // SAFETY: spec lives through the call; a null pointer for the old value is allowed.
        check(unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &spec, std::ptr::null_mut())
        })?;
        self.armed = at;
        Ok(())
    }

    /// Reads that it has run out.
    pub fn acknowledge(&mut self) {
        let mut count = [0_u8; 8];
        // SAFETY: the buffer has the eight bytes the kernel writes. When there is nothing to read
        // the call says so, which is no fault.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        self.armed = None;
    }

    /// For polling.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn timer_spec(value: Duration) -> libc::itimerspec {
    // SAFETY: itimerspec is plain data.
    let mut spec: libc::itimerspec = unsafe { std::mem::zeroed() };
    spec.it_value.tv_sec = value.as_secs().min(i64::MAX as u64 / 2) as libc::time_t;
    spec.it_value.tv_nsec = value.subsec_nanos() as libc::c_long;
    spec
}

fn clock(which: libc::clockid_t) -> Duration {
    // SAFETY: timespec is plain data; both clocks exist on every supported kernel.
    unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(which, &mut now);
        Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec as u32)
    }
}

/// Milliseconds since 1970, for display.
pub fn wall_ms() -> u64 {
    clock(libc::CLOCK_REALTIME).as_millis() as u64
}

/// Milliseconds since the machine started, sleep included.
pub fn boot_ms() -> u64 {
    boot_time().as_millis() as u64
}

/// Time since the machine started, sleep included.
pub fn boot_time() -> Duration {
    clock(libc::CLOCK_BOOTTIME)
}

/// A child that ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its process id, free for others from now on.
    pub pid: i32,
    /// Exit code, or 128 + signal.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Processor time in user mode, microseconds, of it and the children it waited for.
    pub utime_us: u64,
    /// The same in the kernel.
    pub stime_us: u64,
    /// Largest resident size, KiB.
    pub maxrss_kib: u64,
}

/// Collects one ended child without waiting. `None` when none has ended.
pub fn reap(pid: i32) -> Option<Ended> {
    let mut status = 0;
    // SAFETY: rusage is plain data; both pointers live through the call.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &mut status, libc::WNOHANG, &mut usage), usage)
    };
    if pid <= 0 {
        return None;
    }
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    let code = signal.map_or_else(|| libc::WEXITSTATUS(status), |signal| 128 + signal);
    let micros = |time: libc::timeval| (time.tv_sec.max(0) as u64) * 1_000_000 + time.tv_usec.max(0) as u64;
    Some(Ended {
        pid,
        code,
        signal,
        utime_us: micros(usage.ru_utime),
        stime_us: micros(usage.ru_stime),
        maxrss_kib: usage.ru_maxrss.max(0) as u64,
    })
}

/// The process id of a child that has ended and still has to be collected.
pub fn ended_child() -> Option<i32> {
    // SAFETY: siginfo_t is plain data, zeroed so that "nothing ended" reads as pid 0.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &mut info, flags) == -1 {
            return None;
        }
        Some(info.si_pid()).filter(|pid| *pid > 0)
    }
}

/// Sends a signal to a process, or with a negative number to a process group. False when there is
/// nobody (left) to receive it.
pub fn kill(pid: i32, signal: c_int) -> bool {
    // SAFETY: plain integers.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// A descriptor for a process, readable once it has ended.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as c_int)
}

/// Sends a signal to exactly the process behind a descriptor.
pub fn pidfd_signal(fd: &OwnedFd, signal: c_int) -> bool {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means "as kill would send it".
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, no_info, 0) == 0 }
}

/// The hard value of a resource limit of some process.
pub fn hard_limit_of(pid: i32, resource: c_int) -> Option<u64> {
    // SAFETY: a null new limit only reads; the old one is plain data written by the kernel.
    unsafe {
        let mut old: libc::rlimit64 = std::mem::zeroed();
        let none = std::ptr::null::<libc::rlimit64>();
        (libc::syscall(libc::SYS_prlimit64, pid, resource, none, &mut old) == 0).then_some(old.rlim_max)
    }
}

/// Raises our own limit of open descriptors to what is allowed and returns the old one.
pub fn raise_open_files() -> Option<libc::rlimit> {
    // SAFETY: plain data, valid pointers.
    unsafe {
        let mut old: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut old) != 0 {
            return None;
        }
        let new = libc::rlimit { rlim_cur: old.rlim_max, rlim_max: old.rlim_max };
        (libc::setrlimit(libc::RLIMIT_NOFILE, &new) == 0).then_some(old)
    }
}

/// Closes every descriptor from 3 on but one: what a careless starter left open must not be held
/// for as long as we live, nor reach jobs.
pub fn close_inherited(but: RawFd) -> io::Result<()> {
    for (first, last) in [(3, but - 1), (but + 1, RawFd::MAX)] {
        if first <= last {
            // SAFETY: nothing of ours is open yet but the descriptor that is left out.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } as c_int)?;
        }
    }
    Ok(())
}

/// `/dev/null`, for reading and writing.
pub fn open_null() -> io::Result<File> {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")
}

/// Puts a copy of a descriptor at one of the numbers 0 to 2.
pub fn put_at(fd: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: plain integers; the old descriptor at that number is a standard one we own.
    check(unsafe { libc::dup2(fd, number) }).map(drop)
}

/// Makes sure that the standard descriptors exist, so that no file of ours ends up there.
pub fn fill_standard_descriptors() -> io::Result<()> {
    for number in 0..3 {
        // SAFETY: asks for flags of a descriptor only.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
            // The lowest free number is the missing one: lower ones exist by now.
            std::mem::forget(open_null()?);
            // SAFETY: as above; a standard descriptor must survive exec.
            check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) })?;
        }
    }
    Ok(())
}

/// The effective user id.
pub fn effective_uid() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() }
}

/// The effective group id.
pub fn effective_gid() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::getegid() }
}

/// The words for an error number that do not need memory.
pub fn errno_words(errno: c_int) -> &'static CStr {
    match errno {
        libc::EPERM => c"operation not permitted",
        libc::ENOENT => c"no such file or directory",
        libc::EIO => c"input/output error",
        libc::E2BIG => c"argument list too long",
        libc::ENOEXEC => c"not a program, and it names no interpreter",
        libc::ENOMEM => c"out of memory",
        libc::EACCES => c"permission denied",
        libc::ENOTDIR => c"not a directory",
        libc::EISDIR => c"is a directory",
        libc::EINVAL => c"invalid argument",
        libc::EMFILE | libc::ENFILE => c"too many open files",
        libc::ETXTBSY => c"the file is open for writing",
        libc::ENXIO => c"is not a regular file",
        libc::ENOSPC => c"no space left",
        libc::EDQUOT => c"disk quota exceeded",
        libc::EROFS => c"read-only file system",
        libc::ELOOP => c"a symbolic link is in the way",
        libc::EAGAIN => c"too many processes",
        _ => c"system error",
    }
}
