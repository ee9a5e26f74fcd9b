//! `go-d-init`: the first process of every job.
//!
//! `--container FILE` is PID 1 of a container and runs the one script a file describes;
//! `--serve DIR` is the keeper of the local jobs of one host, which outlives all daemons. It is
//! built static and small, and trusts nothing that a job or an image can change.

mod container;
mod deadlines;
mod descendants;
mod keeper;
mod spawn;
mod sys;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: go-d-init --container LAUNCH.json
       go-d-init --serve DIR [--min-uid N] [--cgroups auto|off|require] [--cluster NAME]
                             [--cores N] [--memory BYTES] [--idle-seconds N]
       go-d-init --version";

/// Exit code for a wrong call, the same as when nothing could be run.
const EXIT_USAGE: u8 = 126;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match parse(&args) {
        Ok(Mode::Version) => {
            println!("go-d-init {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Mode::Container(description)) => exit_code(container::run(&description)),
        Ok(Mode::Serve(options)) => match keeper::start(*options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("go-d-init: {reason}");
                ExitCode::FAILURE
            }
        },
        Err(reason) => {
            eprintln!("go-d-init: {reason}\n{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(EXIT_USAGE))
}

#[derive(Debug)]
enum Mode {
    Version,
    Container(PathBuf),
    Serve(Box<keeper::Options>),
}

fn parse(args: &[OsString]) -> Result<Mode, String> {
    let text =
        |arg: &OsString| arg.to_str().map(str::to_owned).ok_or_else(|| format!("{arg:?} is not UTF-8"));
    match args {
        [flag] if flag == "--version" => Ok(Mode::Version),
        [flag, path] if flag == "--container" => Ok(Mode::Container(path.into())),
        [flag, dir, rest @ ..] if flag == "--serve" => {
            let mut options = keeper::Options::new(PathBuf::from(dir));
            for pair in rest.chunks(2) {
                let [name, value] = pair else { return Err(format!("{:?} needs a value", pair[0])) };
                options.set(&text(name)?, &text(value)?)?;
            }
            Ok(Mode::Serve(Box::new(options)))
        }
        _ => Err("nothing to do, or arguments that do not fit together".to_owned()),
    }
}
