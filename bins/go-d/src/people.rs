//! Users of the site: `go-d user`.

use crate::args::{AddArgs, UserAct};
use crate::client::key_secret;
use anyhow::{Context, Result, bail};
use auth_local::{LocalAuth, NewUser};
use god_core::UserId;
use god_core::user::User;
use god_daemon::clock::now;
use god_daemon::{Setup, front};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// Does what was asked.
pub fn act(setup: &Setup, act: &UserAct) -> Result<ExitCode> {
    if setup.config.auth.policy != auth_local::NAME {
        bail!("users are kept elsewhere: auth_policy is {}, not local", setup.config.auth.policy);
    }
    // Before anything runs: it waits for a person.
    let password = match act {
        UserAct::Add(add) => password(add)?,
        _ => None,
    };
    front::block_on(async {
        let store = god_plugins::store(&setup.config).await?;
        let auth = LocalAuth::new(Arc::clone(&store));
        match act {
            UserAct::Add(add) => {
                let user = auth
                    .create_user(NewUser {
                        login: add.login.clone(),
                        password,
                        uid: add.uid,
                        gid: add.gid,
                        groups: add.groups.clone(),
                        email: add.email.clone(),
                        home: add.home.clone(),
                    })
                    .await?;
                println!("{}", line(&user));
                if user.uid < setup.config.base.min_uid {
                    let floor = setup.config.base.min_uid;
                    eprintln!("go-d: note: tasks of {} are refused, min_uid is {floor}", user.id);
                }
            }
            UserAct::Del { login } => {
                auth.remove_user(&UserId::parse(login)?).await?;
                println!("removed {login}; tasks and files stay");
            }
            UserAct::List => {
                for user in store.users().await? {
                    println!("{}", line(&user));
                }
            }
            UserAct::Key { login, replace } => {
                let login = UserId::parse(login)?;
                let key = auth.make_key(&login, &key_secret(&setup.config), *replace, now()).await?;
                println!("{key}");
                eprintln!(
                    "go-d: this is the only time that the key is shown; log in with: go-d-cli login --user {login}"
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// One user, columns separated by tabs.
fn line(user: &User) -> String {
    let groups: Vec<String> = user.sgids.iter().map(u32::to_string).collect();
    let keys: Vec<&str> = user.keys.iter().map(|key| key.prefix.as_str()).collect();
    format!(
        "{}\tuid={}\tgid={}\tgroups={}\thome={}\temail={}\tpassword={}\tkeys={}",
        user.id,
        user.uid,
        user.gid,
        groups.join(","),
        user.home,
        user.email,
        if user.password.is_some() { "yes" } else { "no" },
        keys.join(","),
    )
}

/// The password of a new user, `None` for none.
fn password(add: &AddArgs) -> Result<Option<String>> {
    if add.no_password {
        return Ok(None);
    }
    if add.password_stdin {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).context("no password on standard input")?;
        let password = line.trim_end_matches(['\r', '\n']).to_owned();
        if password.is_empty() {
            bail!("no password on standard input; --no-password makes a user without one");
        }
        return Ok(Some(password));
    }
    if !io::stdin().is_terminal() {
        bail!("nobody to ask for a password: use --password-stdin or --no-password");
    }
    let first = ask(&format!("Password of {}: ", add.login))?;
    if first.is_empty() {
        bail!("an empty password is no password; --no-password makes a user without one");
    }
    if first != ask("Again: ")? {
        bail!("the passwords differ");
    }
    Ok(Some(first))
}

/// Asks on the terminal without showing what is typed.
fn ask(question: &str) -> Result<String> {
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin).context("cannot hide what is typed")?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).context("cannot hide what is typed")?;
    let mut line = String::new();
    let read = {
        let mut err = io::stderr();
        err.write_all(question.as_bytes())
            .and_then(|()| err.flush())
            .and_then(|()| stdin.lock().read_line(&mut line))
    };
    tcsetattr(&stdin, OptionalActions::Now, &shown).context("cannot show again what is typed")?;
    eprintln!();
    read.context("no password was typed")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
