//! `user` and `project`: who may do what, what was used, and for administrators how to change it.

use crate::args::{ProjectArgs, ProjectCommand, QuotaArgs, UserCommand, VolumeArgs};
use crate::client::{Api, garbled};
use crate::failure::Failure;
use crate::output::{Cell, Column, Printer};
use crate::prompt;
use crate::task::{Task, scalar};
use god_core::units::{Bytes, Seconds};
use reqwest::Method;
use serde_json::{Value, json};

pub async fn user(command: &UserCommand, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let own = |login: &Option<String>| login.clone().unwrap_or_else(|| api.user().to_owned());
    match command {
        UserCommand::Show { login } => {
            let user = read_user(api, &own(login)).await?;
            if !printer.one(&user, "id")? {
                printer.pairs(&user_pairs(&user))?;
            }
        }
        UserCommand::List => users(&all_users(api).await?, printer)?,
        UserCommand::Projects { login } => projects(&projects_of(api, &own(login)).await?, printer)?,
        UserCommand::Usage { login } => {
            let login = own(login);
            let ask = api.get(&["user", &login, "usage"], format!("reading what {login} has used"));
            usage(&api.json(&ask).await?, printer)?;
        }
        UserCommand::Update { login, quotas } => {
            let user = update_user(api, login, quotas).await?;
            changed(&user, &format!("user {login}"), printer)?;
        }
        UserCommand::Remove { login, yes } => {
            prompt::sure(&format!("Remove user {login}, with the data of all tasks?"), *yes)?;
            remove(api, &["user", login], &format!("user {login}"), printer).await?;
        }
    }
    Ok(0)
}

pub async fn project(command: &ProjectCommand, api: &Api, printer: Printer) -> Result<u8, Failure> {
    match command {
        ProjectCommand::List { all: false } => projects(&projects_of(api, api.user()).await?, printer)?,
        ProjectCommand::List { all: true } => projects(&all_projects(api).await?, printer)?,
        ProjectCommand::Show { name } => {
            let project = read_project(api, name).await?;
            if !printer.one(&project, "id")? {
                printer.pairs(&project_pairs(&project))?;
            }
        }
        ProjectCommand::Usage { name } => {
            let ask = api.get(&["project", name, "usage"], format!("reading what project {name} has used"));
            usage(&api.json(&ask).await?, printer)?;
        }
        ProjectCommand::Create(args) => {
            changed(&create_project(api, args).await?, &format!("project {}", args.name), printer)?;
        }
        ProjectCommand::Update(args) => {
            changed(&update_project(api, args).await?, &format!("project {}", args.name), printer)?;
        }
        ProjectCommand::Delete { name, yes } => {
            prompt::sure(&format!("Remove project {name}?"), *yes)?;
            remove(api, &["project", name], &format!("project {name}"), printer).await?;
        }
        ProjectCommand::AddMember { name, logins } => {
            let answer = members(api, name, logins, true).await?;
            changed(&answer, &format!("project {name}"), printer)?;
        }
        ProjectCommand::RemoveMember { name, logins } => {
            let answer = members(api, name, logins, false).await?;
            changed(&answer, &format!("project {name}"), printer)?;
        }
        ProjectCommand::AddVolume(args) => {
            changed(&add_volume(api, args).await?, &format!("project {}", args.name), printer)?;
        }
        ProjectCommand::RemoveVolume { name, volume } => {
            changed(&remove_volume(api, name, volume).await?, &format!("project {name}"), printer)?;
        }
        ProjectCommand::ResetQuota { name } => {
            remove(api, &["project", name, "quota"], &format!("what project {name} has used"), printer)
                .await?;
        }
    }
    Ok(0)
}

/// A user without any key: older servers send them along, and they have no place on a screen or in a log.
pub async fn read_user(api: &Api, login: &str) -> Result<Value, Failure> {
    let mut user = api.json(&api.get(&["user", login], format!("reading user {login}"))).await?;
    drop_keys(&mut user);
    Ok(user)
}

/// Takes all that could open anything out of a user.
fn drop_keys(user: &mut Value) {
    if let Some(map) = user.as_object_mut() {
        for secret in ["credentials", "apikey", "password", "private"] {
            map.remove(secret);
        }
    }
}

/// All users, without their keys.
pub async fn all_users(api: &Api) -> Result<Vec<Value>, Failure> {
    let mut users = list(api, &["user"], "listing users").await?;
    users.iter_mut().for_each(drop_keys);
    Ok(users)
}

/// The projects of a user; the first is always `default`.
pub async fn projects_of(api: &Api, login: &str) -> Result<Vec<Value>, Failure> {
    list(api, &["user", login, "project"], &format!("listing the projects of {login}")).await
}

/// All projects.
pub async fn all_projects(api: &Api) -> Result<Vec<Value>, Failure> {
    list(api, &["project"], "listing projects").await
}

async fn list(api: &Api, parts: &[&str], doing: &str) -> Result<Vec<Value>, Failure> {
    let ask = api.get(parts, doing);
    match api.json(&ask).await? {
        Value::Array(list) => Ok(list),
        _ => Err(garbled(&ask, "no list")),
    }
}

/// One project.
pub async fn read_project(api: &Api, name: &str) -> Result<Value, Failure> {
    api.json(&api.get(&["project", name], format!("reading project {name}"))).await
}

/// Changes priority and quotas; gives the user as it is now.
pub async fn update_user(api: &Api, login: &str, quotas: &QuotaArgs) -> Result<Value, Failure> {
    if *quotas == QuotaArgs::default() {
        return Err(nothing_to_change());
    }
    let user = read_user(api, login).await?;
    let mut usage = user["usage"].clone();
    set_quotas(&mut usage, quotas);
    let body = json!({"id": login, "usage": usage});
    let doing = format!("changing user {login}");
    let mut answer = api.json(&api.ask(Method::PUT, &["user", login], doing.clone()).body(body)).await?;
    drop_keys(&mut answer);
    // A server takes what the caller may change and leaves the rest without a word.
    let mut wanted = json!({});
    set_quotas(&mut wanted, quotas);
    let left = wanted.as_object().into_iter().flatten().find(|(name, value)| {
        let now = answer["usage"][name.as_str()].as_f64();
        now.is_some() && now != value.as_f64()
    });
    match left {
        None => Ok(answer),
        Some((name, _)) => {
            let now = scalar(&answer["usage"][name.as_str()]);
            let text = format!("{name} stays {now}; administrators change it");
            Err(Failure::Refused { doing, text: crate::text::short(&text, 200) })
        }
    }
}

fn nothing_to_change() -> Failure {
    Failure::Usage("there is nothing to change: give at least one option; --help lists them".to_owned())
}

fn set_quotas(object: &mut Value, quotas: &QuotaArgs) {
    if !object.is_object() {
        *object = json!({});
    }
    let given = [
        ("prio", quotas.prio.map(u64::from)),
        ("quota_time", quotas.quota_time),
        ("quota_cpu", quotas.quota_cpu),
        ("quota_ram", quotas.quota_ram),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            object[name] = value.into();
        }
    }
}

/// Makes a project.
pub async fn create_project(api: &Api, args: &ProjectArgs) -> Result<Value, Failure> {
    let mut body = json!({"id": args.name, "description": args.description.as_deref().unwrap_or_default(),
        "prio": 50, "members": args.member, "quota_time": 0, "quota_cpu": 0, "quota_ram": 0});
    set_quotas(&mut body, &args.quotas);
    let doing = format!("making project {}", args.name);
    api.json(&api.ask(Method::POST, &["project"], doing).body(body)).await
}

/// Changes what is given and leaves the rest.
pub async fn update_project(api: &Api, args: &ProjectArgs) -> Result<Value, Failure> {
    if args.description.is_none() && args.member.is_empty() && args.quotas == QuotaArgs::default() {
        return Err(nothing_to_change());
    }
    change_project(api, &args.name, |project| {
        if let Some(description) = &args.description {
            project["description"] = description.as_str().into();
        }
        if !args.member.is_empty() {
            project["members"] = json!(args.member);
        }
        set_quotas(project, &args.quotas);
        Ok(())
    })
    .await
}

/// Reads a project, changes it, and sends it back whole, as the server expects it.
async fn change_project(
    api: &Api,
    name: &str,
    change: impl FnOnce(&mut Value) -> Result<(), Failure>,
) -> Result<Value, Failure> {
    let ask = api.get(&["project", name], format!("reading project {name}"));
    let mut project = api.json(&ask).await?;
    if !project.is_object() {
        return Err(garbled(&ask, "no project"));
    }
    change(&mut project)?;
    api.json(&api.ask(Method::POST, &["project", name], format!("changing project {name}")).body(project))
        .await
}

/// Adds members, or takes them out.
pub async fn members(api: &Api, name: &str, logins: &[String], add: bool) -> Result<Value, Failure> {
    change_project(api, name, |project| {
        let mut members: Vec<String> = entries(&project["members"]).iter().map(scalar).collect();
        for login in logins {
            let there = members.contains(login);
            if add && !there {
                members.push(login.clone());
            } else if !add && there {
                members.retain(|member| member != login);
            } else if !add {
                let text =
                    format!("{login} is no member of project {name}: its members are {}", members.join(", "));
                return Err(Failure::Usage(crate::text::short(&text, 1000)));
            }
        }
        project["members"] = json!(members);
        Ok(())
    })
    .await
}

/// Offers a volume, or changes the one with that name.
pub async fn add_volume(api: &Api, args: &VolumeArgs) -> Result<Value, Failure> {
    change_project(api, &args.name, |project| {
        let mut volumes = entries(&project["volumes"]).to_vec();
        volumes.retain(|volume| volume["name"] != args.volume.as_str());
        volumes.push(json!({"name": args.volume, "path": args.path,
            "mount": args.mount.as_deref().unwrap_or(&args.path), "acl": if args.rw { "rw" } else { "ro" }}));
        project["volumes"] = json!(volumes);
        Ok(())
    })
    .await
}

/// Takes a volume out.
pub async fn remove_volume(api: &Api, name: &str, volume: &str) -> Result<Value, Failure> {
    change_project(api, name, |project| {
        let mut volumes = entries(&project["volumes"]).to_vec();
        let before = volumes.len();
        volumes.retain(|entry| entry["name"] != volume);
        if volumes.len() == before {
            let names: Vec<String> = volumes.iter().map(|entry| scalar(&entry["name"])).collect();
            let text = format!("project {name} has no volume {volume}: it has {}", names.join(", "));
            return Err(Failure::Usage(crate::text::short(&text, 1000)));
        }
        project["volumes"] = json!(volumes);
        Ok(())
    })
    .await
}

/// Removes something and says so.
async fn remove(api: &Api, parts: &[&str], what: &str, printer: Printer) -> Result<(), Failure> {
    let answer = api.json(&api.ask(Method::DELETE, parts, format!("removing {what}"))).await?;
    if printer.is_json() {
        return printer.json(&answer);
    }
    if printer.quiet {
        return Ok(());
    }
    let said = answer["msg"].as_str().unwrap_or("removed");
    printer.line(&format!("{}: {}", crate::text::line(what), crate::text::short(said, 500)))
}

fn changed(answer: &Value, what: &str, printer: Printer) -> Result<(), Failure> {
    if printer.is_json() {
        return printer.json(answer);
    }
    if printer.quiet {
        return Ok(());
    }
    printer.line(&format!("{}: done", crate::text::line(what)))
}

fn entries(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Names and values of a user, without what is empty.
pub fn user_pairs(user: &Value) -> Vec<(&'static str, Cell)> {
    let task = Task(user);
    let same = |path: &str| Cell::same(task.text(path));
    let yes = |path: &str| Cell::same(if task.at(path) == true { "yes" } else { "no" });
    let mut pairs = vec![
        ("user", same("/id")),
        ("uid", same("/uid")),
        ("gid", same("/gid")),
        ("groups", Cell::same(task.list("/sgids"))),
        ("email", same("/email")),
        ("home", same("/homeDirectory")),
        ("type", same("/type")),
        ("active", if task.at("/active").is_null() { Cell::default() } else { yes("/active") }),
        ("administrator", yes("/admin")),
        ("priority", same("/usage/prio")),
        ("quota of time", quota(task.at("/usage/quota_time"), true)),
        ("quota of cores", quota(task.at("/usage/quota_cpu"), false)),
        ("quota of memory", quota(task.at("/usage/quota_ram"), false)),
        ("disk", bytes(task.at("/usage/disk"))),
    ];
    pairs.retain(|(_, cell)| !cell.plain.is_empty());
    pairs
}

/// Names and values of a project, without what is empty.
pub fn project_pairs(project: &Value) -> Vec<(&'static str, Cell)> {
    let task = Task(project);
    let same = |path: &str| Cell::same(task.text(path));
    let volume = |entry: &Value| {
        let text = |name: &str| scalar(&entry[name]);
        format!("{}:{} {} at {}", text("name"), text("acl"), text("path"), text("mount"))
    };
    let volumes: Vec<String> = entries(task.at("/volumes")).iter().map(volume).collect();
    let mut pairs = vec![
        ("project", same("/id")),
        ("description", same("/description")),
        ("priority", same("/prio")),
        ("members", Cell::same(task.list("/members"))),
        ("volumes", Cell::same(volumes.join(", "))),
        ("quota of time", quota(task.at("/quota_time"), true)),
        ("quota of cores", quota(task.at("/quota_cpu"), false)),
        ("quota of memory", quota(task.at("/quota_ram"), false)),
    ];
    pairs.retain(|(_, cell)| !cell.plain.is_empty());
    pairs
}

/// A limit; 0 is none.
fn quota(value: &Value, time: bool) -> Cell {
    match value.as_f64() {
        None => Cell::default(),
        Some(0.0) => Cell::each("none", "0"),
        Some(n) if time => Cell::each(crate::task::span(Seconds(n.max(0.0) as u64)), scalar(value)),
        Some(_) => Cell::same(scalar(value)),
    }
}

fn bytes(value: &Value) -> Cell {
    let bytes = value.as_u64();
    bytes.map(|n| Cell::each(Bytes(n).to_string(), n.to_string())).unwrap_or_default()
}

/// Users in columns.
pub fn users(users: &[Value], printer: Printer) -> Result<(), Failure> {
    let columns = ["USER", "EMAIL", "HOME", "PRIORITY"].map(Column::shown);
    rows(users, &columns, &["/id", "/email", "/homeDirectory", "/usage/prio"], printer)
}

/// Projects in columns.
pub fn projects(projects: &[Value], printer: Printer) -> Result<(), Failure> {
    let columns = ["PROJECT", "PRIORITY", "MEMBERS", "DESCRIPTION"].map(Column::shown);
    rows(projects, &columns, &["/id", "/prio", "/members", "/description"], printer)
}

/// What was used, one line for each day.
pub fn usage(days: &Value, printer: Printer) -> Result<(), Failure> {
    let columns = ["DAY", "CORES", "GB", "SECONDS"].map(Column::shown);
    rows(entries(days), &columns, &["/date", "/cpu", "/ram", "/time"], printer)
}

fn rows(list: &[Value], columns: &[Column], paths: &[&str], printer: Printer) -> Result<(), Failure> {
    if printer.is_json() {
        return printer.json(&Value::Array(list.to_vec()));
    }
    let cell = |entry: &Value, path: &str| {
        let task = Task(entry);
        Cell::same(if task.at(path).is_array() { task.list(path) } else { task.text(path) })
    };
    let (columns, paths) = if printer.quiet { (&columns[..1], &paths[..1]) } else { (columns, paths) };
    let rows: Vec<Vec<Cell>> =
        list.iter().map(|entry| paths.iter().map(|path| cell(entry, path)).collect()).collect();
    printer.rows(columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_no_key_survives_the_reading_of_a_user() {
        let mut user = json!({"id": "ada", "apikey": "K1", "password": "K2", "private": "K3",
            "credentials": {"apikey": "K4", "private": "K5", "public": "K6"}});
        drop_keys(&mut user);
        assert_eq!(user, json!({"id": "ada"}));
    }

    #[test]
    fn limits() {
        assert_eq!(quota(&json!(0), true), Cell::each("none", "0"));
        assert_eq!(quota(&json!(7200), true), Cell::each("2h00m", "7200"));
        assert_eq!(quota(&json!(5), false), Cell::same("5"));
        assert_eq!(quota(&json!(null), false), Cell::default());
        let mut usage = json!(null);
        set_quotas(&mut usage, &QuotaArgs { prio: Some(7), ..QuotaArgs::default() });
        assert_eq!(usage, json!({"prio": 7}));
    }
}
