//! `godlogin`, `godbatch`, `godfile`, `godssh`, `goduser`, `godproject`.

use crate::args::{GetArgs, ProjectArgs, ProjectCommand, UserCommand, VolumeArgs};
use crate::batch::{self, List, Options};
use crate::client::{Api, garbled};
use crate::commands::ssh::Door;
use crate::commands::{files, people, resolve_one};
use crate::credentials::{Credentials, Surroundings};
use crate::failure::{Failure, warn};
use crate::ids::IdList;
use crate::old::args::{
    GodLogin, GodProjectCommand, GodSsh, GodUserCommand, MemberArgs, OldProjectArgs, OldVolumeArgs, PlayArgs,
};
use crate::output::Printer;
use crate::prompt;
use crate::server::Server;
use crate::task::Task;
use secrecy::SecretString;
use std::path::PathBuf;

/// Says nothing when all is well: scripts take any word for an error.
pub async fn login(args: &GodLogin, around: Surroundings) -> Result<u8, Failure> {
    let server = Server::parse(&args.server, args.no_certificate)?;
    if server.is_open() {
        warn(&format!("warning: {server} is not https, so others on the way can read the key"));
    }
    let apikey = match &args.apikey {
        Some(key) => SecretString::from(key.clone()),
        None => SecretString::from(prompt::secret(&format!("API key of {} at {server}: ", args.login))?),
    };
    let token_file = around.tokens_beside_login();
    let credentials = Credentials { server, user: args.login.clone(), apikey, token_file };
    Api::new(credentials.clone())?.authenticate(&credentials).await?;
    around.save_old(&credentials)?;
    Ok(0)
}

pub async fn play(args: &PlayArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let list = List::read(&args.list)?;
    let options = Options {
        parallel: args.parallel as usize,
        state: batch::state_file(&args.list),
        restart: args.restart,
        retry_failed: false,
        stop_on_failure: false,
    };
    batch::play(&list, &options, api, printer).await
}

/// Writes the file into the current directory, over one that is there, and says nothing.
pub async fn download(id: IdList, name: String, api: &Api) -> Result<u8, Failure> {
    let args = GetArgs { id, path: name, out: Some(PathBuf::from(".")), force: true };
    files::get(&args, api, Printer::silent()).await
}

pub async fn ssh(args: &GodSsh, api: &Api, printer: Printer) -> Result<u8, Failure> {
    if let Some(id) = &args.id {
        let id = resolve_one(api, id).await?.to_string();
        let document = api.json(&api.get(&["task", &id], format!("asking about task {id}"))).await?;
        printer.line(&Door::of(&document)?.words().join(" "))?;
        return Ok(0);
    }
    let ask = api.get(&["task", "active"], "listing active tasks");
    let answer = api.json(&ask).await?;
    for document in answer.as_array().ok_or_else(|| garbled(&ask, "no list"))? {
        if Task(document).at("/command/interactive") == true
            && let Ok(door) = Door::of(document)
        {
            let name = crate::text::line(&Task(document).text("/meta/name"));
            printer.line(&format!("{} {name}: {}", Task(document).id(), door.words().join(" ")))?;
        }
    }
    Ok(0)
}

pub async fn user(command: &GodUserCommand, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let command = match command {
        GodUserCommand::Show { login } => UserCommand::Show { login: login.clone() },
        GodUserCommand::List => UserCommand::List,
        GodUserCommand::Usage { login } => UserCommand::Usage { login: login.clone() },
        GodUserCommand::Update { login, quotas } => {
            UserCommand::Update { login: login.clone(), quotas: *quotas }
        }
        GodUserCommand::Delete { login } => UserCommand::Remove { login: login.clone(), yes: true },
    };
    people::user(&command, api, printer).await
}

pub async fn project(command: &GodProjectCommand, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let command = match command {
        GodProjectCommand::List => ProjectCommand::List { all: false },
        GodProjectCommand::Listall => ProjectCommand::List { all: true },
        GodProjectCommand::Show { name } => ProjectCommand::Show { name: name.clone() },
        GodProjectCommand::Usage { name } => ProjectCommand::Usage { name: name.clone() },
        GodProjectCommand::Create(args) => ProjectCommand::Create(project_args(args)),
        GodProjectCommand::Update(args) => ProjectCommand::Update(project_args(args)),
        GodProjectCommand::Delete { name } => ProjectCommand::Delete { name: name.clone(), yes: true },
        GodProjectCommand::Addmember(args) => {
            ProjectCommand::AddMember { name: args.name.clone(), logins: logins(args) }
        }
        GodProjectCommand::Deletemember(args) => {
            ProjectCommand::RemoveMember { name: args.name.clone(), logins: logins(args) }
        }
        GodProjectCommand::Volume(args) => volume(args),
        GodProjectCommand::QuotaReset { name } => ProjectCommand::ResetQuota { name: name.clone() },
    };
    people::project(&command, api, printer).await
}

fn project_args(args: &OldProjectArgs) -> ProjectArgs {
    ProjectArgs {
        name: args.name.clone(),
        description: args.description.clone(),
        member: args.members.clone(),
        quotas: args.quotas,
    }
}

fn logins(args: &MemberArgs) -> Vec<String> {
    args.logins.iter().chain(&args.member).cloned().collect()
}

fn volume(args: &OldVolumeArgs) -> ProjectCommand {
    match &args.path {
        Some(path) if !args.delete => ProjectCommand::AddVolume(VolumeArgs {
            name: args.name.clone(),
            volume: args.volume.clone(),
            path: path.clone(),
            mount: args.mount.clone(),
            rw: args.acl == "rw",
        }),
        _ => ProjectCommand::RemoveVolume { name: args.name.clone(), volume: args.volume.clone() },
    }
}
