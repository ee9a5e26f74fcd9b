//! `login`: checks a key with its server and saves both.

use crate::args::{Format, LoginArgs};
use crate::client::Api;
use crate::credentials::{Credentials, Surroundings};
use crate::failure::{Failure, warn};
use crate::output::Printer;
use crate::prompt;
use crate::server::Server;
use secrecy::SecretString;
use serde_json::json;
use std::io::Read as _;

/// Most bytes of a key on standard input.
const KEY_MAX: u64 = 4096;

pub async fn run(args: &LoginArgs, around: &Surroundings, printer: Printer) -> Result<u8, Failure> {
    let server = around.server.as_deref().ok_or_else(|| {
        Failure::Usage("where? Name the server: go-d-cli login --server http://HOST:6543".to_owned())
    })?;
    let server = Server::parse(server, args.insecure)?;
    let own_name = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let user = args.user.clone().or_else(own_name).filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| Failure::Usage("as whom? Name the user: --user NAME".to_owned()))?;
    if server.is_open() {
        warn(&format!("warning: {server} is not https, so others on the way can read the key"));
    }
    let apikey = if args.apikey_stdin {
        from_stdin()?
    } else if let Some(key) = &around.apikey {
        key.clone()
    } else {
        SecretString::from(prompt::secret(&format!("API key of {user} at {server}: "))?)
    };
    let token_file = around.tokens_beside_login();
    let credentials = Credentials { server, user, apikey, token_file };
    Api::new(credentials.clone())?.authenticate(&credentials).await?;
    let path = around.save(&credentials)?;
    let Credentials { server, user, .. } = &credentials;
    match printer.format {
        Format::Json => {
            printer
                .json(&json!({"server": server.to_string(), "user": user, "file": path.to_string_lossy()}))?;
        }
        _ if printer.quiet => {}
        _ => printer.line(&format!("Logged in at {server} as {user}. Saved in {}", path.display()))?,
    }
    Ok(0)
}

/// `logout`: removes what `login` has saved.
pub fn forget(around: &Surroundings, printer: Printer) -> Result<u8, Failure> {
    let removed = around.forget()?;
    let text = match &removed[..] {
        [] => "no login was saved".to_owned(),
        paths => {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("removed {}", paths.join(", "))
        }
    };
    if !printer.quiet && printer.format != Format::Json {
        printer.line(&text)?;
    }
    Ok(0)
}

fn from_stdin() -> Result<SecretString, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().take(KEY_MAX).read_to_string(&mut text).map_err(|source| Failure::File {
        doing: "cannot read the API key from",
        path: "standard input".into(),
        source,
    })?;
    match text.trim() {
        "" => Err(Failure::Usage("there is no API key on standard input".to_owned())),
        key => Ok(SecretString::from(key.to_owned())),
    }
}
