//! The commands, and what several of them share.

pub mod act;
pub mod attach;
pub mod files;
mod generate;
mod gone;
pub mod list;
pub mod login;
mod logs;
pub mod people;
pub mod show;
pub mod site;
pub mod ssh;
pub mod submit;
pub mod wait;
mod why;

pub use gone::Gone;

use crate::args::{Cli, Command, FilesCommand};
use crate::batch;
use crate::client::Api;
use crate::credentials::Surroundings;
use crate::failure::{Failure, warn};
use crate::ids::{IdList, Part};
use crate::output::Printer;
use crate::task::Task;
use god_core::array::ArraySpec;
use serde_json::Value;
use std::collections::HashSet;

/// Runs one command; gives the exit code of the program.
///
/// # Errors
/// Why it did not succeed.
pub async fn run(cli: Cli) -> Result<u8, Failure> {
    let printer = Printer::new(&cli.globals);
    let around = Surroundings::of_process(cli.globals.server.as_deref());
    let api = || Api::new(around.credentials()?);
    match cli.command {
        Command::Login(args) => login::run(&args, &around, printer).await,
        Command::Logout => login::forget(&around, printer),
        Command::Submit(args) => submit::run(&args, &api()?, printer).await,
        Command::Run(args) => submit::one_command(&args, &api()?, printer).await,
        Command::List(args) => list::run(&args, &api()?, printer).await,
        Command::Search(args) => list::search(&args, &api()?, printer).await,
        Command::Show { id } => show::run(&id, &api()?, printer).await,
        Command::Why(args) => why::why(&args.ids, &api()?, printer).await,
        Command::Eff(args) => why::eff(&args.ids, &api()?, printer).await,
        Command::Logs(args) => logs::run(&args, &api()?).await,
        Command::Attach { id, raw } => attach::run(&id, raw, &api()?).await,
        Command::Wait(args) => wait::run(&args.ids, &api()?, printer).await,
        Command::Kill(args) => act::kill(&args, &api()?, printer).await,
        Command::Suspend(args) => act::SUSPEND.run(&args.ids, &api()?, printer).await,
        Command::Resume(args) => act::RESUME.run(&args.ids, &api()?, printer).await,
        Command::Reschedule(args) => act::RESCHEDULE.run(&args.ids, &api()?, printer).await,
        Command::Replay(args) => act::replay(&args.ids, &api()?, printer).await,
        Command::Update(args) => act::update(&args, &api()?, printer).await,
        Command::Archive(args) => act::archive(&args, &api()?, printer).await,
        Command::Purge(args) => act::purge(&args, &api()?, printer).await,
        Command::Files(FilesCommand::Ls { id, path }) => {
            files::list(&id, path.as_deref().unwrap_or_default(), &api()?, printer).await
        }
        Command::Files(FilesCommand::Get(args)) => files::get(&args, &api()?, printer).await,
        Command::Ssh(args) => ssh::run(&args, &api()?, printer).await,
        Command::Batch(command) => batch::run(&command, &around, printer).await,
        Command::Images => site::images(&api()?, printer).await,
        Command::Whoami => site::whoami(&api()?, printer).await,
        Command::User(command) => people::user(&command, &api()?, printer).await,
        Command::Project(command) => people::project(&command, &api()?, printer).await,
        Command::Config => site::config(&Api::anonymous(around.server()?)?, printer).await,
        Command::Count => site::count(&api()?, printer).await,
        Command::Generate(command) => generate::run(&command),
    }
}

/// The tasks of these lists in the order given, each once. Children of arrays are looked up.
///
/// # Errors
/// A child that does not exist; whatever the look-up meets.
pub async fn resolve(api: &Api, lists: &[IdList]) -> Result<Vec<u64>, Failure> {
    let mut seen = HashSet::new();
    let mut ids = Vec::new();
    for part in lists.iter().flat_map(|list| &list.0) {
        match part {
            Part::Tasks(first, last) => ids.extend((*first..=*last).filter(|id| seen.insert(*id))),
            Part::Children { parent, .. } => {
                let parent = parent.to_string();
                let ask = api.get(&["task", &parent], format!("looking for the children of array {parent}"));
                let children = children(&api.json(&ask).await?, part)?;
                ids.extend(children.into_iter().filter(|id| seen.insert(*id)));
            }
        }
    }
    Ok(ids)
}

/// The one task that a list names.
///
/// # Errors
/// It names several; whatever the look-up meets.
pub async fn resolve_one(api: &Api, list: &IdList) -> Result<u64, Failure> {
    match resolve(api, std::slice::from_ref(list)).await?[..] {
        [id] => Ok(id),
        _ => Err(Failure::Usage("this command takes one task, not several".to_owned())),
    }
}

/// Ids of the children of this array whose values the part names.
fn children(array: &Value, part: &Part) -> Result<Vec<u64>, Failure> {
    let Part::Children { parent, first, last } = part else { return Ok(Vec::new()) };
    let task = Task(array);
    let values = task.text("/requirements/array/values");
    let Ok(spec) = values.parse::<ArraySpec>() else {
        return Err(Failure::Usage(format!("task {parent} is no array, so there is no {part}")));
    };
    let ids = task.at("/requirements/array/tasks").as_array().map(Vec::as_slice).unwrap_or_default();
    let known = (0u64..).zip(ids);
    let wanted = known.filter(|(n, _)| spec.value(*n).is_some_and(|v| (*first..=*last).contains(&v)));
    let wanted: Vec<u64> = wanted.filter_map(|(_, id)| id.as_u64()).collect();
    if wanted.is_empty() {
        return Err(Failure::Usage(format!("there is no {part}: the values of array {parent} are {spec}")));
    }
    Ok(wanted)
}

/// Does something to each task and goes on after one that fails. Gives what was gained, and how it ended:
/// [`Failure::Some`] after several tasks, the failure itself for a single one or when going on makes no sense.
pub async fn for_each<T>(
    ids: &[u64],
    mut action: impl AsyncFnMut(u64) -> Result<T, Failure>,
) -> (Vec<T>, Result<(), Failure>) {
    let mut gained = Vec::new();
    let mut failed = 0;
    let mut code = 0;
    for id in ids {
        match action(*id).await {
            Ok(gain) => gained.push(gain),
            Err(failure) if ids.len() == 1 || failure.is_final() => return (gained, Err(failure)),
            Err(failure) => {
                warn(&failure.to_string());
                failed += 1;
                if code == 0 {
                    code = failure.code();
                }
            }
        }
    }
    let ended = if failed == 0 { Ok(()) } else { Err(Failure::Some { failed, all: ids.len(), code }) };
    (gained, ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn children_are_found_by_value() {
        let array = json!({"requirements": {"array": {"values": "2:8:3", "tasks": [41, 42, 43]}}});
        let found = |text: &str| match &text.parse::<IdList>().expect(text).0[..] {
            [part] => children(&array, part).map_err(|failure| failure.to_string()),
            _ => panic!("one part"),
        };
        assert_eq!(found("40_5"), Ok(vec![42]));
        assert_eq!(found("40_2-8"), Ok(vec![41, 42, 43]));
        assert_eq!(found("40_3-6"), Ok(vec![42]));
        assert!(found("40_3").expect_err("no such value").contains("the values of array 40 are 2:8:3"));
        let part = &"9_1".parse::<IdList>().expect("a child").0[0];
        let none = json!({"requirements": {"array": {"values": null, "tasks": []}}});
        assert!(children(&none, part).expect_err("no array").to_string().contains("task 9 is no array"));
    }
}
