//! All daemons in one process.

use crate::args::{Cli, UpArgs};
use crate::{client, first};
use anyhow::{Context, Result};
use god_daemon::{Daemon, Kind, Overrides, Setup, front};
use std::ffi::OsString;
use std::process::ExitCode;

/// `go-d up`: in the foreground, until SIGTERM or SIGINT.
pub fn up(overrides: Overrides, options: &UpArgs) -> Result<ExitCode> {
    let (setup, config) = read(overrides, options)?;
    front::serve(setup, options.detached, async |daemon: &mut Daemon| -> Result<()> {
        daemon.start_scheduler();
        daemon.start_watcher();
        daemon.start_archiver();
        daemon.start_sender()?;
        let server = format!("http://{}", daemon.start_web().await?);
        // Whoever wrote a configuration makes the users, too.
        let login = match config {
            first::Config::Named => None,
            first::Config::Own | first::Config::Written => {
                let caller = first::Caller::find()?;
                let config = &daemon.setup().config;
                Some(client::ensure(config, daemon.store(), &caller, &server).await?)
            }
        };
        if !options.detached {
            if config == first::Config::Written {
                println!("wrote {}", daemon.setup().file.display());
            }
            println!("GO-Docker is at {server}");
            if let Some(file) = login {
                println!("login for go-d-cli: {}", file.display());
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `go-d start`: the same in the background.
pub fn start(cli: &Cli, overrides: Overrides, options: &UpArgs) -> Result<ExitCode> {
    let mut again: Vec<OsString> = Vec::new();
    for (option, path) in [("--config", &cli.config), ("--data-dir", &cli.data_dir)] {
        let absolute = path.as_ref().map(std::path::absolute).transpose()?;
        again.extend(absolute.into_iter().flat_map(|path| [option.into(), path.into()]));
    }
    again.extend(["up".into(), "--detached".into()]);
    if let Some((host, port)) = &options.listen {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        again.extend(["--listen".into(), format!("{host}:{port}").into()]);
    }
    if let Some(executors) = &options.executors {
        again.extend(["--executors".into(), executors.join(",").into()]);
    }
    let (setup, _) = read(overrides, options)?;
    Ok(front::start(&setup, &again)?)
}

/// The setup, and whose its configuration is.
fn read(overrides: Overrides, options: &UpArgs) -> Result<(Setup, first::Config)> {
    let config = first::write_config(&overrides, options.executors.as_deref())
        .context("the configuration of a first start was not written")?;
    let overrides =
        Overrides { executors: options.executors.clone(), listen: options.listen.clone(), ..overrides };
    Ok((Setup::read(Kind::All, overrides)?, config))
}
