//! The commands of the older client, by the name under which this program is called: `godlogin`, `godjob`, `godbatch`,
//! `godfile`, `godimage`, `godssh`, `goduser`, `godproject`, each also with `.py` behind it.
//!
//! What scripts have come to rely on stays: sub-commands and options, the words `Task added. Job id is N`, a silent
//! login, the file `jobs_infos.xml`, errors on standard output, where those scripts look for them. What is better: an
//! exit code that tells failure from success, and no key in any output or readable file.

mod args;
mod job;
mod others;

use crate::client::Api;
use crate::credentials::Surroundings;
use crate::failure::{self, Failure};
use crate::output::Printer;
use args::{
    GodBatch, GodBatchCommand, GodFile, GodFileCommand, GodImage, GodImageCommand, GodJob, GodLogin,
    GodProject, GodSsh, GodUser,
};
use clap::{CommandFactory as _, Parser as _};
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// A program of the older client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Saves a login.
    Login,
    /// Submits and follows tasks.
    Job,
    /// Submits lists of tasks.
    Batch,
    /// Lists and fetches files of tasks.
    File,
    /// Lists images.
    Image,
    /// Shows how to log in to interactive tasks.
    Ssh,
    /// Shows and changes users.
    User,
    /// Shows and changes projects.
    Project,
}

impl Program {
    /// All of them.
    pub const ALL: [Program; 8] = [
        Program::Login,
        Program::Job,
        Program::Batch,
        Program::File,
        Program::Image,
        Program::Ssh,
        Program::User,
        Program::Project,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Program::Login => "godlogin",
            Program::Job => "godjob",
            Program::Batch => "godbatch",
            Program::File => "godfile",
            Program::Image => "godimage",
            Program::Ssh => "godssh",
            Program::User => "goduser",
            Program::Project => "godproject",
        }
    }

    /// The program that is meant by the path under which this one was called.
    pub fn called(path: &OsStr) -> Option<Program> {
        let name = Path::new(path).file_name()?.to_str()?;
        let name = name.strip_suffix(".py").unwrap_or(name);
        Program::ALL.into_iter().find(|program| program.name() == name)
    }

    /// Its command line.
    pub fn command(self) -> clap::Command {
        match self {
            Program::Login => GodLogin::command(),
            Program::Job => GodJob::command(),
            Program::Batch => GodBatch::command(),
            Program::File => GodFile::command(),
            Program::Image => GodImage::command(),
            Program::Ssh => GodSsh::command(),
            Program::User => GodUser::command(),
            Program::Project => GodProject::command(),
        }
    }

    /// Reads the command line of this process and does what it says. Bad usage and `--help` end the process.
    ///
    /// # Errors
    /// Why it did not succeed.
    pub async fn run(self) -> Result<u8, Failure> {
        let mut around = Surroundings::of_process(std::env::var("GODOCKER_SERVER").ok().as_deref());
        around.old_first = true;
        let printer = Printer::table();
        let api = || Api::new(around.credentials()?);
        match self {
            Program::Login => others::login(&GodLogin::parse(), around).await,
            Program::Job => job::run(&GodJob::parse().command, &api()?, printer).await,
            Program::Batch => {
                let GodBatchCommand::Play(args) = GodBatch::parse().command;
                others::play(&args, &api()?, printer).await
            }
            Program::File => match GodFile::parse().command {
                GodFileCommand::List { id, directory } => {
                    crate::commands::files::list(&id, &directory, &api()?, printer).await
                }
                GodFileCommand::Download { id, name } => others::download(id, name, &api()?).await,
            },
            Program::Image => match GodImage::parse().command {
                GodImageCommand::List => crate::commands::site::images(&api()?, printer).await,
            },
            Program::Ssh => others::ssh(&GodSsh::parse(), &api()?, printer).await,
            Program::User => others::user(&GodUser::parse().command, &api()?, printer).await,
            Program::Project => others::project(&GodProject::parse().command, &api()?, printer).await,
        }
    }
}

/// Prints a failure where scripts look for it, on standard output, and gives the exit code of the program.
pub fn report(failure: &Failure) -> ExitCode {
    if matches!(failure, Failure::PipeClosed | Failure::Output(_)) {
        return failure::report(failure);
    }
    let text = match failure {
        // The words that published scripts search for.
        Failure::Missing { .. } => format!("Not Found: {failure}"),
        failure => failure.to_string(),
    };
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => ExitCode::from(failure.code()),
        Err(_) => failure::report(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_are_consistent() {
        for program in Program::ALL {
            program.command().debug_assert();
            assert_eq!(program.command().get_name(), program.name());
        }
    }

    #[test]
    fn names_under_which_it_may_be_called() {
        let called = |path: &str| Program::called(OsStr::new(path));
        assert_eq!(called("godjob"), Some(Program::Job));
        assert_eq!(called("/usr/bin/godlogin"), Some(Program::Login));
        assert_eq!(called("./godjob.py"), Some(Program::Job));
        assert_eq!(called("go-d-cli"), None);
        assert_eq!(called("/godjob/go-d-cli"), None);
        assert_eq!(called("godjobs"), None);
    }
}
