//! The users' client against a real service: under its own name, and under every name of the older client.

use crate::site::{Site, program, until};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A person with a home, and the programs on the path.
struct Person<'a> {
    site: &'a Site,
    home: PathBuf,
    bin: PathBuf,
}

/// How a command ended.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl<'a> Person<'a> {
    fn new(site: &'a Site) -> Person<'a> {
        let (home, bin) = (site.data().join("person"), site.data().join("bin"));
        fs::create_dir_all(&home).expect("made");
        fs::create_dir_all(&bin).expect("made");
        let person = Person { site, home, bin };
        person.ok("go-d-cli", &["generate", "links", person.bin.to_str().expect("text")]);
        person
    }

    fn run(&self, name: &str, args: &[&str]) -> Done {
        let path = if name == "go-d-cli" { program(name) } else { self.bin.join(name) };
        let mut command = Command::new(path);
        for (variable, _) in std::env::vars_os() {
            if ["GOD", "XDG_"].iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
                command.env_remove(variable);
            }
        }
        command.args(args).env("HOME", &self.home).current_dir(&self.home).stdin(Stdio::null());
        let output = command.output().expect("it starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a command that must end with 0; its output.
    #[track_caller]
    fn ok(&self, name: &str, args: &[&str]) -> String {
        self.ends(0, name, args)
    }

    #[track_caller]
    fn ends(&self, code: i32, name: &str, args: &[&str]) -> String {
        let done = self.run(name, args);
        let log = self.site.log();
        assert_eq!(done.code, Some(code), "{name} {args:?}: {}{}\n{log}", done.out, done.err);
        done.out
    }

    /// Submits with `godjob create`; the id, cut out as scripts do.
    #[track_caller]
    fn create(&self, args: &[&str]) -> String {
        let said = self.ok("godjob", &[&["create"], args].concat());
        let id = said.trim_end().strip_prefix("Task added. Job id is ").expect("the words of old");
        id.to_owned()
    }
}

#[test]
fn every_older_name_works_against_a_real_service() {
    let site = Site::new();
    let (running, client) = site.up("local");
    let (user, key) = site.worker();
    let person = Person::new(&site);
    let said = person.ok("godlogin", &["-a", &key, "-l", &user, "-s", &format!("{}/", client.url())]);
    assert_eq!(said, "", "a login says nothing");

    // A script with the options of old; waiting gives the exit code of the job.
    fs::write(
        person.home.join("job.sh"),
        "#!/bin/sh\necho out\necho err >&2\necho result > out.txt\nexit 3\n",
    )
    .expect("written");
    let said = person.ends(
        3,
        "godjob",
        &["create", "-n", "first", "-t", "a,b", "-c", "1", "-r", "1", "-s", "job.sh", "--wait"],
    );
    let id = said.trim_end().strip_prefix("Task added. Job id is ").expect("the words of old").to_owned();

    // The loop of a published script: the status cut out of XML.
    person.ok("godjob", &["show", "--xml", &id]);
    let xml = fs::read_to_string(person.home.join("jobs_infos.xml")).expect("written");
    assert!(xml.contains("\n<primary_status>over</primary_status>\n<secondary_status>"), "{xml}");
    assert!(xml.contains("\n<exitcode>3</exitcode>\n"), "{xml}");
    assert!(person.ok("godjob", &["show", &id]).contains("first"));

    // Files.
    let listing = person.ok("godfile", &["list", &id]);
    assert!(listing.contains("god.log") && listing.contains("out.txt"), "{listing}");
    person.ok("godfile", &["download", &id]);
    person.ok("godfile", &["download", &id, "out.txt"]);
    assert_eq!(fs::read_to_string(person.home.join("god.log")).expect("fetched"), "out\n");
    assert_eq!(fs::read_to_string(person.home.join("out.txt")).expect("fetched"), "result\n");
    assert!(person.ends(1, "godfile", &["download", &id, "none"]).starts_with("Not Found"));

    // Dependencies, lists, kill by tag, search.
    let slow = person.create(&["-n", "slow", "-t", "night", "--cmd", "sleep 600"]);
    let child = person.create(&["-n", "child", "--cmd", "true", "--parent", &format!("{slow}, ")]);
    assert!(person.ok("godjob", &["list"]).contains("slow"));
    assert!(person.ok("godjob", &["list", "--over"]).contains("first"));
    let found = person.ok("godjob", &["search", "^(first|slow)$"]);
    assert_eq!(found.lines().count(), 3, "a heading and two tasks: {found}");
    person.ok("godjob", &["killall", "--tag", "night"]);
    assert_eq!(
        client.other(&(user.clone(), key.clone())).over(slow.parse().expect("an id"))["status"]["exitcode"],
        137
    );
    client.other(&(user.clone(), key.clone())).over(child.parse().expect("an id"));
    let held = person.create(&["-n", "held", "--cmd", "sleep 600"]);
    let state =
        || client.other(&(user.clone(), key.clone())).task(held.parse().expect("an id"))["status"].clone();
    until("a running task", || (state()["primary"] == "running").then_some(()));
    person.ok("godjob", &["suspend", &held]);
    until("a paused task", || (state()["secondary"] == "suspended").then_some(()));
    person.ok("godjob", &["resume", &held]);
    person.ok("godjob", &["kill", &held]);
    until("its end", || (state()["primary"] == "over").then_some(()));

    // A list, a few at a time; and again, when nothing is left to do.
    let lines: String = (1..=4).map(|n| format!("--cmd 'exit 0' --name part{n}\n")).collect();
    fs::write(person.home.join("parts.list"), lines).expect("written");
    let played = person.ok("godbatch", &["play", "parts.list", "--parallel", "2"]);
    assert_eq!(played.matches("exit code 0").count(), 4, "{played}");
    assert_eq!(person.ok("godbatch", &["play", "parts.list"]), "4 of 4 tasks are done, 0 are active\n");

    // What is not about tasks.
    person.ok("godimage", &["list"]);
    assert_eq!(person.ok("godssh", &[]), "");
    assert!(person.ends(1, "godssh", &[&id]).contains("not interactive"));
    let shown = person.ok("goduser", &["show"]);
    assert!(shown.contains(&user) && !shown.contains(&key), "{shown}");
    person.ok("goduser", &["usage"]);
    assert!(person.ok("godproject", &["list"]).contains("default"));
    running.end();
}

#[test]
fn the_client_of_today_against_a_real_service() {
    let site = Site::new();
    let (running, client) = site.up("local");
    let (user, key) = site.worker();
    let person = Person::new(&site);
    person.ok("godlogin", &["-a", &key, "-l", &user, "-s", &client.url()]);
    let cli = |args: &[&str]| person.ok("go-d-cli", args);

    let done = person.run("go-d-cli", &["run", "--", "sh", "-c", "echo \"a  b\"; echo no >&2; exit 5"]);
    assert_eq!((done.code, done.out.as_str()), (Some(5), "a  b\n"), "{}", done.err);
    assert!(done.err.contains("Task added. Job id is ") && done.err.ends_with("no\n"), "{}", done.err);

    fs::write(person.home.join("a.sh"), "#!/bin/sh\n#GOD --tag mine --name named\necho $GODOCKER_TASK_ID\n")
        .expect("written");
    let array = cli(&["submit", "-q", "a.sh", "--array", "1:3"]).trim_end().to_owned();
    cli(&["wait", &array]);
    assert_eq!(cli(&["logs", &format!("{array}[2]")]), "2\n");
    assert_eq!(cli(&["wait", "-q", &format!("{array}[1,3]")]), "");
    let tagged = cli(&["list", "--over", "--tag", "mine", "--name", "named", "--since", "1h", "-q"]);
    assert!(tagged.lines().any(|id| id == array), "{tagged}");
    let children = cli(&["list", "--over", "--outcome", "success", "--tag", "mine", "-q"]);
    let parents = cli(&["list", "--over", "--outcome", "success", "--tag", "mine", "-q", "--no-children"]);
    assert_eq!((children.lines().count(), parents.trim_end()), (4, array.as_str()), "{children}");
    let columns = cli(&["list", "--over", "--columns", "id,name,code,cpu-efficiency", "--sort", "id"]);
    assert!(columns.lines().all(|line| line.split('\t').count() == 4), "{columns}");
    let all: Value = serde_json::from_str(&cli(&["search", "^named$", "--output", "json"])).expect("JSON");
    assert!(all.as_array().is_some_and(|tasks| tasks.iter().all(|task| task["name"] == "named")), "{all}");

    let first = cli(&["submit", "-q", "--cmd", "sleep 600"]).trim_end().to_owned();
    let second = cli(&["submit", "-q", "--cmd", "true", "--after", &first]).trim_end().to_owned();
    until("a reason", || Some(cli(&["why", &second])).filter(|why| why.contains("\nreason\t")));
    assert!(cli(&["kill", "--state", "running", "--name", "sleep"]).contains(&first));
    assert_eq!(cli(&["kill", &format!("{array},{first},{second}"), "-q"]), "");
    cli(&["kill", "--mine"]);
    let eff = cli(&["eff", &format!("{array}[1]")]);
    assert_eq!(eff.trim_end().split('\t').count(), 11, "{eff}");
    assert!(cli(&["whoami"]).contains(&user));
    running.end();
}

#[test]
fn administrators_work_under_the_older_names_too() {
    let site = Site::new();
    let (running, client) = site.up("local");
    let (user, key) = site.worker();
    let person = Person::new(&site);
    let login: Value =
        serde_json::from_str(&fs::read_to_string(site.data().join("client.json")).expect("read"))
            .expect("JSON");
    let text = |name: &str| login[name].as_str().expect("a text").to_owned();
    let (admin, admin_key) = (text("user"), text("apikey"));
    let as_user = |user: &str, key: &str| {
        person.ok("godlogin", &["-a", key, "-l", user, "-s", &client.url()]);
    };

    as_user(&admin, &admin_key);
    person.ok(
        "godproject",
        &["create", "sea", "-d", "the sea", "-m", &admin, "--prio", "70", "--quota_cpu", "9"],
    );
    assert!(person.ends(1, "godproject", &["create", "sea"]).contains("already"));
    assert!(person.ok("godproject", &["listall"]).contains("the sea"));
    person.ok("godproject", &["addmember", "sea", "-m", &user]);
    person.ok("godproject", &["volume", "sea", "--add", "-v", "tide", "--path", "/srv/tide", "--acl", "rw"]);
    person.ok("godproject", &["update", "sea", "-d", "the deep sea"]);
    let shown = person.ok("godproject", &["show", "sea"]);
    for want in ["the deep sea", "70", &user, &admin, "tide:rw /srv/tide at /srv/tide"] {
        assert!(shown.contains(want), "{want} is not in {shown}");
    }
    person.ok("godproject", &["volume", "sea", "--delete", "-v", "tide"]);
    person.ok("godproject", &["deletemember", "sea", "-m", &admin]);
    assert!(person.ends(1, "godproject", &["show", "none"]).starts_with("Not Found"));
    assert!(person.ok("goduser", &["list"]).contains(&user));
    person.ok("goduser", &["update", &user, "--prio", "60", "--quota_ram", "1000"]);
    let shown = person.ok("goduser", &["show", &user]);
    assert!(shown.contains("60") && shown.contains("1000") && !shown.contains(&key), "{shown}");

    as_user(&user, &key);
    assert!(person.ok("godproject", &["list"]).contains("sea"));
    person.ends(4, "godproject", &["listall"]);
    person.ends(4, "goduser", &["update", &user, "--prio", "100"]);
    let said = person.ok("godjob", &["create", "-n", "x", "-p", "sea", "--cmd", "true", "--wait"]);
    let id = said.trim_end().strip_prefix("Task added. Job id is ").expect("the words of old").to_owned();
    person.ok("godproject", &["usage", "sea"]);
    assert!(
        person.ends(4, "godjob", &["create", "-n", "x", "-p", "tide", "--cmd", "true"]).contains("project")
    );
    let copy = person.ok("go-d-cli", &["replay", "-q", &id]).trim_end().to_owned();
    person.ok("go-d-cli", &["wait", &copy]);
    person.ok("godjob", &["archive", &id]);
    assert!(person.ok("godjob", &["archive", "--days", "0"]).contains("will be archived"));
    assert!(person.ends(1, "godjob", &["update", &id, "--name", "uid", "--value", "0"]).contains("uid"));

    as_user(&admin, &admin_key);
    person.ok("godproject", &["quota_reset", "sea"]);
    person.ok("godproject", &["delete", "sea"]);
    assert!(!person.ok("godproject", &["listall"]).contains("sea"));
    person.ok("goduser", &["delete", &user]);
    running.end();
}
