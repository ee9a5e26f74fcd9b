//! Where the control group hierarchies are mounted.

use std::collections::HashMap;
use std::path::PathBuf;

/// The hierarchies of this machine, as this process sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Version 1: controller to mount point.
    pub v1: HashMap<String, PathBuf>,
    /// Version 2: mount point and the controllers available there.
    pub v2: Option<(PathBuf, Vec<String>)>,
}

/// Reads `/proc/self/mountinfo`, and of version 2 the list of controllers.
pub fn parse(text: &str) -> Mounts {
    let mut mounts = Mounts::default();
    for line in text.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(point) = before.split(' ').nth(4).map(|point| PathBuf::from(unescape(point))) else {
            continue;
        };
        let mut after = after.split(' ');
        match (after.next(), after.nth(1)) {
            (Some("cgroup"), Some(options)) => {
                for option in options.split(',') {
                    mounts.v1.entry(option.to_owned()).or_insert_with(|| point.clone());
                }
            }
            (Some("cgroup2"), _) if mounts.v2.is_none() => {
                let controllers =
                    std::fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
                let controllers = controllers.split_ascii_whitespace().map(str::to_owned).collect();
                mounts.v2 = Some((point, controllers));
            }
            _ => {}
        }
    }
    mounts
}

/// Undoes the kernel's octal escapes of space, tab, line end and backslash.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/mem\\040ory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /nowhere/unified rw,relatime - cgroup2 cgroup2 rw
";
        let mounts = parse(text);
        assert_eq!(mounts.v1["cpu"], PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mounts.v1["memory"], PathBuf::from("/sys/fs/cgroup/mem ory"));
        assert_eq!(mounts.v2, Some((PathBuf::from("/nowhere/unified"), vec![])));
        assert!(!mounts.v1.contains_key("pids"));
    }

    #[test]
    fn nonsense_is_skipped() {
        assert_eq!(parse("\n - \nx - cgroup2\n1 2 3 - cgroup a"), Mounts::default());
    }
}
