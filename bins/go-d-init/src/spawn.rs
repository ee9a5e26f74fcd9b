//! Starting one program quickly and safely.
//!
//! The child is made with CLONE_VM and CLONE_VFORK: it borrows our memory until it has executed
//! the program, so the cost does not grow with our size and errors come back through memory. In
//! return the child's code may only make plain system calls: it must not allocate, lock, panic or
//! return early. The C library's wrappers for changing ids are not used, since they act on all
//! threads of the process whose memory this is.
//!
//! The user can make the last step slow (an interpreter on a file system that never answers) and,
//! once the ids are changed, can stop the child. Both would hold us, so the child carries a timer
//! that kills it; executing the program removes the timer.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use libc::{c_char, c_int, c_long, c_void};

use crate::sys;

/// Longest time a child may take to reach its program.
pub const STALL_LIMIT: Duration = Duration::from_secs(5);
/// How often a script that is open for writing is tried.
const BUSY_TRIES: u32 = 10;
/// Time between two such tries.
const BUSY_PAUSE_NS: c_long = 2_000_000;
/// Names of the output files in the working directory.
const LOG: &CStr = c"god.log";
const ERR: &CStr = c"god.err";
const SHELL: &CStr = c"/bin/sh";

/// Who the child becomes.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All supplementary groups.
    pub groups: &'a [u32],
}

/// Where the child goes before it runs the program, with the rights of the user.
#[derive(Debug, Clone, Copy)]
pub enum Workdir<'a> {
    /// An open directory.
    Held(RawFd),
    /// A path.
    Path(&'a CStr),
}

/// Which descriptors the child begins with, before it opens its output.
#[derive(Debug, Clone, Copy)]
pub enum Descriptors {
    /// Copies of all of this process's that stay open in programs; this one is `/dev/null`.
    Copies {
        /// `/dev/null`, open.
        null: RawFd,
    },
    /// The standard ones alone, of which 0 is `/dev/null` in this process. The cost does not grow
    /// with the number of descriptors that this process holds.
    Standard,
}

impl Descriptors {
    /// The cheaper way, where the kernel (5.9 and later) and its filters allow it. For a process
    /// whose descriptor 0 is `/dev/null`, as `null` is.
    pub fn cheapest(null: RawFd) -> Self {
        // SAFETY: closes nothing: no descriptor has this number.
        let can = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) } == 0;
        if can { Self::Standard } else { Self::Copies { null } }
    }
}

/// Everything the child needs, prepared so that it only has to pass pointers on.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The program or script.
    pub script: &'a CStr,
    /// Argument vector, ending in null; the first is the script.
    pub argv: &'a [*const c_char],
    /// Argument vector for the shell: its name, then all of `argv`.
    pub shell_argv: &'a [*const c_char],
    /// Environment, ending in null.
    pub envp: &'a [*const c_char],
    /// `None` keeps the ids of this process.
    pub ids: Option<Ids<'a>>,
    /// Working directory.
    pub workdir: Workdir<'a>,
    /// Output goes to files in the working directory.
    pub files: bool,
    /// What is open in it.
    pub descriptors: Descriptors,
    /// Control group files the child writes itself into.
    pub joins: &'a [RawFd],
    /// Resource limits, set before the ids change.
    pub rlimits: &'a [(c_int, libc::rlimit64)],
    /// Mask for new files.
    pub umask: u32,
}

/// Where the child was when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Step {
    None = 0,
    Timer,
    Session,
    Limits,
    Cgroup,
    Ids,
    Privileges,
    Workdir,
    Output,
    Exec,
}

/// Written by the child, read by the parent after the child is gone or has become the program.
#[repr(C)]
struct Report {
    step: Step,
    errno: c_int,
    /// The script itself exists; what it names does not.
    interpreter_missing: bool,
}

/// Why the program was not entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnError {
    /// The exit code this counts as, as in shells: 127 for a script or interpreter that does not
    /// exist, 126 for one that cannot be executed. `None` when it was not tried.
    pub code: Option<i32>,
    /// In words.
    pub reason: String,
}

/// A stack for children, with an unmapped page below it.
#[derive(Debug)]
pub struct Stack {
    base: *mut c_void,
}

const STACK_BYTES: usize = 256 << 10;
const GUARD_BYTES: usize = 64 << 10;

impl Stack {
    /// Reserves the memory; only what is touched is used.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping touches nothing of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { base };
        // SAFETY: the range is the lowest part of the mapping just made.
        sys::check(unsafe { libc::mprotect(base, GUARD_BYTES, libc::PROT_NONE) })?;
        Ok(stack)
    }

    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping, aligned as the mapping's size is.
        unsafe { self.base.byte_add(STACK_BYTES) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no child uses it outside of `spawn`.
        unsafe { libc::munmap(self.base, STACK_BYTES) };
    }
}

struct Job<'a> {
    plan: &'a Plan<'a>,
    report: Report,
}

/// Starts the program. On return it runs (and its process id is known), or has never been entered
/// and its process is collected. All signals must be blocked in the caller.
pub fn spawn(plan: &Plan<'_>, stack: &mut Stack) -> Result<i32, SpawnError> {
    let report = Report { step: Step::None, errno: 0, interpreter_missing: false };
    let mut job = Job { plan, report };
    let before = Instant::now();
    // With the descriptors shared, the child makes a table of its own once it needs one.
    let table = if matches!(plan.descriptors, Descriptors::Standard) { libc::CLONE_FILES } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | table | libc::SIGCHLD;
    // SAFETY: CLONE_VFORK suspends us until the child has executed a program or ended, so the
    // stack and `job` are not touched by both at once and outlive the child's use of them. The
    // child's function keeps the rules of the module's comment.
    let pid = unsafe { libc::clone(child, stack.top(), flags, (&raw mut job).cast()) };
    if pid == -1 {
        let err = io::Error::last_os_error();
        return Err(SpawnError { code: None, reason: format!("cannot make a process: {err}") });
    }
    // SAFETY: `job` is alive; the child wrote through a pointer the compiler did not follow.
    let report = unsafe { ptr::read_volatile(&raw const job.report) };
    if report.step != Step::None {
        wait_for(pid);
        return Err(explain(plan, &report));
    }
    if before.elapsed() >= STALL_LIMIT {
        // It was killed by its timer, or entered its program in the last moment: the latter is
        // killed too, so that there is one truth.
        sys::kill(pid, libc::SIGKILL);
        wait_for(pid);
        return Err(SpawnError {
            code: Some(126),
            reason: format!(
                "the script was not entered within {} s: its file system or that of its interpreter does not answer",
                STALL_LIMIT.as_secs()
            ),
        });
    }
    Ok(pid)
}

fn wait_for(pid: i32) {
    // SAFETY: a null status is allowed. The process is ours, and has ended or is about to.
    while unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } == -1
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

fn explain(plan: &Plan<'_>, report: &Report) -> SpawnError {
    let script = plan.script.to_string_lossy();
    let words = sys::errno_words(report.errno).to_string_lossy();
    let what = match report.step {
        Step::None | Step::Timer | Step::Session => "cannot prepare the process".to_owned(),
        Step::Limits => "cannot set a resource limit".to_owned(),
        Step::Cgroup => "cannot enter the control group".to_owned(),
        Step::Ids => "cannot become the user".to_owned(),
        Step::Privileges => "cannot give up privileges".to_owned(),
        Step::Workdir => "cannot enter the working directory".to_owned(),
        Step::Output => "cannot open god.log and god.err".to_owned(),
        Step::Exec if report.interpreter_missing => {
            let reason = format!("cannot run {script}: the interpreter it names does not exist");
            return SpawnError { code: Some(127), reason };
        }
        Step::Exec => format!("cannot run {script}"),
    };
    let code = match (report.step, report.errno) {
        (Step::Exec, libc::ENOENT | libc::ENOTDIR) => Some(127),
        // Not the script's fault: another try may go well.
        (
            Step::Exec,
            libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EIO | libc::ETXTBSY,
        ) => None,
        (Step::Exec, _) => Some(126),
        _ => None,
    };
    SpawnError { code, reason: format!("{what}: {words} (error {})", report.errno) }
}

extern "C" fn child(job: *mut c_void) -> c_int {
    // SAFETY: `spawn` passed a Job that lives until we have executed or ended, and is suspended.
    let Job { plan, report } = unsafe { &mut *job.cast::<Job<'_>>() };
    let (step, code) = match prepare(plan) {
        Err(step) => (step, 126),
        Ok(()) => (Step::Exec, 127),
    };
    let errno = errno();
    if step == Step::Exec {
        let errno = execute(plan);
        report.errno = errno;
        report.interpreter_missing = errno == libc::ENOENT && exists(plan.script);
        if plan.files {
            complain(plan, errno, report.interpreter_missing);
        }
    } else {
        report.errno = errno;
    }
    report.step = step;
    // SAFETY: ends this process only; nothing of the parent's memory is cleaned up.
    unsafe { libc::_exit(code) }
}

fn errno() -> c_int {
    // SAFETY: the pointer is valid in every thread.
    unsafe { *libc::__errno_location() }
}

/// Everything up to the program. An error leaves its number in errno.
fn prepare(plan: &Plan<'_>) -> Result<(), Step> {
    let ok = |result: c_long, step: Step| if result < 0 { Err(step) } else { Ok(()) };
    // SAFETY: raw system calls on values and on pointers into memory that the suspended parent
    // keeps alive. Each pointer's type is the one the call expects.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer: c_int = 0;
        ok(libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut timer), Step::Timer)?;
        let mut spec: libc::itimerspec = std::mem::zeroed();
        spec.it_value.tv_sec = STALL_LIMIT.as_secs() as libc::time_t;
        ok(libc::syscall(libc::SYS_timer_settime, timer, 0, &spec, ptr::null_mut::<c_void>()), Step::Timer)?;
        ok(libc::syscall(libc::SYS_setsid), Step::Session)?;
        for (resource, limit) in plan.rlimits {
            let old = ptr::null_mut::<libc::rlimit64>();
            ok(libc::syscall(libc::SYS_prlimit64, 0, *resource, limit, old), Step::Limits)?;
        }
        for join in plan.joins {
            ok(libc::syscall(libc::SYS_write, *join, c"0".as_ptr(), 1_usize), Step::Cgroup)?;
        }
        libc::syscall(libc::SYS_umask, plan.umask);
        if let Some(ids) = plan.ids {
            ok(libc::syscall(libc::SYS_setgroups, ids.groups.len(), ids.groups.as_ptr()), Step::Ids)?;
            ok(libc::syscall(libc::SYS_setresgid, ids.gid, ids.gid, ids.gid), Step::Ids)?;
            ok(libc::syscall(libc::SYS_setresuid, ids.uid, ids.uid, ids.uid), Step::Ids)?;
        }
        ok(libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), Step::Privileges)?;
        let moved = match plan.workdir {
            Workdir::Held(dir) => libc::syscall(libc::SYS_fchdir, dir),
            Workdir::Path(path) => libc::syscall(libc::SYS_chdir, path.as_ptr()),
        };
        ok(moved, Step::Workdir)?;
        let null = match plan.descriptors {
            Descriptors::Standard => {
                let own = libc::CLOSE_RANGE_UNSHARE;
                ok(libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, own), Step::Output)?;
                0
            }
            Descriptors::Copies { null } => {
                ok(libc::syscall(libc::SYS_dup3, null, 0, 0), Step::Output)?;
                null
            }
        };
        for (name, number) in [(LOG, 1), (ERR, 2)] {
            let fd = if plan.files { open_output(name)? } else { null };
            ok(libc::syscall(libc::SYS_dup3, fd, number, 0), Step::Output)?;
        }
        let none = 0_u64;
        let old = ptr::null_mut::<u64>();
        ok(libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &none, old, 8_usize), Step::Session)
    }
}

/// Opens an output file in the working directory, as the user. Whatever the user put in its place
/// is neither followed nor waited for.
fn open_output(name: &CStr) -> Result<c_int, Step> {
    let flags = libc::O_WRONLY
        | libc::O_CREAT
        | libc::O_TRUNC
        | libc::O_NOFOLLOW
        | libc::O_NONBLOCK
        | libc::O_CLOEXEC;
    // SAFETY: as in `prepare`; stat is plain data.
    unsafe {
        let fd = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, name.as_ptr(), flags, 0o666) as c_int;
        if fd < 0 {
            return Err(Step::Output);
        }
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::syscall(libc::SYS_fstat, fd, &mut stat) < 0 {
            return Err(Step::Output);
        }
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            *libc::__errno_location() = libc::ENXIO;
            return Err(Step::Output);
        }
        // Only the opening had to be without waiting; the job gets an ordinary descriptor.
        if libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFL, 0) < 0 {
            return Err(Step::Output);
        }
        Ok(fd)
    }
}

/// Becomes the program. Returns the error number when that fails.
fn execute(plan: &Plan<'_>) -> c_int {
    // A process that forked while the script was being written holds it open for writing until it
    // executes something itself: a matter of a moment.
    for _ in 0..BUSY_TRIES {
        let errno = execute_once(plan);
        if errno != libc::ETXTBSY {
            return errno;
        }
        let pause = libc::timespec { tv_sec: 0, tv_nsec: BUSY_PAUSE_NS };
        let rest = ptr::null_mut::<libc::timespec>();
        // SAFETY: as in `prepare`.
        unsafe { libc::syscall(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, 0, &pause, rest) };
    }
    libc::ETXTBSY
}

fn execute_once(plan: &Plan<'_>) -> c_int {
    // SAFETY: all vectors end in null and their strings outlive the call.
    unsafe {
        libc::syscall(libc::SYS_execve, plan.script.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
        let first = errno();
        if first == libc::ENOEXEC {
            // Neither a program nor a script with a first line: as shells do, run it with the
            // shell, if there is one.
            libc::syscall(libc::SYS_execve, SHELL.as_ptr(), plan.shell_argv.as_ptr(), plan.envp.as_ptr());
        }
        first
    }
}

fn exists(path: &CStr) -> bool {
    // SAFETY: the path is a C string.
    unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), libc::F_OK) == 0 }
}

/// Tells the user, in `god.err`, why there is no other output.
fn complain(plan: &Plan<'_>, errno: c_int, interpreter_missing: bool) {
    put(c"go-d-init: cannot run ");
    put(plan.script);
    put(c": ");
    if interpreter_missing {
        put(c"the interpreter it names does not exist");
        put_first_line(plan.script);
    } else {
        put(sys::errno_words(errno));
    }
    put(c"\n");
}

/// Shows the first line of a script, up to 100 bytes, if it can be read and begins with `#!`.
fn put_first_line(path: &CStr) {
    let mut buffer = [0_u8; 100];
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: the buffer is as large as said. The descriptor closes when this process ends.
    let n = unsafe {
        let fd = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0);
        libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len())
    };
    let read = usize::try_from(n).ok().and_then(|n| buffer.get(..n)).unwrap_or_default();
    if !read.starts_with(b"#!") {
        return;
    }
    let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
    put(c" (");
    put_bytes(line);
    put(c")");
}

fn put(text: &CStr) {
    put_bytes(text.to_bytes());
}

fn put_bytes(text: &[u8]) {
    // SAFETY: pointer and length are of one slice. Nobody is left to be told of a failure.
    unsafe { libc::syscall(libc::SYS_write, 2, text.as_ptr(), text.len()) };
}

/// C strings of arguments or variables, and the vector of pointers to them.
#[derive(Debug)]
pub struct Vector {
    strings: Vec<CString>,
}

impl Vector {
    /// Keeps the strings.
    pub fn new(strings: Vec<CString>) -> Self {
        Self { strings }
    }

    /// Pointers to the strings, then null. Valid as long as `self` is.
    pub fn pointers(&self) -> Vec<*const c_char> {
        self.strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    }
}

/// A path as a C string. The caller checked that it holds no NUL.
pub fn c_path(path: &Path) -> CString {
    c_text(path.as_os_str().as_bytes())
}

/// A text as a C string. The caller checked that it holds no NUL.
pub fn c_text(text: &[u8]) -> CString {
    CString::new(text).expect("descriptions with NUL bytes are refused before")
}

/// `name=value` as a C string. The caller checked that neither holds a NUL.
pub fn c_variable(name: &[u8], value: &[u8]) -> CString {
    c_text(&[name, b"=", value].concat())
}

/// The argument vectors of a script: its own, and the one for the shell.
pub fn arguments(script: &CStr, args: &[String]) -> (Vector, Vector) {
    let own: Vec<CString> =
        [script.to_owned()].into_iter().chain(args.iter().map(|arg| c_text(arg.as_bytes()))).collect();
    let shell = [SHELL.to_owned()].into_iter().chain(own.iter().cloned()).collect();
    (Vector::new(own), Vector::new(shell))
}

/// The kernel's number and value of a resource limit.
pub fn rlimit(limit: &god_runtime::launch::Rlimit) -> (c_int, libc::rlimit64) {
    use god_runtime::launch::Resource;
    let resource = match limit.resource {
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::Processes => libc::RLIMIT_NPROC,
        Resource::Stack => libc::RLIMIT_STACK,
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        Resource::AddressSpace => libc::RLIMIT_AS,
    };
    (resource as c_int, libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard })
}
