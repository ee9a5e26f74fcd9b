//! The common options of `#SBATCH` lines, in the words of ours. What has no counterpart is named, what would change the
//! meaning of the job is refused.

use crate::args::JobArgs;

/// Options that take a value: their long name, the short one, and what they are here.
const VALUED: &[Valued] = &[
    Valued("--job-name", "-J", What::Name),
    Valued("--comment", "", What::Description),
    Valued("--account", "-A", What::Project),
    Valued("--cpus-per-task", "-c", What::Cpus),
    Valued("--ntasks", "-n", What::Tasks),
    Valued("--nodes", "-N", What::Nodes),
    Valued("--mem", "", What::Memory),
    Valued("--mem-per-cpu", "", What::MemoryPerCpu),
    Valued("--time", "-t", What::Time),
    Valued("--array", "-a", What::Array),
    Valued("--dependency", "-d", What::Dependency),
    Valued("--gpus", "-G", What::Gpus),
    Valued("--gres", "", What::Gres),
    Valued("--tmp", "", What::Scratch),
    Valued("--mail-type", "", What::Mail),
    Valued("--chdir", "-D", What::Ignored),
    Valued("--constraint", "-C", What::Ignored),
    Valued("--error", "-e", What::Ignored),
    Valued("--export", "", What::Ignored),
    Valued("--input", "-i", What::Ignored),
    Valued("--licenses", "-L", What::Ignored),
    Valued("--mail-user", "", What::Ignored),
    Valued("--nice", "", What::Ignored),
    Valued("--nodelist", "-w", What::Ignored),
    Valued("--output", "-o", What::Ignored),
    Valued("--partition", "-p", What::Ignored),
    Valued("--qos", "-q", What::Ignored),
    Valued("--signal", "", What::Signal),
];

/// Long name, short name (empty: none), meaning.
struct Valued(&'static str, &'static str, What);

impl Valued {
    /// The meaning, and what follows the name, when the word is this option.
    fn tail<'a>(&self, word: &'a str) -> Option<(What, &'a str)> {
        let Valued(long, short, what) = self;
        let tail = word.strip_prefix(long).filter(|tail| tail.is_empty() || tail.starts_with('='));
        let short = || word.strip_prefix(short).filter(|_| !short.is_empty() && !word.starts_with("--"));
        tail.or_else(short).map(|tail| (*what, tail))
    }
}

/// What a value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Name,
    Description,
    Project,
    Cpus,
    Tasks,
    Nodes,
    Memory,
    MemoryPerCpu,
    Time,
    Signal,
    Array,
    Dependency,
    Gpus,
    Gres,
    Scratch,
    Mail,
    Ignored,
}

/// What the lines of a script have said so far. Some options mean something together with others, on whatever lines.
#[derive(Debug, Default)]
pub struct Lines {
    job: JobArgs,
    tasks: Option<u32>,
    per_cpu: Option<u64>,
    ignored: Vec<String>,
}

impl Lines {
    /// Takes the words of one line; `place` names it.
    ///
    /// # Errors
    /// A value that makes no sense, or an option without which the job would be another one.
    pub fn add(&mut self, place: &str, words: &[String]) -> Result<(), String> {
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            let Some((what, tail)) = VALUED.iter().find_map(|option| option.tail(word)) else {
                // One that is not known may have a value in the next word.
                let value = words.next_if(|next| !word.contains('=') && !next.starts_with('-'));
                self.ignore(place, word, value);
                continue;
            };
            let (value, own) = match tail.strip_prefix('=').unwrap_or(tail) {
                "" => (words.next().ok_or_else(|| format!("{word} has no value"))?, true),
                value => (value, false),
            };
            if !self.take(what, value).map_err(|why| format!("{word}: {why}"))? {
                self.ignore(place, word, own.then_some(value));
            }
        }
        Ok(())
    }

    fn ignore(&mut self, place: &str, word: &str, value: Option<&str>) {
        let text = value.map_or_else(|| word.to_owned(), |value| format!("{word} {value}"));
        self.ignored.push(format!("{place}: {}", crate::text::line(&text)));
    }
    /// Whether the value has a meaning here.
    fn take(&mut self, what: What, value: &str) -> Result<bool, String> {
        let number = |least: u32| {
            let number = value.parse::<u32>().ok().filter(|n| *n >= least);
            number.ok_or_else(|| format!("{value:?} is no number from {least} on"))
        };
        match what {
            What::Name => self.job.name = Some(value.to_owned()),
            What::Description => self.job.description = Some(value.to_owned()),
            What::Project => self.job.project = Some(value.to_owned()),
            What::Cpus => self.job.cpu = Some(number(1)?),
            What::Tasks => self.tasks = Some(number(1)?),
            What::Nodes if matches!(value, "1" | "1-1") => {}
            What::Nodes => return Err(format!("a task runs on one node, not on {value}")),
            What::Memory => self.job.ram = Some(gib(bytes(value)?)),
            What::MemoryPerCpu => self.per_cpu = Some(bytes(value)?),
            What::Time => self.job.time_limit = time(value)?,
            // `B:` is about the shell of a batch job; ours are all of that kind.
            What::Signal => {
                let value = value.strip_prefix("B:").unwrap_or(value);
                value.parse::<god_core::warning::Warning>().map_err(|bad| bad.to_string())?;
                self.job.signal = Some(value.to_owned());
            }
            What::Array => self.job.array = Some(array(value)?),
            What::Dependency => self.dependency(value)?,
            What::Gpus => self.job.gpus = Some(gpus(value)?),
            What::Gres => match value.split_once(':').map_or((value, "1"), |(kind, rest)| (kind, rest)) {
                ("gpu", count) => self.job.gpus = Some(gpus(count)?),
                ("none", _) => {}
                _ => return Ok(false),
            },
            What::Scratch => self.job.tmpstorage = Some(format!("{}g", gib(bytes(value)?))),
            What::Mail => self.job.notify = !value.eq_ignore_ascii_case("none"),
            What::Ignored => return Ok(false),
        }
        Ok(true)
    }

    /// `afterok:1:2`, `afterany:3`, or several of one kind with a comma between two.
    fn dependency(&mut self, value: &str) -> Result<(), String> {
        let bad = || {
            format!("{value:?} cannot be kept: accepted are afterok:ID[:ID…] and afterany:ID[:ID…], not both")
        };
        for part in value.split(',') {
            let (kind, ids) = part.split_once(':').ok_or_else(bad)?;
            let ids = ids.replace(':', ",").parse().map_err(|_| bad())?;
            match kind {
                "afterok" => self.job.after_ok.push(ids),
                "afterany" => self.job.after.push(ids),
                _ => return Err(bad()),
            }
        }
        if self.job.after.is_empty() || self.job.after_ok.is_empty() { Ok(()) } else { Err(bad()) }
    }

    /// The options, and what was left out, each with its place.
    pub fn done(mut self) -> (JobArgs, Vec<String>) {
        if let Some(tasks) = self.tasks.filter(|tasks| *tasks > 1 || self.job.cpu.is_some()) {
            self.job.cpu = Some(self.job.cpu.unwrap_or(1).saturating_mul(tasks));
        }
        if let Some(each) = self.per_cpu {
            let cores = u64::from(self.job.cpu.unwrap_or(1));
            self.job.ram = Some(gib(each.saturating_mul(cores)));
        }
        (self.job, self.ignored)
    }
}

/// A size, in MiB without a unit.
fn bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no size: accepted are 2000, 2000M, 4G, 1T");
    let upper = text.to_ascii_uppercase();
    let upper = upper.strip_suffix('B').unwrap_or(&upper);
    let (number, shift) = match upper.chars().last() {
        Some('K') => (&upper[..upper.len() - 1], 10),
        Some('M') => (&upper[..upper.len() - 1], 20),
        Some('G') => (&upper[..upper.len() - 1], 30),
        Some('T') => (&upper[..upper.len() - 1], 40),
        _ => (upper, 20),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(bad)
}

/// Whole GiB, rounded up, at least 1.
fn gib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 30).max(1)).unwrap_or(u32::MAX)
}

/// `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`; without end is none.
fn time(text: &str) -> Result<Option<String>, String> {
    let bad = || format!("{text:?} is no time: accepted are M, M:S, H:M:S, D-H, D-H:M and D-H:M:S");
    if matches!(text, "0" | "UNLIMITED" | "INFINITE") {
        return Ok(None);
    }
    let (days, rest) = text.split_once('-').map_or((None, text), |(days, rest)| (Some(days), rest));
    let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
    let parts = rest.split(':').map(number).collect::<Result<Vec<u64>, String>>()?;
    let seconds = match (days, &parts[..]) {
        (None, [m]) => m.checked_mul(60),
        (None, [m, s]) => m.checked_mul(60).and_then(|m| m.checked_add(*s)),
        (None, [h, m, s]) => in_seconds(0, *h, *m, *s),
        (Some(days), [h]) => in_seconds(number(days)?, *h, 0, 0),
        (Some(days), [h, m]) => in_seconds(number(days)?, *h, *m, 0),
        (Some(days), [h, m, s]) => in_seconds(number(days)?, *h, *m, *s),
        _ => None,
    };
    Ok(Some(format!("{}s", seconds.filter(|seconds| *seconds > 0).ok_or_else(bad)?)))
}

fn in_seconds(d: u64, h: u64, m: u64, s: u64) -> Option<u64> {
    let hours = d.checked_mul(24)?.checked_add(h)?;
    hours.checked_mul(60)?.checked_add(m)?.checked_mul(60)?.checked_add(s)
}

/// `1-10`, `1-10:2`, `5`, each perhaps with `%LIMIT`.
fn array(text: &str) -> Result<god_core::array::ArraySpec, String> {
    let bad =
        || format!("{text:?} cannot be kept: accepted are FIRST-LAST, FIRST-LAST:STEP and N, then %LIMIT");
    let (values, limit) = text.split_once('%').map_or((text, None), |(values, limit)| (values, Some(limit)));
    let (range, step) = values.split_once(':').unwrap_or((values, "1"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let mut ours = format!("{first}:{last}:{step}");
    if let Some(limit) = limit {
        ours = format!("{ours}%{limit}");
    }
    ours.parse().map_err(|_| bad())
}

/// `2`, `a100:2`, `a100`.
fn gpus(text: &str) -> Result<u32, String> {
    let count = text.rsplit(':').next().unwrap_or(text);
    match count.parse::<u32>() {
        Ok(n) => Ok(n),
        Err(_) if count == text && !text.is_empty() && !text.contains(',') => Ok(1),
        Err(_) => Err(format!("{text:?} is no number of GPUs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(line: &str) -> JobArgs {
        let (job, ignored) = read(line).expect(line);
        assert_eq!(ignored, Vec::<String>::new(), "{line}");
        job
    }

    /// Lines with a bar between two.
    fn read(lines: &str) -> Result<(JobArgs, Vec<String>), String> {
        let mut all = Lines::default();
        for line in lines.split('|') {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            all.add("l", &words)?;
        }
        Ok(all.done())
    }

    #[test]
    fn common_options() {
        let job =
            took("-J align --cpus-per-task=4 --mem 3500M -t 1-02:30 -a 1-10:3%2 --gres=gpu:a100:2 -A sea");
        assert_eq!(job.name.as_deref(), Some("align"));
        assert_eq!((job.cpu, job.ram, job.gpus), (Some(4), Some(4), Some(2)));
        assert_eq!(job.time_limit.as_deref(), Some("95400s"));
        assert_eq!(job.array.map(|array| array.to_string()).as_deref(), Some("1:10:3%2"));
        assert_eq!(job.project.as_deref(), Some("sea"));
        let job = took("-n 4 --mem-per-cpu=1G | -c2 --mail-type=END --tmp 10G -N 1");
        assert_eq!((job.cpu, job.ram), (Some(8), Some(8)));
        assert!(job.notify);
        assert_eq!(job.tmpstorage.as_deref(), Some("10g"));
        assert_eq!(took("--array=5").array.map(|array| array.count()), Some(1));
        assert_eq!(took("--dependency=afterok:3:5,afterok:9").after_ok.len(), 2);
        assert_eq!(took("-d afterany:3").after.len(), 1);
        assert_eq!(took("--signal=B:USR1@300").signal.as_deref(), Some("USR1@300"));
        read("--signal=KILL").expect_err("no warning");
    }

    #[test]
    fn times() {
        let seconds = |text: &str| time(text).expect(text).expect("limited");
        for (text, want) in
            [("90", "5400s"), ("1:30", "90s"), ("2:00:00", "7200s"), ("1-0", "86400s"), ("0-0:0:5", "5s")]
        {
            assert_eq!(seconds(text), want, "{text}");
        }
        assert_eq!(time("UNLIMITED"), Ok(None));
        for bad in ["", "x", "1-", "1:2:3:4", "0:0", "99999999999999999999", "9999999999999999-0"] {
            time(bad).expect_err(bad);
        }
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        let line = "--partition=long -o out.%j --exclusive --hint nomultithread -c 2";
        let (job, ignored) = read(line).expect("readable");
        assert_eq!(job.cpu, Some(2));
        assert_eq!(
            ignored,
            ["l: --partition=long", "l: -o out.%j", "l: --exclusive", "l: --hint nomultithread"]
        );
    }

    #[test]
    fn what_would_change_the_meaning_is_refused() {
        for line in [
            "-N 2",
            "-d afternotok:3",
            "-d singleton",
            "-d afterok:1,afterany:2",
            "-d afterok:1?afterok:2",
            "-a 1,3,5",
            "--mem lots",
            "-c 0",
            "-t soon",
            "-c",
        ] {
            read(line).expect_err(line);
        }
    }
}
