//! Control groups for jobs, kept and used again: making and removing a memory group costs far more
//! than starting a process, moving a fresh single-threaded process into one costs little.
//!
//! Works with version 1, version 2, and the mixture of both. A slot is given to one job at a time
//! and only when no process is left in it.

mod mounts;

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use god_runtime::launch::Needs;

use crate::sys;
use mounts::Mounts;

/// Processes and threads of a job unless it says otherwise.
pub const DEFAULT_PIDS: u64 = 4096;
/// Length of a period of the processor quota, microseconds.
const PERIOD_US: u64 = 100_000;
/// Memory in files a slot may still be charged with when it is used again, bytes.
const STALE_MEMORY: u64 = 16 << 20;

/// Where one controller of a slot is found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Our directory in the hierarchy.
    base: PathBuf,
    /// Version 2.
    unified: bool,
}

/// Where all controllers are found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Layout {
    memory: Option<Place>,
    cpu: Option<Place>,
    pids: Option<Place>,
    freezer: Option<Place>,
}

/// The pool.
#[derive(Debug)]
pub struct Slots {
    layout: Layout,
    slots: HashMap<u32, Slot>,
    free: Vec<u32>,
    next: u32,
}

#[derive(Debug)]
struct Slot {
    joins: Vec<File>,
    join_fds: Vec<RawFd>,
    population: File,
    oom: Option<File>,
    usage: Option<File>,
    stat: Option<File>,
    n_oom: u64,
    limits: Option<(Needs, u64)>,
}

impl Slots {
    /// Finds the hierarchies and makes our directory in each. `None` when neither memory nor
    /// processes can be controlled here.
    ///
    /// # Errors
    /// In words, when the machine has control groups that we may not use.
    pub fn open(cluster: &str) -> Result<Option<Self>, String> {
        let text =
            std::fs::read_to_string("/proc/self/mountinfo").map_err(|err| format!("mountinfo: {err}"))?;
        let name = format!("god-{cluster}");
        let layout = Layout::new(&mounts::parse(&text), &name);
        if layout.memory.is_none() || layout.freezer.is_none() {
            return Ok(None);
        }
        for base in layout.bases() {
            make_dir(&base).map_err(|err| format!("cannot make {}: {err}", base.display()))?;
        }
        if let Some(place) = layout.places().find(|place| place.unified) {
            for dir in [place.base.parent().unwrap_or(&place.base), &place.base] {
                for controller in ["+memory", "+pids", "+cpu"] {
                    // A missing controller shows when the slot is opened.
                    write_text(&dir.join("cgroup.subtree_control"), controller).ok();
                }
            }
            leave_service(&place.base);
        }
        let mut slots = Self { layout, slots: HashMap::new(), free: Vec::new(), next: 0 };
        slots.next = slots.existing().last().map_or(0, |last| last + 1);
        Ok(Some(slots))
    }

    /// Numbers of the slots in the file system, whoever made them.
    fn existing(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        for base in self.layout.bases() {
            for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
                let name = entry.file_name();
                found.extend(name.to_str().and_then(|name| name.strip_prefix("slot-")?.parse::<u32>().ok()));
            }
        }
        found
    }

    /// Takes over the slots of an earlier keeper: those of living jobs stay, the others are
    /// emptied and removed.
    pub fn take_over(&mut self, living: &[u32]) {
        for number in self.existing() {
            if living.contains(&number) {
                match Slot::open(&self.layout, number) {
                    Ok(slot) => drop(self.slots.insert(number, slot)),
                    Err(err) => eprintln!("slot {number} of a living job is lost: {err}"),
                }
                continue;
            }
            if let Ok(slot) = Slot::open(&self.layout, number) {
                self.slots.insert(number, slot);
                self.freeze(number, false).ok();
                self.signal(number, libc::SIGKILL);
                self.slots.remove(&number);
            }
            self.remove_dirs(number);
        }
    }

    /// Gives a slot with these limits to a job.
    ///
    /// # Errors
    /// In words; no slot is taken then.
    pub fn take(&mut self, needs: Needs, pids: u64) -> Result<u32, String> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => self.make()?,
        };
        match self.limit(number, needs, pids) {
            Ok(()) => Ok(number),
            Err(err) => {
                self.retire(number);
                Err(format!("cannot limit the job's control group: {err}"))
            }
        }
    }

    fn make(&mut self) -> Result<u32, String> {
        let number = self.next;
        self.next += 1;
        for base in self.layout.bases() {
            let dir = slot_dir(&base, number);
            make_dir(&dir).map_err(|err| format!("cannot make {}: {err}", dir.display()))?;
        }
        let slot = Slot::open(&self.layout, number)
            .map_err(|err| format!("cannot use control group slot-{number}: {err}"))?;
        self.slots.insert(number, slot);
        Ok(number)
    }

    fn limit(&mut self, number: u32, needs: Needs, pids: u64) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(&number) else { return Err(io::ErrorKind::NotFound.into()) };
        let old = slot.limits.replace((needs, pids));
        if old == Some((needs, pids)) {
            return Ok(());
        }
        let changed = |same: fn(&(Needs, u64)) -> u64| old.as_ref().map(same) != Some(same(&(needs, pids)));
        if let Some(place) = &self.layout.memory
            && changed(|(needs, _)| needs.memory)
        {
            limit_memory(&slot_dir(&place.base, number), place.unified, needs.memory)?;
        }
        if let Some(place) = &self.layout.cpu
            && changed(|(needs, _)| u64::from(needs.cores))
        {
            limit_cpu(&slot_dir(&place.base, number), place.unified, needs.cores)?;
        }
        if let Some(place) = &self.layout.pids
            && changed(|(_, pids)| *pids)
        {
            write_text(&slot_dir(&place.base, number).join("pids.max"), &pids.to_string())?;
        }
        Ok(())
    }

    /// Descriptors into which a child writes `0` to enter the slot.
    pub fn joins(&self, number: u32) -> &[RawFd] {
        self.slots.get(&number).map_or(&[], |slot| &slot.join_fds)
    }

    /// Some process is in the slot.
    pub fn is_populated(&self, number: u32) -> bool {
        let Some(slot) = self.slots.get(&number) else { return false };
        match (&self.layout.pids, read_text(&slot.population)) {
            (Some(_), Ok(text)) if text.trim() == "0" => false,
            // The count includes what has ended and is not yet collected.
            _ => !self.members(number).is_empty(),
        }
    }

    /// Process ids in the slot.
    pub fn members(&self, number: u32) -> Vec<i32> {
        let Some(place) = &self.layout.freezer else { return Vec::new() };
        let text =
            std::fs::read_to_string(slot_dir(&place.base, number).join("cgroup.procs")).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Sends a signal to every process in the slot. Returns how many there were.
    pub fn signal(&self, number: u32, signal: i32) -> usize {
        if signal == libc::SIGKILL
            && let Some(Place { base, unified: true }) = &self.layout.freezer
            && write_text(&slot_dir(base, number).join("cgroup.kill"), "1").is_ok()
        {
            return self.members(number).len();
        }
        let members = self.members(number);
        for pid in &members {
            sys::kill(*pid, signal);
        }
        members.len()
    }

    /// Stops all processes in the slot, or lets them go on.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn freeze(&self, number: u32, frozen: bool) -> io::Result<()> {
        let Some(place) = &self.layout.freezer else { return Err(io::ErrorKind::Unsupported.into()) };
        let dir = slot_dir(&place.base, number);
        match (place.unified, frozen) {
            (true, true) => write_text(&dir.join("cgroup.freeze"), "1"),
            (true, false) => write_text(&dir.join("cgroup.freeze"), "0"),
            (false, true) => write_text(&dir.join("freezer.state"), "FROZEN"),
            (false, false) => write_text(&dir.join("freezer.state"), "THAWED"),
        }
    }

    /// The kernel killed a process of the slot for want of memory since the last question.
    pub fn had_oom(&mut self, number: u32) -> Option<bool> {
        let slot = self.slots.get_mut(&number)?;
        let count = oom_count(&read_text(slot.oom.as_ref()?).ok()?)?;
        let before = std::mem::replace(&mut slot.n_oom, count);
        Some(count > before)
    }

    /// The job is gone and no process is left: the slot may be used again.
    pub fn release(&mut self, number: u32) {
        if self.is_stale(number) {
            self.retire(number);
        } else if self.slots.contains_key(&number) {
            self.free.push(number);
        }
    }

    /// The slot is not to be used again.
    pub fn retire(&mut self, number: u32) {
        self.slots.remove(&number);
        self.remove_dirs(number);
    }

    /// The last job left files in a memory file system: they are charged to the slot, cannot be
    /// dropped as caches can, and would be missing to the next job.
    fn is_stale(&self, number: u32) -> bool {
        let Some(slot) = self.slots.get(&number) else { return false };
        let charged = slot.usage.as_ref().and_then(|file| read_text(file).ok()?.trim().parse::<u64>().ok());
        if charged.is_none_or(|bytes| bytes <= STALE_MEMORY) {
            return false;
        }
        // Asked only now: the kernel adds it up over all processors.
        let files = slot.stat.as_ref().and_then(|file| memory_files(&read_text(file).ok()?));
        files.is_some_and(|bytes| bytes > STALE_MEMORY)
    }

    fn remove_dirs(&self, number: u32) {
        for base in self.layout.bases() {
            // One that still dies is removed when the next keeper starts.
            std::fs::remove_dir(slot_dir(&base, number)).ok();
        }
    }

    /// Removes everything, for an end without jobs.
    pub fn remove_all(&mut self) {
        self.slots.clear();
        self.free.clear();
        for number in self.existing() {
            self.remove_dirs(number);
        }
        for base in self.layout.bases() {
            std::fs::remove_dir(base).ok();
        }
    }
}

impl Layout {
    fn new(mounts: &Mounts, name: &str) -> Self {
        let find = |controller: &str| {
            let old = mounts.v1.get(controller).map(|mount| Place { base: mount.join(name), unified: false });
            old.or_else(|| {
                let (mount, controllers) = mounts.v2.as_ref()?;
                // Freezing is part of version 2 itself.
                let there = controller == "freezer" || controllers.iter().any(|own| own == controller);
                there.then(|| Place { base: mount.join(name), unified: true })
            })
        };
        Self { memory: find("memory"), cpu: find("cpu"), pids: find("pids"), freezer: find("freezer") }
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        [&self.memory, &self.cpu, &self.pids, &self.freezer].into_iter().flatten()
    }

    /// The different directories, once each.
    fn bases(&self) -> Vec<PathBuf> {
        let all: BTreeSet<PathBuf> = self.places().map(|place| place.base.clone()).collect();
        all.into_iter().collect()
    }
}

impl Slot {
    fn open(layout: &Layout, number: u32) -> io::Result<Self> {
        let mut joins = Vec::new();
        for base in layout.bases() {
            let unified = layout.places().any(|place| place.base == base && place.unified);
            // Version 1 moves a single thread without stopping all processes of the machine that
            // are about to fork; version 2 has no such file.
            let file = if unified { "cgroup.procs" } else { "tasks" };
            joins.push(OpenOptions::new().write(true).open(slot_dir(&base, number).join(file))?);
        }
        let read = |place: &Place, v1: &str, v2: &str| {
            File::open(slot_dir(&place.base, number).join(if place.unified { v2 } else { v1 }))
        };
        let population = match (&layout.pids, &layout.freezer) {
            (Some(place), _) => read(place, "pids.current", "pids.current")?,
            (None, Some(place)) => read(place, "cgroup.procs", "cgroup.procs")?,
            (None, None) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let memory = layout.memory.as_ref();
        let oom = memory.map(|place| read(place, "memory.oom_control", "memory.events")).transpose()?;
        let usage = memory.map(|place| read(place, "memory.usage_in_bytes", "memory.current")).transpose()?;
        let stat = memory.map(|place| read(place, "memory.stat", "memory.stat")).transpose()?;
        let n_oom = oom.as_ref().and_then(|file| oom_count(&read_text(file).ok()?)).unwrap_or(0);
        let join_fds = joins.iter().map(|file| file.as_raw_fd()).collect();
        Ok(Self { joins, join_fds, population, oom, usage, stat, n_oom, limits: None })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The numbers must not outlive the files.
        self.join_fds.clear();
        self.joins.clear();
    }
}

fn slot_dir(base: &Path, number: u32) -> PathBuf {
    base.join(format!("slot-{number}"))
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Moves this process out of the group of the service that started it: stopping the service must
/// not end the jobs, and a group with sub-groups must hold no process.
fn leave_service(base: &Path) {
    let own = base.join("keeper");
    let moved = make_dir(&own).and_then(|()| write_text(&own.join("cgroup.procs"), "0"));
    if let Err(err) = moved {
        eprintln!("cannot leave the control group of the caller: {err}");
    }
}

fn limit_memory(dir: &Path, unified: bool, bytes: u64) -> io::Result<()> {
    if unified {
        let text = if bytes == 0 { "max".to_owned() } else { bytes.to_string() };
        write_text(&dir.join("memory.max"), &text)?;
        // Without swap accounting there is nothing to limit.
        return ignore_missing(write_text(
            &dir.join("memory.swap.max"),
            if bytes == 0 { "max" } else { "0" },
        ));
    }
    let text = if bytes == 0 { "-1".to_owned() } else { bytes.to_string() };
    let memory = dir.join("memory.limit_in_bytes");
    let with_swap = dir.join("memory.memsw.limit_in_bytes");
    // The first may never exceed the second, so raising and lowering need different orders.
    if write_text(&memory, &text).is_err() {
        // Also drops what the last job left in the caches.
        write_text(&dir.join("memory.force_empty"), "0").ok();
        ignore_missing(write_text(&with_swap, &text))?;
        return write_text(&memory, &text);
    }
    ignore_missing(write_text(&with_swap, &text))
}

fn limit_cpu(dir: &Path, unified: bool, cores: u32) -> io::Result<()> {
    let quota = u64::from(cores) * PERIOD_US;
    if unified {
        let text = if cores == 0 { format!("max {PERIOD_US}") } else { format!("{quota} {PERIOD_US}") };
        return write_text(&dir.join("cpu.max"), &text);
    }
    let text = if cores == 0 { "-1".to_owned() } else { quota.to_string() };
    ignore_missing(write_text(&dir.join("cpu.cfs_quota_us"), &text))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The line `oom_kill N` of version 1's `memory.oom_control` and version 2's `memory.events`.
fn oom_count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The line `shmem N` of `memory.stat`: files in memory file systems, bytes.
fn memory_files(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("shmem ")?.trim().parse().ok())
}

fn write_text(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path)?;
    // One write each: the kernel takes a value only whole.
    std::io::Write::write(&mut &file, text.as_bytes()).map(drop)
}

fn read_text(file: &File) -> io::Result<String> {
    let mut buffer = [0; 8192];
    let n = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap_or_default()
    }

    /// A directory that looks like a control group; writes land in plain files.
    fn group(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
        dir
    }

    #[test]
    fn limits_of_version_2() {
        let dir = group(&["memory.max", "memory.swap.max", "cpu.max"]);
        limit_memory(dir.path(), true, 1 << 30).unwrap();
        limit_cpu(dir.path(), true, 3).unwrap();
        assert_eq!(file(dir.path(), "memory.max"), "1073741824");
        assert_eq!(file(dir.path(), "memory.swap.max"), "0");
        assert_eq!(file(dir.path(), "cpu.max"), "300000 100000");
        let dir = group(&["memory.max", "cpu.max"]);
        limit_memory(dir.path(), true, 0).unwrap();
        limit_cpu(dir.path(), true, 0).unwrap();
        assert_eq!(file(dir.path(), "memory.max"), "max");
        assert_eq!(file(dir.path(), "cpu.max"), "max 100000");
    }

    #[test]
    fn limits_of_version_1() {
        let dir = group(&["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us"]);
        limit_memory(dir.path(), false, 1 << 30).unwrap();
        limit_cpu(dir.path(), false, 2).unwrap();
        assert_eq!(file(dir.path(), "memory.limit_in_bytes"), "1073741824");
        assert_eq!(file(dir.path(), "memory.memsw.limit_in_bytes"), "1073741824");
        assert_eq!(file(dir.path(), "cpu.cfs_quota_us"), "200000");
        let dir = group(&["memory.limit_in_bytes"]);
        limit_memory(dir.path(), false, 0).unwrap();
        assert_eq!(file(dir.path(), "memory.limit_in_bytes"), "-1");
    }

    #[test]
    fn oom_counters_of_both_versions() {
        assert_eq!(oom_count("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(oom_count("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(oom_count("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn files_in_memory_are_found() {
        assert_eq!(memory_files("cache 70\nrss 3\nrss_huge 0\nshmem 42\nmapped_file 1\n"), Some(42));
        assert_eq!(memory_files("anon 5\nfile 9\nkernel 3\nshmem 0\n"), Some(0));
        assert_eq!(memory_files("cache 70\n"), None);
    }

    #[test]
    fn each_controller_is_taken_where_it_is() {
        let place = |base: &str, unified| Some(Place { base: base.into(), unified });
        let mounts = Mounts {
            v1: [("memory".to_owned(), PathBuf::from("/cg/memory")), ("cpu".to_owned(), "/cg/cpu".into())]
                .into(),
            v2: Some(("/cg/unified".into(), vec!["pids".to_owned()])),
        };
        let layout = Layout::new(&mounts, "god-x");
        assert_eq!(layout.memory, place("/cg/memory/god-x", false));
        assert_eq!(layout.cpu, place("/cg/cpu/god-x", false));
        assert_eq!(layout.pids, place("/cg/unified/god-x", true));
        assert_eq!(layout.freezer, place("/cg/unified/god-x", true));
        assert_eq!(layout.bases().len(), 3);
        let none = Layout::new(&Mounts::default(), "god-x");
        assert_eq!(none, Layout::default());
    }
}
