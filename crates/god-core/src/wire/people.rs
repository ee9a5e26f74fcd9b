//! Users and projects on the wire: what clients read, and what they may send back changed.

use super::document::number;
use super::fault::{Fault, shown};
use super::reader::{Chars, Reader, Section};
use crate::ids::{ProjectId, UserId};
use crate::user::{Project, ProjectVolume, User};
use serde_json::{Value, json};

/// Most members of a project.
const MEMBERS: usize = 10_000;
/// Most volumes of a project.
const VOLUMES: usize = 100;
/// Largest quota; nothing that is used comes near.
const QUOTA: f64 = 1e15;
/// Names of volumes that are the system's or the user's own.
const RESERVED: [&str; 3] = [super::JOB_VOLUME, super::UPLOAD_VOLUME, "home"];

/// What the document of a user says beside the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserFacts {
    /// Whether the login is an admin's.
    pub is_admin: bool,
    /// Bytes of the user's job directories that count.
    pub disk: u64,
    /// Whether the user is being removed.
    pub is_leaving: bool,
}

/// A user as clients read it. Keys are shown by their first characters only, and no private key is known.
#[must_use]
pub fn user_document(user: &User, facts: UserFacts) -> Value {
    let key = user.keys.first().map_or(String::new(), |key| format!("{}...", key.prefix));
    let mut document = json!({
        "id": user.id,
        "uid": user.uid,
        "gid": user.gid,
        "sgids": user.sgids,
        "email": user.email,
        "homeDirectory": user.home,
        "admin": facts.is_admin,
        "credentials": {"apikey": key, "public": user.ssh_public, "private": ""},
        "usage": {
            "prio": user.prio,
            "quota_time": number(user.quotas[0]),
            "quota_cpu": number(user.quotas[1]),
            "quota_ram": number(user.quotas[2]),
            "disk": facts.disk,
            "guest_home": 0,
        },
        "type": user.kind,
        "guest": user.guest,
        "active": user.active,
    });
    if facts.is_leaving {
        document["removing"] = true.into();
    }
    document
}

/// A project as clients read it.
#[must_use]
pub fn project_document(project: &Project) -> Value {
    let volumes: Vec<Value> = project
        .volumes
        .iter()
        .map(|volume| {
            let mount = if volume.mount.is_empty() { &volume.path } else { &volume.mount };
            let acl = if volume.acl == "rw" { "rw" } else { "ro" };
            json!({"name": volume.name, "path": volume.path, "mount": mount, "acl": acl})
        })
        .collect();
    json!({
        "id": project.id,
        "description": project.description,
        "prio": project.prio,
        "members": project.members,
        "volumes": volumes,
        "quota_time": number(project.quotas[0]),
        "quota_cpu": number(project.quotas[1]),
        "quota_ram": number(project.quotas[2]),
    })
}

/// What somebody may change of a user's record. `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserChange {
    /// Scheduling priority 0..=100.
    pub prio: Option<u32>,
    /// Quotas: time, cpu, ram.
    pub quotas: [Option<f64>; 3],
    /// Whether the login may be used.
    pub active: Option<bool>,
    /// Public key for interactive sessions.
    pub ssh_public: Option<String>,
}

impl UserChange {
    /// Reads the document that a client sends: the whole one it has read, with some fields changed. What nobody may change
    /// is not even read.
    ///
    /// # Errors
    /// Every fault of what may be changed.
    pub fn read(body: &Value) -> Result<UserChange, Vec<Fault>> {
        let mut r = Reader::new(true);
        let root = r.root(body);
        let usage = r.section(&root, "usage", "usage");
        let credentials = r.section(&root, "credentials", "credentials");
        let change = UserChange {
            prio: prio(&mut r, &usage),
            quotas: quotas(&mut r, &usage),
            active: root.get("active").is_some().then(|| r.yes(&root, "active")),
            ssh_public: r.text(&credentials, "public", 8192, Chars::Any).and_then(|text| {
                let key = ssh_key(&text);
                if key.is_none() {
                    let accepted = "one line: ssh-ed25519, ssh-rsa or ecdsa-sha2-..., then the key in base64";
                    r.fault("credentials.public", "is no public ssh key", accepted);
                }
                key
            }),
        };
        if r.faults.is_empty() { Ok(change) } else { Err(r.faults) }
    }

    /// The record with what an admin may change.
    pub fn by_admin(&self, user: &mut User) {
        user.prio = self.prio.unwrap_or(user.prio);
        user.active = self.active.unwrap_or(user.active);
        take_quotas(&self.quotas, &mut user.quotas);
    }

    /// The record with what its owner may change.
    pub fn by_owner(&self, user: &mut User) {
        if let Some(key) = &self.ssh_public {
            user.ssh_public.clone_from(key);
        }
    }
}

/// A project as somebody sends it. `None` leaves a field as it is, or as it is in a new project.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectChange {
    /// Name, as it stands.
    pub id: String,
    /// Free text.
    pub description: Option<String>,
    /// Scheduling priority 0..=100.
    pub prio: Option<u32>,
    /// Logins, each once.
    pub members: Option<Vec<UserId>>,
    /// Volumes, each name once.
    pub volumes: Option<Vec<ProjectVolume>>,
    /// Quotas: time, cpu, ram.
    pub quotas: [Option<f64>; 3],
}

impl ProjectChange {
    /// Reads the document that a client sends.
    ///
    /// # Errors
    /// Every fault, up to 50.
    pub fn read(body: &Value) -> Result<ProjectChange, Vec<Fault>> {
        let mut r = Reader::new(true);
        let root = r.root(body);
        let change = ProjectChange {
            id: r.text(&root, "id", 64, Chars::Line).unwrap_or_default(),
            description: r.text(&root, "description", 10_000, Chars::Lines),
            prio: prio(&mut r, &root),
            members: root.get("members").is_some().then(|| members(&mut r, &root)),
            volumes: root.get("volumes").is_some().then(|| volumes(&mut r, &root)),
            quotas: quotas(&mut r, &root),
        };
        if r.faults.is_empty() { Ok(change) } else { Err(r.faults) }
    }

    /// A new project of this name.
    #[must_use]
    pub fn made(self, id: ProjectId) -> Project {
        let mut project = Project {
            id,
            description: String::new(),
            prio: 50,
            members: Vec::new(),
            volumes: Vec::new(),
            quotas: [0.0; 3],
            rev: 0,
        };
        self.apply(&mut project);
        project
    }

    /// Changes a project; its name stays.
    pub fn apply(self, project: &mut Project) {
        project.description = self.description.unwrap_or_else(|| std::mem::take(&mut project.description));
        project.prio = self.prio.unwrap_or(project.prio);
        project.members = self.members.unwrap_or_else(|| std::mem::take(&mut project.members));
        project.volumes = self.volumes.unwrap_or_else(|| std::mem::take(&mut project.volumes));
        take_quotas(&self.quotas, &mut project.quotas);
    }
}

fn take_quotas(from: &[Option<f64>; 3], to: &mut [f64; 3]) {
    for (from, to) in from.iter().zip(to) {
        *to = from.unwrap_or(*to);
    }
}

fn prio(r: &mut Reader, of: &Section<'_>) -> Option<u32> {
    r.whole(of, "prio", 0, 100).and_then(|n| u32::try_from(n).ok())
}

fn quotas(r: &mut Reader, of: &Section<'_>) -> [Option<f64>; 3] {
    ["quota_time", "quota_cpu", "quota_ram"].map(|key| {
        let n = r.number(of, key)?;
        if (0.0..=QUOTA).contains(&n) {
            // Minus zero is zero.
            return Some(n + 0.0);
        }
        r.fault(of.path_of(key), format!("is {n}"), "a number from 0, which is none, to 10^15");
        None
    })
}

/// Logins. One client sends the text `[]` for an empty list.
fn members(r: &mut Reader, of: &Section<'_>) -> Vec<UserId> {
    let mut members: Vec<UserId> = Vec::new();
    for (i, entry) in r.list(of, "members", MEMBERS) {
        let path = format!("members[{i}]");
        match entry.as_str().map(str::trim) {
            Some("" | "[]") => {}
            Some(text) => match UserId::parse(text) {
                Ok(login) if !members.contains(&login) => members.push(login),
                Ok(_) => {}
                Err(bad) => r.fault(path, bad.to_string(), ""),
            },
            None => r.fault(path, format!("is {}", shown(entry)), "a login"),
        }
    }
    members
}

fn volumes(r: &mut Reader, of: &Section<'_>) -> Vec<ProjectVolume> {
    let mut volumes: Vec<ProjectVolume> = Vec::new();
    for (i, entry) in r.list(of, "volumes", VOLUMES) {
        let path = format!("volumes[{i}]");
        let Some(map) = entry.as_object() else {
            r.fault(path, format!("is {}", shown(entry)), "an object with name and path");
            continue;
        };
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let volume = ProjectVolume {
            name: text("name"),
            path: text("path"),
            mount: text("mount"),
            acl: if text("acl") == "rw" { "rw".to_owned() } else { "ro".to_owned() },
        };
        let before = r.faults.len();
        if !is_plain_name(&volume.name) || RESERVED.contains(&volume.name.as_str()) {
            let accepted = "letters, digits, _ . and -, up to 64, and none of the system's own names";
            r.fault(format!("{path}.name"), format!("is {:?}", volume.name), accepted);
        }
        if volumes.iter().any(|other| other.name == volume.name) {
            r.fault(format!("{path}.name"), format!("{:?} stands above", volume.name), "each name once");
        }
        for (key, text) in [("path", &volume.path), ("mount", &volume.mount)] {
            if !(is_plain_path(text) || key == "mount" && text.is_empty()) {
                let accepted = "an absolute path without .. : , and $ (but $USERID)";
                r.fault(format!("{path}.{key}"), format!("is {:?}", shown_text(text)), accepted);
            }
        }
        if r.faults.len() == before {
            volumes.push(volume);
        }
    }
    volumes
}

fn shown_text(text: &str) -> String {
    text.chars().take(60).collect()
}

fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_plain_path(path: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, ':' | ',' | '$');
    path.starts_with('/')
        && path.len() <= 4096
        && !path.replace("$USERID", "user").contains(odd)
        && !path.split('/').any(|part| part == "..")
}

/// A public key made anew from its parts: kind, base64, and what is plain of the comment. An empty text stays empty.
fn ssh_key(text: &str) -> Option<String> {
    const KINDS: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let text = text.trim();
    if text.is_empty() {
        return Some(String::new());
    }
    if text.contains(['\n', '\r']) {
        return None;
    }
    let mut words = text.split_ascii_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    if !KINDS.contains(&kind) || key.len() < 40 || !key.bytes().all(base64) {
        return None;
    }
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | '-');
    let comment: String = words.next().unwrap_or_default().chars().filter(plain).take(64).collect();
    Some(if comment.is_empty() { format!("{kind} {key}") } else { format!("{kind} {key} {comment}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        serde_json::from_value(json!({"id": "bob", "type": "local", "uid": 1000, "gid": 1000}))
            .expect("a user")
    }

    #[test]
    fn b1_a_sent_back_user_changes_only_what_may_be_changed() {
        let mut sent = user_document(&user(), UserFacts::default());
        sent["id"] = json!("eve");
        sent["uid"] = json!(0);
        sent["gid"] = json!(0);
        sent["admin"] = json!(true);
        sent["guest"] = json!(true);
        sent["credentials"]["apikey"] = json!("x");
        sent["usage"]["prio"] = json!(90);
        sent["usage"]["quota_cpu"] = json!(12);
        sent["usage"]["disk"] = json!(-5);
        let change = UserChange::read(&sent).expect("fine");
        let mut changed = user();
        change.by_admin(&mut changed);
        let expected = User { prio: 90, quotas: [0.0, 12.0, 0.0], ..user() };
        assert_eq!(changed, expected);
        let mut own = user();
        change.by_owner(&mut own);
        assert_eq!(own, user());
    }

    #[test]
    fn f9_quotas_and_priorities_have_ranges() {
        for bad in [json!(-1), json!(1e16), json!("5"), json!(-0.5), json!([1]), json!(true)] {
            for key in ["quota_time", "quota_cpu", "quota_ram"] {
                assert!(UserChange::read(&json!({"usage": {key: bad}})).is_err(), "{key} {bad}");
                assert!(ProjectChange::read(&json!({key: bad})).is_err(), "{key} {bad}");
            }
        }
        for bad in [json!(-1), json!(101), json!(1.5), json!("50")] {
            assert!(UserChange::read(&json!({"usage": {"prio": bad}})).is_err(), "{bad}");
            assert!(ProjectChange::read(&json!({"prio": bad})).is_err(), "{bad}");
        }
        for good in [json!(0), json!(0.5), json!(1e15), Value::Null, json!(-0.0)] {
            assert!(UserChange::read(&json!({"usage": {"quota_time": good}})).is_ok(), "{good}");
        }
        assert!(UserChange::read(&json!({"active": "yes"})).is_err());
        assert!(UserChange::read(&json!([])).is_err());
    }

    #[test]
    fn members_and_volumes() {
        let read = |body: Value| ProjectChange::read(&body);
        let members = |list: Value| read(json!({"members": list})).map(|change| change.members);
        assert_eq!(members(json!(["[]"])), Ok(Some(Vec::new())), "one client's empty list");
        assert_eq!(members(Value::Null), Ok(None));
        assert_eq!(
            members(json!(["bob", "bob", " eve "])),
            Ok(Some(vec![UserId::new("bob"), UserId::new("eve")]))
        );
        assert!(members(json!(["../bob"])).is_err());
        assert!(members(json!("bob")).is_err());
        let volume = |name: &str, path: &str, mount: Value| {
            read(json!({"volumes": [{"name": name, "path": path, "mount": mount, "acl": null}]}))
        };
        let good = volume("db", "/data/db", Value::Null).expect("fine").volumes.expect("sent");
        assert_eq!((good[0].acl.as_str(), good[0].mount.as_str()), ("ro", ""));
        assert!(volume("db", "/data/$USERID", json!("/mnt/$USERID")).is_ok());
        for (name, path, mount) in [
            ("home", "/x", ""),
            ("go-docker", "/x", ""),
            ("", "/x", ""),
            ("a b", "/x", ""),
            ("v", "x", ""),
            ("v", "", ""),
            ("v", "/a/../etc", ""),
            ("v", "/a:/b", ""),
            ("v", "/a\n", ""),
            ("v", "/$HOME", ""),
            ("v", "/a", "b"),
            ("v", "/a", "/../b"),
        ] {
            assert!(volume(name, path, json!(mount)).is_err(), "{name:?} {path:?} {mount:?}");
        }
        assert!(
            read(json!({"volumes": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]})).is_err()
        );
    }

    #[test]
    fn e1_public_keys_are_made_anew() {
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIJbq5mfGTkqWkPdYcIYnqYXJfGzTzJwQk1Zr1Xz0abcd";
        let good = format!("ssh-ed25519 {key} bob@laptop;$(id)");
        assert_eq!(ssh_key(&good), Some(format!("ssh-ed25519 {key} bob@laptopid")));
        assert_eq!(ssh_key(""), Some(String::new()));
        for bad in [
            "x".to_owned(),
            format!("command=\"id\" ssh-ed25519 {key}"),
            format!("ssh-dss {key}"),
            "ssh-ed25519 short".to_owned(),
            format!("ssh-ed25519 {key}\nssh-ed25519 {key}"),
            format!("ssh-ed25519 {}\"; id", key),
        ] {
            assert_eq!(ssh_key(&bad), None, "{bad}");
        }
    }
}
