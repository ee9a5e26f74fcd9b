//! `go-d`: all daemons in one process (`up`), and the administrator's tool.

mod args;
mod client;
mod demo;
mod first;
mod people;
mod up;

use anyhow::{Context, Result};
use args::{Cli, Command};
use clap::Parser;
use god_daemon::{Kind, Overrides, Setup, front};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let detached = matches!(&cli.command, Command::Up(up) if up.detached);
    front::tell("go-d", detached, carry_out(cli))
}

fn carry_out(cli: Cli) -> Result<ExitCode> {
    let overrides =
        Overrides { config: cli.config.clone(), data_dir: cli.data_dir.clone(), ..Overrides::default() };
    let setup = || Setup::read(Kind::All, overrides.clone());
    match &cli.command {
        Command::Up(options) => up::up(overrides, options),
        Command::Start(options) => up::start(&cli, overrides, options),
        Command::Demo { tasks } => demo::demo(*tasks),
        Command::Init => {
            first::write_config(&overrides, None)?;
            Ok(front::init(&setup()?)?)
        }
        Command::Stop => Ok(front::stop(&setup()?)?),
        Command::Status => Ok(front::status(&setup()?)?),
        Command::ConfigReload => Ok(front::reload(&setup()?)?),
        Command::User { act } => people::act(&setup()?, act),
        Command::Backup { file } => {
            let setup = setup()?;
            let copied = front::block_on(async { Ok(god_plugins::backup(&setup.config, file).await?) });
            copied.map_err(|err: anyhow::Error| err).context("the store was not copied")?;
            println!("{} holds the store as of now", file.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}
