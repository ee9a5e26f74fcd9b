//! Prints how many `/bin/true` the keeper starts and ends in a second, in several settings, beside
//! what plain spawning from this process reaches.
//!
//! `cargo run --release -p go-d-init --example rate -- [LAUNCHES] [CORES]`

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use god_runtime::keeper::{Event, Frame, Op, Reply, Request, SOCKET, encode, read_frame, write_frame};
use god_runtime::launch::{Identity, Key, Launch, Needs, Output, Template, Timing};

/// Launches in one request.
const BATCH: u64 = 256;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let n: u64 = args.next().map_or(Ok(5000), |text| text.parse())?;
    let cores: u32 = args.next().map_or(Ok(4), |text| text.parse())?;
    println!("{n} launches of /bin/true, {cores} at once");
    println!("plain spawn, one after the other: {:.0}/s", plain(n)?);
    let mut dirs = Vec::new();
    for (name, cgroups, output, info) in [
        ("no files", "off", Output::None, false),
        ("god.log and god.err in a directory each", "off", Output::Files, false),
        ("the same and god.info", "off", Output::Files, true),
        ("no files, control groups", "auto", Output::None, false),
        ("god.log and god.err, control groups", "auto", Output::Files, false),
    ] {
        let keep = tempfile::tempdir()?;
        let (rate, own, jobs) = keeper(keep.path(), n, cores, cgroups, output, info)?;
        // Removed at the end: some file systems are slow for a while after many removals.
        dirs.push(keep);
        println!("keeper, {name}: {rate:.0}/s (processor time each: keeper {own:.0} us, job {jobs:.0} us)");
    }
    Ok(())
}

fn plain(n: u64) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..n {
        Command::new("/bin/true").status()?;
    }
    Ok(n as f64 / start.elapsed().as_secs_f64())
}

fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("this program lies in no folder")?;
    Ok(folder.join("go-d-init"))
}

fn keeper(
    root: &Path,
    n: u64,
    cores: u32,
    cgroups: &str,
    output: Output,
    info: bool,
) -> Result<(f64, f64, f64), Failure> {
    std::fs::set_permissions(root, PermissionsExt::from_mode(0o711))?;
    let dir = root.join("keeper");
    let jobs = root.join("jobs");
    std::fs::create_dir(&jobs)?;
    std::fs::set_permissions(&jobs, PermissionsExt::from_mode(0o755))?;
    let cluster = format!("rate-{}", std::process::id());
    let status = Command::new(program()?)
        .arg("--serve")
        .arg(&dir)
        .args([
            "--cgroups",
            cgroups,
            "--cluster",
            &cluster,
            "--cores",
            &cores.to_string(),
            "--idle-seconds",
            "0",
        ])
        .status()?;
    if !status.success() {
        return Err("the keeper did not start".into());
    }
    let mut stream = UnixStream::connect(dir.join(SOCKET))?;
    let end = End(ping(&mut stream)?);
    // SAFETY: both always succeed.
    let (uid, gid) = match unsafe { (libc::geteuid(), libc::getegid()) } {
        (0, _) => (12_345, 12_345),
        own => own,
    };
    let template = Template {
        script: "/bin/true".into(),
        args: vec![],
        env: vec![("PATH".into(), "/bin".into())],
        identity: Identity { uid, gid, groups: vec![] },
        workdir: (output == Output::Files).then(|| jobs.clone()),
        create: output == Output::Files,
        output,
        info,
        uris: vec![],
        umask: 0o027,
        timing: Timing::default(),
        needs: Needs { cores: 1, memory: 64 << 20 },
        pids: None,
        rlimits: vec![],
    };
    let mut wire = Vec::new();
    encode(&Request { id: 0, op: Op::Subscribe }, &mut wire)?;
    for first in (0..n).step_by(BATCH as usize) {
        let launches = (first..n.min(first + BATCH)).map(|task| Launch {
            key: Key { task, attempt: 1 },
            template: 0,
            env: vec![],
            leaf: (output == Output::Files).then(|| task.to_string()),
        });
        let op = Op::Start { templates: vec![template.clone()], launches: launches.collect() };
        encode(&Request { id: first + 1, op }, &mut wire)?;
    }
    let start = Instant::now();
    let mut writer = stream.try_clone()?;
    let sender = std::thread::spawn(move || writer.write_all(&wire));
    let mut ended = 0;
    let mut reader = std::io::BufReader::new(&mut stream);
    while ended < n {
        match read_frame::<Frame>(&mut reader)?.ok_or("the keeper left")? {
            Frame::Events(events) => {
                for event in events {
                    if let Event::Exited { record, .. } = event {
                        if record.code != Some(0) {
                            return Err(format!("a launch failed: {record:?}").into());
                        }
                        ended += 1;
                    }
                }
            }
            Frame::Reply { reply: Reply::Bad { reason }, .. } => return Err(reason.into()),
            Frame::Reply { .. } => {}
        }
    }
    let rate = n as f64 / start.elapsed().as_secs_f64();
    sender.join().map_err(|_| "the sender failed")??;
    let (own, jobs) = processor_time(end.0)?;
    Ok((rate, own / n as f64, jobs / n as f64))
}

/// Asks the keeper for its process id.
fn ping(stream: &mut UnixStream) -> Result<i32, Failure> {
    write_frame(stream, &Request { id: 0, op: Op::Ping })?;
    match read_frame(stream)? {
        Some(Frame::Reply { reply: Reply::Pong(pong), .. }) => Ok(pong.pid),
        other => Err(format!("not an answer to a ping: {other:?}").into()),
    }
}

/// Microseconds of processor time of a process and of its collected children.
fn processor_time(pid: i32) -> Result<(f64, f64), Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let [own_user, own_system, jobs_user, jobs_system] = fields.get(11..15).ok_or("unknown stat")? else {
        return Err("unknown stat".into());
    };
    // Ticks of a hundredth of a second.
    Ok(((own_user + own_system) * 1e4, (jobs_user + jobs_system) * 1e4))
}

/// Tells the keeper to end, whatever happened.
struct End(i32);

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: plain integers.
        unsafe { libc::kill(self.0, libc::SIGTERM) };
    }
}
