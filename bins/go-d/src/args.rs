//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Runs all daemons of GO-Docker in one process, and looks after the site.
#[derive(Debug, Parser)]
#[command(name = "go-d", version, about, max_term_width = 100)]
pub struct Cli {
    /// Configuration file [default: GOD_CONFIG, then go-d.ini here, then the one in the data directory]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory [default: /var/lib/go-docker for root, else ~/.local/share/go-docker]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run scheduler, watcher and web server in the foreground; needs no configuration
    Up(UpArgs),
    /// The same in the background; returns once it is ready
    Start(UpArgs),
    /// End what runs on this data directory, and wait for it; jobs go on
    Stop,
    /// Show who leads and which watchers there are; exit status 0 if tasks are looked after
    Status,
    /// Show a site at work that runs nothing, in a directory that is removed at the end
    Demo {
        /// How many tasks
        #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
        tasks: u32,
    },
    /// Make configuration, data directory and database; may be repeated
    Init,
    /// Ask all daemons to read their configuration again
    ConfigReload,
    /// Look after local users
    User {
        /// What to do.
        #[command(subcommand)]
        act: UserAct,
    },
    /// Copy the database while it is in use; the copy holds hashes of keys and passwords
    Backup {
        /// The copy; replaced when it is there
        file: PathBuf,
    },
}

/// Options of `up` and `start`.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Where the web server listens, as HOST:PORT; port 0 is any free one [default: 127.0.0.1:6543]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub listen: Option<(String, u16)>,
    /// Where tasks run, the first one by default [default: local]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub executors: Option<Vec<String>>,
    /// Leave the session; what happens is told on standard output
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UserAct {
    /// Make a user; what is not given comes from the system's account of the same name
    Add(Box<AddArgs>),
    /// Remove a user; tasks and files stay
    Del {
        /// Login
        login: String,
    },
    /// List users
    List,
    /// Make an API key; it is shown once
    Key {
        /// Login
        login: String,
        /// End all earlier keys of the user
        #[arg(long)]
        replace: bool,
    },
}

/// Options of `user add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Login
    pub login: String,
    /// Numeric user id
    #[arg(long, short, value_name = "N")]
    pub uid: Option<u32>,
    /// Numeric primary group
    #[arg(long, short, value_name = "N")]
    pub gid: Option<u32>,
    /// Secondary groups, by number or name
    #[arg(long, short = 's', value_name = "GROUPS", value_delimiter = ',')]
    pub groups: Option<Vec<String>>,
    /// Home directory
    #[arg(long, value_name = "DIR")]
    pub home: Option<String>,
    /// Address for mail
    #[arg(long, short, default_value = "", value_name = "ADDRESS", hide_default_value = true)]
    pub email: String,
    /// Read the password from standard input instead of asking for it
    #[arg(long, conflicts_with = "no_password")]
    pub password_stdin: bool,
    /// No password: only API keys log in
    #[arg(long)]
    pub no_password: bool,
}

/// Reads `HOST:PORT`, the host perhaps an address in brackets.
fn address(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("{text:?} is no address: accepted are 127.0.0.1:6543, [::1]:6543, HOST:0");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let is_host = match bare {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
    };
    let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()));
    port.filter(|_| is_host).map(|port| (host.to_owned(), port)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses() {
        assert_eq!(address("127.0.0.1:0"), Ok(("127.0.0.1".to_owned(), 0)));
        assert_eq!(address("[::1]:80"), Ok(("::1".to_owned(), 80)));
        assert_eq!(address("node-1.example:6543"), Ok(("node-1.example".to_owned(), 6543)));
        for bad in ["", "80", ":80", "h:", "h:+1", "h:65536", "::1:80", "[x]:1", "h/x:1", "http://h:1"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
