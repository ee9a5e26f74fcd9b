//! `generate`: completions, manual pages and links, made of the same description as the command line itself.

use crate::args::{Cli, GenerateCommand};
use crate::failure::Failure;
use crate::old::Program;
use clap::CommandFactory as _;
use std::io;
use std::path::Path;

pub fn run(command: &GenerateCommand) -> Result<u8, Failure> {
    match command {
        GenerateCommand::Completions { shell, program } => {
            let mut description = description(program)?;
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut description, program.as_str(), &mut text);
            io::Write::write_all(&mut io::stdout().lock(), &text)?;
        }
        GenerateCommand::Man { directory } => {
            let failed =
                |source| Failure::File { doing: "cannot write pages in", path: directory.clone(), source };
            let all = [Cli::command()].into_iter().chain(Program::ALL.map(Program::command));
            for command in all {
                clap_mangen::generate_to(command, directory).map_err(failed)?;
            }
        }
        GenerateCommand::Links { directory } => links(directory)?,
    }
    Ok(0)
}

fn description(program: &str) -> Result<clap::Command, Failure> {
    if program == "go-d-cli" {
        return Ok(Cli::command());
    }
    let found = Program::ALL.into_iter().find(|old| old.name() == program);
    found.map(Program::command).ok_or_else(|| {
        let names = Program::ALL.map(Program::name);
        Failure::Usage(format!("there is no program {program}: accepted are go-d-cli, {}", names.join(", ")))
    })
}

/// Links beside one another, to this program. One that is there already stays when it is such a link.
fn links(directory: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, source| Failure::File { doing: "cannot link", path: path.to_owned(), source };
    let own = std::env::current_exe().map_err(|source| failed(Path::new("go-d-cli"), source))?;
    for program in Program::ALL {
        let path = directory.join(program.name());
        match std::os::unix::fs::symlink(&own, &path) {
            Ok(()) => {}
            Err(err)
                if err.kind() == io::ErrorKind::AlreadyExists
                    && std::fs::read_link(&path).is_ok_and(|to| to == own) => {}
            Err(source) => return Err(failed(&path, source)),
        }
    }
    Ok(())
}
