//! Lines at the top of a script that are options of its submission: `#GOD --cpu 4`, and the common ones of `#SBATCH`.
//!
//! Reading ends at the first line that is neither empty nor a comment, so that nothing inside a script counts by
//! accident.

mod sbatch;

use crate::args::{Directives, JobArgs};
use crate::failure::Failure;
use clap::Parser;

/// What the lines say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The options; those of later lines count, and `#GOD` before `#SBATCH`.
    pub job: JobArgs,
    /// What was understood and has no counterpart here, with its line.
    pub ignored: Vec<String>,
}

/// One line of options.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, args_override_self = true)]
struct Line {
    #[command(flatten)]
    job: JobArgs,
}

/// Reads the lines of a script; `what` names it in messages.
///
/// # Errors
/// [`Failure::Usage`] with the line that cannot be read.
pub fn read(what: &str, script: &str, kinds: Directives) -> Result<Found, Failure> {
    let mut job = JobArgs::default();
    let mut foreign = sbatch::Lines::default();
    let comments = script.lines().enumerate().take_while(|(_, line)| {
        let line = line.trim_start();
        line.is_empty() || line.starts_with('#')
    });
    for (at, line) in comments {
        let place = format!("{what}, line {}", at + 1);
        let bad = |why: String| Failure::Usage(format!("{place}: {}", crate::text::short(&why, 600)));
        if let Some(rest) = after(line, "#GOD").filter(|_| kinds != Directives::None) {
            job = options(words(rest).map_err(bad)?).map_err(bad)?.or(job);
        } else if let Some(rest) = after(line, "#SBATCH").filter(|_| kinds == Directives::Sbatch) {
            foreign.add(&place, &words(rest).map_err(bad)?).map_err(bad)?;
        }
    }
    let (below, ignored) = foreign.done();
    Ok(Found { job: job.or(below), ignored })
}

/// What follows the word, when the line begins with it.
fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix(word).filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// The words of a line, as a shell would take them apart.
///
/// # Errors
/// What is wrong about it.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| "a quotation mark is not closed".to_owned())
}

/// Options as they would stand on a command line.
///
/// # Errors
/// What is wrong, in clap's words without its usage.
pub fn options(words: Vec<String>) -> Result<JobArgs, String> {
    Line::try_parse_from(words).map(|line| line.job).map_err(|err| brief(&err))
}

/// The words of clap without its usage, in one line.
pub fn brief(err: &clap::Error) -> String {
    let text = err.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(script: &str, kinds: Directives) -> Found {
        read("a.sh", script, kinds).expect("good lines")
    }

    #[test]
    fn options_stand_at_the_top() {
        let script = "#!/bin/bash\n#GOD --cpu 4 --name 'my job' # four\n# a comment\n#GODOT --cpu 9\n\n#GOD -t a,b\n\
                      #GOD -c 5 --tag c\necho hi\n#GOD --ram 8\n";
        let got = found(script, Directives::God);
        assert_eq!(got.job.cpu, Some(5), "the later line counts");
        assert_eq!(got.job.name.as_deref(), Some("my job"));
        assert_eq!(got.job.tag, ["a", "b", "c"]);
        assert_eq!(got.job.ram, None, "what stands below a command is text");
        assert_eq!(found(script, Directives::None), Found::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_a_proposal() {
        let bad = |line: &str| {
            let script = format!("#!/bin/sh\n{line}\n");
            read("a.sh", &script, Directives::God).expect_err(line).to_string()
        };
        let text = bad("#GOD --cpus 4");
        assert!(text.starts_with("a.sh, line 2: unexpected argument '--cpus' found"), "{text}");
        assert!(text.contains("'--cpu'") && !text.contains("Usage"), "{text}");
        assert!(bad("#GOD --name 'x").contains("quotation mark"));
        assert!(bad("#GOD --cpu zero").contains("invalid value 'zero'"));
        // What would run, wait or print is for the command line alone.
        for line in
            ["#GOD other.sh", "#GOD --cmd x", "#GOD --wait", "#GOD --server http://evil", "#GOD --help"]
        {
            bad(line);
        }
    }

    #[test]
    fn b5_a_line_cannot_speak_to_the_terminal() {
        let script = "#GOD --\x1b]0;owned\x07 1\n";
        let text = read("a.sh", script, Directives::God).expect_err("no such option").to_string();
        assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
    }

    #[test]
    fn sbatch_lines_only_when_asked() {
        let script = "#!/bin/bash\n#SBATCH --cpus-per-task=3 --mem=9G\n#SBATCH -p long\n#GOD --ram 2\n";
        assert_eq!(found(script, Directives::God).job.cpu, None);
        let got = found(script, Directives::Sbatch);
        assert_eq!((got.job.cpu, got.job.ram), (Some(3), Some(2)));
        assert_eq!(got.ignored, ["a.sh, line 3: -p long"]);
    }
}
