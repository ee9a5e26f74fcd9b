//! Admission: whether what somebody asks for may be run here, and the specification it becomes.
//!
//! Pure: the site's rules, the nodes known and the tasks referred to come in as arguments. Nothing that a client says
//! about identity is used; it comes from the user's own record. Every fault is told at once, with what to change.

use crate::array::ArraySpec;
use crate::ids::{ProjectId, TaskId, UserId};
use crate::resources::{Amount, Node};
use crate::spec::{LIMIT_FIELD, Owner, TaskSpec, Volume};
use crate::task::Task;
use crate::units::{Bytes, Cores, Seconds};
use crate::user::{Project, ProjectVolume, User};
use crate::warning::{WARN_FIELD, Warning};
use crate::wire::{AskedVolume, Fault, JOB_VOLUME, Submission, UPLOAD_VOLUME};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Ids that stand for "nobody" or "no id" and never own a run.
const NOBODY: [u32; 3] = [65_534, 65_535, u32::MAX];

/// An executor as admission knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorRules {
    /// Its name, the first part of a placement text.
    pub name: String,
    /// Its features, such as `kill`, `pause`, `interactive`, `gpus`.
    pub features: Vec<String>,
    /// Whether it runs images; the image's name means nothing to one that does not.
    pub images: bool,
}

/// A label offered to users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Left of `==`.
    pub name: String,
    /// What may stand right of it.
    pub values: Vec<String>,
}

/// A text field of `requirements` that may be changed after the submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicField {
    /// Its name.
    pub name: String,
    /// Whether only admins may set it.
    pub admin_only: bool,
}

/// What guests may do beside what every user may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestRules {
    /// Whether their scripts may run as root in their containers, where others' may.
    pub allow_root: bool,
}

/// The site's rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Whether the site is closed for submits of users.
    pub maintenance: bool,
    /// Whether scripts may run as root in their containers.
    pub allow_root: bool,
    /// What guests may do; `None`: nothing.
    pub guests: Option<GuestRules>,
    /// Images offered.
    pub images: Vec<String>,
    /// Whether any other image may be used.
    pub allow_user_images: bool,
    /// Labels offered.
    pub constraints: Vec<Constraint>,
    /// Executors; the first is the default.
    pub executors: Vec<ExecutorRules>,
    /// Network labels offered; the first is the default.
    pub networks: Vec<String>,
    /// Most restarts after failures of nodes, and what a task without a wish gets.
    pub failure_policy: u32,
    /// Cores of a task that asks for none.
    pub default_cpu: u32,
    /// GB of a task that asks for none.
    pub default_ram: u32,
    /// Most elements of an array.
    pub array_max: u64,
    /// Most bytes of a script.
    pub script_max: usize,
    /// Smallest user id that may own runs.
    pub min_uid: u32,
    /// Smallest group id that may own runs; secondary groups below it are left out.
    pub min_gid: u32,
    /// Time limit of a task that asks for none.
    pub time_limit_default: Option<Seconds>,
    /// Longest time limit that may be asked for.
    pub time_limit_max: Option<Seconds>,
    /// Fields that may be changed after the submit.
    pub dynamic_fields: Vec<DynamicField>,
    /// Whether mail can be sent.
    pub mail: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Requester<'a> {
    /// The one who is logged in.
    pub user: &'a User,
    /// The record of the login that the submission names, when it is another one that exists.
    pub on_behalf: Option<&'a User>,
    /// The site's projects.
    pub projects: &'a [Project],
    /// Whether `user` is an admin.
    pub is_admin: bool,
}

/// Turns the volumes that an owner asks for into mounts; the last are those that the project offers.
pub type Resolve<'a> = dyn Fn(&Owner, &[AskedVolume], &[ProjectVolume]) -> Vec<Volume> + 'a;

/// What admission looks at beside the submission and its sender.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The rules.
    pub site: &'a Site,
    /// The nodes known; none says that nothing is known of their sizes.
    pub nodes: &'a [Node],
    /// Those of the tasks to wait for that exist and that the owner may see.
    pub parents: &'a BTreeSet<TaskId>,
    /// Resolves volumes by the site's rules, with those that the project offers; unknown ones are left out.
    pub volumes: &'a Resolve<'a>,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("site", &self.site).finish_non_exhaustive()
    }
}

/// Why something is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The request must be changed.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Fault>),
}

/// Turns what was asked into the specification that is stored.
///
/// # Errors
/// [`Refusal::Forbidden`] at the first right that is missing, else [`Refusal::Invalid`] with every fault.
pub fn admit(asked: Submission, who: &Requester<'_>, around: &Surroundings<'_>) -> Result<TaskSpec, Refusal> {
    let site = around.site;
    if site.maintenance && !who.is_admin {
        let wrong = "the site is in maintenance, nothing can be submitted now";
        return Err(Refusal::Invalid(vec![Fault::new("", wrong, "a submit after its end")]));
    }
    let record = record_of(&asked, who)?;
    let project = project_of(&asked, record, who.projects)?;
    let mut faults = Vec::new();
    may_be_root(&asked, record, site, &mut faults)?;
    let owner = owner_of(&asked, record, &project, site, &mut faults);

    let executor = executor_of(&asked, site, &mut faults);
    check_texts(&asked, site, executor, &mut faults);
    check_labels(&asked, site, &mut faults);
    let array = array_of(&asked, site, &mut faults);
    let time_limit = time_limit_of(&asked, site, &mut faults);
    let network = network_of(&asked, site, &mut faults);
    let failure_policy = asked.failure_policy.unwrap_or(site.failure_policy);
    if failure_policy > site.failure_policy {
        let wrong = format!("asks for {failure_policy} restarts");
        faults.push(Fault::new(
            "requirements.failure_policy",
            wrong,
            format!("at most {}", site.failure_policy),
        ));
    }
    for id in asked.after.iter().filter(|id| !around.parents.contains(id)) {
        let wrong = format!("there is no task {id} that you may wait for");
        faults.push(Fault::new("requirements.tasks", wrong, "ids of your own tasks"));
    }
    let amount = Amount {
        cores: Cores(asked.cpu.unwrap_or(site.default_cpu)),
        memory: Bytes::from_ram(asked.ram.unwrap_or(site.default_ram)),
        gpus: asked.gpus,
    };
    if let Some(executor) = executor {
        check_size(amount, executor, around.nodes, &mut faults);
    }
    let fields = fields_of(&asked, who.is_admin, site)?;
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }

    let quotas = quotas_of(record, &project, who.projects);
    let offered = who.projects.iter().find(|p| p.id == project).map_or(&[][..], |p| &p.volumes);
    let mut volumes = (around.volumes)(&owner, &askable(&asked.volumes), offered);
    if asked.root {
        volumes.iter_mut().for_each(|volume| volume.writable = false);
    }
    Ok(TaskSpec {
        name: asked.name,
        description: asked.description,
        tags: asked.tags,
        cores: amount.cores,
        ram: asked.ram.unwrap_or(site.default_ram),
        gpus: asked.gpus,
        array,
        labels: asked.labels,
        after: asked.after,
        after_policy: asked.after_policy,
        ports: asked.ports,
        network,
        executor: asked.executor,
        failure_policy,
        tmp_storage: asked.tmp_storage,
        uris: asked.uris,
        time_limit,
        fields,
        image: asked.image,
        volumes,
        root: asked.root,
        interactive: asked.interactive,
        script: asked.script,
        notify_email: asked.notify_email && site.mail && owner.email.is_some(),
        output: asked.output,
        quotas,
        owner,
    })
}

/// A task with one dynamic field changed; the version is the next one.
///
/// # Errors
/// [`Refusal`] when the field may not be set, is not known, or its value makes no sense.
pub fn set_field(task: &Task, name: &str, value: &str, is_admin: bool, site: &Site) -> Result<Task, Refusal> {
    let invalid = |wrong: String, accepted: String| Refusal::Invalid(vec![Fault::new(name, wrong, accepted)]);
    let Some(field) = site.dynamic_fields.iter().find(|field| field.name == name) else {
        let names: Vec<&str> = site.dynamic_fields.iter().map(|field| field.name.as_str()).collect();
        let accepted = if names.is_empty() { "none is configured here".to_owned() } else { names.join(", ") };
        return Err(invalid("is no field that can be changed".to_owned(), accepted));
    };
    if field.admin_only && !is_admin {
        return Err(Refusal::Forbidden(format!("{name} can be changed by admins only")));
    }
    if task.phase().is_over() {
        return Err(invalid("can not be changed any more: the task is over".to_owned(), String::new()));
    }
    if let Some(parent) = task.parent {
        let wrong =
            format!("can not be changed for one task of an array; change it for the array, task {parent}");
        return Err(invalid(wrong, String::new()));
    }
    if value.len() > 1000 || value.contains(char::is_control) {
        return Err(invalid(
            "is too long or holds control characters".to_owned(),
            "up to 1000 bytes of text".to_owned(),
        ));
    }
    let mut spec = TaskSpec::clone(&task.spec);
    if name == "maxlifespan" || name == "time_limit" {
        let limit = Seconds::parse(value).map_err(|e| invalid(e.to_string(), String::new()))?;
        if let Some(max) = site.time_limit_max.filter(|max| limit > *max && !is_admin) {
            return Err(invalid(format!("{value} is too long"), format!("at most {} seconds", max.0)));
        }
        spec.fields.insert(LIMIT_FIELD.to_owned(), value.to_owned());
    } else {
        spec.fields.insert(name.to_owned(), value.to_owned());
    }
    Ok(Task { spec: Arc::new(spec), rev: task.rev.next(), ..task.clone() })
}

/// The record of the owner: the sender's own, or another one's when an admin asks.
fn record_of<'a>(asked: &Submission, who: &Requester<'a>) -> Result<&'a User, Refusal> {
    let record = match &asked.user {
        Some(login) if *login != who.user.id.as_str() => {
            if !who.is_admin {
                return Err(Refusal::Forbidden("only admins may submit for another user".to_owned()));
            }
            who.on_behalf.filter(|user| user.id.as_str() == login).ok_or_else(|| {
                Refusal::Invalid(vec![Fault::new(
                    "user.id",
                    format!("there is no user {login:?}"),
                    "a login",
                )])
            })?
        }
        _ => who.user,
    };
    if record.active {
        Ok(record)
    } else {
        Err(Refusal::Forbidden(format!("the login {} is not active", record.id)))
    }
}

fn project_of(asked: &Submission, record: &User, projects: &[Project]) -> Result<ProjectId, Refusal> {
    let name = asked.project.as_deref().unwrap_or(ProjectId::DEFAULT);
    let member = |project: &Project| project.id.as_str() == name && project.members.contains(&record.id);
    if name == ProjectId::DEFAULT || projects.iter().any(member) {
        Ok(ProjectId::new(name))
    } else {
        // An unknown project gets the same answer, so that names can not be guessed.
        Err(Refusal::Forbidden(format!("{} is no member of a project {name:?}", record.id)))
    }
}

fn may_be_root(
    asked: &Submission,
    record: &User,
    site: &Site,
    faults: &mut Vec<Fault>,
) -> Result<(), Refusal> {
    if asked.root && !site.allow_root {
        return Err(Refusal::Forbidden("scripts can not run as root here".to_owned()));
    }
    if record.guest {
        match site.guests {
            None => return Err(Refusal::Forbidden("guests can not submit here".to_owned())),
            Some(rules) if asked.root && !rules.allow_root => {
                return Err(Refusal::Forbidden("scripts of guests can not run as root here".to_owned()));
            }
            Some(_) => {}
        }
    }
    let low = |id: u32, floor: u32| (id < floor && !asked.root) || NOBODY.contains(&id);
    if low(record.uid, site.min_uid) || low(record.gid, site.min_gid) {
        let wrong = format!("the account {} has uid {} and gid {}", record.id, record.uid, record.gid);
        let accepted = format!("an account with a uid from {} and a gid from {}", site.min_uid, site.min_gid);
        faults.push(Fault::new("user", wrong, accepted));
    }
    Ok(())
}

fn owner_of(
    asked: &Submission,
    record: &User,
    project: &ProjectId,
    site: &Site,
    faults: &mut Vec<Fault>,
) -> Owner {
    // A second fence: the record was made by a plugin, and the login ends up in paths and environments.
    if let Err(bad) = UserId::parse(record.id.as_str()) {
        faults.push(Fault::new("user.id", bad.to_string(), ""));
    }
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let kept = |gid: &u32| (*gid >= site.min_gid || asked.root) && !NOBODY.contains(gid);
    Owner {
        id: record.id.clone(),
        uid: record.uid,
        gid: record.gid,
        sgids: record.sgids.iter().copied().filter(kept).collect(),
        email: text(&record.email),
        home: text(&record.home),
        project: project.clone(),
        guest: record.guest.then(|| record.kind.clone()),
    }
}

fn executor_of<'a>(asked: &Submission, site: &'a Site, faults: &mut Vec<Fault>) -> Option<&'a ExecutorRules> {
    let found = match asked.executor.as_deref() {
        None => site.executors.first(),
        Some(placement) => {
            let name = placement.split(':').next().unwrap_or_default();
            site.executors.iter().find(|executor| executor.name == name)
        }
    };
    if found.is_none() {
        let wrong = match &asked.executor {
            Some(text) => format!("{text:?} names no executor of this site"),
            None => "no executor is configured here".to_owned(),
        };
        let names: Vec<&str> = site.executors.iter().map(|executor| executor.name.as_str()).collect();
        faults.push(Fault::new("requirements.executor", wrong, names.join(", ")));
    }
    found
}

fn check_texts(asked: &Submission, site: &Site, executor: Option<&ExecutorRules>, faults: &mut Vec<Fault>) {
    if asked.name.trim().is_empty() {
        faults.push(Fault::new("meta.name", "is missing", "a name"));
    }
    if asked.interactive {
        if let Some(executor) = executor.filter(|executor| !has(executor, "interactive")) {
            let wrong = format!("interactive sessions are not built in yet on executor {}", executor.name);
            faults.push(Fault::new("command.interactive", wrong, "false"));
        }
    } else if asked.script.trim().is_empty() {
        faults.push(Fault::new("command.cmd", "is empty", "a script"));
    }
    if asked.script.len() > site.script_max {
        let wrong = format!("the script has {} bytes", asked.script.len());
        faults.push(Fault::new("command.cmd", wrong, format!("at most {}", site.script_max)));
    }
    if executor.is_none_or(|executor| executor.images) {
        check_image(asked, site, faults);
    }
    if let Some(size) = asked.tmp_storage.as_deref().filter(|size| !is_size(size)) {
        let wrong = format!("{size:?} is no size");
        faults.push(Fault::new("requirements.tmpstorage.size", wrong, "digits, then perhaps k, m, g or t"));
    }
}

fn check_image(asked: &Submission, site: &Site, faults: &mut Vec<Fault>) {
    let image = &asked.image;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    if image.is_empty() {
        faults.push(Fault::new("container.image", "is missing", "the name of an image"));
    } else if !image.bytes().all(plain) || !image.as_bytes()[0].is_ascii_alphanumeric() {
        faults.push(Fault::new("container.image", format!("{image:?} is no image"), "[registry/]name[:tag]"));
    } else if !site.allow_user_images && !site.images.contains(image) {
        let accepted =
            if site.images.is_empty() { "none is configured".to_owned() } else { site.images.join(", ") };
        faults.push(Fault::new("container.image", format!("{image:?} is not offered here"), accepted));
    }
}

fn check_labels(asked: &Submission, site: &Site, faults: &mut Vec<Fault>) {
    let offered = |label: &str| {
        let Some((name, value)) = label.split_once("==") else { return false };
        let value_of = |constraint: &&Constraint| constraint.name == name;
        site.constraints
            .iter()
            .filter(value_of)
            .any(|constraint| constraint.values.iter().any(|v| v == value))
    };
    for (i, label) in asked.labels.iter().enumerate().filter(|(_, label)| !offered(label)) {
        let labels: Vec<String> = site
            .constraints
            .iter()
            .flat_map(|c| c.values.iter().map(|value| format!("{}=={value}", c.name)))
            .collect();
        let accepted = if labels.is_empty() { "none is configured".to_owned() } else { labels.join(", ") };
        let path = format!("requirements.label[{i}]");
        faults.push(Fault::new(path, format!("{label:?} is not offered here"), accepted));
    }
}

fn array_of(asked: &Submission, site: &Site, faults: &mut Vec<Fault>) -> Option<ArraySpec> {
    const PATH: &str = "requirements.array.values";
    let array = match asked.array.as_deref()?.parse::<ArraySpec>() {
        Ok(array) => array,
        Err(bad) => {
            faults.push(Fault::new(PATH, bad.to_string(), ""));
            return None;
        }
    };
    if array.count() > site.array_max {
        let wrong = format!("the array has {} tasks", array.count());
        faults.push(Fault::new(PATH, wrong, format!("at most {}", site.array_max)));
    }
    if asked.interactive {
        faults.push(Fault::new(PATH, "an interactive session can not be an array", "nothing"));
    }
    Some(array)
}

/// The shorter of both names' limits; the site's own when there is none.
fn time_limit_of(asked: &Submission, site: &Site, faults: &mut Vec<Fault>) -> Option<Seconds> {
    let mut limit: Option<Seconds> = None;
    for (path, text) in
        [("requirements.time_limit", &asked.time_limit), ("requirements.maxlifespan", &asked.maxlifespan)]
    {
        let Some(text) = text else { continue };
        match Seconds::parse(text) {
            Err(bad) => faults.push(Fault::new(path, bad.to_string(), "")),
            Ok(span) => match site.time_limit_max.filter(|max| span > *max) {
                Some(max) => {
                    let accepted = format!("at most {} seconds", max.0);
                    faults.push(Fault::new(path, format!("{text} is too long"), accepted));
                }
                None => limit = Some(limit.map_or(span, |other| other.min(span))),
            },
        }
    }
    limit.or(site.time_limit_default).or(site.time_limit_max)
}

fn network_of(asked: &Submission, site: &Site, faults: &mut Vec<Fault>) -> String {
    let default = site.networks.first().map_or("public", String::as_str);
    match &asked.network {
        None => default.to_owned(),
        Some(label) => {
            if label != default && !site.networks.contains(label) {
                let accepted =
                    if site.networks.is_empty() { default.to_owned() } else { site.networks.join(", ") };
                faults.push(Fault::new(
                    "requirements.network",
                    format!("there is no network {label:?}"),
                    accepted,
                ));
            }
            label.clone()
        }
    }
}

fn check_size(amount: Amount, executor: &ExecutorRules, nodes: &[Node], faults: &mut Vec<Fault>) {
    if amount.cores.0 < 1 {
        faults.push(Fault::new("requirements.cpu", "is 0", "at least 1 core"));
    }
    if amount.memory.0 < 1 {
        faults.push(Fault::new("requirements.ram", "is 0", "at least 1 GB"));
    }
    let mine = || nodes.iter().filter(|node| node.executor.as_str() == executor.name).map(|node| node.total);
    let Some(largest) = mine().max_by_key(|total| (total.gpus.min(amount.gpus), total.cores, total.memory))
    else {
        if amount.gpus > 0 && !has(executor, "gpus") {
            let wrong = format!("executor {} offers no GPUs", executor.name);
            faults.push(Fault::new("requirements.gpus", wrong, "0"));
        }
        return;
    };
    if mine().any(|total| amount.fits(total)) {
        return;
    }
    let gpus = |n: u32| if n > 0 { format!(" and {n} GPUs") } else { String::new() };
    let wrong = format!(
        "{} cores, {}{} fit on no node of executor {}",
        amount.cores.0,
        amount.memory,
        gpus(amount.gpus),
        executor.name
    );
    let accepted = format!(
        "at most what its largest node has: {} cores, {}{}",
        largest.cores.0,
        largest.memory,
        gpus(largest.gpus)
    );
    faults.push(Fault::new("requirements", wrong, accepted));
}

/// The dynamic fields among the free ones; anything else is ignored like every unknown field.
fn fields_of(
    asked: &Submission,
    is_admin: bool,
    site: &Site,
) -> Result<std::collections::BTreeMap<String, String>, Refusal> {
    let mut fields = std::collections::BTreeMap::new();
    for (name, value) in &asked.fields {
        let field = site.dynamic_fields.iter().find(|field| field.name == *name);
        match field {
            Some(field) if field.admin_only && !is_admin => {
                return Err(Refusal::Forbidden(format!("{name} can be set by admins only")));
            }
            Some(_) if value.len() > 1000 || value.contains(char::is_control) => {
                let path = format!("requirements.{name}");
                let wrong = "is too long or holds control characters";
                return Err(Refusal::Invalid(vec![Fault::new(path, wrong, "up to 1000 bytes of text")]));
            }
            Some(_) => {
                fields.insert(name.clone(), value.clone());
            }
            None if name == WARN_FIELD => {
                if let Err(bad) = value.parse::<Warning>() {
                    let fault = Fault::new(format!("requirements.{name}"), bad.to_string(), "");
                    return Err(Refusal::Invalid(vec![fault]));
                }
                fields.insert(name.clone(), value.clone());
            }
            None if name == "godflow" => {
                fields.insert(name.clone(), (value == "true").to_string());
            }
            None => {}
        }
    }
    Ok(fields)
}

fn quotas_of(record: &User, project: &ProjectId, projects: &[Project]) -> [f64; 6] {
    let user = record.quotas;
    let project = projects.iter().find(|p| p.id == *project).map_or([0.0; 3], |p| p.quotas);
    [user[0], user[1], user[2], project[0], project[1], project[2]]
}

/// The volumes that users may name at all.
fn askable(asked: &[AskedVolume]) -> Vec<AskedVolume> {
    asked.iter().filter(|volume| volume.name != JOB_VOLUME && volume.name != UPLOAD_VOLUME).cloned().collect()
}

fn has(executor: &ExecutorRules, feature: &str) -> bool {
    executor.features.iter().any(|f| f == feature)
}

/// Digits, then perhaps one letter of k, m, g, t.
fn is_size(text: &str) -> bool {
    let digits = text.strip_suffix(|c: char| "kmgtKMGT".contains(c)).unwrap_or(text);
    !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
#[path = "admission/tests.rs"]
mod tests;
